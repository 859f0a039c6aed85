"""Random workflows of toy steps: what each does is data, so that an interpreter can say what must happen.

An event of a higher kind than the one that caused it goes forward and keeps the fuel; any other costs fuel, so
that every program ends. What a collection gives has no fuel: which events make a batch is the schedule's, how many
batches there are is not.
"""

import functools
import operator
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import anyio
import attrs
from anyio.lowlevel import checkpoint
from hypothesis import strategies as st

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step

KINDS: list[type[Event]] = [
    StartEvent,
    *(
        type(f"E{n}", (Event,), {"__annotations__": {"uid": int, "fuel": int, "world": Any}})
        for n in range(1, 5)
    ),
]
"""Event classes by number; a program starts with number 0."""

_MOST_EXECUTIONS = 100
"""So many executions does a program have at most."""


class Said(Event):
    """Written to the stream."""

    uid: int


class Boom(Exception):
    """A toy has ended its run with a failure."""


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


# --- running programs


@attrs.frozen
class Note:
    """Something that happened."""

    what: str
    toy: int
    value: Any = None
    """A uid, those of a batch, or a value of the counter."""


class World:
    """What the steps of one run have noted, in the order in which it happened."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.notes: list[Note] = []
        self.faults: list[str] = []
        self.events: dict[int, tuple[int, int]] = {0: (0, program.fuel)}
        """Kind and fuel of each event, by uid."""
        self.from_threads: set[int] = set()
        """Uids that were sent by plain functions: of these nobody knows when exactly."""
        self.running: Counter[int] = Counter()
        self.unfinished: Counter[int] = Counter(dict.fromkeys(program.receivers(0), 1))
        """Deliveries of each toy that have not ended, those sent by plain functions left out."""
        self._lock = threading.Lock()
        self._uids = count(1)

    def __repr__(self) -> str:
        return "world"

    def start_event(self) -> StartEvent:
        """Return what the run starts with."""
        self.note("sent", -1, 0)
        return StartEvent(uid=0, fuel=self.program.fuel, world=self)

    def note(self, what: str, toy: int, value: Any = None) -> None:
        """Write down that something has happened."""
        self.notes.append(Note(what, toy, value))

    def noted(self, what: str, notes: Sequence[Note] | None = None) -> list[Note]:
        """Return the notes of one kind."""
        return [note for note in (self.notes if notes is None else notes) if note.what == what]

    def decision(self) -> int:
        """Return the index of the note of what ended the run, their number if nothing did."""
        ends = [index for index, note in enumerate(self.notes) if note.what in ("stop", "raise", "cancel")]
        return min(ends, default=len(self.notes))

    def enter(self, index: int, event: Any) -> None:
        """Note that the body of a toy has begun."""
        with self._lock:
            self.note("start", index, event.uid)
            self.running[index] += 1
            if self.running[index] > self.program.toys[index].num_workers:
                self.faults.append(f"{self.running[index]} executions of s{index} at once")

    def leave(self, index: int, event: Any) -> None:
        """Note that the body of a toy has ended, its clean-up done."""
        with self._lock:
            self.note("end", index, event.uid)
            self.running[index] -= 1
            self.unfinished[index] -= event.uid not in self.from_threads

    def create(self, kind: int, fuel: int, *, in_thread: bool = False) -> Event:
        """Return a new event."""
        uid = next(self._uids)
        self.events[uid] = (kind, fuel)
        if in_thread:
            self.from_threads.add(uid)
        return KINDS[kind](uid=uid, fuel=fuel, world=self)

    def sent(self, index: int, event: Any, *, has_waited: bool = False) -> None:
        """Note that *event* is being given to its receivers."""
        self.note("sent", index, event.uid)
        if event.uid in self.from_threads:
            return
        for receiver in self.program.receivers(self.events[event.uid][0]):
            with self._lock:
                self.unfinished[receiver] += 1
                pending = self.unfinished[receiver]
            # A delivery that is cancelled before its body begins is not seen to end.
            is_known = self.decision() == len(self.notes)
            if has_waited and is_known and pending > self.program.toys[receiver].max_pending:
                self.faults.append(f"ctx.send did not wait: s{receiver} has {pending} pending")

    def collect(self, index: int, ctx: Context, event: Any) -> tuple[int, int] | None:
        """Return the (kind, fuel) that the outputs follow from; None while a collection is incomplete."""
        wanted = self.program.toys[index].collects
        if not wanted:
            return self.events[event.uid]
        self.note("collect", index, event.uid)
        batch: Any = ctx.collect_events(event, [KINDS[kind] for kind in wanted])
        if batch is None:
            return None
        self.note("batch", index, tuple(one.uid for one in batch))
        return max(wanted), 0


async def _act(index: int, ctx: Context, event: Any) -> Event | None:
    """Do what toy *index* does, and return what its step returns."""
    world: World = event.world
    toy = world.program.toys[index]
    await _pause(toy.checkpoints)
    if toy.says:
        world.note("said", index, event.uid)
        ctx.write_event_to_stream(Said(uid=event.uid))
    cause = world.collect(index, ctx, event)
    gives = list(toy.gives(*cause)) if cause else []
    if toy.in_child:
        async with anyio.create_task_group() as children:
            children.start_soon(_send, index, ctx, world, gives)
    else:
        await _send(index, ctx, world, gives)
    ending = await _count(index, ctx, world) if toy.counts else None
    if ending is not None:
        return ending
    returned = [world.create(kind, fuel) for kind, fuel, way in gives if way == "return"]
    return returned[0] if returned else None


async def _pause(checkpoints: int) -> None:
    for _ in range(checkpoints):
        await checkpoint()


async def _send(index: int, ctx: Context, world: World, gives: Sequence[tuple[int, int, str]]) -> None:
    for kind, fuel, way in gives:
        if way == "return":
            continue
        event = world.create(kind, fuel)
        if way == "send":
            await ctx.send(event)
            world.sent(index, event, has_waited=True)
        else:
            world.sent(index, event)
            ctx.send_event(event)


async def _count(index: int, ctx: Context, world: World) -> StopEvent | None:
    async with ctx.store.edit_state() as state:
        n = state.get("n", 0) + 1
        await _pause(world.program.toys[index].checkpoints % 2)
        state["n"] = n
    world.note("counted", index, n)
    if n < world.program.ends_at:
        return None
    match world.program.endings[n % len(world.program.endings)]:
        case "return":
            return StopEvent(result=n)
        case "send":
            world.note("stop", index, n)
            ctx.send_event(StopEvent(result=n))
            ctx.write_event_to_stream(Said(uid=-1))  # too late, and in vain
            await checkpoint()
            return None
        case _:
            raise Boom(n)


async def _run_toy(index: int, ctx: Any, event: Any) -> Event | None:
    world: World = event.world
    world.enter(index, event)
    try:
        try:
            output = await _act(index, ctx, event)
        finally:
            if world.program.toys[index].checkpoints:
                with anyio.CancelScope(shield=True):
                    await checkpoint()
            world.leave(index, event)
    except Boom as boom:
        world.note("raise", index, boom.args[0])
        raise
    # Nothing waits from here on until the execution commits.
    if isinstance(output, StopEvent):
        world.note("stop", index, output.result)
    elif output is not None:
        world.sent(index, output)
    return output


def _run_toy_in_thread(index: int, ctx: Any, event: Any) -> Event | None:
    world: World = event.world
    world.enter(index, event)
    try:
        cause = world.collect(index, ctx, event)
        output = None
        for kind, fuel, way in world.program.toys[index].gives(*cause) if cause else ():
            given = world.create(kind, fuel, in_thread=True)
            world.sent(index, given)
            if way == "return":
                output = given
            else:
                ctx.send_event(given)
        return output
    finally:
        world.leave(index, event)


def make_workflow(program: Program) -> Workflow:
    """Return *program* as a workflow, whose steps are called s0, s1, ...."""
    workflow: type[Workflow] = type("RandomWorkflow", (Workflow,), {})
    for index, toy in enumerate(program.toys):
        function = _function(index, toy)
        function.__name__ = function.__qualname__ = f"s{index}"
        accepted = functools.reduce(operator.or_, (KINDS[kind] for kind in toy.accepts))
        function.__annotations__ = {"ev": accepted, "return": StopEvent | None}
        if toy.has_context:
            function.__annotations__["ctx"] = Context
        step(workflow=workflow, num_workers=toy.num_workers, max_pending=toy.max_pending)(function)
    checks = ["reachability", "terminal_event", "dead_end"]  # a toy need not be reached by its own program
    return workflow(skip_graph_checks=checks, extra_events=KINDS[1:])


def _function(index: int, toy: Toy) -> Callable[..., Any]:
    if toy.is_async and toy.has_context:

        async def run(ctx: Any, ev: Any) -> Any:
            return await _run_toy(index, ctx, ev)

        return run
    if toy.is_async:

        async def run_bare(ev: Any) -> Any:
            return await _run_toy(index, None, ev)

        return run_bare
    if toy.has_context:

        def run_in_thread(ctx: Any, ev: Any) -> Any:
            return _run_toy_in_thread(index, ctx, ev)

        return run_in_thread

    def run_bare_in_thread(ev: Any) -> Any:
        return _run_toy_in_thread(index, None, ev)

    return run_bare_in_thread
