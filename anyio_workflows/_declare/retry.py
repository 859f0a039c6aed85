"""What a retry policy is made of; what follows from one is decided where attempts fail."""

from collections.abc import Callable, Iterator
from datetime import datetime
from inspect import iscoroutinefunction
from typing import Any, NamedTuple, TypeAlias

import attrs

Strategy: TypeAlias = Callable[[Any], Any]
"""One of tenacity's: called with a ``tenacity.RetryCallState``."""


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """When a step whose attempt failed gets another: ``@step(retry_policy=RetryPolicy(...))``.

    It takes `tenacity's strategies <https://tenacity.readthedocs.io/en/latest/api.html>`_, with their operators::

        RetryPolicy(
            retry=retry_if_exception_type(ConnectionError) | retry_if_exception_message(match="busy"),
            wait=wait_exponential(max=30) + wait_random(0, 1),
            stop=stop_after_attempt(5) | stop_after_delay(60),
        )

    or functions of your own that take a ``tenacity.RetryCallState``. The seconds that they see are those of the event
    loop's clock, from the beginning of the first attempt; the numbers that tenacity draws depend on the run, the
    execution and the attempt alone.
    """

    retry: Strategy | None = None
    """Whether an exception is worth another attempt; by default every `Exception` is."""

    wait: Strategy | None = None
    """Seconds until the next attempt; by default none. With 0 it is the next execution of the step."""

    stop: Strategy | None = None
    """Whether this was the last one; by default the third is."""

    def problems(self) -> Iterator[str]:
        """Return what is wrong, each to be read after the name of the step."""
        for name in ("retry", "wait", "stop"):
            strategy = getattr(self, name)
            if strategy is None:
                continue
            if isinstance(strategy, type) or not callable(strategy):
                yield (
                    f"has retry_policy=RetryPolicy({name}={strategy!r}); give one of tenacity's strategies, "
                    f"as in '{_EXAMPLES[name]}'"
                )
            elif iscoroutinefunction(strategy) or iscoroutinefunction(type(strategy).__call__):
                yield (
                    f"has retry_policy=RetryPolicy({name}={strategy!r}), which is async; give a plain function, or "
                    f"one of tenacity's strategies, as in '{_EXAMPLES[name]}'"
                )


_EXAMPLES = {
    "retry": "retry=retry_if_exception_type(OSError)",
    "wait": "wait=wait_fixed(5)",
    "stop": "stop=stop_after_attempt(3)",
}


class RetryInfo(NamedTuple):
    """How the execution of a step stands with its attempts: `Context.retry_info`."""

    retry_number: int
    """0 in the first attempt, 1 in the first retry, and so on."""

    elapsed_seconds: float
    """Seconds since the first attempt began; 0.0 in the first attempt."""

    last_exception: BaseException | None
    """What the attempt before this one ended with; after a restart a `RestoredError` that tells of it."""

    last_failed_at: datetime | None
    """When that was, in UTC."""
