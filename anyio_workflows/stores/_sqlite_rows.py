"""Turn records and runs into rows of SQLite and back, so that no damage goes unnoticed.

Text is read as the bytes it is: a flipped bit must become a `StoreDamagedError`, not one of the decoder.
"""

import math
from typing import Any, Literal, cast, get_args
from zlib import crc32

from .. import StoreDamagedError, StoreError
from ..abc import Record, RunInfo, RunStatus

RECORD_COLUMNS = "run_id, sequence, kind, is_checkpoint, step, created_at, previous, checksum, payload"
RECORD_VALUES = "(?, ?, ?, ?, ?, ?, ?, ?, CAST(? AS TEXT))"
"""Bytes are kept as text so that people can read them, whatever they are: SQLite does not look into them."""

RUN_COLUMNS = "run_id, workflow, fingerprint, status, result, parent, created_at, updated_at, epoch, checksum"
RUN_VALUES = "(?, ?, ?, ?, CAST(? AS TEXT), ?, ?, ?, ?, ?)"

_KINDS = ("full", "delta")
_STATUSES = frozenset(get_args(RunStatus))


def record_row(record: Record) -> tuple[Any, ...]:
    """Return what is stored of *record*."""
    return (
        record.run_id,
        record.sequence,
        record.kind,
        record.is_checkpoint,
        record.step,
        _seconds(record.created_at),
        record.previous,
        _record_checksum(record),
        record.payload,
    )


def read_record(store: str, row: tuple[Any, ...]) -> Record:
    """Return the record that *row* is.

    Raises:
        StoreDamagedError: It is not what was stored.
    """
    run_id, sequence, kind, is_checkpoint, step, created_at, previous, checksum, payload = row
    try:
        record = Record(
            run_id=_text(run_id),
            sequence=_of(int, sequence),
            kind=cast(Literal["full", "delta"], _text(kind)),
            is_checkpoint=bool(_of(int, is_checkpoint)),
            step=_optional_text(step),
            created_at=_of(float, created_at),
            previous=_optional_text(previous),
            payload=_of(bytes, payload),
        )
    except (TypeError, UnicodeDecodeError):
        raise _damaged_record(store, run_id, sequence) from None
    if is_checkpoint not in (0, 1) or record.kind not in _KINDS or _record_checksum(record) != checksum:
        raise _damaged_record(store, run_id, sequence)
    return record


def run_row(store: str, run: RunInfo) -> tuple[Any, ...]:
    """Return what is stored of *run*; how far it has come is with its records."""
    if not (math.isfinite(run.created_at) and math.isfinite(run.updated_at)):
        raise StoreError(store, f"run {run.run_id!r} has a time that is no number of seconds")
    return (
        run.run_id,
        run.workflow,
        run.fingerprint,
        run.status,
        run.result,
        run.parent,
        _seconds(run.created_at),
        _seconds(run.updated_at),
        run.epoch,
        _run_checksum(run),
    )


def read_run(store: str, row: tuple[Any, ...]) -> RunInfo:
    """Return the run that *row* is; its last two columns are of its last record.

    Raises:
        StoreDamagedError: It is not what was stored.
    """
    run_id, workflow, fingerprint, status, result, parent, created_at, updated_at, epoch, checksum = row[:10]
    try:
        run = RunInfo(
            run_id=_text(run_id),
            workflow=_text(workflow),
            fingerprint=_text(fingerprint),
            status=cast(RunStatus, _text(status)),
            result=None if result is None else _of(bytes, result),
            parent=_optional_text(parent),
            created_at=_of(float, created_at),
            updated_at=_of(float, updated_at),
            epoch=_of(int, epoch),
        )
    except (TypeError, UnicodeDecodeError):
        raise _damaged_run(store, run_id) from None
    if run.status not in _STATUSES or _run_checksum(run) != checksum:
        raise _damaged_run(store, run_id)
    return run


def _record_checksum(record: Record) -> int:
    # Against damage, not against forgery, which would need a key that the file does not hold. `ascii` gives the
    # same text on every version of Python; `repr` does not.
    head = ascii(
        (
            record.run_id,
            record.sequence,
            record.previous,
            record.kind,
            record.is_checkpoint,
            record.step,
            _seconds(record.created_at),
        )
    )
    return crc32(record.payload, crc32(head.encode("ascii")))


def _run_checksum(run: RunInfo) -> int:
    head = ascii(
        (
            run.run_id,
            run.workflow,
            run.fingerprint,
            run.status,
            run.parent,
            _seconds(run.created_at),
            _seconds(run.updated_at),
            run.epoch,
            run.result is None,
        )
    )
    return crc32(run.result or b"", crc32(head.encode("ascii")))


def _seconds(value: float) -> float:
    # As it comes back: a float, though an int was given, and never -0.0.
    return value + 0.0


def _text(value: Any) -> str:
    text: bytes = _of(bytes, value)
    return text.decode()


def _optional_text(value: Any) -> str | None:
    return None if value is None else _text(value)


def _of(kind: type[Any], value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(value)
    return value


def _damaged_record(store: str, run_id: Any, sequence: Any) -> StoreDamagedError:
    return StoreDamagedError(store, f"record {_shown(run_id)}/{str(sequence)[:50]} is not as it was written")


def _damaged_run(store: str, run_id: Any) -> StoreDamagedError:
    return StoreDamagedError(store, f"what is stored of run {_shown(run_id)} is not as it was written")


def _shown(run_id: Any) -> str:
    return repr(run_id.decode(errors="replace")[:200]) if isinstance(run_id, bytes) else "without an id"
