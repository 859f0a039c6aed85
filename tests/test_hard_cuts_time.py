"""Cuts through executions whose time is running."""

from typing import Any

import anyio
import pytest
from virtual_time import both_backends, run_virtually

from anyio_workflows import (
    Checkpoint,
    Context,
    Event,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCheckpointer,
    step,
)


class Late(Event):
    pass


class Turn(Event):
    number: int
    is_busy: bool


class Patient(Workflow):
    """Waits for an hour, then for two."""

    def __init__(self) -> None:
        super().__init__(extra_events=[Late])
        self.times: list[float] = []

    @step
    async def wait(self, ctx: Context, ev: StartEvent) -> StopEvent:
        given: list[Any] = []
        for hours in (1, 2):
            began = anyio.current_time()
            try:
                await ctx.wait_for_event(
                    Late, waiter_event=InputRequiredEvent(hours=hours), timeout=hours * 3600
                )
                given.append("in time")
            except TimeoutError:
                given.append(round(anyio.current_time() - began))
        return StopEvent(result=given)


@both_backends
def test_s_wait_4_an_open_wait_has_the_time_it_had_left_and_one_that_is_over_is_over(backend: str) -> None:
    """The time that passes while nobody runs does not count."""

    async def main() -> None:
        workflow = Patient()
        checkpointer = WorkflowCheckpointer(workflow=workflow)
        cuts: list[Checkpoint] = []
        async with checkpointer.run() as handler:
            clock = _follow(handler)
            await anyio.sleep(900)
            cuts.append(handler.checkpoint())
            await anyio.sleep(2700 + 1800)
            cuts.append(handler.checkpoint())
        assert await handler == [3600, 7200]
        assert [len(cut.document["pending"][0]["waits"]) for cut in cuts] == [1, 1]

        handler = checkpointer.run_from(cuts[0])
        clock = _follow(handler)
        assert await handler == [2700, 7200]
        handler = checkpointer.run_from(cuts[1])
        clock = _follow(handler)
        async with handler:
            await anyio.sleep(1000)
            again = handler.checkpoint()
        assert await handler == [0, 5400]
        handler = checkpointer.run_from(again)
        clock = _follow(handler)
        assert await handler == [0, 4400]
        assert clock() > 0

    run_virtually(main, backend)


class Hasty(Workflow):
    """Gives up a wait by a deadline of its own, and waits again."""

    def __init__(self) -> None:
        super().__init__(extra_events=[Late])

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Turn | None:
        for number in range(2):
            ctx.send_event(Turn(number=number, is_busy=ev.is_busy and number == 1))
        return None

    @step(num_workers=1)
    async def wait(self, ctx: Context, ev: Turn) -> StopEvent | None:
        if ev.number:
            # With the one worker in its hands, so that an answered wait has to stand in line.
            await anyio.sleep(10 if ev.is_busy else 0)
            return None
        got = []
        for _ in range(2):
            with anyio.move_on_after(5):
                await ctx.wait_for_event(Late)
                got.append("in time")
                continue
            got.append("too late")
        await anyio.sleep(100)
        return StopEvent(result=got)


@both_backends
@pytest.mark.parametrize("is_busy", [False, True])
def test_s_wait_2_a_wait_given_up_by_a_deadline_of_the_steps_own_is_matched_with_nothing(
    backend: str, is_busy: bool
) -> None:
    """Its answer, which it never got to, goes to the next wait, before a cut and after it."""

    async def main() -> None:
        checkpointer = WorkflowCheckpointer(workflow=Hasty())
        async with checkpointer.run(is_busy=is_busy) as handler:
            await anyio.sleep(1 if is_busy else 6)
            handler.send_event(Late())
            await anyio.sleep(12)
            cut = handler.checkpoint()
        assert await handler == ["too late", "in time"]
        assert len(cut.pending) == 1
        async with checkpointer.run_from(cut) as handler:
            await anyio.sleep(1)
        assert await handler == ["too late", "in time"]

    run_virtually(main, backend)


def _follow(handler: Any) -> Any:
    """Let the wall clock of the run's history be the virtual one, a year later for each run."""
    history = handler._run.recording.history
    _follow.years += 1  # type: ignore[attr-defined]
    year = _follow.years * 31_536_000.0  # type: ignore[attr-defined]
    history.clock = lambda: year + anyio.current_time()
    return history.clock


_follow.years = 0  # type: ignore[attr-defined]


class Hurried(Workflow):
    """Waits an hour for what nobody is asked for, and then does something that takes long."""

    gate: anyio.Event | None = None

    @step
    async def wait(self, ctx: Context, ev: StartEvent) -> StopEvent:
        began = anyio.current_time()
        try:
            await ctx.wait_for_event(Late, timeout=3_600)
        except TimeoutError:
            if self.gate is not None:
                await self.gate.wait()
        return StopEvent(result=anyio.current_time() - began)


@both_backends
def test_s_wait_4_a_wait_that_was_over_at_the_cut_is_no_stall_of_the_run_that_goes_on(backend: str) -> None:
    """Nothing is waited for there: what it came to is known."""

    async def main() -> None:
        workflow = Hurried(extra_events=[Late])
        workflow.gate = anyio.Event()
        checkpointer = WorkflowCheckpointer(workflow=workflow)
        async with checkpointer.run() as handler:
            await anyio.sleep(3_601)
            cut = handler.checkpoint()
            workflow.gate.set()
        assert await handler == 3_601
        assert await checkpointer.run_from(cut) == 0

    run_virtually(main, backend)
