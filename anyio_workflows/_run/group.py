"""Runs that outlive the request that asked for them: owned by the lifespan of an application."""

import math
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeVar

import anyio
from anyio.lowlevel import EventLoopToken, current_token

from .._errors import RunNotFoundError, WorkflowRuntimeError
from .._events import Event, StartEvent
from .._ledger.outcome import Cancelled
from . import log
from .handler import WorkflowHandler
from .places import Places
from .run import Run
from .workflow import Workflow, check_count, is_number

if TYPE_CHECKING:  # loaded by programs that record, or observe; and a tenth of our import
    from anyio.abc import TaskGroup

    from ..abc import CheckpointStore, Observer, RunStatus
    from .resource_block import ResourceBlock

ResultT = TypeVar("ResultT")

_UNFINISHED: tuple["RunStatus", ...] = ("running", "cancelled", "put_away")


class Records(Protocol):
    """A `WorkflowCheckpointer`, which is loaded by those who record."""

    @property
    def fingerprint(self) -> str:
        """What tells the workflow from one that was changed."""
        ...

    def run(self, start_event: StartEvent | None = None, **options: Any) -> WorkflowHandler:
        """Return a run that is recorded."""
        ...

    async def resume(self, run_id: str, **options: Any) -> WorkflowHandler:
        """Return a run of the store, to go on."""
        ...

    def forget(self, run_id: str) -> None:
        """Give back the memory of a run that the store has."""
        ...


class RunGroup:
    """The owner of detached runs: one ``async with RunGroup() as runs:`` in the lifespan of a server.

    ``handler = runs.start(workflow, ...)`` in a request starts a run that goes on when the request is over;
    ``runs[run_id]`` finds it again in the next. A run that fails harms neither the group nor other runs: the failure
    is in its handler, and logged if nobody awaits it.

    Leaving the block normally lets the runs end for *grace* seconds and then cancels what is left. An exception in
    the body, or cancellation, cancels them at once. When they have ended, the resources of ``scope="workflow"`` are
    left that they have shared; to do so can fail, and then the block raises.
    """

    def __init__(
        self,
        *,
        max_runs: int | None = None,
        max_waiting: int | None = None,
        grace: float = 30.0,
        keep: int = 1000,
        store: "CheckpointStore | None" = None,
        workflows: Sequence[Workflow] = (),
        durability: Literal["sync", "async", "exit"] = "async",
        put_away_after: float | None = None,
        observers: "Sequence[Observer]" = (),
    ) -> None:
        """Make a group; nothing runs before it is entered.

        Args:
            max_runs: Most runs at once; further ones wait their turn. None for no limit.
            max_waiting: Most runs that wait their turn; starting one more is an error, so that a server can say that
                it is busy. None for no limit.
            grace: Seconds that runs may go on when the block is left; 0 cancels them at once.
            keep: Runs that can still be looked up after they have ended; older ones are forgotten.
            store: Where its runs are kept, so that those that a crash or the end of the process has cut short go on
                when a group with the same store is entered.
            workflows: Whose runs it takes up then. Runs of others stay in the store as they are.
            durability: When runs are saved; see `WorkflowCheckpointer`.
            put_away_after: Seconds after which a run that only waits for a human is left to the store, and its memory
                given back; `send_event` and `bring_back` let it go on. None keeps it.
            observers: Who is told what its runs do, beside those of their workflows: instances of
                `anyio_workflows.abc.Observer`.

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
        if put_away_after is not None and (
            not is_number(put_away_after) or not put_away_after >= 0 or store is None
        ):
            raise WorkflowRuntimeError(
                f"put_away_after={put_away_after!r} needs seconds, 0 or more, and a store= to put runs away in"
            )
        self._put_away_after = put_away_after
        self._away: dict[str, Records] = {}
        self._bringing = anyio.Lock()
        self._observers: Sequence[Observer] = ()
        if observers:
            from .watching import observers_of  # noqa: PLC0415  # loaded by those who observe

            self._observers = observers_of(observers)
        self._store = store
        self._durability: Literal["sync", "async", "exit"] = durability
        self._checkpointers: dict[Workflow, Records] = {}
        for workflow in workflows:
            self._checkpointer_of(workflow)
        self._block: AbstractAsyncContextManager[Self] | None = None
        self._tasks: TaskGroup | None = None
        self._resources: ResourceBlock | None = None
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
        self._block = self._own_resources()
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
    async def _own_resources(self) -> AsyncGenerator[Self, None]:
        from .resource_block import ResourceBlock  # noqa: PLC0415  # loaded by those who have groups

        # Around the runs: what they share is left when all of them have ended.
        self._resources = ResourceBlock("this RunGroup")
        async with self._resources, self._own_runs():
            yield self

    @asynccontextmanager
    async def _own_runs(self) -> AsyncGenerator[Self, None]:
        body_error: BaseException | None = None
        try:
            async with anyio.create_task_group() as self._tasks:
                try:
                    if self._store is not None:
                        await self._take_up_runs(self._store)
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
        self, workflow: Workflow[ResultT], start_event: StartEvent | None = None, **options: Any
    ) -> WorkflowHandler[ResultT]:
        """Start a run that the group owns, and return its handler at once.

        It sees the context variables of the caller, whose cancellation does not touch it.

        Args:
            workflow: What to run.
            start_event: What it starts with; or give its fields as keywords.
            **options: As for `Workflow.run`: fields of the start event, ``state``, ``run_id``, ``timeout``,
                ``stream_buffer``, ``observers``.

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
        checkpointer = self._checkpointer_of(workflow)
        run = workflow.run if checkpointer is None else checkpointer.run
        if self._observers:
            options["observers"] = (*self._observers, *options.get("observers", ()))
        handler: WorkflowHandler[ResultT] = run(start_event, **options)
        self._take_in(handler, tasks, checkpointer)
        return handler

    def _take_in(self, handler: WorkflowHandler, tasks: "TaskGroup", records: Records | None) -> None:
        if self._places is not None:
            handler._run.limit_by(self._places)
        if handler._run.resources is not None:
            handler._run.resources.group_block = self._resources
        handler._start("look it up in the RunGroup", is_detached=True)
        self._live[handler.run_id] = handler
        run = handler._run
        if self._put_away_after is not None:
            run.on_waiting_for_human = partial(self._put_away_soon, tasks, run)
        tasks.start_soon(self._own, handler, records, name=f"anyio_workflows run of {handler.workflow_name}")

    def _put_away_soon(self, tasks: "TaskGroup", run: Run) -> None:
        tasks.start_soon(self._put_away_later, run, name="anyio_workflows put away")

    async def _put_away_later(self, run: Run) -> None:
        assert self._put_away_after is not None, "only a group that puts runs away waits for it"
        rests = run.rests
        await anyio.sleep(self._put_away_after)
        run.put_away(rests)

    async def bring_back(self, run_id: str) -> WorkflowHandler:
        """Return the handler of a run, which goes on if it was put away.

        Raises:
            RunNotFoundError: The group knows no such run.
            StoreError: It cannot be read from the store.

        Cancellation:
            It may or may not have been brought back.
        """
        async with self._bringing:
            # Its end is known a little before the group has let go of it.
            while (handler := self._live.get(run_id)) is not None and handler._run.is_put_away:
                await handler._wait_for_end()
            records = self._away.get(run_id)
            if handler is None and records is not None:
                tasks = self._open_tasks()
                handler = await records.resume(run_id, observers=self._observers)
                del self._away[run_id]
                self._take_in(handler, tasks, records)
        return handler or self[run_id]

    async def send_event(self, run_id: str, event: Event, step: str | None = None) -> WorkflowHandler:
        """Send *event* into a run, which is brought back if it was put away, and return its handler.

        Raises:
            RunNotFoundError: The group knows no such run.
            WorkflowRuntimeError: As of `WorkflowHandler.send_event`.
            StoreError: It cannot be read from the store.

        Cancellation:
            The event is not sent.
        """
        handler = await self.bring_back(run_id)
        handler.send_event(event, step)
        return handler

    def _checkpointer_of(self, workflow: Workflow) -> Records | None:
        if self._store is None:
            return None
        # What writes events down is loaded by those who record.
        from .checkpointer import WorkflowCheckpointer  # noqa: PLC0415

        checkpointer = self._checkpointers.get(workflow)
        if checkpointer is None:
            checkpointer = self._checkpointers[workflow] = WorkflowCheckpointer(
                workflow=workflow, store=self._store, durability=self._durability
            )
        return checkpointer

    async def _take_up_runs(self, store: "CheckpointStore") -> None:
        """Let the runs go on that have not ended: those of a process that is gone, and those that were cancelled."""
        tasks = self._open_tasks()
        by_fingerprint = {each.fingerprint: each for each in self._checkpointers.values()}
        for status in _UNFINISHED:
            for info in reversed(await store.runs(status=status)):
                checkpointer = by_fingerprint.get(info.fingerprint)
                if checkpointer is None:
                    continue
                if status == "put_away":
                    self._away[info.run_id] = checkpointer
                else:
                    handler = await checkpointer.resume(info.run_id, observers=self._observers)
                    self._take_in(handler, tasks, checkpointer)

    def _open_tasks(self) -> "TaskGroup":
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

    async def _own(self, handler: WorkflowHandler, records: Records | None) -> None:
        run = handler._run
        try:
            await run.drive()
        finally:
            del self._live[run.run_id]
            self._let_go(handler, records)
            if self._all_ended is not None and not self._live:
                self._all_ended.set()
        if run.has_failed and not run.was_awaited:
            log.error("%s: run %s failed, and nobody awaits it", run.name, run.run_id, error=run.error)

    def _let_go(self, handler: WorkflowHandler, records: Records | None) -> None:
        run = handler._run
        if records is not None:
            records.forget(run.run_id)
        if run.is_put_away and records is not None:
            self._away[run.run_id] = records
            return
        self._ended[run.run_id] = handler
        if len(self._ended) > self._keep:
            del self._ended[next(iter(self._ended))]

    def __getitem__(self, run_id: str) -> WorkflowHandler:
        """Return the run of that id, live or lately ended.

        Raises:
            RunNotFoundError: There is none.
            WorkflowRuntimeError: It was put away: `bring_back` gives it.
        """
        if run_id in self._away:
            raise WorkflowRuntimeError(
                f"run {run_id!r} was put away; write:\n    handler = await runs.bring_back({run_id!r})"
            )
        handler = self._live.get(run_id) or self._ended.get(run_id)
        if handler is None:
            raise RunNotFoundError(run_id)
        return handler

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._live or run_id in self._ended or run_id in self._away

    def __iter__(self) -> Iterator[WorkflowHandler]:
        """Iterate over the live runs, in the order in which they were started."""
        return iter(tuple(self._live.values()))

    def __len__(self) -> int:
        """Return the number of live runs."""
        return len(self._live)
