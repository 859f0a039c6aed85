"""What children say is on the stream of the run that they are a part of, under their names."""

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from nesting import (
    Answer,
    Ask,
    Asking,
    Fan,
    Question,
    Result,
    Said,
    Saying,
    all_of,
    asked,
    idle,
    said,
)
from running import Calling, Failing

from anyio_workflows import (
    ChildDispatchEvent,
    ChildEvent,
    Context,
    Event,
    EventsMissed,
    RunGroup,
    StartEvent,
    StepState,
    StepStateChanged,
    StopEvent,
    UnhandledEvent,
    Workflow,
    WorkflowFailedEvent,
    WorkflowIdleEvent,
    step,
)


async def two(ctx: Context) -> Any:
    ctx.write_event_to_stream(Said(text="before"))
    await ctx.run_child(Saying(), who="one")
    ctx.write_event_to_stream(Said(text="between"))
    await ctx.run_child(Saying(), who="two", namespace="second")
    ctx.write_event_to_stream(Said(text="after"))


async def test_s_str_1_what_a_child_writes_and_ends_with_is_on_the_stream_in_its_place() -> None:
    with anyio.fail_after(5):
        async with Calling(two).run(run_id="r") as handler:
            events = await all_of(handler)
    shown = [(each.namespace, each.event) if isinstance(each, ChildEvent) else each for each in events]
    assert shown == [
        Said(text="before"),
        (("Saying",), Said(text="one")),
        (("Saying",), Result(text="one")),
        Said(text="between"),
        (("second",), Said(text="two")),
        (("second",), Result(text="two")),
        Said(text="after"),
        StopEvent(result=None),
    ]
    ids = {each.run_id for each in events if isinstance(each, ChildEvent)}
    assert len(ids) == 2
    assert all(each.startswith("r/") for each in ids)


async def test_s_str_1_a_failed_child_ends_with_what_it_failed_with() -> None:
    async def body(ctx: Context) -> Any:
        with pytest.raises(ValueError, match="no"):
            await ctx.run_child(Failing(), error=ValueError("no"))

    with anyio.fail_after(5):
        async with Calling(body).run() as handler:
            event, _ = await all_of(handler)
    assert isinstance(event, ChildEvent)
    assert isinstance(event.event, WorkflowFailedEvent)
    assert event.event.step_name == "fail"


async def test_s_str_4_what_the_engine_says_of_a_child_is_internal() -> None:
    class Stray(Workflow):
        @step
        async def send(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.send_event(Said(text="to nobody"))
            return StopEvent()

    with anyio.fail_after(5):
        async with Calling(lambda ctx: ctx.run_child(Stray())).run() as handler:
            internal = [event async for event in handler.stream_events(expose_internal=True)]
            public = await all_of(handler)
    told = [each.event for each in internal if isinstance(each, ChildDispatchEvent)]
    assert [type(each) for each in told] == [StepStateChanged, UnhandledEvent, StepStateChanged]
    assert [type(each) for each in public] == [ChildEvent, StopEvent]


async def test_s_str_4_a_reader_that_comes_late_makes_running_children_tell_of_their_steps() -> None:
    with anyio.fail_after(5):
        async with Calling(lambda ctx: ctx.run_child(Asking())).run() as handler:
            await asked(handler, 1)
            reader = handler.stream_events(expose_internal=True)
            handler.send_event(Answer(text="yes"))
            events = [event async for event in reader]
    states = [
        each.event.step_state
        for each in events
        if isinstance(each, ChildDispatchEvent) and isinstance(each.event, StepStateChanged)
    ]
    assert states == [StepState.NOT_RUNNING]


async def test_child_of_a_child_has_both_names_and_its_own_id() -> None:
    inner = Calling(lambda ctx: ctx.run_child(Saying(), who="deep", namespace="c"))
    middle = Calling(lambda ctx: ctx.run_child(inner, namespace="b"))
    with anyio.fail_after(5):
        async with Calling(lambda ctx: ctx.run_child(middle, namespace="a")).run(run_id="r") as handler:
            events = await all_of(handler)
    assert said(events) == [(("a", "b", "c"), "deep")]
    assert [each.namespace for each in events[:-1] if isinstance(each, ChildEvent)] == [
        ("a", "b", "c"),
        ("a", "b", "c"),
        ("a", "b"),
        ("a",),
    ]
    assert len({each.run_id for each in events if isinstance(each, ChildEvent)}) == 3


async def test_s_wait_1_a_question_of_a_child_stands_on_the_stream_as_itself_once() -> None:
    middle = Calling(lambda ctx: ctx.run_child(Asking(), who="deep"))
    with anyio.fail_after(5):
        async with Calling(lambda ctx: ctx.run_child(middle)).run() as handler:
            assert await asked(handler, 1) == ["deep"]
            handler.send_event(Answer(text="yes"))
            events = await all_of(handler)
    assert [each for each in events if isinstance(each, Question)] == [Question(who="deep")]
    assert events[-1] == StopEvent(result="deep: yes")


async def test_s_str_2_a_bounded_stream_counts_the_events_of_children() -> None:
    async def chatter(ctx: Context) -> Any:
        for number in range(10):
            ctx.write_event_to_stream(Said(text=str(number)))

    with anyio.fail_after(5):
        async with Calling(lambda ctx: ctx.run_child(Calling(chatter))).run(stream_buffer=4) as handler:
            await handler
            events = await all_of(handler)
    assert events[0] == EventsMissed(count=8)
    assert [text for _, text in said(events)] == ["8", "9"]


async def test_s_str_2_the_stream_has_its_children_after_the_end_and_from_an_offset() -> None:
    with anyio.fail_after(5):
        handler = Calling(two).run()
        await handler
        later = [event async for event in handler.stream_events(offset=4)]
    assert said(later) == [(("second",), "two")]


async def test_children_of_several_executions_are_told_apart_by_their_ids() -> None:
    async def body(ctx: Context, name: str) -> Any:
        return await ctx.run_child(Saying(), who=name)

    with anyio.fail_after(5):
        async with Fan(body, "a", "b", "c").run() as handler:
            events = await all_of(handler)
    children = [each for each in events if isinstance(each, ChildEvent)]
    by_id = {each.run_id: [] for each in children}  # type: dict[str, list[Event]]
    for each in children:
        by_id[each.run_id].append(each.event)
    expected = [[Said(text=name), Result(text=name)] for name in "abc"]
    assert sorted(by_id.values(), key=repr) == expected


async def test_children_of_one_execution_have_ids_of_their_own_also_if_started_alike() -> None:
    async def body(ctx: Context) -> Any:
        for _ in range(3):
            await ctx.run_child(Saying(), who="same")

    for checkpoints in (False, True):
        with anyio.fail_after(5):
            async with Calling(body, extra_events=[Ask]).run(checkpoints=checkpoints) as handler:
                events = await all_of(handler)
        assert len({each.run_id for each in events if isinstance(each, ChildEvent)}) == 3


async def test_child_that_rests_says_so_and_then_its_parent_does() -> None:
    with anyio.fail_after(5):
        async with Calling(lambda ctx: ctx.run_child(Asking(), who="me")).run() as handler:
            report: Any = (await idle(handler)).report
            internal: list[Event] = []
            async for event in handler.stream_events(expose_internal=True):
                internal.append(event)
                if isinstance(event, WorkflowIdleEvent):
                    break
            handler.send_event(Answer())
    assert isinstance(internal[-2], ChildDispatchEvent)
    assert isinstance(internal[-2].event, WorkflowIdleEvent)
    assert report.is_waiting_for_human
    assert report.waits == ("step 'ask' waits for Answer",)
    assert any("blocked in its child 'Asking'" in line for line in report.pending)


async def test_report_of_many_children_names_a_few_and_counts_the_rest() -> None:
    """It is made at each rest: of a hundred that wait it must not name all each time."""

    async def body(ctx: Context, name: str) -> Any:
        return await ctx.run_child(Asking(), who=name)

    names = [str(number) for number in range(100)]
    with anyio.fail_after(10):
        async with RunGroup() as runs:
            fan = Fan(body, *names)
            handler = runs.start(fan)
            handler.limiter("work").total_tokens = 100
            await asked(handler, 100)
            for _ in range(5):
                await checkpoint()
            report: Any = (await idle(handler)).report
            for _ in names:
                handler.send_event(Answer())
            await handler
    named = len(report.waits) + len(report.pending)
    assert len(report.waits) < 50
    assert named + report.unnamed >= 200
