"""What all runs of one workflow share: its steps bound to their functions, and where events go.

Made once per workflow; a run only reads it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._brief import brief
from .._declare.collect import Collect
from .._declare.retry import RetryPolicy
from .._declare.signature import CallShape
from .._declare.step import StepDeclaration
from .._errors import WorkflowRuntimeError, WorkflowStepDoesNotExistError
from .._events import Event, HumanResponseEvent, InputRequiredEvent, StopEvent
from .._graph.levels import handler_of, joins_of
from .._graph.model import Graph

if TYPE_CHECKING:  # loaded by programs that declare resources
    from .._declare.chains import ResourceDeclaration


class Node:
    """One step as the engine calls it."""

    __slots__ = (
        "call",
        "declaration",
        "event_parameter",
        "fans_out",
        "index",
        "is_async",
        "is_simple",
        "joins",
        "limiter",
        "max_pending",
        "name",
        "num_workers",
        "resources",
        "retry_policy",
        "shape",
        "slots",
        "timeout",
        "wants_context",
    )

    def __init__(self, index: int, declaration: StepDeclaration, call: Callable[..., Any]) -> None:
        self.index: int = index
        self.declaration: StepDeclaration = declaration
        self.call: Callable[..., Any] = call
        self.name: str = declaration.name
        self.shape: CallShape = declaration.shape
        self.is_async: bool = declaration.is_async
        self.wants_context: bool = declaration.context_parameter is not None
        self.event_parameter: str = declaration.event_parameter
        self.num_workers: int = declaration.num_workers
        self.max_pending: int = declaration.max_pending
        self.timeout: float | None = declaration.timeout
        self.limiter: Any = declaration.limiter
        self.retry_policy: RetryPolicy | None = declaration.retry_policy
        self.joins: Collect | None = declaration.joins
        self.slots: tuple[tuple[str, type[Event]], ...] = declaration.slots
        self.fans_out: tuple[type[Event], ...] = declaration.fans_out
        self.resources: tuple[tuple[str, ResourceDeclaration], ...] = declaration.resources
        self.is_simple: bool = self.is_async and not (
            self.timeout or self.retry_policy or self.joins or self.slots or self.resources
        )
        """Calling it is all there is to do."""


class Route:
    """Where events of one class go."""

    __slots__ = ("is_answer", "is_plain", "is_prompt", "is_stop", "targets")

    def __init__(self, event_type: type[Event], targets: tuple[int, ...]) -> None:
        self.targets: tuple[int, ...] = targets
        """Indices of the accepting steps, in order of declaration."""
        self.is_stop: bool = issubclass(event_type, StopEvent)
        self.is_prompt: bool = issubclass(event_type, InputRequiredEvent)
        self.is_answer: bool = issubclass(event_type, HumanResponseEvent)
        self.is_plain: bool = bool(targets) and not (self.is_stop or self.is_prompt or self.is_answer)
        """True if there is nothing to do but to deliver it."""


class Plan:
    """The graph of one workflow, made ready to run."""

    __slots__ = (
        "graph",
        "handler_of",
        "has_lineage",
        "has_retries",
        "joins_of",
        "may_cancel",
        "name",
        "nodes",
        "resources",
        "routes",
        "state_type",
    )

    def __init__(
        self,
        name: str,
        graph: Graph,
        nodes: tuple[Node, ...],
        state_type: type | None = None,
        resources: Any = None,
    ) -> None:
        self.name: str = name
        self.resources: Any = resources
        """Where the engine keeps what the steps are given; None if no step has a resource."""
        self.state_type: type | None = state_type
        """The class of the state, None for untyped state."""
        self.graph: Graph = graph
        self.nodes: tuple[Node, ...] = nodes
        self.has_retries: bool = any(node.retry_policy is not None for node in nodes)
        self.handler_of: dict[int, int] = handler_of(graph.steps)
        """The handler of each step that has one."""
        self.joins_of: dict[int, tuple[int, ...]] = joins_of(graph.steps)
        """The steps that join what each step fans out."""
        self.has_lineage: bool = bool(self.handler_of or self.joins_of or any(node.slots for node in nodes))
        """Whether it matters what an event has come of."""
        self.may_cancel: bool = bool(self.joins_of) or any(node.declaration.cancellable for node in nodes)
        """Whether executions may be cancelled by themselves."""
        self.routes: dict[type, Route] = {}
        """Filled as event classes appear; events that no annotation declares are routed too."""

    def route(self, event: object, *, source: str) -> Route:
        """Return where *event* goes.

        Raises:
            WorkflowRuntimeError: It is no event.
        """
        event_type = type(event)
        route = self.routes.get(event_type)
        if route is None:
            if not isinstance(event, Event):
                raise WorkflowRuntimeError(
                    f"{source} gave {brief(event)}, which is no event; return or send an instance of a class "
                    f"derived from Event, or return None"
                )
            route = self.routes[event_type] = Route(type(event), self.graph.targets(type(event)))
        return route

    def node(self, step: str) -> Node:
        """Return the step called *step*.

        Raises:
            WorkflowStepDoesNotExistError: There is none.
        """
        for node in self.nodes:
            if node.name == step:
                return node
        raise WorkflowStepDoesNotExistError(step, [node.name for node in self.nodes])
