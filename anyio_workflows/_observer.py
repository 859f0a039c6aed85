"""What a run tells those who observe it: the hooks, and the facts that they are given.

When a hook is called, and what becomes of one that raises, is the engine's to decide.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from ._events import Event

RunEndStatus = Literal["completed", "failed", "timed_out", "cancelled", "cancelled_by_user", "put_away"]
"""How a run can end; ``put_away`` is one that waits in its store alone, for an event from outside."""

AttemptStatus = Literal["completed", "failed", "cancelled"]
"""How an attempt can end; ``cancelled`` is also one whose run was decided before it was done."""


@attrs.frozen(kw_only=True, eq=False)
class ObservedRun:
    """One run; the same object in every call about it."""

    run_id: str
    """Its id."""

    workflow: str
    """Name of its workflow."""

    parent_run_id: str | None
    """Id of the run that it is nested in, None if it was started from outside of any."""


@attrs.frozen(kw_only=True, eq=False)
class ObservedAttempt:
    """One execution of a step at one event; the same object in every call about it."""

    run: ObservedRun
    """The run that it is part of."""

    step: str
    """Name of the step."""

    delivery: int
    """Number of the delivery, which depends on the run's own history only; a retry keeps it."""

    attempt: int
    """1 for the first, and so on."""

    event: Event
    """What the step was called with."""

    worker: int
    """Which of the run's workers it is in, counted from 1: a worker is in one attempt at a time."""


@attrs.frozen(kw_only=True, eq=False)
class AttemptEnd:
    """What came of an attempt."""

    status: AttemptStatus
    """How it ended."""

    output: Any = None
    """What it returned, if it completed: an event mostly, or None."""

    error: BaseException | None = None
    """What it raised, if it failed, whether or not it is tried again."""


@attrs.frozen(kw_only=True, eq=False)
class RunEnd:
    """What came of a run."""

    status: RunEndStatus
    """How it ended."""

    result: Any = None
    """What it gives, if it completed."""

    error: BaseException | None = None
    """What awaiting it raises, if it did not complete."""


class Observer:
    """Somebody who is told what runs do: derive from it, and write the methods that you want to be called.

    Given as ``Workflow(observers=[...])``, ``workflow.run(observers=[...])`` or ``RunGroup(observers=[...])``; one that
    is given twice is called once. It may observe any number of runs at once. What it does not override is not called,
    and costs nothing.

    Every method is called in the thread of the event loop, in the middle of what the engine does: it must be quick,
    must not wait, and must not touch the run. One that raises harms nobody: its first exception in a run is logged with
    its name, to the logger ``anyio_workflows``, and the run goes on.

    A base class with methods that do nothing rather than a protocol: an observer of attempts alone has one method, and a
    hook that is added later breaks nobody.
    """

    def run_started(self, run: ObservedRun) -> None:
        """A run was started, in the context of whoever starts it; it may have to wait for a place."""

    def run_ended(self, run: ObservedRun, end: RunEnd) -> None:
        """A run has ended, and none of its tasks is left. Of a run that was started this is the last call."""

    def attempt_started(self, attempt: ObservedAttempt, sender: ObservedAttempt | None) -> None:
        """A step is about to be called, for the first time at this event or once more.

        It is called in the copy of the context variables that the body of the step gets, in its thread if it has one:
        what is set here is visible there, and nowhere else.

        Args:
            attempt: The attempt.
            sender: The attempt that sent the event; None if it came from outside, or before the run was resumed.
        """

    def attempt_ended(self, attempt: ObservedAttempt, end: AttemptEnd) -> None:
        """A step has returned, has raised or was cancelled; once for each attempt that was started."""

    def event_sent(self, run: ObservedRun, event: Event, sender: ObservedAttempt | None) -> None:
        """An event was sent or returned by *sender*, or came from outside if that is None, the start event too."""

    def event_received(
        self, run: ObservedRun, event: Event, step: str, delivery: int, sender: ObservedAttempt | None
    ) -> None:
        """An event that was sent stands in line at *step* now, as *delivery*; each receiver is told of."""

    def event_written(self, run: ObservedRun, event: Event) -> None:
        """An event was written to the stream: by a step, or by the engine, of itself or as the last one.

        What tells of the beginning and end of executions, `StepStateChanged`, is left out.
        """

    def event_collected(
        self,
        attempt: ObservedAttempt,
        event: Event,
        expected: Sequence[type[Event]] | Mapping[type[Event], int],
        batch: Sequence[Event] | None,
        buffer_id: str | None,
    ) -> None:
        """A step has called `Context.collect_events`.

        Args:
            attempt: Whose step it is.
            event: What it has added, unless it had done so before.
            expected: What it wants together.
            batch: What it was given, which is consumed if the attempt completes; None if something is missing.
            buffer_id: Of which collection of the step.
        """

    def wait_started(self, attempt: ObservedAttempt, event_type: type[Event]) -> None:
        """A step waits for an event of *event_type*, in the middle of its attempt."""

    def wait_ended(self, attempt: ObservedAttempt, event: Event | None) -> None:
        """A wait has got its *event*; None if its time was over, or it was cancelled."""

    def checkpoint_taken(self, run: ObservedRun, checkpoint_id: str, step: str | None) -> None:
        """A recorded run was cut at the end of an execution of *step*; None if it was at another moment."""
