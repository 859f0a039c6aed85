"""Read and write one SQLite file: every statement, and none of the waiting.

Belongs to one thread from `open` to `close`. Writing happens between `begin` and `commit`; what raises an error of
ours in between has changed nothing, after one of SQLite's the whole transaction has to be rolled back.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from .. import StoreConflictError, StoreDamagedError, StoreError, UnknownRecordError, UnknownRunError
from ..abc import Record, RunInfo, RunStatus
from . import _sqlite_rows as rows
from ._chain import check_chain, check_epoch, check_following, check_keep_last, check_limit, told
from ._sqlite_errors import is_busy
from ._sqlite_schema import MIGRATIONS, check_schema, migrate

_PAGE = 4096
"""Bytes of a page, which is what SQLite counts a file's size in."""

_ROWS_AT_ONCE = (64, 8, 1)
"""Rows of one INSERT. At each statement the thread gives the interpreter away and has to queue for it again, for
up to 5 ms when the event loop is busy; 64 rows of 9 columns fit any SQLite's limit of 999 values."""

_MOST_ROWS = 2**63 - 1
"""What a LIMIT may be at most."""

_INSERTS = {
    count: f"INSERT INTO records ({rows.RECORD_COLUMNS}) VALUES {', '.join([rows.RECORD_VALUES] * count)}"  # noqa: S608  # constants
    for count in _ROWS_AT_ONCE
}

_SELECT_RUNS = f"""
    SELECT {rows.RUN_COLUMNS},
        (SELECT max(sequence) FROM records WHERE records.run_id = runs.run_id),
        (SELECT created_at FROM records WHERE records.run_id = runs.run_id ORDER BY sequence DESC LIMIT 1)
    FROM runs
"""  # noqa: S608  # constants

_SELECT_RECORDS = f"SELECT {rows.RECORD_COLUMNS} FROM records WHERE run_id = ?"  # noqa: S608  # constants

_SELECT_LAST_FULL = (
    "SELECT sequence FROM records WHERE run_id = ? AND kind = 'full' AND sequence <= ? "
    "ORDER BY sequence DESC LIMIT 1"
)


@attrs.define(eq=False)
class _Head:
    """Where a run that is being written stands; nobody else writes, so it need not be read again."""

    info: RunInfo
    last_sequence: int


class SqliteFile:
    """One connection to one file, and for a writer the lock that makes it the only one."""

    def __init__(self, path: Path, *, read_only: bool, busy_timeout: float, max_bytes: int | None) -> None:
        self.name = str(path)
        self._path = path
        self._read_only = read_only
        self._busy_timeout = busy_timeout
        self._max_bytes = max_bytes
        self._heads: dict[str, _Head] = {}
        self._new_rows: list[tuple[Any, ...]] = []
        self._lock: sqlite3.Connection | None = None
        self._connection: sqlite3.Connection | None = None
        self._file_identity: tuple[int, int] | None = None

    # Opening and closing

    def open(self) -> None:
        """Open the file, making or migrating it; a file that is not ours is left as it was."""
        try:
            if not self._read_only:
                self._lock_out_other_writers()
            self._connect()
        except BaseException:
            self.close()
            raise

    def _lock_out_other_writers(self) -> None:
        # A second connection that writes could meet SQLite's WAL-reset bug (3.7.0 to 3.51.2), which damages the
        # file, and `_heads` would be wrong. The lock is SQLite's own, on an empty file beside ours: that works on
        # every system, and ends with the process, however it ends.
        lock = sqlite3.connect(f"{self._path}-lock", timeout=self._busy_timeout, isolation_level=None)
        self._lock = lock
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            if not is_busy(error):
                raise
            raise StoreError(
                self.name,
                "another store, in this program or another, is writing to it; one file has one writer at a time. "
                "To look at it meanwhile, open it with read_only=True",
            ) from error

    def _connect(self) -> None:
        mode = "ro" if self._read_only else "rwc"
        self._connection = connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=self._busy_timeout,
            isolation_level=None,
        )
        connection.text_factory = bytes
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        version = check_schema(connection, self.name, MIGRATIONS)
        if self._read_only:
            self._refuse_older(version)
            return
        self._prepare_for_writing(connection)
        if version < len(MIGRATIONS):
            migrate(connection, version, MIGRATIONS)
        self._file_identity = _identity(self._path)

    def _refuse_older(self, version: int) -> None:
        if version < len(MIGRATIONS):
            what = "is empty" if version == 0 else f"has schema {version}, not {len(MIGRATIONS)}"
            raise StoreError(
                self.name, f"{what}, and read_only=True may not change that; open it for writing once"
            )

    def _prepare_for_writing(self, connection: sqlite3.Connection) -> None:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != b"wal":
            raise StoreError(
                self.name, "its file system cannot share memory, as networked ones; use a local one"
            )
        # SQLite opens a file that may not be written all the same, and would complain at the first commit.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("PRAGMA user_version = 0")
        connection.execute("ROLLBACK")
        connection.execute("PRAGMA synchronous = FULL")
        # On macOS alone: there an ordinary flush stops at the drive's cache.
        connection.execute("PRAGMA fullfsync = ON")
        if self._max_bytes is not None:
            connection.execute(f"PRAGMA max_page_count = {max(1, self._max_bytes // _PAGE)}")

    def close(self) -> None:
        """Close what is open. The lock goes last, its file stays: removing it would let two writers in."""
        connection, self._connection = self._connection, None
        lock, self._lock = self._lock, None
        try:
            if connection is not None:
                connection.close()
        finally:
            if lock is not None:
                lock.close()

    # Transactions

    def begin(self) -> None:
        """Begin to write."""
        # SQLite goes on writing to a file that nobody can find any more.
        if _identity(self._path) != self._file_identity:
            raise StoreError(
                self.name, "the file was moved or deleted under the store; nothing more is written"
            )
        self._open_connection().execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make all since `begin` durable."""
        self._insert_new_rows()
        self._open_connection().execute("COMMIT")

    def rollback(self) -> None:
        """Undo all since `begin`, whatever state an error has left it in."""
        self._new_rows.clear()
        self._heads.clear()
        connection = self._open_connection()
        if connection.in_transaction:
            connection.execute("ROLLBACK")

    # Writing

    def create(self, run: RunInfo, records: Sequence[Record]) -> int:
        """See `CheckpointStore.create`."""
        if self._select_run(run.run_id) is not None:
            raise StoreConflictError(self.name, run.run_id, "is there already")
        check_following(self.name, run.run_id, -1, records)
        info = attrs.evolve(run, epoch=1, last_sequence=-1)
        self._write_run(info, _Head(info, -1))
        self._append(self._heads[run.run_id], records)
        return 1

    def claim(self, run_id: str) -> int:
        """See `CheckpointStore.claim`."""
        head = self._head(run_id)
        info = attrs.evolve(head.info, epoch=head.info.epoch + 1)
        self._write_run(info, head)
        return info.epoch

    def save(
        self,
        run_id: str,
        epoch: int,
        records: Sequence[Record],
        *,
        status: RunStatus | None,
        result: bytes | None,
        updated_at: float | None,
    ) -> None:
        """See `CheckpointStore.save`."""
        head = self._head(run_id)
        check_epoch(self.name, run_id, epoch, head.info.epoch)
        check_following(self.name, run_id, head.last_sequence, records)
        if status is not None or result is not None or updated_at is not None:
            self._write_run(told(head.info, status=status, result=result, updated_at=updated_at), head)
        self._append(head, records)

    def delete(self, run_id: str) -> None:
        """See `CheckpointStore.delete`. What is damaged can be deleted as well."""
        self._insert_new_rows()
        connection = self._open_connection()
        connection.execute("DELETE FROM records WHERE run_id = ?", (run_id,))
        if not connection.execute("DELETE FROM runs WHERE run_id = ?", (run_id,)).rowcount:
            raise UnknownRunError(self.name, run_id)
        self._heads.pop(run_id, None)

    def prune(self, run_id: str, keep_last: int) -> int:
        """See `CheckpointStore.prune`."""
        check_keep_last(self.name, keep_last)
        head = self._head(run_id)
        self._insert_new_rows()
        connection = self._open_connection()
        first = connection.execute(_SELECT_LAST_FULL, (run_id, head.last_sequence - keep_last + 1)).fetchone()
        if first is None:
            return 0
        return connection.execute(
            "DELETE FROM records WHERE run_id = ? AND sequence < ?", (run_id, first[0])
        ).rowcount

    # Reading

    def run(self, run_id: str) -> RunInfo:
        """See `CheckpointStore.run`."""
        row = self._select_run(run_id)
        if row is None:
            raise UnknownRunError(self.name, run_id)
        return self._described(row)

    def runs(self, workflow: str | None, status: RunStatus | None, limit: int | None) -> list[RunInfo]:
        """See `CheckpointStore.runs`."""
        check_limit(self.name, limit)
        wanted = {
            column: value
            for column, value in (("workflow", workflow), ("status", status))
            if value is not None
        }
        where = f"WHERE {' AND '.join(f'{column} = ?' for column in wanted)}" if wanted else ""
        found = self._open_connection().execute(
            f"{_SELECT_RUNS} {where} ORDER BY created_at DESC, run_id LIMIT ?",
            (*wanted.values(), -1 if limit is None else min(limit, _MOST_ROWS)),
        )
        return [self._described(row) for row in found]

    def load(self, run_id: str, up_to: int | None) -> list[Record]:
        """See `CheckpointStore.load`."""
        last_sequence = self.run(run_id).last_sequence
        if up_to is None and last_sequence < 0:
            return []
        last = last_sequence if up_to is None else up_to
        if not 0 <= last <= last_sequence:
            raise UnknownRecordError(self.name, run_id, last)
        full = self._open_connection().execute(_SELECT_LAST_FULL, (run_id, last)).fetchone()
        return self._chain(run_id, self._first(run_id, last) if full is None else full[0], last)

    def history(self, run_id: str) -> list[Record]:
        """See `CheckpointStore.history`."""
        last_sequence = self.run(run_id).last_sequence
        return self._chain(run_id, 0, last_sequence)

    # Helpers

    def _open_connection(self) -> sqlite3.Connection:
        assert self._connection is not None, (
            "the writer's first request opens the file, its last one closes it"
        )
        return self._connection

    def _select_run(self, run_id: str) -> tuple[Any, ...] | None:
        self._insert_new_rows()
        row: tuple[Any, ...] | None = (
            self._open_connection().execute(f"{_SELECT_RUNS} WHERE run_id = ?", (run_id,)).fetchone()
        )
        return row

    def _described(self, row: tuple[Any, ...]) -> RunInfo:
        run = rows.read_run(self.name, row)
        last_sequence, last_created_at = row[10:]
        if last_sequence is None:
            return run
        if type(last_sequence) is not int or type(last_created_at) is not float:
            raise StoreDamagedError(
                self.name, f"the last record of run {run.run_id!r} is not as it was written"
            )
        return attrs.evolve(run, last_sequence=last_sequence, updated_at=max(run.updated_at, last_created_at))

    def _chain(self, run_id: str, first: int, last: int) -> list[Record]:
        found = self._open_connection().execute(
            f"{_SELECT_RECORDS} AND sequence BETWEEN ? AND ? ORDER BY sequence", (run_id, first, last)
        )
        records = [rows.read_record(self.name, row) for row in found]
        check_chain(self.name, run_id, records)
        return records

    def _first(self, run_id: str, up_to: int) -> int:
        # No full record at or before *up_to*: pruned together with it, or lost, which its chain will tell.
        first = self._open_connection().execute(
            "SELECT min(sequence) FROM records WHERE run_id = ?", (run_id,)
        )
        sequence: int = first.fetchone()[0]
        if sequence > up_to:
            raise UnknownRecordError(self.name, run_id, up_to)
        return sequence

    def _head(self, run_id: str) -> _Head:
        head = self._heads.get(run_id)
        if head is None:
            row = self._select_run(run_id)
            if row is None:
                raise UnknownRunError(self.name, run_id)
            last_sequence = self._described(row).last_sequence
            head = self._heads[run_id] = _Head(rows.read_run(self.name, row), last_sequence)
        return head

    def _write_run(self, info: RunInfo, head: _Head) -> None:
        self._open_connection().execute(
            f"INSERT OR REPLACE INTO runs ({rows.RUN_COLUMNS}) VALUES {rows.RUN_VALUES}",  # noqa: S608  # constants
            rows.run_row(self.name, info),
        )
        head.info = info
        if info.status == "running":
            self._heads[info.run_id] = head
        else:
            # It is at rest; if it is taken up again, one look at the file says where it stands.
            self._heads.pop(info.run_id, None)

    def _append(self, head: _Head, records: Sequence[Record]) -> None:
        self._new_rows.extend(map(rows.record_row, records))
        head.last_sequence += len(records)

    def _insert_new_rows(self) -> None:
        new, self._new_rows = self._new_rows, []
        done = 0
        for count in _ROWS_AT_ONCE:
            while len(new) - done >= count:
                values = [value for row in new[done : done + count] for value in row]
                self._open_connection().execute(_INSERTS[count], values)
                done += count


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
