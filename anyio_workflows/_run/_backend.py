"""The one door to what only a backend knows: cancellation that came past AnyIO, and its door for threads.

An asyncio task can be cancelled with `asyncio.Task.cancel`, by `asyncio.timeout` or `asyncio.wait_for`
around ``await handler``. No AnyIO scope shows that; the task's own count of requests does.
"""

import math
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import anyio
from anyio.lowlevel import current_token


def cancel_requests() -> int:
    """Return how many cancellations the current task has been asked for past AnyIO; 0 on trio."""
    task = _asyncio_task()
    return task.cancelling() if task is not None else 0


def is_cancelled(scope: "anyio.CancelScope", known_requests: int) -> bool:
    """Whether *scope*, which is around the current task's place, is cancelled from outside.

    Args:
        scope: Not cancelled itself.
        known_requests: What `cancel_requests` said when *scope* was entered.
    """
    if not _has_come(anyio.current_effective_deadline()):
        return cancel_requests() > known_requests
    # A scope further in, of a step's own, may be the one that is cancelled: look once more without what is
    # outside.
    scope.shield = True
    try:
        return not _has_come(anyio.current_effective_deadline())
    finally:
        scope.shield = False


def _has_come(deadline: float) -> bool:
    # On asyncio a deadline that has passed shows only when its timer had a turn; -inf means cancelled.
    return deadline != math.inf and deadline <= anyio.current_time()


def raise_cancelled() -> NoReturn:
    """Cancel the current task's caller as its backend would: for a request that a step has swallowed."""
    raise anyio.get_cancelled_exc_class()


def door_for_threads() -> Callable[[Callable[[], None]], object]:
    """Return what has the current event loop call a function soon, asked in any thread and without waiting for it.

    `anyio.from_thread` waits. A callback of a future that did so would never return while the event loop itself is
    in ``executor.shutdown(wait=True)``, nor would that. What is returned raises RuntimeError once the loop has ended.
    """
    loop: Any = current_token().native_token
    door: Callable[[Callable[[], None]], object] = (
        loop.run_sync_soon if hasattr(loop, "run_sync_soon") else loop.call_soon_threadsafe
    )
    return door


def _asyncio_task() -> Any:
    # Where asyncio runs it has been imported; importing it here would load it for programs on trio.
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        return asyncio.current_task()
    except RuntimeError:  # no asyncio loop runs in this thread
        return None
