"""One run of a workflow in which a schedule decides who goes on, and what was seen of it."""

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeAlias

import anyio
import attrs

from .. import Event, StartEvent, Workflow, WorkflowCheckpointer, WorkflowHandler, WorkflowRuntimeError
from .._brief import brief
from ..abc import Observer, Point, Turnstile, turnstile
from ._loops import Deadlock, run_explored
from ._noting import Noting, begun_and_not_ended, execution
from ._turnstile import Note, ScheduledTurnstile, Turn
from .schedule import Schedule

Driver: TypeAlias = Callable[[WorkflowHandler], Awaitable[object]]
"""What happens outside of a run while it goes on: it sends events, reads the stream."""


@attrs.frozen(kw_only=True)
class Case:
    """What is explored: a workflow, what its runs start with, and what happens outside of them."""

    make: Callable[..., Workflow]
    """Makes the workflow, anew for each run and each life; is given the world if there is one."""

    start_event: StartEvent | None = None
    options: Mapping[str, Any] = attrs.field(factory=dict)
    """As for `Workflow.run`: the fields of the start event, the state, the timeout."""

    driver: Driver | None = None
    recorded: bool = False
    """Whether it is run by a checkpointer: so that it can die, and go on."""

    world: Callable[[], Any] | None = None
    """Makes what is outside of a run, and outlives its death."""

    def workflow_in(self, world: Any) -> Workflow:
        """Return a new workflow, in *world* if there is one.

        Raises:
            WorkflowRuntimeError: What is to make it makes something else.
        """
        made: object = self.make() if self.world is None else self.make(world)
        if not isinstance(made, Workflow):
            raise WorkflowRuntimeError(
                f"explore() was given {self.make!r} to make workflows with, and it gave {brief(made)}; "
                f"give a workflow class, or a function that returns a workflow"
            )
        return made


@attrs.define(kw_only=True, repr=False)
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
    """What an observer was told, in order: the name of the hook and its arguments; and ``("died", None)``."""
    before: list[Note] = attrs.field(factory=list)
    """What was noted before the first turn."""
    world: Any = None
    """What `explore` was told to make for this run, outside of it."""
    is_deadlocked: bool = False
    """Every task waited for something that could not come."""
    waiting: tuple[str, ...] = ()
    """Then: the executions that had begun and not ended."""
    driver_error: Exception | None = None
    """What the driver raised."""
    draws_before_crash: int = 0
    """How many of its choices were made in its first life, if it died."""
    has_crashed: bool = False
    """It died and went on in another life."""
    tasks_left: tuple[str, ...] = ()
    """The tasks that were still there when the run had ended, and had not been there before."""
    ordinary: "Exploration | None" = None
    """What a run of the same case came to that did not die, under the empty schedule; None if this one did not either."""
    round_trip: tuple[bytes, bytes] | None = None
    """The last cut as it was written, and as it was written after it had been read."""

    def __repr__(self) -> str:
        return f"<Exploration of {self.workflow.workflow_name} on {self.backend}, {self.schedule!r}>"

    def trace(self) -> list[str]:
        """Return what happened, a line each: the same whenever this schedule is run."""
        lines = [" ".join(note).strip() for note in self.before]
        for turn in self.turns:
            lines.append(
                f"{turn.number} {turn.point.kind} {turn.point.label} ({turn.chosen} of {len(turn.among)})"
            )
            lines += ["    " + " ".join(note).strip() for note in turn.notes]
        return lines

    @property
    def came_to(self) -> Schedule:
        """The schedule that says in so many words what was chosen, and when it died."""
        chosen = [turn.chosen for turn in self.turns if turn.draw is not None]
        return Schedule(chosen, self.schedule.crash_at if self.has_crashed else None)


def run_once(case: Case, schedule: Schedule, backend: str) -> Exploration:
    """Run *case* once, as *schedule* says, and return what was seen."""
    gate = ScheduledTurnstile(schedule)
    world = case.world() if case.world is not None else None
    seen = Exploration(backend=backend, schedule=schedule, workflow=case.workflow_in(world), world=world)
    seen.turns, seen.draws, seen.before, seen.facts = gate.turns, gate.draws, gate.before, gate.facts
    observer = Noting(gate)

    def stuck() -> None:
        seen.waiting = begun_and_not_ended(seen.facts)

    gate.on_stuck = stuck

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
    seen.draws_before_crash = gate.draws_before_crash
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
        self._seen.workflow = case.workflow_in(self._seen.world)
        self._gate.is_mute = False
        self._gate.note("", "--- it goes on from what was recorded by then ---")
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
        before = {task.id for task in anyio.get_running_tasks()}
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
                    await self._drive(handler)
                seen.result = await handler
            except Exception as error:  # noqa: BLE001  # it is what the run has come to
                seen.error = error
        seen.tasks_left += tuple(
            task.name or repr(task) for task in anyio.get_running_tasks() if task.id not in before
        )
        self._cut = cut
        if cut is not None:
            seen.error = None
            return
        seen.state = handler.state
        seen.events = tuple([event async for event in handler.stream_events()])
        if checkpointer is not None:
            written = checkpointer.dumps(handler.checkpoint())
            seen.round_trip = (written, checkpointer.dumps(checkpointer.loads(written)))

    async def _drive(self, handler: WorkflowHandler) -> None:
        if self._case.driver is not None:
            try:
                await self._case.driver(handler)
            except Exception as error:
                self._seen.driver_error = error
                raise


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
    await _pass(gate, label, f"goes on at {label}")


async def _pass(gate: Turnstile, label: str, what: str) -> None:
    who = execution.get()
    await gate.reach(Point("checkpoint", who) if who else Point("outside", label))
    gate.note(who or label, what if who else "goes on")


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
    gate = turnstile.get()
    if gate is None:
        return await awaitable
    try:
        await _pass(gate, f"before {name}", f"begins {name}")
    except BaseException:
        if isinstance(awaitable, Coroutine):
            awaitable.close()  # nobody else will, and Python would warn that it was never awaited
        raise
    result = await awaitable
    await _pass(gate, f"after {name}", f"comes back from {name}")
    return result
