"""Every exception of the library, one tree under `WorkflowError`.

    WorkflowError
    ├── WorkflowValidationError            a workflow is declared wrongly
    │   └── WorkflowConfigurationError     its start or stop events are
    ├── WorkflowRuntimeError               something was used wrongly while running
    │   ├── CheckpointError                a value can't be written to a checkpoint, or read from one
    │   ├── EventFieldsError               an event was given the wrong fields (a TypeError)
    │   ├── ResourceConfigError            a file of settings does not fit its class (a ValueError)
    │   ├── RunNotFoundError               a RunGroup knows no run of that id (a KeyError)
    │   ├── StatePathError                 nothing at that path of the state (a KeyError, a ValueError)
    │   ├── StoreError                     a checkpoint store could not do what it was asked
    │   │   ├── StoreConflictError         another writer was there first
    │   │   ├── StoreDamagedError          what it holds is not what was written
    │   │   ├── UnknownRecordError         it has the run, but not that record of it (a KeyError)
    │   │   └── UnknownRunError            it has no run of that id (a KeyError)
    │   └── WorkflowStepDoesNotExistError  no step of that name
    ├── WorkflowStalledError               a run can no longer go on
    ├── WorkflowTimeoutError               a run took too long (a TimeoutError)
    ├── RestoredError                      what an attempt had raised, told after a restart
    └── WorkflowCancelledError             a run was cancelled from outside
        └── WorkflowCancelledByUser        with `WorkflowHandler.cancel_run`

An exception that a step raises is not wrapped: it leaves ``await handler`` as itself.
"""

from collections.abc import Sequence


class WorkflowError(Exception):
    """The root of everything that this library raises on its own account."""


class WorkflowValidationError(WorkflowError):
    """A step or a workflow is declared wrongly; every mistake is in `problems`."""

    def __init__(self, problems: str | Sequence[str], *, workflow: str | None = None) -> None:
        super().__init__(problems)
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        """What is wrong, where, and what to do; one sentence each."""
        self.workflow = workflow
        """Name of the workflow, None if a single step is at fault."""

    def __str__(self) -> str:
        if len(self.problems) == 1 and self.workflow is None:
            return self.problems[0]
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        count = "1 mistake" if len(self.problems) == 1 else f"{len(self.problems)} mistakes"
        return f"{count} in the declaration of {self.workflow or 'a step'}:\n{lines}"


class WorkflowConfigurationError(WorkflowValidationError):
    """Among the mistakes is a missing, ambiguous or misused start or stop event."""


class WorkflowRuntimeError(WorkflowError):
    """A workflow, handler or context was used in a way that it does not allow."""


class CheckpointError(WorkflowRuntimeError):
    """A value can't be written to a checkpoint, or a document is no checkpoint of this workflow."""

    def __init__(
        self, reason: str, path: str = "", run_id: str | None = None, checkpoint: str | None = None
    ) -> None:
        super().__init__(reason, path, run_id, checkpoint)
        self.reason = reason
        """What is wrong, and what to do."""
        self.path = path
        """Where: event or part of the document, fields and indices, as ``Fetched.pages[3].url``."""
        self.run_id = run_id
        """Id of the run, None where it is not known."""
        self.checkpoint = checkpoint
        """Id of the checkpoint, None where it is not known."""

    def __str__(self) -> str:
        run = f"run {_cut(self.run_id)}" if self.run_id is not None else ""
        checkpoint = f"checkpoint {_cut(self.checkpoint)}" if self.checkpoint is not None else ""
        places = ", ".join(part for part in (run, checkpoint, _cut(self.path)) if part)
        return f"{places}: {_cut(self.reason)}" if places else _cut(self.reason)


class EventFieldsError(WorkflowRuntimeError, TypeError):
    """An event was made with fields that its class does not declare, or without some that it needs."""

    def __init__(
        self, event: str, unknown: Sequence[str], missing: Sequence[str], fields: Sequence[str]
    ) -> None:
        super().__init__(event, unknown, missing, fields)
        self.event = event
        """Name of the event class."""
        self.unknown: tuple[str, ...] = tuple(unknown)
        """Keywords that are no field of the class."""
        self.missing: tuple[str, ...] = tuple(missing)
        """Fields without a default that were not given."""
        self.fields: tuple[str, ...] = tuple(fields)
        """Every field that the class declares."""

    def __str__(self) -> str:
        faults = []
        if self.unknown:
            faults.append(f"has no field {_quoted(self.unknown)}")
        if self.missing:
            faults.append(f"needs {_quoted(self.missing)}")
        declared = f"its fields are {_quoted(self.fields)}" if self.fields else "it declares no fields"
        return f"{self.event} {' and '.join(faults)}; {declared}"


class ResourceConfigError(WorkflowRuntimeError, ValueError):
    """A file of settings cannot be read, or does not fit the class that it is for."""

    def __init__(self, file: str, path: str, reason: str) -> None:
        super().__init__(file, path, reason)
        self.file = file
        """Path of the file."""
        self.path = path
        """Which part of it, as ``server.tls.port``; empty for the whole."""
        self.reason = reason
        """What is wrong."""

    def __str__(self) -> str:
        return (
            f"config file {self.file!r}{f', at {_cut(self.path)}' if self.path else ''}: {_cut(self.reason)}"
        )


class StatePathError(WorkflowRuntimeError, KeyError, ValueError):
    """The state of a run has nothing at a path, and no default was given."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        """The whole path that was asked for."""
        self.reason = reason
        """Where on the way it ends, and what is there."""

    def __str__(self) -> str:
        return (
            f"nothing at path {self.path!r} of the run's state: {self.reason}; set it first or give default="
        )


class WorkflowStepDoesNotExistError(WorkflowRuntimeError):
    """A step was named that the workflow does not have."""

    def __init__(self, step: str, steps: Sequence[str]) -> None:
        super().__init__(step, steps)
        self.step = step
        """The name that was given."""
        self.steps: tuple[str, ...] = tuple(steps)
        """The names that there are."""

    def __str__(self) -> str:
        return f"there is no step {self.step!r}; the steps are {_quoted(self.steps)}"


class RunNotFoundError(WorkflowRuntimeError, KeyError):
    """A `RunGroup` was asked for a run that it does not know."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.run_id = run_id
        """The id that was asked for."""

    def __str__(self) -> str:
        return (
            f"this RunGroup knows no run {self.run_id!r}; "
            f"it was never started here, or has ended so long ago that it was forgotten"
        )


class StoreError(WorkflowRuntimeError):
    """A checkpoint store could not do what it was asked; nothing of it was done."""

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(store, reason)
        self.store = store
        """Which store: the path of its file, as a rule."""
        self.reason = reason
        """What went wrong, and what to do."""

    def __str__(self) -> str:
        return f"checkpoint store {self.store}: {self.reason}"


class StoreConflictError(StoreError):
    """Another writer was there first: of a run with that id, of its next record, or as its new owner."""

    def __init__(self, store: str, run_id: str, reason: str) -> None:
        super().__init__(store, reason)
        self.args: tuple[object, ...] = (store, run_id, reason)
        self.run_id = run_id
        """The run that both wanted to write."""

    def __str__(self) -> str:
        return f"checkpoint store {self.store}: run {self.run_id!r} {self.reason}"


class StoreDamagedError(StoreError):
    """What a store holds is not what was written to it.

    Contrast `StoreError` itself: there what is stored is sound, and the operation may work another time.
    """


class UnknownRunError(StoreError, KeyError):
    """A checkpoint store has no run of that id."""

    def __init__(self, store: str, run_id: str) -> None:
        super().__init__(store, f"there is no run {run_id!r}; it was never stored here, or has been deleted")
        self.args: tuple[object, ...] = (store, run_id)
        self.run_id = run_id
        """The id that was asked for."""


class UnknownRecordError(StoreError, KeyError):
    """A checkpoint store has the run, but no longer, or not yet, that record of it."""

    def __init__(self, store: str, run_id: str, sequence: int) -> None:
        super().__init__(
            store,
            f"run {run_id!r} has no record {sequence}, or none of the full ones that it builds on is left",
        )
        self.args: tuple[object, ...] = (store, run_id, sequence)
        self.run_id = run_id
        """The run, which is there."""
        self.sequence = sequence
        """The record that was asked for."""


class WorkflowStalledError(WorkflowError):
    """A run can no longer go on: nothing runs, nothing can start and nothing can come.

    Contrast `WorkflowTimeoutError`: there something still runs, it only takes too long.
    """

    def __init__(self, workflow: str, report: object) -> None:
        super().__init__(workflow, report)
        self.workflow = workflow
        """Name of the workflow."""
        self.report = report
        """The `StallReport`: what the run was left with."""

    def __str__(self) -> str:
        return f"{self.workflow} can no longer go on and has not produced a StopEvent\n{self.report}"


class WorkflowTimeoutError(WorkflowError, TimeoutError):
    """A run was not done within its timeout."""

    def __init__(self, workflow: str, timeout: float, active_steps: Sequence[str]) -> None:
        super().__init__(workflow, timeout, active_steps)
        self.workflow = workflow
        """Name of the workflow."""
        self.timeout = timeout
        """Seconds that it was given."""
        self.active_steps: tuple[str, ...] = tuple(active_steps)
        """Names of the steps that were being worked on."""

    def __str__(self) -> str:
        active = (
            f"active steps: {', '.join(self.active_steps)}" if self.active_steps else "no step was active"
        )
        return f"{self.workflow} was not done after {self.timeout} seconds; {active}"


class RestoredError(WorkflowError):
    """Stands for an exception that an attempt had ended with before the run was resumed: exceptions are not stored."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind
        """Name of its class."""
        self.message = message
        """What ``repr()`` said of it, cut if it was long."""

    def __str__(self) -> str:
        return f"before the run was resumed: {self.message}"


class WorkflowCancelledError(WorkflowError):
    """The run was cancelled together with the task, the body or the group that ran it."""

    def __init__(self, workflow: str, run_id: str, reason: str = "") -> None:
        super().__init__(workflow, run_id, reason)
        self.workflow = workflow
        """Name of the workflow."""
        self.run_id = run_id
        """Id of the run."""
        self.reason = reason
        """What cancelled it."""

    def __str__(self) -> str:
        return f"run {self.run_id} of {self.workflow} was cancelled" + (
            f": {self.reason}" if self.reason else ""
        )


class WorkflowCancelledByUser(WorkflowCancelledError):
    """The run was ended with `WorkflowHandler.cancel_run`."""


_MOST = 400
"""Characters of one part of a message, which may quote a document of a hundred megabytes."""


def _cut(text: str) -> str:
    return text if len(text) <= _MOST else f"{text[: _MOST // 2]}…{text[-_MOST // 2 :]}"


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
