"""Observers are told what a run does, and cannot harm it."""

import logging
import subprocess
import sys
from collections import Counter
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from observing import Answer, Asking, Notes, Piece, Question, Splitting, set_by_observer
from running import Crowd, Echo, Failing, Held, Work, events_of, stored_cancellation

from anyio_workflows import (
    CheckpointError,
    Context,
    Event,
    RunGroup,
    StartEvent,
    StepState,
    StepStateChanged,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowCheckpointer,
    WorkflowRuntimeError,
    WorkflowValidationError,
    step,
)
from anyio_workflows.abc import ObservedAttempt, ObservedRun, Observer, RunEnd
from anyio_workflows.stores import MemoryCheckpointStore

SPLITTING = [
    "run of Splitting started",
    "StartEvent sent by outside",
    "StartEvent received by split from outside",
    "split started, by outside",
    "Piece sent by split",
    "Piece received by join from split",
    "Piece sent by split",
    "Piece received by join from split",
    "split completed",
    "join started, by split",
    "join collected Piece and was given nothing yet",
    "join completed",
    "join started, by split",
    "join collected Piece and was given 2 of 2",
    "StopEvent sent by join",
    "join completed",
    "StopEvent written",
    "run of Splitting completed",
]


async def test_an_observer_is_told_everything_in_the_order_in_which_it_happens() -> None:
    notes = Notes()
    with anyio.fail_after(5):
        assert await Splitting(observers=[notes]).run() == [1, 2]
    assert notes.lines == SPLITTING
    assert notes.runs[0].result == [1, 2]


@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_of_a_recorded_run_it_is_told_the_same_and_the_checkpoints(durability: Any) -> None:
    """With "sync" what a step returns stands in line only later, and is its step's all the same."""
    notes = Notes()
    checkpointer = WorkflowCheckpointer(
        workflow=Splitting(observers=[notes]), store=MemoryCheckpointStore(), durability=durability
    )
    with anyio.fail_after(5):
        await checkpointer.run(run_id="r")
    assert [line for line in notes.lines if not line.startswith("checkpoint")] == SPLITTING
    taken = [line for line in notes.lines if line.startswith("checkpoint")]
    assert taken[:2] == ["checkpoint r/0 after None", "checkpoint r/1 after split"]
    assert {
        f"checkpoint {cut.id_} after {cut.last_completed_step}" for cut in checkpointer.checkpoints["r"]
    } <= set(taken)


async def test_an_attempt_that_raises_has_failed_with_what_it_raised() -> None:
    notes, error = Notes(), ValueError("no")
    with anyio.fail_after(5), pytest.raises(ValueError, match="no"):
        await Failing(observers=[notes]).run(error=error)
    assert [(end.status, end.error) for end in notes.ends] == [("failed", error)]
    assert [(end.status, end.error) for end in notes.runs] == [("failed", error)]
    assert notes.lines[-4:] == [
        "fail started, by outside",
        "fail failed",
        "WorkflowFailedEvent written",
        "run of Failing failed",
    ]


class Wrong(Workflow):
    @step
    async def give(self, ev: StartEvent) -> StopEvent:
        return "no event"  # type: ignore[return-value]


async def test_a_step_that_gives_no_event_has_failed_and_ends_once() -> None:
    notes = Notes()
    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError, match="no event"):
        await Wrong(observers=[notes]).run()
    assert [end.status for end in notes.ends] == ["failed"]


async def test_every_attempt_that_is_cancelled_with_its_run_ends_once_and_before_it() -> None:
    notes = Notes()

    async def stop(_: Context) -> StopEvent:
        return StopEvent()

    with anyio.fail_after(5):
        await Crowd(stop, observers=[notes]).run()
    assert Counter(line for line in notes.lines if line.startswith(("stay", "begin"))) == {
        "begin started, by outside": 1,
        "begin completed": 1,
        "stay started, by begin": 3,
        "stay cancelled": 3,
    }
    assert notes.lines[-1] == "run of Crowd completed"
    assert {attempt.worker for attempt in notes.attempts} == {1, 2, 3, 4}


class Overtaken(Workflow):
    @step
    async def stop(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
        ctx.send_event(StopEvent(result="sent"))
        return None


async def test_an_attempt_whose_run_is_decided_before_it_returns_ends_as_well() -> None:
    notes = Notes()
    with anyio.fail_after(5):
        assert await Overtaken(observers=[notes]).run() == "sent"
    assert notes.lines[-3:] == ["StopEvent written", "stop cancelled", "run of Overtaken completed"]


async def test_a_run_that_a_user_cancels_ends_as_that() -> None:
    notes = Notes()
    with anyio.fail_after(5):
        async with Held(observers=[notes]).run() as handler:
            await handler.cancel_run()
    assert [(end.status, type(end.error)) for end in notes.runs] == [
        ("cancelled_by_user", WorkflowCancelledByUser)
    ]


async def test_waits_are_told_of_with_what_they_were_given() -> None:
    notes = Notes()
    with anyio.fail_after(5):
        async with Asking(observers=[notes]).run() as handler:
            async for event in handler.stream_events():
                if isinstance(event, Question):
                    handler.send_event(Answer())
    wanted = [
        "Question written",
        "ask waits for Answer",
        "WorkflowIdleEvent written",
        "Answer sent by outside",
        "ask was given Answer",
        "StopEvent sent by ask",
        "ask completed",
    ]
    assert [line for line in notes.lines if line in wanted] == wanted


@pytest.mark.parametrize("is_recorded", [False, True])
async def test_a_wait_whose_time_is_over_was_given_nothing(is_recorded: bool) -> None:
    notes = Notes()
    with anyio.fail_after(5):
        workflow = Asking(observers=[notes], extra_events=[Question])
        assert await workflow.run(wait=0.001, checkpoints=is_recorded) == "no answer"
    assert "ask was given NoneType" in notes.lines


class Nested(Workflow):
    @step
    async def nest(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=await ev.inner.run(run_id="inner"))


async def test_a_nested_run_says_whose_it_is() -> None:
    class Parents(Observer):
        def __init__(self) -> None:
            self.seen: list[tuple[str, str | None]] = []

        def run_started(self, run: ObservedRun) -> None:
            self.seen.append((run.run_id, run.parent_run_id))

    parents = Parents()
    with anyio.fail_after(5):
        await Nested(observers=[parents]).run(run_id="outer", inner=Echo(observers=[parents]))
    assert parents.seen == [("outer", None), ("inner", "outer")]


# Who observes


async def test_those_of_the_group_the_workflow_and_the_run_are_told_each_once() -> None:
    """A group and a workflow are often given the same one."""
    notes = [Notes() for _ in range(4)]
    with anyio.fail_after(5):
        async with RunGroup(observers=[notes[0], notes[1]]) as runs:
            await runs.start(Echo(observers=[notes[2], notes[1]]), observers=[notes[3]])
    assert [len(each.runs) for each in notes] == [1, 1, 1, 1]


async def test_a_run_that_a_group_takes_up_again_is_observed_too() -> None:
    store, first, second = MemoryCheckpointStore(), Notes(), Notes()
    workflow = Held()
    with anyio.fail_after(5):
        async with RunGroup(store=store, workflows=[workflow], grace=0, observers=[first]) as runs:
            runs.start(workflow, run_id="r")
            await workflow.begun.wait()
        workflow.gate.set()
        async with RunGroup(store=store, workflows=[workflow], observers=[second]) as runs:
            await runs["r"]
    assert [first.runs[0].status, second.runs[0].status] == ["cancelled", "completed"]
    assert second.lines[:3] == [
        "run of Held started",
        "checkpoint r/1 after None",
        "hold started, by outside",
    ]


async def test_a_resumed_run_takes_observers_of_its_own() -> None:
    notes = Notes()
    checkpointer = WorkflowCheckpointer(workflow=Splitting())
    with anyio.fail_after(5):
        await checkpointer.run(run_id="r")
        await checkpointer.run_from(checkpointer.checkpoints["r"][0], observers=[notes])
    assert notes.lines[-1] == "run of Splitting completed"


@pytest.mark.parametrize(
    ("observers", "said"),
    [
        ([Notes], "give an instance of a class derived from"),
        ([object()], "is no observer"),
        (Notes(), "write observers="),
        ("ab", "write observers="),
    ],
)
def test_what_is_no_observer_is_refused_where_it_is_given(observers: Any, said: str) -> None:
    with pytest.raises(WorkflowRuntimeError, match=said):
        Echo(observers=observers)
    with pytest.raises(WorkflowRuntimeError, match=said):
        Echo().run(observers=observers)
    with pytest.raises(WorkflowRuntimeError, match=said):
        RunGroup(observers=observers)


def test_an_observer_that_would_have_to_be_awaited_is_refused() -> None:
    """It would never run, and say so only when its coroutine is thrown away."""

    class Awaited(Observer):
        async def run_ended(self, run: ObservedRun, end: RunEnd) -> None: ...  # type: ignore[override]

    with pytest.raises(WorkflowRuntimeError, match=r"Awaited\.run_ended is async def"):
        Echo(observers=[Awaited()])


def test_a_start_event_has_no_field_called_observers() -> None:
    class Start(StartEvent):
        observers: int

    class Flow(Workflow):
        @step
        async def begin(self, ev: Start) -> StopEvent: ...  # type: ignore[empty-body]

    with pytest.raises(WorkflowValidationError, match="observers"):
        Flow()


# One that fails


class Broken(Observer):
    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.calls = 0

    def _raise(self) -> None:
        self.calls += 1
        raise self.error

    def run_started(self, run: ObservedRun) -> None:
        self._raise()

    def attempt_started(self, attempt: ObservedAttempt, sender: ObservedAttempt | None) -> None:
        self._raise()

    def event_written(self, run: ObservedRun, event: Event) -> None:
        self._raise()


async def test_one_that_raises_is_named_once_and_harms_neither_the_run_nor_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken, notes = Broken(ValueError("broken")), Notes()
    with anyio.fail_after(5):
        assert await Splitting(observers=[broken, notes]).run(run_id="r") == [1, 2]
    assert notes.lines == SPLITTING
    assert broken.calls == 5
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[1] is broken.error
    assert record.getMessage().startswith("Splitting: Broken.run_started, which observes run r, raised")


async def test_a_cancelled_exception_that_one_lets_out_is_no_cancellation(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As `Future.result` of a future that was cancelled raises it."""
    with anyio.fail_after(5):
        broken = Broken(await stored_cancellation())
        assert await Echo(observers=[broken]).run(value=1) == 1
    assert len(caplog.records) == 1


# The context variables of a step's body


class Seeing(Workflow):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seen: list[tuple[str, str]] = []

    def see(self, step: str) -> None:
        self.seen.append((step, set_by_observer.get()))

    @step
    async def plain(self, ev: StartEvent) -> Work:
        self.see("plain")
        await checkpoint()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._child)
        return Work()

    async def _child(self) -> None:
        self.see("plain")

    @step(timeout=5)
    async def timed(self, ev: Work) -> Piece:
        self.see("timed")
        return Piece(number=0)

    @step
    def in_a_thread(self, ev: Piece) -> StopEvent:
        self.see("in_a_thread")
        return StopEvent()


async def test_what_one_sets_when_an_attempt_starts_is_seen_in_that_body_alone() -> None:
    """In the tasks and the thread of the body too, and neither in another step nor with the caller."""
    notes, workflow = Notes(), Seeing()
    with anyio.fail_after(5):
        await workflow.run(observers=[notes])
    numbers = {attempt.step: attempt.delivery for attempt in notes.attempts}
    steps = ["plain", "plain", "timed", "in_a_thread"]
    assert workflow.seen == [(step, f"{step} {numbers[step]}") for step in steps]
    assert set_by_observer.get() == "nothing"


# Those who do not observe


def test_a_program_without_observers_loads_nothing_of_this() -> None:
    program = (
        "import sys, anyio, anyio_workflows as a\n"
        "class W(a.Workflow):\n"
        "    @a.step\n"
        "    async def s(self, ev: a.StartEvent) -> a.StopEvent:\n"
        "        return a.StopEvent()\n"
        "async def main(): await W().run()\n"
        "anyio.run(main)\n"
        "names = ('_run.watching', '_observer', '_graph.svg', '_markup', 'trace', 'otel', 'abc')\n"
        "print([name for name in names if f'anyio_workflows.{name}' in sys.modules])\n"
    )
    assert (
        subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True).stdout == b"[]\n"
    )


# What is logged, and told on the stream


async def test_a_verbose_workflow_logs_attempts_and_what_they_have_failed_with(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "anyio_workflows")
    with anyio.fail_after(5), pytest.raises(ValueError, match="no"):
        await Failing(verbose=True).run(error=ValueError("no"))
    assert [record.getMessage() for record in caplog.records][1:3] == [
        "Failing: step fail begins, at StartEvent",
        "Failing: step fail failed in attempt 1 (ValueError('no')), at StartEvent",
    ]


async def test_a_step_that_failed_is_not_running_any_more() -> None:
    with anyio.fail_after(5):
        handler = Failing(verbose=True).run(error=ValueError("no"))
        with pytest.raises(ValueError, match="no"):
            await handler
        told = await events_of(handler, expose_internal=True)
    states = [event.step_state for event in told if isinstance(event, StepStateChanged)]
    assert states == [StepState.RUNNING, StepState.NOT_RUNNING]


async def test_executions_of_an_observed_run_are_not_on_its_stream() -> None:
    """They would be kept as long as the handler, for nobody."""
    with anyio.fail_after(5):
        handler = Echo(observers=[Notes()]).run()
        await handler
        assert [type(event) for event in await events_of(handler, expose_internal=True)] == [StopEvent]


async def test_with_verbose_as_well_they_are_on_the_stream_and_still_not_told_of() -> None:
    """An observer is told of attempts themselves."""
    notes = Notes()
    with anyio.fail_after(5):
        handler = Echo(observers=[notes], verbose=True).run()
        await handler
        told = await events_of(handler, expose_internal=True)
    assert StepStateChanged in {type(event) for event in told}
    assert [line for line in notes.lines if line.endswith("written")] == ["StopEvent written"]


# Where a run does not go straight


class Sending(Workflow):
    """Sends, waits to be let go, and ends."""

    def __init__(self) -> None:
        super().__init__()
        self.has_sent = anyio.Event()
        self.gate = anyio.Event()

    @step
    async def send(self, ctx: Context, ev: StartEvent) -> StopEvent | Piece:
        ctx.send_event(Piece(number=1))
        self.has_sent.set()
        await self.gate.wait()
        return StopEvent()

    @step
    async def take(self, ev: Piece) -> None: ...


async def test_what_a_resumed_run_does_not_send_again_it_is_not_told_of() -> None:
    notes, workflow = Notes(), Sending()
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            await workflow.has_sent.wait()
            checkpoint = handler.checkpoint()
            workflow.gate.set()
        await checkpointer.run_from(checkpoint, observers=[notes])
    assert [line for line in notes.lines if " sent " in line] == ["StopEvent sent by send"]


class Late(Workflow):
    """Waits for what is there already, and then for what never comes."""

    @step(waits_for=Answer)
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        ctx.send_event(Answer())
        await ctx.wait_for_event(Answer)
        with anyio.move_on_after(0.001):
            await ctx.wait_for_event(Answer)
        return StopEvent()


@pytest.mark.parametrize("is_recorded", [False, True])
async def test_a_wait_that_is_answered_at_once_or_given_up_has_an_end(is_recorded: bool) -> None:
    notes = Notes()
    with anyio.fail_after(5):
        await Late(observers=[notes]).run(checkpoints=is_recorded)
    assert [line for line in notes.lines if "waits" in line or "given" in line] == [
        "ask waits for Answer",
        "ask was given Answer",
        "ask waits for Answer",
        "ask was given NoneType",
    ]


async def test_a_run_that_cannot_even_begin_ends_for_those_who_were_told_of_its_start() -> None:
    notes = Notes()
    checkpointer = WorkflowCheckpointer(workflow=Echo(observers=[notes]))
    with anyio.fail_after(5), pytest.raises(CheckpointError):
        await checkpointer.run(value=object())
    assert notes.lines[0] == "run of Echo started"
    assert notes.lines[-1] == "run of Echo failed"


class Human(Workflow):
    @step
    async def ask(self, ev: StartEvent) -> Question:
        return Question()

    @step
    async def hear(self, ev: Answer) -> StopEvent:
        return StopEvent(result="heard")


async def test_a_run_that_was_put_away_and_brought_back_is_observed_again() -> None:
    notes = Notes()
    with anyio.fail_after(5):
        async with RunGroup(store=MemoryCheckpointStore(), put_away_after=0, observers=[notes]) as runs:
            runs.start(Human(), run_id="r")
            while len(runs):  # until it is put away
                await checkpoint()
            handler = await runs.send_event("r", Answer())
            assert await handler == "heard"
    assert [end.status for end in notes.runs] == ["put_away", "completed"]
