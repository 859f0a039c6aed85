"""Write a graph as text that draws it: Mermaid and DOT.

Steps are boxes, events are rounded nodes between them; what a human reads or answers goes through a node
of its own.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from .._declare.wording import name_of
from .._events import (
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
)
from .levels import handler_of
from .model import Graph

HUMAN = "human"

_KINDS: Mapping[str, type[Event]] = MappingProxyType(
    {"start": StartEvent, "stop": StopEvent, "prompt": InputRequiredEvent, "answer": HumanResponseEvent}
)
"""Events that are drawn in colours of their own."""

COLOURS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "step": ("#e8f0fe", "#3367d6"),
        "event": ("#fff8e1", "#c99700"),
        "start": ("#e6f4ea", "#188038"),
        "stop": ("#fce8e6", "#c5221f"),
        "prompt": ("#f3e8fd", "#8430ce"),
        "answer": ("#f3e8fd", "#8430ce"),
        HUMAN: ("#ffffff", "#8430ce"),
    }
)
"""Fill and line of each kind of node."""


class Node(NamedTuple):
    """A box of a drawing."""

    key: str
    label: str
    kind: str


class Edge(NamedTuple):
    """An arrow of a drawing."""

    source: str
    target: str
    label: str = ""
    """Empty for an event that is simply returned or accepted; others are drawn dashed."""


def nodes_of(graph: Graph) -> Iterator[Node]:
    """Yield what a drawing of *graph* shows."""
    for index, step in enumerate(graph.steps):
        yield Node(f"step{index}", step.name, "step")
    for index, (event, label) in enumerate(zip(graph.events, _labels(graph.events), strict=True)):
        if event is not StepFailedEvent:  # it comes from a step to its handler, which an arrow says
            yield Node(f"event{index}", label, _kind(event))
    if _meets_human(graph):
        yield Node(HUMAN, "human", HUMAN)


def edges_of(graph: Graph) -> Iterator[Edge]:
    """Yield how what it shows belongs together."""
    keys = {event: f"event{index}" for index, event in enumerate(graph.events)}
    for event, key in keys.items():
        for target in graph.targets(event):
            yield Edge(key, f"step{target}", "" if graph.steps[target].joins is None else "list")
    for index, handler in handler_of(graph.steps).items():
        yield Edge(f"step{index}", f"step{handler}", "fails")
    for index, step in enumerate(graph.steps):
        key = f"step{index}"
        yield from (Edge(key, keys[event]) for event in step.bare)
        yield from (Edge(key, keys[event], "list") for event in step.fans_out)
        yield from (Edge(keys[event], key, "waits for") for event in step.waits_for)
    for event, key in keys.items():
        if issubclass(event, InputRequiredEvent):
            yield Edge(key, HUMAN, "asks")
        elif issubclass(event, HumanResponseEvent):
            yield Edge(HUMAN, key, "answers")


def _kind(event: type[Event]) -> str:
    return next((kind for kind, base in _KINDS.items() if issubclass(event, base)), "event")


def _meets_human(graph: Graph) -> bool:
    return any(issubclass(event, InputRequiredEvent | HumanResponseEvent) for event in graph.events)


def _labels(events: tuple[type[Event], ...]) -> list[str]:
    """Return the names of *events*, with their modules where two have the same."""
    names = [name_of(event) for event in events]
    return [
        name if names.count(name) == 1 else f"{event.__module__}.{name}"
        for event, name in zip(events, names, strict=True)
    ]


def _mermaid_shape(node: Node) -> str:
    left, right = {"step": ("[", "]"), HUMAN: ("((", "))")}.get(node.kind, ("([", "])"))
    return f'{left}"{_mermaid_escaped(node.label)}"{right}'


def _mermaid_escaped(text: str) -> str:
    # Mermaid reads labels as Markdown and HTML, and has no escape but a character's number.
    return "".join(
        character if character.isalnum() or character in " ._" else f"#{ord(character)};"
        for character in text
    )


def _dot_quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def to_mermaid(graph: Graph) -> str:
    """Return *graph* as a Mermaid flowchart."""
    nodes = list(nodes_of(graph))
    lines = ["flowchart TD"]
    lines += [f"    {node.key}{_mermaid_shape(node)}" for node in nodes]
    lines += [
        f"    {edge.source} -.->|{edge.label}| {edge.target}"
        if edge.label
        else f"    {edge.source} --> {edge.target}"
        for edge in edges_of(graph)
    ]
    for kind in dict.fromkeys(node.kind for node in nodes):
        fill, line = COLOURS[kind]
        lines.append(f"    classDef {kind}Style fill:{fill},stroke:{line},color:#202124")
        lines.append(f"    class {','.join(node.key for node in nodes if node.kind == kind)} {kind}Style")
    return "\n".join(lines) + "\n"


def to_dot(graph: Graph) -> str:
    """Return *graph* in the language of Graphviz."""
    lines = [
        f"digraph {_dot_quoted(graph.name)} {{",
        '    node [style="filled", fontname="sans-serif"];',
    ]
    for node in nodes_of(graph):
        fill, line = COLOURS[node.kind]
        shape = 'shape="box"' if node.kind == "step" else 'shape="box", style="rounded,filled"'
        if node.kind == HUMAN:
            shape = 'shape="ellipse"'
        lines.append(
            f'    {node.key} [label={_dot_quoted(node.label)}, {shape}, fillcolor="{fill}", color="{line}"];'
        )
    for edge in edges_of(graph):
        look = f' [style="dashed", label={_dot_quoted(edge.label)}]' if edge.label else ""
        lines.append(f"    {edge.source} -> {edge.target}{look};")
    return "\n".join([*lines, "}"]) + "\n"
