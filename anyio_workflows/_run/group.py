"""Runs that outlive the request that asked for them: owned by the lifespan of an application."""

import math
from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Self

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import EventLoopToken, current_token

from .._errors import RunNotFoundError, WorkflowRuntimeError
from .._events import StartEvent
from .._ledger.outcome import Cancelled
from . import log
from .handler import WorkflowHandler
from .places import Places
from .workflow import Workflow, check_count, is_number


class RunGroup:
    """The owner of detached runs: one ``async with RunGroup() as runs:`` in the lifespan of a server.

    ``handler = runs.start(workflow, ...)`` in a request starts a run that goes on when the request is over;
    ``runs[run_id]`` finds it again in the next. A run that fails harms neither the group nor other runs: the failure
    is in its handler, and logged if nobody awaits it.

    Leaving the block normally lets the runs end for *grace* seconds and then cancels what is left. An exception in
    the body, or cancellation, cancels them at once.
    """

    def __init__(
        self,
        *,
        max_runs: int | None = None,
        max_waiting: int | None = None,
        grace: float = 30.0,
        keep: int = 1000,
    ) -> None:
        """Make a group; nothing runs before it is entered.

        Args:
            max_runs: Most runs at once; further ones wait their turn. None for no limit.
            max_waiting: Most runs that wait their turn; starting one more is an error, so that a server can say that
                it is busy. None for no limit.
            grace: Seconds that runs may go on when the block is left; 0 cancels them at once.
            keep: Runs that can still be looked up after they have ended; older ones are forgotten.

        Raises:
            WorkflowRuntimeError: An argument has a wrong value.
        """
        if max_runs is not None:
            check_count("max_runs", max_runs)
        if max_waiting is not None:
            check_count("max_waiting", max_waiting, least=0)
        check_count("keep", keep, least=0)
        if not is_number(grace) or not grace >= 0:
            raise WorkflowRuntimeError(f"grace={grace!r} is no time; give seconds, 0 or more")
        self._places = Places(max_runs, "max_runs of this RunGroup") if max_runs is not None else None
        self._max_waiting = math.inf if max_waiting is None else max_waiting
        self._grace = grace
        self._keep = keep
        self._block: AbstractAsyncContextManager[Self] | None = None
        self._tasks: TaskGroup | None = None
        self._loop: EventLoopToken | None = None
        self._is_closing = False
        self._live: dict[str, WorkflowHandler] = {}
        self._ended: dict[str, WorkflowHandler] = {}
        self._all_ended: anyio.Event | None = None

    async def __aenter__(self) -> Self:
        """Own runs from now on.

        Raises:
            WorkflowRuntimeError: The group was entered before.
        """
        if self._loop is not None:
            raise WorkflowRuntimeError(
                "a RunGroup is entered once; make a new one:\n    async with RunGroup() as runs:"
            )
        self._loop = current_token()
        self._block = self._own_runs()
        return await self._block.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Let the runs end, or cancel them; see the class.

        Cancellation:
            Cancels every run.
        """
        assert self._block is not None, "a block is left after it was entered"
        return await self._block.__aexit__(kind, error, traceback)  # noqa: ASYNC102  # a task group's, in effect

    @asynccontextmanager
    async def _own_runs(self) -> AsyncGenerator[Self, None]:
        body_error: BaseException | None = None
        try:
            async with anyio.create_task_group() as self._tasks:
                try:
                    yield self
                except (anyio.get_cancelled_exc_class(), GeneratorExit):
                    self._is_closing = True
                    raise
                except BaseException as error:  # noqa: ASYNC103, BLE001  # raised when the runs have ended
                    body_error = error
                    self._cancel_all(f"the body of its RunGroup raised {type(error).__name__}")
                else:
                    await self._drain()
        except anyio.get_cancelled_exc_class():  # noqa: ASYNC103
            # An exception that replaces the cancellation leaves the block as itself, as from any other block.
            if body_error is None:
                raise
        if body_error is not None:
            raise body_error

    async def _drain(self) -> None:
        self._is_closing = True
        if self._live and self._grace:
            self._all_ended = anyio.Event()
            with anyio.move_on_after(self._grace):
                await self._all_ended.wait()
        self._cancel_all("its RunGroup was closed")

    def _cancel_all(self, reason: str) -> None:
        self._is_closing = True
        for handler in self._live.values():
            handler._run.decide(Cancelled(reason))

    def start(
        self, workflow: Workflow, start_event: StartEvent | None = None, **options: Any
    ) -> WorkflowHandler:
        """Start a run that the group owns, and return its handler at once.

        It sees the context variables of the caller, whose cancellation does not touch it.

        Args:
            workflow: What to run.
            start_event: What it starts with; or give its fields as keywords.
            **options: As for `Workflow.run`: fields of the start event, ``state``, ``run_id``, ``timeout``,
                ``stream_buffer``.

        Raises:
            WorkflowRuntimeError: The group was not entered, is being left, belongs to another event loop or has too
                many runs waiting; there is a run of that id; or as `Workflow.run`.
        """
        tasks = self._open_tasks()
        run_id = options.get("run_id")
        if run_id is not None and (run_id in self._live or run_id in self._ended):
            raise WorkflowRuntimeError(
                f"there is a run {run_id!r} in this RunGroup already; give another run_id"
            )
        places = self._places
        if places is not None and places.is_full and places.waiting >= self._max_waiting:
            raise WorkflowRuntimeError(
                f"this RunGroup is full: {places.waiting} runs wait for a place; "
                f"try again later, or raise max_waiting"
            )
        handler = workflow.run(start_event, **options)
        if places is not None:
            handler._run.limit_by(places)
        handler._start("look it up in the RunGroup", is_detached=True)
        self._live[handler.run_id] = handler
        tasks.start_soon(self._own, handler, name=f"anyio_workflows run of {handler.workflow_name}")
        return handler

    def _open_tasks(self) -> TaskGroup:
        if self._tasks is None:
            raise WorkflowRuntimeError(
                "this RunGroup was not entered; write, where your application starts:\n"
                "    async with RunGroup() as runs:\n        ...  # serve; runs.start(workflow, ...)"
            )
        if self._loop != current_token():
            raise WorkflowRuntimeError(
                "this RunGroup belongs to another event loop; enter one in each event loop that needs it:\n"
                "    async with RunGroup() as runs:"
            )
        if self._is_closing:
            raise WorkflowRuntimeError("this RunGroup is being left; no run can be started in it any more")
        return self._tasks

    async def _own(self, handler: WorkflowHandler) -> None:
        run = handler._run
        try:
            await run.drive()
        finally:
            del self._live[run.run_id]
            self._ended[run.run_id] = handler
            if len(self._ended) > self._keep:
                del self._ended[next(iter(self._ended))]
            if self._all_ended is not None and not self._live:
                self._all_ended.set()
        if run.has_failed and not run.was_awaited:
            log.error("%s: run %s failed, and nobody awaits it", run.name, run.run_id, error=run.error)

    def __getitem__(self, run_id: str) -> WorkflowHandler:
        """Return the run of that id, live or lately ended.

        Raises:
            RunNotFoundError: There is none.
        """
        handler = self._live.get(run_id) or self._ended.get(run_id)
        if handler is None:
            raise RunNotFoundError(run_id)
        return handler

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._live or run_id in self._ended

    def __iter__(self) -> Iterator[WorkflowHandler]:
        """Iterate over the live runs, in the order in which they were started."""
        return iter(tuple(self._live.values()))

    def __len__(self) -> int:
        """Return the number of live runs."""
        return len(self._live)
