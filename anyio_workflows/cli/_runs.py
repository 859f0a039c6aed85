"""The commands for what a store holds: list its runs, show one, go on with one, delete one."""

import sys
from typing import Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.console import Console, RenderableType

from ..abc import Record, RunInfo, RunStatus
from ._errors import blaming
from ._options import Backend, Durability, Flag, Store, Timeout, check_backend, exit_code, run_in, say
from ._run import execute
from ._stored import opened, taken_up
from ._tables import description_of, table_of_records, table_of_runs
from ._target import load_workflow
from ._text import result_text

_UNBOUNDED = 1000
"""Columns where no terminal says how many it has: a program that reads a table wants its lines whole."""

Count = Annotated[int, Parameter(validator=Number(gte=1))]

runs = App(name="runs", help="Look at the runs in a store, go on with one, or delete it.")


@runs.command(name="list")
def list_(
    *,
    store: Store,
    workflow: str | None = None,
    status: RunStatus | None = None,
    last: Count | None = None,
    traceback: Flag = False,
) -> int:
    """List the runs, the newest first.

    Args:
        store: File of the store; it is only read, also while a program writes to it.
        workflow: Only runs of the workflow of this name.
        status: Only runs that stand like this; one that was killed is still said to be running.
        last: Only so many, the newest.
        traceback: Show where an error comes from.
    """

    async def found() -> list[RunInfo]:
        async with opened(store, read_only=True) as source:
            with blaming(f"{store} cannot be read"):
                return await source.runs(workflow=workflow, status=status, limit=last)

    def work() -> None:
        listed = run_in("asyncio", found)
        if listed:
            _show(table_of_runs(listed))
        else:
            chosen = workflow is not None or status is not None
            say(f"{store} holds no {'such ' if chosen else ''}runs")

    return exit_code(work, shows_traceback=traceback)


@runs.command
def show(run_id: str, /, *, store: Store, last: Count = 20, traceback: Flag = False) -> int:
    """Show how a run stands, and what it has done.

    Args:
        run_id: Its id.
        store: File of the store; it is only read, also while a program writes to it.
        last: How many of its records, the latest.
        traceback: Show where an error comes from.
    """

    async def found() -> tuple[RunInfo, list[Record]]:
        async with opened(store, read_only=True) as source:
            with blaming(f"{store} cannot be read"):
                return await source.run(run_id), await source.history(run_id)

    def work() -> None:
        run, records = run_in("asyncio", found)
        _show(description_of(run, records))
        if records:
            say("")
            _show(table_of_records(run, records[-last:]))
        if len(records) > last:
            say(f"\n{len(records) - last:,} earlier ones are not shown; --last {len(records)} shows all")

    return exit_code(work, shows_traceback=traceback)


@runs.command
def resume(
    run_id: str,
    target: str,
    /,
    *,
    store: Store,
    durability: Durability = "async",
    allow_changed: Flag = False,
    backend: Backend = "asyncio",
    timeout: Timeout = None,
    progress: bool = True,
    traceback: Flag = False,
) -> int:
    """Go on with a run where it was, and print its result; one that is done gives the result that it had.

    Args:
        run_id: Its id.
        target: Its workflow: module:Workflow or path/to/file.py:Workflow; a class, or an instance.
        store: File of the store.
        durability: When it is saved: before anything follows from what a step returned, soon after, or at the end.
        allow_changed: Also if the workflow has other steps or events than it had; what has no place is an error.
        backend: The event loop.
        timeout: Seconds that it may take from now on, instead of the workflow's own timeout.
        progress: Show on stderr what it is doing.
        traceback: Show where an error comes from.
    """

    def work() -> None:
        check_backend(backend)
        workflow = load_workflow(target)
        console = Console(stderr=True, quiet=not progress)
        options: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        if allow_changed:
            options["allow_changed"] = True

        async def main() -> object:
            async with taken_up(store, workflow, run_id, durability, options) as handler:
                return await execute(workflow, handler, console=console)

        say(result_text(run_in(backend, main)))

    return exit_code(work, shows_traceback=traceback)


@runs.command
def delete(run_id: str, /, *, store: Store, traceback: Flag = False) -> int:
    """Delete a run and all its records.

    Args:
        run_id: Its id.
        store: File of the store; no other program may be writing to it.
        traceback: Show where an error comes from.
    """

    async def gone() -> None:
        async with opened(store) as place:
            with blaming(f"{run_id!r} cannot be deleted"):
                await place.delete(run_id)

    return exit_code(lambda: run_in("asyncio", gone), shows_traceback=traceback)


def _show(table: RenderableType) -> None:
    console = Console(width=None if sys.stdout.isatty() else _UNBOUNDED)
    with console.capture() as lines:
        console.print(table)
    # It fills every line up with spaces.
    say("\n".join(line.rstrip() for line in lines.get().splitlines()))
