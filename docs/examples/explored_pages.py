from hypothesis import example, given, settings

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step
from anyio_workflows.testing import Exploration, ScheduleError, explore, schedules


class Page(Event):
    number: int
    text: str


class Translated(Event):
    number: int
    text: str


class Translation(Workflow):
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


class MendedTranslation(Translation):
    @step
    async def join(self, ctx: Context, ev: Translated) -> StopEvent | None:
        pages = ctx.collect_events(ev, [Translated] * 3)
        if pages is None:
            return None
        return StopEvent(result=" ".join(page.text for page in sorted(pages, key=lambda page: page.number)))


def reads_well(seen: Exploration) -> None:
    assert seen.result == "TO BE OR NOT TO BE", f"it reads {seen.result!r}"


def test_translation() -> None:
    explore(Translation, invariant=reads_well)


@example(schedule="0.1")  # from the report
@given(schedule=schedules())
@settings(deadline=None)
def test_mended_translation(schedule: str) -> None:
    explore(MendedTranslation, invariant=reads_well, schedule=schedule)


def main() -> None:
    try:
        test_translation()
    except ScheduleError as error:
        print(error)
    test_mended_translation()


if __name__ == "__main__":
    main()
