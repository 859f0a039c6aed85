import anyio

from anyio_workflows import Event, StartEvent, StopEvent, Workflow, step


class PageNamed(Event):
    name: str


class PageRead(Event):
    name: str
    words: int


class Reading(Workflow):
    @step
    async def split(self, ev: StartEvent) -> list[PageNamed]:
        return [PageNamed(name=name) for name in ev.names]

    @step(num_workers=2)
    async def read(self, ev: PageNamed) -> PageRead | None:
        if ev.name == "empty":
            return None
        await anyio.sleep(0.01)
        return PageRead(name=ev.name, words=len(ev.name))

    @step
    async def join(self, pages: list[PageRead]) -> StopEvent:
        return StopEvent(result=sum(page.words for page in pages))


async def main() -> None:
    workflow = Reading()
    print(await workflow.run(names=["one", "empty", "three"]))
    print(await workflow.run(names=[]))


if __name__ == "__main__":
    anyio.run(main)
