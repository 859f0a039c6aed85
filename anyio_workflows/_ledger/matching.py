"""A ledger for runs in which a delivery is worked on more than once: what an attempt did is not done again.

What an attempt has sent stays delivered, and its answers stay its own; the next one is matched with them, in whatever
order it comes to them. What it did to collections is undone, what it did to the state stays.
"""

from collections.abc import Mapping
from typing import Any

from .._events import Event, ResumeDivergedEvent
from .attempts import Attempt, are_equal
from .collecting import Buffer, Entry, Expected
from .delivery import Delivery, Failure
from .descending import DescendingLedger
from .waiting import Wait


class MatchingLedger(DescendingLedger):
    """A ledger whose deliveries have a record of what their attempts did, if there may be another."""

    __slots__ = ()

    def _delivered(self, delivery: Delivery) -> None:
        if delivery.desk.node.retry_policy is not None:
            delivery.record = Attempt(None, "", may_be_retried=True)

    # --- another attempt

    def retry(self, delivery: Delivery, failure: Failure, due: float | None) -> None:
        """Have *delivery*, whose attempt has failed, worked on again.

        Args:
            delivery: In work until now.
            failure: How the attempt has ended.
            due: When the next one is to begin, in seconds UTC; the engine then calls `line_up_again`. None for now: it
                is the next one of its step.
        """
        record: Attempt = delivery.record
        self._undo(delivery)
        record.spent = [*(record.spent or ()), *(delivery.spent or ())]
        delivery.spent = None
        delivery.outputs = 0
        self._begin_again(delivery, failure, due)
        delivery.attempt += 1
        delivery.failure = failure
        delivery.is_in_work = False
        self.working -= 1
        if due is None:
            self.line_up_again(delivery, at_once=True)

    def _begin_again(self, delivery: Delivery, failure: Failure, due: float | None) -> list[int]:  # noqa: ARG002
        unanswered: list[int] = delivery.record.begin_again()
        # Nobody is to wait for an answer to what will be asked again. There may be none to wait for: a step may have
        # taken it.
        self.responses += min(len(unanswered), max(0, self.prompts - self.responses))
        return unanswered

    def line_up_again(self, delivery: Delivery, *, at_once: bool) -> None:
        """Let *delivery* stand before those that have not been begun; *at_once*, before every other."""
        desk = delivery.desk
        desk.put_again(delivery, at_once=at_once)
        if not desk.is_ready:
            desk.is_ready = True
            self.ready.append(desk)

    def commit(self, delivery: Delivery, output: Event | list[Event] | None) -> bool:
        """End the execution of *delivery*; what an earlier attempt has sent and this one has not stays delivered."""
        if delivery.is_cancelled:
            return super().commit(delivery, None)
        stops = super().commit(delivery, output)
        record: Attempt | None = delivery.record
        if record is not None:
            for _, event in record.sent or ():
                self._publish(ResumeDivergedEvent(step_name=delivery.desk.node.name, event=event))
            delivery.failure = None  # its traceback holds the frames of the step, which hold the delivery
        return stops

    # --- events

    def _route(self, event: Event, step: str | None, source: str, sender: Delivery | None) -> bool:
        """Route *event* as any ledger does, unless an earlier attempt of *sender* has sent it."""
        record: Attempt | None = None if sender is None else sender.record
        if record is None:
            return super()._route(event, step, source, sender)
        self.plan.route(event, source=source)
        if record.has_sent(step, event):
            return False
        stops = super()._route(event, step, source, sender)
        record.note_sent(step, event)
        return stops

    def was_sent(self, event: Event, step: str | None, sender: Delivery) -> bool:
        """Return whether an earlier attempt of *sender* has sent *event*."""
        return sender.record is not None and sender.record.finds_sent(step, event) is not None

    def publish_prompt(self, event: Event, sender: Delivery | None) -> None:
        """Put a question on the stream, unless an earlier attempt of *sender* has an answer to it."""
        record: Attempt | None = None if sender is None else sender.record
        number = None if record is None else record.has_asked(event)
        if number is None:
            super().publish_prompt(event, sender)
            number = self.prompts
            self._asked(event, sender)
        if record is not None:
            record.note_asked(number)

    def _asked(self, event: Event, sender: Delivery | None) -> None:
        if sender is not None and sender.record is not None:
            sender.record.note_prompt(self.prompts, event)

    # --- collections

    def collect(
        self, delivery: Delivery, event: Event, expected: Expected[Any], buffer_id: str | None
    ) -> list[Any] | None:
        """Collect as any ledger does; what an earlier attempt added, and another execution took, is not added again."""
        if delivery.record is not None:
            self._match_spent(delivery, event, buffer_id)
        return super().collect(delivery, event, expected, buffer_id)

    @staticmethod
    def _match_spent(delivery: Delivery, event: Event, buffer_id: str | None) -> None:
        spent: list[tuple[Buffer, Entry]] = delivery.record.spent or []
        if any(b.buffer_id == buffer_id and entry.event is event for b, entry in delivery.spent or ()):
            return
        for index, (buffer, entry) in enumerate(spent):
            if buffer.buffer_id == buffer_id and are_equal(entry.event, event):
                del spent[index]
                delivery.spent = [*(delivery.spent or ()), (buffer, Entry(entry.place, event))]
                return

    # --- waits

    def open_wait(
        self,
        delivery: Delivery,
        event_type: type[Event],
        *,
        requirements: Mapping[str, Any] | None,
        waiter_id: str | None,
        timeout: float | None = None,
    ) -> Wait:
        """Open a wait, or go on with the one that an earlier attempt had at this place, or with its answer."""
        record: Attempt | None = delivery.record
        if record is None:
            return super().open_wait(
                delivery, event_type, requirements=requirements, waiter_id=waiter_id, timeout=timeout
            )
        record.wait_count += 1
        # A name of the user's choice could be the number of another wait.
        key = f"#{record.wait_count}" if waiter_id is None else f"={waiter_id}"
        asked, record.asked = record.asked, None
        if record.waits and key in record.waits:
            return record.waits.pop(key)
        if record.answers and key in record.answers:
            wait = self._new_wait(delivery, event_type, requirements, waiter_id, timeout)
            answer = record.answers[key]
            # An attempt may come to other waits than the one before it: what it is given is what it asks for.
            if answer is None or wait.is_answered_by(answer):
                wait.key, wait.answer = key, record.answers.pop(key)
                wait.is_over = answer is None
                return wait
        self._check_wait(event_type, requirements)
        wait = super().open_wait(
            delivery, event_type, requirements=requirements, waiter_id=waiter_id, timeout=timeout
        )
        wait.key, wait.prompts = key, asked or []
        self._opened(wait)
        return wait

    def _check_wait(self, event_type: type[Event], requirements: Mapping[str, Any] | None) -> None:
        """Raise what speaks against a new wait."""

    def _opened(self, wait: Wait) -> None:
        if wait.answer is not None:  # by an event that came before
            self._answered(wait)

    def _answer_wait(self, number: int, event: Event, step: str | None = None) -> bool:
        if not super()._answer_wait(number, event, step):
            return False
        self._answered(self.answered[-1])
        return True

    def _answered(self, wait: Wait) -> None:
        """Note that *wait* has its answer, or that its time is over."""
        if wait.delivery.record is not None:
            wait.delivery.record.note_answer(wait.key, wait.answer, wait.prompts)

    def close_wait(self, wait: Wait) -> None:
        """Forget a wait that is over, also because its time is: when the run is resumed it is over at once."""
        if self._waits is not None and wait.number in self._waits.open:
            self._answered(wait)
        super().close_wait(wait)

    def give_back(self, wait: Wait) -> None:
        """Let another wait have the answer of one that was cancelled."""
        if wait.answer is not None:
            self._unanswered(wait)
        super().give_back(wait)

    def _unanswered(self, wait: Wait) -> None:
        if wait.delivery.record is not None:
            wait.delivery.record.forget_answer(wait.key, wait.prompts)
