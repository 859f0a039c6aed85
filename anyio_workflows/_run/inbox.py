"""One step in one run as the engine sees it: a memory-object channel and a capacity limiter.

Which delivery is next is the ledger's order; whether one may begin is the limiter's.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import RunVar

from .._ledger.delivery import Delivery, Desk
from .._ledger.plan import Node

# AnyIO loads its modules when they are first used. A type that is named in quotes, here and elsewhere in this package,
# is not used yet: together they would be a tenth of our import.
if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

_shared_limiters: RunVar[dict[Any, "anyio.CapacityLimiter"]] = RunVar("anyio_workflows_shared_limiters")
"""Per event loop: what the functions given as ``@step(limiter=...)`` returned."""


class Inbox(Desk):
    """The line of one step, its workers' tokens, and who stands in line for either."""

    __slots__ = ("_first", "_limiter", "_receive", "_send", "holding", "resumed", "senders", "shared")

    queued: int

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self._first: Delivery | None = None
        self._send: MemoryObjectSendStream[Delivery] | None = None
        self._receive: MemoryObjectReceiveStream[Delivery] | None = None
        self._limiter: anyio.CapacityLimiter | None = None
        self.shared: anyio.CapacityLimiter | None = (
            _shared_limiter(node.limiter) if node.limiter is not None else None
        )
        """The limiter that this step shares with others, one token per execution."""
        self.holding: int = 0
        """Workers of this run that hold a token or stand in line for one."""
        self.resumed: deque[Any] | None = None
        """Executions whose wait was answered, in line for a token: served before queued deliveries."""
        self.senders: deque[Any] | None = None
        """Executions in `Context.send`, in line for a place among the pending deliveries."""

    # A channel costs as much as a third of a short run. The first delivery in an empty line needs none:
    # mostly the task that sent it takes it in the same pass.

    def put(self, delivery: Delivery) -> None:
        """Let *delivery* stand at the end of the line."""
        if self.queued == 0:
            self._first = delivery
        else:
            if self._send is None:
                # Unbounded: back-pressure is Context.send's, and a step that commits must not wait.
                self._send, self._receive = anyio.create_memory_object_stream[Delivery](math.inf)
            self._send.send_nowait(delivery)
        self.queued += 1

    def take(self) -> Delivery | None:
        """Return the delivery that is next, which leaves the line; None if there is none."""
        if self.queued == 0:
            return None
        self.queued -= 1
        if self.retries:
            return self.retries.popleft()
        delivery = self._first
        if delivery is not None:
            self._first = None
            return delivery
        assert self._receive is not None, "only the first delivery in an empty line passes by the channel"
        return self._receive.receive_nowait()

    @property
    def limiter(self) -> "anyio.CapacityLimiter":
        """The limiter of this step in this run, made when its first execution begins."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(self.node.num_workers)
        return self._limiter

    def try_token(self, borrower: object) -> bool:
        """Take a token for *borrower* if one is free."""
        limiter = self._limiter
        if limiter is None:
            limiter = self.limiter
        elif limiter.available_tokens <= 0:
            return False
        try:
            limiter.acquire_on_behalf_of_nowait(borrower)
        except anyio.WouldBlock:  # somebody from outside stands in line
            return False
        return True

    @property
    def is_full(self) -> bool:
        """Whether `Context.send` has to wait."""
        return self.pending >= self.node.max_pending

    def close(self) -> None:
        """Close the channel; what is in it is never delivered."""
        if self._send is not None and self._receive is not None:
            self._send.close()
            self._receive.close()


def _shared_limiter(
    declared: "anyio.CapacityLimiter | Callable[[], anyio.CapacityLimiter]",
) -> "anyio.CapacityLimiter":
    if isinstance(declared, anyio.CapacityLimiter):
        return declared
    try:
        limiters = _shared_limiters.get()
    except LookupError:
        limiters = {}
        _shared_limiters.set(limiters)
    limiter = limiters.get(declared)
    if limiter is None:
        limiter = limiters[declared] = declared()
    return limiter
