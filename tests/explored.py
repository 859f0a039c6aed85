"""Run anything under a schedule: for tests of the engine that look at more than `explore` shows."""

from collections.abc import Awaitable, Callable

import anyio
from explored_workflows import Scenario

from anyio_workflows import WorkflowCheckpointer, WorkflowHandler
from anyio_workflows.abc import turnstile
from anyio_workflows.testing import STANDARD_CHECKS, Schedule
from anyio_workflows.testing._loops import run_explored
from anyio_workflows.testing._turnstile import ScheduledTurnstile
from anyio_workflows.testing.exploration import Case, Exploration, run_once

WILD = Schedule((1, 2) * 60)
"""Hardly ever lets the first go on who came."""


class Cutting(ScheduledTurnstile):
    """Cuts the run before each turn, and sees that what is written of it is read as the same."""

    handler: WorkflowHandler | None = None
    checkpointer: WorkflowCheckpointer | None = None
    cuts: int = 0

    def let_one_through(self) -> bool:
        """Cut first."""
        if self.handler is not None and self.checkpointer is not None and not self.handler.is_done():
            written = self.checkpointer.dumps(self.handler.checkpoint())
            again = self.checkpointer.dumps(self.checkpointer.loads(written))
            assert again == written, "a checkpoint is read as another than was written"
            self.cuts += 1
        return super().let_one_through()


def run_under(gate: ScheduledTurnstile, backend: str, main: Callable[[], Awaitable[None]]) -> None:
    """Run *main* in an event loop of its own in which *gate* decides, and see that it leaves no task."""

    async def watched(begin: Callable[[], None]) -> None:
        turnstile.set(gate)
        begin()
        before = {task.id for task in anyio.get_running_tasks()}
        await main()
        assert [task for task in anyio.get_running_tasks() if task.id not in before] == []

    run_explored(watched, backend, gate)


def run_scenario(
    scenario: Scenario, schedule: Schedule, backend: str, *, recorded: bool = True
) -> Exploration:
    """Run it once, and check it."""
    case = Case(make=scenario.make, driver=scenario.driver, options=scenario.options, recorded=recorded)
    seen = run_once(case, schedule, backend)
    for check in (*STANDARD_CHECKS, scenario.check):
        check(seen)
    return seen
