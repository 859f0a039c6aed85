"""Put what waits to be written into one transaction, and let nobody's mistake harm the others in it."""

import sqlite3
from collections.abc import Sequence
from contextlib import suppress

from .. import StoreError, WorkflowError
from ._sqlite_errors import explain
from ._sqlite_file import SqliteFile
from ._writer import Request


def serve(file: SqliteFile, requests: Sequence[Request]) -> None:
    """Do what *requests* ask for: all that is to be written, then what is to be read."""
    writing = [request for request in requests if request.writes]
    if writing and not _write(file, writing):
        # Once more, each alone: only the one that cannot be written fails, and what was remembered of its run is
        # read again, so that another program's rows show as the conflict that they are.
        for request in writing:
            _write(file, [request])
    for request in requests:
        if not request.writes:
            _read(file, request)


def _write(file: SqliteFile, requests: Sequence[Request]) -> bool:
    """Do all of *requests* in one transaction; False if one of them made that impossible."""
    try:
        file.begin()
    except (sqlite3.Error, StoreError) as error:
        for request in requests:
            request.error = explain(error, file.name)
        return True
    try:
        for request in requests:
            _attempt(request)
        file.commit()
    except Exception as error:  # noqa: BLE001  # a value that SQLite cannot hold, also: its caller is told
        with suppress(sqlite3.Error):  # it may have ended the transaction; if not, the next `begin` says so
            file.rollback()
        for request in requests:
            request.error = explain(error, file.name)
        return False
    return True


def _attempt(request: Request) -> None:
    # One that is refused has written nothing, so the others can be committed.
    request.error = None
    try:
        request.result = request.call()
    except WorkflowError as error:
        request.error = error


def _read(file: SqliteFile, request: Request) -> None:
    try:
        request.result = request.call()
    except WorkflowError as error:
        request.error = error
    except Exception as error:  # noqa: BLE001  # its caller is told, and the thread goes on
        request.error = explain(error, file.name)
