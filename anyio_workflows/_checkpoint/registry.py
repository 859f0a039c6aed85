"""Collect the classes that a workflow's events and state are made of, and give each its tag.

The registry is closed once it is made: a document names a class by its tag, and a tag that is not here is an error.
"""

import enum
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .._errors import WorkflowValidationError
from .._events import Event
from .._ledger.dict_state import DictState
from .anatomy import Fields, fields_of, is_keyword_event
from .forms import (
    Anything,
    Choice,
    Either,
    Fixed,
    Form,
    Keys,
    Many,
    Member,
    Record,
    Table,
    UnsupportedError,
    form_of,
    text_of,
)


class Registry:
    """Every class that a document of one workflow may name.

    Raises:
        WorkflowValidationError: Fields are annotated with what can't be written; all of them are named.
    """

    def __init__(self, *, workflow: str, events: Sequence[type[Event]], state_type: Any) -> None:
        self._problems: dict[str, None] = {}
        self._fields: dict[Record, Fields] = {}
        self._forms: dict[Record, dict[str, Form]] = {}
        self._classes: dict[type, None] = {}
        self._waiting: deque[Form] = deque(Record(event) for event in events)
        self.state: Form | None = self._state_form(state_type)
        """What the state is; None for a `DictState`."""
        while self._waiting:
            self._collect(self._waiting.popleft())
        self.tags = self._tagged()
        """The tag of each class."""
        self.classes = {tag: cls for cls, tag in self.tags.items()}
        """The class of each tag."""
        if self._problems:
            raise WorkflowValidationError(list(self._problems), workflow=workflow)

    def knows(self, cls: type) -> bool:
        """Return whether documents may name *cls*."""
        return cls in self._classes

    def fields(self, form: Record) -> Fields:
        """Return what the class of *form* declares."""
        if form not in self._fields:
            self._fields[form] = fields_of(form.cls, form.arguments)
        return self._fields[form]

    def forms(self, form: Record) -> Mapping[str, Form]:
        """Return the forms of the fields, by name."""
        return self._forms[form]

    def describe(self) -> dict[str, dict[str, str]]:
        """Return the text of the type of every field, by tag."""
        return {tag: self._described(cls) for tag, cls in self.classes.items()}

    def label(self, form: Form) -> str:  # noqa: PLR0911  # one line per form
        """Return *form* as text that differs from that of every other form."""
        match form:
            case Record(cls, arguments):
                tag = self.tags.get(cls, cls.__qualname__)
                return f"{tag}[{', '.join(map(text_of, arguments))}]" if arguments else tag
            case Member(cls):
                return self.tags.get(cls, cls.__qualname__)
            case Many(cls, item):
                return f"{cls.__name__}[{self.label(item)}{', ...' if cls is tuple else ''}]"
            case Fixed(items):
                return f"tuple[{', '.join(map(self.label, items))}]"
            case Table(key, value):
                return f"dict[{self.label(key)}, {self.label(value)}]"
            case Either(options):
                return " | ".join(map(self.label, options))
            case Keys(cls):
                return str(cls.__qualname__)
            case Choice(values):
                return f"Literal[{', '.join(map(repr, values))}]"
            case Anything():
                return "Any"
            case _:
                return "None" if form.cls is type(None) else form.cls.__name__.removeprefix("Posix").lower()

    def _state_form(self, state_type: Any) -> Form | None:
        if state_type is None or state_type is Any:
            return None
        if isinstance(state_type, type) and issubclass(state_type, DictState):
            return None
        form = self._found(f"the state is of type {text_of(state_type)}", state_type)
        if form is None:
            return None
        if isinstance(form, Record | Keys) or (
            isinstance(form, Table) and self.label(form.key) in ("str", "Any")
        ):
            self._waiting.append(form)
            return form
        self._problems[
            f"the state is of type {text_of(state_type)}, which has no named parts; use a class with fields"
        ] = None
        return None

    def _collect(self, form: Form) -> None:
        if isinstance(form, Member):
            self._classes[form.cls] = None
        elif isinstance(form, Record):
            if form not in self._forms:
                self._classes[form.cls] = None
                self._waiting.extend(self._collected(form))
                # Where nothing annotates an instance, it is written without its type parameters.
                self._waiting.append(Record(form.cls))
        else:
            self._waiting.extend(_parts(form))

    def _collected(self, form: Record) -> Iterator[Form]:
        found = self._forms[form] = {}
        for name, annotation in self.fields(form).annotations.items():
            what = f"{form.cls.__qualname__}.{name} is annotated {text_of(annotation)}"
            field = self._found(what, annotation)
            if field is not None:
                found[name] = field
                yield field

    def _found(self, what: str, annotation: Any) -> Form | None:
        try:
            return form_of(annotation)
        except UnsupportedError as error:
            problem = f"{what}, {error}"
        except RecursionError:
            problem = f"{what}, which contains itself without end; use Any, or a class with fields"
        self._problems[problem] = None
        return None

    def _tagged(self) -> dict[type, str]:
        counts = Counter(cls.__qualname__ for cls in self._classes)
        tags = {
            cls: cls.__qualname__ if counts[cls.__qualname__] == 1 else f"{cls.__module__}.{cls.__qualname__}"
            for cls in self._classes
        }
        for tag, count in Counter(tags.values()).items():
            if count > 1:
                self._problems[
                    f"{count} classes are called {tag}, and a document could not say which; rename one"
                ] = None
        return tags

    def _described(self, cls: type) -> dict[str, str]:
        if issubclass(cls, enum.Enum):
            return dict.fromkeys(cls.__members__, "member")
        if is_keyword_event(cls):
            return {"**": "any keywords"}
        return {name: self.label(form) for name, form in self.forms(Record(cls)).items()}


def _parts(form: Form) -> tuple[Form, ...]:  # noqa: PLR0911  # one line per form
    match form:
        case Many(_, item):
            return (item,)
        case Fixed(items):
            return items
        case Table(key, value):
            return (key, value)
        case Keys(_, values):
            return tuple(value for _, value in values)
        case Either(options):
            return options
        case Choice(values):
            enums = {type(value): None for value in values if isinstance(value, enum.Enum)}
            return tuple(Member(cls) for cls in enums)
        case _:
            return ()
