"""The ledger against a naive model, under any order of what can happen to a run.

The machine plays the engine: it takes what the ledger has left in `ready` and `answered`, and holds the tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from naive_ledger import Job, NaiveLedger, Question

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
# Few values, so that requirements are met, and equal events appear that are not the same one.
events = st.builds(
    lambda kind, n: kind(n=n), st.sampled_from([A, A, Reply, Reply, *KINDS]), st.integers(0, 1)
)
collectable = st.sampled_from([A, A, SubA, B])
expectations = st.lists(collectable, max_size=3) | st.dictionaries(collectable, st.integers(0, 2), max_size=2)
wrong_expectations = st.sampled_from([A, 5, "A", [A, int], [A(n=0)], {A: -1}, {int: 2}, {A: True}])
kinds_accepted = st.lists(st.sampled_from([A, A, A, *KINDS]), min_size=1, max_size=2, unique=True).map(tuple)
step_options: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "accepts": kinds_accepted,
        "accept_event_subclasses": st.booleans(),
        "num_workers": st.integers(1, 3),
    }
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


class LedgerComparison(RuleBasedStateMachine):
    """A `Ledger` and a `NaiveLedger`, kept alike."""

    @initialize(
        options=st.lists(step_options, min_size=1, max_size=4),
        publishes_prompts=st.booleans(),
        desk_type=st.sampled_from([Desk, Inbox]),
    )
    def begin_run(
        self, options: list[dict[str, Any]], publishes_prompts: bool, desk_type: type[Desk]
    ) -> None:
        self.published: list[Event] = []
        plan = make_plan(options, publishes_prompts=publishes_prompts)
        self.ledger = Ledger(plan, self.published.append, desk_type)
        self.model = NaiveLedger(options, publishes_prompts=publishes_prompts)
        self.noticed: set[int] = set()
        """Steps that the ledger has pointed to since their lines were last found empty."""

    def teardown(self) -> None:
        for desk in self.ledger.desks if hasattr(self, "ledger") else ():
            if isinstance(desk, Inbox):
                desk.close()

    def some_job(self, data: st.DataObject) -> tuple[Job, Delivery]:
        job = data.draw(st.sampled_from(self.model.in_work()), label="job")
        assert job.real is not None
        return job, job.real

    # --- what happens

    @rule(event=events, step=st.sampled_from([None, None, None, 0, 0, 1, 2, 3]))
    def send(self, event: Event, step: int | None) -> None:
        """An event reaches each step that accepts it once, unless a wait takes it."""
        if step is None:
            assert self.ledger.emit(event) is self.model.emit(event)
        elif step >= len(self.model.steps):
            with pytest.raises(WorkflowStepDoesNotExistError):
                self.ledger.emit(event, f"s{step}")
        elif self.model.refuses(event, step):
            with pytest.raises(WorkflowRuntimeError):
                self.ledger.emit(event, f"s{step}")
        else:
            assert self.ledger.emit(event, f"s{step}") is self.model.emit(event, step)

    @precondition(lambda self: self.noticed)
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """A worker takes the oldest delivery of a step that the ledger has pointed to, if a token is free."""
        step = data.draw(st.sampled_from(sorted(self.noticed)), label="step")
        if len(self.model.in_work(step)) == self.model.steps[step]["num_workers"]:
            return
        delivery = self.ledger.begin(self.ledger.desks[step])
        line = self.model.line(step)
        if not line:
            assert delivery is None
            self.noticed.discard(step)
            return
        assert delivery is not None
        assert delivery.event is line[0].event
        assert delivery not in [job.real for job in self.model.jobs], "a delivery begins once"
        line[0].real = delivery

    @precondition(lambda self: self.model.in_work())
    @rule(data=st.data(), output=st.none() | events | st.builds(StopEvent) | st.just("no event"))
    def commit(self, data: st.DataObject, output: Any) -> None:
        """The output is pending from then on, the input no more; of what was collected nothing can be undone."""
        job, delivery = self.some_job(data)
        self.abandon_all_of(job)
        if output == "no event":
            with pytest.raises(WorkflowRuntimeError):
                self.ledger.commit(delivery, output)
        else:
            assert self.ledger.commit(delivery, output) is self.model.commit(job, output)

    @precondition(lambda self: self.model.in_work())
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        """What it took is back at its place, what it put is withdrawn, except what another has taken."""
        job, delivery = self.some_job(data)
        self.abandon_all_of(job)
        self.ledger.withdraw(delivery)
        spent = [id(entry.event) for _, entry in delivery.spent or ()]
        assert spent == [id(event) for event in self.model.fail(job)]

    @precondition(lambda self: self.model.in_work())
    @rule(
        data=st.data(),
        other=st.none() | events,
        expected=expectations,
        buffer_id=st.sampled_from([None, None, "x"]),
    )
    def collect(self, data: st.DataObject, other: Event | None, expected: Any, buffer_id: str | None) -> None:
        """An execution adds its event once, and gets the oldest of each type when all are there."""
        job, delivery = self.some_job(data)
        event = job.event if other is None else other
        counts = expected if isinstance(expected, dict) else None
        order = [kind for kind, n in counts.items() for _ in range(n)] if counts is not None else expected
        given = self.ledger.collect(delivery, event, expected, buffer_id)
        batch = self.model.collect(job, event, order, buffer_id)
        assert (given is None) is (batch is None)
        assert [id(one) for one in given or ()] == [id(one) for one in batch or ()]

    @precondition(lambda self: self.model.in_work())
    @rule(data=st.data(), expected=wrong_expectations)
    def collect_wrongly(self, data: st.DataObject, expected: Any) -> None:
        """What is no list of event types is an error, and nothing has been added."""
        job, delivery = self.some_job(data)
        with pytest.raises(WorkflowRuntimeError):
            self.ledger.collect(delivery, job.event, expected, None)

    @precondition(lambda self: self.model.in_work())
    @rule(
        data=st.data(),
        kind=st.sampled_from([*[Reply] * 4, *KINDS]),
        requirements=st.sampled_from([{}, {}, {"n": 0}, {"n": 1}, {"m": 1}]),
    )
    def ask(self, data: st.DataObject, kind: type[Event], requirements: Mapping[str, Any]) -> None:
        """A wait is answered at once by the oldest event that came too early for its question."""
        job, delivery = self.some_job(data)
        real = self.ledger.open_wait(delivery, kind, requirements=requirements, waiter_id=None)
        question = Question(job, real, kind, requirements)
        self.model.ask(question)
        assert real.answer is (question.answer.event if question.answer else None)

    @precondition(lambda self: any(question.answer for question in self.model.questions))
    @rule(data=st.data())
    def fetch_answer(self, data: st.DataObject) -> None:
        """An execution whose wait was answered goes on, with the event that its wait got."""
        answered = [question for question in self.model.questions if question.answer]
        question = data.draw(st.sampled_from(answered), label="question")
        assert question.answer is not None
        assert question.real.answer is question.answer.event
        self.ledger.close_wait(question.real)
        self.model.questions.remove(question)

    @precondition(lambda self: self.model.questions)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        """A wait that is cancelled leaves its answer to others."""
        self.abandon(data.draw(st.sampled_from(self.model.questions), label="question"))

    def abandon_all_of(self, job: Job) -> None:
        for question in [question for question in self.model.questions if question.job is job]:
            self.abandon(question)

    def abandon(self, question: Question) -> None:
        self.ledger.give_back(question.real)
        self.ledger.close_wait(question.real)
        self.model.abandon(question)
        self.take_answered()

    # --- what holds at any time

    @invariant()
    def everything_agrees(self) -> None:
        """One invariant, so that a failing example prints one line for each thing that happened."""
        self.take_answered()
        self.look_at_ready_steps()
        self.compare_numbers()
        self.compare_buffers()
        self.compare_published()
        self.compare_reports()

    def take_answered(self) -> None:
        """Wake the waits that the ledger says are answered."""
        answered, self.ledger.answered[:] = list(self.ledger.answered), []
        assert answered == [question.real for question in self.model.newly_answered]
        for question in self.model.newly_answered:
            assert question.answer is not None
            assert question.real.answer is question.answer.event
        self.model.newly_answered = []

    def look_at_ready_steps(self) -> None:
        """A step with a line that the engine has not been told of would never begin."""
        for desk in self.ledger.ready:
            desk.is_ready = False
            self.noticed.add(desk.node.index)
        self.ledger.ready.clear()
        for step in range(len(self.model.steps)):
            assert not self.model.line(step) or step in self.noticed

    def compare_numbers(self) -> None:
        ledger, model = self.ledger, self.model
        assert [delivery.event for delivery in ledger.pending.values()] == [job.event for job in model.jobs]
        numbers = [delivery.number for delivery in ledger.pending.values()]
        assert numbers == sorted(numbers)
        assert ledger.working == len(model.in_work())
        assert (ledger.prompts, ledger.responses) == (model.prompts, model.responses)
        assert ledger.active_steps() == tuple(sorted({f"s{job.step}" for job in model.in_work()}))
        assert ledger.outcome is None
        for step, desk in enumerate(ledger.desks):
            line, in_work = model.line(step), model.in_work(step)
            assert desk is not None or not line + in_work
            if desk is not None:
                assert (desk.queued, desk.pending) == (len(line), len(line) + len(in_work))

    def compare_buffers(self) -> None:
        """Nothing that was collected is lost or doubled."""
        for step, desk in enumerate(self.ledger.desks):
            for buffer_id, buffer in ((desk and desk.buffers) or {}).items():
                kept = [id(item.event) for item in self.model.buffered((step, buffer_id))]
                assert [id(entry.event) for entry in buffer.entries()] == kept

    def compare_published(self) -> None:
        unhandled = iter(self.model.unhandled)
        for real, said in zip(self.published, self.model.published, strict=True):
            if said is not None:
                assert real is said
            else:
                assert isinstance(real, UnhandledEvent)
                assert real.event_type == type(next(unhandled)).__name__

    def compare_reports(self) -> None:
        """The report lists exactly what is left."""
        report, model = self.ledger.report(), self.model
        for line, job in zip(report.pending, model.jobs, strict=True):
            assert repr(job.event) in line
            assert f"step 's{job.step}'" in line
            assert ("in line" if job.real is None else "in work") in line
        for line, question in zip(report.waits, model.open_questions(), strict=True):
            assert line.startswith(f"step 's{question.job.step}' waits for {question.kind.__qualname__}")
            assert all(f"{name}={value}" in line for name, value in question.requirements.items())
        early = [f"nothing has asked for {arrival.event!r}" for arrival in model.early]
        assert list(report.unconsumed[len(report.unconsumed) - len(early) :]) == early
        assert len(report.unconsumed) - len(early) == min(len(model.unhandled), 21)
        assert report.is_waiting_for_human is model.awaits_human()
        half_full = {}
        for line in report.collections:
            before, _, buffer_id = line.partition(" in buffer ")
            step, _, types = before.partition(" has ")
            half_full[step, buffer_id] = {
                # Of a type that was asked for 0 times it may say so.
                said
                for said in types.split(" and ")
                if said not in ("0 A", "0 SubA", "0 B")
            }
        assert len(half_full) == len(report.collections)
        assert half_full == {
            (f"step 's{step}'", "" if buffer_id is None else repr(buffer_id)): types
            for (step, buffer_id), types in model.half_full().items()
        }


TestLedger = LedgerComparison.TestCase
TestLedger.settings = settings(max_examples=200, stateful_step_count=50)


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
    assert ledger.collect(third, third.event, [A] * 9, None) is None
    ledger.withdraw(second)
    fourth = begun(ledger, A(n=4))
    assert ledger.collect(fourth, fourth.event, [A] * 3, None) == [A(n=1), A(n=3), A(n=4)]


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
