"""Read what resources are made of, and find what cannot be: circles, parameters nobody gives, parts that end too early.

Loaded by programs that declare resources.
"""

import functools
import inspect
from collections import ChainMap
from collections.abc import Callable, Hashable
from enum import Enum, IntEnum
from types import FunctionType
from typing import Any

import attrs

from .annotations import Scope, resolve, scope_of
from .resources import Resource, ResourceConfig, ResourceMarker, marked, name_of_factory
from .wording import written


class Lifetime(IntEnum):
    """How long a resource is kept; what it is made of has to be kept at least as long."""

    EXECUTION = 0
    """One execution of a step."""

    RUN = 1
    """One run."""

    BLOCK = 2
    """One ``async with workflow:``, or one `RunGroup`."""

    WORKFLOW = 3
    """As long as there is the workflow object."""


class Kind(Enum):
    """How a resource is made."""

    PLAIN = "the factory gives it"
    ASYNC_MANAGED = "the factory gives an async context manager, which gives it"
    MANAGED = "the factory gives a context manager, which gives it"
    CONFIG = "it is read from a file"


@attrs.frozen(kw_only=True, eq=False)
class ResourceDeclaration:
    """All that is known of one resource before it is made."""

    name: str
    """What messages call it."""

    key: Hashable
    """What it is known by: two with the same key are one resource."""

    kind: Kind
    """How it is made."""

    lifetime: Lifetime
    """How long it is kept."""

    reach: Lifetime
    """How long whatever is made of it may be kept; one that is made anew for each user may be kept by that."""

    factory: Callable[..., Any]
    """What makes it; of a CONFIG, the class that is filled in."""

    config: ResourceConfig | None = None
    """Where a CONFIG is read from."""

    needs: tuple[tuple[str, "ResourceDeclaration"], ...] = ()
    """Parameters of the factory, and what they are given."""

    @property
    def is_managed(self) -> bool:
        """Whether there is something to do when it ends."""
        return self.kind in (Kind.MANAGED, Kind.ASYNC_MANAGED)

    def everything(self) -> "list[ResourceDeclaration]":
        """Return this resource and all that it is made of."""
        return [self, *(part for _, need in self.needs for part in need.everything())]


class _Unreadable(Exception):
    """The sentence says why; it becomes one of the step's mistakes."""


class _Reader:
    """Reads one resource of a step, and all that it is made of."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._known: dict[Hashable, ResourceDeclaration] = {}
        self._chain: dict[Hashable, str] = {}

    def read(self, marker: ResourceMarker, kind: Any) -> ResourceDeclaration:
        if isinstance(marker, ResourceConfig):
            return self._config(marker, kind)
        assert isinstance(marker, Resource), "there are two classes of markers"
        name = name_of_factory(marker.factory)
        how = _kind_of(marker.factory, name)
        scope = marker.scope or ("workflow" if how is Kind.PLAIN else "run")
        key = (_identity(marker.factory), marker.cache, scope)
        if key in self._chain:
            names = list(self._chain.values())[list(self._chain).index(key) :]
            raise _Unreadable(
                f"needs resources that need each other: {' -> '.join([*names, name])}; have one of them make what it "
                f"needs itself"
            )
        if key not in self._known:
            self._chain[key] = name
            needs = self._needs(marker.factory, name)
            del self._chain[key]
            lifetime, reach = _lifetime(marker, name, how, scope, needs)
            self._known[key] = ResourceDeclaration(
                name=name,
                key=key,
                kind=how,
                lifetime=lifetime,
                reach=reach,
                factory=marker.factory,
                needs=needs,
            )
        return self._known[key]

    def _config(self, marker: ResourceConfig, kind: Any) -> ResourceDeclaration:
        try:
            cls = resolve(kind, self._scope)
        except (NameError, AttributeError, SyntaxError, TypeError) as error:
            raise _Unreadable(
                f"has {marker!r} behind {written(kind)}, which cannot be resolved ({error})"
            ) from None
        if not isinstance(cls, type):
            raise _Unreadable(
                f"has {marker!r} behind {written(kind)}, which is no class; annotate it with an attrs class, a "
                f"dataclass or a pydantic model"
            )
        return ResourceDeclaration(
            name=repr(marker),
            key=(marker.config_file, marker.path_selector, cls),
            kind=Kind.CONFIG,
            lifetime=Lifetime.WORKFLOW,
            reach=Lifetime.WORKFLOW,
            factory=cls,
            config=marker,
        )

    def _needs(self, factory: Callable[..., Any], name: str) -> tuple[tuple[str, ResourceDeclaration], ...]:
        try:
            parameters = inspect.signature(factory).parameters.values()
        except (TypeError, ValueError):  # a builtin that tells no signature
            return ()
        scope = _scope_behind(factory, self._scope)
        needs = []
        for parameter in parameters:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            kind, markers = marked(_resolved(parameter.annotation, scope))
            if markers and parameter.kind is not parameter.POSITIONAL_ONLY:
                needs.append((parameter.name, self.read(markers[0], kind)))
            elif parameter.default is parameter.empty:
                raise _Unreadable(
                    f"needs resource {name!r}, whose factory has a parameter {parameter.name!r} that nothing is given "
                    f"to; annotate it as 'Annotated[T, Resource(make_it)]', or give it a default"
                )
        return tuple(needs)


def _lifetime(
    marker: Resource,
    name: str,
    kind: Kind,
    scope: str,
    needs: tuple[tuple[str, ResourceDeclaration], ...],
) -> tuple[Lifetime, Lifetime]:
    """Return the lifetime of a resource, and that of what may be made of it."""
    shortest = min((need.reach for _, need in needs), default=Lifetime.WORKFLOW)
    if not marker.cache:
        return Lifetime.EXECUTION, shortest if kind is Kind.PLAIN else Lifetime.EXECUTION
    least = Lifetime.RUN if scope == "run" else Lifetime.BLOCK
    for _, need in needs:
        if need.reach < least:
            raise _Unreadable(
                f"needs resource {name!r} of scope {scope!r}, which is made of {need.name!r}, and that ends with "
                f"each {_ENDS_WITH[need.reach]}; give {name!r} {_ADVICE[need.reach]}"
                + (f', or {need.name!r} scope="workflow"' if need.lifetime is Lifetime.RUN else "")
            )
    if scope == "run":
        return Lifetime.RUN, Lifetime.RUN
    lifetime = shortest if kind is Kind.PLAIN else Lifetime.BLOCK
    return lifetime, lifetime


_ENDS_WITH = {Lifetime.EXECUTION: "execution of a step", Lifetime.RUN: "run"}
_ADVICE = {Lifetime.EXECUTION: "cache=False", Lifetime.RUN: 'scope="run"'}


def _identity(factory: Callable[..., Any]) -> Hashable:
    try:
        hash(factory)
    except TypeError:
        return id(factory)  # the declaration keeps it alive
    return factory


def _kind_of(factory: Callable[..., Any], name: str) -> Kind:
    function = _function_behind(factory)
    inner = inspect.unwrap(function)
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        decorator = "asynccontextmanager" if inspect.isasyncgenfunction(function) else "contextmanager"
        raise _Unreadable(
            f"needs resource {name!r}, whose factory is a generator; decorate it with '@contextlib.{decorator}'"
        )
    if inspect.isasyncgenfunction(inner):
        return Kind.ASYNC_MANAGED
    return Kind.MANAGED if inspect.isgeneratorfunction(inner) else Kind.PLAIN


def _function_behind(factory: Any) -> Any:
    while isinstance(factory, functools.partial):
        factory = factory.func
    if inspect.isfunction(factory) or inspect.ismethod(factory) or inspect.isbuiltin(factory):
        return factory
    return (
        inspect.getattr_static(factory, "__init__") if isinstance(factory, type) else type(factory).__call__
    )


def _scope_behind(factory: Any, outer: Scope) -> Scope:
    """Return what the annotations of *factory* can see: its own names, then those of the step that wants it."""
    function = inspect.unwrap(_function_behind(factory))
    if inspect.ismethod(function):
        function = function.__func__
    if not isinstance(function, FunctionType):
        return outer
    own = scope_of(function)
    return Scope(names=ChainMap(dict(own.names), dict(outer.names)))


def _resolved(annotation: Any, scope: Scope) -> Any:
    """Return *annotation* with its strings evaluated; as it is, if a name in them is unknown and marks nothing."""
    if marked(annotation)[1]:
        return annotation
    try:
        return resolve(annotation, scope)
    except (NameError, AttributeError, SyntaxError, TypeError):
        return annotation


def read_resource(
    marker: ResourceMarker, kind: Any, *, scope: Scope, problems: list[str], where: str
) -> ResourceDeclaration | None:
    """Return what *marker* stands for, or None after adding to *problems* what is wrong with it.

    Args:
        marker: What stands behind the type.
        kind: The type that is annotated.
        scope: Names that the step's annotations can use.
        problems: Gets one sentence for each mistake.
        where: The step, as the start of a sentence.
    """
    try:
        return _Reader(scope).read(marker, kind)
    except _Unreadable as error:
        problems.append(f"{where} {error}")
        return None
