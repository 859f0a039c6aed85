"""Checkpoints under explored schedules: cut, or killed, at any turn, a run comes to the same."""

import random
from collections import Counter
from typing import Any

import pytest
from explored import WILD, Cutting, run_scenario, run_under
from explored_workflows import SCENARIOS, Scenario
from hypothesis import given, settings
from hypothesis import strategies as st
from resumable_workflows import Course, Oracle, make_workflow, tidied
from test_resume_properties import Resumer

from anyio_workflows import WorkflowCheckpointer, WorkflowError
from anyio_workflows.testing import Schedule, schedules
from anyio_workflows.testing.programs import Program, programs

both_backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])
every_scenario = pytest.mark.parametrize("name", SCENARIOS)
in_two_orders = pytest.mark.parametrize("schedule", [Schedule(), WILD], ids=["first-come", "wild"])


@both_backends
@in_two_orders
@every_scenario
def test_s_ckpt_5_a_run_that_dies_at_any_turn_and_goes_on_comes_to_the_same(
    name: str, schedule: Schedule, backend: str
) -> None:
    """It goes on from a checkpoint of that moment, in a new workflow."""
    scenario = SCENARIOS[name]
    turns = len(run_scenario(scenario, schedule, backend).turns)
    for turn in range(turns):
        seen = run_scenario(scenario, Schedule(schedule.choices, turn), backend)
        assert seen.has_crashed


@both_backends
@every_scenario
def test_s_ckpt_1_a_checkpoint_of_any_turn_is_read_as_it_was_written(name: str, backend: str) -> None:
    """And cutting a run at every turn changes nothing."""
    scenario = SCENARIOS[name]
    gate = Cutting(WILD)

    async def main() -> None:
        await _go_through(scenario, gate)

    run_under(gate, backend, main)
    assert gate.cuts >= len(gate.turns)


async def _go_through(scenario: Scenario, gate: Cutting) -> None:
    gate.checkpointer = WorkflowCheckpointer(workflow=scenario.make())
    gate.handler = handler = gate.checkpointer.run(**scenario.options)
    try:
        async with handler:
            if scenario.driver is not None:
                await scenario.driver(handler)
    except WorkflowError:
        assert scenario is SCENARIOS["stalling"]


@both_backends
@settings(max_examples=25)
@given(
    program=programs().map(tidied),
    ends=st.booleans(),
    seed=st.integers(0, 1_000),
    schedule=schedules(choices=150),
)
def test_s_ckpt_5_random_runs_come_to_the_same_from_any_of_their_cuts_under_any_schedule(
    backend: str, program: Program, ends: bool, seed: int, schedule: Schedule
) -> None:
    """As without a schedule, but here every point is somebody's turn."""
    oracle = Oracle(program)
    options: dict[str, Any] = {"wanted": oracle.ticks} if ends and oracle.ticks else {}
    workflow = make_workflow(program, **options)
    workflow.chance = random.Random(seed)
    resumer = Resumer(workflow, oracle)
    gate = Cutting(schedule)

    async def main() -> None:
        first = Course(resumer.checkpointer.run(fuel=program.fuel))
        await first.go(workflow)
        await resumer.go_on(first, Counter(), 1)

    run_under(gate, backend, main)
