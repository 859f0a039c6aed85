"""What the engine needs of whatever writes and reads the values of a workflow, and which events that has to know."""

from collections.abc import Mapping
from typing import Any, Protocol

from .._events import (
    Event,
    EventList,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
)
from .._ledger.plan import Plan
from .snapshot import Document


class Writer(Protocol):
    """What writes and reads the events and the state of one workflow; see `converter`."""

    def unstructure_event(self, event: Event) -> Document:
        """Return *event* as JSON types, which share nothing with it."""
        ...

    def structure_event(self, document: object, *, where: str) -> Event:
        """Return the event that was written as *document*."""
        ...

    def state_keys(self, state: Any) -> Mapping[str, Any]:
        """Return the values of *state* by top-level key or field."""
        ...

    def unstructure_field(self, name: str, value: object) -> Document:
        """Return what the state has under *name* as JSON types."""
        ...

    def structure_state(self, fields: Mapping[str, Any], *, where: str = "state") -> Any:
        """Return the state whose parts were written as *fields*."""
        ...

    def unstructure_value(self, value: object, *, where: str) -> Document:
        """Return *value*, which nothing annotates, as JSON types."""
        ...

    def structure_value(self, document: object, *, where: str) -> Any:
        """Return the value that was written as *document*."""
        ...


def known_events(plan: Plan) -> tuple[type[Event], ...]:
    """Return the classes of events that a document may name.

    Beside those of the graph, the ones that take any keywords: a step may ask with one and wait for one, and nothing
    annotates that.
    """
    keyword_events = (Event, StartEvent, StopEvent, InputRequiredEvent, HumanResponseEvent)
    made_by_engine = (EventList, StepFailedEvent) if plan.has_lineage else ()
    return tuple(dict.fromkeys([*plan.graph.events, *keyword_events, *made_by_engine]))


def written_name_of(event_type: type[Event]) -> str:
    """Return what a document calls *event_type*; it is looked up among the known ones, and nowhere else."""
    return f"{event_type.__module__}.{event_type.__qualname__}"
