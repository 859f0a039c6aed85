"""Spans and metrics: the right parents, across tasks and threads, on every event loop."""

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from observing import Answer, Asking, Piece, Question, Splitting
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from running import Crowd, Failing, Held, Work

from anyio_workflows import Context, StartEvent, StopEvent, Workflow, WorkflowTimeoutError, step
from anyio_workflows.otel import OpenTelemetryObserver


class Telemetry:
    """An observer with an SDK that keeps everything in memory."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.tracer = provider.get_tracer("tests")
        self.observer = OpenTelemetryObserver(provider, self.meters)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    def parent_of(self, span: ReadableSpan) -> str | None:
        if span.parent is None:
            return None
        return next(other.name for other in self.spans if _id(other) == span.parent.span_id)

    def senders_of(self, span: ReadableSpan) -> list[str]:
        ids = [link.context.span_id for link in span.links]
        return [other.name for other in self.spans if _id(other) in ids]

    def points(self, metric: str) -> dict[tuple[str, str | None, str | None], Any]:
        """Return the points of a metric by step, status and type of error."""
        data: Any = self.reader.get_metrics_data()
        metrics = [
            each
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for each in scope.metrics
        ]
        names = ("workflow.step.name", "workflow.step.status", "error.type")
        return {
            tuple(map(point.attributes.get, names)): point
            for each in metrics
            if each.name == metric
            for point in each.data.data_points
        }


def _id(span: ReadableSpan) -> int:
    return span.get_span_context().span_id  # type: ignore[union-attr]  # it was recorded


async def test_each_attempt_is_a_span_below_that_of_its_run_with_a_link_to_its_sender() -> None:
    telemetry = Telemetry()
    with anyio.fail_after(5):
        await Splitting(observers=[telemetry.observer]).run(run_id="r")
    assert [span.name for span in telemetry.spans] == [
        "step split",
        "step join",
        "step join",
        "run Splitting",
    ]
    assert [telemetry.parent_of(span) for span in telemetry.spans] == ["run Splitting"] * 3 + [None]
    assert [telemetry.senders_of(span) for span in telemetry.spans] == [
        [],
        ["step split"],
        ["step split"],
        [],
    ]


async def test_spans_say_what_was_done_in_names_of_the_workflow() -> None:
    telemetry = Telemetry()
    with anyio.fail_after(5):
        await Splitting(observers=[telemetry.observer]).run(run_id="r")
    assert dict(telemetry.named("step join")[1].attributes or {}) == {
        "workflow.name": "Splitting",
        "workflow.run.id": "r",
        "workflow.step.name": "join",
        "workflow.step.delivery": 3,
        "workflow.step.attempt": 1,
        "workflow.step.worker": 1,
        "workflow.event.type": "Piece",
        "workflow.step.status": "completed",
        "workflow.output.type": "StopEvent",
    }
    assert dict(telemetry.one("run Splitting").attributes or {}) == {
        "workflow.name": "Splitting",
        "workflow.run.id": "r",
        "workflow.run.status": "completed",
    }


class Spanning(Workflow):
    """Opens spans in its steps: in their own task, in a child task, under a timeout, and in a thread."""

    def __init__(self, telemetry: Telemetry) -> None:
        super().__init__(observers=[telemetry.observer])
        self.tracer = telemetry.tracer

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Work:
        for number in range(3):
            ctx.send_event(Work(number=number + 1))
        with self.tracer.start_as_current_span("in begin"):
            await checkpoint()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._child)
        return Work()

    async def _child(self) -> None:
        with self.tracer.start_as_current_span("in a child task"):
            await checkpoint()

    @step(timeout=5)
    async def beside(self, ctx: Context, ev: Work) -> Piece | None:
        with self.tracer.start_as_current_span(f"in beside {ev.number}"):
            await checkpoint()
        return Piece(number=0) if ctx.collect_events(ev, [Work] * 4) else None

    @step
    def in_a_thread(self, ev: Piece) -> StopEvent:
        with self.tracer.start_as_current_span("in a thread"):
            return StopEvent()


async def test_spans_of_a_step_are_below_its_attempt_also_in_child_tasks_and_threads() -> None:
    telemetry = Telemetry()
    with anyio.fail_after(5):
        await Spanning(telemetry).run()
    parents = {
        name: telemetry.parent_of(telemetry.one(name))
        for name in ("in begin", "in a child task", "in a thread")
    }
    assert parents == {
        "in begin": "step begin",
        "in a child task": "in begin",
        "in a thread": "step in_a_thread",
    }
    beside = [telemetry.one(f"in beside {number}") for number in range(4)]
    assert [telemetry.parent_of(span) for span in beside] == ["step beside"] * 4
    assert len({span.parent.span_id for span in beside if span.parent is not None}) == 4


async def test_a_run_is_below_the_span_that_was_current_where_it_was_started_which_is_current_again() -> None:
    telemetry = Telemetry()
    with anyio.fail_after(5), telemetry.tracer.start_as_current_span("request") as request:
        await Splitting(observers=[telemetry.observer]).run()
        assert trace.get_current_span() is request
    assert telemetry.parent_of(telemetry.one("run Splitting")) == "request"


class Nesting(Workflow):
    @step
    async def nest(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=await ev.inner.run())


async def test_a_nested_run_is_below_the_attempt_that_awaits_it() -> None:
    telemetry = Telemetry()
    with anyio.fail_after(5):
        await Nesting(observers=[telemetry.observer]).run(inner=Splitting(observers=[telemetry.observer]))
    assert telemetry.parent_of(telemetry.one("run Splitting")) == "step nest"


async def test_an_error_is_on_the_span_of_its_attempt_and_of_its_run() -> None:
    telemetry = Telemetry()
    with anyio.fail_after(5), pytest.raises(ValueError, match="no"):
        await Failing(observers=[telemetry.observer]).run(error=ValueError("no"))
    for name in ("step fail", "run Failing"):
        span = telemetry.one(name)
        assert span.status.status_code is StatusCode.ERROR
        assert [(event.name, (event.attributes or {})["exception.message"]) for event in span.events] == [
            ("exception", "no")
        ]
        assert (span.attributes or {})["error.type"] == "ValueError"


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even that")


async def test_a_span_ends_also_if_its_error_refuses_to_be_told() -> None:
    telemetry = Telemetry()
    with anyio.fail_after(5), pytest.raises(Mute):
        await Failing(observers=[telemetry.observer]).run(error=Mute())
    assert [(span.name, span.status.status_code) for span in telemetry.spans] == [
        ("step fail", StatusCode.ERROR),
        ("run Failing", StatusCode.ERROR),
    ]


async def test_what_was_cancelled_is_no_error() -> None:
    telemetry = Telemetry()
    with anyio.fail_after(5):
        workflow = Held(observers=[telemetry.observer])
        async with workflow.run() as handler:
            await workflow.begun.wait()
            await handler.cancel_run()
    assert [(span.name, span.status.status_code) for span in telemetry.spans] == [
        ("step hold", StatusCode.UNSET),
        ("run Held", StatusCode.UNSET),
    ]


async def test_a_run_that_takes_too_long_is_an_error_and_its_attempt_is_not() -> None:
    telemetry = Telemetry()
    with anyio.fail_after(5), pytest.raises(WorkflowTimeoutError):
        await Held(observers=[telemetry.observer]).run(timeout=0.001)
    assert [span.status.status_code for span in telemetry.spans] == [StatusCode.UNSET, StatusCode.ERROR]


async def test_waits_are_events_on_the_span_of_the_attempt() -> None:
    telemetry = Telemetry()
    with anyio.fail_after(5):
        async with Asking(observers=[telemetry.observer]).run() as handler:
            async for event in handler.stream_events():
                if isinstance(event, Question):
                    handler.send_event(Answer())
    events = telemetry.one("step ask").events
    assert [(event.name, dict(event.attributes or {})) for event in events] == [
        ("wait started", {"workflow.event.type": "Answer"}),
        ("wait ended", {"workflow.event.type": "Answer"}),
    ]


async def test_metrics_count_attempts_measure_them_and_know_how_many_are_in_work() -> None:
    telemetry = Telemetry()

    async def fail(_: Context) -> StopEvent:
        active = {step: point.value for (step, *_), point in telemetry.points("workflow.step.active").items()}
        assert active == {"begin": 1, "stay": 3}
        raise ValueError("no")

    with anyio.fail_after(5), pytest.raises(ValueError, match="no"):
        await Crowd(fail, observers=[telemetry.observer]).run()
    attempts = telemetry.points("workflow.step.attempts")
    assert {key: point.value for key, point in attempts.items()} == {
        ("begin", "failed", "ValueError"): 1,
        ("stay", "cancelled", None): 3,
    }
    durations = telemetry.points("workflow.step.duration")
    assert {key: point.count for key, point in durations.items()} == {
        ("begin", "failed", "ValueError"): 1,
        ("stay", "cancelled", None): 3,
    }
    assert all(point.min >= 0 for point in durations.values())
    assert {point.value for point in telemetry.points("workflow.step.active").values()} == {0}


async def test_nothing_is_kept_of_runs_that_have_ended() -> None:
    """An observer lives as long as its process."""
    telemetry = Telemetry()
    with anyio.fail_after(5):
        await Splitting(observers=[telemetry.observer]).run()
    observer: Any = telemetry.observer
    assert [len(kept) for kept in (observer._runs, observer._work, observer._senders)] == [0, 0, 0]


async def test_without_an_sdk_it_does_nothing_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    with anyio.fail_after(5):
        assert await Splitting(observers=[OpenTelemetryObserver()]).run() == [1, 2]
    assert caplog.records == []
