"""Read which fields a class declares, and make an instance again from their values.

A value that was written is what its field holds again, whatever a converter or ``__post_init__`` of the class
would have made of it.
"""

import contextlib
import dataclasses
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from .._declare.annotations import Scope, resolve
from .._events import Event
from .._ledger.copying import is_pydantic
from .forms import filled_in, is_named_tuple
from .refusal import Refused, guarded


@attrs.frozen(kw_only=True)
class Fields:
    """What has to be known of a class."""

    annotations: Mapping[str, Any]
    """By field; strings in them are resolved, where they can be."""

    make: Callable[[dict[str, Any]], Any]
    """Return an instance with these values, by field."""

    more: Callable[[Any], Mapping[str, Any]] | None = None
    """Return what an instance holds beyond the declared fields; None if that is nothing ever."""


def fields_of(cls: type, arguments: tuple[Any, ...] = ()) -> Fields:
    """Return what *cls* declares; *arguments* are of its type parameters."""
    if is_pydantic(cls):
        return _of_model(cls)
    if is_named_tuple(cls):
        names: tuple[str, ...] = cls._fields  # type: ignore[attr-defined]  # a NamedTuple
        hints = _hints(cls)
        return Fields(
            annotations={name: hints.get(name, Any) for name in names},
            make=lambda values: guarded(cls.__qualname__, cls, **values),
        )
    if not attrs.has(cls) and not dataclasses.is_dataclass(cls):
        return Fields(annotations={}, make=lambda values: _keyword_event(cls, values), more=vars)
    declared = _declared(cls)
    hints = _hints(cls)
    parameters = dict(zip(getattr(cls, "__parameters__", ()), arguments, strict=False))
    annotations = {
        each.name: filled_in(hints.get(each.name, Any if each.type is None else each.type), parameters)
        for each in declared
    }
    return Fields(annotations=annotations, make=_maker(cls, declared))


@attrs.frozen(kw_only=True)
class _Field:
    name: str
    keyword: str | None  # of __init__
    type: Any
    converts: bool


def _declared(cls: type) -> tuple[_Field, ...]:
    if attrs.has(cls):
        return tuple(
            _Field(
                name=each.name,
                keyword=each.alias if each.init else None,
                type=each.type,
                converts=each.converter is not None,
            )
            for each in attrs.fields(cls)
        )
    return tuple(
        _Field(name=each.name, keyword=each.name if each.init else None, type=each.type, converts=False)
        for each in dataclasses.fields(cls)
    )


def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls)
    except Exception:  # noqa: BLE001  # the annotations are the user's; the ones in order are found one by one
        return _hints_in_order(cls)


def _hints_in_order(cls: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for ancestor in reversed(cls.__mro__):
        scope = Scope(names=vars(sys.modules.get(ancestor.__module__, typing)))
        for name, annotation in inspect.get_annotations(ancestor).items():
            with contextlib.suppress(Exception):
                found[name] = resolve(annotation, scope)
    return found


def _maker(cls: type, declared: tuple[_Field, ...]) -> Callable[[dict[str, Any]], Any]:
    keywords = {each.keyword: each.name for each in declared if each.keyword is not None}
    own_init = set(inspect.signature(cls).parameters) == set(keywords)
    # A converter need not take what it gave, nor another __init__ what the fields hold: then only the
    # validators are the class's own.
    if not own_init or any(each.converts for each in declared):
        return lambda values: _rebuilt(cls, values)

    def make(values: dict[str, Any]) -> Any:
        made = guarded(cls.__qualname__, cls, **{key: values[name] for key, name in keywords.items()})
        for name, value in values.items():
            if getattr(made, name, made) is not value:
                object.__setattr__(made, name, value)
        return made

    return make


def _rebuilt(cls: type, values: dict[str, Any]) -> Any:
    made: Any = object.__new__(cls)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    if attrs.has(cls):
        guarded(cls.__qualname__, attrs.validate, made)
    return made


def _keyword_event(cls: type, values: dict[str, Any]) -> Any:
    return guarded(cls.__qualname__, cls, **values)


def check_keyword(name: object) -> None:
    """Refuse the name of an undeclared field if it means something to Python or in a document."""
    if not isinstance(name, str) or name.startswith(("__", "$")):
        raise Refused("names with two underscores or a dollar in front have a meaning of their own")


def is_keyword_event(cls: type) -> bool:
    """Return whether *cls* is an event that accepts any keywords."""
    return issubclass(cls, Event) and not attrs.has(cls)


def _of_model(cls: Any) -> Fields:
    annotations = {name: each.annotation for name, each in cls.model_fields.items()}
    # By name: an alias may be a path into something nested. Not there before pydantic 2.11.
    named = "by_name" in inspect.signature(cls.model_validate).parameters
    options = {"by_name": True, "by_alias": False} if named else {}
    is_root = bool(getattr(cls, "__pydantic_root_model__", False))

    def make(values: dict[str, Any]) -> Any:
        given = values["root"] if is_root else values
        made = guarded(cls.__qualname__, cls.model_validate, given, **options)
        made.__dict__.update({name: values[name] for name in annotations})
        return made

    more = (
        (lambda model: model.__pydantic_extra__ or {}) if cls.model_config.get("extra") == "allow" else None
    )
    return Fields(annotations=annotations, make=make, more=more)
