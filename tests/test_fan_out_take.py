"""``Take(n)`` joins as soon as there are n; what is left goes on, or is cancelled wherever it is."""

from typing import Annotated

import anyio
import pytest
from durable import settled
from fanning import Done, Extra, Fan, FirstTwo, Gates, Item
from running import events_of

from anyio_workflows import (
    Collect,
    StartEvent,
    StopEvent,
    Take,
    step,
)


class TakeTwo(Fan):
    """Goes on with two, and lets the others go on too."""

    @step
    async def join(self, evs: Annotated[list[Done], Collect(Take(2))]) -> Extra:  # type: ignore[override]
        self.joined.append([ev.n for ev in evs])
        return Extra(n=0)

    @step
    async def end(self, ev: Extra) -> StopEvent | None:
        return None


async def test_fan_out_take_joins_with_the_first_and_drops_what_comes_later() -> None:
    gates = Gates()
    workflow = TakeTwo(gates.member, size=4)
    handler = workflow.run()
    with anyio.fail_after(5):
        async with handler:
            gates.open(3)
            await settled()
            assert workflow.joined == []
            gates.open(1)
            await settled()
            assert workflow.joined == [[3, 1]]
            gates.open(0, 2)
            await settled()
            handler.send_event(StopEvent(result="end"))
    assert workflow.joined == [[3, 1]]
    assert sorted(gates.begun) == [0, 1, 2, 3]
    assert [
        event for event in await events_of(handler, expose_internal=True) if "Unhandled" in repr(event)
    ] == []


@pytest.mark.parametrize("size", [0, 1, 2])
async def test_fan_out_take_joins_with_fewer_if_no_more_come(size: int) -> None:
    with anyio.fail_after(5):
        assert await FirstTwo(size=size).run() == list(range(size))


async def test_fan_out_take_takes_the_first_to_come_in_the_order_of_emission() -> None:
    """Which ones is arrival's to say, in which order the list's."""
    gates = Gates()

    class Flow(Fan):
        @step
        async def join(self, evs: Annotated[list[Done], Collect(Take(2), order="emission")]) -> StopEvent:
            return StopEvent(result=[ev.n for ev in evs])

    handler = Flow(gates.member, size=3).run()
    with anyio.fail_after(5):
        async with handler:
            for n in (2, 0):
                gates.open(n)
                await settled()
        assert await handler == [0, 2]


async def test_fan_out_what_is_left_keeps_the_fan_out_around_it_open() -> None:
    """An outer join waits for everything inside, also if nobody wants it."""
    gates = Gates()

    class Flow(Fan):
        @step
        async def split(self, ev: StartEvent) -> list[Extra]:  # type: ignore[override]
            return [Extra(n=0), Extra(n=1)]

        @step
        async def again(self, ev: Extra) -> list[Item]:
            return [Item(n=10 * ev.n + k) for k in range(2)]

        @step
        async def inner(self, evs: Annotated[list[Done], Collect(Take(1))]) -> Sum:
            (ev,) = evs
            return Sum(n=ev.n)

        @step
        async def join(self, evs: list[Sum]) -> StopEvent:  # type: ignore[override]
            return StopEvent(result=sorted(ev.n for ev in evs))

    handler = Flow(gates.member).run()
    with anyio.fail_after(5):
        async with handler:
            gates.open(0, 10, 11)
            await settled()
            assert not handler.is_done()
            gates.open(1)
        assert await handler in ([0, 10], [0, 11])


class Sum(Extra):
    pass
