"""Time contenders in turns and say what each costs per unit of work.

What the work is, and how the numbers are shown, is decided elsewhere.
"""

import gc
import statistics
import tracemalloc
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from time import perf_counter

import anyio
import attrs
from anyio.lowlevel import checkpoint

Job = Callable[[int], Awaitable[object]]
Parking = Callable[[int], AbstractAsyncContextManager[Callable[[], int]]]


@attrs.frozen(kw_only=True)
class Effort:
    """How long to measure."""

    rounds: int
    """Rounds, in each of which every contender has its turn."""

    turn: float
    """Seconds that a turn should last at least; short works are repeated until it does."""

    limit: float = 60.0
    """Seconds for all turns of one contender; one that needs more gets fewer rounds, but one at least."""

    collect: bool = False
    """Whether the garbage collector may run within a turn."""


THOROUGH = Effort(rounds=9, turn=0.1)
QUICK = Effort(rounds=7, turn=0.02, limit=5.0)


@attrs.frozen
class Sample:
    """What the rounds of one contender took."""

    seconds: tuple[float, ...]
    """Seconds per unit, one for each round."""

    @property
    def median(self) -> float:
        """Seconds per unit."""
        return statistics.median(self.seconds)

    def over(self, other: "Sample") -> float:
        """Return how many times as long as *other* this took, the median over the rounds of both.

        Turn by turn, so that a machine that grows slower while we measure shows in both alike.
        """
        pairs = zip(self.seconds, other.seconds, strict=False)
        return statistics.median(mine / theirs for mine, theirs in pairs)


async def compare(works: Mapping[str, Job], count: int, units: int, effort: Effort) -> dict[str, Sample]:
    """Run every one of *works* in turns.

    Args:
        works: What to run, by name. Each is called with *count*.
        count: How much is to be done in one call.
        units: How many units one call amounts to; the samples are per unit.
        effort: How long to measure.
    """
    once = {name: await _turn(work, count, 1, collect=effort.collect) for name, work in works.items()}
    # The first call pays for caches and lazy imports; only now is the time worth planning with.
    once = {
        name: took if took > effort.turn else await _turn(work, count, 1, collect=effort.collect)
        for (name, work), took in zip(works.items(), once.values(), strict=True)
    }
    repeats = {name: max(1, round(effort.turn / max(took, 1e-6))) for name, took in once.items()}
    seconds: dict[str, list[float]] = {name: [] for name in works}
    order = list(works)
    for round_number in range(effort.rounds):
        for name in order:
            if round_number and round_number * repeats[name] * once[name] > effort.limit:
                continue
            took = await _turn(works[name], count, repeats[name], collect=effort.collect)
            seconds[name].append(took / repeats[name] / units)
        # Nobody is to run on the caches that the same other one has warmed every time.
        order.reverse()
    return {name: Sample(tuple(taken)) for name, taken in seconds.items()}


async def _turn(work: Job, count: int, repeats: int, *, collect: bool) -> float:
    gc.collect()
    if not collect:
        gc.disable()
    try:
        start = perf_counter()
        for _ in range(repeats):
            await work(count)
        return perf_counter() - start
    finally:
        gc.enable()


async def bytes_per_run(parking: Parking, runs: int) -> float:
    """Return the bytes that each of *runs* parked runs keeps allocated, as `tracemalloc` counts them."""
    # Parsed once, cached for ever: what the first runs allocate belongs to nobody's thousandth run.
    await _traced(parking, 50)
    return await _traced(parking, runs) / runs


async def _traced(parking: Parking, runs: int) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        async with parking(runs) as waiting:
            with anyio.fail_after(60):
                while waiting() < runs:
                    await checkpoint()
            await anyio.wait_all_tasks_blocked()
            gc.collect()
            return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


async def bytes_at_most(work: Job, count: int, units: int) -> float:
    """Return the most bytes per unit that *work* has allocated at any one time, as `tracemalloc` counts them."""
    await work(count)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        await work(count)
        return (tracemalloc.get_traced_memory()[1] - before) / units
    finally:
        tracemalloc.stop()
