"""The strategy that draws workflows, for whoever tests what runs them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyio_workflows import Workflow, WorkflowCheckpointer
from anyio_workflows.testing import Schedule, ToyWorkflow, VirtualClock, explore, schedules, workflows

both_backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@both_backends
@settings(max_examples=50)
@given(kind=workflows(), cut=st.integers(0, 1_000))
def test_a_random_workflow_comes_to_what_it_says_also_from_its_checkpoints(
    backend: str, kind: type[ToyWorkflow], cut: int
) -> None:
    async def main() -> None:
        checkpointer = WorkflowCheckpointer(workflow=kind())
        handler = checkpointer.run()
        assert await handler == kind.executions
        checkpoints = checkpointer.checkpoints[handler.run_id]
        assert await checkpointer.run_from(checkpoints[cut % len(checkpoints)]) == kind.executions

    assert issubclass(kind, Workflow)
    VirtualClock(backend).run(main)


@settings(max_examples=25)
@given(kind=workflows(), schedule=schedules())
def test_s_det_3_a_random_workflow_comes_to_it_under_any_schedule(
    kind: type[ToyWorkflow], schedule: Schedule
) -> None:
    def complete(seen: object) -> None:
        assert getattr(seen, "result", None) == kind.executions

    explore(kind, schedule=schedule, invariant=complete)
