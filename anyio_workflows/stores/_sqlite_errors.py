"""Say what an error of SQLite means to the user of a store."""

import sqlite3

from .. import StoreDamagedError, StoreError

_DAMAGED = {
    sqlite3.SQLITE_CORRUPT: "the file is damaged or cut short",
    sqlite3.SQLITE_NOTADB: "the file is no SQLite database, or its beginning is damaged",
}
_OTHERS = {
    sqlite3.SQLITE_BUSY: "another program has locked the file; let it finish, or give a longer busy_timeout",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened; does its directory exist, and may it be written?",
    sqlite3.SQLITE_FULL: "there is no space left, on the disk or within max_bytes",
    sqlite3.SQLITE_IOERR: "the disk does not read or write as it should",
    sqlite3.SQLITE_NOMEM: "there is not enough memory for this record",
    sqlite3.SQLITE_PERM: "the file may not be written",
    sqlite3.SQLITE_READONLY: "the file may not be written, or was moved or deleted under the store",
    sqlite3.SQLITE_TOOBIG: "a record is larger than SQLite can hold",
}


def explain(error: Exception, store: str) -> StoreError:
    """Return the error of ours for one of SQLite's, or of its module's, which is the cause.

    One of ours is returned as it is.
    """
    if isinstance(error, StoreError):
        return error
    code = _code(error)
    if code in _DAMAGED:
        explained: StoreError = StoreDamagedError(store, f"{_DAMAGED[code]} ({error})")
    else:
        explained = StoreError(store, f"{_OTHERS.get(code, 'SQLite refused it')} ({error})")
    explained.__cause__ = error
    return explained


def is_busy(error: sqlite3.Error) -> bool:
    """Whether somebody else has locked the file."""
    return _code(error) == sqlite3.SQLITE_BUSY


def _code(error: Exception) -> int:
    # The lowest byte is the kind, the others its variety. Errors of the Python module itself have no code.
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF
