"""Run a program on a clock that jumps to the next deadline whenever nothing can run."""

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
import trio.testing

both_backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


class _JumpingLoop(asyncio.SelectorEventLoop):
    """asyncio has no clock to replace, so its loop looks ahead instead of sleeping."""

    _now = 0.0
    _ready: Any
    _scheduled: Any
    _timer_cancelled_count: int

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        while self._scheduled and self._scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(self._scheduled)._scheduled = False
        if not self._ready and self._scheduled:
            self._now = max(self._now, self._scheduled[0].when())
        super()._run_once()  # type: ignore[misc]  # private, and what asyncio's loops are made of


def run_virtually(main: Callable[[], Awaitable[Any]], backend: str) -> Any:
    """Run *main* to its end; hours pass in no time."""
    options: dict[str, Any] = (
        {"loop_factory": _JumpingLoop}
        if backend == "asyncio"
        else {"clock": trio.testing.MockClock(autojump_threshold=0)}
    )
    return anyio.run(main, backend=backend, backend_options=options)
