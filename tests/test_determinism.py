"""S-DET-1 and S-DET-2: time comes from the event loop, ids from the run's own history."""

import random
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from running import Calling, Work, events_of, never
from virtual_time import both_backends, run_virtually

from anyio_workflows import (
    Context,
    Event,
    HumanResponseEvent,
    RunGroup,
    StartEvent,
    StepStateChanged,
    StopEvent,
    Workflow,
    WorkflowCancelledError,
    WorkflowTimeoutError,
    step,
)
from anyio_workflows._run import run as run_module


class Part(Event):
    number: int


class FanOut(Workflow):
    """Sends parts, some of which send further ones; its steps never suspend."""

    def __init__(self, num_parts: int = 12) -> None:
        super().__init__()
        self.num_parts = num_parts
        self.begun: list[tuple[str, int]] = []

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Work | None:
        for number in range(self.num_parts):
            ctx.send_event(Work(number=number))
        return None

    @step(num_workers=3)
    async def split(self, ctx: Context, ev: Work) -> Part | None:
        self.begun.append(("split", ev.number))
        ctx.send_event(Part(number=10 * ev.number))
        return Part(number=10 * ev.number + 1)

    @step(num_workers=2)
    async def gather(self, ctx: Context, ev: Part) -> StopEvent | None:
        self.begun.append(("gather", ev.number))
        parts = ctx.collect_events(ev, {Part: 2 * self.num_parts})
        return None if parts is None else StopEvent(result=[part.number for part in parts])


class Suspending(FanOut):
    """The same, where every execution suspends: the order of arrival is the schedule's."""

    @step(num_workers=3)
    async def split(self, ctx: Context, ev: Work) -> Part | None:
        await checkpoint()
        return await super().split(ctx, ev)

    @step(num_workers=2)
    async def gather(self, ctx: Context, ev: Part) -> StopEvent | None:
        await checkpoint()
        return await super().gather(ctx, ev)


# --- S-DET-1


@both_backends
def test_s_det_1_every_wait_of_ours_uses_the_event_loops_clock(backend: str) -> None:
    """So that a virtual clock makes it instant: hours of timeouts in a test of milliseconds."""

    async def main() -> list[float]:
        elapsed = []

        async def timed(use: Any, expected: type[BaseException]) -> None:
            begun_at = anyio.current_time()
            with pytest.raises(expected):
                await use()
            elapsed.append(anyio.current_time() - begun_at)

        async def waits(ctx: Context) -> None:
            await ctx.wait_for_event(HumanResponseEvent, timeout=3600)

        class Slow(Workflow):
            @step(timeout=3600)
            async def slow(self, ev: StartEvent) -> StopEvent:
                await anyio.sleep_forever()
                return StopEvent()

        async def run_timeout() -> None:
            await Calling(never).run(timeout=3600)

        async def wait_timeout() -> None:
            await Calling(waits).run()

        async def step_timeout() -> None:
            await Slow().run()

        async def grace() -> None:
            async with RunGroup(grace=3600) as runs:
                handler = runs.start(Calling(never))
            await handler

        await timed(run_timeout, WorkflowTimeoutError)
        await timed(wait_timeout, TimeoutError)
        await timed(step_timeout, WorkflowTimeoutError)
        await timed(grace, WorkflowCancelledError)
        return elapsed

    assert run_virtually(main, backend) == pytest.approx([3600] * 4)


async def test_s_det_1_nothing_of_ours_draws_from_the_global_random_source() -> None:
    """A test that has seeded it must not get other numbers because a run was made."""
    before = random.getstate()
    async with FanOut().run() as handler:
        await events_of(handler, expose_internal=True)
    assert handler.run_id
    assert random.getstate() == before


async def test_s_det_1_run_ids_come_from_a_source_that_can_be_seeded() -> None:
    ids = []
    for _ in range(2):
        run_module._run_ids().seed(7)
        handlers = [FanOut().run() for _ in range(3)]
        ids.append([handler.run_id for handler in handlers])
        for handler in handlers:
            await handler
    run_module._run_ids().seed()
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 3


# --- S-DET-2


async def _traced_run(flow: Workflow) -> tuple[dict[str, list[tuple[str, ...]]], object]:
    """Return what each step did, in order, and the result.

    How two steps take turns depends on how much fits into a millisecond; what each does, does not.
    """
    trace: dict[str, list[tuple[str, ...]]] = {}
    async with flow.run() as handler:
        for event in await events_of(handler, expose_internal=True):
            if isinstance(event, StepStateChanged):
                seen = (event.step_state.value, event.worker_id, event.input_event_name)
                trace.setdefault(event.name, []).append(seen)
    return trace, await handler


async def test_s_det_2_two_runs_have_the_same_execution_ids() -> None:
    """An id counts within its run: how many runs there were before does not matter."""
    first, second = await _traced_run(FanOut()), await _traced_run(FanOut())
    assert first == second
    begun = {name: [state for state, *_ in seen].count("running") for name, seen in first[0].items()}
    assert begun == {"begin": 1, "split": 12, "gather": 24}


async def test_s_det_2_runs_side_by_side_do_not_share_their_numbers() -> None:
    alone = await _traced_run(Suspending())
    together: list[Any] = []

    async def one() -> None:
        together.append(await _traced_run(Suspending()))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(one)
    assert [_ids(trace) for trace, _ in together] == [_ids(alone[0])] * 5


def _ids(trace: dict[str, list[tuple[str, ...]]]) -> dict[str, list[str]]:
    return {name: sorted({worker_id for _, worker_id, _ in seen}) for name, seen in sorted(trace.items())}


def test_s_det_2_steps_that_never_suspend_have_the_same_trace_on_every_backend() -> None:
    """Trio runs woken tasks in random order; what begins first is the ledger's to decide."""

    async def main() -> object:
        flow = FanOut()
        return (await _traced_run(flow), sorted(flow.begun))

    traces = [anyio.run(main, backend=backend) for backend in ("asyncio", "trio", "trio", "trio")]
    assert traces[1:] == traces[:1] * 3


@pytest.mark.parametrize("flow_class", [FanOut, Suspending])
async def test_s_det_2_the_members_of_a_fan_out_begin_in_the_order_in_which_they_were_sent(
    flow_class: type[FanOut],
) -> None:
    """Emission order is the same on every run and backend, whoever is woken first."""
    with anyio.fail_after(5):
        trace, _ = await _traced_run(flow_class(num_parts=50))
    begun = [int(worker_id) for state, worker_id, _ in trace["split"] if state == "running"]
    assert begun == list(range(begun[0], begun[0] + 50))


async def test_s_det_2_a_collection_comes_in_the_order_of_the_calls() -> None:
    """With one worker each the order of arrival is that of emission."""

    class Ordered(FanOut):
        @step(num_workers=1)
        async def split(self, ctx: Context, ev: Work) -> Part | None:
            await checkpoint()
            return await super().split(ctx, ev)

        @step(num_workers=1)
        async def gather(self, ctx: Context, ev: Part) -> StopEvent | None:
            return await super().gather(ctx, ev)

    with anyio.fail_after(5):
        result = await Ordered(num_parts=20).run()
    assert result == [10 * number + digit for number in range(20) for digit in (0, 1)]
