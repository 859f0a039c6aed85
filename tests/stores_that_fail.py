"""Stores that let a test decide when a save is done, and how."""

from collections.abc import Sequence
from typing import Any

import anyio
import attrs

from anyio_workflows import StoreError
from anyio_workflows.abc import Record, RunInfo
from anyio_workflows.stores import MemoryCheckpointStore


@attrs.frozen
class Save:
    """What one call has saved."""

    sequences: list[int]
    status: str | None


class GatedStore(MemoryCheckpointStore):
    """Waits at its gate before each save, while that is closed; what it has saved is in `saves`."""

    def __init__(self) -> None:
        super().__init__()
        self.saves: list[Save] = []
        self.at_gate = anyio.Event()
        self.waiting = 0
        self._gate: anyio.Event | None = None

    def close(self) -> None:
        """Hold up saves from now on."""
        self._gate = anyio.Event()

    def open(self) -> None:
        """Let saves through."""
        assert self._gate is not None
        self._gate.set()
        self._gate = None

    async def save(self, run_id: str, epoch: int, records: Sequence[Record], **how: Any) -> None:
        if self._gate is not None:
            self.at_gate.set()
            self.waiting += 1
            try:
                await self._gate.wait()
            finally:
                self.waiting -= 1
        await super().save(run_id, epoch, records, **how)
        self.saves.append(Save([record.sequence for record in records], how.get("status")))


class FailingStore(MemoryCheckpointStore):
    """Fails the calls whose numbers, counted from 0, are in `fails`; `create` is the first one."""

    def __init__(self, *fails: int, last: int | None = None, error: Exception | None = None) -> None:
        super().__init__()
        self.fails = set(fails)
        self.last = last
        """Every call from this one on fails."""
        self.error = error or StoreError("test", "the disk is full")
        self.calls = 0

    async def create(self, run: RunInfo, records: Sequence[Record]) -> int:
        self._count()
        return await super().create(run, records)

    async def save(self, run_id: str, epoch: int, records: Sequence[Record], **how: Any) -> None:
        self._count()
        await super().save(run_id, epoch, records, **how)

    def _count(self) -> None:
        number = self.calls
        self.calls += 1
        if number in self.fails or (self.last is not None and number >= self.last):
            raise self.error


async def copy_of(store: MemoryCheckpointStore, run_id: str) -> tuple[RunInfo, list[Record]]:
    """Return all that is kept of a run, to see later that nothing has changed."""
    return await store.run(run_id), await store.history(run_id)
