"""Requests in flight are counted, for a graceful shutdown; one that is cancelled is never counted down."""

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step
from anyio_workflows.testing import Exploration


class Ask(Event):
    mirror: str


class Broken(Workflow):
    def __init__(self) -> None:
        super().__init__()
        self.in_flight = 0

    @step
    async def ask_all(self, ctx: Context, ev: StartEvent) -> Ask | None:
        for mirror in ("north", "south"):
            ctx.send_event(Ask(mirror=mirror))
        return None

    @step
    async def ask(self, ctx: Context, ev: Ask) -> StopEvent:
        """The first answer ends the run, and cancels the others."""
        self.in_flight += 1
        await ctx.checkpoint()  # stands for the request
        self.in_flight -= 1
        return StopEvent(result=ev.mirror)


class Fixed(Broken):
    @step
    async def ask(self, ctx: Context, ev: Ask) -> StopEvent:
        self.in_flight += 1
        try:
            await ctx.checkpoint()
        finally:
            self.in_flight -= 1
        return StopEvent(result=ev.mirror)


def invariant(seen: Exploration) -> None:
    in_flight = seen.workflow.in_flight  # type: ignore[attr-defined]
    assert in_flight == 0, f"the run is over, and {in_flight} of its requests are in flight"
