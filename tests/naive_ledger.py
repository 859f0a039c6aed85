"""What a ledger should do, done the plain way: lists that are searched from the front each time."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from anyio_workflows import Event, HumanResponseEvent, InputRequiredEvent, StopEvent
from anyio_workflows._ledger.delivery import Delivery
from anyio_workflows._ledger.waiting import Wait


@attrs.define(eq=False)
class Job:
    """A delivery."""

    step: int
    event: Event
    real: Delivery | None = None
    """None until it is in work."""


@attrs.define(eq=False)
class Item:
    """Something that was collected; never removed from the model's list, only marked."""

    where: tuple[int, str | None]
    """The step, and the ``buffer_id``."""
    event: Event
    put_by: Job | None
    """None once that has committed."""
    taken_by: Job | None = None
    is_gone: bool = False
    """Withdrawn, or taken by an execution that has committed."""


@attrs.frozen(eq=False)
class Arrival:
    """An event that a wait may have, and when it came."""

    number: int
    event: Event


@attrs.define(eq=False)
class Question:
    """A wait that has no answer, or whose answer has not been fetched."""

    job: Job
    real: Wait
    kind: type[Event]
    requirements: Mapping[str, Any]
    answer: Arrival | None = None


class NaiveLedger:
    """The deliveries, collections and waits of one run."""

    def __init__(self, steps: Sequence[Mapping[str, Any]], *, publishes_prompts: bool) -> None:
        self.steps = steps
        """What was given to ``@step`` of each, and what it accepts."""
        self.publishes_prompts = publishes_prompts
        self.jobs: list[Job] = []
        self.items: list[Item] = []
        self.wanted: dict[tuple[int, str | None], list[type[Event]]] = {}
        """What the last call for each collection expected."""
        self.questions: list[Question] = []
        self.newly_answered: list[Question] = []
        self.early: list[Arrival] = []
        self.unhandled: list[Event] = []
        self.published: list[Event | None] = []
        """None stands for an UnhandledEvent."""
        self.prompts = self.responses = self._arrivals = 0

    # --- events

    def accepts(self, step: int, kind: type[Event]) -> bool:
        """Whether events of *kind* go to *step*."""
        accepted = self.steps[step]["accepts"]
        if issubclass(kind, StopEvent):
            return False
        return kind in accepted or (
            self.steps[step]["accept_event_subclasses"] and issubclass(kind, accepted)
        )

    def refuses(self, event: Event, step: int) -> bool:
        """Whether sending *event* to *step* is an error."""
        is_waited_for = any(question.job.step == step for question in self._open_for(event))
        return not self.accepts(step, type(event)) and not is_waited_for

    def emit(self, event: Event, step: int | None = None) -> bool:
        """Send *event*; True if it is a StopEvent."""
        if isinstance(event, StopEvent):
            return True
        if isinstance(event, InputRequiredEvent):
            self.prompts += 1
            self.published.append(event)
        self.responses += isinstance(event, HumanResponseEvent)
        self._arrivals += 1
        arrival = Arrival(self._arrivals, event)
        if self._answer(arrival, step):
            return False
        steps = range(len(self.steps)) if step is None else [step]
        new = [Job(index, event) for index in steps if self.accepts(index, type(event))]
        self.jobs += new
        if not new and isinstance(event, HumanResponseEvent):
            self.early.append(arrival)
        elif not new and not isinstance(event, InputRequiredEvent):
            self.unhandled.append(event)
            self.published.append(None)
        return False

    # --- executions

    def line(self, step: int) -> list[Job]:
        """Return what stands in line at *step*."""
        return [job for job in self.jobs if job.step == step and job.real is None]

    def in_work(self, step: int | None = None) -> list[Job]:
        """Return what is in work, at *step* or anywhere."""
        return [job for job in self.jobs if job.real is not None and step in (None, job.step)]

    def commit(self, job: Job, output: Event | None) -> bool:
        """End an execution; True if its output is a StopEvent."""
        stops = self.emit(output) if output is not None else False
        self.jobs.remove(job)
        for item in self.items:
            if item.taken_by is job:
                item.is_gone = True
            if item.put_by is job:
                item.put_by = None
        return stops

    def fail(self, job: Job) -> list[Event]:
        """Undo what an execution has collected; return what it put in and others have taken."""
        self.jobs.remove(job)
        for item in self.items:
            if item.taken_by is job:
                item.taken_by = None
        spent = []
        for item in self.items:
            if item.put_by is job:
                item.put_by = None
                if item.taken_by is not None or item.is_gone:
                    spent.append(item.event)
                else:
                    item.is_gone = True
        return spent

    # --- collections

    def buffered(self, where: tuple[int, str | None]) -> list[Item]:
        """Return what can be taken, in the order in which it was put in."""
        return [item for item in self.items if item.where == where and not item.taken_by and not item.is_gone]

    def collect(
        self, job: Job, event: Event, order: list[type[Event]], buffer_id: str | None
    ) -> list[Event] | None:
        """Put *event* in, once per execution, and take the oldest of each type in *order*."""
        where = (job.step, buffer_id)
        if not any(item.where == where and item.put_by is job and item.event is event for item in self.items):
            self.items.append(Item(where, event, job))
        self.wanted[where] = order
        batch: list[Item] = []
        for kind in order:
            left = [item for item in self.buffered(where) if type(item.event) is kind and item not in batch]
            if not left:
                return None
            batch.append(left[0])
        for item in batch:
            item.taken_by = job
        return [item.event for item in batch]

    def half_full(self) -> dict[tuple[int, str | None], set[str]]:
        """Return, for each collection that holds something, what the report has to say of its types."""
        described = {}
        for where, order in self.wanted.items():
            have = [type(item.event) for item in self.buffered(where)]
            if have:
                wanted = {f"{have.count(kind)} of {order.count(kind)} {kind.__qualname__}" for kind in order}
                others = {f"{have.count(kind)} {kind.__qualname__}" for kind in have if kind not in order}
                described[where] = wanted | others
        return described

    # --- waits

    def meets(self, event: Event, question: Question) -> bool:
        """Whether *event* could answer *question*."""
        with_subclasses = self.steps[question.job.step]["accept_event_subclasses"]
        fits = isinstance(event, question.kind) if with_subclasses else type(event) is question.kind
        required = question.requirements.items()
        return fits and all(getattr(event, name, None) == value for name, value in required)

    def open_questions(self) -> list[Question]:
        """Return the waits without an answer, oldest first."""
        return [question for question in self.questions if question.answer is None]

    def _open_for(self, event: Event) -> list[Question]:
        return [question for question in self.open_questions() if self.meets(event, question)]

    def _answer(self, arrival: Arrival, step: int | None = None) -> bool:
        for question in self._open_for(arrival.event):
            if step is None or question.job.step == step:
                question.answer = arrival
                self.newly_answered.append(question)
                return True
        return False

    def ask(self, question: Question) -> None:
        """Open a wait; the oldest of the events that came too early answers it at once."""
        self.questions.append(question)
        for arrival in self.early:
            if self.meets(arrival.event, question):
                question.answer = arrival
                self.early.remove(arrival)
                return

    def abandon(self, question: Question) -> None:
        """Leave the answer of a wait that is given up to the next one, or keep it at its place."""
        self.questions.remove(question)
        arrival = question.answer
        if arrival is not None and not self._answer(arrival):
            self.early = sorted([*self.early, arrival], key=lambda one: one.number)

    def awaits_human(self) -> bool:
        """Whether a human may still answer."""
        takes = any(issubclass(kind, HumanResponseEvent) for step in self.steps for kind in step["accepts"])
        return (
            self.prompts > self.responses
            or (takes and not self.publishes_prompts and not self.prompts)
            or any(issubclass(question.kind, HumanResponseEvent) for question in self.open_questions())
        )
