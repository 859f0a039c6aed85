"""S-SEND: where an event goes, when, and who has to wait."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from anyio_workflows import (
    Context,
    Event,
    InputRequiredEvent,
    StartEvent,
    StepStateChanged,
    StopEvent,
    UnhandledEvent,
    Workflow,
    WorkflowIdleEvent,
    WorkflowRuntimeError,
    WorkflowStalledError,
    WorkflowStepDoesNotExistError,
    step,
)


class Item(Event):
    number: int


class Other(Event):
    number: int = 0


class Ready(Event):
    """Sent by a test from outside, or by a step to say where it stands."""


class Question(InputRequiredEvent):
    text: str


# --- S-SEND-1: sending is synchronous


async def test_s_send_1_send_event_returns_at_once_and_nothing_runs_meanwhile() -> None:
    """However many events: it is a plain call, and the receiver's turn comes later."""
    begun: list[int] = []

    class Sending(Workflow):
        @step
        async def send(self, ctx: Context, ev: StartEvent) -> Item | StopEvent:
            assert not inspect.iscoroutinefunction(ctx.send_event)
            for number in range(2000):
                assert ctx.send_event(Item(number=number)) is None  # type: ignore[func-returns-value]
            return StopEvent(result=list(begun))

        @step(max_pending=1)
        async def take(self, ev: Item) -> None:
            begun.append(ev.number)

    with anyio.fail_after(5):
        assert await Sending().run() == []


async def test_s_send_1_an_event_is_on_its_way_before_its_sender_ends() -> None:
    """The sender may wait for what follows from it."""
    taken = anyio.Event()

    class Sending(Workflow):
        @step
        async def send(self, ctx: Context, ev: StartEvent) -> Item | StopEvent:
            ctx.send_event(Item(number=1))
            await taken.wait()
            return StopEvent(result="sender ended last")

        @step
        async def take(self, ev: Item) -> None:
            taken.set()

    with anyio.fail_after(5):
        assert await Sending().run() == "sender ended last"


async def test_s_send_1_returning_an_event_is_sending_it_at_the_end() -> None:
    """It comes after everything that was sent before, and goes to the same steps."""

    class Sending(Workflow):
        @step
        async def send(self, ctx: Context, ev: StartEvent) -> Item:
            ctx.send_event(Item(number=1))
            await ctx.send(Item(number=2))
            return Item(number=3)

        @step(num_workers=1)
        async def take(self, ctx: Context, ev: Item) -> StopEvent | None:
            taken = ctx.collect_events(ev, [Item] * 3)
            return None if taken is None else StopEvent(result=[one.number for one in taken])

    with anyio.fail_after(5):
        assert await Sending().run() == [1, 2, 3]


async def test_s_send_1_a_child_task_of_a_step_may_send() -> None:
    """The context is the execution's, whichever task of it uses it, also while the step itself waits."""

    class Sending(Workflow):
        @step
        async def send(self, ctx: Context, ev: StartEvent) -> Item | None:
            async def child(number: int) -> None:
                await checkpoint()
                ctx.send_event(Item(number=number))
                await ctx.send(Item(number=number))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(child, 1)
                tasks.start_soon(child, 2)
            return None

        @step
        async def take(self, ctx: Context, ev: Item) -> StopEvent | None:
            taken = ctx.collect_events(ev, [Item] * 4)
            return None if taken is None else StopEvent(result=sorted(one.number for one in taken))

    with anyio.fail_after(5):
        assert await Sending().run() == [1, 1, 2, 2]


USES: dict[str, Callable[[Context], object]] = {
    "send_event": lambda ctx: ctx.send_event(Item(number=1)),
    "send": lambda ctx: ctx.send(Item(number=1)),
    "collect_events": lambda ctx: ctx.collect_events(Item(number=1), [Item]),
    "wait_for_event": lambda ctx: ctx.wait_for_event(Item),
    "write_event_to_stream": lambda ctx: ctx.write_event_to_stream(Item(number=1)),
    "store": lambda ctx: ctx.store,
}


@pytest.mark.parametrize("method", USES)
@pytest.mark.parametrize("when", ["while the run goes on", "after the run"])
async def test_s_send_1_a_context_that_is_used_after_its_execution_says_so(method: str, when: str) -> None:
    """The error names method and step; what was wanted does not happen."""
    kept: list[Context] = []

    async def use() -> None:
        with pytest.raises(WorkflowRuntimeError, match=rf"ctx\.{method} .*step 'keep' had ended"):
            result = USES[method](kept[0])
            if isinstance(result, Awaitable):
                await result

    class Keeping(Workflow):
        @step
        async def keep(self, ctx: Context, ev: StartEvent) -> Item:
            kept.append(ctx)
            return Item(number=0)

        @step
        async def later(self, ev: Item) -> StopEvent:
            assert ev.number == 0
            if when == "while the run goes on":
                await use()
            return StopEvent(result="done")

    with anyio.fail_after(5):
        async with Keeping().run() as handler:
            assert [await handler] + [type(one) async for one in handler.stream_events()] == [
                "done",
                StopEvent,
            ]
    if when == "after the run":
        await use()


# --- S-SEND-2: who gets it, in which order


async def test_s_send_2_an_event_goes_to_every_step_that_accepts_it_once() -> None:
    """And to no other, by exact type unless the step takes subclasses."""
    taken: list[str] = []

    class Special(Item):
        pass

    class Routing(Workflow):
        @step
        async def send(self, ctx: Context, ev: StartEvent) -> Item | Other | Special:
            ctx.send_event(Special(number=2))
            ctx.send_event(Other(number=3))
            return Item(number=1)

        @step
        async def exact(self, ev: Item) -> None:
            taken.append(f"exact {ev.number}")

        @step
        async def union(self, ev: Item | Other) -> None:
            taken.append(f"union {ev.number}")

        @step(accept_event_subclasses=True)
        async def wide(self, ev: Item) -> None:
            taken.append(f"wide {ev.number}")

        @step(skip_graph_checks=["reachability"])
        async def special(self, ev: Special) -> StopEvent:
            taken.append(f"special {ev.number}")
            await anyio.wait_all_tasks_blocked()
            return StopEvent()

    with anyio.fail_after(5):
        await Routing().run()
    assert sorted(taken) == ["exact 1", "special 2", "union 1", "union 3", "wide 1", "wide 2"]


async def test_s_send_2_deliveries_of_one_event_are_in_the_order_of_declaration() -> None:
    """Seen in the report of a run at rest, which lists what is pending in order."""

    class Go(Event):
        pass

    class Waiting(Workflow):
        @step
        async def zebra(self, ctx: Context, ev: Item) -> None:
            await ctx.wait_for_event(Go)

        @step
        async def apple(self, ctx: Context, ev: Item) -> None:
            await ctx.wait_for_event(Go)

        @step
        async def send(self, ctx: Context, ev: StartEvent) -> Item:
            return Item(number=1)

        @step(waits_for=Go)
        async def mango(self, ctx: Context, ev: Item) -> StopEvent:
            await ctx.wait_for_event(Go)
            return StopEvent()

    with anyio.fail_after(5):
        async with Waiting().run() as handler:
            reports: list[object] = []
            async for event in handler.stream_events(expose_internal=True):
                if isinstance(event, WorkflowIdleEvent):
                    reports.append(event.report)
                    break
            pending = str(reports[0])
            assert pending.index("'zebra'") < pending.index("'apple'") < pending.index("'mango'")
            await handler.cancel_run()


Body = Callable[[Context, Item], Awaitable[None]]


async def nothing(ctx: Context, ev: Item) -> None:
    """Ends without a wait: the next one may begin in the same task."""


async def one_wait(ctx: Context, ev: Item) -> None:
    await checkpoint()


async def now_and_then(ctx: Context, ev: Item) -> None:
    """Leaves workers idle and busy in changing numbers."""
    for _ in range(ev.number * 7 % 5):
        await checkpoint()


async def children(ctx: Context, ev: Item) -> None:
    if ev.number % 50 == 0:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(checkpoint)
            tasks.start_soon(checkpoint)


@pytest.mark.parametrize(
    ("body", "num_workers"),
    [(nothing, 1), (nothing, 4), (one_wait, 4), (now_and_then, 3), (now_and_then, 32), (children, 4)],
)
async def test_s_send_2_executions_begin_in_the_order_of_their_deliveries(
    body: Body, num_workers: int
) -> None:
    """Thousands of them; trio draws the order of its tasks at random, which must not show."""
    count = 2000
    begun: list[int] = []
    ended: list[int] = []

    class Many(Workflow):
        @step
        async def send(self, ctx: Context, ev: StartEvent) -> Item | None:
            for number in range(count):
                ctx.send_event(Item(number=number))
                if number % 10 == 9:
                    await checkpoint()
            return None

        @step(num_workers=num_workers)
        async def take(self, ctx: Context, ev: Item) -> StopEvent | None:
            begun.append(ev.number)
            await body(ctx, ev)
            ended.append(ev.number)
            return StopEvent() if len(ended) == count else None

    with anyio.fail_after(20):
        await Many().run()
    assert begun == list(range(count))


async def test_s_send_2_deliveries_of_many_senders_begin_in_the_order_in_which_they_were_sent() -> None:
    """Sent and returned, by steps and their child tasks, and from outside."""
    sent: list[int] = []
    begun: list[int] = []

    def make(number: int) -> Item:
        sent.append(number)
        return Item(number=number)

    class Many(Workflow):
        @step
        async def start(self, ctx: Context, ev: StartEvent) -> Other | None:
            for number in range(20):
                ctx.send_event(Other(number=number))
            return None

        @step(num_workers=5)
        async def send(self, ctx: Context, ev: Other) -> Item:
            async def child(number: int) -> None:
                for more in range(20):
                    await checkpoint()
                    ctx.send_event(make(number + more))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(child, 100 * ev.number)
                tasks.start_soon(child, 100 * ev.number + 50)
            return make(100 * ev.number + 99)

        @step(num_workers=3)
        async def take(self, ctx: Context, ev: Item) -> StopEvent | None:
            begun.append(ev.number)
            await checkpoint()
            return StopEvent() if ctx.collect_events(ev, {Item: 20 * 41 + 10}) else None

    with anyio.fail_after(10):
        async with Many().run() as handler:
            for number in range(10):
                handler.send_event(make(-number))
                await checkpoint()
    assert begun == sent


# --- S-SEND-3: one step by name


class Addressed(Workflow):
    """Its first step sends with the `send` of the test, and collects what it got wrong."""

    def __init__(self, send: Callable[[Context], Awaitable[None]]) -> None:
        self.send_with = send
        self.taken: list[str] = []
        super().__init__()

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Item | Other | None:
        await self.send_with(ctx)
        return Other()

    @step
    async def first(self, ev: Item) -> None:
        self.taken.append("first")

    @step
    async def second(self, ev: Item) -> None:
        self.taken.append("second")

    @step
    async def end(self, ev: Other) -> StopEvent:
        await anyio.wait_all_tasks_blocked()
        return StopEvent()


async def send_later(ctx: Context, event: Event, name: str) -> None:
    await ctx.send(event, name)


async def send_now(ctx: Context, event: Event, name: str) -> None:
    ctx.send_event(event, step=name)


both_ways = pytest.mark.parametrize("send", [send_now, send_later])
Send = Callable[[Context, Event, str], Awaitable[None]]


@both_ways
async def test_s_send_3_an_event_for_a_step_by_name_goes_to_that_step_alone(send: Send) -> None:
    """Others that accept it do not get it."""
    workflow = Addressed(lambda ctx: send(ctx, Item(number=1), "second"))
    with anyio.fail_after(5):
        await workflow.run()
    assert workflow.taken == ["second"]


@both_ways
async def test_s_send_3_an_unknown_step_is_an_error_at_the_call(send: Send) -> None:
    """Which names the steps that there are; the step may go on."""

    async def wrongly(ctx: Context) -> None:
        with pytest.raises(WorkflowStepDoesNotExistError) as caught:
            await send(ctx, Item(number=1), "thrid")
        assert caught.value.step == "thrid"
        assert caught.value.steps == ("start", "first", "second", "end")

    workflow = Addressed(wrongly)
    with anyio.fail_after(5):
        await workflow.run()
    assert workflow.taken == []


@both_ways
async def test_s_send_3_an_event_that_the_step_does_not_accept_is_an_error_at_the_call(send: Send) -> None:
    """Which names the sender, the event, the step and what it accepts."""

    async def wrongly(ctx: Context) -> None:
        expected = "step 'start' sent Other to step 'second', which does not accept it; it accepts Item"
        with pytest.raises(WorkflowRuntimeError, match=expected):
            await send(ctx, Other(), "second")

    workflow = Addressed(wrongly)
    with anyio.fail_after(5):
        await workflow.run()
    assert workflow.taken == []


@both_ways
async def test_s_send_3_what_is_no_event_is_an_error_at_the_call(send: Send) -> None:
    """With or without a step."""

    async def wrongly(ctx: Context) -> None:
        not_an_event: Any = "Item"
        with pytest.raises(WorkflowRuntimeError, match="'Item', which is no event"):
            await send(ctx, not_an_event, "first")
        with pytest.raises(WorkflowRuntimeError, match=r"Item.*, which is no event"):
            ctx.send_event(Item)  # type: ignore[arg-type]  # the class, where an instance belongs

    with anyio.fail_after(5):
        await Addressed(wrongly).run()


async def test_s_send_3_the_handler_addresses_steps_in_the_same_way() -> None:
    """Alone to the named one, and wrong names are errors at the call."""

    async def nothing_sent(ctx: Context) -> None:
        await ctx.wait_for_event(Ready)

    workflow = Addressed(nothing_sent)
    with anyio.fail_after(5):
        async with workflow.run() as handler:
            await anyio.wait_all_tasks_blocked()
            handler.send_event(Item(number=1), step="first")
            with pytest.raises(WorkflowStepDoesNotExistError, match="no step 'thrid'"):
                handler.send_event(Item(number=1), step="thrid")
            with pytest.raises(WorkflowRuntimeError, match="'end', which does not accept it"):
                handler.send_event(Item(number=1), step="end")
            handler.send_event(Ready())
    assert workflow.taken == ["first"]


# --- S-SEND-5: prompts, and what nobody wants


@pytest.mark.parametrize("how", ["returned", "sent", "sent with back-pressure"])
async def test_s_send_5_an_input_required_event_is_published_and_routed(how: str) -> None:
    """Once each: to the human, and to a step that wants to know of it."""
    asked: list[str] = []

    class Asking(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> Question | None:
            question = Question(text="why?")
            if how == "returned":
                return question
            if how == "sent":
                ctx.send_event(question)
            else:
                await ctx.send(question)
            return None

        @step
        async def note(self, ev: Question) -> StopEvent:
            asked.append(ev.text)
            return StopEvent(result="noted")

    with anyio.fail_after(5):
        async with Asking().run() as handler:
            streamed = [event async for event in handler.stream_events()]
    assert streamed == [Question(text="why?"), StopEvent(result="noted")]
    assert asked == ["why?"]


async def test_s_send_5_a_prompt_that_no_step_accepts_is_not_unhandled() -> None:
    """It is for the human."""

    class Asking(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> Question | StopEvent:
            ctx.send_event(Question(text="why?"))
            return StopEvent()

    with anyio.fail_after(5):
        async with Asking().run() as handler:
            kinds = [type(event) async for event in handler.stream_events(expose_internal=True)]
    assert [kind for kind in kinds if kind is not StepStateChanged] == [Question, StopEvent]


class Deaf(Workflow):
    """Sends what nobody accepts, and ends only if it is told to."""

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
        ctx.send_event(Other(number=7))
        return StopEvent() if ev.get("ends") else None


async def test_s_send_5_an_event_that_nobody_accepts_is_on_the_internal_stream() -> None:
    """With its class, and whether anything was running."""
    with anyio.fail_after(5):
        async with Deaf().run(ends=True) as handler:
            public = [event async for event in handler.stream_events()]
            internal = [event async for event in handler.stream_events(expose_internal=True)]
    assert public == [StopEvent()]
    assert [event for event in internal if isinstance(event, UnhandledEvent)] == [
        UnhandledEvent(event_type="Other", qualified_name=f"{__name__}.Other", step_name=None, idle=False)
    ]


async def test_s_send_5_an_event_that_nobody_accepts_is_named_by_a_stall() -> None:
    """It is mostly the very reason."""
    with anyio.fail_after(5), pytest.raises(WorkflowStalledError, match=r"nothing accepts Other\(number=7\)"):
        await Deaf().run()


async def test_s_send_5_an_event_from_outside_that_nobody_accepts_is_unhandled_while_idle() -> None:
    """And one that a wait takes is not unhandled."""

    class Waiting(Workflow):
        @step(waits_for=Ready)
        async def wait(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.wait_for_event(Ready)
            return StopEvent()

    with anyio.fail_after(5):
        async with Waiting().run() as handler:
            await anyio.wait_all_tasks_blocked()
            handler.send_event(Other())
            handler.send_event(Ready())
            events = [event async for event in handler.stream_events(expose_internal=True)]
    unhandled = [event for event in events if isinstance(event, UnhandledEvent)]
    assert [(event.event_type, event.idle) for event in unhandled] == [("Other", True)]
