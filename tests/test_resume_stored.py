"""Which stored runs are resumed, and that nothing happens to those that are not."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import anyio
import attrs
import pytest
from anyio.lowlevel import checkpoint
from durable import (
    ID,
    Answer,
    Chain,
    Durability,
    Fan,
    every_durability,
    fail,
    kept,
    served,
    settled,
)
from running import never
from stores_that_fail import FailingStore, copy_of

from anyio_workflows import (
    CheckpointError,
    Context,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    StoreError,
    UnknownRunError,
    Workflow,
    WorkflowCheckpointer,
    WorkflowHandler,
    WorkflowTimeoutError,
    step,
)
from anyio_workflows.stores import MemoryCheckpointStore

# --- what can be resumed


async def ended(how: str, store: MemoryCheckpointStore, durability: Durability) -> None:
    """Leave a run in *store* that has ended so."""
    workflow = Chain(fail if how == "failed" else never)
    handler = kept(workflow, store, durability).run(run_id=ID, timeout=0.001 if how == "timed_out" else None)
    async with served(handler, ValueError, WorkflowTimeoutError):
        if how == "cancelled_by_user":
            while "second" not in workflow.ran:
                await checkpoint()
            await handler.cancel_run()


@every_durability
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("failed", "has ended, failed (ValueError('it was the step'))"),
        ("timed_out", "has ended, timed out (Chain was not done after 0.001 seconds"),
        ("cancelled_by_user", "has ended, cancelled by user (with cancel_run())"),
    ],
)
async def test_s_ckpt_7_a_run_that_has_ended_so_is_not_resumed_but_can_be_run_from(
    durability: Durability, how: str, said: str
) -> None:
    """It says how it ended and what to do instead, and nothing is written, not even a claim."""
    store = MemoryCheckpointStore()
    with anyio.fail_after(5):
        await ended(how, store, durability)
        before = await copy_of(store, ID)
        checkpointer = kept(Chain(), store, durability)
        with pytest.raises(Exception) as raised:
            await checkpointer.resume(ID)
        assert type(raised.value).__name__ == "CheckpointError"
        assert said in str(raised.value)
        assert "run_from()" in str(raised.value)
        assert await copy_of(store, ID) == before
        last = (await checkpointer.history(ID, cuts=True))[-1]
        assert await checkpointer.run_from(last) == "done"


@every_durability
async def test_s_ckpt_7_a_run_that_is_complete_gives_its_result_and_executes_nothing(
    durability: Durability,
) -> None:
    """However often it is asked for, also with a timeout, which has nothing to count; its state is there as well."""
    store, workflow = MemoryCheckpointStore(), Fan(n=2)
    checkpointer = kept(workflow, store, durability)
    with anyio.fail_after(5):
        await checkpointer.run(run_id=ID)
        before, ran = await copy_of(store, ID), list(workflow.ran)
        for _ in range(2):
            handler = await checkpointer.resume(ID, timeout=1_000)
            assert await handler == [0, 1]
            assert handler.state["count"] == 2
            assert [type(event) async for event in handler.stream_events()] == [StopEvent]
        assert workflow.ran == ran
        assert await copy_of(store, ID) == before


@every_durability
async def test_s_ckpt_7_a_crash_between_the_end_and_the_word_that_it_is_one_changes_nothing(
    durability: Durability,
) -> None:
    """The last record has the StopEvent: it is the result, and now the store knows that the run is complete."""
    store, workflow = FailingStore(last=3), Chain()
    with anyio.fail_after(5):
        await kept(workflow, store).run(run_id=ID)
        assert (await store.run(ID)).status == "running"
        store.last = None
        handler = await kept(workflow, store, durability).resume(ID, timeout=1_000)
        assert await handler == "done"
        assert (await store.run(ID)).status == "completed"
        assert await (await kept(workflow, store, durability).resume(ID)) == "done"
    assert workflow.ran == ["first", "second"]


async def test_s_ckpt_7_an_unknown_run_is_not_resumed() -> None:
    checkpointer = kept(Chain(), MemoryCheckpointStore())
    with pytest.raises(UnknownRunError, match="there is no run 'x'"):
        await checkpointer.resume("x")
    with pytest.raises(UnknownRunError, match="there is no run 'x'"):
        await checkpointer.history("x")


async def test_s_ckpt_7_a_run_of_another_workflow_is_not_resumed() -> None:
    """What is pending there has no place here; the message says what is different."""
    store = MemoryCheckpointStore()
    with anyio.fail_after(5):
        await kept(Chain(), store).run(run_id=ID)
    before = await copy_of(store, ID)
    with pytest.raises(CheckpointError, match="the workflow has changed since") as raised:
        await kept(Fan(), store).resume(ID)
    assert raised.value.run_id == ID
    assert await copy_of(store, ID) == before


def without(name: str) -> Callable[[Any], Any]:
    def change(document: Any) -> Any:
        del document[name]
        return document

    return change


def with_operations(*operations: Any) -> Callable[[Any], Any]:
    return lambda document: {**document, "operations": list(operations)}


WORK = {"type": "Work", "number": 1}


DAMAGES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "no object": (lambda document: None, "the payload"),
    "a member too few": (without("operations"), "has other members"),
    "a member too many": (lambda document: {**document, "more": 1}, "has other members"),
    "operations that are text": (lambda document: {**document, "operations": "none"}, "does not follow"),
    "operations that are nothing": (lambda document: {**document, "operations": None}, "does not follow"),
    "operation that is none": (with_operations(5), "does not follow"),
    "operation without a name": (with_operations([]), "does not follow"),
    "unknown operation": (with_operations(["__init__"]), "does not follow"),
    "commit of what is not there": (with_operations(["commit", 77]), "does not follow"),
    "commit of nothing": (with_operations(["commit"]), "does not follow"),
    "commit of a list": (with_operations(["commit", [1]]), "does not follow"),
    "unknown step": (with_operations(["deliver", 70, "gone", WORK, "k"]), "gone"),
    "unknown event": (with_operations(["deliver", 70, "second", {"type": "os.system"}, "k"]), "os.system"),
    "unknown field": (with_operations(["deliver", 70, "second", {**WORK, "more": 1}, "k"]), "more"),
    "wrong value": (with_operations(["deliver", 70, "second", {**WORK, "number": "x"}, "k"]), "number"),
    "number that is none": (with_operations(["deliver", "x", "second", WORK, "k"]), ""),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_s_ckpt_7_a_damaged_payload_is_refused_and_nothing_is_written(damage: str) -> None:
    """The message names the run and the record; not even a claim is made."""
    change, said = DAMAGES[damage]
    store, checkpointer = await with_damage(lambda data: json.dumps(change(json.loads(data))).encode())
    before = await copy_of(store, ID)
    with pytest.raises(CheckpointError) as raised:
        await checkpointer.resume(ID)
    assert (raised.value.run_id, raised.value.checkpoint) == (ID, f"{ID}/1")
    assert said in str(raised.value)
    assert len(str(raised.value)) < 1_000
    assert await copy_of(store, ID) == before


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"a":1,"a":1}', b"[" * 100_000, b"NaN"])
async def test_s_ckpt_7_a_payload_that_is_no_document_is_refused_and_nothing_is_written(data: bytes) -> None:
    """As above; a store that is not ours may have no checksums."""
    store, checkpointer = await with_damage(lambda _: data)
    before = await copy_of(store, ID)
    for look in (checkpointer.resume, checkpointer.history):
        with pytest.raises(CheckpointError) as raised:
            await look(ID)
        assert (raised.value.run_id, raised.value.checkpoint) == (ID, f"{ID}/1")
    assert await copy_of(store, ID) == before


async def with_damage(
    damage: Callable[[bytes], bytes],
) -> tuple[MemoryCheckpointStore, WorkflowCheckpointer]:
    """Return a store with an unfinished run, whose last record has a damaged payload."""
    store = FailingStore(last=2)
    checkpointer = kept(Chain(), store)
    with anyio.fail_after(5), pytest.raises(StoreError):
        await checkpointer.run(run_id=ID)
    records = store._runs[ID].records
    assert [record.kind for record in records] == ["full", "delta"]
    records[-1] = attrs.evolve(records[-1], payload=damage(records[-1].payload))
    store.last = None
    return store, checkpointer


async def test_s_ckpt_7_a_run_without_records_is_not_resumed() -> None:
    """A store may have nothing but its name."""
    store, checkpointer = await with_damage(lambda data: data)
    store._runs[ID].records.clear()
    with pytest.raises(CheckpointError, match="no record"):
        await checkpointer.resume(ID)


class Question(InputRequiredEvent):
    prefix: str


class Deciding(Workflow):
    """Asks a human, the second time after a time of its own was over."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent | Question:
        with anyio.move_on_after(0):
            await ctx.wait_for_event(Answer, waiter_event=Question(prefix="too short"))
        answer = await ctx.wait_for_event(Answer, waiter_event=Question(prefix="long enough"))
        return StopEvent(result=answer.text)


async def questions(handler: WorkflowHandler) -> list[str]:
    """Answer the first question that is read, and return all."""
    read: list[str] = []
    async with handler:
        async for event in handler.stream_events():
            if isinstance(event, Question):
                read.append(event.prefix)
                handler.send_event(Answer(text=event.prefix))
    return read


@every_durability
@pytest.mark.parametrize("is_native", [False, True])
async def test_s_wait_4_a_run_that_is_cancelled_while_it_waits_asks_again(
    durability: Durability, is_native: bool, anyio_backend: tuple[str, object]
) -> None:
    """Its wait is not given up with it: also when its task was cancelled past AnyIO, as Ctrl-C does it on asyncio."""
    store = MemoryCheckpointStore()
    workflow = Deciding(extra_events=[Answer])
    checkpointer = kept(workflow, store, durability)
    handler = checkpointer.run(run_id=ID)
    with anyio.fail_after(5):
        if is_native and anyio_backend[0] == "asyncio":
            task = asyncio.create_task(await_it(handler))
            await settled()
            task.cancel()
            await asyncio.wait([task])
        else:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(await_it, handler)
                await settled()
                tasks.cancel_scope.cancel()
        last = (await checkpointer.history(ID, cuts=True))[-1]
        assert len(last.document["outstanding"]) == 1, "the first question is over"
        resumed = await kept(workflow, store, durability).resume(ID)
        assert await questions(resumed) == ["long enough"]
        assert await resumed == "long enough"


async def await_it(handler: WorkflowHandler) -> None:
    await handler
