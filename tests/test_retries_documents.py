"""Documents in which an attempt has failed: of a workflow that has changed since, and from anywhere."""

import json
from typing import Any

import anyio
import pytest
from retrying import FOR_EVER, Flaky, failing_until

from anyio_workflows import (
    CheckpointError,
    Context,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCheckpointer,
    step,
)


async def cut_of_a_retry() -> tuple[WorkflowCheckpointer, Any]:
    """Return a document in which an attempt has failed."""
    gate = anyio.Event()

    class Tried(Workflow):
        @step(retry_policy=FOR_EVER)
        async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await failing_until(2)(ctx)
            gate.set()
            await anyio.sleep_forever()
            return StopEvent()

    checkpointer = WorkflowCheckpointer(workflow=Tried())
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            await gate.wait()
            cut = handler.checkpoint()
            await handler.cancel_run()
    return checkpointer, json.loads(checkpointer.dumps(cut))


async def test_s_fail_2_a_step_whose_policy_was_taken_away_goes_on_with_its_attempt() -> None:
    """And has no other."""
    infos = []

    class Tried(Workflow):
        @step
        async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
            infos.append(ctx.retry_info())
            raise Flaky

    _, document = await cut_of_a_retry()
    checkpointer = WorkflowCheckpointer(workflow=Tried())
    with anyio.fail_after(5), pytest.raises(Flaky) as caught:
        await checkpointer.run_from(checkpointer.loads(json.dumps(document)))
    assert any("attempt 2 at" in note for note in caught.value.__notes__)
    ((number, elapsed, _, _),) = infos
    assert number == 1
    assert 0 < elapsed < 60


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("attempt", 1),
        ("attempt", 0),
        ("attempt", -3),
        ("attempt", True),
        ("attempt", "2"),
        ("attempt", 2.0),
        ("attempt", None),
        ("attempt", 10**30),
        ("due", "soon"),
        ("due", -1),
        ("due", [1.0]),
        ("began", None),
        ("began", "then"),
        ("began", 1e300),
        ("failed_at", 10**400),
        ("failed_at", None),
        ("failed_at", 1e12),
        ("error", None),
        ("error", "Flaky"),
        ("error", ["Flaky"]),
        ("error", ["Flaky", "it", "was"]),
        ("error", ["Flaky", 5]),
        ("error", [{}, "it"]),
        ("more", 1),
    ],
)
async def test_s_ckpt_7_a_retry_that_is_none_is_refused(member: str, value: Any) -> None:
    checkpointer, document = await cut_of_a_retry()
    (pending,) = document["snapshot"]["pending"]
    assert checkpointer.loads(json.dumps(document)).pending[0].attempt == 2
    pending["retry"][member] = value
    with pytest.raises(CheckpointError):
        checkpointer.loads(json.dumps(document))


@pytest.mark.parametrize("retry", [5, [], "2", True, {}])
async def test_s_ckpt_7_a_retry_of_another_shape_is_refused(retry: Any) -> None:
    checkpointer, document = await cut_of_a_retry()
    document["snapshot"]["pending"][0]["retry"] = retry
    with pytest.raises(CheckpointError):
        checkpointer.loads(json.dumps(document))


@pytest.mark.parametrize("member", ["attempt", "due", "began", "failed_at", "error"])
@pytest.mark.parametrize("how", ["missing", "NaN", "Infinity"])
async def test_s_ckpt_7_a_retry_of_which_something_is_missing_is_refused(member: str, how: str) -> None:
    checkpointer, document = await cut_of_a_retry()
    (pending,) = document["snapshot"]["pending"]
    if how == "missing":
        del pending["retry"][member]
    else:
        pending["retry"][member] = float(how)
    with pytest.raises(CheckpointError):
        checkpointer.loads(json.dumps(document))


async def test_s_ckpt_7_a_due_time_after_the_end_of_the_calendar_is_shown_as_its_end() -> None:
    """Exponential waits without a ceiling come to that."""
    checkpointer, document = await cut_of_a_retry()
    document["snapshot"]["pending"][0]["retry"]["due"] = 1e18
    (pending,) = checkpointer.loads(json.dumps(document)).pending
    assert pending.due is not None
    assert pending.due.year == 9999
