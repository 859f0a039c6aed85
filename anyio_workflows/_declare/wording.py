"""Say the names of classes, functions and annotations the way a user wrote them."""

from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Any, ForwardRef, get_args, get_origin


def name_of(thing: Any) -> str:
    """Return the name of a class or function with its enclosing classes, without enclosing functions."""
    qualname: str = getattr(thing, "__qualname__", repr(thing))
    return qualname.rpartition("<locals>.")[2]


def written(annotation: Any) -> str:
    """Return *annotation* about as it stands in the source."""
    if annotation is None or annotation is NoneType:
        return "None"
    if isinstance(annotation, ForwardRef):
        return annotation.__forward_arg__
    arguments = get_args(annotation)
    if arguments and isinstance(get_origin(annotation), type) and not isinstance(annotation, UnionType):
        return f"{name_of(get_origin(annotation))}[{', '.join(map(written, arguments))}]"
    if isinstance(annotation, type):
        return name_of(annotation)
    return str(annotation).replace("typing.", "")


def listed(names: Iterable[str], conjunction: str = "and") -> str:
    """Return *names* as a phrase: ``a``, ``a and b``, ``a, b and c``."""
    *rest, last = names
    return f"{', '.join(rest)} {conjunction} {last}" if rest else last


def quoted(names: Iterable[str], conjunction: str = "and") -> str:
    """Return *names* in quotes as a phrase."""
    return listed((repr(name) for name in names), conjunction)
