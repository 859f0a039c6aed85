"""Managed resources that runs share: they end with `async with workflow:`, or with the RunGroup."""

import contextvars
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from anyio_workflows import (
    Resource,
    RunGroup,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledError,
    WorkflowCheckpointer,
    WorkflowRuntimeError,
    step,
)
from anyio_workflows.stores import MemoryCheckpointStore


class Pools:
    """Makes pools, and notes which are open."""

    def __init__(self) -> None:
        self.made = 0
        self.log: list[str] = []

    @asynccontextmanager
    async def open(self) -> AsyncIterator[int]:
        self.made += 1
        number = self.made
        self.log.append(f"open {number}")
        async with anyio.create_task_group():
            yield number
            await checkpoint()
        self.log.append(f"close {number}")

    def workflow(self, body: Callable[[], Any] | None = None) -> Workflow:
        pool = Resource(self.open, scope="workflow")

        def label(number: Annotated[int, pool]) -> str:
            return f"pool {number}"

        class Flow(Workflow):
            @step
            async def use(
                self,
                ev: StartEvent,
                number: Annotated[int, pool],
                name: Annotated[str, Resource(label)],
            ) -> StopEvent:
                if body is not None:
                    await body()
                return StopEvent(result=(number, name))

        return Flow()


async def test_all_runs_of_an_entered_workflow_share_what_is_left_with_it() -> None:
    pools = Pools()
    with anyio.fail_after(5):
        async with pools.workflow() as workflow:
            assert pools.log == []  # made when it is first needed
            assert await workflow.run() == (1, "pool 1")
            assert await workflow.run() == (1, "pool 1")
            assert pools.log == ["open 1"]
    assert pools.log == ["open 1", "close 1"]


async def test_a_workflow_may_be_entered_again_and_what_was_made_of_the_old_resource_is_not_used_again() -> (
    None
):
    pools = Pools()
    workflow = pools.workflow()
    with anyio.fail_after(5):
        for number in (1, 2):
            async with workflow:
                assert await workflow.run() == (number, f"pool {number}")
    assert pools.log == ["open 1", "close 1", "open 2", "close 2"]


async def test_a_run_of_a_workflow_that_was_not_entered_fails_before_it_begins_and_says_what_to_write() -> (
    None
):
    pools = Pools()
    handler = pools.workflow().run()
    with anyio.fail_after(5):
        with pytest.raises(WorkflowRuntimeError, match=r"\n    async with workflow:\n") as caught:
            await handler
        assert str(caught.value).startswith("resources of Flow ('Pools.open', 'label') end with the workflow")
        assert handler.failures == (caught.value,)
    assert pools.made == 0


async def test_a_stored_run_that_was_refused_can_still_be_resumed() -> None:
    """Who forgets to enter the workflow must not end runs of it for good."""
    pools = Pools()
    store = MemoryCheckpointStore()
    gate = anyio.Event()
    workflow = pools.workflow(gate.wait)
    checkpointer = WorkflowCheckpointer(workflow=workflow, store=store)
    with anyio.fail_after(5):
        async with workflow, anyio.create_task_group() as tasks:
            handler = checkpointer.run()
            await tasks.start(handler.serve)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        assert (await store.run(handler.run_id)).status == "cancelled"

        with pytest.raises(WorkflowRuntimeError, match="was not entered"):
            await (await checkpointer.resume(handler.run_id))
        gate.set()
        async with workflow:
            assert await (await checkpointer.resume(handler.run_id)) == (2, "pool 2")


async def test_entering_twice_at_once_is_an_error() -> None:
    with anyio.fail_after(5):
        async with Pools().workflow() as workflow:
            with pytest.raises(WorkflowRuntimeError, match="Flow was entered in this event loop already"):
                async with workflow:
                    raise AssertionError
            assert await workflow.run() == (1, "pool 1")


async def test_to_enter_a_workflow_without_such_resources_does_no_harm() -> None:
    class Flow(Workflow):
        @step
        async def use(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result="used")

    with anyio.fail_after(5):
        async with Flow() as workflow:
            assert await workflow.run() == "used"


async def test_leaving_waits_for_the_runs_that_use_the_resources() -> None:
    pools = Pools()
    begun, gate = anyio.Event(), anyio.Event()

    async def body() -> None:
        begun.set()
        await gate.wait()
        pools.log.append("used")

    workflow = pools.workflow(body)
    with anyio.fail_after(5):
        async with RunGroup() as runs:
            async with workflow:
                handler = runs.start(workflow)
                await begun.wait()
                gate.set()
            assert pools.log == ["open 1", "used", "close 1"]
            assert await handler == (1, "pool 1")


async def test_leaving_by_an_exception_cancels_the_runs_that_use_the_resources() -> None:
    pools = Pools()
    begun = anyio.Event()

    async def body() -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            pools.log.append("cancelled")

    workflow = pools.workflow(body)
    with anyio.fail_after(5):
        async with RunGroup() as runs:
            with pytest.raises(ValueError, match="wrong"):
                async with workflow:
                    handler = runs.start(workflow)
                    await begun.wait()
                    raise ValueError("wrong")
            assert pools.log == ["open 1", "cancelled", "close 1"]
            with pytest.raises(WorkflowCancelledError, match="the body of the 'async with' of"):
                await handler


async def test_cancelling_the_block_leaves_the_resources_shielded() -> None:
    pools = Pools()
    with anyio.fail_after(5):
        with anyio.CancelScope() as scope:
            async with pools.workflow() as workflow:
                await workflow.run()
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught
    assert pools.log == ["open 1", "close 1"]


async def test_cancelling_a_block_that_waits_for_its_runs_cancels_these_and_waits_for_their_clean_ups() -> (
    None
):
    pools = Pools()
    begun = anyio.Event()

    async def body() -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.wait_all_tasks_blocked()
            pools.log.append("cleaned up")

    workflow = pools.workflow(body)
    with anyio.fail_after(5):
        async with RunGroup(grace=0) as runs:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:

                    async def give_up() -> None:
                        await anyio.wait_all_tasks_blocked()
                        scope.cancel()

                    async with workflow:
                        handler = runs.start(workflow)
                        await begun.wait()
                        tasks.start_soon(give_up)
            assert scope.cancelled_caught
            assert handler.is_done()
    assert pools.log == ["open 1", "cleaned up", "close 1"]


class Failing:
    """A resource that fails when it is told to, or when it is left."""

    def __init__(self, *, at_the_end: bool) -> None:
        self.at_the_end = at_the_end
        self.fail = anyio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async def watch() -> None:
            await self.fail.wait()
            raise OSError("in the middle")

        if self.at_the_end:
            yield
            raise OSError("at the end")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            yield

    def workflow(self, body: Callable[[], Any]) -> Workflow:
        class Flow(Workflow):
            @step
            async def use(
                self, ev: StartEvent, it: Annotated[None, Resource(self.open, scope="workflow")]
            ) -> StopEvent:
                await body()
                return StopEvent()

        return Flow()


async def test_a_resource_that_cannot_be_left_is_raised_by_the_block_and_not_by_the_run() -> None:
    failing = Failing(at_the_end=True)
    with anyio.fail_after(5), pytest.raises(OSError, match="at the end") as caught:
        async with failing.workflow(checkpoint) as workflow:
            handler = workflow.run()
            await handler
            assert handler.failures == ()
    assert caught.value.__notes__ == ["in resource 'Failing.open'"]


async def test_the_exception_of_the_body_goes_before_that_of_a_resource(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing = Failing(at_the_end=True)
    with anyio.fail_after(5), pytest.raises(ValueError, match="body") as caught:
        async with failing.workflow(checkpoint) as workflow:
            await workflow.run()
            raise ValueError("body")
    assert caught.value.__notes__[-1].startswith("meanwhile a resource of the 'async with' of")
    assert "OSError: at the end" in caplog.text


async def test_a_resource_that_fails_in_the_middle_cancels_the_block_and_the_runs() -> None:
    failing = Failing(at_the_end=False)
    body_was_cancelled = False
    with anyio.fail_after(5):
        with pytest.raises(ExceptionGroup) as caught:
            async with RunGroup() as runs:
                workflow = failing.workflow(anyio.sleep_forever)
                handler = runs.start(workflow)
                await anyio.wait_all_tasks_blocked()
                failing.fail.set()
                try:
                    await anyio.sleep_forever()
                except anyio.get_cancelled_exc_class():
                    body_was_cancelled = True
                    raise
    assert caught.group_contains(OSError, match="in the middle")
    assert body_was_cancelled
    assert handler.is_done()


async def test_a_run_group_ends_the_resources_of_its_runs_when_all_of_them_have_ended() -> None:
    pools = Pools()
    workflow = pools.workflow()
    with anyio.fail_after(5):
        async with RunGroup() as runs:
            assert await runs.start(workflow) == (1, "pool 1")
            assert await runs.start(workflow) == (1, "pool 1")
            assert await runs.start(pools.workflow()) == (2, "pool 2")  # a workflow object of its own
        assert pools.log == ["open 1", "open 2", "close 2", "close 1"]
        with pytest.raises(WorkflowRuntimeError, match="was not entered"):
            await workflow.run()


async def test_in_a_run_group_the_block_of_the_workflow_itself_goes_first() -> None:
    pools = Pools()
    with anyio.fail_after(5):
        async with pools.workflow() as workflow:
            async with RunGroup() as runs:
                assert await runs.start(workflow) == (1, "pool 1")
            assert pools.log == ["open 1"]
    assert pools.log == ["open 1", "close 1"]


async def test_a_plain_resource_is_the_same_inside_and_outside_of_a_block() -> None:
    """Nothing ends it, so all runs of the workflow object share it."""

    class Flow(Workflow):
        @step
        async def use(self, ev: StartEvent, it: Annotated[object, Resource(object)]) -> StopEvent:
            return StopEvent(result=it)

    workflow = Flow()
    with anyio.fail_after(5):
        outside = await workflow.run()
        async with workflow:
            assert await workflow.run() is outside
        async with RunGroup() as runs:
            assert await runs.start(workflow) is outside


async def test_a_shared_resource_sees_the_variables_of_who_has_entered_the_block() -> None:
    """It outlives the run that happens to need it first."""
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")

    @asynccontextmanager
    async def asked() -> AsyncIterator[str]:
        yield who.get()

    class Flow(Workflow):
        @step
        async def use(
            self, ev: StartEvent, it: Annotated[str, Resource(asked, scope="workflow")]
        ) -> StopEvent:
            return StopEvent(result=it)

    who.set("the application")
    with anyio.fail_after(5):
        async with Flow() as workflow:
            who.set("a request")
            assert await workflow.run() == "the application"


def test_blocks_of_several_event_loops_do_not_meet() -> None:
    pools = Pools()
    workflow = pools.workflow()

    async def main() -> None:
        async with workflow:
            await workflow.run()

    anyio.run(main)
    anyio.run(main)
    assert pools.log == ["open 1", "close 1", "open 2", "close 2"]


async def test_a_run_that_had_completed_needs_no_block_to_give_its_result_again() -> None:
    pools = Pools()
    store = MemoryCheckpointStore()
    workflow = pools.workflow()
    checkpointer = WorkflowCheckpointer(workflow=workflow, store=store)
    with anyio.fail_after(5):
        async with workflow:
            handler = checkpointer.run()
            result = await handler
        assert tuple(await (await checkpointer.resume(handler.run_id))) == result


async def test_a_managed_factory_that_runs_what_needs_it_is_told_so() -> None:
    @asynccontextmanager
    async def open_it() -> AsyncIterator[Any]:
        yield await workflow.run()

    class Flow(Workflow):
        @step
        async def use(
            self, ev: StartEvent, it: Annotated[Any, Resource(open_it, scope="workflow")]
        ) -> StopEvent:
            return StopEvent(result=it)

    with anyio.fail_after(5):
        async with Flow() as workflow:
            with pytest.raises(WorkflowRuntimeError, match="would wait for itself for ever"):
                await workflow.run()


async def test_a_run_cannot_use_a_block_that_is_being_left() -> None:
    leaving, go_on = anyio.Event(), anyio.Event()

    @asynccontextmanager
    async def slow() -> AsyncIterator[None]:
        yield
        leaving.set()
        await go_on.wait()

    class Flow(Workflow):
        @step
        async def use(
            self, ev: StartEvent, it: Annotated[None, Resource(slow, scope="workflow")]
        ) -> StopEvent:
            return StopEvent()

    workflow = Flow()

    async def too_late() -> None:
        await leaving.wait()
        with pytest.raises(WorkflowRuntimeError, match="was not entered"):
            await workflow.run()
        go_on.set()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(too_late)
            async with workflow:
                await workflow.run()
