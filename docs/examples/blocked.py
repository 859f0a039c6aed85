import anyio

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, WorkflowStalledError, step


class LinkFound(Event):
    url: str


class LinkBroken(Event):
    url: str


class Crawling(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> LinkFound | None:
        ctx.send_event(LinkBroken(url="/old"))  # no step accepts it
        for url in ("/", "/about"):
            ctx.send_event(LinkFound(url=url))
        return None

    @step(num_workers=1, max_pending=2)
    async def visit(self, ctx: Context, ev: LinkFound) -> LinkFound | StopEvent:
        await ctx.send(LinkFound(url=f"{ev.url}#top"))  # waits for a place that only this step could free
        return StopEvent(result=ev.url)


async def main() -> None:
    try:
        await Crawling().run()
    except WorkflowStalledError as error:
        print(error)


if __name__ == "__main__":
    anyio.run(main)
