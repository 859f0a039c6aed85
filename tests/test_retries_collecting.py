"""What an attempt that failed did to collections is undone, and nothing is counted twice."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from retrying import FOR_EVER, Flaky, Result, Work
from test_retries_matching import Start, both_ways

from anyio_workflows import (
    Context,
    RetryPolicy,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowStalledError,
    step,
)


class Gathering(Workflow):
    """Three pieces come to `gather`, one after the other; what it does with each attempt is the test's."""

    def __init__(self, gather: Callable[[Context, Work], Any], n: int = 3) -> None:
        super().__init__()
        self.gather_with = gather
        self.n = n
        self.batches: list[list[int]] = []

    @step
    async def split(self, ctx: Context, ev: StartEvent) -> Work | None:
        for number in range(self.n):
            ctx.send_event(Work(number=number))
        return None

    @step(num_workers=3, retry_policy=FOR_EVER)
    async def gather(self, ctx: Context, ev: Work) -> Result | None:
        batch = await self.gather_with(ctx, ev)
        if batch is not None:
            self.batches.append([each.number for each in batch])
        return None

    @step
    async def end(self, ev: Result) -> StopEvent:
        return StopEvent()


async def gathered(start: Start, gather: Callable[[Context, Work], Any], n: int = 3) -> tuple[Any, str]:
    """Return the batches, and what a stall says is left."""
    workflow = Gathering(gather, n)
    with anyio.fail_after(5), pytest.raises(WorkflowStalledError) as caught:
        await start(workflow)
    return workflow.batches, str(caught.value)


@both_ways
async def test_s_col_5_an_event_that_a_failed_attempt_has_put_in_is_counted_once(start: Start) -> None:
    async def gather(ctx: Context, ev: Work) -> Any:
        batch = ctx.collect_events(ev, [Work] * 4)
        if ctx.retry_info().retry_number < 2:
            raise Flaky
        return batch

    batches, left = await gathered(start, gather)
    assert batches == []
    assert "step 'gather' has 3 of 4 Work" in left


@both_ways
async def test_s_col_5_what_a_failed_attempt_took_is_back_for_the_next_one(start: Start) -> None:
    async def gather(ctx: Context, ev: Work) -> Any:
        batch = ctx.collect_events(ev, [Work] * 3)
        if batch is not None and ctx.retry_info().retry_number < 2:
            raise Flaky
        return batch

    batches, _ = await gathered(start, gather)
    assert batches == [[0, 1, 2]]


@both_ways
async def test_s_col_5_what_a_failed_attempt_took_may_be_taken_by_another_execution(start: Start) -> None:
    """Which then has it for good; the next attempt finds what is left."""
    late = anyio.Event()

    async def gather(ctx: Context, ev: Work) -> Any:
        if ev.number == 2 and not ctx.retry_info().retry_number:
            await late.wait()
        batch = ctx.collect_events(ev, [Work] * 2)
        if ev.number == 1 and not ctx.retry_info().retry_number:
            late.set()
            raise Flaky
        return batch

    batches, left = await gathered(start, gather)
    assert sorted(number for batch in batches for number in batch) in ([0, 1], [0, 2], [1, 2])
    assert "step 'gather' has 1 of 2 Work" in left


@both_ways
@pytest.mark.parametrize("makes_anew", [False, True])
async def test_s_col_5_an_event_that_another_execution_took_is_not_put_in_again(
    start: Start, *, makes_anew: bool
) -> None:
    """Whether the step gives the event that it was called with or one that it makes in each attempt, in every buffer."""
    taken = anyio.Event()
    put = anyio.Event()

    async def gather(ctx: Context, ev: Work) -> Any:
        event: Any = Result(number=ev.number) if makes_anew else ev
        kind = type(event)
        if ev.number == 0:
            for buffer in ("a", "b"):
                ctx.collect_events(event, [kind] * 2, buffer)
            put.set()
            await taken.wait()
            if ctx.retry_info().retry_number < 2:
                raise Flaky
            return None
        await put.wait()
        batches = [ctx.collect_events(event, [kind] * 2, buffer) for buffer in ("a", "b")]
        taken.set()
        return [each for batch in batches for each in batch or ()]

    batches, left = await gathered(start, gather, n=2)
    assert batches == [[0, 1, 0, 1]]
    assert "step 'gather' has" not in left


@both_ways
async def test_s_col_5_what_another_execution_took_and_gave_back_is_there_once(start: Start) -> None:
    """Its event was with the other one when the first attempt failed, and has come back since."""
    put, took, failed = anyio.Event(), anyio.Event(), anyio.Event()

    async def gather(ctx: Context, ev: Work) -> Any:
        first = not ctx.retry_info().retry_number
        if ev.number == 0:
            if not first:
                failed.set()
            batch = ctx.collect_events(ev, [Work] * 2)
            put.set()
            if first:
                await took.wait()
                raise Flaky
            return batch
        if first:
            await put.wait()
        batch = ctx.collect_events(ev, [Work] * 2)
        took.set()
        if first:
            await failed.wait()
            raise Flaky
        return batch

    batches, left = await gathered(start, gather, n=2)
    assert [sorted(batch) for batch in batches] == [[0, 1]]
    assert "step 'gather' has" not in left


@both_ways
async def test_s_col_5_a_collection_completes_after_its_last_event_has_failed(start: Start) -> None:
    class Joining(Workflow):
        @step
        async def split(self, ctx: Context, ev: StartEvent) -> Work | None:
            for number in range(3):
                ctx.send_event(Work(number=number))
            return None

        @step(num_workers=1, retry_policy=RetryPolicy())
        async def join(self, ctx: Context, ev: Work) -> StopEvent | None:
            batch = ctx.collect_events(ev, [Work] * 3)
            if batch is None:
                return None
            if ctx.retry_info().retry_number < 2:
                raise Flaky
            return StopEvent(result=[each.number for each in batch])

    with anyio.fail_after(5):
        assert await start(Joining()) == [0, 1, 2]
