"""Turn a function into a declared step.

What its signature means is read elsewhere, and so is what the steps of a workflow amount to together.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator
from types import FunctionType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

import attrs

from .._errors import WorkflowValidationError
from .._events import Event, StopEvent
from .annotations import Scope, scope_of
from .options import StepOptions
from .signature import CallShape, ContextParameter, read_signature
from .wording import name_of

if TYPE_CHECKING:  # loaded by programs that declare resources
    from .chains import ResourceDeclaration

__all__ = (
    "CallShape",
    "ContextParameter",
    "StepDeclaration",
    "TakesSteps",
    "declaration_of",
    "declares_step",
    "step",
)

_DECLARATION = "__workflow_step__"
_AnyStep = TypeVar("_AnyStep", bound=Callable[..., Event | Awaitable[Event | None] | None])


class TakesSteps(Protocol):
    """A workflow class: what ``@step(workflow=...)`` adds a function to."""

    def add_step(self, func: Callable[..., Any], /) -> None:
        """Add a declared function as a step."""


@attrs.frozen(kw_only=True, eq=False)
class StepDeclaration:
    """All that is known of one step before it runs."""

    name: str
    """Name of the method or function, by which ``send_event(step=...)`` finds it."""

    function: Callable[..., Any]
    """What the engine calls."""

    is_async: bool
    """Calling it gives an awaitable; otherwise it runs in a worker thread."""

    is_method: bool
    """Its first parameter is the workflow; False for a free function."""

    shape: CallShape
    """How it is called after that."""

    event_parameter: str
    """Name of the parameter that takes the event."""

    context_parameter: str | None
    """Name of the parameter that takes the context, None if there is none."""

    state_type: type | None
    """``State`` of ``Context[State]``."""

    accepts: tuple[type[Event], ...]
    """Event types that it takes, as annotated."""

    returns: tuple[type[Event], ...]
    """Event types that it returns, as annotated, None left out."""

    resources: tuple[tuple[str, "ResourceDeclaration"], ...] = ()
    """Parameters that take resources, and what they are given."""

    accept_event_subclasses: bool
    """It takes subclasses of those types too."""

    waits_for: tuple[type[Event], ...]
    """Event types that it waits for with ``ctx.wait_for_event``."""

    num_workers: int
    """Most executions at once, in a run."""

    max_pending: int
    """Deliveries that may be pending before ``await ctx.send`` waits."""

    timeout: float | None
    """Seconds for one attempt."""

    limiter: Any
    """A capacity limiter to share, a function that makes one per event loop, or None."""

    skip_graph_checks: frozenset[str]
    """Checks of the graph that leave this step alone."""

    def takes(self, event_type: type[Event]) -> bool:
        """Return whether an event of exactly *event_type* is delivered to this step."""
        if event_type in self.accepts:
            return True
        # A StopEvent ends the run and is routed to nobody, so even a step for every Event doesn't get it.
        return (
            self.accept_event_subclasses
            and issubclass(event_type, self.accepts)
            and not issubclass(event_type, StopEvent)
        )


def declaration_of(attribute: object) -> StepDeclaration | None:
    """Return the declaration of a function that `step` has decorated, None for anything else."""
    if not isinstance(attribute, FunctionType):
        return None
    declaration: StepDeclaration | None = getattr(attribute, _DECLARATION, None)
    if declaration is None or declaration.function is attribute:
        return declaration
    # A decorator above @step has copied the declaration with functools.wraps; what it adds must run.
    return attrs.evolve(declaration, function=attribute, is_async=_is_async(attribute))


def declares_step(attribute: object) -> bool:
    """Return whether *attribute* is a declared step, or one wrapped in something that is no function."""
    inner = attribute.__func__ if isinstance(attribute, staticmethod | classmethod) else attribute
    return callable(inner) and isinstance(getattr(inner, _DECLARATION, None), StepDeclaration)


def _is_async(function: Callable[..., Any]) -> bool:
    # A plain wrapper around an async function returns its coroutine.
    inner = inspect.unwrap(function, stop=inspect.iscoroutinefunction)
    return inspect.iscoroutinefunction(inner)


def _checked_function(function: object) -> FunctionType:
    """Return *function*, if it is one that can be a step at all."""
    if isinstance(function, staticmethod | classmethod):
        kind = type(function).__name__
        raise WorkflowValidationError(
            f"step {name_of(function)!r} is a {kind}; a step is a method with self: remove @{kind}"
        )
    if not isinstance(function, FunctionType):
        raise WorkflowValidationError(
            f"{function!r} cannot be a step; decorate a function or method made with def or async def, "
            f"and give options by keyword, as in '@step(num_workers=4)'"
        )
    if function.__name__ == "<lambda>":
        raise WorkflowValidationError(
            f"a lambda in {function.__module__!r} cannot be a step, because it has no annotations; write it with def"
        )
    return function


def _is_method(function: FunctionType) -> bool:
    enclosing = function.__qualname__.rpartition(".")[0]
    return bool(enclosing) and not enclosing.endswith("<locals>")


def _kind_problems(function: FunctionType) -> list[str]:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return [
            "is a generator; return one event, and send further ones with ctx.send_event instead of yield"
        ]
    return []


def _placement_problems(
    function: FunctionType, workflow: object, *, is_method: bool, scope: Scope
) -> Iterator[str]:
    """Tell what is wrong with where the step stands and with what it is added to."""
    if is_method:
        if workflow is not None:
            yield "is a method, which belongs to the class it stands in; remove workflow="
        earlier = declaration_of(scope.class_body.get(function.__name__))
        if earlier is not None:
            line = inspect.unwrap(earlier.function).__code__.co_firstlineno
            yield f"is declared twice in its class, the first time in line {line}; give one of them another name"
    elif workflow is None:
        yield (
            "is a function outside a class and belongs to no workflow; write '@step(workflow=MyWorkflow)' "
            "(if it is a method in another decorator, that one should use functools.wraps)"
        )
    elif not isinstance(workflow, type) or not hasattr(workflow, "add_step"):
        yield f"has workflow={workflow!r}; give the Workflow subclass itself, as in 'workflow=MyWorkflow'"


def _declaration(function: FunctionType, options: StepOptions, workflow: object) -> StepDeclaration:
    where = f"step {name_of(function)!r}"
    is_method = _is_method(function)
    scope = scope_of(function)
    said = [
        *_placement_problems(function, workflow, is_method=is_method, scope=scope),
        *_kind_problems(function),
        *options.problems(),
    ]
    problems = [f"{where} {problem}" for problem in said]
    signature = read_signature(function, is_method=is_method, scope=scope, where=where, problems=problems)
    if signature is None or problems:
        raise WorkflowValidationError(problems)
    return StepDeclaration(
        name=function.__name__,
        function=function,
        is_async=_is_async(function),
        is_method=is_method,
        **options.settled(),
        **signature._asdict(),
    )


@overload
def step(func: _AnyStep, /) -> _AnyStep: ...


@overload
def step(
    *,
    workflow: TakesSteps | None = None,
    num_workers: int = 4,
    max_pending: int | None = None,
    timeout: float | None = None,
    limiter: object | None = None,
    waits_for: type[Event] | Iterable[type[Event]] = (),
    accept_event_subclasses: bool = False,
    skip_graph_checks: Iterable[str] = (),
) -> Callable[[_AnyStep], _AnyStep]: ...


def step(
    func: Callable[..., Any] | None = None,
    *,
    workflow: TakesSteps | None = None,
    num_workers: int = 4,
    max_pending: int | None = None,
    timeout: float | None = None,
    limiter: object | None = None,
    waits_for: type[Event] | Iterable[type[Event]] = (),
    accept_event_subclasses: bool = False,
    skip_graph_checks: Iterable[str] = (),
) -> Callable[..., Any]:
    """Declare a method, or with *workflow* a function, as a step.

    The annotations say what it does: the one event parameter which events it accepts, the return
    annotation which it returns; a parameter annotated with `Context` is given the context, and one
    annotated with a `Resource` is given that. The function itself stays as it is.

    Args:
        func: The function, when the decorator is written without parentheses.
        workflow: The workflow class that a function is added to; a method belongs to its class.
        num_workers: Most executions of this step at once, in a run.
        max_pending: Deliveries that may be pending before ``await ctx.send(...)`` waits; by default
            twice *num_workers*, and at least 64.
        timeout: Seconds that one attempt may take.
        limiter: A ``CapacityLimiter`` shared with other steps, runs or workflows, or a function without
            arguments that makes one, which is called once for each event loop.
        waits_for: Event types that the step waits for with ``ctx.wait_for_event``, so that the graph knows.
        accept_event_subclasses: Take subclasses of the accepted types too.
        skip_graph_checks: Mistakes of the graph to allow here: ``"reachability"``, ``"terminal_event"``,
            ``"dead_end"``.

    Raises:
        WorkflowValidationError: The step is declared wrongly; all of its mistakes are named.
    """
    options = StepOptions(
        num_workers=num_workers,
        max_pending=max_pending,
        timeout=timeout,
        limiter=limiter,
        waits_for=waits_for,
        accept_event_subclasses=accept_event_subclasses,
        skip_graph_checks=skip_graph_checks,
    )

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        setattr(function, _DECLARATION, _declaration(_checked_function(function), options, workflow))
        if workflow is not None:
            workflow.add_step(function)
        return function

    return declare if func is None else declare(func)
