"""Three customers want two seats: the step looks whether one is left, and takes it somewhat later."""

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step
from anyio_workflows.testing import Exploration


class SeatWanted(Event):
    customer: str


class Answered(Event):
    customer: str
    has_seat: bool


class Broken(Workflow):
    @step
    async def open_sale(self, ctx: Context, ev: StartEvent) -> SeatWanted | None:
        await ctx.store.set("left", 2)
        for customer in ("ada", "bob", "cyn"):
            ctx.send_event(SeatWanted(customer=customer))
        return None

    @step
    async def sell(self, ctx: Context, ev: SeatWanted) -> Answered:
        if await ctx.store.get("left") == 0:
            return Answered(customer=ev.customer, has_seat=False)
        async with ctx.store.edit_state() as state:
            state["left"] -= 1
        return Answered(customer=ev.customer, has_seat=True)

    @step
    async def close_sale(self, ctx: Context, ev: Answered) -> StopEvent | None:
        answers = ctx.collect_events(ev, [Answered] * 3)
        if answers is None:
            return None
        return StopEvent(result=sorted(answer.customer for answer in answers if answer.has_seat))


class Fixed(Broken):
    @step
    async def sell(self, ctx: Context, ev: SeatWanted) -> Answered:
        async with ctx.store.edit_state() as state:
            has_seat = state["left"] > 0
            if has_seat:
                state["left"] -= 1
        return Answered(customer=ev.customer, has_seat=has_seat)


def invariant(seen: Exploration) -> None:
    assert len(seen.result) == 2, f"two seats were sold to {', '.join(seen.result)}"
