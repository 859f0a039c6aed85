"""What one recorded run has noted: every operation, and the moments that are consistent cuts.

Taking a cut costs what has changed since the one before it; a `Snapshot` is folded when somebody looks.
"""

from collections.abc import Callable
from typing import NamedTuple

from .snapshot import Document, Operation, Snapshot


class Cut(NamedTuple):
    """One moment at which nothing was half done."""

    sequence: int
    """Counts up within the run, from 0."""

    operations: int
    """How many operations had been noted by then."""

    at: float
    """Seconds since the epoch, UTC."""

    step: str | None
    """The step that has completed; None if it was something else."""

    input: Document
    """What it was called with, None if no step has completed."""

    output: Document
    """What it gave, None if it gave nothing."""

    @property
    def is_commit(self) -> bool:
        """Whether an execution has completed."""
        return self.step is not None


class History:
    """The operations and cuts of one run, from its beginning or from the checkpoint that it went on from."""

    __slots__ = ("_first", "_start", "clock", "cuts", "on_cut", "operations")

    def __init__(self, clock: Callable[[], float], start: Document | None = None, *, first: int = 0) -> None:
        self._start = start
        self._first = first
        self.clock: Callable[[], float] = clock
        """Seconds since the epoch, UTC."""
        self.operations: list[Operation] = []
        self.cuts: list[Cut] = []
        self.on_cut: Callable[[Cut], None] | None = None

    def cut(self, step: str | None = None, given: Document = None, output: Document = None) -> Cut:
        """Note that this is a moment to go on from."""
        cut = Cut(self._first + len(self.cuts), len(self.operations), self.clock(), step, given, output)
        self.cuts.append(cut)
        if self.on_cut is not None:
            self.on_cut(cut)
        return cut

    def cut_if_new(self) -> None:
        """Cut, if anything was noted since the last time."""
        if not self.cuts or self.cuts[-1].operations < len(self.operations):
            self.cut()

    def snapshot(self, cut: Cut) -> Snapshot:
        """Return what the run knew at *cut*, as a starting point."""
        snapshot = Snapshot() if self._start is None else Snapshot.from_document(self._start)
        snapshot.apply(self.operations[: cut.operations])
        snapshot.settle()
        return snapshot
