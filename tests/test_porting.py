"""Where LlamaIndex Workflows 2.26 fails, this library does not: the list of the page on porting, line by line."""

import asyncio
import time
from typing import Annotated, Any

import anyio
import pytest
from tenacity import RetryCallState, wait_exponential
from virtual_time import both_backends, run_virtually

from anyio_workflows import (
    Collect,
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    Resource,
    RetryPolicy,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowCancelledError,
    WorkflowCheckpointer,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
    step,
)


class Job(Event):
    number: int


class Done(Event):
    number: int


class Answer(HumanResponseEvent):
    number: int


class Question(InputRequiredEvent):
    number: int


class Slow(Workflow):
    """Takes a fifth of a second, and counts its runs in the state."""

    @step
    async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
        await anyio.sleep(0.2)
        runs = await ctx.store.get("runs", 0) + 1
        await ctx.store.set("runs", runs)
        return StopEvent(result=runs)


@both_backends
def test_a_state_that_is_used_for_many_runs_has_no_hidden_budget_of_time(backend: str) -> None:
    """There a Context reused for runs of 0.2 s under a timeout of 1 s fails with the fifth."""

    async def main() -> None:
        workflow, state = Slow(timeout=1), None
        for number in range(1, 30):
            handler = workflow.run(state=state)
            assert await handler == number
            state = handler.state

    run_virtually(main, backend)


async def test_several_workers_that_need_one_slow_resource_have_it_made_once() -> None:
    """There they raise that the resource needs itself."""
    made: list[object] = []
    gate = anyio.Event()

    async def slow() -> object:
        await gate.wait()
        made.append(object())
        return made[-1]

    class Sharing(Workflow):
        @step
        async def start(self, ev: StartEvent) -> list[Job]:
            return [Job(number=number) for number in range(4)]

        @step
        async def work(self, ev: Job, resource: Annotated[object, Resource(slow)]) -> Done:
            assert resource is made[0]
            return Done(number=ev.number)

        @step
        async def end(self, evs: list[Done]) -> StopEvent:
            return StopEvent(result=len(evs))

    with anyio.fail_after(5):
        async with Sharing().run() as handler:
            await anyio.wait_all_tasks_blocked()
            gate.set()
            assert await handler == 4
    assert len(made) == 1


def _make(value: str) -> Any:
    def client() -> str:
        return value

    return client


async def test_two_factories_of_one_name_are_two_resources() -> None:
    """There the second is given what the first has made."""
    first, second = _make("first"), _make("second")

    class Two(Workflow):
        @step
        async def work(
            self,
            ev: StartEvent,
            one: Annotated[str, Resource(first)],
            other: Annotated[str, Resource(second)],
        ) -> StopEvent:
            return StopEvent(result=(one, other))

    with anyio.fail_after(5):
        assert await Two().run() == ("first", "second")


class Endless(Workflow):
    """Never ends; notes how it is left."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.begun = anyio.Event()
        self.left = 0

    @step
    async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
        self.begun.set()
        ctx.write_event_to_stream(Done(number=1))
        try:
            await anyio.sleep_forever()
        finally:
            self.left += 1
        return StopEvent()


@both_backends
def test_a_timeout_around_the_await_leaves_no_run_behind_and_every_stream_ends(backend: str) -> None:
    """There the step goes on, and a stream that is being read never ends."""

    async def main() -> None:
        workflow = Endless()
        handler = workflow.run()
        with anyio.move_on_after(1) as scope:
            await handler
        assert scope.cancelled_caught
        assert (workflow.left, handler.is_done()) == (1, True)
        events = [event async for event in handler.stream_events()]
        assert [type(event).__name__ for event in events] == ["Done", "WorkflowCancelledEvent"]
        with pytest.raises(WorkflowCancelledError):
            await handler

    run_virtually(main, backend)


def test_neither_does_asyncios_own_timeout() -> None:
    async def main() -> None:
        workflow = Endless()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_awaited(workflow), 1)
        assert workflow.left == 1

    run_virtually(main, "asyncio")


async def _awaited(workflow: Workflow) -> Any:
    return await workflow.run()


async def test_a_step_that_raises_the_cancelled_exception_fails_and_does_not_hang() -> None:
    """There the run waits for its timeout, for ever if it has none."""

    class Raising(Workflow):
        @step
        async def work(self, ev: StartEvent) -> StopEvent:
            raise anyio.get_cancelled_exc_class().__new__(anyio.get_cancelled_exc_class())

    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError, match="'work' raised"):
        await Raising().run()


@both_backends
def test_a_cancel_returns_when_the_run_has_cleaned_up_and_gives_its_error(backend: str) -> None:
    """There a clean-up is cut short after half a second."""

    class Careful(Endless):
        @step
        async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
            self.begun.set()
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(3)
                self.left += 1
            return StopEvent()

    async def main() -> None:
        workflow = Careful()
        async with workflow.run() as handler:
            await workflow.begun.wait()
            began = anyio.current_time()
            await handler.cancel_run()
            assert anyio.current_time() - began == pytest.approx(3)
            assert workflow.left == 1
        with pytest.raises(WorkflowCancelledByUser, match=handler.run_id):
            await handler

    run_virtually(main, backend)


async def test_a_retry_after_collect_events_counts_its_event_once() -> None:
    """There it is counted twice: [1, 1, 2]."""

    class Collecting(Workflow):
        @step
        async def start(self, ctx: Context, ev: StartEvent) -> Job | None:
            for number in (1, 2, 3):
                ctx.send_event(Job(number=number))
            return None

        @step(num_workers=1, retry_policy=RetryPolicy())
        async def collect(self, ctx: Context, ev: Job) -> StopEvent | None:
            batch = ctx.collect_events(ev, [Job] * 3)
            if ev.number == 1 and not ctx.retry_info().retry_number:
                raise ConnectionError
            return None if batch is None else StopEvent(result=[each.number for each in batch])

    with anyio.fail_after(5):
        assert await Collecting().run() == [1, 2, 3]


async def test_two_waits_of_one_type_in_one_step_get_one_answer_each() -> None:
    """There one answer serves both, or the second overwrites the first."""

    class Asking(Workflow):
        @step(waits_for=[Answer])
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            first = await ctx.wait_for_event(Answer, waiter_event=Question(number=1))
            second = await ctx.wait_for_event(Answer, waiter_event=Question(number=2))
            return StopEvent(result=(first.number, second.number))

    with anyio.fail_after(5):
        async with Asking().run() as handler:
            async for event in handler.stream_events():
                if isinstance(event, Question):
                    handler.send_event(Answer(number=event.number))
        assert await handler == (1, 2)


@both_backends
def test_the_timeout_of_a_wait_and_an_event_that_was_just_sent_survive_a_restart(backend: str) -> None:
    """There both are lost."""

    class Waiting(Workflow):
        @step(waits_for=[Answer])
        async def wait(self, ctx: Context, ev: StartEvent) -> StopEvent:
            try:
                await ctx.wait_for_event(Answer, requirements={"number": 9}, timeout=10)
            except TimeoutError:
                return StopEvent(result="too late")
            return StopEvent(result="in time")

        @step
        async def take(self, ctx: Context, ev: Job) -> None:
            await ctx.store.set("taken", ev.number)

    async def main() -> None:
        checkpointer = WorkflowCheckpointer(
            workflow=Waiting(extra_events=[Job], skip_graph_checks=["reachability"])
        )
        async with checkpointer.run() as handler:
            await anyio.sleep(4)
            handler.send_event(Job(number=5))
            cut = checkpointer.dumps(handler.checkpoint())
            await handler.cancel_run()
        again = checkpointer.run_from(checkpointer.loads(cut))
        began = anyio.current_time()
        assert await again == "too late"
        assert anyio.current_time() - began <= 10
        assert again.state["taken"] == 5

    run_virtually(main, backend)


async def test_the_body_of_a_step_that_waits_runs_once() -> None:
    """There it begins again from its top with every answer, and sends and streams again."""
    begun = []

    class Asking(Workflow):
        @step(waits_for=[Answer])
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            begun.append(ev)
            answers = [await ctx.wait_for_event(Answer, waiter_event=Question(number=n)) for n in range(3)]
            return StopEvent(result=sum(answer.number for answer in answers))

    with anyio.fail_after(5):
        async with Asking().run() as handler:
            async for event in handler.stream_events():
                if isinstance(event, Question):
                    handler.send_event(Answer(number=event.number))
        assert await handler == 3
    assert len(begun) == 1


async def test_the_order_of_a_result_is_the_same_each_time() -> None:
    """There ten runs had eight orders."""

    class Fan(Workflow):
        @step
        async def start(self, ev: StartEvent) -> list[Job]:
            return [Job(number=number) for number in range(20)]

        @step(num_workers=4)
        async def work(self, ev: Job) -> Done:
            for _ in range(ev.number % 3):
                await anyio.lowlevel.checkpoint()
            return Done(number=ev.number)

        @step
        async def end(self, evs: Annotated[list[Done], Collect(order="emission")]) -> StopEvent:
            return StopEvent(result=[each.number for each in evs])

    with anyio.fail_after(20):
        assert {tuple(await Fan().run()) for _ in range(10)} == {tuple(range(20))}


@both_backends
def test_the_state_of_a_run_that_timed_out_brings_no_stale_work_with_it(backend: str) -> None:
    """There a context that timed out or was cancelled works off what the run before had left."""
    begun: list[int] = []

    class Timed(Workflow):
        @step
        async def start(self, ctx: Context, ev: StartEvent) -> Job:
            await ctx.store.set("run", ev.number)
            return Job(number=ev.number)

        @step
        async def work(self, ev: Job) -> StopEvent:
            begun.append(ev.number)
            await anyio.sleep(5 if ev.number == 1 else 0)
            return StopEvent(result=ev.number)

    async def main() -> None:
        workflow = Timed(timeout=1)
        first = workflow.run(number=1)
        with pytest.raises(WorkflowTimeoutError):
            await first
        assert await workflow.run(number=2, state=first.state) == 2
        assert begun == [1, 2]

    run_virtually(main, backend)


@both_backends
def test_no_wait_overflows(backend: str) -> None:
    """There wait_exponential raises OverflowError from the 1,025th attempt on, and NaN takes all of the processor."""

    def stop(state: RetryCallState) -> bool:
        return state.attempt_number >= 2_000

    class Failing(Workflow):
        @step(retry_policy=RetryPolicy(wait=wait_exponential(multiplier=1, exp_base=2.0, max=30), stop=stop))
        async def work(self, ev: StartEvent) -> StopEvent:
            raise ConnectionError

    class Nowhen(Workflow):
        @step(retry_policy=RetryPolicy(wait=lambda _: float("nan")))
        async def work(self, ev: StartEvent) -> StopEvent:
            raise ConnectionError

    async def main() -> None:
        with pytest.raises(ConnectionError):
            await Failing().run()
        with pytest.raises(WorkflowRuntimeError, match="nan"):
            await Nowhen().run()

    run_virtually(main, backend)


async def test_fan_outs_of_1600_events_take_milliseconds_each_way() -> None:
    """There 13 seconds, and four times as much for twice as many."""

    class ByType(Workflow):
        @step
        async def start(self, ev: StartEvent) -> list[Job]:
            return [Job(number=number) for number in range(1_600)]

        @step
        async def work(self, ev: Job) -> Done:
            return Done(number=ev.number)

        @step
        async def end(self, evs: list[Done]) -> StopEvent:
            return StopEvent(result=len(evs))

    class ByHand(Workflow):
        @step
        async def start(self, ctx: Context, ev: StartEvent) -> Job | None:
            for number in range(1_600):
                ctx.send_event(Job(number=number))
            return None

        @step
        async def work(self, ev: Job) -> Done:
            return Done(number=ev.number)

        @step
        async def end(self, ctx: Context, ev: Done) -> StopEvent | None:
            batch = ctx.collect_events(ev, [Done] * 1_600)
            return None if batch is None else StopEvent(result=len(batch))

    for workflow in (ByType(), ByHand()):
        began = time.perf_counter()
        with anyio.fail_after(10):
            assert await workflow.run() == 1_600
        assert time.perf_counter() - began < 2, "about 0.03 s when nothing else runs"
