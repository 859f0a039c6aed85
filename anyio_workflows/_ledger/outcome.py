"""The ways a run can end: exactly one of them is decided, once.

Named tuples, as our other small records: an attrs class costs five times as much at import, where it counts.
"""

from typing import NamedTuple, TypeAlias

from .._events import StopEvent


class Completed(NamedTuple):
    """A step produced a StopEvent."""

    event: StopEvent


class Failed(NamedTuple):
    """A step raised, or the run itself could not go on."""

    error: BaseException
    step: str | None = None
    """The step that raised; None if it was the run."""

    attempts: int | None = None

    elapsed: float | None = None
    """Seconds from the first attempt to the failure."""


class TimedOut(NamedTuple):
    """The run took too long."""

    error: BaseException
    timeout: float
    """Seconds that it was given."""

    active_steps: tuple[str, ...]


class Cancelled(NamedTuple):
    """The run was cancelled from outside."""

    reason: str
    by_user: bool = False
    """With `cancel_run`, rather than together with the task that ran it."""

    is_put_away: bool = False
    """It waits in its store alone, and goes on when its answer comes."""


Outcome: TypeAlias = Completed | Failed | TimedOut | Cancelled
