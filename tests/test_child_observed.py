"""Who watches a run sees what it is made of: its children, with the right parents, and a human at the command line."""

import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import anyio
import attrs
import pytest
from nesting import Answer, Asking, Saying, asked
from observing import Notes
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from running import Calling

from anyio_workflows import Context, Workflow, WorkflowCheckpointer
from anyio_workflows.abc import ObservedRun, Observer
from anyio_workflows.cli import main
from anyio_workflows.otel import OpenTelemetryObserver
from anyio_workflows.trace import TraceRecorder


@attrs.define(eq=False)
class Runs(Observer):
    """Notes the runs that were started."""

    runs: list[ObservedRun] = attrs.field(factory=list)

    def run_started(self, run: ObservedRun) -> None:
        self.runs.append(run)


def family() -> Workflow:
    async def say(ctx: Context) -> str:
        result = await ctx.run_child(Saying(), who="deep")
        return str(result.text)

    middle = Calling(say)
    return Calling(lambda ctx: ctx.run_child(middle))


checkpoints = pytest.mark.parametrize("options", [{}, {"checkpoints": True}], ids=["plain", "recorded"])


@checkpoints
async def test_child_is_told_of_to_the_observers_of_its_parent_with_that_as_its_parent(options: Any) -> None:
    seen = Runs()
    with anyio.fail_after(5):
        await family().run(run_id="r", observers=[seen], **options)
    top, middle, inner = seen.runs
    assert (top.run_id, top.parent_run_id) == ("r", None)
    assert middle.parent_run_id == "r"
    assert inner.parent_run_id == middle.run_id
    assert inner.workflow == "Saying"


async def test_child_has_observers_of_its_own_whom_its_parent_does_not_know() -> None:
    """They are told of its attempts also if nobody watches the parent."""
    own, notes = Notes(), Notes()
    child = Saying(observers=[own])
    with anyio.fail_after(5):
        await Calling(lambda ctx: ctx.run_child(child)).run()
        assert "say started, by outside" in own.lines
        await Calling(lambda ctx: ctx.run_child(child)).run(observers=[notes])
    assert [line for line in own.lines if line.startswith("run of")] == [
        "run of Saying started",
        "run of Saying completed",
    ] * 2
    assert "run of Calling completed" in notes.lines
    assert "run of Saying completed" in notes.lines


async def test_child_that_ended_in_an_earlier_attempt_is_not_told_of_again() -> None:
    seen = Runs()

    async def body(ctx: Context) -> Any:
        await ctx.run_child(Saying(), who="once")
        return await ctx.run_child(Asking())

    checkpointer = WorkflowCheckpointer(workflow=Calling(body))
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            await asked(handler, 1)
            checkpoint = handler.checkpoint()
            await handler.cancel_run()
        async with checkpointer.run_from(checkpoint, observers=[seen]) as handler:
            await asked(handler, 1)
            handler.send_event(Answer())
    assert [run.workflow for run in seen.runs] == ["Calling", "Asking"]


@checkpoints
async def test_child_has_its_span_in_that_of_the_attempt_that_runs_it(options: Any) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with anyio.fail_after(5):
        await family().run(observers=[OpenTelemetryObserver(tracer_provider=provider)], **options)
    spans = {span.context.span_id: span for span in exporter.get_finished_spans() if span.context}
    inner = next(span for span in spans.values() if span.name == "step say")
    path = []
    span: Any = inner
    while span is not None:
        path.append(span.name)
        span = spans[span.parent.span_id] if span.parent else None
    assert path == [
        "step say",
        "run Saying",
        "step call",
        "run Calling",
        "step call",
        "run Calling",
    ]


async def test_child_has_a_timeline_of_its_own_in_a_trace() -> None:
    recorder = TraceRecorder()
    with anyio.fail_after(5):
        await family().run(run_id="r", observers=[recorder])
    assert len(recorder.run_ids) == 3
    page = recorder.to_html()
    assert all(run_id in page for run_id in recorder.run_ids)


async def test_child_of_a_verbose_parent_tells_the_stream_of_its_steps_and_not_the_log_of_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    with anyio.fail_after(5):
        await Calling(lambda ctx: ctx.run_child(Saying()), verbose=True).run()
    assert "Calling: step call begins" in caplog.text
    assert "Saying" not in caplog.text


FLOW = dedent(
    """
    from anyio_workflows import (
        Context, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent, Workflow, step,
    )

    class Asking(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            question = InputRequiredEvent(prefix="Your name? ")
            answer = await ctx.wait_for_event(HumanResponseEvent, waiter_event=question)
            return StopEvent(result=f"Hello, {answer.response}!")

    class Parent(Workflow):
        @step
        async def call(self, ctx: Context, ev: StartEvent) -> StopEvent:
            return StopEvent(result=await ctx.run_child(Asking()))
    """
)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("more", [[], ["--store", "runs.db"]], ids=["plain", "stored"])
def test_child_asks_the_human_at_the_command_line(
    backend: str,
    more: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "nested_flow.py").write_text(FLOW)
    (tmp_path / "typed").write_text("Zoë\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    with (tmp_path / "typed").open() as typed:
        monkeypatch.setattr(sys, "stdin", typed)
        code = main(["run", "nested_flow:Parent", "--backend", backend, *more])
    sys.modules.pop("nested_flow", None)
    printed = capsys.readouterr()
    assert (code, printed.out) == (0, "Hello, Zoë!\n"), printed.err
    assert "Your name? " in printed.err
