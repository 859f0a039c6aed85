"""S-STR: what a run says while it runs, and who may listen."""

import inspect
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from anyio_workflows import (
    Context,
    Event,
    EventsMissed,
    HumanResponseEvent,
    InputRequiredEvent,
    StallReport,
    StartEvent,
    StepState,
    StepStateChanged,
    StopEvent,
    UnhandledEvent,
    Workflow,
    WorkflowCancelledEvent,
    WorkflowFailedEvent,
    WorkflowHandler,
    WorkflowIdleEvent,
    WorkflowRuntimeError,
    WorkflowStalledError,
    WorkflowTimedOutEvent,
    WorkflowTimeoutError,
    step,
)


class Progress(Event):
    number: int


class Question(InputRequiredEvent):
    text: str = "why?"


class Answer(HumanResponseEvent):
    pass


class Talking(Workflow):
    """Writes *count* events, goes on at the test's wish, and ends."""

    def __init__(self, count: int, *, gate: anyio.Event | None = None) -> None:
        self.count = count
        self.gate = gate
        super().__init__()

    @step
    async def talk(self, ctx: Context, ev: StartEvent) -> StopEvent:
        for number in range(self.count):
            ctx.write_event_to_stream(Progress(number=number))
        if self.gate is not None:
            await self.gate.wait()
        return StopEvent(result="done")


def said(*numbers: int) -> list[Event]:
    return [Progress(number=number) for number in numbers]


LAST = StopEvent(result="done")


async def all_of(handler: WorkflowHandler, **options: Any) -> list[Event]:
    return [event async for event in handler.stream_events(**options)]


# --- S-STR-1: what it gives


async def test_s_str_1_it_gives_what_steps_wrote_then_the_stop_event_and_ends() -> None:
    """In the order in which it was written; events that steps send each other are not on it."""

    class Chain(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent) -> Progress:
            ctx.write_event_to_stream(Progress(number=1))
            ctx.write_event_to_stream(Question(text="written"))
            return Progress(number=-1)

        @step
        async def second(self, ctx: Context, ev: Progress) -> StopEvent:
            ctx.write_event_to_stream(Progress(number=2))
            ctx.write_event_to_stream(None)
            return StopEvent(result="done")

    with anyio.fail_after(5):
        async with Chain().run() as handler:
            events = await all_of(handler)
    assert events == [Progress(number=1), Question(text="written"), Progress(number=2), LAST]


async def test_s_str_1_an_event_is_there_to_read_while_its_step_still_runs() -> None:
    """Progress that comes with the result is none."""
    gate = anyio.Event()
    with anyio.fail_after(5):
        async with Talking(1, gate=gate).run() as handler:
            events: list[Event] = []
            async for event in handler.stream_events():
                events.append(event)
                gate.set()
    assert events == [*said(0), LAST]


async def test_s_str_1_prompts_of_steps_are_on_it_with_the_rest_in_order() -> None:
    """Sent in the middle of a step, or returned."""

    class Asking(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> Question:
            ctx.write_event_to_stream(Progress(number=1))
            ctx.send_event(Question(text="sent"))
            ctx.write_event_to_stream(Progress(number=2))
            return Question(text="returned")

        @step
        async def listen(self, ev: Answer) -> StopEvent:
            return StopEvent(result="done")

    with anyio.fail_after(5):
        async with Asking().run() as handler:
            events: list[Event] = []
            async for event in handler.stream_events():
                events.append(event)
                if event == Question(text="returned"):
                    handler.send_event(Answer())
    sent, returned = Question(text="sent"), Question(text="returned")
    assert events == [Progress(number=1), sent, Progress(number=2), returned, LAST]


async def test_s_str_1_a_stop_event_subclass_comes_last_as_itself() -> None:
    """Whether it was returned or sent; nothing comes after it."""

    class Done(StopEvent):
        pages: int

    class Reporting(Workflow):
        @step
        async def report(self, ctx: Context, ev: StartEvent) -> Done:
            ctx.send_event(Done(pages=3))
            ctx.write_event_to_stream(Progress(number=1))
            return Done(pages=4)

    with anyio.fail_after(5):
        async with Reporting().run() as handler:
            assert await all_of(handler) == [Done(pages=3)]
            assert await handler == Done(pages=3)


class Ending(Workflow):
    """Ends as the body of the test does."""

    def __init__(self, end: Callable[[], Any], **options: Any) -> None:
        self.end = end
        super().__init__(**options)

    @step
    async def work(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
        ctx.write_event_to_stream(Progress(number=1))
        result = self.end()
        if inspect.isawaitable(result):
            await result
        return None


def fail() -> None:
    raise KeyError("lost")


async def test_s_str_1_of_a_run_that_failed_the_last_event_tells_the_failure() -> None:
    """Step, exception and attempts; the exception is the very object that is raised."""
    with anyio.fail_after(5):
        with pytest.raises(KeyError) as caught:
            async with Ending(fail).run() as handler:
                with anyio.CancelScope(shield=True):
                    events = await all_of(handler)
                await checkpoint()
        assert await all_of(handler) == events
    assert events[0] == Progress(number=1)
    last = events[-1]
    assert len(events) == 2
    assert isinstance(last, WorkflowFailedEvent)
    assert (last.step_name, last.exception, last.attempts) == ("work", caught.value, 1)
    assert last.elapsed_seconds is not None
    assert last.elapsed_seconds >= 0


async def test_s_str_1_of_a_run_that_stalled_the_last_event_names_no_step() -> None:
    """None of them failed."""
    with anyio.fail_after(5):
        handler = Ending(lambda: None).run()
        with pytest.raises(WorkflowStalledError) as caught:
            await handler
        last = (await all_of(handler))[-1]
    assert isinstance(last, WorkflowFailedEvent)
    assert (last.step_name, last.exception, last.attempts) == (None, caught.value, None)


async def test_s_str_1_of_a_run_that_took_too_long_the_last_event_names_the_active_steps() -> None:
    """And the seconds that it had."""
    with anyio.fail_after(5):
        handler = Ending(anyio.sleep_forever, timeout=0.01).run()
        with pytest.raises(WorkflowTimeoutError):
            await handler
        events = await all_of(handler)
    last = events[-1]
    assert events[:-1] == said(1)
    assert isinstance(last, WorkflowTimedOutEvent)
    assert (last.timeout, list(last.active_steps)) == (0.01, ["work"])


async def test_s_str_1_of_a_run_that_was_cancelled_the_last_event_says_so() -> None:
    """By the user, or together with the task that ran it."""
    with anyio.fail_after(5):
        async with Ending(anyio.sleep_forever).run() as by_user:
            await anyio.wait_all_tasks_blocked()
            await by_user.cancel_run()
        handler = Ending(anyio.sleep_forever).run()
        with anyio.move_on_after(0.01):
            await handler
        for one in (by_user, handler):
            events = await all_of(one)
            assert events[:-1] == said(1)
            assert isinstance(events[-1], WorkflowCancelledEvent)


async def test_s_str_1_writing_what_is_no_event_is_an_error_in_the_step() -> None:
    """None is passed over, as in LlamaIndex Workflows."""

    class Wrong(Workflow):
        @step
        async def write(self, ctx: Context, ev: StartEvent) -> StopEvent:
            with pytest.raises(WorkflowRuntimeError, match="step 'write' wrote 'half way' to the stream"):
                ctx.write_event_to_stream("half way")  # type: ignore[arg-type]  # what this is about
            return StopEvent(result="done")

    with anyio.fail_after(5):
        assert await Wrong().run() == "done"


# --- S-STR-2: readers


async def test_s_str_2_every_reader_gets_everything_whenever_it_comes() -> None:
    """Before the first word, in between, and after the end; at the same time, and one after the other."""
    gate = anyio.Event()
    got: dict[str, list[Event]] = {}

    async def read(name: str) -> None:
        got[name] = await all_of(handler)

    with anyio.fail_after(5):
        async with Talking(3, gate=gate).run() as handler, anyio.create_task_group() as tasks:
            tasks.start_soon(read, "early")
            tasks.start_soon(read, "also early")
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(read, "in between")
            await anyio.wait_all_tasks_blocked()
            gate.set()
        await read("late")
        await read("later")
    assert list(got.values()) == [[*said(0, 1, 2), LAST]] * 5


async def test_s_str_2_a_reader_may_come_after_a_run_that_was_only_awaited() -> None:
    """Nobody had to listen for it to be kept."""
    handler = Talking(3).run()
    with anyio.fail_after(5):
        await handler
        assert await all_of(handler) == [*said(0, 1, 2), LAST]


@pytest.mark.parametrize("offset", [0, 1, 3, 4, 9])
async def test_s_str_2_a_reader_may_begin_at_an_offset(offset: int) -> None:
    """One that knows how many events it had goes on there; beyond the end there is nothing."""
    gate = anyio.Event()
    with anyio.fail_after(5):
        async with Talking(3, gate=gate).run() as handler:
            gate.set()
            live = await all_of(handler, offset=offset)
        late = await all_of(handler, offset=offset)
    assert live == late == [*said(0, 1, 2), LAST][offset:]


@pytest.mark.parametrize("offset", [-1, True, "1", 1.0, None])
async def test_s_str_2_a_wrong_offset_is_an_error(offset: Any) -> None:
    """At the call."""
    handler = Talking(1).run()
    with anyio.fail_after(5):
        await handler
        with pytest.raises(WorkflowRuntimeError, match="offset="):
            handler.stream_events(offset=offset)


async def test_s_str_2_an_offset_counts_what_the_reader_would_see() -> None:
    """A public reader does not know how much the engine said in between."""
    with anyio.fail_after(5):
        async with Talking(3).run() as handler:
            internal = await all_of(handler, expose_internal=True)
            assert len(internal) > 4
            assert await all_of(handler, offset=2) == [*said(2), LAST]
            assert await all_of(handler, offset=2, expose_internal=True) == internal[2:]


async def test_s_str_2_everything_is_kept_unless_it_is_bounded() -> None:
    """Thousands of events for a reader that comes late."""
    handler = Talking(5000).run()
    with anyio.fail_after(5):
        await handler
        assert await all_of(handler) == [*said(*range(5000)), LAST]


async def test_s_str_2_a_late_reader_of_a_bounded_stream_is_told_how_many_it_missed() -> None:
    """First; then the N events that were kept, the last one among them."""
    handler = Talking(10).run(stream_buffer=3)
    with anyio.fail_after(5):
        await handler
        assert await all_of(handler) == [EventsMissed(count=8), *said(8, 9), LAST]
        assert await all_of(handler) == [EventsMissed(count=8), *said(8, 9), LAST]


async def test_s_str_2_a_reader_that_keeps_up_with_a_bounded_stream_misses_nothing() -> None:
    """It may hold less than the whole run at any moment."""
    gates = [anyio.Event() for _ in range(10)]

    class Slow(Workflow):
        @step
        async def talk(self, ctx: Context, ev: StartEvent) -> StopEvent:
            for number in range(10):
                ctx.write_event_to_stream(Progress(number=number))
                await gates[number].wait()
            return StopEvent(result="done")

    with anyio.fail_after(5):
        async with Slow().run(stream_buffer=1) as handler:
            events: list[Event] = []
            async for event in handler.stream_events():
                events.append(event)
                if isinstance(event, Progress):
                    gates[event.number].set()
    assert events == [*said(*range(10)), LAST]


async def test_s_str_2_a_reader_that_falls_behind_is_told_so_each_time() -> None:
    """Where it happened, with the number of events that are gone for this reader."""
    go_on = [anyio.Event() for _ in range(3)]

    class Bursts(Workflow):
        @step
        async def talk(self, ctx: Context, ev: StartEvent) -> StopEvent:
            for burst in range(3):
                await go_on[burst].wait()
                for number in range(5):
                    ctx.write_event_to_stream(Progress(number=10 * burst + number))
            return StopEvent(result="done")

    with anyio.fail_after(5):
        async with Bursts().run(stream_buffer=4) as handler:
            reader = handler.stream_events()
            go_on[0].set()
            await anyio.wait_all_tasks_blocked()
            assert [await anext(reader), await anext(reader)] == [EventsMissed(count=1), *said(1)]
            go_on[1].set()
            await anyio.wait_all_tasks_blocked()
            assert [await anext(reader), await anext(reader)] == [EventsMissed(count=4), *said(11)]
            go_on[2].set()
            await handler
            assert [event async for event in reader] == [EventsMissed(count=5), *said(22, 23, 24), LAST]


async def test_s_str_2_events_before_the_offset_are_not_missed() -> None:
    """The reader did not want them."""
    handler = Talking(10).run(stream_buffer=3)
    with anyio.fail_after(5):
        await handler
        assert await all_of(handler, offset=5) == [EventsMissed(count=3), *said(8, 9), LAST]
        assert await all_of(handler, offset=8) == [*said(8, 9), LAST]
        assert await all_of(handler, offset=9) == [*said(9), LAST]


async def test_s_str_2_a_public_reader_misses_public_events_only() -> None:
    """What the engine said is none of its business, even where it has pushed others out."""
    with anyio.fail_after(5):
        async with Talking(10).run(stream_buffer=3) as handler:
            assert len(await all_of(handler, expose_internal=True)) == 4
        public = await all_of(handler)
    missed = public[0]
    assert isinstance(missed, EventsMissed)
    assert public[1:] == [*said(*range(10)), LAST][missed.count :]


@pytest.mark.parametrize("stream_buffer", [0, -1, True, 1.5])
def test_s_str_2_a_wrong_stream_buffer_is_an_error(stream_buffer: Any) -> None:
    """At the call, by name."""
    with pytest.raises(WorkflowRuntimeError, match="stream_buffer="):
        Talking(1).run(stream_buffer=stream_buffer)


# --- S-STR-3: leaving early


async def test_s_str_3_breaking_out_of_the_loop_early_harms_nothing() -> None:
    """The run goes on to its end, and others read everything."""
    gate = anyio.Event()
    with anyio.fail_after(5):
        async with Talking(3, gate=gate).run() as handler:
            async for event in handler.stream_events():
                assert event == Progress(number=0)
                break
            gate.set()
            assert await handler == "done"
            assert await all_of(handler) == [*said(0, 1, 2), LAST]


async def test_s_str_3_the_same_reader_goes_on_where_it_was() -> None:
    """After a break, and after a wait for the next event that was cancelled."""
    gate = anyio.Event()
    with anyio.fail_after(5):
        async with Talking(2, gate=gate).run() as handler:
            reader = handler.stream_events()
            async for _ in reader:
                break
            assert await anext(reader) == Progress(number=1)
            with anyio.move_on_after(0.01) as scope:
                await anext(reader)
            assert scope.cancelled_caught
            gate.set()
            assert [event async for event in reader] == [LAST]
            assert [event async for event in reader] == []


async def test_s_str_3_a_reader_is_no_generator() -> None:
    """One would hold a scope open until the garbage collector finds it, in whichever task that happens."""
    async with Talking(1).run() as handler:
        reader: object = handler.stream_events()
        assert not inspect.isasyncgen(reader)
        assert not hasattr(reader, "aclose")


async def test_s_str_3_an_exception_in_the_loop_leaves_it_as_itself() -> None:
    """And cancels the run, as any exception in the body does."""
    with anyio.fail_after(5):
        with pytest.raises(KeyError, match="mine"):
            async with Talking(3, gate=anyio.Event()).run() as handler:
                async for _ in handler.stream_events():
                    raise KeyError("mine")
        assert isinstance((await all_of(handler))[-1], WorkflowCancelledEvent)


async def test_s_str_3_a_reader_in_another_task_may_be_cancelled() -> None:
    """The run does not notice."""
    gate = anyio.Event()
    with anyio.fail_after(5):
        async with Talking(1, gate=gate).run() as handler:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(all_of, handler)
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
            gate.set()
            assert await handler == "done"


# --- S-STR-4: what the engine says


class Waiting(Workflow):
    """Sends what nobody takes, waits for a human, and ends."""

    @step
    async def first(self, ctx: Context, ev: StartEvent) -> Progress:
        ctx.send_event(Event(lost=True))
        return Progress(number=1)

    @step(waits_for=Answer)
    async def second(self, ctx: Context, ev: Progress) -> StopEvent:
        await ctx.wait_for_event(Answer)
        return StopEvent(result="done")


async def test_s_str_4_the_engine_speaks_to_those_who_ask_it() -> None:
    """Steps that begin and end, events that nobody takes, and a run at rest; in the order of what happened."""
    with anyio.fail_after(5):
        async with Waiting().run() as handler:
            events: list[Event] = []
            async for event in handler.stream_events(expose_internal=True):
                events.append(event)
                if isinstance(event, WorkflowIdleEvent):
                    handler.send_event(Answer())
            public = await all_of(handler)
    told = [(one.name, one.step_state) if isinstance(one, StepStateChanged) else type(one) for one in events]
    assert told[:5] == [
        ("first", StepState.RUNNING),
        UnhandledEvent,
        ("first", StepState.NOT_RUNNING),
        ("second", StepState.RUNNING),
        WorkflowIdleEvent,
    ]
    assert told[-1] is StopEvent
    assert public == [LAST]


async def test_s_str_4_a_change_of_a_step_says_what_it_worked_on_and_what_it_gave() -> None:
    """The worker's id is the same at the beginning and the end of one execution, and no other has it."""
    with anyio.fail_after(5):
        async with Waiting().run() as handler:
            handler.send_event(Answer())
            events = await all_of(handler, expose_internal=True)
    changes = [event for event in events if isinstance(event, StepStateChanged) and event.name == "first"]
    begun, ended = changes
    assert (begun.input_event_name, begun.output_event_name) == ("StartEvent", None)
    assert (ended.input_event_name, ended.output_event_name) == ("StartEvent", "Progress")
    assert begun.worker_id == ended.worker_id
    others = [
        event.worker_id for event in events if isinstance(event, StepStateChanged) and event.name != "first"
    ]
    assert begun.worker_id not in others


async def test_s_str_4_a_run_that_waits_says_once_for_what() -> None:
    """In words, as a stall would."""
    with anyio.fail_after(5):
        async with Waiting().run() as handler:
            await anyio.wait_all_tasks_blocked()
            handler.send_event(Answer())
            events = await all_of(handler, expose_internal=True)
    reports = [event.report for event in events if isinstance(event, WorkflowIdleEvent)]
    assert len(reports) == 1
    assert isinstance(reports[0], StallReport)
    assert reports[0].waits == ("step 'second' waits for Answer",)


async def test_s_str_4_several_readers_may_ask_for_different_things() -> None:
    """One's wish does not put internal events into another's stream."""
    with anyio.fail_after(5):
        async with Talking(2).run() as handler:
            internal = await all_of(handler, expose_internal=True)
            assert await all_of(handler) == [*said(0, 1), LAST]
    assert [event for event in internal if not isinstance(event, StepStateChanged)] == [*said(0, 1), LAST]
