"""What a recorded run keeps with one delivery, so that what was done once is matched when it is done again."""

import attrs

from .._events import Event
from .._ledger.collecting import Buffer, Entry
from .._ledger.waiting import Wait
from .snapshot import Document


class Attempt:
    """What a recorded run keeps with one delivery.

    The last six are of an earlier attempt, which the run was cut in: None where there was none.
    """

    __slots__ = (
        "answers",
        "asked",
        "changes",
        "event",
        "given_up",
        "key",
        "outputs",
        "prompts",
        "sent",
        "spent",
        "wait_count",
        "waits",
    )

    def __init__(self, event: Document, key: str) -> None:
        self.event = event
        """The document of its event."""
        self.key = key
        """Names it by what has caused it: the same in whatever order things happen again after a crash."""
        self.outputs: dict[tuple[str, str | None], int] | None = None
        """How many events of each class the execution has given to each target."""
        self.wait_count = 0
        """Waits that the execution has opened."""
        self.given_up: list[str] | None = None
        """Keys of the waits that were cancelled, of which the history does not know yet."""
        self.asked: list[int] | None = None
        """Numbers of the questions that it has written to the stream, and not come to wait for."""
        self.sent: list[tuple[str | None, Event]] | None = None
        """What it has sent, and what has not been matched yet."""
        self.answers: dict[str, Event | None] | None = None
        """What its waits were answered with, by key; None where the time was over."""
        self.waits: dict[str, Wait] | None = None
        """Its open waits, by key: open from the first moment, since whoever reads the question may answer at once."""
        self.prompts: list[tuple[int, Event]] | None = None
        """The questions that it has written to the stream, by number."""
        self.changes: list[dict[str, Document]] | None = None
        """For each of its changes of the state, what has to be laid over the state to have it as it was before."""
        self.spent: list[tuple[Buffer, Entry]] | None = None
        """What it has added to collections, others have taken, and has not been matched yet."""

    def finds_sent(self, target: str | None, event: Event) -> int | None:
        """Return the place of an event like this one among those that were sent, None if there is none."""
        for index, (sent_to, sent) in enumerate(self.sent or ()):
            if sent_to == target and are_equal(sent, event):
                return index
        return None

    def has_sent(self, target: str | None, event: Event) -> bool:
        """Match *event* with one that was sent, once."""
        index = self.finds_sent(target, event)
        if index is None:
            return False
        assert self.sent is not None, "it was found there"
        del self.sent[index]
        return True

    def has_asked(self, event: Event) -> int | None:
        """Match *event* with a question that was published, once, and return the number of that."""
        for index, (number, asked) in enumerate(self.prompts or ()):
            if are_equal(asked, event):
                assert self.prompts is not None, "it was found there"
                del self.prompts[index]
                return number
        return None

    def note_asked(self, number: int) -> None:
        """Note a question for the next wait."""
        if self.asked is None:
            self.asked = []
        self.asked.append(number)


def are_equal(one: Event, other: Event) -> bool:
    """Compare what attrs compares, so that an id or a time stamp declared with ``eq=False`` does not matter."""
    kind = type(one)
    if type(other) is not kind:
        return False
    if kind.__eq__ is not object.__eq__:
        return one == other
    # Of a class declared with eq=False no instance that was read is equal to one that is made anew.
    fields = attrs.fields(kind)  # type: ignore[arg-type]  # every such class is one of attrs'
    return all(getattr(one, each.name) == getattr(other, each.name) for each in fields if each.eq)
