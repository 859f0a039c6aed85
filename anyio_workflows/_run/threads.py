"""Run a plain function in a worker thread, bounded by the workers of its step alone."""

import math
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

_unbounded: RunVar[anyio.CapacityLimiter] = RunVar("anyio_workflows_unbounded")


async def run_in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call *function* in a worker thread and return what it returns.

    AnyIO's own limiter would hold all runs of a process to 40 threads together; here `num_workers` has
    already said how many there may be.

    Cancellation:
        A thread cannot be cancelled: the caller goes on when the function has returned.
    """
    try:
        limiter = _unbounded.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(math.inf)
        _unbounded.set(limiter)
    return await anyio.to_thread.run_sync(function, *arguments, limiter=limiter)
