"""Open a store for one command, and begin or take up a run that is kept in it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from .. import StartEvent, UnknownRunError, Workflow, WorkflowCheckpointer, WorkflowHandler
from ..stores import SqliteCheckpointStore
from ._errors import UsageError, blaming
from ._options import Durability


@asynccontextmanager
async def opened(path: Path, *, read_only: bool = False) -> AsyncIterator[SqliteCheckpointStore]:
    """Open the store at *path*, which is there already.

    Raises:
        UsageError: It is not, or is none.
    """
    # Otherwise a slip of the finger would leave an empty store behind.
    if not await anyio.Path(path).exists():
        raise UsageError(f"there is no store {path}; `run` makes one: anyio-workflows run ... --store {path}")
    async with AsyncExitStack() as stack:
        with blaming(f"{path} cannot be opened"):
            store = await stack.enter_async_context(SqliteCheckpointStore(path, read_only=read_only))
        yield store


@asynccontextmanager
async def begun(
    path: Path, workflow: Workflow, start: StartEvent, durability: Durability, options: dict[str, Any]
) -> AsyncIterator[WorkflowHandler]:
    """Return a run, not yet started, that will be kept in the store at *path*, which is made if need be.

    Raises:
        UsageError: The store cannot be opened, has a run of that id, or cannot keep such events.
    """
    async with AsyncExitStack() as stack:
        with blaming(f"{path} cannot be opened"):
            store = await stack.enter_async_context(SqliteCheckpointStore(path))
            checkpointer = WorkflowCheckpointer(workflow=workflow, store=store, durability=durability)
            if "run_id" in options:
                await _check_new(store, path, options["run_id"])
            handler = checkpointer.run(start_event=start, **options)
        yield handler


async def _check_new(store: SqliteCheckpointStore, path: Path, run_id: str) -> None:
    try:
        await store.run(run_id)
    except UnknownRunError:
        return
    raise UsageError(
        f"{path} has a run {run_id!r} already; go on with it (anyio-workflows runs resume {run_id} ...), "
        f"or give another --run-id"
    )


@asynccontextmanager
async def taken_up(
    path: Path, workflow: Workflow, run_id: str, durability: Durability, options: dict[str, Any]
) -> AsyncIterator[WorkflowHandler]:
    """Return the run *run_id* of the store at *path*, not yet started.

    Raises:
        UsageError: There is no such run, or it does not go on.
    """
    async with opened(path) as store:
        with blaming(f"run {run_id!r} cannot go on"):
            checkpointer = WorkflowCheckpointer(workflow=workflow, store=store, durability=durability)
            handler = await checkpointer.resume(run_id, **options)
        yield handler
