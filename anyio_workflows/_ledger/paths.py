"""Find and set what is at a dotted path, as ``user.profile.name``, inside a state.

A segment is a key of a mapping, an index of a sequence, or an attribute; every operation costs the depth
of the path. What may be set at all, and when, is decided elsewhere.
"""

import itertools
from collections.abc import Mapping, MutableMapping
from enum import Enum
from typing import Any, Final

from .._errors import StatePathError, WorkflowRuntimeError
from .copying import declared_fields, way_to_replace


class Missing(Enum):
    """The type of `MISSING`."""

    MISSING = "MISSING"


MISSING: Final = Missing.MISSING
"""Stands for nothing, where None is a value."""

_KEYS_SHOWN = 5  # a message that lists 100,000 keys helps nobody


def read_path(root: Any, path: str, default: Any = MISSING) -> Any:
    """Return what is stored at *path* below *root*, itself and not a copy.

    Raises:
        StatePathError: Nothing is there, and no *default* was given.
    """
    segments = _segments(path)
    value = root
    for depth, segment in enumerate(segments):
        parent, value = value, _child(value, segment)
        if value is MISSING:
            if default is not MISSING:
                return default
            raise StatePathError(path, f"{_place(segments[:depth])} {_lack(parent, segment)}")
    return value


def write_path(root: Any, path: str, value: Any) -> None:
    """Store *value* itself at *path* below *root*, with new dicts for what is missing on the way.

    Raises:
        WorkflowRuntimeError: Something on the way can't hold the next segment. Nothing was changed.
    """
    segments = _segments(path)
    parent = root
    for depth, segment in enumerate(segments[:-1]):
        child = _child(parent, segment)
        if child is MISSING:
            # The missing rest is built first, so that there is one assignment and it is all or nothing.
            for rest in reversed(segments[depth + 1 :]):
                value = {rest: value}
            _assign(parent, segments[: depth + 1], value, path)
            return
        parent = child
    _assign(parent, segments, value, path)


def _segments(path: object) -> list[str]:
    if not isinstance(path, str) or not path:
        raise WorkflowRuntimeError(
            f"{path!r} is no path into the run's state; write names joined by dots, as 'user.profile.name'"
        )
    return path.split(".")


def _child(parent: Any, segment: str) -> Any:
    """Return what *parent* has under *segment*, or `MISSING`."""
    if isinstance(parent, (dict, Mapping)):
        # Not by item, for a defaultdict would make what it lacks.
        return parent.get(segment, MISSING)
    index = _index(parent, segment)
    if index is not None:
        try:
            return parent[index]
        except (LookupError, TypeError):
            return MISSING
    return _attribute(parent, segment)


def _index(parent: Any, segment: str) -> int | None:
    """Return *segment* as an index into *parent*, or None if it is none."""
    if not hasattr(type(parent), "__getitem__") or isinstance(parent, (str, bytes)):
        return None
    try:
        return int(segment)
    except ValueError:
        return None


def _attribute(parent: Any, name: str) -> Any:
    if name.startswith("__"):
        return MISSING
    if name not in (declared_fields(type(parent)) or ()):
        # A method is no value of the state; an attribute that holds a function is one.
        is_method = callable(getattr(type(parent), name, None)) and name not in getattr(
            parent, "__dict__", ()
        )
        if is_method:
            return MISSING
    return getattr(parent, name, MISSING)


def _assign(parent: Any, segments: list[str], value: Any, path: str) -> None:
    segment = segments[-1]
    if isinstance(parent, (dict, MutableMapping)):
        parent[segment] = value
        return
    trouble = _obstacle(parent, segment)
    if trouble is not None:
        raise WorkflowRuntimeError(
            f"can't set {path!r} of the run's state: {_place(segments[:-1])} {trouble}"
        )
    index = _index(parent, segment)
    if index is not None:
        parent[index] = value
        return
    try:
        setattr(parent, segment, value)
    except AttributeError as error:  # no such slot, a property without setter, one frozen field
        raise WorkflowRuntimeError(
            f"can't set {path!r} of the run's state: {_place(segments[:-1])} is a {_name(parent)} "
            f"that does not take {segment!r} ({error})"
        ) from error


def _obstacle(parent: Any, segment: str) -> str | None:
    """Say why *parent* can't take *segment*, or return None if nothing is known that speaks against it."""
    kind = type(parent)
    if way_to_replace(kind) is not None or isinstance(parent, Mapping):
        return f"is a {_name(parent)}, which can't be changed; set the whole of it"
    if _index(parent, segment) is not None:
        return _obstacle_to_index(parent, segment)
    fields = declared_fields(kind)
    if fields is not None:
        is_property = isinstance(getattr(kind, segment, None), property)
        return None if segment in fields or is_property else _lack(parent, segment)
    if segment.startswith("__") or callable(getattr(kind, segment, None)):
        return f"is a {_name(parent)}, of which {segment!r} is no value that can be set"
    return None


def _obstacle_to_index(parent: Any, segment: str) -> str | None:
    if not hasattr(type(parent), "__setitem__"):
        return f"is a {_name(parent)}, which can't be changed; set the whole of it"
    try:
        parent[int(segment)]
    except (LookupError, TypeError):
        return _lack(parent, segment)
    return None


def _lack(parent: Any, segment: str) -> str:
    """Say that *parent* has nothing under *segment*, and what it has."""
    if isinstance(parent, Mapping):
        shown = ", ".join(repr(key) for key in itertools.islice(parent, _KEYS_SHOWN))
        more = ", …" if len(parent) > _KEYS_SHOWN else ""
        return f"has no key {segment!r}" + (f" (its keys: {shown}{more})" if shown else " (it is empty)")
    if _index(parent, segment) is not None:
        size = f" (its length: {len(parent)})" if hasattr(parent, "__len__") else ""
        return f"has no index {segment}{size}"
    fields = declared_fields(type(parent))
    if fields is not None:
        declared = ", ".join(repr(field) for field in fields) or "none"
        return f"is a {_name(parent)}, which has no field {segment!r} (its fields: {declared})"
    return f"is a {_name(parent)}, which has no {segment!r}"


def _place(segments: list[str]) -> str:
    return repr(".".join(segments)) if segments else "the state"


def _name(value: Any) -> str:
    return type(value).__qualname__
