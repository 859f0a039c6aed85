"""Whatever ends an execution ends its children first: nothing of them is left, and their clean-ups have their time."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from nesting import Answer, Ask, Asking, AskingInSteps, Question, asked, idle, running
from running import Calling, Crowd, Work

from anyio_workflows import (
    Context,
    RetryPolicy,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowStalledError,
    WorkflowTimeoutError,
    step,
)


async def nobody(ctx: Context) -> StopEvent:
    await anyio.sleep_forever()
    raise AssertionError


class Holding(Workflow):
    """Runs *crowd* as a child; `after` is what the step does when that is over."""

    def __init__(self, body: Callable[[Context], Awaitable[Any]]) -> None:
        super().__init__()
        self.body = body

    @step(cancellable=True)
    async def hold(self, ctx: Context, ev: StartEvent) -> Work:
        await self.body(ctx)
        return Work()

    @step
    async def end(self, ctx: Context, ev: Work) -> StopEvent:
        return StopEvent(result="went on")


@pytest.fixture(params=[1, 2], ids=["child", "grandchild"])
def levels(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def nested(crowd: Workflow, levels: int) -> Workflow:
    """Return *crowd*, with so many levels less one above it."""
    for _ in range(levels - 1):
        crowd = running(crowd)
    return crowd


async def test_s_run_1_nothing_of_a_child_is_left_when_its_parent_is_cancelled(levels: int) -> None:
    crowd = Crowd(nobody)
    with anyio.fail_after(5):
        async with Calling(lambda ctx: ctx.run_child(nested(crowd, levels))).run() as handler:
            await crowd.all_begun.wait()
            await handler.cancel_run()
            assert crowd.cleaned_up == 3
        with pytest.raises(WorkflowCancelledByUser):
            await handler


async def test_s_run_1_nothing_of_a_child_is_left_when_the_task_around_is_cancelled(levels: int) -> None:
    crowd = Crowd(nobody)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Calling(lambda ctx: ctx.run_child(nested(crowd, levels))).run().serve)
            await crowd.all_begun.wait()
            tasks.cancel_scope.cancel()
    assert crowd.cleaned_up == 3


async def test_child_ends_with_the_scope_around_its_call_and_the_step_goes_on(levels: int) -> None:
    crowd = Crowd(nobody)

    async def body(ctx: Context) -> Any:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ctx.run_child, nested(crowd, levels))
            await crowd.all_begun.wait()
            tasks.cancel_scope.cancel()
        return crowd.cleaned_up

    with anyio.fail_after(5):
        assert await Calling(body).run() == 3


async def test_child_that_takes_too_long_for_its_step_is_left_by_move_on_after() -> None:
    async def body(ctx: Context) -> Any:
        with anyio.move_on_after(0.01) as scope:
            await ctx.run_child(Asking())
        return scope.cancelled_caught

    with anyio.fail_after(5):
        assert await Calling(body).run() is True


@pytest.mark.parametrize("checkpoints", [False, True])
async def test_child_ends_with_a_step_that_is_cancelled_by_itself(checkpoints: bool, levels: int) -> None:
    crowd = Crowd(nobody)
    workflow = Holding(lambda ctx: ctx.run_child(nested(crowd, levels)))
    with anyio.fail_after(5):
        async with workflow.run(checkpoints=checkpoints) as handler:
            await crowd.all_begun.wait()
            assert handler.cancel_step("hold", "enough") == 1
            handler.send_event(Work())
            assert await handler == "went on"
    assert crowd.cleaned_up == 3


async def test_child_that_waits_for_a_human_ends_with_its_cancelled_step() -> None:
    """Its host is not counted as active then, and has to be when it goes on."""
    with anyio.fail_after(5):
        async with Holding(lambda ctx: ctx.run_child(Asking())).run() as handler:
            await asked(handler, 1)
            await checkpoint()
            assert handler.cancel_step("hold") == 1
            handler.send_event(Work())
            assert await handler == "went on"


@pytest.mark.parametrize("kind", [Asking, AskingInSteps])
async def test_s_run_4_an_execution_that_left_its_resting_child_counts_as_running_again(kind: Any) -> None:
    """Or the run would be called stalled as soon as everything else rests."""
    scope, gate = anyio.CancelScope(), anyio.Event()

    class Leaving(Workflow):
        @step
        async def leave(self, ctx: Context, ev: StartEvent) -> StopEvent | Work:
            with scope:
                await ctx.run_child(kind())
            ctx.send_event(Work())
            await gate.wait()
            return StopEvent(result="left")

        @step
        async def work(self, ev: Work) -> None:
            return None

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            handler = await tasks.start(Leaving().run().serve)
            await idle(handler)
            scope.cancel()
            for _ in range(20):
                await checkpoint()
            gate.set()
            assert await handler == "left"


async def test_s_run_4_nobody_waits_for_the_answer_to_a_child_that_was_left() -> None:
    class Leaving(Workflow):
        @step
        async def leave(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
            with anyio.move_on_after(0.01):
                await ctx.run_child(Asking())
            return None

    with anyio.fail_after(5), pytest.raises(WorkflowStalledError):
        await Leaving().run()


async def test_child_ends_with_an_attempt_that_is_out_of_time_and_begins_anew_in_the_next() -> None:
    crowds = [Crowd(nobody), Crowd(done)]

    class Timed(Workflow):
        @step(timeout=0.05, retry_policy=RetryPolicy())
        async def call(self, ctx: Context, ev: StartEvent) -> StopEvent:
            crowd = crowds[0] if not ctx.retry_info().retry_number else crowds[1]
            return StopEvent(result=await ctx.run_child(crowd))

    with anyio.fail_after(5):
        assert await Timed().run() == "done"
    assert [crowd.cleaned_up for crowd in crowds] == [3, 3]


async def done(ctx: Context) -> StopEvent:
    return StopEvent(result="done")


async def test_s_run_5_a_child_ends_with_the_timeout_of_its_parent(levels: int) -> None:
    crowd = Crowd(nobody)
    with anyio.fail_after(5):
        with pytest.raises(WorkflowTimeoutError):
            await Calling(lambda ctx: ctx.run_child(nested(crowd, levels)), timeout=0.05).run()
    assert crowd.cleaned_up == 3


async def test_s_run_3_a_child_that_is_cancelled_writes_nothing_after_the_end_of_its_parent() -> None:
    class Both(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Work:
            ctx.send_event(Work(number=1))
            return Work(number=2)

        @step
        async def work(self, ctx: Context, ev: Work) -> StopEvent:
            if ev.number == 2:
                await crowd.all_begun.wait()
                return StopEvent(result="first")
            return StopEvent(result=await ctx.run_child(crowd))

    crowd = Crowd(nobody)
    with anyio.fail_after(5):
        async with Both().run() as handler:
            events = [event async for event in handler.stream_events(expose_internal=True)]
    assert isinstance(events[-1], StopEvent)
    assert events[-1].result == "first"
    assert crowd.cleaned_up == 3


async def test_s_fail_4_the_clean_up_of_a_child_has_its_time() -> None:
    cleaned: list[str] = []

    async def clean_up(ctx: Context) -> Any:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.02)
            cleaned.append("child")

    async def body(ctx: Context) -> Any:
        try:
            with anyio.move_on_after(0.01):
                await ctx.run_child(Calling(clean_up))
        finally:
            cleaned.append("parent")

    with anyio.fail_after(5):
        await Calling(body).run()
    assert cleaned == ["child", "parent"]


async def test_child_in_a_clean_up_of_an_ended_run_does_no_harm() -> None:
    """A run that is decided notes nothing any more, and a child of it neither."""
    results: list[Any] = []

    async def body(ctx: Context) -> Any:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                results.append(await ctx.run_child(Calling(done)))

    with anyio.fail_after(5):
        async with Calling(body).run(checkpoints=True) as handler:
            await checkpoint()
            await checkpoint()
            await handler.cancel_run()
            handler.checkpoint()
    assert results == [StopEvent(result="done")]


async def test_child_that_outlives_its_execution_is_not_in_the_checkpoints() -> None:
    """It is run in a task group of somebody else's, against the rules; that must not make the history unreadable."""
    child = Asking()

    async with anyio.create_task_group() as tasks:

        class Leaking(Workflow):
            @step
            async def leak(self, ctx: Context, ev: StartEvent) -> Work:
                tasks.start_soon(ctx.run_child, child)
                while not child.begun:
                    await checkpoint()
                return Work()

            @step
            async def end(self, ctx: Context, ev: Work) -> StopEvent:
                handler.send_event(Answer())
                await checkpoint()
                return StopEvent(result="went on")

        with anyio.fail_after(5):
            async with Leaking(extra_events=[Question, Ask]).run(checkpoints=True) as handler:
                assert await handler == "went on"
                tasks.cancel_scope.cancel()
                assert handler.checkpoint().document["pending"] == []
