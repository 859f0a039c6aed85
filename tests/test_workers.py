"""S-WORK: how many executions there may be at once, in tasks and in threads, and who shares a limit."""

import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint

from anyio_workflows import (
    Context,
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowRuntimeError,
    WorkflowStepDoesNotExistError,
    step,
)


class Item(Event):
    number: int


class Go(Event):
    number: int = 0


class Crowd:
    """Counts who is in, and how many there were at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.inside = 0
        self.most = 0
        self.total = 0

    def __enter__(self) -> None:
        with self._lock:
            self.inside += 1
            self.total += 1
            self.most = max(self.most, self.inside)

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self.inside -= 1


# --- S-WORK-1: num_workers


@pytest.mark.parametrize("num_workers", [1, 3])
async def test_s_work_1_num_workers_is_reached_and_never_exceeded(num_workers: int) -> None:
    """Whatever the executions do: end at once, wait, wait for events, wait in child tasks."""
    crowd = Crowd()
    count = 300

    class Busy(Workflow):
        @step
        async def start(self, ctx: Context, ev: StartEvent) -> Item | None:
            for number in range(count):
                ctx.send_event(Item(number=number))
                if number % 7 == 0:
                    await checkpoint()
            return None

        @step(num_workers=num_workers, waits_for=Go)
        async def work(self, ctx: Context, ev: Item) -> StopEvent | None:
            with crowd:
                if ev.number % 5 == 1:
                    await checkpoint()
                if ev.number % 5 == 2:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(checkpoint)
            if ev.number % 5 == 3:  # a wait for an event is no work
                ctx.send_event(Item(number=-ev.number), step="answer")
                await ctx.wait_for_event(Go, requirements={"number": ev.number})
            with crowd:
                await checkpoint()
            return StopEvent() if ctx.collect_events(ev, {Item: count}) else None

        @step
        async def answer(self, ev: Item) -> Go | None:
            await checkpoint()
            return Go(number=-ev.number) if ev.number < 0 else None

    with anyio.fail_after(10):
        await Busy().run()
    assert crowd.most == num_workers
    assert crowd.total == 2 * count


async def test_s_work_1_each_run_has_its_own_workers() -> None:
    """Two runs of one workflow with one worker each: both are at work."""
    crowd = Crowd()
    both = anyio.Event()

    class Meeting(Workflow):
        @step(num_workers=1)
        async def meet(self, ev: StartEvent) -> StopEvent:
            with crowd:
                if crowd.inside == 2:
                    both.set()
                await both.wait()
            return StopEvent()

    workflow = Meeting()
    with anyio.fail_after(5):
        async with workflow.run(), workflow.run():
            pass


async def test_s_work_1_by_default_a_step_has_four_workers() -> None:
    """As in LlamaIndex Workflows."""
    crowd = Crowd()
    with anyio.fail_after(5):
        async with Gated(crowd).run(count=6) as handler:
            await anyio.wait_all_tasks_blocked()
            assert handler.limiter("work").statistics().total_tokens == 4
            assert crowd.inside == 4
            handler.send_event(StopEvent())


class Gated(Workflow):
    """Executions that begin in order and end when the test says so."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.gates = [anyio.Event() for _ in range(20)]
        super().__init__()

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Item | None:
        for number in range(ev.count):
            ctx.send_event(Item(number=number))
        return None

    @step
    async def work(self, ctx: Context, ev: Item) -> StopEvent | None:
        with self.crowd:
            await self.gates[ev.number].wait()
        return None


class GatedByOne(Gated):
    """One worker at first."""

    @step(num_workers=1)
    async def work(self, ctx: Context, ev: Item) -> StopEvent | None:
        with self.crowd:
            await self.gates[ev.number].wait()
        return None


async def test_s_work_1_the_limiter_tells_who_works() -> None:
    """It is the one that is really used, from before the first execution to the end of the run."""
    crowd = Crowd()
    workflow = Gated(crowd)
    with anyio.fail_after(5):
        async with workflow.run(count=2) as handler:
            limiter = handler.limiter("work")
            assert limiter.statistics().borrowed_tokens == 0
            await anyio.wait_all_tasks_blocked()
            assert limiter.statistics().borrowed_tokens == 2
            assert handler.limiter("work") is limiter
            assert handler.limiter("start") is not limiter
            workflow.gates[0].set()
            await anyio.wait_all_tasks_blocked()
            assert limiter.statistics().borrowed_tokens == 1
            with pytest.raises(WorkflowStepDoesNotExistError, match="no step 'wrok'"):
                handler.limiter("wrok")
            handler.send_event(StopEvent())
    assert limiter.statistics().borrowed_tokens == 0


async def test_s_work_1_a_token_taken_from_outside_is_one_worker_less() -> None:
    """A limiter that did not decide would let the work begin; given back, it begins."""
    crowd = Crowd()
    with anyio.fail_after(5):
        async with GatedByOne(crowd).run(count=1) as handler:
            async with handler.limiter("work"):
                await anyio.wait_all_tasks_blocked()
                assert crowd.inside == 0
            await anyio.wait_all_tasks_blocked()
            assert crowd.inside == 1
            handler.send_event(StopEvent())


async def test_s_work_1_raised_tokens_count_from_the_next_execution_on() -> None:
    """What is in line begins when the execution in work has ended, and none waits for a newcomer."""
    crowd = Crowd()
    workflow = GatedByOne(crowd)
    with anyio.fail_after(5):
        async with workflow.run(count=6) as handler:
            await anyio.wait_all_tasks_blocked()
            assert crowd.inside == 1
            handler.limiter("work").total_tokens = 3
            workflow.gates[0].set()
            await anyio.wait_all_tasks_blocked()
            assert crowd.inside == 3
            handler.send_event(StopEvent())


async def test_s_work_1_tokens_raised_before_the_first_delivery_count() -> None:
    """The limiter is there before anybody needs it."""
    crowd = Crowd()
    with anyio.fail_after(5):
        async with GatedByOne(crowd).run(count=6) as handler:
            handler.limiter("work").total_tokens = 5
            await anyio.wait_all_tasks_blocked()
            assert crowd.inside == 5
            handler.send_event(StopEvent())


async def test_s_work_1_lowered_tokens_count_from_the_next_execution_on() -> None:
    """Those in work go on; nobody follows them until there are few enough."""
    crowd = Crowd()
    workflow = Gated(crowd)
    with anyio.fail_after(5):
        async with workflow.run(count=10) as handler:
            await anyio.wait_all_tasks_blocked()
            handler.limiter("work").total_tokens = 1
            for number, inside in enumerate([3, 2, 1, 1, 1]):
                workflow.gates[number].set()
                await anyio.wait_all_tasks_blocked()
                assert crowd.inside == inside
            assert crowd.total == 6
            handler.send_event(StopEvent())


async def test_s_work_1_a_step_without_tokens_rests_until_it_gets_some() -> None:
    """Whoever lowers them to 0 stops the step for a while; that is no stall."""
    crowd = Crowd()
    workflow = Gated(crowd)
    with anyio.fail_after(5):
        async with workflow.run(count=6) as handler:
            await anyio.wait_all_tasks_blocked()
            handler.limiter("work").total_tokens = 0
            for gate in workflow.gates:
                gate.set()
            await anyio.wait_all_tasks_blocked()
            assert (crowd.inside, crowd.total) == (0, 4)
            handler.limiter("work").total_tokens = 1
            await anyio.wait_all_tasks_blocked()
            assert (crowd.inside, crowd.total) == (0, 6)
            handler.send_event(StopEvent())


# --- S-WORK-2: plain functions


async def test_s_work_2_a_plain_def_step_runs_in_a_worker_thread() -> None:
    """An async one in the event loop's."""

    class Threaded(Workflow):
        @step
        def start(self, ev: StartEvent) -> Item:
            return Item(number=threading.get_ident())

        @step
        async def end(self, ev: Item) -> StopEvent:
            return StopEvent(result=(ev.number, threading.get_ident()))

    with anyio.fail_after(5):
        worker, loop = await Threaded().run()
    assert loop == threading.get_ident()
    assert worker != loop


variable: ContextVar[str] = ContextVar("variable", default="nobody's")


async def test_s_work_2_a_thread_has_the_callers_context_variables() -> None:
    """What it sets is seen by no other execution and not by the caller."""

    class Threaded(Workflow):
        @step(num_workers=1)
        def start(self, ctx: Context, ev: StartEvent) -> Item | None:
            for number in range(2):
                ctx.send_event(Item(number=number))
            return None

        @step(num_workers=1)
        def look(self, ctx: Context, ev: Item) -> StopEvent | None:
            assert variable.get() == "the caller's"
            variable.set(f"step's {ev.number}")
            return StopEvent() if ev.number == 1 else None

    variable.set("the caller's")
    with anyio.fail_after(5):
        await Threaded().run()
    assert variable.get() == "the caller's"


async def test_s_work_2_a_thread_step_is_not_cancellable() -> None:
    """A run that is cancelled ends when its thread has returned, and not before."""
    release = threading.Event()
    returned: list[int] = []

    class Threaded(Workflow):
        @step
        def start(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.write_event_to_stream(Go())
            assert release.wait(5)
            returned.append(1)
            return StopEvent()

    with anyio.fail_after(5):
        async with Threaded().run() as handler, anyio.create_task_group() as tasks:
            async for _ in handler.stream_events():
                break
            tasks.start_soon(handler.cancel_run)
            await anyio.wait_all_tasks_blocked()
            assert not handler.is_done()
            release.set()
    assert returned == [1]
    assert handler.is_done()


async def test_s_work_2_the_calls_of_a_thread_step_are_done_when_they_return() -> None:
    """Send, stream and collect hop to the event loop and wait for it."""
    done: list[str] = []

    class Threaded(Workflow):
        @step
        def start(self, ctx: Context, ev: StartEvent) -> Item | None:
            with pytest.raises(WorkflowStepDoesNotExistError, match="no step 'wrok'"):
                ctx.send_event(Item(number=4), step="wrok")
            ctx.write_event_to_stream(Go(number=3))
            ctx.write_event_to_stream(None)
            done.append(f"{ctx.step_name} of {ctx.run_id}")
            ctx.send_event(Item(number=1))
            ctx.send_event(Item(number=2), step="work")  # which may end the run before this thread goes on
            return None

        @step(num_workers=1)
        def work(self, ctx: Context, ev: Item) -> StopEvent | None:
            items = ctx.collect_events(ev, [Item, Item])
            return None if items is None else StopEvent(result=items)

    with anyio.fail_after(5):
        async with Threaded().run(run_id="r1") as handler:
            streamed = [event async for event in handler.stream_events()]
    assert streamed == [Go(number=3), StopEvent(result=[Item(number=1), Item(number=2)])]
    assert done == ["start of r1"]


async def test_s_work_2_an_event_that_a_thread_sends_is_on_its_way_at_once() -> None:
    """The thread may wait for what follows from it, and a StopEvent decides the run at the call."""
    taken = threading.Event()

    class Threaded(Workflow):
        @step
        def start(self, ctx: Context, ev: StartEvent) -> Item | StopEvent:
            ctx.send_event(Item(number=1))
            assert taken.wait(5)
            ctx.send_event(StopEvent(result="sent"))
            return StopEvent(result="returned")

        @step
        async def work(self, ev: Item) -> None:
            taken.set()

    with anyio.fail_after(5):
        assert await Threaded().run() == "sent"


NOT_IN_A_THREAD: dict[str, Callable[[Context], object]] = {
    "store": lambda ctx: ctx.store,
    "wait_for_event": lambda ctx: ctx.wait_for_event(Go),
    "send": lambda ctx: ctx.send(Go()),
}


@pytest.mark.parametrize("method", NOT_IN_A_THREAD)
async def test_s_work_2_what_a_thread_step_cannot_do_is_a_clear_error(method: str) -> None:
    """At the call: a plain function cannot await what would raise later."""

    class Threaded(Workflow):
        @step
        def start(self, ctx: Context, ev: StartEvent) -> StopEvent:
            expected = (
                rf"ctx\.{method} cannot be used in step 'start', a plain function .*; make the step async"
            )
            with pytest.raises(WorkflowRuntimeError, match=expected):
                NOT_IN_A_THREAD[method](ctx)
            return StopEvent(result="went on")

    with anyio.fail_after(5):
        assert await Threaded().run() == "went on"


class Barrier(Workflow):
    """Goes on when *count* threads are at work at the same time."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.barrier = threading.Barrier(count)
        self.crowd = Crowd()
        super().__init__()

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Item | None:
        for number in range(2 * self.count):
            ctx.send_event(Item(number=number))
        return None

    @step(num_workers=50)
    def work(self, ctx: Context, ev: Item) -> StopEvent | None:
        with self.crowd:
            self.barrier.wait(5)
        return StopEvent() if ctx.collect_events(ev, {Item: 2 * self.count}) else None


async def test_s_work_2_num_workers_alone_bounds_the_number_of_threads() -> None:
    """AnyIO's default limiter would hold it to 40 for the whole process; 50 meet here, and never 51."""
    workflow = Barrier(50)
    with anyio.fail_after(10):
        await workflow.run()
    assert workflow.crowd.most == 50


async def test_s_work_2_anyios_default_thread_limiter_is_neither_asked_nor_used_up() -> None:
    """Nobody else who uses threads waits for a workflow's, or the other way round."""
    default = anyio.to_thread.current_default_thread_limiter()
    async with anyio.create_task_group() as tasks:
        busy = [object() for _ in range(int(default.available_tokens))]
        for borrower in busy:
            default.acquire_on_behalf_of_nowait(borrower)
        with anyio.fail_after(5):
            await Barrier(3).run()
        assert default.statistics().tasks_waiting == 0
        for borrower in busy:
            default.release_on_behalf_of(borrower)
        tasks.cancel_scope.cancel()


# --- S-WORK-3: shared limiters


COUNT = 20


def sharing(limiter: Any, crowd: Crowd, *, num_workers: int = 4) -> Workflow:
    """Return a workflow of two steps that share *limiter* and get *COUNT* events each."""

    class Sharing(Workflow):
        @step
        async def start(self, ctx: Context, ev: StartEvent) -> Item | None:
            for number in range(COUNT):
                ctx.send_event(Item(number=number))
            return None

        @step(limiter=limiter, num_workers=num_workers)
        async def first(self, ev: Item) -> Go:
            with crowd:
                await checkpoint()
            return Go()

        @step(limiter=limiter, num_workers=num_workers)
        async def second(self, ev: Item) -> Go:
            with crowd:
                await checkpoint()
            return Go()

        @step
        async def end(self, ctx: Context, ev: Go) -> StopEvent | None:
            return StopEvent() if ctx.collect_events(ev, {Go: 2 * COUNT}) else None

    return Sharing()


async def four_runs(limiter: Any, crowd: Crowd) -> None:
    """Two runs each of two workflows at the same time."""
    workflows = [sharing(limiter, crowd), sharing(limiter, crowd)]
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for workflow in workflows * 2:
                tasks.start_soon(workflow.run().serve)


async def test_s_work_3_a_limiter_is_shared_over_steps_runs_and_workflows() -> None:
    """A rate-limited provider does not care who asks."""
    crowd = Crowd()
    limiter = anyio.CapacityLimiter(3)
    await four_runs(limiter, crowd)
    assert crowd.total == 4 * 2 * COUNT
    assert crowd.most == 3
    assert limiter.borrowed_tokens == 0


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_s_work_3_a_function_is_called_once_for_each_event_loop(backend: str) -> None:
    """A limiter serves one event loop; the workflow may be a global of a program that has several."""
    crowd = Crowd()
    made: list[anyio.CapacityLimiter] = []

    def provider() -> anyio.CapacityLimiter:
        made.append(anyio.CapacityLimiter(3))
        return made[-1]

    anyio.run(four_runs, provider, crowd, backend=backend)
    assert len(made) == 1
    assert crowd.most == 3
    anyio.run(four_runs, provider, crowd, backend=backend)
    assert len(made) == 2
    assert crowd.most == 3
    assert crowd.total == 2 * 4 * 2 * COUNT


async def test_s_work_3_num_workers_holds_beside_the_shared_limiter() -> None:
    """It bounds one step of one run; the limiter bounds all of them."""
    crowd = Crowd()
    with anyio.fail_after(5):
        await sharing(anyio.CapacityLimiter(10), crowd, num_workers=1).run()
    assert crowd.most == 2


async def test_s_work_3_thread_steps_share_limiters_too() -> None:
    """Their number is bounded by both."""
    crowd = Crowd()

    class Threaded(Workflow):
        @step
        async def start(self, ctx: Context, ev: StartEvent) -> Item | None:
            for number in range(COUNT):
                ctx.send_event(Item(number=number))
            return None

        @step(limiter=anyio.CapacityLimiter(2), num_workers=8)
        def work(self, ev: Item) -> Go:
            with crowd:
                return Go(number=ev.number)

        @step
        async def end(self, ctx: Context, ev: Go) -> StopEvent | None:
            return StopEvent() if ctx.collect_events(ev, {Go: COUNT}) else None

    with anyio.fail_after(5):
        await Threaded().run()
    assert crowd.total == COUNT
    assert crowd.most <= 2


async def test_s_work_3_runs_get_tokens_first_come_first_served_for_each_execution() -> None:
    """A run with much to do does not keep the others waiting: a token goes back after each execution."""
    begun: list[str] = []
    limiter = anyio.CapacityLimiter(1)

    class Alternating(Workflow):
        @step
        async def start(self, ctx: Context, ev: StartEvent) -> Item | None:
            for number in range(4):
                ctx.send_event(Item(number=number))
            return None

        @step(limiter=limiter, num_workers=1)
        async def work(self, ctx: Context, ev: Item) -> StopEvent | None:
            begun.append(f"{ctx.run_id}{ev.number}")
            return StopEvent() if ev.number == 3 else None

    workflow = Alternating()
    outsider = object()
    limiter.acquire_on_behalf_of_nowait(outsider)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for name in "abc":
                await tasks.start(workflow.run(run_id=name).serve)
                await anyio.wait_all_tasks_blocked()
            assert limiter.statistics().tasks_waiting == 3
            assert begun == []
            limiter.release_on_behalf_of(outsider)
    assert begun == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2", "a3", "b3", "c3"]


async def test_s_work_3_executions_of_one_step_begin_in_order_behind_a_shared_limiter_as_well() -> None:
    """Several workers stand in line for tokens; which of them gets one first decides nothing."""
    begun: list[int] = []

    class Ordered(Workflow):
        @step
        async def start(self, ctx: Context, ev: StartEvent) -> Item | None:
            for number in range(500):
                ctx.send_event(Item(number=number))
            return None

        @step(limiter=anyio.CapacityLimiter(2), num_workers=5)
        async def work(self, ctx: Context, ev: Item) -> StopEvent | None:
            begun.append(ev.number)
            await checkpoint()
            return StopEvent() if ctx.collect_events(ev, {Item: 500}) else None

    with anyio.fail_after(5):
        await Ordered().run()
    assert begun == list(range(500))


async def test_s_work_3_the_token_of_a_run_that_is_cancelled_goes_to_the_next() -> None:
    """Whether it was at work or in line."""
    limiter = anyio.CapacityLimiter(1)
    crowd = Crowd()

    class Holding(Workflow):
        @step(limiter=limiter)
        async def work(self, ev: StartEvent) -> StopEvent:
            with crowd:
                if ev.get("holds"):
                    await anyio.sleep_forever()
            return StopEvent(result="worked")

    workflow = Holding()
    with anyio.fail_after(5):
        async with workflow.run(holds=True) as holder:
            await anyio.wait_all_tasks_blocked()
            async with workflow.run(holds=True) as in_line, workflow.run() as last:
                await anyio.wait_all_tasks_blocked()
                assert crowd.inside == 1
                await in_line.cancel_run()
                assert not last.is_done()
                await holder.cancel_run()
                assert await last == "worked"
    assert limiter.borrowed_tokens == 0
