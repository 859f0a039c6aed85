"""Keep runs in one SQLite file: durable, readable by hand, and fast because commits are shared.

The file is one thread's business (`_sqlite_file`, `_writer`); this module is what tasks see of it.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

import anyio
from anyio.lowlevel import current_token

from .. import StoreError
from ..abc import CheckpointStore, Record, RunInfo, RunStatus
from ._sqlite_commits import serve
from ._sqlite_file import SqliteFile
from ._writer import Writer

ResultT = TypeVar("ResultT")


class SqliteCheckpointStore(CheckpointStore):
    """A store in one file, open for the length of an ``async with``.

    ::

        async with SqliteCheckpointStore("runs.db") as store:
            ...

    One thread writes. All saves that wait when it comes round go into one transaction, so that a hundred runs share
    the cost of one flush to the disk. A file has one writer at a time, which a second one is told when it opens it;
    any number of programs may read with ``read_only=True`` meanwhile, as may people with ``sqlite3 -readonly``.

    Beside *path* lie SQLite's own ``-wal`` and ``-shm`` while it is open, and always an empty ``-lock``.

    Args:
        path: The file; made if it is not there, unless *read_only*. Its directory has to be there.
        read_only: Only look at it.
        busy_timeout: Seconds to wait for another program's lock.
        max_bytes: How large the file may become; beyond it a save is refused as if the disk were full. None for
            any size. What has not yet been taken over from ``-wal`` comes on top.

    Raises:
        StoreError: Every method raises it, and one of its subclasses where they say more. A save that raises one
            has written nothing, and others that were written with it are not harmed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        read_only: bool = False,
        busy_timeout: float = 5.0,
        max_bytes: int | None = None,
    ) -> None:
        if os.fspath(path) == ":memory:":
            raise StoreError(":memory:", "is no file; use MemoryCheckpointStore()")
        self._path = Path(path)
        self._read_only = read_only
        self._busy_timeout = busy_timeout
        self._max_bytes = max_bytes
        self._file: SqliteFile | None = None
        self._writer: Writer | None = None

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({os.fspath(self._path)!r}{', read_only=True' if self._read_only else ''})"
        )

    async def __aenter__(self) -> Self:
        """Open the file.

        Cancellation:
            Waits for another program's lock, if there is one, under a shield: *busy_timeout* at most.
        """
        if self._writer is not None:
            raise StoreError(
                str(self._path), "is open already; make a store of its own for each `async with`"
            )
        self._file = file = SqliteFile(
            self._path,
            read_only=self._read_only,
            busy_timeout=self._busy_timeout,
            max_bytes=self._max_bytes,
        )
        self._writer = Writer(f"writer of {self._path.name}", partial(serve, file), file.close)
        try:
            with anyio.CancelScope(shield=True):
                await self._writer.ask(file.open, writes=False)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def aclose(self) -> None:
        """Close the file when all has been written that was begun; later calls are refused, or do nothing.

        Cancellation:
            Shielded: it takes as long as what is being written.
        """
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.stop()

    async def create(self, run: RunInfo, records: Sequence[Record]) -> int:
        """Store a new run; see `CheckpointStore.create`."""
        return await self._write(lambda file: file.create(run, records))

    async def claim(self, run_id: str) -> int:
        """Take a run over; see `CheckpointStore.claim`."""
        return await self._write(lambda file: file.claim(run_id))

    async def save(
        self,
        run_id: str,
        epoch: int,
        records: Sequence[Record],
        *,
        status: RunStatus | None = None,
        result: bytes | None = None,
        updated_at: float | None = None,
    ) -> None:
        """Add records in one transaction, which is on the disk when this returns; see `CheckpointStore.save`.

        Cancellation:
            Looked for at the beginning. Then it is waited for under a shield, so that a save which returns has
            happened and one that raises has not. Only `asyncio.Task.cancel` gets through: such a save happens or
            does not, as a whole, and `run` says which.
        """
        await self._write(
            lambda file: file.save(
                run_id, epoch, records, status=status, result=result, updated_at=updated_at
            )
        )

    async def run(self, run_id: str) -> RunInfo:
        """Return what is known of one run."""
        return await self._read(lambda file: file.run(run_id))

    async def runs(
        self, *, workflow: str | None = None, status: RunStatus | None = None, limit: int | None = None
    ) -> list[RunInfo]:
        """Return what is known of the runs, the newest first."""
        return await self._read(lambda file: file.runs(workflow, status, limit))

    async def load(self, run_id: str, *, up_to: int | None = None) -> list[Record]:
        """Return the records that make one state; see `CheckpointStore.load`."""
        return await self._read(lambda file: file.load(run_id, up_to))

    async def history(self, run_id: str) -> list[Record]:
        """Return every record that is still there."""
        return await self._read(lambda file: file.history(run_id))

    async def delete(self, run_id: str) -> None:
        """Forget a run."""
        await self._write(lambda file: file.delete(run_id))

    async def prune(self, run_id: str, *, keep_last: int) -> int:
        """Delete the oldest records; see `CheckpointStore.prune`."""
        return await self._write(lambda file: file.prune(run_id, keep_last))

    async def _write(self, call: Callable[[SqliteFile], ResultT]) -> ResultT:
        if self._read_only:
            raise StoreError(str(self._path), "was opened with read_only=True")
        return await self._ask(call, writes=True)

    async def _read(self, call: Callable[[SqliteFile], ResultT]) -> ResultT:
        return await self._ask(call, writes=False)

    async def _ask(self, call: Callable[[SqliteFile], ResultT], *, writes: bool) -> ResultT:
        if self._writer is None or self._file is None:
            raise StoreError(str(self._path), f"is not open; write `async with {self!r} as store:`")
        if current_token() != self._writer.token:
            raise StoreError(str(self._path), "was opened in another event loop; open one in each")
        result: ResultT = await self._writer.ask(partial(call, self._file), writes=writes)
        return result
