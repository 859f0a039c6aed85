"""The engine under explored schedules: what it promises holds whoever goes on first."""

import attrs
import pytest
from explored import run_under
from explored_workflows import SCENARIOS
from hypothesis import given, settings
from test_engine_properties import check, go_through, start, styles
from toy_workflows import make_workflow

from anyio_workflows.testing import Schedule, explore, schedules
from anyio_workflows.testing._turnstile import ScheduledTurnstile
from anyio_workflows.testing.programs import Program, Toy, interpret, programs

both_backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@pytest.mark.parametrize("name", SCENARIOS)
def test_s_det_3_every_order_with_few_deviations_comes_to_what_it_must(name: str) -> None:
    """Every choice of the engine, taken otherwise than usual: once, and twice."""
    scenario = SCENARIOS[name]
    explored = explore(
        scenario.make,
        invariant=scenario.check,
        driver=scenario.driver,
        exhaustive=True,
        max_deviations=scenario.deviations,
        **scenario.options,
    )
    assert explored.is_exhaustive
    assert explored.schedules > 5 or name in ("alone", "overwriting")


def noted(program: Program) -> Program:
    """Return *program* with toys that send what they would return.

    Toys note what they return before that is committed, and under a schedule others go on in between.
    """

    def sending(toy: Toy) -> Toy:
        outputs = tuple((kind, "send_event" if way == "return" else way) for kind, way in toy.outputs)
        return attrs.evolve(toy, outputs=outputs, has_context=True)

    endings = tuple("send" if ending == "return" else ending for ending in program.endings)
    return attrs.evolve(program, toys=tuple(map(sending, program.toys)), endings=endings)


@both_backends
@settings(max_examples=150)
@given(program=programs().map(noted), schedule=schedules(choices=80), style=styles)
def test_s_run_3_random_workflows_do_under_every_schedule_what_a_sequential_interpreter_says(
    backend: str, program: Program, schedule: Schedule, style: str
) -> None:
    """In order, never above `num_workers`, nothing after the stop, collections exact, and no task left."""
    expected = interpret(program)
    course = start(make_workflow(program), program)

    async def main() -> None:
        await go_through(course, style)
        await check(course, expected)

    run_under(ScheduledTurnstile(schedule), backend, main)
