"""Decide what kind of value an annotation describes, as far as values of that kind can be written as JSON.

What is written for them is decided by `codecs`; what classes declare is read by `anatomy`.
"""

import collections.abc
import dataclasses
import datetime as dt
import decimal
import enum
import pathlib
import typing
import uuid
from typing import Any, TypeAlias, get_args, get_origin, is_typeddict

import attrs

from .._declare.annotations import members
from .._events import Event
from .._ledger.copying import is_pydantic


class UnsupportedError(Exception):
    """Values of an annotated type can't be written; the reason is a clause about the type."""


@attrs.frozen
class Anything:
    """Whatever JSON has, and whatever the registry knows."""


@attrs.frozen
class Scalar:
    """One of `SCALARS`."""

    cls: type


@attrs.frozen
class Choice:
    """One of the values of a `Literal`."""

    values: tuple[Any, ...]

    kinds: tuple[type, ...]
    """Types of the values, for 1 equals True."""


@attrs.frozen
class Member:
    """A member of an enumeration."""

    cls: type[enum.Enum]


@attrs.frozen
class Many:
    """Any number of items of one kind in a `list`, `tuple`, `set` or `frozenset`."""

    cls: type
    item: "Form"


@attrs.frozen
class Fixed:
    """A tuple with an item of its own kind at each place."""

    items: tuple["Form", ...]


@attrs.frozen
class Table:
    """A dict."""

    key: "Form"
    value: "Form"


@attrs.frozen
class Keys:
    """A TypedDict."""

    cls: Any
    values: tuple[tuple[str, "Form"], ...]


@attrs.frozen
class Record:
    """An instance of a class with fields, or an event; *arguments* are of its type parameters."""

    cls: type
    arguments: tuple[Any, ...] = ()


@attrs.frozen
class Either:
    """One of several kinds."""

    options: tuple["Form", ...]


Form: TypeAlias = Anything | Scalar | Choice | Member | Many | Fixed | Table | Keys | Record | Either

SCALARS: frozenset[type] = frozenset(
    {
        type(None),
        bool,
        int,
        float,
        str,
        bytes,
        dt.datetime,
        dt.date,
        dt.time,
        dt.timedelta,
        uuid.UUID,
        decimal.Decimal,
        pathlib.Path,
        BaseException,  # itself alone: what comes back tells of it, and is of no class that could be caught
    }
)
"""Types whose values are a single JSON value."""

_abc = collections.abc
_MANY: dict[Any, tuple[type, ...]] = {
    list: (list,),
    set: (set,),
    frozenset: (frozenset,),
    _abc.MutableSequence: (list,),
    _abc.MutableSet: (set,),
    # What is annotated by what it can do is written with what it is.
    _abc.Set: (set, frozenset),
    _abc.Sequence: (list, tuple),
    _abc.Collection: (list, tuple, set, frozenset),
    _abc.Iterable: (list, tuple, set, frozenset),
}
_TABLES = (dict, _abc.Mapping, _abc.MutableMapping)


def form_of(annotation: Any) -> Form:
    """Return what *annotation* describes.

    Raises:
        UnsupportedError: It describes what can't be written.
    """
    options = members(annotation)
    if len(options) != 1:
        forms = [form_of(option) for option in options]
        # A union with Any is Any.
        return Anything() if Anything() in forms else _either(forms)
    only = options[0]
    if isinstance(only, str | typing.ForwardRef):
        raise UnsupportedError(
            f"whose name {getattr(only, '__forward_arg__', only)!r} can't be found; define it in the module, "
            f"not in a function"
        )
    if isinstance(only, typing.NewType):
        return form_of(only.__supertype__)
    if isinstance(only, typing.TypeVar):
        return form_of(only.__bound__) if only.__bound__ is not None else Anything()
    origin = get_origin(only)
    return _parametrized(only, origin) if origin is not None else _plain(only)


def _either(forms: list[Form]) -> Form:
    distinct: list[Form] = []
    for form in forms:
        for option in form.options if isinstance(form, Either) else (form,):
            if option not in distinct:
                distinct.append(option)
    return distinct[0] if len(distinct) == 1 else Either(tuple(distinct))


def _parametrized(annotation: Any, origin: Any) -> Form:  # noqa: PLR0911  # one line per kind
    arguments = get_args(annotation)
    if origin is typing.Literal:
        return _choice(arguments)
    if origin is typing.Final:
        return form_of(arguments[0])
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:  # noqa: PLR2004  # tuple[int, ...]
            return Many(tuple, form_of(arguments[0]))
        return Fixed(tuple(form_of(argument) for argument in arguments))
    if origin in _MANY:
        return _either([Many(cls, form_of(arguments[0])) for cls in _MANY[origin]])
    if origin in _TABLES:
        return Table(form_of(arguments[0]), form_of(arguments[1]))
    if is_typeddict(origin):
        return _keys(origin, dict(zip(origin.__parameters__, arguments, strict=True)))
    if isinstance(origin, type) and is_record(origin):
        return Record(origin, arguments)
    raise UnsupportedError(_NO_DATA)


def _plain(annotation: Any) -> Form:  # noqa: PLR0911  # one line per kind
    if annotation is Any or annotation is object:
        return Anything()
    if annotation in SCALARS:
        return Scalar(annotation)
    if annotation is tuple:
        return Many(tuple, Anything())
    if annotation in _MANY:
        return _either([Many(cls, Anything()) for cls in _MANY[annotation]])
    if annotation in _TABLES:
        return Table(Anything(), Anything())
    if is_typeddict(annotation):
        return _keys(annotation, {})
    if not isinstance(annotation, type) or issubclass(annotation, BaseException):
        raise UnsupportedError(_NO_DATA)
    if issubclass(annotation, enum.Enum):
        return Member(annotation)
    if is_record(annotation):
        return Record(annotation)
    raise UnsupportedError(_NO_DATA)


_NO_DATA = (
    "which is no data that JSON can hold; keep an id or a path of it, or give it to the step as a resource"
)


def _choice(values: tuple[Any, ...]) -> Choice:
    # The name of a member is written, which must differ from the other values.
    written = [(str, each.name) if isinstance(each, enum.Enum) else (type(each), each) for each in values]
    if any(isinstance(each, bytes) for each in values) or len(set(written)) < len(values):
        raise UnsupportedError("whose values can't be told from each other in JSON; use an Enum")
    return Choice(values, tuple(map(type, values)))


def _keys(cls: Any, arguments: dict[Any, Any]) -> Keys:
    try:
        hints = typing.get_type_hints(cls)
    except NameError as error:
        raise UnsupportedError(f"in which the name {error.name!r} can't be found") from error
    return Keys(cls, tuple((name, form_of(filled_in(hint, arguments))) for name, hint in hints.items()))


def is_record(cls: type) -> bool:
    """Return whether *cls* declares its fields, or is an event."""
    if is_pydantic(cls) or issubclass(cls, Event):
        return True
    if is_named_tuple(cls):
        return True
    # Of one that is a dict or a number as well, the fields are not all.
    if issubclass(cls, BaseException | dict | list | set | frozenset | tuple | str | bytes | int | float):
        return False
    return attrs.has(cls) or dataclasses.is_dataclass(cls)


def is_named_tuple(cls: type) -> bool:
    """Return whether *cls* is a NamedTuple."""
    return issubclass(cls, tuple) and hasattr(cls, "_fields") and hasattr(cls, "_field_defaults")


def filled_in(annotation: Any, arguments: dict[Any, Any]) -> Any:
    """Return *annotation* with type parameters replaced by their *arguments*."""
    if isinstance(annotation, typing.TypeVar):
        return arguments.get(annotation, annotation)
    parameters = getattr(annotation, "__parameters__", ())
    # A generic class itself has parameters as well, but takes none here.
    if not parameters or not arguments or get_origin(annotation) is None:
        return annotation
    return annotation[tuple(arguments.get(each, each) for each in parameters)]


def text_of(annotation: Any) -> str:  # noqa: PLR0911  # one line per kind
    """Return *annotation* as a person would write it."""
    if type(annotation).__name__ == "TypeAliasType":  # which may contain itself
        return str(annotation.__name__)
    options = members(annotation)
    if len(options) != 1:
        return " | ".join(text_of(option) for option in options)
    only = options[0]
    if only is type(None):
        return "None"
    if only is Ellipsis:
        return "..."
    if isinstance(only, list):  # the parameters of a Callable
        return f"[{', '.join(map(text_of, only))}]"
    origin, arguments = get_origin(only), get_args(only)
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(str, arguments))}]"
    if origin is not None and arguments:
        return f"{text_of(origin)}[{', '.join(map(text_of, arguments))}]"
    if isinstance(only, typing.ForwardRef):
        return only.__forward_arg__
    return getattr(only, "__qualname__", None) or str(only).removeprefix("typing.")
