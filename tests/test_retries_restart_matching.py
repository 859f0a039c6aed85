"""What the attempts before a restart did is matched by those after it, in the attempt that was cut and in the next."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import attrs
import pytest
from retrying import FOR_EVER, Flaky, Result, Work
from tenacity import stop_never, wait_fixed
from test_retries_waits import Answer, Question

from anyio_workflows import (
    Checkpoint,
    Context,
    Event,
    RetryPolicy,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCheckpointer,
    WorkflowStalledError,
    step,
)

HOURLY = RetryPolicy(wait=wait_fixed(3600), stop=stop_never)


class Late(Event):
    number: int = 0


class Tried(Workflow):
    """One step that does what `body` does; `came` has what it has sent, `keys` the keys of all executions."""

    def __init__(self, body: Callable[["Tried", Context, int], Any]) -> None:
        super().__init__(extra_events=[Question, Answer, Late])
        self.body = body
        self.came: list[Any] = []
        self.keys: dict[str, set[str]] = {}
        self.reached = anyio.Event()
        self.opened = anyio.Event()

    @step(retry_policy=FOR_EVER, waits_for=Answer)
    async def work(self, ctx: Context, ev: StartEvent) -> StopEvent | Work | Late | Question | None:
        self.keys.setdefault("work", set()).add(ctx.idempotency_key)
        result = await self.body(self, ctx, ctx.retry_info().retry_number)
        return None if result is None else StopEvent(result=result)

    @step
    async def receive(self, ctx: Context, ev: Work | Late) -> None:
        self.keys.setdefault(repr(ev), set()).add(ctx.idempotency_key)
        self.came.append(ev.number)

    async def gate(self) -> None:
        self.reached.set()
        await self.opened.wait()


async def cut(workflow: Tried) -> tuple[WorkflowCheckpointer, Checkpoint]:
    """Return a cut at the gate, of a run that goes no further; what goes on from it finds the gate open."""
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    with anyio.fail_after(5):
        async with checkpointer.run(run_id="r") as handler:
            await workflow.reached.wait()
            await anyio.wait_all_tasks_blocked()
            checkpoint = handler.checkpoint()
            await handler.cancel_run()
    workflow.opened.set()
    return checkpointer, checkpointer.loads(checkpointer.dumps(checkpoint))


async def stalled(checkpointer: WorkflowCheckpointer, checkpoint: Checkpoint) -> None:
    with anyio.fail_after(5), pytest.raises(WorkflowStalledError):
        await checkpointer.run_from(checkpoint)


async def test_s_ckpt_4_what_was_sent_before_a_restart_is_sent_by_no_later_attempt() -> None:
    """Neither in the attempt that was cut nor in those that fail after it."""

    async def body(self: Tried, ctx: Context, attempt: int) -> None:
        ctx.send_event(Work(number=1))
        if not attempt:
            raise Flaky
        ctx.send_event(Work(number=2))
        await self.gate()
        ctx.send_event(Work(number=3))
        if attempt < 3:
            raise Flaky

    workflow = Tried(body)
    checkpointer, checkpoint = await cut(workflow)
    assert checkpoint.pending[0].sent == (Work(number=1), Work(number=2))
    await stalled(checkpointer, checkpoint)
    assert workflow.came == [1, 2, 3]


async def test_s_ckpt_5_a_key_is_the_same_in_every_attempt_and_differs_for_what_another_attempt_sends() -> (
    None
):
    """Two attempts that send different events in the same place have caused different executions."""

    async def body(self: Tried, ctx: Context, attempt: int) -> None:
        ctx.send_event(Work(number=attempt))
        if attempt == 1:
            await self.gate()
        if attempt < 3:
            raise Flaky

    workflow = Tried(body)
    checkpointer, checkpoint = await cut(workflow)
    assert sorted(workflow.came) == [0, 1]
    await stalled(checkpointer, checkpoint)
    assert sorted(workflow.came) == [0, 1, 2, 3]
    assert len(workflow.keys.pop("work")) == 1
    assert [len(keys) for keys in workflow.keys.values()] == [1] * 4
    assert len(set.union(*workflow.keys.values())) == 4


async def test_s_ckpt_5_a_key_does_not_depend_on_the_attempt_that_has_sent() -> None:
    """What is sent after the failed sends has the key that it has when there was no failure: it may have been lost."""

    async def body(self: Tried, ctx: Context, attempt: int) -> None:
        for number in range(3):
            if number == 2:
                await self.gate()
            ctx.send_event(Work(number=number))
            if number == attempt and attempt < fails:
                raise Flaky

    fails = 0
    smooth = Tried(body)
    smooth.opened.set()
    with anyio.fail_after(5), pytest.raises(WorkflowStalledError):
        await WorkflowCheckpointer(workflow=smooth).run(run_id="r")
    fails = 2
    rough = Tried(body)
    await stalled(*(await cut(rough)))
    assert rough.came == smooth.came == [0, 1, 2]
    assert rough.keys == smooth.keys


@pytest.mark.parametrize("has_changed", [False, True])
async def test_s_state_4_changes_of_the_attempt_that_was_cut_are_matched_and_those_of_failed_ones_stay(
    *, has_changed: bool
) -> None:
    async def body(self: Tried, ctx: Context, attempt: int) -> Any:
        if attempt == 1 and not has_changed:
            await self.gate()
        async with ctx.store.edit_state() as state:
            state["n"] = state.get("n", 0) + 1
        if attempt == 1:
            await self.gate()
        if attempt < 3:
            raise Flaky
        return await ctx.store.get("n")

    checkpointer, checkpoint = await cut(Tried(body))
    assert checkpoint.state.n == 1 + has_changed
    with anyio.fail_after(5):
        assert await checkpointer.run_from(checkpoint) == 4


# --- collections


class Gathering(Workflow):
    """What `slow` puts in, `quick` takes; then `slow` fails, is cut in its delay, and goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.put = anyio.Event()
        self.taken = anyio.Event()

    @step
    async def split(self, ctx: Context, ev: StartEvent) -> Work | None:
        ctx.send_event(Work(number=0))
        ctx.send_event(Work(number=1))
        return None

    @step(retry_policy=FOR_EVER)
    async def gather(self, ctx: Context, ev: Work) -> Result | None:
        if ev.number:
            await self.put.wait()
        batch = ctx.collect_events(ev, [Work] * 2)
        if ev.number:
            self.taken.set()
            return None if batch is None else Result(number=len(batch))
        self.put.set()
        await self.taken.wait()
        if not ctx.retry_info().retry_number:
            raise Flaky
        await anyio.sleep_forever()
        return None

    @step
    async def end(self, ev: Result) -> StopEvent | None:
        return None


async def test_s_col_5_what_another_execution_took_is_put_in_by_no_later_attempt() -> None:
    checkpointer = WorkflowCheckpointer(workflow=Gathering())
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            await anyio.wait_all_tasks_blocked()
            checkpoint = handler.checkpoint()
            await handler.cancel_run()
        assert Counter(pending.attempt for pending in checkpoint.pending) == {2: 1}
        assert checkpoint.collections == ()
        async with checkpointer.run_from(checkpoint) as handler:
            await anyio.wait_all_tasks_blocked()
            assert handler.checkpoint().collections == ()
            buffers = handler._run.inbox("gather").buffers
            assert [buffer.size for buffer in (buffers or {}).values()] == [0]
            await handler.cancel_run()


async def test_s_col_5_what_a_failed_attempt_has_put_in_is_once_in_a_cut_after_its_end() -> None:
    class Counting(Workflow):
        @step(retry_policy=FOR_EVER)
        async def gather(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
            ctx.collect_events(ev, [StartEvent] * 2)
            if ctx.retry_info().retry_number < 2:
                raise Flaky
            return None

    with anyio.fail_after(5):
        handler = WorkflowCheckpointer(workflow=Counting()).run()
        with pytest.raises(WorkflowStalledError):
            await handler
    (collection,) = handler.checkpoint().collections
    assert collection.events == (StartEvent(),)


async def test_s_ckpt_2_a_checkpoint_with_a_retry_is_a_frozen_value() -> None:
    async def body(self: Tried, ctx: Context, attempt: int) -> None:
        if not attempt:
            raise Flaky
        await self.gate()

    checkpointer, checkpoint = await cut(Tried(body))
    (pending,) = checkpoint.pending
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        pending.attempt = 1  # type: ignore[misc]  # the mistake
    was = checkpointer.dumps(checkpoint)
    await stalled(checkpointer, checkpoint)
    assert checkpointer.dumps(checkpoint) == was
