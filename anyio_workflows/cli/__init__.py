"""The command line: run a workflow, draw it, look after what is kept of its runs.

Needs the extra ``cli``; here is only what can be said without it.
"""

import sys
from collections.abc import Sequence
from importlib.util import find_spec

__all__ = ("main",)

_REQUIRED = ("cyclopts", "rich")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: What was typed after the program's name; by default, what this process was given.

    Returns:
        0 if all went well, 1 if the run failed, 2 if what was asked for makes no sense, 130 after Ctrl-C.
    """
    missing = [name for name in _REQUIRED if find_spec(name) is None]
    if missing:
        print(  # noqa: T201  # it talks to a person
            f"anyio-workflows needs {' and '.join(missing)}; install its extra: pip install 'anyio-workflows[cli]'",
            file=sys.stderr,
        )
        return 2
    from ._app import command_line  # noqa: PLC0415  # it imports the optional dependencies

    return command_line(sys.argv[1:] if arguments is None else arguments)
