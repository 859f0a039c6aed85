"""What a recorded run notes of fan-outs, joins and handlers: with every delivery, what it has come of."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from .._events import Event, EventList, StepFailedEvent
from .._ledger.attempts import Attempt
from .._ledger.delivery import Delivery
from .._ledger.lineage import FanOut, Lineage, Member
from .._ledger.matching import MatchingLedger
from .._ledger.meeting import Table
from .._ledger.plan import Node
from .snapshot import Document, Operation
from .writing import Writer

_KEY_BYTES = 12
"""Of an idempotency key: enough that two of one run never meet."""


class RecordedDescent(MatchingLedger):
    """A ledger that notes what each delivery has come of, and how what has come of a list is put together."""

    __slots__ = ("_cause", "_converter", "_document", "_note")

    def __init__(self, *arguments: Any, converter: Writer, note: Callable[[Operation], None]) -> None:
        super().__init__(*arguments)
        self._converter = converter
        self._note: Callable[[Operation], None] = note
        self._cause = ""
        """Names what is being routed by what has caused it."""
        self._document: Document = None
        """Of the event that is being routed."""

    def _delivered(self, delivery: Delivery) -> None:
        node, event = delivery.desk.node, delivery.event
        key = blake2b(f"{self._cause}>{node.name}".encode(), digest_size=_KEY_BYTES).hexdigest()
        is_made_here = isinstance(event, EventList | StepFailedEvent)
        document = self._converter.unstructure_event(event) if is_made_here else self._document
        noted = ["deliver", delivery.number, node.name, document, key]
        if delivery.lineage is not None:
            noted.append(_written(delivery.lineage))
        self._note(noted)
        delivery.record = Attempt(document, key, may_be_retried=node.retry_policy is not None)

    # --- fan-outs

    def _opened_fan_out(self, fan_out: FanOut, delivery: Delivery) -> None:
        node = delivery.desk.node
        fan_out.key = f"{delivery.record.key}/list"
        up = None if fan_out.lineage is None else _written(fan_out.lineage)
        self._note(["fan_out", fan_out.id, node.name, up, fan_out.key])

    def _closed_fan_out(self, fan_out: FanOut) -> None:
        self._note(["close", fan_out.id])

    def _cancelled_fan_out(self, fan_out: FanOut) -> None:
        self._note(["cancel_fan_out", fan_out.id])

    def _gathered(self, fan_out: FanOut, node: Node, member: Member) -> None:
        self._note(["gather", fan_out.id, node.name, _written_member(member, self._document)])

    def _join(self, fan_out: FanOut, join: int) -> None:
        cause, self._cause = self._cause, fan_out.key
        try:
            super()._join(fan_out, join)
        finally:
            self._cause = cause

    def _joined(self, fan_out: FanOut, node: Node) -> None:
        self._note(["join", fan_out.id, node.name])

    # --- several event parameters

    def _member(self, event: Event, rank: tuple[int, ...]) -> Member:
        return super()._member(event, rank)._replace(cause=self._cause)

    def _waits_for_others(self, node: Node, table: Table, place: int, member: Member) -> None:
        self._note(["slot", node.name, list(table), place, _written_member(member, self._document)])

    def _meet(self, node: Node, table: Table, members: list[Member]) -> None:
        self._note(["meet", node.name, list(table)])
        # In the order of the parameters: which of them came last is the schedule's.
        cause, self._cause = self._cause, "&".join(member.cause for member in members)
        try:
            super()._meet(node, table, members)
        finally:
            self._cause = cause

    # --- deliveries that end without an output

    def _recovering(self, delivery: Delivery, failure: StepFailedEvent) -> None:  # noqa: ARG002
        self._cause = f"{delivery.record.key}/failed"

    def recover(self, delivery: Delivery, handler: int, failure: StepFailedEvent) -> None:
        """Call a handler in the place of *delivery*, with a cut at which it is pending."""
        super().recover(delivery, handler, failure)
        self._dropped(delivery)
        self._cut()

    def cancel(self, delivery: Delivery, reason: str) -> bool:
        """End *delivery* without an output: a run that goes on from now on does not know it any more."""
        is_in_work = delivery.is_in_work
        if not super().cancel(delivery, reason):
            return False
        if is_in_work:
            self._note(["cancel", delivery.number])
        return True

    def drop(self, delivery: Delivery) -> None:
        """End the execution of *delivery*, which was cancelled by itself."""
        super().drop(delivery)
        self._dropped(delivery)
        self._cut()

    def _forget(self, delivery: Delivery) -> None:
        super()._forget(delivery)
        self._dropped(delivery)

    def _dropped(self, delivery: Delivery) -> None:
        self._leave_waits(delivery)
        self._note(["drop", delivery.number])

    def _leave_waits(self, delivery: Delivery) -> None:
        """Close the waits of an earlier attempt of *delivery* that it has not come to."""

    def _cut(self) -> None:
        """Note that this is a moment to go on from."""


def _written(lineage: Lineage) -> Document:
    fan_out = None if lineage.fan_out is None else lineage.fan_out.id
    return [fan_out, list(lineage.rank), dict(lineage.recoveries)]


def _written_member(member: Member, document: Document) -> Document:
    return [document, list(member.rank), dict(member.recoveries), member.cause]
