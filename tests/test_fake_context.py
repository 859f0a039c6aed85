"""Steps called by themselves, with a context that only notes."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import attrs
import pytest

from anyio_workflows import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    RetryInfo,
    StartEvent,
    StatePathError,
    StopEvent,
    Workflow,
    step,
)
from anyio_workflows.testing import FakeContext, Sent


class Job(Event):
    number: int


class Done(Event):
    number: int


class Question(InputRequiredEvent):
    text: str


class Answer(HumanResponseEvent):
    text: str
    by: str = "ada"


class Child(Workflow):
    @step
    async def give(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=ev.get("text"))


class Everything(Workflow):
    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Job | None:
        await ctx.store.set("user.name", "ada")
        async with ctx.store.edit_state() as state:
            state["count"] = 1
        ctx.send_event(Job(number=1), step="work")
        await ctx.send(Job(number=2))
        ctx.write_event_to_stream(Done(number=0))
        return None

    @step(waits_for=[Answer])
    async def work(self, ctx: Context, ev: Job) -> Done:
        answer = await ctx.wait_for_event(
            Answer, waiter_event=Question(text="?"), requirements={"by": "bob"}, timeout=5
        )
        text = await ctx.run_child(Child(), text=answer.text)
        return Done(number=len(text) + ctx.retry_info().retry_number)

    @step
    async def end(self, ctx: Context, ev: Done) -> StopEvent | None:
        batch = ctx.collect_events(ev, [Done, Done])
        return None if batch is None else StopEvent(result=[each.number for each in batch])


async def test_what_a_step_sends_stores_and_writes_is_there_to_be_looked_at() -> None:
    ctx = FakeContext(run_id="r", step_name="start")
    assert await Everything().start(ctx, StartEvent()) is None
    assert ctx.sent == [Sent(Job(number=1), "work"), Sent(Job(number=2), None)]
    assert ctx.written == [Done(number=0)]
    assert dict(ctx.state) == {"user": {"name": "ada"}, "count": 1}
    assert (ctx.run_id, ctx.step_name, ctx.idempotency_key) == ("r", "start", "r/start")


async def test_answers_children_and_attempts_are_what_the_test_says() -> None:
    ctx = FakeContext(
        answers=[Answer(text="no"), Answer(text="yes", by="bob")],
        children={"Child": "four"},
        retry_info=RetryInfo(3, 1.0, ValueError(), None),
    )
    assert await Everything().work(ctx, Job(number=1)) == Done(number=7)
    assert (ctx.written, ctx.asked) == ([Question(text="?")], [Answer])
    with pytest.raises(TimeoutError, match="answers= of its FakeContext has none"):
        await Everything().work(ctx, Job(number=1))
    failing = FakeContext(answers=[Answer(text="", by="bob")], children={"Child": ZeroDivisionError()})
    with pytest.raises(ZeroDivisionError):
        await Everything().work(failing, Job(number=1))


async def test_collections_may_hold_something_already() -> None:
    ctx = FakeContext(collected={None: [Done(number=1)]})
    gave = await Everything().end(ctx, Done(number=2))
    assert gave == StopEvent(result=[1, 2])
    assert ctx.collected == {None: []}
    assert await Everything().end(ctx, Done(number=3)) is None
    assert ctx.collected == {None: [Done(number=3)]}


@attrs.define
class State:
    total: int = 0
    names: list[str] = attrs.field(factory=list)


async def test_the_state_is_of_the_class_of_the_workflow_and_an_edit_that_raises_changes_nothing() -> None:
    ctx = FakeContext(state=State(names=["a"]))
    await ctx.store.set("total", 2)
    await ctx.store.set("names.0", "b")
    assert await ctx.store.get("names.0") == "b"
    with pytest.raises(ZeroDivisionError):
        async with ctx.store.edit_state() as state:
            state.total = 9
            raise ZeroDivisionError
    assert ctx.state == State(2, ["b"])
    assert await ctx.store.get("missing", None) is None
    with pytest.raises(StatePathError, match="missing"):
        await ctx.store.get("missing.deeper")
    kept: Any = await ctx.store.get_state()
    kept.total = 5
    assert ctx.state.total == 2
    await ctx.store.clear()
    assert ctx.state == State()


async def test_every_await_of_a_fake_context_is_a_checkpoint() -> None:
    """As of the real one: a loop of them can be cancelled."""
    ctx = FakeContext()
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: ctx.store.get("x", None),
        lambda: ctx.store.set("x", 1),
        ctx.store.get_state,
        ctx.store.clear,
        lambda: ctx.send(Job(number=1)),
        ctx.checkpoint,
    ]
    for call in calls:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await call()
        assert scope.cancelled_caught
