import anyio

from anyio_workflows import (
    Context,
    Event,
    RunGroup,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    step,
)


class Ticked(Event):
    count: int


class Ticking(Workflow):
    @step
    async def tick(self, ctx: Context, ev: StartEvent) -> StopEvent:
        for count in range(ev.times):
            ctx.write_event_to_stream(Ticked(count=count))
            await anyio.sleep(0.001)
        return StopEvent(result=f"{ev.times} ticks")


async def main() -> None:
    workflow = Ticking()

    print("awaited:", await workflow.run(times=1))

    async with workflow.run(times=2) as handler:
        async for event in handler.stream_events():
            print("streamed:", type(event).__name__)
    print("after the block:", await handler)

    async with anyio.create_task_group() as tasks:
        handler = await tasks.start(workflow.run(times=3).serve)
        print("in my task group:", await handler)

    async with RunGroup(grace=5) as runs:
        handler = runs.start(workflow, times=4)
        print("in a RunGroup:", await runs[handler.run_id])

    async with workflow.run(times=1_000_000) as handler:
        await handler.cancel_run()
    try:
        await handler
    except WorkflowCancelledByUser as error:
        print("cancelled:", error.reason)


if __name__ == "__main__":
    anyio.run(main)
