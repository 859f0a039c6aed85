"""What becomes of waits, their questions and their answers when an attempt fails."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from retrying import FOR_EVER, Flaky
from test_retries_matching import Start, both_ways
from virtual_time import both_backends, run_virtually

from anyio_workflows import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    RetryPolicy,
    StallReport,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCheckpointer,
    WorkflowHandler,
    WorkflowIdleEvent,
    step,
)


class Question(InputRequiredEvent):
    text: str = ""


class Answer(HumanResponseEvent):
    text: str = ""


class Confirmation(HumanResponseEvent):
    text: str = ""


def asking(body: Callable[[Context], Awaitable[object]], policy: RetryPolicy = FOR_EVER) -> Workflow:
    class Asking(Workflow):
        @step(retry_policy=policy, waits_for=(Answer, Confirmation))
        async def work(self, ctx: Context, ev: StartEvent) -> Question | StopEvent:
            return StopEvent(result=await body(ctx))

    return Asking(extra_events=[Question, Answer, Confirmation])


async def answered(
    handler: WorkflowHandler, answer: Callable[[Question, int], Event | None], *, seconds: float = 5
) -> tuple[Any, list[str]]:
    """Answer each question with what *answer* makes of it and its number; return the result and the questions."""
    asked: list[str] = []
    with anyio.fail_after(seconds):
        async with handler:
            async for event in handler.stream_events():
                if isinstance(event, Question):
                    asked.append(event.text)
                    made = answer(event, len(asked))
                    if made is not None:
                        handler.send_event(made)
        return await handler, asked


def echo(question: Question, number: int) -> Answer:
    return Answer(text=f"{question.text}! {number}")


# --- answered waits


@both_ways
@pytest.mark.parametrize("waiter_id", [None, "the one"])
@pytest.mark.parametrize("asks_itself", [False, True])
async def test_s_wait_2_a_retry_after_an_answer_is_not_asked_again(
    start: Start, waiter_id: str | None, *, asks_itself: bool
) -> None:
    async def body(ctx: Context) -> str:
        if asks_itself:
            ctx.write_event_to_stream(Question(text="well"))
        question = None if asks_itself else Question(text="well")
        answer = await ctx.wait_for_event(Answer, waiter_event=question, waiter_id=waiter_id)
        if ctx.retry_info().retry_number < 2:
            raise Flaky
        return answer.text

    assert await answered(start(asking(body)), echo) == ("well! 1", ["well"])


@both_ways
async def test_s_wait_2_a_retry_goes_on_from_the_question_that_nobody_has_answered(start: Start) -> None:
    async def body(ctx: Context) -> list[str]:
        texts = []
        for number in range(4):
            if ctx.retry_info().retry_number < number:
                raise Flaky
            answer = await ctx.wait_for_event(Answer, waiter_event=Question(text=str(number)))
            texts.append(answer.text)
        return texts

    expected = ["0! 1", "1! 2", "2! 3", "3! 4"], ["0", "1", "2", "3"]
    assert await answered(start(asking(body)), echo) == expected


@both_ways
async def test_s_wait_2_equal_questions_are_as_many_as_were_asked(start: Start) -> None:
    """Two waits of one execution may ask the same; each has an answer of its own, in every attempt."""

    async def body(ctx: Context) -> list[str]:
        texts = [
            (await ctx.wait_for_event(Answer, waiter_event=Question(text="more"))).text for _ in range(2)
        ]
        if ctx.retry_info().retry_number < 2:
            raise Flaky
        return texts

    expected = ["more! 1", "more! 2"], ["more", "more"]
    assert await answered(start(asking(body)), echo) == expected


@both_ways
async def test_s_wait_2_an_attempt_that_waits_for_something_else_is_not_given_the_old_answer(
    start: Start,
) -> None:
    """Its first wait is not the first wait of the attempt before."""

    async def body(ctx: Context) -> list[str]:
        texts = []
        if ctx.retry_info().retry_number:
            sure = await ctx.wait_for_event(Confirmation, waiter_event=Question(text="sure"))
            texts.append(sure.text)
            if ctx.retry_info().retry_number < 2:
                raise Flaky
            return texts
        texts.append((await ctx.wait_for_event(Answer, waiter_event=Question(text="what"))).text)
        raise Flaky

    def answer(question: Question, number: int) -> Event:
        kind = Confirmation if question.text == "sure" else Answer
        return kind(text=question.text)

    assert await answered(start(asking(body)), answer) == (["sure"], ["what", "sure"])


@both_ways
async def test_s_wait_2_an_answer_stays_with_its_wait_whatever_other_waits_there_are(start: Start) -> None:
    """With requirements, the n-th wait may be another one in each attempt."""

    async def body(ctx: Context) -> list[str]:
        names = ["a", "b"] if ctx.retry_info().retry_number % 2 else ["b", "a"]
        texts = {}
        for name in names:
            answer = await ctx.wait_for_event(
                Answer, waiter_event=Question(text=name), waiter_id=name, requirements={"text": name}
            )
            texts[name] = answer.text
            if name == "a" and ctx.retry_info().retry_number < 2:
                raise Flaky
        return sorted(texts.values())

    def answer(question: Question, number: int) -> Answer:
        return Answer(text=question.text)

    assert await answered(start(asking(body)), answer) == (["a", "b"], ["b", "a"])


@both_ways
async def test_s_wait_2_an_answer_that_came_before_its_question_is_kept_for_the_retry(start: Start) -> None:
    begun = anyio.Event()
    sent = anyio.Event()

    async def body(ctx: Context) -> str:
        begun.set()
        await sent.wait()
        answer = await ctx.wait_for_event(Answer)
        if not ctx.retry_info().retry_number:
            raise Flaky
        return answer.text

    handler = start(asking(body))
    with anyio.fail_after(5):
        async with handler:
            await begun.wait()
            handler.send_event(Answer(text="early"))
            sent.set()
        assert await handler == "early"


# --- waits without an answer


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


# --- where a wait stands


@both_backends
@pytest.mark.parametrize("recorded", [False, True])
def test_s_wait_3_a_retry_after_an_answer_needs_no_worker_that_waits(backend: str, *, recorded: bool) -> None:
    """Three ask, one worker; each fails after its answer."""
    order: list[int] = []

    class Piece(Event):
        number: int

    class Crowd(Workflow):
        @step
        async def split(self, ctx: Context, ev: StartEvent) -> Piece | None:
            for number in range(3):
                ctx.send_event(Piece(number=number))
            return None

        @step(num_workers=1, retry_policy=FOR_EVER, waits_for=Answer)
        async def ask(self, ctx: Context, ev: Piece) -> StopEvent | Question | None:
            name = str(ev.number)
            await ctx.wait_for_event(
                Answer, waiter_event=Question(text=name), requirements={"text": name}, timeout=100
            )
            if not ctx.retry_info().retry_number:
                raise Flaky
            order.append(ev.number)
            return StopEvent() if len(order) == 3 else None

    async def main() -> None:
        workflow = Crowd()
        handler = WorkflowCheckpointer(workflow=workflow).run() if recorded else workflow.run()
        async with handler:
            async for event in handler.stream_events():
                if isinstance(event, Question) and event.text == "2":
                    for name in ("2", "0", "1"):
                        handler.send_event(Answer(text=name))

    run_virtually(main, backend)
    assert sorted(order) == [0, 1, 2]
