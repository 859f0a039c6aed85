"""The body of ``async with handler:``: when it is a reason for its run to wait, and what a failure does to it."""

import anyio

from .worker import CountsTheActive, Parked


class Body:
    """The task inside the block of a handler.

    It may still do something to the run, which therefore waits for it; not so once it waits for the run itself.
    """

    __slots__ = ("_deadline", "_task", "awaits_end", "has_failure", "is_outside", "scope")

    def __init__(self) -> None:
        self.scope: anyio.CancelScope | None = anyio.CancelScope()
        """Around the body until it is left; cancelled when the run fails."""
        self.is_outside: bool = True
        """It does not wait for the run at the moment."""
        self.awaits_end: bool = False
        """It is in ``await handler``, where it receives a failure instead of being cancelled by it."""
        self.has_failure: bool = False
        """It has received the failure of the run, which is not raised again when it is left."""
        self._task = anyio.get_current_task().id
        self._deadline = anyio.current_effective_deadline()

    @property
    def is_current(self) -> bool:
        """Whether it is the body's own task that asks."""
        return anyio.get_current_task().id == self._task

    @property
    def is_bounded(self) -> bool:
        """Whether the body has put a deadline of its own around what it is about to wait for."""
        return anyio.current_effective_deadline() < self._deadline

    def run_failed(self) -> None:
        """Cancel the body, which is left by the run's failure."""
        if self.scope is not None and not self.awaits_end:
            self.scope.cancel()


class ParkedBody(Parked):
    """Where the body waits for its own run."""

    __slots__ = ("_body",)

    def __init__(self, run: CountsTheActive, body: Body) -> None:
        super().__init__(run)
        self._body = body
        self.is_counted = True

    def count_as_active(self) -> None:
        """The body goes on: it may do something to the run again."""
        if self.is_counted:
            self.is_counted = False
            self._body.is_outside = True
