"""W6: the loop and the fan-out once more, now with a checkpoint after every execution."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import ours
from sizes import STATE_ITEMS
from timing import Job

from anyio_workflows import WorkflowCheckpointer
from anyio_workflows.abc import CheckpointStore
from anyio_workflows.stores import SqliteCheckpointStore

_STATE = {"texts": [f"{number:0100}" for number in range(STATE_ITEMS)]}
"""A megabyte that no step ever touches."""


async def loop(hops: int) -> None:
    """W1, recorded in the memory of the process."""
    await WorkflowCheckpointer(workflow=ours.LOOP).run(n=hops)


async def loop_with_state(hops: int) -> None:
    """W1 beside a large state, recorded in the memory of the process."""
    await WorkflowCheckpointer(workflow=ours.LOOP).run(n=hops, state=_STATE)


async def fan_out(count: int) -> None:
    """W2, recorded in the memory of the process."""
    await WorkflowCheckpointer(workflow=ours.FAN_OUT).run(n=count)


class Stored:
    """The works in one open store."""

    def __init__(self, store: CheckpointStore) -> None:
        self._store = store

    def loop(self, durability: Literal["sync", "async"], *, with_state: bool = False) -> Job:
        """Return W1, saved as *durability* says."""
        options = {"state": _STATE} if with_state else {}

        async def loop(hops: int) -> None:
            checkpointer = WorkflowCheckpointer(workflow=ours.LOOP, store=self._store, durability=durability)
            await checkpointer.run(n=hops, **options)

        return loop

    async def fan_out(self, count: int) -> None:
        """W2, saved beside the run."""
        await WorkflowCheckpointer(workflow=ours.FAN_OUT, store=self._store).run(n=count)


@asynccontextmanager
async def stored() -> AsyncIterator[Stored]:
    """Give the works in a store of their own, on the disk that holds temporary files."""
    with TemporaryDirectory() as folder:
        async with SqliteCheckpointStore(Path(folder, "runs.db")) as store:
            yield Stored(store)
