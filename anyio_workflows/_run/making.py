"""Make what steps are given, once for all who need it.

A plain resource is made in the task of the execution that needs it first, so a failure or a timeout is that
execution's; others that need it wait, and one of them takes over if the first is cancelled. A managed one is held by a
task of its own: see `holding`. How long each is kept is decided by whose shelf it is on: see `resources`.
"""

import inspect
from collections.abc import Hashable, Iterable, Mapping
from contextlib import AsyncExitStack, _AsyncGeneratorContextManager, _GeneratorContextManager
from typing import Any, Protocol

import anyio

from .._declare.chains import Kind, Lifetime, ResourceDeclaration
from .._errors import WorkflowRuntimeError
from .holding import Holders, being_made, enter
from .threads import run_in_thread

_NOTHING = object()


class Shelves(Protocol):
    """Where one run finds its resources."""

    def shelf(self, lifetime: Lifetime) -> "Shelf":
        """Return where resources of *lifetime* are."""
        ...


class _Making:
    """One attempt to make a resource, which others wait for."""

    __slots__ = ("bell", "error")

    def __init__(self) -> None:
        self.bell = anyio.Event()
        self.error: Exception | None = None


class _Slot:
    """The place of one resource."""

    __slots__ = ("making", "value")

    def __init__(self) -> None:
        self.value: Any = _NOTHING
        self.making: _Making | None = None

    def put(self, value: Any) -> None:
        self.value = value


class Shelf:
    """Resources that live equally long, and who holds the managed ones among them."""

    __slots__ = ("_holders", "_slots")

    def __init__(self, holders: Holders | None = None) -> None:
        self._slots: dict[Hashable, _Slot] = {}
        self._holders = holders

    async def get(self, declaration: ResourceDeclaration, shelves: Shelves) -> Any:
        """Return the resource, which is made if nobody has done so.

        Those who wait for it get what the one who makes it gets, an exception too; the next time it is tried again.

        Cancellation:
            If the caller is the one who makes it, the next one who waits for it takes over.
        """
        slot = self._slots.get(declaration.key)
        if slot is None:
            slot = self._slots[declaration.key] = _Slot()
        while slot.value is _NOTHING:
            making = slot.making
            if making is None:
                await self._make(slot, declaration, shelves)
                break
            if slot in being_made.get():
                raise WorkflowRuntimeError(
                    f"the factory of resource {declaration.name!r} runs something that needs the resource itself, and "
                    f"would wait for itself for ever; have it made of something else"
                )
            await making.bell.wait()
            if making.error is not None:
                raise making.error
        return slot.value

    async def _make(self, slot: _Slot, declaration: ResourceDeclaration, shelves: Shelves) -> None:
        slot.making = making = _Making()
        token = being_made.set((*being_made.get(), slot))
        try:
            arguments = await Resolution(shelves).arguments(declaration.needs)
            if declaration.is_managed:
                assert self._holders is not None, "only a run or a block keeps managed resources"
                await self._holders.enter(declaration, arguments, slot.put)
            else:
                slot.put(await _made(declaration, arguments))
        except Exception as error:
            making.error = error
            raise
        finally:
            being_made.reset(token)
            slot.making = None
            making.bell.set()


class Resolution:
    """What one execution is given, or one resource is made of: what is not cached is the same for all of it."""

    __slots__ = ("_made", "_shelves", "_stack")

    def __init__(self, shelves: Shelves, stack: AsyncExitStack | None = None) -> None:
        self._shelves = shelves
        self._stack = stack
        """Where managed resources of the execution are entered."""
        self._made: dict[Hashable, Any] = {}

    async def arguments(self, needs: Iterable[tuple[str, ResourceDeclaration]]) -> dict[str, Any]:
        """Return the resources for these parameters, made one after the other."""
        return {name: await self._get(declaration) for name, declaration in needs}

    async def _get(self, declaration: ResourceDeclaration) -> Any:
        if declaration.lifetime is not Lifetime.EXECUTION:
            return await self._shelves.shelf(declaration.lifetime).get(declaration, self._shelves)
        if declaration.key not in self._made:
            arguments = await self.arguments(declaration.needs)
            if declaration.is_managed:
                assert self._stack is not None, "what lives longer is not made of what ends with an execution"
                value = await enter(declaration, self._stack, arguments)
            else:
                value = await _made(declaration, arguments)
            self._made[declaration.key] = value
        return self._made[declaration.key]


async def _made(declaration: ResourceDeclaration, arguments: Mapping[str, Any]) -> Any:
    """Return a resource that is not managed."""
    if declaration.kind is Kind.CONFIG:
        from .configs import read_config  # noqa: PLC0415  # cattrs is half of our import

        assert declaration.config is not None, "a CONFIG says where it is read from"
        return await run_in_thread(read_config, declaration.config, declaration.factory)
    value = declaration.factory(**arguments)
    if inspect.iscoroutine(value):
        value = await value
    if isinstance(value, _AsyncGeneratorContextManager | _GeneratorContextManager):
        raise WorkflowRuntimeError(
            f"resource {declaration.name!r} is a context manager, which nobody would enter and leave; give Resource() "
            f"the function itself that is decorated with @contextlib.asynccontextmanager"
        )
    return value
