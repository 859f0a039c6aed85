"""A recorded run as a page: which step ran when, at what, in which worker, and what came of it."""

import re
import xml.etree.ElementTree as ET
from typing import Any

import anyio
import pytest
from observing import Answer, Piece, Question
from running import Echo, Held
from test_graph_drawing import NASTY, SVG, Page
from virtual_time import both_backends, run_virtually

from anyio_workflows import (
    Context,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCheckpointer,
    WorkflowRuntimeError,
    step,
)
from anyio_workflows.abc import AttemptEnd, ObservedAttempt, ObservedRun
from anyio_workflows.trace import TraceRecorder


class Timed(Workflow):
    """Takes its time: two workers for three pieces, then a question, then a failure."""

    @step
    async def split(self, ctx: Context, ev: StartEvent) -> Piece | None:
        for number in range(3):
            ctx.send_event(Piece(number=number))
        return None

    @step(num_workers=2)
    async def work(self, ctx: Context, ev: Piece) -> StopEvent | None:
        await anyio.sleep(2 + ev.number)
        if ctx.collect_events(ev, [Piece] * 3) is None:
            return None
        await ctx.wait_for_event(Answer, waiter_event=Question())
        raise ValueError(NASTY)


async def record_timed() -> TraceRecorder:
    recorder = TraceRecorder()
    with pytest.raises(ValueError, match="script"):
        async with Timed(observers=[recorder]).run(run_id="r") as handler:
            async for event in handler.stream_events():
                if isinstance(event, Question):
                    await anyio.sleep(4)
                    handler.send_event(Answer())
    return recorder


def table_rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the table below *heading*."""
    body = text.split(f"<h3>{heading}</h3>")[1]
    body = body[body.index("<table>") : body.index("</table>") + len("</table>")]
    return [["".join(cell.itertext()) for cell in row] for row in ET.fromstring(body)][1:]


def drawing(text: str) -> ET.Element:
    return ET.fromstring(text[text.index("<svg") : text.index("</svg>") + len("</svg>")])


@both_backends
def test_the_table_says_when_each_attempt_began_what_it_waited_for_and_how_long_it_took(backend: str) -> None:
    text = run_virtually(record_timed, backend).to_html()
    shown = [
        (row[0], row[1], row[3], row[4], row[5], row[6], row[7], row[8], row[9])
        for row in table_rows(text, "Attempts")
    ]
    assert shown == [
        ("0.000", "split", "1", "StartEvent()", "outside", "0.000", "0.000", "", "completed"),
        ("0.000", "work", shown[1][2], "Piece(number=0)", "split", "0.000", "2.000", "", "completed"),
        ("0.000", "work", shown[2][2], "Piece(number=1)", "split", "0.000", "3.000", "", "completed"),
        (
            "2.000",
            "work",
            shown[1][2],
            "Piece(number=2)",
            "split",
            "2.000",
            "8.000",
            "Answer for 4.000",
            "failed",
        ),
    ]
    assert {shown[1][2], shown[2][2]} == {"1", "2"}


@both_backends
def test_the_timeline_has_a_bar_for_each_attempt_at_its_time_in_the_row_of_its_worker(backend: str) -> None:
    text = run_virtually(record_timed, backend).to_html()
    bars = [
        (group.attrib["class"], [float(group[1].attrib[name]) for name in ("x", "width", "y")])
        for group in drawing(text).iter(f"{SVG}g")
    ]
    assert [kind for kind, _ in bars] == ["attempt completed"] * 3 + ["attempt failed"]
    # 84 units are for the names of the rows, and 1,000 for ten seconds.
    assert [place[:2] for _, place in bars] == [[84, 2], [84, 200], [84, 300], [284, 800]]
    assert bars[1][1][2] == bars[3][1][2] != bars[2][1][2]


@both_backends
def test_moments_are_what_came_from_outside_and_what_went_to_the_stream(backend: str) -> None:
    text = run_virtually(record_timed, backend).to_html()
    assert [(row[0], row[1], row[2].partition("(")[0]) for row in table_rows(text, "Moments")] == [
        ("0.000", "from outside", "StartEvent"),
        ("6.000", "to the stream", "Question"),
        ("6.000", "the engine says", "WorkflowIdleEvent"),
        ("10.000", "from outside", "Answer"),
        ("10.000", "to the stream", "WorkflowFailedEvent"),
    ]
    assert len(list(drawing(text).iter(f"{SVG}circle"))) == 5


@both_backends
def test_what_users_have_made_is_text_on_the_page_and_nothing_is_loaded(backend: str) -> None:
    text = run_virtually(record_timed, backend).to_html()
    page = Page(text)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not {"src", "href", "onload", "onclick"} & {name for name, _ in page.attributes}
    assert sum("<script>alert(" in shown for shown in page.texts) >= 2
    text.encode()


async def test_names_and_ids_are_escaped_as_well() -> None:
    recorder = TraceRecorder()
    with anyio.fail_after(5):
        await Echo(workflow_name=NASTY, observers=[recorder]).run(run_id=NASTY, value=NASTY)
    text = recorder.to_html()
    assert "script" not in Page(text).tags
    ET.fromstring(text.removeprefix("<!DOCTYPE html>"))


async def test_the_page_is_the_same_each_time_it_is_asked_for() -> None:
    with anyio.fail_after(5):
        recorder = TraceRecorder()
        await Echo(observers=[recorder]).run()
    assert recorder.to_html() == recorder.to_html()


def observed(attempt: int, run: ObservedRun) -> ObservedAttempt:
    return ObservedAttempt(run=run, step="flaky", delivery=7, attempt=attempt, event=StartEvent(), worker=1)


@both_backends
def test_the_time_until_a_step_is_tried_again_is_seen(backend: str) -> None:
    recorder = TraceRecorder()
    run = ObservedRun(run_id="r", workflow="Flow", parent_run_id=None)

    async def main() -> None:
        recorder.run_started(run)
        for number in (1, 2):
            attempt = observed(number, run)
            recorder.attempt_started(attempt, None)
            await anyio.sleep(1)
            recorder.attempt_ended(attempt, AttemptEnd(status="failed", error=ValueError("no")))
            await anyio.sleep(3)

    run_virtually(main, backend)
    text = recorder.to_html()
    assert [(row[0], row[2], row[6], row[9], row[10]) for row in table_rows(text, "Attempts")] == [
        ("0.000", "1", "0.000", "failed", "ValueError('no')"),
        ("4.000", "2", "3.000", "failed", "ValueError('no')"),
    ]
    (line,) = [each for each in drawing(text).iter(f"{SVG}line") if "stroke-dasharray" in each.attrib]
    assert float(line.attrib["x2"]) - float(line.attrib["x1"]) == pytest.approx(1000 * 3 / 5)
    assert "under way" in text


async def test_a_run_that_is_under_way_can_be_looked_at() -> None:
    recorder, workflow = TraceRecorder(), Held()
    with anyio.fail_after(5):
        async with workflow.run(observers=[recorder]):
            await workflow.begun.wait()
            text = recorder.to_html()
            workflow.gate.set()
    assert [row[9] for row in table_rows(text, "Attempts")] == ["in work"]
    assert "under way" in text
    assert [row[9] for row in table_rows(recorder.to_html(), "Attempts")] == ["completed"]


async def test_checkpoints_are_moments_too() -> None:
    recorder = TraceRecorder()
    with anyio.fail_after(5):
        await WorkflowCheckpointer(workflow=Echo(observers=[recorder])).run(run_id="r")
    shown = [row[1:] for row in table_rows(recorder.to_html(), "Moments")]
    assert ["checkpoint", "r/1, after echo"] in shown


async def test_it_has_several_runs_and_shows_the_one_that_is_asked_for() -> None:
    recorder = TraceRecorder(most_runs=2)
    with anyio.fail_after(5):
        for run_id in "abc":
            await Echo(observers=[recorder]).run(run_id=run_id)
    assert recorder.run_ids == ("b", "c")
    assert re.findall(r"<h2>Echo, run (\w)</h2>", recorder.to_html()) == ["b", "c"]
    assert re.findall(r"<h2>Echo, run (\w)</h2>", recorder.to_html("b")) == ["b"]
    with pytest.raises(WorkflowRuntimeError, match="has no run 'a'"):
        recorder.to_html("a")


def test_without_a_run_there_is_a_page_all_the_same() -> None:
    assert "<h1>No runs</h1>" in TraceRecorder().to_html()


async def test_what_there_is_no_room_for_is_counted() -> None:
    recorder = TraceRecorder(most_entries=1)
    with anyio.fail_after(5), pytest.raises(ValueError, match="script"):
        async with Quick(observers=[recorder]).run():
            pass
    assert len(table_rows(recorder.to_html(), "Attempts")) == 1
    assert "2 further attempts and moments were not recorded" in recorder.to_html()


class Quick(Workflow):
    @step
    async def first(self, ev: StartEvent) -> Piece:
        return Piece(number=1)

    @step
    async def second(self, ev: Piece) -> StopEvent:
        raise ValueError(NASTY)


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, None])
def test_a_wrong_number_is_refused(wrong: Any) -> None:
    with pytest.raises(WorkflowRuntimeError, match="most_runs="):
        TraceRecorder(most_runs=wrong)
    with pytest.raises(WorkflowRuntimeError, match="most_entries="):
        TraceRecorder(most_entries=wrong)
