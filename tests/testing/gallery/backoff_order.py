"""Changes of an address are posted by one worker, in order; the service is down, and each is tried again by itself."""

from tenacity import wait_fixed

from anyio_workflows import Context, Event, RetryPolicy, StartEvent, StopEvent, Workflow, step
from anyio_workflows.testing import Exploration

LATER = RetryPolicy(wait=wait_fixed(30))


class Moved(Event):
    to: str


class Posted(Event): ...


class Post(Event):
    moves: tuple[str, ...]


class Broken(Workflow):
    def __init__(self) -> None:
        super().__init__()
        self.address = ""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Moved | Post | None:
        ctx.send_event(Moved(to="Old Street"))
        ctx.send_event(Moved(to="New Street"))
        return None

    def post(self, ctx: Context, address: str) -> None:
        if ctx.retry_info().retry_number == 0:
            raise ConnectionError("the service is down")
        self.address = address

    @step(num_workers=1, retry_policy=LATER)
    async def post_move(self, ctx: Context, ev: Moved) -> Posted:
        self.post(ctx, ev.to)
        return Posted()

    @step(num_workers=1, retry_policy=LATER)
    async def post_all(self, ctx: Context, ev: Post) -> StopEvent:
        for address in ev.moves:
            self.post(ctx, address)
        return StopEvent()

    @step
    async def end(self, ctx: Context, ev: Posted) -> StopEvent | None:
        return None if ctx.collect_events(ev, [Posted] * 2) is None else StopEvent()


class Fixed(Broken):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Moved | Post | None:
        return Post(moves=("Old Street", "New Street"))  # what must stay in order is one thing to try again


def invariant(seen: Exploration) -> None:
    address = seen.workflow.address  # type: ignore[attr-defined]
    assert address == "New Street", f"the service knows {address}"
