"""Timers under explored schedules: of those that are due together, the schedule says which is first."""

from contextlib import suppress
from itertools import permutations
from typing import Annotated, ClassVar

import anyio
import pytest
import tenacity
from hypothesis import given, settings

from anyio_workflows import (
    Collect,
    Context,
    Event,
    HumanResponseEvent,
    RetryPolicy,
    StartEvent,
    StopEvent,
    Take,
    Workflow,
    WorkflowHandler,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
    step,
)
from anyio_workflows.testing import (
    Exploration,
    Schedule,
    ScheduleError,
    ToyWorkflow,
    checkpoint,
    explore,
    schedules,
    workflows,
)
from anyio_workflows.testing.exploration import Case, run_once


class Job(Event):
    number: int


class Done(Event):
    number: int


class Hiccup(Exception):
    """What a first attempt fails with."""


class Collected:
    """Keeps what the runs have come to."""

    def __init__(self) -> None:
        self.results: set[object] = set()

    def __call__(self, seen: Exploration) -> None:
        self.results.add(type(seen.error) if seen.error is not None else seen.result)


def all_results(workflow: type[Workflow], max_deviations: int = 2) -> set[object]:
    """Return what comes of *workflow* under all schedules with so few deviations, alike on both backends."""
    on_each = []
    for backend in ("asyncio", "trio"):
        collected = Collected()
        explore(
            workflow,
            invariant=collected,
            backends=[backend],
            exhaustive=True,
            max_deviations=max_deviations,
        )
        on_each.append(collected.results)
    assert on_each[0] == on_each[1]
    return on_each[0]


class Three(Workflow):
    """Sends three jobs and gives their numbers, in the order in which they were done."""

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Job | None:
        for number in range(3):
            ctx.send_event(Job(number=number))
        return None

    @step
    async def end(self, ctx: Context, ev: Done) -> StopEvent | None:
        done = ctx.collect_events(ev, [Done] * 3)
        return None if done is None else StopEvent(result=tuple(each.number for each in done))


def test_s_det_3_of_retries_that_are_due_together_any_can_be_first() -> None:
    """They failed at one moment of the clock that stands still, and so at any of an hour of real time."""

    class Retried(Three):
        @step(num_workers=1, retry_policy=RetryPolicy(wait=tenacity.wait_fixed(3_600)))
        async def work(self, ctx: Context, ev: Job) -> Done:
            if ctx.retry_info().retry_number == 0:
                raise Hiccup
            return Done(number=ev.number)

    assert all_results(Retried) == set(permutations(range(3)))


def test_s_det_3_of_waits_whose_time_is_over_together_any_can_be_first() -> None:
    class Waiting(Three):
        @step
        async def work(self, ctx: Context, ev: Job) -> Done:
            with pytest.raises(TimeoutError):
                await ctx.wait_for_event(HumanResponseEvent, timeout=60)
            return Done(number=ev.number)

    assert all_results(Waiting) == set(permutations(range(3)))


def test_s_det_3_of_steps_that_fail_together_any_can_be_first() -> None:
    """By a timeout of theirs, or because they slept as long."""

    class Failing(Three):
        @step(num_workers=1, timeout=60)
        async def hang(self, ev: Job) -> Done:
            await anyio.sleep_forever()
            raise AssertionError

        @step
        async def work(self, ev: Job) -> Done:
            await anyio.sleep(60)
            raise (ValueError, KeyError, OSError)[ev.number]

    assert all_results(Failing) == {WorkflowTimeoutError, ValueError, KeyError, OSError}


def test_s_det_3_the_timeout_of_a_run_fires_between_others_that_are_due() -> None:
    """It is too late for the run, or for the timeout, and what was done by then stays done."""

    class Late(Three):
        @step
        async def work(self, ctx: Context, ev: Job) -> Done:
            await anyio.sleep(60)
            async with ctx.store.edit_state() as state:
                state["done"] = state.get("done", 0) + 1
            return Done(number=ev.number)

    done_by_then: set[int] = set()

    def note(seen: Exploration) -> None:
        if isinstance(seen.error, WorkflowTimeoutError):
            done_by_then.add(seen.state.get("done", 0))

    explore(Late, timeout=60, invariant=note, exhaustive=True, max_deviations=1)
    assert done_by_then == {0, 1, 2, 3}
    with pytest.raises(ScheduleError, match=r"the timeout of the run +fires") as caught:
        explore(Late, timeout=60, derandomize=True)
    assert isinstance(caught.value.exploration.error, WorkflowTimeoutError)


def test_s_det_3_an_answer_that_comes_as_the_time_is_over_is_taken_or_left() -> None:
    class Asking(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            try:
                answer = await ctx.wait_for_event(HumanResponseEvent, timeout=60)
            except TimeoutError:
                return StopEvent(result="too late")
            return StopEvent(result=answer.get("text"))

    async def answer(handler: WorkflowHandler) -> None:
        await anyio.sleep(60)
        await checkpoint()
        if not handler.is_done():
            handler.send_event(HumanResponseEvent(text="here"))

    results = Collected()
    explore(Asking, driver=answer, invariant=results, exhaustive=True)
    assert results.results == {"here", "too late"}


class Sleepers(Workflow):
    """Executions and their child tasks sleep as long as each other, with points and without."""

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Job | None:
        for number in range(12):
            ctx.send_event(Job(number=number))
        return None

    @step(num_workers=6)
    async def work(self, ctx: Context, ev: Job) -> Done:
        async def child() -> None:
            await anyio.sleep(2)
            await checkpoint()

        if ev.number % 3:
            await ctx.checkpoint()
        async with anyio.create_task_group() as tasks:
            if ev.number % 4 == 0:
                tasks.start_soon(child)
                tasks.start_soon(child)
            await anyio.sleep(2 - ev.number % 2)
            await ctx.checkpoint()
            await anyio.sleep(ev.number % 2)
            with suppress(TimeoutError):
                await ctx.wait_for_event(HumanResponseEvent, timeout=1 + ev.number % 2)
        async with ctx.store.edit_state() as state:
            state["order"] = (*state.get("order", ()), ev.number)
        return Done(number=ev.number)

    @step
    async def end(self, ctx: Context, ev: Done) -> StopEvent | None:
        if ctx.collect_events(ev, [Done] * 12) is None:
            return None
        return StopEvent(result=await ctx.store.get("order"))


def trace(make: type[Workflow], schedule: Schedule, backend: str) -> list[str]:
    return run_once(Case(make=make), schedule, backend).trace()


@settings(max_examples=25)
@given(schedule=schedules())
def test_s_det_3_those_who_sleep_as_long_wake_in_one_order_on_both_backends(schedule: Schedule) -> None:
    """In that of their last turns, from which they went to sleep."""
    assert trace(Sleepers, schedule, "asyncio") == trace(Sleepers, schedule, "trio")


class Retrying(Three):
    @step(num_workers=2, retry_policy=RetryPolicy(wait=tenacity.wait_fixed(1)))
    async def work(self, ctx: Context, ev: Job) -> Done:
        if ctx.retry_info().retry_number == 0:
            raise Hiccup
        return Done(number=ev.number)


class Family(Three):
    """Its three children have retries that are due together."""

    @step(num_workers=3)
    async def work(self, ctx: Context, ev: Job) -> Done:
        await ctx.run_child(Retrying(), number=ev.number)
        return Done(number=ev.number)


@settings(max_examples=40)
@given(schedule=schedules(choices=120))
def test_s_det_3_children_with_retries_have_one_trace_on_both_backends(schedule: Schedule) -> None:
    """Whose turn it is is one question for all of them."""
    assert trace(Family, schedule, "asyncio") == trace(Family, schedule, "trio")


class Racing(Workflow):
    """Two of three are enough; one of them fails at first, and is tried again if there is time."""

    contexts: ClassVar[list[Context]] = []

    @step
    async def start(self, ev: StartEvent) -> list[Job]:
        return [Job(number=number) for number in range(3)]

    @step(retry_policy=RetryPolicy(wait=tenacity.wait_fixed(10)))
    async def work(self, ctx: Context, ev: Job) -> Done:
        self.contexts.append(ctx)
        if ev.number == 0 and ctx.retry_info().retry_number == 0:
            raise Hiccup
        return Done(number=ev.number)

    @step
    async def first(self, ev: Annotated[list[Done], Collect(Take(2, cancel_rest=True))]) -> StopEvent:
        return StopEvent()


def test_s_det_3_an_attempt_that_is_cancelled_before_its_turn_to_fail_has_not_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Else a schedule would end a run that no real order ends; and its context is over, as any other."""

    def check(seen: Exploration) -> None:
        assert seen.error is None, seen.error
        for context in Racing.contexts:
            with pytest.raises(WorkflowRuntimeError, match="after its execution"):
                context.retry_info()
        Racing.contexts.clear()

    explored = explore(Racing, invariant=check, exhaustive=True, max_deviations=2)
    assert explored.schedules > 20
    assert caplog.records == []


@settings(max_examples=100)
@given(workflow=workflows(), schedule=schedules(choices=80))
def test_s_det_3_random_workflows_have_one_trace_on_both_backends(
    workflow: type[ToyWorkflow], schedule: Schedule
) -> None:
    """Those who are woken together among them: in one pass the engine wakes idle workers, and starts others."""
    assert trace(workflow, schedule, "asyncio") == trace(workflow, schedule, "trio")
