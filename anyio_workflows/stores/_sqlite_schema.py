"""Decide whether a SQLite file is a store of ours, and bring an older one up to date.

The schema is for people as well: `runs` and `records` can be read with the ``sqlite3`` tool, and `overview` says
how each run stands. Nothing of a file that is not ours is changed.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing

from .. import StoreDamagedError, StoreError

APPLICATION_ID = 0x616E7777
"""What SQLite's header says of whose file it is; ``anww``."""

# Records lie in the order in which they came, beside an index: in the order of their chains, a commit of many runs
# would write one page for each of them. A run's last sequence is not kept with the run: a commit would have to
# rewrite that row as well.
_FIRST = (
    """
    CREATE TABLE runs (
        run_id TEXT PRIMARY KEY NOT NULL,
        workflow TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        status TEXT NOT NULL,
        result TEXT,
        parent TEXT,
        created_at REAL NOT NULL,  -- seconds since 1970, UTC
        updated_at REAL NOT NULL,  -- of the run itself; its records have times of their own
        epoch INTEGER NOT NULL,    -- how many writers have claimed it
        checksum INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX runs_by_age ON runs (created_at)",
    "CREATE INDEX runs_by_status ON runs (status, created_at)",
    """
    CREATE TABLE records (
        run_id TEXT NOT NULL REFERENCES runs (run_id),
        sequence INTEGER NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('full', 'delta')),
        is_checkpoint INTEGER NOT NULL CHECK (is_checkpoint IN (0, 1)),
        step TEXT,
        created_at REAL NOT NULL,  -- seconds since 1970, UTC
        previous TEXT,             -- run_id/sequence of the record before
        checksum INTEGER NOT NULL,
        payload TEXT NOT NULL,
        PRIMARY KEY (run_id, sequence)
    )
    """,
    """
    CREATE VIEW overview AS
    SELECT
        run_id,
        workflow,
        status,
        datetime(created_at, 'unixepoch') AS started,
        datetime((SELECT max(created_at) FROM records WHERE records.run_id = runs.run_id), 'unixepoch')
            AS last_record,
        (SELECT count(*) FROM records WHERE records.run_id = runs.run_id) AS records,
        (SELECT step FROM records WHERE records.run_id = runs.run_id AND step IS NOT NULL
            ORDER BY sequence DESC LIMIT 1) AS last_step,
        epoch
    FROM runs
    ORDER BY created_at DESC, run_id
    """,
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST,)
"""The statements that bring a file of version *n* to version *n* + 1; an empty file is of version 0."""


def check_schema(connection: sqlite3.Connection, store: str, migrations: Sequence[Sequence[str]]) -> int:
    """Return the version of the file, which is 0 for a new one, having only read.

    Raises:
        StoreError: It is somebody else's database, or a newer version of this library has written it.
        StoreDamagedError: Its tables are not what they should be in its version.
    """
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    found = _objects(connection)
    if application_id != APPLICATION_ID:
        if application_id or version or found:
            raise StoreError(
                store, "is a database of another program; give the path of a store, or a new one"
            )
        return 0
    if version > len(migrations):
        raise StoreError(
            store,
            f"was written by a newer version of anyio_workflows (schema {version}, this one knows up to "
            f"{len(migrations)}); upgrade, and nothing in it is lost",
        )
    expected = _expected(migrations[:version])
    if found != expected:
        names = ", ".join(sorted(name.decode(errors="replace") for _, name, _ in found ^ expected)[:5])
        raise StoreDamagedError(store, f"its schema is not that of version {version}: look at {names}")
    return int(version)


def migrate(connection: sqlite3.Connection, version: int, migrations: Sequence[Sequence[str]]) -> None:
    """Bring the file from *version* to the newest one, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statements in migrations[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _expected(migrations: Sequence[Sequence[str]]) -> set[tuple[bytes, bytes, bytes | None]]:
    # Made by the same SQLite from the same statements: nothing has to be listed twice.
    with closing(sqlite3.connect(":memory:")) as scratch:
        scratch.text_factory = bytes
        for statements in migrations:
            for statement in statements:
                scratch.execute(statement)
        return _objects(scratch)


def _objects(connection: sqlite3.Connection) -> set[tuple[bytes, bytes, bytes | None]]:
    # Statistics of the query planner are anybody's to add.
    return set(
        connection.execute("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_stat%'")
    )
