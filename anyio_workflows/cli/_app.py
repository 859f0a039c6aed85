"""The commands, their options, and what the program ends with."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console

from .. import Graph, StartEvent, Workflow, WorkflowHandler, WorkflowRuntimeError, to_dot, to_mermaid
from ._errors import UsageError
from ._fields import start_event
from ._options import (
    INTERRUPTED,
    OK,
    Backend,
    Durability,
    Flag,
    Timeout,
    check_backend,
    complain,
    exit_code,
    run_in,
    say,
)
from ._run import execute
from ._runs import runs
from ._stored import begun
from ._target import load_workflow
from ._text import result_text

app = App(
    name="anyio-workflows",
    help="Run workflows, draw them, and look after the runs that are kept in a store.",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.command(runs)


@app.command
def run(
    target: str,
    /,
    *fields: str,
    store: Path | None = None,
    run_id: str | None = None,
    durability: Durability | None = None,
    backend: Backend = "asyncio",
    timeout: Timeout = None,
    progress: bool = True,
    traceback: Flag = False,
) -> int:
    """Run a workflow and print its result.

    Args:
        target: module:Workflow or path/to/file.py:Workflow; a class, or an instance.
        fields: Fields of its start event, each key=value; the value is JSON, or else text.
        store: File in which the run is kept, so that it can be resumed; made if it is not there.
        run_id: What the run is called; by default something that no other is called.
        durability: When it is saved in the store: sync, before anything follows from what a step returned; async, as
            soon as the store can, which is the default; exit, at the end.
        backend: The event loop.
        timeout: Seconds that it may take, instead of its own timeout.
        progress: Show on stderr what it is doing.
        traceback: Show where an error comes from.
    """

    def work() -> None:
        check_backend(backend)
        if durability is not None and store is None:
            raise UsageError(
                f"--durability {durability} says when a run is saved; say where: --store runs.db"
            )
        workflow = load_workflow(target)
        start = start_event(workflow, fields)
        console = Console(stderr=True, quiet=not progress)
        given = {"run_id": run_id, "timeout": timeout}
        options = {name: value for name, value in given.items() if value is not None}

        async def main() -> object:
            async with _begun(store, workflow, start, durability or "async", options) as handler:
                if store is not None and run_id is None:
                    console.print(f"run {handler.run_id}", style="dim", highlight=False)
                return await execute(workflow, handler, console=console)

        say(result_text(run_in(backend, main)))

    return exit_code(work, shows_traceback=traceback)


def _begun(
    store: Path | None,
    workflow: Workflow,
    start: StartEvent,
    durability: Durability,
    options: dict[str, Any],
) -> AbstractAsyncContextManager[WorkflowHandler]:
    if store is None:
        return nullcontext(workflow.run(start_event=start, **options))
    return begun(store, workflow, start, durability, options)


@app.command
def graph(
    target: str,
    /,
    *,
    format_: Annotated[Literal["mermaid", "dot", "svg", "html"], Parameter(name="--format")] = "mermaid",
    traceback: Flag = False,
) -> int:
    """Print the graph of a workflow, as text that draws it, as an image or as a page.

    Args:
        target: module:Workflow or path/to/file.py:Workflow; a class, or an instance.
        format_: What to print: text for Mermaid or Graphviz, an SVG image, or a page of HTML that needs nothing else.
        traceback: Show where an error comes from.
    """

    def work() -> None:
        draw = {"mermaid": to_mermaid, "dot": to_dot, "svg": Graph.to_svg, "html": Graph.to_html}[format_]
        say(draw(load_workflow(target).graph).removesuffix("\n"))

    return exit_code(work, shows_traceback=traceback)


@app.command
def replay(
    target: str,
    /,
    *fields: str,
    schedule: str = "",
    backend: Backend = "asyncio",
    traceback: Flag = False,
) -> int:
    """Run a workflow as a schedule says, and print who went on when.

    Args:
        target: module:Workflow or path/to/file.py:Workflow; a class, or an instance.
        fields: Fields of its start event, each key=value; the value is JSON, or else text.
        schedule: As a report of anyio_workflows.testing.explore has it: 1.0.3, or 1.0.3!5 with a crash.
        backend: The event loop.
        traceback: Show where an error comes from.
    """

    def work() -> None:
        from ..testing import Schedule  # noqa: PLC0415  # for those who test
        from ..testing import replay as replayed  # noqa: PLC0415

        check_backend(backend)
        try:
            tape = Schedule.parse(schedule)
        except WorkflowRuntimeError as error:
            raise UsageError(str(error)) from error
        workflow = load_workflow(target)
        say(replayed(workflow, tape, start_event(workflow, fields), backend=backend))

    return exit_code(work, shows_traceback=traceback)


def command_line(arguments: Sequence[str]) -> int:
    """Do what *arguments* say and return the exit code."""
    code = OK
    try:
        # Without a command it prints its help and returns None.
        code = app(arguments, exit_on_error=False) or OK
    except* CycloptsError:  # which has been printed
        code = UsageError.exit_code
    # Trio may deliver it to any task, and then it comes in the groups of the task groups around that.
    except* KeyboardInterrupt:
        complain("interrupted")
        code = INTERRUPTED
    return code
