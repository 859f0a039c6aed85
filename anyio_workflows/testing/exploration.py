"""One run of a workflow in which a schedule decides who goes on, and what was seen of it."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import anyio
import attrs

from .. import (
    Event,
    StartEvent,
    Workflow,
    WorkflowCheckpointer,
    WorkflowHandler,
)
from ..abc import AttemptEnd, ObservedAttempt, ObservedRun, Observer, Point, RunEnd, turnstile
from ._loops import Deadlock, run_explored
from ._turnstile import ScheduledTurnstile, Turn
from .schedule import Schedule

Driver: TypeAlias = Callable[[WorkflowHandler], Awaitable[object]]
"""What happens outside of a run while it goes on: it sends events, reads the stream."""


@attrs.frozen(kw_only=True)
class Case:
    """What is explored: a workflow, what its runs start with, and what happens outside of them."""

    make: Callable[[], Workflow]
    """Makes the workflow, anew for each run."""

    start_event: StartEvent | None = None
    options: Mapping[str, Any] = attrs.field(factory=dict)
    """As for `Workflow.run`: the fields of the start event, the state, the timeout."""

    driver: Driver | None = None
    recorded: bool = False
    """Whether it is run by a checkpointer: so that it can die, and go on."""


def maker_of(given: object) -> Callable[[], Workflow]:
    """Return what makes the workflow that *given* is: a class, a function that makes one, or one.

    Raises:
        TypeError: It is none of these.
    """
    if isinstance(given, Workflow):
        return lambda: given
    if callable(given):
        make: Callable[[], Workflow] = given  # pyright: ignore[reportAssignmentType]  # told when it is called
        return make
    raise TypeError(f"{given!r} is no workflow; give its class, or a function that makes one")


@attrs.define(kw_only=True)
class Exploration:
    """What one run has come to under one schedule."""

    backend: str
    schedule: Schedule
    workflow: Workflow
    result: Any = None
    """What awaiting the run gave."""
    error: BaseException | None = None
    """What it raised."""
    state: Any = None
    """What the run has left as its state."""
    events: tuple[Event, ...] = ()
    """Its stream, of its last life if it died."""
    turns: list[Turn] = attrs.field(factory=list)
    """Who went on, in order."""
    draws: list[int] = attrs.field(factory=list)
    """How many there were to choose from, for each number of the tape."""
    facts: list[tuple[Any, ...]] = attrs.field(factory=list)
    """What an observer was told, in order: the name of the hook and its arguments."""
    before: list[str] = attrs.field(factory=list)
    """What was noted before the first turn."""
    is_deadlocked: bool = False
    """Every task waited for something that could not come."""
    has_crashed: bool = False
    """It died and went on in another life."""
    round_trip: tuple[bytes, bytes] | None = None
    """The last cut as it was written, and as it was written after it had been read."""

    def trace(self) -> list[str]:
        """Return what happened, a line each: the same whenever this schedule is run."""
        lines = list(self.before)
        for turn in self.turns:
            lines.append(
                f"{turn.number} {turn.point.kind} {turn.point.label} ({turn.chosen} of {len(turn.among)})"
            )
            lines += [f"    {note}" for note in turn.notes]
        return lines


class _Noting(Observer):
    """Notes what an observer is told."""

    def __init__(self, gate: ScheduledTurnstile, facts: list[tuple[Any, ...]]) -> None:
        self._gate = gate
        self._facts = facts
        self._texts: dict[int, tuple[Event, str]] = {}

    def _text(self, event: Event) -> str:
        """Return what *event* looks like, which is asked several times for each."""
        known = self._texts.get(id(event))
        if known is None:
            known = self._texts[id(event)] = (event, repr(event))  # kept, so that no other gets its id
        return known[1]

    def _output(self, output: object) -> str:
        return self._text(output) if isinstance(output, Event) else repr(output)

    def attempt_started(self, attempt: ObservedAttempt, sender: ObservedAttempt | None) -> None:  # noqa: ARG002
        self._facts.append(("attempt_started", attempt))
        self._gate.note(f"{attempt.step} begins at {self._text(attempt.event)}{_nth(attempt)}")

    def attempt_ended(self, attempt: ObservedAttempt, end: AttemptEnd) -> None:
        self._facts.append(("attempt_ended", attempt, end))
        how = f"gives {self._output(end.output)}" if end.status == "completed" else end.status
        if end.error is not None:
            how = f"fails: {end.error!r}"
        self._gate.note(f"{attempt.step} at {self._text(attempt.event)} {how}")

    def event_sent(self, run: ObservedRun, event: Event, sender: ObservedAttempt | None) -> None:
        self._facts.append(("event_sent", run, event, sender))
        self._gate.note(f"{sender.step if sender is not None else 'outside'} sends {self._text(event)}")

    def event_received(
        self, run: ObservedRun, event: Event, step: str, delivery: int, sender: ObservedAttempt | None
    ) -> None:
        self._facts.append(("event_received", run, event, step, delivery, sender))

    def event_written(self, run: ObservedRun, event: Event) -> None:
        self._facts.append(("event_written", run, event))

    def run_ended(self, run: ObservedRun, end: RunEnd) -> None:
        self._facts.append(("run_ended", run, end))


def _nth(attempt: ObservedAttempt) -> str:
    return "" if attempt.attempt == 1 else f", attempt {attempt.attempt}"


def run_once(case: Case, schedule: Schedule, backend: str) -> Exploration:
    """Run *case* once, as *schedule* says, and return what was seen."""
    gate = ScheduledTurnstile(schedule)
    seen = Exploration(backend=backend, schedule=schedule, workflow=case.make())
    seen.turns, seen.draws, seen.before = gate.turns, gate.draws, gate.before
    observer = _Noting(gate, seen.facts)

    async def main(begin: Callable[[], None]) -> None:
        token = turnstile.set(gate)
        try:
            await _Lives(case, gate, observer, seen).live(begin)
        finally:
            turnstile.reset(token)

    try:
        run_explored(main, backend, gate)
    except Deadlock:
        seen.is_deadlocked = True
    return seen


class _Lives:
    """The lives of one run: one, or two if it dies."""

    def __init__(self, case: Case, gate: ScheduledTurnstile, observer: Observer, seen: Exploration) -> None:
        self._case = case
        self._gate = gate
        self._observer = observer
        self._seen = seen
        self._cut: bytes | None = None

    async def live(self, begin: Callable[[], None]) -> None:
        case = self._case
        options = {"run_id": "explored", **case.options, "observers": [self._observer]}
        if not case.recorded:
            await self._go(self._seen.workflow.run(case.start_event, **options), begin)
            return
        checkpointer = WorkflowCheckpointer(workflow=self._seen.workflow)
        await self._go(checkpointer.run(case.start_event, **options), begin, checkpointer)
        if self._cut is None:
            return
        self._seen.has_crashed = True
        self._seen.workflow = case.make()
        checkpointer = WorkflowCheckpointer(workflow=self._seen.workflow)
        again = checkpointer.run_from(
            checkpointer.loads(self._cut), run_id="resumed", observers=[self._observer]
        )
        await self._go(again, _nothing, checkpointer)

    async def _go(
        self,
        handler: WorkflowHandler,
        begin: Callable[[], None],
        checkpointer: WorkflowCheckpointer | None = None,
    ) -> None:
        seen, cut = self._seen, None
        with anyio.CancelScope() as scope:  # noqa: ASYNC912  # a run is one, entered or awaited

            def die() -> None:
                nonlocal cut
                assert checkpointer is not None, "only a run that is recorded can die"
                cut = checkpointer.dumps(handler.checkpoint())
                scope.cancel()

            self._gate.on_crash = die
            begin()
            try:
                async with handler:
                    if self._case.driver is not None:
                        await self._case.driver(handler)
                seen.result = await handler
            except Exception as error:  # noqa: BLE001  # it is what the run has come to
                seen.error = error
        self._cut = cut
        if cut is not None:
            seen.error = None
            return
        seen.state = handler.state
        seen.events = tuple([event async for event in handler.stream_events()])
        if checkpointer is not None:
            written = checkpointer.dumps(handler.checkpoint())
            seen.round_trip = (written, checkpointer.dumps(checkpointer.loads(written)))


def _nothing() -> None:
    pass


async def checkpoint(label: str = "") -> None:
    """Let others have their turn; in a run that is explored, whoever is chosen.

    For code that has no `Context`: a driver, or what a step calls.

    Args:
        label: What this place is called in a report; by default the function that calls.

    Cancellation:
        Nothing has happened.
    """
    gate = turnstile.get()
    if gate is None:
        await anyio.lowlevel.checkpoint()
        return
    if not label:
        frame = inspect.currentframe()
        label = frame.f_back.f_code.co_qualname if frame is not None and frame.f_back is not None else "?"
    await gate.reach(Point("outside", label))


async def interleave(awaitable: Awaitable[Any], label: str = "") -> Any:
    """Await *awaitable*, with a `checkpoint` before and after it, and return what it gives.

    So that what is between two awaits of something the kit knows nothing of is a stretch of its own.

    Args:
        awaitable: What to await.
        label: What it is called in a report.

    Cancellation:
        As of *awaitable*.
    """
    name = label or getattr(awaitable, "__qualname__", type(awaitable).__qualname__)
    await checkpoint(f"before {name}")
    result = await awaitable
    await checkpoint(f"after {name}")
    return result
