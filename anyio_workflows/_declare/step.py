"""Turn a function into a declared step.

What its signature means is read elsewhere, and so is what the steps of a workflow amount to together.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, overload

import attrs

from .._errors import WorkflowValidationError
from .._events import Event, StopEvent
from .annotations import Scope, scope_of
from .collect import Collect
from .executors import step_problems
from .options import StepOptions, as_list
from .recovery import Recovery, handler_problems
from .retry import RetryPolicy
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
_Output: TypeAlias = Event | Sequence[Event] | None
_AnyStep = TypeVar("_AnyStep", bound=Callable[..., _Output | Awaitable[_Output]])


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
    """Calling it gives an awaitable; otherwise it runs in a worker thread, or in its executor."""

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

    fans_out: tuple[type[Event], ...] = ()
    """Those that it returns in lists."""

    returns_bare: tuple[type[Event], ...] | None = None
    """Those that it returns alone, None for all."""

    joins: Collect | None = None
    """It is called with a list of what came of a fan-out, and this says which; None if it is called with one event."""

    slots: tuple[tuple[str, type[Event]], ...] = ()
    """Name and type of each event parameter, if it has several: it is called with one event for each."""

    handles: Recovery | None = None
    """It is called when other steps have failed, and this says which."""
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

    retry_policy: RetryPolicy | None = None
    """When an attempt that failed is made again."""

    cancellable: bool = False
    """Its executions may be cancelled by themselves."""

    executor: Any = None
    """An executor that it runs in, a function that makes one, or None."""

    skip_graph_checks: frozenset[str]
    """Checks of the graph that leave this step alone."""

    @property
    def bare(self) -> tuple[type[Event], ...]:
        """Event types that it returns alone."""
        return self.returns if self.returns_bare is None else self.returns_bare

    def takes(self, event_type: type[Event]) -> bool:
        """Return whether an event of exactly *event_type* is delivered to this step."""
        if self.handles is not None:
            return False  # it is the failure that calls it, whoever sends such an event
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


def _declaration(
    function: FunctionType,
    options: StepOptions,
    workflow: object,
    handles: Recovery | None = None,
    mistakes: Iterable[str] = (),
) -> StepDeclaration:
    """Return the declaration of *function*, which has *mistakes* already."""
    where = f"step {name_of(function)!r}"
    is_method = _is_method(function)
    scope = scope_of(function)
    said = [
        *_placement_problems(function, workflow, is_method=is_method, scope=scope),
        *_kind_problems(function),
        *mistakes,
        *options.problems(),
    ]
    problems = [f"{where} {problem}" for problem in said]
    signature = read_signature(function, is_method=is_method, scope=scope, where=where, problems=problems)
    if signature is not None and handles is not None:
        takes_one = signature.joins is None and not signature.slots
        problems += [f"{where} {each}" for each in handler_problems(signature.accepts, takes_one=takes_one)]
    is_async = _is_async(function)
    context = signature.context_parameter if signature is not None else None
    found = step_problems(function, options.executor, is_async=is_async, context_parameter=context)
    problems.extend(f"{where} {problem}" for problem in found)
    if signature is not None and signature.resources and options.executor is not None:
        problems.append(
            f"{where} has executor= and resources, which stay in the event loop; make them where the step runs, or "
            f"give what they hold in the event"
        )
    if signature is None or problems:
        raise WorkflowValidationError(problems)
    return StepDeclaration(
        name=function.__name__,
        function=function,
        is_async=is_async,
        is_method=is_method,
        handles=handles,
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
    retry_policy: RetryPolicy | None = None,
    cancellable: bool = False,
    executor: object | None = None,
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
    retry_policy: RetryPolicy | None = None,
    cancellable: bool = False,
    executor: object | None = None,
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
        retry_policy: When an attempt that raised is made again; by default never.
        cancellable: Its executions may be cancelled by themselves, with `WorkflowHandler.cancel_step` or
            `Context.cancel_step`. Those of a workflow that fans out always may.
        executor: Run the step, a plain ``def`` that takes an event only, in this executor of ``concurrent.futures``
            instead of a worker thread; whoever made it shuts it down. Or a function without arguments that makes
            one, which is called when it is first needed, and once for all steps of the process that have it; it is
            called again after its executor has broken, and what it made ends with the process.
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
        retry_policy=retry_policy,
        cancellable=cancellable,
        executor=executor,
        waits_for=as_list(waits_for),
        accept_event_subclasses=accept_event_subclasses,
        skip_graph_checks=as_list(skip_graph_checks),
    )

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        setattr(function, _DECLARATION, _declaration(_checked_function(function), options, workflow))
        if workflow is not None:
            workflow.add_step(function)
        return function

    return declare if func is None else declare(func)


@overload
def catch_error(func: _AnyStep, /) -> _AnyStep: ...


@overload
def catch_error(
    *,
    for_steps: Sequence[str] | None = None,
    max_recoveries: int = 1,
    workflow: TakesSteps | None = None,
    skip_graph_checks: Iterable[str] = (),
) -> Callable[[_AnyStep], _AnyStep]: ...


def catch_error(
    func: Callable[..., Any] | None = None,
    *,
    for_steps: Sequence[str] | None = None,
    max_recoveries: int = 1,
    workflow: TakesSteps | None = None,
    skip_graph_checks: Iterable[str] = (),
) -> Callable[..., Any]:
    """Declare a method, or with *workflow* a function, as what is called when a step has failed for good.

    Its parameter is a `StepFailedEvent`. What it returns goes on where the step would have; what it raises fails the
    run. A step has one handler: the one that names it, else the one that names none. It is called when the step's
    `RetryPolicy` has given up, and not when the run is cancelled or its time is over. Handlers are not handled.

    Args:
        func: The function, when the decorator is written without parentheses.
        for_steps: Names of the steps; by default all that no other handler names.
        max_recoveries: How often it is called in one lineage: for what has come of its own events, or of those that
            other events of theirs were put together with. After that the failure is the run's.
        workflow: The workflow class that a function is added to; a method belongs to its class.
        skip_graph_checks: Mistakes of the graph to allow here: ``"dead_end"``, ``"terminal_event"``.

    Raises:
        WorkflowValidationError: It is declared wrongly; all of its mistakes are named.
    """
    options = StepOptions(
        num_workers=1,
        max_pending=None,
        timeout=None,
        limiter=None,
        retry_policy=None,
        cancellable=False,
        executor=None,
        waits_for=[],
        accept_event_subclasses=False,
        skip_graph_checks=as_list(skip_graph_checks),
    )
    mistakes = list(Recovery.problems(for_steps, max_recoveries))
    recovery = Recovery(None if for_steps is None or mistakes else tuple(for_steps), max_recoveries)

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        declaration = _declaration(_checked_function(function), options, workflow, recovery, mistakes)
        setattr(function, _DECLARATION, declaration)
        if workflow is not None:
            workflow.add_step(function)
        return function

    return declare if func is None else declare(func)
