"""What is kept with one delivery, so that what was done once is matched when it is done again."""

from typing import Any, TypeAlias

import attrs

from .._events import Event, StopEvent
from .collecting import Buffer, Entry
from .waiting import Wait

Document: TypeAlias = Any


class Made:
    """What the attempts of one delivery have done so far that the next one is to match."""

    __slots__ = ("answers", "children", "prompts", "sent", "settled", "starts")

    def __init__(self) -> None:
        self.sent: list[tuple[str | None, Event]] = []
        """What they have sent, and to which step, None for all."""
        self.prompts: list[tuple[int, Event]] = []
        """The questions that they have written to the stream, by number."""
        self.answers: dict[str, Event | None] = {}
        """What their waits were answered with, by key; None where the time was over."""
        self.settled: set[int] = set()
        """Numbers of the questions that were answered."""
        self.children: dict[str, StopEvent] = {}
        """What the runs that are part of them have ended with, by key."""
        self.starts: list[tuple[str, Event]] = []
        """What such runs, of workflows of these names, were started with: their keys are places in this list."""

    def start_key(self, workflow: str, event: Event) -> str:
        """Return what is the same for equal events that runs of *workflow* are started with."""
        for index, (name, earlier) in enumerate(self.starts):
            if name == workflow and are_equal(earlier, event):
                return str(index)
        self.starts.append((workflow, event))
        return str(len(self.starts) - 1)

    def forget_unanswered(self, still_open: set[int]) -> list[int]:
        """Leave out the waits that have no answer; return the numbers of their questions, which are asked again.

        Not so the questions numbered *still_open*: their waits may yet be answered.
        """
        self.answers = {key: event for key, event in self.answers.items() if event is not None}
        kept = self.settled | still_open
        unanswered = [number for number, _ in self.prompts if number not in kept]
        self.prompts = [entry for entry in self.prompts if entry[0] in kept]
        return unanswered


class Attempt:
    """What is kept with one delivery of a run that is recorded, or of a step that is retried.

    The last seven are of earlier attempts, which have failed or which the run was cut in: None where there was none.
    """

    __slots__ = (
        "answers",
        "asked",
        "changes",
        "children",
        "event",
        "given_up",
        "key",
        "made",
        "outputs",
        "prompts",
        "sent",
        "spent",
        "wait_count",
        "waits",
    )

    def __init__(self, event: Document, key: str, *, may_be_retried: bool) -> None:
        self.event = event
        """The document of its event, in a recorded run."""
        self.key = key
        """Names it by what has caused it: the same in whatever order things happen again after a crash."""
        self.made: Made | None = Made() if may_be_retried else None
        """What its attempts have done, if there may be another in this process."""
        self.outputs: dict[tuple[str, str | None], int] | None = None
        """How many events of each class the attempts have given to each target."""
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
        self.children: dict[str, Any] | None = None
        """The runs that are part of it, which the run was cut in, by key."""
        self.spent: list[tuple[Buffer, Entry]] | None = None
        """What it has added to collections, others have taken, and has not been matched yet."""

    def begin_again(self) -> list[int]:
        """Get ready for another attempt, which matches what those before it have sent and were answered.

        Returns:
            The numbers of the questions that nobody has answered: they are asked again.
        """
        made = self.made
        assert made is not None, "only of a step that may be retried there is another attempt"
        # Restored, and the attempt has not come to them.
        still_open = {number for wait in (self.waits or {}).values() for number in wait.prompts}
        unanswered = made.forget_unanswered(still_open)
        self.given_up = self.asked = self.changes = None
        # Those that have ended are known, the others begin anew.
        self.children = {key: child for key, child in (self.children or {}).items() if child.has_ended}
        self.wait_count = 0
        self.sent, self.prompts, self.answers = list(made.sent), list(made.prompts), dict(made.answers)
        return unanswered

    def output_index(self, target: str | None, event: Event) -> int:
        """Return how many events of its class the attempts have given to *target*, before *event*."""
        return (self.outputs or {}).get((type(event).__qualname__, target), 0)

    def count_output(self, target: str | None, event: Event) -> None:
        """Count *event*, which was not given before."""
        if self.outputs is None:
            self.outputs = {}
        self.outputs[type(event).__qualname__, target] = self.output_index(target, event) + 1

    def note_sent(self, target: str | None, event: Event) -> None:
        """Note what an attempt has sent."""
        if self.made is not None:
            self.made.sent.append((target, event))

    def note_answer(self, key: str, event: Event | None, prompts: list[int]) -> None:
        """Note what a wait was answered with, None if its time was over, and the questions that settles."""
        if self.made is not None:
            self.made.answers[key] = event
            if event is not None:
                self.made.settled.update(prompts)

    def forget_answer(self, key: str, prompts: list[int]) -> None:
        """Note that another wait may have an answer."""
        if self.made is not None:
            self.made.answers.pop(key, None)
            self.made.settled.difference_update(prompts)

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

    def note_prompt(self, number: int, event: Event) -> None:
        """Note what an attempt has asked."""
        if self.made is not None:
            self.made.prompts.append((number, event))

    def note_asked(self, number: int) -> None:
        """Note a question for the next wait."""
        if self.asked is None:
            self.asked = []
        self.asked.append(number)


def are_equal(one: Event, other: Event) -> bool:
    """Compare what attrs compares, so that an id or a time stamp declared with ``eq=False`` does not matter.

    Events with values that refuse to be compared are not equal, unless they are one object.
    """
    kind = type(one)
    if type(other) is not kind:
        return False
    try:
        if kind.__eq__ is not object.__eq__:
            return one is other or bool(one == other)
        # Of a class declared with eq=False no instance that was read is equal to one that is made anew.
        fields = attrs.fields(kind)  # type: ignore[arg-type]  # every such class is one of attrs'
        return all(getattr(one, each.name) == getattr(other, each.name) for each in fields if each.eq)
    except Exception:  # noqa: BLE001  # of values of the user's: an array of numbers has no one answer
        return False
