"""The SQLite store at work: who writes, who waits for whom, and what is on the disk afterwards."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest

from anyio_workflows import StoreConflictError, StoreError, UnknownRunError
from anyio_workflows.abc import CheckpointStore, Record, RunInfo
from anyio_workflows.stores import SqliteCheckpointStore
from anyio_workflows.stores._sqlite_file import SqliteFile


def a_run(run_id: str = "run") -> RunInfo:
    return RunInfo(run_id=run_id, workflow="W", fingerprint="f", created_at=1.0, updated_at=1.0)


def a_record(sequence: int, run_id: str = "run", payload: bytes = b'{"a": 1}') -> Record:
    return Record(
        run_id=run_id,
        sequence=sequence,
        kind="delta" if sequence else "full",
        payload=payload,
        is_checkpoint=True,
        step="work",
        created_at=2.0 + sequence,
        previous=f"{run_id}/{sequence - 1}" if sequence else None,
    )


@attrs.define
class Gate:
    """Holds the writer before its next transaction, and counts them all."""

    open: threading.Event = attrs.field(factory=threading.Event)
    reached: threading.Event = attrs.field(factory=threading.Event)
    count: int = 0


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Return a gate that stands open."""
    made = Gate()
    made.open.set()
    begin = SqliteFile.begin

    def gated(self: SqliteFile) -> None:
        made.reached.set()
        assert made.open.wait(5)
        made.count += 1
        begin(self)

    monkeypatch.setattr(SqliteFile, "begin", gated)
    return made


def writers() -> list[threading.Thread]:
    """Return the threads of stores; AnyIO has others of its own."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("writer of")]


async def passed(event: threading.Event) -> None:
    """Wait for a thread without blocking the event loop."""
    while not event.is_set():  # noqa: ASYNC110  # a thread's event
        await anyio.lowlevel.checkpoint()


async def test_s_ckpt_6_saves_that_wait_share_a_commit(tmp_path: Path, gate: Gate) -> None:
    """A hundred runs pay for one flush to the disk."""
    with anyio.fail_after(5):
        async with SqliteCheckpointStore(tmp_path / "runs.db") as store:
            gate.open.clear()
            gate.reached.clear()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.create, a_run("first"), [])
                await passed(gate.reached)
                for number in range(100):
                    tasks.start_soon(store.create, a_run(str(number)), [a_record(0, str(number))])
                await anyio.wait_all_tasks_blocked()
                gate.open.set()
            assert gate.count == 2
            assert len(await store.runs()) == 101


async def test_s_ckpt_6_one_that_cannot_be_written_harms_no_other(tmp_path: Path, gate: Gate) -> None:
    """Those that shared its transaction are written without it."""
    errors: list[StoreError] = []

    async def fail(store: CheckpointStore, record: Record) -> None:
        with pytest.raises(StoreError) as caught:
            await store.save(record.run_id, 1, [record])
        errors.append(caught.value)

    with anyio.fail_after(5):
        async with SqliteCheckpointStore(tmp_path / "runs.db") as store:
            for run_id in "abc":
                await store.create(a_run(run_id), [a_record(0, run_id)])
            gate.open.clear()
            gate.reached.clear()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.create, a_run("first"), [])
                await passed(gate.reached)
                tasks.start_soon(store.create, a_run("second"), [a_record(0, "second")])
                tasks.start_soon(fail, store, attrs.evolve(a_record(1, "a"), step="\udc80"))
                tasks.start_soon(fail, store, attrs.evolve(a_record(1, "b"), created_at=float("nan")))
                nothing: Any = None
                tasks.start_soon(fail, store, attrs.evolve(a_record(1, "c"), payload=nothing))
                tasks.start_soon(store.create, a_run("third"), [a_record(0, "third")])
                await anyio.wait_all_tasks_blocked()
                gate.open.set()
            assert len(errors) == 3
            for run_id in ("second", "third"):
                assert await store.load(run_id) == [a_record(0, run_id)]
            for run_id in "abc":
                await store.save(run_id, 1, [a_record(1, run_id)])
                assert len(await store.load(run_id)) == 2


@pytest.mark.parametrize("method", ["delete", "prune"])
async def test_s_ckpt_6_within_one_commit_all_comes_in_order(tmp_path: Path, gate: Gate, method: str) -> None:
    """What is saved and pruned or deleted at the same moment is pruned or deleted."""
    with anyio.fail_after(5):
        async with SqliteCheckpointStore(tmp_path / "runs.db") as store:
            await store.create(a_run(), [a_record(0)])
            full = attrs.evolve(a_record(1), kind="full")
            gate.open.clear()
            gate.reached.clear()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.create, a_run("first"), [])
                await passed(gate.reached)
                tasks.start_soon(store.save, "run", 1, [full])
                await anyio.wait_all_tasks_blocked()
                tasks.start_soon(
                    partial(store.delete, "run")
                    if method == "delete"
                    else partial(store.prune, "run", keep_last=1)
                )
                await anyio.wait_all_tasks_blocked()
                gate.open.set()
            if method == "delete":
                await store.create(a_run(), [])
            assert await store.history("run") == ([] if method == "delete" else [full])


async def test_a_run_at_rest_costs_the_store_no_memory(tmp_path: Path) -> None:
    """Ten thousand may be put away; only those that are written are remembered."""
    with anyio.fail_after(5):
        async with SqliteCheckpointStore(tmp_path / "runs.db") as store:
            for run_id in "abc":
                await store.create(a_run(run_id), [a_record(0, run_id)])
                await store.save(run_id, 1, [], status="put_away")
            await store.claim("b")
            assert store._file is not None
            assert store._file._heads == {}
            await store.save("a", 1, [a_record(1, "a")], status="running")
            assert set(store._file._heads) == {"a"}


async def test_s_ckpt_6_no_thread_outlives_the_store(tmp_path: Path) -> None:
    """Neither after a body that fails nor after an opening that does; an exception leaves as itself."""
    with anyio.fail_after(5):
        with pytest.raises(ZeroDivisionError):
            async with SqliteCheckpointStore(tmp_path / "runs.db") as store:
                await store.create(a_run(), [])
                raise ZeroDivisionError
        with pytest.raises(StoreError):
            async with SqliteCheckpointStore(tmp_path / "no" / "runs.db"):
                pass
        with anyio.CancelScope() as scope:
            async with SqliteCheckpointStore(tmp_path / "runs.db") as store:
                scope.cancel()
                await store.runs()
        assert scope.cancelled_caught
    assert writers() == []


async def test_s_ckpt_6_a_save_that_has_begun_is_waited_for(tmp_path: Path, gate: Gate) -> None:
    """Cancelled or not, when it is over it has happened, and the cancellation is still there."""
    with anyio.fail_after(5):
        async with SqliteCheckpointStore(tmp_path / "runs.db") as store:
            gate.open.clear()
            gate.reached.clear()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.create, a_run(), [a_record(0)])
                await passed(gate.reached)
                tasks.cancel_scope.cancel()
                gate.open.set()
            assert await store.load("run") == [a_record(0)]


async def test_s_ckpt_6_a_save_that_comes_too_late_does_not_happen(tmp_path: Path) -> None:
    """In a cancelled scope nothing is begun."""
    with anyio.fail_after(5):
        async with SqliteCheckpointStore(tmp_path / "runs.db") as store:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await store.create(a_run(), [a_record(0)])
            assert scope.cancelled_caught
            assert await store.runs() == []


async def test_s_ckpt_6_who_only_reads_need_not_wait(
    tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load behind a slow commit can be cancelled at once, and is not done for nobody."""
    looked: list[object] = []
    monkeypatch.setattr(SqliteFile, "runs", lambda *_: looked.append(None))
    with anyio.fail_after(5):
        async with SqliteCheckpointStore(tmp_path / "runs.db") as store, anyio.create_task_group() as tasks:
            gate.open.clear()
            gate.reached.clear()
            tasks.start_soon(store.create, a_run(), [a_record(0)])
            await passed(gate.reached)
            with anyio.move_on_after(0.001) as scope:
                await store.runs()
            assert scope.cancelled_caught
            gate.open.set()
    assert looked == []


def test_s_ckpt_6_asyncios_own_cancellation_tears_nothing(tmp_path: Path, gate: Gate) -> None:
    """`asyncio.Task.cancel` gets through shields: the save goes on without its caller, as a whole."""

    async def main() -> None:
        async with SqliteCheckpointStore(tmp_path / "runs.db") as store:
            gate.open.clear()
            gate.reached.clear()
            saving = asyncio.ensure_future(store.create(a_run(), [a_record(0), a_record(1)]))
            await passed(gate.reached)
            saving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await saving
            gate.open.set()
            assert len(await store.load("run")) == 2

    asyncio.run(asyncio.wait_for(main(), 5))


def test_s_ckpt_6_an_event_loop_that_ends_too_early_loses_nothing(tmp_path: Path, gate: Gate) -> None:
    """The thread writes what it was given, closes the file and ends."""

    async def main() -> None:
        store = SqliteCheckpointStore(tmp_path / "runs.db")
        await store.__aenter__()
        gate.open.clear()
        gate.reached.clear()
        saving.append(asyncio.ensure_future(store.create(a_run(), [a_record(0)])))
        await passed(gate.reached)

    saving: list[asyncio.Future[int]] = []
    asyncio.run(main())
    gate.open.set()
    for thread in writers():
        thread.join(5)
    assert writers() == []
    with contextlib.closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        assert connection.execute("SELECT run_id, epoch FROM runs").fetchall() == [("run", 1)]


async def test_s_ckpt_6_one_file_has_one_writer(tmp_path: Path) -> None:
    """The second one is told at once, and may open it when the first is gone."""
    path = tmp_path / "runs.db"
    with anyio.fail_after(5):
        async with SqliteCheckpointStore(path) as store:
            with pytest.raises(StoreError, match=r"one writer at a time.*read_only=True"):
                async with SqliteCheckpointStore(path, busy_timeout=0.01):
                    pass
            await store.create(a_run(), [])
        async with SqliteCheckpointStore(path) as store:
            assert await store.claim("run") == 2


async def test_s_ckpt_6_others_may_read_while_it_is_written(tmp_path: Path) -> None:
    """They see what is committed, and may change nothing."""
    path = tmp_path / "runs.db"
    with anyio.fail_after(5):
        async with (
            SqliteCheckpointStore(path) as store,
            SqliteCheckpointStore(path, read_only=True) as reader,
        ):
            assert await reader.runs() == []
            await store.create(a_run(), [a_record(0)])
            assert await reader.load("run") == [a_record(0)]
            await store.save("run", 1, [a_record(1)], status="completed", result=b"1")
            assert await reader.run("run") == await store.run("run")
            assert len(await reader.history("run")) == 2
            for call in (
                reader.create(a_run("other"), []),
                reader.claim("run"),
                reader.save("run", 1, []),
                reader.delete("run"),
                reader.prune("run", keep_last=1),
            ):
                with pytest.raises(StoreError, match="read_only=True"):
                    await call
            with pytest.raises(UnknownRunError):
                await reader.load("other")
        async with SqliteCheckpointStore(path, read_only=True) as reader:
            assert len(await reader.history("run")) == 2


async def test_s_ckpt_6_people_can_read_it(tmp_path: Path) -> None:
    """With the tool that everybody has: payloads are text, and one view says how each run stands."""
    path = tmp_path / "runs.db"
    with anyio.fail_after(5):
        async with SqliteCheckpointStore(path) as store:
            await store.create(a_run(), [a_record(0), a_record(1, payload='{"name": "Zoë"}'.encode())])
            await store.save("run", 1, [], status="completed", result=b'"done"')
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        overview = connection.execute("SELECT * FROM overview").fetchall()
        times = ("1970-01-01 00:00:01", "1970-01-01 00:00:03")
        assert overview == [("run", "W", "completed", *times, 2, "work", 1)]
        names = "SELECT json_extract(payload, '$.name') FROM records WHERE sequence = 1"
        assert connection.execute(names).fetchall() == [("Zoë",)]
        assert connection.execute("SELECT result FROM runs").fetchall() == [('"done"',)]


async def test_another_programs_lock_is_waited_for_and_then_told(tmp_path: Path) -> None:
    """Somebody may have begun a transaction by hand; afterwards all goes on."""
    path = tmp_path / "runs.db"
    with anyio.fail_after(5):
        async with SqliteCheckpointStore(path, busy_timeout=0.01) as store:
            await store.create(a_run(), [a_record(0)])
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(StoreError, match="locked"):
                    await store.save("run", 1, [a_record(1)])
                other.execute("ROLLBACK")
            await store.save("run", 1, [a_record(1)])
            assert len(await store.load("run")) == 2


async def test_a_row_written_by_another_program_is_a_conflict(tmp_path: Path) -> None:
    """What the store remembers of a run is checked against the file by its primary key."""
    path = tmp_path / "runs.db"
    with anyio.fail_after(5):
        async with SqliteCheckpointStore(path) as store:
            await store.create(a_run(), [a_record(0)])
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("INSERT INTO records SELECT run_id, 1, kind, 1, '', 1, '', 1, '' FROM records")
            with pytest.raises(StoreConflictError, match="goes on with record 2"):
                await store.save("run", 1, [a_record(1)])


async def test_nobody_waits_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong in the thread is told to all that wait for it, and it goes on."""
    store = SqliteCheckpointStore(tmp_path / "runs.db")
    with anyio.fail_after(5):
        async with store:
            assert store._writer is not None
            with monkeypatch.context() as patch:
                patch.setattr(store._writer, "_serve", None)
                with pytest.raises(TypeError):
                    await store.runs()
            assert await store.runs() == []


async def test_an_error_of_closing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be the last that a disk says."""
    close = SqliteFile.close

    def fail(self: SqliteFile) -> None:
        close(self)
        raise ZeroDivisionError

    monkeypatch.setattr(SqliteFile, "close", fail)
    with anyio.fail_after(5), pytest.raises(ZeroDivisionError):
        async with SqliteCheckpointStore(tmp_path / "runs.db") as store:
            await store.runs()


async def test_wrong_use_is_told(tmp_path: Path) -> None:
    """Before it is opened, after it is closed, twice at once, and in memory."""
    store = SqliteCheckpointStore(tmp_path / "runs.db")
    with anyio.fail_after(5):
        with pytest.raises(StoreError, match="async with SqliteCheckpointStore"):
            await store.runs()
        for _ in range(2):
            async with store:
                with pytest.raises(StoreError, match="open already"):
                    await store.__aenter__()
                await store.runs()
        with pytest.raises(StoreError, match="is not open"):
            await store.runs()
    with pytest.raises(StoreError, match="MemoryCheckpointStore"):
        SqliteCheckpointStore(":memory:")
    assert "read_only=True" in repr(SqliteCheckpointStore("x", read_only=True))


def test_a_store_belongs_to_one_event_loop(tmp_path: Path) -> None:
    """Its answers would go to the wrong one."""

    async def use(store: CheckpointStore) -> None:
        with pytest.raises(StoreError, match="another event loop"):
            await store.runs()

    async def main() -> None:
        async with SqliteCheckpointStore(tmp_path / "runs.db") as store:
            await anyio.to_thread.run_sync(anyio.run, use, store)

    anyio.run(main)


WRITE_FOR_EVER = """
import anyio, sys
sys.path.insert(0, {tests!r})
from test_stores_sqlite import SqliteCheckpointStore, a_record, a_run

async def main():
    async with SqliteCheckpointStore({path!r}) as store:
        epoch = await store.create(a_run(), [a_record(0)])
        for sequence in range(1, 1_000_000, 3):
            await store.save("run", epoch, [a_record(sequence + more) for more in range(3)])
            print(sequence + 2, flush=True)

anyio.run(main)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("saves", [1, 7, 40])
def test_s_ckpt_6_what_was_saved_survives_a_kill(tmp_path: Path, saves: int) -> None:
    """The file is sound, holds all that was reported and no half of a save, and can be written again."""
    path = tmp_path / "runs.db"
    script = WRITE_FOR_EVER.format(path=str(path), tests=str(Path(__file__).parent))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(saves):
            reported = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        reported = max([reported, *(int(line) for line in process.stdout if line.endswith("\n"))])

    async def main() -> None:
        async with SqliteCheckpointStore(path) as store:
            records = await store.load("run")
            assert len(records) > reported
            assert len(records) % 3 == 1
            assert await store.claim("run") == 2

    anyio.run(main)
