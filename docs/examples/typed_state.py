import anyio
import attrs

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step


@attrs.define
class Basket:
    owner: str
    items: dict[str, int] = attrs.field(factory=dict)


class ItemAdded(Event):
    name: str


class BasketFilled(Event):
    pass


class Shopping(Workflow):
    @step
    async def fill(self, ctx: Context[Basket], ev: StartEvent) -> ItemAdded | None:
        for name in ("apple", "pear", "apple"):
            ctx.send_event(ItemAdded(name=name))
        return None

    @step
    async def add(self, ctx: Context[Basket], ev: ItemAdded) -> BasketFilled | None:
        async with ctx.store.edit_state() as basket:  # a Basket, and nobody else changes it meanwhile
            basket.items[ev.name] = basket.items.get(ev.name, 0) + 1
            is_full = sum(basket.items.values()) == 3
        return BasketFilled() if is_full else None

    @step
    async def pay(self, ctx: Context[Basket], ev: BasketFilled) -> StopEvent:
        return StopEvent(result=f"{await ctx.store.get('owner')} pays")


async def main() -> None:
    handler = Shopping().run(state=Basket(owner="Ann"))
    print(await handler)
    print(handler.state)

    again = Shopping().run(state=Basket(owner="Bob", items={"plum": 0}))
    print(await again)


if __name__ == "__main__":
    anyio.run(main)
