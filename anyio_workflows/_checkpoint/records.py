"""Write the instances of one class as an object of its fields, and read them again."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from .anatomy import check_keyword
from .forms import Anything, Form, Record
from .refusal import Refused, member, wrong
from .registry import Registry
from .scalars import Codec

TYPE = "type"
"""The member of an object that says what it is."""


class _Field(NamedTuple):
    name: str
    key: str
    passes: type | None
    codec: Codec


class RecordCodec:
    """How instances of one class are written and read, with and without their tag.

    Fields are looked at when the first instance comes, since a class may contain itself.
    """

    def __init__(self, form: Record, registry: Registry, of: Callable[[Form], Codec]) -> None:
        self._form = form
        self._registry = registry
        self._of = of
        self._name = form.cls.__qualname__
        self._more = registry.fields(form).more

    @cached_property
    def write(self) -> Callable[[Any], dict[str, Any]]:
        """Write the fields of an instance of exactly this class."""
        return self._writer({})

    @cached_property
    def write_tagged(self) -> Callable[[Any], dict[str, Any]]:
        """Write the tag of the class and the fields of an instance of exactly this class."""
        return self._writer({TYPE: self._registry.tags[self._form.cls]})

    def read(self, document: Any) -> Any:
        """Return the instance with the fields of *document*, all of which must be there."""
        if type(document) is not dict:
            raise wrong(document, f"an object with the fields of {self._name}")
        values: dict[str, Any] = {}
        key = None
        try:
            for key, item in document.items():
                name, codec = self._place(key)
                values[name] = codec.read(item)
        except Refused as refused:
            refused.inside(member(key))
            raise
        missing = [field.name for field in self._fields if field.name not in values]
        if missing:
            raise Refused(f"{self._name} needs {', '.join(map(repr, missing))}")
        return self._registry.fields(self._form).make(values)

    def read_tagged(self, document: Mapping[str, Any]) -> Any:
        """Return the instance that was written with its tag."""
        return self.read({key: item for key, item in document.items() if key != TYPE})

    def field(self, name: str) -> Codec | None:
        """Return how the field called *name* is written, None if there can be none."""
        found = next((field.codec for field in self._fields if field.name == name), None)
        return self._of(Anything()) if found is None and self._more is not None else found

    @property
    def is_flat(self) -> bool:
        """True if nothing in a document of these fields contains anything."""
        return self._more is None and not any(field.codec.shapes & {list, dict} for field in self._fields)

    @cached_property
    def _fields(self) -> tuple[_Field, ...]:
        codecs = {name: self._of(form) for name, form in self._registry.forms(self._form).items()}
        return tuple(_Field(name, written_name(name), codec.passes, codec) for name, codec in codecs.items())

    @cached_property
    def _by_key(self) -> dict[str, tuple[str, Codec]]:
        return {field.key: (field.name, field.codec) for field in self._fields}

    def _place(self, key: str) -> tuple[str, Codec]:
        found = self._by_key.get(key)
        if found is not None:
            return found
        if self._more is None or key == TYPE or type(key) is not str:
            raise Refused(f"{self._name} has no such field")
        check_keyword(key)
        return _read_name(key), self._of(Anything())

    def _writer(self, start: dict[str, Any]) -> Callable[[Any], dict[str, Any]]:
        fields = [(each.name, each.key, each.passes, each.codec.write) for each in self._fields]

        def write(instance: Any) -> dict[str, Any]:
            document = start.copy()
            name = ""
            try:
                for name, key, passes, convert in fields:
                    value = getattr(instance, name)
                    # The check is here once more because the call would cost more than the rest.
                    document[key] = value if value.__class__ is passes else convert(value)
            except Refused as refused:
                refused.inside(member(name))
                raise
            except AttributeError as error:
                unset = Refused("the field was never set")
                unset.inside(member(name))
                raise unset from error
            return document

        if self._more is None:
            return write
        more, convert_more = self._more, self._of(Anything()).write

        def write_all(instance: Any) -> dict[str, Any]:
            document = write(instance)
            name = ""
            try:
                for name, value in more(instance).items():
                    check_keyword(name)
                    document[written_name(name)] = convert_more(value)
            except Refused as refused:
                refused.inside(member(name))
                raise
            return document

        return write_all


def written_name(name: str) -> str:
    """Return the key of the field called *name*: itself, but for ``type``, which says what the object is."""
    return f"{name}_" if name.rstrip("_") == TYPE else name


def _read_name(key: str) -> str:
    return key[:-1] if key.rstrip("_") == TYPE else key
