"""Workflows with steps that fail, for the tests of retries."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from tenacity import retry_if_exception_type, stop_never, wait_fixed

from anyio_workflows import Context, Event, RetryPolicy, StartEvent, StopEvent, Workflow, step

FOR_EVER = RetryPolicy(stop=stop_never)


class Work(Event):
    number: int = 0


class Result(Event):
    number: int = 0


class Flaky(Exception):
    """What an attempt fails with that may do better the next time."""


def failing_until(attempt: int) -> Callable[[Context], Awaitable[int]]:
    """Return a body that fails in each attempt before *attempt*, and gives the number of its retry."""

    async def body(ctx: Context) -> int:
        number = ctx.retry_info().retry_number
        if number + 1 < attempt:
            raise Flaky(f"attempt {number + 1}")
        return number

    return body


def retried(
    body: Callable[[Context], Awaitable[object]], policy: RetryPolicy | None = None, **options: Any
) -> Workflow:
    """Return a workflow of one step, which does *body* and is retried by *policy*, RetryPolicy() by default."""

    class Retried(Workflow):
        @step(retry_policy=policy or RetryPolicy(), **options)
        async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
            return StopEvent(result=await body(ctx))

    return Retried()


async def always_failing(ctx: Context) -> None:
    raise Flaky(f"attempt {ctx.retry_info().retry_number + 1}")


class Piecework(Workflow):
    """Works on `n` pieces, one after the other; `fails` says how often each fails, `begun` notes every attempt."""

    def __init__(self, fails: dict[int, int], n: int = 4, **options: Any) -> None:
        super().__init__(**options)
        self.fails = dict(fails)
        self.n = n
        self.begun: list[int] = []
        self.times: list[float] = []

    @step
    async def split(self, ctx: Context, ev: StartEvent) -> Work | None:
        for number in range(self.n):
            ctx.send_event(Work(number=number))
        return None

    @step(num_workers=1, retry_policy=FOR_EVER)
    async def work(self, ctx: Context, ev: Work) -> Result:
        return self.attempt(ev)

    @step
    async def join(self, ctx: Context, ev: Result) -> StopEvent | None:
        results = ctx.collect_events(ev, {Result: self.n})
        return None if results is None else StopEvent(result=[each.number for each in results])

    def attempt(self, ev: Work) -> Result:
        self.begun.append(ev.number)
        self.times.append(anyio.current_time())
        if self.fails.get(ev.number, 0) > 0:
            self.fails[ev.number] -= 1
            raise Flaky(str(ev.number))
        return Result(number=ev.number)


class DelayedPiecework(Piecework):
    """Waits ten seconds and one for each number of a piece before it tries it again."""

    @step(
        num_workers=1,
        retry_policy=RetryPolicy(
            retry=retry_if_exception_type(Flaky),
            wait=lambda state: wait_fixed(10 + int(str(state.outcome.exception())))(state),
            stop=stop_never,
        ),
    )
    async def work(self, ctx: Context, ev: Work) -> Result:
        return self.attempt(ev)
