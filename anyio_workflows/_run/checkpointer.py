"""Runs that are recorded, their checkpoints, and runs that go on from one."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Generic, get_args

import attrs

from .._checkpoint.document import Checkpoint
from .._checkpoint.loading import fold, payload
from .._checkpoint.notation import Notation
from .._checkpoint.snapshot import Document, Snapshot
from .._errors import CheckpointError, WorkflowRuntimeError, WorkflowStepDoesNotExistError
from .._events import Event, StartEvent
from ..abc import CheckpointStore, Record, RunInfo
from .entries import Entries
from .handler import ResultT_co, WorkflowHandler
from .keeping import Durability
from .recorded_run import RecordedRun
from .recording import Recording, Start, checked
from .workflow import Workflow


class WorkflowCheckpointer(Generic[ResultT_co]):
    """Runs a workflow and keeps a checkpoint for every execution that gave an event.

    ``handler = checkpointer.run(...)`` is as `Workflow.run`; afterwards, and meanwhile,
    ``checkpointer.checkpoints[handler.run_id]`` are the checkpoints, and ``checkpointer.run_from(checkpoint)`` is a new
    run that goes on from one.
    """

    def __init__(
        self,
        *,
        workflow: Workflow[ResultT_co],
        store: CheckpointStore | None = None,
        durability: Durability = "async",
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
        self.workflow: Workflow[ResultT_co] = workflow
        self._disabled: set[str] = set()
        self._runs: dict[str, Entries] = {}
        workflow._current_notation()

    @property
    def _notation(self) -> Notation:
        return self.workflow._current_notation()

    @property
    def fingerprint(self) -> str:
        """What tells the workflow, by its steps and events, from one that was changed."""
        return self._notation.fingerprint

    # --- running

    def run(self, start_event: StartEvent | None = None, **options: Any) -> WorkflowHandler[ResultT_co]:
        """Return a run as `Workflow.run` does, which is recorded."""
        return self._take_in(
            self.workflow._new_run(start_event, options, self._make(Recording(self._notation)))
        )

    def run_from(
        self, checkpoint: Checkpoint, *, allow_changed: bool = False, **options: Any
    ) -> WorkflowHandler[ResultT_co]:
        """Return a new run that goes on from *checkpoint*.

        What was done by then stays done, what was pending is delivered, and what was being worked on is worked on again
        from its top: what it had sent is not sent again, and what it had changed in the state not changed again.

        Args:
            checkpoint: Of any run of this workflow; it may be used any number of times.
            allow_changed: Also if the workflow's steps or events have changed since; what has no place any more is an
                error.
            **options: ``run_id``, ``timeout``, ``stream_buffer`` and ``observers``, as for `Workflow.run`.

        Raises:
            CheckpointError: It is of another workflow, or of this one when it had other steps or events; the
                differences are named.
            WorkflowRuntimeError: *options* has something else, such as a field of a start event.
        """
        if not allow_changed:
            self._notation.check_unchanged(
                checkpoint.fingerprint,
                checkpoint.described,
                run_id=checkpoint.run_id,
                checkpoint=checkpoint.id_,
            )
        start = self._start(
            checkpoint.document,
            checkpoint.created_at.timestamp(),
            checkpoint.run_id,
            checkpoint.id_,
            allow_changed=allow_changed,
        )
        make = self._make(Recording(self._notation, start), parent=checkpoint.id_)
        return self._take_in(self.workflow._new_run_from(options, make), checkpoint.id_)

    async def resume(
        self, run_id: str, *, allow_changed: bool = False, **options: Any
    ) -> WorkflowHandler[ResultT_co]:
        """Return a run of the store, not yet started, to go on where it was; it keeps its id.

        One that has completed gives its recorded result and executes nothing. One that was killed, or cancelled from
        outside, goes on. Whoever was thought to be running it can save nothing any more.

        Args:
            run_id: Of a run of this workflow.
            allow_changed: Also if the workflow's steps or events have changed since; what has no place any more is an
                error.
            **options: ``timeout``, ``stream_buffer`` and ``observers``, as for `Workflow.run`.

        Raises:
            UnknownRunError: The store has no such run.
            CheckpointError: It is of another workflow, or has ended in a way from which it does not go on: with
                `run_from`, a new run can.
            StoreError: The store cannot be read.
            WorkflowRuntimeError: *options* has something else, such as a field of a start event.

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
        recording = Recording(self._notation, start, first=info.last_sequence + 1)
        run = self.workflow._new_run_from(
            {**options, "run_id": run_id}, self._make(recording, parent=info.parent)
        )
        if info.status == "completed":
            return WorkflowHandler(run)
        return self._take_in(run, info.parent, info)

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
            self._check_record_unchanged(info, records, records[-1].id)
        document = fold(records, self._notation.read).document()
        last = records[-1]
        return info, self._start(document, last.created_at, run_id, last.id, allow_changed=allow_changed)

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
        self._check_record_unchanged(info, records, "history")
        return [
            self._stored_checkpoint(info, records, index)
            for index, record in enumerate(records)
            if cuts or record.is_checkpoint
        ]

    def _stored_checkpoint(self, info: RunInfo, records: Sequence[Record], index: int) -> Checkpoint:
        last, read = records[index], self._notation.read
        about = payload(last, read)

        def content() -> Document:
            first = next(place for place in range(index, -1, -1) if records[place].kind == "full")
            snapshot = fold(records[first : index + 1], read)
            snapshot.settle()
            return snapshot.document()

        return self._notation.checkpoint(
            run_id=last.run_id,
            parent=info.parent,
            sequence=last.sequence,
            at=last.created_at,
            step=last.step,
            given=about["input"],
            output=about["output"],
            content=content,
        )

    def _needed_store(self, method: str) -> CheckpointStore:
        if self._store is None:
            raise WorkflowRuntimeError(
                f"{method}() needs a store; make the checkpointer with one:\n"
                f"    WorkflowCheckpointer(workflow=workflow, store=store)"
            )
        return self._store

    def _check_record_unchanged(self, info: RunInfo, records: Sequence[Record], checkpoint: str) -> None:
        full = [record for record in records if record.kind == "full"]
        described = payload(full[-1], self._notation.read)["described"] if full else None
        self._notation.check_unchanged(info.fingerprint, described, run_id=info.run_id, checkpoint=checkpoint)

    def _start(
        self, document: Mapping[str, Any], at: float, run_id: str, checkpoint: str, *, allow_changed: bool
    ) -> Start:
        """Return where a run goes on, once all of it has been found to have a place."""
        try:
            snapshot = Snapshot.from_document(document)
            snapshot.settle()
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise CheckpointError(
                f"it has no place in the workflow: {error}", "", run_id, checkpoint
            ) from error
        start = Start(snapshot, at, checkpoint, allow_changed=allow_changed)
        return checked(start, self._notation, self.workflow._current_plan(), run_id)

    def _check_resumable(self, info: RunInfo) -> None:
        if info.status in ("failed", "timed_out", "cancelled_by_user"):
            how = info.status.replace("_", " ")
            why = f" ({info.result.decode(errors='replace')[:200]})" if info.result else ""
            raise CheckpointError(
                f"it has ended, {how}{why}, and does not go on; start a new run from a checkpoint of it with run_from()",
                run_id=info.run_id,
            )

    def _make(self, recording: Recording, parent: str | None = None) -> Callable[..., RecordedRun]:
        return partial(RecordedRun, recording=recording, parent=parent, disabled=self._disabled)

    def _take_in(
        self, run: RecordedRun, parent: str | None = None, info: RunInfo | None = None
    ) -> WorkflowHandler[ResultT_co]:
        if info is None and run.run_id in self._runs:
            raise WorkflowRuntimeError(
                f"this checkpointer has a run {run.run_id!r} already; give another run_id, or none for a random one"
            )
        self._runs[run.run_id] = run.entries
        if self._store is not None:
            run.keep_in(self._store, self._durability, info or self._new_info(run, parent))
        return WorkflowHandler(run)

    def _new_info(self, run: RecordedRun, parent: str | None) -> RunInfo:
        now = time.time()
        return RunInfo(
            run_id=run.run_id,
            workflow=run.name,
            fingerprint=self._notation.fingerprint,
            parent=parent,
            created_at=now,
            updated_at=now,
        )

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
        return self._notation.dumps(checkpoint)

    def loads(self, document: bytes | str) -> Checkpoint:
        """Return the checkpoint that *document*, which may come from anywhere, describes.

        Nothing in it can import or call anything but the classes of this workflow's own events and state.

        Raises:
            CheckpointError: It is damaged, of a newer format, or not of this workflow.
        """
        return self._notation.loads(document)
