from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step
from anyio_workflows.testing import Exploration, ScheduleError, explore, interleave


class Web:
    """Stands for the web, and counts."""

    def __init__(self) -> None:
        self.fetched: list[str] = []

    async def fetch(self, url: str) -> None:
        self.fetched.append(url)


class LinkFound(Event):
    url: str


class Visited(Event): ...


class Crawl(Workflow):
    def __init__(self, web: Web) -> None:
        super().__init__()
        self.web = web

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> LinkFound | None:
        for url in ("/home", "/home", "/news"):
            ctx.send_event(LinkFound(url=url))
        return None

    @step
    async def visit(self, ctx: Context, ev: LinkFound) -> Visited:
        seen = await ctx.store.get("seen", ())
        if ev.url not in seen:
            await interleave(self.web.fetch(ev.url))
            await ctx.store.set("seen", (*seen, ev.url))
        return Visited()

    @step
    async def end(self, ctx: Context, ev: Visited) -> StopEvent | None:
        return None if ctx.collect_events(ev, [Visited] * 3) is None else StopEvent()


class MendedCrawl(Crawl):
    @step
    async def visit(self, ctx: Context, ev: LinkFound) -> Visited:
        async with ctx.store.edit_state() as state:
            seen = state.setdefault("seen", [])
            is_new = ev.url not in seen
            if is_new:
                seen.append(ev.url)
        if is_new:
            await interleave(self.web.fetch(ev.url))
        return Visited()


def each_page_once(seen: Exploration) -> None:
    assert sorted(seen.world.fetched) == ["/home", "/news"], f"it fetched {', '.join(seen.world.fetched)}"


def test_crawl() -> None:
    explore(Crawl, world=Web, invariant=each_page_once)


def test_mended_crawl() -> None:
    explore(MendedCrawl, world=Web, invariant=each_page_once)


def main() -> None:
    try:
        test_crawl()
    except ScheduleError as error:
        print(error)
    test_mended_crawl()


if __name__ == "__main__":
    main()
