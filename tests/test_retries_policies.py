"""Policies: what they draw, what they may not give, and how they are declared."""

import math
import random
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import anyio
import attrs
import pytest
import tenacity
from retrying import Flaky, retried
from running import events_of
from tenacity import (
    retry_if_exception,
    stop_after_attempt,
    stop_never,
    wait_exception,
    wait_exponential,
    wait_exponential_jitter,
    wait_fixed,
    wait_random,
    wait_random_exponential,
)
from tenacity.asyncio import retry_if_exception as async_retry_if_exception
from virtual_time import both_backends, run_virtually

from anyio_workflows import (
    Context,
    Event,
    RetryPolicy,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowFailedEvent,
    WorkflowRuntimeError,
    WorkflowValidationError,
    step,
)
from anyio_workflows._run.retrying import next_delay


class Piece(Event):
    number: int


def delays(policy: RetryPolicy, run_id: str, backend: str) -> dict[int, list[float]]:
    """Return how long a run waits before each of the attempts, of two deliveries."""
    begun: dict[int, list[float]] = {0: [], 1: []}

    class Twice(Workflow):
        @step
        async def split(self, ctx: Context, ev: StartEvent) -> Piece | None:
            for number in begun:
                ctx.send_event(Piece(number=number))
            return None

        @step(retry_policy=attrs.evolve(policy, stop=stop_never))
        async def work(self, ev: Piece) -> StopEvent | None:
            begun[ev.number].append(anyio.current_time())
            if all(len(times) > 5 for times in begun.values()):
                return StopEvent()
            raise Flaky

    async def main() -> None:
        await Twice().run(run_id=run_id)

    run_virtually(main, backend)
    return {
        number: [later - earlier for earlier, later in pairwise(times[:6])] for number, times in begun.items()
    }


@both_backends
@pytest.mark.parametrize(
    "wait", [wait_random(1, 9), wait_exponential_jitter(jitter=5), wait_fixed(1) + wait_random(0, 3)]
)
def test_s_det_1_what_a_strategy_draws_depends_on_run_delivery_and_attempt_alone(
    backend: str, wait: Any
) -> None:
    """And the numbers that others draw do not depend on it."""
    policy = RetryPolicy(wait=wait)
    random.seed(7)
    expected = random.random()
    random.seed(7)
    first = delays(policy, "one", backend)
    assert random.random() == expected
    assert first == delays(policy, "one", backend)
    assert len({delay for each in first.values() for delay in each}) == 10, "each attempt draws anew"
    other = delays(policy, "two", backend)
    assert all(first[number][0] != other[number][0] for number in first)


@both_backends
def test_s_det_1_runs_without_an_id_of_the_callers_wait_differently(backend: str) -> None:
    """Jitter that was the same in each would keep a herd together."""
    policy = RetryPolicy(wait=wait_random(1, 9))
    begun: list[float] = []

    async def body(ctx: Context) -> None:
        begun.append(anyio.current_time())
        raise Flaky

    async def main() -> None:
        for _ in range(2):
            with pytest.raises(Flaky):
                await retried(body, policy).run()

    run_virtually(main, backend)
    assert begun[1] - begun[0] != begun[4] - begun[3]


@both_backends
def test_s_fail_2_a_step_may_be_tried_ten_thousand_times(backend: str) -> None:
    async def body(ctx: Context) -> float:
        if ctx.retry_info().retry_number < 10_000:
            raise Flaky
        return ctx.retry_info().elapsed_seconds

    async def main() -> None:
        policy = RetryPolicy(wait=wait_exponential(max=2), stop=stop_never)
        assert await retried(body, policy).run() == pytest.approx(1 + 2 * 9_999)

    run_virtually(main, backend)


@pytest.mark.parametrize("attempt", [64, 1_025, 10_000])
@pytest.mark.parametrize(
    "wait",
    [
        wait_exponential(),
        wait_exponential(multiplier=0.5, exp_base=1.5, max=60),
        wait_exponential_jitter(),
        wait_exponential_jitter(max=60) + wait_random(0, 1),
        wait_random_exponential(),
        wait_random_exponential(max=60),
    ],
)
async def test_s_fail_2_no_attempt_is_too_late_for_a_strategy(wait: Any, attempt: int) -> None:
    """The power that such a strategy takes is more than any float."""

    async def body(ctx: Context) -> float | None:
        ctx._delivery.attempt = attempt
        return next_delay(RetryPolicy(wait=wait, stop=stop_never), ctx._delivery, Flaky(), "r")

    with anyio.fail_after(5):
        delay = await retried(body).run()
    assert 0 <= delay < math.inf


async def test_s_fail_2_a_delay_that_no_clock_will_show_is_waited_for() -> None:
    """On a real clock, whose timers may have a longest time of their own."""

    async def body(ctx: Context) -> None:
        raise Flaky

    policy = RetryPolicy(wait=wait_exponential(multiplier=1e18, max=10**300), stop=stop_never)
    handler = retried(body, policy).run()
    with anyio.move_on_after(0.05) as scope:
        await handler
    assert scope.cancelled_caught
    assert handler.failures == ()


# --- policies that do not work


class Mistake(Exception):
    pass


def raising(state: Any) -> Any:
    raise Mistake("in the policy")


@pytest.mark.parametrize("name", ["retry", "wait", "stop"])
async def test_s_fail_2_a_policy_that_raises_ends_the_run_with_its_error(name: str) -> None:
    async def body(ctx: Context) -> None:
        raise Flaky("of the step")

    handler = retried(body, RetryPolicy(**{name: raising})).run()
    with anyio.fail_after(5), pytest.raises(Mistake, match="in the policy") as caught:
        await handler
    assert isinstance(caught.value.__cause__, Flaky)
    assert any("in step 'work' of Retried, attempt 1" in note for note in caught.value.__notes__)
    last = (await events_of(handler))[-1]
    assert isinstance(last, WorkflowFailedEvent)
    assert (last.step_name, last.exception, last.attempts) == ("work", caught.value, 1)


@pytest.mark.parametrize("given", [math.nan, math.inf, -1, -0.001, "5", None, True, 10**400, timedelta(1)])
async def test_s_fail_2_a_wait_that_is_no_number_of_seconds_is_said_to_be_none(given: object) -> None:
    async def body(ctx: Context) -> None:
        raise Flaky("of the step")

    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError) as caught:
        await retried(body, RetryPolicy(wait=lambda state: given)).run()
    message = str(caught.value)
    assert message.startswith("the wait= of the retry_policy of step 'work' gave ")
    assert message.endswith("; give a number of seconds, 0 or more")
    assert len(message) < 400
    assert isinstance(caught.value.__cause__, Flaky)


def result_of(state: Any) -> Any:
    return state.outcome.result()


def first_cause(state: Any) -> Any:
    raise state.outcome.exception().__cause__


@pytest.mark.parametrize("retry", [result_of, first_cause])
async def test_s_fail_2_a_policy_that_raises_the_steps_own_error_makes_no_circle_of_causes(
    retry: Callable[[Any], Any],
) -> None:
    async def body(ctx: Context) -> None:
        raise Flaky("of the step") from Mistake("first")

    with anyio.fail_after(5), pytest.raises((Flaky, Mistake)) as caught:
        await retried(body, RetryPolicy(retry=retry)).run()
    error, length = caught.value.__cause__, 0
    while error is not None:
        error, length = error.__cause__, length + 1
        assert length < 5


async def test_s_fail_2_a_policy_may_wait_by_what_the_exception_says() -> None:
    async def body(ctx: Context) -> float:
        if not ctx.retry_info().retry_number:
            raise Flaky(0.01)
        return ctx.retry_info().elapsed_seconds

    policy = RetryPolicy(wait=wait_exception(lambda error: float(error.args[0])))
    with anyio.fail_after(5):
        assert await retried(body, policy).run() >= 0.009


async def test_s_fail_2_a_strategy_sees_what_tenacity_shows() -> None:
    seen: list[Any] = []

    def stop(state: tenacity.RetryCallState) -> bool:
        assert state.outcome is not None
        assert state.fn is not None
        seen.append((state.attempt_number, str(state.outcome.exception()), state.upcoming_sleep))
        assert state.fn.__name__ == "work"
        return len(seen) == 2

    async def body(ctx: Context) -> None:
        raise Flaky("again")

    with anyio.fail_after(5), pytest.raises(Flaky):
        await retried(body, RetryPolicy(wait=wait_fixed(0.001), stop=stop)).run()
    assert seen == [(1, "again", 0.001), (2, "again", 0.001)]


# --- declaring


async def asynchronous(state: Any) -> bool:
    return True


def problems_of(policy: Any) -> tuple[str, ...]:
    with pytest.raises(WorkflowValidationError) as caught:

        class Wrong(Workflow):
            @step(retry_policy=policy)
            async def work(self, ev: StartEvent) -> StopEvent:
                return StopEvent()

    return caught.value.problems


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        (5, "has retry_policy=5; write 'retry_policy=RetryPolicy(...)'"),
        (RetryPolicy, "write 'retry_policy=RetryPolicy(...)'"),
        (tenacity.Retrying(), "write 'retry_policy=RetryPolicy(...)'"),
        (
            {"wait": 5},
            "has retry_policy=RetryPolicy(wait=5); give one of tenacity's strategies, as in 'wait=wait_fixed(5)'",
        ),
        ({"stop": stop_after_attempt}, "as in 'stop=stop_after_attempt(3)'"),
        ({"retry": OSError}, "as in 'retry=retry_if_exception_type(OSError)'"),
        ({"retry": asynchronous}, "which is async; give a plain function"),
        ({"retry": async_retry_if_exception(asynchronous)}, "which is async; give a plain function"),
    ],
)
def test_s_fail_2_a_policy_that_is_none_is_found_when_the_step_is_decorated(
    policy: Any, problem: str
) -> None:
    (found,) = problems_of(RetryPolicy(**policy) if isinstance(policy, dict) else policy)
    assert found.startswith("step 'Wrong.work' has retry_policy=")
    assert problem in found


def test_s_fail_2_every_mistake_of_a_policy_is_said() -> None:
    options: dict[str, Any] = {"retry": 1, "wait": 2, "stop": 3}
    assert len(problems_of(RetryPolicy(**options))) == 3


def test_s_fail_2_the_strategies_of_a_policy_are_named() -> None:
    """Three functions of one kind are easily mixed up."""
    with pytest.raises(TypeError, match="positional"):
        RetryPolicy(retry_if_exception(lambda error: True))  # type: ignore[call-arg]  # the mistake
