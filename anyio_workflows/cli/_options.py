"""The options that several commands have, and how a command ends."""

import sys
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from traceback import print_exception
from typing import Annotated, Literal, TypeAlias, TypeVar

import anyio
from cyclopts import Parameter
from cyclopts.validators import Number

from ._errors import CommandError, UsageError
from ._text import error_text

OK, FAILED, INTERRUPTED = 0, 1, 130

Backend: TypeAlias = Literal["asyncio", "trio"]
Durability: TypeAlias = Literal["sync", "async", "exit"]
Timeout: TypeAlias = Annotated[float | None, Parameter(validator=Number(gt=0))]
Flag: TypeAlias = Annotated[bool, Parameter(negative=())]
Store: TypeAlias = Annotated[Path, Parameter(name="--store")]

ResultT = TypeVar("ResultT")


def check_backend(backend: Backend) -> None:
    """Make sure that there is such an event loop.

    Raises:
        UsageError: There is none.
    """
    if backend == "trio" and find_spec("trio") is None:
        raise UsageError("trio is not installed; install the extra: pip install 'anyio-workflows[trio]'")


def run_in(backend: Backend, work: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Return what *work* gives in an event loop of its own."""
    return anyio.run(work, backend=backend)


def exit_code(work: Callable[[], None], *, shows_traceback: bool) -> int:
    """Do *work*, tell what it raises, and return what the program ends with."""
    try:
        work()
    except Exception as error:  # noqa: BLE001  # whatever a step raises is to be told
        if shows_traceback:
            print_exception(error)
        else:
            complain(error_text(error))
        return error.exit_code if isinstance(error, CommandError) else FAILED
    return OK


def complain(text: str) -> None:
    """Say *text* to the person at the terminal."""
    print(text, file=sys.stderr)  # noqa: T201  # that is its purpose


def say(text: str) -> None:
    """Print *text*, which is what the command was called for."""
    print(text)  # noqa: T201  # that is its purpose
