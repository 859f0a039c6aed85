"""Runs that are recorded, their checkpoints, and runs that go on from one."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, get_args

import attrs

from .._brief import brief
from .._checkpoint.converter import Converter
from .._checkpoint.document import Checkpoint
from .._checkpoint.history import Cut, History
from .._checkpoint.loading import fold, payload
from .._checkpoint.restoring import restore
from .._checkpoint.snapshot import Document, Snapshot
from .._checkpoint.versions import describe, differences, fingerprint
from .._checkpoint.writing import known_events
from .._checkpoint.written import read_checkpoint, write_checkpoint
from .._errors import CheckpointError, WorkflowRuntimeError, WorkflowStepDoesNotExistError
from .._events import Event, StartEvent
from .._ledger.delivery import Desk
from ..abc import CheckpointStore, Record, RunInfo
from .handler import WorkflowHandler
from .keeping import Durability, Keeper
from .recording import Recording, Start
from .run import Run
from .workflow import Workflow

_MOST_DIFFERENCES = 5
"""Named in one message; a workflow that was written anew differs in everything."""


def _say_nothing(_event: Event) -> None:
    pass


class WorkflowCheckpointer:
    """Runs a workflow and keeps a checkpoint for every execution that gave an event.

    ``handler = checkpointer.run(...)`` is as `Workflow.run`; afterwards, and meanwhile,
    ``checkpointer.checkpoints[handler.run_id]`` are the checkpoints, and ``checkpointer.run_from(checkpoint)`` is a new
    run that goes on from one.
    """

    def __init__(
        self, *, workflow: Workflow, store: CheckpointStore | None = None, durability: Durability = "async"
    ) -> None:
        """Look whether the events and the state of *workflow* can be written down.

        Args:
            workflow: What to run.
            store: Where its runs are kept, beside this object, so that they can be resumed.
            durability: When a run is saved there. ``"sync"``: what a step returns goes out, and what ends the run is
                decided, when its checkpoint is on disk. ``"async"``: in the order of the commits, as soon as the store
                can; a crash loses the last moments, which are worked on again. ``"exit"``: when the run ends.

        Raises:
            WorkflowValidationError: Some field of an event or of the state cannot; all of them are named.
            WorkflowRuntimeError: *durability* is none of the three.
        """
        if durability not in get_args(Durability):
            raise WorkflowRuntimeError(
                f"durability={durability!r} is not known; give 'sync', 'async' or 'exit'"
            )
        self._store = store
        self._durability: Durability = durability
        self.workflow: Workflow = workflow
        plan = workflow._current_plan()
        self._converter = Converter(workflow=plan.name, events=known_events(plan), state_type=plan.state_type)
        self._described = describe(plan.graph, self._converter.describe())
        self._fingerprint = fingerprint(self._described)
        self._disabled: set[str] = set()
        self._runs: dict[str, _Entries] = {}

    @property
    def fingerprint(self) -> str:
        """What tells the workflow, by its steps and events, from one that was changed."""
        return self._fingerprint

    # --- running

    def run(self, start_event: StartEvent | None = None, **options: Any) -> WorkflowHandler:
        """Return a run as `Workflow.run` does, which is recorded."""
        return self._recorded(
            self.workflow._new_run(
                start_event, options, Recording(self._converter, described=self._described)
            ),
            None,
        )

    def run_from(
        self, checkpoint: Checkpoint, *, allow_changed: bool = False, **options: Any
    ) -> WorkflowHandler:
        """Return a new run that goes on from *checkpoint*.

        What was done by then stays done, what was pending is delivered, and what was being worked on is worked on again
        from its top: what it had sent is not sent again, and what it had changed in the state not changed again.

        Args:
            checkpoint: Of any run of this workflow; it may be used any number of times.
            allow_changed: Also if the workflow's steps or events have changed since; what has no place any more is an
                error.
            **options: ``run_id``, ``timeout`` and ``stream_buffer``, as for `Workflow.run`.

        Raises:
            CheckpointError: It is of another workflow, or of this one when it had other steps or events; the
                differences are named.
        """
        unknown = set(options) - {"run_id", "timeout", "stream_buffer"}
        if unknown:
            raise WorkflowRuntimeError(
                f"run_from() got {', '.join(sorted(unknown))}; a run that goes on has its start event and its state"
            )
        if not allow_changed:
            self._check_unchanged(
                checkpoint.fingerprint, checkpoint.described, checkpoint.run_id, checkpoint.id_
            )
        start = self._start(
            checkpoint.document, checkpoint.created_at.timestamp(), checkpoint.run_id, checkpoint.id_
        )
        run = self.workflow._new_run(
            None, options, Recording(self._converter, start, described=self._described)
        )
        return self._recorded(run, checkpoint.id_)

    async def resume(self, run_id: str, *, allow_changed: bool = False, **options: Any) -> WorkflowHandler:
        """Return a run of the store, not yet started, to go on where it was; it keeps its id.

        One that has completed gives its recorded result and executes nothing. One that was killed, or cancelled from
        outside, goes on. Whoever was thought to be running it can save nothing any more.

        Args:
            run_id: Of a run of this workflow.
            allow_changed: Also if the workflow's steps or events have changed since; what has no place any more is an
                error.
            **options: ``timeout`` and ``stream_buffer``, as for `Workflow.run`.

        Raises:
            UnknownRunError: The store has no such run.
            CheckpointError: It is of another workflow, or has ended in a way from which it does not go on: with
                `run_from`, a new run can.
            StoreError: The store cannot be read.

        Cancellation:
            The run may have been claimed; it can be resumed again.
        """
        store = self._needed_store("resume")
        info, start = await self._look_at(store, run_id, allow_changed=allow_changed)
        if info.status != "completed":
            epoch = await store.claim(run_id)
            claimed = await store.run(run_id)
            if claimed.last_sequence != info.last_sequence:  # who ran it was alive, and has saved meanwhile
                claimed, start = await self._look_at(store, run_id, allow_changed=allow_changed)
            info = attrs.evolve(claimed, epoch=epoch)
        recording = Recording(self._converter, start, first=info.last_sequence + 1, described=self._described)
        run = self.workflow._new_run(None, {**options, "run_id": run_id}, recording)
        if info.status == "completed":
            return WorkflowHandler(run)
        return self._recorded(run, info.parent, info)

    async def _look_at(
        self, store: CheckpointStore, run_id: str, *, allow_changed: bool
    ) -> tuple[RunInfo, Start]:
        """Return how a run stands and where it goes on, once it has been found that it can."""
        info = await store.run(run_id)
        self._check_resumable(info)
        records = await store.load(run_id)
        if not records:
            raise CheckpointError("the store has no record of it", run_id=run_id)
        if not allow_changed:
            self._check_unchanged(info.fingerprint, self._described_in(records), run_id, records[-1].id)
        document = fold(records, self._read).document()
        return info, self._start(document, records[-1].created_at, run_id, records[-1].id)

    async def history(self, run_id: str, *, cuts: bool = False) -> list[Checkpoint]:
        """Return the checkpoints of a run that the store has, the oldest first.

        Args:
            run_id: Of a run of this workflow.
            cuts: Also those that no execution's output has made: the start, questions, outside events.

        Raises:
            UnknownRunError: The store has no such run.
            CheckpointError: It is of another workflow, or is damaged.
            StoreError: The store cannot be read.
        """
        store = self._needed_store("history")
        info = await store.run(run_id)
        records = await store.history(run_id)
        self._check_unchanged(info.fingerprint, self._described_in(records), run_id, "history")
        return [
            self._stored_checkpoint(info, records, index)
            for index, record in enumerate(records)
            if cuts or record.is_checkpoint
        ]

    def _stored_checkpoint(self, info: RunInfo, records: Sequence[Record], index: int) -> Checkpoint:
        last = records[index]
        about = payload(last, self._read)

        def content() -> Document:
            first = next(place for place in range(index, -1, -1) if records[place].kind == "full")
            snapshot = fold(records[first : index + 1], self._read)
            snapshot.settle()
            return snapshot.document()

        given, output = (
            None if about[name] is None else self._converter.structure_event(about[name], where=name)
            for name in ("input", "output")
        )
        return Checkpoint(
            id_=last.id,
            run_id=last.run_id,
            sequence=last.sequence,
            parent=info.parent,
            workflow=info.workflow,
            fingerprint=info.fingerprint,
            created_at=datetime.fromtimestamp(last.created_at, UTC),
            last_completed_step=last.step,
            input_event=given,
            output_event=output,
            described=self._described,
            content=content,
            converter=self._converter,
        )

    def _read(self, document: bytes) -> Document:
        return self._converter.loads(document, where="record")

    def _needed_store(self, method: str) -> CheckpointStore:
        if self._store is None:
            raise WorkflowRuntimeError(
                f"{method}() needs a store; make the checkpointer with one:\n"
                f"    WorkflowCheckpointer(workflow=workflow, store=store)"
            )
        return self._store

    def _check_unchanged(self, then: str, described: Document, run_id: str, checkpoint: str) -> None:
        if then != self._fingerprint:
            lines = differences(described, self._described)
            more = [f"and {len(lines) - _MOST_DIFFERENCES} more"] if len(lines) > _MOST_DIFFERENCES else []
            raise CheckpointError(
                "the workflow has changed since, and allow_changed=True was not given: "
                + "; ".join([*lines[:_MOST_DIFFERENCES], *more]),
                run_id=run_id,
                checkpoint=checkpoint,
            )

    def _described_in(self, records: Sequence[Record]) -> Document:
        full = [record for record in records if record.kind == "full"]
        return payload(full[-1], self._read)["described"] if full else None

    def _start(self, document: Mapping[str, Any], at: float, run_id: str, checkpoint: str) -> Start:
        """Return where a run goes on, once all of it has been found to have a place."""
        try:
            snapshot = Snapshot.from_document(document)
            snapshot.settle()
            start = Start(snapshot, at, checkpoint)
            recording = Recording(self._converter, start)
            recording.check_stop()
            trial = recording.ledger(self.workflow._current_plan(), _say_nothing, Desk, run_id)
            restore(trial, snapshot, at)
            for delivery in trial.pending.values():
                while trial.earlier_state(delivery) is not None:
                    trial.repeats_change(delivery)
        except CheckpointError as error:
            raise CheckpointError(error.reason, error.path, run_id, checkpoint) from error
        except (WorkflowRuntimeError, KeyError, TypeError, ValueError, IndexError) as error:
            raise CheckpointError(
                f"it has no place in the workflow: {error}", "", run_id, checkpoint
            ) from error
        return start

    def _check_resumable(self, info: RunInfo) -> None:
        if info.status in ("failed", "timed_out", "cancelled_by_user"):
            how = info.status.replace("_", " ")
            why = f" ({info.result.decode(errors='replace')[:200]})" if info.result else ""
            raise CheckpointError(
                f"it has ended, {how}{why}, and does not go on; start a new run from a checkpoint of it with run_from()",
                run_id=info.run_id,
            )

    def _recorded(self, run: Run, parent: str | None, info: RunInfo | None = None) -> WorkflowHandler:
        assert run.recording is not None, "a checkpointer records its runs"
        if info is None and run.run_id in self._runs:
            raise WorkflowRuntimeError(
                f"this checkpointer has a run {run.run_id!r} already; give another run_id, or none for a random one"
            )
        entries = _Entries(self, run, run.recording.history, parent)
        run.recording.history.on_cut = entries.add
        self._runs[run.run_id] = entries
        run.checkpoint_now = entries.checkpoint_now
        if self._store is not None:
            now = run.recording.history.clock()
            info = info or RunInfo(
                run_id=run.run_id,
                workflow=run.name,
                fingerprint=self._fingerprint,
                parent=parent,
                created_at=now,
                updated_at=now,
            )
            # A lock and an event of AnyIO's, which are made where the run is: when it starts.
            run.make_keeper = lambda: entries.keeper(self._needed_store("run"), self._durability, info)
        return WorkflowHandler(run)

    # --- looking

    @property
    def checkpoints(self) -> Mapping[str, list[Checkpoint]]:
        """The checkpoints of every run, by run id, in the order in which they were made."""
        return {run_id: list(entries.checkpoints()) for run_id, entries in self._runs.items()}

    def filter_checkpoints(
        self,
        run_id: str | None = None,
        last_completed_step: str | None = None,
        input_event_type: type[Event] | None = None,
        output_event_type: type[Event] | None = None,
    ) -> list[Checkpoint]:
        """Return the checkpoints that agree with everything that is given.

        Raises:
            WorkflowRuntimeError: Nothing is given, or there is no run of that id.
        """
        wanted = (run_id, last_completed_step, input_event_type, output_event_type)
        if all(value is None for value in wanted):
            raise WorkflowRuntimeError("filter_checkpoints() needs something to look for")
        if run_id is not None and run_id not in self._runs:
            raise WorkflowRuntimeError(f"this checkpointer has no run {run_id!r}")
        runs = self._runs.values() if run_id is None else [self._runs[run_id]]
        return [
            checkpoint
            for entries in runs
            for checkpoint in entries.checkpoints()
            if last_completed_step in (None, checkpoint.last_completed_step)
            and (input_event_type is None or type(checkpoint.input_event) is input_event_type)
            and (output_event_type is None or type(checkpoint.output_event) is output_event_type)
        ]

    def forget(self, run_id: str) -> None:
        """Give back the memory of a run's checkpoints, which then only the store has, if there is one."""
        self._runs.pop(run_id, None)

    # --- choosing

    @property
    def enabled_checkpoints(self) -> set[str]:
        """The steps whose executions leave a checkpoint."""
        return set(self.workflow.graph.step_names) - self._disabled

    def enable_checkpoint(self, step: str) -> None:
        """Keep checkpoints of *step* from now on, also in runs that are under way.

        Raises:
            WorkflowStepDoesNotExistError: There is no such step.
        """
        self._check_step(step)
        self._disabled.discard(step)

    def disable_checkpoint(self, step: str) -> None:
        """Keep no checkpoints of *step* from now on, also in runs that are under way.

        Raises:
            WorkflowStepDoesNotExistError: There is no such step.
        """
        self._check_step(step)
        self._disabled.add(step)

    def _check_step(self, step: str) -> None:
        names = self.workflow.graph.step_names
        if step not in names:
            raise WorkflowStepDoesNotExistError(step, names)

    # --- writing down

    def dumps(self, checkpoint: Checkpoint) -> bytes:
        """Return *checkpoint* as JSON that a person can read."""
        return self._converter.dumps(write_checkpoint(checkpoint, self._converter))

    def loads(self, document: bytes | str) -> Checkpoint:
        """Return the checkpoint that *document*, which may come from anywhere, describes.

        Nothing in it can import or call anything but the classes of this workflow's own events and state.

        Raises:
            CheckpointError: It is damaged, of a newer format, or not of this workflow.
        """
        content = self._converter.loads(document, where="checkpoint")
        try:
            return read_checkpoint(content, self._converter)
        except CheckpointError:
            # What is wrong with it may be that the workflow has changed, which says more than where it shows first.
            if isinstance(content, Mapping) and isinstance(then := content.get("fingerprint"), str):
                self._check_unchanged(
                    then, content.get("described"), brief(content.get("run_id")), "this one"
                )
            raise


class _Entries:
    """The checkpoints of one run."""

    def __init__(self, owner: WorkflowCheckpointer, run: Run, history: History, parent: str | None) -> None:
        self._owner = owner
        self._run = run
        self._history = history
        self._parent = parent
        self._cuts: list[Cut] = []
        self._made: list[Checkpoint] = []

    def add(self, cut: Cut) -> None:
        """Keep *cut*, if it is one to keep."""
        if self._is_entry(cut):
            self._cuts.append(cut)
        if self._run.keeper is not None:
            self._run.keeper.note(cut)

    def _is_entry(self, cut: Cut) -> bool:
        return cut.step is not None and cut.output is not None and cut.step not in self._owner._disabled

    def keeper(self, store: CheckpointStore, durability: Durability, info: RunInfo) -> Keeper:
        """Return what keeps the run in *store*."""
        assert self._run.recording is not None, "a checkpointer records its runs"
        return Keeper(store, durability, self._run.recording, info, self._is_entry)

    def checkpoints(self) -> list[Checkpoint]:
        """Return a checkpoint for each cut that was kept."""
        self._made.extend(self._checkpoint(cut) for cut in self._cuts[len(self._made) :])
        return self._made

    def checkpoint_now(self) -> Checkpoint:
        """Cut the run at this very moment."""
        return self._checkpoint(self._history.cut())

    def _checkpoint(self, cut: Cut) -> Checkpoint:
        converter, history = self._owner._converter, self._history
        structure = converter.structure_event
        return Checkpoint(
            id_=f"{self._run.run_id}/{cut.sequence}",
            run_id=self._run.run_id,
            sequence=cut.sequence,
            parent=self._parent,
            workflow=self._run.name,
            fingerprint=self._owner._fingerprint,
            created_at=datetime.fromtimestamp(cut.at, UTC),
            last_completed_step=cut.step,
            input_event=None if cut.input is None else structure(cut.input, where="input"),
            output_event=None if cut.output is None else structure(cut.output, where="output"),
            described=self._owner._described,
            content=lambda: history.snapshot(cut).document(),
            converter=converter,
        )
