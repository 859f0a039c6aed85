"""The checkpoints of one recorded run, made from its cuts when somebody looks."""

from collections.abc import Container, Sequence

from .._checkpoint.document import Checkpoint
from .._checkpoint.history import Cut
from .recording import Recording


class Entries:
    """What `WorkflowCheckpointer.checkpoints` has of one run."""

    __slots__ = ("_cuts", "_disabled", "_made", "_parent", "_recording", "_run_id")

    def __init__(
        self, recording: Recording, *, run_id: str, parent: str | None, disabled: Container[str]
    ) -> None:
        self._recording = recording
        self._run_id = run_id
        self._parent = parent
        self._disabled = disabled
        """Steps that leave no entry; it may change while the run is under way."""
        self._cuts: list[Cut] = []
        self._made: list[Checkpoint] = []

    def add(self, cut: Cut) -> None:
        """Keep *cut*, if it is one to keep."""
        if self.keeps(cut):
            self._cuts.append(cut)

    def keeps(self, cut: Cut) -> bool:
        """Whether *cut* has an entry: an execution gave an event, of a step for which that is wanted."""
        return cut.step is not None and cut.output is not None and cut.step not in self._disabled

    def checkpoints(self) -> Sequence[Checkpoint]:
        """Return a checkpoint for each cut that was kept, in their order."""
        self._made.extend(self.checkpoint(cut) for cut in self._cuts[len(self._made) :])
        return self._made

    def cut_now(self) -> Checkpoint:
        """Cut the run at this very moment."""
        return self.checkpoint(self._recording.history.cut())

    def checkpoint(self, cut: Cut) -> Checkpoint:
        """Return the checkpoint at *cut*, of this run."""
        history = self._recording.history
        return self._recording.notation.checkpoint(
            run_id=self._run_id,
            parent=self._parent,
            sequence=cut.sequence,
            at=cut.at,
            step=cut.step,
            given=cut.input,
            output=cut.output,
            content=lambda: history.snapshot(cut).document(),
        )
