"""What has come of the lists of one step is cancelled by the name of the step, and the run goes on."""

import anyio
from durable import Answer, settled
from fanning import Done, Extra, Fan, Gates, Item, cancelled
from running import never

from anyio_workflows import (
    Context,
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCheckpointer,
    step,
)


async def test_cancel_part_a_fan_out_is_cancelled_and_joined_with_what_has_come() -> None:
    gates = Gates()
    handler = Fan(gates.member, size=20).run()
    with anyio.fail_after(5):
        async with handler:
            gates.open(3, 1)
            await settled()
            assert handler.cancel_fan_out("split", "enough") == 18
            assert handler.cancel_fan_out("split", "again") == 0
        assert await handler == [1, 3] or await handler == [3, 1]
    assert sorted(gates.begun) == list(range(10))
    assert {reason for _, _, reason in await cancelled(handler)} == {"enough"}


async def test_cancel_part_a_member_may_cancel_its_fan_out() -> None:
    async def cancel(ctx: Context, ev: Item) -> Done:
        if ev.n == 1:
            ctx.send_event(Done(n=1))
            assert ctx.cancel_fan_out("split", "found it") == 3
        await never()
        raise AssertionError

    with anyio.fail_after(5):
        assert await Fan(cancel, size=3).run() == [1]


async def test_cancel_part_who_waits_for_a_place_gets_that_of_a_cancelled_event_in_line() -> None:
    """Also while the only worker goes on with something else."""
    sent = anyio.Event()

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Item:
            return Item(n=9)

        @step
        async def split(self, ev: Extra) -> list[Item]:
            return [Item(n=0)]

        @step
        async def send(self, ctx: Context, ev: Done) -> Item | None:
            await ctx.send(Item(n=1))
            sent.set()
            return None

        @step(num_workers=1, max_pending=2)
        async def work(self, ev: Item) -> StopEvent:
            return await never()  # type: ignore[no-any-return]

    handler = Flow(extra_events=[Extra, Done]).run()
    with anyio.fail_after(5):
        async with handler:
            await settled()
            handler.send_event(Extra(n=0))
            await settled()
            handler.send_event(Done(n=0))
            await settled()
            assert not sent.is_set()
            assert handler.cancel_fan_out("split") == 1
            await sent.wait()
            await handler.cancel_run()


async def test_cancel_part_every_fan_out_of_a_step_is_cancelled_and_each_is_joined() -> None:
    class Flow(Workflow):
        @step
        async def split(self, ev: StartEvent) -> list[Extra]:
            return [Extra(n=0), Extra(n=1)]

        @step
        async def again(self, ev: Extra) -> list[Item]:
            return [Item(n=10 * ev.n + k) for k in range(3)]

        @step
        async def work(self, ev: Item) -> Done:
            if ev.n % 10:
                await never()
            return Done(n=ev.n)

        @step
        async def inner(self, evs: list[Done]) -> Sum:
            return Sum(n=len(evs))

        @step
        async def join(self, evs: list[Sum]) -> StopEvent:
            return StopEvent(result=[ev.n for ev in evs])

    handler = Flow().run()
    with anyio.fail_after(5):
        async with handler:
            await settled()
            handler.cancel_fan_out("again")
        assert await handler in ([1, 1], [1, 0])


class Sum(Event):
    n: int


async def test_cancel_part_what_is_cancelled_is_not_taken_up_by_a_run_that_goes_on() -> None:
    """From the very moment of the cancellation on, also while clean-ups go on; its join is."""
    gates = Gates()
    workflow = Fan(gates.member, size=12)
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    handler = checkpointer.run()
    with anyio.fail_after(5):
        async with handler:
            gates.open(5)
            await settled()
            handler.cancel_fan_out("split", "enough")
            cut = handler.checkpoint()
        assert await handler == [5]
        assert cut.pending == ()
        gates.begun.clear()
        for each in (cut, checkpointer.loads(checkpointer.dumps(cut))):
            assert await checkpointer.run_from(each) == [5]
        assert gates.begun == []


async def test_cancel_part_waits_that_a_run_goes_on_with_are_closed_with_what_is_cancelled() -> None:
    """In line or in work, before it has come to its wait: nobody else's answer goes there."""
    gate = anyio.Event()
    begun = anyio.Event()
    is_second_life = False

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Item | Done | None:
            for n in range(2):
                ctx.send_event(Item(n=n))
            return Done(n=0)

        @step(cancellable=True, num_workers=1, waits_for=Answer)
        async def first(self, ctx: Context, ev: Item) -> None:
            if is_second_life:
                begun.set()
                await never()
            await ctx.wait_for_event(Answer)
            raise AssertionError

        @step(waits_for=Answer)
        async def second(self, ctx: Context, ev: Done) -> StopEvent:
            await gate.wait()
            return StopEvent(result=(await ctx.wait_for_event(Answer)).text)

    checkpointer = WorkflowCheckpointer(workflow=Flow())
    handler = checkpointer.run()
    with anyio.fail_after(5):
        async with handler:
            await settled()
            cut = handler.checkpoint()
            await handler.cancel_run()
        is_second_life = True
        handler = checkpointer.run_from(checkpointer.loads(checkpointer.dumps(cut)))
        async with handler:
            await begun.wait()
            assert handler.cancel_step("first") == 2
            gate.set()
            await settled()
            handler.send_event(Answer(text="to the second"))
            later = handler.checkpoint()
        assert await handler == "to the second"
        assert [each.step for each in later.pending] == ["second"]
