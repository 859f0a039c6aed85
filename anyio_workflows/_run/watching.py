"""Tell the observers of one run what it does; loaded by programs that observe.

The engine says what happens where it happens: an observed run has a ledger and a stream of their own classes, so that
the others do nothing for it. What observers are told is in `_observer`.
"""

from collections.abc import Callable, Iterable
from contextvars import Context as ContextVars
from inspect import iscoroutinefunction
from typing import Any, NamedTuple, TypeAlias, assert_never

import anyio

from .._brief import brief
from .._errors import WorkflowRuntimeError
from .._events import Event, StepStateChanged
from .._ledger.collecting import Expected
from .._ledger.delivery import Delivery, Desk
from .._ledger.descending import DescendingLedger
from .._ledger.ledger import Ledger, stop_result
from .._ledger.matching import MatchingLedger
from .._ledger.outcome import Cancelled, Completed, Failed, Outcome, TimedOut
from .._ledger.plan import Plan
from .._ledger.waiting import Wait
from .._observer import AttemptEnd, ObservedAttempt, ObservedRun, Observer, RunEnd
from . import log
from .stream import EventStream
from .worker import Worker

_HOOKS = tuple(name for name in vars(Observer) if not name.startswith("_"))

_Hooks: TypeAlias = tuple[tuple[Observer, Callable[..., object]], ...]

_CUT_SHORT = AttemptEnd(status="cancelled")


def observers_of(*groups: object) -> tuple[Observer, ...]:
    """Return those in *groups*, each once, in their order.

    Raises:
        WorkflowRuntimeError: Somebody is no observer, or has a method that would have to be awaited.
    """
    found: list[Observer] = []
    for group in groups:
        if not isinstance(group, Iterable) or isinstance(group, str | type):
            raise WorkflowRuntimeError(
                f"observers={brief(group)} is no list of observers; write observers=[...]"
            )
        for observer in group:
            _check(observer)
            if not any(observer is other for other in found):
                found.append(observer)
    return tuple(found)


def _check(observer: object) -> None:
    if not isinstance(observer, Observer):
        raise WorkflowRuntimeError(
            f"observers=[...] has {brief(observer)}, which is no observer; "
            f"give an instance of a class derived from anyio_workflows.abc.Observer"
        )
    wrong = [name for name in _HOOKS if iscoroutinefunction(getattr(observer, name))]
    if wrong:
        raise WorkflowRuntimeError(
            f"{type(observer).__qualname__}.{wrong[0]} is async def, but an observer is called and not awaited; "
            f"make it a plain def that is quick, and hand what takes time to a task of yours"
        )


class _Emission(NamedTuple):
    """What follows from one event that is being sent."""

    deliveries: list[Delivery]
    waits: list[Wait]


class Watch:
    """What one run tells its observers."""

    __slots__ = (
        "_attempts",
        "_complained",
        "_hooks",
        "_lanes",
        "_run",
        "_waiting",
        "committing",
        "emission",
        "observers",
    )

    _run: ObservedRun

    def __init__(self, observers: Iterable[Observer]) -> None:
        self.observers: tuple[Observer, ...] = tuple(observers)
        self._hooks: dict[str, _Hooks] = {name: tuple(_hooks(name, observers)) for name in _HOOKS}
        self._complained: list[Observer] = []
        """Those whose exception was logged; once is enough."""
        self._attempts: dict[int, ObservedAttempt] = {}
        """Those in work, by the numbers of their deliveries."""
        self._lanes: dict[Worker, int] = {}
        self._waiting: dict[int, ObservedAttempt] = {}
        """Whose the open waits are, by the numbers of these."""
        self.committing: Delivery | None = None
        """What is just being committed, and sends what it has given."""
        self.emission: _Emission | None = None
        """The event that is just being sent."""

    # --- what an observed run is made of

    def stream(self, limit: int | None) -> EventStream:
        """Return the stream of a run."""
        return _WatchedStream(self, limit)

    def ledger(self, plan: Plan, publish: Callable[[Event], None], desk: Callable[..., Desk]) -> Ledger:
        """Return the ledger of a run that is not recorded."""
        return WatchedLedger(self, plan, publish, desk)

    # --- telling

    def _tell(self, hook: str, *facts: object) -> None:
        for observer, method in self._hooks[hook]:
            try:
                method(*facts)
            except BaseException as error:  # noqa: ASYNC103  # nobody waits in an observer: it is not cancelled
                if not isinstance(error, Exception | anyio.get_cancelled_exc_class()):
                    raise
                if not any(observer is other for other in self._complained):
                    self._complained.append(observer)
                    log.error(
                        "%s: %s.%s, which observes run %s, raised; the run goes on, and its further exceptions "
                        "are passed over",
                        self._run.workflow,
                        type(observer).__qualname__,
                        hook,
                        self._run.run_id,
                        error=error,
                    )

    def run_started(self, run_id: str, workflow: str, parent_run_id: str | None) -> None:
        """The run was started."""
        self._run = ObservedRun(run_id=run_id, workflow=workflow, parent_run_id=parent_run_id)
        self._tell("run_started", self._run)

    def run_ended(self, outcome: Outcome, error: BaseException | None) -> None:
        """The run has ended, and awaiting it raises *error*."""
        # Those that were overtaken by the outcome: what they returned is dropped.
        for attempt in tuple(self._attempts.values()):
            self._tell("attempt_ended", attempt, _CUT_SHORT)
        self._attempts.clear()
        self._tell("run_ended", self._run, _end(outcome, error))

    def attempt_started(self, delivery: Delivery, worker: Worker, context: ContextVars) -> None:
        """An execution begins, whose body will run in *context*."""
        attempt = ObservedAttempt(
            run=self._run,
            step=delivery.desk.node.name,
            delivery=delivery.number,
            attempt=delivery.attempt,
            event=delivery.event,
            worker=self._lanes.setdefault(worker, len(self._lanes) + 1),
        )
        self._attempts[delivery.number] = attempt
        context.run(self._tell, "attempt_started", attempt, getattr(delivery, "origin", None))

    def attempt_failed(self, delivery: Delivery, error: BaseException, *, was_cancelled: bool) -> None:
        """An execution has ended by *error*."""
        self._end_attempt(delivery, _CUT_SHORT if was_cancelled else AttemptEnd(status="failed", error=error))

    def attempt_cut_short(self, delivery: Delivery) -> None:
        """An execution that was cancelled by itself has returned all the same."""
        self._end_attempt(delivery, _CUT_SHORT)

    def attempt_committed(self, delivery: Delivery, output: object) -> None:
        """An execution has ended, and its *output* is pending."""
        self._end_attempt(delivery, AttemptEnd(status="completed", output=output))

    def _end_attempt(self, delivery: Delivery, end: AttemptEnd) -> None:
        attempt = self._attempts.pop(delivery.number, None)
        if attempt is not None:
            self._tell("attempt_ended", attempt, end)

    def attempt_of(self, delivery: Delivery | None) -> ObservedAttempt | None:
        """Return the attempt that is in work at *delivery*."""
        return None if delivery is None else self._attempts.get(delivery.number)

    def event_sent(self, event: Event, sender: ObservedAttempt | None, emission: _Emission) -> None:
        """An event was sent, and this has followed from it."""
        self._tell("event_sent", self._run, event, sender)
        for delivery in emission.deliveries:
            self.event_received(delivery)
        for wait in emission.waits:
            self.wait_ended(wait)

    def event_received(self, delivery: Delivery) -> None:
        """An event stands in line."""
        step, origin = delivery.desk.node.name, delivery.origin
        self._tell("event_received", self._run, delivery.event, step, delivery.number, origin)

    def event_written(self, event: Event) -> None:
        """An event was written to the stream."""
        self._tell("event_written", self._run, event)

    def event_collected(
        self,
        delivery: Delivery,
        event: Event,
        expected: Expected[Any],
        batch: list[Event] | None,
        buffer_id: str | None,
    ) -> None:
        """An execution has collected."""
        attempt = self.attempt_of(delivery)
        if attempt is not None:
            given = None if batch is None else tuple(batch)  # the list is the step's
            self._tell("event_collected", attempt, event, expected, given, buffer_id)

    def wait_started(self, wait: Wait) -> None:
        """An execution waits for an event."""
        attempt = self.attempt_of(wait.delivery)
        if attempt is not None and wait.number not in self._waiting:
            self._waiting[wait.number] = attempt
            self._tell("wait_started", attempt, wait.event_type)

    def wait_ended(self, wait: Wait) -> None:
        """It has its answer, or waits no longer."""
        attempt = self._waiting.pop(wait.number, None)
        if attempt is not None:
            self._tell("wait_ended", attempt, wait.answer)

    def checkpoint_taken(self, checkpoint_id: str, step: str | None) -> None:
        """The run was cut."""
        self._tell("checkpoint_taken", self._run, checkpoint_id, step)


def _hooks(name: str, observers: Iterable[Observer]) -> Iterable[tuple[Observer, Callable[..., object]]]:
    """Return the methods called *name* that do something."""
    for observer in observers:
        method = getattr(observer, name)
        if getattr(method, "__func__", method) is not getattr(Observer, name):
            yield observer, method


def _end(outcome: Outcome, error: BaseException | None) -> RunEnd:
    match outcome:
        case Completed(event):
            return RunEnd(status="completed", result=stop_result(event))
        case Failed():
            return RunEnd(status="failed", error=error)
        case TimedOut():
            return RunEnd(status="timed_out", error=error)
        case Cancelled(_, by_user, is_put_away):
            if is_put_away:
                return RunEnd(status="put_away", error=error)
            return RunEnd(status="cancelled_by_user" if by_user else "cancelled", error=error)
        case _:
            assert_never(outcome)


class _WatchedStream(EventStream):
    """A stream of an observed run."""

    __slots__ = ("_watch",)

    def __init__(self, watch: Watch, limit: int | None) -> None:
        super().__init__(limit)
        self._watch = watch

    def append(self, event: Event) -> None:
        """Write *event*, and tell of it."""
        if self.is_sealed:
            return
        super().append(event)
        if not isinstance(event, StepStateChanged):
            self._watch.event_written(event)


class WatchedMixin(DescendingLedger):
    """What a ledger of an observed run does beside: before another ledger among the bases of a class."""

    __slots__ = ()

    watch: Watch

    def emit(
        self,
        event: Event,
        step: str | None = None,
        *,
        source: str = "the run",
        sender: Delivery | None = None,
    ) -> bool:
        """Route *event*, and tell of it and of what follows from it, if it is not one that was sent before."""
        watch, number = self.watch, self._number
        attempt = watch.attempt_of(watch.committing if sender is None else sender)
        watch.emission = emission = _Emission([], [])
        try:
            stops = super().emit(event, step, source=source, sender=sender)
        finally:
            watch.emission = None
        for delivery in emission.deliveries:
            delivery.origin = attempt
        if stops or self._number != number:
            watch.event_sent(event, attempt, emission)
        return stops

    def _delivered(self, delivery: Delivery) -> None:
        super()._delivered(delivery)
        emission = self.watch.emission
        if emission is not None:
            emission.deliveries.append(delivery)
        else:
            delivery.origin = self.watch.attempt_of(self.watch.committing)
            self.watch.event_received(delivery)

    def commit(self, delivery: Delivery, output: Event | list[Event] | None) -> bool:
        """End the execution of *delivery*, and tell of it."""
        watch = self.watch
        if delivery.is_cancelled:
            watch.attempt_cut_short(delivery)
            return super().commit(delivery, output)
        watch.committing = delivery
        try:
            stops = super().commit(delivery, output)
        finally:
            watch.committing = None
        watch.attempt_committed(delivery, output)
        return stops

    def collect(
        self, delivery: Delivery, event: Event, expected: Expected[Any], buffer_id: str | None
    ) -> list[Any] | None:
        """Collect, and tell of it."""
        given = super().collect(delivery, event, expected, buffer_id)
        self.watch.event_collected(delivery, event, expected, given, buffer_id)
        return given

    def open_wait(self, delivery: Delivery, event_type: type[Event], **options: Any) -> Wait:
        """Open a wait, and tell of it."""
        wait = super().open_wait(delivery, event_type, **options)
        self.watch.wait_started(wait)
        if wait.answer is not None:
            self.watch.wait_ended(wait)
        return wait

    def close_wait(self, wait: Wait) -> None:
        """Forget a wait that is over, and tell of it."""
        super().close_wait(wait)
        self.watch.wait_ended(wait)

    def _answer_wait(self, number: int, event: Event, step: str | None = None) -> bool:
        if not super()._answer_wait(number, event, step):
            return False
        wait, emission = self.answered[-1], self.watch.emission
        if emission is not None:
            emission.waits.append(wait)
        else:
            self.watch.wait_ended(wait)
        return True


class WatchedLedger(WatchedMixin, MatchingLedger):
    """The ledger of an observed run."""

    __slots__ = ("watch",)

    def __init__(self, watch: Watch, *as_ledger: Any) -> None:
        super().__init__(*as_ledger)
        self.watch: Watch = watch
