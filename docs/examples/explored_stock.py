from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step
from anyio_workflows.testing import Exploration, ScheduleError, explore


class Delivered(Event):
    boxes: int


class Counted(Event): ...


class Stock(Workflow):
    @step
    async def unload(self, ctx: Context, ev: StartEvent) -> Delivered | None:
        await ctx.store.set("boxes", 0)
        for boxes in (30, 12):
            ctx.send_event(Delivered(boxes=boxes))
        return None

    @step
    async def count(self, ctx: Context, ev: Delivered) -> Counted:
        boxes = await ctx.store.get("boxes")
        await ctx.store.set("boxes", boxes + ev.boxes)
        return Counted()

    @step
    async def report(self, ctx: Context, ev: Counted) -> StopEvent | None:
        if ctx.collect_events(ev, [Counted] * 2) is None:
            return None
        return StopEvent(result=await ctx.store.get("boxes"))


class MendedStock(Stock):
    @step
    async def count(self, ctx: Context, ev: Delivered) -> Counted:
        async with ctx.store.edit_state() as state:
            state["boxes"] += ev.boxes
        return Counted()


def every_box_counts(seen: Exploration) -> None:
    assert seen.result == 42, f"42 boxes came, {seen.result} were counted"


def test_stock() -> None:
    explore(Stock, invariant=every_box_counts)


def test_mended_stock() -> None:
    explore(MendedStock, invariant=every_box_counts)


def main() -> None:
    try:
        test_stock()
    except ScheduleError as error:
        print(error)
    test_mended_stock()


if __name__ == "__main__":
    main()
