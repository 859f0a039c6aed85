"""Look at the shape of a document that may come from anywhere: each function returns it, or raises.

A TypeError or a ValueError says what is wrong; where the document came from is the caller's to say. What events and
values are in it is decided by the converter.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

Document: TypeAlias = Any
"""JSON types all the way down; shared between snapshots and never changed."""


def members(document: Document, names: Iterable[str]) -> Mapping[str, Document]:
    """An object with exactly these members."""
    found, wanted = set(mapping(document)), set(names)
    if found != wanted:
        raise ValueError(f"members missing: {sorted(wanted - found)}, unknown: {sorted(found - wanted)}")
    return document  # type: ignore[no-any-return]


def mapping(document: Document) -> Mapping[str, Document]:
    """An object."""
    if not isinstance(document, Mapping):
        raise TypeError(f"a {type(document).__name__} where an object belongs")
    return document


def items(document: Document) -> list[Any]:
    """A list."""
    if not isinstance(document, list):
        raise TypeError(f"a {type(document).__name__} where a list belongs")
    return document


def rows(document: Document, *columns: Callable[[Document], Any]) -> list[Any]:
    """A list of lists, each with an item for each of *columns*."""
    found = []
    for row in items(document):
        if len(items(row)) != len(columns):
            raise ValueError(f"a list of {len(row)} where one of {len(columns)} belongs")
        found.append([column(item) for column, item in zip(columns, row, strict=True)])
    return found


def anything(document: Document) -> Document:
    """Whatever it is."""
    return document


def text(document: Document) -> str:
    """A text."""
    if not isinstance(document, str):
        raise TypeError(f"a {type(document).__name__} where a text belongs")
    return document


def text_or_null(document: Document) -> str | None:
    """A text, or null."""
    return None if document is None else text(document)


def count(document: Document) -> int:
    """A whole number, 0 or more."""
    if not isinstance(document, int) or isinstance(document, bool) or document < 0:
        raise TypeError("something else where a number of 0 or more belongs")
    return document


def flag(document: Document) -> bool:
    """True or false."""
    if not isinstance(document, bool):
        raise TypeError("something else where true or false belongs")
    return document


def seconds(document: Document) -> float:
    """A time, which is no longer than any."""
    if not isinstance(document, int | float) or isinstance(document, bool):
        raise TypeError(f"a {type(document).__name__} where seconds belong")
    try:
        found = float(document)
    except OverflowError:
        found = math.inf
    if not 0 <= found < math.inf:
        raise ValueError("a time that no clock shows")
    return document


def at_most(most: int, numbers: Iterable[int], what: str) -> None:
    """Numbers that differ from each other, none of them higher than *most*."""
    given = list(numbers)
    if len(set(given)) < len(given) or any(number > most for number in given):
        raise ValueError(f"numbers of {what} that were never given")
