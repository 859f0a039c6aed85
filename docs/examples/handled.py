import anyio

from anyio_workflows import Event, StartEvent, StepFailedEvent, StopEvent, Workflow, catch_error, step


class PageNamed(Event):
    name: str


class PageRead(Event):
    name: str
    words: int


class Reading(Workflow):
    @step
    async def split(self, ev: StartEvent) -> list[PageNamed]:
        return [PageNamed(name=name) for name in ("one", "torn", "three")]

    @step
    async def read(self, ev: PageNamed) -> PageRead:
        if ev.name == "torn":
            raise ValueError("this page cannot be read")
        return PageRead(name=ev.name, words=len(ev.name))

    @catch_error(for_steps=["read"])
    async def skip(self, ev: StepFailedEvent) -> PageRead:
        print(f"{ev.step_name} has failed with {ev.exception!r}, at {ev.input_event}")
        return PageRead(name="unreadable", words=0)

    @step
    async def join(self, pages: list[PageRead]) -> StopEvent:
        return StopEvent(result=sum(page.words for page in pages))


async def main() -> None:
    print(await Reading().run())


if __name__ == "__main__":
    anyio.run(main)
