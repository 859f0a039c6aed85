"""Decide whether records may join a run's chain, and which of them belong together.

Rules that every store of ours shares; none is about where the records are kept.
"""

from collections.abc import Sequence

import attrs

from .. import StoreConflictError, StoreDamagedError, StoreError
from ..abc import Record, RunInfo, RunStatus, record_id


def check_epoch(store: str, run_id: str, given: int, current: int) -> None:
    """Refuse a writer that is not the last one to have claimed the run."""
    if given != current:
        raise StoreConflictError(
            store,
            run_id,
            f"belongs to another writer now (epoch {current}, this one has {given}); "
            f"stop writing, or claim it again and go on from what is stored",
        )


def check_following(store: str, run_id: str, last_sequence: int, records: Sequence[Record]) -> None:
    """Refuse records that are of another run or do not follow *last_sequence* one by one."""
    for expected, record in enumerate(records, start=last_sequence + 1):
        if record.run_id != run_id:
            raise StoreError(store, f"record {record.id!r} was given as one of run {run_id!r}")
        if record.sequence != expected:
            raise StoreConflictError(
                store, run_id, f"goes on with record {expected}, not {record.sequence}; nothing was written"
            )
        if record.previous != _id_before(run_id, expected):
            raise StoreConflictError(
                store,
                run_id,
                f"has no record {record.previous!r} before record {expected}; nothing was written",
            )
    if last_sequence < 0 and records and records[0].kind != "full":
        raise StoreConflictError(store, run_id, "has no full record that a first delta could build on")


def check_chain(store: str, run_id: str, records: Sequence[Record]) -> None:
    """Refuse what was read if it is not one chain that begins with a full record."""
    if not records:
        return
    if records[0].kind != "full":
        raise StoreDamagedError(store, f"run {run_id!r} begins with record {records[0].sequence}, a delta")
    for expected, record in enumerate(records, start=records[0].sequence):
        if record.sequence != expected:
            raise StoreDamagedError(store, f"record {record_id(run_id, expected)!r} is missing")


def check_keep_last(store: str, keep_last: int) -> None:
    """Refuse to keep nothing, or a number that is none."""
    if isinstance(keep_last, bool) or keep_last < 1:
        raise StoreError(store, f"keep_last={keep_last!r} is not a positive number of records")


def check_limit(store: str, limit: int | None) -> None:
    """Refuse a limit that is no number of runs."""
    if limit is not None and (isinstance(limit, bool) or limit < 0):
        raise StoreError(store, f"limit={limit!r} is not a number of runs")


def told(
    info: RunInfo, *, status: RunStatus | None, result: bytes | None, updated_at: float | None
) -> RunInfo:
    """Return *info* with what a save says of the run itself."""
    return attrs.evolve(
        info,
        status=status or info.status,
        result=info.result if result is None else result,
        updated_at=info.updated_at if updated_at is None else max(info.updated_at, updated_at),
    )


def _id_before(run_id: str, sequence: int) -> str | None:
    return record_id(run_id, sequence - 1) if sequence else None
