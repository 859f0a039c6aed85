import anyio

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step


class Pages(StartEvent):
    urls: tuple[str, ...]


class PageFound(Event):
    url: str
    of: int


class PageRead(Event):
    url: str
    size: int
    of: int


class Reading(Workflow):
    @step
    async def find(self, ctx: Context, ev: Pages) -> PageFound | None:
        for url in ev.urls:
            ctx.send_event(PageFound(url=url, of=len(ev.urls)))
        return None

    @step(num_workers=3)
    async def read(self, ev: PageFound) -> PageRead:
        await anyio.sleep(0.01)  # a request takes its time
        return PageRead(url=ev.url, size=100 * len(ev.url), of=ev.of)

    @step
    async def add_up(self, ctx: Context, ev: PageRead) -> StopEvent | None:
        pages = ctx.collect_events(ev, {PageRead: ev.of})
        if pages is None:
            return None
        return StopEvent(result=sum(page.size for page in pages))


async def main() -> None:
    size = await Reading().run(urls=("/", "/about", "/news", "/contact"))
    print(f"4 pages, {size} bytes")


if __name__ == "__main__":
    anyio.run(main)
