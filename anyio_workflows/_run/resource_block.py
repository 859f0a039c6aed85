"""The block that managed resources of a workflow live in: ``async with workflow:``, or a `RunGroup`.

It ends when no run uses them any more.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import copy_context
from types import TracebackType
from typing import Any, Protocol

import anyio

from .._brief import brief
from .._ledger.outcome import Cancelled, Outcome
from . import log
from .ending import add_note
from .holding import Holders


class _Run(Protocol):
    def decide(self, outcome: Outcome) -> bool: ...


class ResourceBlock:
    """What lives until a block is left, by workflow object.

    A resource that ends by itself cancels the body, as a task in a task group that fails does; what it failed with is
    raised by the block.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._holders = Holders(self._failed)
        self._shelves: dict[object, Any] = {}
        self._failures: list[BaseException] = []
        self._body: anyio.CancelScope | None = None
        self._block: AbstractAsyncContextManager[None] | None = None
        self._users_gone: anyio.Event | None = None
        self.users: dict[_Run, None] = {}
        """Runs that may use the resources, in the order in which they came."""
        self.is_closing: bool = False

    def shelf(self, workflow: object, make: Callable[[Holders], Any]) -> Any:
        """Return where the resources of *workflow* are."""
        shelf = self._shelves.get(workflow)
        if shelf is None:
            shelf = self._shelves[workflow] = make(self._holders)
        return shelf

    def leave(self, run: _Run) -> None:
        """Note that *run* has ended."""
        del self.users[run]
        if not self.users and self._users_gone is not None:
            self._users_gone.set()

    def _failed(self, error: BaseException) -> None:
        self._failures.append(error)
        if not self.is_closing and self._body is not None:
            self._body.cancel()

    async def __aenter__(self) -> None:
        self._block = self._open()
        await self._block.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Wait for the runs that use the resources, then leave these, the last one first.

        If the body has raised, or a resource has failed, the runs are cancelled.

        Cancellation:
            Cancels the runs. The resources are left, shielded, for half a minute each at most.
        """
        assert self._block is not None, "a block is left after it was entered"
        return await self._block.__aexit__(kind, error, traceback)  # noqa: ASYNC102  # a task group's, in effect

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[None, None]:
        body_error: BaseException | None = None
        context = copy_context()
        try:
            async with anyio.create_task_group() as tasks:
                self._holders.open_in(tasks, lambda: context)
                self._body = anyio.CancelScope()
                try:
                    with self._body:
                        yield
                except GeneratorExit:
                    raise
                except anyio.get_cancelled_exc_class():
                    await self._close(f"{self._what} was cancelled")  # noqa: ASYNC102  # shielded there
                    raise
                except BaseException as error:  # noqa: ASYNC103, BLE001  # raised when all has ended
                    body_error = error
                    await self._close(f"the body of {self._what} raised {type(error).__name__}")  # noqa: ASYNC102
                else:
                    await self._close(f"a resource of {self._what} failed" if self._failures else None)
        except anyio.get_cancelled_exc_class():  # noqa: ASYNC103
            # An exception that replaces the cancellation leaves the block as itself, as from any other block.
            if body_error is None:
                self._report(self._failures, None)
                raise
        self._raise(body_error)

    async def _close(self, reason: str | None) -> None:
        """End what is left: runs by waiting, or for a *reason* at once; then the resources."""
        self.is_closing = True
        try:
            if reason is None:
                await self._wait_for_users()
        finally:
            with anyio.CancelScope(shield=True):
                for run in tuple(self.users):
                    run.decide(Cancelled(reason or f"{self._what} was cancelled"))
                try:
                    await self._wait_for_users()
                finally:
                    await self._holders.close()  # noqa: ASYNC102  # shielded and bounded there

    async def _wait_for_users(self) -> None:
        if self.users:
            self._users_gone = anyio.Event()
            await self._users_gone.wait()

    def _raise(self, body_error: BaseException | None) -> None:
        """Raise what the block ends with, if anything; failures that it hides are in a note and in the log."""
        first, *others = (body_error, *self._failures) if body_error is not None else (*self._failures, None)
        self._report([other for other in others if other is not None], first)
        if first is not None:
            raise first

    def _report(self, failures: list[BaseException], leading: BaseException | None) -> None:
        for error in failures:
            if leading is not None:
                add_note(leading, f"meanwhile a resource of {self._what} failed as well: {brief(error)}")
            log.error("a resource of %s failed", self._what, error=error)
