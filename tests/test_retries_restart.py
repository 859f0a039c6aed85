"""Retries in checkpoints: attempts, due times and first attempts survive a restart, and nothing is done twice."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from retrying import FOR_EVER, Flaky, Piecework, Result, Work, failing_until, retried
from tenacity import stop_after_delay, stop_never, wait_fixed
from virtual_time import both_backends, run_virtually

from anyio_workflows import (
    Checkpoint,
    Context,
    RestoredError,
    RetryInfo,
    RetryPolicy,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCheckpointer,
    WorkflowFailedEvent,
    step,
)
from anyio_workflows.stores import MemoryCheckpointStore, SqliteCheckpointStore

HOURLY = RetryPolicy(wait=wait_fixed(3600), stop=stop_never)
EPOCH = 1_700_000_000.0


class Wall:
    """The calendar's clock: it goes with the event loop's, and on when nobody runs."""

    def __init__(self) -> None:
        self.offset = EPOCH

    def time(self) -> float:
        return self.offset + anyio.current_time()


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    clock = Wall()
    monkeypatch.setattr("anyio_workflows._run.recording.time", SimpleNamespace(time=clock.time))
    return clock


class Hourly(Workflow):
    """Is tried again every hour, and notes what it is told."""

    def __init__(self, attempts: int = 3, **options: Any) -> None:
        super().__init__(**options)
        self.attempts = attempts
        self.infos: list[RetryInfo] = []
        self.times: list[float] = []

    @step
    async def begin(self, ev: StartEvent) -> Work:
        return Work(number=7)

    @step(retry_policy=HOURLY)
    async def work(self, ctx: Context, ev: Work) -> StopEvent:
        self.infos.append(ctx.retry_info())
        self.times.append(anyio.current_time())
        if ctx.retry_info().retry_number + 1 < self.attempts:
            raise Flaky(f"attempt {ctx.retry_info().retry_number + 1}")
        return StopEvent(result=len(self.infos))


async def cut_after(seconds: float, checkpointer: WorkflowCheckpointer) -> Checkpoint:
    """Return a cut so many seconds after the run has begun; the run goes no further."""
    with anyio.CancelScope():
        async with checkpointer.run() as handler:
            await anyio.sleep(seconds)
            cut = handler.checkpoint()
            await handler.cancel_run()
    return checkpointer.loads(checkpointer.dumps(cut))


# --- time


@both_backends
def test_s_ckpt_1_a_cut_knows_which_attempt_is_next_and_when(backend: str, wall: Wall) -> None:
    async def main() -> None:
        began = wall.time()
        cut = await cut_after(3600 + 600, WorkflowCheckpointer(workflow=Hourly()))
        (pending,) = cut.pending
        assert (pending.step, pending.event, pending.attempt) == ("work", Work(number=7), 3)
        assert pending.due is not None
        assert pending.due.timestamp() == pytest.approx(began + 7200)
        assert pending.due.tzinfo is UTC
        first = await cut_after(0, WorkflowCheckpointer(workflow=Piecework({})))
        assert all((each.attempt, each.due) == (1, None) for each in first.pending)

    run_virtually(main, backend)


@both_backends
@pytest.mark.parametrize(
    ("away", "left"), [(0, 3000), (1000, 2000), (3000, 0), (50_000, 0), (-10_000, 13_000)]
)
def test_s_fail_2_time_that_passes_while_nobody_runs_counts(
    backend: str, wall: Wall, away: int, left: int
) -> None:
    """As for the delay, so for what the step is told."""

    async def main() -> None:
        workflow = Hourly()
        checkpointer = WorkflowCheckpointer(workflow=workflow)
        cut = await cut_after(600, checkpointer)
        failed_at = cut.created_at.timestamp() - 600
        wall.offset += away
        again = anyio.current_time()
        workflow.times.clear()
        workflow.infos.clear()
        assert await checkpointer.run_from(cut) == 2
        assert [moment - again for moment in workflow.times] == pytest.approx([left, left + 3600])
        (info, later) = workflow.infos
        assert info.retry_number == 1
        assert info.elapsed_seconds == pytest.approx(600 + away + left)
        assert isinstance(info.last_exception, RestoredError)
        assert (info.last_exception.kind, info.last_exception.message) == ("Flaky", "Flaky('attempt 1')")
        assert info.last_failed_at is not None
        assert info.last_failed_at.timestamp() == pytest.approx(failed_at)
        assert isinstance(later.last_exception, Flaky)

    run_virtually(main, backend)


@both_backends
def test_s_fail_2_a_policy_counts_from_the_first_attempt_of_all(backend: str, wall: Wall) -> None:
    """Also with the attempts and the time of the run before."""
    policy = RetryPolicy(wait=wait_fixed(100), stop=stop_after_delay(1000))
    begun: list[int] = []

    async def body(ctx: Context) -> None:
        begun.append(ctx.retry_info().retry_number)
        raise Flaky

    async def main() -> None:
        checkpointer = WorkflowCheckpointer(workflow=retried(body, policy))
        cut = await cut_after(250, checkpointer)
        assert begun == [0, 1, 2]
        wall.offset += 500
        handler = checkpointer.run_from(cut)
        with pytest.raises(Flaky) as caught:
            await handler
        assert begun[3:] == [3, 4, 5, 6]
        assert any("attempt 7 at" in note for note in caught.value.__notes__)
        last = [event async for event in handler.stream_events()][-1]
        assert isinstance(last, WorkflowFailedEvent)
        assert last.attempts == 7
        assert last.elapsed_seconds == pytest.approx(1050)

    run_virtually(main, backend)


@both_backends
def test_s_fail_2_a_cut_in_the_middle_of_an_attempt_begins_that_attempt_again(
    backend: str, wall: Wall
) -> None:
    """At once, whatever it had been waiting for."""
    begun: list[tuple[int, float]] = []

    async def body(ctx: Context) -> str:
        number = ctx.retry_info().retry_number
        begun.append((number, anyio.current_time()))
        await failing_until(2)(ctx)
        await anyio.sleep(100)
        return "done"

    async def main() -> None:
        checkpointer = WorkflowCheckpointer(workflow=retried(body, HOURLY))
        cut = await cut_after(3650, checkpointer)
        assert cut.pending[0].attempt == 2
        again = anyio.current_time()
        assert await checkpointer.run_from(cut) == "done"
        ((number, moment),) = begun[2:]
        assert number == 1
        assert moment - again == pytest.approx(0)

    run_virtually(main, backend)


@both_backends
def test_s_fail_2_a_clock_that_was_put_back_makes_no_time_negative(backend: str, wall: Wall) -> None:
    elapsed: list[float] = []

    async def body(ctx: Context) -> str:
        elapsed.append(ctx.retry_info().elapsed_seconds)
        await failing_until(2)(ctx)
        await anyio.sleep(100)
        return "done"

    async def main() -> None:
        checkpointer = WorkflowCheckpointer(workflow=retried(body, FOR_EVER))
        cut = await cut_after(50, checkpointer)
        wall.offset -= 10_000
        assert await checkpointer.run_from(cut) == "done"

    run_virtually(main, backend)
    assert elapsed == pytest.approx([0, 0, 0])


@both_backends
def test_s_fail_2_a_run_that_is_cancelled_before_it_takes_up_its_delays_can_be_gone_on_from(
    backend: str, wall: Wall
) -> None:
    async def main() -> None:
        workflow = Hourly()
        checkpointer = WorkflowCheckpointer(workflow=workflow)
        cut = await cut_after(600, checkpointer)
        for _ in range(3):
            handler = checkpointer.run_from(cut)
            async with handler:
                assert handler.checkpoint().pending == cut.pending
                await anyio.sleep(10)
                assert handler.checkpoint().pending == cut.pending
                assert handler._run.inbox("work").pending == 1, "it has its place"
                await handler.cancel_run()
        assert await checkpointer.run_from(cut) == 3

    run_virtually(main, backend)


# --- order


@both_backends
def test_s_fail_2_due_times_order_what_is_taken_up_together(backend: str, wall: Wall) -> None:
    class Many(Piecework):
        @step(
            num_workers=1,
            retry_policy=RetryPolicy(wait=lambda state: 100 - int(str(state.outcome.exception()))),
        )
        async def work(self, ctx: Context, ev: Work) -> Result:
            return self.attempt(ev)

    async def main() -> None:
        workflow = Many(dict.fromkeys(range(3), 1), n=5)
        checkpointer = WorkflowCheckpointer(workflow=workflow)
        cut = await cut_after(50, checkpointer)
        assert workflow.begun == [0, 1, 2, 3, 4]
        wall.offset += 1000
        workflow.begun.clear()
        await checkpointer.run_from(cut)
        assert workflow.begun == [2, 1, 0]

    run_virtually(main, backend)


# --- stores


STORES: list[Callable[[Path], Any]] = [
    lambda path: MemoryCheckpointStore(),
    lambda path: SqliteCheckpointStore(path / "runs.db"),
]


@pytest.mark.parametrize("make", STORES, ids=["memory", "sqlite"])
@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_s_ckpt_1_a_store_has_a_cut_of_each_retry_and_the_run_goes_on_from_it(
    make: Callable[[Path], Any], durability: Any, tmp_path: Path
) -> None:
    """It is no checkpoint of the user's."""
    workflow = Hourly()
    async with make(tmp_path) as store:
        checkpointer = WorkflowCheckpointer(workflow=workflow, store=store, durability=durability)
        with anyio.move_on_after(0.2):
            await checkpointer.run(run_id="r")
        assert [each.last_completed_step for each in checkpointer.checkpoints["r"]] == ["begin"]
        cuts = await checkpointer.history("r", cuts=True)
        assert [each.last_completed_step for each in await checkpointer.history("r")] == ["begin"]
        (pending,) = cuts[-1].pending
        assert pending.attempt == 2
        assert pending.due is not None
        assert 3000 < (pending.due - datetime.now(UTC)).total_seconds() <= 3600
        again = Hourly()
        handler = await WorkflowCheckpointer(workflow=again, store=store, durability=durability).resume("r")
        with anyio.move_on_after(0.1) as scope:
            await handler
    assert scope.cancelled_caught
    assert again.infos == [], "it is not due"


async def test_s_ckpt_1_a_store_has_the_cut_of_a_retry_while_it_is_waited_for() -> None:
    """A crash in a long delay must not make it begin anew."""
    store = MemoryCheckpointStore()
    checkpointer = WorkflowCheckpointer(workflow=Hourly(), store=store, durability="async")
    with anyio.fail_after(5):
        async with checkpointer.run(run_id="r") as handler:
            await anyio.wait_all_tasks_blocked()
            (pending,) = (await checkpointer.history("r", cuts=True))[-1].pending
            await handler.cancel_run()
    assert (pending.step, pending.attempt) == ("work", 2)


@pytest.mark.parametrize("make", STORES, ids=["memory", "sqlite"])
async def test_s_fail_2_a_resumed_run_has_the_attempts_it_had(
    make: Callable[[Path], Any], tmp_path: Path
) -> None:
    policy = RetryPolicy(wait=wait_fixed(0.05), stop=stop_never)
    infos: list[RetryInfo] = []

    async def body(ctx: Context) -> str:
        infos.append(ctx.retry_info())
        await failing_until(4)(ctx)
        return "at last"

    class Tried(Workflow):
        @step(retry_policy=policy)
        async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
            return StopEvent(result=await body(ctx))

    async with make(tmp_path) as store:
        checkpointer = WorkflowCheckpointer(workflow=Tried(), store=store, durability="sync")
        handler, life = checkpointer.run(run_id="r"), 0.03
        while True:
            with anyio.move_on_after(life):
                assert await handler == "at last"
                break
            handler, life = await checkpointer.resume("r"), life * 1.2
    numbers = [info.retry_number for info in infos]
    # One that was cut short in its middle, which a busy machine makes likelier, runs again as the same attempt.
    assert numbers == sorted(numbers)
    assert set(numbers) == {0, 1, 2, 3}
    elapsed = [info.elapsed_seconds for info in infos]
    assert elapsed == sorted(elapsed)
    assert elapsed[-1] >= 0.14
