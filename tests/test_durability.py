"""When a run is saved, what waits for it, and what a store that fails does to the run."""

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from durable import (
    ID,
    Answer,
    Asking,
    Chain,
    Durability,
    Fan,
    Late,
    every_durability,
    fail,
    kept,
    saved_early,
    serve_cancelled,
    served,
    settled,
)
from running import never
from stores_that_fail import FailingStore, GatedStore, copy_of

from anyio_workflows import (
    Context,
    Event,
    StartEvent,
    StopEvent,
    StoreConflictError,
    StoreError,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowCancelledError,
    WorkflowCancelledEvent,
    WorkflowFailedEvent,
    WorkflowTimeoutError,
    step,
)
from anyio_workflows._checkpoint.converter import Converter
from anyio_workflows._ledger.outcome import Cancelled
from anyio_workflows._run import keeping
from anyio_workflows.stores import MemoryCheckpointStore

# --- sync


async def test_s_ckpt_6_sync_what_a_step_returns_goes_out_when_its_commit_is_stored() -> None:
    """Else the next step could have acted upon something that after a crash has never happened."""
    store, workflow = GatedStore(), Chain()
    store.close()
    async with served(kept(workflow, store).run(run_id=ID)):
        await store.at_gate.wait()
        await settled()
        assert workflow.ran == ["first"]
        store.open()
    assert workflow.ran == ["first", "second"]
    assert [save.status for save in store.saves] == [None, None, "completed"]


async def test_s_ckpt_6_sync_what_a_step_sends_goes_out_at_once() -> None:
    """It is no commit; the cut lists what has been sent, and the sender does not send it again."""
    store, gate = GatedStore(), anyio.Event()

    async def send(ctx: Context) -> str:
        store.close()
        ctx.send_event(Late())
        await gate.wait()
        return "sent"

    workflow = Chain(send)
    async with served(kept(workflow, store).run(run_id=ID)):
        await store.at_gate.wait()  # the commit of `late`
        assert workflow.ran == ["first", "second", "late"]
        gate.set()
        store.open()


async def test_s_ckpt_6_sync_what_a_step_has_sent_goes_out_while_its_commit_is_saved() -> None:
    """It need not wait for the disk either, nor for anybody else to notice it."""
    store = GatedStore()

    class Sender(Workflow):
        begun = False

        @step
        async def send(self, ctx: Context, ev: StartEvent) -> Late | StopEvent:
            store.close()
            ctx.send_event(Late())
            return StopEvent()

        @step
        async def late(self, ev: Late) -> None:
            self.begun = True

    workflow = Sender()
    async with served(kept(workflow, store).run(run_id=ID)):
        await store.at_gate.wait()
        await settled()
        assert workflow.begun
        store.open()


async def test_s_ckpt_6_sync_the_end_is_given_to_nobody_before_it_is_stored() -> None:
    """Neither to who awaits the run nor to who reads its stream: they would act upon it."""
    store, answers = GatedStore(), list[Any]()

    async def close_gate(ctx: Context) -> str:
        store.close()
        return "done"

    handler = kept(Chain(close_gate), store).run(run_id=ID)

    async def await_it() -> None:
        answers.append(await handler)

    async with served(handler) as read, anyio.create_task_group() as tasks:
        tasks.start_soon(await_it)
        await store.at_gate.wait()
        await settled()
        assert (read, answers, handler.is_done()) == ([], [], False)
        store.open()
    assert ([type(event) for event in read], answers) == ([StopEvent], ["done"])


@pytest.mark.parametrize(
    ("how", "last"),
    [("fail", WorkflowFailedEvent), ("send", StopEvent), ("cancel", WorkflowCancelledEvent)],
)
async def test_s_ckpt_6_sync_every_end_is_stored_before_it_is_told(how: str, last: type[Event]) -> None:
    """Also one that was decided at a call: what is written after it is dropped, and what ended it comes last."""
    store, begun = GatedStore(), anyio.Event()

    async def end(ctx: Context) -> None:
        store.close()
        begun.set()
        if how == "fail":
            raise ValueError
        if how == "send":
            ctx.send_event(StopEvent(result="sent"))
        try:
            await anyio.sleep_forever()
        finally:
            ctx.write_event_to_stream(Late())

    handler = kept(Chain(end), store).run(run_id=ID)
    async with served(handler, ValueError) as read:
        await begun.wait()
        if how == "cancel":
            handler._run.decide(Cancelled("by the test", by_user=True))
        await store.at_gate.wait()
        await settled()
        assert (read, handler.is_done()) == ([], False)
        store.open()
    assert [type(event) for event in read] == [last]
    assert (await store.run(ID)).status == {"fail": "failed", "send": "completed"}.get(
        how, "cancelled_by_user"
    )


async def test_s_ckpt_6_sync_an_event_from_outside_is_stored_though_nothing_commits() -> None:
    """Whoever sent it has been told that it was taken."""
    store = GatedStore()
    handler = kept(Asking(extra_events=[Answer]), store).run(run_id=ID)
    async with served(handler):
        await settled()
        handler.send_event(Answer(text="yes"))
        await settled()
        [*_, last] = await store.history(ID)
        assert last.step is None
        assert b'"yes"' in last.payload
        await handler.cancel_run()


async def test_s_ckpt_6_sync_each_commit_is_one_save() -> None:
    """Nobody saves it beside whoever waits for it."""
    store = GatedStore()
    with anyio.fail_after(5):
        await kept(Chain(), store).run(run_id=ID)
    assert [save.sequences for save in store.saves] == [[1], [2], []]


async def test_s_ckpt_6_sync_a_run_that_is_cancelled_while_saving_keeps_the_commit() -> None:
    """It was made: the last save, under a shield, brings it into the store, and it is not repeated."""
    store, workflow = GatedStore(), Chain()
    store.close()
    handler = kept(workflow, store).run(run_id=ID)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve_cancelled, handler)
            await store.at_gate.wait()
            tasks.cancel_scope.cancel()
            store.open()
        assert handler.failures == ()
        assert [save.status for save in store.saves] == ["cancelled"]
        assert await (await kept(workflow, store).resume(ID)) == "done"
    assert workflow.ran == ["first", "second"]


async def test_s_ckpt_6_sync_a_run_whose_time_is_over_while_saving_is_timed_out() -> None:
    """The save is given up like anything else in the run, and leaves no failure of its own."""
    store = GatedStore()
    store.close()

    async def let_the_end_through() -> None:
        await store.at_gate.wait()
        while not (store.waiting and handler.failures):
            await checkpoint()
        store.open()

    handler = kept(Chain(), store).run(run_id=ID, timeout=0.01)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(let_the_end_through)
            with pytest.raises(WorkflowTimeoutError) as raised:
                await handler
    assert handler.failures == (raised.value,)
    assert (await store.run(ID)).status == "timed_out"


async def test_s_ckpt_6_sync_the_first_end_that_was_given_wins_in_the_store_too() -> None:
    """A StopEvent that comes while another is on its way to the disk ends nothing, neither here nor after a resume."""
    store = GatedStore()

    async def race(ctx: Context) -> str:
        ctx.send_event(Late())
        store.close()
        return "first"

    class Race(Chain):
        @step
        async def late(self, ctx: Context, ev: Late) -> StopEvent | None:
            await store.at_gate.wait()
            ctx.send_event(StopEvent(result="sent too late"))
            self.ran.append("late")
            return StopEvent(result="returned too late")

    workflow = Race(race)
    handler = kept(workflow, store).run(run_id=ID)
    async with served(handler) as read:
        await store.at_gate.wait()
        await settled()
        assert "late" in workflow.ran
        store.open()
    with anyio.fail_after(5):
        assert await handler == "first"
        assert [event.get("result") for event in read if isinstance(event, StopEvent)] == ["first"]
        assert await (await kept(workflow, store).resume(ID)) == "first"


# --- async


async def test_s_ckpt_6_async_a_run_goes_on_while_its_store_saves_and_the_rest_goes_together() -> None:
    """That is what it is for: a slow disk costs the run nothing, and one transaction holds many commits."""
    store, workflow = GatedStore(), Fan(n=5)
    store.close()
    handler = kept(workflow, store, "async").run(run_id=ID)
    async with served(handler):
        await store.at_gate.wait()
        while len(workflow.ran) < 6:
            await checkpoint()
        await settled()
        assert store.saves == []
        assert not handler.is_done()
        store.open()
    saved = [number for save in store.saves for number in save.sequences]
    assert saved == list(range(1, len(saved) + 1))
    assert (
        len(saved) == 11
    )  # six commits of start and work, five of collect; the first was created with the run
    assert len(store.saves) <= 3
    assert store.saves[-1].status == "completed"


async def test_s_ckpt_6_async_a_run_that_ends_while_its_store_saves_waits_for_it() -> None:
    """Its caller has the result when it can be found in the store."""
    store = GatedStore()
    store.close()
    handler = kept(Chain(), store, "async").run(run_id=ID)
    async with served(handler):
        await store.at_gate.wait()
        await settled()
        assert not handler.is_done()
        store.open()
    assert (await store.run(ID)).status == "completed"
    assert [record.step for record in await store.history(ID)] == [None, "first", "second"]


@saved_early
async def test_s_ckpt_6_a_run_that_is_cancelled_while_its_store_saves_loses_nothing(
    durability: Durability,
) -> None:
    """What the save that was cancelled has not written is written with the end."""
    store, workflow = GatedStore(), Fan(n=4)
    workflow.held_at = 2
    handler = kept(workflow, store, durability).run(run_id=ID)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve_cancelled, handler)
            if durability == "async":
                store.close()
                await store.at_gate.wait()
            await workflow.begun.wait()
            tasks.cancel_scope.cancel()
            if durability == "async":
                store.open()
        steps = [record.step for record in await store.history(ID)]
        assert steps.count("work") == 2
        workflow.held_at = None
        assert await (await kept(workflow, store, durability).resume(ID)) == [0, 1, 2, 3]
    assert workflow.ran == ["start", "work 0", "work 1", "work 2", "work 3"]


# --- exit


async def test_s_ckpt_6_exit_saves_once_when_the_run_ends() -> None:
    """Beside the start, without which nobody would know that there was a run."""
    store = GatedStore()
    with anyio.fail_after(5):
        assert await kept(Fan(n=5), store, "exit").run(run_id=ID) == [0, 1, 2, 3, 4]
    assert [(save.sequences, save.status) for save in store.saves] == [([1], "completed")]


async def test_s_ckpt_6_exit_a_run_that_was_cancelled_goes_on_where_it_was() -> None:
    """An end is an end, whoever made it."""
    store, workflow = GatedStore(), Fan(n=4)
    workflow.held_at = 2
    handler = kept(workflow, store, "exit").run(run_id=ID)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve_cancelled, handler)
            await workflow.begun.wait()
            tasks.cancel_scope.cancel()
        assert [(save.sequences, save.status) for save in store.saves] == [([1], "cancelled")]
        workflow.held_at = None
        assert await (await kept(workflow, store, "exit").resume(ID)) == [0, 1, 2, 3]
    assert workflow.ran == ["start", "work 0", "work 1", "work 2", "work 3"]


# --- stores that fail


async def test_s_ckpt_6_sync_a_store_that_fails_ends_the_run_at_once() -> None:
    """What the step returned is not delivered: it was never saved."""
    store, workflow = FailingStore(last=1), Chain()
    handler = kept(workflow, store).run(run_id=ID)
    with anyio.fail_after(5), pytest.raises(StoreError, match="the disk is full"):
        await handler
    assert workflow.ran == ["first"]
    assert handler.failures == (store.error, store.error)  # of the commit and of the end
    assert [record.step for record in await store.history(ID)] == [None]


@pytest.mark.parametrize("durability", ["async", "exit"])
async def test_s_ckpt_6_a_store_that_fails_fails_the_run_when_it_ends_at_the_latest(
    durability: Durability,
) -> None:
    """Nobody is told that a run is complete whose end nobody will find."""
    store = FailingStore(last=1)
    handler = kept(Chain(), store, durability).run(run_id=ID)
    with anyio.fail_after(5), pytest.raises(StoreError, match="the disk is full"):
        await handler
    assert set(handler.failures) == {store.error}
    assert (await store.run(ID)).status == "running"


@saved_early
async def test_s_ckpt_6_a_run_that_its_store_has_failed_can_be_resumed(durability: Durability) -> None:
    """No step has failed, and nothing is lost: what could not be saved is saved with the end if that is possible."""
    store, workflow = FailingStore(1), Chain(never)
    with anyio.fail_after(5):
        with pytest.raises(StoreError):
            await kept(workflow, store, durability).run(run_id=ID)
        assert (await store.run(ID)).status == "cancelled"
        workflow.during = None
        assert await (await kept(workflow, store, durability).resume(ID)) == "done"
    assert workflow.ran.count("first") == 1


async def test_s_run_3_a_success_that_is_stored_stays_one_though_the_store_then_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It was told; whoever resumes the run is told the same."""
    store, workflow = FailingStore(last=3), Chain()
    handler = kept(workflow, store).run(run_id=ID)
    with anyio.fail_after(5):
        assert await handler == "done"
        assert handler.failures == (store.error,)
        assert "the store does not know how run r ended" in caplog.text
        assert (await store.run(ID)).status == "running"
        store.last = None
        assert await (await kept(workflow, store).resume(ID)) == "done"
    assert workflow.ran == ["first", "second"]
    assert (await store.run(ID)).status == "completed"


async def test_s_fail_1_a_failure_stays_the_outcome_though_the_store_then_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The store's comes after it, and into the log."""

    store = FailingStore(last=2)
    handler = kept(Chain(fail), store).run(run_id=ID)
    with anyio.fail_after(5), pytest.raises(ValueError, match="it was the step"):
        await handler
    assert [type(error) for error in handler.failures] == [ValueError, StoreError]
    assert "the store does not know how run r ended" in caplog.text


@every_durability
@pytest.mark.parametrize("call", [0, 1, 3])
async def test_s_ckpt_6_whatever_a_store_raises_ends_the_run(durability: Durability, call: int) -> None:
    """One of the user's may have faults of its own: nobody waits for ever, and it is raised as itself."""
    store = FailingStore(last=call, error=OSError("no such device"))
    handler = kept(Chain(), store, durability).run(run_id=ID)
    with anyio.fail_after(5):
        try:
            await handler
        except OSError as error:
            assert error is store.error  # noqa: PT017
            assert store.calls > call
        else:
            assert store.calls <= call or handler.failures == (store.error,)
    assert handler.is_done()


async def test_s_ckpt_6_a_run_that_could_not_be_put_into_the_store_begins_nothing() -> None:
    """Its id is another run's, of which nothing changes."""
    store, workflow = MemoryCheckpointStore(), Chain()
    with anyio.fail_after(5):
        await kept(workflow, store).run(run_id=ID)
        before = await copy_of(store, ID)
        handler = kept(workflow, store).run(run_id=ID)
        with pytest.raises(StoreConflictError, match="is there already"):
            await handler
        assert len(handler.failures) == 1
        assert workflow.ran == ["first", "second"]
        assert await copy_of(store, ID) == before


async def test_s_ckpt_6_a_record_that_cannot_be_written_is_missing_in_no_later_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is saved is a beginning of what happened, and never has a hole."""
    store, workflow = MemoryCheckpointStore(), Fan(n=3)
    checkpointer = kept(workflow, store, "async")
    write = Converter.dumps

    def refuse(self: Any, document: Any) -> bytes:
        data = write(self, document)
        if b'"output":{"type":"Done","number":1}' in data:
            raise StoreError("test", "too large")
        return data

    with anyio.fail_after(5):
        with monkeypatch.context() as patched:
            patched.setattr(Converter, "dumps", refuse)
            with pytest.raises(StoreError, match="too large"):
                await checkpointer.run(run_id=ID)
        steps = [record.step for record in await store.history(ID)]
        assert steps.count("work") == 1
        assert sorted(await (await checkpointer.resume(ID))) == [0, 1, 2]


# --- one writer


@every_durability
async def test_s_ckpt_6_a_run_that_another_has_claimed_ends(durability: Durability) -> None:
    """Two would both deliver what is pending; the one that was thought dead can write nothing any more."""
    store, gate = MemoryCheckpointStore(), anyio.Event()

    async def hold(ctx: Context) -> str:
        await gate.wait()
        return "late"

    async def quick(ctx: Context) -> str:
        return "quick"

    workflow = Chain(hold)
    handler = kept(workflow, store, durability).run(run_id=ID)
    async with served(handler, StoreConflictError):
        while "second" not in workflow.ran:
            await checkpoint()
        await settled()
        workflow.during = quick
        assert await (await kept(workflow, store, durability).resume(ID)) == "quick"
        before = await copy_of(store, ID)
        gate.set()
    assert await copy_of(store, ID) == before
    with pytest.raises(StoreConflictError, match="belongs to another writer now"):
        await handler


async def test_s_ckpt_7_what_the_old_writer_saves_before_it_is_claimed_is_not_repeated() -> None:
    """It may be alive, and save between the look at the run and the claim."""
    gate = anyio.Event()

    class Racing(GatedStore):
        async def claim(self, run_id: str) -> int:
            gate.set()
            while "first" in workflow.ran and len(self.saves) < 2:
                await checkpoint()
            return await super().claim(run_id)

    async def hold(ctx: Context) -> str:
        ctx.send_event(Late())
        await anyio.sleep_forever()
        return "never"

    class Slow(Chain):
        @step
        async def late(self, ctx: Context, ev: Late) -> StopEvent | None:
            await gate.wait()
            self.ran.append("late")
            return None

    async def quick(ctx: Context) -> str:
        ctx.send_event(Late())
        await settled()
        return "quick"

    store, workflow = Racing(), Slow(hold)
    handler = kept(workflow, store).run(run_id=ID)
    async with served(handler):
        while "second" not in workflow.ran:
            await checkpoint()
        await settled()
        resumed = await kept(workflow, store).resume(ID)
        assert "late" in workflow.ran
        workflow.during = quick
        assert await resumed == "quick"
        assert workflow.ran == ["first", "second", "late", "second"]
        await handler.cancel_run()


# --- the end


@every_durability
async def test_s_ckpt_6_the_last_save_is_not_cancelled_with_the_run(durability: Durability) -> None:
    """It runs under a shield, for it is what a resume needs."""
    store, workflow = GatedStore(), Fan(n=1)
    workflow.held_at = 0
    handler = kept(workflow, store, durability).run(run_id=ID)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve_cancelled, handler)
            await workflow.begun.wait()
            await settled()
            store.close()
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await store.at_gate.wait()
                await settled()
                assert not handler.is_done()
                store.open()
    assert store.saves[-1].status == "cancelled"


@every_durability
async def test_s_ckpt_6_a_store_that_does_not_answer_holds_its_caller_only_so_long(
    durability: Durability, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run then ends without it, and says so."""
    monkeypatch.setattr(keeping, "_GRACE", 0)
    store, workflow = GatedStore(), Fan(n=1)
    workflow.held_at = 0
    handler = kept(workflow, store, durability).run(run_id=ID)
    async with served(handler):
        await workflow.begun.wait()
        await settled()
        store.close()
        await handler.cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await handler
    [error] = handler.failures
    assert "has not saved how run r ended" in str(error)


# --- deltas and whole records


def test_s_ckpt_6_what_a_record_costs_does_not_grow_with_the_run() -> None:
    """Neither with the events that are pending nor with those that were."""

    async def measure(n: int) -> float:
        store = MemoryCheckpointStore()
        await kept(Fan(n=n), store, "async").run(run_id=ID)
        records = await store.history(ID)
        assert len(records) > 2 * n
        assert len(await store.load(ID)) < len(records)
        return sum(len(record.payload) for record in records) / len(records)

    async def main() -> None:
        few, many = await measure(1_000), await measure(10_000)
        assert many <= 1.3 * few

    anyio.run(main)


async def test_s_ckpt_6_state_that_does_not_change_is_not_written_again() -> None:
    """A megabyte of it costs a step nothing."""
    store = MemoryCheckpointStore()
    with anyio.fail_after(5):
        await kept(Fan(n=100), store, "async").run(run_id=ID, state={"ballast": "x" * 1_000_000})
    records = await store.history(ID)
    assert len([record for record in records if record.kind == "full"]) == 1
    assert sum(len(record.payload) for record in records[1:]) < 200_000


@saved_early
async def test_s_ckpt_6_what_is_read_back_is_what_the_run_knew(durability: Durability) -> None:
    """At every cut, folded from the whole record before it and the deltas since."""
    store = MemoryCheckpointStore()
    checkpointer = kept(Fan(n=60), store, durability)
    with anyio.fail_after(5):
        await checkpointer.run(run_id=ID)
        read = await checkpointer.history(ID)
    kinds = {record.kind for record in (await store.history(ID))[1:]}
    assert kinds == {"full", "delta"}
    made = checkpointer.checkpoints[ID]
    assert [checkpointer.dumps(each) for each in read] == [checkpointer.dumps(each) for each in made]


async def test_s_run_2_a_run_that_is_cancelled_before_it_begins_does_not_wait_for_its_timeout() -> None:
    """Nothing of it is started any more."""
    with anyio.fail_after(5):
        async with Chain(never).run(timeout=1_000) as handler:
            await handler.cancel_run()
        with pytest.raises(WorkflowCancelledError):
            await handler
