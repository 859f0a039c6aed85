"""Read from ``class Crawling(Workflow[Crawled])`` what the runs of a workflow give.

Whether its steps can give that is decided by the graph.
"""

from typing import Any, TypeVar, get_args, get_origin


def declared_result(cls: type, generic: type) -> Any:
    """Return what *cls* has made of the parameter of *generic*, a class above it; Any if that is left open."""
    for base in vars(cls).get("__orig_bases__", cls.__bases__):
        origin = get_origin(base) or base
        if not (isinstance(origin, type) and issubclass(origin, generic)):
            continue
        given = get_args(base)
        if origin is generic:
            return given[0] if given else Any
        found = declared_result(origin, generic)
        if not isinstance(found, TypeVar):
            return found
        parameters = getattr(origin, "__parameters__", ())
        return given[parameters.index(found)] if given and found in parameters else Any
    return Any
