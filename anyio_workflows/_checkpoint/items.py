"""Convert the items of a collection, none of which may go missing."""

from collections.abc import Callable, Iterable
from typing import Any

from .refusal import Refused, guarded


def each_converted(items: Iterable[Any], convert: Callable[[Any], Any]) -> list[Any]:
    """Return the *items*, converted."""
    converted: list[Any] = []
    try:
        for item in items:
            converted.append(convert(item))  # noqa: PERF401  # its length says where a refusal was
    except Refused as refused:
        refused.inside(f"[{len(converted)}]")
        raise
    return converted


def in_order(documents: list[Any]) -> list[Any]:
    """Return the documents of a set in an order that is the same in every process."""
    kinds = set(map(type, documents))
    if kinds == {str} or kinds <= {int, float}:
        return sorted(documents)
    return sorted(documents, key=repr)


def put_together(cls: type, items: list[Any]) -> Any:
    """Return a *cls* of *items*, none of which may go missing in it."""
    if cls is list:
        return items
    made = guarded(cls.__name__, cls, items)
    if len(made) != len(items):
        raise Refused(f"an item is twice in the {cls.__name__}")
    return made
