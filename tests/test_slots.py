"""A step with several event parameters is called when there is an event for each."""

from typing import Annotated, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from durable import settled
from fanning import Done, Item

from anyio_workflows import (
    Collect,
    Context,
    Event,
    StartEvent,
    StopEvent,
    Take,
    UnhandledEvent,
    Workflow,
    WorkflowCheckpointer,
    WorkflowStalledError,
    step,
)


class Left(Event):
    n: int


class Right(Event):
    n: int


class Special(Left):
    pass


class Both(Event):
    pair: tuple[int, int]


class Sent(Workflow):
    """Sends what it is started with, and gives the pairs that have met."""

    def __init__(self, **options: Any) -> None:
        super().__init__(extra_events=[Left, Right, Special], **options)
        self.met: list[tuple[int, int]] = []

    @step
    async def send(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
        for event in ev.events:
            ctx.send_event(event)
        await settled()
        return StopEvent(result=self.met)

    @step(num_workers=1)
    async def meet(self, left: Left, right: Right) -> None:
        self.met.append((left.n, right.n))


@pytest.mark.parametrize(
    ("events", "met"),
    [
        ([Left(n=1), Right(n=2)], [(1, 2)]),
        ([Right(n=2), Left(n=1)], [(1, 2)]),
        ([Left(n=1), Left(n=2), Right(n=3), Right(n=4)], [(1, 3), (2, 4)]),
        ([Left(n=1), Left(n=2)], []),
    ],
    ids=str,
)
async def test_slots_events_meet_in_the_order_in_which_they_come(
    events: list[Event], met: list[tuple[int, int]]
) -> None:
    with anyio.fail_after(5):
        assert await Sent().run(events=events) == met


async def test_slots_two_of_one_type_are_the_first_and_the_second() -> None:
    class Flow(Sent):
        @step(num_workers=1)
        async def meet(self, right: Left, ctx: Context, left: Left) -> None:  # type: ignore[override]
            self.met.append((right.n, left.n))

    events = [Left(n=n) for n in range(5)]
    with anyio.fail_after(5):
        assert await Flow().run(events=events) == [(0, 1), (2, 3)]


@pytest.mark.parametrize("with_subclasses", [False, True])
async def test_slots_a_subclass_goes_where_its_own_class_is_asked_for(with_subclasses: bool) -> None:
    class Flow(Sent):
        @step(num_workers=1, accept_event_subclasses=with_subclasses)
        async def meet(self, left: Left, special: Special) -> None:  # type: ignore[override]
            self.met.append((left.n, special.n))

    with anyio.fail_after(5):
        assert await Flow().run(events=[Special(n=1), Left(n=2)]) == [(2, 1)]


async def test_slots_a_plain_function_and_one_that_is_named_as_target_are_called_as_well() -> None:
    class Flow(Workflow):
        @step
        async def send(self, ctx: Context, ev: StartEvent) -> Left | Right | None:
            ctx.send_event(Left(n=1), step="meet")
            await ctx.send(Right(n=2), step="meet")
            return None

        @step
        def meet(self, left: Left, ctx: Context, right: Right) -> StopEvent:
            return StopEvent(result=[ctx.step_name, left.n, right.n])

    with anyio.fail_after(5):
        assert await Flow().run() == ["meet", 1, 2]


async def test_slots_what_has_met_nobody_is_named_by_a_stall() -> None:
    class Flow(Workflow):
        @step
        async def send(self, ctx: Context, ev: StartEvent) -> Left | Right | None:
            return Left(n=1)

        @step
        async def meet(self, left: Left, right: Right, again: Right) -> StopEvent: ...  # type: ignore[empty-body]

    with anyio.fail_after(5), pytest.raises(WorkflowStalledError) as caught:
        await Flow().run()
    assert caught.value.report.collections == (  # type: ignore[attr-defined]
        "step 'meet' has Left for 'left', and nothing for 'right' and 'again'",
    )


class InMembers(Workflow):
    """Each member splits in two, which meet again, however late."""

    @step
    async def split(self, ev: StartEvent) -> list[Item]:
        return [Item(n=n) for n in range(4)]

    @step
    async def left(self, ev: Item) -> Left:
        for _ in range(5 - ev.n):
            await checkpoint()
        return Left(n=ev.n)

    @step
    async def right(self, ev: Item) -> Right:
        for _ in range(ev.n):
            await checkpoint()
        return Right(n=ev.n)

    @step
    async def meet(self, left: Left, right: Right) -> Both:
        return Both(pair=(left.n, right.n))

    @step
    async def join(self, evs: Annotated[list[Both], Collect(order="emission")]) -> StopEvent:
        return StopEvent(result=[ev.pair for ev in evs])


async def test_slots_in_a_fan_out_those_of_one_member_meet() -> None:
    """Unlike in LlamaIndex Workflows, which mixes members."""
    with anyio.fail_after(5):
        assert await InMembers().run() == [(n, n) for n in range(4)]


async def test_slots_the_idempotency_key_of_a_pair_does_not_depend_on_who_came_last() -> None:
    keys: dict[bool, str] = {}

    class Flow(Workflow):
        @step
        async def send(self, ctx: Context, ev: StartEvent) -> Left | Right | None:
            events = [Left(n=1), Right(n=2)]
            for event in reversed(events) if ev.is_reversed else events:
                ctx.send_event(event)
            return None

        @step
        async def meet(self, ctx: Context, left: Left, right: Right) -> StopEvent:
            return StopEvent(result=ctx.idempotency_key)

    for is_reversed in (False, True):
        checkpointer = WorkflowCheckpointer(workflow=Flow())
        with anyio.fail_after(5):
            keys[is_reversed] = await checkpointer.run(run_id="r", is_reversed=is_reversed)
    assert keys[False] == keys[True]


async def test_slots_what_meets_nobody_by_the_end_of_its_fan_out_is_handled_by_nobody() -> None:
    class Flow(Workflow):
        @step
        async def split(self, ev: StartEvent) -> list[Left | Right]:
            return [Left(n=1), Right(n=2), Right(n=3)]

        @step
        async def meet(self, left: Left, right: Right) -> Both: ...  # type: ignore[empty-body]

        @step
        async def join(self, evs: list[Both]) -> StopEvent:
            return StopEvent(result=len(evs))

    checkpointer = WorkflowCheckpointer(workflow=Flow())
    handler = checkpointer.run()
    with anyio.fail_after(5):
        async with handler:
            events = [event async for event in handler.stream_events(expose_internal=True)]
        assert await handler == 0
        for cut in checkpointer.checkpoints[handler.run_id]:
            assert await checkpointer.run_from(checkpointer.loads(checkpointer.dumps(cut))) == 0
    unhandled = [event for event in events if isinstance(event, UnhandledEvent)]
    assert [(event.event_type, event.step_name) for event in unhandled] == [
        ("Left", "meet"),
        ("Right", "meet"),
        ("Right", "meet"),
    ]


async def test_slots_every_cut_of_a_run_with_pairs_is_one_to_go_on_from() -> None:
    checkpointer = WorkflowCheckpointer(workflow=InMembers())
    with anyio.fail_after(10):
        handler = checkpointer.run()
        result = await handler
        for cut in checkpointer.checkpoints[handler.run_id]:
            again = checkpointer.loads(checkpointer.dumps(cut))
            assert await checkpointer.run_from(again) == result


async def test_slots_a_pair_of_a_cancelled_rest_is_not_made() -> None:
    class Flow(InMembers):
        @step
        async def join(self, evs: Annotated[list[Both], Collect(Take(1, cancel_rest=True))]) -> Done:  # type: ignore[override]
            return Done(n=len(evs))

        @step
        async def end(self, ev: Done) -> StopEvent | None:
            await settled()
            return StopEvent(result=ev.n)

    handler = Flow().run()
    with anyio.fail_after(5):
        assert await handler == 1
    ledger: Any = handler._run.ledger
    assert (ledger.fan_outs, ledger.meetings.waiting) == ({}, {})
