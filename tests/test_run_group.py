"""S-RUN-2: RunGroup, for servers: runs that outlive the request that asked for them."""

import gc
import logging
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint
from running import Abort, Calling, Echo, Failing, Held, Work, events_of

from anyio_workflows import (
    Context,
    RunGroup,
    RunNotFoundError,
    StartEvent,
    StopEvent,
    WorkflowCancelledByUser,
    WorkflowCancelledError,
    WorkflowHandler,
    WorkflowRuntimeError,
)


async def _settle() -> None:
    for _ in range(6):
        await checkpoint()


async def test_s_run_2_a_group_starts_runs_and_finds_them_again() -> None:
    with anyio.fail_after(5):
        async with RunGroup() as runs:
            handler = runs.start(Echo(), value=3, run_id="mine")
            assert isinstance(handler, WorkflowHandler)
            assert runs["mine"] is handler
            assert "mine" in runs
            assert "other" not in runs
            assert list(runs) == [handler]
            assert len(runs) == 1
            assert await handler == 3
            await _settle()
            assert len(runs) == 0
            assert runs["mine"] is handler  # an ended run can still be looked up
    assert runs["mine"] is handler


async def test_s_run_2_start_takes_what_run_takes() -> None:
    async def whole_state(ctx: Context) -> object:
        return await ctx.store.get("number")

    with anyio.fail_after(5):
        async with RunGroup() as runs:
            assert await runs.start(Echo(), StartEvent(value=1)) == 1
            assert await runs.start(Echo(), start_event=StartEvent(value=2)) == 2
            assert await runs.start(Calling(whole_state), state={"number": 3}) == 3
            with pytest.raises(TimeoutError):
                await runs.start(Held(), timeout=0.01)


async def test_s_run_2_a_run_is_detached_from_the_request_that_started_it() -> None:
    """The request's end or cancellation does not touch it."""
    flow = Held()
    handlers: list[WorkflowHandler] = []

    async def request() -> None:
        handlers.append(runs.start(flow))
        await anyio.sleep_forever()

    with anyio.fail_after(5):
        async with RunGroup() as runs:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(request)
                await flow.begun.wait()
                tasks.cancel_scope.cancel()
            await _settle()
            assert flow.log == ["begun"]
            flow.gate.set()
            assert await handlers[0] == "let go"


async def test_s_run_2_a_request_that_awaits_a_detached_run_may_be_cancelled() -> None:
    flow = Held()
    with anyio.fail_after(5):
        async with RunGroup() as runs:
            handler = runs.start(flow)
            with anyio.move_on_after(0.01) as scope:
                await handler
            assert scope.cancelled_caught
            assert not handler.is_done()
            flow.gate.set()


async def test_s_run_2_a_detached_run_is_streamed_and_sent_to() -> None:
    async def write(ctx: Context) -> int:
        begun.set()
        await gate.wait()
        ctx.write_event_to_stream(Work(number=1))
        return 5

    begun, gate = anyio.Event(), anyio.Event()
    with anyio.fail_after(5):
        async with RunGroup() as runs:
            handler = runs.start(Calling(write))
            await begun.wait()
            gate.set()
            assert await events_of(handler) == [Work(number=1), StopEvent(result=5)]
            handler = runs.start(Held())
            await handler.cancel_run()
            with pytest.raises(WorkflowCancelledByUser):
                await handler


async def test_s_run_2_a_detached_run_sees_the_context_variables_of_the_request() -> None:
    user: ContextVar[str] = ContextVar("user")

    async def who(ctx: Context) -> str:
        return user.get()

    async def request(name: str) -> None:
        user.set(name)
        handlers[name] = runs.start(Calling(who))

    handlers: dict[str, WorkflowHandler] = {}
    with anyio.fail_after(5):
        async with RunGroup() as runs, anyio.create_task_group() as tasks:
            for name in ("ada", "bob"):
                tasks.start_soon(request, name)
    assert {name: await handler for name, handler in handlers.items()} == {"ada": "ada", "bob": "bob"}


async def test_s_run_2_a_run_that_fails_harms_neither_the_group_nor_other_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its failure is in its handler, and logged if nobody awaits it."""
    error = ValueError("nobody awaits this")
    flow = Held()
    with anyio.fail_after(5), caplog.at_level(logging.ERROR, logger="anyio_workflows"):
        async with RunGroup() as runs:
            other = runs.start(flow)
            failed = runs.start(Failing(), error=error, run_id="lost")
            await _settle()
            assert failed.is_done()
            flow.gate.set()
            assert await other == "let go"
            with pytest.raises(ValueError) as caught:
                await runs["lost"]
    assert caught.value is error
    (record,) = caplog.records
    assert "lost" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is error


async def test_s_run_2_a_failure_that_somebody_awaits_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(ctx: Context) -> None:
        await _settle()
        raise ValueError("awaited")

    with anyio.fail_after(5), caplog.at_level(logging.ERROR, logger="anyio_workflows"):
        async with RunGroup() as runs:
            with pytest.raises(ValueError):
                await runs.start(Calling(fail))
    assert caplog.records == []


async def test_s_run_2_a_base_exception_of_a_detached_run_stays_in_its_handler() -> None:
    """Like any failure of a detached run: the server goes on."""
    with anyio.fail_after(5):
        async with RunGroup() as runs:
            with pytest.raises(Abort):
                await runs.start(Failing(), error=Abort())
            assert await runs.start(Echo(), value=1) == 1


async def test_s_run_2_an_unknown_run_id_is_an_error_that_is_a_key_error() -> None:
    async with RunGroup() as runs:
        with pytest.raises(RunNotFoundError, match="no run 'nobody'") as caught:
            runs["nobody"]
    assert isinstance(caught.value, KeyError)
    assert caught.value.run_id == "nobody"


async def test_s_run_2_a_run_id_that_is_taken_is_an_error() -> None:
    """Also by a run that has ended: two outcomes of one id would be confused."""
    with anyio.fail_after(5):
        async with RunGroup() as runs:
            await runs.start(Echo(), run_id="mine")
            with pytest.raises(WorkflowRuntimeError, match="'mine'"):
                runs.start(Echo(), run_id="mine")


async def test_s_run_2_ended_runs_are_forgotten_beyond_keep() -> None:
    """A server that runs for months must not keep every run it had."""
    with anyio.fail_after(5):
        async with RunGroup(keep=2) as runs:
            for number in range(4):
                await runs.start(Echo(), run_id=str(number))
                await _settle()
            assert [str(number) in runs for number in range(4)] == [False, False, True, True]
            with pytest.raises(RunNotFoundError, match="forgotten"):
                runs["0"]


async def test_s_run_2_an_unknown_workflow_option_is_an_error_and_starts_nothing() -> None:
    async with RunGroup() as runs:
        with pytest.raises(WorkflowRuntimeError):
            runs.start(Echo(), timeout=-1)
        with pytest.raises(WorkflowRuntimeError):
            runs.start(Echo(), StartEvent(value=1), value=2)
        assert len(runs) == 0
    gc.collect()


# --- leaving


async def test_s_run_2_leaving_the_block_lets_runs_end_within_grace() -> None:
    flow = Held()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks, RunGroup(grace=4) as runs:
            handler = runs.start(flow)
            await flow.begun.wait()

            async def release() -> None:
                await _settle()
                flow.gate.set()

            tasks.start_soon(release)
    assert flow.log == ["begun", "done"]
    assert await handler == "let go"


async def test_s_run_2_when_grace_is_over_the_rest_is_cancelled() -> None:
    flow, quick = Held(), Held()
    with anyio.fail_after(5):
        async with RunGroup(grace=0.03) as runs:
            slow_handler, quick_handler = runs.start(flow), runs.start(quick)
            await flow.begun.wait()
            quick.gate.set()
    assert flow.log == ["begun", "cancelled"]
    assert await quick_handler == "let go"
    with pytest.raises(WorkflowCancelledError, match="RunGroup was closed") as caught:
        await slow_handler
    assert not isinstance(caught.value, WorkflowCancelledByUser)


async def test_s_run_2_without_grace_runs_are_cancelled_at_once() -> None:
    flow = Held()
    with anyio.fail_after(5):
        async with RunGroup(grace=0) as runs:
            runs.start(flow)
            await flow.begun.wait()
    assert flow.log == ["begun", "cancelled"]


async def test_s_run_2_an_empty_group_is_left_at_once() -> None:
    with anyio.fail_after(1):
        async with RunGroup(grace=3600) as runs:
            await runs.start(Echo())
            await _settle()
        async with RunGroup(grace=3600):
            pass


async def test_s_run_2_clean_ups_of_cancelled_runs_get_their_time() -> None:
    async def clean_up(ctx: Context) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await _settle()
            log.append("cleaned up")

    begun = anyio.Event()
    log: list[str] = []
    with anyio.fail_after(5):
        async with RunGroup(grace=0) as runs:
            runs.start(Calling(clean_up))
            await begun.wait()
    assert log == ["cleaned up"]


async def test_s_run_2_an_exception_in_the_groups_body_cancels_its_runs_and_leaves_as_itself() -> None:
    flow = Held()
    error = ValueError("server")
    with anyio.fail_after(5), pytest.raises(ValueError) as caught:
        async with RunGroup() as runs:
            handler = runs.start(flow)
            await flow.begun.wait()
            raise error
    assert caught.value is error
    assert flow.log == ["begun", "cancelled"]
    with pytest.raises(WorkflowCancelledError, match="ValueError"):
        await handler


async def test_s_run_2_cancellation_of_the_group_cancels_its_runs_without_grace() -> None:
    flow = Held()

    async def lifespan() -> None:
        async with RunGroup(grace=3600) as runs:
            handlers.append(runs.start(flow))
            await anyio.sleep_forever()

    handlers: list[WorkflowHandler] = []
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lifespan)
            await flow.begun.wait()
            tasks.cancel_scope.cancel()
    assert flow.log == ["begun", "cancelled"]
    with pytest.raises(WorkflowCancelledError):
        await handlers[0]


async def test_s_run_2_nothing_is_started_while_the_group_is_left_or_after() -> None:
    flow = Held()

    async def late(ctx: Context) -> str:
        begun.set()
        await gate.wait()
        with pytest.raises(WorkflowRuntimeError, match="being left") as caught:
            runs.start(flow)
        return str(caught.value)

    begun, gate = anyio.Event(), anyio.Event()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks, RunGroup(grace=4) as runs:
            handler = runs.start(Calling(late))
            await begun.wait()

            async def release() -> None:
                await _settle()
                gate.set()

            tasks.start_soon(release)
        assert "no run can be started" in str(await handler)
        with pytest.raises(WorkflowRuntimeError):
            runs.start(flow)


# --- limits


async def test_s_run_2_never_more_runs_at_once_than_max_runs_first_come_first_served() -> None:
    begun: list[int] = []
    gates = [anyio.Event() for _ in range(6)]

    def flow(number: int) -> Calling:
        async def body(ctx: Context) -> int:
            begun.append(number)
            await gates[number].wait()
            return number

        return Calling(body)

    with anyio.fail_after(5):
        async with RunGroup(max_runs=2) as runs:
            handlers = []
            for number in range(6):
                handlers.append(runs.start(flow(number)))
                await _settle()
            assert begun == [0, 1]
            for number in range(6):
                gates[number].set()
                assert await handlers[number] == number
                await _settle()
                assert begun == list(range(min(6, number + 3)))


async def test_s_run_2_runs_started_in_one_pass_begin_in_the_order_of_start() -> None:
    """First come, first served: who came is decided by the call, not by the backend's task order."""

    async def note(ctx: Context) -> None:
        begun.append(int(ctx.run_id))

    begun: list[int] = []
    with anyio.fail_after(5):
        async with RunGroup(max_runs=1) as runs:
            for number in range(8):
                runs.start(Calling(note), run_id=str(number))
    assert begun == list(range(8))


async def test_s_run_2_a_group_that_has_too_many_waiting_says_that_it_is_full() -> None:
    """So that a server can answer 503 instead of queueing without end."""
    flow = Held()
    with anyio.fail_after(5):
        async with RunGroup(max_runs=1, max_waiting=2) as runs:
            first = runs.start(flow)
            await flow.begun.wait()
            runs.start(flow)
            runs.start(flow)
            with pytest.raises(WorkflowRuntimeError, match="full: 2 runs wait"):
                runs.start(flow)
            flow.gate.set()
            await first
            await _settle()
            assert await runs.start(flow) == "let go"


async def test_s_run_2_runs_that_can_begin_at_once_do_not_count_as_waiting() -> None:
    """They have their places, though their tasks have not run yet: two at once fit into two places."""
    flow = Held()
    with anyio.fail_after(5):
        async with RunGroup(max_runs=2, max_waiting=1) as runs:
            handlers = [runs.start(flow), runs.start(flow), runs.start(flow)]
            with pytest.raises(WorkflowRuntimeError, match="full"):
                runs.start(flow)
            flow.gate.set()
            assert [await handler for handler in handlers] == ["let go"] * 3


async def test_s_run_2_none_may_wait_if_max_waiting_is_0() -> None:
    flow = Held()
    with anyio.fail_after(5):
        async with RunGroup(max_runs=1, max_waiting=0) as runs:
            handler = runs.start(flow)
            await flow.begun.wait()
            with pytest.raises(WorkflowRuntimeError, match="full"):
                runs.start(flow)
            flow.gate.set()
            await handler


# --- wrong use


async def test_s_run_2_a_group_used_outside_its_block_shows_the_line_to_write() -> None:
    runs = RunGroup()
    with pytest.raises(WorkflowRuntimeError) as caught:
        runs.start(Echo())
    assert "this RunGroup was not entered" in str(caught.value)
    assert "\n    async with RunGroup() as runs:" in str(caught.value)


async def test_s_run_2_a_group_entered_twice_is_an_error() -> None:
    runs = RunGroup()
    async with runs:
        with pytest.raises(WorkflowRuntimeError, match="entered once"):
            async with runs:
                pass
    with pytest.raises(WorkflowRuntimeError, match="entered once"):
        async with runs:
            pass


async def test_s_run_2_a_group_used_in_another_event_loop_is_an_error() -> None:
    async def other() -> str:
        with pytest.raises(WorkflowRuntimeError) as caught:
            runs.start(Echo())
        return str(caught.value)

    with anyio.fail_after(5):
        async with RunGroup() as runs:
            message = await anyio.to_thread.run_sync(lambda: anyio.run(other))
    assert "another event loop" in message
    assert "async with RunGroup() as runs:" in message


@pytest.mark.parametrize(
    "options",
    [
        {"max_runs": 0},
        {"max_runs": True},
        {"max_runs": 1.5},
        {"max_waiting": -1},
        {"grace": -1},
        {"grace": float("nan")},
        {"grace": "long"},
        {"keep": -1},
    ],
    ids=str,
)
def test_s_run_2_a_group_refuses_wrong_arguments_by_name(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(WorkflowRuntimeError, match=name):
        RunGroup(**options)


async def test_s_run_2_a_step_may_start_runs_in_a_group() -> None:
    async def body(ctx: Context) -> object:
        return await runs.start(Echo(), value=8)

    with anyio.fail_after(5):
        async with RunGroup() as runs:
            assert await runs.start(Calling(body)) == 8


async def test_s_run_2_a_step_that_awaits_a_detached_run_which_needs_its_place_is_an_error() -> None:
    """The limit of the group can be deadlocked as that of a workflow can."""

    async def body(ctx: Context) -> object:
        return await runs.start(Echo(), value=8)

    with anyio.fail_after(5):
        async with RunGroup(max_runs=1, grace=0) as runs:
            handler = runs.start(Calling(body))
            with pytest.raises(WorkflowRuntimeError, match="max_runs"):
                await handler
