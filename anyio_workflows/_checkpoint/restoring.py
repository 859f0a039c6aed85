"""Put a ledger where a snapshot says that its run was."""

from operator import itemgetter
from typing import Any

from .._errors import RestoredError
from .._ledger.attempts import Attempt
from .._ledger.collecting import Entry
from .._ledger.delivery import Delivery, Failure
from .._ledger.waiting import Wait
from .recorded import RecordedLedger
from .restoring_levels import close_levels, restore_levels, structure_lineage
from .snapshot import Document, Pending, Snapshot


def restore(ledger: RecordedLedger, snapshot: Snapshot, cut_at: float) -> Any:
    """Let *ledger* become what *snapshot* says, which was cut at *cut_at*, and return the state it holds; None if it has none."""
    structure = ledger._converter.structure_event
    ledger._number, ledger._arrivals = snapshot.number, snapshot.arrivals
    ledger.prompts, ledger.responses = snapshot.prompt_count, snapshot.responses
    ledger.restored_at = cut_at
    restore_levels(ledger, snapshot.levels)
    for pending in sorted(snapshot.pending.values(), key=lambda pending: pending.number):
        _restore_delivery(ledger, pending)
    _restore_waits(ledger, snapshot, cut_at)
    for (step, buffer_id), entries in snapshot.buffers.items():
        buffer = ledger.desk(ledger.plan.node(step).index).buffer(buffer_id)
        recoveries = snapshot.recoveries.get((step, buffer_id), {})
        events = [
            Entry(place, structure(event, where=f"collections.{step}"), recoveries.get(place))
            for place, event in entries.items()
        ]
        buffer.restore(events, snapshot.places[step, buffer_id])
    for number, event in snapshot.early:
        ledger.waits.keep(number, structure(event, where="early"))
    close_levels(ledger)
    for _, event in sorted(snapshot.questions().items()):
        ledger._publish(structure(event, where="outstanding"))
    ledger._state_documents = {name: [document] for name, document in snapshot.state.items()}
    return ledger._converter.structure_state(snapshot.state, where="state") if snapshot.state else None


def _restore_delivery(ledger: RecordedLedger, pending: Pending) -> None:
    structure = ledger._converter.structure_event
    where = f"pending.{pending.number}"
    desk = ledger.desk(ledger.plan.node(pending.step).index)
    delivery = Delivery(pending.number, desk, structure(pending.event, where=f"{where}.event"))
    may_be_retried = desk.node.retry_policy is not None
    delivery.record = record = Attempt(pending.event, pending.key, may_be_retried=may_be_retried)
    if pending.lineage is not None:
        delivery.lineage = structure_lineage(ledger, pending.lineage)
        if delivery.lineage.fan_out is not None:
            delivery.lineage.fan_out.pending[delivery.number] = delivery
    record.sent = [(target, structure(event, where=f"{where}.sent")) for target, event in pending.sent]
    for target, event in record.sent:
        record.count_output(target, event)
    record.answers = {
        key: None if event is None else structure(event, where=f"{where}.answers")
        for key, event in pending.answers.items()
    }
    record.prompts = [
        (number, structure(event, where=f"{where}.prompts")) for number, event in pending.prompts
    ]
    record.changes = [dict(change) for change in pending.changes]
    if record.changes:
        ledger._repeating.append(record)
    record.spent = [
        (desk.buffer(buffer_id), Entry(place, structure(event, where=f"{where}.spent")))
        for buffer_id, place, event in pending.spent
    ]
    record.children = dict(pending.children)
    if record.made is not None:
        record.made.sent, record.made.prompts = list(record.sent), list(record.prompts)
        record.made.answers = dict(record.answers)
        record.made.settled = {number for number, _ in record.prompts if number not in pending.unanswered}
    if pending.retry is not None:
        _restore_retry(delivery, pending.retry)
    if pending.retry is not None and pending.retry["due"] is not None:
        ledger.delayed.append((delivery, pending.retry["due"]))
        ledger._hold(delivery)
    else:
        ledger._line_up(delivery)


def _restore_retry(delivery: Delivery, document: Document) -> None:
    kind, message = document["error"]
    delivery.attempt = document["attempt"]
    delivery.failure = Failure(RestoredError(kind, message), document["failed_at"], document["began"])


def _restore_waits(ledger: RecordedLedger, snapshot: Snapshot, cut_at: float) -> None:
    opened = [
        (wait["number"], pending.number, key, wait)
        for pending in snapshot.pending.values()
        for key, wait in pending.waits.items()
    ]
    for number, by, key, document in sorted(opened, key=itemgetter(0)):
        delivery = ledger.pending[by]
        left = document["left"]
        wait = Wait(
            number,
            delivery,
            ledger._event_types[document["type"]],
            accepts_subclasses=delivery.desk.node.declaration.accept_event_subclasses,
            requirements=ledger._converter.structure_value(document["requirements"], where="requirements"),
            waiter_id=None if key.startswith("#") else key.removeprefix("="),
            timeout=None if left is None else max(0.0, left - (cut_at - document["at"])),
        )
        wait.key, wait.prompts = key, document["prompts"]
        ledger.waits.add(wait)
        record: Attempt = delivery.record
        record.waits = {**(record.waits or {}), key: wait}
        # Its time goes on from here: what passed while nobody ran does not count.
        ledger._note_wait(wait, document["requirements"])
