"""The checkpoints of a run have its children in them: each is a starting point for both (S-CKPT)."""

from functools import partial
from typing import Any

import anyio
import pytest
from durable import settled
from nesting import Answer, Ask, Asking, Counted, Question, Said, all_of, asked, several
from running import Calling
from test_child import FailsOnce

from anyio_workflows import (
    Checkpoint,
    ChildEvent,
    Context,
    RetryPolicy,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCheckpointer,
    step,
)
from anyio_workflows._run.recorded_run import RecordedRun


class Family(Workflow):
    """Two children in turn, at once or below each other; `counted` is what they all are."""

    def __init__(self, how: str = "in turn") -> None:
        super().__init__()
        self.how = how
        self.counted = Counted()

    @step
    async def call(self, ctx: Context, ev: StartEvent) -> StopEvent:
        if self.how == "below":
            below = Family()
            below.counted = self.counted
            return StopEvent(result=await ctx.run_child(below))
        calls = [partial(ctx.run_child, self.counted, who=who) for who in ("one", "two")]
        if self.how == "at once":
            return StopEvent(result=await several(*calls))
        return StopEvent(result=[await call() for call in calls])


def cuts_of(handler: Any) -> list[Checkpoint]:
    """Return every cut of a run, those included that leave no entry."""
    run = handler._run
    assert isinstance(run, RecordedRun)
    return [run.entries.checkpoint(cut) for cut in run.recording.history.cuts]


@pytest.mark.parametrize("how", ["in turn", "at once", "below"])
async def test_s_ckpt_5_every_cut_in_a_child_is_a_starting_point(how: str) -> None:
    workflow = Family(how)
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    with anyio.fail_after(10):
        handler = checkpointer.run()
        assert await handler == ["one 2", "two 2"]
        cuts = cuts_of(handler)
        assert len(cuts) >= 8
        in_child = 0
        for cut in cuts:
            workflow.counted.ran.clear()
            read = checkpointer.loads(checkpointer.dumps(cut))
            assert await checkpointer.run_from(read) == ["one 2", "two 2"]
            in_child += 0 < len(workflow.counted.ran) < 4
        assert workflow.counted.ran == []
        assert in_child, "what a child had done was not done again"


async def test_s_ckpt_4_a_child_has_the_state_it_was_cut_with_and_its_changes_once() -> None:
    """A counter is counted once, also by the step that the child was cut in."""
    counted, gate = Counted(), anyio.Event()
    held = anyio.Event()

    class Slow(Counted):
        @step
        async def second(self, ctx: Context, ev: Said) -> StopEvent:
            await self.count(ctx, "second")
            held.set()
            await gate.wait()
            return StopEvent(result=await ctx.store.get("count"))

    del counted
    workflow = Calling(lambda ctx: ctx.run_child(Slow(), state={"count": 40}))
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            await held.wait()
            checkpoint = handler.checkpoint()
            await handler.cancel_run()
        gate.set()
        assert await checkpointer.run_from(checkpoint) == 42


async def test_s_ckpt_4_children_at_once_go_on_each_where_it_was_in_whatever_order_they_come() -> None:
    """They have no names, and a number counted over the calls would give one the place of the other."""
    gate, turned = anyio.Event(), False

    class Pair(Workflow):
        @step
        async def call(self, ctx: Context, ev: StartEvent) -> StopEvent:
            results: dict[str, Any] = {}

            async def one(who: str) -> None:
                results[who] = await ctx.run_child(Asking(needs_name=True), who=who)

            async with anyio.create_task_group() as tasks:
                names = ["a", "b", "c"]
                for who in reversed(names) if turned else names:
                    tasks.start_soon(one, who)
                    await settled()
            return StopEvent(result=results)

    checkpointer = WorkflowCheckpointer(workflow=Pair())
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            await asked(handler, 3)
            handler.send_event(Answer(who="b", text="B"))
            await settled()
            checkpoint = handler.checkpoint()
            await handler.cancel_run()
        turned = True
        gate.set()
        async with checkpointer.run_from(checkpoint) as handler:
            assert await asked(handler, 2) == ["c", "a"]
            handler.send_event(Answer(who="a", text="A"))
            handler.send_event(Answer(who="c", text="C"))
            assert await handler == {"a": "a: A", "b": "b: B", "c": "c: C"}


async def test_s_ckpt_4_a_child_that_has_ended_says_nothing_again() -> None:
    workflow = Calling(body_of_two, extra_events=[Question, Answer])
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            await asked(handler, 1)
            checkpoint = handler.checkpoint()
            await handler.cancel_run()
        async with checkpointer.run_from(checkpoint) as handler:
            await asked(handler, 1)
            handler.send_event(Answer(text="yes"))
            events = await all_of(handler)
    assert [each.namespace for each in events if isinstance(each, ChildEvent)] == [("Asking",)]
    assert events[-1] == StopEvent(result=["first 2", "child: yes"])


async def body_of_two(ctx: Context) -> Any:
    return [await ctx.run_child(Counted(), who="first"), await ctx.run_child(Asking())]


async def test_s_ckpt_1_nothing_but_its_end_is_kept_of_a_child_that_has_ended() -> None:
    """One execution may run thousands of them."""

    async def body(ctx: Context) -> Any:
        sizes = []
        for number in range(20):
            await ctx.run_child(Counted(), who=f"{number:02}", state={"much": "x" * 10_000})
            sizes.append(len(str(handler.checkpoint().document)))
        return sizes

    with anyio.fail_after(5):
        async with Calling(body).run(checkpoints=True) as handler:
            sizes = await handler
    assert sizes[-1] - sizes[0] < 20_000


async def test_s_fail_2_children_that_ended_before_a_restart_are_not_run_again_by_a_retry_after_it() -> None:
    """Also if the attempt after the restart fails before it comes to them."""
    counted, fails = Counted(), {2, 3}
    attempts = 0

    class Restarted(Workflow):
        @step(retry_policy=RetryPolicy())
        async def call(self, ctx: Context, ev: StartEvent) -> StopEvent:
            nonlocal attempts
            attempts += 1
            if attempts in fails:
                raise ValueError(attempts)
            result = await ctx.run_child(counted, who="once")
            if attempts == 1:
                held.set()
                await anyio.sleep_forever()
            return StopEvent(result=result)

    held = anyio.Event()
    checkpointer = WorkflowCheckpointer(workflow=Restarted())
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            await held.wait()
            checkpoint = handler.checkpoint()
            await handler.cancel_run()
        assert await checkpointer.run_from(checkpoint) == "once 2"
    assert attempts == 4
    assert counted.ran == ["first once", "second once"]


async def test_s_fail_2_a_child_that_failed_begins_anew_in_the_next_attempt_also_after_a_restart() -> None:
    child, attempts = FailsOnce(), 0

    class Restarted(Workflow):
        @step(retry_policy=RetryPolicy())
        async def call(self, ctx: Context, ev: StartEvent) -> StopEvent:
            nonlocal attempts
            attempts += 1
            if attempts == 2:
                held.set()
                await anyio.sleep_forever()
            return StopEvent(result=await ctx.run_child(child))

    held = anyio.Event()
    checkpointer = WorkflowCheckpointer(workflow=Restarted())
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            await held.wait()
            checkpoint = handler.checkpoint()
            await handler.cancel_run()
        assert await checkpointer.run_from(checkpoint) == "done"
    assert child.ran == ["first", "second"] * 2


# --- idempotency keys


class Keys(Workflow):
    """Gives the key of its only execution."""

    @step
    async def key(self, ctx: Context, ev: Ask) -> StopEvent:
        return StopEvent(result=ctx.idempotency_key)


async def test_s_ckpt_5_idempotency_keys_of_children_are_distinct_and_the_same_when_run_again() -> None:
    held = anyio.Event()
    names = ["a", "b"]
    lives: list[dict[str, str]] = []

    async def body(ctx: Context) -> Any:
        keys = {"parent": ctx.idempotency_key}
        for who in names:
            keys[who] = await ctx.run_child(Keys(), who=who)
            keys[f"{who} named"] = await ctx.run_child(Keys(), who=who, namespace=who)
        keys["a again"] = await ctx.run_child(Keys(), who="a")
        below = Calling(lambda inner: inner.run_child(Keys(), who="a"))
        keys["below"] = await ctx.run_child(below)
        lives.append(keys)
        if not held.is_set():
            held.set()
            await anyio.sleep_forever()

    checkpointer = WorkflowCheckpointer(workflow=Calling(body))
    with anyio.fail_after(5):
        async with checkpointer.run(run_id="r") as handler:
            await held.wait()
            first = cuts_of(handler)[0]
            await handler.cancel_run()
        names.reverse()
        await checkpointer.run_from(first)
    assert len(set(lives[0].values())) == len(lives[0]) == 7
    assert lives[1] == lives[0]
