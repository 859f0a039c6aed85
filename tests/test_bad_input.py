"""What a user may get wrong: each a clear error or the documented behaviour, and nothing left running."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint
from running import Abort, Calling, Crowd, Echo, Failing, Held, Work, events_of, stored_cancellation

from anyio_workflows import (
    Context,
    Event,
    EventFieldsError,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledError,
    WorkflowConfigurationError,
    WorkflowError,
    WorkflowFailedEvent,
    WorkflowHandler,
    WorkflowRuntimeError,
    WorkflowStepDoesNotExistError,
    WorkflowValidationError,
    step,
)


class Named(Event):
    name: str


class Order(StartEvent):
    article: str
    count: int = 1


class Ordering(Workflow):
    @step
    async def order(self, ev: Order) -> StopEvent:
        return StopEvent(result=(ev.article, ev.count))


async def _error_in(body: Callable[[Context], Awaitable[object]]) -> WorkflowRuntimeError:
    """Return what a step that does *body* fails with."""
    handler = Calling(body).run()
    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError) as caught:
        await handler
    assert handler.failures == (caught.value,)
    return caught.value


# --- declarations


def test_s_def_3_all_mistakes_of_a_workflow_are_reported_together() -> None:
    """Nobody wants to find them one by one."""

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Named:
            return Named(name="nobody takes it")

        @step
        async def lost(self, ev: Work) -> None: ...

    with pytest.raises(WorkflowConfigurationError) as caught:
        Flow()
    assert len(caught.value.problems) >= 3
    message = str(caught.value)
    assert message.startswith(f"{len(caught.value.problems)} mistakes in the declaration of Flow:")
    for name in ("Named", "Work", "StopEvent"):
        assert name in message


def test_s_def_3_steps_that_are_added_later_are_looked_at_when_it_is_run() -> None:
    class Flow(Echo):
        pass

    flow = Flow()

    @step(workflow=Flow)
    async def lost(ev: Work) -> None: ...

    with pytest.raises(WorkflowValidationError, match="lost"):
        flow.run()
    with pytest.raises(WorkflowValidationError, match="lost"):
        flow.validate()


def test_a_workflow_whose_init_does_not_call_that_of_workflow_is_told_so() -> None:
    """The commonest slip with a class that has parameters of its own."""

    class Flow(Echo):
        def __init__(self, client: object) -> None:
            self.client = client

    with pytest.raises(WorkflowRuntimeError, match=r"write super\(\).__init__\(\) in it"):
        Flow(object()).run()


@pytest.mark.parametrize("number", [0, -1, True, 1.5, "3"], ids=repr)
def test_a_number_of_concurrent_runs_that_is_none_is_refused(number: Any) -> None:
    with pytest.raises(WorkflowRuntimeError, match=r"num_concurrent_runs=.*give an int"):
        Echo(num_concurrent_runs=number)


# --- starting


def test_s_ev_3_an_unknown_keyword_for_an_event_names_class_keyword_and_fields() -> None:
    with pytest.raises(EventFieldsError) as caught:
        Named(name="x", nmae="y")  # type: ignore[call-arg]  # the mistake
    assert str(caught.value) == "Named has no field 'nmae'; its fields are 'name'"
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, WorkflowError)


def test_a_start_event_that_lacks_fields_is_refused_by_run() -> None:
    """At the call, with the line of the caller; nothing was started and nothing warns."""
    with pytest.raises(EventFieldsError, match=r"Order needs 'article'; its fields are 'article', 'count'"):
        Ordering().run(count=3)


def test_an_unknown_field_of_a_start_event_is_refused_by_run() -> None:
    with pytest.raises(EventFieldsError, match="Order has no field 'colour'"):
        Ordering().run(article="tea", colour="red")


def test_a_start_event_of_another_class_is_refused_by_run() -> None:
    for given in (StartEvent(article="tea"), Named(name="x"), Order, "tea"):
        with pytest.raises(WorkflowRuntimeError, match="it starts with Order"):
            Ordering().run(start_event=given)  # type: ignore[arg-type]  # the mistake


def test_a_start_event_and_fields_together_are_refused_by_run() -> None:
    with pytest.raises(WorkflowRuntimeError, match="give one or the other"):
        Ordering().run(Order(article="tea"), count=3)


@pytest.mark.parametrize("buffer", [0, -1, True, "3"], ids=repr)
def test_a_stream_buffer_that_is_no_number_is_refused_by_run(buffer: Any) -> None:
    with pytest.raises(WorkflowRuntimeError, match="stream_buffer="):
        Echo().run(stream_buffer=buffer)


@pytest.mark.parametrize("run_id", [3, b"id"], ids=repr)
def test_a_run_id_that_is_no_text_is_refused_by_run(run_id: Any) -> None:
    """It names the run in logs, stores and look-ups."""
    with pytest.raises(WorkflowRuntimeError, match="run_id"):
        Echo().run(run_id=run_id)


# --- what a step gives


@pytest.mark.parametrize(
    "value",
    ["done", 3, StopEvent, {"result": 1}, [StopEvent()], False, pytest.param(object(), id="an object")],
    ids=repr,
)
async def test_s_def_2_a_step_that_returns_something_else_than_an_event_is_an_error(value: Any) -> None:
    """Naming the step and what came; also a class instead of an instance, or something that is falsy."""

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return value  # type: ignore[no-any-return]  # the mistake

    handler = Flow().run()
    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError) as caught:
        await handler
    message = str(caught.value)
    assert "step 'begin' gave" in message
    assert repr(value)[:50] in message
    assert "which is no event" in message
    assert "return None" in message
    (last,) = await events_of(handler)
    assert isinstance(last, WorkflowFailedEvent)
    assert last.step_name == "begin"


async def test_s_def_2_a_plain_function_that_returns_no_event_is_an_error() -> None:
    class Flow(Workflow):
        @step
        def begin(self, ev: StartEvent) -> StopEvent:
            return "done"  # type: ignore[return-value]  # the mistake

    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError, match="step 'begin' gave 'done'"):
        await Flow().run()


async def test_s_def_2_a_wrong_return_cancels_the_rest_like_any_failure() -> None:
    async def last(ctx: Context) -> StopEvent:
        return "done"  # type: ignore[return-value]  # the mistake

    flow = Crowd(last)
    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError):
        await flow.run()
    assert flow.cleaned_up == 3


async def test_s_def_2_returning_none_is_always_allowed() -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Work:
            ctx.send_event(Work())
            return None  # type: ignore[return-value]  # as the seeds do

        @step
        async def end(self, ev: Work) -> StopEvent:
            return StopEvent(result="done")

    with anyio.fail_after(5):
        assert await Flow().run() == "done"


# --- what a step sends


class Picky(Workflow):
    """`other` takes Named and nothing else; `begin` does what the test says."""

    def __init__(self, body: Callable[[Context], Awaitable[object]]) -> None:
        super().__init__(skip_graph_checks=["reachability"])
        self.body = body

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent(result=await self.body(ctx))

    @step
    async def other(self, ev: Named) -> StopEvent:
        return StopEvent(result=ev.name)


async def _send_event(ctx: Context, event: Any, name: str) -> None:
    ctx.send_event(event, step=name)


async def _send(ctx: Context, event: Any, name: str) -> None:
    await ctx.send(event, step=name)


@pytest.mark.parametrize("send", [_send_event, _send])
async def test_s_send_3_an_event_for_a_step_that_does_not_take_it_is_an_error_at_the_call(
    send: Callable[[Context, Any, str], Awaitable[None]],
) -> None:
    """It names who sent what, where, and what is taken there; the step may handle it."""

    async def body(ctx: Context) -> str:
        with pytest.raises(WorkflowRuntimeError) as caught:
            await send(ctx, Work(), "other")
        return str(caught.value)

    with anyio.fail_after(5):
        message = await Picky(body).run()
    assert message == "step 'begin' sent Work to step 'other', which does not accept it; it accepts Named"


@pytest.mark.parametrize("send", [_send_event, _send])
async def test_s_send_3_an_event_for_an_unknown_step_is_an_error_at_the_call(
    send: Callable[[Context, Any, str], Awaitable[None]],
) -> None:
    async def body(ctx: Context) -> str:
        with pytest.raises(WorkflowStepDoesNotExistError) as caught:
            await send(ctx, Named(name="x"), "othr")
        return str(caught.value)

    with anyio.fail_after(5):
        assert await Picky(body).run() == "there is no step 'othr'; the steps are 'begin', 'other'"


@pytest.mark.parametrize("what", ["text", Work, None, 3], ids=repr)
async def test_s_send_3_what_is_no_event_cannot_be_sent(what: Any) -> None:
    async def sends(ctx: Context) -> None:
        ctx.send_event(what)

    assert "which is no event" in str(await _error_in(sends))

    async def awaits_send(ctx: Context) -> None:
        await ctx.send(what)

    assert "which is no event" in str(await _error_in(awaits_send))


async def test_s_send_3_the_same_mistakes_from_outside_are_errors_at_the_call_and_harm_nothing() -> None:
    flow = Held()
    with anyio.fail_after(5):
        async with flow.run() as handler:
            await flow.begun.wait()
            with pytest.raises(WorkflowRuntimeError, match="the handler sent Work to step 'hold'"):
                handler.send_event(Work(), step="hold")
            with pytest.raises(WorkflowStepDoesNotExistError):
                handler.send_event(Work(), step="nowhere")
            with pytest.raises(WorkflowRuntimeError, match="which is no event"):
                handler.send_event("text")  # type: ignore[arg-type]  # the mistake
            with pytest.raises(WorkflowStepDoesNotExistError):
                handler.limiter("nowhere")
            flow.gate.set()
            assert await handler == "let go"


async def test_s_send_1_a_stop_event_for_one_step_alone_is_an_error() -> None:
    """It goes to no step."""

    async def body(ctx: Context) -> None:
        ctx.send_event(StopEvent(), step="call")

    assert "StopEvent" in str(await _error_in(body))


async def test_what_is_no_event_cannot_be_written_to_the_stream() -> None:
    async def body(ctx: Context) -> None:
        ctx.write_event_to_stream("text")  # type: ignore[arg-type]  # the mistake

    error = await _error_in(body)
    assert "step 'call' wrote 'text' to the stream, which is no event" in str(error)


@pytest.mark.parametrize("offset", [-1, True], ids=repr)
async def test_a_stream_offset_that_is_no_number_is_an_error(offset: Any) -> None:
    async with Echo().run() as handler:
        with pytest.raises(WorkflowRuntimeError, match="offset="):
            handler.stream_events(offset=offset)


# --- collecting and waiting


@pytest.mark.parametrize(
    "expected",
    [[str], ["Work"], [Work()], Work, 3, None, {Work: -1}, {Work: "2"}, {str: 1}, [Work, None], "Work"],
    ids=repr,
)
async def test_s_col_2_collect_events_with_something_that_is_no_event_type_is_an_error(expected: Any) -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Work:
            return Work()

        @step
        async def collect(self, ctx: Context, ev: Work) -> StopEvent | None:
            return StopEvent(result=ctx.collect_events(ev, expected))

    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError, match="collect"):
        await Flow().run()


async def test_s_col_2_collecting_what_is_no_event_is_an_error() -> None:
    async def body(ctx: Context) -> None:
        ctx.collect_events("text", [Work])  # type: ignore[arg-type]  # the mistake

    assert "called collect_events with 'text', which is no event" in str(await _error_in(body))


@pytest.mark.parametrize("kind", [Work(), "Work", str, None], ids=repr)
async def test_s_wait_2_waiting_for_what_is_no_event_class_is_an_error(kind: Any) -> None:
    async def body(ctx: Context) -> None:
        await ctx.wait_for_event(kind)

    assert "which is no event class" in str(await _error_in(body))


async def test_s_wait_2_a_waiter_event_that_is_no_event_is_an_error() -> None:
    async def body(ctx: Context) -> None:
        await ctx.wait_for_event(Work, waiter_event="question")  # type: ignore[arg-type]  # the mistake

    assert "'question'" in str(await _error_in(body))


# --- a context that is over


@pytest.mark.parametrize(
    "method", ["send_event", "send", "collect_events", "wait_for_event", "write", "store"]
)
async def test_s_send_1_a_context_used_after_its_execution_is_an_error_that_says_so(method: str) -> None:
    kept: list[Context] = []

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Work:
            kept.append(ctx)
            return Work()

        @step
        async def late(self, ctx: Context, ev: Work) -> StopEvent:
            old = kept[0]
            if method == "send_event":
                old.send_event(Work())
            elif method == "send":
                await old.send(Work())
            elif method == "collect_events":
                old.collect_events(ev, [Work])
            elif method == "wait_for_event":
                await old.wait_for_event(Work)
            elif method == "write":
                old.write_event_to_stream(Work())
            else:
                await old.store.get("n")
            return StopEvent()

    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError) as caught:
        await Flow().run()
    assert "after its execution of step 'begin' had ended" in str(caught.value)


async def test_s_send_1_a_context_is_over_when_the_run_has_ended() -> None:
    kept: list[Context] = []

    async def body(ctx: Context) -> None:
        kept.append(ctx)

    async def fails(ctx: Context) -> None:
        kept.append(ctx)
        raise ValueError("no")

    await Calling(body).run()
    with pytest.raises(ValueError):
        await Calling(fails).run()
    for ctx in kept:
        with pytest.raises(WorkflowRuntimeError, match="had ended"):
            ctx.send_event(Work())


@pytest.mark.parametrize("method", ["send", "wait_for_event"])
async def test_s_work_2_what_a_plain_function_cannot_do_is_a_clear_error(method: str) -> None:
    class Flow(Workflow):
        @step
        def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            coroutine: Any = ctx.send(Work()) if method == "send" else ctx.wait_for_event(Work)
            coroutine.send(None)
            return StopEvent()

    with (
        anyio.fail_after(5),
        pytest.raises(WorkflowRuntimeError, match=f"ctx.{method} cannot be used in step 'begin'"),
    ):
        await Flow().run()


# --- the list of the rest, in one place: the outcome of each and nothing left running


async def test_a_handler_that_was_not_started_an_ended_one_and_one_entered_twice_are_errors() -> None:
    handler = Echo().run(value=1)
    with pytest.raises(WorkflowRuntimeError, match="was not started"):
        handler.send_event(Work())
    async with handler:
        pass
    with pytest.raises(WorkflowRuntimeError, match="has ended"):
        handler.send_event(Work())
    with pytest.raises(WorkflowRuntimeError, match="started already"):
        await handler.serve()
    assert await handler == 1


async def test_a_handler_awaited_in_a_foreign_event_loop_is_an_error() -> None:
    async def other(handler: WorkflowHandler) -> None:
        with pytest.raises(WorkflowRuntimeError, match="another event loop"):
            await handler

    handler = Echo().run(value=1)
    await handler
    with anyio.fail_after(5):
        await anyio.to_thread.run_sync(anyio.run, other, handler)
    assert await handler == 1


async def test_a_body_that_raises_ends_the_run_and_leaves_as_itself() -> None:
    flow = Held()
    with anyio.fail_after(5), pytest.raises(KeyError):
        async with flow.run():
            await flow.begun.wait()
            raise KeyError("body")
    assert flow.log == ["begun", "cancelled"]


async def test_a_step_that_raises_the_cancelled_exception_itself_is_an_error_that_names_it() -> None:
    async def body(ctx: Context) -> None:
        raise await stored_cancellation()

    assert "step 'call' raised" in str(await _error_in(body))


async def test_a_step_that_swallows_cancellation_for_a_while_is_waited_for_and_ends() -> None:
    """A step that goes on after its cancellation is cancelled again at each await; the run ends after it."""

    async def body(ctx: Context) -> str:
        begun.set()
        for _ in range(5):
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():  # noqa: ASYNC103  # the mistake
                swallowed.append(True)  # noqa: ASYNC104
        return "done all the same"

    begun = anyio.Event()
    swallowed: list[bool] = []
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            handler = Calling(body).run()
            tasks.start_soon(_await, handler)
            await begun.wait()
            tasks.cancel_scope.cancel()
    assert swallowed == [True] * 5
    with pytest.raises(WorkflowCancelledError):
        await handler


async def _await(handler: WorkflowHandler) -> None:
    await handler


async def test_a_step_that_raises_base_exception_raises_it_from_await() -> None:
    with anyio.fail_after(5), pytest.raises(Abort):
        await Failing().run(error=Abort())


async def test_two_failures_at_once_give_the_first_and_keep_both() -> None:
    """Neither group nor loss: both raise in one pass, one in the clean-up that the other causes."""

    async def last(ctx: Context) -> StopEvent:
        raise ValueError("first")

    class Flow(Crowd):
        @step
        async def stay(self, ev: Work) -> None:
            try:
                await super().stay(ev)
            except BaseException:
                if ev.number == 0:
                    raise KeyError("second") from None
                raise

    handler = Flow(last).run()
    with anyio.fail_after(5), pytest.raises(ValueError):
        await handler
    assert [type(error) for error in handler.failures] == [ValueError, KeyError]
    await checkpoint()
