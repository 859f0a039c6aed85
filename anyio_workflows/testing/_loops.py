"""Event loops in which a test decides what happens when: the one module of the kit that knows which loop it is on.

Time does not pass by itself: when nothing can run, the clock jumps to the next deadline. Before it does, whoever waits
at a turnstile goes on, one at a time. That everybody waits is known to the loop only: asyncio's own says so when its
queue of ready callbacks is empty, Trio's when `trio.testing.wait_all_tasks_blocked` returns.
"""

import asyncio
import heapq
import math
import random
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from ._turnstile import ScheduledTurnstile

_PATIENCE = 0.5
"""Real seconds for which a program that can do nothing is given the benefit of the doubt: a thread of its own may run."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's event loop on a clock that jumps; it has no clock to replace, so it looks ahead instead of sleeping."""

    turnstile: ScheduledTurnstile | None = None
    on_deadlock: Callable[[], None] | None = None
    _now = 0.0
    _ready: Any
    _scheduled: Any
    _timer_cancelled_count: int

    def time(self) -> float:
        """Return virtual seconds."""
        return self._now

    def _run_once(self) -> None:
        if not self._ready and not (self.turnstile is not None and self.turnstile.let_one_through()):
            self._jump()
        super()._run_once()  # type: ignore[misc]  # private, and what asyncio's loops are made of

    def _jump(self) -> None:
        while self._scheduled and self._scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(self._scheduled)._scheduled = False
        if self._scheduled:
            self._now = max(self._now, self._scheduled[0].when())
        elif self.on_deadlock is not None:
            selector: Any = self._selector  # type: ignore[attr-defined]
            # One that is registered is the loop's own, by which threads wake it.
            is_out = len(selector.get_map()) > 1 or _has_threads()
            events = selector.select(_PATIENCE) if is_out else ()
            if events:
                self._process_events(events)  # type: ignore[attr-defined]
            else:
                self.on_deadlock()


def run_virtually(main: Callable[[], Awaitable[Any]], backend: str, **options: Any) -> Any:
    """Run *main* to its end on *backend*, on a clock that jumps; hours pass in no time."""
    return anyio.run(main, backend=backend, backend_options={**_options(backend), **options})


def _options(backend: str) -> dict[str, Any]:
    if backend == "asyncio":
        return {"loop_factory": VirtualLoop}
    from trio.testing import MockClock  # noqa: PLC0415  # an extra

    return {"clock": MockClock(autojump_threshold=0)}


def run_explored(
    main: Callable[[Callable[[], None]], Awaitable[Any]], backend: str, turnstile: ScheduledTurnstile
) -> Any:
    """Run *main* to its end on *backend*, with *turnstile* deciding who goes on.

    Args:
        main: Is given what to call when it has begun in earnest: from then on the turnstile is served.
        backend: ``"asyncio"`` or ``"trio"``.
        turnstile: Whom the tasks ask.

    Raises:
        Deadlock: Every task waits for something that can never come.
    """
    return (_explore_on_asyncio if backend == "asyncio" else _explore_on_trio)(main, turnstile)


class Deadlock(Exception):  # what it is
    """Every task waits for something that can never come."""


def _explore_on_asyncio(main: Callable[..., Awaitable[Any]], turnstile: ScheduledTurnstile) -> Any:
    async def served() -> Any:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop), "it was made by the factory"
        is_stuck = False
        result = None
        with anyio.CancelScope() as scope:

            def stop() -> None:
                nonlocal is_stuck
                is_stuck = True
                turnstile.stuck()
                loop.on_deadlock = None
                scope.cancel()

            loop.on_deadlock = stop

            def begin() -> None:
                loop.turnstile = turnstile

            result = await main(begin)
        loop.on_deadlock = None
        if is_stuck:
            raise Deadlock
        return result

    return run_virtually(served, "asyncio")


def _explore_on_trio(main: Callable[..., Awaitable[Any]], turnstile: ScheduledTurnstile) -> Any:
    import trio  # noqa: PLC0415  # an extra

    run: Any = trio._core._run  # Trio draws the order of tasks that became ready together: here from one seed
    before = run._r, run._ALLOW_DETERMINISTIC_SCHEDULING
    run._r, run._ALLOW_DETERMINISTIC_SCHEDULING = random.Random(0), True  # noqa: S311

    async def served() -> Any:
        stuck: list[bool] = []
        result = error = None
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                try:
                    result = await main(lambda: tasks.start_soon(_serve_on_trio, turnstile, scope, stuck))
                except Exception as raised:  # noqa: BLE001  # out of the group, which would wrap it
                    error = raised
                tasks.cancel_scope.cancel()
        if stuck:
            raise Deadlock
        if error is not None:
            raise error
        return result

    try:
        return run_virtually(served, "trio")
    finally:
        run._r, run._ALLOW_DETERMINISTIC_SCHEDULING = before


async def _serve_on_trio(turnstile: ScheduledTurnstile, scope: anyio.CancelScope, stuck: list[bool]) -> None:
    import trio  # noqa: PLC0415  # an extra

    while True:
        turnstile.news = anyio.Event()
        await trio.testing.wait_all_tasks_blocked()
        while turnstile.let_one_through():
            await trio.testing.wait_all_tasks_blocked()
        if trio.lowlevel.current_statistics().seconds_to_next_deadline == math.inf:
            if _has_threads() or _awaits_io(trio):
                await trio.to_thread.run_sync(_wait_a_little)
            if not turnstile.news.is_set() and _is_still_stuck(trio):
                stuck.append(True)
                turnstile.stuck()
                scope.cancel()
        await turnstile.news.wait()


def _has_threads() -> bool:
    """Whether there is a thread beside this one that may yet say something."""
    me = threading.current_thread()
    # Trio keeps those that have nothing to do for a while, under the name that they had at first.
    return any(each is not me and not each.name.startswith("Trio thread ") for each in threading.enumerate())


def _awaits_io(trio: Any) -> bool:
    """Whether a task waits for a socket, say; one that is waited for is Trio's own."""
    io: Any = trio.lowlevel.current_statistics().io_statistics
    if io.backend == "epoll":
        return bool(io.tasks_waiting_read + io.tasks_waiting_write > 1)
    return True


def _wait_a_little() -> None:
    import time  # noqa: PLC0415  # real time, for real threads

    time.sleep(_PATIENCE)


def _is_still_stuck(trio: Any) -> bool:
    statistics = trio.lowlevel.current_statistics()
    return bool(statistics.tasks_runnable <= 1 and statistics.seconds_to_next_deadline == math.inf)
