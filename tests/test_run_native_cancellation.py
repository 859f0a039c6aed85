"""S-RUN-2 and S-RUN-3 where cancellation comes past AnyIO: asyncio's own ways, on asyncio only."""

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from conftest import BACKENDS
from running import Calling, Crowd, Echo, Held, events_of, never

from anyio_workflows import (
    Context,
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledError,
    WorkflowCancelledEvent,
    WorkflowCheckpointer,
    WorkflowHandler,
    WorkflowRuntimeError,
    step,
)
from anyio_workflows.stores import MemoryCheckpointStore


class Doubled(Event):
    number: int


@pytest.fixture(
    scope="module",
    params=[pytest.param(value, id=name) for name, value in BACKENDS.items() if value[0] == "asyncio"],
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    backend: tuple[str, dict[str, Any]] = request.param
    return backend


async def _await(handler: WorkflowHandler) -> Any:
    return await handler


async def _enter(handler: WorkflowHandler) -> Any:
    async with handler:
        await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("use", [_await, _enter])
async def test_s_run_2_task_cancel_cancels_the_run_and_the_task(use: Any) -> None:
    flow = Crowd(never)
    handler = flow.run()
    task = asyncio.create_task(use(handler))
    with anyio.fail_after(5):
        await flow.all_begun.wait()
        await checkpoint()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert task.cancelled()
    assert flow.cleaned_up == 3
    assert handler.is_done()
    assert handler.failures == ()
    with pytest.raises(WorkflowCancelledError):
        await handler
    assert isinstance((await events_of(handler))[-1], WorkflowCancelledEvent)


async def test_s_run_2_task_cancel_before_the_task_has_begun_leaves_the_run_unstarted() -> None:
    handler = Echo().run(value=1)
    task = asyncio.create_task(_await(handler))
    if not task.done():  # an eager one has run already
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await handler == 1


@pytest.mark.parametrize("use", [_await, _enter])
async def test_s_run_2_asyncio_timeout_around_it_is_a_timeout_error(use: Any) -> None:
    flow = Held()
    handler = flow.run()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await use(handler)
    assert flow.log == ["begun", "cancelled"]
    with pytest.raises(WorkflowCancelledError):
        await handler
    await checkpoint()  # the caller is not cancelled any more


async def test_s_run_2_wait_for_takes_a_handler_and_times_out() -> None:
    flow = Held()
    handler = flow.run()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(handler, 0.02)
    assert flow.log == ["begun", "cancelled"]
    assert await asyncio.wait_for(Echo().run(value=3), 5) == 3


async def test_s_run_2_gather_and_task_group_take_handlers() -> None:
    assert list(await asyncio.gather(Echo().run(value=1), Echo().run(value=2))) == [1, 2]
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(_await(Echo().run(value=3)))
    assert task.result() == 3


async def test_s_run_2_a_failing_sibling_in_an_asyncio_task_group_cancels_the_run() -> None:
    flow = Held()

    async def fails() -> None:
        await flow.begun.wait()
        raise ValueError("sibling")

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_await(flow.run()))
            tasks.create_task(fails())
    assert [str(error) for error in caught.value.exceptions] == ["sibling"]
    assert flow.log == ["begun", "cancelled"]


async def test_s_run_2_task_cancel_of_a_further_awaiter_leaves_the_run_alone() -> None:
    flow = Held()
    handler = flow.run()
    with anyio.fail_after(5):
        owner = asyncio.create_task(_await(handler))
        await flow.begun.wait()
        further = asyncio.create_task(_await(handler))
        await checkpoint()
        further.cancel()
        with pytest.raises(asyncio.CancelledError):
            await further
        flow.gate.set()
        assert await owner == "let go"


async def test_s_run_3_task_cancel_before_a_returned_stop_event_wins() -> None:
    """The caller's task is the step's; the step never awaits, and cannot notice."""

    async def cancels(ctx: Context) -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "too late"

    handler = Calling(cancels).run()
    task = asyncio.create_task(_await(handler))
    with anyio.fail_after(5), pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(WorkflowCancelledError):
        await handler


async def test_s_run_3_a_step_that_swallows_task_cancel_does_not_undo_it() -> None:
    """asyncio delivers it once; the run remembers."""

    async def swallows(ctx: Context) -> str:
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await anyio.sleep_forever()
        await checkpoint()
        return "swallowed"

    begun = anyio.Event()
    handler = Calling(swallows).run()
    task = asyncio.create_task(_await(handler))
    with anyio.fail_after(5):
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    with pytest.raises(WorkflowCancelledError):
        await handler


async def test_s_run_3_a_step_that_swallows_asyncio_timeout_of_the_callers_does_not_undo_it() -> None:
    async def swallows(ctx: Context) -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await anyio.sleep_forever()
        return "swallowed"

    handler = Calling(swallows).run()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await handler
    with pytest.raises(WorkflowCancelledError):
        await handler


async def test_s_run_3_a_clean_up_that_raises_after_task_cancel_is_kept() -> None:
    async def cleans_up_badly(ctx: Context) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("clean-up")

    begun = anyio.Event()
    handler = Calling(cleans_up_badly).run()
    task = asyncio.create_task(_await(handler))
    with anyio.fail_after(5):
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [str(error) for error in handler.failures] == ["clean-up"]
    with pytest.raises(WorkflowCancelledError):
        await handler


async def test_s_run_3_task_cancel_during_the_clean_ups_of_a_success_passes() -> None:
    async def cleans_up_slowly(ctx: Context) -> None:
        ctx.send_event(StopEvent(result="success"))
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                cleaning.set()
                await gate.wait()

    cleaning, gate = anyio.Event(), anyio.Event()
    handler = Calling(cleans_up_slowly).run()
    task = asyncio.create_task(_await(handler))
    with anyio.fail_after(5):
        await cleaning.wait()
        task.cancel()
        await checkpoint()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await handler == "success"


async def test_s_run_3_a_timeout_of_the_steps_own_is_none_of_the_runs() -> None:
    """``asyncio.timeout`` in a step cancels the caller's task for a moment, and takes it back."""

    async def has_its_own(ctx: Context) -> str:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anyio.sleep_forever()
        return "went on"

    with anyio.fail_after(5):
        assert await Calling(has_its_own).run() == "went on"


async def test_s_run_3_a_cancellation_that_the_caller_swallowed_before_is_none_of_the_runs() -> None:
    """The task's count of requests never goes back; what counts is what comes during the run."""

    async def body() -> object:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(5)
        return await Echo().run(value="ran")

    with anyio.fail_after(5):
        task = asyncio.create_task(body())
        await checkpoint()
        task.cancel()
        assert await task == "ran"


async def test_s_fail_1_an_asyncio_task_that_was_cancelled_elsewhere_is_a_workflow_runtime_error() -> None:
    """Nobody has cancelled the step: passing it on would cancel a caller that nobody cancelled."""

    async def awaits(ctx: Context) -> None:
        task = asyncio.create_task(asyncio.sleep(5))
        await checkpoint()
        task.cancel()
        await task

    handler = Calling(awaits).run()
    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError) as caught:
        await handler
    assert "step 'call' raised CancelledError, but nobody has cancelled it" in str(caught.value)
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert handler.failures == (caught.value,)


async def test_s_fail_1_asyncio_cancelled_error_raised_by_hand_is_a_workflow_runtime_error() -> None:
    async def raises(ctx: Context) -> None:
        raise asyncio.CancelledError("by hand")

    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError, match="step 'call' raised CancelledError"):
        async with Calling(raises).run():
            await anyio.sleep_forever()


async def test_s_run_2_uncancel_of_a_step_does_not_reach_the_callers_count() -> None:
    """A run leaves the caller's task as it found it."""
    current = asyncio.current_task()
    assert current is not None
    await Echo().run()
    flow = Held()
    with anyio.move_on_after(0.01):
        await flow.run()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await Held().run()
    assert current.cancelling() == 0


class LateStore(MemoryCheckpointStore):
    """Has saved long before it says so."""

    is_late = False

    def __init__(self) -> None:
        super().__init__()
        self.has_saved = anyio.Event()

    async def save(self, *args: Any, **options: Any) -> None:
        await super().save(*args, **options)
        if self.is_late:
            self.is_late = False
            self.has_saved.set()
            with anyio.CancelScope(shield=True):
                await anyio.sleep_forever()


async def test_s_ckpt_6_a_save_that_task_cancel_has_cut_short_is_not_made_twice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It may have happened; the store is asked before the run's end is saved."""

    class Doubling(Workflow):
        @step
        async def double(self, ev: StartEvent) -> Doubled:
            store.is_late = True
            return Doubled(number=2 * ev.number)

        @step
        async def end(self, ev: Doubled) -> StopEvent:
            return StopEvent(result=ev.number)

    async with LateStore() as store:
        checkpointer = WorkflowCheckpointer(workflow=Doubling(), store=store, durability="sync")
        with anyio.fail_after(5):
            task = asyncio.create_task(_await(checkpointer.run(run_id="cut", number=4)))
            await store.has_saved.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await store.run("cut")).status == "cancelled"
            assert await (await checkpointer.resume("cut")) == 8
    assert caplog.records == []


async def test_s_run_1_a_call_in_an_executor_is_waited_for_however_often_the_task_is_cancelled() -> None:
    """Each of asyncio's own cancellations gets through a shield once."""
    begun, gate = threading.Event(), threading.Event()
    executor = ThreadPoolExecutor(1)

    class Busy(Workflow):
        @step(executor=executor)
        def work(self, ev: StartEvent) -> StopEvent:
            begun.set()
            assert gate.wait(5)
            return StopEvent()

    task = asyncio.create_task(_await(Busy().run()))
    with anyio.fail_after(5):
        while not begun.is_set():  # noqa: ASYNC110
            await checkpoint()
        for _ in range(3):
            task.cancel()
            for _ in range(5):
                await checkpoint()
        assert not task.done()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    executor.shutdown()
