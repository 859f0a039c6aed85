"""Files that are not what they should be: one clear error each, and nothing else harmed."""

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Any

import anyio
import pytest

from anyio_workflows import StoreDamagedError, StoreError
from anyio_workflows.abc import Record, RunInfo
from anyio_workflows.stores import SqliteCheckpointStore, _sqlite_file, _sqlite_schema


def a_run(run_id: str = "run") -> RunInfo:
    return RunInfo(run_id=run_id, workflow="W", fingerprint="f", created_at=1.0, updated_at=1.0)


def a_chain(count: int, run_id: str = "run", first: int = 0, payload: bytes = b"{}") -> list[Record]:
    return [
        Record(
            run_id=run_id,
            sequence=sequence,
            kind="delta" if sequence else "full",
            payload=payload,
            is_checkpoint=True,
            step="work",
            created_at=2.0,
            previous=f"{run_id}/{sequence - 1}" if sequence else None,
        )
        for sequence in range(first, first + count)
    ]


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Return the path of a store with two runs of four records."""
    path = tmp_path / "runs.db"
    async with SqliteCheckpointStore(path) as store:
        for run_id in ("run", "other"):
            await store.create(a_run(run_id), a_chain(4, run_id))
    return path


def contents(path: Path) -> bytes:
    """Return the bytes of a file; none, if it is no file."""
    return path.read_bytes() if path.is_file() else b""


def overwrite(path: Path, contents: bytes) -> None:
    """Let a file hold these bytes."""
    path.write_bytes(contents)


def by_hand(path: Path, *statements: str) -> None:
    """Change a file as a person would, or a disk."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            connection.execute(statement)


async def refused(
    path: Path, message: str, kind: type[StoreError] = StoreError, *, read_only: bool = False
) -> None:
    """Expect that the file cannot be opened, and is not changed by the attempt."""
    before = contents(path)
    with anyio.fail_after(5), pytest.raises(StoreError, match=message) as caught:
        async with SqliteCheckpointStore(path, read_only=read_only):
            pass
    assert caught.type is kind
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 500
    assert contents(path) == before


@pytest.mark.parametrize("read_only", [False, True])
async def test_s_ckpt_7_a_file_that_is_no_database_is_refused(tmp_path: Path, read_only: bool) -> None:
    """It may be somebody's novel."""
    path = tmp_path / "novel.db"
    path.write_text("It was a dark and stormy night. " * 1000)
    await refused(path, "no SQLite database", StoreDamagedError, read_only=read_only)


@pytest.mark.parametrize("read_only", [False, True])
async def test_s_ckpt_7_another_programs_database_is_refused(tmp_path: Path, read_only: bool) -> None:
    """A browser's history keeps its tables, journal mode and version."""
    path = tmp_path / "history.db"
    by_hand(path, "CREATE TABLE urls (url)")
    await refused(path, "another program", read_only=read_only)
    by_hand(path, "DROP TABLE urls", "PRAGMA user_version = 3")
    await refused(path, "another program", read_only=read_only)


@pytest.mark.parametrize("read_only", [False, True])
async def test_s_ckpt_7_a_newer_schema_is_refused(path: Path, read_only: bool) -> None:
    """Nothing in it is lost, says the error."""
    by_hand(path, "PRAGMA user_version = 99")
    await refused(path, "newer version of anyio_workflows", read_only=read_only)


@pytest.mark.parametrize(
    "change",
    [
        "DROP VIEW overview",
        "DROP TABLE records",
        "ALTER TABLE runs ADD COLUMN extra",
        "CREATE TRIGGER evil AFTER INSERT ON runs BEGIN DELETE FROM records; END",
        "CREATE VIEW another AS SELECT 1",
    ],
)
async def test_s_ckpt_7_a_schema_that_is_not_its_versions_is_refused(path: Path, change: str) -> None:
    """A trigger in a file that somebody sent would run with our rights."""
    by_hand(path, change)
    await refused(path, "its schema is not that of version 1", StoreDamagedError)


async def test_statistics_of_the_planner_are_no_change(path: Path) -> None:
    """ANALYZE is anybody's to run."""
    by_hand(path, "ANALYZE")
    async with SqliteCheckpointStore(path) as store:
        assert len(await store.runs()) == 2


async def test_places_that_cannot_be_a_file_are_refused(tmp_path: Path) -> None:
    """No directory there, or a directory where the file should be."""
    await refused(tmp_path / "no" / "runs.db", "cannot be opened; does its directory exist")
    await refused(tmp_path, "cannot be opened")
    await refused(tmp_path / "missing.db", "cannot be opened", read_only=True)
    assert not (tmp_path / "missing.db").exists()


async def test_a_lock_that_is_none_is_one_clear_error(tmp_path: Path) -> None:
    """Somebody has put something else in its place."""
    overwrite(tmp_path / "runs.db-lock", b"It was a dark and stormy night. " * 1000)
    await refused(tmp_path / "runs.db", "no SQLite database", StoreDamagedError)


@pytest.mark.skipif(os.name != "posix", reason="needs one of SQLite's ways to the disk that is Unix' alone")
async def test_a_file_system_without_shared_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file on a network may not be read by another machine while it is written."""
    connect = sqlite3.connect

    def on_a_network(path: str, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(
            f"{path}&vfs=unix-dotfile" if options.get("uri") else path, **options
        )
        return connection

    monkeypatch.setattr(sqlite3, "connect", on_a_network)
    with pytest.raises(StoreError, match="file system cannot share memory"):
        async with SqliteCheckpointStore(tmp_path / "runs.db"):
            pass


async def test_an_empty_file_is_a_new_store_for_a_writer_alone(tmp_path: Path) -> None:
    """Who may only look cannot make its tables."""
    path = tmp_path / "runs.db"
    path.touch()
    await refused(path, "is empty", read_only=True)
    async with SqliteCheckpointStore(path) as store:
        assert await store.runs() == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everything")
async def test_a_file_that_may_not_be_written_is_refused_when_it_is_opened(path: Path) -> None:
    """Not at the first commit, when something has been done."""
    path.chmod(0o444)  # noqa: ASYNC240
    await refused(path, "may not be written")
    async with SqliteCheckpointStore(path, read_only=True) as store:
        assert len(await store.load("run")) == 4


async def test_a_file_deleted_under_the_store_is_told(path: Path) -> None:
    """SQLite would go on writing to a file that nobody can find."""
    with anyio.fail_after(5):
        async with SqliteCheckpointStore(path) as store:
            path.unlink()  # noqa: ASYNC240
            with pytest.raises(StoreError, match="moved or deleted"):
                await store.save("run", 1, a_chain(1, first=4))


async def test_s_ckpt_7_a_file_cut_short_is_one_clear_error(path: Path) -> None:
    """Wherever it was cut; and a file that can still be opened gives no wrong record."""
    whole = contents(path)
    for length in (10, 50, 100, 512, 4096, len(whole) // 2, len(whole) - 1):
        overwrite(path, whole[:length])
        with anyio.fail_after(5), pytest.raises(StoreDamagedError):
            async with SqliteCheckpointStore(path) as store:
                await store.load("run")


async def test_s_ckpt_7_no_damage_gives_a_wrong_record(path: Path) -> None:
    """Bytes overwritten anywhere: what comes back is what was written, or an error of ours."""
    whole = contents(path)
    for place in range(0, len(whole), 199):
        overwrite(
            path, whole[:place] + bytes(byte ^ 0x55 for byte in whole[place : place + 7]) + whole[place + 7 :]
        )
        with anyio.fail_after(5), contextlib.suppress(StoreError):
            async with SqliteCheckpointStore(path, read_only=True) as store:
                assert await store.load("run") == a_chain(4)[: len(await store.load("run"))]


RECORD_CHANGES = [
    "payload = '{\"a\": 1}'",
    "payload = x'ff'",
    "payload = 5",
    "checksum = checksum + 1",
    "checksum = 'x'",
    "step = 'other'",
    "step = NULL",
    "step = x'ff'",
    "created_at = 3.0",
    "created_at = 'x'",
    "is_checkpoint = 0",
    "is_checkpoint = 2",
    "kind = 'full'",
    "kind = 'other'",
    "previous = 'run/0'",
    "previous = NULL",
]


@pytest.mark.parametrize("change", RECORD_CHANGES)
async def test_s_ckpt_7_a_changed_record_is_found(path: Path, change: str) -> None:
    """Whichever column; the error names the record, and no other run is harmed."""
    by_hand(path, f"UPDATE records SET {change} WHERE run_id = 'run' AND sequence = 2")
    with anyio.fail_after(5):
        async with SqliteCheckpointStore(path) as store:
            with pytest.raises(StoreDamagedError, match="record 'run'/2 is not as it was written"):
                await store.history("run")
            assert await store.load("other") == a_chain(4, "other")
            await store.delete("run")
            assert [run.run_id for run in await store.runs()] == ["other"]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DELETE FROM records WHERE run_id = 'run' AND sequence = 2", "'run/2' is missing"),
        ("DELETE FROM records WHERE run_id = 'run' AND sequence = 0", "begins with record 1, a delta"),
        (
            "UPDATE records SET sequence = 9 WHERE run_id = 'run' AND sequence = 2",
            "'run/2' is missing|run'/9",
        ),
    ],
)
async def test_s_ckpt_7_a_missing_record_is_found(path: Path, statement: str, message: str) -> None:
    """A chain with a hole would give a state that never was."""
    by_hand(path, statement)
    with anyio.fail_after(5):
        async with SqliteCheckpointStore(path) as store:
            with pytest.raises(StoreDamagedError, match=message):
                await store.history("run")
            with pytest.raises(StoreError):
                await store.load("run")


@pytest.mark.parametrize(
    "change",
    [
        "status = 'completed'",
        "status = 'other'",
        "workflow = 'V'",
        "workflow = x'ff'",
        "fingerprint = 5",
        "result = 'x'",
        "parent = 'p'",
        "created_at = 'x'",
        "updated_at = 5.0",
        "epoch = 7",
        "checksum = 0",
    ],
)
async def test_s_ckpt_7_a_changed_run_is_found(path: Path, change: str) -> None:
    """A run that failed must not become one that was completed."""
    by_hand(path, f"UPDATE runs SET {change} WHERE run_id = 'run'")
    with anyio.fail_after(5):
        async with SqliteCheckpointStore(path) as store:
            for call in (store.run("run"), store.load("run"), store.claim("run"), store.runs()):
                with pytest.raises(StoreDamagedError, match="run 'run'"):
                    await call
            assert await store.load("other") == a_chain(4, "other")


async def test_a_time_of_the_wrong_kind_is_found(path: Path) -> None:
    """Also where only the run is looked at."""
    by_hand(path, "UPDATE records SET created_at = 'x' WHERE run_id = 'run' AND sequence = 3")
    async with SqliteCheckpointStore(path) as store:
        with pytest.raises(StoreDamagedError, match="the last record of run 'run'"):
            await store.run("run")


async def test_a_run_with_a_time_that_is_none_is_refused(path: Path) -> None:
    """SQLite would keep NaN as NULL."""
    async with SqliteCheckpointStore(path) as store:
        with pytest.raises(StoreError, match="no number of seconds"):
            await store.save("run", 1, [], updated_at=float("inf"))


async def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    """What was saved before is there, the refused save has left nothing, and there may be space again later."""
    with anyio.fail_after(10):
        async with SqliteCheckpointStore(tmp_path / "runs.db", max_bytes=200_000) as store:
            await store.create(a_run(), a_chain(1))
            await store.create(a_run("large"), a_chain(1, "large", payload=b"x" * 100_000))
            saved = 1
            with pytest.raises(StoreError, match="no space left"):
                while True:
                    await store.save("run", 1, a_chain(2, first=saved, payload=b"y" * 5_000))
                    saved += 2
            assert saved > 5
            assert [record.sequence for record in await store.load("run")] == list(range(saved))
            await store.delete("large")
            await store.save("run", 1, a_chain(2, first=saved, payload=b"y" * 5_000))


async def test_s_ckpt_7_an_older_schema_is_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a writer; who may only read says that a writer has to come first."""
    later = (
        *_sqlite_schema.MIGRATIONS,
        ("CREATE TABLE notes (note TEXT)", "INSERT INTO notes VALUES ('migrated')"),
    )
    monkeypatch.setattr(_sqlite_file, "MIGRATIONS", later)
    await refused(path, "has schema 1, not 2", read_only=True)
    async with SqliteCheckpointStore(path) as store:
        assert await store.load("run") == a_chain(4)
    async with SqliteCheckpointStore(path, read_only=True) as store:
        assert await store.load("run") == a_chain(4)
    monkeypatch.undo()
    await refused(path, "newer version")


async def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The older version can still open the file."""
    with monkeypatch.context() as patch:
        later = (*_sqlite_schema.MIGRATIONS, ("CREATE TABLE notes (note)", "INSERT INTO nowhere VALUES (1)"))
        patch.setattr(_sqlite_file, "MIGRATIONS", later)
        patch.setattr(_sqlite_file, "check_schema", lambda *_: 1)
        with pytest.raises(StoreError, match="nowhere"):
            async with SqliteCheckpointStore(path):
                pass
    async with SqliteCheckpointStore(path) as store:
        assert await store.load("run") == a_chain(4)
