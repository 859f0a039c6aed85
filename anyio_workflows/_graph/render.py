"""Write a graph as text that draws it: Mermaid and DOT.

Steps are boxes, events are rounded nodes between them; what a human reads or answers goes through a node
of its own.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from .._declare.wording import name_of
from .._events import Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent
from .model import Graph

_HUMAN = "human"

_KINDS: Mapping[str, type[Event]] = MappingProxyType(
    {"start": StartEvent, "stop": StopEvent, "prompt": InputRequiredEvent, "answer": HumanResponseEvent}
)
"""Events that are drawn in colours of their own."""

_COLOURS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "step": ("#e8f0fe", "#3367d6"),
        "event": ("#fff8e1", "#c99700"),
        "start": ("#e6f4ea", "#188038"),
        "stop": ("#fce8e6", "#c5221f"),
        "prompt": ("#f3e8fd", "#8430ce"),
        "answer": ("#f3e8fd", "#8430ce"),
        _HUMAN: ("#ffffff", "#8430ce"),
    }
)
"""Fill and line of each kind of node."""


class _Node(NamedTuple):
    key: str
    label: str
    kind: str


class _Edge(NamedTuple):
    source: str
    target: str
    label: str = ""
    """Empty for an event that is simply returned or accepted; others are drawn dashed."""


def _nodes(graph: Graph) -> Iterator[_Node]:
    for index, step in enumerate(graph.steps):
        yield _Node(f"step{index}", step.name, "step")
    for index, (event, label) in enumerate(zip(graph.events, _labels(graph.events), strict=True)):
        yield _Node(f"event{index}", label, _kind(event))
    if _meets_human(graph):
        yield _Node(_HUMAN, "human", _HUMAN)


def _edges(graph: Graph) -> Iterator[_Edge]:
    keys = {event: f"event{index}" for index, event in enumerate(graph.events)}
    for event, key in keys.items():
        for target in graph.targets(event):
            yield _Edge(key, f"step{target}")
    for index, step in enumerate(graph.steps):
        for event in step.returns:
            yield _Edge(f"step{index}", keys[event])
        for event in step.waits_for:
            yield _Edge(keys[event], f"step{index}", "waits for")
    for event, key in keys.items():
        if issubclass(event, InputRequiredEvent):
            yield _Edge(key, _HUMAN, "asks")
        elif issubclass(event, HumanResponseEvent):
            yield _Edge(_HUMAN, key, "answers")


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


def _mermaid_shape(node: _Node) -> str:
    left, right = {"step": ("[", "]"), _HUMAN: ("((", "))")}.get(node.kind, ("([", "])"))
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
    nodes = list(_nodes(graph))
    lines = ["flowchart TD"]
    lines += [f"    {node.key}{_mermaid_shape(node)}" for node in nodes]
    lines += [
        f"    {edge.source} -.->|{edge.label}| {edge.target}"
        if edge.label
        else f"    {edge.source} --> {edge.target}"
        for edge in _edges(graph)
    ]
    for kind in dict.fromkeys(node.kind for node in nodes):
        fill, line = _COLOURS[kind]
        lines.append(f"    classDef {kind}Style fill:{fill},stroke:{line},color:#202124")
        lines.append(f"    class {','.join(node.key for node in nodes if node.kind == kind)} {kind}Style")
    return "\n".join(lines) + "\n"


def to_dot(graph: Graph) -> str:
    """Return *graph* in the language of Graphviz."""
    lines = [
        f"digraph {_dot_quoted(graph.name)} {{",
        '    node [style="filled", fontname="sans-serif"];',
    ]
    for node in _nodes(graph):
        fill, line = _COLOURS[node.kind]
        shape = 'shape="box"' if node.kind == "step" else 'shape="box", style="rounded,filled"'
        if node.kind == _HUMAN:
            shape = 'shape="ellipse"'
        lines.append(
            f'    {node.key} [label={_dot_quoted(node.label)}, {shape}, fillcolor="{fill}", color="{line}"];'
        )
    for edge in _edges(graph):
        look = f' [style="dashed", label={_dot_quoted(edge.label)}]' if edge.label else ""
        lines.append(f"    {edge.source} -> {edge.target}{look};")
    return "\n".join([*lines, "}"]) + "\n"
