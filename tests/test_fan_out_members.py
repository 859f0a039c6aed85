"""What a member of a fan-out may do, and what of it belongs to the fan-out: everything that comes of it."""

import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from durable import settled
from fanning import Done, Extra, Fan, Item

from anyio_workflows import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    RetryPolicy,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowIdleEvent,
    step,
)


class Say(InputRequiredEvent):
    n: int


class Answer(HumanResponseEvent):
    n: int


class Sending(Fan):
    """Its members may send further ones, which are worked on like them."""

    @step(num_workers=8)
    async def work(self, ctx: Context, ev: Item) -> Done | Extra | None:  # type: ignore[override]
        return await self.member(ctx, ev)  # type: ignore[no-any-return]

    @step
    async def more(self, ev: Extra) -> Done:
        await checkpoint()
        return Done(n=ev.n)


async def test_fan_out_what_a_member_sends_belongs_to_it() -> None:
    """Unlike in LlamaIndex Workflows, where a join does not wait for it."""

    async def send(ctx: Context, ev: Item) -> Done:
        ctx.send_event(Extra(n=10 + ev.n))
        await ctx.send(Extra(n=20 + ev.n))
        ctx.send_event(Done(n=30 + ev.n))
        ctx.send_event(Done(n=40 + ev.n), step="join")
        return Done(n=ev.n)

    with anyio.fail_after(5):
        assert sorted(await Sending(send, size=2).run()) == sorted(
            ten * 10 + n for ten in range(5) for n in (0, 1)
        )


async def test_fan_out_what_a_child_task_of_a_member_sends_belongs_to_it() -> None:
    async def send(ctx: Context, ev: Item) -> None:
        async def child() -> None:
            await checkpoint()
            ctx.send_event(Extra(n=ev.n))

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(child)

    with anyio.fail_after(5):
        assert sorted(await Sending(send, size=2).run()) == [0, 0, 0, 1, 1, 1]


async def test_fan_out_what_a_member_in_a_thread_sends_belongs_to_it() -> None:
    class Flow(Sending):
        @step
        def work(self, ctx: Context, ev: Item) -> Done | Extra | None:  # type: ignore[override]
            ctx.send_event(Extra(n=10 + ev.n))
            ctx.send_event(Done(n=20 + ev.n), step="join")
            return None

    with anyio.fail_after(5):
        assert sorted(await Flow(size=2).run()) == [10, 11, 20, 21]


async def test_fan_out_what_a_member_sends_into_a_cycle_is_waited_for() -> None:
    async def send(ctx: Context, ev: Item) -> Done:
        if ev.n < 10:
            ctx.send_event(Item(n=ev.n + 5), step="work")
        return Done(n=ev.n)

    with anyio.fail_after(5):
        assert sorted(await Fan(send, size=2).run()) == [0, 1, 5, 6, 10, 11]


async def test_fan_out_a_member_that_waits_for_an_answer_keeps_it_open() -> None:
    async def ask(ctx: Context, ev: Item) -> Done:
        answer = await ctx.wait_for_event(
            Answer, waiter_event=Say(n=ev.n), waiter_id=str(ev.n), requirements={"n": ev.n}
        )
        return Done(n=10 * answer.n)

    workflow = Fan(ask, size=3, extra_events=[Say, Answer])
    handler = workflow.run()
    with anyio.fail_after(5):
        async with handler:
            async for event in handler.stream_events():
                if isinstance(event, Say):
                    assert workflow.joined == []
                    handler.send_event(Answer(n=event.n))
        assert sorted(await handler) == [0, 10, 20]


async def test_fan_out_a_join_may_wait_and_its_answer_may_be_sent_to_it_by_name() -> None:
    class Flow(Fan):
        @step(waits_for=Answer)
        async def join(self, ctx: Context, evs: list[Done]) -> StopEvent:  # type: ignore[override]
            answer = await ctx.wait_for_event(Answer)
            return StopEvent(result=answer.n + len(evs))

    handler = Flow().run()
    with anyio.fail_after(5):
        async with handler:
            await settled()
            handler.send_event(Answer(n=40), step="join")
        assert await handler == 43


async def test_fan_out_a_collection_in_members_lets_one_go_on_for_all() -> None:
    """It is the run's; whoever completes it goes on, and the others are done."""

    async def pair(ctx: Context, ev: Item) -> Done | None:
        batch = ctx.collect_events(ev, [Item] * 2)
        return None if batch is None else Done(n=sum(item.n for item in batch))

    with anyio.fail_after(5):
        assert sorted(await Fan(pair, size=4).run()) == [1, 5]


async def test_fan_out_a_member_that_is_retried_stays_in_it_and_sends_once() -> None:
    tries: list[int] = []

    async def fail_first(ctx: Context, ev: Item) -> Done:
        tries.append(ev.n)
        ctx.send_event(Done(n=10 + ev.n))
        if ctx.retry_info().retry_number == 0:
            raise ValueError
        return Done(n=ev.n)

    class Flow(Fan):
        @step(retry_policy=RetryPolicy())
        async def work(self, ctx: Context, ev: Item) -> Done | None:
            return await fail_first(ctx, ev)

        @step(retry_policy=RetryPolicy())
        async def join(self, ctx: Context, evs: list[Done]) -> StopEvent:  # type: ignore[override]
            if ctx.retry_info().retry_number == 0:
                raise ValueError
            return StopEvent(result=sorted(ev.n for ev in evs))

    with anyio.fail_after(5):
        assert await Flow(size=2).run() == [0, 1, 10, 11]
    assert sorted(tries) == [0, 0, 1, 1]


async def test_fan_out_a_member_that_fails_for_good_fails_the_run_and_joins_nothing() -> None:
    async def fail(ctx: Context, ev: Item) -> Done:
        if ev.n == 2:
            raise ValueError(ev.n)
        return Done(n=ev.n)

    workflow = Fan(fail)
    with anyio.fail_after(5), pytest.raises(ValueError, match="2"):
        await workflow.run()
    assert workflow.joined == []


async def test_fan_out_a_report_says_what_has_come_to_the_join() -> None:
    async def wait(ctx: Context, ev: Item) -> Done:
        if ev.n == 1:
            await ctx.wait_for_event(Answer)
        return Done(n=ev.n)

    handler = Fan(wait, extra_events=[Answer]).run()
    with anyio.fail_after(5):
        async with handler:
            reader = handler.stream_events(expose_internal=True)
            idle = [event async for event in _until_idle(reader)][-1]
            assert idle.report.collections == ("step 'join' has 2 of what step 'split' fanned out",)
            handler.send_event(Answer(n=0))
        assert await handler == [0, 2, 1]


async def _until_idle(reader: AsyncIterator[Event]) -> AsyncIterator[Any]:
    async for event in reader:
        yield event
        if isinstance(event, WorkflowIdleEvent):
            return


# --- how long it takes, and what it leaves


class Counting(Fan):
    @step
    async def work(self, ev: Item) -> Done:  # type: ignore[override]
        return Done(n=ev.n)

    @step
    async def join(self, evs: list[Done]) -> StopEvent:
        return StopEvent(result=len(evs))


async def seconds(size: int) -> float:
    began = time.perf_counter()
    assert await Counting(size=size).run() == size
    return time.perf_counter() - began


@pytest.mark.blocks_on_purpose
async def test_fan_out_1600_and_16000_events_take_milliseconds_each_way() -> None:
    """10 us an event, measured; the bounds are for busy machines with a tracer. The peer takes 15 s for 1,600."""
    with anyio.fail_after(60):
        short = min([await seconds(1600) for _ in range(3)])
        long = min([await seconds(16000) for _ in range(2)])
    assert short < 1
    assert long < 40 * short


async def test_fan_out_a_run_of_many_of_them_keeps_none() -> None:
    """A run that fans out again and again stays in constant memory, events that never met included."""

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent | Extra) -> list[Item | Done] | StopEvent:
            n = ev.get("n", 300)
            return [Item(n=n - 1), Done(n=n), Done(n=n)] if n else StopEvent(result="end")

        @step
        async def meet(self, one: Item, other: Done) -> Extra:
            return Extra(n=one.n)

        @step
        async def join(self, evs: list[Item | Done]) -> Extra | None:
            item = next(ev for ev in evs if isinstance(ev, Item))
            return Extra(n=item.n)

    handler = Flow().run(stream_buffer=1)
    with anyio.fail_after(10):
        assert await handler == "end"
    ledger: Any = handler._run.ledger
    assert (ledger.fan_outs, ledger.meetings.waiting) == ({}, {})
