"""Turn the events and the state of one workflow into JSON, and back.

Which classes a document may name is decided once, by the workflow; nothing in a document causes an import, or a call of
anything but those classes. How values of each kind are written is decided by `codecs`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from .._brief import brief
from .._errors import CheckpointError
from .._events import Event
from .._ledger.dict_state import DictState
from .codecs import Codecs
from .forms import Keys, Record, Table
from .records import TYPE, written_name
from .refusal import Refused, guarded, member, wrong
from .registry import Registry
from .scalars import Codec
from .text import DEEPEST_VALUE, MOST_BYTES, dumps, is_deeper, loads

_TOO_DEEP = f"it is nested in more than {DEEPEST_VALUE} levels, or contains itself"


class Converter:
    """What writes and reads the values of one workflow.

    Args:
        workflow: Name of the workflow, for messages.
        events: Every class of events that is known.
        state_type: What the state is annotated with, None for a `DictState`.

    Raises:
        WorkflowValidationError: Fields of an event or of the state can't be written; all of them are named.
    """

    def __init__(self, *, workflow: str, events: Sequence[type[Event]], state_type: Any) -> None:
        self._registry = Registry(workflow=workflow, events=events, state_type=state_type)
        self._codecs = Codecs(self._registry)
        self._state_type = state_type
        self._events: dict[type, tuple[Callable[[Any], dict[str, Any]], bool]] = {}
        for event in events:
            record = self._codecs.record(Record(event))
            self._events[event] = record.write_tagged, record.is_flat

    def describe(self) -> Mapping[str, Mapping[str, str]]:
        """Return the type of every field of every class, as text, by tag and field."""
        return self._registry.describe()

    def unstructure_event(self, event: Event) -> dict[str, Any]:
        """Return *event* as JSON types, with nothing in them that is the event's own.

        Raises:
            CheckpointError: A field holds what its annotation does not say, or what can't be written.
        """
        try:
            write, is_flat = self._events[event.__class__]
        except KeyError:
            name = type(event).__qualname__
            raise CheckpointError(
                f"the workflow does not know this type of event; annotate a step with {name}, "
                f"or give Workflow(extra_events=[{name}])",
                name,
            ) from None
        try:
            document = write(event)
        except Refused as refused:
            raise refused.at(type(event).__qualname__) from refused.__cause__
        except RecursionError:
            raise CheckpointError(_TOO_DEEP, type(event).__qualname__) from None
        if not is_flat and is_deeper(document, DEEPEST_VALUE):
            raise CheckpointError(_TOO_DEEP, type(event).__qualname__)
        return document

    def structure_event(self, document: object, *, where: str) -> Event:
        """Return the event that was written as *document*; *where* is what it is called in an error.

        Raises:
            CheckpointError: It is no event of this workflow.
        """
        return cast(Event, _checked(self._read_event, document, where))

    def unstructure_value(self, value: object, *, where: str) -> Any:
        """Return *value*, which nothing annotates, as JSON types.

        Raises:
            CheckpointError: It is or contains what can't be written.
        """
        return _written(self._codecs.anything, value, where)

    def structure_value(self, document: object, *, where: str) -> Any:
        """Return the value that was written as *document*.

        Raises:
            CheckpointError: It is no such document.
        """
        return _checked(self._codecs.anything.read, document, where)

    def state_keys(self, state: Any) -> Mapping[str, Any]:
        """Return the values of *state* themselves, by top-level key or field.

        Raises:
            CheckpointError: It is of another class than the workflow declares.
        """
        form = self._registry.state
        if not isinstance(form, Record):
            return dict(state)
        if type(state) is not form.cls:
            raise wrong(state, f"{form.cls.__qualname__}, as the steps are annotated").at("state")
        fields = self._registry.fields(form)
        more = fields.more(state) if fields.more is not None else {}
        return {**{name: getattr(state, name) for name in fields.annotations}, **more}

    def unstructure_field(self, name: str, value: object) -> Any:
        """Return *value*, which the state has under *name*, as JSON types.

        Raises:
            CheckpointError: It is not what the state declares there, or can't be written.
        """
        where = f"state{member(name)}"
        try:
            codec = self._state_codec(name)
        except Refused as refused:
            raise refused.at(where) from None
        return _written(codec, value, where)

    def structure_state(self, fields: Mapping[str, Any], *, where: str = "state") -> Any:
        """Return the state whose parts were written as *fields*.

        Raises:
            CheckpointError: They are not the parts of such a state.
        """
        return _checked(self._read_state, fields, where)

    def dumps(self, document: Any) -> bytes:
        """Return *document*, which is made of JSON types, as JSON.

        Raises:
            CheckpointError: It is larger than `loads` would read, or holds what JSON does not.
        """
        return dumps(document)

    def loads(self, data: bytes | str, *, where: str, most_bytes: int | None = MOST_BYTES) -> Any:
        """Return the document that is written in *data*.

        Args:
            data: JSON, in UTF-8.
            where: What it is called in an error.
            most_bytes: Refuse more; None for no bound.

        Raises:
            CheckpointError: It is no JSON, or has a key twice, NaN, Infinity, or more levels or bytes than allowed.
        """
        return loads(data, where=where, most_bytes=most_bytes)

    def _read_event(self, document: Any) -> Event:
        if type(document) is not dict:
            raise wrong(document, "an event: an object with a type")
        cls = self._codecs.untyped.class_of(document.get(TYPE))
        if not issubclass(cls, Event):
            raise Refused(f"{brief(document[TYPE])} is no type of event")
        event: Event = self._codecs.record(Record(cls)).read_tagged(document)
        return event

    def _state_codec(self, name: str) -> Codec:
        if type(name) is not str:
            raise wrong(name, "a text, as every key of a state that is written")
        found = None
        match self._registry.state:
            case None:
                return self._codecs.anything
            case Table(_, value):
                return self._codecs.of(value)
            case Keys(_, values):
                found = {key: self._codecs.of(form) for key, form in values}.get(name)
            case Record() as form:
                found = self._codecs.record(form).field(name)
        if found is None:
            raise Refused("the state has no such field")
        return found

    def _read_state(self, fields: Any) -> Any:
        if type(fields) is not dict:
            raise wrong(fields, "an object with the parts of the state")
        form = self._registry.state
        if isinstance(form, Record):
            return self._codecs.record(form).read({written_name(name): each for name, each in fields.items()})
        if isinstance(form, Keys):
            return self._codecs.of(form).read(fields)
        values = {}
        name = None
        try:
            for name, document in fields.items():
                values[name] = self._state_codec(name).read(document)
        except Refused as refused:
            refused.inside(member(name))
            raise
        if form is not None:
            return values
        cls = DictState if self._state_type in (None, Any) else self._state_type
        return guarded(cls.__qualname__, cls, values)


def _written(codec: Codec, value: Any, where: str) -> Any:
    document = _checked(codec.write, value, where)
    if is_deeper(document, DEEPEST_VALUE):
        raise CheckpointError(_TOO_DEEP, where)
    return document


def _checked(convert: Callable[[Any], Any], value: Any, where: str) -> Any:
    try:
        return convert(value)
    except Refused as refused:
        raise refused.at(where) from refused.__cause__
    except RecursionError:
        raise CheckpointError(_TOO_DEEP, where) from None
