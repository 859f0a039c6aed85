"""The graph as an SVG image and as a page (S-DEF-5): all of it is there, it is well-formed, and always the same."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from observing import Asking, Splitting

from anyio_workflows import (
    Event,
    Graph,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)
from anyio_workflows._graph.layout import GAP, Box, _downwards, _Layers, _ranks, lay_out

SVG = "{http://www.w3.org/2000/svg}"
NASTY = "<script>alert('x')</script>\x00\x1b\ud800&amp;\"]]>"


class Draft(Event): ...


class Better(Event): ...


class Approval(InputRequiredEvent): ...


class Verdict(HumanResponseEvent): ...


class Writing(Workflow):
    """Has a loop, a human, a wait, and an arrow that passes by others."""

    @step
    async def write(self, ev: StartEvent) -> Draft | StopEvent: ...  # type: ignore[empty-body]

    @step
    async def improve(self, ev: Draft) -> Better | Draft | Approval: ...  # type: ignore[empty-body]

    @step(waits_for=Verdict)
    async def publish(self, ev: Better | Verdict) -> StopEvent: ...  # type: ignore[empty-body]


class Page(HTMLParser):
    """Collects what a page is made of, and fails where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.append(tag)
        self.attributes += attrs

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "title"):
            self.texts.append(data.strip())


def titles(svg: str) -> list[str]:
    """Return what is shown when something is pointed at: of the whole, the arrows, and the boxes."""
    return [title.text or "" for title in ET.fromstring(svg).iter(f"{SVG}title")]


def test_s_def_5_every_step_event_and_arrow_is_in_the_image() -> None:
    svg = Writing().graph.to_svg()
    name, *shown = titles(svg)
    assert name == "Writing"
    assert sorted(shown) == sorted(
        [
            *("write", "improve", "publish", "human"),
            *("StartEvent", "Draft", "Better", "Approval", "Verdict", "StopEvent"),
            *("StartEvent → write", "write → Draft", "write → StopEvent"),
            *("Draft → improve", "improve → Better", "improve → Draft", "improve → Approval"),
            *("Better → publish", "Verdict → publish", "Verdict → publish", "publish → StopEvent"),
            *("Approval → human", "human → Verdict"),
        ]
    )
    root = ET.fromstring(svg)
    written = [text.text for text in root.iter(f"{SVG}text")]
    assert {"waits for", "asks", "answers", "write", "Draft"} <= set(written)
    assert len(list(root.iter(f"{SVG}rect"))) == 10
    assert len(list(root.iter(f"{SVG}path"))) == 13


def test_s_def_5_the_drawing_is_the_same_in_every_process() -> None:
    """Also where hashes of strings are others, so that it can stand in a repository."""
    program = "import sys; sys.path.insert(0, 'tests')\nfrom test_graph_drawing import Writing\nprint(Writing().graph.to_html())"
    drawn = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ".:" + ":".join(sys.path)},
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert drawn == {Writing().graph.to_html().encode() + b"\n"}


def nasty_graph() -> Graph:
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent: ...  # type: ignore[empty-body]

    flow = Flow(workflow_name=NASTY)
    (declared,) = flow.graph.steps
    object.__setattr__(declared, "name", NASTY)
    return flow.graph


def test_s_def_5_a_name_that_is_markup_or_no_text_at_all_is_shown_as_text() -> None:
    graph = nasty_graph()
    shown = "<script>alert('x')</script>\ufffd\ufffd\ufffd&amp;\"]]>"
    assert titles(graph.to_svg())[0] == shown
    assert shown in titles(graph.to_svg())
    page = Page(graph.to_html())
    assert "script" not in page.tags
    assert page.texts.count(shown) >= 2
    graph.to_html().encode()


def test_s_def_5_the_page_has_the_image_and_a_row_for_each_step_and_loads_nothing() -> None:
    text = Writing().graph.to_html()
    page = Page(text)
    ET.fromstring(text.removeprefix("<!DOCTYPE html>"))
    assert page.tags.count("svg") == 1
    assert page.tags.count("tr") == 4
    assert {"improve", "Better, Draft, Approval", "Better, Verdict"} <= set(page.texts)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not {"src", "href", "onload", "onclick"} & {name for name, _ in page.attributes}
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


def test_s_def_5_a_notebook_shows_the_image_and_a_terminal_a_line_for_each_step() -> None:
    workflow = Writing()
    shown = workflow._repr_mimebundle_(include=None, exclude=None)
    assert shown == workflow.graph._repr_mimebundle_()
    assert shown == {
        "image/svg+xml": workflow.graph.to_svg(),
        "text/plain": "Writing\n"
        "    write: StartEvent -> Draft | StopEvent\n"
        "    improve: Draft -> Better | Draft | Approval\n"
        "    publish: Better | Verdict -> StopEvent (waits for Verdict)",
    }


@pytest.mark.parametrize("workflow", [Splitting, Asking, Writing])
def test_s_def_5_boxes_do_not_touch_and_are_within_the_image(workflow: type[Workflow]) -> None:
    root = ET.fromstring(workflow().graph.to_svg())
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    boxes = [
        tuple(float(box.attrib[name]) for name in ("x", "y", "width", "height"))
        for box in root.iter(f"{SVG}rect")
    ]
    for index, (x, y, w, h) in enumerate(boxes):
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height  # noqa: PT018
        for x2, y2, w2, h2 in boxes[index + 1 :]:
            assert x + w < x2 or x2 + w2 < x or y + h < y2 or y2 + h2 < y


# --- the layout alone


def rows(centres: Iterable[tuple[str, tuple[float, float]]]) -> list[list[str]]:
    """Return the keys of the boxes, row by row."""
    found: dict[float, list[tuple[float, str]]] = {}
    for key, (x, y) in centres:
        found.setdefault(y, []).append((x, key))
    return [[key for _, key in sorted(found[y])] for y in sorted(found)]


def test_a_layout_puts_a_box_below_all_that_lead_to_it_and_orders_rows_so_that_arrows_do_not_cross() -> None:
    boxes = [Box(key, 40, 20) for key in "abcdef"]
    layout = lay_out(
        boxes, [("a", "b"), ("a", "c"), ("b", "e"), ("c", "d"), ("e", "f"), ("d", "f"), ("a", "f")]
    )
    first, second, third, last = rows(layout.centres.items())
    assert (first, last) == (["a"], ["f"])
    assert (second, third) in [(["b", "c"], ["e", "d"]), (["c", "b"], ["d", "e"])]


def test_a_layout_draws_the_arrow_that_closes_a_loop_upwards() -> None:
    layout = lay_out([Box(key, 40, 20) for key in "abc"], [("a", "b"), ("b", "c"), ("c", "b")])
    assert rows(layout.centres.items()) == [["a"], ["b"], ["c"]]
    down, back = layout.routes[1], layout.routes[2]
    assert down[0].y < down[-1].y
    assert back[0].y > back[-1].y
    assert down[0].x != back[-1].x, "one is not on top of the other"


def test_a_layout_of_nothing_is_empty() -> None:
    assert lay_out([], []).centres == {}


arrows = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda ends: ends[0] != ends[1]), max_size=30
)


@given(st.lists(st.floats(10, 200), min_size=10, max_size=10), arrows)
def test_a_layout_of_any_graph_keeps_boxes_apart_and_arrows_between_their_ends(
    widths: list[float], given_arrows: list[tuple[int, int]]
) -> None:
    boxes = [Box(str(index), width, 20) for index, width in enumerate(widths)]
    ends = [(str(source), str(target)) for source, target in given_arrows]
    layout = lay_out(boxes, ends)
    size = {box.key: box.width for box in boxes}
    for row in rows(layout.centres.items()):
        for left, right in pairwise(row):
            room = layout.centres[right].x - layout.centres[left].x
            assert room >= (size[left] + size[right]) / 2 + GAP - 1e-6
    for (source, target), route in zip(ends, layout.routes, strict=True):
        for key, end in ((source, route[0]), (target, route[-1])):
            assert abs(end.x - layout.centres[key].x) <= size[key] / 2
            assert abs(abs(end.y - layout.centres[key].y) - 10) < 1e-6
    assert all(0 <= x <= layout.width and 0 <= y <= layout.height for x, y in layout.centres.values())
    assert layout == lay_out(boxes, ends)


@given(arrows)
def test_ordering_the_rows_never_makes_more_arrows_cross(given_arrows: list[tuple[int, int]]) -> None:
    turned = _downwards(10, given_arrows)
    layers = _Layers(_ranks(10, turned), turned)
    before = layers._crossings()
    layers.order()
    assert layers._crossings() <= before
