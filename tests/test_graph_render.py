"""The graph as Mermaid and DOT text (S-DEF-5)."""

import re

import pytest

from anyio_workflows._declare.step import catch_error, step
from anyio_workflows._declare.workflow import DeclaredWorkflow
from anyio_workflows._events import (
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
)
from anyio_workflows._graph.model import Graph, build_graph
from anyio_workflows._graph.render import to_dot, to_mermaid


class Query(Event): ...


class Prompt(InputRequiredEvent): ...


class Reply(HumanResponseEvent): ...


class Flow(DeclaredWorkflow):
    @step
    async def ask(self, ev: StartEvent) -> Query | Prompt: ...  # type: ignore[empty-body]

    @step(waits_for=Reply)
    async def answer(self, ev: Query) -> StopEvent: ...  # type: ignore[empty-body]


def graph_of(workflow: type[DeclaredWorkflow]) -> Graph:
    return build_graph(workflow.__name__, workflow.step_declarations())


def arrows(text: str, kind: str) -> set[tuple[str, str]]:
    """Return the arrows drawn in *text* by the labels of their ends."""
    node = {
        "mermaid": r'^ +(\w+)[\[(]+"(.*?)"[\])]+$',
        "dot": r'^ +(\w+) \[label="(.*?)"',
    }[kind]
    edge = {
        "mermaid": r"^ +(\w+) (?:-->|-\.->\|[a-z ]+\|) (\w+)$",
        "dot": r"^ +(\w+) -> (\w+)",
    }[kind]
    labels = dict(re.findall(node, text, re.MULTILINE))
    return {(labels[source], labels[target]) for source, target in re.findall(edge, text, re.MULTILINE)}


@pytest.mark.parametrize("kind", ["mermaid", "dot"])
def test_s_def_5_the_drawing_shows_every_way_of_an_event(kind: str) -> None:
    text = {"mermaid": to_mermaid, "dot": to_dot}[kind](graph_of(Flow))
    assert arrows(text, kind) == {
        ("StartEvent", "ask"),
        ("ask", "Query"),
        ("ask", "Prompt"),
        ("Prompt", "human"),
        ("human", "Reply"),
        ("Reply", "answer"),
        ("Query", "answer"),
        ("answer", "StopEvent"),
    }


def test_s_def_5_a_small_graph_reads_well_as_mermaid() -> None:
    class Small(DeclaredWorkflow):
        @step
        async def work(self, ev: StartEvent) -> StopEvent: ...  # type: ignore[empty-body]

    assert to_mermaid(graph_of(Small)).splitlines()[:6] == [
        "flowchart TD",
        '    step0["work"]',
        '    event0(["StartEvent"])',
        '    event1(["StopEvent"])',
        "    event0 --> step0",
        "    step0 --> event1",
    ]


def test_s_def_5_a_small_graph_reads_well_as_dot() -> None:
    class Small(DeclaredWorkflow):
        @step
        async def work(self, ev: StartEvent) -> StopEvent: ...  # type: ignore[empty-body]

    first, *_, last = to_dot(graph_of(Small)).splitlines()
    assert (first, last) == ('digraph "Small" {', "}")
    assert "    event0 -> step0;" in to_dot(graph_of(Small))
    assert "human" not in to_dot(graph_of(Small))


def test_s_def_5_names_are_escaped() -> None:
    async def work(self: object, ev: StartEvent) -> StopEvent | None: ...

    odd = 'a"]; <b> \\ #\n'
    work.__name__ = odd
    work.__qualname__ = "Flow.work"

    class Odd(DeclaredWorkflow): ...

    setattr(Odd, odd, step(work))
    mermaid = to_mermaid(graph_of(Odd))
    assert '    step0["a#34;#93;#59; #60;b#62; #92; #35;#10;"]' in mermaid.splitlines()
    dot = to_dot(build_graph('quote " here', Odd.step_declarations()))
    assert 'digraph "quote \\" here" {' in dot
    assert 'label="a\\"]; <b> \\\\ #\\n"' in dot


def test_s_def_5_events_of_one_name_are_told_apart_by_their_modules() -> None:
    other = type("Query", (Event,), {"__module__": "elsewhere", "__qualname__": "Query"})

    class Twins(DeclaredWorkflow):
        @step
        async def start(self, ev: StartEvent) -> Query: ...  # type: ignore[empty-body]

        @step
        async def work(self, ev: "Query | other") -> "other | StopEvent": ...  # type: ignore[valid-type]

    labels = re.findall(r'\(\["(.*)"\]\)', to_mermaid(graph_of(Twins)))
    assert labels == ["StartEvent", f"{__name__}.Query", "elsewhere.Query", "StopEvent"]


class Handled(DeclaredWorkflow):
    @step
    async def split(self, ev: StartEvent) -> list[Query] | StopEvent: ...  # type: ignore[empty-body]

    @step
    async def join(self, evs: list[Query]) -> StopEvent: ...  # type: ignore[empty-body]

    @catch_error(for_steps=["split"])
    async def handle(self, ev: StepFailedEvent) -> StopEvent: ...  # type: ignore[empty-body]


def test_s_def_5_lists_and_handlers_are_drawn_with_their_names() -> None:
    """No event is drawn for a failure: it goes from a step to its handler and nowhere else."""
    graph = graph_of(Handled)
    text = to_mermaid(graph)
    assert "StepFailedEvent" not in text + to_dot(graph)
    assert [line.strip() for line in text.splitlines() if "-.->" in line] == [
        "event1 -.->|list| step1",
        "step0 -.->|fails| step2",
        "step0 -.->|list| event1",
    ]
