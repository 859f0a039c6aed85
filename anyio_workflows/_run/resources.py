"""Where the resources of a run are: its own, those of its workflow's block or `RunGroup`, those of its workflow.

How they are made is decided in `making`.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack
from contextvars import Context as ContextVars
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import anyio
import attrs
from anyio.lowlevel import checkpoint, current_token

from .._declare.chains import Lifetime
from .._errors import WorkflowRuntimeError
from .._events import Event
from .._ledger.outcome import Outcome
from .._ledger.plan import Node
from .calling import call_step
from .holding import TEARDOWN, Holders, too_long
from .making import Resolution, Shelf
from .resource_block import ResourceBlock
from .worker import Execution


class RunOfResources(Protocol):
    """What resources need of the run that they are for."""

    base_context: ContextVars

    @property
    def name(self) -> str:
        """Name of the workflow."""
        ...

    def decide(self, outcome: Outcome) -> bool:
        """End the run."""
        ...

    def run_elsewhere(self, node: Node) -> Callable[..., Coroutine[Any, Any, Any]]:
        """Return what calls a plain function."""
        ...

    def refuse(self, error: Exception) -> None:
        """Let the run fail before it begins."""

    def resource_failed(self, error: BaseException) -> None:
        """A resource of the run has ended by itself, or could not be left."""


class RunResources:
    """The resources of one run: its own, and the way to those that it shares with others."""

    __slots__ = ("_block", "_holders", "_plan", "_run", "_shelf", "group_block")

    def __init__(self, run: RunOfResources, plan: "PlannedResources") -> None:
        self._run = run
        self._plan = plan
        self._holders = Holders(run.resource_failed)
        self._shelf = Shelf(self._holders)
        self._block: ResourceBlock | None = None
        self.group_block: ResourceBlock | None = None
        """That of the `RunGroup` that owns the run, if one does."""

    def shelf(self, lifetime: Lifetime) -> Shelf:
        """Return where resources of *lifetime* are."""
        if lifetime is Lifetime.RUN:
            return self._shelf
        if lifetime is Lifetime.WORKFLOW:
            return self._plan.workflow.shelf()
        assert self._block is not None, "a run that needs a block does not begin without"
        shelf: Shelf = self._block.shelf(self._plan.workflow, Shelf)
        return shelf

    async def drive(self, drive: Callable[[], Awaitable[None]]) -> None:
        """Call *drive*, which calls `close` when the run's tasks have ended, with what its resources need around it.

        Cancellation:
            As of *drive*.
        """
        if self._plan.needs_block:
            self._block = self._plan.workflow.block() or self.group_block
            if self._block is None:
                self._run.refuse(self._plan.no_block(self._run.name))
            else:
                self._block.users[self._run] = None
        try:
            if not self._plan.holds_in_runs:
                await drive()
                return
            async with anyio.create_task_group() as tasks:
                self._holders.open_in(tasks, lambda: self._run.base_context)
                await drive()
        finally:
            self._shelf = Shelf()  # a handler may be kept for long
            if self._block is not None:
                self._block.leave(self._run)

    @property
    def is_holding(self) -> bool:
        """Whether there is something to leave at the end of the run."""
        return self._holders.is_holding

    async def close(self) -> None:
        """Leave the managed resources of the run.

        Cancellation:
            Shielded, for half a minute per resource at most.
        """
        await self._holders.close()

    async def call(self, node: Node, execution: Execution | None, event: Event) -> Any:
        """Call the step of *node* with what it is given."""
        if node not in self._plan.nodes_that_hold:
            return await self._call(node, execution, event, None)
        # Around it all from the start: a scope that was entered inside of a resource could not be left before that.
        with anyio.CancelScope() as scope:
            async with AsyncExitStack() as stack:
                try:
                    return await self._call(node, execution, event, stack)
                finally:
                    scope.shield = True
                    scope.deadline = anyio.current_time() + TEARDOWN
        if scope.cancelled_caught:
            held = [each for _, each in node.resources if each.lifetime is Lifetime.EXECUTION]
            raise too_long(held[0])
        return None  # a resource has swallowed the exception of the step

    async def _call(
        self, node: Node, execution: Execution | None, event: Event, stack: AsyncExitStack | None
    ) -> Any:
        given = await Resolution(self, stack).arguments(node.resources)
        if node.is_async:
            return await call_step(node, execution, event, given)
        return await self._run.run_elsewhere(node)(call_step, node, execution, event, given)


class WorkflowResources:
    """The resources of one workflow object, in each event loop that it serves."""

    __slots__ = ("_blocks", "_shelves")

    def __init__(self) -> None:
        # By the native token, which is what lives as long as its event loop.
        self._shelves: WeakKeyDictionary[Any, Shelf] = WeakKeyDictionary()
        self._blocks: WeakKeyDictionary[Any, ResourceBlock] = WeakKeyDictionary()

    def shelf(self) -> Shelf:
        """Return where the resources are that live as long as the workflow object."""
        token: Any = current_token().native_token
        shelf = self._shelves.get(token)
        if shelf is None:
            shelf = self._shelves[token] = Shelf()
        return shelf

    def block(self) -> ResourceBlock | None:
        """Return what ``async with workflow:`` has entered in this event loop."""
        block = self._blocks.get(current_token().native_token)
        return block if block is not None and not block.is_closing else None

    async def enter(self, workflow: str) -> None:
        """Enter a block in this event loop.

        Raises:
            WorkflowRuntimeError: There is one.

        Cancellation:
            None is entered.
        """
        await checkpoint()
        token = current_token().native_token
        if token in self._blocks:
            raise WorkflowRuntimeError(
                f"{workflow} was entered in this event loop already; enter it once, where your application starts"
            )
        self._blocks[token] = block = ResourceBlock(f"the 'async with' of {workflow}")
        await block.__aenter__()

    async def leave(self, *raised: Any) -> bool | None:
        """Leave the block of this event loop, with what its body has raised."""
        token = current_token().native_token
        try:
            return await self._blocks[token].__aexit__(*raised)
        finally:
            del self._blocks[token]


@attrs.frozen(eq=False)
class PlannedResources:
    """What the resources of a workflow's steps ask of its runs."""

    workflow: WorkflowResources

    holds_in_runs: bool
    """Some are managed and live as long as a run."""

    needs_block: tuple[str, ...]
    """Names of those that live as long as a block."""

    nodes_that_hold: frozenset[Node]
    """Steps that are given something managed which ends with the execution."""

    def of(self, run: RunOfResources) -> RunResources:
        """Return those of *run*."""
        return RunResources(run, self)

    def no_block(self, workflow: str) -> WorkflowRuntimeError:
        """Return the failure of a run without a block."""
        names = ", ".join(map(repr, self.needs_block))
        return WorkflowRuntimeError(
            f"resources of {workflow} ({names}) end with the workflow, which was not entered, so nobody would end "
            f"them; write:\n    async with workflow:\n        await workflow.run(...)\n"
            f'or start its runs in a RunGroup, or give the resources scope="run"'
        )


def planned(nodes: Iterable[Node], workflow: WorkflowResources) -> PlannedResources:
    """Return what the resources of *nodes* ask of runs."""
    of_nodes = {
        node: [each for _, declaration in node.resources for each in declaration.everything()]
        for node in nodes
    }
    everything = [each for found in of_nodes.values() for each in found]
    return PlannedResources(
        workflow,
        any(each.is_managed and each.lifetime is Lifetime.RUN for each in everything),
        tuple(dict.fromkeys(each.name for each in everything if each.lifetime is Lifetime.BLOCK)),
        frozenset(
            node
            for node, found in of_nodes.items()
            if any(each.is_managed and each.lifetime is Lifetime.EXECUTION for each in found)
        ),
    )
