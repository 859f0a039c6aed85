"""Events: the frozen facts that steps accept and return.

A subclass of `Event` becomes a frozen, keyword-only attrs class by being declared. How an event finds
its step is decided elsewhere.
"""

import functools
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, NoReturn, dataclass_transform

import attrs

from ._errors import EventFieldsError


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(attrs.field,))
class Event:
    """A fact that one step states and others act on.

    ``class Fetched(Event): url: str`` declares a frozen, keyword-only attrs class: defaults, factories,
    validators, converters and inheritance work as in attrs, and two events are equal if their classes
    and their fields are. ``class Ping(Event, eq=False)`` compares by identity.

    Used directly, `Event`, `StartEvent`, `StopEvent`, `InputRequiredEvent` and `HumanResponseEvent`
    accept any keywords, which are readable as attributes; a subclass accepts exactly its fields.

    One object may be given to several steps, so its values should be immutable (a tuple, not a list).

    Raises:
        EventFieldsError: A subclass was given a keyword that is none of its fields, or lacks one.
    """

    def __init_subclass__(cls, *, eq: bool = True, any_fields: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if any_fields:
            return
        # No slots: attrs would have to make a second class, after steps have seen the first, and for a
        # frozen class filling __dict__ is the faster __init__.
        attrs.define(cls, frozen=True, slots=False, kw_only=True, eq=eq, init=False, repr=False)
        if "__init__" not in vars(cls):
            cls.__init__ = _explaining_init(cls)  # type: ignore[method-assign]
        if not eq and "__eq__" not in vars(cls):
            cls.__eq__ = object.__eq__  # type: ignore[method-assign]
            cls.__hash__ = object.__hash__  # type: ignore[method-assign]

    def __init__(self, /, **fields: Any) -> None:
        if "get" in fields:
            raise EventFieldsError(type(self).__qualname__, ["get"], [], ["(any keyword but 'get')"])
        self.__dict__.update(fields)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the field called *name*, or *default* if the event has none of that name."""
        return self.__dict__.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self.__dict__

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise attrs.exceptions.FrozenInstanceError

    def __delattr__(self, name: str) -> NoReturn:
        raise attrs.exceptions.FrozenInstanceError

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), frozenset(self.__dict__.items())))

    def __repr__(self) -> str:
        # For every subclass, too: one that attrs writes for each class would be a sixth of what declaring it costs.
        declared = {field.name: field.repr for field in getattr(type(self), "__attrs_attrs__", ())}
        shown = [(name, declared.get(name, True), value) for name, value in self.__dict__.items()]
        fields = ", ".join(
            f"{name}={how(value) if callable(how) else repr(value)}" for name, how, value in shown if how
        )
        return f"{type(self).__qualname__}({fields})"


def _explaining_init(cls: type[Event]) -> Callable[..., None]:
    """Return the __init__ that attrs wrote for *cls*, with an error that lists the fields there are."""
    attrs_init: Callable[..., None] = cls.__attrs_init__  # type: ignore[attr-defined]

    @functools.wraps(attrs_init)
    def __init__(self: Event, /, **fields: Any) -> None:
        try:
            attrs_init(self, **fields)
        except TypeError:
            declared = [field for field in attrs.fields(cls) if field.init]  # type: ignore[arg-type]
            names = [field.alias or field.name for field in declared]
            unknown = [name for name in fields if name not in names]
            missing = [
                name
                for name, field in zip(names, declared, strict=True)
                if field.default is attrs.NOTHING and name not in fields
            ]
            if unknown or missing:
                raise EventFieldsError(cls.__qualname__, unknown, missing, names) from None
            raise  # from a converter or validator of the user's

    __init__.__name__ = "__init__"
    __init__.__qualname__ = f"{cls.__qualname__}.__init__"
    return __init__


class StartEvent(Event, any_fields=True):
    """What a run starts with: the keywords of `Workflow.run`, or an instance given as ``start_event=``."""

    if TYPE_CHECKING:  # any keywords, readable as attributes; a subclass gets an __init__ of its own

        def __init__(self, /, **fields: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...


class StopEvent(Event, any_fields=True):
    """What a run ends with.

    The run's result is `result`; of a subclass, which declares fields of its own, it is the event itself.
    """

    def __init__(self, /, result: Any = None, **fields: Any) -> None:
        super().__init__(**{"result": result, **fields})

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class InputRequiredEvent(Event, any_fields=True):
    """A question to a human: published on the stream when a step returns or sends it, and routed."""

    if TYPE_CHECKING:

        def __init__(self, /, **fields: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...


class HumanResponseEvent(Event, any_fields=True):
    """A human's answer, sent into the run with `WorkflowHandler.send_event`."""

    if TYPE_CHECKING:

        def __init__(self, /, **fields: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...


class WorkflowFailedEvent(StopEvent):
    """Last on the stream of a run that failed."""

    step_name: str | None
    """The step that raised; None if the run failed on its own account, as when it stalled."""

    exception: BaseException
    """What ``await handler`` raises."""

    attempts: int | None = None
    """Attempts made by the step, if one raised."""

    elapsed_seconds: float | None = None
    """Seconds from the first attempt to the failure, if a step raised."""


class WorkflowTimedOutEvent(StopEvent):
    """Last on the stream of a run that took too long."""

    timeout: float
    """Seconds that the run was given."""

    active_steps: tuple[str, ...]
    """Names of the steps that were being worked on."""


class WorkflowCancelledEvent(StopEvent):
    """Last on the stream of a run that was cancelled."""

    reason: str = ""
    """What cancelled it."""


class StepFailedEvent(Event):
    """What a `catch_error` handler is called with: a step has failed, and is not tried again."""

    step_name: str
    """Which."""

    input_event: Event
    """What it was called with; of a step with several or listed events, an `EventList`."""

    exception: BaseException
    """What it raised; after a restart a `RestoredError` that tells of it."""

    attempts: int
    """How many attempts there were."""

    elapsed_seconds: float
    """Seconds from the beginning of the first to the end of the last."""

    failed_at: datetime
    """When the last one ended, in UTC."""


class EventList(Event):
    """Several events as one: what a step that joins is called with, and what a fan-out has returned."""

    events: tuple[Event, ...]
    """In their order."""


class EventsMissed(Event):
    """First on a bounded stream (``stream_buffer=``) for a reader that fell behind."""

    count: int
    """Events that are gone for this reader."""


class InternalDispatchEvent(Event):
    """What the engine says of itself; on the stream with ``expose_internal=True`` only."""


class StepState(Enum):
    """Where an event stands at a step."""

    PREPARING = "preparing"
    """Queued, since every worker of the step is busy."""

    RUNNING = "running"
    """Being worked on."""

    NOT_RUNNING = "not_running"
    """Done."""


class ChildEvent(Event):
    """What a child says, on the stream of the run that it is a part of: see `Context.run_child`."""

    namespace: tuple[str, ...]
    """What the child is called; before that, what the child is called that it is a child of, and so on."""

    run_id: str
    """Id of its run."""

    event: Event
    """What it wrote, or ended with. A question is on the stream as itself."""


class ChildDispatchEvent(InternalDispatchEvent):
    """What the engine says of a child, likewise."""

    namespace: tuple[str, ...]
    """What the child is called."""

    run_id: str
    """Id of its run."""

    event: Event
    """What is said."""


class StepStateChanged(InternalDispatchEvent):
    """A step began or ended an execution."""

    name: str
    """The step."""

    step_state: StepState
    """What it went to."""

    worker_id: str
    """The execution, by its number in the run."""

    input_event_name: str
    """Class name of the event that is worked on."""

    output_event_name: str | None = None
    """Class name of the event that was returned, if one was."""


class StepCancelledEvent(InternalDispatchEvent):
    """A single execution of a step was cancelled, or an event in line for it, and the run goes on."""

    step_name: str
    """Which step."""

    input_event: Event
    """What it was called with, or was to be."""

    reason: str
    """Why, as whoever cancelled it says."""


class UnhandledEvent(InternalDispatchEvent):
    """An event came that no step accepts and nothing waits for."""

    event_type: str
    """Class name of the event."""

    qualified_name: str
    """The same with module and enclosing classes."""

    step_name: str | None = None
    """The step it was sent to, if it was sent to one."""

    idle: bool = False
    """True if nothing was running when it came."""


class ResumeDivergedEvent(InternalDispatchEvent):
    """A step that runs again has not sent what it sent before; that stays delivered."""

    step_name: str
    """The step."""

    event: Event
    """What an earlier attempt had sent."""


class WorkflowIdleEvent(InternalDispatchEvent):
    """The run has come to rest and waits for the outside; said once each time."""

    report: object
    """The `StallReport`: what it waits for."""
