"""Who may work: the tokens of a run's steps, the lines for them, and the executions that wait without one.

Kept here is also how many are active, because that is what waiting changes: a run in which nobody is active
has come to rest. What that means, and who is sent where, is decided by what derives from `Tokens`.
"""

from abc import ABC, abstractmethod
from collections import deque

import anyio

from .._ledger.ledger import Ledger
from .._ledger.waiting import Wait
from .._turnstile import Point, Turnstile, turnstile
from .inbox import Inbox
from .worker import Claim, Execution, Parked, Worker, name_of


class Tokens(ABC):
    """The tokens of one run.

    A token of its step's own limiter belongs to a worker for as long as that goes on there; one of a limiter that
    steps share (``@step(limiter=...)``) to a single execution. An execution that waits for an event has neither.
    """

    __slots__ = ("active", "deadline", "ledger", "standing", "turnstile")

    deadline: float
    """The effective deadline around the run when it started, in seconds of the event loop's clock."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger: Ledger = ledger
        self.active: int = 0
        """Workers that run or are about to, and executions in work that are not blocked."""
        self.standing: list[anyio.CapacityLimiter] | None = None
        """Limiters that workers of this run stand in line for."""
        self.turnstile: Turnstile | None = turnstile.get()
        """What decides who goes on, in a run that is explored."""

    def activate(self) -> None:
        """Count one more who runs."""
        self.active += 1

    @abstractmethod
    def flush(self) -> None:
        """Perform what the ledger has decided."""

    @abstractmethod
    def rest(self) -> None:
        """Nobody in the run is active any more."""

    @abstractmethod
    def notice_cancellation(self) -> None:
        """Decide the run if a scope around it is cancelled; asked in a task of the run."""

    @abstractmethod
    def breathed(self) -> None:
        """Note that other tasks have had their turn."""

    # --- holding them

    def leave(self, worker: Worker, inbox: Inbox) -> None:
        """Give up the place of *worker* at *inbox*."""
        worker.inbox = None
        self._give_tokens(worker, inbox)

    def _give_tokens(self, worker: Worker, inbox: Inbox) -> None:
        """Give back what *worker* holds there, or the turn it has in the line for it."""
        if worker.has_shared_token:
            self.return_shared_token(worker, inbox)
        if worker.has_token:
            worker.has_token = False
            inbox.limiter.release_on_behalf_of(worker)
            self._token_freed(inbox)
        elif inbox.resumed:  # its wait was cancelled, and it went on without
            inbox.resumed = deque(place for place in inbox.resumed if place.worker is not worker)
            if inbox.queued > inbox.starting:
                self.may_start_at(inbox)

    def _token_freed(self, inbox: Inbox) -> None:
        inbox.holding -= 1
        self._serve_line(inbox)
        if inbox.queued > inbox.starting:
            self.may_start_at(inbox)

    def may_start_at(self, inbox: Inbox) -> None:
        """Have the next `flush` look whether a worker can be sent to *inbox*."""
        if not inbox.is_ready:
            inbox.is_ready = True
            self.ledger.ready.append(inbox)

    def _serve_line(self, inbox: Inbox) -> None:
        """Give free tokens to those whose wait is over, first come, first served."""
        while inbox.resumed:
            first = inbox.resumed[0]
            has_token = inbox.try_token(first.worker)
            if not has_token and inbox.holding:
                return  # whoever ends an execution there looks again
            inbox.resumed.popleft()
            if has_token:
                first.worker.has_token = True
            elif isinstance(first, Claim):
                continue  # somebody outside the run holds the tokens, and nobody waits for this one
            # Without a token, and with nobody there whose end could free one, the execution itself goes for it.
            inbox.holding += 1
            first.wake()

    def worker_ended(self, worker: Worker) -> None:
        """Give back what *worker* holds: others than this run may wait for it, or look at it."""
        if worker.inbox is None:
            return
        if worker.has_shared_token:
            self.return_shared_token(worker, worker.inbox)
        if worker.has_token:
            worker.has_token = False
            worker.inbox.limiter.release_on_behalf_of(worker)

    def return_shared_token(self, worker: Worker, inbox: Inbox) -> None:
        """Give back what an execution on a shared limiter had."""
        assert inbox.shared is not None, "only a shared limiter gives shared tokens"
        worker.has_shared_token = False
        inbox.shared.release_on_behalf_of(worker)

    async def stand_in_line(self, worker: Worker, inbox: Inbox) -> None:
        """Wait for the tokens that others than this run's own executions hold."""
        if not worker.has_token:
            await self._acquire(inbox.limiter, worker)
            worker.has_token = True
        if inbox.shared is not None and inbox.queued and not worker.has_shared_token:
            await self._acquire(inbox.shared, worker)
            worker.has_shared_token = True

    async def _acquire(self, limiter: "anyio.CapacityLimiter", worker: Worker) -> None:
        try:
            limiter.acquire_on_behalf_of_nowait(worker)
        except anyio.WouldBlock:
            pass
        else:
            return
        if self.standing is None:
            self.standing = []
        self.standing.append(limiter)
        self.active -= 1
        self.flush()
        if not self.active:
            self.rest()
        try:
            await limiter.acquire_on_behalf_of(worker)
        finally:
            self.standing.remove(limiter)
            self.activate()
        self.breathed()

    def may_get_token(self) -> bool:
        """Whether a worker stands in line for a token that is not only in blocked hands of this run."""
        for limiter in self.standing or ():
            borrowers = limiter.statistics().borrowers
            if not borrowers or not all(isinstance(b, Worker) and b.is_parked for b in borrowers):
                return True
        return False

    # --- waiting without one

    async def park(self, execution: Execution, place: Parked, blocked_in: object) -> None:
        """Wait at *place* on behalf of *execution* until somebody wakes it.

        Cancellation:
            The place is left; what it stood for is the caller's to undo.
        """
        self._enter(place, execution, blocked_in)
        try:
            await place.bell.wait()
            if self.turnstile is not None:
                await self.turnstile.reach(Point("await", name_of(execution._delivery)))
        finally:
            self._leave_place(place, execution)

    def _enter(self, place: Parked, execution: Execution, blocked_in: object) -> None:
        """Note that *execution* is about to wait at *place*; the run may come to rest by that."""
        worker = execution._worker
        if execution._is_driven and not self._is_bounded(worker):
            place.worker = worker
            place.is_counted = True
            worker.is_parked = True
            self.active -= 1
        execution._delivery.blocked_in = blocked_in
        self.flush()
        if place.is_counted and not self.active:
            self.rest()

    def _leave_place(self, place: Parked, execution: Execution) -> None:
        place.count_as_active()
        execution._delivery.blocked_in = None

    def _is_bounded(self, worker: Worker) -> bool:
        """Whether the step has put a deadline of its own around what it is about to wait for."""
        known = self.deadline if worker.deadline is None else min(self.deadline, worker.deadline)
        return anyio.current_effective_deadline() < known

    async def wait(self, execution: Execution, wait: Wait) -> None:
        """Let *execution* wait until *wait* has its answer, or its time is over.

        The token goes back meanwhile, if it is the execution's own task that waits.
        """
        worker = execution._worker
        inbox: Inbox = execution._delivery.desk  # type: ignore[assignment]  # the engine's desks are inboxes
        wait.place = place = Parked(self)
        gives_token = execution._is_driven
        if gives_token:
            place.worker = worker
            self._give_tokens(worker, inbox)
        self._enter(place, execution, wait)
        try:
            if wait.timeout is None:
                await place.bell.wait()
            else:
                with anyio.move_on_after(wait.timeout):
                    await place.bell.wait()
            if self.turnstile is not None:
                place.count_as_active()  # its time may be over, and then nobody has done so
                await self.turnstile.reach(Point("await", name_of(execution._delivery)))
        except BaseException:
            self.notice_cancellation()  # before the wait is closed, which after a resume is to be open
            if gives_token:
                self._abandon(place, worker, inbox)
            self.ledger.give_back(wait)
            raise
        finally:
            self._leave_place(place, execution)
            wait.place = None
            self.ledger.close_wait(wait)
        if gives_token:
            try:
                await self._regain_tokens(execution, worker, inbox, place)
            except BaseException:
                self.notice_cancellation()
                self.ledger.give_back(wait)
                raise

    def resume(self, wait: Wait) -> None:
        """Let an execution whose wait was answered go on, once it has a token."""
        place: Parked | None = wait.place
        if place is None:  # it was answered before it had to wait
            return
        worker = place.worker
        if worker is None or worker.has_token:
            place.wake()
            return
        inbox: Inbox = wait.delivery.desk  # type: ignore[assignment]
        self._stand_in_front(place, inbox)
        self._serve_line(inbox)

    def _stand_in_front(self, place: Parked | Claim, inbox: Inbox) -> None:
        """Stand in the line that is served before queued deliveries."""
        if inbox.resumed is None:
            inbox.resumed = deque()
        inbox.resumed.append(place)

    def _abandon(self, place: Parked, worker: Worker, inbox: Inbox) -> None:
        """Let *worker*, whose wait was cancelled, go on without a token; the next free one is counted for it."""
        if worker.has_token:
            return
        if inbox.resumed and place in inbox.resumed:
            inbox.resumed[inbox.resumed.index(place)] = Claim(worker)
            return
        if place.bell.is_set():  # it was sent to go for a token itself
            self._token_freed(inbox)
        self._stand_in_front(Claim(worker), inbox)
        self._serve_line(inbox)

    async def _regain_tokens(self, execution: Execution, worker: Worker, inbox: Inbox, place: Parked) -> None:
        try:
            if not place.bell.is_set():
                # Its time is over. But the answer may have come before that, and no worker has been free since.
                if not inbox.resumed or place not in inbox.resumed:
                    self._stand_in_front(place, inbox)
                    self._serve_line(inbox)
                if not place.bell.is_set():
                    await self.park(execution, place, "the line for a worker")
            if not worker.has_token:
                await self._acquire(inbox.limiter, worker)
                worker.has_token = True
        except BaseException:
            self._abandon(place, worker, inbox)
            raise
        if inbox.shared is not None and not worker.has_shared_token:
            await self._acquire(inbox.shared, worker)
            worker.has_shared_token = True
