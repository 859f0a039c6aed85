"""The way into worker threads and back: a plain function is bounded by the workers of its step alone.

AnyIO's modules for it load `concurrent.futures` and `logging`, a fifth of our import; programs without plain
functions as steps do without.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import anyio
from anyio.lowlevel import RunVar, checkpoint_if_cancelled

_unbounded: RunVar["anyio.CapacityLimiter"] = RunVar("anyio_workflows_unbounded")


ResultT = TypeVar("ResultT")


async def run_in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call *function* in a worker thread and return what it returns.

    AnyIO's own limiter would hold all runs of a process to 40 threads together; here `num_workers` has
    already said how many there may be.

    Cancellation:
        A thread cannot be cancelled: the caller is left when the function has returned, and its result is thrown
        away.
    """
    try:
        limiter = _unbounded.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(math.inf)
        _unbounded.set(limiter)
    from anyio import to_thread  # noqa: PLC0415  # see the module's docstring

    result = await to_thread.run_sync(function, *arguments, limiter=limiter)
    await checkpoint_if_cancelled()  # or a step that takes longer than its timeout would have succeeded
    return result


async def run_here(  # noqa: ASYNC124  # it stands for one that waits for a thread
    function: Callable[..., Any], *arguments: Any
) -> Any:
    """Call *function* in the event loop itself and return what it returns, for a run that is explored."""
    return function(*arguments)


def in_event_loop(call: Callable[..., ResultT], *arguments: Any) -> ResultT:
    """Call *call* in the event loop that has started this thread, and return what it returns."""
    from anyio import from_thread  # noqa: PLC0415  # see the module's docstring

    return from_thread.run_sync(call, *arguments)
