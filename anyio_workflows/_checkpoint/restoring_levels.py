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
        if fan_out.parent is not None:
            fan_out.parent.open += 1
        for step in (*document["gathered"], *document["joined"]):
            if plan.node(step).index not in joins:
                raise ValueError(f"step {step!r} does not join what step {node.name!r} fans out")
        fan_out.joined = {plan.node(step).index for step in document["joined"]}
        fan_out.gathered = {
            plan.node(step).index: [_member(ledger, each, step) for each in found]
            for step, found in document["gathered"].items()
        }
        ledger.fan_outs[number] = fan_out
    for (step, fan_out_id, among), lanes in levels.slots.items():
        node = plan.node(step)
        if len(lanes) > len(node.slots):
            raise ValueError(f"step {step!r} has no {len(lanes)} event parameters")
        waiting = [deque(_member(ledger, each, step) for each in lane) for lane in lanes]
        waiting += [deque() for _ in range(len(node.slots) - len(lanes))]
        ledger.slots.setdefault(node.index, {})[fan_out_id, among] = waiting


def structure_lineage(ledger: RecordedLedger, document: Document) -> Lineage:
    """Return the lineage that was written as *document*."""
    fan_out, rank, recoveries = document
    return Lineage(None if fan_out is None else ledger.fan_outs[fan_out], tuple(rank), dict(recoveries))


def _member(ledger: RecordedLedger, document: Document, step: str) -> Member:
    event, rank, recoveries = document
    return Member(
        ledger._converter.structure_event(event, where=f"gathered.{step}"), tuple(rank), dict(recoveries)
    )
