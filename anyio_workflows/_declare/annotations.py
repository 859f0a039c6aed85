"""Find out what an annotation means, wherever it stands and however it is written.

What the meaning makes of a parameter is decided by the signature.
"""

import builtins
import functools
import inspect
from collections import ChainMap
from collections.abc import Callable, Mapping, MutableMapping
from types import FrameType, MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints


class Scope(NamedTuple):
    """The names that a function's annotations can use."""

    names: Mapping[str, Any]
    """Innermost first: enclosing class bodies and functions, closure, module, builtins."""

    class_body: Mapping[str, Any] = MappingProxyType({})
    """What the class body that is just being executed holds so far; empty for a free function."""


def scope_of(function: Callable[..., Any]) -> Scope:
    """Return what the annotations of *function*, which is just being decorated, can see."""
    defined = inspect.unwrap(function)
    qualname = defined.__code__.co_qualname
    bodies = _enclosing_bodies(qualname, defined.__globals__)
    scopes = [body for _, body in bodies] + [_closure(defined), defined.__globals__, builtins.__dict__]
    parent = qualname.rpartition(".")[0]
    class_body = next((body for name, body in bodies if name == parent), {})
    return Scope(names=ChainMap(*scopes), class_body=class_body)


def _enclosing_bodies(qualname: str, module: Mapping[str, Any]) -> list[tuple[str, MutableMapping[str, Any]]]:
    """Return name and variables of the bodies around *qualname* that are being executed, innermost first."""
    # Only bodies that enclose the function in the source: the variables of whoever happens to call it
    # would shadow the names that its author meant.
    parts = qualname.split(".")
    enclosing = {".".join(parts[:length]) for length in range(1, len(parts))} | {"<module>"}
    found: list[tuple[str, MutableMapping[str, Any]]] = []
    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        if frame.f_globals is module and frame.f_code.co_qualname in enclosing:
            found.append((frame.f_code.co_qualname, frame.f_locals))
        frame = frame.f_back
    return found


def _closure(function: Callable[..., Any]) -> dict[str, Any]:
    found = {}
    names: tuple[str, ...] = function.__code__.co_freevars
    for name, cell in zip(names, getattr(function, "__closure__", None) or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # assigned only after the function is defined
            continue
    return found


def resolve(annotation: Any, scope: Scope) -> Any:
    """Return *annotation* with every string in it evaluated.

    Raises:
        NameError: A name in it is not known, or not yet.
        AttributeError: As in ``module.Missing``.
        SyntaxError: It is no expression.
        TypeError: It is no type.
    """

    def bearer() -> None: ...

    bearer.__annotations__ = {"it": annotation}
    return get_type_hints(bearer, {}, scope.names, include_extras=True)["it"]


def members(annotation: Any) -> tuple[Any, ...]:
    """Return the types that *annotation* allows: unions opened, aliases followed, `Annotated` stripped."""
    if (
        type(annotation).__name__ == "TypeAliasType"
    ):  # in typing from Python 3.12, in typing_extensions before
        return members(annotation.__value__)
    origin = get_origin(annotation)
    if origin is Annotated:
        return members(get_args(annotation)[0])
    if origin is Union or origin is UnionType:
        flat = [member for part in get_args(annotation) for member in members(part)]
        return tuple(functools.reduce(_append_new, flat, []))
    return (NoneType if annotation is None else annotation,)


def markers(annotation: Any) -> tuple[Any, ...]:
    """Return what stands beside the types of *annotation*, as ``Annotated`` has it, in a union and an alias too."""
    if type(annotation).__name__ == "TypeAliasType":
        return markers(annotation.__value__)
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return (*markers(parts[0]), *parts[1:])
    if origin is Union or origin is UnionType:
        return tuple(marker for part in parts for marker in markers(part))
    return ()


def _append_new(known: list[Any], member: Any) -> list[Any]:
    # Not by dict.fromkeys: an annotation need not be hashable.
    return known if member in known else [*known, member]
