"""Turn documents into JSON text and back, refusing what a document of ours never holds.

Bounds on size and depth make a hostile text cost no more than a large honest one.
"""

import json
import math
from collections.abc import Iterable
from typing import Any, NoReturn

from .._brief import brief
from .._errors import CheckpointError

MOST_BYTES = 64 * 1024 * 1024
"""Bytes of one document. What is larger belongs into a file or a database, and its name into the event."""

DEEPEST_VALUE = 100
"""Levels of lists and objects in one event or one value of the state."""

_DEEPEST = 150
"""Levels in a whole document, of which few are ours."""

# In the order in which the values were made: the order of a dict is a part of it.
_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode
# A surrogate alone, as in the name of a file that is no UTF-8, has no UTF-8 itself but an escape.
_encode_escaped = json.JSONEncoder(allow_nan=False, check_circular=False, separators=(",", ":")).encode


def dumps(document: Any, *, most_bytes: int = MOST_BYTES) -> bytes:
    """Return *document*, which is made of JSON types, as JSON.

    Raises:
        CheckpointError: It is larger than `loads` would read, or holds what JSON does not.
    """
    try:
        text = _encode(document)
        try:
            data = text.encode()
        except UnicodeEncodeError:
            data = _encode_escaped(document).encode()
    except RecursionError:
        raise CheckpointError(f"it is nested in more than {_DEEPEST} levels, or contains itself") from None
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"it can't be written as JSON ({brief(str(error))})") from error
    if len(data) > most_bytes:
        raise CheckpointError(
            f"the document has {len(data):,} bytes, of {most_bytes:,} at most; keep large values in a file or a "
            f"database, and their names in events and state"
        )
    return data


def loads(data: bytes | str, *, where: str, most_bytes: int | None = MOST_BYTES) -> Any:
    """Return the document that is written in *data*.

    Args:
        data: JSON, in UTF-8.
        where: What it is called in an error.
        most_bytes: Refuse more; None for no bound.

    Raises:
        CheckpointError: It is no JSON, or has a key twice, NaN, Infinity, or more levels or bytes than allowed.
    """
    if type(data) not in (bytes, str):
        raise CheckpointError(f"a {type(data).__name__} is no document; give bytes or text", where)
    if most_bytes is not None and len(data) > most_bytes:
        raise CheckpointError(f"it is larger than {most_bytes:,} bytes", where)
    try:
        text = data.decode() if isinstance(data, bytes) else data
        document = _decoder.decode(text)
    except RecursionError:
        raise CheckpointError(f"it is nested in more than {_DEEPEST} levels", where) from None
    except ValueError as error:  # a JSONDecodeError, a UnicodeDecodeError, or one of the hooks'
        raise CheckpointError(f"it is no JSON of ours ({brief(str(error))})", where) from None
    if is_deeper(document, _DEEPEST):
        raise CheckpointError(f"it is nested in more than {_DEEPEST} levels", where)
    return document


def is_deeper(document: Any, levels: int) -> bool:
    """Return whether lists and objects are nested in more than *levels* levels."""
    level = [document] if type(document) in (dict, list) else []
    while level and levels:
        level = [
            item
            for each in level
            for item in (each.values() if type(each) is dict else each)
            if type(item) is dict or type(item) is list
        ]
        levels -= 1
    return bool(level)


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    pairs = list(pairs)
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {brief(twice)} is there twice")
    return found


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{brief(text)} is larger than any float")
    return value


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number, parse_constant=_constant)
