from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import anyio

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step


class Numbers(Event):
    first: int
    last: int


class Counted(Event):
    primes: int


class Primes(Workflow):
    @step
    async def split(self, ctx: Context, ev: StartEvent) -> Numbers | None:
        for first in range(0, 20_000, 5_000):
            ctx.send_event(Numbers(first=first, last=first + 4_999))
        return None

    @step
    async def add_up(self, ctx: Context, ev: Counted) -> StopEvent | None:
        counted = ctx.collect_events(ev, [Counted] * 4)
        if counted is None:
            return None
        return StopEvent(result=sum(each.primes for each in counted))


def processes() -> ProcessPoolExecutor:  # called when the first event comes
    # Before Python 3.14 Linux forks by default, and the fork of a process with threads can hang.
    return ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn"))


@step(workflow=Primes, num_workers=2, executor=processes)
def count(ev: Numbers) -> Counted:  # runs in another process, and its event goes there and back
    numbers = range(max(ev.first, 2), ev.last + 1)
    return Counted(primes=sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in numbers))


async def main() -> None:
    print(await Primes().run(), "primes below 20000")


if __name__ == "__main__":  # as everywhere with processes: they import this file, too
    anyio.run(main)
