"""Write and read the values that are a single JSON value.

What is read is what would be written again, so each value has one document: no spaces, other time formats or
leading zeros are understood.
"""

import base64
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs

from .._brief import brief
from .._errors import RestoredError
from .refusal import Refused, wrong

_LARGEST = 1 << 10_000
"""Python reads no integer of more than 4,300 digits, and whoever else reads JSON far fewer."""


@attrs.frozen(kw_only=True, eq=False)
class Codec:
    """How values of one kind are written and read."""

    write: Callable[[Any], Any]
    """Return the document of a value, or refuse."""

    read: Callable[[Any], Any]
    """Return the value of a document, or refuse."""

    classes: tuple[type, ...]
    """Classes of such values; subclasses need not be."""

    shapes: frozenset[type]
    """JSON types of such documents."""

    native: bool = False
    """A value and its document are equal, and of the same types all the way down."""

    passes: type | None = None
    """A class whose values are written as they are."""


def _native(cls: type) -> Codec:
    def convert(value: Any) -> Any:
        if type(value) is not cls:
            raise wrong(value, "None" if cls is type(None) else cls.__name__)
        return value

    return Codec(
        write=convert, read=convert, classes=(cls,), shapes=frozenset({cls}), native=True, passes=cls
    )


def convert_int(value: Any) -> int:
    """Return *value* if it is an int that any Python reads."""
    if type(value) is not int:
        raise wrong(value, "int")
    if not -_LARGEST < value < _LARGEST:
        raise Refused("the integer has more than 3,000 digits; keep it as text or bytes")
    return value


def convert_float(value: Any) -> float:
    """Return *value* if it is a number that JSON has; as for type checkers, an int is one."""
    if type(value) is not float:
        return convert_int(value) if type(value) is int else _no_float(value)
    if not math.isfinite(value):
        raise Refused(f"JSON has no {value}; use None")
    return value


def _no_float(value: object) -> float:
    raise wrong(value, "float")


def _text(cls: type, write: Callable[[Any], str], parse: Callable[[str], Any], example: str) -> Codec:
    def checked(value: Any) -> str:
        if type(value) is not cls:
            raise wrong(value, cls.__name__)
        return write(value)

    def read(document: Any) -> Any:
        if type(document) is not str:
            raise wrong(document, f"the text of a {cls.__name__}, as {example!r}")
        try:
            value = parse(document)
            if write(value) == document:
                return value
        except (ValueError, ArithmeticError):
            pass
        raise wrong(document, f"the text of a {cls.__name__}, as {example!r}")

    return Codec(write=checked, read=read, classes=(cls,), shapes=frozenset({str}))


def _write_time(value: datetime | time) -> str:
    if value.fold:
        raise Refused("an ambiguous local time (fold=1) has no text; use UTC")
    if value.tzinfo is not None and type(value.tzinfo) is not timezone:
        raise Refused(f"a time in {value.tzinfo} would come back with a fixed offset; use .astimezone(UTC)")
    if isinstance(value.tzinfo, timezone) and repr(value.tzinfo) != repr(_unnamed(value.tzinfo)):
        raise Refused(f"a time zone with a name ({value.tzinfo}) would come back without it")
    return value.isoformat()


def _unnamed(zone: timezone) -> timezone:
    offset = zone.utcoffset(None)
    return UTC if offset == timedelta(0) else timezone(offset)


def _write_decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise Refused(f"JSON has no {value}; use None")
    return str(value)


def _write_duration(value: timedelta) -> str:
    microseconds = value // timedelta(microseconds=1)
    seconds, rest = divmod(abs(microseconds), 1_000_000)
    return f"{'-' if microseconds < 0 else ''}{seconds}.{rest:06d}"


def _parse_duration(text: str) -> timedelta:
    seconds, _, rest = text.removeprefix("-").partition(".")
    if len(seconds) > len("86399999999999"):
        raise ValueError(text)
    size = timedelta(seconds=int(seconds), microseconds=int(rest))
    return -size if text.startswith("-") else size


def _write_bytes(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _write_error(value: Any) -> dict[str, str]:
    if isinstance(value, RestoredError):
        return {"kind": value.kind, "message": value.message}
    if not isinstance(value, BaseException):
        raise wrong(value, "an exception")
    return {"kind": type(value).__qualname__, "message": brief(value)}


def _read_error(document: Any) -> RestoredError:
    if type(document) is not dict or set(document) != {"kind", "message"}:
        raise wrong(document, "kind and message of an exception")
    if not all(type(part) is str for part in document.values()):
        raise wrong(document, "kind and message of an exception, both texts")
    return RestoredError(document["kind"], document["message"])


_PATH: type = type(Path())

CODECS: dict[type, Codec] = {
    type(None): _native(type(None)),
    bool: _native(bool),
    str: _native(str),
    int: Codec(write=convert_int, read=convert_int, classes=(int,), shapes=frozenset({int}), native=True),
    float: Codec(
        write=convert_float,
        read=convert_float,
        classes=(float, int),
        shapes=frozenset({float, int}),
        native=True,
    ),
    bytes: _text(bytes, _write_bytes, lambda text: base64.b64decode(text, validate=True), "aGVsbG8="),
    datetime: _text(datetime, _write_time, datetime.fromisoformat, "2026-01-31T12:00:00+00:00"),
    date: _text(date, date.isoformat, date.fromisoformat, "2026-01-31"),
    time: _text(time, _write_time, time.fromisoformat, "12:00:00"),
    timedelta: _text(timedelta, _write_duration, _parse_duration, "5.250000"),
    UUID: _text(UUID, str, UUID, "9b2f6c6e-0d1f-4a55-8a4f-0d7b0c9e7a11"),
    Decimal: _text(Decimal, _write_decimal, Decimal, "1.50"),
    Path: _text(_PATH, str, Path, "folder/file.txt"),
    BaseException: Codec(
        write=_write_error, read=_read_error, classes=(BaseException,), shapes=frozenset({dict})
    ),
}
"""One for each of `SCALARS`."""
