"""What is kept of a run that was recorded; all times are seconds of the event loop's clock."""

from datetime import datetime
from typing import Literal, TypeAlias

import attrs

from .._brief import brief
from ..abc import AttemptEnd, AttemptStatus, RunEndStatus

MarkKind: TypeAlias = Literal["outside", "stream", "engine", "checkpoint"]


@attrs.define(kw_only=True)
class Wait:
    """One wait for an event, in the middle of an attempt."""

    event_type: str
    began: float
    ended: float | None = None
    answer: str | None = None


@attrs.define(kw_only=True)
class Attempt:
    """One execution of a step."""

    step: str
    delivery: int
    attempt: int
    worker: int
    event: str
    sender: str | None
    """The step that has sent the event, None if it came from outside."""
    since: float
    """When the event stood in line, or the attempt before had failed."""
    began: float
    ended: float | None = None
    status: AttemptStatus | None = None
    """None while it is in work."""
    gave: str = ""
    """What it returned or raised."""
    waits: list[Wait] = attrs.field(factory=list)

    def end(self, at: float, end: AttemptEnd) -> None:
        """Note how it has ended."""
        self.ended, self.status = at, end.status
        self.gave = brief(end.output if end.error is None else end.error) if end.status != "cancelled" else ""
        for wait in self.waits:
            if wait.ended is None:
                wait.ended = at


@attrs.frozen(kw_only=True)
class Mark:
    """Something that happened at one moment."""

    at: float
    kind: MarkKind
    text: str


@attrs.define(kw_only=True)
class RunTrace:
    """What one run has done."""

    run_id: str
    workflow: str
    parent_run_id: str | None
    started_at: datetime
    began: float
    ended: float | None = None
    status: RunEndStatus | None = None
    """None while it is under way."""
    gave: str = ""
    """Its result, or what awaiting it raises."""
    attempts: list[Attempt] = attrs.field(factory=list)
    """In the order in which they began."""
    marks: list[Mark] = attrs.field(factory=list)
    left_out: int = 0
    """Attempts and marks for which there was no room."""
    pending: dict[int, float] = attrs.field(factory=dict)
    """Since when deliveries are in line, or wait to be tried again."""
