"""Managed resources where cancellation comes past AnyIO: asyncio's own ways, on asyncio only."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from conftest import BACKENDS

from anyio_workflows import Resource, StartEvent, StopEvent, Workflow, step


@pytest.fixture(
    scope="module",
    params=[pytest.param(value, id=name) for name, value in BACKENDS.items() if value[0] == "asyncio"],
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    backend: tuple[str, dict[str, Any]] = request.param
    return backend


class Stages:
    """A resource that waits at each of its stages until it is let go on."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.leaving = anyio.Event()
        self.leave = anyio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with anyio.create_task_group():
            self.log.append("open")
            yield
            self.leaving.set()
            await self.leave.wait()
        self.log.append("close")

    def workflow(self, body: Any, scope: Any = None) -> Workflow:
        class Flow(Workflow):
            @step
            async def use(
                self, ev: StartEvent, it: Annotated[None, Resource(self.open, scope=scope)]
            ) -> StopEvent:
                await body()
                return StopEvent(result="done")

        return Flow()


async def _await(workflow: Workflow) -> Any:
    return await workflow.run()


async def _enter(workflow: Workflow) -> Any:
    async with workflow:
        return await workflow.run()


@pytest.mark.parametrize(("use", "scope"), [(_await, "run"), (_enter, "workflow")])
async def test_a_task_that_is_cancelled_leaves_its_resources_before_it_ends(use: Any, scope: Any) -> None:
    stages = Stages()
    stages.leave.set()
    begun = anyio.Event()

    async def body() -> None:
        begun.set()
        await anyio.sleep_forever()

    task = asyncio.create_task(use(stages.workflow(body, scope)))
    with anyio.fail_after(5):
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert stages.log == ["open", "close"]


@pytest.mark.parametrize(("use", "scope"), [(_await, "run"), (_enter, "workflow")])
async def test_a_task_that_is_cancelled_while_resources_are_left_ends_when_they_are(
    use: Any, scope: Any
) -> None:
    stages = Stages()
    task = asyncio.create_task(use(stages.workflow(checkpoint, scope)))
    with anyio.fail_after(5):
        await stages.leaving.wait()
        for _ in range(3):
            task.cancel()
            await anyio.wait_all_tasks_blocked()
            assert not task.done()
        stages.leave.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert stages.log == ["open", "close"]


async def test_a_task_that_is_cancelled_while_resources_are_left_keeps_their_order() -> None:
    """What a resource is made of is left after it, however impatient the caller is."""
    outer = Stages()
    outer.leave.set()
    inner = Stages()

    @asynccontextmanager
    async def open_inner(
        needed: Annotated[None, Resource(outer.open, scope="run")],
    ) -> AsyncIterator[None]:
        async with inner.open():
            yield

    class Flow(Workflow):
        @step
        async def use(self, ev: StartEvent, it: Annotated[None, Resource(open_inner)]) -> StopEvent:
            return StopEvent()

    task = asyncio.create_task(_await(Flow()))
    with anyio.fail_after(5):
        await inner.leaving.wait()
        task.cancel()
        await anyio.wait_all_tasks_blocked()
        assert outer.log == ["open"]
        inner.leave.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert outer.log == inner.log == ["open", "close"]


async def test_an_asyncio_timeout_around_a_run_leaves_no_resource_behind() -> None:
    stages = Stages()
    stages.leave.set()
    with anyio.fail_after(5), pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await stages.workflow(anyio.sleep_forever).run()
    assert stages.log == ["open", "close"]
