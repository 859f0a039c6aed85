"""Decide which open wait an event answers, and keep the answers that come before their question."""

from collections.abc import Mapping
from typing import Any

from .._events import Event
from .delivery import Delivery


class Wait:
    """One `wait_for_event` of one execution."""

    __slots__ = (
        "accepts_subclasses",
        "answer",
        "delivery",
        "event_type",
        "number",
        "place",
        "requirements",
        "waiter_id",
    )

    def __init__(
        self,
        number: int,
        delivery: Delivery,
        event_type: type[Event],
        *,
        accepts_subclasses: bool,
        requirements: Mapping[str, Any],
        waiter_id: str | None,
    ) -> None:
        self.number = number
        self.delivery = delivery
        self.event_type = event_type
        self.accepts_subclasses = accepts_subclasses
        self.requirements = requirements
        self.waiter_id = waiter_id
        self.answer: Event | None = None
        self.place: Any = None
        """Where the engine has its execution wait."""

    def is_answered_by(self, event: Event) -> bool:
        """Whether type and requirements are met."""
        if type(event) is not self.event_type and not (
            self.accepts_subclasses and isinstance(event, self.event_type)
        ):
            return False
        return all(event.get(name, _ABSENT) == value for name, value in self.requirements.items())

    def __str__(self) -> str:
        """Say who waits for what."""
        details = [f"{name}={value!r:.60}" for name, value in self.requirements.items()]
        if self.waiter_id is not None:
            details.append(f"waiter_id={self.waiter_id!r}")
        of_what = f" ({', '.join(details)})" if details else ""
        return f"step {self.delivery.desk.node.name!r} waits for {self.event_type.__qualname__}{of_what}"


_ABSENT = object()


class Waits:
    """The open waits of one run, oldest first, and the answers that nobody has asked for yet."""

    __slots__ = ("early", "open")

    def __init__(self) -> None:
        self.open: dict[int, Wait] = {}
        self.early: list[Event] = []
        """HumanResponseEvents that no step accepts and no wait has taken."""

    def answer(self, event: Event, step: str | None = None) -> Wait | None:
        """Give *event* to the oldest wait that it answers (of *step*, if named), and close that wait."""
        for wait in self.open.values():
            if (step is None or wait.delivery.desk.node.name == step) and wait.is_answered_by(event):
                del self.open[wait.number]
                wait.answer = event
                return wait
        return None

    def add(self, wait: Wait) -> bool:
        """Open *wait*, or answer it at once with an event that came before; True if answered."""
        for index, event in enumerate(self.early):
            if wait.is_answered_by(event):
                del self.early[index]
                wait.answer = event
                return True
        self.open[wait.number] = wait
        return False
