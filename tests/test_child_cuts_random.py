"""Cut anywhere, in a run or in what it is made of: random workflows as children, gone on with from every cut.

What must come out of each child is worked out by the sequential interpreter of the programs, which knows of no engine.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import anyio
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from resumable_workflows import Begin, Course, Oracle, Resumable, make_workflow, tidied
from test_resume_properties import both_backends, run_on

from anyio_workflows import (
    Context,
    Event,
    RetryPolicy,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCheckpointer,
    WorkflowStalledError,
    step,
)
from anyio_workflows.testing.programs import Program, programs

RUNS = {"one": 1, "in turn": 2, "at once": 2, "unnamed at once": 2, "deeper": 3, "retried": 2}
"""How many toys come of each kind of job."""

INNER = ("one", "in turn")
_CUTS = 4


class Job(Event):
    number: int
    kind: str


class Done(Event):
    number: int
    results: list[Any]


class Family(Workflow):
    """Each of its jobs runs the toy, or several, as children."""

    def __init__(self, toy: Resumable, fuel: int, jobs: Sequence[str]) -> None:
        super().__init__()
        self.toy = toy
        self.fuel = fuel
        self.jobs = jobs

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Job | None:
        for number, kind in enumerate(self.jobs):
            ctx.send_event(Job(number=number, kind=kind))
        return None

    @step(retry_policy=RetryPolicy())
    async def work(self, ctx: Context, ev: Job) -> Done:
        await self.toy.pause()
        results = await self.do(ctx, ev.kind)
        await self.toy.pause()
        return Done(number=ev.number, results=results)

    @step
    async def end(self, ctx: Context, ev: Done) -> StopEvent | None:
        done = ctx.collect_events(ev, {Done: len(self.jobs)})
        if done is None:
            return None
        return StopEvent(result=[result for each in done for result in each.results])

    async def do(self, ctx: Context, kind: str) -> list[Any]:
        if kind == "deeper":
            inner = Family(self.toy, self.fuel, INNER)
            return list(await ctx.run_child(inner, namespace="inner"))
        names = ["a", "b"] if kind == "at once" else [None] * RUNS[kind]
        if kind.endswith("at once"):
            results: list[Any] = []
            async with anyio.create_task_group() as tasks:
                for name in names:
                    tasks.start_soon(self.run_toy, ctx, name, results)
            return results
        results = []
        await self.run_toy(ctx, None, results)
        if kind == "retried" and not ctx.retry_info().retry_number:
            raise ValueError(kind)
        if RUNS[kind] > 1:
            await self.run_toy(ctx, None, results)
        return results

    async def run_toy(self, ctx: Context, name: str | None, results: list[Any]) -> None:
        await self.toy.pause()
        try:
            results.append(await ctx.run_child(self.toy, Begin(fuel=self.fuel), namespace=name))
        except WorkflowStalledError:
            results.append(None)


def commits(operations: Sequence[Any], pending: Sequence[Any]) -> Counter[tuple[str, str]]:
    """Count the executions of toys that *operations* have ended, in any child, which begin with what was *pending*."""
    events: dict[tuple[Any, ...], tuple[str, str]] = dict(_deliveries((), pending))
    found: Counter[tuple[str, str]] = Counter()
    for noted in operations:
        operation = noted
        path: tuple[Any, ...] = ()
        while operation[0] == "child":
            path, operation = (*path, operation[1], operation[2]), operation[3]
        if operation[0] == "deliver":
            events[*path, operation[1]] = (operation[2], operation[3]["type"])
        elif operation[0] == "commit" and events[*path, operation[1]][0].startswith("s"):
            found[events[*path, operation[1]]] += 1
    return found


def _deliveries(path: tuple[Any, ...], pending: Sequence[Any]) -> Iterator[Any]:
    for each in pending:
        yield (*path, each["number"]), (each["step"], each["event"]["type"])
        for key, child in each.get("children", {}).items():
            yield from _deliveries((*path, each["number"], key), child["snapshot"]["pending"])


class Resumer:
    """Goes on with one family from cuts of its runs."""

    def __init__(self, family: Family, oracle: Oracle, *, ends: bool) -> None:
        self.family = family
        self.oracle = oracle
        self.ends = ends
        self.count = sum(RUNS[kind] for kind in family.jobs)
        self.expected: Counter[tuple[str, str]] = Counter()
        for (name, kind, _), number in oracle.commits.items():
            self.expected[name, kind] += number * self.count
        self.checkpointer = WorkflowCheckpointer(workflow=family)

    def check(self, course: Course, done: Counter[tuple[str, str]]) -> None:
        """Every child has come to what it comes to alone, and no event was consumed twice."""
        assert course.error is None
        assert len(course.result) == self.count
        done = Counter({(name, kind.rpartition(".")[2]): n for (name, kind), n in done.items()})
        if not self.ends:
            assert course.result == [None] * self.count
            assert done == self.expected
            return
        assert done <= self.expected
        for left in course.result:
            assert left.get("n", 0) == self.oracle.draws
            assert sorted(left.get("drawn", [])) == list(range(1, self.oracle.draws + 1))
            assert len(left.get("answers", [])) == self.oracle.answers
        answers = [answer for left in course.result for answer in left.get("answers", [])]
        assert len(answers) == len(set(answers))

    async def go_on(self, course: Course, before: Counter[Any], pending: Sequence[Any], depth: int) -> None:
        """Check *course*, which *before* was committed before, and go on from cuts of it."""
        operations = course._history.operations
        self.check(course, before + commits(operations, pending))
        chance = self.family.toy.chance
        cuts = range(course.cut_count)
        for index in sorted(chance.sample(cuts, min(_CUTS if depth > 1 else 1, len(cuts)))) if depth else ():
            checkpoint = course.checkpoint(index)
            if chance.random() < 0.5:
                checkpoint = self.checkpointer.loads(self.checkpointer.dumps(checkpoint))
            was = self.checkpointer.dumps(checkpoint)
            later = Course(self.checkpointer.run_from(checkpoint), course.numbers)
            await later.go(self.family.toy)
            assert self.checkpointer.dumps(checkpoint) == was, "using it never changes it"
            there = commits(operations[: course._history.cuts[index].operations], pending)
            await self.go_on(later, before + there, checkpoint.document["pending"], depth - 1)


@both_backends
@settings(max_examples=15, suppress_health_check=[HealthCheck.filter_too_much])
@given(
    program=programs().map(tidied),
    jobs=st.lists(st.sampled_from(sorted(RUNS)), min_size=1, max_size=3),
    ends=st.booleans(),
    seed=st.integers(0, 1_000),
)
def test_child_s_ckpt_5_a_run_that_is_cut_anywhere_in_its_children_comes_to_the_same(
    backend: str, program: Program, jobs: list[str], ends: bool, seed: int
) -> None:
    oracle = Oracle(program)
    assume(not ends or oracle.ticks)
    if not ends:  # a child that has not ended begins anew in the next attempt, as it should
        jobs = ["in turn" if kind == "retried" else kind for kind in jobs]
    toy = make_workflow(program, **({"wanted": oracle.ticks} if ends else {}))
    toy.chance = random.Random(seed)
    resumer = Resumer(Family(toy, program.fuel, jobs), oracle, ends=ends)

    async def main() -> None:
        first = Course(resumer.checkpointer.run())
        await first.go(toy)
        await resumer.go_on(first, Counter(), (), 2)

    run_on(backend, seed, main)
