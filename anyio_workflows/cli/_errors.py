"""What the program itself has to complain of, and the exit code that goes with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from .. import WorkflowError


class CommandError(Exception):
    """The program cannot do what it was told; the message is for the person who told it."""

    exit_code: ClassVar[int] = 1
    """What the program ends with."""


class UsageError(CommandError):
    """The command line, or what it names, is wrong; the message says what to write instead."""

    exit_code = 2


class UnansweredError(CommandError):
    """The run asks what nobody here can answer."""


@contextmanager
def blaming(what: str) -> Iterator[None]:
    """Make a `UsageError` of whatever the user's own code raises before there is a run.

    Args:
        what: Beginning of the sentence that ends with the error.

    Raises:
        UsageError: The block raised an exception; the library's own are quoted as they are.
    """
    try:
        yield
    except UsageError:
        raise
    except WorkflowError as error:
        raise UsageError(str(error)) from error
    except Exception as error:
        raise UsageError(f"{what}: {type(error).__name__}: {error}") from error
