"""An observer for the tests that writes down what it is told."""

from contextvars import ContextVar
from typing import Any

import attrs

from anyio_workflows import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)
from anyio_workflows.abc import AttemptEnd, ObservedAttempt, ObservedRun, Observer, RunEnd

set_by_observer: ContextVar[str] = ContextVar("set_by_observer", default="nothing")


class Piece(Event):
    number: int


class Question(InputRequiredEvent):
    pass


class Answer(HumanResponseEvent):
    pass


def name_of(attempt: ObservedAttempt | None) -> str:
    return "outside" if attempt is None else attempt.step


@attrs.define(eq=False)
class Notes(Observer):
    """Notes each call as a short line."""

    lines: list[str] = attrs.field(factory=list)
    ends: list[AttemptEnd] = attrs.field(factory=list)
    runs: list[RunEnd] = attrs.field(factory=list)
    attempts: list[ObservedAttempt] = attrs.field(factory=list)

    def run_started(self, run: ObservedRun) -> None:
        self.lines.append(f"run of {run.workflow} started")

    def run_ended(self, run: ObservedRun, end: RunEnd) -> None:
        self.lines.append(f"run of {run.workflow} {end.status}")
        self.runs.append(end)

    def attempt_started(self, attempt: ObservedAttempt, sender: ObservedAttempt | None) -> None:
        self.lines.append(f"{attempt.step} started, by {name_of(sender)}")
        self.attempts.append(attempt)
        set_by_observer.set(f"{attempt.step} {attempt.delivery}")

    def attempt_ended(self, attempt: ObservedAttempt, end: AttemptEnd) -> None:
        self.lines.append(f"{attempt.step} {end.status}")
        self.ends.append(end)

    def event_sent(self, run: ObservedRun, event: Event, sender: ObservedAttempt | None) -> None:
        self.lines.append(f"{type(event).__name__} sent by {name_of(sender)}")

    def event_received(
        self, run: ObservedRun, event: Event, step: str, delivery: int, sender: ObservedAttempt | None
    ) -> None:
        self.lines.append(f"{type(event).__name__} received by {step} from {name_of(sender)}")

    def event_written(self, run: ObservedRun, event: Event) -> None:
        self.lines.append(f"{type(event).__name__} written")

    def event_collected(
        self, attempt: ObservedAttempt, event: Event, expected: Any, batch: Any, buffer_id: str | None
    ) -> None:
        assert event is attempt.event
        given = "nothing yet" if batch is None else f"{len(batch)} of {len(expected)}"
        self.lines.append(f"{attempt.step} collected {type(event).__name__} and was given {given}")

    def wait_started(self, attempt: ObservedAttempt, event_type: type[Event]) -> None:
        self.lines.append(f"{attempt.step} waits for {event_type.__name__}")

    def wait_ended(self, attempt: ObservedAttempt, event: Event | None) -> None:
        self.lines.append(f"{attempt.step} was given {type(event).__name__}")

    def checkpoint_taken(self, run: ObservedRun, checkpoint_id: str, step: str | None) -> None:
        self.lines.append(f"checkpoint {checkpoint_id} after {step}")


class Splitting(Workflow):
    """Sends two pieces, one step in a thread, and ends with both."""

    @step
    async def split(self, ctx: Context, ev: StartEvent) -> Piece:
        ctx.send_event(Piece(number=1))
        return Piece(number=2)

    @step(num_workers=1)
    async def join(self, ctx: Context, ev: Piece) -> StopEvent | None:
        pieces = ctx.collect_events(ev, [Piece] * 2)
        return StopEvent(result=[piece.number for piece in pieces]) if pieces else None


class Asking(Workflow):
    """Asks in the middle of a step."""

    @step(waits_for=Answer)
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        timeout: Any = ev.get("wait")
        try:
            await ctx.wait_for_event(Answer, waiter_event=Question(), timeout=timeout)
        except TimeoutError:
            return StopEvent(result="no answer")
        return StopEvent(result="answered")
