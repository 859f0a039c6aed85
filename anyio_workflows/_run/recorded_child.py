"""A child of a recorded run: what it notes stands in the history of that run, with the delivery that it is a part of."""

from typing import Any

from .._checkpoint.children import ChildHistory
from .._checkpoint.notation import Notation
from .._checkpoint.recorded import RecordedLedger
from .._errors import CheckpointError
from .._ledger.delivery import Delivery
from .._ledger.outcome import Outcome
from .recorded_run import RecordedRun
from .recording import Recording, Start
from .run import Run


class RecordedChild(RecordedRun):
    """A child of *of*, saved with it."""

    __slots__ = ("_cause", "_of")

    def __init__(self, *as_run: Any, of: RecordedRun, cause: str, **options: Any) -> None:
        self._of = of
        self._cause = cause
        """Names it by what has caused it: the keys of its executions come of that."""
        super().__init__(*as_run, **options)

    def _take_in_start(self) -> None:
        if self.recording.start is not None:
            self._start_event = None  # it goes on, from where it was
        super()._take_in_start()

    @property
    def _root_cause(self) -> str:
        return self._cause

    async def _begin_keeping(self) -> None:
        self._recorded.holds = self.saves_commits = self._of.saves_commits

    async def save_now(self) -> None:
        """Save what the run that it is a part of has noted."""
        await self._of.save_now()

    def _is_published_later(self, outcome: Outcome) -> bool:
        return Run._is_published_later(self, outcome)  # its end is no end of what is saved


def child_recording(ledger: RecordedLedger, delivery: Delivery, key: str, notation: Notation) -> Recording:
    """Return how the child *key* of *delivery* is recorded, and where it goes on if the run was cut in it.

    Raises:
        CheckpointError: It goes on, and its workflow has changed.
    """
    children = delivery.record.children or {}
    known = children.pop(key, None)
    history = ChildHistory(ledger, delivery.number, key)
    if known is None:
        ledger.child_begins(delivery, key, notation.workflow, notation.fingerprint)
        return Recording(notation, history=history)
    if known.fingerprint != notation.fingerprint:
        raise CheckpointError(
            f"the workflow {notation.workflow} has changed since its run was begun as a child {key!r} of step "
            f"{delivery.desk.node.name!r}",
            run_id=ledger.run_id,
        )
    return Recording(notation, Start(known.snapshot, ledger.restored_at, key), history=history)
