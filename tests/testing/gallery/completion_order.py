"""Pages of a document are translated at once and put together as they come."""

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step
from anyio_workflows.testing import Exploration


class Page(Event):
    number: int
    text: str


class Translated(Event):
    number: int
    text: str


class Broken(Workflow):
    @step
    async def split(self, ctx: Context, ev: StartEvent) -> Page | None:
        for number, text in enumerate(["to be", "or not", "to be"]):
            ctx.send_event(Page(number=number, text=text))
        return None

    @step
    async def translate(self, ctx: Context, ev: Page) -> Translated:
        await ctx.checkpoint()  # stands for a request
        return Translated(number=ev.number, text=ev.text.upper())

    @step
    async def join(self, ctx: Context, ev: Translated) -> StopEvent | None:
        pages = ctx.collect_events(ev, [Translated] * 3)
        return None if pages is None else StopEvent(result=" ".join(page.text for page in pages))


class Fixed(Broken):
    @step
    async def join(self, ctx: Context, ev: Translated) -> StopEvent | None:
        pages = ctx.collect_events(ev, [Translated] * 3)
        if pages is None:
            return None
        return StopEvent(result=" ".join(page.text for page in sorted(pages, key=lambda page: page.number)))


def invariant(seen: Exploration) -> None:
    assert seen.result == "TO BE OR NOT TO BE", f"it reads {seen.result!r}"
