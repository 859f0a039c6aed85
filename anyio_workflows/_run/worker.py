"""Who works for a run, what is executed, and where a task waits: the records that the crew keeps.

What follows from them is decided in `tokens` and `crew`.
"""

from typing import Protocol

import anyio

from .._ledger.delivery import Delivery
from .._turnstile import label
from .inbox import Inbox


class Worker:
    """One task of a run that works on deliveries, one after the other."""

    __slots__ = (
        "bell",
        "deadline",
        "has_shared_token",
        "has_token",
        "inbox",
        "is_parked",
        "is_starting",
        "scope",
    )

    scope: "anyio.CancelScope"
    """Around its executions: cancelling it cancels the one in work, and the worker goes on with the next."""

    def __init__(self) -> None:
        self.inbox: Inbox | None = None
        """Where it works, or is about to; None while it is idle."""
        self.has_token: bool = False
        self.has_shared_token: bool = False
        self.is_starting: bool = False
        """Sent to its inbox and not there yet."""
        self.is_parked: bool = False
        """Its execution is blocked in the run, in the worker's own task."""
        self.deadline: float | None = None
        """When the timeout of the step it works on ends the attempt."""
        self.bell: anyio.Event | None = None
        """Wakes it while it is idle."""


class Execution:
    """One run of a step's body; the public `Context` is this with the user's methods."""

    __slots__ = ("_delivery", "_is_driven", "_is_over", "_worker")

    def __init__(self, delivery: Delivery, worker: Worker) -> None:
        self._delivery = delivery
        self._worker = worker
        self._is_driven = False
        """Whether the body's own task is running right now: who calls meanwhile is that task, not a child."""
        self._is_over = False


def name_of(delivery: Delivery) -> str:
    """Return what a delivery is called where it waits for its turn: the same in every order."""
    return label(delivery.desk.node.name, delivery.event, delivery.attempt)


class CountsTheActive(Protocol):
    """A run, as far as somebody who waits for it is concerned."""

    def activate(self) -> None:
        """Count one more who runs."""


class Parked:
    """A task that waits for the run. Whoever wakes it does the accounting, not the task that wakes.

    A woken task that cleared its own mark would still look blocked until it is scheduled, and a run with
    somebody about to go on would be called stalled.
    """

    __slots__ = ("bell", "is_counted", "run", "worker")

    def __init__(self, run: CountsTheActive, worker: Worker | None = None) -> None:
        self.run: CountsTheActive = run
        self.worker: Worker | None = worker
        self.bell: anyio.Event = anyio.Event()
        self.is_counted: bool = False
        """Whether the task was taken off the active ones while it waits."""

    def wake(self) -> None:
        """Let the task go on; from now on it counts as running."""
        self.bell.set()
        self.count_as_active()

    def count_as_active(self) -> None:
        """Undo the accounting of a task that goes on, woken or cancelled."""
        if self.is_counted:
            self.is_counted = False
            if self.worker is not None:
                self.worker.is_parked = False
            self.run.activate()


class Claim:
    """What stands in the line for tokens for a worker whose wait was cancelled: it does not wait for its turn."""

    __slots__ = ("worker",)

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def wake(self) -> None:
        """Do nothing: it goes on already."""
