"""A child of a recorded run: what it notes stands in the history of that run, with the delivery that it is a part of."""

from typing import Any

from .._checkpoint.children import ChildHistory
from .._checkpoint.nested import Child
from .._checkpoint.notation import Notation
from .._errors import CheckpointError
from .._events import StopEvent
from .._ledger.delivery import Delivery
from .._ledger.outcome import Outcome
from .recorded_run import RecordedRun
from .recording import Recording, Start, checked
from .run import Run
from .workflow import Workflow


class RecordedChild(RecordedRun):
    """A child of *of*, saved with it."""

    __slots__ = ("_delivery", "_key", "_of")

    def __init__(
        self,
        *as_run: Any,
        of: RecordedRun,
        delivery: Delivery,
        key: str,
        notation: Notation,
        start: Start | None,
        **options: Any,
    ) -> None:
        """Make a run as `RecordedRun` does.

        Args:
            *as_run: As for `Run`.
            of: The run that it is a part of.
            delivery: Of which execution.
            key: By which it is found there.
            notation: Of its workflow.
            start: Where it goes on, None if it begins.
            **options: As for `Run`.
        """
        self._of = of
        self._delivery = delivery
        self._key = key
        history = ChildHistory(of._recorded, delivery.number, key)
        super().__init__(*as_run, recording=Recording(notation, start, history=history), **options)

    def _take_in_start(self) -> None:
        ledger, notation = self._of._recorded, self.recording.notation
        if self.recording.start is not None:
            self._start_event = None  # it goes on, from where it was
            super()._take_in_start()
            return
        ledger.child_begins(self._delivery, self._key, notation.workflow, notation.fingerprint)
        try:
            super()._take_in_start()
        except BaseException:
            ledger.child_gone(self._delivery, self._key)
            raise

    @property
    def _root_cause(self) -> str:
        """Names the child by what has caused it: the keys of its executions come of that."""
        return f"{self._delivery.record.key}/{self._key}"

    async def _begin_keeping(self) -> None:
        self._recorded.holds = self.saves_commits = self._of.saves_commits

    async def save_now(self) -> None:
        """Save what the run that it is a part of has noted; that run fails if it cannot be."""
        try:
            await self._of.save_now()
        except Exception as error:
            if self._of.ledger.outcome is None:
                self._of._fail(error, None)
            raise

    def _is_published_later(self, outcome: Outcome) -> bool:
        return Run._is_published_later(self, outcome)  # its end is no end of what is saved


def start_of(run: RecordedRun, delivery: Delivery, key: str, workflow: Workflow) -> Start | None:
    """Return where the child *key* of *delivery* goes on, if *run* was cut in it; else None.

    Raises:
        CheckpointError: Its workflow has changed, or it has no place in that.
    """
    if (known := (delivery.record.children or {}).get(key)) is None:
        return None
    notation = workflow._current_notation()
    start = _checked_start(run, delivery, key, known, notation)
    try:
        checked(start, notation, workflow._current_plan(), run.run_id)
    except CheckpointError as error:
        raise _refused(run, delivery, key, error.reason, error.path) from error
    del delivery.record.children[key]
    return start


def end_of(run: RecordedRun, delivery: Delivery, key: str, notation: Notation) -> StopEvent:
    """Return what the child *key* of *delivery* has ended with.

    Raises:
        CheckpointError: Its workflow has changed, or that is nothing to end with.
    """
    start = _checked_start(run, delivery, key, delivery.record.children[key], notation)
    recording = Recording(notation, start)
    try:
        recording.check_stop()
    except CheckpointError as error:
        raise _refused(run, delivery, key, error.reason, error.path) from error
    assert recording.stop is not None, "it has ended"
    return recording.stop


def _checked_start(run: RecordedRun, delivery: Delivery, key: str, known: Child, notation: Notation) -> Start:
    origin = run.recording.start
    assert origin is not None, "only a run that goes on knows of children before they are run"
    if known.fingerprint != notation.fingerprint and not origin.allow_changed:
        raise _refused(
            run,
            delivery,
            key,
            f"the workflow {known.workflow} has changed since it was begun, or another one is run in its place, and "
            f"allow_changed=True was not given",
        )
    return Start(known.snapshot, run._recorded.restored_at, key, allow_changed=origin.allow_changed)


def _refused(run: RecordedRun, delivery: Delivery, key: str, reason: str, path: str = "") -> CheckpointError:
    child = f"the child {key.removeprefix('=')!r} of step {delivery.desk.node.name!r} cannot go on"
    return CheckpointError(f"{child}: {reason}", path, run.run_id)
