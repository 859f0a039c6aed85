"""One delivery that has not committed, as documents."""

from collections.abc import Callable
from typing import Any

from .levels import lineage as lineage_of
from .nested import Child
from .shapes import (
    Document,
    anything,
    count,
    flag,
    items,
    mapping,
    members,
    rows,
    seconds,
    text,
    text_or_null,
)

_WAIT = ("number", "type", "requirements", "left", "at", "prompts")
"""Members of an open wait: what it waits for, and seconds that it had left at a moment, in seconds UTC."""


class Pending:
    """One delivery that has not committed, with what its execution has done meanwhile."""

    __slots__ = (
        "answers",
        "cancelled",
        "changes",
        "children",
        "event",
        "key",
        "lineage",
        "number",
        "prompts",
        "put",
        "retry",
        "sent",
        "spent",
        "step",
        "took",
        "unanswered",
        "waits",
    )

    def __init__(self, number: int, step: str, event: Document, key: str) -> None:
        self.number = number
        self.key = key
        """Names it by what has caused it; see `RecordedLedger`."""
        self.step = step
        self.event = event
        self.lineage: Document = None
        """[fan-out or None, place there, recoveries]: what it has come of, None where that does not matter."""
        self.sent: list[list[Any]] = []
        """[target step or None, event] of each event that it has sent."""
        self.put: list[list[Any]] = []
        """[buffer id, place, event] of each event that it has added to a collection."""
        self.took: list[list[Any]] = []
        """[buffer id, [[place, event], ...]] of each batch that it has taken."""
        self.spent: list[list[Any]] = []
        """[buffer id, place, event] of what it has added and another execution has taken."""
        self.answers: dict[str, Document] = {}
        """What its waits were answered with, by key; None where the time was over."""
        self.waits: dict[str, Document] = {}
        """Its open waits, by key."""
        self.prompts: list[list[Any]] = []
        """[number, event] of each question that it has written to the stream."""
        self.unanswered: list[int] = []
        """Numbers of those that its waits are open for, or that it has not come to wait for."""
        self.changes: list[dict[str, Document]] = []
        """For each of its changes of the state: what has been changed since, as it was before that change."""

        self.children: dict[str, Child] = {}
        """The runs that are part of its execution, by key."""
        self.retry: Document = None
        """How the attempt before this one has ended, None in the first: see `_retry`."""
        self.cancelled: bool = False
        """It is cleaning up, and nothing to go on with."""

    def begin_again(self, about: Document, unanswered: list[int]) -> None:
        """Let another attempt match what those before it have done, except to the state."""
        self.retry = about
        self.changes = []
        self.answers = {key: event for key, event in self.answers.items() if event is not None}
        self.prompts = [prompt for prompt in self.prompts if prompt[0] not in unanswered]
        self.children = {key: child for key, child in self.children.items() if child.has_ended}

    def document(self) -> Document:
        """Return it as JSON types; what is empty is left out."""
        whole = {name: getattr(self, name) for name in self.__slots__}
        whole["children"] = {key: child.document() for key, child in self.children.items()}
        always = ("number", "step", "event", "key")
        return {name: value for name, value in whole.items() if value or name in always}

    @classmethod
    def from_document(cls, document: Document, read: Callable[[Document], Any]) -> "Pending":
        """Return the delivery that *document* describes; errors as of `Snapshot.from_document`, which is *read*."""
        unknown = set(mapping(document)) - set(cls.__slots__)
        if unknown:
            raise ValueError(f"a pending delivery has no {sorted(unknown)}")
        pending = cls(
            count(document["number"]), text(document["step"]), document["event"], text(document["key"])
        )
        added = (text_or_null, count, anything)
        pending.sent = rows(document.get("sent", []), text_or_null, anything)
        pending.put = rows(document.get("put", []), *added)
        pending.took = rows(
            document.get("took", []), text_or_null, lambda taken: rows(taken, count, anything)
        )
        pending.spent = rows(document.get("spent", []), *added)
        pending.prompts = rows(document.get("prompts", []), count, anything)
        pending.unanswered = [count(number) for number in items(document.get("unanswered", []))]
        pending.answers = dict(mapping(document.get("answers", {})))
        pending.waits = {key: _wait(wait) for key, wait in mapping(document.get("waits", {})).items()}
        pending.changes = [
            {name: items(before)[:1] for name, before in mapping(change).items()}
            for change in items(document.get("changes", []))
        ]
        pending.cancelled = flag(document.get("cancelled", False))
        pending.children = {
            key: Child.from_document(child, read)
            for key, child in mapping(document.get("children", {})).items()
        }
        if (lineage := document.get("lineage")) is not None:
            pending.lineage = lineage_of(lineage)
        if (retry := document.get("retry")) is not None:
            pending.retry = _retry(retry)
        return pending


_RETRY = ("attempt", "due", "began", "failed_at", "error")
"""Members of what is known of attempts that have failed: which one is next and when it is due, when the first has begun
and the last has ended, in seconds UTC, and its exception's class and text."""


_MOST_ATTEMPTS = 10**9
"""A thousand a second for a week; strategies compute with it."""

LAST_MOMENT = 253_402_300_799
"""The end of the year 9999, the last that a `datetime` knows, in seconds UTC."""


def _retry(document: Document) -> Document:
    members(document, _RETRY)
    if not 2 <= count(document["attempt"]) <= _MOST_ATTEMPTS:  # noqa: PLR2004
        raise ValueError("an attempt that is none, or the first, which is no retry")
    if document["due"] is not None:
        seconds(document["due"])
    if max(seconds(document["began"]), seconds(document["failed_at"])) > LAST_MOMENT:
        raise ValueError("a time that no calendar shows")
    kind, message = items(document["error"])
    text(kind)
    text(message)
    return document


def _wait(document: Document) -> Document:
    members(document, _WAIT)
    count(document["number"])
    text(document["type"])
    if document["left"] is not None:
        seconds(document["left"])
    seconds(document["at"])
    for number in items(document["prompts"]):
        count(number)
    return document
