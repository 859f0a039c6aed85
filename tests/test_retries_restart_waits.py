"""Questions and answers from before a restart, in the attempts after it."""

import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from retrying import FOR_EVER, Flaky
from test_retries_restart_matching import HOURLY, Tried, cut, stalled
from test_retries_waits import Answer, Question, answered, echo

from anyio_workflows import (
    Context,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCheckpointer,
    step,
)


def answering(text: str | None = None) -> Callable[[Question, int], Answer | None]:
    """Return who answers each question, or only those of that text."""
    return lambda question, number: echo(question, number) if text in (None, question.text) else None


async def test_s_wait_2_an_answer_from_before_a_restart_is_given_to_every_later_attempt() -> None:
    async def body(self: Tried, ctx: Context, attempt: int) -> Any:
        answer = await ctx.wait_for_event(Answer, waiter_event=Question(text="once"))
        if attempt == 1:
            await self.gate()
        if attempt < 3:
            raise Flaky
        return answer.text

    workflow = Tried(body)
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            async for event in handler.stream_events():
                assert isinstance(event, Question)
                handler.send_event(echo(event, 1))
                await workflow.reached.wait()
                checkpoint = handler.checkpoint()
                await handler.cancel_run()
                break
    workflow.opened.set()
    assert await answered(checkpointer.run_from(checkpoint), answering()) == ("once! 1", [])


async def test_s_wait_4_an_open_wait_that_an_attempt_fails_before_is_asked_once() -> None:
    """Its question is on the resumed stream from the first moment, and whoever reads it may answer at any time."""
    fails = False

    async def body(self: Tried, ctx: Context, attempt: int) -> Any:
        if attempt < 2 and fails:
            raise Flaky
        answer = await ctx.wait_for_event(Answer, waiter_event=Question(text="open"))
        return answer.text

    workflow = Tried(body)
    workflow.reached.set()
    checkpointer, checkpoint = await cut(workflow)
    fails = True
    assert await answered(checkpointer.run_from(checkpoint), answering()) == ("open! 1", ["open"])
    assert checkpoint.pending[0].attempt == 1


@pytest.mark.parametrize("is_answered_early", [False, True])
async def test_s_wait_4_an_open_wait_outlives_the_delay_of_an_attempt_that_failed_before_it(
    *, is_answered_early: bool
) -> None:
    """And a second restart in that delay."""
    fails = False

    class Patient(Workflow):
        @step(retry_policy=HOURLY if not is_answered_early else FOR_EVER, waits_for=Answer)
        async def work(self, ctx: Context, ev: StartEvent) -> Question | StopEvent:
            if fails and not ctx.retry_info().retry_number:
                raise Flaky
            answer = await ctx.wait_for_event(Answer, waiter_event=Question(text="open"))
            return StopEvent(result=answer.text)

    checkpointer = WorkflowCheckpointer(workflow=Patient(extra_events=[Answer]))
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            await anyio.wait_all_tasks_blocked()
            first = handler.checkpoint()
            await handler.cancel_run()
        fails = True
        async with checkpointer.run_from(first) as handler:
            if is_answered_early:
                handler.send_event(Answer(text="early"))
                assert await handler == "early"
                return
            await anyio.wait_all_tasks_blocked()
            handler.send_event(Answer(text="in the delay"))
            second = handler.checkpoint()
            await handler.cancel_run()
        assert second.pending[0].attempt == 2
        document = json.loads(checkpointer.dumps(second))
        document["snapshot"]["pending"][0]["retry"]["due"] = 0  # long ago
        handler = checkpointer.run_from(checkpointer.loads(json.dumps(document)))
        assert await answered(handler, answering()) == ("in the delay", [])


@pytest.mark.parametrize("waits", [False, True])
async def test_s_str_1_a_question_that_is_asked_again_is_on_the_resumed_stream_once(*, waits: bool) -> None:
    """That of the attempt that failed has been withdrawn, whether it had begun to wait for the answer or not."""

    async def body(self: Tried, ctx: Context, attempt: int) -> Any:
        ctx.write_event_to_stream(Question(text="who"))
        if not attempt and not waits:
            raise Flaky
        return (await ctx.wait_for_event(Answer, timeout=None if attempt else 0.001)).text

    workflow = Tried(body)
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            asked = 0
            async for event in handler.stream_events():
                asked += isinstance(event, Question)
                if asked == 2:
                    await anyio.wait_all_tasks_blocked()
                    checkpoint = handler.checkpoint()
                    await handler.cancel_run()
                    break
    assert await answered(checkpointer.run_from(checkpoint), answering()) == ("who! 1", ["who"])


async def test_s_run_4_nobody_waits_for_an_answer_to_a_question_that_was_withdrawn_before_a_restart() -> None:
    async def body(self: Tried, ctx: Context, attempt: int) -> None:
        if not attempt:
            ctx.write_event_to_stream(Question(text="never again"))
            raise Flaky
        await self.gate()

    await stalled(*(await cut(Tried(body))))
