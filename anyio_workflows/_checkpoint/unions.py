"""Decide which member of a union a value is, and which one a document was.

Members whose documents can't be told apart are written with a label, the others as if they stood alone.
"""

from collections.abc import Mapping
from typing import Any

from .refusal import Refused, wrong
from .scalars import Codec


def union_codec(options: Mapping[str, Codec]) -> Codec:
    """Return how values of any of the *options*, by label, are written and read."""
    labelled = _labelled(options)
    plain = [codec for label, codec in options.items() if label not in labelled]
    names = {codec: label for label, codec in labelled.items()}
    wanted = " or ".join(label.removeprefix("$") for label in options)

    def write(value: Any) -> Any:
        codec, document = _first(_fitting(options, value), value, "write", wanted)
        return {names[codec]: document} if codec in names else document

    def read(document: Any) -> Any:
        if type(document) is dict and len(document) == 1:
            label = next(iter(document))
            if label in labelled:
                return labelled[label].read(document[label])
        shape = type(document)
        return _first([codec for codec in plain if shape in codec.shapes], document, "read", wanted)[1]

    return Codec(
        write=write,
        read=read,
        classes=tuple({cls for codec in options.values() for cls in codec.classes}),
        shapes=frozenset().union(*(codec.shapes for codec in plain), [dict] if labelled else []),
        native=all(codec.native for codec in options.values()),
    )


def _labelled(options: Mapping[str, Codec]) -> dict[str, Codec]:
    """Return the options whose documents may be those of another option."""
    found = {
        label: codec
        for label, codec in options.items()
        if any(
            other is not codec
            and codec.shapes & other.shapes
            # Whichever of two reads a document that is its own value, the value is the same.
            and not (codec.native and other.native)
            for other in options.values()
        )
    }
    if found:  # a label is a key, which an object without label may have
        found |= {label: codec for label, codec in options.items() if dict in codec.shapes}
    return found


def _fitting(options: Mapping[str, Codec], value: object) -> list[Codec]:
    """Return the options that *value* may be, all of them if it is exactly of the class of none."""
    fitting = [codec for codec in options.values() if type(value) in codec.classes]
    return fitting or list(options.values())


def _first(codecs: list[Codec], value: Any, way: str, wanted: str) -> tuple[Codec, Any]:
    if len(codecs) == 1:
        return codecs[0], getattr(codecs[0], way)(value)
    for codec in codecs:
        try:
            return codec, getattr(codec, way)(value)
        except Refused:
            continue
    raise wrong(value, wanted)
