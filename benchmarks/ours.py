"""The works on anyio_workflows, as its documentation would have them written."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.lowlevel import checkpoint
from shapes import Done, First, Progress, Second, Tick, Work
from sizes import STREAM_BURST, WORKERS

from anyio_workflows import (
    Context,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)


class Loop(Workflow):
    """W1: one step that returns the event it takes next."""

    @step
    async def hop(self, ev: StartEvent | Tick) -> Tick | StopEvent:
        return Tick(n=ev.n - 1) if ev.n else StopEvent(result=0)


class FanOut(Workflow):
    """W2: many events at once, four workers, one collection."""

    @step
    async def split(self, ctx: Context, ev: StartEvent) -> Work | None:
        for n in range(ev.n):
            ctx.send_event(Work(n=n, of=ev.n))
        return None

    @step(num_workers=WORKERS)
    async def work(self, ev: Work) -> Done:
        return Done(n=ev.n, of=ev.of)

    @step
    async def collect(self, ctx: Context, ev: Done) -> StopEvent | None:
        done = ctx.collect_events(ev, {Done: ev.of})
        return None if done is None else StopEvent(result=len(done))


class Joined(Workflow):
    """W8: many events at once, four workers, and a step that takes what they have returned."""

    @step
    async def split(self, ev: StartEvent) -> list[Work]:
        return [Work(n=n, of=ev.n) for n in range(ev.n)]

    @step(num_workers=WORKERS)
    async def work(self, ev: Work) -> Done:
        return Done(n=ev.n, of=ev.of)

    @step
    async def join(self, done: list[Done]) -> StopEvent:
        return StopEvent(result=len(done))


class ThreeSteps(Workflow):
    """W3: a short run, of which there are many at once."""

    @step
    async def first(self, ev: StartEvent) -> First:
        return First(n=ev.n)

    @step
    async def second(self, ev: First) -> Second:
        return Second(n=ev.n)

    @step
    async def third(self, ev: Second) -> StopEvent:
        return StopEvent(result=ev.n)


class OneStep(Workflow):
    """W4: the shortest run there is."""

    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=ev.n)


class Stream(Workflow):
    """W7: a step that says how far it is."""

    @step
    async def write(self, ctx: Context, ev: StartEvent) -> StopEvent:
        event = Progress(n=1)
        for n in range(ev.n):
            ctx.write_event_to_stream(event)
            if n % STREAM_BURST == 0:
                await checkpoint()
        return StopEvent(result=ev.n)


class Ask(Workflow):
    """W5: a step that asks and stays until it is answered."""

    waiting = 0

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        self.waiting += 1
        answer = await ctx.wait_for_event(HumanResponseEvent, waiter_event=InputRequiredEvent())
        return StopEvent(result=answer)


class AskAndAnswer(Workflow):
    """W5: a step that asks, and another that takes the answer; none is in work meanwhile."""

    waiting = 0

    @step
    async def ask(self, ev: StartEvent) -> InputRequiredEvent:
        self.waiting += 1
        return InputRequiredEvent()

    @step
    async def answered(self, ev: HumanResponseEvent) -> StopEvent:
        return StopEvent(result=ev)


LOOP = Loop(timeout=None)
FAN_OUT = FanOut(timeout=None)
_JOINED = Joined(timeout=None)
_THREE_STEPS = ThreeSteps(timeout=None)
_ONE_STEP = OneStep(timeout=None)
_STREAM = Stream(timeout=None)


async def loop(hops: int) -> None:
    """W1."""
    await LOOP.run(n=hops)


async def fan_out(count: int) -> None:
    """W2."""
    result = await FAN_OUT.run(n=count)
    assert result == count


async def joined(count: int) -> None:
    """W8."""
    result = await _JOINED.run(n=count)
    assert result == count


async def three_steps(runs: int) -> None:
    """W3."""

    async def run_one() -> None:
        await _THREE_STEPS.run(n=1)

    async with anyio.create_task_group() as tasks:
        for _ in range(runs):
            tasks.start_soon(run_one)


async def one_step(_count: int) -> None:
    """W4."""
    await _ONE_STEP.run(n=1)


async def stream(count: int) -> None:
    """W7."""
    read = 0
    async with _STREAM.run(n=count) as handler:
        async for _event in handler.stream_events():
            read += 1
    assert read == count + 1, "the StopEvent comes last"


@asynccontextmanager
async def parked(runs: int) -> AsyncIterator[Callable[[], int]]:
    """W5, in `Context.wait_for_event`."""
    async with _parked(workflow := Ask(timeout=None), runs):
        yield lambda: workflow.waiting


@asynccontextmanager
async def parked_between_steps(runs: int) -> AsyncIterator[Callable[[], int]]:
    """W5, between the step that asked and the one that is to take the answer."""
    async with _parked(workflow := AskAndAnswer(timeout=None), runs):
        yield lambda: workflow.waiting


@asynccontextmanager
async def _parked(workflow: Workflow, runs: int) -> AsyncIterator[None]:
    async def run_one() -> None:
        await workflow.run()

    async with anyio.create_task_group() as tasks:
        for _ in range(runs):
            tasks.start_soon(run_one)
        yield
        tasks.cancel_scope.cancel()
