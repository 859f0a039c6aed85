"""What an attempt did that failed: what stays, what is undone, and what the next one does not do again."""

import logging
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import anyio
import attrs
import pytest
from retrying import FOR_EVER, Flaky, Result, Work, failing_until, retried
from running import events_of
from tenacity import stop_never, wait_fixed

from anyio_workflows import (
    Context,
    Event,
    InputRequiredEvent,
    ResumeDivergedEvent,
    RetryPolicy,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCheckpointer,
    WorkflowHandler,
    WorkflowStalledError,
    step,
)


class Stamped(Event):
    number: int
    at: int = attrs.field(factory=count().__next__, eq=False)


class Array:
    """Compares as arrays of numbers do."""

    def __eq__(self, other: object) -> Any:
        raise ValueError("the truth value of an array with more than one element is ambiguous")

    __hash__ = None  # type: ignore[assignment]


class Numbers(Event):
    values: Any


class Question(InputRequiredEvent):
    number: int = 0


class Sending(Workflow):
    """Sends what `body` sends, in every attempt; gives what has come, once it has all come to rest."""

    def __init__(self, body: Callable[[Context, int], Awaitable[None]], attempts: int = 3) -> None:
        super().__init__(extra_events=[Question, Numbers])
        self.body = body
        self.attempts = attempts
        self.came: list[Any] = []

    @step(retry_policy=FOR_EVER)
    async def send(self, ctx: Context, ev: StartEvent) -> Work | Stamped | Result | None:
        number = ctx.retry_info().retry_number
        await self.body(ctx, number)
        if number + 1 < self.attempts:
            raise Flaky(str(number))
        return Result(number=number)

    @step
    async def work(self, ev: Work) -> None:
        self.came.append(ev.number)

    @step
    async def stamp(self, ev: Stamped) -> None:
        self.came.append(("stamped", ev.number))

    @step
    async def compute(self, ev: Numbers) -> None:
        self.came.append("numbers")

    @step
    async def end(self, ev: Result) -> StopEvent | None:
        return None


ways: list[Any] = [
    pytest.param(lambda workflow: workflow.run(), id="unrecorded"),
    pytest.param(lambda workflow: WorkflowCheckpointer(workflow=workflow).run(), id="recorded"),
]
both_ways = pytest.mark.parametrize("start", ways)
Start = Callable[[Workflow], WorkflowHandler]


async def sent(start: Start, body: Callable[[Context, int], Awaitable[None]], attempts: int = 3) -> list[Any]:
    """Return what came of it."""
    workflow = Sending(body, attempts)
    with anyio.fail_after(5), pytest.raises(WorkflowStalledError):
        await start(workflow)
    return workflow.came


@both_ways
async def test_s_fail_2_what_an_attempt_has_sent_is_not_sent_again(start: Start) -> None:
    """With and without a place to wait for, to one step or all, and whatever is not compared."""

    async def body(ctx: Context, attempt: int) -> None:
        ctx.send_event(Work(number=1))
        ctx.send_event(Work(number=2), step="work")
        await ctx.send(Work(number=3))
        ctx.send_event(Stamped(number=4))

    assert sorted(await sent(start, body), key=str) == [("stamped", 4), 1, 2, 3]


@both_ways
async def test_s_fail_2_a_child_task_that_sends_first_this_time_sends_nothing_again(start: Start) -> None:
    async def body(ctx: Context, attempt: int) -> None:
        async def send(number: int) -> None:
            await ctx.send(Work(number=number))

        async with anyio.create_task_group() as children:
            for number in (range(4), reversed(range(4)), (2, 0, 3, 1))[attempt]:
                children.start_soon(send, number)

    assert sorted(await sent(start, body)) == [0, 1, 2, 3]


@both_ways
async def test_s_fail_2_events_sent_twice_on_purpose_are_there_twice(start: Start) -> None:
    async def body(ctx: Context, attempt: int) -> None:
        for _ in range(2):
            ctx.send_event(Work(number=1))

    assert await sent(start, body) == [1, 1]


@both_ways
async def test_s_fail_2_what_the_next_attempt_sends_beyond_that_is_new(start: Start) -> None:
    async def body(ctx: Context, attempt: int) -> None:
        for number in range(attempt + 1):
            ctx.send_event(Work(number=number))
        ctx.send_event(Work(number=0), step="work")

    assert sorted(await sent(start, body)) == [0, 0, 1, 2]


@both_ways
async def test_s_ckpt_4_what_was_sent_and_does_not_come_again_stays_delivered_and_is_told(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """When the delivery has ended: until then it may still come. Whatever its last attempt alone has sent is told too."""

    async def body(ctx: Context, attempt: int) -> None:
        ctx.send_event(Work(number=attempt))

    workflow = Sending(body)
    handler = start(workflow)
    with caplog.at_level(logging.WARNING, "anyio_workflows"), anyio.fail_after(5):
        with pytest.raises(WorkflowStalledError):
            await handler
        internal = await events_of(handler, expose_internal=True)
    assert workflow.came == [0, 1, 2]
    told = [(event.step_name, event.event) for event in internal if isinstance(event, ResumeDivergedEvent)]
    assert told == [("send", Work(number=0)), ("send", Work(number=1))]
    messages = [record.message for record in caplog.records]
    assert messages == [
        f"Sending: run {handler.run_id}: step send has not sent Work(number={number}) again; it stays delivered"
        for number in (0, 1)
    ]
    assert not any(isinstance(event, ResumeDivergedEvent) for event in await events_of(handler))


@both_ways
async def test_s_fail_2_nothing_is_told_of_attempts_that_send_the_same(start: Start) -> None:
    async def body(ctx: Context, attempt: int) -> None:
        ctx.send_event(Work(number=1))

    handler = start(Sending(body))
    with anyio.fail_after(5):
        with pytest.raises(WorkflowStalledError):
            await handler
        internal = await events_of(handler, expose_internal=True)
    assert not any(isinstance(event, ResumeDivergedEvent) for event in internal)


async def test_s_fail_2_an_event_that_cannot_be_compared_is_sent_again_unless_it_is_the_same_object() -> None:
    """Arrays have no one truth value; the attempt must not fail for that."""
    kept = Numbers(values=Array())

    async def body(ctx: Context, attempt: int) -> None:
        ctx.send_event(kept)
        ctx.send_event(Numbers(values=Array()))

    assert await sent(lambda workflow: workflow.run(), body, attempts=2) == ["numbers"] * 3


@both_ways
async def test_s_fail_2_a_question_that_was_sent_is_published_once(start: Start) -> None:
    async def body(ctx: Context, attempt: int) -> None:
        ctx.send_event(Question(number=1))

    handler = start(Sending(body))
    with anyio.fail_after(5):
        async with handler:
            async for event in handler.stream_events(expose_internal=True):
                if type(event).__name__ == "WorkflowIdleEvent":
                    await handler.cancel_run()
        read = await events_of(handler)
    assert [event for event in read if isinstance(event, Question)] == [Question(number=1)]


async def test_s_fail_2_what_is_written_to_the_stream_is_written_by_every_attempt() -> None:
    async def body(ctx: Context, attempt: int) -> None:
        ctx.write_event_to_stream(Work(number=attempt))

    handler = Sending(body).run()
    with anyio.fail_after(5):
        with pytest.raises(WorkflowStalledError):
            await handler
        read = await events_of(handler)
    assert read[:-1] == [Work(number=0), Work(number=1), Work(number=2)]


async def test_s_fail_2_a_full_step_holds_up_no_attempt_that_has_sent_already() -> None:
    """The place is taken by what the attempt before has sent; who is to make room waits for this very step."""

    class Full(Workflow):
        @step(retry_policy=RetryPolicy())
        async def feed(self, ctx: Context, ev: StartEvent) -> Work | StopEvent:
            await ctx.send(Work())
            if not ctx.retry_info().retry_number:
                raise Flaky
            return StopEvent(result="through")

        @step(max_pending=1)
        async def hold(self, ctx: Context, ev: Work) -> None:
            await anyio.sleep_forever()

    with anyio.fail_after(5):
        assert await Full().run() == "through"


# --- state


@both_ways
async def test_s_state_4_changes_of_an_attempt_that_failed_stay_and_the_next_ones_are_new(
    start: Start,
) -> None:
    async def body(ctx: Context) -> Any:
        async with ctx.store.edit_state() as state:
            state["n"] = state.get("n", 0) + 1
        await ctx.store.set(f"attempt {ctx.retry_info().retry_number}", "was here")
        await failing_until(3)(ctx)
        return await ctx.store.get("n")

    handler = start(retried(body))
    with anyio.fail_after(5):
        assert await handler == 3
    assert set(handler.state) == {"n", "attempt 0", "attempt 1", "attempt 2"}


@both_ways
async def test_s_state_1_a_block_that_an_attempt_leaves_by_failing_is_discarded_and_left(
    start: Start,
) -> None:
    async def body(ctx: Context) -> Any:
        async with ctx.store.edit_state() as state:
            state["n"] = state.get("n", 0) + 1
            await failing_until(3)(ctx)
        return await ctx.store.get("n")

    with anyio.fail_after(5):
        assert await start(retried(body)) == 1


# --- what runs beside


@both_ways
async def test_s_fail_2_the_other_receivers_of_an_event_are_not_touched(start: Start) -> None:
    begun: list[str] = []

    class Two(Workflow):
        @step(retry_policy=RetryPolicy(wait=wait_fixed(0.001), stop=stop_never))
        async def failing(self, ctx: Context, ev: StartEvent) -> Work:
            begun.append("failing")
            await failing_until(4)(ctx)
            return Work()

        @step
        async def beside(self, ev: StartEvent) -> None:
            begun.append("beside")

        @step
        async def end(self, ev: Work) -> StopEvent:
            return StopEvent()

    with anyio.fail_after(5):
        await start(Two())
    assert sorted(begun) == ["beside", *["failing"] * 4]
