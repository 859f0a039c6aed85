"""The ledger against a naive model, under any order of what can happen to a run.

The model keeps plain lists and looks through all of them each time; the machine plays the engine: it takes
what the ledger has left in `ready` and `answered`, and holds the tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from anyio_workflows import (
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    UnhandledEvent,
    WorkflowRuntimeError,
    WorkflowStepDoesNotExistError,
)
from anyio_workflows._declare.signature import CallShape
from anyio_workflows._declare.step import StepDeclaration
from anyio_workflows._graph.model import Graph
from anyio_workflows._ledger.delivery import Delivery, Desk
from anyio_workflows._ledger.ledger import Ledger
from anyio_workflows._ledger.plan import Node, Plan
from anyio_workflows._ledger.waiting import Wait
from anyio_workflows._run.inbox import Inbox


class A(Event):
    n: int


class SubA(A):
    pass


class B(Event):
    n: int


class Ask(InputRequiredEvent):
    n: int


class Reply(HumanResponseEvent):
    n: int


class SubReply(Reply):
    pass


KINDS: list[type[Event]] = [A, SubA, B, Ask, Reply, SubReply]
# Few values, so that requirements are met, and equal events that are not the same one appear.
events = st.builds(lambda kind, n: kind(n=n), st.sampled_from(KINDS), st.integers(0, 1))
collectable = st.sampled_from([A, SubA, B])
expectations = st.lists(collectable, max_size=3) | st.dictionaries(collectable, st.integers(0, 2), max_size=2)
wrong_expectations = st.sampled_from([A, 5, "A", [A, int], [A(n=0)], {A: -1}, {int: 2}, {A: True}])
step_options = st.builds(
    dict,
    accepts=st.lists(st.sampled_from([A, A, *KINDS]), min_size=1, max_size=2, unique=True).map(tuple),
    accept_event_subclasses=st.booleans(),
    num_workers=st.integers(1, 3),
)


def make_plan(options: Sequence[Mapping[str, Any]], *, publishes_prompts: bool = False) -> Plan:
    """Return a plan of steps called s0, s1, ..., whose bodies nobody calls."""
    steps = tuple(
        StepDeclaration(
            name=f"s{index}",
            function=print,
            is_async=True,
            is_method=False,
            shape=CallShape.EVENT,
            event_parameter="ev",
            context_parameter=None,
            state_type=None,
            returns=(),
            waits_for=(),
            max_pending=64,
            timeout=None,
            limiter=None,
            skip_graph_checks=frozenset(),
            **one,
        )
        for index, one in enumerate(options)
    )
    graph = Graph(
        name="Model",
        steps=steps,
        start_event_class=StartEvent,
        stop_event_class=StopEvent,
        events=tuple(KINDS),
        takes_human_responses=any(issubclass(kind, HumanResponseEvent) for s in steps for kind in s.accepts),
        publishes_prompts=publishes_prompts,
    )
    return Plan("Model", graph, tuple(Node(index, one, print) for index, one in enumerate(steps)))


@attrs.define(eq=False)
class Job:
    """A delivery, as the model sees it."""

    step: int
    event: Event
    real: Delivery | None = None
    """None until it is in work."""


@attrs.define(eq=False)
class Item:
    """Something that was collected; never removed from the model's list, only marked."""

    where: tuple[int, str | None]
    event: Event
    put_by: Job | None
    """None once that has committed."""
    taken_by: Job | None = None
    is_gone: bool = False


@attrs.define(eq=False)
class Question:
    """An open wait, or one whose answer has not been fetched."""

    job: Job
    real: Wait
    kind: type[Event]
    requirements: Mapping[str, Any]
    answer: "Arrival | None" = None


@attrs.frozen(eq=False)
class Arrival:
    """An event that a wait may have, and when it came."""

    number: int
    event: Event


class LedgerComparison(RuleBasedStateMachine):
    """A `Ledger` and lists that are searched from the front at every opportunity, kept alike."""

    @initialize(
        options=st.lists(step_options, min_size=1, max_size=4),
        publishes_prompts=st.booleans(),
        desk_type=st.sampled_from([Desk, Inbox]),
    )
    def begin_run(
        self, options: list[dict[str, Any]], publishes_prompts: bool, desk_type: type[Desk]
    ) -> None:
        self.options = options
        self.publishes_prompts = publishes_prompts
        self.published: list[Event] = []
        plan = make_plan(options, publishes_prompts=publishes_prompts)
        self.ledger = Ledger(plan, self.published.append, desk_type)
        self.noticed: set[int] = set()
        self.jobs: list[Job] = []
        self.items: list[Item] = []
        self.wanted: dict[tuple[int, str | None], Any] = {}
        self.questions: list[Question] = []
        self.newly_answered: list[Question] = []
        self.early: list[Arrival] = []
        self.unhandled: list[Event] = []
        self.said: list[Event | None] = []
        self.prompts = self.responses = self.arrivals = 0

    def teardown(self) -> None:
        for desk in self.ledger.desks if hasattr(self, "ledger") else ():
            if isinstance(desk, Inbox):
                desk.close()

    # --- the model

    def accepts(self, step: int, kind: type[Event]) -> bool:
        one = self.options[step]
        if issubclass(kind, StopEvent):
            return False
        return kind in one["accepts"] or (one["accept_event_subclasses"] and issubclass(kind, one["accepts"]))

    def meets(self, event: Event, question: Question) -> bool:
        with_subclasses = self.options[question.job.step]["accept_event_subclasses"]
        fits = isinstance(event, question.kind) if with_subclasses else type(event) is question.kind
        return fits and all(getattr(event, name, None) == value for name, value in question.requirements.items())

    def answer_in_model(self, arrival: Arrival, step: int | None = None) -> bool:
        for question in self.questions:
            mine = step is None or question.job.step == step
            if mine and question.answer is None and self.meets(arrival.event, question):
                question.answer = arrival
                self.newly_answered.append(question)
                return True
        return False

    def emit_in_model(self, event: Event, step: int | None = None) -> bool:
        """Do what an emission does; True if it is a StopEvent."""
        if isinstance(event, StopEvent):
            return True
        if isinstance(event, InputRequiredEvent):
            self.prompts += 1
            self.said.append(event)
        self.responses += isinstance(event, HumanResponseEvent)
        self.arrivals += 1
        arrival = Arrival(self.arrivals, event)
        if self.answer_in_model(arrival, step):
            return False
        steps = range(len(self.options)) if step is None else [step]
        new = [Job(index, event) for index in steps if self.accepts(index, type(event))]
        self.jobs += new
        if not new and isinstance(event, HumanResponseEvent):
            self.early.append(arrival)
        elif not new and not isinstance(event, InputRequiredEvent):
            self.unhandled.append(event)
            self.said.append(None)
        return False

    def is_refused(self, event: Event, step: int) -> bool:
        waited_for = any(q.job.step == step and q.answer is None and self.meets(event, q) for q in self.questions)
        return not self.accepts(step, type(event)) and not waited_for

    def line(self, step: int) -> list[Job]:
        return [job for job in self.jobs if job.step == step and job.real is None]

    def in_work(self, step: int | None = None) -> list[Job]:
        return [job for job in self.jobs if job.real is not None and step in (None, job.step)]

    def buffered(self, where: tuple[int, str | None]) -> list[Item]:
        return [i for i in self.items if i.where == where and i.taken_by is None and not i.is_gone]

    def job(self, data: st.DataObject) -> tuple[Job, Delivery]:
        job = data.draw(st.sampled_from(self.in_work()), label="job")
        assert job.real is not None
        return job, job.real

    # --- what happens

    @rule(event=events, step=st.none() | st.integers(0, 3))
    def send(self, event: Event, step: int | None) -> None:
        """An event reaches each step that accepts it once, unless a wait takes it."""
        if step is None:
            assert self.ledger.emit(event) is self.emit_in_model(event)
        elif step >= len(self.options):
            with pytest.raises(WorkflowStepDoesNotExistError):
                self.ledger.emit(event, f"s{step}")
        elif self.is_refused(event, step):
            with pytest.raises(WorkflowRuntimeError):
                self.ledger.emit(event, f"s{step}")
        else:
            assert self.ledger.emit(event, f"s{step}") is self.emit_in_model(event, step)

    @precondition(lambda self: self.noticed)
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """A worker takes the oldest delivery of a step that the ledger has pointed to, if a token is free."""
        step = data.draw(st.sampled_from(sorted(self.noticed)), label="step")
        if len(self.in_work(step)) == self.options[step]["num_workers"]:
            return
        delivery = self.ledger.begin(self.ledger.desks[step])
        line = self.line(step)
        if not line:
            assert delivery is None
            self.noticed.discard(step)
            return
        assert delivery is not None
        assert delivery.event is line[0].event
        assert delivery not in [job.real for job in self.jobs], "a delivery begins once"
        line[0].real = delivery

    @precondition(lambda self: self.in_work())
    @rule(data=st.data(), output=st.none() | events | st.builds(StopEvent) | st.just("no event"))
    def commit(self, data: st.DataObject, output: Any) -> None:
        """The output is pending from then on, the input no more; of what was collected nothing can be undone."""
        job, delivery = self.job(data)
        self.abandon_all(job)
        if output == "no event":
            with pytest.raises(WorkflowRuntimeError):
                self.ledger.commit(delivery, output)
            return
        stops = self.emit_in_model(output) if output is not None else False
        assert self.ledger.commit(delivery, output) is stops
        self.jobs.remove(job)
        for item in self.items:
            if item.taken_by is job:
                item.is_gone = True
            if item.put_by is job:
                item.put_by = None

    @precondition(lambda self: self.in_work())
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        """What it took is back at its place, what it put is withdrawn, except what another has taken."""
        job, delivery = self.job(data)
        self.abandon_all(job)
        self.ledger.withdraw(delivery)
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
        assert [id(entry.event) for _, entry in delivery.spent or ()] == [id(event) for event in spent]

    @precondition(lambda self: self.in_work())
    @rule(
        data=st.data(),
        other=st.none() | events,
        expected=expectations,
        buffer_id=st.sampled_from([None, None, "x"]),
    )
    def collect(self, data: st.DataObject, other: Event | None, expected: Any, buffer_id: str | None) -> None:
        """An execution adds its event once, and gets the oldest of each type when all are there."""
        job, delivery = self.job(data)
        event = job.event if other is None else other
        where = (job.step, buffer_id)
        if not any(i.where == where and i.put_by is job and i.event is event for i in self.items):
            self.items.append(Item(where, event, job))
        order = list(expected) if isinstance(expected, list) else [k for k, n in expected.items() for _ in range(n)]
        self.wanted[where] = order
        batch: list[Item] = []
        for kind in order:
            fitting = [i for i in self.buffered(where) if type(i.event) is kind and i not in batch]
            batch += fitting[:1]
        given = self.ledger.collect(delivery, event, expected, buffer_id)
        if len(batch) < len(order):
            assert given is None
            return
        assert given is not None
        assert [id(one) for one in given] == [id(item.event) for item in batch]
        for item in batch:
            item.taken_by = job

    @precondition(lambda self: self.in_work())
    @rule(data=st.data(), expected=wrong_expectations)
    def collect_wrongly(self, data: st.DataObject, expected: Any) -> None:
        """What is no list of event types is an error, and nothing has been added."""
        job, delivery = self.job(data)
        with pytest.raises(WorkflowRuntimeError):
            self.ledger.collect(delivery, job.event, expected, None)

    @precondition(lambda self: self.in_work())
    @rule(
        data=st.data(),
        kind=st.sampled_from([*[Reply] * 4, *KINDS]),
        requirements=st.sampled_from([{}, {}, {"n": 0}, {"n": 1}, {"m": 1}]),
    )
    def ask(self, data: st.DataObject, kind: type[Event], requirements: Mapping[str, Any]) -> None:
        """A wait is answered at once by the oldest event that came too early for its question."""
        job, delivery = self.job(data)
        real = self.ledger.open_wait(delivery, kind, requirements=requirements, waiter_id=None)
        question = Question(job, real, kind, requirements)
        self.questions.append(question)
        for arrival in self.early:
            if self.meets(arrival.event, question):
                question.answer = arrival
                self.early.remove(arrival)
                break
        assert real.answer is (question.answer.event if question.answer else None)

    @precondition(lambda self: any(q.answer for q in self.questions))
    @rule(data=st.data())
    def fetch_answer(self, data: st.DataObject) -> None:
        """An execution whose wait was answered goes on, with the event that its wait got."""
        question = data.draw(st.sampled_from([q for q in self.questions if q.answer]), label="question")
        assert question.answer is not None
        assert question.real.answer is question.answer.event
        self.ledger.close_wait(question.real)
        self.questions.remove(question)

    @precondition(lambda self: self.questions)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        """A wait that is cancelled leaves its answer to others."""
        self.abandon(data.draw(st.sampled_from(self.questions), label="question"))

    def abandon_all(self, job: Job) -> None:
        for question in [q for q in self.questions if q.job is job]:
            self.abandon(question)

    def abandon(self, question: Question) -> None:
        self.take_answered()
        self.questions.remove(question)
        self.ledger.give_back(question.real)
        self.ledger.close_wait(question.real)
        arrival = question.answer
        if arrival is not None and not self.answer_in_model(arrival):
            self.early = sorted([*self.early, arrival], key=lambda one: one.number)
        self.take_answered()

    # --- what holds at any time

    def take_answered(self) -> None:
        """Wake the waits that the ledger says are answered."""
        answered, self.ledger.answered[:] = list(self.ledger.answered), []
        assert answered == [question.real for question in self.newly_answered]
        for question in self.newly_answered:
            assert question.answer is not None
            assert question.real.answer is question.answer.event
        self.newly_answered = []

    @invariant()
    def everything_agrees(self) -> None:
        """One invariant, so that a failing example prints one line per step."""
        self.take_answered()
        self.every_line_is_pointed_to()
        self.the_numbers_add_up()
        self.nothing_collected_is_lost_or_doubled()
        self.what_is_published_was_said_once()
        self.the_report_lists_exactly_what_is_left()

    def every_line_is_pointed_to(self) -> None:
        """A step with a line that the engine has not been told of would never begin."""
        for desk in self.ledger.ready:
            desk.is_ready = False
            self.noticed.add(desk.node.index)
        self.ledger.ready.clear()
        for step in range(len(self.options)):
            assert not self.line(step) or step in self.noticed

    def the_numbers_add_up(self) -> None:
        ledger = self.ledger
        assert [d.event for d in ledger.pending.values()] == [job.event for job in self.jobs]
        assert [d.number for d in ledger.pending.values()] == sorted(d.number for d in ledger.pending.values())
        assert ledger.working == len(self.in_work())
        assert (ledger.prompts, ledger.responses) == (self.prompts, self.responses)
        names = {f"s{job.step}" for job in self.in_work()}
        assert ledger.active_steps() == tuple(sorted(names))
        assert ledger.outcome is None
        for step, desk in enumerate(ledger.desks):
            line, in_work = self.line(step), self.in_work(step)
            assert desk is not None or not line + in_work
            if desk is not None:
                assert (desk.queued, desk.pending) == (len(line), len(line) + len(in_work))

    def nothing_collected_is_lost_or_doubled(self) -> None:
        for step, desk in enumerate(self.ledger.desks):
            for buffer_id, buffer in ((desk and desk.buffers) or {}).items():
                real = [id(entry.event) for entry in buffer.entries()]
                assert real == [id(item.event) for item in self.buffered((step, buffer_id))]

    def what_is_published_was_said_once(self) -> None:
        assert len(self.published) == len(self.said)
        unhandled = iter(self.unhandled)
        for real, said in zip(self.published, self.said, strict=True):
            if said is not None:
                assert real is said
            else:
                assert isinstance(real, UnhandledEvent)
                assert real.event_type == type(next(unhandled)).__name__

    def the_report_lists_exactly_what_is_left(self) -> None:
        report = self.ledger.report()
        assert len(report.pending) == len(self.jobs)
        for line, job in zip(report.pending, self.jobs, strict=True):
            assert repr(job.event) in line
            assert f"step 's{job.step}'" in line
            assert ("in line" if job.real is None else "in work") in line
        open_questions = [question for question in self.questions if question.answer is None]
        assert len(report.waits) == len(open_questions)
        for line, question in zip(report.waits, open_questions, strict=True):
            assert line.startswith(f"step 's{question.job.step}' waits for {question.kind.__qualname__}")
            assert all(f"{name}={value}" in line for name, value in question.requirements.items())
        assert list(report.unconsumed[-len(self.early) :] if self.early else ()) == [
            f"nothing has asked for {arrival.event!r}" for arrival in self.early
        ]
        assert len(report.unconsumed) - len(self.early) == min(len(self.unhandled), 21)
        self.check_collections(report.collections)
        assert report.is_waiting_for_human is self.awaits_human()

    def check_collections(self, lines: Sequence[str]) -> None:
        left = {where: self.buffered(where) for where in self.wanted}
        left = {where: items for where, items in left.items() if items}
        assert len(lines) == len(left)
        for (step, buffer_id), items in left.items():
            of_buffer = "" if buffer_id is None else f" in buffer {buffer_id!r}"
            (line,) = [
                line
                for line in lines
                if line.startswith(f"step 's{step}' has ") and (" in buffer" in line) is (buffer_id is not None)
            ]
            assert line.endswith(of_buffer)
            have = [type(item.event) for item in items]
            wanted = self.wanted[step, buffer_id]
            said = line.removeprefix(f"step 's{step}' has ").removesuffix(of_buffer).split(" and ")
            said = [part for part in said if part not in ("0 A", "0 SubA", "0 B")]  # {A: 0} may be named
            parts = {kind: f"{have.count(kind)} of {wanted.count(kind)} {kind.__qualname__}" for kind in wanted}
            others = {kind: f"{have.count(kind)} {kind.__qualname__}" for kind in have if kind not in wanted}
            assert sorted(said) == sorted({**parts, **others}.values())

    def awaits_human(self) -> bool:
        takes = any(issubclass(kind, HumanResponseEvent) for one in self.options for kind in one["accepts"])
        return (
            self.prompts > self.responses
            or (takes and not self.publishes_prompts and not self.prompts)
            or any(q.answer is None and issubclass(q.kind, HumanResponseEvent) for q in self.questions)
        )


class TestLedger(LedgerComparison.TestCase):
    settings = settings(max_examples=200, stateful_step_count=50)


# --- what the machine found, or does not reach


def make_ledger(**options: Any) -> Ledger:
    """Return the ledger of a workflow with one step."""
    accepting = {"accepts": (A,), "accept_event_subclasses": False, "num_workers": 4, **options}
    return Ledger(make_plan([accepting]), lambda event: None)


def begun(ledger: Ledger, event: Event) -> Delivery:
    """Send *event* and take it into work."""
    ledger.emit(event)
    delivery = ledger.begin(ledger.desks[0])
    assert delivery is not None
    return delivery


def test_s_col_5_what_another_has_taken_is_not_put_in_a_second_time() -> None:
    """Else one event would be in two batches."""
    ledger = make_ledger()
    first, second = begun(ledger, A(n=1)), begun(ledger, A(n=2))
    assert ledger.collect(first, first.event, [A, A], None) is None
    assert ledger.collect(second, second.event, [A, A], None) == [A(n=1), A(n=2)]
    ledger.withdraw(first)
    assert ledger.collect(first, first.event, [A], None) is None
    assert ledger.report().collections == ()


def test_s_col_5_what_it_took_is_back_at_its_place_among_later_ones() -> None:
    """A failed attempt must not change who comes first."""
    ledger = make_ledger()
    first, second, third = begun(ledger, A(n=1)), begun(ledger, A(n=2)), begun(ledger, A(n=3))
    assert ledger.collect(first, first.event, [A] * 9, None) is None
    assert ledger.collect(second, second.event, [A], None) == [A(n=1)]
    ledger.commit(first, None)
    ledger.withdraw(second)
    assert ledger.collect(third, third.event, [A, A], None) == [A(n=1), A(n=3)]


def test_s_wait_2_answers_that_are_given_back_keep_their_order() -> None:
    """Whoever asks next gets what came first, also if somebody has had it and gave up."""
    ledger = make_ledger()
    delivery = begun(ledger, A(n=1))

    def ask() -> Wait:
        return ledger.open_wait(delivery, Reply, requirements={}, waiter_id=None)

    abandoned = [ask(), ask()]
    for n in range(3):
        ledger.emit(Reply(n=n))
    for wait in abandoned:
        ledger.give_back(wait)
        ledger.close_wait(wait)
    assert [ask().answer for _ in range(3)] == [Reply(n=0), Reply(n=1), Reply(n=2)]


def test_s_run_4_a_collection_of_other_types_than_wanted_is_named_too() -> None:
    """What holds events is named with all of them, or the report would hide what went astray."""
    ledger = make_ledger(accepts=(A, B))
    delivery = begun(ledger, A(n=1))
    assert ledger.collect(delivery, delivery.event, [B, B], "x") is None
    (line,) = ledger.report().collections
    assert "0 of 2 B" in line
    assert "1 A" in line
