"""The loops in which explored runs are made: the same every time, on both backends, and never stuck for long."""

import threading
import time
from collections.abc import Callable

import anyio
import pytest

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step
from anyio_workflows.testing import Schedule, ScheduleError, checkpoint, explore
from anyio_workflows.testing.exploration import Case, run_once

both_backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


class Job(Event):
    number: int


class Done(Event):
    pass


class Fan(Workflow):
    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Job | None:
        for number in range(4):
            ctx.send_event(Job(number=number))
        return None

    @step
    async def work(self, ctx: Context, ev: Job) -> Done:
        done = await ctx.store.get("done", ())
        await anyio.sleep(3 - ev.number)
        await ctx.store.set("done", (*done, ev.number))
        return Done()

    @step
    async def end(self, ctx: Context, ev: Done) -> StopEvent | None:
        if ctx.collect_events(ev, [Done] * 4) is None:
            return None
        return StopEvent(result=await ctx.store.get("done"))


@pytest.mark.parametrize("tape", [(), (1, 2), (0, 3, 1, 1, 0, 2, 1, 1, 1), (5,) * 40])
def test_s_det_3_a_schedule_gives_the_same_trace_each_time_and_on_both_backends(
    tape: tuple[int, ...],
) -> None:
    """To the byte: what is seen depends on no address, no hash and no clock."""
    traces = {
        "\n".join(run_once(Case(make=Fan), Schedule(tape), backend).trace())
        for backend in ("asyncio", "trio") * 3
    }
    assert len(traces) == 1


def hangs(body: Callable[[], object]) -> type[Workflow]:
    class Hangs(Workflow):
        @step
        async def wait(self, ev: StartEvent) -> StopEvent:
            with anyio.CancelScope(shield=True):
                await body()  # type: ignore[misc]  # what the tests give can be awaited
            return StopEvent()

    return Hangs


@both_backends
def test_a_run_that_can_do_nothing_is_a_failure_at_once(backend: str) -> None:
    """Without a thread there is nobody to wait for."""

    class Stuck(Workflow):
        @step
        async def wait(self, ev: StartEvent) -> StopEvent:
            await anyio.Event().wait()
            return StopEvent()

    began = time.perf_counter()
    with pytest.raises(ScheduleError, match="every task waits for something that can never come"):
        explore(Stuck, schedule="", backends=[backend])
    alone = threading.active_count() == 1
    assert time.perf_counter() - began < (0.4 if alone else 5)


@both_backends
def test_a_thread_of_the_step_is_waited_for(backend: str) -> None:
    """Nobody in the loop can go on, and yet it is no deadlock."""
    body: Callable[[], object] = lambda: anyio.to_thread.run_sync(time.sleep, 0.05)  # noqa: E731
    explore(hangs(body), schedule="", backends=[backend])


@both_backends
def test_what_goes_wrong_while_the_program_dies_is_raised(backend: str) -> None:
    """A run with something in its state that cannot be written down has no checkpoint to go on from."""

    class Unwritable(Workflow):
        @step
        async def start(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await checkpoint()
            ctx.send_event(ev)
            return StopEvent(result=object())

    case = Case(make=Unwritable, recorded=True)

    def dies(*_: object, **__: object) -> bytes:
        raise ZeroDivisionError("no disk")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("anyio_workflows.WorkflowCheckpointer.dumps", dies)
        with pytest.raises(ZeroDivisionError, match="no disk"):
            run_once(case, Schedule((), 1), backend)


@both_backends
def test_a_timer_that_is_due_fires_before_the_next_turn(backend: str) -> None:
    """Else a deadline of zero seconds would depend on who stands at a point."""
    order: list[str] = []

    async def expire() -> None:
        with anyio.move_on_after(0):
            await anyio.sleep_forever()
        order.append("deadline")

    class Both(Workflow):
        @step
        async def start(self, ev: StartEvent) -> StopEvent:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(expire)
                await checkpoint()
                order.append("turn")
            return StopEvent()

    explore(Both, schedule="", backends=[backend])
    assert order == ["deadline", "turn"]
