"""Make the runs and records that stores are tried with."""

from collections.abc import Sequence
from typing import Literal

from ..abc import Record, RunInfo, record_id

Kind = Literal["full", "delta"]


def a_run(run_id: str, *, workflow: str = "W", created_at: float = 100.0) -> RunInfo:
    """Return a new run."""
    return RunInfo(
        run_id=run_id, workflow=workflow, fingerprint="f", created_at=created_at, updated_at=created_at
    )


def a_record(
    run_id: str, sequence: int, kind: Kind | None = None, *, payload: bytes | None = None, at: float = 100.0
) -> Record:
    """Return the record that belongs at one place of a chain; full at the first, unless *kind* says else."""
    return Record(
        run_id=run_id,
        sequence=sequence,
        kind=kind or ("delta" if sequence else "full"),
        payload=b'{"place": %d}' % sequence if payload is None else payload,
        is_checkpoint=sequence % 2 == 0,
        step="work" if sequence % 3 else None,
        created_at=at,
        previous=record_id(run_id, sequence - 1) if sequence else None,
    )


def a_chain(run_id: str, kinds: Sequence[Kind], *, first: int = 0, at: float = 100.0) -> list[Record]:
    """Return consecutive records from the place *first* on."""
    return [a_record(run_id, place, kind, at=at) for place, kind in enumerate(kinds, start=first)]
