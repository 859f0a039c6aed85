"""Decide from a function's signature what a step accepts, what it returns and how it is called.

Options of the decorator are none of its business; neither is what other steps do.
"""

import inspect
from collections.abc import Callable
from enum import Enum
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple, Never, NoReturn, TypeVar, get_args, get_origin

from .._events import Event
from .annotations import Scope, markers, members, resolve
from .collect import All, Collect, Take
from .resources import ResourceMarker, hides_marker, marked
from .wording import listed, name_of, quoted, written

if TYPE_CHECKING:  # loaded by programs that declare resources
    from .chains import ResourceDeclaration

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_NOTHING = (NoneType, Never, NoReturn)


class ContextParameter:
    """What marks a class as the context of a step: a parameter annotated with a subclass is given one."""

    __slots__ = ()


class CallShape(Enum):
    """How a step's function is called, after ``self``."""

    EVENT = "f(ev)"
    CONTEXT_EVENT = "f(ctx, ev)"
    EVENT_CONTEXT = "f(ev, ctx)"
    KEYWORDS = "f(ev=ev, ctx=ctx)"


class Signature(NamedTuple):
    """What a step's signature says."""

    shape: CallShape
    """How to call it."""

    event_parameter: str
    """Name of the parameter that takes the event."""

    accepts: tuple[type[Event], ...]
    """Event types in the order in which they are written."""

    joins: Collect | None
    """The parameter takes a list of events, and this says which; None if it takes one."""

    slots: tuple[tuple[str, type[Event]], ...]
    """Name and type of each event parameter, if there are several."""

    context_parameter: str | None
    """Name of the parameter that takes the context, None if there is none."""

    state_type: type | None
    """``State`` of ``Context[State]``."""

    returns: tuple[type[Event], ...]
    """Event types in the order in which they are written, None left out, those in lists included."""

    fans_out: tuple[type[Event], ...]
    """``E`` of ``list[E]`` among them."""

    returns_bare: tuple[type[Event], ...]
    """Those that are not, or not only, written in a list."""

    resources: tuple[tuple[str, "ResourceDeclaration"], ...]
    """Parameters that take resources, and what they are given."""


def _is_event(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Event)


def _listed_events(annotation: Any) -> tuple[type[Event], ...]:
    """Return ``A`` and ``B`` of ``list[A | B]``, nothing for anything but a list of events."""
    inner = members(get_args(annotation)[0]) if get_origin(annotation) is list else ()
    return inner if all(map(_is_event, inner)) else ()


def _is_context(annotation: Any) -> bool:
    origin = get_origin(annotation) or annotation
    return isinstance(origin, type) and issubclass(origin, ContextParameter)


def _return_advice(annotation: Any) -> str:
    if annotation is Any or annotation is object:
        return "name the Event subclasses it returns, or None"
    inside = [member for part in get_args(annotation) for member in members(part)]
    if any(map(_is_event, inside)):
        event = name_of(next(filter(_is_event, inside)))
        return f"write '-> list[{event}]' to have each of them worked on"
    return (
        "a step returns an Event or None: put the value into an event, as in 'return StopEvent(result=value)'"
    )


class _Reader:
    def __init__(
        self, function: Callable[..., Any], *, is_method: bool, scope: Scope, where: str, problems: list[str]
    ) -> None:
        whole = inspect.signature(function)
        self._return_annotation = whole.return_annotation
        self._parameters = list(whole.parameters.values())
        self._scope = scope
        self._where = where
        self._problems = problems
        self._own: inspect.Parameter | None = None
        self._unresolved: list[str] = []
        if is_method:
            self._take_self()
        self._events: dict[str, tuple[type[Event], ...]] = {}
        self._joins: dict[str, Collect] = {}
        self._contexts: dict[str, type | None] = {}
        self._resources: dict[str, ResourceDeclaration | None] = {}

    def read(self) -> Signature | None:
        for parameter in self._parameters:
            self._sort(parameter)
        returned = self._returned()
        listed_types = [one for member in returned for one in _listed_events(member)]
        bare = tuple(member for member in returned if _is_event(member))
        event = self._event_parameter()
        if len(self._contexts) > 1:
            self._complain(f"has several context parameters, {quoted(self._contexts)}; leave one")
        if event is None:
            return None
        context = next(iter(self._contexts), None)
        return Signature(
            shape=self._shape(event, context),
            event_parameter=event,
            accepts=tuple(dict.fromkeys(one for types in self._events.values() for one in types)),
            joins=self._joins.get(event),
            slots=tuple((name, types[0]) for name, types in self._events.items())
            if len(self._events) > 1
            else (),
            context_parameter=context,
            state_type=self._contexts[context] if context else None,
            returns=tuple(dict.fromkeys([*listed_types, *bare])),
            fans_out=tuple(dict.fromkeys(listed_types)),
            returns_bare=bare,
            resources=tuple((name, found) for name, found in self._resources.items() if found is not None),
        )

    def _complain(self, what: str) -> None:
        self._problems.append(f"{self._where} {what}")

    def _take_self(self) -> None:
        if self._parameters and self._parameters[0].kind in _POSITIONAL:
            self._own = self._parameters.pop(0)
        else:
            self._complain("is a method without self; make self its first parameter")

    def _sort(self, parameter: inspect.Parameter) -> None:
        """Decide what *parameter* is for."""
        if parameter.kind in _VARIADIC:
            return
        if self._take_resource(parameter):
            return
        named = [member for member in self._parameter_types(parameter) if member is not NoneType]
        marker = self._marker(parameter)
        if any(map(_listed_events, named)):
            self._events[parameter.name] = self._joined_types(parameter.name, named)
            self._joins[parameter.name] = marker or Collect()
        elif marker is not None:
            self._complain(
                f"has Collect on parameter {parameter.name!r}, which is no list of events; "
                f"write 'Annotated[list[E], Collect(...)]'"
            )
        elif any(map(_is_event, named)):
            self._events[parameter.name] = self._event_types(parameter.name, named)
        elif len(named) == 1 and _is_context(named[0]):
            self._contexts[parameter.name] = self._state_type(named[0])
        elif parameter.default is inspect.Parameter.empty and parameter.name not in self._unresolved:
            annotated = (
                ""
                if parameter.annotation is inspect.Parameter.empty
                else f": {written(parameter.annotation)}"
            )
            self._complain(
                f"has a parameter '{parameter.name}{annotated}' that is neither an event nor the context; "
                f"annotate it with an Event subclass, Context or 'Annotated[T, Resource(make_it)]', or give it a default"
            )

    def _take_resource(self, parameter: inspect.Parameter) -> bool:
        """Take *parameter* if it is a resource: whatever its type is, it is neither an event nor the context."""
        annotation = parameter.annotation
        if isinstance(annotation, str):
            try:
                annotation = resolve(annotation, self._scope)
            except (NameError, AttributeError, SyntaxError, TypeError):
                return False  # said of any annotation
        kind, markers = marked(annotation)
        is_misplaced = isinstance(parameter.default, ResourceMarker) or (
            not markers and hides_marker(annotation)
        )
        if len(markers) > 1 or is_misplaced:
            self._complain(
                f"has a parameter {parameter.name!r} with {len(markers)} resources behind its type; keep one"
                if markers
                else f"has a resource in the wrong place of parameter {parameter.name!r}; write "
                f"'{parameter.name}: Annotated[T, Resource(make_it)]', also where T is a union"
            )
            self._unresolved.append(parameter.name)
            return True
        if not markers:
            return False
        from .chains import read_resource  # noqa: PLC0415  # loaded by programs that declare resources

        self._resources[parameter.name] = read_resource(
            markers[0], kind, scope=self._scope, problems=self._problems, where=self._where
        )
        return True

    def _parameter_types(self, parameter: inspect.Parameter) -> tuple[Any, ...]:
        before = len(self._problems)
        allowed = self._allowed(parameter.annotation, f"parameter {parameter.name!r}")
        if len(self._problems) > before:
            self._unresolved.append(parameter.name)
        return allowed

    def _allowed(self, annotation: Any, what: str) -> tuple[Any, ...]:
        """Return the types that *annotation* allows; none if it is missing or cannot be resolved."""
        if annotation is inspect.Parameter.empty:
            return ()
        try:
            return members(resolve(annotation, self._scope))
        except NameError as error:
            reason = f"the name {error.name!r} is not known there"
        except (AttributeError, SyntaxError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
        self._complain(
            f"has an annotation that cannot be resolved, {written(annotation)!r} of {what}: {reason}; "
            f"define or import the class before the step, in its module or in a function or class around it"
        )
        return ()

    def _event_types(self, parameter: str, named: list[Any]) -> tuple[type[Event], ...]:
        others = [member for member in named if not _is_event(member)]
        if others:
            self._complain(
                f"accepts {listed(map(written, others))} beside events in parameter {parameter!r}; "
                f"write event types only, as in 'ev: A | B'"
            )
        return tuple(member for member in named if _is_event(member))

    def _marker(self, parameter: inspect.Parameter) -> Collect | None:
        if parameter.annotation is inspect.Parameter.empty or parameter.name in self._unresolved:
            return None
        found = markers(resolve(parameter.annotation, self._scope))
        mistaken = [one for one in found if isinstance(one, All | Take) or one in (All, Take, Collect)]
        if mistaken:
            self._complain(
                f"has {mistaken[0]!r} on parameter {parameter.name!r}; write "
                f"'Annotated[list[E], Collect(All())]' or 'Annotated[list[E], Collect(Take(n))]'"
            )
        return next((one for one in found if isinstance(one, Collect)), None)

    def _joined_types(self, parameter: str, named: list[Any]) -> tuple[type[Event], ...]:
        others = [member for member in named if not _listed_events(member)]
        if others:
            self._complain(
                f"accepts {listed(map(written, others))} beside a list of events in parameter {parameter!r}; "
                f"a step that joins takes the list alone, as in 'evs: list[A | B]'"
            )
        return tuple(dict.fromkeys(one for member in named for one in _listed_events(member)))

    def _event_parameter(self) -> str | None:
        """Return the name of the event parameter, the first of several; None if there is none."""
        if self._joins and len(self._events) > 1:
            self._complain(
                f"has {len(self._events)} event parameters, {quoted(self._events)}, one of them a list; "
                f"a step that joins has one event parameter"
            )
        elif len(self._events) > 1:
            for name, types in self._events.items():
                if len(types) > 1:
                    self._complain(
                        f"has several event parameters, and {name!r} takes {len(types)} types; "
                        f"write one type in each"
                    )
        if self._events:
            return next(iter(self._events))
        if not self._unresolved and not self._self_is_an_event():
            self._complain(
                "has no event parameter; annotate one with the events it accepts, as in 'ev: StartEvent'"
            )
        return None

    def _self_is_an_event(self) -> bool:
        own = self._own
        if own is None or own.annotation is inspect.Parameter.empty:
            return False
        if not any(map(_is_event, self._allowed(own.annotation, f"parameter {own.name!r}"))):
            return False
        self._complain(
            f"has no event parameter, because its first, {own.name!r}, is taken as self; "
            f"write '(self, {own.name}: {written(own.annotation)})' and no @staticmethod"
        )
        return True

    def _state_type(self, annotation: Any) -> type | None:
        state = next(iter(get_args(annotation)), None)
        if state is None or state is Any or isinstance(state, TypeVar):
            return None
        state_class = get_origin(state) or state
        if isinstance(state_class, type) and members(state) == (state,):
            return state_class
        self._complain(f"has a context of {written(annotation)}; in Context[State], State must be a class")
        return None

    def _returned(self) -> list[Any]:
        """Return what is written as the return type, None left out: events, and lists of them."""
        if self._return_annotation is inspect.Signature.empty:
            self._complain("has no return annotation; write the events it returns, as in '-> Done | None'")
            return []
        allowed = self._allowed(self._return_annotation, "the return value")
        named = [member for member in allowed if member not in _NOTHING]
        for member in named:
            if not _is_event(member) and not _listed_events(member):
                self._complain(f"is annotated to return {written(member)}; {_return_advice(member)}")
        return named

    def _shape(self, event: str, context: str | None) -> CallShape:
        if len(self._events) > 1:
            return self._by_keywords(context)
        leading = [parameter.name for parameter in self._parameters if parameter.kind in _POSITIONAL][:2]
        if self._resources:
            leading = []
        if context is None and leading[:1] == [event]:
            return CallShape.EVENT
        if leading == [context, event]:
            return CallShape.CONTEXT_EVENT
        if leading == [event, context]:
            return CallShape.EVENT_CONTEXT
        return self._by_keywords(context)

    def _by_keywords(self, context: str | None) -> CallShape:
        for parameter in self._parameters:
            given = (*self._events, context, *self._resources)
            if parameter.name in given and parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
                self._complain(
                    f"takes {parameter.name!r} by position only, beside a resource or behind a parameter that a run "
                    f"does not give; remove the '/', or put event and context first"
                )
        return CallShape.KEYWORDS


def read_signature(
    function: Callable[..., Any], *, is_method: bool, scope: Scope, where: str, problems: list[str]
) -> Signature | None:
    """Return what the signature of *function* says, or None after adding to *problems* what is wrong with it.

    Args:
        function: The step.
        is_method: The first parameter is ``self``.
        scope: Names that its annotations can use.
        where: The step, as the start of a sentence.
        problems: Gets one sentence for each mistake.
    """
    before = len(problems)
    reader = _Reader(function, is_method=is_method, scope=scope, where=where, problems=problems)
    signature = reader.read()
    return signature if len(problems) == before else None
