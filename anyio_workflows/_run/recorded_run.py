"""A run with a history, and with a place in a store if it has one."""

from collections.abc import Callable, Container, Mapping
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import anyio

from .._checkpoint.document import Checkpoint
from .._checkpoint.history import Cut
from .._checkpoint.recorded import RecordedLedger
from .._events import Event, StopEvent
from .._ledger.delivery import Delivery
from .._ledger.ledger import Ledger
from .._ledger.outcome import Completed, Outcome
from ..abc import CheckpointStore, RunInfo, record_id
from . import log
from .child import Host
from .entries import Entries
from .inbox import Inbox
from .keeping import Durability, Keeper
from .recording import Recording
from .run import Run

if TYPE_CHECKING:
    from .workflow import Workflow  # which makes runs


def recorded_child() -> ModuleType:
    """Return the module of children, which derive from what is here."""
    from . import recorded_child as module  # noqa: PLC0415

    return module


class RecordedRun(Run):
    """A run that can be gone on from."""

    __slots__ = ("_had_children", "_keeper", "_make_keeper", "_recorded", "entries", "recording")

    def __init__(
        self,
        *as_run: Any,
        recording: Recording,
        parent: str | None = None,
        disabled: Container[str] = (),
        **options: Any,
    ) -> None:
        """Make a run as `Run` does.

        Args:
            *as_run: As for `Run`.
            recording: What it is recorded with.
            parent: Id of the checkpoint that it goes on from, if that is another run's.
            disabled: Steps that leave no checkpoint.
            **options: As for `Run`.
        """
        self.recording: Recording = recording
        super().__init__(*as_run, **options)
        self.entries: Entries = Entries(recording, run_id=self.run_id, parent=parent, disabled=disabled)
        self._had_children = False
        """Whether it goes on from a moment at which there were children; few do, and only they look for them."""
        self._keeper: Keeper | None = None
        """Its place in a store."""
        self._make_keeper: Callable[[], Keeper] | None = None
        recording.history.on_cut = self._note_cut
        if self.turnstile is not None:
            recording.history.clock = anyio.current_time  # virtual

    def keep_in(self, store: CheckpointStore, durability: Durability, info: RunInfo) -> None:
        """Have the run saved in *store* once it begins."""
        # A lock and an event of AnyIO's, which are made where the run is: when it starts.
        self._make_keeper = partial(Keeper, store, durability, self.recording, info, self.entries.keeps)

    def _note_cut(self, cut: Cut) -> None:
        self.entries.add(cut)
        if self.watch is not None:
            self.watch.checkpoint_taken(record_id(self.run_id, cut.sequence), cut.step)
        if self._keeper is not None:
            self._keeper.note(cut)

    # --- what a run leaves to be filled in

    def _new_ledger(self) -> Ledger:
        kind: Callable[..., RecordedLedger] = RecordedLedger
        if self.watch is not None:
            from .watching_recorded import WatchedRecordedLedger  # noqa: PLC0415  # loaded by those who observe

            kind = partial(WatchedRecordedLedger, self.watch)
        self._recorded: RecordedLedger = self.recording.ledger(
            self.plan, self.stream.append, Inbox, self._root_cause, kind=kind
        )
        return self._recorded

    @property
    def _root_cause(self) -> str:
        """Names the run in the keys of its executions."""
        return self.run_id

    def wall_clock(self) -> float:
        """Return seconds since the epoch, UTC, as the history of the run has them."""
        return self.recording.history.clock()

    def _begin(self) -> None:
        super()._begin()
        delayed, self._recorded.delayed = self._recorded.delayed, []
        now = self.wall_clock()
        for delivery, due in delayed:
            self._delay(delivery, due - now)  # below 0 if it is over: what was due first still goes first

    @property
    def expects_children(self) -> bool:
        """Whether executions will go on with children that were begun before the run was cut."""
        return self._had_children and self._any_children()

    def _any_children(self) -> bool:
        return any(delivery.record.children for delivery in self._recorded.pending.values())

    def child_start_key(self, delivery: Delivery, workflow: "Workflow", start_event: Event) -> str:  # noqa: ARG002
        """Return what tells *start_event* from any that is not equal to it, in any process."""
        return workflow._current_notation().digest(start_event)

    def ended_child(self, delivery: Delivery, key: str, workflow: "Workflow") -> StopEvent | None:
        """Return what the child *key* of *delivery* has ended with before the execution ran again."""
        event = super().ended_child(delivery, key, workflow)
        if (
            event is None
            and (known := (delivery.record.children or {}).get(key)) is not None
            and known.has_ended
        ):
            event = recorded_child().end_of(self, delivery, key, workflow._current_notation())
        return event

    def note_child_ended(self, delivery: Delivery, key: str, event: StopEvent) -> None:
        """Note what the child *key* of *delivery* has ended with."""
        super().note_child_ended(delivery, key, event)
        self._recorded.child_ends(delivery, key)

    def make_child(
        self, host: Host, delivery: Delivery, key: str, workflow: "Workflow", arguments: Mapping[str, Any]
    ) -> Run:
        """Return the child *key* of *delivery*, which has not started."""
        start = recorded_child().start_of(self, delivery, key, workflow)
        child: Run = recorded_child().RecordedChild(
            **arguments,
            host=host,
            of=self,
            delivery=delivery,
            key=key,
            notation=workflow._current_notation(),
            start=start,
        )
        return child

    @property
    def _state_notes(self) -> RecordedLedger:
        return self._recorded

    def cut_now(self) -> Checkpoint:
        """Cut the run at this very moment."""
        return self.entries.cut_now()

    def _take_in_start(self) -> None:
        super()._take_in_start()
        self._state = self.recording.begin(self._recorded, self._state)
        self._had_children = self.recording.start is not None and self._any_children()
        if (stop := self.recording.stop) is not None:
            self.decide(Completed(stop))

    def _cut_if_new(self) -> None:
        self._recorded.history.cut_if_new()

    def _note_decision(self) -> None:
        self._recorded.freeze()

    def _is_published_later(self, outcome: Outcome) -> bool:
        has_saved_end = self._keeper is not None and self._keeper.has_saved_end
        is_unsaved = self.saves_commits and not (isinstance(outcome, Completed) and has_saved_end)
        return is_unsaved or super()._is_published_later(outcome)

    # --- its place in a store

    async def _begin_keeping(self) -> None:
        if self._make_keeper is None or self.has_failed:  # refused: it can still be resumed
            return
        self._keeper = keeper = self._make_keeper()
        self._recorded.holds = self.saves_commits = keeper.durability == "sync"
        await keeper.begin()
        # Also with "sync": what is no commit, such as an event from outside, waits for nobody.
        if keeper.durability != "exit" and self.ledger.outcome is None:
            self.start_beside(keeper.save_beside, name="store")

    async def save_now(self) -> None:
        """Save what has been noted by now."""
        assert self._keeper is not None, "only a kept run saves"
        await self._keeper.save()

    async def save_commit(self) -> bool:
        """Save the commit that was just made; False if the run is decided meanwhile."""
        held = self._recorded.take_held()
        self.flush()  # what the execution has sent waits for no disk
        try:
            await self.save_now()
        except Exception as error:  # noqa: BLE001  # whatever a store of the user's raises
            self._fail(error, None)
            return False
        self._recorded.release(held)
        return self.ledger.outcome is None

    async def _finish_keeping(self) -> None:
        if self._keeper is None:
            return
        try:
            await self._keeper.finish(self._recorded)
        except Exception as error:  # noqa: BLE001  # whatever a store of the user's raises
            self.failures.append(error)
            if isinstance(self.ledger.outcome, Completed) and not self._keeper.has_saved_end:
                # The store will not know its result: nobody may believe that it does.
                self._fail_after_all(error)
            else:
                log.error("%s: the store does not know how run %s ended", self.name, self.run_id, error=error)
