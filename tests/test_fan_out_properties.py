"""Random fan-outs come to what a sequential oracle says, from their beginning and from every cut."""

import random
from collections import Counter
from typing import Any

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st
from random_fan_outs import RUNNERS, WINNERS, Oracle, Path, Random, Tree, make_workflow, programs, values_of
from resumable_workflows import Course
from test_resume_properties import both_backends, run_on

from anyio_workflows import WorkflowCheckpointer
from anyio_workflows._checkpoint.history import History
from anyio_workflows._run.recorded_run import RecordedRun
from anyio_workflows.stores import MemoryCheckpointStore

_CUTS = 6
"""So many cuts of one run are gone on from."""


def history_of(course: Course) -> History:
    run = course.handler._run
    assert isinstance(run, RecordedRun)
    return run.recording.history


def commits_of(course: Course, up_to: int | None = None) -> Counter[tuple[str, Path]]:
    """Count what was committed, up to a cut, with the members that it was for."""
    cuts = history_of(course).cuts
    found: Counter[tuple[str, Path]] = Counter()
    for cut in cuts if up_to is None else cuts[: up_to + 1]:
        if cut.step is not None:
            about = find_path(cut.input)
            found[cut.step, about] += 1
    return found


def find_path(document: Any) -> Path:
    """Return the path in the document of an event, or in those of a list, all of which have the same."""
    if isinstance(document, dict):
        if "path" in document:
            return tuple(document["path"])
        document = list(document.values())
    if isinstance(document, list):
        return next((path for each in document if (path := find_path(each))), ())
    return ()


def check(course: Course, before: Counter[tuple[str, Path]], oracle: Oracle) -> None:
    """The result is the oracle's, and everything was done once over all runs."""
    assert course.error is None
    assert values_of(course.result) == oracle.values
    commits = before + commits_of(course)
    joins = sum(n for (step, _), n in commits.items() if step in ("join", "winner"))
    assert joins == oracle.joins
    races = {path for step, path in oracle.commits if step == "race"}
    for path in races:
        assert WINNERS <= commits["run_race", path] <= RUNNERS
    others = {key: n for key, n in commits.items() if key[0] not in ("begin", "join", "winner", "run_race")}
    assert others == dict(oracle.commits)


async def go_on(
    workflow: Random,
    checkpointer: WorkflowCheckpointer,
    course: Course,
    before: Counter[Any],
    oracle: Oracle,
    depth: int,
) -> None:
    check(course, before, oracle)
    if not depth:
        return
    cuts = range(course.cut_count)
    for index in sorted(workflow.chance.sample(cuts, min(_CUTS if depth > 1 else 1, len(cuts)))):
        cut = course.checkpoint(index)
        if workflow.chance.random() < 0.5:
            cut = checkpointer.loads(checkpointer.dumps(cut))
        was = checkpointer.dumps(cut)
        later = Course(checkpointer.run_from(cut))
        await later.go(workflow)  # type: ignore[arg-type]  # it has what is needed
        assert checkpointer.dumps(cut) == was, "using it never changes it"
        await go_on(workflow, checkpointer, later, before + commits_of(course, index), oracle, depth - 1)


@both_backends
@settings(max_examples=50)
@given(tree=programs, cancels=st.booleans(), seed=st.integers(0, 1_000))
def test_fan_out_a_run_that_is_cut_anywhere_and_goes_on_comes_to_the_same(
    backend: str, tree: Tree, cancels: bool, seed: int
) -> None:
    """Nested, with races, pairs, sends, retries and handlers: the same multiset, each member once."""
    oracle = Oracle().work_through(tree)
    workflow = make_workflow(tree, cancels=cancels)
    workflow.chance = random.Random(seed)
    checkpointer = WorkflowCheckpointer(workflow=workflow)

    async def main() -> None:
        first = Course(checkpointer.run())
        await first.go(workflow)  # type: ignore[arg-type]
        await go_on(workflow, checkpointer, first, Counter(), oracle, 2)

    run_on(backend, seed, main)


@both_backends
@settings(max_examples=25)
@given(tree=programs, cancels=st.booleans(), seed=st.integers(0, 1_000))
def test_fan_out_without_a_record_it_comes_to_the_same(
    backend: str, tree: Tree, cancels: bool, seed: int
) -> None:
    oracle = Oracle().work_through(tree)
    workflow = make_workflow(tree, cancels=cancels)
    workflow.chance = random.Random(seed)

    async def main() -> None:
        handler = workflow.run()
        assert values_of(await handler) == oracle.values
        ledger: Any = handler._run.ledger
        assert ledger.meetings.waiting == {}

    run_on(backend, seed, main)


@both_backends
@settings(max_examples=25)
@given(tree=programs, cancels=st.booleans(), seed=st.integers(0, 1_000), saves=st.integers(1, 30))
def test_fan_out_a_run_of_a_store_is_resumed_wherever_it_was_cancelled(
    backend: str, tree: Tree, cancels: bool, seed: int, saves: int
) -> None:
    """Again and again, until it has come to its end."""
    oracle = Oracle().work_through(tree)
    workflow = make_workflow(tree, cancels=cancels)
    workflow.chance = random.Random(seed)
    durability: Any = random.Random(seed).choice(["sync", "async"])

    async def main() -> None:
        async with MemoryCheckpointStore() as store:
            checkpointer = WorkflowCheckpointer(workflow=workflow, store=store, durability=durability)
            handler = checkpointer.run(run_id="r")
            for life in range(20):
                left = saves if life < 19 else 1_000_000

                def moment() -> None:
                    nonlocal left
                    left -= 1
                    if not left:
                        scope.cancel()  # the one of this life

                workflow.moment = moment
                with anyio.CancelScope() as scope:
                    assert values_of(await handler) == oracle.values
                    return
                handler = await checkpointer.resume("r")
            raise AssertionError("it never ended")

    run_on(backend, seed, main)
