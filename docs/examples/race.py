from typing import Annotated

import anyio

from anyio_workflows import Collect, Event, StartEvent, StopEvent, Take, Workflow, step


class MirrorNamed(Event):
    name: str
    delay: float


class Fetched(Event):
    name: str


class Racing(Workflow):
    @step
    async def split(self, ev: StartEvent) -> list[MirrorNamed]:
        return [MirrorNamed(name="far", delay=60.0), MirrorNamed(name="near", delay=0.01)]

    @step
    async def fetch(self, ev: MirrorNamed) -> Fetched:
        try:
            await anyio.sleep(ev.delay)
        except anyio.get_cancelled_exc_class():
            print(f"{ev.name} is not needed any more")
            raise
        return Fetched(name=ev.name)

    @step
    async def first(self, found: Annotated[list[Fetched], Collect(Take(1, cancel_rest=True))]) -> StopEvent:
        return StopEvent(result=found[0].name)


async def main() -> None:
    print(await Racing().run())


if __name__ == "__main__":
    anyio.run(main)
