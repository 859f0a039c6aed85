"""Workflows and runs for the tests of what stores keep."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

import anyio
import pytest
from anyio.lowlevel import checkpoint

from anyio_workflows import (
    Context,
    Event,
    HumanResponseEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCheckpointer,
    WorkflowHandler,
    step,
)
from anyio_workflows.stores import MemoryCheckpointStore

Durability = Literal["sync", "async", "exit"]
every_durability = pytest.mark.parametrize("durability", ["sync", "async", "exit"])
saved_early = pytest.mark.parametrize("durability", ["sync", "async"])
ID = "r"


class Work(Event):
    number: int = 0


class Done(Event):
    number: int = 0


class Late(Event):
    pass


class Answer(HumanResponseEvent):
    text: str = ""


class Fan(Workflow):
    """Sends `n` pieces of work and gives their numbers, in the order in which they were done."""

    def __init__(self, n: int = 3, **options: Any) -> None:
        super().__init__(**options)
        self.n = n
        self.ran: list[str] = []
        self.held_at: int | None = None
        self.begun = anyio.Event()

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Work | None:
        self.ran.append("start")
        for number in range(self.n):
            ctx.send_event(Work(number=number))
        return None

    @step(num_workers=1)
    async def work(self, ctx: Context, ev: Work) -> Done:
        async with ctx.store.edit_state() as state:
            state["count"] = state.get("count", 0) + 1
        if ev.number == self.held_at:
            self.begun.set()
            await anyio.sleep_forever()
        self.ran.append(f"work {ev.number}")
        return Done(number=ev.number)

    @step
    async def collect(self, ctx: Context, ev: Done) -> StopEvent | None:
        done = ctx.collect_events(ev, {Done: self.n})
        return None if done is None else StopEvent(result=[each.number for each in done])


class Chain(Workflow):
    """One step after the other; `during` is what the second one does."""

    def __init__(self, during: Callable[[Context], Awaitable[Any]] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.during = during
        self.ran: list[str] = []

    @step
    async def first(self, ev: StartEvent) -> Work:
        self.ran.append("first")
        return Work(number=1)

    @step
    async def second(self, ctx: Context, ev: Work) -> Late | StopEvent:
        self.ran.append("second")
        result = await self.during(ctx) if self.during is not None else "done"
        return StopEvent(result=result)

    @step
    async def late(self, ctx: Context, ev: Late) -> StopEvent | None:
        self.ran.append("late")
        return None


class Asking(Workflow):
    """Waits for an answer."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        answer = await ctx.wait_for_event(Answer)
        await anyio.sleep_forever()
        return StopEvent(result=answer.text)


def kept(
    workflow: Workflow, store: MemoryCheckpointStore, durability: Durability = "sync"
) -> WorkflowCheckpointer:
    return WorkflowCheckpointer(workflow=workflow, store=store, durability=durability)


async def settled() -> None:
    """Let everything go on that can."""
    for _ in range(50):
        await checkpoint()


@asynccontextmanager
async def served(handler: WorkflowHandler, *errors: type[Exception]) -> AsyncIterator[list[Event]]:
    """Run it beside the block, which gets what a reader reads; *errors* may be what it ends with."""
    read: list[Event] = []

    async def serve(*, task_status: Any) -> None:
        with suppress(*errors):
            await handler.serve(task_status=task_status)

    async def follow() -> None:
        read.extend([event async for event in handler.stream_events()])

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            await tasks.start(serve)
            tasks.start_soon(follow)
            yield read


async def serve_cancelled(handler: WorkflowHandler) -> None:
    try:
        await handler
    finally:
        assert handler.is_done()


async def fail(ctx: Context) -> None:
    raise ValueError("it was the step")
