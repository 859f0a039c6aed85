"""Event-driven workflows as structured concurrency on AnyIO, alike on asyncio and Trio.

Public names only; each is defined in a private module and documented there.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._declare.collect import All, Collect, Take
from ._declare.resources import Resource, ResourceConfig
from ._declare.retry import RetryInfo, RetryPolicy
from ._declare.step import catch_error, step
from ._errors import (
    CheckpointError,
    EventFieldsError,
    ResourceConfigError,
    RestoredError,
    RunNotFoundError,
    StatePathError,
    StoreConflictError,
    StoreDamagedError,
    StoreError,
    UnknownRecordError,
    UnknownRunError,
    WorkflowCancelledByUser,
    WorkflowCancelledError,
    WorkflowConfigurationError,
    WorkflowError,
    WorkflowRuntimeError,
    WorkflowStalledError,
    WorkflowStepDoesNotExistError,
    WorkflowTimeoutError,
    WorkflowValidationError,
)
from ._events import (
    ChildDispatchEvent,
    ChildEvent,
    Event,
    EventList,
    EventsMissed,
    HumanResponseEvent,
    InputRequiredEvent,
    InternalDispatchEvent,
    ResumeDivergedEvent,
    StartEvent,
    StepCancelledEvent,
    StepFailedEvent,
    StepState,
    StepStateChanged,
    StopEvent,
    UnhandledEvent,
    WorkflowCancelledEvent,
    WorkflowFailedEvent,
    WorkflowIdleEvent,
    WorkflowTimedOutEvent,
)
from ._graph.model import Graph
from ._ledger.report import StallReport
from ._ledger.state import DictState
from ._run.context import Context
from ._run.handler import WorkflowHandler
from ._run.store import StateStore
from ._run.stream import EventReader
from ._run.workflow import Workflow

if TYPE_CHECKING:
    from ._checkpoint.document import Checkpoint, CollectedEvents, PendingEvent
    from ._graph.render import to_dot, to_mermaid
    from ._run.checkpointer import WorkflowCheckpointer
    from ._run.group import RunGroup

__all__ = (
    "All",
    "Checkpoint",
    "CheckpointError",
    "ChildDispatchEvent",
    "ChildEvent",
    "Collect",
    "CollectedEvents",
    "Context",
    "DictState",
    "Event",
    "EventFieldsError",
    "EventList",
    "EventReader",
    "EventsMissed",
    "Graph",
    "HumanResponseEvent",
    "InputRequiredEvent",
    "InternalDispatchEvent",
    "PendingEvent",
    "Resource",
    "ResourceConfig",
    "ResourceConfigError",
    "RestoredError",
    "ResumeDivergedEvent",
    "RetryInfo",
    "RetryPolicy",
    "RunGroup",
    "RunNotFoundError",
    "StallReport",
    "StartEvent",
    "StatePathError",
    "StateStore",
    "StepCancelledEvent",
    "StepFailedEvent",
    "StepState",
    "StepStateChanged",
    "StopEvent",
    "StoreConflictError",
    "StoreDamagedError",
    "StoreError",
    "Take",
    "UnhandledEvent",
    "UnknownRecordError",
    "UnknownRunError",
    "Workflow",
    "WorkflowCancelledByUser",
    "WorkflowCancelledError",
    "WorkflowCancelledEvent",
    "WorkflowCheckpointer",
    "WorkflowConfigurationError",
    "WorkflowError",
    "WorkflowFailedEvent",
    "WorkflowHandler",
    "WorkflowIdleEvent",
    "WorkflowRuntimeError",
    "WorkflowStalledError",
    "WorkflowStepDoesNotExistError",
    "WorkflowTimedOutEvent",
    "WorkflowTimeoutError",
    "WorkflowValidationError",
    "catch_error",
    "step",
    "to_dot",
    "to_mermaid",
)


# What writes events down loads half of the standard library's types; programs that do not record do without, and so
# do others without what they have no use for.
_LATER = {
    "Checkpoint": "_checkpoint.document",
    "CollectedEvents": "_checkpoint.document",
    "PendingEvent": "_checkpoint.document",
    "RunGroup": "_run.group",
    "WorkflowCheckpointer": "_run.checkpointer",
    "to_dot": "_graph.render",
    "to_mermaid": "_graph.render",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    return found
