import anyio

from anyio_workflows import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCheckpointer,
    WorkflowIdleEvent,
    step,
)


class SizeRequired(InputRequiredEvent):
    pass


class SizeGiven(HumanResponseEvent):
    size: str


class CustomerGreeted(Event):
    pass


class Tailoring(Workflow):
    @step(waits_for=SizeGiven)
    async def sew(self, ctx: Context, ev: StartEvent) -> CustomerGreeted | StopEvent:
        print("the needle is threaded")  # outside of the run: happens again
        async with ctx.store.edit_state() as state:  # in the run: once
            state.orders = state.get("orders", 0) + 1
        ctx.send_event(CustomerGreeted())  # once
        answer = await ctx.wait_for_event(SizeGiven, waiter_event=SizeRequired())
        return StopEvent(result=f"size {answer.size}, orders: {await ctx.store.get('orders')}")

    @step
    async def greet(self, ev: CustomerGreeted) -> None:
        print("good day")


async def main() -> None:
    workflow = Tailoring(extra_events=[SizeRequired])  # which no step is annotated with
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    async with checkpointer.run() as handler:
        async for event in handler.stream_events(expose_internal=True):
            if isinstance(event, WorkflowIdleEvent):
                break
        checkpoint = handler.checkpoint()  # in the middle of `sew`
        await handler.cancel_run()

    print("-- another day")
    async with checkpointer.run_from(checkpoint) as handler:
        async for event in handler.stream_events():
            if isinstance(event, SizeRequired):  # it stands first on the new stream, once
                handler.send_event(SizeGiven(size="M"))
    print(await handler)


if __name__ == "__main__":
    anyio.run(main)
