"""S-COL: what a collection gives, when, and what it costs."""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, TypeAlias

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from anyio_workflows import (
    Context,
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowRuntimeError,
    WorkflowStalledError,
    step,
)

Expected: TypeAlias = Sequence[type[Event]] | Mapping[type[Event], int]


class Apple(Event):
    number: int = 0


class Pear(Event):
    number: int = 0


class Plum(Event):
    number: int = 0


class RedApple(Apple):
    pass


class Basket(Workflow):
    """Delivers the fruits one after the other to a step that collects them, and gives what each call gave."""

    def __init__(self, expected: Expected) -> None:
        self.expected = expected
        self.given: list[list[Event] | None] = []
        super().__init__()

    @step
    async def deliver(self, ctx: Context, ev: StartEvent) -> Apple | Pear | Plum | RedApple | None:
        for fruit in ev.fruits:
            ctx.send_event(fruit)
        return None

    @step(num_workers=1)
    async def collect(self, ctx: Context, ev: Apple | Pear | Plum | RedApple) -> StopEvent | None:
        if ev.number < 0:
            return StopEvent(result=self.given)
        given = ctx.collect_events(ev, self.expected)
        self.given.append(None if given is None else list(given))
        return None


async def collected(expected: Expected, *fruits: Event) -> list[list[Event] | None]:
    """Return what each call of collect_events gave for each of *fruits*."""
    with anyio.fail_after(5):
        given: list[list[Event] | None] = await Basket(expected).run(fruits=[*fruits, Plum(number=-1)])
    return given


# --- S-COL-1: what it gives


async def test_s_col_1_it_gives_none_until_all_are_there_and_then_the_list() -> None:
    """In the order in which the events of one type were collected."""
    apples = [Apple(number=3), Apple(number=1), Apple(number=2)]
    assert await collected([Apple] * 3, *apples) == [None, None, apples]


async def test_s_col_1_the_list_is_ordered_as_expected() -> None:
    """Not by arrival: the caller unpacks it by type."""
    pear, apple, plum = Pear(), Apple(), Plum()
    assert await collected([Apple, Plum, Pear], pear, apple, plum) == [None, None, [apple, plum, pear]]


async def test_s_col_1_types_may_be_mixed_and_repeated_in_any_order() -> None:
    """Each place is filled with the oldest of its type."""
    first, second, pear = Apple(number=1), Apple(number=2), Pear()
    assert (await collected([Apple, Pear, Apple], first, second, pear))[-1] == [first, pear, second]
    assert (await collected([Pear, Apple, Apple], first, second, pear))[-1] == [pear, first, second]


async def test_s_col_1_a_list_is_not_complete_by_its_length() -> None:
    """Enough events, but of the wrong types, are not the right ones."""
    assert await collected([Apple, Pear], Apple(), Apple(), Apple(), Pear(number=1)) == [
        None,
        None,
        None,
        [Apple(), Pear(number=1)],
    ]


async def test_s_col_1_it_goes_by_exact_type() -> None:
    """A subclass is another event, here as in routing."""
    red, apple = RedApple(), Apple()
    assert await collected([Apple], red, apple) == [None, [apple]]
    assert await collected([Apple, RedApple], apple, apple, red) == [None, None, [apple, red]]


async def test_s_col_1_it_consumes_what_it_gives() -> None:
    """The next batch begins from nothing."""
    apples = [Apple(number=number) for number in range(4)]
    assert await collected([Apple] * 2, *apples) == [None, apples[:2], None, apples[2:]]


async def test_s_col_1_equal_events_are_counted_one_by_one() -> None:
    """It is a multiset: events compare by value and are still so many."""
    apple = Apple()
    assert await collected([Apple] * 3, apple, Apple(), apple) == [None, None, [apple, apple, apple]]


async def test_s_col_1_buffers_are_told_apart_by_their_id() -> None:
    """Events of one request in one buffer, those of another in another, and the unnamed one is a third."""

    class Sorting(Workflow):
        @step
        async def deliver(self, ctx: Context, ev: StartEvent) -> Apple | None:
            for number in [1, 2, 3, 11, 12, 21, 22, 13]:
                ctx.send_event(Apple(number=number))
            return None

        @step(num_workers=1)
        async def collect(self, ctx: Context, ev: Apple) -> StopEvent | None:
            buffer_id = {0: None, 1: "one", 2: "two"}[ev.number // 10]
            batch = ctx.collect_events(ev, [Apple] * 3, buffer_id=buffer_id)
            batches.append(None if batch is None else [one.number for one in batch])
            return StopEvent() if ev.number == 13 else None

    batches: list[list[int] | None] = []
    with anyio.fail_after(5):
        await Sorting().run()
    assert batches == [None, None, [1, 2, 3], None, None, None, None, [11, 12, 13]]


async def test_s_col_1_each_step_has_its_own_collection() -> None:
    """Two steps that get the same events get them all, each in its own."""

    class Done(Event):
        by: str
        numbers: tuple[int, ...]

    class Twice(Workflow):
        @step
        async def deliver(self, ctx: Context, ev: StartEvent) -> Apple | None:
            for number in range(6):
                ctx.send_event(Apple(number=number))
            return None

        @step(num_workers=1)
        async def pairs(self, ctx: Context, ev: Apple) -> Done | None:
            batch = ctx.collect_events(ev, [Apple] * 2)
            return Done(by="pairs", numbers=tuple(one.number for one in batch)) if batch else None

        @step(num_workers=1)
        async def triples(self, ctx: Context, ev: Apple) -> Done | None:
            batch = ctx.collect_events(ev, [Apple] * 3)
            return Done(by="triples", numbers=tuple(one.number for one in batch)) if batch else None

        @step
        async def end(self, ctx: Context, ev: Done) -> StopEvent | None:
            return StopEvent(result=done) if (done := ctx.collect_events(ev, {Done: 5})) else None

    with anyio.fail_after(5):
        done = await Twice().run()
    assert sorted((one.by, one.numbers) for one in done) == [
        ("pairs", (0, 1)),
        ("pairs", (2, 3)),
        ("pairs", (4, 5)),
        ("triples", (0, 1, 2)),
        ("triples", (3, 4, 5)),
    ]


async def test_s_col_1_each_run_has_its_own_collection() -> None:
    """Two runs of one workflow with half of what is expected in each: both stall, neither completes."""
    workflow = Basket([Apple] * 2)
    caught: list[str] = []

    async def half() -> None:
        with pytest.raises(WorkflowStalledError) as stalled:
            await workflow.run(fruits=[Apple()])
        caught.append(str(stalled.value))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(half)
            tasks.start_soon(half)
    assert ["step 'collect' has 1 of 2 Apple" in text for text in caught] == [True, True]


# --- S-COL-2: nothing is lost, nothing given twice


async def test_s_col_2_surplus_stays_for_the_next_batch() -> None:
    """In the order in which it came."""
    apples = [Apple(number=number) for number in range(3)]
    pears = [Pear(number=number) for number in range(2)]
    given = await collected([Apple, Pear], *apples, *pears)
    assert given == [None, None, None, [apples[0], pears[0]], [apples[1], pears[1]]]


@pytest.mark.parametrize("expected", [[Apple] * 3, {Apple: 3}, [Apple, Pear, Apple], {Pear: 2, Apple: 1}])
async def test_s_col_2_nothing_is_lost_or_given_twice_by_many_workers(expected: Expected) -> None:
    """Executions that wait before and after they collect, in any order."""
    rng = random.Random(7)
    kinds = list(Counter(expected).elements())
    fruits = [kind(number=number) for number in range(50) for kind in kinds]
    rng.shuffle(fruits)

    class Busy(Workflow):
        @step
        async def deliver(self, ctx: Context, ev: StartEvent) -> Apple | Pear | None:
            for fruit in fruits:
                ctx.send_event(fruit)
            return None

        @step(num_workers=8)
        async def collect(self, ctx: Context, ev: Apple | Pear) -> StopEvent | None:
            for _ in range(rng.randrange(4)):
                await checkpoint()
            batch = ctx.collect_events(ev, expected)
            for _ in range(rng.randrange(4)):
                await checkpoint()
            if batch is not None:
                batches.append(list(batch))
            return StopEvent() if len(batches) == 50 else None

    batches: list[list[Event]] = []
    with anyio.fail_after(5):
        await Busy().run()
    assert sorted(map(id, chain(*batches))) == sorted(map(id, fruits))
    assert [Counter(map(type, batch)) for batch in batches] == [Counter(kinds)] * 50


@given(
    expected=st.lists(st.sampled_from([Apple, Pear, Plum]), min_size=1, max_size=4),
    kinds=st.lists(st.sampled_from([Apple, Pear, Plum]), max_size=12),
    as_mapping=st.booleans(),
)
async def test_s_col_2_batches_are_those_of_a_naive_collection(
    expected: list[type[Event]], kinds: list[type[Event]], *, as_mapping: bool
) -> None:
    """One line per type; as soon as every line is long enough, the oldest are taken from their heads."""
    fruits = [kind(number=number) for number, kind in enumerate(kinds)]
    asked = dict(Counter(expected)) if as_mapping else expected
    order = list(Counter(expected).elements()) if as_mapping else expected
    lines: dict[type[Event], list[Event]] = {Apple: [], Pear: [], Plum: []}
    naive: list[list[Event] | None] = []
    for fruit in fruits:
        lines[type(fruit)].append(fruit)
        is_complete = all(len(lines[kind]) >= order.count(kind) for kind in order)
        naive.append([lines[kind].pop(0) for kind in order] if is_complete else None)
    assert await collected(asked, *fruits) == naive


@pytest.mark.parametrize("expected", [[], (), {}, {Apple: 0}])
async def test_s_col_2_nothing_expected_gives_an_empty_list(expected: Expected) -> None:
    """Every time; a fan-out that turned out empty is complete."""
    assert await collected(expected, Apple(), Apple()) == [[], []]


async def test_s_col_2_an_execution_adds_its_event_once_however_often_it_calls() -> None:
    """So that it may ask in a loop, or for several things."""

    class Asking(Workflow):
        @step
        async def deliver(self, ctx: Context, ev: StartEvent) -> Apple | None:
            ctx.send_event(Apple(number=1))
            return Apple(number=2)

        @step(num_workers=1)
        async def collect(self, ctx: Context, ev: Apple) -> StopEvent | None:
            calls = [ctx.collect_events(ev, [Apple] * 2) for _ in range(3)]
            asked.append(calls)
            calls_elsewhere = [ctx.collect_events(ev, [Apple], buffer_id="other") for _ in range(2)]
            assert calls_elsewhere == [[ev], None]
            return StopEvent() if len(asked) == 2 else None

    asked: list[Any] = []
    with anyio.fail_after(5):
        await Asking().run()
    assert asked == [[None, None, None], [[Apple(number=1), Apple(number=2)], None, None]]


async def test_s_col_2_an_execution_may_take_several_batches() -> None:
    """What had been kept for a larger batch can be had in smaller ones."""

    class Splitting(Workflow):
        @step
        async def deliver(self, ctx: Context, ev: StartEvent) -> Apple | None:
            for number in range(4):
                ctx.send_event(Apple(number=number))
            return None

        @step(num_workers=1)
        async def collect(self, ctx: Context, ev: Apple) -> StopEvent | None:
            if ev.number < 3:
                assert ctx.collect_events(ev, [Apple] * 9) is None
                return None
            batches = [ctx.collect_events(ev, [Apple] * 2) for _ in range(3)]
            return StopEvent(result=[batch and [one.number for one in batch] for batch in batches])

    with anyio.fail_after(5):
        assert await Splitting().run() == [[0, 1], [2, 3], None]


WRONG: list[Any] = [
    Apple,
    Apple(),
    "Apple",
    None,
    2,
    ["Apple"],
    [Apple, 2],
    [Apple()],
    [Apple, int],
    {Apple: -1},
    {Apple: 1.5},
    {Apple: True},
    {"Apple": 1},
]


@pytest.mark.parametrize("expected", WRONG, ids=str)
async def test_s_col_2_a_wrong_expected_is_an_error(expected: Any) -> None:
    """At the call, naming the step and what is wrong."""
    with pytest.raises(WorkflowRuntimeError, match=r"step 'collect' (called collect_events|collects)"):
        await collected(expected, Apple())


async def test_s_col_2_a_wrong_expected_among_right_ones_is_an_error() -> None:
    """At the latest when there would be something to give; also where a right list of that length came before."""

    class Changing(Workflow):
        @step
        async def deliver(self, ctx: Context, ev: StartEvent) -> Apple | None:
            for number in range(3):
                ctx.send_event(Apple(number=number))
            return None

        @step(num_workers=1)
        async def collect(self, ctx: Context, ev: Apple) -> StopEvent | None:
            expected: list[Any] = [Apple, Apple, Apple] if ev.number < 2 else [Apple, 3, Apple]
            ctx.collect_events(ev, expected)
            return None

    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError, match="called collect_events with 3"):
        await Changing().run()


@pytest.mark.parametrize("event", [None, 2, Apple])
async def test_s_col_2_collecting_what_is_no_event_is_an_error(event: Any) -> None:
    """The class instead of the instance, for example."""

    class Wrong(Workflow):
        @step
        async def collect(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.collect_events(event, [Apple])
            return StopEvent()

    with (
        anyio.fail_after(5),
        pytest.raises(WorkflowRuntimeError, match=r"collect_events with .*, which is no event"),
    ):
        await Wrong().run()


# --- S-COL-3: the body runs once


async def test_s_col_3_the_step_runs_once_for_each_event() -> None:
    """Also the execution that completes a collection is not run again to be given it."""

    class Counting(Basket):
        executions = 0

        @step(num_workers=1)
        async def collect(self, ctx: Context, ev: Apple | Pear | Plum | RedApple) -> StopEvent | None:
            Counting.executions += 1
            given = ctx.collect_events(ev, [Apple] * 5)
            return None if given is None else StopEvent()

    with anyio.fail_after(5):
        await Counting([]).run(fruits=[Apple()] * 5)
    assert Counting.executions == 5


# --- S-COL-4: what it costs


def fan_out(form: str) -> Callable[[int], Workflow]:
    """Return what makes a workflow that sends N events to four workers and collects their N results."""

    class Part(Event):
        number: int

    class FanOut(Workflow):
        def __init__(self, count: int) -> None:
            self.count = count
            self.kept: Expected = {Apple: count} if form == "mapping" else [Apple] * count
            super().__init__()

        @step
        async def start(self, ctx: Context, ev: StartEvent) -> Part | None:
            for number in range(self.count):
                ctx.send_event(Part(number=number))
            return None

        @step(num_workers=4)
        async def work(self, ev: Part) -> Apple:
            return Apple(number=ev.number)

        @step
        async def collect(self, ctx: Context, ev: Apple) -> StopEvent | None:
            expected = [Apple] * self.count if form == "new list each time" else self.kept
            given = ctx.collect_events(ev, expected)
            return None if given is None else StopEvent(result=len(given))

    return FanOut


def seconds_per_event(make: Callable[[int], Workflow], count: int, backend: str) -> float:
    async def main() -> float:
        workflow = make(count)
        begin = time.process_time()
        assert await workflow.run() == count
        return (time.process_time() - begin) / count

    return min(anyio.run(main, backend=backend) for _ in range(3))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("form", ["list", "new list each time", "mapping"])
def test_s_col_4_a_fan_out_costs_the_same_per_event_at_ten_times_the_size(form: str, backend: str) -> None:
    """Quadratic growth would show as a factor of ten; the margin of three is for the machine."""
    make = fan_out(form)
    seconds_per_event(make, 100, backend)
    few = seconds_per_event(make, 1_000, backend)
    many = seconds_per_event(make, 10_000, backend)
    assert many <= 3 * few


async def test_s_col_4_a_mapping_says_how_many_of_each() -> None:
    """The result is ordered as the mapping is; a Counter is one."""
    first, second, pear = Apple(number=1), Apple(number=2), Pear()
    assert (await collected({Apple: 2, Pear: 1}, first, pear, second))[-1] == [first, second, pear]
    assert (await collected({Pear: 1, Apple: 2}, first, pear, second))[-1] == [pear, first, second]
    assert (await collected(Counter([Pear, Apple, Apple]), first, pear, second))[-1] == [pear, first, second]
