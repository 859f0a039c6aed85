"""Write what a recorded run notes to a store, as often as its durability asks for."""

import time
from collections.abc import Sequence
from typing import Literal, TypeAlias, assert_never

import anyio
import attrs

from .._brief import brief
from .._checkpoint.history import Cut
from .._checkpoint.recorded import RecordedLedger
from .._checkpoint.snapshot import Document, Snapshot
from .._errors import StoreError
from .._ledger.outcome import Cancelled, Completed, Failed, Outcome, TimedOut
from ..abc import CheckpointStore, Record, RunInfo, RunStatus, record_id
from .recording import Keeps, Recording

Durability: TypeAlias = Literal["sync", "async", "exit"]

_GRACE = 30.0
"""Seconds that the last save of a run may take, which is shielded: what has ended must be on record, and a store that
does not answer must not hold its caller for ever."""

_LEAST_FULL = 4096
"""Bytes of deltas before another full record is worth it, however small the run is."""


class Keeper:
    """The place of one run in a store."""

    def __init__(
        self,
        store: CheckpointStore,
        durability: Durability,
        recording: Recording,
        info: RunInfo,
        keeps: Keeps,
    ) -> None:
        self._store = store
        self.durability: Durability = durability
        self._recording = recording
        self._info = info
        self._keeps = keeps
        """Which cuts have an entry among the checkpoints."""
        self._sequence = info.last_sequence
        self._taken_cuts = 0
        start = recording.start
        self._folded = Snapshot() if start is None else Snapshot.from_document(start.snapshot.document())
        self._folded_operations = self._written_operations = 0
        self._size_of_full = self._size_since_full = 0
        self._unsaved: list[Record] = []
        """Records that no save has brought into the store, also because one was cancelled."""
        self._is_unsure = False
        """Whether a save was cancelled in its middle, which only asyncio's own `Task.cancel` does, and may have
        happened."""
        self._saving = anyio.Lock()
        self._news = anyio.Event()
        self._has_begun = False
        self._error: Exception | None = None
        """What a save has failed with."""
        self._unwritable: Exception | None = None
        """What the next record cannot be written for."""
        self.has_saved_end: bool = start is not None and start.snapshot.stop is not None
        """Whether the store has the StopEvent that ends the run."""

    async def begin(self) -> None:
        """Put the run into the store, before its first step begins.

        Raises:
            StoreError: The store has no such run afterwards, or has it as it was.
        """
        records = self._take()
        if self._info.epoch:
            await self._store.save(self._info.run_id, self._info.epoch, records, status="running")
        else:
            epoch = await self._store.create(self._info, records)
            self._info = attrs.evolve(self._info, epoch=epoch)
        self._unsaved = self._unsaved[len(records) :]
        self._has_begun = True

    def note(self, cut: Cut) -> None:
        """There is something to save."""
        if self.durability != "sync" or not cut.is_commit:  # else whoever commits saves it
            self._news.set()

    async def save_beside(self) -> None:
        """Save whenever there is something, for as long as the run lasts; what comes meanwhile goes together."""
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            await self.save()

    async def save(self) -> None:
        """Save everything that has been noted by now.

        Raises:
            StoreError: It is not saved.
        """
        async with self._saving:
            try:
                records = self._take()
                if records:
                    ends = self._folded.stop is not None and self._unwritable is None
                    await self._store.save(self._info.run_id, self._info.epoch, records)
                    self._unsaved = self._unsaved[len(records) :]
                    self.has_saved_end = ends
                if self._unwritable is not None:
                    raise self._unwritable  # noqa: TRY301
            except Exception as error:
                self._error = error
                raise
            except BaseException:
                self._is_unsure = True
                raise

    async def finish(self, ledger: RecordedLedger) -> None:
        """Save the rest, and how the run has ended.

        Raises:
            StoreError: It is not saved.

        Cancellation:
            Shielded, for half a minute at most.
        """
        assert ledger.outcome is not None, "a run that has ended has an outcome"
        if not self._has_begun:
            return
        status, result = _told(ledger.outcome)
        with anyio.move_on_after(_GRACE, shield=True) as scope:
            async with self._saving:
                if self._is_unsure:
                    stored = (await self._store.run(self._info.run_id)).last_sequence
                    self._unsaved = [record for record in self._unsaved if record.sequence > stored]
                records = self._take(only_last=self.durability == "exit")
                failed = ledger.outcome.error if isinstance(ledger.outcome, Failed) else None
                if self._unwritable is not None or (failed is not None and failed is self._error):
                    status = "cancelled"  # by its store, not by a step: it can be resumed
                await self._store.save(
                    self._info.run_id,
                    self._info.epoch,
                    records,
                    status=status,
                    result=result.encode(),
                    updated_at=time.time(),
                )
        if self._unwritable is not None:
            raise self._unwritable
        if scope.cancelled_caught:
            raise StoreError(
                type(self._store).__name__, f"has not saved how run {self._info.run_id} ended in {_GRACE:g} s"
            )

    def _take(self, *, only_last: bool = False) -> Sequence[Record]:
        history = self._recording.history
        if only_last:
            self._taken_cuts = max(self._taken_cuts, len(history.cuts) - 1)
        self._unwritable = None
        try:
            while self._taken_cuts < len(history.cuts):
                self._unsaved.append(self._record(history.cuts[self._taken_cuts]))
                self._taken_cuts += 1
        except Exception as error:  # noqa: BLE001  # those before it are saved first
            self._unwritable = error
        return tuple(self._unsaved)

    def _record(self, cut: Cut) -> Record:
        noted = self._recording.history.operations
        self._folded.apply(noted[self._folded_operations : cut.operations])
        self._folded_operations = cut.operations
        about = {"input": cut.input, "output": cut.output}
        # Deltas, until reading them all would cost more than a whole one: so neither grows with the run.
        is_full = self._size_since_full >= self._size_of_full
        content: Document = {"operations": noted[self._written_operations : cut.operations]}
        if is_full:
            content = {"snapshot": self._folded.document(), "described": self._recording.notation.described}
        payload = self._recording.notation.converter.dumps({**content, **about})
        # Only now: what could not be written is missing in no later record.
        self._written_operations = cut.operations
        if is_full:
            self._size_of_full, self._size_since_full = max(len(payload), _LEAST_FULL), 0
        else:
            self._size_since_full += len(payload)
        self._sequence += 1
        run_id = self._info.run_id
        return Record(
            run_id=run_id,
            sequence=self._sequence,
            kind="full" if is_full else "delta",
            payload=payload,
            is_checkpoint=self._keeps(cut),
            step=cut.step,
            created_at=cut.at,
            previous=record_id(run_id, self._sequence - 1) if self._sequence else None,
        )


def _told(outcome: Outcome) -> tuple[RunStatus, str]:
    match outcome:
        case Completed():
            return "completed", ""  # the StopEvent is in the last record
        case Failed(error):
            return "failed", brief(error)
        case TimedOut(error):
            return "timed_out", str(error)
        case Cancelled(reason, by_user, is_put_away):
            if is_put_away:
                return "put_away", ""
            return ("cancelled_by_user" if by_user else "cancelled"), reason
        case _:
            assert_never(outcome)
