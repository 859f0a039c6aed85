"""Event-driven workflows as structured concurrency on AnyIO, alike on asyncio and Trio.

Public names only; each is defined in a private module and documented there.
"""

from ._declare.step import step
from ._errors import (
    EventFieldsError,
    RunNotFoundError,
    StatePathError,
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
    Event,
    EventsMissed,
    HumanResponseEvent,
    InputRequiredEvent,
    InternalDispatchEvent,
    StartEvent,
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
from ._graph.render import to_dot, to_mermaid
from ._ledger.report import StallReport
from ._ledger.state import DictState
from ._run.context import Context
from ._run.group import RunGroup
from ._run.handler import WorkflowHandler
from ._run.store import StateStore
from ._run.stream import EventReader
from ._run.workflow import Workflow

__all__ = (
    "Context",
    "DictState",
    "Event",
    "EventFieldsError",
    "EventReader",
    "EventsMissed",
    "Graph",
    "HumanResponseEvent",
    "InputRequiredEvent",
    "InternalDispatchEvent",
    "RunGroup",
    "RunNotFoundError",
    "StallReport",
    "StartEvent",
    "StatePathError",
    "StateStore",
    "StepState",
    "StepStateChanged",
    "StopEvent",
    "UnhandledEvent",
    "Workflow",
    "WorkflowCancelledByUser",
    "WorkflowCancelledError",
    "WorkflowCancelledEvent",
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
    "step",
    "to_dot",
    "to_mermaid",
)
