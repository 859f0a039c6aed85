"""Single executions are cancelled, by step or by fan-out, with a reason, and the run goes on."""

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from durable import Answer, settled
from fanning import Done, Extra, Item, cancelled
from running import never

from anyio_workflows import (
    Context,
    RunGroup,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowHandler,
    WorkflowRuntimeError,
    WorkflowStalledError,
    WorkflowStepDoesNotExistError,
    catch_error,
    step,
)


class Race(Workflow):
    """Two ways to an end; one of them can be cancelled."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.begun = anyio.Event()
        self.slow_gate = anyio.Event()
        self.log: list[str] = []

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Item | Done | None:
        for n in range(ev.get("count", 1)):
            ctx.send_event(Item(n=n))
        return Done(n=0)

    @step(cancellable=True, num_workers=1)
    async def slow(self, ctx: Context, ev: Item) -> StopEvent:
        self.log.append(f"begun {ev.n}")
        self.begun.set()
        try:
            await never()
        finally:
            with anyio.CancelScope(shield=True):
                await checkpoint()
            self.log.append(f"cleaned up {ev.n}")
        raise AssertionError

    @step
    async def other(self, ev: Done) -> StopEvent:
        await self.slow_gate.wait()
        return StopEvent(result="other")


async def test_cancel_part_a_step_is_cancelled_in_work_and_in_line_and_the_run_goes_on() -> None:
    workflow = Race()
    handler = workflow.run(count=3)
    with anyio.fail_after(5):
        async with handler:
            await workflow.begun.wait()
            assert handler.cancel_step("slow", "too slow") == 3
            assert handler.cancel_step("slow", "again") == 0
            await settled()
            assert handler.limiter("slow").borrowed_tokens == 0
            workflow.slow_gate.set()
        assert await handler == "other"
    assert workflow.log == ["begun 0", "cleaned up 0"]
    assert await cancelled(handler) == [("slow", Item(n=n), "too slow") for n in range(3)]


async def test_cancel_part_who_waits_for_a_place_gets_that_of_a_cancelled_execution() -> None:
    class Flow(Race):
        @step(cancellable=True, max_pending=1)
        async def slow(self, ctx: Context, ev: Item) -> StopEvent:
            if ev.n == 7:
                return StopEvent(result="sent")
            return await Race.slow(self, ctx, ev)

        @step
        async def other(self, ctx: Context, ev: Done) -> Item | None:  # type: ignore[override]
            await ctx.send(Item(n=7))
            return None

    workflow = Flow()
    handler = workflow.run()
    with anyio.fail_after(5):
        async with handler:
            await workflow.begun.wait()
            await settled()
            assert handler.cancel_step("slow") == 1
        assert await handler == "sent"


async def test_cancel_part_an_execution_may_cancel_its_own_step() -> None:
    class Flow(Race):
        @step(cancellable=True)
        async def slow(self, ctx: Context, ev: Item) -> StopEvent:
            assert ctx.cancel_step("slow", "myself") == 1
            self.slow_gate.set()
            await never()
            raise AssertionError

    with anyio.fail_after(5):
        assert await Flow().run() == "other"


async def test_cancel_part_an_execution_that_is_cancelled_and_never_looks_gives_nothing() -> None:
    class Flow(Race):
        @step(cancellable=True)
        async def slow(self, ctx: Context, ev: Item) -> StopEvent:
            ctx.cancel_step("slow")
            self.slow_gate.set()
            return StopEvent(result="slow")

    with anyio.fail_after(5):
        assert await Flow().run() == "other"


async def test_cancel_part_a_plain_function_cancels_from_its_thread() -> None:
    class Flow(Race):
        @step
        async def other(self, ev: Done) -> Extra:  # type: ignore[override]
            await self.begun.wait()
            return Extra(n=0)

        @step
        def cancel(self, ctx: Context, ev: Extra) -> StopEvent:
            return StopEvent(result=ctx.cancel_step("slow", "from a thread"))

    workflow = Flow()
    handler = workflow.run(count=2)
    with anyio.fail_after(5):
        assert await handler == 2
    assert workflow.log == ["begun 0", "cleaned up 0"]


async def test_cancel_part_what_cannot_be_cancelled_is_an_error() -> None:
    workflow = Race()
    handler = workflow.run()
    with anyio.fail_after(5):
        with pytest.raises(WorkflowRuntimeError, match=r"handler.cancel_step"):
            handler.cancel_step("slow")
        with pytest.raises(WorkflowRuntimeError, match=r"handler.cancel_fan_out"):
            handler.cancel_fan_out("slow")
        async with handler:
            await workflow.begun.wait()
            with pytest.raises(WorkflowRuntimeError, match="declare it with @step\\(cancellable=True\\)"):
                handler.cancel_step("other")
            with pytest.raises(WorkflowStepDoesNotExistError):
                handler.cancel_step("nothing")
            with pytest.raises(WorkflowStepDoesNotExistError):
                handler.cancel_fan_out("nothing")
            with pytest.raises(WorkflowRuntimeError, match="returns no list, so there is no fan-out of it"):
                handler.cancel_fan_out("slow")
            workflow.slow_gate.set()
        assert (handler.cancel_step("slow"), handler.cancel_fan_out("slow")) == (0, 0)


async def test_cancel_part_a_run_whose_last_work_is_cancelled_stalls() -> None:
    class Flow(Race):
        @step
        async def other(self, ev: Done) -> StopEvent | None:  # type: ignore[override]
            return None

    workflow = Flow()
    handler = workflow.run()
    with anyio.fail_after(5):
        with pytest.raises(WorkflowStalledError, match="every step has returned"):
            async with handler:
                await workflow.begun.wait()
                handler.cancel_step("slow", "no use")
    assert workflow.log == ["begun 0", "cleaned up 0"]


@pytest.mark.parametrize("in_group", [False, True])
async def test_cancel_part_a_wait_that_is_cancelled_leaves_its_answer_to_others(in_group: bool) -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Item | Done | None:
            ctx.send_event(Item(n=0))
            return Done(n=0)

        @step(cancellable=True, waits_for=Answer)
        async def first(self, ctx: Context, ev: Item) -> None:
            await ctx.wait_for_event(Answer)
            raise AssertionError

        @step(waits_for=Answer)
        async def second(self, ctx: Context, ev: Done) -> StopEvent:
            return StopEvent(result=(await ctx.wait_for_event(Answer)).text)

    async def cancel_and_answer(handler: WorkflowHandler) -> None:
        await settled()
        assert handler.cancel_step("first") == 1
        handler.send_event(Answer(text="yes"))  # to the first, which does not get to it

    with anyio.fail_after(5):
        if in_group:
            async with RunGroup() as runs:
                handler = runs.start(Flow())
                await cancel_and_answer(handler)
                assert await handler == "yes"
        else:
            handler = Flow().run()
            async with handler:
                await cancel_and_answer(handler)
            assert await handler == "yes"


async def test_cancel_part_a_cancelled_run_stays_cancelled_whatever_was_cancelled_before() -> None:
    cleaning = anyio.Event()

    class Flow(Race):
        @step(cancellable=True)
        async def slow(self, ctx: Context, ev: Item) -> StopEvent:
            try:
                await never()
            finally:
                cleaning.set()
                with anyio.move_on_after(0.01, shield=True):
                    await never()
            raise AssertionError

    handler = Flow().run()
    with anyio.fail_after(5):
        async with handler:
            await settled()
            handler.cancel_step("slow")
            await cleaning.wait()
            await handler.cancel_run()
        with pytest.raises(WorkflowCancelledByUser):
            await handler


async def test_cancel_part_what_is_cancelled_is_not_handled_and_not_retried() -> None:
    class Flow(Race):
        @catch_error
        async def handle(self, ev: StepFailedEvent) -> StopEvent:
            raise AssertionError

    workflow = Flow()
    with anyio.fail_after(5):
        handler = workflow.run()
        async with handler:
            await workflow.begun.wait()
            handler.cancel_step("slow")
            workflow.slow_gate.set()
        assert await handler == "other"
