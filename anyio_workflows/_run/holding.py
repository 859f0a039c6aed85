"""Keep managed resources open: each in a task of its own, in which it is entered and left.

A context manager may hold a task group or a cancel scope, which have to be left in the task that has entered them; and
the workers of a run come and go. Leaving is in the reverse order of entering. What a failure means is decided by who
owns the holders: a run, or the block of a workflow or a `RunGroup`.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack
from contextvars import Context as ContextVars
from contextvars import ContextVar
from typing import Any

import anyio
from anyio.abc import TaskGroup

from .._declare.chains import Kind, ResourceDeclaration
from .._errors import WorkflowRuntimeError
from .ending import add_note

TEARDOWN = 30.0
"""Seconds that a resource may take to be left, which is shielded: it must give back what it has, and one that does not
answer must not hold its owner for ever."""


being_made: ContextVar[tuple[object, ...]] = ContextVar("anyio_workflows_being_made", default=())
"""What the current task is about to make; who needs one of them meanwhile would wait for itself."""


async def enter(declaration: ResourceDeclaration, stack: AsyncExitStack, arguments: dict[str, Any]) -> Any:
    """Enter the context manager that the factory gives, and return the resource.

    Cancellation:
        The context manager is not entered.
    """
    manager = declaration.factory(**arguments)
    if declaration.kind is Kind.MANAGED:
        return stack.enter_context(manager)
    return await stack.enter_async_context(manager)


def too_long(declaration: ResourceDeclaration) -> WorkflowRuntimeError:
    """Return the failure of a resource that did not come to its end."""
    return WorkflowRuntimeError(
        f"resource {declaration.name!r} was not left within {TEARDOWN:g} seconds and was cancelled; bound what its "
        f"factory does behind the yield"
    )


class Holder:
    """One managed resource, and the task that holds it."""

    __slots__ = (
        "_arguments",
        "_keep",
        "declaration",
        "ended",
        "entered",
        "error",
        "release",
        "scope",
        "value",
    )

    def __init__(
        self, declaration: ResourceDeclaration, arguments: dict[str, Any], keep: Callable[[Any], None]
    ) -> None:
        self.declaration: ResourceDeclaration = declaration
        self._arguments = arguments
        self._keep = keep
        self.value: Any = None
        self.error: BaseException | None = None
        """What it could not be entered, or left, for."""
        self.scope: anyio.CancelScope = anyio.CancelScope(shield=True)
        """Around all of it: the run ends its steps first, and only then what these have used."""
        self.entered: anyio.Event = anyio.Event()
        """It was entered, or could not be."""
        self.release: anyio.Event = anyio.Event()
        self.ended: anyio.Event = anyio.Event()
        """It was left."""

    @property
    def is_held(self) -> bool:
        """Whether it was entered and is not left yet."""
        return self.entered.is_set() and not self.ended.is_set()

    async def hold(self, failed: Callable[[BaseException], None]) -> None:
        """Enter it, wait until it is released, and leave it.

        Args:
            failed: Called when it has ended by itself, or could not be left.
        """
        was_entered = False
        try:
            with self.scope:
                async with AsyncExitStack() as stack:
                    self.value = await enter(self.declaration, stack, self._arguments)
                    # Who wanted it may be gone, and it may have been entered without ever looking for that.
                    if not self.scope.cancel_called:
                        was_entered = True
                        self._keep(self.value)
                        self.entered.set()
                        await self.release.wait()
            if was_entered and not self.release.is_set():
                self.error = self._ended_by_itself()
            elif was_entered and self.scope.cancelled_caught:
                self.error = too_long(self.declaration)
        except GeneratorExit:  # its event loop was closed
            raise
        except anyio.get_cancelled_exc_class() as error:  # noqa: ASYNC103  # told to who waits, or to the owner
            # The scope is shielded and has swallowed what it cancelled: nobody of ours has asked for this one.
            self.error = self._ended_by_itself()
            self.error.__cause__ = error
        except BaseException as error:  # noqa: ASYNC103, BLE001  # told to who waits, or to the owner
            self.error = error
        if was_entered and self.error is not None:
            add_note(self.error, f"in resource {self.declaration.name!r}")
            failed(self.error)
        self.ended.set()
        self.entered.set()

    def _ended_by_itself(self) -> WorkflowRuntimeError:
        return WorkflowRuntimeError(
            f"resource {self.declaration.name!r} has ended by itself, before what it was made for; its factory should "
            f"go on behind the yield only when it is told to"
        )


class Holders:
    """The managed resources of one owner."""

    __slots__ = ("_context", "_failed", "_held", "_tasks")

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        """Make them; nothing can be held before `open_in`.

        Args:
            failed: Called when a resource has ended by itself, or could not be left.
        """
        self._failed = failed
        self._tasks: TaskGroup | None = None
        self._context: Callable[[], ContextVars] | None = None
        self._held: list[Holder] = []

    def open_in(self, tasks: TaskGroup, context: Callable[[], ContextVars]) -> None:
        """Hold them in *tasks*, which must be left only after `close`, with the variables that *context* returns."""
        self._tasks = tasks
        self._context = context

    @property
    def is_holding(self) -> bool:
        """Whether there is something to leave."""
        return any(holder.is_held for holder in self._held)

    async def enter(
        self, declaration: ResourceDeclaration, arguments: dict[str, Any], keep: Callable[[Any], None]
    ) -> Any:
        """Enter a resource in a task of its own, and return it.

        Args:
            declaration: What to make.
            arguments: What its factory is given.
            keep: Called with the resource when it is entered, whether or not the caller still waits for it.

        Raises:
            BaseException: What the factory has raised.

        Cancellation:
            What was begun is undone before the cancellation goes on; a resource that was entered already is kept.
        """
        assert self._tasks is not None, "holders are opened before they are used"
        assert self._context is not None, "holders are opened before they are used"

        def kept(value: Any) -> None:
            self._held.append(holder)  # after what it is made of
            keep(value)

        holder = Holder(declaration, arguments, kept)
        # Not the variables of who happens to ask first: it outlives that. A copy, because an eager task runs at once.
        self._context().copy().run(self._start, holder, being_made.get())
        try:
            await holder.entered.wait()
        except GeneratorExit:  # its event loop was closed
            raise
        except BaseException:
            if not holder.entered.is_set():
                holder.scope.cancel()
                await _wait_for(holder.ended)  # noqa: ASYNC102  # shielded there
            raise
        if holder.error is not None:
            raise holder.error
        return holder.value

    def _start(self, holder: Holder, chain: tuple[object, ...]) -> None:
        assert self._tasks is not None, "holders are opened before they are used"
        being_made.set(chain)
        name = f"anyio_workflows resource {holder.declaration.name}"
        self._tasks.start_soon(holder.hold, self._failed, name=name)

    async def close(self) -> None:
        """Leave every resource, the last one first; failures go to the owner.

        Cancellation:
            Shielded, for half a minute per resource at most.
        """
        interruption: BaseException | None = None
        while self._held:
            holder = self._held.pop()
            holder.scope.deadline = anyio.current_time() + TEARDOWN
            holder.release.set()
            try:
                await _wait_for(holder.ended)
            except BaseException as error:  # noqa: ASYNC103, BLE001  # raised when all are left
                interruption = error
        if interruption is not None:
            raise interruption


async def _wait_for(event: "anyio.Event") -> None:
    """Wait for what is bound to come, shielded.

    Cancellation:
        One that came past AnyIO, which no shield holds off, is raised when it has come.
    """
    interruption: BaseException | None = None
    while not event.is_set():
        try:
            with anyio.CancelScope(shield=True):
                await event.wait()
        except anyio.get_cancelled_exc_class() as error:  # noqa: ASYNC103  # raised below
            interruption = error
    if interruption is not None:
        raise interruption
