"""Random programs as workflows that can be written down: what their steps send depends on their events alone.

Beside what a program says, a toy may draw a number from the state, ask a human twice, and tick when it is done. Which
events make a batch is the schedule's, so what follows from one is sent in the pass in which the execution ends.

One that does neither of the first two may stumble whenever it pauses, and is tried again until it gets through: nobody
is to see that in what comes of it. (The others would change the state once more in each attempt, and may.)
"""

import functools
import operator
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import anyio
import attrs
from tenacity import stop_never

from anyio_workflows import (
    Checkpoint,
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    RetryPolicy,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowHandler,
    WorkflowStalledError,
    step,
)
from anyio_workflows._checkpoint.history import History
from anyio_workflows._run.recorded_run import RecordedRun
from anyio_workflows.testing import checkpoint
from anyio_workflows.testing.programs import Expected, Program, Toy, interpret


class Begin(StartEvent):
    fuel: int


class E1(Event):
    fuel: int


class E2(Event):
    fuel: int


class E3(Event):
    fuel: int


class E4(Event):
    fuel: int


class Drawn(Event):
    """A number was drawn from the state."""

    number: int


class Tick(Event):
    """An execution is done."""


class Question(InputRequiredEvent):
    toy: int
    nth: int


class Answer(HumanResponseEvent):
    number: int


KINDS: list[type[Event]] = [Begin, E1, E2, E3, E4]

_NEVER = 1_000_000


class Stumble(Exception):
    """An attempt has failed; the next one may do better."""


def _soon(state: Any) -> float:
    """Wait a moment before every third attempt."""
    return 0.0001 if state.attempt_number % 3 == 2 else 0


TRIED_AGAIN = RetryPolicy(wait=_soon, stop=stop_never)


def tidied(program: Program) -> Program:
    """Return *program* with toys in threads that send nothing that follows from a batch.

    Between a call from a thread and its end others may commit.
    """
    toys = tuple(
        attrs.evolve(toy, outputs=tuple((kind, "return") for kind, _ in toy.outputs[:1]))
        if toy.collects and not toy.is_async
        else toy
        for toy in program.toys
    )
    return attrs.evolve(program, toys=toys)


class Oracle:
    """What a program comes to, worked out one event after the other."""

    def __init__(self, program: Program) -> None:
        self.expected: Expected = interpret(program)
        handled = self.expected.handled
        self.commits = Counter(
            {(f"s{toy}", KINDS[kind].__qualname__, fuel): n for (toy, kind, fuel), n in handled.items()}
        )
        """How often each step ends an execution with which event."""
        self.draws: int = self.expected.increments
        self.answers: int = 2 * sum(n for (toy, _, _), n in handled.items() if program.toys[toy].says)
        ticks = self.draws + sum(n for (toy, _, _), n in handled.items() if program.toys[toy].has_context)
        self.ticks: int = ticks
        self.collected = {
            (f"s{toy}", KINDS[kind].__qualname__): n
            for toy, kinds in self.expected.left.items()
            for kind, n in kinds.items()
            if n
        }
        """What is left in collections."""


class Resumable(Workflow):
    """What the dynamic subclasses share."""

    program: Program
    wanted: int = _NEVER
    """Ticks that end the run."""
    chance: random.Random = random.Random(0)
    """Draws the schedule, and nothing else."""
    stumbles: float = 0.0
    """How probable it is that an attempt fails where it pauses, if it may."""
    moment: Callable[[], None] = staticmethod(lambda: None)

    async def pause(self, toy: Toy | None = None) -> None:
        """Let others have their turn; one of *toy* may stumble."""
        for _ in range(self.chance.randrange(3)):
            await checkpoint()
        self.moment()
        if toy is not None:
            self.stumble(toy)

    def stumble(self, toy: Toy) -> None:
        if not toy.counts and not toy.says and self.chance.random() < self.stumbles:
            raise Stumble

    @step
    async def note(self, ctx: Context, ev: Drawn) -> Tick:
        async with ctx.store.edit_state() as state:
            drawn = state.setdefault("drawn", [])
            await self.pause()
            drawn.append(ev.number)
        await self.pause()
        return Tick()

    @step(retry_policy=TRIED_AGAIN)
    async def tally(self, ctx: Context, ev: Tick) -> StopEvent | None:
        batch = ctx.collect_events(ev, {Tick: self.wanted})
        if self.chance.random() < self.stumbles:
            raise Stumble
        if batch is None:
            return None
        await self.pause()
        return StopEvent(result=dict(await ctx.store.get_state()))

    async def act(self, index: int, ctx: Context, event: Any) -> Event | None:
        toy = self.program.toys[index]
        await self.pause(toy)
        if toy.says:
            await self.ask(index, ctx)
        if toy.counts:
            await self.draw(ctx)
        if toy.collects:
            gives = self.collect(toy, ctx, event)
            await self.pause(toy)
            for made, way in gives:
                if way != "return":
                    ctx.send_event(made)
        else:
            gives = made_by(toy, KINDS.index(type(event)), event.fuel)
            async with anyio.create_task_group() as children:
                if toy.in_child:
                    children.start_soon(self.send, toy, ctx, gives)
                else:
                    await self.send(toy, ctx, gives)
        ctx.send_event(Tick())
        if not toy.collects:
            await self.pause(toy)
        return returned(gives)

    def collect(self, toy: Toy, ctx: Context, event: Event) -> list[tuple[Event, str]]:
        batch: Any = ctx.collect_events(event, [KINDS[kind] for kind in toy.collects])
        return [] if batch is None else made_by(toy, max(toy.collects), 0)

    async def send(self, toy: Toy, ctx: Context, gives: Sequence[tuple[Event, str]]) -> None:
        for made, way in gives:
            if way == "send":
                await ctx.send(made)
            elif way == "send_event":
                ctx.send_event(made)
            await self.pause(toy)

    async def draw(self, ctx: Context) -> None:
        async with ctx.store.edit_state() as state:
            number = state.get("n", 0) + 1
            await self.pause()
            state["n"] = number
        await self.pause()
        ctx.send_event(Drawn(number=number))
        await self.pause()

    async def ask(self, index: int, ctx: Context) -> None:
        for nth in range(2):
            answer = await ctx.wait_for_event(Answer, waiter_event=Question(toy=index, nth=nth))
            await self.pause()
            async with ctx.store.edit_state() as state:
                state["answers"] = [*state.get("answers", []), answer.number]
            await self.pause()

    def act_in_thread(self, index: int, ctx: Context | None, event: Any) -> Event | None:
        toy = self.program.toys[index]
        gives = made_by(toy, KINDS.index(type(event)), event.fuel)
        if ctx is not None:
            if toy.collects:
                gives = self.collect(toy, ctx, event)
            for made, way in gives:
                if way != "return":
                    ctx.send_event(made)
                self.stumble(toy)
            ctx.send_event(Tick())
        self.stumble(toy)
        return returned(gives)


def made_by(toy: Toy, kind: int, fuel: int) -> list[tuple[Event, str]]:
    """Return the events that *toy* gives, and how."""
    return [(KINDS[given](fuel=left), way) for given, left, way in toy.gives(kind, fuel)]


def returned(gives: Sequence[tuple[Event, str]]) -> Event | None:
    """Return what the step returns."""
    return next((made for made, way in gives if way == "return"), None)


def make_workflow(program: Program, *, wanted: int = _NEVER, stumbles: float = 0.0) -> Resumable:
    """Return *program* as a workflow, which ends after *wanted* ticks and whose attempts fail so probably."""
    members = {"program": program, "wanted": wanted, "stumbles": stumbles}
    workflow: type[Resumable] = type("RandomWorkflow", (Resumable,), members)
    made: list[Resumable] = []
    for index, toy in enumerate(program.toys):
        function = _function(index, toy, made)
        function.__name__ = function.__qualname__ = f"s{index}"
        accepted = functools.reduce(operator.or_, (KINDS[kind] for kind in toy.accepts))
        function.__annotations__ = {"ev": accepted, "return": StopEvent | None}
        if toy.has_context:
            function.__annotations__["ctx"] = Context
        step(
            workflow=workflow,
            num_workers=toy.num_workers,
            max_pending=toy.max_pending,
            retry_policy=TRIED_AGAIN if stumbles else None,
        )(function)
    checks = ["reachability", "terminal_event", "dead_end"]  # a toy need not be reached by its own program
    made.append(workflow(skip_graph_checks=checks, extra_events=[*KINDS[1:], Drawn, Question, Answer]))
    return made[0]


def _function(index: int, toy: Toy, made: list[Resumable]) -> Callable[..., Any]:
    if toy.is_async and toy.has_context:

        async def run(ctx: Any, ev: Any) -> Any:
            return await made[0].act(index, ctx, ev)

        return run
    if toy.is_async:

        async def run_bare(ev: Any) -> Any:
            await made[0].pause(toy)
            return returned(made_by(toy, KINDS.index(type(ev)), ev.fuel))

        return run_bare
    if toy.has_context:

        def run_in_thread(ctx: Any, ev: Any) -> Any:
            return made[0].act_in_thread(index, ctx, ev)

        return run_in_thread

    def run_bare_in_thread(ev: Any) -> Any:
        return made[0].act_in_thread(index, None, ev)

    return run_bare_in_thread


@attrs.define
class Course:
    """One run, gone through to its end, with everybody answered who asked."""

    handler: WorkflowHandler
    numbers: Iterator[int] = attrs.field(factory=count)
    """Of the answers; one source for all runs, so that no two are equal."""
    result: Any = None
    error: WorkflowStalledError | None = None

    async def go(self, workflow: Resumable) -> None:
        """Run it; at random moments it is cut, if it is recorded."""
        is_recorded = isinstance(self.handler._run, RecordedRun)

        def moment() -> None:
            if is_recorded and workflow.chance.random() < 0.1:
                self.handler.checkpoint()

        workflow.moment = moment
        try:
            async with self.handler:
                async for event in self.handler.stream_events():
                    if isinstance(event, Question):
                        moment()
                        self.handler.send_event(Answer(number=next(self.numbers)))
            self.result = await self.handler
        except WorkflowStalledError as error:
            self.error = error

    @property
    def state(self) -> dict[str, Any]:
        """What the run leaves."""
        return dict(self.handler.state)

    @property
    def cut_count(self) -> int:
        """Moments to go on from."""
        return len(self._history.cuts)

    def checkpoint(self, index: int) -> Checkpoint:
        """Return any of its cuts, those included that leave no entry among the checkpoints."""
        # Users of a store see them as `history(cuts=True)`.
        return self._run.entries.checkpoint(self._history.cuts[index])

    def commits(self, up_to: int | None = None) -> Counter[tuple[str, str, int]]:
        """Count what was committed, up to a cut, with the events that the executions had."""
        cuts = self._history.cuts if up_to is None else self._history.cuts[: up_to + 1]
        return Counter(
            (cut.step, cut.input["type"], cut.input.get("fuel", -1)) for cut in cuts if cut.step is not None
        )

    @property
    def _history(self) -> History:
        return self._run.recording.history

    @property
    def _run(self) -> RecordedRun:
        run = self.handler._run
        assert isinstance(run, RecordedRun), "a checkpointer records its runs"
        return run
