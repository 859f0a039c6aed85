"""Children ask a human with the voice of their parent, which waits as they do."""

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from nesting import Answer, Asking, AskingInSteps, Fan, Question, asked, idle
from running import Calling
from virtual_time import both_backends, run_virtually

from anyio_workflows import (
    Context,
    HumanResponseEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowRuntimeError,
    WorkflowStepDoesNotExistError,
    WorkflowTimeoutError,
    step,
)

kinds = pytest.mark.parametrize("kind", [Asking, AskingInSteps])
recorded = pytest.mark.parametrize("checkpoints", [False, True], ids=["plain", "recorded"])


@kinds
@recorded
async def test_s_wait_1_an_answer_sent_to_the_parent_finds_the_child(kind: Any, checkpoints: bool) -> None:
    child = kind()
    with anyio.fail_after(5):
        async with Calling(lambda ctx: ctx.run_child(child, who="me")).run(
            checkpoints=checkpoints
        ) as handler:
            await asked(handler, 1)
            handler.send_event(Answer(text="yes"))
            assert (await handler).endswith(": yes")


@kinds
@recorded
async def test_s_wait_2_who_has_asked_first_is_answered_first(kind: Any, checkpoints: bool) -> None:
    """Not who was begun first: a human answers the questions in the order in which they stand there."""
    late, early = anyio.Event(), anyio.Event()

    class Slow(Workflow):
        @step
        async def call(self, ctx: Context, ev: StartEvent) -> StopEvent:
            early.set()
            await late.wait()
            return StopEvent(result=await ctx.run_child(kind(), who=ev.who))

    async def body(ctx: Context, name: str) -> Any:
        if name == "first":
            return f"first {await ctx.run_child(Slow(), who='begun first')}"
        await early.wait()
        return f"second {await ctx.run_child(kind(), who='asks first')}"

    with anyio.fail_after(5):
        async with Fan(body, "first", "second").run(checkpoints=checkpoints) as handler:
            assert await asked(handler, 1) == ["asks first"]
            late.set()
            assert await asked(handler, 2) == ["asks first", "begun first"]
            await checkpoint()
            handler.send_event(Answer(text="one"))
            handler.send_event(Answer(text="two"))
            results = await handler
    assert [result.split(": ")[1] for result in results] == ["two", "one"]


@recorded
async def test_s_wait_2_requirements_say_which_child_is_meant(checkpoints: bool) -> None:
    async def body(ctx: Context, name: str) -> Any:
        return await ctx.run_child(Asking(needs_name=True), who=name)

    names = ["a", "b", "c"]
    with anyio.fail_after(5):
        async with Fan(body, *names).run(checkpoints=checkpoints) as handler:
            await asked(handler, 3)
            for name in reversed(names):
                handler.send_event(Answer(who=name, text=name.upper()))
            assert await handler == ["a: A", "b: B", "c: C"]


async def test_s_wait_2_the_parents_own_wait_comes_before_its_childrens() -> None:
    async def body(ctx: Context, name: str) -> Any:
        if name == "child":
            return await ctx.run_child(Asking(), who="child")
        answer = await ctx.wait_for_event(Answer, waiter_event=Question(who="parent"))
        return f"parent: {answer.text}"

    with anyio.fail_after(5):
        async with Fan(body, "child", "parent").run() as handler:
            await asked(handler, 2)
            await checkpoint()
            handler.send_event(Answer(text="one"))
            handler.send_event(Answer(text="two"))
            assert await handler == ["child: two", "parent: one"]


@kinds
@recorded
@pytest.mark.parametrize("knows", [False, True], ids=["unknown", "known"])
async def test_s_wait_2_an_answer_that_nobody_has_asked_for_is_kept_for_a_child(
    kind: Any,
    checkpoints: bool,
    knows: bool,
) -> None:
    """Before the child is there the parent keeps it, if it knows its class."""
    gate, begun = anyio.Event(), anyio.Event()

    async def inner(ctx: Context) -> Any:
        begun.set()
        await gate.wait()
        return await ctx.run_child(kind(), who="me")

    extra = [Answer, Question]
    middle = Calling(inner, extra_events=extra)
    top = Calling(lambda ctx: ctx.run_child(middle), extra_events=extra if knows else [])
    with anyio.fail_after(5):
        async with top.run(checkpoints=checkpoints) as handler:
            await begun.wait()
            handler.send_event(Answer(text="early"))
            await checkpoint()
            gate.set()
            assert (await handler).endswith(": early")


async def test_s_wait_2_an_answer_of_a_cancelled_child_is_not_given_to_another_run() -> None:
    """A child that is left takes its questions with it."""

    async def body(ctx: Context) -> Any:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ctx.run_child, Asking())
                await began.wait()
                scope.cancel()
        left.set()
        return await ctx.run_child(Asking(), who="second")

    began, left = anyio.Event(), anyio.Event()
    with anyio.fail_after(5):
        async with Calling(body).run() as handler:
            await asked(handler, 1)
            began.set()
            assert await asked(handler, 2) == ["child", "second"]
            handler.send_event(Answer(text="yes"))
            assert await handler == "second: yes"


async def test_s_send_3_a_step_that_is_named_is_one_of_the_parents() -> None:
    with anyio.fail_after(5):
        async with Calling(lambda ctx: ctx.run_child(Asking())).run() as handler:
            await asked(handler, 1)
            with pytest.raises(WorkflowStepDoesNotExistError, match="ask"):
                handler.send_event(Answer(), step="ask")
            with pytest.raises(WorkflowRuntimeError, match="does not accept"):
                handler.send_event(Answer(), step="call")
            handler.send_event(Answer(text="yes"))
            assert await handler == "child: yes"


async def test_s_wait_2_a_grandchild_is_answered_through_all_levels_and_in_turn() -> None:
    deep = Calling(lambda ctx: ctx.run_child(Asking(), who="deep"))

    async def body(ctx: Context, name: str) -> Any:
        return await (ctx.run_child(deep) if name == "deep" else ctx.run_child(Asking(), who=name))

    with anyio.fail_after(5):
        async with Fan(body, "deep", "flat").run() as handler:
            order = await asked(handler, 2)
            await checkpoint()
            handler.send_event(Answer(text="1"))
            handler.send_event(Answer(text="2"))
            results = await handler
    assert sorted(results) == sorted(f"{who}: {number}" for number, who in enumerate(order, 1))


async def test_s_wait_1_any_answer_that_a_keyword_event_is_finds_the_child() -> None:
    class Plain(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            return StopEvent(result=(await ctx.wait_for_event(HumanResponseEvent)).response)

    with anyio.fail_after(5):
        async with Calling(lambda ctx: ctx.run_child(Plain())).run(checkpoints=True) as handler:
            await idle(handler)
            handler.send_event(HumanResponseEvent(response="plain"))
            assert await handler == "plain"


@both_backends
@kinds
def test_s_run_5_time_that_a_child_waits_for_a_human_does_not_count(kind: Any, backend: str) -> None:
    async def body(ctx: Context) -> Any:
        await anyio.sleep(4)
        answer = await ctx.run_child(kind(timeout=5))
        await anyio.sleep(4)
        return answer

    async def main() -> Any:
        async with Calling(body, timeout=10).run() as handler:
            await asked(handler, 1)
            await anyio.sleep(1_000)
            handler.send_event(Answer(text="late"))
            return await handler

    assert run_virtually(main, backend).endswith(": late")


@both_backends
def test_s_run_5_time_that_a_child_works_counts(backend: str) -> None:
    async def main() -> None:
        working = Calling(lambda ctx: anyio.sleep(20))
        with pytest.raises(WorkflowTimeoutError):
            await Calling(lambda ctx: ctx.run_child(working), timeout=10).run()
        assert anyio.current_time() >= 10

    run_virtually(main, backend)


@both_backends
def test_s_run_5_a_parent_rests_also_if_the_step_of_the_child_has_a_timeout(backend: str) -> None:
    """That is a deadline in the task that waits, and none of the parent's."""

    class Bounded(Workflow):
        @step(timeout=5_000)
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            return StopEvent(result=(await ctx.wait_for_event(Answer, waiter_event=Question(who="b"))).text)

    async def main() -> Any:
        async with Calling(lambda ctx: ctx.run_child(Bounded()), timeout=10).run() as handler:
            await asked(handler, 1)
            await anyio.sleep(1_000)
            handler.send_event(Answer(text="late"))
            return await handler

    assert run_virtually(main, backend) == "late"


@both_backends
def test_s_run_4_a_parent_with_a_deadline_around_its_child_does_not_rest(backend: str) -> None:
    """It has something else to do by then: its time goes on."""

    seconds = 5

    async def body(ctx: Context) -> Any:
        with anyio.move_on_after(seconds):
            return await ctx.run_child(Asking())
        return "moved on"

    async def main() -> Any:
        return await Calling(body, timeout=10).run()

    assert run_virtually(main, backend) == "moved on"
    seconds = 20
    with pytest.raises(WorkflowTimeoutError):
        run_virtually(main, backend)


@both_backends
def test_s_wait_2_a_wait_of_a_child_has_a_timeout_and_the_run_goes_on_by_it(backend: str) -> None:
    class Bounded(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            with pytest.raises(TimeoutError):
                await ctx.wait_for_event(Answer, timeout=30)
            return StopEvent(result="gave up")

    async def main() -> Any:
        return await Calling(lambda ctx: ctx.run_child(Bounded()), timeout=10).run()

    assert run_virtually(main, backend) == "gave up"
