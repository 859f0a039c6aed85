"""Spans and metrics of runs for OpenTelemetry: the extra ``anyio-workflows[otel]``.

Only OpenTelemetry's API is used; what becomes of spans and metrics is for the SDK that the program sets up.
"""

from time import perf_counter
from typing import NamedTuple
from weakref import WeakKeyDictionary

from opentelemetry import context, metrics, trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Link, Span, SpanContext, Status, StatusCode, TracerProvider

from .abc import AttemptEnd, ObservedAttempt, ObservedRun, Observer, RunEnd

_SCOPE = "anyio_workflows"


class _Work(NamedTuple):
    span: Span
    began: float


class OpenTelemetryObserver(Observer):
    """Makes one span for each run, and below it one for each attempt of a step.

    The span of an attempt is the current one while the body of the step runs, also in its child tasks and in its
    thread: spans that the step opens are below it. It has a link to the span of the attempt that has sent the event. The
    span of a run is below the one that was current where the run was started.

    An attempt that raises has the status ERROR and the exception, whether or not it is tried again; a run has it if it
    fails or takes too long. What was cancelled is no error.

    Metrics: ``workflow.step.attempts`` (how many, by step and status), ``workflow.step.duration`` (seconds, by step and
    status) and ``workflow.step.active`` (attempts in work, by step).
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        """Ask for a tracer and a meter.

        Args:
            tracer_provider: Where spans go; by default where the program has said.
            meter_provider: Where metrics go; by default where the program has said.
        """
        self._tracer = trace.get_tracer(_SCOPE, tracer_provider=tracer_provider)
        meter = metrics.get_meter(_SCOPE, meter_provider=meter_provider)
        self._attempts = meter.create_counter(
            "workflow.step.attempts", unit="{attempt}", description="Attempts of steps that have ended."
        )
        self._durations = meter.create_histogram(
            "workflow.step.duration", unit="s", description="How long attempts of steps took."
        )
        self._active = meter.create_up_down_counter(
            "workflow.step.active", unit="{attempt}", description="Attempts of steps in work."
        )
        # Weak, because a run whose event loop was closed under it tells nobody that it has ended.
        self._runs: WeakKeyDictionary[ObservedRun, Span] = WeakKeyDictionary()
        self._work: WeakKeyDictionary[ObservedAttempt, _Work] = WeakKeyDictionary()
        self._senders: WeakKeyDictionary[ObservedAttempt, SpanContext] = WeakKeyDictionary()
        """Of attempts that have ended as well, for as long as an event that they sent is pending."""

    def run_started(self, run: ObservedRun) -> None:
        """Begin the span of a run."""
        attributes = {"workflow.name": run.workflow, "workflow.run.id": run.run_id}
        if run.parent_run_id is not None:
            attributes["workflow.run.parent_id"] = run.parent_run_id
        self._runs[run] = self._tracer.start_span(f"run {run.workflow}", attributes=attributes)

    def run_ended(self, run: ObservedRun, end: RunEnd) -> None:
        """End it."""
        span = self._runs.pop(run)
        span.set_attribute("workflow.run.status", end.status)
        _end(span, end.error if end.status in ("failed", "timed_out") else None)

    def attempt_started(self, attempt: ObservedAttempt, sender: ObservedAttempt | None) -> None:
        """Begin the span of an attempt, and make it the current one of the step's body."""
        links = []
        if sender is not None and (sent_by := self._senders.get(sender)) is not None:
            links.append(Link(sent_by, {"workflow.link": "sender"}))
        span = self._tracer.start_span(
            f"step {attempt.step}",
            context=trace.set_span_in_context(self._runs[attempt.run]),
            links=links,
            attributes={
                "workflow.name": attempt.run.workflow,
                "workflow.run.id": attempt.run.run_id,
                "workflow.step.name": attempt.step,
                "workflow.step.delivery": attempt.delivery,
                "workflow.step.attempt": attempt.attempt,
                "workflow.step.worker": attempt.worker,
                "workflow.event.type": _type(attempt.event),
            },
        )
        # Never detached: these are the body's own context variables, which end with it.
        context.attach(trace.set_span_in_context(span))
        self._senders[attempt] = span.get_span_context()
        self._work[attempt] = _Work(span, perf_counter())
        self._active.add(1, _step(attempt))

    def attempt_ended(self, attempt: ObservedAttempt, end: AttemptEnd) -> None:
        """End it, and count it."""
        span, began = self._work.pop(attempt)
        self._active.add(-1, _step(attempt))
        attributes = {**_step(attempt), "workflow.step.status": end.status}
        if end.error is not None:
            attributes["error.type"] = _error_type(end.error)
        within = trace.set_span_in_context(span)  # so that an exemplar of the metric leads to the span
        self._attempts.add(1, attributes, within)
        self._durations.record(perf_counter() - began, attributes, within)
        span.set_attribute("workflow.step.status", end.status)
        if end.output is not None:
            span.set_attribute("workflow.output.type", _type(end.output))
        _end(span, end.error)

    def wait_started(self, attempt: ObservedAttempt, event_type: type) -> None:
        """Note on the span of the attempt that it waits."""
        self._note(attempt, "wait started", event_type)

    def wait_ended(self, attempt: ObservedAttempt, event: object) -> None:
        """Note what it was given, or that it was given nothing."""
        self._note(attempt, "wait ended", None if event is None else type(event))

    def _note(self, attempt: ObservedAttempt, name: str, event_type: type | None) -> None:
        work = self._work.get(attempt)
        if work is not None:
            told = {} if event_type is None else {"workflow.event.type": event_type.__qualname__}
            work.span.add_event(name, told)


def _end(span: Span, error: BaseException | None) -> None:
    try:
        if error is not None:
            span.set_attribute("error.type", _error_type(error))
            span.set_status(Status(StatusCode.ERROR, type(error).__qualname__))
            span.record_exception(error)  # which asks for its text: an exception of the user's may refuse
    finally:
        span.end()


def _step(attempt: ObservedAttempt) -> dict[str, str]:
    return {"workflow.name": attempt.run.workflow, "workflow.step.name": attempt.step}


def _error_type(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _type(value: object) -> str:
    return type(value).__qualname__


__all__ = ("OpenTelemetryObserver",)
