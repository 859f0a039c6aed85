"""What an observer is told of an explored run, kept for checks and put into words for reports."""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from .. import Event, StopEvent
from .._brief import brief
from .._turnstile import label
from ..abc import AttemptEnd, ObservedAttempt, ObservedRun, Observer, RunEnd
from ._turnstile import CANCELLED, FAILS, ScheduledTurnstile
from .collecting import Expected, listed

execution: ContextVar[str] = ContextVar("anyio_workflows_explored_execution", default="")
"""What the execution is called that code is called by; empty outside of any."""


class Noting(Observer):
    """Notes what an observer is told."""

    def __init__(self, gate: ScheduledTurnstile) -> None:
        self._gate = gate
        self._texts: dict[int, tuple[Event, str]] = {}
        self._names: dict[ObservedAttempt, str] = {}

    def _text(self, event: Event) -> str:
        """Return what *event* looks like, which is asked several times for each."""
        known = self._texts.get(id(event))
        if known is None:
            known = self._texts[id(event)] = (event, brief(event))  # kept, so that no other gets its id
        return known[1]

    def _name(self, attempt: ObservedAttempt) -> str:
        """Return what *attempt* is called, which is asked as often."""
        name = self._names.get(attempt)
        if name is None:
            name = self._names[attempt] = _name(attempt)
        return name

    def _note_fact(self, *fact: Any) -> None:
        if not self._gate.is_mute:  # what is left of a run that died is no part of what was seen
            self._gate.facts.append(fact)

    def run_started(self, run: ObservedRun) -> None:
        self._note_fact("run_started", run)

    def attempt_started(self, attempt: ObservedAttempt, sender: ObservedAttempt | None) -> None:  # noqa: ARG002
        self._note_fact("attempt_started", attempt)
        name = self._name(attempt)
        execution.set(name)
        self._gate.note(name, "begins")

    def attempt_ended(self, attempt: ObservedAttempt, end: AttemptEnd) -> None:
        self._note_fact("attempt_ended", attempt, end)
        if end.error is not None:
            text = f"{FAILS}{brief(end.error)}"
        elif end.status == "completed":
            text = "ends"  # what it returned, it has sent
        else:
            text = CANCELLED
        self._gate.note(self._name(attempt), text)

    def event_sent(self, run: ObservedRun, event: Event, sender: ObservedAttempt | None) -> None:
        self._note_fact("event_sent", run, event, sender)
        self._gate.note("outside" if sender is None else self._name(sender), f"sends {self._text(event)}")

    def event_received(
        self, run: ObservedRun, event: Event, step: str, delivery: int, sender: ObservedAttempt | None
    ) -> None:
        self._note_fact("event_received", run, event, step, delivery, sender)

    def event_written(self, run: ObservedRun, event: Event) -> None:
        self._note_fact("event_written", run, event)
        if not isinstance(event, StopEvent):  # the last one, which was sent
            self._gate.note("", f"{brief(event)} is on the stream")

    def event_collected(
        self,
        attempt: ObservedAttempt,
        event: Event,
        expected: Expected,
        batch: Sequence[Event] | None,
        buffer_id: str | None,
    ) -> None:
        # What the step has given is its own, and may change.
        wanted = dict(expected) if isinstance(expected, Mapping) else tuple(expected)
        self._note_fact("event_collected", attempt, event, wanted, batch, buffer_id)
        given = "" if batch is None else f", and is given {listed(batch)}"
        self._gate.note(self._name(attempt), f"collects{given}")

    def wait_started(self, attempt: ObservedAttempt, event_type: type[Event]) -> None:
        self._note_fact("wait_started", attempt, event_type)
        self._gate.note(self._name(attempt), f"waits for {event_type.__name__}")

    def wait_ended(self, attempt: ObservedAttempt, event: Event | None) -> None:
        self._note_fact("wait_ended", attempt, event)
        if event is not None:
            self._gate.note(self._name(attempt), f"has got {brief(event)}")

    def run_ended(self, run: ObservedRun, end: RunEnd) -> None:
        self._note_fact("run_ended", run, end)


def _name(attempt: ObservedAttempt) -> str:
    return label(attempt.step, attempt.event, attempt.attempt)


def begun_and_not_ended(facts: list[tuple[Any, ...]]) -> tuple[str, ...]:
    """Return the names of the executions in work, oldest first."""
    in_work: dict[ObservedAttempt, None] = {}
    for name, about, *_ in facts:
        if name == "attempt_started":
            in_work[about] = None
        elif name == "attempt_ended":
            in_work.pop(about, None)
        elif name == "died":
            in_work.clear()
    return tuple(map(_name, in_work))
