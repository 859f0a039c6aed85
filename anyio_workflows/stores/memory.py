"""Keep runs for the life of the process: the store for tests, and for runs that are only put away."""

from collections.abc import Sequence

import attrs

from .. import StoreConflictError, UnknownRecordError, UnknownRunError
from ..abc import CheckpointStore, Record, RunInfo, RunStatus
from ._chain import check_epoch, check_following, check_keep_last, check_limit, told

_NAME = "in memory"


@attrs.define(eq=False)
class _Kept:
    """One run: what was said of it, and its records from `first` on."""

    info: RunInfo
    records: list[Record]
    first: int = 0

    def described(self) -> RunInfo:
        if not self.records:
            return self.info
        last = self.records[-1]
        return attrs.evolve(
            self.info,
            last_sequence=last.sequence,
            updated_at=max(self.info.updated_at, last.created_at),
        )

    def last_full(self, up_to: int) -> int:
        """Return the index of the last full record at or before the sequence *up_to*."""
        index = up_to - self.first
        while self.records[index].kind != "full":
            index -= 1
        return index


class MemoryCheckpointStore(CheckpointStore):
    """A store that ends with the process.

    It needs no opening and keeps what it has when it is closed. No method ever waits.
    """

    def __init__(self) -> None:
        self._runs: dict[str, _Kept] = {}

    async def create(self, run: RunInfo, records: Sequence[Record]) -> int:
        """Store a new run; see `CheckpointStore.create`."""
        if run.run_id in self._runs:
            raise StoreConflictError(_NAME, run.run_id, "is there already")
        check_following(_NAME, run.run_id, -1, records)
        self._runs[run.run_id] = _Kept(attrs.evolve(run, epoch=1, last_sequence=-1), list(records))
        return 1

    async def claim(self, run_id: str) -> int:
        """Take a run over; see `CheckpointStore.claim`."""
        kept = self._kept(run_id)
        kept.info = attrs.evolve(kept.info, epoch=kept.info.epoch + 1)
        return kept.info.epoch

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
        """Add records; see `CheckpointStore.save`."""
        kept = self._kept(run_id)
        check_epoch(_NAME, run_id, epoch, kept.info.epoch)
        last = kept.records[-1].sequence if kept.records else -1
        check_following(_NAME, run_id, last, records)
        kept.records.extend(records)
        if status is not None or result is not None or updated_at is not None:
            kept.info = told(kept.info, status=status, result=result, updated_at=updated_at)

    async def run(self, run_id: str) -> RunInfo:
        """Return what is known of one run."""
        return self._kept(run_id).described()

    async def runs(
        self, *, workflow: str | None = None, status: RunStatus | None = None, limit: int | None = None
    ) -> list[RunInfo]:
        """Return what is known of the runs, the newest first."""
        check_limit(_NAME, limit)
        chosen = [
            kept.described()
            for kept in self._runs.values()
            if workflow in (None, kept.info.workflow) and status in (None, kept.info.status)
        ]
        chosen.sort(key=lambda run: (-run.created_at, run.run_id))
        return chosen[:limit]

    async def load(self, run_id: str, *, up_to: int | None = None) -> list[Record]:
        """Return the records that make one state; see `CheckpointStore.load`."""
        kept = self._kept(run_id)
        if not kept.records and up_to is None:
            return []
        last = kept.first + len(kept.records) - 1
        if up_to is None:
            up_to = last
        if not kept.first <= up_to <= last:
            raise UnknownRecordError(_NAME, run_id, up_to)
        return kept.records[kept.last_full(up_to) : up_to - kept.first + 1]

    async def history(self, run_id: str) -> list[Record]:
        """Return every record that is still there."""
        return self._kept(run_id).records.copy()

    async def delete(self, run_id: str) -> None:
        """Forget a run."""
        self._kept(run_id)
        del self._runs[run_id]

    async def prune(self, run_id: str, *, keep_last: int) -> int:
        """Delete the oldest records; see `CheckpointStore.prune`."""
        check_keep_last(_NAME, keep_last)
        kept = self._kept(run_id)
        if len(kept.records) <= keep_last:
            return 0
        removed = kept.last_full(kept.first + len(kept.records) - keep_last)
        del kept.records[:removed]
        kept.first += removed
        return removed

    async def aclose(self) -> None:
        """Do nothing: there is nothing to give back."""

    def _kept(self, run_id: str) -> _Kept:
        try:
            return self._runs[run_id]
        except KeyError:
            raise UnknownRunError(_NAME, run_id) from None
