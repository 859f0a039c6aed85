"""A step that returns a list opens a fan-out, and a step that takes one joins what has come of it."""

from typing import Annotated, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from durable import settled
from fanning import Done, Extra, Fan, Gates, Item

from anyio_workflows import (
    Collect,
    Context,
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)


async def test_fan_out_a_join_is_called_once_with_everything() -> None:
    with anyio.fail_after(5):
        assert await Fan(size=3).run() == [0, 1, 2]


async def test_fan_out_an_empty_list_is_joined_with_nothing() -> None:
    with anyio.fail_after(5):
        assert await Fan(size=0).run() == []


async def test_fan_out_none_opens_nothing() -> None:
    class Flow(Workflow):
        @step
        async def split(self, ev: StartEvent) -> list[Item] | None:
            return None

        @step
        async def join(self, evs: list[Item]) -> StopEvent:
            raise AssertionError

    with anyio.fail_after(5), pytest.raises(Exception, match="every step has returned"):
        await Flow().run()


async def test_fan_out_a_member_that_returns_none_ends_there() -> None:
    async def odd_ones(ctx: Context, ev: Item) -> Done | None:
        return Done(n=ev.n) if ev.n % 2 else None

    async def none_at_all(ctx: Context, ev: Item) -> None:
        return None

    with anyio.fail_after(5):
        assert await Fan(odd_ones, size=4).run() == [1, 3]
        assert await Fan(none_at_all, size=4).run() == []


async def test_fan_out_events_come_in_the_order_of_arrival() -> None:
    gates = Gates()
    handler = Fan(gates.member, size=3).run()
    with anyio.fail_after(5):
        async with handler:
            for n in (1, 2, 0):
                gates.open(n)
                await settled()
        assert await handler == [1, 2, 0]


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 0, 2), (0, 2, 1)], ids=str)
async def test_fan_out_events_come_in_the_order_of_emission_if_wanted(order: tuple[int, ...]) -> None:
    """Also over several steps and a nested fan-out: what came of the first member stands first."""
    gates = Gates()

    class Flow(Workflow):
        @step
        async def split(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(3)]

        @step
        async def work(self, ctx: Context, ev: Item) -> list[Extra]:
            await gates.member(ctx, ev)
            return [Extra(n=10 * ev.n + k) for k in range(ev.n)]

        @step
        async def inner(self, evs: list[Extra]) -> Done:
            return Done(n=sum(ev.n for ev in evs))

        @step
        async def join(self, evs: Annotated[list[Done], Collect(order="emission")]) -> StopEvent:
            return StopEvent(result=[ev.n for ev in evs])

    handler = Flow().run()
    with anyio.fail_after(5):
        async with handler:
            for n in order:
                gates.open(n)
                await settled()
        assert await handler == [0, 10, 41]


async def test_fan_out_what_one_member_sends_is_in_the_order_of_its_sending() -> None:
    gates = Gates()

    class Flow(Workflow):
        @step
        async def split(self, ev: StartEvent) -> list[Extra]:
            return [Extra(n=1), Extra(n=2)]

        @step
        async def send(self, ctx: Context, ev: Extra) -> Item:
            for k in range(2):
                ctx.send_event(Item(n=10 * ev.n + k))
            return Item(n=10 * ev.n + 2)

        @step(num_workers=6)
        async def work(self, ctx: Context, ev: Item) -> Done:
            return await gates.member(ctx, ev)

        @step
        async def join(self, evs: Annotated[list[Done], Collect(order="emission")]) -> StopEvent:
            return StopEvent(result=[ev.n for ev in evs])

    handler = Flow().run()
    with anyio.fail_after(5):
        async with handler:
            for n in (22, 12, 21, 11, 20, 10):
                gates.open(n)
                await settled()
        assert await handler == [10, 11, 12, 20, 21, 22]


class Numbered(Workflow):
    """Ends once a given number of joins have been made, with what they were given."""

    def __init__(self, wanted: int) -> None:
        super().__init__()
        self.wanted = wanted
        self.seen: list[tuple[str, list[int]]] = []

    def saw(self, step: str, evs: list[Any]) -> StopEvent | None:
        self.seen.append((step, sorted(ev.n for ev in evs)))
        return StopEvent(result=sorted(self.seen)) if len(self.seen) == self.wanted else None


async def test_fan_out_without_an_inner_join_the_inner_fan_outs_are_joined() -> None:
    class Flow(Numbered):
        @step
        async def split(self, ev: StartEvent) -> list[Item]:
            return [Item(n=0), Item(n=1)]

        @step
        async def again(self, ev: Item) -> list[Done]:
            return [Done(n=10 * ev.n + k) for k in range(2)]

        @step
        async def join(self, evs: list[Done]) -> StopEvent | None:
            return self.saw("join", evs)

    with anyio.fail_after(5):
        assert await Flow(2).run() == [("join", [0, 1]), ("join", [10, 11])]


async def test_fan_out_two_joins_of_one_fan_out_are_both_called() -> None:
    """One of them with the members themselves too: it takes both kinds."""

    class Flow(Numbered):
        @step
        async def split(self, ev: StartEvent) -> list[Item]:
            return [Item(n=1), Item(n=2)]

        @step
        async def work(self, ev: Item) -> Done:
            return Done(n=10 * ev.n)

        @step
        async def results(self, evs: list[Done]) -> StopEvent | None:
            return self.saw("results", evs)

        @step
        async def everything(self, evs: list[Item | Done]) -> StopEvent | None:
            return self.saw("everything", evs)

    with anyio.fail_after(5):
        assert await Flow(2).run() == [("everything", [1, 2, 10, 20]), ("results", [10, 20])]


async def test_fan_out_a_join_may_fan_out_again() -> None:
    class Flow(Workflow):
        @step
        async def split(self, ev: StartEvent) -> list[Item]:
            return [Item(n=1), Item(n=2)]

        @step
        async def middle(self, evs: list[Item]) -> list[Done]:
            return [Done(n=ev.n * 10) for ev in evs]

        @step
        async def join(self, evs: list[Done]) -> StopEvent:
            return StopEvent(result=[ev.n for ev in evs])

    with anyio.fail_after(5):
        assert await Flow().run() == [10, 20]


class Range(Event):
    low: int
    high: int
    is_all: bool = False


class Sum(Event):
    value: int
    is_all: bool = False


class Summing(Workflow):
    """Halves a range until it is a number, and adds up what has come of the halves: a fan-out in each member."""

    @step
    async def begin(self, ev: StartEvent) -> Range:
        return Range(low=0, high=ev.high, is_all=True)

    @step
    async def halve(self, ev: Range) -> list[Range | Sum]:
        if ev.high - ev.low == 1:
            return [Sum(value=ev.low, is_all=ev.is_all)]
        middle = (ev.low + ev.high) // 2
        halves = [Range(low=ev.low, high=middle), Range(low=middle, high=ev.high)]
        return [*halves, Sum(value=0, is_all=True)] if ev.is_all else halves  # type: ignore[return-value]

    @step
    async def add(self, evs: list[Sum]) -> Sum | StopEvent:
        total = sum(ev.value for ev in evs)
        return StopEvent(result=total) if any(ev.is_all for ev in evs) else Sum(value=total)


async def test_fan_out_a_step_that_lists_its_own_event_makes_a_tree() -> None:
    with anyio.fail_after(5):
        assert await Summing().run(high=50) == sum(range(50))


class Chain(Workflow):
    """A list of one in a list of one, and so on."""

    @step
    async def begin(self, ev: StartEvent) -> Item:
        return Item(n=ev.depth)

    @step
    async def deeper(self, ev: Item) -> list[Item | Done]:
        return [Item(n=ev.n - 1)] if ev.n else [Done(n=0)]

    @step
    async def back(self, evs: list[Done]) -> Done | StopEvent:
        (ev,) = evs
        return StopEvent(result=ev.n) if ev.n == 2000 else Done(n=ev.n + 1)


async def test_fan_out_nesting_may_be_deeper_than_pythons_stack() -> None:
    with anyio.fail_after(10):
        assert await Chain().run(depth=2000) == 2000


async def test_fan_out_a_bare_event_beside_a_list_opens_nothing() -> None:
    class Flow(Workflow):
        @step
        async def split(self, ev: StartEvent) -> list[Item] | Done | None:
            return Done(n=7) if ev.bare else [Item(n=1)]

        @step
        async def join(self, evs: list[Item]) -> StopEvent:
            return StopEvent(result="joined")

        @step
        async def take(self, ev: Done) -> StopEvent:
            return StopEvent(result="bare")

    with anyio.fail_after(5):
        assert [await Flow().run(bare=bare) for bare in (True, False)] == ["bare", "joined"]


async def test_fan_out_a_stop_event_in_a_list_or_of_a_member_ends_the_run() -> None:
    class Flow(Fan):
        @step
        async def split(self, ev: StartEvent) -> list[Item | StopEvent]:  # type: ignore[override]
            return [Item(n=0), StopEvent(result="in the list"), Item(n=1)]

    async def stop(ctx: Context, ev: Item) -> StopEvent | None:
        await checkpoint()
        return StopEvent(result=f"member {ev.n}") if ev.n == 1 else None

    class Stopping(Fan):
        @step
        async def work(self, ctx: Context, ev: Item) -> Done | StopEvent | None:  # type: ignore[override]
            return await stop(ctx, ev)

    with anyio.fail_after(5):
        assert await Flow().run() == "in the list"
        assert await Stopping().run() == "member 1"


async def test_fan_out_with_one_worker_and_plain_functions_nothing_waits_for_itself() -> None:
    class Flow(Workflow):
        @step(num_workers=1)
        def split(self, ev: StartEvent) -> list[Item]:
            return [Item(n=0), Item(n=1)]

        @step(num_workers=1)
        def work(self, ctx: Context, ev: Item) -> list[Extra]:
            ctx.send_event(Done(n=100 + ev.n))
            return [Extra(n=ev.n), Extra(n=ev.n + 10)]

        @step(num_workers=1)
        def inner(self, evs: list[Extra]) -> Done:
            return Done(n=sum(ev.n for ev in evs))

        @step(num_workers=1)
        def join(self, ctx: Context, evs: list[Done]) -> StopEvent:
            return StopEvent(result=[ctx.step_name, *sorted(ev.n for ev in evs)])

    with anyio.fail_after(5):
        assert await Flow().run() == ["join", 10, 12, 100, 101]
