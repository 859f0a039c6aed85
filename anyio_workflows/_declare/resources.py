"""What a user writes to have a step given something: ``Annotated[Client, Resource(make_client)]``.

What a factory needs itself, and whether all of it lives long enough, is read by `chains`; when it is made is decided
by the run.
"""

import functools
import os
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args, get_origin

from .._errors import WorkflowValidationError

_SCOPES = (None, "run", "workflow")
CONFIG_SUFFIXES = (".json", ".toml")
"""Endings of the files that a `ResourceConfig` reads."""


class ResourceMarker:
    """What stands behind the type in an annotation, and says where the value comes from."""

    __slots__ = ()


class Resource(ResourceMarker):
    """Where the value of a step's parameter comes from: ``client: Annotated[Client, Resource(make_client)]``.

    The factory is a plain or an async function, or one decorated with `contextlib.asynccontextmanager` or
    `contextlib.contextmanager`: then the resource is *managed*, and what stands behind the ``yield`` runs at the end of
    its scope, in the task that has run what stands before it. It is called when a step first needs it, in the event
    loop. Its own parameters may be resources, too; any other needs a default.

    A resource is known by its factory, the function itself: every parameter with the same factory and scope is given
    the same object.
    """

    __slots__ = ("cache", "factory", "scope")

    def __init__(
        self,
        factory: Callable[..., Any],
        cache: bool = True,  # noqa: FBT001, FBT002  # by position too, as in LlamaIndex Workflows
        *,
        scope: Literal["run", "workflow"] | None = None,
    ) -> None:
        """Say where a value comes from; nothing is called yet.

        Args:
            factory: What makes it.
            cache: Make it once for all of its scope. False makes one for each execution of a step; one that is managed
                ends with the execution, and an exception of the step goes through it, as through ``async with``.
            scope: How long it lives. ``"run"``: made once for each run. ``"workflow"``: made once for each workflow
                object and event loop; a managed one, and what is made of it, once for each ``async with workflow:``
                or `RunGroup`, and ends with that. By default ``"run"`` for managed ones, else ``"workflow"``.

        Raises:
            WorkflowValidationError: An argument has a wrong value.
        """
        if not callable(factory):
            raise WorkflowValidationError(
                f"Resource({factory!r}) is given no factory; give the function itself, as in 'Resource(make_client)'"
            )
        if not isinstance(cache, bool):
            raise WorkflowValidationError(f"Resource(..., cache={cache!r}): give True or False")
        if scope not in _SCOPES:
            raise WorkflowValidationError(f"Resource(..., scope={scope!r}): give 'run' or 'workflow'")
        if scope is not None and not cache:
            raise WorkflowValidationError(
                f"Resource(..., cache=False, scope={scope!r}) is made for each execution of a step, so it has no "
                f"scope; leave out one of them"
            )
        self.factory: Callable[..., Any] = factory
        self.cache: bool = cache
        self.scope: Literal["run", "workflow"] | None = scope

    def __repr__(self) -> str:
        scope = f", scope={self.scope!r}" if self.scope else ""
        return f"Resource({name_of_factory(self.factory)}{'' if self.cache else ', cache=False'}{scope})"


class ResourceConfig(ResourceMarker):
    """Settings from a file: ``settings: Annotated[Settings, ResourceConfig("app.toml", "server")]``.

    They are read once for each workflow object, when a step first needs them, into the annotated class: an attrs class,
    a dataclass, or a pydantic model. A field that the class does not have is an error, unless a pydantic model allows
    it.
    """

    __slots__ = ("config_file", "description", "label", "path_selector")

    def __init__(
        self,
        config_file: "str | os.PathLike[str]",
        path_selector: str | None = None,
        label: str | None = None,
        description: str | None = None,
    ) -> None:
        """Say where the settings are; nothing is read yet.

        Args:
            config_file: A JSON or TOML file, which its name ends with.
            path_selector: Which part of it, as ``"server.tls"``; by default all of it.
            label: What a person calls it.
            description: What it is for.

        Raises:
            WorkflowValidationError: An argument has a wrong value.
        """
        given: object = config_file
        path = str(os.fspath(config_file)) if isinstance(given, str | os.PathLike) else ""
        if not path.endswith(CONFIG_SUFFIXES):
            raise WorkflowValidationError(
                f"ResourceConfig({config_file!r}) names no file that it can read; give one ending in "
                f"{' or '.join(CONFIG_SUFFIXES)}"
            )
        selector: object = path_selector
        if selector is not None and not (isinstance(selector, str) and all(selector.split("."))):
            raise WorkflowValidationError(
                f"ResourceConfig(..., path_selector={path_selector!r}) is no path; write keys joined by dots, as "
                f"'server.tls', or nothing for the whole file"
            )
        self.config_file: str = path
        self.path_selector: str | None = path_selector
        self.label: str | None = label
        self.description: str | None = description

    def __repr__(self) -> str:
        selector = f", {self.path_selector!r}" if self.path_selector else ""
        return f"ResourceConfig({self.config_file!r}{selector})"


def name_of_factory(factory: object) -> str:
    """Return what messages call *factory*: the name that stands in ``Resource(...)``, mostly."""
    while isinstance(factory, functools.partial):
        factory = factory.func
    qualname: str = getattr(factory, "__qualname__", type(factory).__qualname__)
    return qualname.rpartition("<locals>.")[2]


def marked(annotation: Any) -> tuple[Any, list[ResourceMarker]]:
    """Return what *annotation* annotates, and the markers of resources that stand behind it."""
    if type(annotation).__name__ == "TypeAliasType":
        return marked(annotation.__value__)
    if get_origin(annotation) is Annotated:
        kind, *behind = get_args(annotation)
        return kind, [each for each in behind if isinstance(each, ResourceMarker)]
    return annotation, []


def hides_marker(annotation: Any) -> bool:
    """Return whether a marker stands somewhere inside of *annotation*, where it marks no parameter."""
    return any(marked(part)[1] or hides_marker(part) for part in get_args(annotation))
