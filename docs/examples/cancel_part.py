import anyio

from anyio_workflows import Event, StartEvent, StepCancelledEvent, StopEvent, Workflow, step


class SourceNamed(Event):
    name: str


class Found(Event):
    name: str


class Searching(Workflow):
    @step
    async def split(self, ev: StartEvent) -> list[SourceNamed]:
        return [SourceNamed(name=name) for name in ("index", "archive")]

    @step
    async def search(self, ev: SourceNamed) -> Found:
        if ev.name == "archive":
            await anyio.sleep_forever()
        return Found(name=ev.name)

    @step
    async def join(self, found: list[Found]) -> StopEvent:
        return StopEvent(result=[each.name for each in found])


async def main() -> None:
    async with Searching().run() as handler:
        await anyio.sleep(0.01)
        handler.cancel_fan_out("split", "the reader has gone")
        async for event in handler.stream_events(expose_internal=True):
            if isinstance(event, StepCancelledEvent):
                print(f"{event.step_name} at {event.input_event}: {event.reason}")
    print(await handler)


if __name__ == "__main__":
    anyio.run(main)
