"""Random workflows of toy steps: what each does is data, so that an interpreter can say what must happen.

An event of a higher kind than the one that caused it goes forward and keeps the fuel; any other costs fuel, so
that every program ends. What a collection gives has no fuel: which events make a batch is the schedule's, how many
batches there are is not.
"""

from collections import Counter, deque
from collections.abc import Iterator, Sequence

import attrs
from hypothesis import strategies as st

_MOST_EXECUTIONS = 100
"""So many executions does a program have at most."""


@attrs.frozen(kw_only=True)
class Toy:
    """What one step does with each of its events."""

    accepts: tuple[int, ...]
    is_async: bool
    has_context: bool
    num_workers: int
    max_pending: int
    checkpoints: int
    """Full checkpoints before it does something; with 0 its body never suspends by itself."""
    collects: tuple[int, ...]
    """Kinds that it wants together before it gives any output; empty if it collects nothing."""
    outputs: tuple[tuple[int, str], ...]
    """Kind and way of each: "return", "send_event" or "send"."""
    counts: bool
    """It increments the counter in the state."""
    says: bool
    """It writes to the stream."""
    in_child: bool
    """It sends from a child task."""

    def gives(self, kind: int, fuel: int) -> Iterator[tuple[int, int, str]]:
        """Yield (kind, fuel, way) of what it gives for an event of *kind* with *fuel*."""
        for given, way in self.outputs:
            if given > kind:
                yield given, fuel, way
            elif fuel:
                yield given, fuel - 1, way


@attrs.frozen(kw_only=True)
class Program:
    """A workflow as data."""

    toys: tuple[Toy, ...]
    fuel: int
    ends_at: int
    """From this value of the counter on, each increment ends the run."""
    endings: tuple[str, ...]
    """How, in turn: "return" or "send" a StopEvent, "raise"."""

    def receivers(self, kind: int) -> list[int]:
        """Return the numbers of the toys that get an event of *kind*."""
        return [index for index, toy in enumerate(self.toys) if kind in toy.accepts]


@attrs.define
class Expected:
    """What happens if nothing ends the run before its time."""

    handled: Counter[tuple[int, int, int]] = attrs.field(factory=Counter)
    """Of (toy, kind, fuel)."""
    batches: Counter[int] = attrs.field(factory=Counter)
    left: dict[int, Counter[int]] = attrs.field(factory=dict)
    """Kinds that each toy has collected and not got."""
    increments: int = 0


def interpret(program: Program) -> Expected:
    """Work through *program* one event after the other; stops early if it is too long."""
    expected = Expected()
    queue = deque([(0, program.fuel)])
    while queue and expected.handled.total() <= _MOST_EXECUTIONS:
        kind, fuel = queue.popleft()
        for index in program.receivers(kind):
            toy = program.toys[index]
            expected.handled[index, kind, fuel] += 1
            expected.increments += toy.counts
            cause = (kind, fuel)
            if toy.collects:
                buffer = expected.left.setdefault(index, Counter())
                buffer[kind] += 1
                wanted = Counter(toy.collects)
                if not buffer >= wanted:
                    continue
                expected.left[index] = buffer - wanted
                expected.batches[index] += 1
                cause = (max(toy.collects), 0)
            queue.extend((given, left) for given, left, _ in toy.gives(*cause))
    return expected


# --- drawing programs


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Draw a program that ends, in which nobody can wait for a place for ever."""
    rough = [_draw_toy(draw, (0,))]
    rough += [
        _draw_toy(draw, accepts)
        for accepts in draw(
            st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=2, unique=True), min_size=1, max_size=4)
        )
    ]
    endings = st.lists(st.sampled_from(["return", "send", "raise"]), min_size=1, max_size=3)
    program = Program(
        toys=tuple(rough), fuel=draw(st.integers(0, 3)), ends_at=0, endings=tuple(draw(endings))
    )
    program = attrs.evolve(program, toys=tuple(_tidied(program, index) for index in range(len(rough))))
    while (expected := interpret(program)).handled.total() > _MOST_EXECUTIONS:
        program = _shortened(program)
    # Somewhere on its way, or, at 100 and more, never.
    percentage = draw(st.integers(0, 120))
    return attrs.evolve(program, ends_at=1 + expected.increments * min(percentage, 100) // 100)


def _draw_toy(draw: st.DrawFn, accepts: Sequence[int]) -> Toy:
    collected = st.lists(st.sampled_from(accepts), min_size=2, max_size=3)
    is_async, has_context = draw(
        st.sampled_from([(True, True)] * 4 + [(True, False), (False, True), (False, False)])
    )
    collects = draw(st.none() | st.none() | collected) if has_context and 0 not in accepts else None
    ways = st.sampled_from(["return", "send_event", "send"])
    return Toy(
        accepts=tuple(accepts),
        is_async=is_async,
        has_context=has_context,
        num_workers=draw(st.integers(1, 3)),
        max_pending=draw(st.integers(1, 3)),
        checkpoints=draw(st.integers(0, 3)),
        collects=tuple(collects or ()),
        outputs=tuple(draw(st.lists(st.tuples(st.integers(1, 4), ways), max_size=4))),
        counts=is_async and has_context and draw(st.booleans()),
        says=is_async and has_context and draw(st.booleans()),
        in_child=is_async and has_context and draw(st.booleans()),
    )


def _tidied(program: Program, index: int) -> Toy:
    """Keep a toy to what such a step can do, and to sends that end: only later toys make it wait."""
    toy = program.toys[index]
    outputs: list[tuple[int, str]] = []
    for kind, way in toy.outputs:
        receivers = program.receivers(kind)
        if not receivers:
            continue
        is_first_return = way == "return" and all(other != "return" for _, other in outputs)
        may_wait = way == "send" and toy.is_async and min(receivers) > index
        outputs.append((kind, way if is_first_return or may_wait else "send_event"))
    if not toy.has_context:
        outputs = [(kind, "return") for kind, _ in outputs[:1]]
    return attrs.evolve(toy, outputs=tuple(outputs))


def _shortened(program: Program) -> Program:
    if program.fuel:
        return attrs.evolve(program, fuel=program.fuel - 1)
    toys = list(program.toys)
    longest = max(range(len(toys)), key=lambda index: len(toys[index].outputs))
    toys[longest] = attrs.evolve(toys[longest], outputs=toys[longest].outputs[:-1])
    return attrs.evolve(program, toys=tuple(toys))
