"""Random programs as workflows, whose steps note what happens to them."""

import functools
import operator
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import anyio
import attrs

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step
from anyio_workflows.testing import checkpoint
from anyio_workflows.testing.programs import Program, Toy

KINDS: list[type[Event]] = [
    StartEvent,
    *(
        type(f"E{n}", (Event,), {"__annotations__": {"uid": int, "fuel": int, "world": Any}})
        for n in range(1, 5)
    ),
]
"""Event classes by number; a program starts with number 0."""


class Said(Event):
    """Written to the stream."""

    uid: int


class Boom(Exception):
    """A toy has ended its run with a failure."""


@attrs.frozen
class Note:
    """Something that happened."""

    what: str
    toy: int
    value: Any = None
    """A uid, those of a batch, or a value of the counter."""


class World:
    """What the steps of one run have noted, in the order in which it happened."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.notes: list[Note] = []
        self.faults: list[str] = []
        self.events: dict[int, tuple[int, int]] = {0: (0, program.fuel)}
        """Kind and fuel of each event, by uid."""
        self.from_threads: set[int] = set()
        """Uids that were sent by plain functions: of these nobody knows when exactly."""
        self.running: Counter[int] = Counter()
        self.unfinished: Counter[int] = Counter(dict.fromkeys(program.receivers(0), 1))
        """Deliveries of each toy that have not ended, those sent by plain functions left out."""
        self._lock = threading.Lock()
        self._uids = count(1)

    def __repr__(self) -> str:
        return "world"

    def start_event(self) -> StartEvent:
        """Return what the run starts with."""
        self.note("sent", -1, 0)
        return StartEvent(uid=0, fuel=self.program.fuel, world=self)

    def note(self, what: str, toy: int, value: Any = None) -> None:
        """Write down that something has happened."""
        self.notes.append(Note(what, toy, value))

    def noted(self, what: str, notes: Sequence[Note] | None = None) -> list[Note]:
        """Return the notes of one kind."""
        return [note for note in (self.notes if notes is None else notes) if note.what == what]

    def decision(self) -> int:
        """Return the index of the note of what ended the run, their number if nothing did."""
        ends = [index for index, note in enumerate(self.notes) if note.what in ("stop", "raise", "cancel")]
        return min(ends, default=len(self.notes))

    def enter(self, index: int, event: Any) -> None:
        """Note that the body of a toy has begun."""
        with self._lock:
            self.note("start", index, event.uid)
            self.running[index] += 1
            if self.running[index] > self.program.toys[index].num_workers:
                self.faults.append(f"{self.running[index]} executions of s{index} at once")

    def leave(self, index: int, event: Any) -> None:
        """Note that the body of a toy has ended, its clean-up done."""
        with self._lock:
            self.note("end", index, event.uid)
            self.running[index] -= 1
            self.unfinished[index] -= event.uid not in self.from_threads

    def create(self, kind: int, fuel: int, *, in_thread: bool = False) -> Event:
        """Return a new event."""
        uid = next(self._uids)
        self.events[uid] = (kind, fuel)
        if in_thread:
            self.from_threads.add(uid)
        return KINDS[kind](uid=uid, fuel=fuel, world=self)

    def sent(self, index: int, event: Any, *, has_waited: bool = False) -> None:
        """Note that *event* is being given to its receivers."""
        self.note("sent", index, event.uid)
        if event.uid in self.from_threads:
            return
        for receiver in self.program.receivers(self.events[event.uid][0]):
            with self._lock:
                self.unfinished[receiver] += 1
                pending = self.unfinished[receiver]
            # A delivery that is cancelled before its body begins is not seen to end.
            is_known = self.decision() == len(self.notes)
            if has_waited and is_known and pending > self.program.toys[receiver].max_pending:
                self.faults.append(f"ctx.send did not wait: s{receiver} has {pending} pending")

    def collect(self, index: int, ctx: Context, event: Any) -> tuple[int, int] | None:
        """Return the (kind, fuel) that the outputs follow from; None while a collection is incomplete."""
        wanted = self.program.toys[index].collects
        if not wanted:
            return self.events[event.uid]
        self.note("collect", index, event.uid)
        batch: Any = ctx.collect_events(event, [KINDS[kind] for kind in wanted])
        if batch is None:
            return None
        self.note("batch", index, tuple(one.uid for one in batch))
        return max(wanted), 0


async def _act(index: int, ctx: Context, event: Any) -> Event | None:
    """Do what toy *index* does, and return what its step returns."""
    world: World = event.world
    toy = world.program.toys[index]
    await _pause(toy.checkpoints)
    if toy.says:
        world.note("said", index, event.uid)
        ctx.write_event_to_stream(Said(uid=event.uid))
    cause = world.collect(index, ctx, event)
    gives = list(toy.gives(*cause)) if cause else []
    if toy.in_child:
        async with anyio.create_task_group() as children:
            children.start_soon(_send, index, ctx, world, gives)
    else:
        await _send(index, ctx, world, gives)
    ending = await _count(index, ctx, world) if toy.counts else None
    if ending is not None:
        return ending
    returned = [world.create(kind, fuel) for kind, fuel, way in gives if way == "return"]
    return returned[0] if returned else None


async def _pause(checkpoints: int) -> None:
    for _ in range(checkpoints):
        await checkpoint()


async def _send(index: int, ctx: Context, world: World, gives: Sequence[tuple[int, int, str]]) -> None:
    for kind, fuel, way in gives:
        if way == "return":
            continue
        event = world.create(kind, fuel)
        if way == "send":
            await ctx.send(event)
            world.sent(index, event, has_waited=True)
        else:
            world.sent(index, event)
            ctx.send_event(event)


async def _count(index: int, ctx: Context, world: World) -> StopEvent | None:
    async with ctx.store.edit_state() as state:
        n = state.get("n", 0) + 1
        await _pause(world.program.toys[index].checkpoints % 2)
        state["n"] = n
    world.note("counted", index, n)
    if n < world.program.ends_at:
        return None
    match world.program.endings[n % len(world.program.endings)]:
        case "return":
            return StopEvent(result=n)
        case "send":
            world.note("stop", index, n)
            ctx.send_event(StopEvent(result=n))
            ctx.write_event_to_stream(Said(uid=-1))  # too late, and in vain
            await checkpoint()
            return None
        case _:
            raise Boom(n)


async def _run_toy(index: int, ctx: Any, event: Any) -> Event | None:
    world: World = event.world
    world.enter(index, event)
    try:
        try:
            output = await _act(index, ctx, event)
        finally:
            if world.program.toys[index].checkpoints:
                with anyio.CancelScope(shield=True):
                    await checkpoint()
            world.leave(index, event)
    except Boom as boom:
        world.note("raise", index, boom.args[0])
        raise
    # Nothing waits from here on until the execution commits.
    if isinstance(output, StopEvent):
        world.note("stop", index, output.result)
    elif output is not None:
        world.sent(index, output)
    return output


def _run_toy_in_thread(index: int, ctx: Any, event: Any) -> Event | None:
    world: World = event.world
    world.enter(index, event)
    try:
        cause = world.collect(index, ctx, event)
        output = None
        for kind, fuel, way in world.program.toys[index].gives(*cause) if cause else ():
            given = world.create(kind, fuel, in_thread=True)
            world.sent(index, given)
            if way == "return":
                output = given
            else:
                ctx.send_event(given)
        return output
    finally:
        world.leave(index, event)


def make_workflow(program: Program) -> Workflow:
    """Return *program* as a workflow, whose steps are called s0, s1, ...."""
    workflow: type[Workflow] = type("RandomWorkflow", (Workflow,), {})
    for index, toy in enumerate(program.toys):
        function = _function(index, toy)
        function.__name__ = function.__qualname__ = f"s{index}"
        accepted = functools.reduce(operator.or_, (KINDS[kind] for kind in toy.accepts))
        function.__annotations__ = {"ev": accepted, "return": StopEvent | None}
        if toy.has_context:
            function.__annotations__["ctx"] = Context
        step(workflow=workflow, num_workers=toy.num_workers, max_pending=toy.max_pending)(function)
    checks = ["reachability", "terminal_event", "dead_end"]  # a toy need not be reached by its own program
    return workflow(skip_graph_checks=checks, extra_events=KINDS[1:])


def _function(index: int, toy: Toy) -> Callable[..., Any]:
    if toy.is_async and toy.has_context:

        async def run(ctx: Any, ev: Any) -> Any:
            return await _run_toy(index, ctx, ev)

        return run
    if toy.is_async:

        async def run_bare(ev: Any) -> Any:
            return await _run_toy(index, None, ev)

        return run_bare
    if toy.has_context:

        def run_in_thread(ctx: Any, ev: Any) -> Any:
            return _run_toy_in_thread(index, ctx, ev)

        return run_in_thread

    def run_bare_in_thread(ev: Any) -> Any:
        return _run_toy_in_thread(index, None, ev)

    return run_bare_in_thread
