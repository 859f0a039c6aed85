"""When another attempt begins, whom a delay holds up, and what ends one."""

import anyio
import pytest
from retrying import FOR_EVER, DelayedPiecework, Flaky, Piecework, Result, Work, always_failing, retried
from running import events_of
from tenacity import stop_never, wait_fixed
from virtual_time import both_backends, run_virtually

from anyio_workflows import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    RetryPolicy,
    RunGroup,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowIdleEvent,
    WorkflowStalledError,
    WorkflowTimeoutError,
    step,
)

HOURLY = RetryPolicy(wait=wait_fixed(3600), stop=stop_never)


# --- the order of attempts


async def test_s_fail_2_without_delay_the_next_attempt_is_the_next_execution_of_its_step() -> None:
    workflow = Piecework({1: 2, 3: 1})
    with anyio.fail_after(5):
        assert await workflow.run() == [0, 1, 2, 3]
    assert workflow.begun == [0, 1, 1, 1, 2, 3, 3]


@both_backends
def test_s_fail_2_a_delay_blocks_nobody(backend: str) -> None:
    workflow = DelayedPiecework({0: 2, 2: 1})

    async def main() -> None:
        assert await workflow.run() == [1, 3, 2, 0]

    run_virtually(main, backend)
    assert workflow.begun == [0, 1, 2, 3, 0, 2, 0]
    assert [moment - workflow.times[0] for moment in workflow.times] == pytest.approx(
        [0, 0, 0, 0, 10, 12, 20]
    )


class Shift(Workflow):
    """One worker, who is busy when everything becomes due; a piece is tried again after its number of seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[int] = []

    @step
    async def split(self, ctx: Context, ev: StartEvent) -> Work | None:
        for number in (3, 1, 2, 100, 0):
            ctx.send_event(Work(number=number))
        return None

    @step(num_workers=1, retry_policy=RetryPolicy(wait=lambda state: float(str(state.outcome.exception()))))
    async def work(self, ctx: Context, ev: Work) -> Result:
        self.begun.append(ev.number)
        if not ctx.retry_info().retry_number:
            if ev.number == 100:
                await anyio.sleep(10)
            raise Flaky(str(ev.number % 100))
        return Result(number=ev.number)

    @step
    async def join(self, ctx: Context, ev: Result) -> StopEvent | None:
        return None if ctx.collect_events(ev, {Result: 5}) is None else StopEvent()


@both_backends
def test_s_fail_2_what_is_due_goes_in_the_order_of_the_due_times_before_all_that_is_new(backend: str) -> None:
    """Also if there was no worker when it was due; and one without a delay before all of them."""
    workflow = Shift()

    async def main() -> None:
        async with workflow.run() as handler:
            await anyio.sleep(5)
            handler.send_event(Work(number=4), step="work")

    run_virtually(main, backend)
    assert workflow.begun == [3, 1, 2, 100, 100, 1, 2, 3, 0, 0, 4]


async def test_s_fail_2_a_step_that_fails_for_ever_lets_others_have_their_turn() -> None:
    """Without a delay and without ever suspending."""
    with anyio.fail_after(5), pytest.raises(WorkflowTimeoutError):
        await retried(always_failing, FOR_EVER).run(timeout=0.02)
    with anyio.move_on_after(0.02) as scope:
        await retried(always_failing, FOR_EVER).run()
    assert scope.cancelled_caught


# --- what ends a delay, and what it keeps going


@both_backends
def test_s_run_4_a_run_with_a_delayed_retry_neither_stalls_nor_is_idle(backend: str) -> None:
    read: list[Event] = []

    async def main() -> None:
        handler = DelayedPiecework({0: 3, 1: 1}).run()
        async with handler:
            read.extend(await events_of(handler, expose_internal=True))
        assert await handler == [2, 3, 1, 0]

    run_virtually(main, backend)
    assert not any(isinstance(event, WorkflowIdleEvent) for event in read)


@both_backends
def test_s_run_4_a_run_stalls_when_the_last_attempt_has_left_it_nothing(backend: str) -> None:
    class Wanting(DelayedPiecework):
        @step
        async def join(self, ctx: Context, ev: Result) -> StopEvent | None:
            return None if ctx.collect_events(ev, {Result: 2}) is None else StopEvent()

    async def main() -> None:
        started = anyio.current_time()
        with pytest.raises(WorkflowStalledError, match="has 1 of 2 Result"):
            await Wanting({0: 1}, n=1).run()
        assert anyio.current_time() - started == pytest.approx(10)

    run_virtually(main, backend)


@both_backends
def test_s_run_5_a_timeout_ends_a_run_in_a_delay(backend: str) -> None:
    async def main() -> None:
        started = anyio.current_time()
        with pytest.raises(WorkflowTimeoutError) as caught:
            await retried(always_failing, HOURLY).run(timeout=7)
        assert anyio.current_time() - started == pytest.approx(7)
        assert caught.value.active_steps == ("work",), "the one that is to be tried again"

    run_virtually(main, backend)


async def test_s_fail_2_to_cancel_a_run_in_a_delay_ends_it_at_once() -> None:
    with anyio.fail_after(5):
        handler = retried(always_failing, HOURLY).run()
        async with handler:
            await anyio.wait_all_tasks_blocked()
            await handler.cancel_run()
        with pytest.raises(WorkflowCancelledByUser):
            await handler
        assert handler.failures == (), "a failure that is tried again is none"
        with anyio.move_on_after(0.01) as scope:
            await retried(always_failing, HOURLY).run()
        assert scope.cancelled_caught


async def test_s_fail_2_a_body_that_raises_ends_a_delay() -> None:
    with anyio.fail_after(5), pytest.raises(KeyError):
        async with retried(always_failing, HOURLY).run():
            await anyio.wait_all_tasks_blocked()
            raise KeyError


@both_backends
def test_s_fail_2_delays_in_a_group_and_in_a_nested_run(backend: str) -> None:
    class Outer(Workflow):
        @step
        async def call(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=await DelayedPiecework({0: 1}).run())

    async def main() -> None:
        async with RunGroup(grace=100) as runs:
            first = runs.start(Outer())
            second = runs.start(DelayedPiecework({3: 2}))
        assert await first == [1, 2, 3, 0]
        assert await second == [0, 1, 2, 3]

    run_virtually(main, backend)


@both_backends
def test_s_fail_2_a_group_that_is_left_does_not_wait_for_a_long_delay(backend: str) -> None:
    async def main() -> None:
        async with RunGroup(grace=5) as runs:
            started = anyio.current_time()
            runs.start(retried(always_failing, HOURLY))
            await anyio.sleep(1)
        assert anyio.current_time() - started == pytest.approx(6)

    run_virtually(main, backend)


class Question(InputRequiredEvent):
    pass


class Answer(HumanResponseEvent):
    pass


@both_backends
def test_s_run_4_a_run_is_idle_once_only_a_human_is_waited_for(backend: str) -> None:
    """Time in a delay counts against the timeout, time in which only the human is waited for does not."""
    idle: list[float] = []

    class Asking(Workflow):
        @step
        async def split(self, ctx: Context, ev: StartEvent) -> Question | Work:
            ctx.send_event(Work())
            return Question()

        @step(retry_policy=RetryPolicy(wait=wait_fixed(10)))
        async def work(self, ctx: Context, ev: Work) -> None:
            if not ctx.retry_info().retry_number:
                raise Flaky

        @step
        async def hear(self, ev: Answer) -> StopEvent:
            return StopEvent(result=anyio.current_time())

    async def main() -> None:
        started = anyio.current_time()
        handler = Asking().run(timeout=12)
        async with handler:
            async for event in handler.stream_events(expose_internal=True):
                if isinstance(event, WorkflowIdleEvent):
                    idle.append(anyio.current_time() - started)
                    await anyio.sleep(1000)
                    handler.send_event(Answer())
        assert await handler - started == pytest.approx(1010)

    run_virtually(main, backend)
    assert idle == pytest.approx([10])
