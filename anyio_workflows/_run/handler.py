"""A run as its caller sees it: awaited, entered, or served by a task group of the caller's."""

import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

import anyio
from anyio.lowlevel import EventLoopToken, checkpoint, current_token

from .._brief import brief
from .._errors import WorkflowRuntimeError
from .._events import Event
from .._ledger.outcome import Cancelled
from .body import Body, ParkedBody
from .ending import add_note
from .run import Run, current_run, waits_for
from .stream import EventReader, EventStream
from .worker import Parked

# Loaded by programs that record, or that open task groups; and before 3.13 only type checkers know defaults.
if TYPE_CHECKING:
    import typing_extensions
    from anyio.abc import TaskStatus

    from .._checkpoint.document import Checkpoint

    ResultT_co = typing_extensions.TypeVar("ResultT_co", covariant=True, default=Any)
else:
    ResultT_co = TypeVar("ResultT_co", covariant=True)


class _NobodyWaits:
    """What ``task_status`` is if nobody waits for the start: AnyIO's own would be a tenth of our import."""

    def started(self, value: object = None) -> None:
        """Tell nobody."""

    def __repr__(self) -> str:
        return "TASK_STATUS_IGNORED"


_NOBODY_WAITS: "TaskStatus[Any]" = _NobodyWaits()


class WorkflowHandler(Awaitable[ResultT_co]):
    """One run of a workflow, which does not run before it is told how.

    ``result = await handler`` runs it in the calling task. ``async with handler:`` runs it beside the body, which
    may read its stream and send it events. ``await task_group.start(handler.serve)`` runs it in a task group of
    yours, and `RunGroup.start` in one that outlives the request.
    """

    __slots__ = ("__weakref__", "_block", "_loop", "_run")

    def __init__(self, run: Run) -> None:
        self._run = run
        self._block: AbstractAsyncContextManager[Self] | None = None
        self._loop: EventLoopToken | None = None

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self._run.run_id

    @property
    def workflow_name(self) -> str:
        """Name of the workflow."""
        return self._run.name

    @property
    def failures(self) -> tuple[BaseException, ...]:
        """Every exception that the run ended with, the deciding one first, those of clean-ups after it."""
        return tuple(self._run.failures)

    @property
    def state(self) -> Any:
        """A copy of the run's state as it was last committed; there before, during and after the run."""
        return self._run.state.snapshot()

    def is_done(self) -> bool:
        """Return whether the run has ended."""
        return self._run.has_ended

    def __repr__(self) -> str:
        run = self._run
        if self._loop is None:
            how = "not started"
        elif run.ledger.outcome is None:
            how = "running"
        else:
            how = type(run.ledger.outcome).__name__.lower()
        return f"<WorkflowHandler of {run.name}, run {run.run_id}: {how}>"

    # --- starting it

    def __await__(self) -> Generator[Any, Any, ResultT_co]:
        """Run it here, unless it is run elsewhere, and give the result.

        Raises:
            Exception: What the run ended with, the same object each time.
            WorkflowTimeoutError: It took too long.
            WorkflowStalledError: It could no longer go on.
            WorkflowCancelledByUser: It was ended with `cancel_run`.
            WorkflowCancelledError: It was cancelled with the task that ran it.
            WorkflowRuntimeError: It is awaited from inside itself, or in another event loop.

        Cancellation:
            Cancels the run if this await is what runs it; else only this await.
        """
        return self._result().__await__()

    async def _result(self) -> ResultT_co:
        run = self._run
        if self._loop is None:
            self._start("await it again")
            await run.drive()
        else:
            self._check_loop()
            await self._wait_for_end()
        if run.has_failed and run.body is not None and run.body.is_current:
            run.body.has_failure = True
        return run.result()  # type: ignore[no-any-return]  # the graph has compared it with what is declared

    async def serve(self, *, task_status: "TaskStatus[WorkflowHandler[ResultT_co]]" = _NOBODY_WAITS) -> None:
        """Run it in a task group of yours: ``handler = await task_group.start(workflow.run().serve)``.

        Raises:
            Exception: What the run failed with; if it was ended with `cancel_run`, nothing.

        Cancellation:
            Cancels the run.
        """
        self._start("start serve() once")
        task_status.started(self)
        await self._run.drive()
        if self._run.has_failed:
            self._run.result()

    async def __aenter__(self) -> Self:
        """Run it beside the body.

        Raises:
            WorkflowRuntimeError: It was started already.
        """
        self._start("enter it once")
        self._block = self._run_beside_body()
        return await self._block.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Wait for the run, which an exception in the body cancels.

        A failure of the run cancels the body and is raised, unless the body has received it from ``await handler``.
        If both fail, the body's exception is raised, with a note about the run's.

        Cancellation:
            Cancels the body and the run.
        """
        assert self._block is not None, "a block is left after it was entered"
        return await self._block.__aexit__(kind, error, traceback)  # noqa: ASYNC102  # a task group's, in effect

    @asynccontextmanager
    async def _run_beside_body(self) -> AsyncGenerator[Self, None]:
        run = self._run
        body_error: BaseException | None = None
        run.body = body = Body()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run.drive, name=f"anyio_workflows run of {run.name}")
                assert body.scope is not None, "it is taken away when the body is left"
                try:
                    with body.scope:
                        yield self
                except (anyio.get_cancelled_exc_class(), GeneratorExit):
                    raise
                except BaseException as error:  # noqa: ASYNC103, BLE001  # raised when the run has ended
                    body_error = error
                    run.decide(Cancelled(f"the body of its 'async with' raised {type(error).__name__}"))
                body.scope = None
                run.body_parks()
        except anyio.get_cancelled_exc_class():  # noqa: ASYNC103
            # An exception that replaces the cancellation leaves the block as itself, as from any other block.
            if body_error is None:
                raise
        if body_error is not None:
            if run.error is not None and run.has_failed and body_error is not run.error:
                add_note(body_error, f"meanwhile the run of {run.name} failed as well: {brief(run.error)}")
            raise body_error
        if run.has_failed and not body.has_failure:
            run.result()

    def _start(self, instead: str, *, is_detached: bool = False) -> None:
        if self._loop is not None:
            self._check_not_inside()
            raise WorkflowRuntimeError(
                f"this run of {self._run.name} was started already; {instead}, or make a new one:\n"
                f"    handler = workflow.run(...)"
            )
        self._loop = current_token()
        self._run.prepare(None if is_detached else current_run.get())

    # --- talking to it

    def stream_events(self, *, expose_internal: bool = False, offset: int = 0) -> EventReader:
        """Return what the run says, from its first word: ``async for event in handler.stream_events():``.

        What steps wrote, the InputRequiredEvents and, last, the StopEvent or what else ended the run. Any number
        of readers, also after the end; leaving the loop early harms nothing.

        Args:
            expose_internal: Give what the engine says of itself too. Each execution is noted from the moment the
                first such reader is made, or from the start if the workflow is ``verbose``.
            offset: Events to pass over, as this reader counts them.

        Raises:
            WorkflowRuntimeError: The run was not started, or runs in another event loop.
        """
        if self._loop is None:
            self._refuse("async for event in handler.stream_events():\n            ...")
        self._check_loop()
        given: object = offset
        if not isinstance(given, int) or isinstance(given, bool) or given < 0:
            raise WorkflowRuntimeError(
                f"stream_events got offset={offset!r}; give a number of events, 0 or more"
            )
        if expose_internal:
            self._run.trace()
        return EventReader(
            self._run.stream, self._park_reader, offset=offset, expose_internal=expose_internal
        )

    def send_event(self, event: Event, step: str | None = None) -> None:
        """Send *event* into the run, to every step that accepts it or to *step* alone.

        Raises:
            WorkflowRuntimeError: The run was not started, has ended or runs in another event loop; *event* is no
                event, or *step* does not accept it.
            WorkflowStepDoesNotExistError: There is no step called *step*.
        """
        if self._loop is None:
            self._refuse("handler.send_event(...)")
        self._check_loop()
        run = self._run
        if run.ledger.outcome is not None:
            raise WorkflowRuntimeError(
                f"{brief(event)} was sent to run {run.run_id} of {run.name}, which has ended "
                f"({_describe(run)}); send events while it runs"
            )
        run.send_from_outside(event, step)

    async def cancel_run(self) -> None:
        """Cancel the run and wait until it has ended; after the end it does nothing.

        ``await handler`` raises `WorkflowCancelledByUser` from then on.

        Raises:
            WorkflowRuntimeError: The run was not started, is asked from inside itself, or runs in another event
                loop.

        Cancellation:
            The run is cancelled all the same; only the wait for its end is given up.
        """
        if self._loop is None:
            self._refuse("await handler.cancel_run()")
        self._check_loop()
        self._check_not_inside()
        self._run.decide(Cancelled("with cancel_run()", by_user=True))
        await self._wait_for_end()

    def cancel_step(self, step: str, reason: str = "") -> int:
        """Cancel the executions of one step, and take away the events in line for it; the run goes on.

        What they have sent stays sent; what they did to collections is undone. They end as soon as they have cleaned
        up: a plain ``def`` step when it returns. For each a `StepCancelledEvent` is on the internal stream.

        Args:
            step: Name of a step declared with ``@step(cancellable=True)``, or of any in a workflow that fans out.
            reason: Why, for whoever reads the stream.

        Returns:
            How many executions and events there were.

        Raises:
            WorkflowRuntimeError: The run was not started, or runs in another event loop; or the step is not declared
                so.
            WorkflowStepDoesNotExistError: There is no step called *step*.
        """
        if self._loop is None:
            self._refuse("handler.cancel_step(...)")
        self._check_loop()
        return self._run.cancel_step(step, reason) if self._run.ledger.outcome is None else 0

    def cancel_fan_out(self, step: str, reason: str = "") -> int:
        """Cancel everything that has come of the lists that *step* has returned, and is not done; the run goes on.

        The steps that join it are called with what has come to them.

        Args:
            step: Name of a step that returns a list.
            reason: Why, for whoever reads the stream.

        Returns:
            How many executions and events there were.

        Raises:
            WorkflowRuntimeError: The run was not started, or runs in another event loop; or the step returns no list.
            WorkflowStepDoesNotExistError: There is no step called *step*.
        """
        if self._loop is None:
            self._refuse("handler.cancel_fan_out(...)")
        self._check_loop()
        return self._run.cancel_fan_out(step, reason) if self._run.ledger.outcome is None else 0

    def checkpoint(self) -> "Checkpoint":
        """Cut the run at this moment, whatever is in work.

        Raises:
            WorkflowRuntimeError: The run was not started, or is not recorded.
        """
        if self._loop is None:
            self._refuse("checkpoint = handler.checkpoint()")
        cut = self._run.cut_now()
        if cut is None:
            raise WorkflowRuntimeError(
                f"this run of {self._run.name} is not recorded; start it with\n"
                f"    handler = workflow.run(..., checkpoints=True)\n"
                f"or, to keep every checkpoint of it, with\n"
                f"    handler = WorkflowCheckpointer(workflow=workflow).run(...)"
            )
        return cut

    def limiter(self, step: str) -> "anyio.CapacityLimiter":
        """Return the limiter of *step* in this run.

        Its ``statistics()`` are the executions in work; a change of ``total_tokens`` counts from the next
        execution on.

        Raises:
            WorkflowRuntimeError: The run was not started, or runs in another event loop.
            WorkflowStepDoesNotExistError: There is no step called *step*.
        """
        if self._loop is None:
            self._refuse("handler.limiter(...)")
        self._check_loop()
        return self._run.inbox(step).limiter

    # --- waiting for it

    async def _wait_for_end(self) -> None:
        run = self._run
        if run.has_ended:
            await checkpoint()
            return
        self._check_not_inside()
        asker = current_run.get()
        if asker is not None:
            asker.note_await(run)
        body = run.body if run.body is not None and run.body.is_current else None
        if body is not None:
            body.awaits_end = True
        try:
            await self._park(run.await_end)
        finally:
            if body is not None:
                body.awaits_end = False
            if asker is not None:
                asker.forget_await(run)

    async def _park_reader(self, stream: EventStream) -> None:
        self._check_loop()
        await self._park(stream.wait, stream.stop_waiting)

    async def _park(
        self, wait_at: Callable[[Parked], None], forget: Callable[[Parked], None] | None = None
    ) -> None:
        """Wait for the run, which waits for the body no longer if it is the body that waits."""
        run = self._run
        body = run.body
        if body is not None and body.is_current and not body.is_bounded:
            place: Parked = ParkedBody(run, body)
            wait_at(place)
            run.body_parks()
        else:
            place = Parked(run)
            wait_at(place)
        try:
            await place.bell.wait()
        finally:
            place.count_as_active()
            if forget is not None and not place.bell.is_set():
                forget(place)

    # --- wrong use

    def _check_loop(self) -> None:
        if self._loop != current_token():
            raise WorkflowRuntimeError(
                f"run {self._run.run_id} of {self._run.name} belongs to another event loop; "
                f"make a run in each event loop that needs one:\n    result = await workflow.run(...)"
            )

    def _check_not_inside(self) -> None:
        asker = current_run.get()
        if asker is not None and not self._run.has_ended and waits_for(self._run, (asker,)):
            raise WorkflowRuntimeError(
                f"run {self._run.run_id} of {self._run.name} is awaited from inside itself, and would wait for "
                f"itself for ever; send an event or return instead"
            )

    def _refuse(self, line: str) -> NoReturn:
        raise WorkflowRuntimeError(
            f"this run of {self._run.name} was not started; write:\n"
            f"    async with workflow.run(...) as handler:\n        {line}"
        )

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        # An __init__ that raised has set nothing.
        if getattr(self, "_run", None) is not None and self._loop is None:
            _warn(
                f"a run of {self._run.name} was never started; write 'await workflow.run(...)' or "
                f"'async with workflow.run(...) as handler:'",
                RuntimeWarning,
                stacklevel=2,
                source=self,
            )


def _describe(run: Run) -> str:
    return f"{type(run.ledger.outcome).__name__.lower()}" + (f": {brief(run.error)}" if run.error else "")
