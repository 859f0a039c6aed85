"""The workers of one run: which task works on what, and for how long without letting others run.

The ledger says what may start; the crew starts it. What follows from a failure, an outcome or a run that has
come to rest is decided by the run, which fills in the abstract methods.
"""

import math
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context as ContextVars
from time import perf_counter
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import checkpoint

from .._declare.signature import CallShape
from .._errors import WorkflowTimeoutError
from .._events import Event
from .._ledger.delivery import Delivery
from .._ledger.ledger import Ledger
from .._ledger.plan import Node
from .._turnstile import Point, PointKind, Turnstile
from .calling import call_step, drive
from .inbox import Inbox
from .threads import run_here, run_in_thread
from .tokens import Tokens
from .worker import Execution, Worker, name_of

if TYPE_CHECKING:
    from anyio.abc import TaskGroup  # a tenth of our import

_HOPS = 16
"""Executions, and awaits on a Context, in one stretch without letting other tasks run."""

_STRETCH = 0.001
"""Seconds that a stretch may last; whichever comes first."""

_EVENT = CallShape.EVENT
_CONTEXT_EVENT = CallShape.CONTEXT_EVENT


class Crew(Tokens):
    """The workers of one run and what they share."""

    __slots__ = (
        "_hops",
        "_idle",
        "_stretch_end",
        "base_context",
        "is_torn_down",
        "is_traced",
        "saves_commits",
        "spawned",
        "tasks",
    )

    active: int
    tasks: "TaskGroup"
    base_context: ContextVars
    """Context variables as they were when the run started; every execution gets a copy."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.spawned: int = 0
        """Tasks started beside the host."""
        self.is_torn_down: bool = False
        """The event loop was closed under the run: a task of it is being thrown away."""
        self.is_traced: bool = False
        """Whether anybody wants to know of each execution."""
        self.saves_commits: bool = False
        """Whether what an execution gives goes out only when its commit is on disk."""
        self._hops = 0
        # With a turnstile every step of the engine is a stretch.
        self._stretch_end = 0.0 if self.turnstile is None else -math.inf
        self._idle: list[Worker] = []

    def set_out(self, base_context: ContextVars, deadline: float) -> None:
        """Note what is around the run as it starts."""
        self.base_context = base_context
        self.deadline = deadline

    def work_in(self, tasks: "TaskGroup") -> None:
        """Start further workers in *tasks*."""
        self.tasks = tasks

    async def work_cancellably(self, worker: Worker) -> None:
        """Work on deliveries until the run is decided, also if some of them are cancelled by themselves.

        The scope that this takes is a tenth of a run that waits: only steps that may be cancelled have it.
        """
        while self.ledger.outcome is None:
            with anyio.CancelScope() as worker.scope:
                await self.work(worker)
            inbox = worker.inbox
            if inbox is not None and self.ledger.outcome is None:
                self._make_room(inbox)
                self._go_on(worker)

    async def work(self, worker: Worker) -> None:  # noqa: C901, PLR0912, PLR0915  # in one place: each call counts
        """Work on deliveries until the run is decided, or one was cancelled by itself.

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
                    self.breathed()
                continue
            if inbox.shared is not None or not worker.has_token:
                await self.stand_in_line(worker, inbox)
            # With the tokens in hand: who gave them back first would come behind those who did not.
            now = perf_counter()
            if (self._hops >= _HOPS or now > self._stretch_end) and await self.breathe(worker, inbox):
                continue
            if worker.is_starting:
                worker.is_starting = False
                inbox.starting -= 1
            delivery = ledger.begin(inbox)
            if delivery is None:
                self._go_on(worker)
                continue
            delivery.began = now
            delivery.worker = worker
            node = inbox.node
            context = self.begins(delivery, worker) if self.is_traced else copy_context()
            execution = self.make_execution(delivery, worker) if node.wants_context else None
            try:
                if node.is_simple:
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
                        output = await drive(self, execution, context, body, suspended_on)
                else:
                    output = await self._execute_specially(worker, node, execution, delivery, context)
                if ledger.outcome is not None:
                    return  # type: ignore[unreachable]  # decided while the body ran
                if self.is_traced:
                    if self.turnstile is not None:
                        await self.turnstile.reach(Point("end", name_of(delivery)))
                        if ledger.outcome is not None:
                            return  # type: ignore[unreachable]  # decided meanwhile
                    self.ends(delivery, output)
                stops = ledger.commit(delivery, output)
            except BaseException as error:  # noqa: ASYNC103  # the user's body: whatever it raises is looked at
                if self.turnstile is not None and isinstance(error, Exception):
                    await self._wait_to_fail(delivery, execution, self.turnstile)  # noqa: ASYNC102  # as any await
                if self.failed(delivery, error):
                    if execution is not None:
                        execution._is_over = True
                    raise
            else:
                if self.saves_commits and not delivery.is_cancelled and not await self.save_commit():
                    return
                if stops:
                    self.stopped(output)
            if execution is not None:
                execution._is_over = True
                execution._is_driven = False
            if ledger.outcome is not None:
                return  # type: ignore[unreachable]  # decided by this very execution
            if delivery.is_cancelled:
                return  # it has ended all the same; the scope around it is of no use any more
            if inbox.senders:
                self._make_room(inbox)
            self._go_on(worker)
            self._hops += 1

    async def _wait_to_fail(self, delivery: Delivery, execution: Execution | None, gate: Turnstile) -> None:
        """Wait for the turn of an attempt that has raised: who else is done may be told of before it.

        Cancellation:
            It has been cancelled, as if it had not raised yet.
        """
        try:
            await gate.reach(Point("end", name_of(delivery)))
        except BaseException as cancelled:
            self.failed(delivery, cancelled)
            if execution is not None:
                execution._is_over = True
            raise

    @staticmethod
    def _make_room(inbox: Inbox) -> None:
        """Let those who wait for a place at *inbox* go on."""
        if inbox.senders and not inbox.is_full:
            inbox.senders.popleft().wake()

    def _go_on(self, worker: Worker) -> None:
        """Choose where *worker* goes on: with its own step while that has a line, else where one may start."""
        inbox = worker.inbox
        assert inbox is not None, "a worker that has just worked stands at an inbox"
        if worker.has_shared_token:
            self.return_shared_token(worker, inbox)
        if worker.has_token and inbox.queued > inbox.starting and not inbox.resumed:
            free_tokens = inbox.limiter.available_tokens
            if free_tokens > 0:  # total_tokens was raised, or somebody outside gave one back
                self.may_start_at(inbox)
            if free_tokens >= 0:  # below 0 after total_tokens was lowered
                return
        self.leave(worker, inbox)
        self._find_work(worker)

    def _find_work(self, worker: Worker) -> bool:
        for inbox in self.ledger.ready:
            if inbox.queued > inbox.starting and not inbox.resumed and inbox.try_token(worker):
                worker.inbox = inbox
                worker.has_token = True
                inbox.holding += 1
                return True
        return False

    async def breathe(self, worker: Worker, inbox: Inbox) -> bool:
        """End the stretch: start what may start, and let other tasks, timeouts and cancellation have their turn.

        Returns:
            Whether *worker*, which is about to begin at *inbox*, has to look again what it does next.
        """
        if self.turnstile is not None:
            # It is on its way, and nobody is to be sent in its place.
            if inbox.queued and not worker.is_starting:
                worker.is_starting = True
                inbox.starting += 1
            self.flush()
            if inbox.queued:
                await self.turnstile.reach(Point("begin", inbox.node.name, inbox.node.index))
            return self.ledger.outcome is not None
        self.flush()
        await checkpoint()
        self.breathed()
        return True

    def breathed(self) -> None:
        """Note that other tasks have had their turn."""
        if self.turnstile is not None:
            return
        self._hops = 0
        self._stretch_end = perf_counter() + _STRETCH

    async def hop(self, execution: Execution) -> None:
        """Count an await on the Context *execution* as a hop: a checkpoint is made when the stretch is over."""
        self._hops += 1
        if self._hops >= _HOPS or self.ledger.outcome is not None or perf_counter() > self._stretch_end:
            await self.pause(execution, "await")

    async def pause(self, execution: Execution, kind: PointKind) -> None:
        """Let other tasks, timeouts and cancellation have their turn."""
        self.flush()
        if self.turnstile is not None:
            await self.turnstile.reach(Point(kind, name_of(execution._delivery)))
        else:
            await checkpoint()
            self.breathed()

    # --- starting workers

    def flush(self) -> None:
        """Perform what the ledger has decided: wake answered waits, start workers.

        Called after a pass, before its task lets others run: what the worker in hand takes itself by then
        needs no other.
        """
        ledger = self.ledger
        while ledger.answered:
            self.resume(ledger.answered.pop(0))
        while ledger.cancelled:
            self._cancel(ledger.cancelled.pop())
        if not ledger.ready or ledger.outcome is not None:
            return
        ready, ledger.ready = ledger.ready, []
        for inbox in ready:
            inbox.is_ready = False
            while inbox.queued > inbox.starting and not inbox.resumed and self._start_one(inbox):
                pass

    def _cancel(self, delivery: Delivery) -> None:
        """Cancel the execution of *delivery*, if it was in work; those who wait for its place go on."""
        if delivery.is_in_work:
            delivery.worker.scope.cancel()
        else:
            self._make_room(delivery.desk)  # type: ignore[arg-type]  # the engine's desks are inboxes

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

    def start_beside(self, work: Callable[..., Awaitable[None]], *arguments: object, name: str) -> None:
        """Start a task of the run that works on no deliveries."""
        self.spawned += 1
        self.tasks.start_soon(self._run_beside, work, arguments, name=f"anyio_workflows {name}")

    async def _run_beside(self, work: Callable[..., Awaitable[None]], arguments: tuple[object, ...]) -> None:
        try:
            await work(*arguments)
        except BaseException as error:  # noqa: ASYNC103  # cancellation goes on
            if not self.task_ended_with(error):
                raise

    async def _work_beside(self, worker: Worker) -> None:
        try:
            if self.ledger.plan.may_cancel:
                await self.work_cancellably(worker)
            else:
                await self.work(worker)
        except BaseException as error:  # noqa: ASYNC103  # cancellation goes on
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

    # --- steps that are not plain coroutines

    async def _execute_specially(
        self,
        worker: Worker,
        node: Node,
        execution: Execution | None,
        delivery: Delivery,
        context: ContextVars,
    ) -> Any:
        """Run a step with a timeout, a retry policy, resources or several events, or one that is a plain function."""
        if delivery.first_began is None and node.retry_policy is not None:
            delivery.first_began = self.began_at(delivery)
        if node.timeout is None:
            return await self._execute(node, execution, delivery, context)
        with anyio.CancelScope(deadline=anyio.current_time() + node.timeout) as scope:
            worker.deadline = scope.deadline
            try:
                return await self._execute(node, execution, delivery, context)
            finally:
                worker.deadline = None
        raise WorkflowTimeoutError(
            f"step {node.name!r} of {self.ledger.plan.name}", node.timeout, (node.name,)
        )

    async def _execute(
        self, node: Node, execution: Execution | None, delivery: Delivery, context: ContextVars
    ) -> Any:
        if node.resources:
            body = self.call_with_resources(node, execution, delivery)
        elif node.is_async:
            body = call_step(node, execution, delivery.event)
        else:
            body = self.run_elsewhere(node)(call_step, node, execution, delivery.event)
        if not node.is_async:
            execution = None  # its body runs elsewhere; the task here only waits for that
        if execution is not None:
            execution._is_driven = True
        try:
            suspended_on = context.run(body.send, None)
        except StopIteration as returned:
            return returned.value
        return await drive(self, execution, context, body, suspended_on)

    def run_elsewhere(self, node: Node) -> Callable[..., Coroutine[Any, Any, Any]]:
        """Return what calls a plain function."""
        if self.turnstile is not None:
            return run_here  # the order of threads is nobody's to decide
        if node.declaration.executor is None:
            return run_in_thread
        from .executors import run_in_executor  # noqa: PLC0415  # loaded by programs that have executors

        return run_in_executor

    def began_at(self, delivery: Delivery) -> float:
        """Return when the first attempt of *delivery* began, in seconds of the event loop's clock."""
        now = anyio.current_time()
        if delivery.failure is None:
            return now
        # A clock that was put back in the meantime makes no attempt begin in the future.
        return now - max(0.0, self.wall_clock() - delivery.failure.began)

    # --- what the run decides

    @abstractmethod
    def wall_clock(self) -> float:
        """Return seconds since the epoch, UTC."""

    @abstractmethod
    def make_execution(self, delivery: Delivery, worker: Worker) -> Execution:
        """Return the Context for *delivery*."""

    @abstractmethod
    def call_with_resources(
        self, node: Node, execution: Execution | None, delivery: Delivery
    ) -> Coroutine[Any, Any, Any]:
        """Make what the step is given, and call it."""

    @abstractmethod
    def stopped(self, event: Event | list[Event]) -> None:
        """A step gave a StopEvent, or a list with one."""

    @abstractmethod
    def failed(self, delivery: Delivery, error: BaseException) -> bool:
        """A step raised, or gave no event; True if *error* has to go on through the task."""

    @abstractmethod
    async def save_commit(self) -> bool:
        """Wait until the last commit is on disk; False if the run is decided meanwhile."""

    @abstractmethod
    def task_ended_with(self, error: BaseException) -> bool:
        """A task of the run ends by *error*, which is no step's; True if it stops here."""

    @abstractmethod
    def begins(self, delivery: Delivery, worker: Worker) -> ContextVars:
        """An execution of a run that is traced begins; return the context variables for its body."""

    @abstractmethod
    def ends(self, delivery: Delivery, output: object) -> None:
        """The body of an execution of a run that is traced has given *output*, which is not committed yet."""
