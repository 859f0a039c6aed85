"""The commands, their options, and what the program ends with."""

import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from traceback import print_exception
from typing import Annotated, Literal

import anyio
from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number
from rich.console import Console

from .. import to_dot, to_mermaid
from ._errors import CommandError, UsageError
from ._fields import start_event
from ._run import execute
from ._target import load_workflow
from ._text import error_text, result_text

_OK, _FAILED, _INTERRUPTED = 0, 1, 130

app = App(
    name="anyio-workflows",
    help="Run workflows, and draw them.",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)

ShowsTraceback = Annotated[bool, Parameter(negative=())]


@app.command
def run(
    target: str,
    /,
    *fields: str,
    backend: Literal["asyncio", "trio"] = "asyncio",
    timeout: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    progress: bool = True,
    traceback: ShowsTraceback = False,
) -> int:
    """Run a workflow and print its result.

    Args:
        target: module:Workflow or path/to/file.py:Workflow; a class, or an instance.
        fields: Fields of its start event, each key=value; the value is JSON, or else text.
        backend: The event loop.
        timeout: Seconds that it may take, instead of its own timeout.
        progress: Show on stderr what it is doing.
        traceback: Show where an error comes from.
    """

    def work() -> None:
        if backend == "trio" and find_spec("trio") is None:
            raise UsageError("trio is not installed; install the extra: pip install 'anyio-workflows[trio]'")
        workflow = load_workflow(target)
        start = start_event(workflow, fields)
        console = Console(stderr=True, quiet=not progress)

        async def main() -> object:
            return await execute(workflow, start, timeout=timeout, console=console)

        print(result_text(anyio.run(main, backend=backend)))  # noqa: T201  # its output

    return _exit_code(work, shows_traceback=traceback)


@app.command
def graph(
    target: str,
    /,
    *,
    format_: Annotated[Literal["mermaid", "dot"], Parameter(name="--format")] = "mermaid",
    traceback: ShowsTraceback = False,
) -> int:
    """Print the graph of a workflow, as text that draws it.

    Args:
        target: module:Workflow or path/to/file.py:Workflow; a class, or an instance.
        format_: The language of the text.
        traceback: Show where an error comes from.
    """

    def work() -> None:
        draw = {"mermaid": to_mermaid, "dot": to_dot}[format_]
        print(draw(load_workflow(target).graph), end="")  # noqa: T201  # its output

    return _exit_code(work, shows_traceback=traceback)


def command_line(arguments: Sequence[str]) -> int:
    """Do what *arguments* say and return the exit code."""
    code = _OK
    try:
        # Without a command it prints its help and returns None.
        code = app(arguments, exit_on_error=False) or _OK
    except* CycloptsError:  # which has been printed
        code = UsageError.exit_code
    # Trio may deliver it to any task, and then it comes in the groups of the task groups around that.
    except* KeyboardInterrupt:
        _complain("interrupted")
        code = _INTERRUPTED
    return code


def _exit_code(work: Callable[[], None], *, shows_traceback: bool) -> int:
    try:
        work()
    except Exception as error:  # noqa: BLE001  # whatever a step raises is to be told
        if shows_traceback:
            print_exception(error)
        else:
            _complain(error_text(error))
        return error.exit_code if isinstance(error, CommandError) else _FAILED
    return _OK


def _complain(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201  # for the person at the terminal
