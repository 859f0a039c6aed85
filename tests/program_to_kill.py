"""A program that runs a workflow on a file, or goes on with it; `test_real_crashes` kills it.

Each execution tells its log that it begins, with the key of the execution that has caused it.
"""

import json
import os
import random
import sys

import anyio

from anyio_workflows import (
    Context,
    Event,
    StartEvent,
    StopEvent,
    UnknownRunError,
    Workflow,
    WorkflowCheckpointer,
    step,
)
from anyio_workflows.stores import SqliteCheckpointStore

RUN_ID = "r"
PIECES = 30
BATCH = 5


class Work(Event):
    number: int
    by: str


class Again(Event):
    number: int
    by: str


class Done(Event):
    number: int
    drawn: int
    by: str


class Batch(Event):
    drawn: tuple[int, ...]
    by: str


class Pieces(Workflow):
    """Fans out, loops, draws from the state, and collects twice."""

    def __init__(self, log: int) -> None:
        super().__init__()
        self.log = log

    def begin(self, ctx: Context, by: str, how: str) -> str:
        """Note that an execution begins, in one write that no kill can tear, and return its key."""
        os.write(self.log, f"{ctx.idempotency_key} {how} {by}\n".encode())
        return ctx.idempotency_key

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Work | None:
        key = self.begin(ctx, "-", "start")
        for number in range(PIECES):
            ctx.send_event(Work(number=number, by=key))
            await anyio.lowlevel.checkpoint()
        return None

    @step(num_workers=3)
    async def work(self, ctx: Context, ev: Work) -> Again | Done:
        key = self.begin(ctx, ev.by, "sent")
        async with ctx.store.edit_state() as state:
            drawn = state.get("drawn", 0) + 1
            await _pause()
            state["drawn"] = drawn
        await _pause()
        if ev.number % 3 == 0:
            return Again(number=drawn, by=key)
        return Done(number=ev.number, drawn=drawn, by=key)

    @step
    def again(self, ctx: Context, ev: Again) -> Done:
        key = self.begin(ctx, ev.by, "returned")
        return Done(number=-1, drawn=ev.number, by=key)

    @step(num_workers=2)
    async def batch(self, ctx: Context, ev: Done) -> Batch | None:
        key = self.begin(ctx, ev.by, "returned")
        done = ctx.collect_events(ev, {Done: BATCH})
        await _pause()
        return None if done is None else Batch(drawn=tuple(each.drawn for each in done), by=key)

    @step
    async def join(self, ctx: Context, ev: Batch) -> StopEvent | None:
        self.begin(ctx, ev.by, "returned")
        batches = ctx.collect_events(ev, {Batch: PIECES // BATCH})
        if batches is None:
            return None
        return StopEvent(result=sorted(drawn for each in batches for drawn in each.drawn))


async def _pause() -> None:
    await anyio.sleep(random.random() / 500)


async def _main(path: str, log: str, durability: str) -> None:
    workflow = Pieces(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT))
    async with SqliteCheckpointStore(path) as store:
        checkpointer = WorkflowCheckpointer(workflow=workflow, store=store, durability=durability)  # type: ignore[arg-type]
        try:
            handler = await checkpointer.resume(RUN_ID)
        except UnknownRunError:
            handler = checkpointer.run(run_id=RUN_ID)
        result = await handler
        sys.stdout.write(json.dumps([result, dict(handler.state)]))


if __name__ == "__main__":
    path, log, durability, backend = sys.argv[1:]
    anyio.run(_main, path, log, durability, backend=backend)
