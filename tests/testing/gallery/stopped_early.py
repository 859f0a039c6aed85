"""The last record to be sent ends the run, on the assumption that it is the last one to be written."""

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step
from anyio_workflows.testing import Exploration


class Record(Event):
    number: int
    is_last: bool


class Written(Event):
    is_last: bool


class Broken(Workflow):
    @step
    async def read(self, ctx: Context, ev: StartEvent) -> Record | None:
        for number in range(3):
            ctx.send_event(Record(number=number, is_last=number == 2))
        return None

    @step
    async def write(self, ctx: Context, ev: Record) -> Written:
        async with ctx.store.edit_state() as state:
            state.setdefault("written", []).append(ev.number)
        return Written(is_last=ev.is_last)

    @step
    async def end(self, ctx: Context, ev: Written) -> StopEvent | None:
        return StopEvent() if ev.is_last else None


class Fixed(Broken):
    @step
    async def end(self, ctx: Context, ev: Written) -> StopEvent | None:
        return None if ctx.collect_events(ev, [Written] * 3) is None else StopEvent()


def invariant(seen: Exploration) -> None:
    written = sorted(seen.state["written"])
    assert written == [0, 1, 2], f"of the records 0, 1, 2 only {written} are written"
