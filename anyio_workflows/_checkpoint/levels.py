"""Fan-outs that are open, and events that wait for others of their kind to meet them, as documents."""

from collections.abc import Mapping
from typing import Any

from .shapes import Document, anything, count, flag, items, mapping, members, rows, text

_FAN_OUT = ("id", "step", "lineage", "key", "gathered", "joined", "cancelled")
_SLOTS = ("step", "key", "lanes")


class Levels:
    """What a snapshot knows of fan-outs and of steps with several event parameters."""

    def __init__(self) -> None:
        self.fan_outs: dict[int, dict[str, Any]] = {}
        """Per id: the step that has returned the list, what that has come of, its key, what has come to each join as
        [event, rank, recoveries, cause], the joins that have what they wanted, and whether it is cancelled."""
        self.slots: dict[int, dict[tuple[str, int], list[list[Document]]]] = {}
        """Per fan-out, then per step and member: what has come for each parameter, likewise."""

    # --- the operations

    def fan_out(self, number: int, step: str, lineage: Document, key: str) -> None:
        """A step has returned a list."""
        self.fan_outs[number] = {
            "id": number,
            "step": step,
            "lineage": lineage,
            "key": key,
            "gathered": {},
            "joined": [],
            "cancelled": False,
        }

    def gather(self, fan_out: int, step: str, member: Document) -> None:
        """An event has come to a join."""
        gathered = self.fan_outs[fan_out]["gathered"]
        gathered.setdefault(step, []).append(member)

    def join(self, fan_out: int, step: str) -> None:
        """A join is called with what has come to it."""
        self.fan_outs[fan_out]["gathered"].pop(step, None)
        self.fan_outs[fan_out]["joined"].append(step)

    def close(self, fan_out: int) -> None:
        """Nothing of a fan-out is left."""
        del self.fan_outs[fan_out]
        self.slots.pop(fan_out, None)

    def cancel_fan_out(self, fan_out: int) -> None:
        """Nothing is worked on in a fan-out any more."""
        self.fan_outs[fan_out]["cancelled"] = True

    def slot(self, step: str, key: list[int], place: int, member: Document) -> None:
        """An event has come for one of several parameters."""
        fan_out, among = key
        lanes = self.slots.setdefault(fan_out, {}).setdefault((step, among), [])
        lanes += [[] for _ in range(place + 1 - len(lanes))]
        lanes[place].append(member)

    def meet(self, step: str, key: list[int]) -> None:
        """One event for each parameter is taken."""
        fan_out, among = key
        lanes = self.slots[fan_out][step, among]
        for lane in lanes:
            del lane[0]
        if not any(lanes):
            del self.slots[fan_out][step, among]

    # --- as a document

    def fan_out_documents(self) -> list[Document]:
        """Return the open fan-outs as JSON types."""
        return [
            {
                **fan_out,
                "gathered": {step: list(found) for step, found in fan_out["gathered"].items()},
                "joined": list(fan_out["joined"]),
            }
            for fan_out in self.fan_outs.values()
        ]

    def slot_documents(self) -> list[Document]:
        """Return what waits for others to meet it as JSON types."""
        return [
            {"step": step, "key": [fan_out, among], "lanes": [list(lane) for lane in lanes]}
            for fan_out, tables in self.slots.items()
            for (step, among), lanes in tables.items()
        ]

    @classmethod
    def from_documents(cls, fan_outs: Document, slots: Document) -> "Levels":
        """Return what *fan_outs* and *slots* describe; errors as of `Snapshot.from_document`."""
        levels = cls()
        for document in items(fan_outs):
            levels._read_fan_out(members(document, _FAN_OUT))
        for document in items(slots):
            levels._read_slots(members(document, _SLOTS))
        levels._check_nesting()
        return levels

    def _read_fan_out(self, document: Mapping[str, Document]) -> None:
        number = count(document["id"])
        if not number or number in self.fan_outs:
            raise ValueError(f"a second fan-out {number}")
        come_of = None if document["lineage"] is None else lineage(document["lineage"])
        self.fan_out(number, text(document["step"]), come_of, text(document["key"]))
        read = self.fan_outs[number]
        read["joined"] = [text(step) for step in items(document["joined"])]
        read["gathered"] = {
            step: [_member(each) for each in items(found)]
            for step, found in mapping(document["gathered"]).items()
        }
        read["cancelled"] = flag(document["cancelled"])

    def _read_slots(self, document: Mapping[str, Document]) -> None:
        ((fan_out, among),) = rows([document["key"]], count, count)
        if fan_out and fan_out not in self.fan_outs:
            raise ValueError(f"events wait in fan-out {fan_out}, which is not open")
        lanes = [[_member(each) for each in items(lane)] for lane in items(document["lanes"])]
        tables = self.slots.setdefault(fan_out, {})
        if (key := (text(document["step"]), among)) in tables:
            raise ValueError(f"step {key[0]!r} waits twice for the same")
        tables[key] = lanes

    def _check_nesting(self) -> None:
        for number, fan_out in self.fan_outs.items():
            around = fan_out["lineage"][0] if fan_out["lineage"] is not None else None
            if around is not None and not (around in self.fan_outs and around < number):
                raise ValueError(f"fan-out {number} is in {around}, which is none around it")


def lineage(document: Document) -> Document:
    """Return *document*, if it says what something has come of: fan-out or null, rank, recoveries."""
    ((fan_out, rank, recoveries),) = rows([document], anything, items, mapping)
    if fan_out is not None:
        count(fan_out)
        if not rank:
            raise ValueError("what has come of a fan-out has a place in it")
    for place in rank:
        count(place)
    for times in recoveries.values():
        count(times)
    return document


def _member(document: Document) -> Document:
    ((_, rank, recoveries, _),) = rows([document], anything, items, mapping, text)
    lineage([None, rank, recoveries])
    return document
