"""Decide which open wait an event answers, and keep the answers that come before their question."""

from bisect import insort
from collections.abc import Mapping
from itertools import count
from operator import itemgetter
from typing import Any

from .._brief import brief
from .._events import Event
from .delivery import Delivery

ages = count()
"""Tell which of two questions came first, also of questions of different runs: a run, and those that are part of it."""


class Wait:
    """One `wait_for_event` of one execution."""

    __slots__ = (
        "accepts_subclasses",
        "age",
        "answer",
        "answer_number",
        "delivery",
        "event_type",
        "is_over",
        "key",
        "number",
        "place",
        "prompts",
        "requirements",
        "timeout",
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
        timeout: float | None = None,
    ) -> None:
        self.number: int = number
        self.age: int = next(ages)
        """Less than that of any wait which was opened later, in this process."""
        self.delivery: Delivery = delivery
        self.event_type: type[Event] = event_type
        self.accepts_subclasses: bool = accepts_subclasses
        self.requirements: Mapping[str, Any] = requirements
        self.waiter_id: str | None = waiter_id
        self.timeout: float | None = timeout
        """Seconds that it may take, None for any time."""
        self.is_over: bool = False
        """Its time was over in an earlier attempt, which does not wait again."""
        self.answer: Event | None = None
        self.answer_number: int = 0
        """When the answer came, counted within the run."""
        self.key: str = ""
        """Its name within its execution, in a recorded run."""
        self.prompts: list[int] = []
        """Numbers of the questions that were asked for it, in a recorded run."""
        self.place: Any = None
        """Where the engine has its execution wait."""

    @property
    def is_repeated(self) -> bool:
        """Whether an earlier attempt has had its answer, or has waited in vain."""
        return self.is_over or (self.answer is not None and not self.answer_number)

    def is_answered_by(self, event: Event) -> bool:
        """Whether type and requirements are met."""
        if type(event) is not self.event_type and not (
            self.accepts_subclasses and isinstance(event, self.event_type)
        ):
            return False
        return all(event.get(name, _ABSENT) == value for name, value in self.requirements.items())

    def __str__(self) -> str:
        """Say who waits for what."""
        details = [f"{name}={brief(value)}" for name, value in self.requirements.items()]
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
        self.early: list[tuple[int, Event]] = []
        """HumanResponseEvents that no step accepts and no wait has taken, with their number, in order of arrival."""

    def answer(self, number: int, event: Event, step: str | None = None) -> Wait | None:
        """Give *event* to the oldest wait that it answers (of *step*, if named), and close that wait."""
        for wait in self.open.values():
            if (step is None or wait.delivery.desk.node.name == step) and wait.is_answered_by(event):
                del self.open[wait.number]
                wait.answer, wait.answer_number = event, number
                return wait
        return None

    def add(self, wait: Wait) -> None:
        """Open *wait*, or answer it at once with an event that came before."""
        for place, (number, event) in enumerate(self.early):
            if wait.is_answered_by(event):
                del self.early[place]
                wait.answer, wait.answer_number = event, number
                return
        self.open[wait.number] = wait

    def forget(self, number: int) -> None:
        """Forget an answer that was kept: it was given elsewhere."""
        self.early = [entry for entry in self.early if entry[0] != number]

    def keep(self, number: int, event: Event) -> None:
        """Keep an answer for a later wait; one that is given back stands where it stood."""
        insort(self.early, (number, event), key=itemgetter(0))
