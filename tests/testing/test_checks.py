"""Ready-made checks: each passes what a run does, and notices when that is tampered with."""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

import anyio
import attrs
import pytest
import trio
from explored_workflows import ASKING, GATHERING, SCENARIOS, Done, Scenario
from hypothesis import given, settings

from anyio_workflows import Context, Event, RetryPolicy, StartEvent, StopEvent, Workflow, step
from anyio_workflows.abc import AttemptEnd, ObservedAttempt, ObservedRun
from anyio_workflows.testing import (
    STANDARD_CHECKS,
    Check,
    Exploration,
    Schedule,
    ScheduleError,
    ToyWorkflow,
    checkpoint_round_trips,
    collections_exact,
    every_delivery_once,
    explore,
    interleave,
    never_above_num_workers,
    no_task_left,
    not_deadlocked,
    nothing_after_the_stop,
    same_after_crash,
    schedules,
    stream_as_written,
    stream_ends_with_the_stop,
    workflows,
)
from anyio_workflows.testing.collecting import what_is_inexact
from anyio_workflows.testing.exploration import Case, run_once

both_backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def seen_of(scenario: Scenario, schedule: str = "", backend: str = "asyncio") -> Exploration:
    case = Case(make=scenario.make, driver=scenario.driver, options=scenario.options, recorded=True)
    return run_once(case, Schedule.parse(schedule), backend)


def places_of(seen: Exploration, name: str) -> list[int]:
    return [place for place, fact in enumerate(seen.facts) if fact[0] == name]


def begins_twice(seen: Exploration) -> None:
    seen.facts.insert(0, seen.facts[places_of(seen, "attempt_started")[0]])


def is_done_twice(seen: Exploration) -> None:
    seen.facts.append(seen.facts[places_of(seen, "attempt_ended")[0]])


def ends_unnoticed(seen: Exploration) -> None:
    for place in reversed(places_of(seen, "attempt_ended")):
        del seen.facts[place]


def begins_after_the_end(seen: Exploration) -> None:
    seen.facts.append(seen.facts[places_of(seen, "attempt_started")[0]])


def stream_goes_on(seen: Exploration) -> None:
    seen.events = (*seen.events, StartEvent())


def stream_has_lost_one(seen: Exploration) -> None:
    seen.events = seen.events[1:]


def stream_is_lost(seen: Exploration) -> None:
    seen.events = ()


def stream_is_reversed(seen: Exploration) -> None:
    seen.events = seen.events[::-1]


def leaves_a_task(seen: Exploration) -> None:
    seen.tasks_left = ("forgotten",)


def waits_for_ever(seen: Exploration) -> None:
    seen.is_deadlocked = True


def reads_something_else(seen: Exploration) -> None:
    seen.round_trip = (b"1", b"2")


@pytest.mark.parametrize(
    ("check", "tamper"),
    [
        (not_deadlocked, waits_for_ever),
        (every_delivery_once, begins_twice),
        (every_delivery_once, is_done_twice),
        (never_above_num_workers, ends_unnoticed),
        (nothing_after_the_stop, begins_after_the_end),
        (stream_ends_with_the_stop, stream_goes_on),
        (stream_as_written, stream_has_lost_one),
        (stream_as_written, stream_is_reversed),
        (stream_as_written, stream_is_lost),
        (stream_as_written, stream_goes_on),
        (no_task_left, leaves_a_task),
        (checkpoint_round_trips, reads_something_else),
    ],
)
def test_a_check_notices_what_it_is_for(check: Check, tamper: Callable[[Exploration], None]) -> None:
    seen = seen_of(ASKING if check is stream_as_written else GATHERING)
    check(seen)
    tamper(seen)
    with pytest.raises(AssertionError):
        check(seen)


@both_backends
@pytest.mark.parametrize("name", SCENARIOS)
def test_checks_pass_what_runs_do_that_died(name: str, backend: str) -> None:
    turns = len(seen_of(SCENARIOS[name], backend=backend).turns)
    for crash_at in (turns // 3, turns // 2, turns - 1):
        seen = seen_of(SCENARIOS[name], f"0.1.0.2!{crash_at}", backend)
        for check in STANDARD_CHECKS:
            check(seen)


# --- collections


def batches(seen: Exploration) -> list[int]:
    return [place for place in places_of(seen, "event_collected") if seen.facts[place][4] is not None]


def change_batch(seen: Exploration, place: int, batch: Any) -> None:
    name, attempt, event, expected, _, buffer_id = seen.facts[place]
    seen.facts[place] = (name, attempt, event, expected, batch, buffer_id)


def given_twice(seen: Exploration) -> None:
    first, second = batches(seen)[:2]
    change_batch(seen, second, seen.facts[first][4])


def given_in_another_order(seen: Exploration) -> None:
    change_batch(seen, batches(seen)[0], tuple(reversed(seen.facts[batches(seen)[0]][4])))


def given_too_late(seen: Exploration) -> None:
    change_batch(seen, batches(seen)[0], None)


def given_too_early(seen: Exploration) -> None:
    place = places_of(seen, "event_collected")[0]
    change_batch(seen, place, (Done(number=0), Done(number=1)))


def given_too_few(seen: Exploration) -> None:
    change_batch(seen, batches(seen)[0], seen.facts[batches(seen)[0]][4][:1])


@pytest.mark.parametrize(
    "tamper", [given_twice, given_in_another_order, given_too_late, given_too_early, given_too_few]
)
def test_s_col_2_a_collection_that_is_not_exact_is_told(tamper: Callable[[Exploration], None]) -> None:
    seen = seen_of(GATHERING)
    collections_exact(seen)
    tamper(seen)
    with pytest.raises(
        AssertionError, match=r"step 'pair' collected Done\(number=\d\) and was given .* was due"
    ):
        collections_exact(seen)


def ended(seen: Exploration, place: int, status: Any) -> None:
    """Have the attempt that ends at *place* end otherwise."""
    name, attempt, end = seen.facts[place]
    seen.facts[place] = (name, attempt, attrs.evolve(end, status=status))


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_s_col_5_what_a_failed_attempt_has_done_is_expected_to_be_undone(status: str) -> None:
    """Tampered with, as if the attempt that put the first event in had not completed."""
    seen = seen_of(GATHERING)
    of_pair = [place for place in places_of(seen, "attempt_ended") if seen.facts[place][1].step == "pair"]
    ended(seen, of_pair[0], status)
    with pytest.raises(AssertionError, match=r"was given .* nothing was due"):
        collections_exact(seen)


class Told:
    """Facts as an observer is told them, of one step that collects pairs."""

    def __init__(self) -> None:
        self.run = ObservedRun(run_id="told", workflow="Told", parent_run_id=None)
        self.facts: list[tuple[Any, ...]] = [("run_started", self.run)]

    def begin(self, delivery: int, attempt: int = 1) -> ObservedAttempt:
        begun = ObservedAttempt(
            run=self.run,
            step="pair",
            delivery=delivery,
            attempt=attempt,
            event=Done(number=delivery),
            worker=1,
        )
        self.facts.append(("attempt_started", begun))
        return begun

    def end(self, attempt: ObservedAttempt, status: Any) -> None:
        self.facts.append(("attempt_ended", attempt, AttemptEnd(status=status)))

    def collect(self, attempt: ObservedAttempt, *batch: int) -> None:
        """It collects, by an event of its own making, and is given *batch*; nothing if that is empty."""
        given = tuple(Done(number=number) for number in batch) or None
        own = Done(number=attempt.delivery)
        self.facts.append(("event_collected", attempt, own, (Done, Done), given, None))


@pytest.mark.parametrize("failures", [1, 2, 3])
@pytest.mark.parametrize("taker", ["completed", "failed"])
def test_s_col_5_what_another_one_has_taken_is_not_expected_to_be_added_again(
    failures: int, taker: str
) -> None:
    """If that one fails too, it is there again; however often its own delivery is tried again."""
    told = Told()
    first, second = told.begin(1), told.begin(2)
    told.collect(first)
    told.collect(second, 1, 2)
    told.end(first, "failed")
    for attempt in range(2, failures + 1):
        again = told.begin(1, attempt)
        told.collect(again)
        told.end(again, "failed")
    last = told.begin(1, failures + 1)
    told.collect(last)
    told.end(last, "completed")
    told.end(second, taker)
    third, fourth = told.begin(3), told.begin(4)
    if taker == "failed":
        told.collect(third, 1, 3)
        told.collect(fourth)
    else:
        told.collect(third)
        told.collect(fourth, 3, 4)
    assert what_is_inexact(told.facts) is None


def test_s_col_5_what_a_step_of_its_own_does_to_what_it_expects_is_its_own_affair() -> None:
    class Fewer(Workflow):
        """Wants one less from now on, when one is dropped."""

        wanted: ClassVar[dict[Any, int]] = {}

        @step
        async def start(self, ctx: Context, ev: StartEvent) -> Done | None:
            self.wanted[Done] = 3
            for number in range(3):
                ctx.send_event(Done(number=number))
            return None

        @step(num_workers=1)
        async def gather(self, ctx: Context, ev: Done) -> StopEvent | None:
            if ev.number == 1:
                self.wanted[Done] -= 1
                return None
            return None if ctx.collect_events(ev, self.wanted) is None else StopEvent()

    explore(Fewer)


def test_a_child_that_is_begun_anew_is_another_run() -> None:
    """Under the id of the one that has failed: the attempt of its parent is made again."""

    class Child(Workflow):
        attempts: ClassVar[int] = 0

        @step
        async def start(self, ctx: Context, ev: StartEvent) -> Done | None:
            ctx.send_event(Done(number=Child.attempts))
            ctx.send_event(Done(number=Child.attempts))
            return None

        @step(num_workers=1)
        async def gather(self, ctx: Context, ev: Done) -> StopEvent | None:
            both = ctx.collect_events(ev, [Done] * 2)
            Child.attempts += 1
            if Child.attempts == 2:
                raise ConnectionError
            return None if both is None else StopEvent()

    class Parent(Workflow):
        @step(retry_policy=RetryPolicy())
        async def start(self, ctx: Context, ev: StartEvent) -> StopEvent:
            if ctx.retry_info().retry_number == 0:
                Child.attempts = 0
            await ctx.run_child(Child(), namespace="again")
            return StopEvent()

    explore(Parent)


def test_s_str_2_a_stream_that_is_bounded_has_what_it_can_keep() -> None:
    class Talking(Workflow):
        @step
        async def talk(self, ctx: Context, ev: StartEvent) -> StopEvent:
            for number in range(4):
                ctx.write_event_to_stream(Done(number=number))
            return StopEvent()

    explore(Talking, stream_buffer=2)


# --- tasks


@both_backends
def test_s_run_1_a_task_that_a_step_leaves_behind_is_told_by_its_name(backend: str) -> None:
    """Past AnyIO it can be done."""
    left: list[Any] = []

    class Leaving(Workflow):
        @step
        async def leave(self, ev: StartEvent) -> StopEvent:
            if backend == "asyncio":
                left.append(asyncio.create_task(anyio.sleep(3_600), name="forgotten"))
            else:
                left.append(trio.lowlevel.spawn_system_task(trio.sleep, 3_600, name="forgotten"))
            return StopEvent()

    with pytest.raises(ScheduleError, match="tasks are left when the run has ended: forgotten"):
        explore(Leaving, schedule="", backends=[backend])


# --- crashes


class Charged(Event):
    pass


class Bank:
    def __init__(self) -> None:
        self.charges = 0

    async def charge(self) -> None:
        self.charges += 1


class Ordering(Workflow):
    """Charges, and counts in the state and in itself."""

    def __init__(self, bank: Bank) -> None:
        super().__init__()
        self.bank = bank
        self.counted = 0

    @step
    async def charge(self, ctx: Context, ev: StartEvent) -> Charged:
        self.counted += 1
        await interleave(self.bank.charge())
        async with ctx.store.edit_state() as state:
            state["charged"] = state.get("charged", 0) + 1
        return Charged()

    @step
    async def end(self, ctx: Context, ev: Charged) -> StopEvent:
        await ctx.checkpoint()
        return StopEvent(result="paid")


class Forgetful(Ordering):
    """Gives what it has counted in itself, which does not outlive a crash."""

    @step
    async def end(self, ctx: Context, ev: Charged) -> StopEvent:
        await ctx.checkpoint()
        return StopEvent(result=self.counted)


def crashing(workflow: type[Workflow], check: Check, **options: Any) -> None:
    explore(
        workflow,
        world=Bank,
        crashes=True,
        exhaustive=True,
        max_deviations=0,
        checks=[*STANDARD_CHECKS, check],
        **options,
    )


def test_s_ckpt_5_a_run_that_died_comes_to_what_an_ordinary_one_does() -> None:
    crashing(Ordering, same_after_crash())


def test_s_ckpt_5_a_result_that_a_crash_has_changed_is_told() -> None:
    with pytest.raises(
        ScheduleError, match=r"after the crash the run came to \(0, .*without one it comes to \(1, "
    ):
        crashing(Forgetful, same_after_crash())


def test_s_ckpt_5_an_effect_outside_that_a_crash_has_repeated_is_told_if_it_is_looked_at() -> None:
    with pytest.raises(
        ScheduleError, match="after the crash the run came to 2; without one it comes to 1"
    ) as caught:
        crashing(Ordering, same_after_crash(lambda seen: seen.world.charges))
    again = caught.value.schedule
    with pytest.raises(ScheduleError, match="after the crash the run came to 2"):
        explore(
            Ordering, world=Bank, schedule=again, checks=[same_after_crash(lambda seen: seen.world.charges)]
        )


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in ("racing", "stopping")])
def test_s_ckpt_5_what_the_engine_does_is_the_same_after_a_crash(name: str) -> None:
    """But for those whose result rightly depends on the order."""
    scenario = SCENARIOS[name]
    explore(
        scenario.make,
        driver=scenario.driver,
        invariant=scenario.check,
        crashes=True,
        max_examples=25,
        checks=[*STANDARD_CHECKS, same_after_crash(lambda seen: (seen.result, type(seen.error)))],
        **scenario.options,
    )


@both_backends
@settings(max_examples=60)
@given(workflow=workflows(), schedule=schedules(choices=80, crashes=True))
def test_s_ckpt_5_random_workflows_pass_every_check_whether_they_die_or_not(
    backend: str, workflow: type[ToyWorkflow], schedule: Schedule
) -> None:
    seen = run_once(Case(make=workflow, recorded=True), schedule, backend)
    for check in STANDARD_CHECKS:
        check(seen)
    assert seen.result == workflow.executions
