"""The workers of one run: which task works on what, and who may begin.

The ledger says what may start; the crew starts it. What follows from a failure, an outcome or a run that has
come to rest is decided by the run, which fills in the four methods at the end of `Crew`.
"""

import types
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context as ContextVars
from time import perf_counter
from typing import Any

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from .._declare.signature import CallShape
from .._events import Event, StepState, StepStateChanged
from .._ledger.delivery import Delivery
from .._ledger.ledger import Ledger
from .._ledger.plan import Node
from .._ledger.waiting import Wait
from .inbox import Inbox
from .threads import run_in_thread

_HOPS = 16
"""Executions, and awaits on a Context, in one stretch without letting other tasks run."""

_STRETCH = 0.001
"""Seconds that a stretch may last; whichever comes first."""

_EVENT = CallShape.EVENT
_CONTEXT_EVENT = CallShape.CONTEXT_EVENT
_EVENT_CONTEXT = CallShape.EVENT_CONTEXT


class Worker:
    """One task of a run that works on deliveries, one after the other."""

    __slots__ = ("bell", "deadline", "has_shared_token", "has_token", "inbox", "is_parked", "is_starting")

    def __init__(self) -> None:
        self.inbox: Inbox | None = None
        """Where it works, or is about to; None while it is idle."""
        self.has_token = False
        self.has_shared_token = False
        self.is_starting = False
        """Sent to its inbox and not there yet."""
        self.is_parked = False
        """Its execution is blocked in the run, in the worker's own task."""
        self.deadline: float | None = None
        """When the timeout of the step it works on ends the attempt."""
        self.bell: anyio.Event | None = None
        """Wakes it while it is idle."""


class Execution:
    """One run of a step's body; the public `Context` is this with the user's methods."""

    __slots__ = ("_crew", "_delivery", "_is_driven", "_worker")

    def __init__(self, crew: "Crew", delivery: Delivery, worker: Worker) -> None:
        self._crew: Crew | None = crew
        """None once the execution has ended."""
        self._delivery = delivery
        self._worker = worker
        self._is_driven = False
        """Whether the body's own task is running right now: who calls meanwhile is that task, not a child."""


class Place:
    """Where a task waits for the run. Whoever wakes it does the accounting, not the task that wakes.

    A woken task that cleared its own mark would still look blocked until it is scheduled, and a run with
    somebody about to go on would be called stalled.
    """

    __slots__ = ("bell", "crew", "is_counted", "worker")

    def __init__(self, crew: "Crew", worker: Worker | None = None) -> None:
        self.crew = crew
        self.worker = worker
        self.bell = anyio.Event()
        self.is_counted = False
        """Whether the task was taken off the active ones while it waits."""

    def wake(self) -> None:
        """Let the task go on; from now on it counts as running."""
        self.bell.set()
        self.count_as_active()

    def count_as_active(self) -> None:
        """Undo the accounting of a task that goes on, woken or cancelled."""
        if self.is_counted:
            self.is_counted = False
            if self.worker is not None:
                self.worker.is_parked = False
            self.crew.activate()


class Crew(ABC):
    """The workers of one run and what they share."""

    __slots__ = (
        "_hops",
        "_idle",
        "active",
        "base_context",
        "deadline",
        "is_torn_down",
        "is_traced",
        "ledger",
        "spawned",
        "standing",
        "stretch_end",
        "tasks",
    )

    tasks: TaskGroup
    base_context: ContextVars
    """Context variables as they were when the run started; every execution gets a copy."""

    deadline: float
    """The effective deadline around the run when it started, in seconds of the event loop's clock."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.active = 0
        """Workers that run or are about to, and executions in work that are not blocked."""
        self.spawned = 0
        """Tasks started beside the host."""
        self.standing: list[anyio.CapacityLimiter] | None = None
        """Limiters that workers of this run stand in line for."""
        self.is_torn_down = False
        """The event loop was closed under the run: a task of it is being thrown away."""
        self.is_traced = False
        """Whether anybody wants to know of each execution."""
        self.stretch_end = 0.0
        self._hops = 0
        self._idle: list[Worker] = []

    # --- the hot path

    async def work(self, worker: Worker) -> None:
        """Work on deliveries until the run is decided.

        A delivery is taken when it begins and always the oldest: one that was handed to a task when that
        was woken would begin in the order in which the backend schedules tasks, which trio draws at
        random. Going on with the next one in the same task saves the wake-up, which costs more than all
        the rest of an execution together.

        A body that does not suspend is run by one `send`, without a frame of ours in between.
        """
        ledger = self.ledger
        copy_context = self.base_context.copy
        while ledger.outcome is None:
            inbox = worker.inbox
            if inbox is None:
                if self._is_idle_now(worker):
                    # An idle worker keeps nothing of its last execution alive.
                    delivery = execution = context = body = suspended_on = output = None
                    assert worker.bell is not None, "an idle worker has a bell"
                    await worker.bell.wait()
                    self.begin_stretch()
                continue
            if inbox.shared is not None or not worker.has_token:
                await self._stand_in_line(worker, inbox)
            # With the tokens in hand: who gave them back first would come behind those who did not.
            now = perf_counter()
            if self._hops >= _HOPS or now > self.stretch_end:
                await self.breathe()
                continue
            if worker.is_starting:
                worker.is_starting = False
                inbox.starting -= 1
            delivery = ledger.begin(inbox)
            if delivery is None:
                self._go_on(worker)
                continue
            delivery.began = now
            node = inbox.node
            if self.is_traced:
                self._trace(delivery, StepState.RUNNING)
            execution = self.make_execution(delivery, worker) if node.wants_context else None
            try:
                if node.is_async and node.timeout is None:
                    context = copy_context()
                    shape = node.shape
                    if shape is _EVENT:
                        body = node.call(delivery.event)
                    elif shape is _CONTEXT_EVENT:
                        body = node.call(execution, delivery.event)
                    else:
                        body = call_step(node, execution, delivery.event)
                    if execution is not None:
                        execution._is_driven = True
                    try:
                        suspended_on = context.run(body.send, None)
                    except StopIteration as returned:
                        output = returned.value
                    else:
                        output = await _drive(self, execution, context, body, suspended_on)
                else:
                    output = await self._execute_specially(worker, node, execution, delivery)
                if ledger.outcome is not None:
                    return  # type: ignore[unreachable]  # decided while the body ran
                if self.is_traced:
                    self._trace(delivery, StepState.NOT_RUNNING, output)
                if ledger.commit(delivery, output):
                    self.stopped(output)
            except BaseException as error:  # the user's body: whatever it raises is looked at
                if self.failed(delivery, error):
                    raise
            if execution is not None:
                execution._crew = None
                execution._is_driven = False
            if ledger.outcome is not None:
                return  # type: ignore[unreachable]  # decided by this very execution
            if inbox.senders and not inbox.is_full:
                inbox.senders.popleft().wake()
            self._go_on(worker)
            self._hops += 1

    def _go_on(self, worker: Worker) -> None:
        """Choose where *worker* goes on: with its own step while that has a line, else where one may start."""
        inbox = worker.inbox
        assert inbox is not None, "a worker that has just worked stands at an inbox"
        if worker.has_shared_token:
            self._return_shared_token(worker, inbox)
        if worker.has_token and inbox.queued > inbox.starting and not inbox.resumed:
            free_tokens = inbox.limiter.available_tokens
            if free_tokens > 0:  # total_tokens was raised, or somebody outside gave one back
                self._may_start_at(inbox)
            if free_tokens >= 0:  # below 0 after total_tokens was lowered
                return
        self._leave(worker, inbox)
        self._find_work(worker)

    def _find_work(self, worker: Worker) -> bool:
        for inbox in self.ledger.ready:
            if inbox.queued > inbox.starting and not inbox.resumed and inbox.try_token(worker):
                worker.inbox = inbox
                worker.has_token = True
                inbox.holding += 1
                return True
        return False

    async def breathe(self) -> None:
        """End the stretch: start what may start, and let other tasks, timeouts and cancellation have their turn."""
        self.flush()
        await checkpoint()
        self.begin_stretch()

    def begin_stretch(self) -> None:
        """Note that other tasks have had their turn."""
        self._hops = 0
        self.stretch_end = perf_counter() + _STRETCH

    async def hop(self) -> None:
        """Count an await on a Context as a hop: a checkpoint is made when the stretch is over."""
        self._hops += 1
        if self._hops >= _HOPS or self.ledger.outcome is not None or perf_counter() > self.stretch_end:
            await self.breathe()

    # --- starting workers

    def activate(self) -> None:
        """Count one more who runs."""
        self.active += 1

    def flush(self) -> None:
        """Perform what the ledger has decided: wake answered waits, start workers.

        Called after a pass, before its task lets others run: what the worker in hand takes itself by then
        needs no other.
        """
        ledger = self.ledger
        while ledger.answered:
            self._resume(ledger.answered.pop(0))
        if not ledger.ready or ledger.outcome is not None:
            return
        ready, ledger.ready = ledger.ready, []
        for inbox in ready:
            inbox.is_ready = False
            while inbox.queued > inbox.starting and not inbox.resumed and self._start_one(inbox):
                pass

    def _start_one(self, inbox: Inbox) -> bool:
        """Send a worker to *inbox*; False if none can be sent now."""
        worker = self._idle[-1] if self._idle else Worker()
        worker.has_token = inbox.try_token(worker)
        if not worker.has_token and inbox.holding:
            return False  # whoever ends an execution there looks again
        # Without a token and with nobody there whose end could free one, the worker itself stands in line:
        # another run's release wakes nobody else.
        worker.inbox = inbox
        worker.is_starting = True
        inbox.starting += 1
        inbox.holding += 1
        self.activate()
        if self._idle:
            self._idle.pop()
            assert worker.bell is not None, "an idle worker waits at its bell"
            worker.bell.set()
        else:
            self.spawned += 1
            self.tasks.start_soon(self._work_beside, worker, name="anyio_workflows worker")
        return worker.has_token

    async def _work_beside(self, worker: Worker) -> None:
        try:
            await self.work(worker)
        except BaseException as error:
            if not self.task_ended_with(error):
                raise
        finally:
            self.worker_ended(worker)

    def _is_idle_now(self, worker: Worker) -> bool:
        """Find something for *worker* to do, or else note that it waits at its bell from now on."""
        if self._find_work(worker):  # before flush() sends somebody else there
            return False
        self.flush()
        worker.bell = anyio.Event()
        self._idle.append(worker)
        self.active -= 1
        if not self.active:
            self.rest()
        return self.ledger.outcome is None

    # --- tokens

    def _leave(self, worker: Worker, inbox: Inbox) -> None:
        """Give up the place of *worker* at *inbox*."""
        worker.inbox = None
        self._give_tokens(worker, inbox)

    def _give_tokens(self, worker: Worker, inbox: Inbox) -> None:
        """Give back what *worker* holds there, or the turn it has in the line for it."""
        if worker.has_shared_token:
            self._return_shared_token(worker, inbox)
        if worker.has_token:
            worker.has_token = False
            inbox.limiter.release_on_behalf_of(worker)
            self._token_freed(inbox)
        elif inbox.resumed:  # its wait was cancelled, and it went on without
            inbox.resumed = deque(place for place in inbox.resumed if place.worker is not worker)

    def _token_freed(self, inbox: Inbox) -> None:
        inbox.holding -= 1
        while inbox.resumed and inbox.try_token(inbox.resumed[0].worker):
            self._hand_token(inbox.resumed.popleft(), inbox)
        if inbox.queued > inbox.starting:
            self._may_start_at(inbox)

    def _may_start_at(self, inbox: Inbox) -> None:
        if not inbox.is_ready:
            inbox.is_ready = True
            self.ledger.ready.append(inbox)

    def _hand_token(self, place: Place, inbox: Inbox) -> None:
        assert place.worker is not None, "only executions stand in line for tokens"
        place.worker.has_token = True
        inbox.holding += 1
        place.wake()

    def worker_ended(self, worker: Worker) -> None:
        """Give back what *worker* holds: others than this run may wait for it, or look at it."""
        if worker.inbox is None:
            return
        if worker.has_shared_token:
            self._return_shared_token(worker, worker.inbox)
        if worker.has_token:
            worker.has_token = False
            worker.inbox.limiter.release_on_behalf_of(worker)

    def _return_shared_token(self, worker: Worker, inbox: Inbox) -> None:
        assert inbox.shared is not None, "only a shared limiter gives shared tokens"
        worker.has_shared_token = False
        inbox.shared.release_on_behalf_of(worker)

    async def _stand_in_line(self, worker: Worker, inbox: Inbox) -> None:
        """Wait for the tokens that others than this run's own executions hold."""
        if not worker.has_token:
            await self._acquire(inbox.limiter, worker)
            worker.has_token = True
        if inbox.shared is not None and inbox.queued and not worker.has_shared_token:
            await self._acquire(inbox.shared, worker)
            worker.has_shared_token = True

    async def _acquire(self, limiter: anyio.CapacityLimiter, worker: Worker) -> None:
        try:
            limiter.acquire_on_behalf_of_nowait(worker)
        except anyio.WouldBlock:
            pass
        else:
            return
        if self.standing is None:
            self.standing = []
        self.standing.append(limiter)
        self.active -= 1
        self.flush()
        if not self.active:
            self.rest()
        try:
            await limiter.acquire_on_behalf_of(worker)
        finally:
            self.standing.remove(limiter)
            self.activate()

    def may_get_token(self) -> bool:
        """Whether a worker stands in line for a token that is not only in blocked hands of this run."""
        for limiter in self.standing or ():
            borrowers = limiter.statistics().borrowers
            if not borrowers or not all(isinstance(b, Worker) and b.is_parked for b in borrowers):
                return True
        return False

    # --- waiting inside a step

    async def park(self, execution: Execution, place: Place, blocked_in: object) -> None:
        """Wait at *place* on behalf of *execution* until somebody wakes it.

        Cancellation:
            The place is left; what it stood for is the caller's to undo.
        """
        self._enter(place, execution, blocked_in)
        try:
            await place.bell.wait()
        finally:
            self._leave_place(place, execution)

    def _enter(self, place: Place, execution: Execution, blocked_in: object) -> None:
        """Note that *execution* is about to wait at *place*; the run may come to rest by that."""
        worker = execution._worker
        if execution._is_driven and not self._is_bounded(worker):
            place.worker = worker
            place.is_counted = True
            worker.is_parked = True
            self.active -= 1
        execution._delivery.blocked_in = blocked_in
        self.flush()
        if place.is_counted and not self.active:
            self.rest()

    def _leave_place(self, place: Place, execution: Execution) -> None:
        place.count_as_active()
        execution._delivery.blocked_in = None

    def _is_bounded(self, worker: Worker) -> bool:
        """Whether the step has put a deadline of its own around what it is about to wait for."""
        known = self.deadline if worker.deadline is None else min(self.deadline, worker.deadline)
        return anyio.current_effective_deadline() < known

    async def wait(self, execution: Execution, wait: Wait, timeout: float | None) -> bool:
        """Let *execution* wait until *wait* has its answer; False if *timeout* seconds passed first.

        The token goes back meanwhile, if it is the execution's own task that waits.
        """
        worker = execution._worker
        inbox: Inbox = execution._delivery.desk  # type: ignore[assignment]  # the engine's desks are inboxes
        wait.place = place = Place(self)
        gives_token = execution._is_driven
        if gives_token:
            place.worker = worker
            self._give_tokens(worker, inbox)
        self._enter(place, execution, wait)
        try:
            if timeout is None:
                await place.bell.wait()
            else:
                with anyio.move_on_after(timeout):
                    await place.bell.wait()
        except BaseException:
            if gives_token and not worker.has_token:
                self._claim_token(worker, inbox)
            self.ledger.give_back(wait)
            raise
        finally:
            self._leave_place(place, execution)
            wait.place = None
            self.ledger.close_wait(wait)
        if gives_token:
            await self._regain_tokens(execution, worker, inbox, place)
        return wait.answer is not None

    def _resume(self, wait: Wait) -> None:
        """Let an execution whose wait was answered go on, once it has a token."""
        place: Place | None = wait.place
        if place is None:  # it was answered before it had to wait
            return
        worker = place.worker
        inbox: Inbox = wait.delivery.desk  # type: ignore[assignment]
        if worker is None or worker.has_token:
            place.wake()
        elif not inbox.resumed and inbox.try_token(worker):
            self._hand_token(place, inbox)
        elif not inbox.holding:
            place.wake()  # somebody outside the run holds the tokens: the execution itself goes for one
        else:
            self._stand_before_the_line(place, inbox)

    def _stand_before_the_line(self, place: Place, inbox: Inbox) -> None:
        if inbox.resumed is None:
            inbox.resumed = deque()
        inbox.resumed.append(place)

    def _claim_token(self, worker: Worker, inbox: Inbox) -> None:
        """Have the next free token counted for *worker*, whose wait was cancelled and which goes on without."""
        if inbox.resumed and any(place.worker is worker for place in inbox.resumed):
            return
        if inbox.try_token(worker):
            worker.has_token = True
            inbox.holding += 1
        else:
            place = Place(self, worker)
            self._stand_before_the_line(place, inbox)

    async def _regain_tokens(self, execution: Execution, worker: Worker, inbox: Inbox, place: Place) -> None:
        if not worker.has_token:
            if inbox.resumed and place in inbox.resumed:
                # The answer came in time and the worker did not: the time is not for that.
                await self.park(execution, place, "the line for a worker")
            elif inbox.try_token(worker):
                inbox.holding += 1
            elif not inbox.holding:
                inbox.holding += 1
                await self._acquire(inbox.limiter, worker)
            else:
                place = Place(self, worker)
                self._stand_before_the_line(place, inbox)
                await self.park(execution, place, "the line for a worker")
            worker.has_token = True
        if inbox.shared is not None and not worker.has_shared_token:
            await self._acquire(inbox.shared, worker)
            worker.has_shared_token = True

    # --- steps that are not plain coroutines

    async def _execute_specially(
        self, worker: Worker, node: Node, execution: Execution | None, delivery: Delivery
    ) -> Any:
        """Run a step with a timeout, or one that is a plain function."""
        if node.timeout is None:
            return await self._execute(node, execution, delivery)
        with anyio.CancelScope(deadline=anyio.current_time() + node.timeout) as scope:
            worker.deadline = scope.deadline
            try:
                return await self._execute(node, execution, delivery)
            finally:
                worker.deadline = None
        raise self.step_timed_out(node)

    async def _execute(self, node: Node, execution: Execution | None, delivery: Delivery) -> Any:
        context = self.base_context.copy()
        if node.is_async:
            body = call_step(node, execution, delivery.event)
        else:
            body = run_in_thread(call_step, node, execution, delivery.event)
            execution = None  # its body runs in a thread; the task here only waits for that
        if execution is not None:
            execution._is_driven = True
        try:
            suspended_on = context.run(body.send, None)
        except StopIteration as returned:
            return returned.value
        return await _drive(self, execution, context, body, suspended_on)

    def _trace(self, delivery: Delivery, state: StepState, output: object = None) -> None:
        self.traced(
            StepStateChanged(
                name=delivery.desk.node.name,
                step_state=state,
                worker_id=str(delivery.number),
                input_event_name=type(delivery.event).__name__,
                output_event_name=None if output is None else type(output).__name__,
            )
        )

    # --- what the run decides

    @abstractmethod
    def make_execution(self, delivery: Delivery, worker: Worker) -> Execution:
        """Return the Context for *delivery*."""

    @abstractmethod
    def stopped(self, event: Event) -> None:
        """A step gave a StopEvent."""

    @abstractmethod
    def failed(self, delivery: Delivery, error: BaseException) -> bool:
        """A step raised, or gave no event; True if *error* has to go on through the task."""

    @abstractmethod
    def task_ended_with(self, error: BaseException) -> bool:
        """A task of the run ends by *error*, which is no step's; True if it stops here."""

    @abstractmethod
    def rest(self) -> None:
        """Nobody in the run is active any more."""

    @abstractmethod
    def step_timed_out(self, node: Node) -> BaseException:
        """Return the error of an attempt that took longer than the step's timeout."""

    @abstractmethod
    def traced(self, change: StepStateChanged) -> None:
        """Note that an execution began or ended."""


def call_step(node: Node, execution: Execution | None, event: Event) -> Any:
    """Call the function of *node* in whichever shape it has."""
    shape = node.shape
    if shape is _EVENT:
        return node.call(event)
    if shape is _CONTEXT_EVENT:
        return node.call(execution, event)
    if shape is _EVENT_CONTEXT:
        return node.call(event, execution)
    arguments = {node.event_parameter: event}
    if node.declaration.context_parameter is not None:
        arguments[node.declaration.context_parameter] = execution  # type: ignore[assignment]
    return node.call(**arguments)


@types.coroutine
def _drive(
    crew: Crew,
    execution: Execution | None,
    context: ContextVars,
    body: Coroutine[Any, Any, Any],
    suspended_on: Any,
) -> Generator[Any, Any, Any]:
    """Go on with *body*, which has suspended, inside its own copy of the context variables.

    The task's own context stays clean: for the host that is the caller's, and a worker carries nothing from
    one execution into the next.
    """
    while True:
        if execution is not None:
            execution._is_driven = False
        crew.flush()
        resume: Callable[[Any], Any]
        try:
            argument = yield suspended_on
        except BaseException as error:  # cancellation, mostly: it is the body's to receive
            crew.is_torn_down = isinstance(error, GeneratorExit)
            resume, argument = body.throw, error
        else:
            resume = body.send
        crew.begin_stretch()
        if execution is not None:
            execution._is_driven = True
        try:
            suspended_on = context.run(resume, argument)
        except StopIteration as returned:
            return returned.value
