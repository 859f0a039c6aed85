"""Two transfers between the same accounts, in opposite directions: each locks the account that it takes from first."""

import anyio

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step
from anyio_workflows.testing import Exploration


class Transfer(Event):
    source: str
    target: str


class Transferred(Event): ...


class Broken(Workflow):
    def __init__(self) -> None:
        super().__init__()
        self.locks = {"rent": anyio.Lock(), "food": anyio.Lock()}
        self.balance = {"rent": 100, "food": 100}

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Transfer | None:
        ctx.send_event(Transfer(source="rent", target="food"))
        ctx.send_event(Transfer(source="food", target="rent"))
        return None

    def order(self, ev: Transfer) -> list[str]:
        return [ev.source, ev.target]

    @step
    async def transfer(self, ctx: Context, ev: Transfer) -> Transferred:
        first, second = self.order(ev)
        async with self.locks[first]:
            await ctx.checkpoint()  # stands for a look at the balance
            async with self.locks[second]:
                self.balance[ev.source] -= 10
                self.balance[ev.target] += 10
        return Transferred()

    @step
    async def end(self, ctx: Context, ev: Transferred) -> StopEvent | None:
        done = ctx.collect_events(ev, [Transferred] * 2)
        return None if done is None else StopEvent(result=sum(self.balance.values()))


class Fixed(Broken):
    def order(self, ev: Transfer) -> list[str]:
        return sorted([ev.source, ev.target])


def invariant(seen: Exploration) -> None:
    assert seen.result == 200
