"""The timeout of a run: a clock that stands still while the run waits for a human."""

import math

import anyio


class Clock:
    """Seconds that a run may take, by the event loop's clock."""

    __slots__ = ("_is_stopped", "_left", "_scope", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        """How many in all."""
        self._left = seconds
        self._is_stopped = False
        self._scope: anyio.CancelScope | None = None

    async def run_out(self) -> None:
        """Return when the time is over.

        Cancellation:
            The time does not run out any more.
        """
        deadline = math.inf if self._is_stopped else anyio.current_time() + self._left
        with anyio.CancelScope(deadline=deadline) as self._scope:
            await anyio.sleep_forever()

    def stop(self) -> None:
        """Let time pass without counting it."""
        if not self._is_stopped:
            self._is_stopped = True
            if self._scope is not None:
                self._left = self._scope.deadline - anyio.current_time()
                self._scope.deadline = math.inf

    def go_on(self) -> None:
        """Count again."""
        if self._is_stopped:
            self._is_stopped = False
            if self._scope is not None:
                self._scope.deadline = anyio.current_time() + self._left
