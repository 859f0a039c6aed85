"""Two orders add to one total: each reads it, adds, and writes; an update between is lost."""

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step
from anyio_workflows.testing import Exploration


class OrderPaid(Event):
    amount: int


class Booked(Event): ...


class Broken(Workflow):
    @step
    async def open_till(self, ctx: Context, ev: StartEvent) -> OrderPaid | None:
        await ctx.store.set("total", 0)
        for amount in (30, 12):
            ctx.send_event(OrderPaid(amount=amount))
        return None

    @step
    async def book(self, ctx: Context, ev: OrderPaid) -> Booked:
        total = await ctx.store.get("total")
        await ctx.store.set("total", total + ev.amount)
        return Booked()

    @step
    async def close_till(self, ctx: Context, ev: Booked) -> StopEvent | None:
        if ctx.collect_events(ev, [Booked] * 2) is None:
            return None
        return StopEvent(result=await ctx.store.get("total"))


class Fixed(Broken):
    @step
    async def book(self, ctx: Context, ev: OrderPaid) -> Booked:
        async with ctx.store.edit_state() as state:
            state["total"] += ev.amount
        return Booked()


def invariant(seen: Exploration) -> None:
    assert seen.result == 42, f"42 were paid, {seen.result} are booked"
