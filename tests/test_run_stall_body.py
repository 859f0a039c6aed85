"""S-RUN-4 where there is an ``async with`` body: a reason to wait while its task is outside the handler."""

from collections.abc import Awaitable, Callable

import anyio
import pytest
from anyio.lowlevel import checkpoint
from running import Held, Work, events_of

from anyio_workflows import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StallReport,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowFailedEvent,
    WorkflowHandler,
    WorkflowIdleEvent,
    WorkflowStalledError,
    step,
)


class Pairing(Workflow):
    """Ends with the second Work; the run itself never makes one."""

    def __init__(self) -> None:
        super().__init__(skip_graph_checks=["reachability", "dead_end"])

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> None:
        ctx.write_event_to_stream(Work(number=-1))

    @step
    async def pair(self, ctx: Context, ev: Work) -> StopEvent | None:
        pair = ctx.collect_events(ev, [Work] * 2)
        return None if pair is None else StopEvent(result=[each.number for each in pair])


async def _settle() -> None:
    for _ in range(6):
        await checkpoint()


async def _read_on(handler: WorkflowHandler) -> None:
    await events_of(handler)


async def _await(handler: WorkflowHandler) -> None:
    await handler


async def _end_of_block(handler: WorkflowHandler) -> None: ...


async def test_s_run_4_a_body_that_is_outside_is_a_reason_to_wait() -> None:
    """It may send an event whenever it likes."""
    with anyio.fail_after(5):
        async with Pairing().run() as handler:
            await _settle()
            handler.send_event(Work(number=1))
            await _settle()
            assert not handler.is_done()
            handler.send_event(Work(number=2))
            assert await handler == [1, 2]


@pytest.mark.parametrize("park", [_read_on, _await, _end_of_block])
@pytest.mark.parametrize("settled", [False, True])
async def test_s_run_4_a_body_parked_in_the_handler_is_no_reason_to_wait(
    park: Callable[[WorkflowHandler], Awaitable[None]], settled: bool
) -> None:
    """In its stream, in ``await handler``, at the end of the block: whether it parks before the rest or after."""
    with anyio.fail_after(5), pytest.raises(WorkflowStalledError) as caught:
        async with Pairing().run() as handler:
            handler.send_event(Work(number=1))
            if settled:
                await _settle()
            await park(handler)
    assert "step 'pair' has 1 of 2 Work" in str(caught.value)
    assert handler.failures == (caught.value,)


async def test_s_run_4_the_stall_reaches_the_body_where_it_awaits() -> None:
    """In ``await handler`` it is an exception that the body may handle."""
    with anyio.fail_after(5):
        async with Pairing().run() as handler:
            with pytest.raises(WorkflowStalledError):
                await handler
            await checkpoint()


async def test_s_run_4_the_stall_cancels_a_body_that_reads_its_stream() -> None:
    log: list[Event] = []
    with anyio.fail_after(5), pytest.raises(WorkflowStalledError):
        async with Pairing().run() as handler:
            async for event in handler.stream_events():
                log.append(event)  # noqa: PERF401  # it is cancelled on the way
    assert log[:1] == [Work(number=-1)]
    assert [type(event) for event in await events_of(handler)] == [Work, WorkflowFailedEvent]


async def test_s_run_4_a_body_woken_by_its_stream_is_outside_again() -> None:
    """The loop ``async for event in stream: if ...: handler.send_event(...)`` is how answers are given."""
    with anyio.fail_after(5):
        async with Pairing().run() as handler:
            async for event in handler.stream_events():
                if event == Work(number=-1):
                    await _settle()  # the run has come to rest meanwhile
                    handler.send_event(Work(number=1))
                    handler.send_event(Work(number=2))
            assert await handler == [1, 2]


async def test_s_run_4_a_body_that_goes_back_into_its_stream_is_no_reason_again() -> None:
    with anyio.fail_after(5), pytest.raises(WorkflowStalledError):
        async with Pairing().run() as handler:
            async for event in handler.stream_events():
                if event == Work(number=-1):
                    handler.send_event(Work(number=1))


@pytest.mark.parametrize("park", [_read_on, _await])
async def test_s_run_4_a_park_under_a_deadline_of_the_bodys_own_is_a_reason(
    park: Callable[[WorkflowHandler], Awaitable[None]],
) -> None:
    """It will come back, and may send then."""
    with anyio.fail_after(5):
        async with Pairing().run() as handler:
            with anyio.move_on_after(0.02) as scope:
                await park(handler)
            assert scope.cancelled_caught
            assert not handler.is_done()
            handler.send_event(Work(number=1))
            handler.send_event(Work(number=2))
            assert await handler == [1, 2]


async def test_s_run_4_after_a_park_under_a_deadline_one_without_is_no_reason() -> None:
    with anyio.fail_after(5), pytest.raises(WorkflowStalledError):
        async with Pairing().run() as handler:
            with anyio.move_on_after(0.01):
                await handler
            with anyio.move_on_after(0.01):
                await events_of(handler)
            await handler


@pytest.mark.parametrize("park", [_read_on, _await])
async def test_s_run_4_a_deadline_from_before_the_block_is_not_the_bodys_own(
    park: Callable[[WorkflowHandler], Awaitable[None]],
) -> None:
    """It was there when the run began; when it passes, the run is over as well."""
    with anyio.move_on_after(2) as scope, pytest.raises(WorkflowStalledError):
        async with Pairing().run() as handler:
            await park(handler)
    assert not scope.cancelled_caught


async def test_s_run_4_a_body_parked_in_another_handler_is_outside_this_one() -> None:
    flow = Held()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks, flow.run() as other, Pairing().run() as handler:

            async def release() -> None:
                await _settle()
                assert not handler.is_done()
                flow.gate.set()

            tasks.start_soon(release)
            assert await other == "let go"
            handler.send_event(Work(number=1))
            handler.send_event(Work(number=2))
            assert await handler == [1, 2]


async def test_s_run_4_a_body_that_reads_in_a_child_task_is_itself_outside() -> None:
    """What counts is the body's own task."""
    with anyio.fail_after(5):
        async with Pairing().run() as handler, anyio.create_task_group() as tasks:
            tasks.start_soon(_read_on, handler)
            tasks.start_soon(_await, handler)
            await _settle()
            assert not handler.is_done()
            handler.send_event(Work(number=1))
            handler.send_event(Work(number=2))


async def test_s_run_4_readers_that_are_not_the_body_are_no_reason() -> None:
    """Anybody may hold the handler; only the body is known to come back."""
    handler = Pairing().run()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:

            async def own() -> None:
                with pytest.raises(WorkflowStalledError):
                    await handler

            tasks.start_soon(own)
            await checkpoint()
            while handler.is_done() is False:
                await checkpoint()


async def test_s_run_4_a_body_that_raises_is_not_hidden_by_a_stall() -> None:
    with anyio.fail_after(5), pytest.raises(KeyError):
        async with Pairing().run():
            await _settle()
            raise KeyError("body")


# --- said once


def _idle_events(events: list[Event]) -> list[StallReport]:
    reports = [event.report for event in events if isinstance(event, WorkflowIdleEvent)]
    for report in reports:
        assert isinstance(report, StallReport)
    return reports  # type: ignore[return-value]  # looked at above


async def test_s_run_4_a_run_that_waits_for_the_outside_says_so_once_with_the_report() -> None:
    with anyio.fail_after(5):
        async with Pairing().run() as handler:
            handler.send_event(Work(number=1))
            await _settle()
            await _settle()
            with anyio.move_on_after(0.01):
                await handler
            handler.send_event(Work(number=2))
            await handler
    (report,) = _idle_events(await events_of(handler, expose_internal=True))
    assert report.collections == ("step 'pair' has 1 of 2 Work",)
    assert "step 'pair' has 1 of 2 Work" in str(report)


async def test_s_run_4_each_time_that_it_comes_to_rest_it_says_so_again() -> None:
    class Flow(Workflow):
        def __init__(self) -> None:
            super().__init__(skip_graph_checks=["reachability", "dead_end"])

        @step
        async def begin(self, ev: StartEvent) -> None: ...

        @step
        async def count(self, ctx: Context, ev: Work) -> StopEvent | None:
            return StopEvent() if ev.number == 3 else None

    with anyio.fail_after(5):
        async with Flow().run() as handler:
            for number in range(1, 4):
                await _settle()
                handler.send_event(Work(number=number))
            await handler
    assert len(_idle_events(await events_of(handler, expose_internal=True))) == 3


async def test_s_run_4_a_run_that_waits_for_a_human_says_so_once() -> None:
    class Flow(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> InputRequiredEvent:
            return InputRequiredEvent()

        @step
        async def listen(self, ev: HumanResponseEvent) -> StopEvent:
            return StopEvent(result=ev.text)

    async def answers() -> None:
        await _settle()
        handler.send_event(HumanResponseEvent(text="yes"))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks, Flow().run() as handler:
            async for event in handler.stream_events():
                if isinstance(event, InputRequiredEvent):
                    await _settle()  # at rest, and the body outside
                    tasks.start_soon(answers)  # still at rest when the body parks again
    assert await handler == "yes"
    (report,) = _idle_events(await events_of(handler, expose_internal=True))
    assert report.is_waiting_for_human


async def test_s_run_4_the_idle_event_is_internal() -> None:
    """Who reads the stream for its own events is not bothered."""
    with anyio.fail_after(5):
        async with Pairing().run() as handler:
            await _settle()
            handler.send_event(Work(number=1))
            handler.send_event(Work(number=2))
            await handler
    assert _idle_events(await events_of(handler)) == []
    assert len(_idle_events(await events_of(handler, expose_internal=True))) == 1
