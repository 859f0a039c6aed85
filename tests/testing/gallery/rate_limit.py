"""Two requests a second are allowed: the step counts those of the last second, and notes its own once it is sent."""

import anyio

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step
from anyio_workflows.testing import Exploration, checkpoint


class Fetch(Event):
    page: int


class Fetched(Event): ...


class Api:
    """Knows when it was asked."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    async def get(self, page: int) -> None:
        self.asked.append(anyio.current_time())
        await checkpoint(f"the API, page {page}")


class Broken(Workflow):
    def __init__(self) -> None:
        super().__init__()
        self.api = Api()
        self.sent: list[float] = []

    @property
    def is_busy(self) -> bool:
        now = anyio.current_time()
        return sum(now - sent < 1 for sent in self.sent) >= 2

    async def until_allowed(self) -> None:
        while self.is_busy:  # noqa: ASYNC110  # it becomes free by the clock alone
            await anyio.sleep(1)

    @step
    async def split(self, ctx: Context, ev: StartEvent) -> Fetch | None:
        for page in range(3):
            ctx.send_event(Fetch(page=page))
        return None

    @step
    async def fetch(self, ctx: Context, ev: Fetch) -> Fetched:
        await self.until_allowed()
        await self.api.get(ev.page)
        self.sent.append(anyio.current_time())
        return Fetched()

    @step
    async def end(self, ctx: Context, ev: Fetched) -> StopEvent | None:
        return None if ctx.collect_events(ev, [Fetched] * 3) is None else StopEvent()


class Fixed(Broken):
    @step
    async def fetch(self, ctx: Context, ev: Fetch) -> Fetched:
        await self.until_allowed()
        self.sent.append(anyio.current_time())  # nothing is awaited since it was looked
        await self.api.get(ev.page)
        return Fetched()


def invariant(seen: Exploration) -> None:
    asked = seen.workflow.api.asked  # type: ignore[attr-defined]
    most = max(sum(time <= other < time + 1 for other in asked) for time in asked)
    assert most <= 2, f"{most} requests within a second"
