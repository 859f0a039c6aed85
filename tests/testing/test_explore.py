"""`explore`: what it says of a schedule that fails, of a workflow that it cannot explore, and of wrong arguments."""

import random
import time
from itertools import count
from typing import Any

import anyio
import pytest
from gallery import double_charge, lost_update
from hypothesis import Phase, example, given, settings

from anyio_workflows import (
    Context,
    Event,
    EventFieldsError,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowHandler,
    WorkflowRuntimeError,
    step,
)
from anyio_workflows.testing import (
    Exploration,
    NondeterminismError,
    Schedule,
    ScheduleError,
    checkpoint,
    explore,
    interleave,
    schedules,
)

COUNT: "count[int]" = count()

both_backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])

REPORT = """\
42 were paid, 30 are booked

Broken on asyncio, with 1 deviation (*) from the order of an ordinary run; the run gave 30.

        outside                       sends StartEvent()
     0  open_till at StartEvent()     begins
     1                                writes total = 0
                                      sends OrderPaid(amount=30)
                                      sends OrderPaid(amount=12)
     2                                ends
     3  book at OrderPaid(amount=30)  begins
     4                                reads total = 0
*    5  book at OrderPaid(amount=12)  begins   <-- first was book at OrderPaid(amount=30)
     6                                reads total = 0
     7                                writes total = 12
     8                                sends Booked()
                                      ends
     9  close_till at Booked()        begins
                                      collects
    10                                ends
    11  book at OrderPaid(amount=30)  writes total = 30
    12                                sends Booked()
                                      ends
    13  close_till at Booked()        begins
                                      collects, and is given [Booked(), Booked()]
    14                                reads total = 30
    15                                sends StopEvent(result=30)
                                      ends

Show it again with
    explore(Broken, ..., schedule="0.0.1")
or above a test that has @given(schedule=schedules()), with
    @example(schedule="0.0.1")"""


def failure(workflow: Any, **options: Any) -> ScheduleError:
    with pytest.raises(ScheduleError) as caught:
        explore(workflow, derandomize=True, **options)
    return caught.value


def test_a_report_is_what_a_user_reads() -> None:
    """The failure report is the product: every line of it is on purpose."""
    error = failure(lost_update.Broken, invariant=lost_update.invariant)
    assert str(error) == REPORT
    assert error.schedule == "0.0.1"
    assert error.exploration.result == 30
    assert isinstance(error.__cause__, AssertionError)


@both_backends
def test_s_det_3_a_schedule_gives_the_same_trace_to_the_byte(backend: str) -> None:
    """On either backend, and whatever the order."""
    traces = set()
    for schedule in ("0.0.1", "0.0.1"):
        error = failure(
            lost_update.Broken, invariant=lost_update.invariant, schedule=schedule, backends=[backend]
        )
        traces.add("\n".join(error.exploration.trace()))
    error = failure(
        lost_update.Broken, invariant=lost_update.invariant, schedule="0.0.1", backends=["asyncio"]
    )
    assert traces == {"\n".join(error.exploration.trace())}


@given(schedule=schedules(choices=12, crashes=True))
@settings(max_examples=25, deadline=None)
def test_s_det_3_any_schedule_gives_the_same_trace_on_both_backends(schedule: Schedule) -> None:
    traces = set()

    def remember(seen: Exploration) -> None:
        traces.add(tuple(seen.trace()))

    for _ in range(2):
        explore(lost_update.Fixed, invariant=remember, schedule=schedule, crashes=True)
    assert len(traces) == 1


# --- the decorator form


def test_hypothesis_finds_and_shrinks_a_schedule_too() -> None:
    @settings(max_examples=200, deadline=None, database=None, derandomize=True)
    @given(schedule=schedules())
    def is_booked(schedule: Schedule) -> None:
        explore(lost_update.Broken, invariant=lost_update.invariant, schedule=schedule)

    with pytest.raises(ScheduleError) as caught:
        is_booked()
    assert Schedule.parse(caught.value.schedule).deviations == 1
    assert "schedule=Schedule.parse('0.0.1')" in "\n".join(caught.value.__notes__)


def test_the_line_of_a_report_is_an_example_for_hypothesis() -> None:
    @example(schedule="0.0.1")
    @settings(phases=[Phase.explicit])
    @given(schedule=schedules())
    def is_booked(schedule: Schedule) -> None:
        explore(lost_update.Broken, invariant=lost_update.invariant, schedule=schedule)

    with pytest.raises(ScheduleError, match="42 were paid, 30 are booked"):
        is_booked()


# --- searching


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_a_race_whatever_it_draws(seed: int) -> None:
    with pytest.raises(ScheduleError) as caught:
        explore(lost_update.Broken, invariant=lost_update.invariant, backends=["asyncio"])
    assert caught.value.schedule == "0.0.1"


def test_every_schedule_with_few_deviations_can_be_tried() -> None:
    error = failure(lost_update.Broken, invariant=lost_update.invariant, exhaustive=True, max_deviations=1)
    assert error.schedule == "0.0.1"
    explored = explore(lost_update.Fixed, invariant=lost_update.invariant, exhaustive=True, max_deviations=1)
    assert explored.is_exhaustive
    assert explored.schedules > explore(lost_update.Fixed, exhaustive=True, max_deviations=0).schedules == 1


def test_exhaustive_search_has_the_program_die_everywhere() -> None:
    """Also in its second life it deviates."""
    options: dict[str, Any] = {**double_charge.OPTIONS, "exhaustive": True, "max_deviations": 1}
    error = failure(double_charge.Broken, invariant=double_charge.invariant, **options)
    assert error.schedule == "!2"
    dead = set()

    def remember(seen: Exploration) -> None:
        dead.add(str(seen.schedule) if seen.has_crashed else "")

    explore(lost_update.Fixed, invariant=remember, exhaustive=True, max_deviations=1, crashes=True)
    assert {"", "!0", "!3"} < dead
    assert any(Schedule.parse(text).deviations for text in dead)


def test_a_failure_with_many_deviations_is_shrunk_to_those_that_it_needs() -> None:
    """Two here: the third to come has to be first, and the second has to be second."""

    class Number(Event):
        value: int

    class Sorting(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Number | None:
            for value in range(3):
                ctx.send_event(Number(value=value))
            return None

        @step
        async def sort(self, ctx: Context, ev: Number) -> StopEvent | None:
            await ctx.checkpoint()
            numbers = ctx.collect_events(ev, [Number] * 3)
            return None if numbers is None else StopEvent(result=[number.value for number in numbers])

    def invariant(seen: Exploration) -> None:
        assert seen.result != [2, 1, 0]

    assert Schedule.parse(failure(Sorting, invariant=invariant).schedule).deviations == 2


def test_a_failure_is_not_exchanged_for_another_while_it_is_shrunk() -> None:
    """A schedule with fewer deviations breaks something else, and what was found first is told."""
    was_wild = False

    def is_calm(seen: Exploration) -> None:
        nonlocal was_wild
        was_wild |= seen.came_to.deviations > 3
        assert seen.came_to.deviations <= 3, "more than three"

    def is_straight(seen: Exploration) -> None:
        assert not was_wild or not seen.came_to.deviations, "some"

    error = failure(lost_update.Fixed, checks=[is_calm], invariant=is_straight, backends=["asyncio"])
    assert str(error).startswith("more than three")
    assert error.exploration.came_to.deviations == 4


# --- what fails


def test_an_invariant_that_trips_does_not_hold() -> None:
    def invariant(seen: Exploration) -> None:
        assert {}[seen.result]

    assert str(failure(lost_update.Fixed, invariant=invariant)).startswith("invariant raised KeyError(42)\n")


def test_an_invariant_without_a_message_is_named() -> None:
    def adds_up(seen: Exploration) -> None:
        raise AssertionError

    assert str(failure(lost_update.Fixed, invariant=adds_up)).startswith("adds_up does not hold\n")


def test_without_an_invariant_a_run_must_not_fail() -> None:
    class Failing(Workflow):
        @step
        async def fail(self, ev: StartEvent) -> StopEvent:
            raise ValueError("no")

    text = str(failure(Failing))
    assert text.startswith("the run failed: ValueError('no')\n")
    assert "with no deviation: in the order of an ordinary run; the run raised ValueError('no')." in text
    assert "fails: ValueError('no')" in text


def test_a_driver_that_fails_is_told_even_if_the_invariant_does_not_care() -> None:
    async def drive(handler: WorkflowHandler) -> None:
        raise ValueError("no")

    text = str(failure(lost_update.Fixed, driver=drive, invariant=lambda seen: None))
    assert text.startswith("the driver failed: ValueError('no')\n")


@both_backends
def test_a_deadlock_is_told_at_once_with_those_who_are_in_it(backend: str) -> None:
    class Stuck(Workflow):
        @step
        async def wait(self, ev: StartEvent) -> StopEvent:
            await anyio.Event().wait()
            return StopEvent()

    text = str(failure(Stuck, backends=[backend]))
    assert text.startswith(
        "every task waits for something that can never come\n    wait at StartEvent() has begun and not ended\n"
    )
    assert "; the run hangs." in text
    assert "--- nothing can go on ---\n\n" in text  # that it is cancelled then is the test's doing


def test_a_long_table_shows_what_is_near_to_a_deviation() -> None:
    class Round(Event):
        number: int

    class Rounds(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Round:
            return Round(number=0)

        @step
        async def go(self, ctx: Context, ev: Round) -> Round | StopEvent:
            return Round(number=ev.number + 1) if ev.number < 100 else StopEvent()

    def invariant(seen: Exploration) -> None:
        raise AssertionError

    lines = str(failure(Rounds, invariant=invariant)).splitlines()
    assert len(lines) < 60
    assert any(line.startswith("        ... ") for line in lines)
    assert "Round(number=100)" in "\n".join(lines)


def test_a_crash_is_in_the_report_and_in_the_line_that_shows_it_again() -> None:
    error = failure(double_charge.Broken, invariant=double_charge.invariant, **double_charge.OPTIONS)
    text = str(error)
    assert "in the order of an ordinary run, the program dies at turn 2;" in text
    assert "--- the program dies ---\n" in text
    assert "--- it goes on from what was recorded by then ---\n" in text
    assert 'explore(Broken, ..., crashes=True, schedule="!2")' in text
    # It needs not be said twice.
    again = failure(
        double_charge.Broken, invariant=double_charge.invariant, world=double_charge.Bank, schedule="!2"
    )
    assert str(again) == text


# --- what is not controlled


@pytest.mark.parametrize(
    ("draw", "what"),
    [
        (random.random, "random"),
        (time.perf_counter, "time"),
        (lambda: id(object()) + next(COUNT), "id"),
    ],
    ids=["random", "time", "id"],
)
@both_backends
def test_a_workflow_that_draws_is_refused_and_the_place_is_named(backend: str, draw: Any, what: str) -> None:
    class Drawing(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.store.set("ok", 1)
            await ctx.store.set("drawn", draw())
            return StopEvent()

    with pytest.raises(NondeterminismError) as caught:
        explore(Drawing, backends=[backend])
    text = str(caught.value)
    assert f"Drawing was run twice under schedule '' on {backend}, and not the same happened." in text
    assert "The first difference is in turn 2 await begin at StartEvent() (0 of 1):\n" in text
    assert "    first:  begin at StartEvent() writes drawn = " in text
    assert "    then:   begin at StartEvent() writes drawn = " in text


def test_a_run_that_goes_on_longer_the_second_time_is_told_too() -> None:
    lives = count()

    class Growing(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            for _ in range(next(lives)):
                await ctx.checkpoint()
            return StopEvent()

    with pytest.raises(NondeterminismError, match="first: "):
        explore(Growing)


def test_a_failure_that_does_not_come_again_is_no_schedules() -> None:
    """It was another thing that changed from run to run, and none that is noted."""
    runs = count()

    def invariant(seen: Exploration) -> None:
        assert next(runs) != 7

    with pytest.raises(NondeterminismError, match="failed once under schedule"):
        explore(lost_update.Fixed, invariant=invariant, derandomize=True)


# --- what it is called with


async def of_a_coroutine() -> Workflow:
    return lost_update.Fixed()


@pytest.mark.parametrize(
    ("workflow", "options", "message"),
    [
        (int, {}, "gave 0; give a workflow class, or a function that returns a workflow"),
        (lambda: None, {}, "gave None; give a workflow class"),
        (3, {}, "was given 3, which is no workflow; give its class, or a function that makes one"),
        (lost_update.Fixed, {"backends": ("curio",)}, "knows no 'curio'; give 'asyncio', 'trio', or both"),
        (lost_update.Fixed, {"backends": "trio"}, r"give several: \('trio',\)"),
        (lost_update.Fixed, {"backends": ()}, "no backends; give 'asyncio', 'trio', or both"),
        (lost_update.Fixed, {"schedule": "1,2"}, "'1,2' is no schedule; write it as a report does: '1.0.3'"),
        (lost_update.Fixed, {"schedule": "1.-2"}, "is no schedule"),
        (lost_update.Fixed, {"schedule": "!"}, "is no schedule"),
        (lost_update.Fixed, {"schedule": 1}, "schedule=1 is no schedule"),
        (lost_update.Fixed, {"max_examples": 0}, "max_examples=0; give 1 or more"),
        (lost_update.Fixed, {"max_deviations": -1}, "max_deviations=-1; give 0 or more"),
        (lost_update.Fixed, {"invariants": print}, "invariants=, did you mean invariant=?"),
        (lost_update.Fixed(), {"world": dict}, "give a function that takes the world and returns a workflow"),
    ],
)
def test_a_wrong_argument_is_told_before_anything_runs(workflow: Any, options: Any, message: str) -> None:
    with pytest.raises(WorkflowRuntimeError, match=message):
        explore(workflow, **options)


def test_a_schedule_has_no_negative_numbers() -> None:
    for wrong in ({"choices": (1, -1)}, {"crash_at": -1}):
        with pytest.raises(WorkflowRuntimeError, match="of 0 or more"):
            Schedule(**wrong)


async def test_it_is_not_called_where_an_event_loop_runs() -> None:
    with pytest.raises(WorkflowRuntimeError, match="call it from a plain function"):
        explore(lost_update.Fixed)


@both_backends
def test_a_mistake_in_a_start_event_is_told_as_itself(backend: str) -> None:
    """Neither in an exception group, nor in a report."""

    class Begin(StartEvent):
        name: str

    class Greeting(Workflow):
        @step
        async def greet(self, ev: Begin) -> StopEvent:
            return StopEvent(result=ev.name)

    with pytest.raises(EventFieldsError, match="name"):
        explore(Greeting, backends=[backend], nmae="Eve")
    explore(Greeting, Begin(name="Eve"), max_examples=1)


# --- points of one's own


class Service:
    async def answer(self) -> int:
        await checkpoint("the service")
        return 42


@both_backends
def test_points_of_ones_own_are_named_and_give_what_they_wrap(backend: str) -> None:
    class Asking(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=await interleave(Service().answer()))

    seen: list[Exploration] = []
    explore(Asking, schedule="", backends=[backend], invariant=seen.append)
    assert seen[0].result == 42
    notes = [text for turn in seen[0].turns for who, text in turn.notes if who == "ask at StartEvent()"]
    assert notes == [
        "begins",
        "begins Service.answer",
        "goes on at the service",
        "comes back from Service.answer",
        "sends StopEvent(result=42)",
        "ends",
    ]


def test_points_outside_of_a_step_are_called_by_their_own_names() -> None:
    async def drive(handler: WorkflowHandler) -> None:
        await checkpoint("somebody")
        await checkpoint()

    seen: list[Exploration] = []
    explore(lost_update.Fixed, driver=drive, schedule="", invariant=seen.append)
    labels = [turn.point.label for turn in seen[0].turns if turn.point.kind == "outside"]
    assert labels == [
        "somebody",
        "test_points_outside_of_a_step_are_called_by_their_own_names.<locals>.drive",
    ]


async def test_points_of_ones_own_are_checkpoints_where_nothing_is_explored() -> None:
    with anyio.fail_after(5):
        await checkpoint()
        assert await interleave(Service().answer()) == 42
        with anyio.CancelScope() as scope:
            scope.cancel()
            await checkpoint()
        assert scope.cancelled_caught


@both_backends
def test_a_world_is_new_for_each_run_and_outlives_its_death(backend: str) -> None:
    worlds: list[Any] = []

    class Living(Workflow):
        def __init__(self, world: list[str]) -> None:
            super().__init__()
            self.world = world

        @step
        async def live(self, ctx: Context, ev: StartEvent) -> StopEvent:
            self.world.append("lived")
            await ctx.checkpoint()
            return StopEvent()

    def invariant(seen: Exploration) -> None:
        worlds.append(seen.world)

    for schedule in ("!1", "!1", ""):
        explore(Living, world=list, schedule=schedule, invariant=invariant, backends=[backend])
    assert worlds == [["lived", "lived"], ["lived", "lived"], ["lived"]]
    assert len({id(world) for world in worlds}) == 3
