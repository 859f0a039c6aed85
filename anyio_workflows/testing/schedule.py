"""What is chosen at each point of an explored run: a tape of numbers, and no deviation when it has run out."""

import re
from collections.abc import Iterable
from typing import Self

import attrs

from .. import WorkflowRuntimeError

_WRITTEN = re.compile(r"(\d+(\.\d+)*)?(!\d+)?", re.ASCII)


def _stripped(choices: Iterable[int]) -> tuple[int, ...]:
    numbers = tuple(choices)
    while numbers and numbers[-1] == 0:
        numbers = numbers[:-1]
    return numbers


@attrs.frozen(repr=False)
class Schedule:
    """Who goes on, each time that several could.

    First stands the task that had the turn before, if it could go on, then the others in the order in which they came.
    Number ``n`` lets the one go on that has ``n`` before it, counted round if there are fewer. A tape that has run out
    says 0: whoever works goes on working, and then first come, first served. So an empty one is the order of a run that
    nobody explores, and every number that is not 0 is one deviation from it.
    """

    choices: tuple[int, ...] = attrs.field(default=(), converter=_stripped)
    """A number of 0 or more for each choice; zeros at the end are left out."""

    crash_at: int | None = None
    """Before which choice the program dies, counted from 0; None if it does not."""

    def __attrs_post_init__(self) -> None:
        if any(number < 0 for number in self.choices):
            raise WorkflowRuntimeError(f"a schedule has numbers of 0 or more, not {self.choices!r}")
        if self.crash_at is not None and self.crash_at < 0:
            raise WorkflowRuntimeError(f"a program dies at a turn of 0 or more, not {self.crash_at!r}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the schedule that *text* stands for, as `str` gives it: ``"1.0.3"``, ``"1.0.3!5"``, ``""``.

        Raises:
            WorkflowRuntimeError: It stands for none.
        """
        if not _WRITTEN.fullmatch(text):
            raise WorkflowRuntimeError(
                f"{text!r} is no schedule; write it as a report does: '1.0.3', '1.0.3!5' with a crash at turn 5, "
                f"'' for the order of an ordinary run"
            )
        numbers, _, crash = text.partition("!")
        choices = tuple(int(number) for number in numbers.split(".")) if numbers else ()
        return cls(choices, int(crash) if crash else None)

    @property
    def deviations(self) -> int:
        """How often it does not take the first who came."""
        return sum(number > 0 for number in self.choices)

    def __repr__(self) -> str:
        return f"Schedule.parse({str(self)!r})"

    def __str__(self) -> str:
        crash = "" if self.crash_at is None else f"!{self.crash_at}"
        return ".".join(map(str, self.choices)) + crash


def schedule_of(given: object) -> Schedule:
    """Return *given*, read if it is text.

    Raises:
        WorkflowRuntimeError: It is neither a schedule, nor the text of one.
    """
    if isinstance(given, Schedule):
        return given
    if isinstance(given, str):
        return Schedule.parse(given)
    raise WorkflowRuntimeError(f"schedule={given!r} is no schedule; give a Schedule, or text as '1.0.3'")
