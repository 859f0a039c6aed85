"""However often the steps of random workflows fail, what comes of them is what it is when none does.

In runs that nobody records; with cuts and crashes in between, `test_resume_properties` and `test_crash_properties` say
the same. What must come out is worked out by the sequential interpreter of the programs, which knows of no engine.
"""

import random
from collections import Counter
from typing import Any

import anyio
from hypothesis import event as classify
from hypothesis import given, settings
from hypothesis import strategies as st
from resumable_workflows import Course, Oracle, Resumable, Tick, make_workflow, tidied
from test_resume_properties import both_backends, check_state, run_on, wanted

from anyio_workflows import ResumeDivergedEvent
from anyio_workflows.testing.programs import Program, programs


def in_collections(course: Course) -> Counter[tuple[str, str]]:
    """Count what is left in the collections of each step."""
    desks: list[Any] = [desk for desk in course.handler._run.ledger.desks if desk is not None]
    return Counter(
        (desk.node.name, type(entry.event).__qualname__)
        for desk in desks
        for buffer in (desk.buffers or {}).values()
        for entry in buffer.entries()
    )


async def check(course: Course, oracle: Oracle) -> None:
    """Nothing was done twice, nothing is left that should not be, and nothing has come out differently."""
    check_state(course, oracle)
    if course.error is not None:
        ticks = {("tally", Tick.__qualname__): oracle.ticks} if oracle.ticks else {}
        assert in_collections(course) == Counter({**oracle.collected, **ticks})
    async for event in course.handler.stream_events(expose_internal=True):
        assert not isinstance(event, ResumeDivergedEvent)


@both_backends
@settings(max_examples=150)
@given(
    program=programs().map(tidied),
    ends=st.booleans(),
    stumbles=st.sampled_from([0.1, 0.3]),
    courses=st.integers(1, 2),
    seed=st.integers(0, 1_000),
)
def test_s_fail_2_a_run_whose_steps_fail_and_are_tried_again_comes_to_the_same(
    *, backend: str, program: Program, ends: bool, stumbles: float, courses: int, seed: int
) -> None:
    oracle = Oracle(program)
    workflow: Resumable = make_workflow(program, **wanted(oracle, ends=ends), stumbles=stumbles)
    workflow.chance = random.Random(seed)

    async def main() -> None:
        runs = [Course(workflow.run(fuel=program.fuel)) for _ in range(courses)]
        async with anyio.create_task_group() as tasks:
            for course in runs:
                tasks.start_soon(course.go, workflow)
        for course in runs:
            await check(course, oracle)
            classify("stalled" if course.error else "completed")

    run_on(backend, seed, main)
