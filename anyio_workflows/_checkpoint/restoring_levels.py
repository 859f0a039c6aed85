"""Put the fan-outs of a ledger where a snapshot says that they were."""

from collections import deque

from .._ledger.lineage import FanOut, Lineage, Member
from .levels import Levels
from .recorded import RecordedLedger
from .snapshot import Document


def restore_levels(ledger: RecordedLedger, levels: Levels) -> None:
    """Let *ledger* have the open fan-outs of *levels*; what is pending in them is counted when it is restored."""
    plan = ledger.plan
    for number, document in sorted(levels.fan_outs.items()):
        node = plan.node(document["step"])
        joins = plan.joins_of[node.index]
        lineage = None if document["lineage"] is None else structure_lineage(ledger, document["lineage"])
        fan_out = FanOut(number, node.index, lineage, document["key"])
        fan_out.is_cancelled = document["cancelled"]
        for step in (*document["gathered"], *document["joined"]):
            if plan.node(step).index not in joins:
                raise ValueError(f"step {step!r} does not join what step {node.name!r} fans out")
        fan_out.joined = {plan.node(step).index for step in document["joined"]}
        fan_out.gathered = {
            plan.node(step).index: [_member(ledger, each, step) for each in found]
            for step, found in document["gathered"].items()
        }
        ledger._open(fan_out)
    for fan_out_id, tables in levels.slots.items():
        waiting = ledger.meetings.waiting[fan_out_id] = {}
        for (step, among), lanes in tables.items():
            node = plan.node(step)
            if len(lanes) > len(node.slots):
                raise ValueError(f"step {step!r} has no {len(lanes)} event parameters")
            filled = [deque(_member(ledger, each, step) for each in lane) for lane in lanes]
            waiting[node.index, among] = [*filled, *(deque() for _ in node.slots[len(lanes) :])]


def close_levels(ledger: RecordedLedger) -> None:
    """Close the fan-outs of *ledger* in which nothing is pending: all that was left had been cancelled."""
    for number in sorted(ledger.fan_outs, reverse=True):  # those that are further in come first
        if (fan_out := ledger.fan_outs.get(number)) is not None:
            ledger._close_if_done(fan_out)


def structure_lineage(ledger: RecordedLedger, document: Document) -> Lineage:
    """Return the lineage that was written as *document*."""
    fan_out, rank, recoveries = document
    return Lineage(None if fan_out is None else ledger.fan_outs[fan_out], tuple(rank), dict(recoveries))


def _member(ledger: RecordedLedger, document: Document, step: str) -> Member:
    event, rank, recoveries, cause = document
    structured = ledger._converter.structure_event(event, where=f"gathered.{step}")
    return Member(structured, tuple(rank), dict(recoveries), cause)
