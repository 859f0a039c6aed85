"""Write and read values that no annotation describes: what they are is written with them.

What JSON has is written as it is; everything else, and an object that would look like it, as an object with one key
that begins with a dollar.
"""

import enum
from collections.abc import Callable, Mapping
from typing import Any

from .._brief import brief
from .forms import Form, Member, Record, Scalar
from .items import each_converted, in_order, put_together
from .records import TYPE, RecordCodec
from .refusal import Refused, member, wrong
from .registry import Registry
from .scalars import CODECS, Codec, convert_float, convert_int

Convert = Callable[[Any], Any]


class Untyped:
    """How values without annotation are written and read, given the classes of a workflow."""

    def __init__(
        self, registry: Registry, record: Callable[[Record], RecordCodec], of: Callable[[Form], Codec]
    ) -> None:
        self._registry = registry
        self._record = record
        self._of = of
        self._writers: dict[type, Convert] = {
            type(None): _itself,
            bool: _itself,
            str: _itself,
            int: convert_int,
            float: convert_float,
            list: self._write_list,
            tuple: lambda value: {"$tuple": self._write_list(value)},
            set: lambda value: {"$set": in_order(self._write_list(value))},
            frozenset: lambda value: {"$frozenset": in_order(self._write_list(value))},
            dict: self._write_dict,
        }
        self._readers: dict[str, Convert] = {
            "$tuple": lambda document: self._read_items(tuple, document),
            "$set": lambda document: self._read_items(set, document),
            "$frozenset": lambda document: self._read_items(frozenset, document),
            "$dict": self._read_pairs,
            "$enum": self._read_member,
            "$object": self._read_object,
        }
        for cls, codec in CODECS.items():
            if not codec.native:
                tag = "$" + registry.label(Scalar(cls))
                self._readers[tag] = codec.read
                for written in codec.classes:
                    self._writers[written] = _tagging(tag, codec.write)

    def write(self, value: Any) -> Any:
        """Return the document of *value*, or refuse."""
        write = self._writers.get(type(value))
        return write(value) if write is not None else self._write_known(value)

    def read(self, document: Any) -> Any:
        """Return the value of *document*, or refuse."""
        cls = type(document)
        if cls is dict:
            return self._read_dict(document)
        if cls is list:
            return each_converted(document, self.read)
        if cls in _PLAIN:
            return self._writers[cls](document)
        raise wrong(document, "of a type that JSON has")

    def _write_known(self, value: Any) -> Any:
        cls = type(value)
        if not self._registry.knows(cls):
            raise Refused(
                f"{brief(value)} is of type {cls.__qualname__}, which this workflow does not know: "
                f"annotate a field with it, or keep what JSON has"
            )
        if isinstance(value, enum.Enum):
            return {"$enum": [self._registry.tags[cls], self._of(Member(cls)).write(value)]}
        return {"$object": self._record(Record(cls)).write_tagged(value)}

    def _write_list(self, value: Any) -> list[Any]:
        return each_converted(value, self.write)

    def _write_dict(self, value: dict[Any, Any]) -> dict[str, Any]:
        if not all(type(key) is str for key in value) or _is_tagged(value):
            return {"$dict": each_converted(value.items(), self._write_list)}
        return _each_value(value, self.write)

    def _read_dict(self, document: dict[str, Any]) -> Any:
        if not all(type(key) is str for key in document):
            raise wrong(document, "an object whose keys are texts")
        if not _is_tagged(document):
            return _each_value(document, self.read)
        tag = next(iter(document))
        read = self._readers.get(tag)
        if read is None:
            raise Refused(f"{brief(tag)} stands for nothing")
        return read(document[tag])

    def _read_items(self, cls: type, document: Any) -> Any:
        if type(document) is not list:
            raise wrong(document, f"the list of a {cls.__name__}")
        return put_together(cls, each_converted(document, self.read))

    def _read_pairs(self, document: Any) -> Any:
        if type(document) is not list or not all(type(each) is list and len(each) == 2 for each in document):  # noqa: PLR2004  # key and value
            raise wrong(document, "the list of pairs of a dict")
        return put_together(dict, each_converted(document, self.read))

    def _read_member(self, document: Any) -> Any:
        if type(document) is not list or len(document) != 2:  # noqa: PLR2004  # class and member
            raise wrong(document, "the tag of an Enum and the name of a member")
        cls = self.class_of(document[0])
        if not issubclass(cls, enum.Enum):
            raise Refused(f"{brief(document[0])} is no Enum")
        return self._of(Member(cls)).read(document[1])

    def _read_object(self, document: Any) -> Any:
        if type(document) is not dict:
            raise wrong(document, "an object with a type")
        cls = self.class_of(document.get(TYPE))
        if issubclass(cls, enum.Enum):
            raise Refused(f"{brief(document[TYPE])} is an Enum")
        return self._record(Record(cls)).read_tagged(document)

    def class_of(self, tag: object) -> type:
        """Return the class that *tag* names, by looking it up and by nothing else."""
        found = self._registry.classes.get(tag) if type(tag) is str else None
        if found is None:
            known = brief(sorted(self._registry.classes)).strip("[]")
            raise Refused(f"there is no type {brief(tag)} in this workflow; it knows {known or 'none'}")
        return found


_PLAIN = frozenset({type(None), bool, int, float, str})


def _itself(value: Any) -> Any:
    return value


def _tagging(tag: str, write: Convert) -> Convert:
    return lambda value: {tag: write(value)}


def _is_tagged(mapping: Mapping[Any, Any]) -> bool:
    return len(mapping) == 1 and str(next(iter(mapping))).startswith("$")


def _each_value(mapping: Mapping[str, Any], convert: Convert) -> dict[str, Any]:
    converted = {}
    key = None
    try:
        for key, item in mapping.items():
            converted[key] = convert(item)
    except Refused as refused:
        refused.inside(member(key))
        raise
    return converted
