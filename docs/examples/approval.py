import anyio

from anyio_workflows import (
    Context,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)


class Payment(StartEvent):
    amount: int


class ApprovalRequired(InputRequiredEvent):
    question: str


class Decision(HumanResponseEvent):
    is_approved: bool


class Paying(Workflow):
    @step
    async def ask(self, ctx: Context, ev: Payment) -> ApprovalRequired:
        await ctx.store.set("amount", ev.amount)
        return ApprovalRequired(question=f"Pay {ev.amount}?")

    @step
    async def pay(self, ctx: Context, ev: Decision) -> StopEvent:
        amount = await ctx.store.get("amount")
        return StopEvent(result=f"paid {amount}" if ev.is_approved else "refused")


async def main() -> None:
    async with Paying(timeout=10).run(amount=30) as handler:
        async for event in handler.stream_events():
            if isinstance(event, ApprovalRequired):
                print(event.question)
                handler.send_event(Decision(is_approved=True))
    print(await handler)


if __name__ == "__main__":
    anyio.run(main)
