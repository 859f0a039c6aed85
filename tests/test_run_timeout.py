"""S-RUN-5: timeouts of runs and of steps."""

import math
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from running import Calling, Crowd, Echo, Held, Work, events_of, never
from virtual_time import both_backends, run_virtually

from anyio_workflows import (
    Context,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowError,
    WorkflowHandler,
    WorkflowRuntimeError,
    WorkflowTimedOutEvent,
    WorkflowTimeoutError,
    step,
)


async def test_s_run_5_a_run_that_takes_too_long_is_a_timeout_error_that_names_the_active_steps() -> None:
    flow = Crowd(never)
    handler = flow.run(timeout=0.2)
    with anyio.fail_after(5), pytest.raises(TimeoutError) as caught:
        await handler
    error = caught.value
    assert isinstance(error, WorkflowTimeoutError)
    assert isinstance(error, WorkflowError)
    assert (error.workflow, error.timeout, error.active_steps) == ("Crowd", 0.2, ("begin", "stay"))
    assert str(error) == "Crowd was not done after 0.2 seconds; active steps: begin, stay"
    assert handler.failures == (error,)
    assert await events_of(handler) == [WorkflowTimedOutEvent(timeout=0.2, active_steps=("begin", "stay"))]


@both_backends
def test_s_run_5_the_default_is_no_timeout(backend: str) -> None:
    async def main() -> object:
        async def takes_its_time(ctx: Context) -> str:
            await anyio.sleep(50_000)
            return "done"

        return await Calling(takes_its_time).run()

    assert run_virtually(main, backend) == "done"


@both_backends
@pytest.mark.parametrize(
    ("of_workflow", "of_run", "seconds"), [(10, {}, 10), (10, {"timeout": 3}, 3), (None, {"timeout": 3}, 3)]
)
def test_s_run_5_the_timeout_of_the_run_goes_before_the_workflows(
    backend: str, of_workflow: float | None, of_run: dict[str, Any], seconds: float
) -> None:
    async def main() -> float:
        begun_at = anyio.current_time()
        with pytest.raises(WorkflowTimeoutError):
            await Calling(never, timeout=of_workflow).run(**of_run)
        return anyio.current_time() - begun_at

    assert run_virtually(main, backend) == pytest.approx(seconds)


@both_backends
def test_s_run_5_timeout_none_of_the_run_means_none(backend: str) -> None:
    async def main() -> object:
        async def takes_its_time(ctx: Context) -> str:
            await anyio.sleep(100)
            return "done"

        return await Calling(takes_its_time, timeout=1).run(timeout=None)

    assert run_virtually(main, backend) == "done"


@both_backends
def test_s_run_5_a_run_that_is_done_in_time_leaves_no_timer(backend: str) -> None:
    """Else a server would hold every run for as long as its timeout."""

    async def main() -> float:
        begun_at = anyio.current_time()
        await Echo(timeout=3600).run()
        return anyio.current_time() - begun_at

    assert run_virtually(main, backend) == pytest.approx(0)


async def test_s_run_5_a_step_that_never_suspends_cannot_be_stopped_but_the_run_can() -> None:
    """Between two executions the timeout has its turn."""

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Work:
            return Work()

        @step
        async def again(self, ev: Work) -> Work | StopEvent:
            return Work()

    with anyio.fail_after(5), pytest.raises(WorkflowTimeoutError):
        await Flow().run(timeout=0.03)


@pytest.mark.parametrize("timeout", [0, -1, math.nan, True, "5", 1j], ids=repr)
async def test_s_run_5_a_timeout_that_is_no_time_is_an_error(timeout: Any) -> None:
    with pytest.raises(WorkflowRuntimeError, match=r"timeout=.* is no time; give seconds above 0, or None"):
        Echo(timeout=timeout)
    with pytest.raises(WorkflowRuntimeError, match=r"timeout=.* is no time"):
        Echo().run(timeout=timeout)


# --- waiting for a human


class Asking(Workflow):
    """Works for some seconds, asks, and works again after the answer."""

    def __init__(self, before: float = 0, after: float = 0, beside: float = 0, **options: Any) -> None:
        super().__init__(**options)
        self.before, self.after, self.beside = before, after, beside

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> InputRequiredEvent | Work:
        await anyio.sleep(self.before)
        ctx.send_event(Work())
        return InputRequiredEvent()

    @step
    async def work_beside(self, ev: Work) -> None:
        await anyio.sleep(self.beside)

    @step
    async def listen(self, ev: HumanResponseEvent) -> StopEvent:
        await anyio.sleep(self.after)
        return StopEvent(result="answered")


async def _answer_after(handler: WorkflowHandler, seconds: float) -> object:
    async with handler:
        async for event in handler.stream_events():
            if isinstance(event, InputRequiredEvent):
                await anyio.sleep(seconds)
                handler.send_event(HumanResponseEvent())
        return await handler


@both_backends
def test_s_run_5_time_spent_waiting_for_a_human_does_not_count(backend: str) -> None:
    async def main() -> object:
        return await _answer_after(Asking(before=3, after=3).run(timeout=10), 1000)

    assert run_virtually(main, backend) == "answered"


@both_backends
@pytest.mark.parametrize(("before", "after"), [(3, 8), (8, 3)])
def test_s_run_5_time_before_and_after_the_answer_counts_together(
    backend: str, before: float, after: float
) -> None:
    """Waiting gives no new time: 11 seconds of work are too many for 10, wherever the human is."""

    async def main() -> float:
        begun_at = anyio.current_time()
        with pytest.raises(WorkflowTimeoutError) as caught:
            await _answer_after(Asking(before=before, after=after).run(timeout=10), 1000)
        assert caught.value.active_steps == ("listen",)
        return anyio.current_time() - begun_at

    assert run_virtually(main, backend) == pytest.approx(1010)


@both_backends
def test_s_run_5_a_prompt_is_no_pause_while_steps_are_at_work(backend: str) -> None:
    """Time is spent waiting for a human only when there is nothing else to do."""

    async def main() -> float:
        begun_at = anyio.current_time()
        with pytest.raises(WorkflowTimeoutError) as caught:
            await _answer_after(Asking(beside=50).run(timeout=10), 1000)
        assert caught.value.active_steps == ("work_beside",)
        return anyio.current_time() - begun_at

    assert run_virtually(main, backend) == pytest.approx(10)


@both_backends
def test_s_run_5_the_pause_begins_when_the_last_step_has_ended(backend: str) -> None:
    async def main() -> object:
        return await _answer_after(Asking(beside=5, after=4).run(timeout=10), 1000)

    assert run_virtually(main, backend) == "answered"


@both_backends
def test_s_run_5_a_wait_for_a_human_in_the_middle_of_a_step_pauses_too(backend: str) -> None:
    async def main() -> object:
        async def asks(ctx: Context) -> object:
            await anyio.sleep(4)
            answer = await ctx.wait_for_event(HumanResponseEvent, waiter_event=InputRequiredEvent())
            await anyio.sleep(4)
            return answer.text

        async with Calling(asks).run(timeout=10) as handler:
            await anyio.sleep(1000)
            handler.send_event(HumanResponseEvent(text="yes"))
            return await handler

    assert run_virtually(main, backend) == "yes"


@both_backends
def test_s_run_5_several_pauses_add_up(backend: str) -> None:
    async def main() -> object:
        async def asks(ctx: Context) -> str:
            for _ in range(3):
                await anyio.sleep(3)
                await ctx.wait_for_event(HumanResponseEvent)
            return "done"

        async with Calling(asks).run(timeout=10) as handler:
            for _ in range(3):
                await anyio.sleep(100)
                handler.send_event(HumanResponseEvent())
            return await handler

    assert run_virtually(main, backend) == "done"


@both_backends
def test_s_run_5_waiting_for_anything_else_counts(backend: str) -> None:
    """An event of another kind, the body of async with: no human."""

    async def main() -> list[float]:
        async def waits(ctx: Context) -> None:
            await ctx.wait_for_event(Work)

        begun_at = anyio.current_time()
        with pytest.raises(WorkflowTimeoutError):
            await Calling(waits).run(timeout=10)
        elapsed = [anyio.current_time() - begun_at]

        class Flow(Workflow):
            @step
            async def begin(self, ev: StartEvent) -> StopEvent | None:
                return None

        begun_at = anyio.current_time()
        with pytest.raises(WorkflowTimeoutError) as caught:
            async with Flow().run(timeout=10):
                await anyio.sleep(1000)
        assert caught.value.active_steps == ()
        assert "no step was active" in str(caught.value)
        return [*elapsed, anyio.current_time() - begun_at]

    assert run_virtually(main, backend) == pytest.approx([10, 10])


@both_backends
def test_s_run_5_a_human_who_is_asked_by_the_first_step_at_once_pauses_from_the_start(backend: str) -> None:
    """The pause may begin before the task that watches the time has had its first turn."""

    async def main() -> object:
        class Flow(Workflow):
            @step
            async def ask(self, ev: StartEvent) -> InputRequiredEvent:
                return InputRequiredEvent()

            @step
            async def listen(self, ev: HumanResponseEvent) -> StopEvent:
                await anyio.sleep(9)
                return StopEvent(result="answered")

        return await _answer_after(Flow().run(timeout=10), 1000)

    assert run_virtually(main, backend) == "answered"


# --- steps


class Slow(Workflow):
    """Its second step sleeps for the seconds that it was started with; its timeout is 10."""

    @step
    async def begin(self, ev: StartEvent) -> Work:
        return Work(number=ev.seconds)

    @step(timeout=10)
    async def sleep(self, ctx: Context, ev: Work) -> StopEvent:
        await anyio.sleep(ev.number)
        return StopEvent(result="done")


@both_backends
def test_s_run_5_a_step_that_takes_too_long_fails(backend: str) -> None:
    async def main() -> float:
        begun_at = anyio.current_time()
        handler = Slow().run(seconds=100)
        with pytest.raises(WorkflowTimeoutError) as caught:
            await handler
        error = caught.value
        assert "step 'sleep' of Slow" in str(error)
        assert error.timeout == 10
        assert error.active_steps == ("sleep",)
        assert "'sleep'" in error.__notes__[0]
        assert handler.failures == (error,)
        return anyio.current_time() - begun_at

    assert run_virtually(main, backend) == pytest.approx(10)


@both_backends
def test_s_run_5_a_step_that_is_in_time_is_left_alone(backend: str) -> None:
    async def main() -> object:
        return await Slow().run(seconds=9)

    assert run_virtually(main, backend) == "done"


async def test_s_run_5_a_step_that_timed_out_is_a_failure_of_the_step_on_the_stream() -> None:
    """Like any other exception, not as when the run timed out."""

    class Flow(Workflow):
        @step(timeout=0.01)
        async def slow(self, ev: StartEvent) -> StopEvent:
            try:
                await anyio.sleep_forever()
            finally:
                log.append("cleaned up")
            return StopEvent()

    log: list[str] = []
    handler = Flow().run()
    with anyio.fail_after(5), pytest.raises(WorkflowTimeoutError) as caught:
        await handler
    (last,) = await events_of(handler)
    assert (last.step_name, last.exception) == ("slow", caught.value)  # type: ignore[attr-defined]
    assert log == ["cleaned up"]


async def test_s_run_5_a_timeout_error_that_a_step_raises_itself_is_its_own() -> None:
    class Flow(Workflow):
        @step(timeout=60)
        async def raises(self, ev: StartEvent) -> StopEvent:
            with anyio.fail_after(0.01):
                await anyio.sleep_forever()
            return StopEvent()

    with anyio.fail_after(5), pytest.raises(TimeoutError) as caught:
        await Flow().run()
    assert type(caught.value) is TimeoutError


async def test_s_run_5_the_timeout_of_a_step_bounds_its_waits_and_sends_too() -> None:
    class Flow(Workflow):
        @step(timeout=0.02)
        async def waits(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.wait_for_event(HumanResponseEvent)
            return StopEvent()

    with anyio.fail_after(5), pytest.raises(WorkflowTimeoutError, match="step 'waits'"):
        await Flow().run()


async def test_s_run_5_a_step_that_returns_in_spite_of_its_timeout_has_returned() -> None:
    """As under a scope of AnyIO's."""

    class Flow(Workflow):
        @step(timeout=0.01)
        async def swallows(self, ev: StartEvent) -> StopEvent:
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():  # noqa: ASYNC103
                pass  # noqa: ASYNC104
            return StopEvent(result="in spite of it")

    with anyio.fail_after(5):
        assert await Flow().run() == "in spite of it"


async def test_s_run_5_each_execution_has_the_whole_timeout() -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Work:
            return Work(number=0)

        @step(timeout=0.2)
        async def again(self, ev: Work) -> Work | StopEvent:
            await anyio.sleep(0.03)
            return Work(number=ev.number + 1) if ev.number < 8 else StopEvent(result="done")

    with anyio.fail_after(5):
        assert await Flow().run() == "done"


async def test_s_run_5_the_run_timeout_goes_before_a_longer_one_of_a_step() -> None:
    class Flow(Workflow):
        @step(timeout=60)
        async def slow(self, ev: StartEvent) -> StopEvent:
            await anyio.sleep_forever()
            return StopEvent()

    with anyio.fail_after(5), pytest.raises(WorkflowTimeoutError) as caught:
        await Flow().run(timeout=0.02)
    assert caught.value.workflow == "Flow"


async def test_s_run_5_the_timeout_begins_with_the_run_not_with_the_handler() -> None:
    flow = Held()
    handler = flow.run(timeout=0.05)
    await anyio.sleep(0.06)
    await checkpoint()
    flow.gate.set()
    with anyio.fail_after(5):
        assert await handler == "let go"
