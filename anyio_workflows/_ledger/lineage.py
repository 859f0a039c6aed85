"""What an event has come of: the fan-out that it is a member of, its place there, and the failures on the way."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .._events import Event

NO_RECOVERIES: Mapping[str, int] = {}


class Lineage(NamedTuple):
    """What one delivery, or one event that is gathered, has come of."""

    fan_out: "FanOut | None"
    """The innermost fan-out that it belongs to."""

    rank: tuple[int, ...]
    """Its place in that: the place of its member in the list, then of each output on the way to it."""

    recoveries: Mapping[str, int]
    """How often each handler was called on the way to it."""


class Member(NamedTuple):
    """An event that has come to a join, or to one of several event parameters."""

    event: Event
    rank: tuple[int, ...]
    recoveries: Mapping[str, int]
    cause: str = ""
    """Names it by what has caused it, in a recorded run."""


class FanOut:
    """What has come of one list that a step has returned, until all of it is done."""

    __slots__ = (
        "gathered",
        "id",
        "inner",
        "is_cancelled",
        "is_filling",
        "joined",
        "key",
        "lineage",
        "pending",
        "producer",
    )

    def __init__(self, number: int, producer: int, lineage: Lineage | None, key: str = "") -> None:
        self.id: int = number
        """Counts up within the run, together with the deliveries."""
        self.producer: int = producer
        """Place of the step that has returned the list."""
        self.lineage: Lineage | None = lineage
        """What the list itself has come of: what the joins give belongs there."""
        self.key: str = key
        """Names it by what has caused it, in a recorded run."""
        self.is_filling: bool = False
        """Not all of its members are there yet."""
        self.is_cancelled: bool = False
        """Nothing is worked on in it any more."""
        self.pending: dict[int, Any] = {}
        """Deliveries in it, but not in one of `inner`, by number."""
        self.inner: dict[int, FanOut] = {}
        """Fan-outs of its members that are open, by id."""
        self.gathered: dict[int, list[Member]] = {}
        """What has come to each join, in order of arrival."""
        self.joined: set[int] = set()
        """Joins that have what they wanted; what comes later is dropped."""

    @property
    def is_done(self) -> bool:
        """Whether nothing of it is left."""
        return not (self.pending or self.inner or self.is_filling)

    @property
    def parent(self) -> "FanOut | None":
        """The fan-out around this one."""
        return None if self.lineage is None else self.lineage.fan_out


def largest(recoveries: Iterable[Mapping[str, int]]) -> Mapping[str, int]:
    """Return the largest count of each handler: lineages that meet have gone through the worst of them."""
    found: dict[str, int] = {}
    for each in recoveries:
        for handler, count in each.items():
            found[handler] = max(count, found.get(handler, 0))
    return found or NO_RECOVERIES
