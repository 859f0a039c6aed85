"""``Take(n, cancel_rest=True)``: what is left of a fan-out is cancelled wherever it is."""

import threading
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import anyio
import pytest
import tenacity
from anyio import CapacityLimiter
from anyio.lowlevel import checkpoint
from durable import settled
from fanning import Done, Extra, Fan, FirstTwo, Gates, Item
from running import events_of, never

from anyio_workflows import (
    Collect,
    Context,
    RetryPolicy,
    StartEvent,
    StepCancelledEvent,
    StopEvent,
    Take,
    Workflow,
    WorkflowCheckpointer,
    WorkflowRuntimeError,
    WorkflowStalledError,
    step,
)
from anyio_workflows.stores import MemoryCheckpointStore


class Sum(Extra):
    pass


class Rest(Workflow):
    """Two of its four members come at once, the others do *wait*; then the join looks at what became of them."""

    def __init__(self, wait: Callable[[Context], Awaitable[Any]], **options: Any) -> None:
        super().__init__(extra_events=[Extra], **options)
        self.wait = wait
        self.log: list[str] = []
        self.contexts: list[Context] = []
        self.waiting = 0
        self.all_wait = anyio.Event()

    @step
    async def split(self, ev: StartEvent) -> list[Item]:
        return [Item(n=n) for n in range(4)]

    @step(num_workers=4)
    async def work(self, ctx: Context, ev: Item) -> Done | None:
        if ev.n < 2:
            await self.all_wait.wait()
            return Done(n=ev.n)
        self.contexts.append(ctx)
        self.waiting += 1
        if self.waiting == 2:
            self.all_wait.set()
        try:
            await self.wait(ctx)
        finally:
            with anyio.CancelScope(shield=True):
                await checkpoint()
            self.log.append(f"{ev.n} cleaned up")
        return Done(n=ev.n)

    @step
    async def full(self, ctx: Context, ev: Extra) -> None:
        await self.all_wait.wait()
        await never()

    @step
    async def join(self, evs: Annotated[list[Done], Collect(Take(2, cancel_rest=True))]) -> StopEvent:
        await settled()
        return StopEvent(result=sorted(ev.n for ev in evs))


async def in_edit_state(ctx: Context) -> None:
    async with ctx.store.edit_state() as state:
        state["changed"] = True
        await never()


async def in_send(ctx: Context) -> None:
    while True:
        await ctx.send(Extra(n=0))


async def in_child(ctx: Context) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(never)


async def in_wait(ctx: Context) -> None:
    await ctx.wait_for_event(Extra)


@pytest.mark.parametrize("wait", [never, in_edit_state, in_send, in_child, in_wait])
async def test_fan_out_the_rest_is_cancelled_wherever_it_waits(
    wait: Callable[[Context], Awaitable[Any]],
) -> None:
    """Clean-ups run, nothing of the rest is left, and its contexts are of no use any more."""
    workflow = Rest(wait)
    handler = workflow.run()
    with anyio.fail_after(5):
        async with handler:
            pass
        assert await handler == [0, 1]
    assert sorted(workflow.log) == ["2 cleaned up", "3 cleaned up"]
    assert handler.state.get("changed") is None
    for ctx in workflow.contexts:
        with pytest.raises(WorkflowRuntimeError, match="after its execution of step 'work' had ended"):
            ctx.send_event(Done(n=9))
    cancelled = [
        event
        for event in await events_of(handler, expose_internal=True)
        if isinstance(event, StepCancelledEvent)
    ]
    at_work = [event for event in cancelled if event.step_name == "work"]
    assert [event.input_event for event in at_work] == [Item(n=2), Item(n=3)]
    assert {event.reason for event in cancelled} == {"step 'join' has taken 2 of it"}


async def test_fan_out_the_rest_in_line_never_begins() -> None:
    """One worker: two have been worked on, the others have not, and nobody waits for a place behind them."""
    gates = Gates()

    class Flow(FirstTwo):
        @step(num_workers=1)
        async def work(self, ctx: Context, ev: Item) -> Done:
            return await gates.member(ctx, ev)

        @step
        async def join(  # type: ignore[override]
            self, ctx: Context, evs: Annotated[list[Done], Collect(Take(2, cancel_rest=True))]
        ) -> Extra:
            return Extra(n=7)

        @step
        async def again(self, ctx: Context, ev: Extra) -> Item | None:
            await ctx.send(Item(n=ev.n))
            return None

        @step
        async def end(self, ev: Done) -> StopEvent | None:
            return StopEvent(result=ev.n) if ev.n == 7 else None

    handler = Flow(size=500).run()
    with anyio.fail_after(5):
        async with handler:
            gates.open(0, 1, 7)
            assert await handler == 7
            statistics = handler.limiter("work").statistics()
    assert gates.begun == [0, 1, 7]
    assert statistics.borrowed_tokens <= 1


async def test_fan_out_a_cancelled_rest_makes_room_for_a_sender() -> None:
    """Who stands in `ctx.send` behind the rest goes on when that is gone."""

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> list[Item]:
            ctx.send_event(Extra(n=0))
            return [Item(n=n) for n in range(4)]

        @step
        async def beside(self, ctx: Context, ev: Extra) -> Item | None:
            await settled()
            await ctx.send(Item(n=9))
            return None

        @step(num_workers=1, max_pending=1)
        async def work(self, ev: Item) -> Done:
            await settled()
            return Done(n=ev.n)

        @step
        async def end(self, ev: Done) -> StopEvent | None:
            return StopEvent(result="sent") if ev.n == 9 else None

        @step
        async def join(self, evs: Annotated[list[Done], Collect(Take(1, cancel_rest=True))]) -> None:
            return None

    with anyio.fail_after(5):
        assert await Flow(extra_events=[Extra]).run() == "sent"


@pytest.mark.blocks_on_purpose
async def test_fan_out_a_rest_in_a_thread_ends_when_its_function_returns() -> None:
    gate = threading.Event()
    begun = threading.Event()
    returned: list[int] = []

    class Flow(FirstTwo):
        @step
        def work(self, ctx: Context, ev: Item) -> Done:  # type: ignore[override]
            if ev.n == 2:
                begun.set()
                gate.wait(5)
                returned.append(ev.n)
            else:
                begun.wait(5)
            return Done(n=ev.n)

        @step
        async def join(self, evs: Annotated[list[Done], Collect(Take(2, cancel_rest=True))]) -> Extra:  # type: ignore[override]
            gate.set()
            return Extra(n=len(evs))

        @step
        async def end(self, ev: Extra) -> StopEvent:
            return StopEvent(result=ev.n)

    with anyio.fail_after(5):
        assert await Flow(size=3).run() == 2
    assert returned == [2]


async def test_fan_out_a_rest_that_waits_for_its_next_attempt_is_cancelled() -> None:
    class Flow(Fan):
        @step(retry_policy=RetryPolicy(wait=tenacity.wait_fixed(1_000)))
        async def work(self, ctx: Context, ev: Item) -> Done | None:
            if ev.n > 1:
                raise ValueError
            await settled()
            return Done(n=ev.n)

        @step
        async def join(self, evs: Annotated[list[Done], Collect(Take(2, cancel_rest=True))]) -> Extra:  # type: ignore[override]
            return Extra(n=len(evs))

        @step
        async def end(self, ev: Extra) -> None:
            return None

        @step
        async def never(self, evs: list[Item]) -> StopEvent: ...  # type: ignore[empty-body]

    with anyio.fail_after(5), pytest.raises(WorkflowStalledError, match="every step has returned"):
        await Flow(size=5, skip_graph_checks=["dead_end"]).run()


async def test_fan_out_the_rest_on_a_shared_limiter_gives_its_token_back() -> None:
    shared = CapacityLimiter(3)

    class Flow(FirstTwo):
        @step(limiter=shared, num_workers=8)
        async def work(self, ctx: Context, ev: Item) -> Done:
            if ev.n > 1:
                await never()
            return Done(n=ev.n)

    workflow = Flow(size=20)
    with anyio.fail_after(5):
        for _ in range(3):
            assert await workflow.run() == [0, 1]
    assert shared.borrowed_tokens == 0


class Nested(Workflow):
    """A race of two fan-outs: the members of the second, and its join, are the rest of the outer one."""

    def __init__(self) -> None:
        super().__init__()
        self.inner_joined: list[int] = []

    @step
    async def split(self, ev: StartEvent) -> list[Extra]:
        return [Extra(n=0), Extra(n=1)]

    @step
    async def again(self, ev: Extra) -> list[Item]:
        return [Item(n=10 * ev.n + k) for k in range(3)]

    @step(num_workers=2)
    async def work(self, ev: Item) -> Done:
        if ev.n >= 10:
            await never()
        return Done(n=ev.n)

    @step
    async def inner(self, evs: list[Done]) -> Sum:
        self.inner_joined.append(len(evs))
        return Sum(n=evs[0].n)

    @step
    async def join(self, evs: Annotated[list[Sum], Collect(Take(1, cancel_rest=True))]) -> StopEvent:
        await settled()
        return StopEvent(result=len(evs))


async def test_fan_out_the_rest_is_everything_that_comes_of_it_its_inner_joins_too() -> None:
    workflow = Nested()
    with anyio.fail_after(5):
        assert await workflow.run() == 1
    assert workflow.inner_joined == [3]


async def test_fan_out_what_a_clean_up_of_the_rest_sends_is_worked_on_by_nobody() -> None:
    async def send(ctx: Context) -> None:
        try:
            await never()
        finally:
            ctx.send_event(Item(n=99))

    workflow = Rest(send)
    with anyio.fail_after(5):
        assert await workflow.run() == [0, 1]
    assert sorted(workflow.log) == ["2 cleaned up", "3 cleaned up"]


async def test_fan_out_a_rest_that_swallows_its_cancellation_gives_nothing() -> None:
    async def swallow(ctx: Context) -> None:
        try:
            await never()
        except anyio.get_cancelled_exc_class():
            pass

    with anyio.fail_after(5):
        assert await Rest(swallow).run() == [0, 1]


async def test_fan_out_a_clean_up_of_the_rest_that_raises_fails_the_run() -> None:
    async def fail(ctx: Context) -> None:
        try:
            await never()
        finally:
            raise ValueError("in the clean-up")

    workflow = Rest(fail)
    handler = workflow.run()
    with anyio.fail_after(5), pytest.raises(ValueError, match="in the clean-up"):
        await handler
    assert handler.failures


async def test_fan_out_what_the_rest_has_put_into_collections_is_withdrawn() -> None:
    """It goes to nobody, and a collection that another step of the kind begins is its own."""

    class Flow(FirstTwo):
        @step(num_workers=8)
        async def work(self, ctx: Context, ev: Item) -> Done | None:
            if ev.n > 1:
                assert ctx.collect_events(ev, [Item] * 3) is None
                await never()
            await settled()
            return Done(n=ev.n)

        @step
        async def join(self, evs: Annotated[list[Done], Collect(Take(2, cancel_rest=True))]) -> Extra:  # type: ignore[override]
            await settled()
            return Extra(n=2)

        @step
        async def end(self, ev: Extra) -> None: ...

        @step
        async def stop(self, evs: list[Item]) -> StopEvent | None: ...

    with anyio.fail_after(5), pytest.raises(Exception) as caught:
        await Flow(size=4, skip_graph_checks=["dead_end"]).run()
    report: Any = caught.value.report  # type: ignore[attr-defined]
    assert (report.collections, report.pending) == ((), ())


async def test_fan_out_a_run_that_is_cancelled_while_its_rest_cleans_up_ends_cancelled() -> None:
    cleaning = anyio.Event()
    gate = anyio.Event()

    async def clean_slowly(ctx: Context) -> None:
        try:
            await never()
        finally:
            cleaning.set()
            with anyio.CancelScope(shield=True):
                await gate.wait()

    class Flow(Rest):
        @step
        async def join(self, evs: Annotated[list[Done], Collect(Take(2, cancel_rest=True))]) -> StopEvent:
            await never()
            raise AssertionError

    handler = Flow(clean_slowly).run()
    with anyio.fail_after(5):
        with anyio.CancelScope() as scope:
            async with handler:
                await cleaning.wait()
                gate.set()
                scope.cancel()
        assert scope.cancelled_caught
    assert handler.is_done()


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_fan_out_a_rest_that_swallows_its_cancellation_is_over_in_a_kept_run_too(
    durability: Any,
) -> None:
    async def swallow(ctx: Context) -> None:
        try:
            await never()
        except anyio.get_cancelled_exc_class():
            pass

    workflow = Rest(swallow)
    with anyio.fail_after(5):
        async with MemoryCheckpointStore() as store:
            checkpointer = WorkflowCheckpointer(workflow=workflow, store=store, durability=durability)
            assert await checkpointer.run(run_id="r") == [0, 1]
            assert await (await checkpointer.resume("r")) == [0, 1]
    for ctx in workflow.contexts:
        with pytest.raises(WorkflowRuntimeError, match="after its execution of step 'work' had ended"):
            ctx.send_event(Done(n=9))
