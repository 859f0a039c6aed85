"""How a run is recorded: with which converter, and from which moment it goes on."""

import time
from collections.abc import Callable
from typing import TypeAlias

from .._checkpoint.history import Cut, History
from .._checkpoint.notation import Notation
from .._checkpoint.recorded import RecordedLedger
from .._checkpoint.restoring import restore
from .._checkpoint.snapshot import Snapshot
from .._errors import CheckpointError, WorkflowRuntimeError
from .._events import Event, StopEvent
from .._ledger.delivery import Desk
from .._ledger.plan import Plan
from .._ledger.state import RunState
from .diverging import telling

Keeps: TypeAlias = Callable[[Cut], bool]


class Start:
    """The moment that a run goes on from."""

    __slots__ = ("allow_changed", "at", "checkpoint_id", "snapshot")

    def __init__(
        self, snapshot: Snapshot, at: float, checkpoint_id: str, *, allow_changed: bool = False
    ) -> None:
        self.snapshot: Snapshot = snapshot
        self.at: float = at
        """When it was cut, in seconds since the epoch, UTC."""
        self.checkpoint_id: str = checkpoint_id
        self.allow_changed: bool = allow_changed
        """Also if the workflow has other steps or events by now; of its children as well."""


class Recording:
    """What a recorded run is recorded with."""

    __slots__ = ("history", "notation", "start")

    def __init__(
        self,
        notation: Notation,
        start: Start | None = None,
        *,
        first: int = 0,
        history: History | None = None,
    ) -> None:
        self.notation: Notation = notation
        self.start: Start | None = start
        self.history: History = history or History(
            time.time, start.snapshot.document() if start is not None else None, first=first
        )

    def ledger(
        self,
        plan: Plan,
        publish: Callable[[Event], None],
        desk: Callable[..., Desk],
        run_id: str,
        *,
        kind: Callable[..., RecordedLedger] = RecordedLedger,
    ) -> RecordedLedger:
        """Return a ledger, of that *kind*, that notes what it does."""
        say = telling(publish, plan.name, lambda: run_id)
        return kind(plan, say, desk, self.notation.converter, history=self.history, run_id=run_id)

    def check_stop(self) -> None:
        """Raise `CheckpointError` if what the run is said to have ended with ends no run."""
        document = self.start.snapshot.stop if self.start is not None else None
        if document is not None and not isinstance(
            self.notation.converter.structure_event(document, where="stop"), StopEvent
        ):
            raise CheckpointError("only a StopEvent ends a run", "stop")

    @property
    def stop(self) -> StopEvent | None:
        """What the run had ended with by the moment it goes on from, None if it had not ended."""
        document = self.start.snapshot.stop if self.start is not None else None
        if document is None:
            return None
        event = self.notation.converter.structure_event(document, where="stop")
        assert isinstance(event, StopEvent), "only a StopEvent ends a run"
        return event

    def begin(self, ledger: RecordedLedger, state: RunState | None) -> RunState | None:
        """Put the ledger where the run begins or goes on, with a cut before the first step; return the state."""
        if self.start is not None:
            restored = restore(ledger, self.start.snapshot, self.start.at)
            if restored is not None:
                state = RunState(ledger.plan.state_type, restored)
        else:
            state = state or _default_state(ledger.plan)
            if state is not None:
                ledger.state_changed(None, state, None)
        self.history.cut()
        return state


def checked(start: Start, notation: Notation, plan: Plan, run_id: str) -> Start:
    """Return *start*, once all of it has been found to have a place in the workflow.

    Raises:
        CheckpointError: Something has none.
    """
    try:
        recording = Recording(notation, start)
        recording.check_stop()
        trial = recording.ledger(plan, _say_nothing, Desk, run_id)
        restore(trial, start.snapshot, start.at)
        for delivery in trial.pending.values():
            while trial.earlier_state(delivery) is not None:
                trial.repeats_change(delivery)
    except CheckpointError as error:
        raise CheckpointError(error.reason, error.path, run_id, start.checkpoint_id) from error
    except (WorkflowRuntimeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise CheckpointError(
            f"it has no place in the workflow: {error}", "", run_id, start.checkpoint_id
        ) from error
    return start


def _say_nothing(_event: Event) -> None:
    pass


def _default_state(plan: Plan) -> RunState | None:
    """Return the state that a run begins with; None if its class cannot say, and a step has to."""
    if plan.state_type is None:
        return None
    state = RunState(plan.state_type, None)
    try:
        state.committed()
    except Exception:  # noqa: BLE001  # of a class of the user's; it is raised again where a step needs it
        return None
    return state
