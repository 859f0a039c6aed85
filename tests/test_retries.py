"""What is retried, by which strategy, and what comes of it when they give up."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from retrying import Flaky, always_failing, failing_until, retried
from running import Abort, Calling, events_of, stored_cancellation
from tenacity import (
    retry_if_exception,
    retry_if_exception_cause_type,
    retry_if_exception_message,
    retry_if_exception_type,
    retry_if_not_exception_type,
    retry_never,
    stop_after_attempt,
    stop_after_delay,
    stop_before_delay,
    stop_never,
    wait_chain,
    wait_exponential,
    wait_fixed,
    wait_incrementing,
)
from virtual_time import both_backends, run_virtually

from anyio_workflows import (
    Context,
    RetryInfo,
    RetryPolicy,
    StartEvent,
    StepStateChanged,
    StopEvent,
    Workflow,
    WorkflowFailedEvent,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
    step,
)

# --- the default


async def test_s_fail_2_by_default_any_exception_is_tried_three_times_without_a_wait() -> None:
    """Then the run fails with the exception of the last attempt, and those before it are forgotten."""
    handler = retried(always_failing).run()
    with anyio.fail_after(5), pytest.raises(Flaky, match="attempt 3") as caught:
        await handler
    assert any("attempt 3 at StartEvent" in note for note in caught.value.__notes__)
    assert handler.failures == (caught.value,)
    assert isinstance(last := (await events_of(handler))[-1], WorkflowFailedEvent)
    assert (last.step_name, last.attempts, last.exception) == ("work", 3, caught.value)


async def test_s_fail_2_an_attempt_that_succeeds_ends_it() -> None:
    with anyio.fail_after(5):
        handler = retried(failing_until(3)).run()
        assert await handler == 2
    assert handler.failures == ()


async def test_s_fail_2_a_step_without_a_policy_is_not_retried() -> None:
    with anyio.fail_after(5), pytest.raises(Flaky, match="attempt 1"):
        await Calling(always_failing).run()


async def test_s_fail_2_each_delivery_has_attempts_of_its_own() -> None:
    """Two failures of one event and two of another are not four."""
    with anyio.fail_after(5):
        workflow = retried(failing_until(3))
        assert [await workflow.run(), await workflow.run()] == [2, 2]


async def test_s_str_4_every_attempt_begins_and_ends_on_the_internal_stream() -> None:
    handler = retried(failing_until(2)).run()
    with anyio.fail_after(5):
        async with handler:
            events = await events_of(handler, expose_internal=True)
    states = [
        (event.step_state.name, event.output_event_name)
        for event in events
        if isinstance(event, StepStateChanged)
    ]
    ended, succeeded = ("NOT_RUNNING", None), ("NOT_RUNNING", "StopEvent")
    assert states == [("RUNNING", None), ended, ("RUNNING", None), succeeded]


# --- what is retried


async def test_s_fail_2_a_plain_function_is_retried_and_told_so() -> None:
    class InThread(Workflow):
        @step(retry_policy=RetryPolicy())
        def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
            info = ctx.retry_info()
            if info.retry_number < 2:
                raise Flaky(str(info.retry_number))
            return StopEvent(result=info)

    with anyio.fail_after(5):
        info = await InThread().run()
    assert (info.retry_number, str(info.last_exception)) == (2, "1")


async def test_s_fail_2_an_attempt_that_takes_too_long_is_tried_again() -> None:
    async def body(ctx: Context) -> RetryInfo:
        if not ctx.retry_info().retry_number:
            await anyio.sleep_forever()
        return ctx.retry_info()

    with anyio.fail_after(5):
        info = await retried(body, timeout=0.01).run()
    assert isinstance(info.last_exception, WorkflowTimeoutError)


async def test_s_fail_2_a_cancelled_exception_that_nobody_asked_for_is_tried_again() -> None:
    """It is a failure like any other: what the step had called was cancelled elsewhere."""
    stored = await stored_cancellation()

    async def body(ctx: Context) -> RetryInfo:
        if not ctx.retry_info().retry_number:
            raise stored
        return ctx.retry_info()

    with anyio.fail_after(5):
        info = await retried(body).run()
    assert isinstance(info.last_exception, WorkflowRuntimeError)
    assert info.last_exception.__cause__ is stored


async def test_s_fail_2_a_group_of_a_child_tasks_failure_is_tried_again() -> None:
    async def body(ctx: Context) -> RetryInfo:
        async with anyio.create_task_group() as children:
            if not ctx.retry_info().retry_number:
                children.start_soon(always_failing, ctx)
        return ctx.retry_info()

    with anyio.fail_after(5):
        info = await retried(body).run()
    assert isinstance(info.last_exception, ExceptionGroup)


async def test_s_fail_2_something_that_is_no_event_is_a_failure_like_any_other() -> None:
    class Returning(Workflow):
        attempts = 0

        @step(retry_policy=RetryPolicy())
        async def work(self, ev: StartEvent) -> StopEvent:
            self.attempts += 1
            return StopEvent(result="at last") if self.attempts == 2 else "no event"  # type: ignore[return-value]  # the mistake

    with anyio.fail_after(5):
        assert await Returning().run() == "at last"


@pytest.mark.parametrize("make", [Abort, lambda: BaseExceptionGroup("both", [Abort(), Flaky()])])
async def test_s_fail_2_what_is_no_exception_is_never_tried_again(make: Callable[[], BaseException]) -> None:
    begun = []

    async def body(ctx: Context) -> None:
        begun.append(ctx.retry_info().retry_number)
        raise make()

    policy = RetryPolicy(retry=retry_if_exception(lambda error: True), stop=stop_never)
    with anyio.fail_after(5), pytest.raises(BaseException) as caught:  # of either class
        await retried(body, policy).run()
    assert type(caught.value) is type(make())
    assert begun == [0]


async def test_s_fail_2_an_attempt_that_fails_while_its_run_is_cancelled_is_not_tried_again() -> None:
    begun = []
    is_in = anyio.Event()

    async def body(ctx: Context) -> None:
        begun.append(ctx.retry_info().retry_number)
        is_in.set()
        try:
            await anyio.sleep_forever()
        finally:
            raise Flaky("of the clean-up")

    handler = retried(body).run()
    with anyio.fail_after(5):
        async with handler:
            await is_in.wait()
            await handler.cancel_run()
    assert begun == [0]
    assert [str(error) for error in handler.failures] == ["of the clean-up"]


async def test_s_fail_2_a_context_ends_with_its_attempt() -> None:
    contexts = []

    async def body(ctx: Context) -> None:
        contexts.append(ctx)
        if len(contexts) == 1:
            raise Flaky
        with pytest.raises(WorkflowRuntimeError, match="after its execution of step 'work' had ended"):
            contexts[0].retry_info()

    with anyio.fail_after(5):
        await retried(body).run()


async def test_s_fail_2_an_idempotency_key_is_still_a_recorded_runs() -> None:
    async def body(ctx: Context) -> str:
        return ctx.idempotency_key

    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError, match="which only a recorded run has"):
        await retried(body).run()


# --- tenacity's strategies


class Cause(Exception):
    pass


def caused() -> Exception:
    error = Flaky("busy, sorry")
    error.__cause__ = Cause()
    return error


@pytest.mark.parametrize(
    ("retry", "attempts"),
    [
        (retry_if_exception_type(Flaky), 3),
        (retry_if_exception_type(Cause), 1),
        (retry_if_not_exception_type(Flaky), 1),
        (retry_if_exception_type(Cause) | retry_if_exception_message(match="busy"), 3),
        (retry_if_exception_type(Flaky) & retry_if_exception_message(match="gone"), 1),
        (retry_if_exception_cause_type(Cause), 3),
        (retry_if_exception_cause_type(KeyError), 1),
        (retry_never, 1),
        (lambda state: state.attempt_number < 2, 2),
    ],
)
async def test_s_fail_2_which_exceptions_are_worth_another_attempt_is_the_strategys(
    retry: Any, attempts: int
) -> None:
    begun = []

    async def body(ctx: Context) -> None:
        begun.append(ctx.retry_info().retry_number)
        raise caused()

    with anyio.fail_after(5), pytest.raises(Flaky):
        await retried(body, RetryPolicy(retry=retry)).run()
    assert len(begun) == attempts


FIVE = stop_after_attempt(5)


@both_backends
@pytest.mark.parametrize(
    ("policy", "times"),
    [
        (RetryPolicy(wait=wait_fixed(5)), [0, 5, 10]),
        (RetryPolicy(wait=wait_exponential(max=5), stop=FIVE), [0, 1, 3, 7, 12]),
        (RetryPolicy(wait=wait_incrementing(1, 2), stop=FIVE), [0, 1, 4, 9, 16]),
        (RetryPolicy(wait=wait_fixed(1) + wait_incrementing(0, 10)), [0, 1, 12]),
        (RetryPolicy(wait=wait_chain(wait_fixed(1), wait_fixed(7)), stop=FIVE), [0, 1, 8, 15, 22]),
        (RetryPolicy(wait=wait_fixed(10), stop=stop_after_delay(25)), [0, 10, 20, 30]),
        (RetryPolicy(wait=wait_fixed(10), stop=stop_before_delay(25)), [0, 10, 20]),
        (RetryPolicy(wait=wait_fixed(10), stop=stop_after_delay(25) | stop_after_attempt(2)), [0, 10]),
        (RetryPolicy(wait=wait_fixed(10), stop=stop_after_delay(5) & FIVE), [0, 10, 20, 30, 40]),
        (RetryPolicy(wait=lambda state: state.attempt_number / 2, stop=FIVE), [0, 0.5, 1.5, 3, 5]),
        (RetryPolicy(wait=wait_fixed(2), stop=lambda state: state.seconds_since_start > 3), [0, 2, 4]),
    ],
)
def test_s_fail_2_when_it_is_tried_again_is_told_by_the_event_loops_clock(
    backend: str, policy: RetryPolicy, times: list[float]
) -> None:
    """Also how long it took in all."""
    begun: list[float] = []
    told: list[float] = []

    async def body(ctx: Context) -> None:
        begun.append(anyio.current_time())
        told.append(ctx.retry_info().elapsed_seconds)
        raise Flaky

    async def main() -> None:
        handler = retried(body, policy).run()
        with pytest.raises(Flaky):
            await handler
        last = (await events_of(handler))[-1]
        assert isinstance(last, WorkflowFailedEvent)
        assert last.attempts == len(times)
        assert last.elapsed_seconds == pytest.approx(times[-1])

    run_virtually(main, backend)
    assert [moment - begun[0] for moment in begun] == pytest.approx(times)
    assert told == pytest.approx(times)


async def test_s_fail_2_retry_info_tells_of_the_attempt_before() -> None:
    seen: list[RetryInfo] = []

    async def body(ctx: Context) -> None:
        seen.append(ctx.retry_info())
        await checkpoint()
        raise Flaky(f"attempt {len(seen)}")

    with anyio.fail_after(5), pytest.raises(Flaky):
        await retried(body).run()
    assert seen[0] == RetryInfo(0, 0.0, None, None)
    assert [(info.retry_number, str(info.last_exception)) for info in seen[1:]] == [
        (1, "attempt 1"),
        (2, "attempt 2"),
    ]
    assert seen[1].last_failed_at is not None
    assert seen[1].last_failed_at.tzinfo is UTC
    assert abs((datetime.now(UTC) - seen[1].last_failed_at).total_seconds()) < 60
