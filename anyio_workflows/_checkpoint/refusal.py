"""Say which value can't be converted, and where in the whole it stands.

The place is put together while the refusal rises through the converters, innermost first, so that nothing is
kept or counted as long as all goes well.
"""

from collections.abc import Callable
from typing import Any

from .._brief import brief
from .._errors import CheckpointError


class Refused(Exception):  # never seen by users: it becomes a CheckpointError
    """One value can't be written or read."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[str] = []
        """The way to the value, innermost first."""

    def inside(self, step: str) -> None:
        """Note that the value stands under *step* of something larger."""
        self.steps.append(step)

    def at(self, where: str) -> CheckpointError:
        """Return the error for users; *where* is what the outermost value is called."""
        path = where + "".join(reversed(self.steps))
        return CheckpointError(self.reason, path.removeprefix("."))


def member(name: object) -> str:
    """Return the piece of a path that leads to a field or a key."""
    shown = str(name) if isinstance(name, str) else brief(name)
    return f".{shown if len(shown) <= _MOST_OF_A_NAME else shown[:_MOST_OF_A_NAME] + '…'}"


_MOST_OF_A_NAME = 60


def wrong(value: object, wanted: str) -> Refused:
    """Return the refusal of a *value* that is none of what is *wanted*."""
    return Refused(f"{brief(value)} is of type {type(value).__qualname__}, not {wanted}")


def guarded(what: str, make: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call *make*, which runs code of the user's, and refuse whatever it raises."""
    try:
        return make(*args, **kwargs)
    except RecursionError:
        raise
    except Exception as error:
        shown = f"{type(error).__qualname__}: {brief(str(error))}"
        raise Refused(f"{what} does not accept it ({shown})") from error
