"""Fold what a run has noted into what it knew at one moment.

A recorded run notes every change of its ledger as an operation: a list that begins with its kind and holds JSON types
only. A snapshot is what the operations up to a moment amount to; a store keeps one now and then, and the operations
since. Nothing here knows events or states: it moves their documents.
"""

from bisect import insort
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import itemgetter
from typing import Any, TypeAlias

from .levels import Levels
from .nested import Child
from .pending import Pending as Pending
from .shapes import Document as Document
from .shapes import (
    anything,
    at_most,
    count,
    items,
    mapping,
    members,
    rows,
    text,
    text_or_null,
)

Operation: TypeAlias = list[Any]

ABSENT: Document = []
"""In a change of the state: the key was, or is from now on, not there. Else its document stands in a list alone."""


class Snapshot:
    """What a run knew at one moment, as documents."""

    def __init__(self) -> None:
        self.number: int = 0
        """The last number that was given to anything."""
        self.arrivals: int = 0
        """Events that have come from outside, the start event included."""
        self.prompt_count: int = 0
        self.responses: int = 0
        self.pending: dict[int, Pending] = {}
        self.buffers: dict[tuple[str, str | None], dict[int, Document]] = {}
        """Per step and buffer id: the events in it, by place."""
        self.places: dict[tuple[str, str | None], int] = {}
        """The last place that was given in each."""
        self.early: list[tuple[int, Document]] = []
        """Answers that nothing has asked for, by number."""
        self.outstanding: list[list[Any]] = []
        """[number, event] of the questions published since a human has answered, except those answered otherwise."""
        self.recoveries: dict[tuple[str, str | None], dict[int, Document]] = {}
        """Per step and buffer id: how often handlers were called on the way to what is in it, by place."""
        self.levels: Levels = Levels()
        """Fan-outs, and events that wait for others to meet them."""
        self.state: dict[str, Document] = {}
        self.stop: Document = None
        """The StopEvent that has ended the run, None while it goes on."""
        # Of many in line, few have changed the state: looking at all of them for each change would make n of them cost n².
        self._changing: dict[int, Pending] = {}

    def apply(self, operations: Iterable[Operation]) -> None:
        """Go on by *operations*, in their order."""
        for kind, *details in operations:
            _APPLY[kind](self, *details)

    # --- the operations

    def arrive(self) -> None:
        """An event has come from outside."""
        self.arrivals += 1

    def deliver(self, number: int, step: str, event: Document, key: str, lineage: Document = None) -> None:
        """An event has come to a step."""
        self.number = max(self.number, number)
        self.pending[number] = pending = Pending(number, step, event, key)
        pending.lineage = lineage

    def fan_out(self, number: int, step: str, lineage: Document, key: str) -> None:
        """A step has returned a list."""
        self.number = max(self.number, number)
        self.levels.fan_out(number, step, lineage, key)

    def send(self, by: int, target: str | None, event: Document) -> None:
        """An execution has sent an event; where it went is noted for itself."""
        self.pending[by].sent.append([target, event])

    def put(self, by: int, buffer_id: str | None, place: int, event: Document) -> None:
        """An execution has added an event to a collection of its step."""
        key = (self.pending[by].step, buffer_id)
        self.buffers.setdefault(key, {})[place] = event
        self.places[key] = max(self.places.get(key, 0), place)
        self.pending[by].put.append([buffer_id, place, event])
        lineage = self.pending[by].lineage
        if lineage is not None and lineage[2]:
            self.recoveries.setdefault(key, {})[place] = lineage[2]

    def take(self, by: int, buffer_id: str | None, places: list[int]) -> None:
        """An execution has taken a batch from a collection of its step."""
        buffer = self.buffers[self.pending[by].step, buffer_id]
        self.pending[by].took.append([buffer_id, [[place, buffer.pop(place)] for place in places]])

    def wait(self, by: int, key: str, wait: Document) -> None:
        """An execution has begun to wait."""
        self.number = max(self.number, wait["number"])
        self.pending[by].waits[key] = wait

    def unwait(self, by: int, key: str) -> None:
        """It has given up waiting."""
        self._settle_questions(self.pending[by], self.pending[by].waits.pop(key)["prompts"])

    def answer(self, by: int, key: str, event: Document, prompts: list[int]) -> None:
        """It has its answer to the questions of these numbers; None if its time was over."""
        self.pending[by].waits.pop(key, None)
        self.pending[by].answers[key] = event
        self._settle_questions(self.pending[by], prompts)

    def _settle_questions(self, pending: Pending, numbers: list[int]) -> None:
        pending.unanswered = [number for number in pending.unanswered if number not in numbers]
        self.outstanding = [prompt for prompt in self.outstanding if prompt[0] not in numbers]

    def unanswer(self, by: int, key: str) -> None:
        """It was cancelled before it got to the answer, which another wait may have."""
        self.pending[by].answers.pop(key, None)

    def early_answer(self, number: int, event: Document) -> None:
        """An answer is kept for a later wait."""
        self.number = max(self.number, number)
        insort(self.early, (number, event), key=itemgetter(0))

    def late_question(self, number: int) -> None:
        """A wait has taken an answer that was kept."""
        self.early = [entry for entry in self.early if entry[0] != number]

    def prompt(self, by: int | None, number: int, event: Document) -> None:
        """A question was published: sent or returned, or else written to the stream by an execution."""
        self.prompt_count = number
        self.outstanding.append([number, event])
        if by is not None:
            self.pending[by].prompts.append([number, event])
            self.pending[by].unanswered.append(number)

    def response(self) -> None:
        """A human has answered."""
        self.responses += 1
        self.outstanding = []

    def change(self, by: int | None, changed: Mapping[str, Document]) -> None:
        """The state was changed: these keys, to these documents, each in a list, or to nothing."""
        before = {key: [self.state[key]] if key in self.state else ABSENT for key in changed}
        for pending in self._changing.values():
            for change in pending.changes:
                for key, value in before.items():
                    change.setdefault(key, value)
        if by is not None:
            self._changing[by] = pending = self.pending[by]
            pending.changes.append(before)
        for key, value in changed.items():
            if value:
                self.state[key] = value[0]
            else:
                self.state.pop(key, None)

    def retry(self, by: int, about: Document, unanswered: list[int]) -> None:
        """An attempt has failed and there will be another; questions of these numbers will be asked again."""
        pending = self.pending[by]
        self._undo_takes(pending)
        self._undo_puts(pending)
        pending.begin_again(about, unanswered)
        self._settle_questions(pending, unanswered)
        self._changing.pop(by, None)
        self.responses += min(len(unanswered), max(0, self.prompt_count - self.responses))

    def child_begins(self, by: int, key: str, workflow: str, fingerprint: str) -> None:
        """A run has begun that is part of an execution."""
        self.pending[by].children[key] = Child(workflow, fingerprint, Snapshot())

    def child(self, by: int, key: str, operation: Operation) -> None:
        """Such a run has noted something."""
        self.pending[by].children[key].snapshot.apply([operation])

    def child_ends(self, by: int, key: str) -> None:
        """Such a run has ended, and nothing of it matters any more but its end."""
        child = self.pending[by].children[key]
        ended = Snapshot()
        ended.stop = child.snapshot.stop
        child.snapshot = ended

    def child_gone(self, by: int, key: str) -> None:
        """Such a run could not begin."""
        del self.pending[by].children[key]

    def cancel(self, number: int) -> None:
        """An execution was cancelled, and cleans up."""
        self.pending[number].cancelled = True

    def drop(self, number: int) -> None:
        """An execution has ended without an output, and others go on: what it did to collections is undone."""
        pending = self.pending[number]
        self._undo_takes(pending)
        self._undo_puts(pending)
        self.commit(number)

    def commit(self, number: int) -> None:
        """An execution has ended: what it did stays."""
        del self.pending[number]
        self._changing.pop(number, None)

    def end(self, event: Document) -> None:
        """A StopEvent has come."""
        self.stop = event

    # --- a moment as a starting point

    def settle(self) -> None:
        """Make collections as if the executions in work had not touched them, which will run again.

        What one of them took is back at its place, what it added is withdrawn; except what another execution has taken
        for good: that stays taken, and the one that added it remembers.
        """
        for pending in self.pending.values():
            self._undo_takes(pending)
        for pending in self.pending.values():
            self._undo_puts(pending)
            for child in pending.children.values():
                child.snapshot.settle()
        for number in [pending.number for pending in self.pending.values() if pending.cancelled]:
            self.commit(number)
        self.buffers = {key: dict(sorted(entries.items())) for key, entries in self.buffers.items()}

    def _undo_takes(self, pending: Pending) -> None:
        for buffer_id, taken in pending.took:
            self.buffers[pending.step, buffer_id].update((place, event) for place, event in taken)
        pending.took = []

    def _undo_puts(self, pending: Pending) -> None:
        for buffer_id, place, event in pending.put:
            if self.buffers[pending.step, buffer_id].pop(place, None) is None:
                pending.spent.append([buffer_id, place, event])
        pending.put = []

    def questions(self) -> dict[int, Document]:
        """Return what nobody has answered, by number: what the stream of a run that goes on from here begins with."""
        asked: dict[int, Document] = {number: event for number, event in self.outstanding}  # noqa: C416  # lists of two, which pyright does not take for pairs
        for pending in self.pending.values():
            asked.update({number: event for number, event in pending.prompts if number in pending.unanswered})
        return asked

    def document(self) -> Document:
        """Return it as JSON types."""
        return {
            "number": self.number,
            "arrivals": self.arrivals,
            "prompts": self.prompt_count,
            "responses": self.responses,
            "pending": [pending.document() for pending in self.pending.values()],
            "collections": [
                {
                    "step": step,
                    "buffer_id": buffer_id,
                    "places": self.places.get((step, buffer_id), 0),
                    "events": [[place, event] for place, event in entries.items()],
                    "recoveries": [
                        [place, counts]
                        for place, counts in self.recoveries.get((step, buffer_id), {}).items()
                        if place in entries
                    ],
                }
                for (step, buffer_id), entries in self.buffers.items()
            ],
            "early": [[number, event] for number, event in self.early],
            "outstanding": list(self.outstanding),
            "fan_outs": self.levels.fan_out_documents(),
            "slots": self.levels.slot_documents(),
            "state": dict(self.state),
            "stop": self.stop,
        }

    @classmethod
    def from_document(cls, document: Document) -> "Snapshot":
        """Return the snapshot that *document* describes.

        Raises:
            KeyError, TypeError, ValueError: It describes none; the caller says where it came from.
        """
        members(document, cls._MEMBERS)
        snapshot = cls()
        snapshot.number = count(document["number"])
        snapshot.arrivals = count(document["arrivals"])
        snapshot.prompt_count = count(document["prompts"])
        snapshot.responses = count(document["responses"])
        for entry in items(document["pending"]):
            pending = Pending.from_document(entry, cls.from_document)
            snapshot.pending[pending.number] = pending
            if pending.changes:
                snapshot._changing[pending.number] = pending
        for entry in items(document["collections"]):
            members(entry, ("step", "buffer_id", "places", "events", "recoveries"))
            key = (text(entry["step"]), text_or_null(entry["buffer_id"]))
            snapshot.places[key] = count(entry["places"])
            snapshot.buffers[key] = dict(rows(entry["events"], count, anything))
            snapshot.recoveries[key] = dict(rows(entry["recoveries"], count, mapping))
            at_most(snapshot.places[key], (place for place, _ in entry["events"]), "collected events")
        snapshot.early = [(number, event) for number, event in rows(document["early"], count, anything)]
        snapshot.outstanding = rows(document["outstanding"], count, anything)
        snapshot.levels = Levels.from_documents(document["fan_outs"], document["slots"])
        snapshot.state = dict(mapping(document["state"]))
        snapshot.stop = document["stop"]
        snapshot._check_numbers([entry["number"] for entry in document["pending"]])
        return snapshot

    def _check_numbers(self, pending: list[int]) -> None:
        waits = [wait["number"] for each in self.pending.values() for wait in each.waits.values()]
        asked = [number for each in self.pending.values() for number, _ in each.prompts]
        at_most(self.number, pending, "pending deliveries")
        at_most(self.number, waits, "waits")
        at_most(self.number, self.levels.fan_outs, "fan-outs")
        at_most(self.number, (number for number, _ in self.early), "answers")
        at_most(self.prompt_count, asked, "questions")
        at_most(self.prompt_count, (number for number, _ in self.outstanding), "questions")

    _MEMBERS = (
        "number",
        "arrivals",
        "prompts",
        "responses",
        "pending",
        "collections",
        "early",
        "outstanding",
        "fan_outs",
        "slots",
        "state",
        "stop",
    )


def _apply_to_levels(how: Callable[..., None], snapshot: Snapshot, *details: Any) -> None:
    how(snapshot.levels, *details)


_APPLY: Mapping[str, Callable[..., None]] = {
    name: getattr(Snapshot, name)
    for name in (
        "arrive",
        "deliver",
        "send",
        "put",
        "take",
        "wait",
        "unwait",
        "answer",
        "unanswer",
        "early_answer",
        "late_question",
        "prompt",
        "response",
        "change",
        "fan_out",
        "cancel",
        "child_begins",
        "child",
        "child_ends",
        "child_gone",
        "drop",
        "retry",
        "commit",
        "end",
    )
} | {
    name: partial(_apply_to_levels, getattr(Levels, name))
    for name in ("gather", "join", "cancel_fan_out", "close", "slot", "meet")
}
