"""The ways a run can end: exactly one of them is decided, once."""

from typing import TypeAlias

import attrs

from .._events import StopEvent


@attrs.frozen
class Completed:
    """A step produced a StopEvent."""

    event: StopEvent


@attrs.frozen
class Failed:
    """A step raised, or the run itself could not go on."""

    error: BaseException
    step: str | None = None
    """The step that raised; None if it was the run."""

    attempts: int | None = None


@attrs.frozen
class TimedOut:
    """The run took too long."""

    error: BaseException
    timeout: float
    """Seconds that it was given."""

    active_steps: tuple[str, ...]


@attrs.frozen
class Cancelled:
    """The run was cancelled from outside."""

    reason: str
    by_user: bool = False
    """With `cancel_run`, rather than together with the task that ran it."""


Outcome: TypeAlias = Completed | Failed | TimedOut | Cancelled
