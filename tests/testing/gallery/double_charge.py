"""The program dies when the card was charged and the step had not ended: the step is run again."""

from collections import Counter

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step
from anyio_workflows.testing import Exploration, interleave


class Bank:
    """Outlives the program, and knows an idempotency key again."""

    def __init__(self) -> None:
        self.charges: dict[str, int] = {}
        self.requests: Counter[str] = Counter()

    async def charge(self, key: str, amount: int) -> None:
        self.requests[key] += 1
        self.charges[key] = amount


class Charged(Event): ...


class Broken(Workflow):
    def __init__(self, bank: Bank) -> None:
        super().__init__()
        self.bank = bank

    def key(self, ctx: Context) -> str:
        return f"request {self.bank.requests.total()}"  # stands for a number that is drawn

    @step
    async def charge(self, ctx: Context, ev: StartEvent) -> Charged:
        await interleave(self.bank.charge(self.key(ctx), 20))
        return Charged()

    @step
    async def ship(self, ctx: Context, ev: Charged) -> StopEvent:
        return StopEvent(result="on its way")


class Fixed(Broken):
    def key(self, ctx: Context) -> str:
        return ctx.idempotency_key


def invariant(seen: Exploration) -> None:
    charged = sum(seen.world.charges.values())
    assert charged == 20, f"20 was the price, {charged} were charged"


OPTIONS = {"world": Bank, "crashes": True}
