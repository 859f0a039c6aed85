"""A run that an execution of another run is made of: what it says and waits for is said and waited for there."""

from collections import deque
from typing import TYPE_CHECKING

from .._events import (
    ChildDispatchEvent,
    ChildEvent,
    Event,
    InputRequiredEvent,
    InternalDispatchEvent,
    StepStateChanged,
)
from .._ledger.waiting import ages
from .stream import EventStream
from .worker import Execution, Parked

if TYPE_CHECKING:  # each is made of the other
    from .run import Run
    from .watching import Watch


class Host:
    """The execution that a child is a part of."""

    __slots__ = ("_execution", "_may_rest", "_place", "asked", "name", "run")

    def __init__(self, run: "Run", execution: Execution, name: str) -> None:
        self.run: Run = run
        """The run that the execution belongs to."""
        self.name: str = name
        """What the child is called in what it says."""
        self.asked: deque[int] = deque()
        """The ages of the questions that the child has asked, except answered ones at the front."""
        self._execution = execution
        # Whether the child is run in the execution's own task, which then waits whenever the child does. And without a
        # deadline of the step's own, which is asked here: in a task of the child's there may be others.
        self._may_rest = execution._is_driven and not run._is_bounded(execution._worker)
        self._place: Parked | None = None

    def rests(self) -> None:
        """The child has come to rest and waits for the outside: so does the execution."""
        execution, run = self._execution, self.run
        if not self._may_rest or self._place is not None:
            return
        worker = execution._worker
        self._place = place = Parked(run, worker)
        place.is_counted = worker.is_parked = True
        execution._delivery.blocked_in = f"its child {self.name!r}"
        run.active -= 1
        run.flush()
        if not run.active:
            run.rest()

    def goes_on(self) -> None:
        """The child works again, or has ended."""
        place, self._place = self._place, None
        if place is not None:
            self._execution._delivery.blocked_in = None
            place.count_as_active()

    def note_asked(self) -> None:
        """Note that the child asks."""
        self.asked.append(next(ages))

    def oldest_question(self, unanswered: int) -> int | None:
        """Return the age of the oldest question of the child, of which so many are *unanswered*."""
        while len(self.asked) > max(unanswered, 0):
            self.asked.popleft()
        return self.asked[0] if self.asked else None


class ForwardedStream(EventStream):
    """The stream of a child, which keeps nothing: what is written to it is on the stream of its host's run.

    A question stands there as itself, because whoever answers need not know who asks. Everything else is in a
    `ChildEvent`.
    """

    __slots__ = ("_host", "_run_id", "_watch")

    def __init__(self, host: Host, run_id: str, watch: "Watch | None" = None) -> None:
        super().__init__()
        self._host = host
        self._run_id = run_id
        self._watch = watch

    def append(self, event: Event) -> None:
        """Write *event* to the stream of the host's run."""
        if self.is_sealed:
            return
        if isinstance(event, InputRequiredEvent):
            self._host.note_asked()
        self._write(event)

    def _write(self, event: Event) -> None:
        if self._watch is not None and not isinstance(event, StepStateChanged):
            self._watch.event_written(event)
        stream = self._host.run.stream
        wrapped = event if isinstance(event, InputRequiredEvent) else self._wrapped(event)
        if not isinstance(stream, ForwardedStream):
            stream.append(wrapped)
        elif not stream.is_sealed:
            stream._write(wrapped)  # it is not that run which asks

    def _wrapped(self, event: Event) -> Event:
        kind = ChildDispatchEvent if isinstance(event, InternalDispatchEvent) else ChildEvent
        names: tuple[str, ...] = (self._host.name,)
        run_id = self._run_id
        if isinstance(event, ChildEvent | ChildDispatchEvent):  # of a child of the child
            names, run_id, event = (*names, *event.namespace), event.run_id, event.event
        return kind(namespace=names, run_id=run_id, event=event)
