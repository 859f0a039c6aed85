"""What a user sees of a consistent cut: a frozen value, whose larger parts are read when somebody looks."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import attrs

from .._events import Event
from ..abc import record_id
from .pending import LAST_MOMENT
from .snapshot import Document
from .writing import Writer


@attrs.frozen(kw_only=True)
class PendingEvent:
    """An event that a step had not done with: in line, or in work and to be worked on again from the top."""

    number: int
    """Counts up within the run."""

    step: str
    """The step that is to get it."""

    event: Event
    """What it is called with."""

    sent: tuple[Event, ...] = ()
    """What its execution had sent already, which is not sent a second time."""

    attempt: int = 1
    """Which attempt was in work or is next."""

    due: datetime | None = None
    """When the next attempt was to begin, in UTC; None for one without a delay."""


@attrs.frozen(kw_only=True)
class CollectedEvents:
    """What was in a collection, as if the executions in work had not touched it."""

    step: str
    """The step that collects."""

    buffer_id: str | None
    """Which collection, if the step has several."""

    events: tuple[Event, ...]
    """In order of arrival."""


@attrs.frozen(kw_only=True, slots=False)
class Checkpoint:
    """A consistent cut through a run: everything that is needed to go on from there.

    It never changes, and may be used as a starting point any number of times: `WorkflowCheckpointer.run_from`.
    """

    id_: str
    """Of this checkpoint."""

    run_id: str
    """The run that it is a cut through."""

    sequence: int
    """Counts the cuts of that run, from 0."""

    parent: str | None
    """Id of the checkpoint that the run went on from, None if it began at the beginning."""

    workflow: str
    """Name of the workflow."""

    fingerprint: str
    """What its steps and events were when it was made."""

    created_at: datetime
    """When it was made, in UTC."""

    last_completed_step: str | None
    """The step whose execution had just committed; None if it was cut at another moment."""

    input_event: Event | None
    """What that step was called with."""

    output_event: Event | None
    """What it returned."""

    described: Document = attrs.field(repr=False, eq=False)
    """What the fingerprint stands for: steps, events and fields as they were."""

    _content: Callable[[], Document] = attrs.field(alias="content", repr=False, eq=False)
    _converter: Writer = attrs.field(alias="converter", repr=False, eq=False)

    @property
    def previous(self) -> str | None:
        """Id of the cut before it in the same run, which may have no entry of its own; None for the first."""
        return record_id(self.run_id, self.sequence - 1) if self.sequence else None

    @cached_property
    def document(self) -> Mapping[str, Any]:
        """What the run knew, as JSON types; shared, not to be changed."""
        return self._content()  # type: ignore[no-any-return]

    @cached_property
    def pending(self) -> tuple[PendingEvent, ...]:
        """Every event that was in line or in work, in the order in which they came."""
        structure = self._converter.structure_event
        return tuple(
            PendingEvent(
                number=entry["number"],
                step=entry["step"],
                event=structure(entry["event"], where=f"pending.{entry['number']}.event"),
                sent=tuple(structure(event, where="sent") for _, event in entry.get("sent", ())),
                **_attempt(entry.get("retry")),
            )
            for entry in self.document["pending"]
        )

    @cached_property
    def collections(self) -> tuple[CollectedEvents, ...]:
        """Every collection that held something."""
        structure = self._converter.structure_event
        return tuple(
            CollectedEvents(
                step=entry["step"],
                buffer_id=entry["buffer_id"],
                events=tuple(
                    structure(event, where=f"collections.{entry['step']}") for _, event in entry["events"]
                ),
            )
            for entry in self.document["collections"]
            if entry["events"]
        )

    @property
    def state(self) -> Any:
        """The state of the run, a new copy each time."""
        return self._converter.structure_state(self.document["state"], where="state")


def _attempt(retry: Document) -> dict[str, Any]:
    """Return what a delivery of which an attempt has failed has beside the others."""
    if retry is None:
        return {}
    due = retry["due"]
    when = None if due is None else datetime.fromtimestamp(min(due, LAST_MOMENT), UTC)
    return {"attempt": retry["attempt"], "due": when}
