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
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCheckpointer,
    WorkflowHandler,
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
async def test_s_wait_2_a_question_of_any_class_is_not_asked_again(start: Start) -> None:
    class Knock(Event):
        pass

    async def body(ctx: Context) -> str:
        answer = await ctx.wait_for_event(Answer, waiter_event=Knock())
        if ctx.retry_info().retry_number < 2:
            raise Flaky
        return answer.text

    handler = start(asking(body))
    knocks = 0
    with anyio.fail_after(5):
        async with handler:
            async for event in handler.stream_events():
                if isinstance(event, Knock):
                    knocks += 1
                    handler.send_event(Answer(text="come in"))
        assert (await handler, knocks) == ("come in", 1)


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
