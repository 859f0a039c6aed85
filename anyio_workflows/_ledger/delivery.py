"""One event at one step, from its arrival until the execution commits; and the line it stands in."""

from collections import deque
from typing import Any, NamedTuple

from .._events import Event
from .collecting import Buffer, Entry
from .lineage import Lineage
from .plan import Node


class Failure(NamedTuple):
    """How an attempt has ended that is made again."""

    error: BaseException

    at: float
    """When, in seconds UTC."""

    began: float
    """When the first attempt began, in seconds UTC."""


class Delivery:
    """One event for one step.

    It carries what its execution has done to the collections of the run, so that a failed attempt can be
    undone.
    """

    __slots__ = (
        "attempt",
        "began",
        "blocked_in",
        "desk",
        "event",
        "failure",
        "first_began",
        "is_cancelled",
        "is_in_work",
        "lineage",
        "number",
        "origin",
        "outputs",
        "put",
        "record",
        "spent",
        "took",
        "worker",
    )

    def __init__(self, number: int, desk: "Desk", event: Event) -> None:
        self.number: int = number
        """Counts up within the run: depends on the run's own history only."""
        self.desk: Desk = desk
        self.event: Event = event
        self.attempt: int = 1
        self.began: float = 0.0
        """When its last attempt began, in seconds of a clock of the engine's."""
        self.first_began: float | None = None
        """When the first attempt of one that may be retried began, in seconds of the event loop's clock."""
        self.failure: Failure | None = None
        """How the attempt before this one has ended."""
        self.is_in_work: bool = False
        self.is_cancelled: bool = False
        """It is to end without having done anything, by itself: the run goes on."""
        self.worker: Any = None
        """Who works on it, if anybody does."""
        self.lineage: Lineage | None = None
        """What it has come of, where that matters."""
        self.outputs: int = 0
        """How many events its attempt has given, if it belongs to a fan-out."""
        self.blocked_in: object | None = None
        """What its execution waits for; its str() is for the stall report."""
        self.put: list[tuple[Buffer, Entry]] | None = None
        """What this execution added to collections, until it commits."""
        self.took: list[tuple[Buffer, list[Entry]]] | None = None
        """What it took from them, until it commits."""
        self.record: Any = None
        """What a recorded run notes of it; None in others."""
        self.spent: list[tuple[Buffer, Entry]] | None = None
        """What an earlier attempt added and another execution took: not added again."""

    origin: Any
    """Which attempt has sent the event; set in a run that is observed, and there only."""


class Desk:
    """One step in one run: the line of its deliveries, and its collections.

    The engine's own kind keeps the line in a memory-object channel.
    """

    __slots__ = ("_line", "buffers", "is_ready", "node", "pending", "queued", "retries", "starting")

    def __init__(self, node: Node) -> None:
        self.node: Node = node
        self.queued: int = 0
        """Deliveries in line."""
        self.pending: int = 0
        """Deliveries in line or in work."""
        self.starting: int = 0
        """Workers that are on their way to the line."""
        self.is_ready: bool = False
        """Whether the ledger has noted that something may start here."""
        self.buffers: dict[str | None, Buffer] | None = None
        self.retries: deque[Delivery] | None = None
        """Deliveries to be worked on again: they go before all others."""
        self._line: deque[Delivery] | None = None

    def put(self, delivery: Delivery) -> None:
        """Let *delivery* stand at the end of the line."""
        if self._line is None:
            self._line = deque()
        self._line.append(delivery)
        self.queued += 1

    def put_again(self, delivery: Delivery, *, at_once: bool) -> None:
        """Let *delivery* stand before all that has not been begun; *at_once*, before every other."""
        if self.retries is None:
            self.retries = deque()
        if at_once:
            self.retries.appendleft(delivery)
        else:
            self.retries.append(delivery)
        self.queued += 1

    def take(self) -> Delivery | None:
        """Return the delivery that is next, which leaves the line; None if there is none."""
        line = self.retries or self._line
        if not line:
            return None
        self.queued -= 1
        return line.popleft()

    def buffer(self, buffer_id: str | None) -> Buffer:
        """Return the collection called *buffer_id*."""
        if self.buffers is None:
            self.buffers = {}
        buffer = self.buffers.get(buffer_id)
        if buffer is None:
            buffer = self.buffers[buffer_id] = Buffer(self.node.name, buffer_id)
        return buffer
