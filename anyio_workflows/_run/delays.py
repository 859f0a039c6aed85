"""Deliveries whose next attempt begins at a time: one task for all of them, started by the first.

In a run that is explored each has a task of its own, which waits for its turn when it is due.
"""

from collections.abc import Awaitable, Callable, Sequence
from heapq import heappop, heappush
from typing import Protocol

import anyio

from .._ledger.delivery import Delivery
from .._ledger.matching import MatchingLedger
from .._turnstile import Point, Turnstile
from .worker import name_of


class RunWithDelays(Protocol):
    """A run, as far as its delays are concerned."""

    active: int

    @property
    def turnstile(self) -> Turnstile | None:
        """What decides who goes on, in a run that is explored."""
        ...

    def start_beside(self, work: Callable[..., Awaitable[None]], *arguments: object, name: str) -> None:
        """Start a task of the run."""

    def activate(self) -> None:
        """Count one more who runs."""

    def flush(self) -> None:
        """Start what may start."""

    def rest(self) -> None:
        """Nobody in the run is active any more."""


class Delays:
    """The delayed deliveries of one run, which count as active: it does not rest while one of them is to come."""

    __slots__ = ("_coming", "_heap", "_is_served", "_ledger", "_news", "_run")

    def __init__(self, run: RunWithDelays, ledger: MatchingLedger) -> None:
        self._run = run
        self._ledger = ledger
        self._heap: list[tuple[float, int, Delivery]] = []
        self._coming: set[int] = set()
        """Numbers of those that were not cancelled."""
        self._is_served = False
        self._news = anyio.Event()

    def add(self, delivery: Delivery, due: float) -> None:
        """Let *delivery* stand in line again at *due*, in seconds of the event loop's clock."""
        self._run.activate()
        self._coming.add(delivery.number)
        gate = self._run.turnstile
        if gate is not None:
            self._run.start_beside(self._line_up_in_turn, delivery, due, gate, name="delay")
            return
        if not self._is_served:
            self._is_served = True
            self._run.start_beside(self._serve, name="delays")
        heappush(self._heap, (due, delivery.number, delivery))
        self._news.set()

    def discard(self, delivery: Delivery) -> None:
        """Do not wait for *delivery* any more, which was cancelled."""
        # It stays where it is: to look for it among many, for each of many, would take too long.
        if delivery.number in self._coming:
            self._coming.remove(delivery.number)
            self._run.active -= 1

    async def _serve(self) -> None:
        """Let them stand in line when they are due, for as long as the run lasts.

        Cancellation:
            None of them will.
        """
        while True:
            self._news = anyio.Event()
            self._line_up_due()
            deadline = self._heap[0][0] if self._heap else None
            if deadline is None:
                await self._news.wait()
            else:
                with anyio.CancelScope(deadline=deadline):
                    await self._news.wait()

    def _line_up_due(self) -> None:
        now = anyio.current_time()
        due = []
        while self._heap and (self._heap[0][0] <= now or self._heap[0][1] not in self._coming):
            delivery = heappop(self._heap)[2]
            if delivery.number in self._coming:
                due.append(delivery)
        if due:
            self._line_up(due)

    async def _line_up_in_turn(self, delivery: Delivery, due: float, gate: Turnstile) -> None:
        # Where work takes no time, attempts that fail one after the other have delays that end together.
        await anyio.sleep_until(due)
        name = name_of(delivery)
        await gate.reach(Point("timer", name))
        if delivery.number in self._coming:
            gate.note(name, "is due")
            self._line_up([delivery])

    def _line_up(self, due: Sequence[Delivery]) -> None:
        for delivery in due:
            self._coming.remove(delivery.number)
            self._ledger.line_up_again(delivery, at_once=False)
        self._run.flush()
        self._run.active -= len(due)
        if not self._run.active:
            self._run.rest()
