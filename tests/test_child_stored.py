"""Children in stores: saved with their parent, as its durability says, and gone on with after a crash (S-CKPT-6, 7)."""

from typing import Any

import anyio
import attrs
import pytest
from durable import every_durability, kept, settled
from nesting import Answer, Asking, Counted, asked
from running import Calling, Held
from stores_that_fail import FailingStore, GatedStore
from test_child_cuts import Family

from anyio_workflows import (
    CheckpointError,
    Context,
    RetryPolicy,
    StartEvent,
    StopEvent,
    StoreError,
    Workflow,
    step,
)
from anyio_workflows.abc import Record
from anyio_workflows.cli import main
from anyio_workflows.stores import MemoryCheckpointStore, SqliteCheckpointStore


@every_durability
@pytest.mark.parametrize("how", ["in turn", "below"])
async def test_s_ckpt_6_a_run_goes_on_from_whatever_record_of_its_children_was_the_last(
    durability: Any, how: str
) -> None:
    store, workflow = MemoryCheckpointStore(), Family(how)
    with anyio.fail_after(10):
        assert await kept(workflow, store, durability).run(run_id="r") == ["one 2", "two 2"]
        info, records = await store.run("r"), await store.history("r")
        for last in range(len(records)):
            crashed = MemoryCheckpointStore()
            await crashed.create(info, records[: last + 1])
            handler = await kept(workflow, crashed, durability).resume("r")
            assert await handler == ["one 2", "two 2"]
    assert len(records) > (1 if durability == "exit" else 4)


@every_durability
async def test_s_ckpt_7_a_run_that_was_cancelled_in_its_child_is_resumed(durability: Any) -> None:
    store, child = MemoryCheckpointStore(), Asking()
    workflow = Calling(lambda ctx: ctx.run_child(child, who="me"))
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            handler = kept(workflow, store, durability).run(run_id="r")
            await tasks.start(handler.serve)
            await asked(handler, 1)
            tasks.cancel_scope.cancel()
        async with await kept(workflow, store, durability).resume("r") as handler:
            assert await asked(handler, 1) == ["me"]
            handler.send_event(Answer(text="yes"))
            assert await handler == "me: yes"


async def test_s_ckpt_6_what_a_step_of_a_child_returns_goes_out_when_it_is_on_disk() -> None:
    store, counted = GatedStore(), Counted()
    workflow = Calling(lambda ctx: ctx.run_child(counted, who="me"))
    with anyio.fail_after(5):
        async with kept(workflow, store, "sync").run() as handler:
            store.close()
            await store.at_gate.wait()
            await settled()
            assert counted.ran == ["first me"]
            store.open()
            assert await handler == "me 2"


@pytest.mark.parametrize("fails", [1, 2, 3])
async def test_s_ckpt_6_a_store_that_fails_in_a_child_fails_the_run_at_once_and_loses_nothing(
    fails: int,
) -> None:
    """No policy of the step makes of it something to try again: the store is not the step's."""
    store, counted = FailingStore(fails), Counted()

    class Retrying(Workflow):
        attempts = 0

        @step(retry_policy=RetryPolicy())
        async def call(self, ctx: Context, ev: StartEvent) -> StopEvent:
            Retrying.attempts += 1
            return StopEvent(result=await ctx.run_child(counted, who="me"))

    workflow = Retrying()
    with anyio.fail_after(5):
        with pytest.raises(StoreError):
            await kept(workflow, store, "sync").run(run_id="r")
        assert Retrying.attempts == 1
        assert (await store.run("r")).status == "cancelled"
        store.fails.clear()
        assert await (await kept(workflow, store, "sync").resume("r")) == "me 2"


async def test_s_ckpt_7_damage_in_what_a_child_has_noted_is_one_clear_error() -> None:
    store = MemoryCheckpointStore()
    workflow = Family()
    with anyio.fail_after(5):
        await kept(workflow, store).run(run_id="r")
        info, records = await store.run("r"), await store.history("r")
        for what in (b'"child"', b'"child_begins"', b'"child_ends"'):
            index = next(i for i, each in enumerate(records) if what in each.payload and each.kind == "delta")
            for instead in (b'"chidl"', b'"commit"'):
                changed: list[Record] = list(records[: index + 1])
                changed[index] = attrs.evolve(
                    changed[index], payload=changed[index].payload.replace(what, instead)
                )
                damaged = MemoryCheckpointStore()
                await damaged.create(info, changed)
                with pytest.raises(CheckpointError):
                    await kept(workflow, damaged).resume("r")


async def test_s_run_1_a_child_that_is_cancelled_with_its_store_closed_leaves_the_run_resumable() -> None:
    store, held = MemoryCheckpointStore(), Held()
    workflow = Calling(lambda ctx: ctx.run_child(held))
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kept(workflow, store, "async").run(run_id="r").serve)
            await held.begun.wait()
            tasks.cancel_scope.cancel()
        held.gate.set()
        assert await (await kept(workflow, store, "async").resume("r")) == "let go"


def test_child_of_a_stored_run_is_shown_by_the_command_line(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runs.db"

    async def work() -> None:
        async with SqliteCheckpointStore(path) as store:
            await kept(Family(), store).run(run_id="r")  # type: ignore[arg-type]

    anyio.run(work)
    assert main(["runs", "show", "r", "--store", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "completed" in shown
