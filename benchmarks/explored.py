"""W9: how many runs of a workflow of twenty steps a schedule decides per second, beside as many without one.

In seconds of the processor: nothing waits in them, and the machine may have other work.
"""

import gc
from time import process_time

import anyio
from shapes import Tick
from sizes import EXPLORED_STEPS
from timing import Effort, Sample

from anyio_workflows import StartEvent, StopEvent, Workflow, step
from anyio_workflows.testing import Schedule, explore

TURN = 40
"""Runs of one turn."""

_SCHEDULE = Schedule((1, 0, 2))


class TwentySteps(Workflow):
    """One step after the other."""

    @step
    async def begin(self, ev: StartEvent) -> Tick:
        return Tick(n=EXPLORED_STEPS - 2)

    @step
    async def hop(self, ev: Tick) -> Tick | StopEvent:
        return Tick(n=ev.n - 1) if ev.n else StopEvent(result=0)


def _explored(backend: str) -> float:
    began = process_time()
    for _ in range(TURN):
        explore(TwentySteps, schedule=_SCHEDULE, backends=(backend,))
    return (process_time() - began) / TURN


def _plain(backend: str) -> float:
    async def run() -> None:
        await TwentySteps().run()

    began = process_time()
    for _ in range(TURN):
        anyio.run(run, backend=backend)
    return (process_time() - began) / TURN


def explored_runs(backend: str, effort: Effort) -> tuple[Sample, Sample]:
    """Return seconds for one run: with a schedule, and without, both in an event loop of its own."""
    for work in (_explored, _plain):
        work(backend)
    rounds: list[tuple[float, float]] = []
    for _ in range(effort.rounds):
        gc.collect()
        if not effort.collect:
            gc.disable()
        rounds.append((_explored(backend), _plain(backend)))
        gc.enable()
    return Sample(tuple(mine for mine, _ in rounds)), Sample(tuple(floor for _, floor in rounds))
