"""Workflows and observers for the tests of runs."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step


class Work(Event):
    number: int = 0


class Abort(BaseException):
    """Like KeyboardInterrupt: neither an Exception nor the backend's cancellation."""


class Echo(Workflow):
    """Gives back what it was started with, without ever suspending."""

    @step
    async def echo(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=ev.get("value"))


class Failing(Workflow):
    """Raises what it was started with."""

    @step
    async def fail(self, ev: StartEvent) -> StopEvent:
        raise ev.error


class Held(Workflow):
    """Begins, waits to be let go, and notes how it was left."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.begun = anyio.Event()
        self.gate = anyio.Event()
        self.log: list[str] = []

    @step
    async def hold(self, ev: StartEvent) -> StopEvent:
        self.log.append("begun")
        self.begun.set()
        try:
            await self.gate.wait()
        except BaseException as error:
            cancelled = isinstance(error, anyio.get_cancelled_exc_class())
            self.log.append("cancelled" if cancelled else f"left by {error!r}")
            raise
        self.log.append("done")
        return StopEvent(result=ev.get("value", "let go"))


class Calling(Workflow):
    """Ends with what an async function of the test's gives, or None."""

    def __init__(self, body: Callable[[Context], Awaitable[object]], **options: Any) -> None:
        super().__init__(**options)
        self.body = body

    @step
    async def call(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent(result=await self.body(ctx))


class Crowd(Workflow):
    """Three workers stay until they are cancelled; once all have begun, `last` says what happens next."""

    def __init__(self, last: Callable[[Context], Awaitable[StopEvent]], **options: Any) -> None:
        super().__init__(**options)
        self.last = last
        self.begun = 0
        self.all_begun = anyio.Event()
        self.cleaned_up = 0

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent | Work:
        for number in range(3):
            ctx.send_event(Work(number=number))
        await self.all_begun.wait()
        return await self.last(ctx)

    @step
    async def stay(self, ev: Work) -> None:
        self.begun += 1
        if self.begun == 3:
            self.all_begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            # Without a shield the first await of a clean-up is cancelled as well.
            with anyio.CancelScope(shield=True):
                await checkpoint()
            self.cleaned_up += 1


class Passes:
    """Counts scheduling passes, each of which gives every task that can run one turn."""

    def __init__(self) -> None:
        self.count = 0
        self.is_over = False

    async def tick(self) -> None:
        while not self.is_over:
            self.count += 1
            await checkpoint()


async def stored_cancellation() -> BaseException:
    """Return a cancelled exception of the backend's, of a cancellation that is over."""
    stored: list[BaseException] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await checkpoint()
        except anyio.get_cancelled_exc_class() as error:
            stored.append(error)
            raise
    return stored[0]


async def never(*_: object) -> Any:
    """Wait for what never comes."""
    await anyio.sleep_forever()


async def events_of(handler: Any, *, expose_internal: bool = False) -> list[Event]:
    """Return what is on the stream of *handler*, which ends."""
    return [event async for event in handler.stream_events(expose_internal=expose_internal)]
