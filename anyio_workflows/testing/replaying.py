"""Show what happens under one schedule."""

from typing import Any

from .. import StartEvent
from .arguments import maker_of
from .exploration import Case, Driver, run_once
from .report import came_to, table
from .schedule import Schedule, schedule_of


def replay(
    workflow: Any,
    schedule: Schedule | str = "",
    start_event: StartEvent | None = None,
    *,
    driver: Driver | None = None,
    backend: str = "asyncio",
    **options: Any,
) -> str:
    """Run *workflow* once, as *schedule* says, and return a table of who went on when, and what it came to.

    Args:
        workflow: Its class, a function that makes one, or one.
        schedule: As a report has it.
        start_event: What the run starts with; or give its fields among *options*.
        driver: Called with the handler, beside the run.
        backend: ``"asyncio"`` or ``"trio"``.
        **options: As for `Workflow.run`.

    Raises:
        WorkflowRuntimeError: *schedule* is none.
    """
    tape = schedule_of(schedule)
    case = Case(
        make=maker_of(workflow, in_world=False),
        start_event=start_event,
        options=options,
        driver=driver,
        recorded=tape.crash_at is not None,
    )
    seen = run_once(case, tape, backend)
    return f"{table(seen)}\n\n{came_to(seen)}"
