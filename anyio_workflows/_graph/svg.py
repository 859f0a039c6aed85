"""Draw a graph as SVG: one element that needs no script, no style and no font of its own."""

import itertools
from typing import NamedTuple

from .._markup import escaped, number, shortened, width_of
from .layout import Box, Point, lay_out
from .model import Graph
from .render import COLOURS, HUMAN, Edge, Node, edges_of, nodes_of

_FONT_SIZE = 13
_HEIGHT = 34.0
_PADDING = 14.0
"""Units left and right of a label."""

_MOST_CHARACTERS = 48
"""Of a label; the whole of it is shown when it is pointed at."""

_LINE = "#5f6368"
"""Colour of arrows: seen on a dark ground as well."""

_ARROW_LENGTH, _ARROW_WIDTH = 7.0, 4.0


class _Drawn(NamedTuple):
    node: Node
    box: Box
    label: str


def _drawn(node: Node) -> _Drawn:
    label = shortened(node.label, _MOST_CHARACTERS)
    return _Drawn(node, Box(node.key, width_of(label, _FONT_SIZE) + 2 * _PADDING, _HEIGHT), label)


def _rectangle(drawn: _Drawn, centre: Point) -> str:
    _, width, height = drawn.box
    fill, line = COLOURS[drawn.node.kind]
    radius = 3.0 if drawn.node.kind == "step" else height / 2
    dashes = ' stroke-dasharray="4 3"' if drawn.node.kind == HUMAN else ""
    return (
        f'<rect x="{number(centre.x - width / 2)}" y="{number(centre.y - height / 2)}" width="{number(width)}" '
        f'height="{number(height)}" rx="{number(radius)}" fill="{fill}" stroke="{line}"{dashes}/>'
    )


def _node(drawn: _Drawn, centre: Point) -> str:
    text = (
        f'<text x="{number(centre.x)}" y="{number(centre.y)}" text-anchor="middle" '
        f'dominant-baseline="central" fill="#202124">{escaped(drawn.label)}</text>'
    )
    return f"<g><title>{escaped(drawn.node.label)}</title>{_rectangle(drawn, centre)}{text}</g>"


def _arrow(edge: Edge, ends: str, route: list[Point]) -> str:
    *_, before, end = route
    back = -_ARROW_LENGTH if end.y > before.y else _ARROW_LENGTH
    way = [*route[:-1], Point(end.x, end.y + back)]
    path = f"M{number(way[0].x)} {number(way[0].y)}"
    for one, other in itertools.pairwise(way):
        middle = number((one.y + other.y) / 2)
        path += f"C{number(one.x)} {middle} {number(other.x)} {middle} {number(other.x)} {number(other.y)}"
    head = " ".join(
        f"{number(x)},{number(y)}"
        for x, y in (
            (end.x - _ARROW_WIDTH, end.y + back),
            (end.x + _ARROW_WIDTH, end.y + back),
            (end.x, end.y),
        )
    )
    dashes = ' stroke-dasharray="4 3"' if edge.label else ""
    label = ""
    if edge.label:
        one, other = way[(len(way) - 1) // 2 : (len(way) - 1) // 2 + 2]
        label = (
            f'<text x="{number((one.x + other.x) / 2 + 5)}" y="{number((one.y + other.y) / 2)}" '
            f'font-size="11" fill="{_LINE}">{escaped(edge.label)}</text>'
        )
    return (
        f'<g><title>{escaped(ends)}</title><path d="{path}" fill="none" stroke="{_LINE}"{dashes}/>'
        f'<polygon points="{head}" fill="{_LINE}"/>{label}</g>'
    )


def to_svg(graph: Graph) -> str:
    """Return *graph* as an SVG image, the same each time."""
    # Events first: a graph begins with one.
    drawn = sorted(map(_drawn, nodes_of(graph)), key=lambda each: each.node.kind == "step")
    edges = list(edges_of(graph))
    layout = lay_out([each.box for each in drawn], [(edge.source, edge.target) for edge in edges])
    labels = {each.node.key: each.node.label for each in drawn}
    width, height = number(layout.width), number(layout.height)
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
                f'viewBox="0 0 {width} {height}" role="img" font-family="system-ui, sans-serif" '
                f'font-size="{_FONT_SIZE}">'
            ),
            f"<title>{escaped(graph.name)}</title>",
            *(
                _arrow(edge, f"{labels[edge.source]} → {labels[edge.target]}", list(route))
                for edge, route in zip(edges, layout.routes, strict=True)
            ),
            *(_node(each, layout.centres[each.node.key]) for each in drawn),
            "</svg>",
        ]
    )
