"""A fan-out of numbered items for tests, each of which does what the test says."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import anyio
from running import events_of

from anyio_workflows import (
    Collect,
    Context,
    Event,
    StartEvent,
    StepCancelledEvent,
    StopEvent,
    Take,
    Workflow,
    WorkflowHandler,
    step,
)


class Item(Event):
    n: int


class Done(Event):
    n: int


class Extra(Event):
    n: int


async def done(ctx: Context, ev: Item) -> Done | None:
    """Give what an item comes to, at once."""
    return Done(n=ev.n)


class Fan(Workflow):
    """Fans `size` items out, works on each with *member*, and gives the numbers that have come to the join."""

    def __init__(
        self, member: Callable[[Context, Item], Awaitable[Any]] = done, *, size: int = 3, **options: Any
    ) -> None:
        super().__init__(**options)
        self.member = member
        self.size = size
        self.joined: list[list[int]] = []

    @step
    async def split(self, ev: StartEvent) -> list[Item]:
        return [Item(n=n) for n in range(self.size)]

    @step(num_workers=8)
    async def work(self, ctx: Context, ev: Item) -> Done | None:
        result: Done | None = await self.member(ctx, ev)
        return result

    @step
    async def join(self, evs: list[Done]) -> StopEvent:
        self.joined.append([ev.n for ev in evs])
        return StopEvent(result=self.joined[-1])


class FirstTwo(Fan):
    """Goes on with two, and cancels the others."""

    @step
    async def join(self, evs: Annotated[list[Done], Collect(Take(2, cancel_rest=True))]) -> StopEvent:
        return StopEvent(result=[ev.n for ev in evs])


class Gates:
    """Lets members of a fan-out end in an order that the test chooses."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self._gates: dict[int, anyio.Event] = {}

    def gate(self, n: int) -> anyio.Event:
        return self._gates.setdefault(n, anyio.Event())

    async def member(self, ctx: Context, ev: Item) -> Done:
        self.begun.append(ev.n)
        await self.gate(ev.n).wait()
        return Done(n=ev.n)

    def open(self, *numbers: int) -> None:
        for n in numbers:
            self.gate(n).set()


async def cancelled(handler: WorkflowHandler) -> list[tuple[str, Event, str]]:
    """Return step, event and reason of everything that was cancelled by itself."""
    return [
        (event.step_name, event.input_event, event.reason)
        for event in await events_of(handler, expose_internal=True)
        if isinstance(event, StepCancelledEvent)
    ]
