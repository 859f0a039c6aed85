import anyio

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step


class Order(StartEvent):
    items: tuple[str, ...]


class Packed(Event):
    item: str


class Packing(Workflow):
    @step
    async def pack(self, ctx: Context, ev: Order) -> StopEvent:
        for item in ev.items:
            await anyio.sleep(0.001)  # it takes a while
            ctx.write_event_to_stream(Packed(item=item))
        return StopEvent(result=f"a box of {len(ev.items)}")


async def main() -> None:
    async with Packing().run(items=("cup", "plate", "spoon")) as handler:
        async for event in handler.stream_events():
            match event:
                case Packed(item=item):
                    print(f"packed the {item}")
                case StopEvent():
                    print("done")
    print(await handler)


if __name__ == "__main__":
    anyio.run(main)
