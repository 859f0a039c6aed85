"""Which failures a ``@catch_error`` handler takes, and how often."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from .._events import Event, StepFailedEvent


class Recovery(NamedTuple):
    """What `catch_error` was given."""

    for_steps: tuple[str, ...] | None
    """Names of the steps whose failures it takes; None for all that no other handler names."""

    max_recoveries: int
    """How often it may be called in one lineage."""

    @staticmethod
    def problems(for_steps: Any, max_recoveries: Any) -> Iterator[str]:
        """Return what is wrong with the options, each to be read after the name of the handler."""
        if isinstance(for_steps, str) or (
            for_steps is not None
            and not (isinstance(for_steps, list | tuple) and all(isinstance(name, str) for name in for_steps))
        ):
            yield f"has for_steps={for_steps!r}; give a list of names of steps, or nothing for all"
        if not isinstance(max_recoveries, int) or isinstance(max_recoveries, bool) or max_recoveries < 1:
            yield f"has max_recoveries={max_recoveries!r}; it must be an int greater than 0"


def handler_problems(accepts: tuple[type[Event], ...], *, takes_one: bool) -> Iterator[str]:
    """Return what is wrong with the signature of a handler."""
    if accepts != (StepFailedEvent,) or not takes_one:
        yield "handles errors; annotate its event parameter with StepFailedEvent, and with nothing else"
