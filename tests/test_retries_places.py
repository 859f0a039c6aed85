"""What a retry holds while it waits: no worker, no token, its place in line; and nothing once it has ended."""

import gc
from typing import Any

import anyio
import pytest
from anyio import CapacityLimiter
from retrying import FOR_EVER, DelayedPiecework, Flaky, Result, Work
from tenacity import wait_fixed
from virtual_time import both_backends, run_virtually

from anyio_workflows import (
    Context,
    RetryPolicy,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)
from anyio_workflows._ledger.attempts import Attempt
from anyio_workflows._ledger.delivery import Delivery


@both_backends
def test_s_work_1_a_delayed_retry_holds_no_worker(backend: str) -> None:
    class Watching(Workflow):
        @step(num_workers=2, retry_policy=RetryPolicy(wait=wait_fixed(10)))
        async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
            if not ctx.retry_info().retry_number:
                raise Flaky
            return StopEvent()

    async def main() -> None:
        async with Watching().run() as handler:
            await anyio.sleep(5)
            assert handler.limiter("work").statistics().borrowed_tokens == 0
            await anyio.sleep(4)
            assert handler.limiter("work").available_tokens == 2

    run_virtually(main, backend)


@both_backends
def test_s_work_3_a_delayed_retry_holds_no_token_of_a_shared_limiter(backend: str) -> None:
    order: list[str] = []

    def one() -> CapacityLimiter:
        return CapacityLimiter(1)

    class Sharing(Workflow):
        @step(limiter=one, retry_policy=RetryPolicy(wait=wait_fixed(10)))
        async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
            order.append(f"{ev.name} {ctx.retry_info().retry_number}")
            await anyio.sleep(1)
            if ev.name == "a" and not ctx.retry_info().retry_number:
                raise Flaky
            return StopEvent()

    async def main() -> None:
        workflow = Sharing()
        async with workflow.run(name="a"), workflow.run(name="b"):
            pass

    run_virtually(main, backend)
    assert order in (["a 0", "b 0", "a 1"], ["b 0", "a 0", "a 1"])


@both_backends
def test_s_send_4_a_delayed_delivery_still_has_its_place(backend: str) -> None:
    """So a fast source does not pile up what fails; and who waits for a place is no stall."""
    most = 0

    class Feeding(DelayedPiecework):
        @step
        async def split(self, ctx: Context, ev: StartEvent) -> Work | None:
            nonlocal most
            for number in range(self.n):
                await ctx.send(Work(number=number))
                most = max(most, handler._run.inbox("work").pending)
            return None

        @step(num_workers=1, max_pending=2, retry_policy=RetryPolicy(wait=wait_fixed(10)))
        async def work(self, ctx: Context, ev: Work) -> Result:
            return self.attempt(ev)

    workflow = Feeding(dict.fromkeys(range(6), 1), n=6)

    handler: Any = None

    async def main() -> None:
        nonlocal handler
        handler = workflow.run()
        assert await handler == [0, 1, 2, 3, 4, 5]

    run_virtually(main, backend)
    assert most == 2
    assert workflow.times[-1] - workflow.times[0] == pytest.approx(30)


# --- memory


async def test_s_send_4_a_pipeline_of_retried_steps_runs_in_constant_memory() -> None:
    """What is known of an execution goes when it has ended, and nobody has to look for circles to find that out."""
    left: list[int] = []

    class Pipeline(Workflow):
        @step
        async def split(self, ctx: Context, ev: StartEvent) -> Work | None:
            for number in range(1_000):
                await ctx.send(Work(number=number))
            return None

        @step(num_workers=2, max_pending=4, retry_policy=FOR_EVER)
        async def work(self, ctx: Context, ev: Work) -> Result:
            if not ctx.retry_info().retry_number:
                raise Flaky(str(ev.number))
            return Result(number=ev.number)

        @step(num_workers=1)
        async def join(self, ctx: Context, ev: Result) -> StopEvent | None:
            if ev.number % 250 == 249:
                left.append(sum(isinstance(each, Delivery | Attempt) for each in gc.get_objects()))
            return StopEvent() if ev.number == 999 else None

    gc.collect()
    before = sum(isinstance(each, Delivery | Attempt) for each in gc.get_objects())
    gc.disable()
    try:
        with anyio.fail_after(30):
            await Pipeline().run()
    finally:
        gc.enable()
    assert max(left) - before < 60
