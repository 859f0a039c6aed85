"""Random fan-outs, written as trees, and what must come of them whatever the schedule is."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias

import anyio
import attrs
from anyio.lowlevel import checkpoint
from hypothesis import strategies as st

from anyio_workflows import (
    Collect,
    Context,
    Event,
    RetryPolicy,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Take,
    Workflow,
    catch_error,
    step,
)

Kind: TypeAlias = Literal["leaf", "none", "fails", "falters", "sends", "directs", "pair", "race", "split"]
Path: TypeAlias = tuple[int, ...]

LEAVES: tuple[Kind, ...] = ("leaf", "none", "fails", "falters", "sends", "directs", "pair", "race")


@attrs.frozen
class Tree:
    """What one member does."""

    kind: Kind
    children: tuple["Tree", ...] = ()

    def at(self, path: Path) -> "Tree":
        """Return the member at *path*."""
        return self if not path else self.children[path[0]].at(path[1:])


trees = st.recursive(
    st.sampled_from(LEAVES).map(Tree),
    lambda inner: st.lists(inner, max_size=3).map(lambda members: Tree("split", tuple(members))),
    max_leaves=8,
)
programs = st.lists(trees, max_size=3).map(lambda members: Tree("split", tuple(members)))

RUNNERS = 3
WINNERS = 2


@attrs.define
class Oracle:
    """What must come of a tree: worked out one member after the other."""

    values: Counter[tuple[str, Path]] = attrs.field(factory=Counter)
    """What the last join gets in the end."""
    commits: Counter[tuple[str, Path]] = attrs.field(factory=Counter)
    """Executions that are committed, with the member that they were for; of runners in races only the least."""
    joins: int = 0

    def work_through(self, tree: Tree, path: Path = ()) -> "Oracle":
        """Add what comes of *tree*."""
        if path and tree.kind != "fails":
            self.commits["work", path] += 1
        match tree.kind:
            case "leaf" | "falters":
                self.values["leaf", path] += 1
            case "fails":
                self.commits["handle", path] += 1
                self.values["handled", path] += 1
            case "sends":
                self.commits["extra", path] += 2
                self.values["extra", path] += 2
                self.values["leaf", path] += 1
            case "directs":
                self.values["direct", path] += 1
            case "pair":
                self.commits["meet", path] += 1
                self.values["met", path] += 1
            case "race":
                self.commits["race", path] += 1
                self.joins += 1
                self.values["won", path] += WINNERS
            case "split":
                self.joins += 1
                for place, child in enumerate(tree.children):
                    self.work_through(child, (*path, place))
            case "none":
                pass
        return self


class Task(Event):
    path: Path


class Mark(Event):
    """Tells the last join from the others."""


class Extra(Event):
    path: Path


class Left(Event):
    path: Path


class Right(Event):
    path: Path


class Race(Event):
    path: Path


class Runner(Event):
    path: Path
    place: int


class Finish(Event):
    path: Path


class Done(Event):
    values: tuple[tuple[str, Path], ...]


class FirstTry(Exception):
    pass


class Boom(Exception):
    pass


class Random(Workflow):
    """A tree, with pauses at random."""

    tree: Tree
    cancels: bool

    def __init__(self) -> None:
        super().__init__()
        self.chance = random.Random(0)
        self.moment: Callable[[], None] = lambda: None

    async def pause(self) -> None:
        for _ in range(self.chance.choice((0, 0, 1, 3))):
            self.moment()
            await checkpoint()

    @step
    async def begin(self, ev: StartEvent) -> list[Task | Mark]:
        await self.pause()
        return [*(Task(path=(place,)) for place in range(len(self.tree.children))), Mark()]

    @step(retry_policy=RetryPolicy(retry=lambda state: isinstance(state.outcome.exception(), FirstTry)))
    async def work(self, ctx: Context, ev: Task) -> list[Task] | Done | Extra | Left | Right | Race | None:
        await self.pause()
        kind = self.tree.at(ev.path).kind
        if kind == "falters" and ctx.retry_info().retry_number == 0:
            raise FirstTry
        if kind == "fails":
            raise Boom
        if kind == "split":
            return [Task(path=(*ev.path, place)) for place in range(len(self.tree.at(ev.path).children))]
        return await self.act(kind, ctx, ev)

    async def act(self, kind: Kind, ctx: Context, ev: Task) -> Done | Right | Race | None:
        match kind:
            case "sends":
                ctx.send_event(Extra(path=ev.path))
                await self.pause()
                await ctx.send(Extra(path=ev.path))
                await self.pause()
            case "directs":
                ctx.send_event(Done(values=(("direct", ev.path),)), step="join")
                await self.pause()
                return None
            case "pair":
                ctx.send_event(Left(path=ev.path))
                await self.pause()
                return Right(path=ev.path)
            case "race":
                return Race(path=ev.path)
        return None if kind == "none" else Done(values=(("leaf", ev.path),))

    @catch_error(for_steps=["work"])
    async def handle(self, ev: StepFailedEvent) -> Done:
        await self.pause()
        assert isinstance(ev.input_event, Task)
        return Done(values=(("handled", ev.input_event.path),))

    @step(num_workers=1)
    async def extra(self, ev: Extra) -> Done:
        await self.pause()
        return Done(values=(("extra", ev.path),))

    @step(num_workers=2)
    async def meet(self, left: Left, right: Right) -> Done:
        await self.pause()
        assert left.path == right.path
        return Done(values=(("met", left.path),))

    @step
    async def race(self, ev: Race) -> list[Runner]:
        await self.pause()
        return [Runner(path=ev.path, place=place) for place in range(RUNNERS)]

    @step
    async def run_race(self, ev: Runner) -> Finish:
        await self.pause()
        if self.cancels and ev.place >= WINNERS:
            await anyio.sleep_forever()
        return Finish(path=ev.path)

    @step(num_workers=1)
    async def join(self, evs: list[Done | Mark]) -> Done | StopEvent:
        await self.pause()
        values = tuple(value for ev in evs if isinstance(ev, Done) for value in ev.values)
        is_last = any(isinstance(ev, Mark) for ev in evs)
        return StopEvent(result=[list(value) for value in values]) if is_last else Done(values=values)


class Cancelling(Random):
    cancels = True

    @step
    async def winner(self, evs: Annotated[list[Finish], Collect(Take(WINNERS, cancel_rest=True))]) -> Done:
        await self.pause()
        return Done(values=tuple(("won", ev.path) for ev in evs))


class GoingOn(Random):
    cancels = False

    @step
    async def winner(self, evs: Annotated[list[Finish], Collect(Take(WINNERS), order="emission")]) -> Done:
        await self.pause()
        return Done(values=tuple(("won", ev.path) for ev in evs))


def make_workflow(tree: Tree, *, cancels: bool) -> Random:
    """Return *tree* as a workflow."""
    workflow: Random = Cancelling() if cancels else GoingOn()
    workflow.tree = tree
    return workflow


def values_of(result: Any) -> Counter[tuple[str, Path]]:
    """Return the result of a run as the oracle has it."""
    return Counter((kind, tuple(path)) for kind, path in result)
