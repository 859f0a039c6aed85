"""Record what runs do, as an observer of theirs.

Values of the user's are kept as short text: nothing is kept alive, and nothing changes afterwards.
"""

from datetime import UTC, datetime

import anyio

from .._brief import brief
from .._errors import WorkflowRuntimeError
from .._events import Event, InternalDispatchEvent
from ..abc import AttemptEnd, ObservedAttempt, ObservedRun, Observer, RunEnd
from .page import to_html
from .records import Attempt, Mark, MarkKind, RunTrace, Wait


class TraceRecorder(Observer):
    """Records runs, to be looked at as a timeline: which step ran when, at which event, in which worker.

    Give it as ``Workflow(observers=[recorder])``, or for one run as ``workflow.run(observers=[recorder])``, and write
    `to_html` to a file, when the run has ended or before.
    """

    def __init__(self, *, most_runs: int = 100, most_entries: int = 10_000) -> None:
        """Record nothing yet.

        Args:
            most_runs: Runs that are kept; the oldest is forgotten for a new one.
            most_entries: Attempts that are kept of each run, and as many of other things; it is said how many further
                ones there were.

        Raises:
            WorkflowRuntimeError: An argument is no number of them.
        """
        for name, value in (("most_runs", most_runs), ("most_entries", most_entries)):
            given: object = value
            if not isinstance(given, int) or isinstance(given, bool) or given < 1:
                raise WorkflowRuntimeError(f"{name}={value!r} is no number of them; give an int of 1 or more")
        self._most_runs = most_runs
        self._most_entries = most_entries
        self._runs: dict[ObservedRun, RunTrace] = {}
        self._in_work: dict[ObservedAttempt, Attempt] = {}

    @property
    def run_ids(self) -> tuple[str, ...]:
        """Ids of the runs that it has, in the order in which they were started."""
        return tuple(trace.run_id for trace in self._runs.values())

    def to_html(self, run_id: str | None = None) -> str:
        """Return a page of HTML that loads nothing from elsewhere, with a timeline and a table for each run.

        Args:
            run_id: Only this run; by default all that it has.

        Raises:
            WorkflowRuntimeError: It has no such run.
        """
        traces = [trace for trace in self._runs.values() if run_id in (None, trace.run_id)]
        if run_id is not None and not traces:
            raise WorkflowRuntimeError(
                f"this TraceRecorder has no run {run_id!r}; it was never told of it, or has forgotten it for newer ones"
            )
        return to_html(traces)

    # --- what it is told

    def run_started(self, run: ObservedRun) -> None:
        """Begin to record a run."""
        while len(self._runs) >= self._most_runs:
            del self._runs[next(iter(self._runs))]
        self._runs[run] = RunTrace(
            run_id=run.run_id,
            workflow=run.workflow,
            parent_run_id=run.parent_run_id,
            started_at=datetime.now(UTC),
            began=anyio.current_time(),
        )

    def run_ended(self, run: ObservedRun, end: RunEnd) -> None:
        """Note how it has ended."""
        trace = self._runs.get(run)
        if trace is not None:
            trace.ended, trace.status = anyio.current_time(), end.status
            trace.gave = brief(end.result if end.error is None else end.error)
            trace.pending.clear()

    def attempt_started(self, attempt: ObservedAttempt, sender: ObservedAttempt | None) -> None:
        """Note an attempt, and how long it had to wait."""
        trace = self._runs.get(attempt.run)
        if trace is None:
            return
        now = anyio.current_time()
        since = trace.pending.pop(attempt.delivery, now)
        if len(trace.attempts) >= self._most_entries:
            trace.left_out += 1
            return
        noted = Attempt(
            step=attempt.step,
            delivery=attempt.delivery,
            attempt=attempt.attempt,
            worker=attempt.worker,
            event=brief(attempt.event),
            sender=None if sender is None else sender.step,
            since=since,
            began=now,
        )
        trace.attempts.append(noted)
        self._in_work[attempt] = noted

    def attempt_ended(self, attempt: ObservedAttempt, end: AttemptEnd) -> None:
        """Note how it has ended."""
        noted = self._in_work.pop(attempt, None)
        now = anyio.current_time()
        if noted is not None:
            noted.end(now, end)
        if end.status == "failed" and (trace := self._runs.get(attempt.run)) is not None:
            trace.pending[attempt.delivery] = now

    def wait_started(self, attempt: ObservedAttempt, event_type: type[Event]) -> None:
        """Note that an attempt waits."""
        noted = self._in_work.get(attempt)
        if noted is not None:
            noted.waits.append(Wait(event_type=event_type.__qualname__, began=anyio.current_time()))

    def wait_ended(self, attempt: ObservedAttempt, event: Event | None) -> None:
        """Note what it was given; of several waits of one attempt, which are of its child tasks, the oldest fits."""
        noted = self._in_work.get(attempt)
        for wait in noted.waits if noted is not None else ():
            if wait.ended is None and (event is None or wait.event_type == type(event).__qualname__):
                wait.ended, wait.answer = anyio.current_time(), None if event is None else brief(event)
                break

    def event_received(
        self,
        run: ObservedRun,
        event: Event,  # noqa: ARG002
        step: str,  # noqa: ARG002
        delivery: int,
        sender: ObservedAttempt | None,  # noqa: ARG002
    ) -> None:
        """Note since when an event stands in line."""
        trace = self._runs.get(run)
        if trace is not None:
            trace.pending[delivery] = anyio.current_time()

    def event_sent(self, run: ObservedRun, event: Event, sender: ObservedAttempt | None) -> None:
        """Note what came from outside; what steps send is seen at the attempts that it leads to."""
        if sender is None:
            self._mark(run, "outside", brief(event))

    def event_written(self, run: ObservedRun, event: Event) -> None:
        """Note what went to the stream."""
        self._mark(run, "engine" if isinstance(event, InternalDispatchEvent) else "stream", brief(event))

    def checkpoint_taken(self, run: ObservedRun, checkpoint_id: str, step: str | None) -> None:
        """Note a checkpoint."""
        self._mark(run, "checkpoint", checkpoint_id if step is None else f"{checkpoint_id}, after {step}")

    def _mark(self, run: ObservedRun, kind: MarkKind, text: str) -> None:
        trace = self._runs.get(run)
        if trace is None:
            return
        if len(trace.marks) >= self._most_entries:
            trace.left_out += 1
        else:
            trace.marks.append(Mark(at=anyio.current_time(), kind=kind, text=text))
