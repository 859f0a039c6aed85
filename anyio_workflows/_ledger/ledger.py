"""What a run knows, and what follows from each thing that happens to it.

Sans I/O: it imports no event loop, never waits, and every method is one indivisible step. It decides; the
engine performs. Effects that the engine has to perform are left in `ready` and `answered`.
"""

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from .._brief import brief
from .._errors import WorkflowRuntimeError
from .._events import Event, HumanResponseEvent, StepCancelledEvent, StopEvent, UnhandledEvent
from .collecting import Entry, Expected
from .delivery import Delivery, Desk
from .outcome import Outcome
from .plan import Plan, Route
from .report import StallReport
from .waiting import Wait, Waits

_MOST_UNHANDLED = 20
"""Unhandled events kept for the stall report, so that a long run stays in constant memory."""


_NO_REQUIREMENTS: Mapping[str, Any] = {}


class Ledger:
    """The deliveries, collections and waits of one run, and its outcome."""

    __slots__ = (
        "_desk_type",
        "_number",
        "_publish",
        "_waits",
        "answered",
        "cancelled",
        "desks",
        "outcome",
        "pending",
        "plan",
        "prompts",
        "ready",
        "responses",
        "unhandled",
        "unhandled_count",
        "working",
    )

    def __init__(
        self, plan: Plan, publish: Callable[[Event], None], desk_type: Callable[..., Desk] = Desk
    ) -> None:
        self.plan: Plan = plan
        self.desks: list[Any] = [None] * len(plan.nodes)
        """One desk per step, made when its first event arrives."""
        self.pending: dict[int, Delivery] = {}
        """Every delivery that has not been committed, by number, in order of arrival."""
        self.ready: list[Any] = []
        """Desks at which something may start, for the engine to look at."""
        self.answered: list[Wait] = []
        """Waits that have their answer, for the engine to wake."""
        self.cancelled: list[Delivery] = []
        """Deliveries that were cancelled by themselves, for the engine to do it."""
        self.working: int = 0
        """Executions in work."""
        self.prompts: int = 0
        """InputRequiredEvents published."""
        self.responses: int = 0
        """HumanResponseEvents received."""
        self.unhandled: list[Event] | None = None
        self.unhandled_count: int = 0
        self.outcome: Outcome | None = None
        self._waits: Waits | None = None
        self._number = 0
        self._publish = publish
        self._desk_type = desk_type

    # --- events come in

    def emit(
        self,
        event: Event,
        step: str | None = None,
        *,
        source: str = "the run",
        sender: Delivery | None = None,  # noqa: ARG002  # a recorded ledger's
    ) -> bool:
        """Route *event*: to the oldest wait that it answers, else to every step that accepts it.

        Returns:
            True if it is a StopEvent, which decides the run.

        Raises:
            WorkflowRuntimeError: *event* is no event, or the step called *step* does not accept it.
            WorkflowStepDoesNotExistError: There is no step called *step*.
        """
        plan = self.plan
        route = plan.routes.get(event.__class__)
        if route is None:
            route = plan.route(event, source=source)
        if route.is_plain and step is None and self._waits is None:
            for index in route.targets:
                self._deliver(index, event)
            return False
        return self._emit_with_care(event, route, step, source)

    def _emit_with_care(self, event: Event, route: Route, step: str | None, source: str) -> bool:
        targets = route.targets
        if step is not None:
            node = self.plan.node(step)
            if node.index not in targets and not self._is_waited_for(event, step):
                raise WorkflowRuntimeError(
                    f"{source} sent {type(event).__qualname__} to step {step!r}, which does not accept it; "
                    f"it accepts {', '.join(kind.__qualname__ for kind in node.declaration.accepts)}"
                )
            targets = (node.index,) if node.index in targets else ()
        if route.is_stop:
            return True
        if route.is_prompt:
            self.publish_prompt(event, None)
        if route.is_answer:
            self.receive_response()
        self._number += 1
        if self._answer_wait(self._number, event, step):
            return False
        for index in targets:
            self._deliver(index, event)
        if not targets and not route.is_prompt:
            self._keep_unhandled(event, step, is_answer=route.is_answer)
        return False

    def was_sent(self, event: Event, step: str | None, sender: Delivery) -> bool:  # noqa: ARG002
        """Return whether an earlier attempt of *sender* has sent *event*, so that it is not sent again."""
        return False

    def publish_prompt(self, event: Event, sender: Delivery | None) -> None:  # noqa: ARG002
        """Put a question to a human on the stream."""
        self.prompts += 1
        self._publish(event)

    def receive_response(self) -> None:
        """Count the answer of a human."""
        self.responses += 1

    def _answer_wait(self, number: int, event: Event, step: str | None = None) -> bool:
        """Give *event* to the oldest wait that it answers; False if there is none."""
        wait = self._waits.answer(number, event, step) if self._waits is not None else None
        if wait is None:
            return False
        self.answered.append(wait)
        return True

    def _keep_answer(self, number: int, event: Event) -> None:
        self.waits.keep(number, event)

    def knows(self, event: Event) -> bool:
        """Return whether a step, or the workflow, names the class of *event*."""
        return type(event) in self.plan.graph.events

    @property
    def early_answers(self) -> list[tuple[int, Event]]:
        """Answers that nobody has asked for yet, with their numbers, in order of arrival."""
        return self._waits.early if self._waits is not None else []

    def forget_early(self, number: int) -> None:
        """Forget an answer that was kept: somebody in another ledger has it."""
        self.waits.forget(number)

    def is_awaited(self, event: Event) -> bool:
        """Return whether an open wait is answered by *event*."""
        return self._waits is not None and any(
            wait.is_answered_by(event) for wait in self._waits.open.values()
        )

    def oldest_wait_for(self, event: Event) -> int | None:
        """Return the age of the oldest open wait that *event* answers, None if there is none."""
        waits = self._waits.open.values() if self._waits is not None else ()
        return min((wait.age for wait in waits if wait.is_answered_by(event)), default=None)

    def _is_waited_for(self, event: Event, step: str) -> bool:
        return self._waits is not None and any(
            wait.delivery.desk.node.name == step and wait.is_answered_by(event)
            for wait in self._waits.open.values()
        )

    def _deliver(self, index: int, event: Event) -> None:
        desk = self.desks[index] or self.desk(index)
        self._number = number = self._number + 1
        self._line_up(Delivery(number, desk, event))

    def _line_up(self, delivery: Delivery) -> None:
        desk = delivery.desk
        self.pending[delivery.number] = delivery
        desk.pending += 1
        desk.put(delivery)
        if not desk.is_ready:
            desk.is_ready = True
            self.ready.append(desk)

    def desk(self, index: int) -> Any:
        """Return the desk of a step, made when it is first asked for."""
        desk = self.desks[index]
        if desk is None:
            desk = self.desks[index] = self._desk_type(self.plan.nodes[index])
        return desk

    def _keep_unhandled(self, event: Event, step: str | None, *, is_answer: bool) -> None:
        if is_answer:  # its question may still come
            self._keep_answer(self._number, event)
            return
        if self.unhandled is None:
            self.unhandled = []
        self.unhandled_count += 1
        if len(self.unhandled) < _MOST_UNHANDLED:
            self.unhandled.append(event)
        kind = type(event)
        self._publish(
            UnhandledEvent(
                event_type=kind.__name__,
                qualified_name=f"{kind.__module__}.{kind.__qualname__}",
                step_name=step,
                idle=self.working <= len(self._waits.open if self._waits is not None else ()),
            )
        )

    # --- executions begin and end

    def begin(self, desk: Desk) -> Delivery | None:
        """Take the oldest delivery of *desk* into work; None if there is none."""
        while (delivery := desk.take()) is not None and delivery.is_cancelled:
            pass  # it has ended already
        if delivery is not None:
            delivery.is_in_work = True
            self.working += 1
        return delivery

    def commit(self, delivery: Delivery, output: Event | None) -> bool:
        """End the execution of *delivery*: its output is pending from now on, its input no more.

        Returns:
            True if *output* is a StopEvent, which decides the run.

        Raises:
            WorkflowRuntimeError: *output* is no event. The execution has not ended: `withdraw` it.
        """
        if delivery.is_cancelled:
            self.drop(delivery)
            return False
        if output is not None:
            stops = self.emit(output, source=f"step {delivery.desk.node.name!r}")
        else:
            stops = False
        self._end(delivery)
        return stops

    def cancel_step(self, index: int, reason: str) -> int:
        """Cancel the deliveries of the step at *index*, in line or in work; return how many."""
        of_step = [delivery for delivery in self.pending.values() if delivery.desk.node.index == index]
        return sum(self.cancel(delivery, reason) for delivery in of_step)

    def cancel_fan_outs(self, producer: int, reason: str) -> int:  # noqa: ARG002
        """Cancel what has come of the lists of the step at *producer*: nothing, in a ledger without lineage."""
        return 0

    def cancel(self, delivery: Delivery, reason: str) -> bool:
        """End *delivery* without an output: at once, or when the engine has cancelled its execution.

        Returns:
            False if that was done before, or was about to be.
        """
        if delivery.is_cancelled:
            return False
        self._publish(
            StepCancelledEvent(step_name=delivery.desk.node.name, input_event=delivery.event, reason=reason)
        )
        delivery.is_cancelled = True
        self.cancelled.append(delivery)
        if not delivery.is_in_work:  # it stays in its line, where whoever comes to it passes it over
            self._forget(delivery)
        return True

    def drop(self, delivery: Delivery) -> None:
        """End the execution of *delivery*, which was cancelled by itself: what it did to collections is undone."""
        self._undo(delivery)
        self._end(delivery)

    def withdraw(self, delivery: Delivery) -> None:
        """End the execution of *delivery*, by which the run ends: what it did to collections is undone."""
        self._undo(delivery)
        self._end(delivery)

    @staticmethod
    def _undo(delivery: Delivery) -> None:
        for buffer, taken in reversed(delivery.took or ()):
            buffer.put_back(taken)
        for buffer, entry in delivery.put or ():
            if not buffer.withdraw(entry):
                # Another execution has it for good: adding it once more would count one event twice.
                delivery.spent = [*(delivery.spent or ()), (buffer, entry)]
        delivery.put = delivery.took = None

    def _end(self, delivery: Delivery) -> None:
        del self.pending[delivery.number]
        delivery.desk.pending -= 1
        delivery.is_in_work = False
        self.working -= 1

    def _forget(self, delivery: Delivery) -> None:
        """End *delivery*, which was not in work."""
        self.working += 1
        self._end(delivery)

    # --- collections

    def collect(
        self, delivery: Delivery, event: Event, expected: Expected[Any], buffer_id: str | None
    ) -> list[Any] | None:
        """Add *event* to a collection of the step of *delivery*, and give what is complete.

        Raises:
            WorkflowRuntimeError: *event* is no event or *expected* is not made of event types.
        """
        step = delivery.desk.node.name
        if not isinstance(event, Event):
            raise WorkflowRuntimeError(
                f"step {step!r} called collect_events with {brief(event)}, which is no event; "
                f"give it the event that the step was called with"
            )
        buffer = delivery.desk.buffer(buffer_id)
        buffer.validate(expected)
        if not _holds(delivery.put, buffer, event) and not _holds(delivery.spent, buffer, event):
            entry = buffer.put(event, None if delivery.lineage is None else delivery.lineage.recoveries)
            if delivery.put is None:
                delivery.put = [(buffer, entry)]
            else:
                delivery.put.append((buffer, entry))
        taken = buffer.take(expected)
        if taken is None:
            return None
        if delivery.took is None:
            delivery.took = []
        delivery.took.append((buffer, taken))
        return [entry.event for entry in taken]

    # --- waits

    @property
    def waits(self) -> Waits:
        """The waits of this run; a run that has none is routed faster."""
        if self._waits is None:
            self._waits = Waits()
        return self._waits

    def open_wait(
        self,
        delivery: Delivery,
        event_type: type[Event],
        *,
        requirements: Mapping[str, Any] | None,
        waiter_id: str | None,
        timeout: float | None = None,
    ) -> Wait:
        """Open a wait for *event_type*; it may be answered already, by an event that came before.

        The engine keeps the *timeout*; a ledger that is recorded notes it.
        """
        wait = self._new_wait(delivery, event_type, requirements, waiter_id, timeout)
        self.waits.add(wait)
        return wait

    def _new_wait(
        self,
        delivery: Delivery,
        event_type: type[Event],
        requirements: Mapping[str, Any] | None,
        waiter_id: str | None,
        timeout: float | None,
    ) -> Wait:
        self._number += 1
        return Wait(
            self._number,
            delivery,
            event_type,
            accepts_subclasses=delivery.desk.node.declaration.accept_event_subclasses,
            requirements=requirements or _NO_REQUIREMENTS,
            waiter_id=waiter_id,
            timeout=timeout,
        )

    def close_wait(self, wait: Wait) -> None:
        """Forget *wait*, which timed out or was cancelled."""
        self.waits.open.pop(wait.number, None)

    def give_back(self, wait: Wait) -> None:
        """Let another wait have the answer of *wait*, whose execution was cancelled before it got to it."""
        event, wait.answer = wait.answer, None
        if event is None:
            return
        if not self._answer_wait(wait.answer_number, event):
            self._keep_answer(wait.answer_number, event)

    # --- at rest

    @property
    def has_open_waits(self) -> bool:
        """Whether an execution waits for an event."""
        return self._waits is not None and bool(self._waits.open)

    @property
    def open_waits(self) -> tuple[Wait, ...]:
        """The open waits, oldest first."""
        return tuple(self._waits.open.values()) if self._waits is not None else ()

    @property
    def has_timed_waits(self) -> bool:
        """Whether an execution waits for an event and goes on without it after some time."""
        return self._waits is not None and any(wait.timeout is not None for wait in self._waits.open.values())

    @property
    def awaits_human(self) -> bool:
        """Whether a human may still answer: a reason to wait, and time that no timeout counts."""
        if self.prompts > self.responses:
            return True
        graph = self.plan.graph
        if graph.takes_human_responses and not graph.publishes_prompts and not self.prompts:
            return True
        return self._waits is not None and any(
            issubclass(wait.event_type, HumanResponseEvent) for wait in self._waits.open.values()
        )

    def active_steps(self) -> tuple[str, ...]:
        """Return the names of the steps with executions in work, in order of declaration."""
        names = {
            delivery.desk.node.name
            for delivery in self.pending.values()
            if delivery.is_in_work or delivery.failure is not None  # between two attempts
        }
        return tuple(node.name for node in self.plan.nodes if node.name in names)

    def report(self, most: int | None = None) -> StallReport:
        """Say what the run is left with.

        Args:
            most: Deliveries and waits to name; a run that rests often, with many of them, must not look at all each
                time. None names all.
        """
        waits = self._waits.open if self._waits is not None else {}
        return StallReport(
            collections=tuple(self._half_full()),
            pending=tuple(_describe(delivery) for delivery in islice(self.pending.values(), most)),
            waits=tuple(str(wait) for wait in islice(waits.values(), most)),
            unconsumed=tuple(self._unconsumed()),
            is_waiting_for_human=self.awaits_human,
            unnamed=sum(max(0, len(there) - most) for there in (self.pending, waits))
            if most is not None
            else 0,
        )

    def _half_full(self) -> list[str]:
        lines = []
        for desk in self.desks:
            if desk is None:
                continue
            for buffer in (desk.buffers or {}).values():
                if not buffer.size:
                    continue
                where = "" if buffer.buffer_id is None else f" in buffer {buffer.buffer_id!r}"
                have = " and ".join(
                    f"{count} of {wanted} {name}" if wanted else f"{count} {name}"
                    for name, count, wanted in buffer.shortfall()
                )
                lines.append(f"step {desk.node.name!r} has {have}{where}")
        return lines

    def _unconsumed(self) -> list[str]:
        lines = [f"nothing accepts {brief(event)}" for event in self.unhandled or ()]
        if self.unhandled_count > len(lines):
            lines.append(f"nothing accepted {self.unhandled_count - len(lines)} further events")
        early = self._waits.early if self._waits is not None else ()
        return lines + [f"nothing has asked for {brief(event)}" for _, event in early]


def stop_result(event: StopEvent) -> Any:
    """Return the result of a run that ended with *event* (S-EV-4)."""
    return event.get("result") if type(event) is StopEvent else event


def _holds(records: list[tuple[Any, Entry]] | None, buffer: object, event: Event) -> bool:
    return records is not None and any(b is buffer and entry.event is event for b, entry in records)


def _describe(delivery: Delivery) -> str:
    if not delivery.is_in_work:
        how = "in line"
    elif delivery.blocked_in is not None:
        how = f"in work, blocked in {delivery.blocked_in}"
    else:
        how = "in work"
    return f"{brief(delivery.event)} is pending at step {delivery.desk.node.name!r} ({how})"
