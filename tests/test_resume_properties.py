"""Crash anywhere, resume, and the result is the same: random workflows, gone on with from their every cut.

What must come out is worked out by the sequential interpreter of the programs, which knows of no engine.
"""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
import trio
from hypothesis import event as classify
from hypothesis import given, settings
from hypothesis import strategies as st
from resumable_workflows import Course, Oracle, Resumable, make_workflow, tidied

from anyio_workflows import WorkflowCheckpointer
from anyio_workflows.testing.programs import Program, programs

both_backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])

_CUTS = 6
"""So many cuts of one run are gone on from."""


def run_on(backend: str, seed: int, main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        if backend == "trio":
            # Trio draws the order of tasks; left to Hypothesis, every example would have the same one.
            trio._core._run._r.seed(seed)
        with anyio.fail_after(30):
            await main()

    anyio.run(bounded, backend=backend)


def check_end(course: Course, oracle: Oracle) -> None:
    """Everything was done that there was to do, nothing twice, and nothing is pending."""
    check_state(course, oracle)
    if course.error is None:
        return
    last = course.handler.checkpoint()
    assert last.pending == ()
    collected = Counter(
        (collection.step, type(event).__qualname__)
        for collection in last.collections
        for event in collection.events
        if collection.step != "tally"
    )
    assert collected == Counter(oracle.collected)


def check_state(course: Course, oracle: Oracle) -> None:
    """Each number is drawn and told once, each question answered, and a run that has stalled has nothing left."""
    left = course.result if course.error is None else course.state
    assert left.get("n", 0) == oracle.draws
    assert sorted(left.get("drawn", [])) == list(range(1, oracle.draws + 1)), (
        "each number is drawn and told once"
    )
    answers = left.get("answers", [])
    assert len(answers) == len(set(answers)) == oracle.answers
    if course.error is None:
        return
    report: Any = course.error.report
    assert (report.pending, report.waits, report.unconsumed) == ((), (), ())


def check_commits(commits: Counter[tuple[str, str, int]], course: Course, oracle: Oracle) -> None:
    """Over crash and resume, each event was consumed exactly once; at most once where a StopEvent cut it short."""
    of_toys = Counter({key: n for key, n in commits.items() if key[0] not in ("note", "tally")})
    others = {step: sum(n for key, n in commits.items() if key[0] == step) for step in ("note", "tally")}
    if course.error is None:
        assert of_toys <= oracle.commits
        assert others["note"] <= oracle.draws
        assert others["tally"] <= oracle.ticks
    else:
        assert of_toys == oracle.commits
        assert others == {"note": oracle.draws, "tally": oracle.ticks}


stumbling = st.sampled_from([0.0, 0.1, 0.3])
"""How probable it is that an attempt fails where it pauses."""


def wanted(oracle: Oracle, *, ends: bool) -> dict[str, int]:
    """Return what makes the workflow of *oracle* end with a result, as far as it can."""
    return {"wanted": oracle.ticks} if ends and oracle.ticks else {}


class Resumer:
    """Goes on with one workflow from cuts of its runs."""

    def __init__(self, workflow: Resumable, oracle: Oracle) -> None:
        self.workflow = workflow
        self.oracle = oracle
        self.checkpointer = WorkflowCheckpointer(workflow=workflow)

    async def go_on(self, course: Course, before: Counter[Any], depth: int) -> None:
        """Check *course*, which *before* was committed before, and go on from cuts of it."""
        check_end(course, self.oracle)
        check_commits(before + course.commits(), course, self.oracle)
        if not depth:
            return
        chance = self.workflow.chance
        cuts = range(course.cut_count)
        chosen = sorted(chance.sample(cuts, min(_CUTS if depth > 1 else 1, len(cuts))))
        for index in chosen:
            checkpoint = course.checkpoint(index)
            if chance.random() < 0.5:
                checkpoint = self.checkpointer.loads(self.checkpointer.dumps(checkpoint))
            was = self.checkpointer.dumps(checkpoint)
            later = Course(self.checkpointer.run_from(checkpoint), course.numbers)
            await later.go(self.workflow)
            assert self.checkpointer.dumps(checkpoint) == was, "using it never changes it"
            await self.go_on(later, before + course.commits(index), depth - 1)


@both_backends
@settings(max_examples=60)
@given(program=programs().map(tidied), ends=st.booleans(), stumbles=stumbling, seed=st.integers(0, 1_000))
def test_s_ckpt_5_a_run_that_is_cut_anywhere_and_goes_on_comes_to_the_same(
    backend: str, program: Program, ends: bool, stumbles: float, seed: int
) -> None:
    """From any cut of any run, and from any cut of a run that went on: the same state and result, nothing twice.

    However often its steps fail before they get through.
    """
    oracle = Oracle(program)
    workflow = make_workflow(program, **wanted(oracle, ends=ends), stumbles=stumbles)
    workflow.chance = random.Random(seed)
    resumer = Resumer(workflow, oracle)

    async def main() -> None:
        first = Course(resumer.checkpointer.run(fuel=program.fuel))
        await first.go(workflow)
        classify("stalled" if first.error else "completed")
        await resumer.go_on(first, Counter(), 2)

    run_on(backend, seed, main)
