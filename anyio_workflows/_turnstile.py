"""What decides who goes on, when a test wants to decide it: see `anyio_workflows.testing.explore`.

A run that is made while there is a turnstile asks it at every point at which the engine, or a step, lets others have
their turn. Others ask nobody.
"""

from contextvars import ContextVar
from typing import Literal, NamedTuple, Protocol, TypeAlias

from ._brief import brief

PointKind: TypeAlias = Literal["begin", "await", "end", "checkpoint", "timer", "outside"]
"""A delivery is about to begin; a step awaits something of its context; its body has returned and is to commit, or has
raised; it has made a point of its own; a timer of the run is due; somebody outside of the run has made a point."""


class Point(NamedTuple):
    """A place at which a task waits for its turn."""

    kind: PointKind

    label: str
    """Who waits there: the same in every run, whatever the order."""

    step: int = 0
    """Of those that are about to begin: the place of the step among the steps of the workflow."""


class Turnstile(Protocol):
    """Lets one task through at a time."""

    async def reach(self, point: Point) -> None:
        """Wait at *point* for the turn of the current task.

        Cancellation:
            It does not get its turn.
        """
        ...

    def note(self, who: str, text: str) -> None:
        """Note that *who*, called as where it waits, does what *text* says."""
        ...


turnstile: ContextVar[Turnstile | None] = ContextVar("anyio_workflows_turnstile", default=None)
"""What runs ask that are made from here on."""


def label(step: str, event: object, attempt: int) -> str:
    """Return what an execution is called in what is told of an explored run."""
    nth = "" if attempt == 1 else f", attempt {attempt}"
    return f"{step} at {brief(event)}{nth}"
