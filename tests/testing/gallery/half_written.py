"""A report is saved within a second, the wait for the disk included: when that was long, the second ends amid it."""

import anyio

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step
from anyio_workflows.testing import Exploration


class Save(Event): ...


class BackUp(Event): ...


class Done(Event): ...


class Broken(Workflow):
    def __init__(self) -> None:
        super().__init__()
        self.disk = anyio.Lock()
        self.report: list[str] = []

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Save | BackUp | None:
        ctx.send_event(Save())
        ctx.send_event(BackUp())
        return None

    @step
    async def back_up(self, ev: BackUp) -> Done:
        async with self.disk:
            await anyio.sleep(0.5)
        return Done()

    @step
    async def save(self, ev: Save) -> Done:
        with anyio.move_on_after(1):
            async with self.disk:
                for part in ("head", "body"):
                    await anyio.sleep(0.4)
                    self.report.append(part)
        return Done()

    @step
    async def end(self, ctx: Context, ev: Done) -> StopEvent | None:
        return None if ctx.collect_events(ev, [Done] * 2) is None else StopEvent()


class Fixed(Broken):
    @step
    async def save(self, ev: Save) -> Done:
        parts = []
        with anyio.move_on_after(1):
            async with self.disk:
                for part in ("head", "body"):
                    await anyio.sleep(0.4)
                    parts.append(part)
                self.report = parts  # nothing is awaited: all of it or nothing
        return Done()


def invariant(seen: Exploration) -> None:
    report = seen.workflow.report  # type: ignore[attr-defined]
    assert report in ([], ["head", "body"]), f"the report has only {report}"
