"""The works on llama-index-workflows, as its documentation would have them written."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sizes import STREAM_BURST, WORKERS
from workflows import Context, Workflow, step
from workflows.events import Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent


class Tick(Event):
    n: int


class Work(Event):
    n: int
    of: int


class Done(Event):
    n: int
    of: int


class First(Event):
    n: int


class Second(Event):
    n: int


class Progress(Event):
    n: int


class Loop(Workflow):
    @step
    async def hop(self, ev: StartEvent | Tick) -> Tick | StopEvent:
        return Tick(n=ev.n - 1) if ev.n else StopEvent(result=0)


class FanOut(Workflow):
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
        done = ctx.collect_events(ev, [Done] * ev.of)
        return None if done is None else StopEvent(result=len(done))


class ThreeSteps(Workflow):
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
    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=ev.n)


class Stream(Workflow):
    @step
    async def write(self, ctx: Context, ev: StartEvent) -> StopEvent:
        event = Progress(n=1)
        for n in range(ev.n):
            ctx.write_event_to_stream(event)
            if n % STREAM_BURST == 0:
                await asyncio.sleep(0)
        return StopEvent(result=ev.n)


class Ask(Workflow):
    @step
    async def ask(self, ev: StartEvent) -> InputRequiredEvent:
        ev.asked.append(1)
        return InputRequiredEvent()

    @step
    async def answered(self, ev: HumanResponseEvent) -> StopEvent:
        return StopEvent(result=ev)


_LOOP = Loop(timeout=None)
_FAN_OUT = FanOut(timeout=None)
_THREE_STEPS = ThreeSteps(timeout=None)
_ONE_STEP = OneStep(timeout=None)
_STREAM = Stream(timeout=None)
_ASK = Ask(timeout=None)


async def loop(hops: int) -> None:
    await _LOOP.run(n=hops)


async def fan_out(count: int) -> None:
    result = await _FAN_OUT.run(n=count)
    assert result == count


async def three_steps(runs: int) -> None:
    async def run_one() -> None:
        await _THREE_STEPS.run(n=1)

    await asyncio.gather(*(run_one() for _ in range(runs)))


async def one_step(_count: int) -> None:
    await _ONE_STEP.run(n=1)


async def stream(count: int) -> None:
    handler = _STREAM.run(n=count)
    read = 0
    async for _event in handler.stream_events():
        read += 1
    assert read == count + 1
    await handler


@asynccontextmanager
async def parked(runs: int) -> AsyncIterator[Callable[[], int]]:
    asked: list[int] = []
    handlers = [_ASK.run(asked=asked) for _ in range(runs)]
    yield lambda: len(asked)
    for handler in handlers:
        await handler.cancel_run()
    await asyncio.gather(*handlers, return_exceptions=True)
