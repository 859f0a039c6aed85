"""Waits that an attempt has left without an answer: their questions are asked again, and one answer suffices."""

import anyio
from retrying import FOR_EVER, Flaky
from test_retries_matching import Start, both_ways
from test_retries_waits import Answer, Question, answered, asking, echo

from anyio_workflows import (
    Context,
    Event,
    StallReport,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowIdleEvent,
    step,
)


@both_ways
async def test_s_wait_2_a_question_that_nobody_answered_in_time_is_asked_again_and_answered_once(
    start: Start,
) -> None:
    async def body(ctx: Context) -> str:
        timeout = None if ctx.retry_info().retry_number == 2 else 0.001
        question = Question(text=str(ctx.retry_info().retry_number))
        return (await ctx.wait_for_event(Answer, waiter_event=question, timeout=timeout)).text

    def answer(question: Question, number: int) -> Answer | None:
        return echo(question, number) if question.text == "2" else None

    assert await answered(start(asking(body)), answer) == ("2! 3", ["0", "1", "2"])


@both_ways
async def test_s_run_4_a_human_who_has_answered_what_was_asked_again_is_waited_for_no_longer(
    start: Start,
) -> None:
    """What can go on no longer then says so, instead of waiting for answers to questions that have been withdrawn."""

    class Never(Event):
        pass

    class Parked(Workflow):
        @step(retry_policy=FOR_EVER, waits_for=(Answer, Never))
        async def work(self, ctx: Context, ev: StartEvent) -> Question | StopEvent:
            timeout = None if ctx.retry_info().retry_number == 2 else 0.001
            await ctx.wait_for_event(Answer, waiter_event=Question(text="again"), timeout=timeout)
            await ctx.wait_for_event(Never)
            return StopEvent()

    handler = start(Parked())
    reports: list[StallReport] = []
    with anyio.fail_after(5):
        async with handler:
            number = 0
            async for event in handler.stream_events(expose_internal=True):
                if isinstance(event, Question):
                    number += 1
                    if number == 3:
                        handler.send_event(Answer())
                elif isinstance(event, WorkflowIdleEvent):
                    assert isinstance(event.report, StallReport)
                    reports.append(event.report)
                    if "Never" in str(event.report.waits):
                        await handler.cancel_run()
    assert not reports[-1].is_waiting_for_human


@both_ways
async def test_s_wait_2_a_wait_that_was_given_up_is_asked_again(start: Start) -> None:
    """A child task that fails cancels the one that waits: its question has no answer yet."""

    async def body(ctx: Context) -> str:
        found = []

        async def ask() -> None:
            answer = await ctx.wait_for_event(Answer, waiter_event=Question(text="who"))
            found.append(answer.text)

        async with anyio.create_task_group() as children:
            children.start_soon(ask)
            if not ctx.retry_info().retry_number:
                await anyio.wait_all_tasks_blocked()
                raise Flaky
        return found[0]

    def answer(question: Question, number: int) -> Answer | None:
        return echo(question, number) if number == 2 else None

    assert await answered(start(asking(body)), answer) == ("who! 2", ["who", "who"])


@both_ways
async def test_s_wait_2_a_late_answer_is_for_the_question_that_was_asked_again(start: Start) -> None:
    """It comes while nobody waits, in the delay: the retry finds it, and the run ends."""
    timed_out, has_come = anyio.Event(), anyio.Event()

    async def body(ctx: Context) -> str:
        if ctx.retry_info().retry_number:
            await has_come.wait()
        try:
            answer = await ctx.wait_for_event(Answer, waiter_event=Question(text="slow"), timeout=0.001)
        except TimeoutError:
            timed_out.set()
            raise
        return answer.text

    handler = start(asking(body))
    with anyio.fail_after(5):
        async with handler:
            await timed_out.wait()
            handler.send_event(Answer(text="late"))
            has_come.set()
        assert await handler == "late"


async def test_s_wait_2_a_question_that_a_step_answers_needs_no_second_answer() -> None:
    """The attempt only asks; the answer goes to a step. What it asks again in the retry may be answered again."""

    class Asking(Workflow):
        @step(retry_policy=FOR_EVER)
        async def ask(self, ctx: Context, ev: StartEvent) -> Question | None:
            ctx.write_event_to_stream(Question(text="step"))
            if not ctx.retry_info().retry_number:
                await answered_once.wait()
                raise Flaky
            return None

        @step
        async def hear(self, ctx: Context, ev: Answer) -> StopEvent | None:
            answered_once.set()
            return StopEvent(result=ev.text) if ev.text == "2" else None

    answered_once = anyio.Event()
    handler = Asking().run()
    asked = 0
    with anyio.fail_after(5):
        async with handler:
            async for event in handler.stream_events(expose_internal=True):
                asked += isinstance(event, Question)
                if asked == 2 and isinstance(event, WorkflowIdleEvent):
                    assert isinstance(event.report, StallReport)
                    assert event.report.is_waiting_for_human
                    handler.send_event(Answer(text="2"))
                elif isinstance(event, Question) and asked == 1:
                    handler.send_event(Answer(text="1"))
        assert await handler == "2"
    assert asked == 2
