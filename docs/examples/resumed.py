import tempfile
from pathlib import Path

import anyio

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, WorkflowCheckpointer, step
from anyio_workflows.stores import SqliteCheckpointStore


class Translator:
    """Stands for a service that breaks down after some pages."""

    def __init__(self, good_for: int) -> None:
        self.good_for = good_for
        self.is_broken = anyio.Event()

    async def translate(self, number: int) -> None:
        print(f"translating page {number}")
        if number > self.good_for:
            self.is_broken.set()
            await anyio.sleep_forever()


class PageFound(Event):
    number: int


class PageTranslated(Event):
    number: int


class Translating(Workflow):
    def __init__(self, translator: Translator) -> None:
        super().__init__()
        self.translator = translator

    @step
    async def split(self, ctx: Context, ev: StartEvent) -> PageFound | None:
        for number in (1, 2, 3):
            ctx.send_event(PageFound(number=number))
        return None

    @step(num_workers=1)
    async def translate(self, ev: PageFound) -> PageTranslated:
        await self.translator.translate(ev.number)
        return PageTranslated(number=ev.number)

    @step
    async def bind(self, ctx: Context, ev: PageTranslated) -> StopEvent | None:
        pages = ctx.collect_events(ev, {PageTranslated: 3})
        return None if pages is None else StopEvent(result=f"{len(pages)} pages")


async def begin(path: Path) -> None:
    translator = Translator(good_for=1)
    async with SqliteCheckpointStore(path) as store:
        checkpointer = WorkflowCheckpointer(workflow=Translating(translator), store=store)
        with anyio.CancelScope() as scope:
            async with checkpointer.run(run_id="a-book"):
                await translator.is_broken.wait()
                scope.cancel()  # or the process is killed: it makes no difference


async def go_on(path: Path) -> None:
    async with SqliteCheckpointStore(path) as store:
        checkpointer = WorkflowCheckpointer(workflow=Translating(Translator(good_for=1000)), store=store)
        handler = await checkpointer.resume("a-book")
        print(await handler)
        print([checkpoint.last_completed_step for checkpoint in await checkpointer.history("a-book")])


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "runs.db")
        await begin(path)
        print("-- another day")
        await go_on(path)


if __name__ == "__main__":
    anyio.run(main)
