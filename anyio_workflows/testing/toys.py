"""Random programs as workflows: valid graphs of toy steps, for tests of what runs workflows."""

import functools
import operator
from collections.abc import Callable
from typing import Any

from .. import Context, Event, StartEvent, StopEvent, Workflow, step
from .programs import Program, Toy, interpret


class ToyStart(StartEvent):
    """What a toy workflow starts with; `ToyWorkflow.run` needs no arguments."""

    fuel: int = 0


class Toy1(Event):
    """What toy steps send each other."""

    fuel: int


class Toy2(Event):
    """Likewise."""

    fuel: int


class Toy3(Event):
    """Likewise."""

    fuel: int


class Toy4(Event):
    """Likewise."""

    fuel: int


class ToyDone(Event):
    """A toy step has ended."""


_KINDS: tuple[type[Any], ...] = (ToyStart, Toy1, Toy2, Toy3, Toy4)


class ToyWorkflow(Workflow[int]):
    """What random workflows have in common: a run gives the number of executions that it was made of."""

    program: Program
    """What its steps do."""

    executions: int
    """How many executions of toy steps a run consists of, whatever their order."""

    @step
    async def finish(self, ctx: Context, ev: ToyDone) -> StopEvent | None:
        """End the run when every execution is done."""
        if ctx.collect_events(ev, {ToyDone: self.executions}) is None:
            return None
        return StopEvent(result=self.executions)


def workflow_of(program: Program) -> type[ToyWorkflow]:
    """Return *program* as a workflow class; an instance needs no arguments, and neither does its `run`."""
    executions = interpret(program).handled.total()
    about = {"program": program, "executions": executions, "__module__": "random_workflows"}
    made: type[ToyWorkflow] = type("Random", (ToyWorkflow,), about)
    for index, toy in enumerate(program.toys):
        function = _step_of(toy, program.fuel)
        function.__name__ = function.__qualname__ = f"toy{index}"
        accepted = functools.reduce(operator.or_, (_KINDS[kind] for kind in toy.accepts))
        sent = functools.reduce(operator.or_, (_KINDS[kind] for kind, _ in toy.outputs), ToyDone)
        function.__annotations__ = {"ctx": Context, "ev": accepted, "return": sent | None}
        checks = (
            "reachability",
            "terminal_event",
            "dead_end",
        )  # a toy need not be reached by its own program
        step(
            workflow=made,
            num_workers=toy.num_workers,
            max_pending=toy.max_pending,
            skip_graph_checks=checks,
        )(function)
    return made


def _step_of(toy: Toy, fuel: int) -> Callable[..., Any]:
    def run_plain(ctx: Any, ev: Any) -> None:
        for event in _gives(toy, fuel, ctx, ev):
            ctx.send_event(event)
        ctx.send_event(ToyDone())

    async def run(ctx: Any, ev: Any) -> None:
        for _ in range(toy.checkpoints):
            await ctx.checkpoint()
        if toy.counts:
            async with ctx.store.edit_state() as state:
                state["n"] = state.get("n", 0) + 1
        if toy.says:
            ctx.write_event_to_stream(ToyDone())
        run_plain(ctx, ev)

    return run if toy.is_async else run_plain


def _gives(toy: Toy, fuel: int, ctx: Any, ev: Any) -> list[Event]:
    """Return what a toy sends for *ev*."""
    kind = _KINDS.index(type(ev))
    left = ev.fuel if kind else fuel
    if toy.collects:
        if ctx.collect_events(ev, [_KINDS[each] for each in toy.collects]) is None:
            return []
        kind, left = max(toy.collects), 0
    return [_KINDS[given](fuel=rest) for given, rest, _ in toy.gives(kind, left)]
