"""The one door to what only a backend knows: cancellation that came past AnyIO.

An asyncio task can be cancelled with `asyncio.Task.cancel`, by `asyncio.timeout` or `asyncio.wait_for`
around ``await handler``. No AnyIO scope shows that; the task's own count of requests does.
"""

import sys
from typing import Any, NoReturn

import anyio


def cancel_requests() -> int:
    """Return how many cancellations the current task has been asked for past AnyIO; 0 on trio."""
    task = _asyncio_task()
    return task.cancelling() if task is not None else 0


def is_cancelled(known_requests: int) -> bool:
    """Whether the current task is cancelled from outside: by a scope around it, or by its backend.

    Args:
        known_requests: What `cancel_requests` said when the task began.
    """
    if anyio.current_effective_deadline() == -float("inf"):
        return True
    return cancel_requests() > known_requests


def raise_cancelled() -> NoReturn:
    """Cancel the current task's caller as its backend would: for a request that a step has swallowed."""
    raise anyio.get_cancelled_exc_class()


def _asyncio_task() -> Any:
    # Where asyncio runs it has been imported; importing it here would load it for programs on trio.
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        return asyncio.current_task()
    except RuntimeError:  # no asyncio loop runs in this thread
        return None
