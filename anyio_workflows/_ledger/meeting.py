"""Which events meet at a step with several event parameters: what has come for each of them, until there is one for all.

In a fan-out those of one member meet, elsewhere those that come first.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .lineage import Lineage, Member
from .plan import Node


class Table(NamedTuple):
    """Where events meet."""

    fan_out: int
    """Id of the fan-out that they belong to, 0 for none."""

    member: int
    """Place of the member of it that they have come of."""


class Meetings:
    """What has come for one of several event parameters, and has not met the others."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: dict[int, dict[tuple[int, int], list[deque[Member]]]] = {}
        """Per fan-out, then per step and member: a line for each parameter."""

    def add(self, node: Node, table: Table, member: Member) -> int:
        """Let *member* wait for the others; return the place of the parameter that it is for."""
        lanes = self.waiting.setdefault(table.fan_out, {}).setdefault(
            (node.index, table.member), [deque() for _ in node.slots]
        )
        place = min(_places(node, member), key=lambda place: len(lanes[place]))
        lanes[place].append(member)
        return place

    def take(self, node: Node, table: Table) -> list[Member] | None:
        """Take one event for each parameter of *node*; None if one is missing."""
        tables = self.waiting[table.fan_out]
        lanes = tables[node.index, table.member]
        if not all(lanes):
            return None
        members = [lane.popleft() for lane in lanes]
        if not any(lanes):
            del tables[node.index, table.member]
        return members

    def leave(self, fan_out: int) -> Iterator[tuple[int, Member]]:
        """Forget what belongs to a fan-out of which nothing is left; yield it, each with the place of its step."""
        for (step, _), lanes in self.waiting.pop(fan_out, {}).items():
            for lane in lanes:
                for member in lane:
                    yield step, member

    def lines(self, nodes: Sequence[Node]) -> Iterator[str]:
        """Say what has come and what is missing."""
        for tables in self.waiting.values():
            for (step, _), lanes in tables.items():
                parameters = list(zip(nodes[step].slots, lanes, strict=True))
                have = [f"{kind.__qualname__} for {name!r}" for (name, kind), lane in parameters if lane]
                lack = [repr(name) for (name, _), lane in parameters if not lane]
                yield f"step {nodes[step].name!r} has {' and '.join(have)}, and nothing for {' and '.join(lack)}"


def table_of(lineage: Lineage | None) -> Table:
    """Return where an event of *lineage* meets others."""
    if lineage is None or lineage.fan_out is None:
        return Table(0, 0)
    return Table(lineage.fan_out.id, lineage.rank[0])


def _places(node: Node, member: Member) -> list[int]:
    kinds = [kind for _, kind in node.slots]
    exact = [place for place, kind in enumerate(kinds) if type(member.event) is kind]
    return exact or [place for place, kind in enumerate(kinds) if isinstance(member.event, kind)]
