"""S-SEND-4: a sender waits while a receiver has too much to do, and memory stays constant."""

import gc
import tracemalloc
import weakref

import anyio
from anyio.lowlevel import checkpoint

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step


class Item(Event):
    number: int


class Other(Event):
    number: int = 0


class Ready(Event):
    """Sent by a test from outside."""


class Pressed(Workflow):
    """Sends 5 items with back-pressure to a step that is held up by the test."""

    def __init__(self) -> None:
        self.sent = 0
        self.gates = [anyio.Event() for _ in range(5)]
        super().__init__()

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Item | None:
        for number in range(5):
            await ctx.send(Item(number=number))
            self.sent += 1
        return None

    @step(num_workers=1, max_pending=2)
    async def take(self, ev: Item) -> StopEvent | None:
        await self.gates[ev.number].wait()
        return StopEvent() if ev.number == 4 else None

    @step
    async def watch(self, ev: Item) -> None:
        """Accepts everything at once, and keeps nobody from waiting for the other."""


async def test_s_send_4_send_waits_while_a_receiver_has_max_pending_deliveries_pending() -> None:
    """In line or in work, at any of the receivers; each that ends lets one more in."""
    workflow = Pressed()
    with anyio.fail_after(10):
        async with workflow.run():
            for ended in range(3):
                await anyio.wait_all_tasks_blocked()
                assert workflow.sent == ended + 2
                workflow.gates[ended].set()
            await anyio.wait_all_tasks_blocked()
            assert workflow.sent == 5
            workflow.gates[3].set()
            workflow.gates[4].set()


async def test_s_send_4_without_max_pending_a_burst_of_64_does_not_wait() -> None:
    """The default is documented with `step`."""

    class Bursting(Workflow):
        sent = 0

        @step
        async def start(self, ctx: Context, ev: StartEvent) -> Item | None:
            for number in range(70):
                await ctx.send(Item(number=number))
                Bursting.sent += 1
            return None

        @step
        async def take(self, ctx: Context, ev: Item) -> StopEvent:
            await ctx.wait_for_event(Ready)
            return StopEvent()

    with anyio.fail_after(5):
        async with Bursting().run() as handler:
            await anyio.wait_all_tasks_blocked()
            assert Bursting.sent == 64
            handler.send_event(Ready())


async def test_s_send_4_send_to_a_step_by_name_waits_for_that_step_alone() -> None:
    """Another that accepts the event and is full is nothing to wait for."""

    class Named(Workflow):
        @step
        async def start(self, ctx: Context, ev: StartEvent) -> Item | None:
            ctx.send_event(Item(number=0), step="full")
            await ctx.send(Item(number=1), step="free")
            return None

        @step(max_pending=1)
        async def full(self, ctx: Context, ev: Item) -> None:
            await ctx.wait_for_event(Ready)

        @step
        async def free(self, ev: Item) -> StopEvent:
            return StopEvent(result=ev.number)

    with anyio.fail_after(5):
        assert await Named().run() == 1


async def test_s_send_4_a_cancelled_send_sends_nothing_and_leaves_its_turn_to_the_next() -> None:
    """Two wait; the first gives up, and the second gets the place that becomes free."""
    gate = anyio.Event()
    scope = anyio.CancelScope()
    taken: list[int] = []

    class Giving(Workflow):
        @step
        async def start(self, ctx: Context, ev: StartEvent) -> Item | Other | None:
            ctx.send_event(Item(number=0))
            ctx.send_event(Other(number=1))
            return None

        @step
        async def patient(self, ctx: Context, ev: Other) -> None:
            async def impatient() -> None:
                with scope:
                    await ctx.send(Item(number=1))
                assert scope.cancelled_caught

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(impatient)
                await anyio.wait_all_tasks_blocked()
                tasks.start_soon(ctx.send, Item(number=2))

        @step(num_workers=1, max_pending=1)
        async def take(self, ev: Item) -> StopEvent | None:
            taken.append(ev.number)
            await gate.wait()
            return StopEvent() if ev.number == 2 else None

    with anyio.fail_after(5):
        async with Giving().run():
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await anyio.wait_all_tasks_blocked()
            gate.set()
    assert taken == [0, 2]


class Counted(Event, eq=False):
    """Counts how many of its kind are alive."""

    number: int
    payload: bytes


class Pipeline(Workflow):
    """Source, two stages and a sink; every link is fed with back-pressure."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.seen = 0
        self.alive: weakref.WeakSet[Event] = weakref.WeakSet()
        self.most_alive = 0
        super().__init__()

    def make(self, number: int) -> Counted:
        event = Counted(number=number, payload=bytes(1000))
        self.alive.add(event)
        self.most_alive = max(self.most_alive, len(self.alive))
        return event

    @step
    async def source(self, ctx: Context, ev: StartEvent) -> Counted | None:
        for number in range(self.count):
            await ctx.send(self.make(number), step="double")
        return None

    @step(num_workers=2, max_pending=8)
    async def double(self, ctx: Context, ev: Counted) -> Counted | None:
        await ctx.send(self.make(2 * ev.number), step="sink")
        return None

    @step(num_workers=2, max_pending=8)
    async def sink(self, ctx: Context, ev: Counted) -> StopEvent | None:
        await checkpoint()
        self.seen += 1
        return StopEvent(result=self.seen) if self.seen == self.count else None


async def test_s_send_4_a_pipeline_holds_no_more_events_than_its_steps_have_places() -> None:
    """However many events pass through: none is kept by the run, its stream or its ledger."""
    workflow = Pipeline(2000)
    with anyio.fail_after(20):
        assert await workflow.run() == 2000
    # 8 places at each of two steps, and the one that waits for a place at each of them.
    assert workflow.most_alive <= 8 + 8 + 4


async def test_s_send_4_a_pipeline_runs_in_constant_memory() -> None:
    """Five times the events: the same peak, where keeping events of 1 kB each would add 400 kB."""

    async def peak(count: int) -> int:
        gc.collect()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        with anyio.fail_after(20):
            await Pipeline(count).run()
        return tracemalloc.get_traced_memory()[1] - before

    await Pipeline(50).run()
    tracemalloc.start()
    try:
        few, many = await peak(100), await peak(500)
    finally:
        tracemalloc.stop()
    assert many < few + 100_000
