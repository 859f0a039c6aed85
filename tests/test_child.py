"""A workflow run as a part of an execution: what it gives, what it fails with, and what it is not."""

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from nesting import Ask, Asking, Counted, Result, Saying, several
from running import Calling, Echo, Failing, Work

from anyio_workflows import (
    Context,
    EventFieldsError,
    RetryPolicy,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Workflow,
    WorkflowRuntimeError,
    WorkflowStalledError,
    WorkflowTimeoutError,
    catch_error,
    step,
)


async def test_s_run_2_a_child_gives_its_result() -> None:
    async def body(ctx: Context) -> Any:
        return await ctx.run_child(Echo(), value=3), await ctx.run_child(Echo(), StartEvent(value=4))

    with anyio.fail_after(5):
        assert await Calling(body).run() == (3, 4)


async def test_child_with_a_stop_event_of_its_own_gives_that_event() -> None:
    async def body(ctx: Context) -> Any:
        return await ctx.run_child(Saying(), Ask(who="a"))

    with anyio.fail_after(5):
        assert await Calling(body).run() == Result(text="a")


async def test_s_state_3_child_and_parent_have_states_of_their_own() -> None:
    async def body(ctx: Context) -> Any:
        await ctx.store.set("count", 10)
        one = await ctx.run_child(Counted(), who="new")
        other = await ctx.run_child(Counted(), who="given", state={"count": 5})
        return one, other, await ctx.store.get("count")

    with anyio.fail_after(5):
        assert await Calling(body).run() == ("new 2", "given 7", 10)


async def test_child_is_run_with_the_context_variables_of_the_step_and_changes_none() -> None:
    """S-RUN-6, one level down: current_run among them, so a child's step may not wait for the parent."""
    raised: list[BaseException] = []

    async def inner(ctx: Context) -> Any:
        try:
            await handler
        except WorkflowRuntimeError as error:
            raised.append(error)
        return "inner"

    async def body(ctx: Context) -> Any:
        return await ctx.run_child(Calling(inner))

    with anyio.fail_after(5):
        handler = Calling(body).run()
        assert await handler == "inner"
    assert "inside itself" in str(raised[0])


async def test_s_fail_1_child_fails_with_its_own_exception_which_names_both_steps() -> None:
    error = ValueError("no")

    async def body(ctx: Context) -> Any:
        return await ctx.run_child(Failing(), error=error)

    handler = Calling(body).run()
    with anyio.fail_after(5), pytest.raises(ValueError, match="no") as caught:
        await handler
    assert caught.value is error
    notes = "\n".join(error.__notes__)
    assert "'fail' of Failing" in notes
    assert "'call' of Calling" in notes
    assert handler.failures == (error,)


async def test_child_that_failed_is_the_steps_to_handle() -> None:
    async def body(ctx: Context) -> Any:
        try:
            await ctx.run_child(Failing(), error=ValueError("no"))
        except ValueError:
            return await ctx.run_child(Echo(), value="instead")

    handler = Calling(body).run()
    with anyio.fail_after(5):
        assert await handler == "instead"
    assert handler.failures == ()


class Caught(Workflow):
    """Runs a child in a step whose failures are handled."""

    @step
    async def call(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent(result=await ctx.run_child(Failing(), error=ValueError("no")))

    @catch_error
    async def recover(self, ev: StepFailedEvent) -> StopEvent:
        return StopEvent(result=f"recovered from {ev.exception}")


async def test_s_fail_3_a_handler_of_the_parent_takes_the_failure_of_a_child() -> None:
    with anyio.fail_after(5):
        assert await Caught().run() == "recovered from no"


class Retrying(Workflow):
    """Its step fails twice between two children."""

    def __init__(self) -> None:
        super().__init__()
        self.counted = Counted()
        self.attempts = 0

    @step(retry_policy=RetryPolicy())
    async def call(self, ctx: Context, ev: StartEvent) -> StopEvent:
        self.attempts += 1
        one = await ctx.run_child(self.counted, who="one")
        two = await ctx.run_child(self.counted, who="two", namespace="second")
        if self.attempts < 3:
            raise ValueError(self.attempts)
        return StopEvent(result=[one, two])


@pytest.mark.parametrize("checkpoints", [False, True])
async def test_s_fail_2_children_that_have_ended_are_not_run_again_by_a_retry(checkpoints: bool) -> None:
    workflow = Retrying()
    with anyio.fail_after(5):
        assert await workflow.run(checkpoints=checkpoints) == ["one 2", "two 2"]
    assert workflow.attempts == 3
    assert workflow.counted.ran == ["first one", "second one", "first two", "second two"]


class Flaky(Workflow):
    """Its child fails in its second step, once."""

    def __init__(self) -> None:
        super().__init__()
        self.child = FailsOnce()

    @step(retry_policy=RetryPolicy())
    async def call(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent(result=await ctx.run_child(self.child))


class FailsOnce(Workflow):
    def __init__(self) -> None:
        super().__init__()
        self.ran: list[str] = []

    @step
    async def first(self, ev: StartEvent) -> Work:
        self.ran.append("first")
        return Work()

    @step
    async def second(self, ev: Work) -> StopEvent:
        self.ran.append("second")
        if len(self.ran) < 4:
            raise ValueError("once")
        return StopEvent(result="done")


@pytest.mark.parametrize("checkpoints", [False, True])
async def test_s_fail_2_a_child_that_has_not_ended_begins_anew_in_the_next_attempt(checkpoints: bool) -> None:
    workflow = Flaky()
    with anyio.fail_after(5):
        assert await workflow.run(checkpoints=checkpoints) == "done"
    assert workflow.child.ran == ["first", "second"] * 2


async def test_child_tasks_of_a_retried_step_find_the_children_of_their_own_start_events() -> None:
    """In whatever order they come: a number counted over the calls would give one the result of another."""
    counted, attempts = Counted(), 0

    class Many(Workflow):
        @step(retry_policy=RetryPolicy())
        async def call(self, ctx: Context, ev: StartEvent) -> StopEvent:
            nonlocal attempts
            attempts += 1
            names = ["a", "b", "c"]
            order = names if attempts == 1 else names[::-1]
            results = {name: await ctx.run_child(counted, who=name) for name in order}
            if attempts == 1:
                raise ValueError
            return StopEvent(result=results)

    with anyio.fail_after(5):
        assert await Many().run() == {"a": "a 2", "b": "b 2", "c": "c 2"}
    assert len(counted.ran) == 6


async def test_s_run_5_a_child_has_the_timeout_it_is_given_and_its_own() -> None:
    async def wait(ctx: Context) -> Any:
        await anyio.sleep_forever()

    async def body(ctx: Context) -> Any:
        with pytest.raises(WorkflowTimeoutError, match="call"):
            await ctx.run_child(Calling(wait, timeout=0.01))
        with pytest.raises(WorkflowTimeoutError, match="call"):
            await ctx.run_child(Calling(wait), timeout=0.01)
        return "after"

    with anyio.fail_after(5):
        assert await Calling(body).run() == "after"


async def test_s_run_4_a_child_that_can_not_go_on_is_a_stall_of_its_own() -> None:
    class Stalling(Workflow):
        @step
        async def collect(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
            return None if ctx.collect_events(ev, [StartEvent] * 2) is None else StopEvent()

    async def body(ctx: Context) -> Any:
        with pytest.raises(WorkflowStalledError, match="1 of 2 StartEvent"):
            await ctx.run_child(Stalling())
        return "after"

    with anyio.fail_after(5):
        assert await Calling(body).run() == "after"


async def test_child_tasks_of_a_step_run_children_at_once() -> None:
    """Proved by their meeting: each waits until the other has begun."""
    begun = {"a": anyio.Event(), "b": anyio.Event()}

    async def meet(ctx: Context) -> Any:
        me = await ctx.store.get("me")
        begun[me].set()
        await begun["b" if me == "a" else "a"].wait()
        return me

    async def body(ctx: Context) -> Any:
        child = Calling(meet)
        return await several(
            *(lambda me=me: ctx.run_child(child, namespace=me, state={"me": me}) for me in "ab")
        )

    with anyio.fail_after(5):
        assert await Calling(body).run() == ["a", "b"]


class Countdown(Workflow):
    """Runs itself as its child."""

    @step
    async def count(self, ctx: Context, ev: StartEvent) -> StopEvent:
        below = await ctx.run_child(self, n=ev.n - 1) if ev.n else []
        return StopEvent(result=[ev.n, *below])


@pytest.mark.parametrize("checkpoints", [False, True])
async def test_child_may_be_a_run_of_the_workflow_itself(checkpoints: bool) -> None:
    with anyio.fail_after(5):
        assert await Countdown().run(n=5, checkpoints=checkpoints) == [5, 4, 3, 2, 1, 0]


async def test_s_run_2_a_child_for_which_only_its_parent_has_a_place_is_an_error() -> None:
    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError, match="would go on for ever"):
        await Countdown(num_concurrent_runs=3).run(n=3)


async def test_s_run_2_a_child_waits_for_a_place_that_others_hold() -> None:
    one_at_a_time, gate = Calling(lambda ctx: gate.wait(), num_concurrent_runs=1), anyio.Event()

    async def body(ctx: Context) -> Any:
        await ctx.run_child(one_at_a_time)
        return "had its turn"

    with anyio.fail_after(5):
        async with one_at_a_time.run(), Calling(body).run() as handler:
            for _ in range(10):
                await checkpoint()
            assert not handler.is_done()
            gate.set()
            assert await handler == "had its turn"


# --- wrong use


WRONG: list[tuple[Any, dict[str, Any], str]] = [
    (Echo, {}, "give a Workflow"),
    ("Echo", {}, "give a Workflow"),
    (Echo(), {"namespace": ""}, "namespace=''"),
    (Echo(), {"namespace": 3}, "namespace=3"),
    (Echo(), {"run_id": "x", "observers": []}, "run_id, observers"),
    (Echo(), {"checkpoints": True}, "checkpoints"),
    (Echo(), {"timeout": -1}, "timeout=-1"),
    (Echo(), {"start_event": Ask()}, "starts with StartEvent"),
    (Echo(), {"start_event": StartEvent(), "value": 3}, "one or the other"),
]


@pytest.mark.parametrize(("given", "options", "says"), WRONG)
async def test_child_of_wrong_arguments_is_refused_at_the_call(given: Any, options: Any, says: str) -> None:
    async def body(ctx: Context) -> Any:
        with pytest.raises(WorkflowRuntimeError, match=says):
            await ctx.run_child(given, **options)
        return await ctx.run_child(Echo(), value="after")

    with anyio.fail_after(5):
        assert await Calling(body).run() == "after"


async def test_s_ev_3_a_child_gets_no_field_that_its_start_event_does_not_have() -> None:
    async def body(ctx: Context) -> Any:
        with pytest.raises(EventFieldsError, match="whom"):
            await ctx.run_child(Asking(), whom="me")

    with anyio.fail_after(5):
        await Calling(body).run()


async def test_child_of_a_name_that_the_execution_has_used_is_refused() -> None:
    async def body(ctx: Context) -> Any:
        await ctx.run_child(Echo(), namespace="one")
        with pytest.raises(WorkflowRuntimeError, match="namespace='one'"):
            await ctx.run_child(Echo(), namespace="one")

    with anyio.fail_after(5):
        await Calling(body).run()


async def test_s_send_1_a_context_that_has_ended_runs_no_child() -> None:
    kept: list[Context] = []

    async def body(ctx: Context) -> Any:
        kept.append(ctx)

    with anyio.fail_after(5):
        await Calling(body).run()
        with pytest.raises(WorkflowRuntimeError, match=r"ctx\.run_child was used after"):
            await kept[0].run_child(Echo())


async def test_s_work_2_a_plain_function_runs_no_child() -> None:
    class Plain(Workflow):
        @step
        def call(self, ctx: Context, ev: StartEvent) -> StopEvent:
            with pytest.raises(WorkflowRuntimeError, match=r"ctx\.run_child cannot be used"):
                ctx.run_child(Echo())  # type: ignore[unused-coroutine]
            return StopEvent()

    with anyio.fail_after(5):
        await Plain().run()
