"""Event loops in which a test decides what happens when: the one module of the kit that knows which loop it is on.

Time does not pass by itself: when nothing can run, the clock jumps to the next deadline. Before it does, whoever waits
at a turnstile goes on, one at a time. That everybody waits is known to the loop only: asyncio's own says so when its
queue of ready callbacks is empty, Trio's tells an instrument before it looks for something to run.
"""

import asyncio
import heapq
import math
import random
import threading
import time
from collections.abc import Awaitable, Callable
from contextvars import Context as ContextVars
from functools import partial
from typing import Any

import anyio

from ._turnstile import ScheduledTurnstile

_PATIENCE = 0.5
"""Real seconds for which a program that can do nothing is given the benefit of the doubt: a thread of its own may run."""

_PATIENCE_WITH_IDLE = 0.1
"""Real seconds if there are only threads that Trio keeps for later: one that has just begun looks the same."""

_GLANCE = 0.002
"""Real seconds between two looks at whether such a thread has done something."""


class Service:
    """Serves a turnstile for as long as a program runs."""

    def __init__(self, turnstile: ScheduledTurnstile, scope: anyio.CancelScope) -> None:
        self._turnstile = turnstile
        self._scope = scope
        self.is_stuck: bool = False
        """Everybody waits for something that can never come."""
        self._error: BaseException | None = None

    def let_one_through(self) -> bool:
        """Let the next one go on; False if nobody waits at the turnstile."""
        try:
            return self._turnstile.let_one_through()
        except BaseException as error:  # noqa: ASYNC103, BLE001  # it is raised where the program was started: loops lose it
            self._error = error
            self._scope.cancel()
            return True  # noqa: ASYNC104  # see above

    def give_up(self) -> None:
        """End a program that can do nothing."""
        self.is_stuck = True
        self._turnstile.stuck()
        self._scope.cancel()

    def check(self) -> None:
        """Raise what has ended the program, if that was not the program."""
        if self._error is not None:
            raise self._error
        if self.is_stuck:
            raise Deadlock


class _Timer(asyncio.TimerHandle):
    """Of two that are due together, the one that was set first is first."""

    number: int

    def __lt__(self, other: Any) -> bool:
        return (self.when(), self.number) < (other.when(), other.number)


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's event loop on a clock that jumps; it has no clock to replace, so it looks ahead instead of sleeping."""

    service: Service | None = None
    _now = 0.0
    _timers = 0
    _ready: Any
    _scheduled: Any
    _selector: Any
    _timer_cancelled_count: int

    def time(self) -> float:
        """Return virtual seconds."""
        return self._now

    def call_at(  # type: ignore[override]  # asyncio's has a parameter for each argument
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: ContextVars | None = None,
    ) -> asyncio.TimerHandle:
        """Call *callback* at *when*, in virtual seconds."""
        timer = _Timer(when, callback, args, self, context)
        timer.number = self._timers = self._timers + 1
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True  # type: ignore[attr-defined]  # as asyncio's own does
        return timer

    def _run_once(self) -> None:
        if not self._ready:
            self._find_work()
        super()._run_once()  # type: ignore[misc]  # private, and what asyncio's loops are made of

    def _find_work(self) -> None:
        while self._scheduled and self._scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(self._scheduled)._scheduled = False
        due = self._scheduled[0].when() if self._scheduled else math.inf
        service = self.service
        if due <= self._now or (service is not None and service.let_one_through()):
            return
        if due < math.inf:
            self._now = due
        elif service is not None and not service.is_stuck:
            # One file is the loop's own, by which threads wake it.
            events = self._selector.select(_patience(awaits_io=len(self._selector.get_map()) > 1))
            if events:
                self._process_events(events)  # type: ignore[attr-defined]
            else:
                service.give_up()


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

        def wait() -> tuple[object, Awaitable[None], Callable[[], None]]:
            future = loop.create_future()
            return asyncio.current_task(), future, partial(future.set_result, None)

        turnstile.wait = wait
        result = None
        scope = anyio.CancelScope()
        service = Service(turnstile, scope)
        with scope:

            def begin() -> None:
                loop.service = service

            result = await main(begin)
        loop.service = None
        service.check()
        return result

    return run_virtually(served, "asyncio")


class _TrioInstrument:
    """Serves a turnstile whenever Trio has looked for news and has nothing to run."""

    def __init__(self, service: Service, runner: Any) -> None:
        self._service = service
        self._runner = runner
        self._stuck_since: float | None = None

    def after_io_wait(self, _timeout: float) -> None:
        """See whether anybody can go on by himself."""
        runner = self._runner
        if runner.runq:
            self._stuck_since = None
            return
        deadline = runner.deadlines.next_deadline()
        if deadline <= runner.clock.current_time():
            return
        if self._service.let_one_through():
            self._stuck_since = None
        elif deadline == math.inf and not self._service.is_stuck:
            self._wait_for_others()

    def _wait_for_others(self) -> None:
        """Give up when nothing has come for a while."""
        if self._stuck_since is None:
            self._stuck_since = time.monotonic()
        if time.monotonic() - self._stuck_since >= _patience(awaits_io=self._awaits_io()):
            self._service.give_up()
        else:
            time.sleep(_GLANCE)  # Trio itself would look all the time

    def _awaits_io(self) -> bool:
        """Whether a task waits for a socket, say; one that is waited for is Trio's own."""
        io = self._runner.io_manager.statistics()
        return bool(io.backend != "epoll" or io.tasks_waiting_read + io.tasks_waiting_write > 1)


class _InOrder(random.Random):
    """Has tasks that Trio found ready together run in the order of their turns, new ones in that of their creation.

    So does asyncio: it is the order in which they began to wait, for a timer, say.
    """

    def __init__(self, turnstile: ScheduledTurnstile) -> None:
        super().__init__(0)
        self._turnstile = turnstile

    def shuffle(self, x: Any) -> None:
        """Put the first last, for Trio takes from the end; they come sorted by creation."""
        x.sort(key=self._turnstile.last_turn_of)
        x.reverse()


def _patience(*, awaits_io: bool) -> float:
    """Return for how many real seconds something may yet come from outside of the loop."""
    me = threading.current_thread()
    others = [each.name for each in threading.enumerate() if each is not me]
    if awaits_io or any(not name.startswith("Trio thread ") for name in others):
        return _PATIENCE
    return _PATIENCE_WITH_IDLE if others else 0.0


def _explore_on_trio(main: Callable[..., Awaitable[Any]], turnstile: ScheduledTurnstile) -> Any:
    import trio  # noqa: PLC0415  # an extra

    run: Any = trio._core._run  # Trio draws the order of tasks that became ready together: here there is one
    before = run._r, run._ALLOW_DETERMINISTIC_SCHEDULING
    run._r, run._ALLOW_DETERMINISTIC_SCHEDULING = _InOrder(turnstile), True
    current_task, reschedule = trio.lowlevel.current_task, trio.lowlevel.reschedule
    wait_task_rescheduled, succeeded = trio.lowlevel.wait_task_rescheduled, trio.lowlevel.Abort.SUCCEEDED

    def wait() -> tuple[object, Awaitable[Any], Callable[[], None]]:
        task = current_task()
        return task, wait_task_rescheduled(lambda _raise_cancel: succeeded), partial(reschedule, task)

    async def served() -> Any:
        turnstile.wait = wait
        result = None
        scope = anyio.CancelScope()
        service = Service(turnstile, scope)
        with scope:
            instrument: Any = _TrioInstrument(service, run.GLOBAL_RUN_CONTEXT.runner)
            result = await main(partial(trio.lowlevel.add_instrument, instrument))
        service.check()
        return result

    try:
        return run_virtually(served, "trio")
    finally:
        run._r, run._ALLOW_DETERMINISTIC_SCHEDULING = before
