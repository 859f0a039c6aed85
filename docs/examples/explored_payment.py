from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step
from anyio_workflows.testing import Exploration, ScheduleError, explore, interleave


class Bank:
    """Stands for a payment service, which charges once for each key."""

    def __init__(self) -> None:
        self.charges: dict[str, int] = {}

    async def charge(self, key: str, amount: int) -> None:
        self.charges[key] = amount


class Paid(Event): ...


class Order(Workflow):
    def __init__(self, bank: Bank) -> None:
        super().__init__()
        self.bank = bank

    @step
    async def pay(self, ctx: Context, ev: StartEvent) -> Paid:
        request = f"request {len(self.bank.charges) + 1}"
        await interleave(self.bank.charge(request, 20))
        return Paid()

    @step
    async def ship(self, ev: Paid) -> StopEvent:
        return StopEvent(result="on its way")


class MendedOrder(Order):
    @step
    async def pay(self, ctx: Context, ev: StartEvent) -> Paid:
        await interleave(self.bank.charge(ctx.idempotency_key, 20))
        return Paid()


def paid_once(seen: Exploration) -> None:
    charged = sum(seen.world.charges.values())
    assert charged == 20, f"20 was the price, {charged} were charged"


def test_order() -> None:
    explore(Order, world=Bank, crashes=True, invariant=paid_once)


def test_mended_order() -> None:
    explore(MendedOrder, world=Bank, crashes=True, exhaustive=True, invariant=paid_once)


def main() -> None:
    try:
        test_order()
    except ScheduleError as error:
        print(error)
    test_mended_order()


if __name__ == "__main__":
    main()
