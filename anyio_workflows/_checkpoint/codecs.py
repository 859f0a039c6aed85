"""Decide how values of each form are written as JSON, and read again.

A plain document where the annotation says what it means; where it does not, an object with one key that begins
with a dollar: ``{"$tuple": [1, 2]}``. What a tag stands for is looked up in the registry, and nowhere else.
"""

import enum
from collections.abc import Iterable
from typing import Any, assert_never, cast

from .forms import Anything, Choice, Either, Fixed, Form, Keys, Many, Member, Record, Scalar, Table
from .items import each_converted, in_order, put_together
from .records import RecordCodec
from .refusal import Refused, guarded, member, wrong
from .registry import Registry
from .scalars import CODECS, Codec
from .unions import union_codec
from .untyped import Untyped

_LIST: frozenset[type] = frozenset({list})
_DICT: frozenset[type] = frozenset({dict})


class Codecs:
    """Every codec of one workflow, each made when it is first needed."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[Form, Codec] = {}
        self._records: dict[Record, RecordCodec] = {}
        self.untyped = Untyped(registry, self.record, self.of)
        """What decides on values that no annotation describes."""
        self.anything = Codec(
            write=self.untyped.write,
            read=self.untyped.read,
            classes=(object,),
            shapes=frozenset({type(None), bool, int, float, str, list, dict}),
        )
        """The same, as a codec."""

    def of(self, form: Form) -> Codec:
        """Return how values of *form* are written and read."""
        codec = self._known.get(form)
        if codec is None:
            codec = self._known[form] = self._made(form)
        return codec

    def record(self, form: Record) -> RecordCodec:
        """Return how instances of a class are written and read, without their tag."""
        record = self._records.get(form)
        if record is None:
            record = self._records[form] = RecordCodec(form, self._registry, self.of)
        return record

    def _made(self, form: Form) -> Codec:  # noqa: C901, PLR0911  # one line per form
        match form:
            case Anything():
                return self.anything
            case Scalar(cls):
                return CODECS[cls]
            case Choice():
                return _choice(form)
            case Member(cls):
                return _member(cls)
            case Many(cls, item):
                return _many(cls, self.of(item))
            case Fixed(items):
                return _fixed(tuple(map(self.of, items)))
            case Table(Anything(), Anything()):
                return _of_class(dict, self.anything)
            case Table(key, value):
                return _table(self.of(key), self.of(value))
            case Keys():
                return self._keys(form)
            case Record():
                return self._record(form)
            case Either(options):
                labelled = {"$" + self._registry.label(option): self.of(option) for option in options}
                return union_codec(labelled)
            case _:
                assert_never(form)

    def _keys(self, form: Keys) -> Codec:
        codecs = {name: self.of(value) for name, value in form.values}
        required: frozenset[str] = form.cls.__required_keys__
        name = form.cls.__qualname__

        def convert(document: Any, way: str) -> Any:
            if type(document) is not dict:
                raise wrong(document, f"a dict with the keys of {name}")
            _check_keys(document, set(codecs), required, name)
            converted = {}
            key = None
            try:
                for key, item in document.items():
                    converted[key] = getattr(codecs[key], way)(item)
            except Refused as refused:
                refused.inside(member(key))
                raise
            return converted

        return Codec(
            write=lambda value: convert(value, "write"),
            read=lambda document: convert(document, "read"),
            classes=(dict,),
            shapes=_DICT,
            native=all(codec.native for codec in codecs.values()),
        )

    def _record(self, form: Record) -> Codec:
        cls, record, untyped = form.cls, self.record(form), self.untyped

        def write(value: Any) -> Any:
            if type(value) is cls:
                return record.write(value)
            if isinstance(value, cls) and self._registry.knows(type(value)):
                return untyped.write(value)
            raise wrong(value, self._registry.label(form))

        def read(document: Any) -> Any:
            if type(document) is not dict or "$object" not in document:
                return record.read(document)
            value = untyped.read(document)
            if not isinstance(value, cls):
                raise wrong(value, self._registry.label(form))
            return value

        return Codec(write=write, read=read, classes=(cls,), shapes=_DICT)


def _check_keys(document: Any, known: set[str], required: frozenset[str], name: str) -> None:
    unknown = next((key for key in document if key not in known), None)
    if unknown is not None:
        refused = Refused(f"{name} has no such member")
        refused.inside(member(unknown))
        raise refused
    missing = required.difference(document)
    if missing:
        raise Refused(f"{name} needs {', '.join(map(repr, sorted(missing)))}")


def _choice(form: Choice) -> Codec:
    pairs = [(each, each.name if isinstance(each, enum.Enum) else each) for each in form.values]
    documents = {(type(value), value): document for value, document in pairs}
    values = {(type(document), document): value for value, document in pairs}
    wanted = f"one of {', '.join(map(str, form.values))}"

    def write(value: Any) -> Any:
        try:
            return documents[type(value), value]
        except (KeyError, TypeError):
            raise wrong(value, wanted) from None

    def read(document: Any) -> Any:
        try:
            return values[type(document), document]
        except (KeyError, TypeError):
            raise wrong(document, wanted) from None

    return Codec(
        write=write,
        read=read,
        classes=tuple(set(map(type, form.values))),
        shapes=frozenset(type(document) for _, document in pairs),
        native=not any(isinstance(each, enum.Enum) for each in form.values),
    )


def _member(cls: type[enum.Enum]) -> Codec:
    # A combination of flags has no name of its own.
    is_flag = issubclass(cls, enum.Flag)

    def write(value: Any) -> Any:
        if type(value) is not cls:
            raise wrong(value, cls.__qualname__)
        return value.value if is_flag else value.name

    def read(document: Any) -> Any:
        if is_flag and type(document) is int:
            return guarded(cls.__qualname__, cls, document)
        found = cls.__members__.get(document) if type(document) is str and not is_flag else None
        # An alias is not what would be written, and two keys of a dict could become one.
        if found is None or found.name != document:
            raise wrong(document, f"a member of {cls.__qualname__}")
        return found

    return Codec(write=write, read=read, classes=(cls,), shapes=frozenset({int if is_flag else str}))


def _many(cls: type, item: Codec) -> Codec:
    unordered = cls in (set, frozenset)

    def write(value: Any) -> list[Any]:
        if type(value) is not cls:
            raise wrong(value, cls.__name__)
        written = each_converted(cast(Iterable[Any], value), item.write)
        return in_order(written) if unordered else written

    def read(document: Any) -> Any:
        if type(document) is not list:
            raise wrong(document, f"the list of a {cls.__name__}")
        return put_together(cls, each_converted(document, item.read))

    return Codec(write=write, read=read, classes=(cls,), shapes=_LIST, native=cls is list and item.native)


def _fixed(items: tuple[Codec, ...]) -> Codec:
    def convert(parts: Any, way: str) -> list[Any]:
        if len(parts) != len(items):
            raise Refused(f"a tuple of {len(parts)} items, where {len(items)} are declared")
        codecs = iter(items)
        return each_converted(parts, lambda part: getattr(next(codecs), way)(part))  # noqa: PLW0108  # the next one for each

    def write(value: Any) -> list[Any]:
        if type(value) is not tuple:
            raise wrong(value, "tuple")
        return convert(value, "write")

    def read(document: Any) -> tuple[Any, ...]:
        if type(document) is not list:
            raise wrong(document, "the list of a tuple")
        return tuple(convert(document, "read"))

    return Codec(write=write, read=read, classes=(tuple,), shapes=_LIST)


def _of_class(cls: type, codec: Codec) -> Codec:
    def checked(value: Any) -> Any:
        if type(value) is not cls:
            raise wrong(value, cls.__name__)
        return value

    return Codec(
        write=lambda value: codec.write(checked(value)),
        read=lambda document: checked(codec.read(document)),
        classes=(cls,),
        shapes=_DICT,
    )


def _table(key: Codec, value: Codec) -> Codec:
    if key.shapes == {str}:
        return _object(key, value)

    def pair(item: Any, way: str) -> list[Any]:
        if type(item) not in (list, tuple) or len(item) != 2:  # noqa: PLR2004  # key and value
            raise wrong(item, "a pair of key and value")
        return [getattr(key, way)(item[0]), getattr(value, way)(item[1])]

    def write(table: Any) -> list[Any]:
        if type(table) is not dict:
            raise wrong(table, "dict")
        return each_converted(table.items(), lambda item: pair(item, "write"))

    def read(document: Any) -> Any:
        if type(document) is not list:
            raise wrong(document, "the list of pairs of a dict")
        return put_together(dict, each_converted(document, lambda item: pair(item, "read")))

    return Codec(write=write, read=read, classes=(dict,), shapes=_LIST)


def _object(key: Codec, value: Codec) -> Codec:
    def convert(table: Any, way: str) -> dict[str, Any]:
        if type(table) is not dict:
            raise wrong(table, "dict")
        convert_key, convert_value = getattr(key, way), getattr(value, way)
        converted = {}
        name = None
        try:
            for name, item in table.items():
                converted[convert_key(name)] = convert_value(item)
        except Refused as refused:
            refused.inside(member(name))
            raise
        return converted

    return Codec(
        write=lambda table: convert(table, "write"),
        read=lambda document: convert(document, "read"),
        classes=(dict,),
        shapes=_DICT,
        native=key.native and value.native,
    )
