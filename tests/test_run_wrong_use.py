"""S-RUN-2: a handler used wrongly says which line to write; a run that awaits itself is an error at once."""

import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint
from running import Calling, Echo, Failing, Held, Work

from anyio_workflows import (
    Context,
    RunGroup,
    StopEvent,
    WorkflowHandler,
    WorkflowRuntimeError,
)


async def _stream(handler: WorkflowHandler) -> None:
    async for _ in handler.stream_events():
        pass


async def _send(handler: WorkflowHandler) -> None:
    handler.send_event(Work())


async def _cancel(handler: WorkflowHandler) -> None:
    await handler.cancel_run()


async def _limiter(handler: WorkflowHandler) -> None:
    handler.limiter("echo")


async def _await(handler: WorkflowHandler) -> None:
    await handler


async def _enter(handler: WorkflowHandler) -> None:
    async with handler:
        pass


async def _serve(handler: WorkflowHandler) -> None:
    await handler.serve()


# --- not started


@pytest.mark.parametrize(
    ("use", "line"),
    [
        (_stream, "async for event in handler.stream_events():"),
        (_send, "handler.send_event(...)"),
        (_cancel, "await handler.cancel_run()"),
        (_limiter, "handler.limiter(...)"),
    ],
)
async def test_s_run_2_a_handler_used_before_it_was_started_shows_the_line_to_write(
    use: Callable[[WorkflowHandler], Awaitable[None]], line: str
) -> None:
    handler = Echo().run(value=1)
    with pytest.raises(WorkflowRuntimeError) as caught:
        await use(handler)
    message = str(caught.value)
    assert "run of Echo was not started" in message
    assert "\n    async with workflow.run(...) as handler:\n        " + line in message
    assert await handler == 1  # the mistake has cost nothing


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_s_run_2_a_handler_dropped_without_being_started_is_a_runtime_warning(backend: str) -> None:
    """As of a coroutine: the commonest mistake is to forget the await."""

    async def forget() -> None:
        Echo().run(value=1)
        gc.collect()

    with pytest.warns(RuntimeWarning, match=r"run of Echo was never started; write 'await workflow\.run"):
        anyio.run(forget, backend=backend)


@pytest.mark.parametrize("use", [_await, _enter, _serve])
async def test_s_run_2_a_handler_that_was_started_is_dropped_in_silence(
    use: Callable[[WorkflowHandler], Awaitable[None]], recwarn: pytest.WarningsRecorder
) -> None:
    await use(Echo().run(value=1))
    gc.collect()
    assert [warning for warning in recwarn if warning.category is RuntimeWarning] == []


# --- started twice


@pytest.mark.parametrize("first", [_await, _enter, _serve])
@pytest.mark.parametrize("second", [_enter, _serve])
async def test_s_run_2_a_handler_started_twice_is_an_error_that_says_how_to_make_a_new_one(
    first: Callable[[WorkflowHandler], Awaitable[None]],
    second: Callable[[WorkflowHandler], Awaitable[None]],
) -> None:
    handler = Echo().run(value=1)
    await first(handler)
    with pytest.raises(WorkflowRuntimeError) as caught:
        await second(handler)
    message = str(caught.value)
    assert "run of Echo was started already" in message
    assert "\n    handler = workflow.run(...)" in message


async def test_s_run_2_a_handler_entered_inside_itself_is_an_error_and_the_run_goes_on() -> None:
    flow = Held()
    with anyio.fail_after(5):
        async with flow.run() as handler:
            with pytest.raises(WorkflowRuntimeError, match="started already"):
                async with handler:
                    pass
            await flow.begun.wait()
            flow.gate.set()
            assert await handler == "let go"


async def test_s_run_2_a_run_of_a_run_group_is_not_entered() -> None:
    flow = Held()
    with anyio.fail_after(5):
        async with RunGroup() as runs:
            handler = runs.start(flow)
            with pytest.raises(WorkflowRuntimeError, match="started already"):
                await handler.serve()
            flow.gate.set()
            assert await handler == "let go"


# --- another event loop


@pytest.mark.parametrize("use", [_stream, _send, _cancel, _limiter, _await, _enter, _serve])
@pytest.mark.parametrize("elsewhere", ["asyncio", "trio"])
async def test_s_run_2_a_handler_used_in_another_event_loop_is_an_error(
    elsewhere: str, use: Callable[[WorkflowHandler], Awaitable[None]]
) -> None:
    """Waking a task of another loop corrupts it; a message is cheaper."""
    flow = Held()

    async def other() -> str:
        with pytest.raises(WorkflowRuntimeError) as caught:
            await use(handler)
        return str(caught.value)

    with anyio.fail_after(5):
        async with flow.run() as handler:
            await flow.begun.wait()
            message = await anyio.to_thread.run_sync(lambda: anyio.run(other, backend=elsewhere))
            assert not handler.is_done()
            flow.gate.set()
    if use in (_enter, _serve):
        assert "workflow.run(...)" in message
    else:
        assert "belongs to another event loop" in message
        assert "\n    result = await workflow.run(...)" in message


async def test_s_run_2_one_workflow_serves_several_event_loops() -> None:
    """Only a handler belongs to one."""
    flow = Echo(num_concurrent_runs=1)

    async def other() -> object:
        return await flow.run(value="there")

    assert await flow.run(value="here") == "here"
    with anyio.fail_after(5):
        assert await anyio.to_thread.run_sync(lambda: anyio.run(other)) == "there"
    assert await flow.run(value="again") == "again"


# --- after the end


async def _failed() -> WorkflowHandler:
    handler = Failing().run(error=ValueError("no"), run_id="gone")
    with pytest.raises(ValueError):
        await handler
    return handler


async def _completed() -> WorkflowHandler:
    handler = Echo().run(run_id="gone")
    await handler
    return handler


async def _cancelled() -> WorkflowHandler:
    async with Held().run(run_id="gone") as handler:
        await handler.cancel_run()
    return handler


async def _timed_out() -> WorkflowHandler:
    handler = Held().run(run_id="gone", timeout=0.01)
    with pytest.raises(TimeoutError):
        await handler
    return handler


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (_completed, "completed"),
        (_failed, "failed: ValueError('no')"),
        (_cancelled, "cancelled"),
        (_timed_out, "timedout"),
    ],
)
async def test_s_run_2_send_event_after_the_end_names_run_and_outcome(
    end: Callable[[], Awaitable[WorkflowHandler]], outcome: str
) -> None:
    handler = await end()
    with pytest.raises(WorkflowRuntimeError) as caught:
        handler.send_event(Work(number=7))
    message = str(caught.value)
    assert "gone" in message
    assert handler.workflow_name in message
    assert outcome in message.replace(" ", "").replace("_", "") or outcome in message
    assert "Work(number=7)" in message


async def test_s_run_2_send_event_when_the_outcome_is_decided_is_an_error_though_clean_ups_run() -> None:
    """Nothing could come of it any more."""

    async def clean_up(ctx: Context) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                cleaning.set()
                await gate.wait()

    begun, cleaning, gate = anyio.Event(), anyio.Event(), anyio.Event()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks, Calling(clean_up).run() as handler:
            await begun.wait()
            tasks.start_soon(handler.cancel_run)
            await cleaning.wait()
            with pytest.raises(WorkflowRuntimeError, match="has ended"):
                handler.send_event(Work())
            gate.set()


# --- from inside itself


async def test_s_run_2_a_step_that_awaits_its_own_run_is_an_error_at_once() -> None:
    """It would wait for itself for ever."""

    async def body(ctx: Context) -> None:
        await handler

    handler = Calling(body).run()
    with (
        anyio.fail_after(5),
        pytest.raises(WorkflowRuntimeError, match="awaited from inside itself") as caught,
    ):
        await handler
    assert handler.run_id in str(caught.value)


async def test_s_run_2_a_step_that_awaits_its_own_run_may_handle_the_error() -> None:
    async def body(ctx: Context) -> str:
        with pytest.raises(WorkflowRuntimeError):
            await handler
        return "handled"

    handler = Calling(body).run()
    with anyio.fail_after(5):
        assert await handler == "handled"


async def test_s_run_2_a_step_that_cancels_or_serves_or_enters_its_own_run_is_an_error_at_once() -> None:
    async def body(ctx: Context) -> None:
        for use in (_cancel, _enter, _serve):
            with pytest.raises(WorkflowRuntimeError):
                await use(handler)

    handler = Calling(body).run()
    with anyio.fail_after(5):
        assert await handler is None


async def test_s_run_2_a_child_task_of_a_step_that_awaits_the_run_is_an_error_at_once() -> None:
    async def child() -> None:
        with pytest.raises(WorkflowRuntimeError, match="inside itself") as caught:
            await handler
        errors.append(caught.value)

    async def body(ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)

    errors: list[BaseException] = []
    handler = Calling(body).run()
    with anyio.fail_after(5):
        await handler
    assert len(errors) == 1


@pytest.mark.parametrize("way", [_await, _enter, _serve])
async def test_s_run_2_a_run_nested_in_it_that_awaits_the_run_is_an_error_at_once(
    way: Callable[[WorkflowHandler], Awaitable[None]],
) -> None:
    """However the nested run is run, and however deep it is."""

    async def innermost(ctx: Context) -> None:
        await outer

    async def middle(ctx: Context) -> None:
        await way(Calling(innermost).run())

    async def body(ctx: Context) -> None:
        await way(Calling(middle).run())

    outer = Calling(body).run()
    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError, match="inside itself"):
        await outer


async def test_s_run_2_a_body_inside_a_step_that_awaits_the_outer_run_is_an_error_at_once() -> None:
    async def body(ctx: Context) -> None:
        async with Echo().run() as inner:
            await inner
            await outer

    outer = Calling(body).run()
    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError, match="inside itself"):
        await outer


@pytest.mark.parametrize("length", [2, 3])
async def test_s_run_2_a_ring_of_runs_that_await_each_other_is_an_error_at_once(length: int) -> None:
    """The one that closes the ring gets the error; the others go on with what it gives them."""
    begun = 0

    def awaits(number: int) -> Calling:
        async def body(ctx: Context) -> object:
            nonlocal begun
            begun += 1
            if begun == length:
                all_begun.set()
            await all_begun.wait()
            try:
                return await handlers[(number + 1) % length]
            except WorkflowRuntimeError:
                return "broken here"

        return Calling(body)

    all_begun = anyio.Event()
    handlers = [awaits(number).run() for number in range(length)]
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for handler in handlers:
                tasks.start_soon(_await, handler)
    assert [await handler for handler in handlers] == ["broken here"] * length


async def test_s_run_2_a_ring_is_looked_for_among_waits_not_among_all_runs() -> None:
    """Two runs that both await a third make no ring."""
    third = Held()
    third_handler = third.run()

    async def body(ctx: Context) -> object:
        return await third_handler

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_await, third_handler)
            await third.begun.wait()
            first, second = Calling(body).run(), Calling(body).run()
            tasks.start_soon(_await, first)
            tasks.start_soon(_await, second)
            await checkpoint()
            third.gate.set()
    assert [await first, await second] == ["let go", "let go"]


async def test_s_run_2_a_wait_that_was_given_up_makes_no_ring() -> None:
    """A step that stopped waiting for a run may be awaited by it."""

    async def gives_up(ctx: Context) -> str:
        with anyio.move_on_after(0.01):
            await other
        given_up.set()
        return "one"

    async def awaits(ctx: Context) -> object:
        begun.set()
        await given_up.wait()
        return await one

    begun, given_up = anyio.Event(), anyio.Event()
    one, other = Calling(gives_up).run(), Calling(awaits).run()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_await, other)
            await begun.wait()
            tasks.start_soon(_await, one)
    assert await other == "one"


async def test_s_run_2_a_detached_run_may_await_the_run_that_started_it() -> None:
    """A run of a RunGroup's is not nested: it outlives the step that started it."""

    async def detached(ctx: Context) -> object:
        return await outer

    async def body(ctx: Context) -> str:
        started.append(runs.start(Calling(detached)))
        await checkpoint()
        return "outer"

    started: list[WorkflowHandler] = []
    with anyio.fail_after(5):
        async with RunGroup() as runs:
            outer = Calling(body).run()
            assert await outer == "outer"
            assert await started[0] == "outer"


async def test_s_run_2_a_step_may_run_and_await_other_runs() -> None:
    """Also the same workflow again, as long as nothing waits for itself."""
    depth = 0

    async def body(ctx: Context) -> Any:
        nonlocal depth
        depth += 1
        return [await flow.run()] if depth < 4 else []

    flow = Calling(body)
    with anyio.fail_after(5):
        assert await flow.run() == [[[[]]]]


async def test_s_run_2_a_step_that_awaits_one_run_after_the_other_keeps_none_of_them() -> None:
    """A run that supervises others for months must not hold every one it has had."""

    class Payload:
        pass

    async def body(ctx: Context) -> list[object]:
        payloads = []
        for way in (_await, _enter):
            handler = Echo().run(value=Payload())
            await way(handler)
            payloads.append(weakref.ref(await handler))
            del handler
        gc.collect()
        return [payload() for payload in payloads]

    with anyio.fail_after(5):
        assert await Calling(body).run() == [None, None]


async def test_s_run_2_a_task_that_a_step_starts_counts_as_inside_wherever_it_lives() -> None:
    """Its context variables say whose it is, and nothing says that the step will not wait for it."""

    async def body(ctx: Context) -> str:
        tasks.start_soon(watch)
        await checkpoint()
        await watched.wait()
        return "done"

    async def watch() -> None:
        with pytest.raises(WorkflowRuntimeError, match="from inside itself"):
            await handler
        watched.set()

    watched = anyio.Event()
    handler = Calling(body).run()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            assert await handler == "done"


async def test_s_run_2_the_stop_event_of_an_ended_run_stays_readable_from_anywhere() -> None:
    """Awaiting a run that has ended waits for nothing, so a step of another may."""
    ended = Echo().run(value=9)
    await ended

    async def body(ctx: Context) -> object:
        return await ended

    with anyio.fail_after(5):
        assert await Calling(body).run() == 9
    assert [event async for event in ended.stream_events()] == [StopEvent(result=9)]
