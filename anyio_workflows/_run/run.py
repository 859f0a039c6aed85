"""One run: the scope that holds its tasks, how its outcome is decided, and when it has stalled."""

import functools
import math
import time
from collections.abc import Callable, Container, Coroutine, Mapping
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from .._errors import (
    WorkflowStalledError,
    WorkflowTimeoutError,
)
from .._events import (
    Event,
    StartEvent,
    StopEvent,
    WorkflowIdleEvent,
)
from .._ledger.delivery import Delivery
from .._ledger.descending import DescendingLedger
from .._ledger.ledger import Ledger, stop_result
from .._ledger.matching import MatchingLedger
from .._ledger.outcome import Cancelled, Completed, Failed, Outcome, TimedOut
from .._ledger.plan import Node, Plan
from .._ledger.report import MOST_LINES
from .._ledger.state import RunState
from .._ledger.waiting import Wait
from .._turnstile import Point
from . import log
from ._backend import cancel_requests, is_cancelled, raise_cancelled
from .attempts import BY_ITS_TASK
from .body import Body
from .child import ForwardedStream, Host
from .clock import Clock
from .context import Context, ThreadContext
from .diverging import telling
from .ending import error_of, last_event, note_where
from .family import find_answer, receiver, report, run_child, take_kept_answer
from .inbox import Inbox
from .places import Places
from .store import SharedState, StateNotes
from .stream import EventStream
from .tracing import Traced
from .worker import Execution, Parked, Worker

if TYPE_CHECKING:
    from random import Random

    from .._checkpoint.document import Checkpoint  # loaded by programs that record
    from .resources import RunResources  # loaded by programs that declare resources
    from .watching import Watch  # loaded by programs that observe
    from .workflow import Workflow  # which makes runs

current_run: ContextVar["Run | None"] = ContextVar("anyio_workflows_current_run", default=None)
"""The run that the current task works for, its child tasks included."""


@functools.cache
def _run_ids() -> "Random":
    """Return where run ids come from: a source of its own, so that it can be seeded."""
    from random import Random  # noqa: PLC0415  # loaded by programs that look at run ids

    return Random()  # noqa: S311  # ids, no secrets


_PASSES_OF_A_TIMER = 3
"""Checkpoints until a deadline that has passed has cancelled its scope: asyncio runs what is ready first, then the
timer, then the task that it cancels."""


class Run(Traced):
    """One run of a workflow, from its start event to its outcome."""

    __slots__ = (
        "_awaiters",
        "_clock",
        "_error",
        "_is_idle",
        "_known_requests",
        "_places",
        "_run_id",
        "_shared_state",
        "_start_event",
        "_state",
        "_traceback",
        "awaits",
        "body",
        "failures",
        "has_ended",
        "held",
        "host",
        "is_open",
        "on_waiting_for_human",
        "parent",
        "plan",
        "resources",
        "rests",
        "was_awaited",
    )

    active: int
    is_torn_down: bool
    is_traced: bool
    saves_commits: bool
    spawned: int

    def __init__(  # noqa: PLR0915  # a line for each thing it knows
        self,
        plan: Plan,
        start_event: Event | None,
        *,
        state: RunState | None,
        run_id: str | None,
        timeout: float | None,
        stream_buffer: int | None,
        places: tuple[Places, ...] = (),
        is_verbose: bool = False,
        watch: "Watch | None" = None,
        host: Host | None = None,
    ) -> None:
        self.plan: Plan = plan
        self._run_id = run_id
        self.watch: Watch | None = watch
        self.host: Host | None = host
        """The execution of another run that this one is a part of."""
        self.children: list[Run] | None = None
        self.held: list[Event] | None = None
        """Events from outside that wait for children to be there again."""
        self.stream: EventStream = self._new_stream(stream_buffer)
        self.on_waiting_for_human: Callable[[], None] | None = None
        """Called when it has come to rest and only a human can let it go on."""
        self.rests: int = 0
        """How often it has come to rest."""
        super().__init__(self._new_ledger())
        self.is_traced = is_verbose or watch is not None or self.turnstile is not None
        self._tells_steps = is_verbose
        self.is_verbose: bool = is_verbose
        self.failures: list[BaseException] = []
        self.is_open: bool = False
        """Its task group is open."""
        self.has_begun: bool = False
        """Its first event may be worked on: it has its place among the concurrent runs."""
        self.has_ended: bool = False
        """Its task group has closed."""
        self.parent: Run | None = None
        """The run that this one is nested in."""
        self.awaits: list[Run] | None = None
        """Runs that this one's tasks wait for, those nested in it included."""
        self.resources: RunResources | None = None if plan.resources is None else plan.resources.of(self)
        self.body: Body | None = None
        """The body of its ``async with``, if it is run beside one."""
        self.was_awaited: bool = False
        """Somebody waited for its end, and receives a failure."""
        self._start_event: Event | None = start_event
        self._state = state
        self._shared_state: SharedState | None = None
        self._places = places
        self._error: BaseException | None = None
        self._traceback: Any = None
        self._awaiters: list[Parked] | None = None
        self._is_idle = False
        self._clock = Clock(timeout) if timeout is not None else None
        self._known_requests = 0

    @property
    def run_id(self) -> str:
        """Id of the run; one that nobody asks for is never made."""
        if self._run_id is None:
            self._run_id = f"{_run_ids().getrandbits(128):032x}"
        return self._run_id

    @property
    def name(self) -> str:
        """Name of the workflow."""
        return self.plan.name

    @property
    def shared_state(self) -> SharedState:
        """The state and who may change it; a run that never touches its state has none."""
        if self._shared_state is None:
            self._shared_state = SharedState(self.state, self._state_notes)
        return self._shared_state

    @property
    def state(self) -> RunState:
        """The committed state."""
        if self._state is None:
            self._state = RunState(self.plan.state_type, None)
        return self._state

    # --- the scope

    def drive(self) -> Coroutine[Any, Any, None]:
        """Run to the outcome in the calling task, which is the first worker.

        Raises nothing but the caller's own cancellation: the outcome is kept.

        Cancellation:
            Decides the run, unless it is decided; every task of it is cancelled and awaited.
        """
        return self._drive() if self.resources is None else self.resources.drive(self._drive)

    async def _drive(self) -> None:
        self._known_requests = cancel_requests()
        context = copy_context()
        context.run(current_run.set, self)
        self.set_out(context, anyio.current_effective_deadline())
        host = Worker()
        try:
            async with anyio.create_task_group() as tasks:
                self.work_in(tasks)
                self.is_open = True
                try:
                    for places in self._places:
                        await places.take(self, waits_for)
                    await self._begin_keeping()
                    # Decided before that, it goes on from its end, or was cancelled.
                    if self.ledger.outcome is None:
                        self._begin()
                        await (self.work_cancellably(host) if self.plan.may_cancel else self.work(host))
                except BaseException as error:  # noqa: ASYNC103  # cancellation goes on
                    if not self.task_ended_with(error):
                        raise
        finally:
            self.worker_ended(host)
            self.is_open = False
            # A fault of the backend's, if nothing is decided by now.
            self.decide(Cancelled("its task group was closed"))
            try:
                if not self.is_torn_down:
                    try:
                        if self.resources is not None:
                            await self.resources.close()  # noqa: ASYNC102  # shielded and bounded there
                    finally:
                        await self._finish_keeping()  # noqa: ASYNC102  # shielded and bounded there
            finally:
                self._close()
        # The run's own scope has swallowed what it cancelled; what the caller was cancelled with meanwhile
        # is the caller's, whatever became of the run.
        await checkpoint_if_cancelled()
        if isinstance(self.ledger.outcome, Cancelled) and anyio.current_effective_deadline() != math.inf:
            for _ in range(_PASSES_OF_A_TIMER):
                await checkpoint()
        if cancel_requests() > self._known_requests:
            raise_cancelled()

    def task_ended_with(self, error: BaseException) -> bool:
        """Decide what an exception means that leaves a task of the run; True if it stops here.

        Cancellation is decided at once: the task group is cancelled by a task that ends so, which would hide that it
        came from outside.
        """
        if isinstance(error, anyio.get_cancelled_exc_class()):
            self.decide(Cancelled(BY_ITS_TASK))
            return False
        if isinstance(error, GeneratorExit):
            self.is_torn_down = True
            self.decide(Cancelled("its event loop was closed"))
            return False
        self._fail(error, None)  # a fault of the engine's, of which the task group would make a group
        return True

    def _begin(self) -> None:
        self.has_begun = True
        self.activate()
        if self._clock is not None:
            self.start_beside(self._time_out, self._clock, name="timeout")
        self.breathed()
        if self.is_verbose:
            log.info("%s: run %s begins", self.name, self.run_id)

    def _close(self) -> None:
        self.has_ended = True
        assert self.ledger.outcome is not None, "a run ends when it is decided"
        if not self.stream.is_closed:
            self.stream.close(last_event(self.ledger.outcome))
        for places in self._places:
            places.give_back(self)
        if self.parent is not None:
            self.parent.forget_await(self)
        for inbox in self.ledger.desks:
            if inbox is not None:
                inbox.close()
        del self.tasks, self.base_context  # a handler may be kept for long
        awaiters, self._awaiters = self._awaiters, None
        self.was_awaited = bool(awaiters)
        for place in awaiters or ():
            place.wake()
        if self.is_verbose:
            log.info("%s: run %s has ended: %s", self.name, self.run_id, type(self.ledger.outcome).__name__)
        if self.watch is not None:
            self.watch.run_ended(self.ledger.outcome, self._error)

    def limit_by(self, places: Places) -> None:
        """Let the run wait for a place among *places* first."""
        self._places = (places, *self._places)

    def prepare(self, parent: "Run | None") -> None:
        """Take the start event in, so that it comes before any other, and note the run this one is nested in."""
        if self.watch is not None:
            self.watch.run_started(self.run_id, self.name, None if parent is None else parent.run_id)
        try:
            self._take_in_start()
        except BaseException as error:
            if self.watch is not None:  # whoever was told of its start is told of its end
                self.watch.run_ended(Failed(error), error)
            raise
        self.parent = parent
        if parent is not None:
            parent.note_await(self)
        if self._places:
            # In the further lines when it has the first place: two that hold one each would wait for ever.
            self._places[0].stand_in_line(self)

    def _take_in_start(self) -> None:
        if self._start_event is not None:
            self.ledger.emit(self._start_event)
            self._start_event = None  # the delivery has it

    def note_await(self, run: "Run") -> None:
        """Note that this run cannot end before *run* has."""
        if self.awaits is None:
            self.awaits = []
        self.awaits.append(run)

    def forget_await(self, run: "Run") -> None:
        """Note that it waits no longer."""
        assert self.awaits is not None, "an await is noted before it is forgotten"
        self.awaits.remove(run)

    # --- the outcome

    def decide(self, outcome: Outcome) -> bool:
        """Let the run end with *outcome* if nothing was decided before; everything in it is cancelled.

        Published at that moment, and nothing after it.
        """
        if self.ledger.outcome is not None:
            return False
        self.ledger.outcome = outcome
        self._note_decision()
        self._error = error_of(outcome, self.name, self.run_id if isinstance(outcome, Cancelled) else "")
        if isinstance(outcome, Failed):
            self._traceback = outcome.error.__traceback__
        elif isinstance(outcome, TimedOut):
            self.failures.insert(0, outcome.error)
        if self._is_published_later(outcome):
            self.stream.seal()
        else:
            self.stream.close(last_event(outcome))
        if self.body is not None and self.has_failed:
            self.body.run_failed()
        # A host that is alone and has just ended its execution only has to return.
        if self.is_open and (self.spawned or self.ledger.working or not self.active):
            self.tasks.cancel_scope.cancel()
        return True

    def result(self) -> Any:
        """Return the result of a run that has ended, or raise what it ended with.

        It is the same exception each time, with the traceback it had.
        """
        outcome = self.ledger.outcome
        if isinstance(outcome, Completed):
            return stop_result(outcome.event)
        assert self._error is not None, "a run that did not complete has an error"
        raise self._error.with_traceback(self._traceback)

    @property
    def error(self) -> BaseException | None:
        """What awaiting the run raises, None if it completed or is not decided."""
        return self._error

    @property
    def has_failed(self) -> bool:
        """Whether it ended with an error that is nobody's wish."""
        return isinstance(self.ledger.outcome, Failed | TimedOut)

    def stopped(self, event: Event | list[Event]) -> None:
        """Decide the run by the StopEvent that a step gave, maybe in a list, unless it has been cancelled from outside."""
        if isinstance(event, list):
            event = next(each for each in event if isinstance(each, StopEvent))
        assert isinstance(event, StopEvent), "the ledger has looked"
        if self._is_cancelled():
            self.decide(Cancelled(BY_ITS_TASK))
        else:
            self.decide(Completed(event))

    def _fail(self, error: BaseException, delivery: Delivery | None) -> None:
        if delivery is not None:
            note_where(error, self.name, delivery)
        self.failures.append(error)
        if self.ledger.outcome is not None:
            if isinstance(self.ledger.outcome, Completed):
                log.error(
                    "%s: a clean-up failed after run %s was complete", self.name, self.run_id, error=error
                )
        elif delivery is None:
            self.decide(Failed(error))
        else:
            self.decide(Failed(error, delivery.desk.node.name, delivery.attempt, self.elapsed(delivery)))

    def refuse(self, error: Exception) -> None:
        """Let the run fail before it begins; a store that has it keeps it as it was."""
        if self.ledger.outcome is None:  # one that had completed before a resume needs nothing
            self._fail(error, None)

    def resource_failed(self, error: BaseException) -> None:
        """Take note of a resource that has ended by itself, or could not be left."""
        if isinstance(self.ledger.outcome, Completed):
            self.failures.append(error)
            self._fail_after_all(error)
        else:
            self._fail(error, None)
            if self._error is not error:
                log.error("%s: a resource of run %s failed", self.name, self.run_id, error=error)

    def _fail_after_all(self, error: BaseException) -> None:
        """Turn the success, which nobody has been told of yet, into a failure: the run could not be ended."""
        self.ledger.outcome = Failed(error)
        self._error, self._traceback = error, error.__traceback__
        if self.body is not None:
            self.body.run_failed()

    def notice_cancellation(self) -> None:
        """Decide the run if a scope around it is cancelled; asked in a task of the run."""
        # A request past AnyIO may be a step's own, of a timeout of asyncio's: that shows when the step has ended.
        if self.ledger.outcome is None and is_cancelled(self.tasks.cancel_scope, cancel_requests()):
            self.decide(Cancelled(BY_ITS_TASK))

    def _is_cancelled(self) -> bool:
        """Whether the run is cancelled from outside; asked in a task of the run."""
        return is_cancelled(self.tasks.cancel_scope, self._known_requests)

    # --- time and rest

    async def _time_out(self, clock: Clock) -> None:
        await clock.run_out()
        if self.turnstile is not None:
            name = "the timeout of the run"
            await self.turnstile.reach(Point("timer", name))
            self.turnstile.note(name, "fires")
        active = self.ledger.active_steps()
        too_long = WorkflowTimeoutError(self.name, clock.seconds, active)
        self.decide(TimedOut(too_long, clock.seconds, active))

    def activate(self) -> None:
        """Count one more who runs; the run is not at rest any more."""
        self.active += 1
        if self._is_idle:
            self._is_idle = False
            if self._clock is not None:
                self._clock.go_on()
            if self.host is not None:
                self.host.goes_on()

    def rest(self) -> None:
        """Find out whether a run in which nothing runs waits for something, or has stalled."""
        if not self.has_begun or self.has_ended or self.ledger.outcome is not None:
            return
        self.flush()
        if self.active or self.may_get_token():
            return
        if self.host is not None and take_kept_answer(self):
            return
        awaits_human = self.awaits_human
        if awaits_human or self.has_open_waits or (self.body is not None and self.body.is_outside):
            if awaits_human and self._clock is not None:
                self._clock.stop()
            if not self._is_idle:
                self._is_idle = True
                self.stream.append(WorkflowIdleEvent(report=report(self, MOST_LINES)))
                self.rests += 1
                self._cut_if_new()
                if awaits_human and self.on_waiting_for_human is not None and not self.has_timed_waits:
                    self.on_waiting_for_human()
                if self.host is not None:
                    self.host.rests()
            return
        if self._is_cancelled():
            self.decide(Cancelled(BY_ITS_TASK))
            return
        self._fail(WorkflowStalledError(self.name, report(self, None)), None)

    @property
    def awaits_human(self) -> bool:
        """Whether a human may still answer, one of its children included."""
        return self.ledger.awaits_human or any(child.awaits_human for child in self.children or ())

    @property
    def has_open_waits(self) -> bool:
        """Whether an execution waits for an event, one of its children included."""
        return self.ledger.has_open_waits or any(child.has_open_waits for child in self.children or ())

    @property
    def has_timed_waits(self) -> bool:
        """Whether one of them goes on without the event after some time."""
        return self.ledger.has_timed_waits or any(child.has_timed_waits for child in self.children or ())

    def put_away(self, rests: int) -> None:
        """Leave the run to its store, if it still rests as it did when *rests* was counted."""
        if self._is_idle and self.rests == rests and not self.held:  # what is held is nowhere else
            self.decide(Cancelled("it was put away", is_put_away=True))

    @property
    def is_put_away(self) -> bool:
        """Whether it waits in its store alone."""
        return isinstance(self.ledger.outcome, Cancelled) and self.ledger.outcome.is_put_away

    # --- what is outside

    def send_from_outside(self, event: Event, step: str | None) -> None:
        """Route an event that comes from outside the run: to a child, if it means nothing here and something there."""
        if step is None and (self.children or self.expects_children):
            whose = receiver(self, event)
            if whose is None:
                self.held = [*(self.held or ()), event]
                return
            if whose is not self:
                whose.send_from_outside(event, None)
                return
        if self.ledger.emit(event, step, source="the handler"):
            self.decide(Completed(event))  # type: ignore[arg-type]  # emit says that it is a StopEvent
        elif self.has_begun:
            self.flush()
        self._cut_if_new()

    def inbox(self, step: str) -> Inbox:
        """Return the inbox of the step called *step*."""
        inbox: Inbox = self.ledger.desk(self.plan.node(step).index)
        return inbox

    def body_parks(self) -> None:
        """The body's task waits for the run: it is no reason to wait for it any more."""
        if self.body is not None:
            self.body.is_outside = False
        if not self.active:
            self.rest()

    def await_end(self, place: Parked) -> None:
        """Have *place* woken when the run has ended."""
        if self._awaiters is None:
            self._awaiters = []
        self._awaiters.append(place)

    def call_with_resources(
        self, node: Node, execution: Execution | None, delivery: Delivery
    ) -> Coroutine[Any, Any, Any]:
        """Make what the step is given, and call it."""
        assert self.resources is not None, "a step with resources makes its run have some"
        return self.resources.call(node, execution, delivery.event)

    def make_execution(self, delivery: Delivery, worker: Worker) -> Execution:
        """Return the context for *delivery*, of the kind that its step can use."""
        kind = Context if delivery.desk.node.is_async else ThreadContext
        return kind(self, delivery, worker, self)

    # --- runs that are part of it

    async def run_child(
        self,
        execution: Context[Any],
        workflow: "Workflow",
        start_event: StartEvent | None,
        namespace: str | None,
        options: Mapping[str, Any],
    ) -> Any:
        """Run *workflow* as a part of *execution*; see `family`."""
        return await run_child(self, execution, workflow, start_event, namespace, options)

    def find_answer(self, wait: Wait) -> None:
        """Give *wait* an answer that came before it, if one is kept by another run of the family."""
        if self.host is not None or self.children:
            find_answer(self, wait)

    @property
    def expects_children(self) -> bool:
        """Whether executions will go on with children that were begun before the run was cut."""
        return False

    def child_start_key(self, delivery: Delivery, workflow: "Workflow", start_event: Event) -> str:
        """Return what tells *start_event* from any that is not equal to it."""
        if delivery.record is None:
            return ""  # the execution does not run again
        return delivery.record.made.start_key(workflow.workflow_name, start_event)  # type: ignore[no-any-return]

    def ended_child(self, delivery: Delivery, key: str, workflow: "Workflow") -> StopEvent | None:  # noqa: ARG002
        """Return what the child *key* of *delivery* has ended with before the execution ran again."""
        made = None if delivery.record is None else delivery.record.made
        return None if made is None else made.children.get(key)

    def note_child_ended(self, delivery: Delivery, key: str, event: StopEvent) -> None:
        """Note what the child *key* of *delivery* has ended with."""
        if delivery.record is not None and delivery.record.made is not None:
            delivery.record.made.children[key] = event

    def make_child(
        self,
        host: Host,
        delivery: Delivery,  # noqa: ARG002
        key: str,  # noqa: ARG002
        workflow: "Workflow",  # noqa: ARG002
        arguments: Mapping[str, Any],
    ) -> "Run":
        """Return the child *key* of *delivery*, which has not started."""
        return Run(**arguments, host=host)

    # --- what a run that is recorded fills in

    def _new_stream(self, limit: int | None) -> EventStream:
        if self.host is not None:
            return ForwardedStream(self.host, self.run_id, self.watch)
        return EventStream(limit) if self.watch is None else self.watch.stream(limit)

    def _new_ledger(self) -> Ledger:
        if self.watch is not None:
            return self.watch.ledger(self.plan, self._publisher(), Inbox)
        if self.plan.has_retries:
            return MatchingLedger(self.plan, self._publisher(), Inbox)
        kind = DescendingLedger if self.plan.has_lineage else Ledger
        return kind(self.plan, self.stream.append, Inbox)

    def _publisher(self) -> Callable[[Event], None]:
        return telling(self.stream.append, self.plan.name, lambda: self.run_id)

    def wall_clock(self) -> float:
        """Return seconds since the epoch, UTC."""
        # The loop's time is the test's there, and the same in every run of a schedule.
        return time.time() if self.turnstile is None else anyio.current_time()

    @property
    def _state_notes(self) -> StateNotes | None:
        """Where changes of the state are noted."""
        return None

    def cut_now(self) -> "Checkpoint | None":
        """Cut the run at this very moment; None if it is not recorded."""
        return None

    def _cut_if_new(self) -> None:
        """Cut the run, if anything was noted since the last cut: an event came from outside, or it has come to rest."""

    def _note_decision(self) -> None:
        """The run is decided."""

    def _is_published_later(self, outcome: Outcome) -> bool:
        """Whether *outcome* is on the stream only at the end: a resource that is still to be left may change it."""
        return isinstance(outcome, Completed) and self.resources is not None and self.resources.is_holding

    async def _begin_keeping(self) -> None:
        """Put the run into its store, before its first step begins, and have further cuts saved."""

    async def _finish_keeping(self) -> None:
        """Save how the run has ended."""

    async def save_commit(self) -> bool:
        """Save the commit that was just made; False if the run is decided meanwhile."""
        raise NotImplementedError("only a kept run saves")


def waits_for(run: object, others: Container[object]) -> bool:
    """Whether *run* cannot end before one of *others* has: it is that run, or waits for one that does."""
    seen: set[int] = set()
    to_look_at = [run]
    while to_look_at:
        next_run = to_look_at.pop()
        if next_run in others:
            return True
        if id(next_run) not in seen and isinstance(next_run, Run):
            seen.add(id(next_run))
            to_look_at.extend(next_run.awaits or ())
    return False
