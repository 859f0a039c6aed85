"""A workflow that has changed since a checkpoint was made (S-CKPT-7), and keys for effects outside the run (S-CKPT-5)."""

from typing import Any

import anyio
import pytest

from anyio_workflows import (
    CheckpointError,
    Context,
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCheckpointer,
    WorkflowRuntimeError,
    step,
)
from anyio_workflows.stores import MemoryCheckpointStore


class Order(Event):
    number: int


def shop(*, fields: int = 1, steps: int = 2, name: str = "Shop") -> Workflow:
    """Return a workflow of one name whose event has so many fields and which has so many steps."""
    parcel: Any = type("Parcel", (Event,), {"__annotations__": {f"field{n}": int for n in range(fields)}})

    class Shop(Workflow):
        @step
        async def take(self, ctx: Context, ev: StartEvent) -> parcel:
            return parcel(**{f"field{n}": n for n in range(fields)})

        @step
        async def deliver(self, ev: parcel) -> StopEvent:
            return StopEvent(result=sum(value for value in vars(ev).values()))

        if steps > 2:

            @step
            async def watch(self, ev: parcel) -> None:
                pass

    return Shop(workflow_name=name)


async def test_s_ckpt_7_a_changed_workflow_is_refused_with_what_has_changed() -> None:
    store = MemoryCheckpointStore()
    before = WorkflowCheckpointer(workflow=shop(), store=store)
    handler = before.run(run_id="one")
    assert await handler == 0
    (checkpoint, _) = before.checkpoints["one"]
    after = WorkflowCheckpointer(workflow=shop(fields=2, steps=3), store=store)
    with pytest.raises(CheckpointError, match="step 'watch' was added"):
        after.run_from(checkpoint)
    with pytest.raises(CheckpointError, match="step 'watch' was added"):
        after.loads(before.dumps(checkpoint))
    with pytest.raises(CheckpointError, match="step 'watch' was added") as caught:
        await after.resume("one")
    assert caught.value.run_id == "one"
    with pytest.raises(CheckpointError, match="was added"):
        await after.history("one")


async def test_s_ckpt_7_a_change_that_leaves_everything_its_place_may_be_allowed() -> None:
    before = WorkflowCheckpointer(workflow=shop())
    await before.run(run_id="one")
    after = WorkflowCheckpointer(workflow=shop(steps=3))
    with anyio.fail_after(5):
        assert await after.run_from(before.checkpoints["one"][0], allow_changed=True) == 0


async def test_s_ckpt_7_what_has_no_place_any_more_is_an_error_and_never_dropped() -> None:
    before = WorkflowCheckpointer(workflow=shop())
    await before.run(run_id="one")
    after = WorkflowCheckpointer(workflow=shop(fields=2))
    with pytest.raises(CheckpointError, match="one/"):
        after.run_from(before.checkpoints["one"][0], allow_changed=True)


class Buying(Workflow):
    """Notes under which keys it would charge; is cut short in the middle of the second order."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[tuple[int, str]] = []
        self.is_held = True
        self.held = anyio.Event()

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Order | None:
        for number in (0, 1, 1):
            ctx.send_event(Order(number=number))
        return None

    @step(num_workers=1)
    async def charge(self, ctx: Context, ev: Order) -> StopEvent | None:
        self.keys.append((ev.number, ctx.idempotency_key))
        if self.is_held and len(self.keys) == 2:
            self.held.set()
            await anyio.sleep_forever()
        return StopEvent() if ctx.collect_events(ev, [Order] * 3) else None


async def test_s_ckpt_5_the_idempotency_key_of_an_execution_is_the_same_when_it_runs_again() -> None:
    """And that of no other: two equal events that were sent on purpose are two charges."""
    store = MemoryCheckpointStore()
    workflow = Buying()
    checkpointer = WorkflowCheckpointer(workflow=workflow, store=store)
    with anyio.fail_after(5):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                await tasks.start(checkpointer.run(run_id="one").serve)
                await workflow.held.wait()
                scope.cancel()
        workflow.is_held = False
        await (await checkpointer.resume("one"))
    assert [number for number, _ in workflow.keys] == [0, 1, 1, 1]
    assert workflow.keys[1] == workflow.keys[2]
    assert len({key for _, key in workflow.keys}) == 3


async def test_s_ckpt_5_the_keys_of_two_runs_differ() -> None:
    workflow = Buying()
    workflow.is_held = False
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    with anyio.fail_after(5):
        await checkpointer.run(run_id="one")
        await checkpointer.run(run_id="two")
    assert len({key for _, key in workflow.keys}) == 6


async def test_s_ckpt_5_a_run_that_is_not_recorded_has_no_keys() -> None:
    workflow = Buying()
    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError, match="recorded run"):
        await workflow.run()
