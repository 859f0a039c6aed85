"""Decide where the boxes of a drawing stand and how its arrows run: in layers, from the top to the bottom.

The usual steps: turn the arrows around that close a cycle, give every box a layer below those that lead to it, order
each layer so that few arrows cross, and move the boxes of a layer towards their neighbours. Nothing is drawn at random:
the same graph gives the same drawing.
"""

import itertools
from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from typing import NamedTuple

GAP, LAYER_GAP = 28.0, 46.0
"""Units between two boxes of a layer, and between two layers."""

_PASSES = 8
"""How often the layers are gone through, down and up, to order them and to move them: more changes little."""

_PORT_GAP = 16.0
"""Most units between two arrows where they meet a box."""


class Box(NamedTuple):
    """What has to be placed."""

    key: str
    width: float
    height: float


class Point(NamedTuple):
    """A place of the drawing, from its top left corner."""

    x: float
    y: float


class Layout(NamedTuple):
    """Where everything is."""

    width: float
    height: float
    centres: Mapping[str, Point]
    """Where the middle of each box is."""
    routes: Sequence[Sequence[Point]]
    """For each arrow the points that it goes through, from box to box; it is upright at each of them."""


class _Layers:
    """Nodes in layers: the boxes, and a node of no size wherever an arrow passes by a layer."""

    def __init__(self, ranks: Sequence[int], arrows: Sequence[tuple[int, int]]) -> None:
        self.rows: list[list[int]] = [[] for _ in range(max(ranks, default=-1) + 1)]
        self.rank = list(ranks)
        for node, rank in enumerate(ranks):
            self.rows[rank].append(node)
        self.chains: list[list[int]] = []
        """For each arrow the nodes that it goes through, downwards."""
        self.above: list[list[int]] = [[] for _ in ranks]
        self.below: list[list[int]] = [[] for _ in ranks]
        for upper, lower in arrows:
            passed = [self._add(rank) for rank in range(ranks[upper] + 1, ranks[lower])]
            chain = [upper, *passed, lower]
            for one, next_one in itertools.pairwise(chain):
                self.below[one].append(next_one)
                self.above[next_one].append(one)
            self.chains.append(chain)

    def _add(self, rank: int) -> int:
        node = len(self.rank)
        self.rank.append(rank)
        self.rows[rank].append(node)
        self.above.append([])
        self.below.append([])
        return node

    def order(self) -> None:
        """Order every row so that few arrows cross."""
        best, fewest = [list(row) for row in self.rows], self._crossings()
        for turn in range(_PASSES):
            downwards = turn % 2 == 0
            rows = self.rows if downwards else self.rows[::-1]
            neighbours = self.above if downwards else self.below
            for fixed, row in itertools.pairwise(rows):
                place = {node: index for index, node in enumerate(fixed)}
                own = {node: index for index, node in enumerate(row)}
                row.sort(
                    key=lambda node: (
                        _mean([place[other] for other in neighbours[node]], own[node]),
                        own[node],
                    )
                )
            crossings = self._crossings()
            if crossings < fewest:
                best, fewest = [list(row) for row in self.rows], crossings
        self.rows = best

    def _crossings(self) -> int:
        count = 0
        for upper, lower in zip(self.rows, self.rows[1:], strict=False):
            place = {node: index for index, node in enumerate(lower)}
            passed: list[int] = []
            for node in upper:
                ends = sorted(place[other] for other in self.below[node])
                count += sum(len(passed) - bisect_right(passed, end) for end in ends)
                for end in ends:
                    insort(passed, end)
        return count

    def spread(self, widths: Sequence[float]) -> list[float]:
        """Return the middle of every node, so that most stand above or below their neighbours."""
        middles = [0.0] * len(self.rank)
        for row in self.rows:
            for node, offset in zip(row, _offsets(row, widths), strict=True):
                middles[node] = offset
        for turn in range(2 * _PASSES):
            downwards = turn % 2 == 0
            neighbours = self.above if downwards else self.below
            for row in self.rows if downwards else self.rows[::-1]:
                wanted = [
                    _mean([middles[other] for other in neighbours[node]], middles[node]) for node in row
                ]
                for node, middle in zip(row, _apart(wanted, _offsets(row, widths)), strict=True):
                    middles[node] = middle
        return middles


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _offsets(row: Sequence[int], widths: Sequence[float]) -> list[float]:
    """Return where the middles of *row* are if its nodes stand as close as they may."""
    offsets, end = [], 0.0
    for node in row:
        offsets.append(end + widths[node] / 2)
        end += widths[node] + GAP
    return offsets


def _apart(wanted: Sequence[float], offsets: Sequence[float]) -> list[float]:
    """Return the places nearest to those *wanted* at which nobody is closer to another than in *offsets*.

    Neighbours that want to be in each other's place move as one block, to where they want to be on average.
    """
    blocks: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        block = (want - offset, 1)
        while blocks and blocks[-1][0] > block[0]:
            middle, size = blocks.pop()
            block = ((middle * size + block[0] * block[1]) / (size + block[1]), size + block[1])
        blocks.append(block)
    starts = [start for start, size in blocks for _ in range(size)]
    return [start + offset for start, offset in zip(starts, offsets, strict=True)]


def _downwards(count: int, arrows: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return *arrows* with those turned around that close a cycle."""
    leaving: list[list[int]] = [[] for _ in range(count)]
    has_entry = [False] * count
    for index, (source, target) in enumerate(arrows):
        leaving[source].append(index)
        has_entry[target] = True
    turned = list(arrows)
    state = [0] * count  # not seen, on the way, done
    for root in sorted(range(count), key=lambda node: has_entry[node]):
        if state[root]:
            continue
        state[root] = 1
        way = [(root, iter(leaving[root]))]
        while way:
            node, rest = way[-1]
            index = next(rest, -1)
            if index < 0:
                state[node] = 2
                way.pop()
                continue
            target = arrows[index][1]
            if state[target] == 1:
                turned[index] = (target, node)
            elif not state[target]:
                state[target] = 1
                way.append((target, iter(leaving[target])))
    return turned


def _ranks(count: int, arrows: Sequence[tuple[int, int]]) -> list[int]:
    """Return the layer of each node: below all that lead to it, and a node without any just above its next."""
    below: list[list[int]] = [[] for _ in range(count)]
    open_entries = [0] * count
    for upper, lower in arrows:
        below[upper].append(lower)
        open_entries[lower] += 1
    ranks = [0] * count
    tops = [node for node in range(count) if not open_entries[node]]
    ready = list(tops)
    for node in ready:
        for lower in below[node]:
            ranks[lower] = max(ranks[lower], ranks[node] + 1)
            open_entries[lower] -= 1
            if not open_entries[lower]:
                ready.append(lower)
    for node in tops:
        ranks[node] = min((ranks[lower] for lower in below[node]), default=1) - 1
    return ranks


def _ports(
    layers: _Layers, middles: Sequence[float], widths: Sequence[float]
) -> dict[tuple[int, int, bool], float]:
    """Return where the chains meet the boxes, by chain and link: side by side, in the order of their other ends."""
    meetings: dict[tuple[int, bool], list[tuple[float, int]]] = {}
    for index, chain in enumerate(layers.chains):
        meetings.setdefault((chain[0], True), []).append((middles[chain[1]], index))
        meetings.setdefault((chain[-1], False), []).append((middles[chain[-2]], index))
    ports: dict[tuple[int, int, bool], float] = {}
    for (node, is_upper), others in meetings.items():
        gap = min(_PORT_GAP, 0.8 * widths[node] / len(others))
        for place, (_, index) in enumerate(sorted(others)):
            ports[index, node, is_upper] = middles[node] + (place - (len(others) - 1) / 2) * gap
    return ports


def lay_out(boxes: Sequence[Box], arrows: Sequence[tuple[str, str]], *, margin: float = 12.0) -> Layout:
    """Place *boxes*, and the *arrows* between them.

    Args:
        boxes: In the order in which they stand side by side where nothing else decides.
        arrows: From a box to another one, by their keys.
        margin: Units around the whole.
    """
    places = {box.key: index for index, box in enumerate(boxes)}
    given = [(places[source], places[target]) for source, target in arrows]
    assert all(source != target for source, target in given), "an arrow leads to another box"
    turned = _downwards(len(boxes), given)
    layers = _Layers(_ranks(len(boxes), turned), turned)
    layers.order()
    widths = [*(box.width for box in boxes), *([0.0] * (len(layers.rank) - len(boxes)))]
    middles = layers.spread(widths)
    left = min((middles[node] - widths[node] / 2 for node in range(len(middles))), default=0.0) - margin
    middles = [middle - left for middle in middles]
    heights = [
        max((boxes[node].height for node in row if node < len(boxes)), default=0.0) for row in layers.rows
    ]
    levels, bottom = [], margin
    for height in heights:
        levels.append(bottom + height / 2)
        bottom += height + LAYER_GAP
    ports = _ports(layers, middles, widths)
    routes = []
    for index, (chain, arrow) in enumerate(zip(layers.chains, given, strict=True)):
        first, last = chain[0], chain[-1]
        route = [
            Point(ports[index, first, True], levels[layers.rank[first]] + boxes[first].height / 2),
            *(Point(middles[node], levels[layers.rank[node]]) for node in chain[1:-1]),
            Point(ports[index, last, False], levels[layers.rank[last]] - boxes[last].height / 2),
        ]
        routes.append(route if arrow == (first, last) else route[::-1])
    return Layout(
        width=max((middles[node] + widths[node] / 2 for node in range(len(middles))), default=0.0) + margin,
        height=max(bottom - LAYER_GAP, margin) + margin,
        centres={box.key: Point(middles[node], levels[layers.rank[node]]) for node, box in enumerate(boxes)},
        routes=routes,
    )
