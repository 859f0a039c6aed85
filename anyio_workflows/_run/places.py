"""How many runs there may be at once: ``Workflow(num_concurrent_runs=...)`` and ``RunGroup(max_runs=...)``."""

from collections.abc import Callable

import anyio
from anyio.lowlevel import RunVar

from .._errors import WorkflowRuntimeError


class Places:
    """A number of places for runs, per event loop, given out first come, first served."""

    __slots__ = ("_limiter", "_number", "_what")

    def __init__(self, number: int, what: str) -> None:
        self._number = number
        self._what = what
        # A workflow may serve several event loops, each in a thread of its own; a limiter serves one.
        self._limiter: RunVar[anyio.CapacityLimiter] = RunVar(f"anyio_workflows places of {what}")

    def _of_this_loop(self) -> anyio.CapacityLimiter:
        try:
            return self._limiter.get()
        except LookupError:
            limiter = anyio.CapacityLimiter(self._number)
            self._limiter.set(limiter)
            return limiter

    async def take(self, run: object, waits_for_us: Callable[[object], bool]) -> None:
        """Wait for a place for *run*.

        Args:
            run: Who is to have it.
            waits_for_us: Whether the holder of a place cannot end before *run* does.

        Raises:
            WorkflowRuntimeError: Every place is held by somebody who waits for *run*.

        Cancellation:
            No place is taken.
        """
        limiter = self._of_this_loop()
        try:
            limiter.acquire_on_behalf_of_nowait(run)
        except anyio.WouldBlock:
            pass
        else:
            return
        if all(waits_for_us(holder) for holder in limiter.statistics().borrowers):
            raise WorkflowRuntimeError(
                f"{self._what} allows {self._number} runs at once, and every one of them waits for this new one, "
                f"which would wait for their places for ever; raise the limit, or do not nest runs of it"
            )
        await limiter.acquire_on_behalf_of(run)

    def give_back(self, run: object) -> None:
        """Give back the place of *run*, if it has one."""
        limiter = self._of_this_loop()
        if run in limiter.statistics().borrowers:
            limiter.release_on_behalf_of(run)
