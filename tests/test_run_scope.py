"""S-RUN-1: a run is a scope; how soon what is in it ends."""

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from running import Abort, Crowd, Echo, Held, Passes, Work, never

from anyio_workflows import (
    Context,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowHandler,
    WorkflowTimeoutError,
    step,
)


async def _returns(ctx: Context) -> StopEvent:
    return StopEvent(result="done")


async def _raises(ctx: Context) -> StopEvent:
    raise ValueError("no")


async def _aborts(ctx: Context) -> StopEvent:
    raise Abort


def _others() -> set[int]:
    return {task.id for task in anyio.get_running_tasks()}


async def test_s_run_1_the_limiter_of_a_step_has_num_workers_tokens() -> None:
    """The limiter is a real one, one per step and run."""
    flow = Held()
    async with flow.run() as first, flow.run() as second:
        with anyio.fail_after(5):
            await flow.begun.wait()
        assert first.limiter("hold").total_tokens == 4
        assert first.limiter("hold").borrowed_tokens == 1
        assert first.limiter("hold") is not second.limiter("hold")
        flow.gate.set()


@pytest.mark.parametrize("last", [_returns, _raises, _aborts])
@pytest.mark.parametrize("way", ["await", "async with", "serve"])
async def test_s_run_1_no_task_is_left_when_the_run_has_decided_itself(
    way: str, last: Callable[[Context], Awaitable[StopEvent]]
) -> None:
    """Whichever way control leaves the run: by its result or by its failure."""
    flow = Crowd(last)
    before = _others()
    with anyio.fail_after(5):
        try:
            await _run(flow.run(), way)
        except* (ValueError, Abort):
            assert last is not _returns
        else:
            assert last is _returns
    assert _others() == before
    assert (flow.begun, flow.cleaned_up) == (3, 3)


async def _run(handler: WorkflowHandler, way: str) -> None:
    if way == "await":
        await handler
    elif way == "async with":
        async with handler:
            pass
    else:
        async with anyio.create_task_group() as tasks:
            await tasks.start(handler.serve)


@pytest.mark.parametrize("way", ["await", "async with", "serve"])
async def test_s_run_1_no_task_is_left_when_the_caller_is_cancelled(way: str) -> None:
    flow = Crowd(never)
    before = _others()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_run, flow.run(), way)
            await flow.all_begun.wait()
            tasks.cancel_scope.cancel()
    assert _others() == before
    assert (flow.begun, flow.cleaned_up) == (3, 3)


async def test_s_run_1_no_task_is_left_when_the_run_times_out() -> None:
    flow = Crowd(never)
    before = _others()
    with anyio.fail_after(5), pytest.raises(WorkflowTimeoutError):
        await flow.run(timeout=0.02)
    assert _others() == before
    assert flow.cleaned_up == flow.begun


async def test_s_run_1_no_task_is_left_when_the_body_raises_or_cancels_the_run() -> None:
    before = _others()
    for ends in ("raises", "cancels"):
        flow = Crowd(never)
        handler = flow.run()
        with anyio.fail_after(5):
            try:
                async with handler:
                    await flow.all_begun.wait()
                    if ends == "raises":
                        raise KeyError(ends)
                    await handler.cancel_run()
                    assert flow.cleaned_up == 3
            except KeyError:
                assert ends == "raises"
        assert _others() == before
        assert (flow.begun, flow.cleaned_up) == (3, 3)


async def test_s_run_1_a_step_that_was_queued_but_never_began_leaves_nothing() -> None:
    """A run that ends with tasks which were started and have not run yet closes their coroutines."""

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent | Work:
            for number in range(3):
                ctx.send_event(Work(number=number))
            return StopEvent(result="at once")

        @step
        async def work(self, ev: Work) -> None:
            begun.append(ev.number)

    begun: list[int] = []
    assert await Flow().run() == "at once"
    assert begun == []


# --- how soon


async def _until_cancelled(run: Callable[[], Any]) -> None:
    with anyio.fail_after(5), anyio.CancelScope() as scope:
        scopes.append(scope)
        await run()
    assert scope.cancelled_caught
    scopes.clear()


scopes: list[anyio.CancelScope] = []


class Endless(Workflow):
    """Sends itself on for ever, and never suspends; cancels its caller in execution 100."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds
        self.after = -100

    @step
    async def begin(self, ev: StartEvent) -> Work:
        return Work()

    @step
    async def again(self, ev: Work) -> Work | StopEvent:
        self.after += 1
        if self.after == 0:
            scopes[-1].cancel()
        if self.seconds and self.after >= 0:
            end = perf_counter() + self.seconds
            while perf_counter() < end:
                pass
        return Work() if self.after < 100_000 else StopEvent()


@pytest.mark.parametrize("way", ["await", "async with", "serve"])
async def test_s_run_1_steps_that_never_suspend_are_cancelled_within_16_hops(way: str) -> None:
    """A pipeline whose steps never wait must still notice that nobody wants it any more."""
    flow = Endless()
    await _until_cancelled(lambda: _run(flow.run(), way))
    assert 0 <= flow.after <= 16


async def test_s_run_1_a_body_longer_than_a_millisecond_is_the_last_before_cancellation() -> None:
    """The stretch is bounded in time too: 16 slow bodies would be long."""
    flow = Endless(seconds=0.003)
    await _until_cancelled(lambda: _run(flow.run(), "await"))
    assert flow.after <= 1


@pytest.mark.parametrize("call", ["get", "set", "edit_state", "send"])
async def test_s_run_1_a_step_that_only_awaits_its_context_is_cancelled_within_16_hops(call: str) -> None:
    """Every await on a Context counts as a hop, else a loop over the state could not be cancelled."""
    after = -100

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Work | StopEvent:
            nonlocal after
            while after < 100_000:
                after += 1
                if after == 0:
                    scopes[-1].cancel()
                if call == "get":
                    await ctx.store.get("absent", default=None)
                elif call == "set":
                    await ctx.store.set("count", after)
                elif call == "edit_state":
                    async with ctx.store.edit_state():
                        pass
                else:
                    await ctx.send(Work())
            return StopEvent()

        @step(num_workers=1, max_pending=1_000_000)
        async def work(self, ev: Work) -> None: ...

    await _until_cancelled(lambda: _run(Flow().run(), "await"))
    assert 0 <= after <= 17


async def test_s_run_1_other_tasks_have_their_turn_while_a_pipeline_never_suspends() -> None:
    """A server that embeds a run goes on serving: one pass at the latest after 16 hops."""

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Work:
            return Work(number=0)

        @step
        async def again(self, ev: Work) -> Work | StopEvent:
            return Work(number=ev.number + 1) if ev.number < 1600 else StopEvent()

    passes = Passes()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(passes.tick)
            await checkpoint()
            before = passes.count
            await Flow().run()
            passes.is_over = True
    assert passes.count - before >= 90  # of 1,600 executions


class Prompt(Workflow):
    """Three workers, blocked; notes at which pass each clean-up ran."""

    def __init__(self, last: Callable[[], object], passes: Passes) -> None:
        super().__init__()
        self.last = last
        self.passes = passes
        self.begun = 0
        self.all_begun = anyio.Event()
        self.decided_at = 0
        self.cleaned_up_at: list[int] = []

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent | Work:
        for number in range(3):
            ctx.send_event(Work(number=number))
        await self.all_begun.wait()
        self.decided_at = self.passes.count
        try:
            self.last()
            if self.last is not _do_nothing:
                await anyio.sleep_forever()
        finally:
            self.cleaned_up_at.append(self.passes.count)
        return StopEvent()

    @step
    async def stay(self, ev: Work) -> None:
        self.begun += 1
        if self.begun == 3:
            self.all_begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.cleaned_up_at.append(self.passes.count)


def _do_nothing() -> None: ...


def _cancel_caller() -> None:
    scopes[-1].cancel()


def _fail() -> None:
    raise ValueError("no")


@pytest.mark.parametrize("last", [_do_nothing, _fail, _cancel_caller])
async def test_s_run_1_blocked_steps_are_cancelled_in_the_pass_after_the_decision(
    last: Callable[[], object],
) -> None:
    """A StopEvent with others running, a failing step, a cancelled caller: clean-ups run at once."""
    passes = Passes()
    flow = Prompt(last, passes)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(passes.tick)
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                try:
                    await flow.run()
                except ValueError:
                    assert last is _fail
            ended_at = passes.count
            passes.is_over = True
    scopes.clear()
    assert len(flow.cleaned_up_at) == 4
    # A cancelled task is woken in one pass; trio and asyncio may begin it in the next.
    assert max(flow.cleaned_up_at) - flow.decided_at <= 2
    # Its end wakes the task group in another pass, and that the caller.
    assert ended_at - flow.decided_at <= 5


async def test_s_run_1_a_deadline_of_the_callers_cancels_blocked_steps_at_once() -> None:
    async def last(ctx: Context) -> StopEvent:
        caller.deadline = anyio.current_time() + 0.01
        await anyio.sleep_forever()
        return StopEvent()

    flow = Crowd(last)
    with pytest.raises(TimeoutError), anyio.fail_after(5) as caller:
        await flow.run()
    assert (flow.begun, flow.cleaned_up) == (3, 3)


async def test_s_run_1_a_run_that_needs_no_task_starts_none() -> None:
    """The calling task is the first worker; a run without concurrency costs no task."""
    tasks_seen: list[set[int]] = []

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Work:
            tasks_seen.append(_others())
            return Work()

        @step
        async def end(self, ev: Work) -> StopEvent:
            await checkpoint()
            tasks_seen.append(_others())
            return StopEvent()

    before = _others()
    await Flow().run()
    assert tasks_seen == [before, before]


async def test_s_run_1_runs_of_one_workflow_share_nothing_that_ends_with_one() -> None:
    """One run that is cancelled takes nothing of another with it."""
    flow = Held()
    with anyio.fail_after(5):
        async with flow.run() as second:
            async with flow.run() as first:
                await flow.begun.wait()
                await first.cancel_run()
            with pytest.raises(WorkflowCancelledByUser):
                await first
            assert not second.is_done()
            flow.gate.set()
            assert await second == "let go"
    assert await Echo().run(value=1) == 1
