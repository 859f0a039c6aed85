"""S-RUN-3: the first outcome decided wins."""

import logging
from collections.abc import Awaitable, Callable

import anyio
import pytest
from anyio.lowlevel import checkpoint
from running import Calling, Crowd, Echo, Held, Passes, Work, events_of

from anyio_workflows import (
    Context,
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowCancelledError,
    WorkflowCancelledEvent,
    WorkflowFailedEvent,
    WorkflowHandler,
    WorkflowTimedOutEvent,
    WorkflowTimeoutError,
    step,
)


class Race(Workflow):
    """Two steps, each of which does what the test says, once both have begun and the gate is open."""

    def __init__(
        self,
        one: Callable[[Context], Awaitable[StopEvent | None]],
        other: Callable[[Context], Awaitable[StopEvent | None]],
    ) -> None:
        super().__init__()
        self.one = one
        self.other = other
        self.one_begun = anyio.Event()

    @step
    async def first(self, ctx: Context, ev: StartEvent) -> StopEvent | Work | None:
        ctx.send_event(Work())
        self.one_begun.set()
        return await self.one(ctx)

    @step
    async def second(self, ctx: Context, ev: Work) -> StopEvent | None:
        await self.one_begun.wait()
        return await self.other(ctx)


class Finished(Event):
    """What a test's step writes to the stream when it is too late."""


# --- a StopEvent


async def test_s_run_3_the_first_stop_event_wins() -> None:
    async def stops_first(ctx: Context) -> StopEvent:
        gate.set()
        return StopEvent(result="first")

    async def stops_second(ctx: Context) -> StopEvent:
        await gate.wait()
        return StopEvent(result="second")

    gate = anyio.Event()
    with anyio.fail_after(5):
        assert await Race(stops_second, stops_first).run() == "first"
        gate = anyio.Event()
        assert await Race(stops_first, stops_second).run() == "first"


async def test_s_run_3_a_stop_event_that_is_sent_decides_at_the_call() -> None:
    """What the same body returns afterwards is too late."""

    async def sends(ctx: Context) -> StopEvent:
        ctx.send_event(StopEvent(result="sent"))
        ctx.send_event(StopEvent(result="sent again"))
        return StopEvent(result="returned")

    async def nothing(ctx: Context) -> None:
        pass

    with anyio.fail_after(5):
        handler = Race(sends, nothing).run()
        assert await handler == "sent"
    assert await events_of(handler) == [StopEvent(result="sent")]


async def test_s_run_3_a_stop_event_from_the_body_decides_at_the_call() -> None:
    flow = Held()
    with anyio.fail_after(5):
        async with flow.run() as handler:
            await flow.begun.wait()
            handler.send_event(StopEvent(result="from outside"))
            assert await handler == "from outside"
    assert flow.log == ["begun", "cancelled"]


async def test_s_run_3_a_failure_after_a_sent_stop_event_is_kept_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A success stays a success."""
    error = ValueError("after the stop")

    async def sends_and_fails(ctx: Context) -> object:
        ctx.send_event(StopEvent(result="sent"))
        raise error

    with anyio.fail_after(5), caplog.at_level(logging.ERROR, logger="anyio_workflows"):
        handler = Calling(sends_and_fails).run()
        assert await handler == "sent"
    assert handler.failures == (error,)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert handler.run_id in record.getMessage()


@pytest.mark.parametrize("way", ["await", "async with", "serve"])
async def test_s_run_3_a_success_stays_a_success_when_a_clean_up_fails_after_it(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def stops(ctx: Context) -> StopEvent:
        await begun.wait()
        return StopEvent(result="success")

    async def cleans_up_badly(ctx: Context) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("clean-up")

    begun = anyio.Event()
    handler = Race(stops, cleans_up_badly).run()
    with anyio.fail_after(5), caplog.at_level(logging.ERROR, logger="anyio_workflows"):
        if way == "await":
            await handler
        elif way == "async with":
            async with handler:
                await checkpoint()
        else:
            async with anyio.create_task_group() as tasks:
                await tasks.start(handler.serve)
    assert await handler == "success"
    assert [str(error) for error in handler.failures] == ["clean-up"]
    ours = [record for record in caplog.records if record.name.startswith("anyio_workflows")]
    assert len(ours) == 1
    assert await events_of(handler) == [StopEvent(result="success")]


async def test_s_run_3_everything_else_is_cancelled_and_awaited() -> None:
    async def last(ctx: Context) -> StopEvent:
        return StopEvent(result="done")

    flow = Crowd(last)
    with anyio.fail_after(5):
        assert await flow.run() == "done"
    assert flow.cleaned_up == 3


@pytest.mark.parametrize("how", ["stops", "fails", "cancelled"])
async def test_s_run_3_events_still_queued_are_never_delivered(how: str) -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent | Work:
            for number in range(10):
                ctx.send_event(Work(number=number))
            await begun.wait()
            if how == "fails":
                raise ValueError("no")
            if how == "cancelled":
                await anyio.sleep_forever()
            return StopEvent()

        @step(num_workers=1)
        async def work(self, ev: Work) -> None:
            worked.append(ev.number)
            begun.set()
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():  # noqa: ASYNC103  # swallowed: it ends as if all were well
                pass  # noqa: ASYNC104

    worked: list[int] = []
    begun = anyio.Event()
    handler = Flow().run()
    with anyio.fail_after(5):
        try:
            async with handler:
                await begun.wait()
                if how == "cancelled":
                    await handler.cancel_run()
        except ValueError:
            assert how == "fails"
    assert worked == [0]


async def test_s_run_3_what_a_step_sends_after_the_outcome_goes_nowhere() -> None:
    """In silence: a clean-up that reports is no mistake."""

    async def stops(ctx: Context) -> StopEvent:
        await begun.wait()
        return StopEvent(result="done")

    async def reports(ctx: Context) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            ctx.send_event(Work(number=1))
            ctx.send_event(StopEvent(result="too late"))
            ctx.write_event_to_stream(Finished())
            reported.append(True)

    begun = anyio.Event()
    reported: list[bool] = []
    handler = Race(stops, reports).run()
    with anyio.fail_after(5):
        assert await handler == "done"
    assert reported == [True]
    assert handler.failures == ()
    assert await events_of(handler) == [StopEvent(result="done")]


# --- published at that moment, and nothing after it


async def _publishing(last: str) -> tuple[WorkflowHandler, list[Event]]:
    """Decide a run by *last*, while a clean-up goes on until the outcome has been read from the stream."""

    async def decides(ctx: Context) -> StopEvent | None:
        await begun.wait()
        if last == "returned":
            return StopEvent(result=1)
        if last == "sent":
            ctx.send_event(StopEvent(result=1))
        elif last == "failure":
            raise ValueError("no")
        await anyio.sleep_forever()
        return None

    async def cleans_up(ctx: Context) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await read.wait()
            ctx.write_event_to_stream(Finished())

    async def reads() -> None:
        async for event in handler.stream_events():
            events.append(event)
            assert not handler.is_done()
            read.set()

    async def owns() -> None:
        try:
            with owner:
                await handler
        except (ValueError, TimeoutError, WorkflowCancelledError):
            pass

    begun, read = anyio.Event(), anyio.Event()
    events: list[Event] = []
    owner = anyio.CancelScope()
    handler = Race(decides, cleans_up).run(timeout=0.02 if last == "timeout" else None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(owns)
        await begun.wait()
        tasks.start_soon(reads)
        await checkpoint()
        if last == "cancel_run":
            tasks.start_soon(handler.cancel_run)
        elif last == "cancellation":
            owner.cancel()
    assert handler.is_done()
    return handler, events


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        ("returned", StopEvent),
        ("sent", StopEvent),
        ("failure", WorkflowFailedEvent),
        ("timeout", WorkflowTimedOutEvent),
        ("cancel_run", WorkflowCancelledEvent),
        ("cancellation", WorkflowCancelledEvent),
    ],
)
async def test_s_run_3_the_outcome_is_published_at_that_moment_and_nothing_after_it(
    last: str, kind: type[Event]
) -> None:
    """A reader sees it before the clean-ups have ended, which may take long."""
    with anyio.fail_after(5):
        handler, events = await _publishing(last)
        assert [type(event) for event in events] == [kind]
        assert await events_of(handler) == events


async def test_s_run_3_an_exception_in_the_body_is_published_as_cancellation() -> None:
    async def cleans_up(ctx: Context) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await read.wait()

    async def reads(handler: WorkflowHandler) -> None:
        async for event in handler.stream_events():
            events.append(event)
            read.set()

    begun, read = anyio.Event(), anyio.Event()
    events: list[Event] = []
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            with pytest.raises(KeyError):
                async with Calling(cleans_up).run() as handler:
                    await begun.wait()
                    tasks.start_soon(reads, handler)
                    raise KeyError("body")
    assert [type(event) for event in events] == [WorkflowCancelledEvent]


# --- which comes first


async def test_s_run_3_a_failure_before_a_stop_event_wins() -> None:
    async def fails(ctx: Context) -> None:
        begun.set()
        raise ValueError("first")

    async def stops_when_cancelled(ctx: Context) -> StopEvent:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():  # noqa: ASYNC103
            pass  # noqa: ASYNC104
        return StopEvent(result="too late")

    begun = anyio.Event()
    handler = Race(stops_when_cancelled, fails).run()
    with anyio.fail_after(5), pytest.raises(ValueError):
        await handler
    assert len(handler.failures) == 1
    assert [type(event) for event in await events_of(handler)] == [WorkflowFailedEvent]


async def test_s_run_3_a_timeout_before_a_stop_event_wins() -> None:
    async def stops_when_cancelled(ctx: Context) -> object:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():  # noqa: ASYNC103
            pass  # noqa: ASYNC104
        return "too late"

    handler = Calling(stops_when_cancelled).run(timeout=0.02)
    with anyio.fail_after(5), pytest.raises(WorkflowTimeoutError) as caught:
        await handler
    assert handler.failures == (caught.value,)


async def test_s_run_3_what_fails_after_the_timeout_is_kept_behind_it() -> None:
    async def fails_when_cancelled(ctx: Context) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("clean-up")

    handler = Calling(fails_when_cancelled).run(timeout=0.02)
    with anyio.fail_after(5), pytest.raises(WorkflowTimeoutError):
        await handler
    assert [type(error) for error in handler.failures] == [WorkflowTimeoutError, ValueError]


async def test_s_run_3_cancel_run_wins_over_the_stop_event_that_comes_after_it() -> None:
    async def stops_when_cancelled(ctx: Context) -> object:
        begun.set()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():  # noqa: ASYNC103
            pass  # noqa: ASYNC104
        return "too late"

    begun = anyio.Event()
    with anyio.fail_after(5):
        async with Calling(stops_when_cancelled).run() as handler:
            await begun.wait()
            await handler.cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await handler


# --- cancellation is decided when the scope is cancelled


async def _in_a_scope(flow: Workflow) -> WorkflowHandler:
    """Await a run of *flow* inside `scope`, which its steps cancel."""
    handler = flow.run()
    global scope  # what the steps of a test reach
    with anyio.fail_after(5), anyio.CancelScope() as scope:
        await handler
    return handler


scope: anyio.CancelScope


async def test_s_run_3_cancellation_before_a_returned_stop_event_wins_though_no_task_noticed() -> None:
    """The step never awaits anything: it cannot notice."""

    async def cancels_and_returns(ctx: Context) -> str:
        scope.cancel()
        return "too late"

    handler = await _in_a_scope(Calling(cancels_and_returns))
    assert scope.cancelled_caught
    with pytest.raises(WorkflowCancelledError):
        await handler
    assert [type(event) for event in await events_of(handler)] == [WorkflowCancelledEvent]


async def test_s_run_3_cancellation_before_a_sent_stop_event_wins() -> None:
    async def cancels_and_sends(ctx: Context) -> None:
        scope.cancel()
        ctx.send_event(StopEvent(result="too late"))

    handler = await _in_a_scope(Calling(cancels_and_sends))
    assert scope.cancelled_caught
    with pytest.raises(WorkflowCancelledError):
        await handler


async def test_s_run_3_cancellation_before_an_exception_wins_which_is_kept() -> None:
    async def cancels_and_raises(ctx: Context) -> None:
        scope.cancel()
        raise ValueError("too late")

    handler = await _in_a_scope(Calling(cancels_and_raises))
    assert scope.cancelled_caught
    assert [str(error) for error in handler.failures] == ["too late"]
    with pytest.raises(WorkflowCancelledError):
        await handler


async def test_s_run_3_cancellation_is_seen_by_workers_that_are_not_the_callers_task() -> None:
    """The worker beside the caller's task is inside the same scope."""

    async def waits(ctx: Context) -> None:
        await anyio.sleep_forever()

    async def cancels_and_returns(ctx: Context) -> StopEvent:
        await checkpoint()
        scope.cancel()
        return StopEvent(result="too late")

    handler = await _in_a_scope(Race(waits, cancels_and_returns))
    assert scope.cancelled_caught
    with pytest.raises(WorkflowCancelledError):
        await handler


async def test_s_run_3_a_scope_of_the_steps_own_that_is_cancelled_decides_nothing() -> None:
    async def cancels_its_own(ctx: Context) -> str:
        with anyio.CancelScope() as own:
            own.cancel()
            await checkpoint()
        return "went on"

    with anyio.fail_after(5):
        assert await Calling(cancels_its_own).run() == "went on"


async def test_s_run_3_a_stop_event_sent_inside_a_cancelled_scope_of_the_steps_own_counts() -> None:
    """The scope that is cancelled is inside the run: nobody has cancelled the run."""

    async def sends_in_a_clean_up(ctx: Context) -> None:
        with anyio.CancelScope() as own:
            own.cancel()
            try:
                await checkpoint()
            finally:
                ctx.send_event(StopEvent(result="sent"))

    with anyio.fail_after(5):
        assert await Calling(sends_in_a_clean_up).run() == "sent"


async def test_s_run_3_what_clean_ups_raise_after_cancellation_is_kept_and_is_not_the_outcome() -> None:
    async def last(ctx: Context) -> StopEvent:
        scope.cancel()
        try:
            await checkpoint()
        finally:
            raise ValueError("clean-up")

    flow = Crowd(last)
    handler = await _in_a_scope(flow)
    assert scope.cancelled_caught
    assert flow.cleaned_up == 3
    assert [str(error) for error in handler.failures] == ["clean-up"]
    with pytest.raises(WorkflowCancelledError):
        await handler


async def test_s_run_3_a_step_that_swallows_the_cancellation_does_not_undo_it() -> None:
    """On either backend the caller is cancelled all the same."""

    async def swallows(ctx: Context) -> str:
        scope.cancel()
        try:
            await checkpoint()
        except anyio.get_cancelled_exc_class():  # noqa: ASYNC103
            pass  # noqa: ASYNC104
        return "swallowed"

    handler = await _in_a_scope(Calling(swallows))
    assert scope.cancelled_caught
    assert handler.failures == ()
    with pytest.raises(WorkflowCancelledError):
        await handler


async def test_s_run_3_after_its_end_the_run_lets_the_callers_cancellation_pass() -> None:
    """The outcome was decided before: it stays the handler's, the caller is cancelled all the same."""

    async def stops(ctx: Context) -> StopEvent:
        await begun.wait()
        return StopEvent(result="success")

    async def cleans_up_slowly(ctx: Context) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await checkpoint()
                scope.cancel()
                await checkpoint()

    begun = anyio.Event()
    handler = await _in_a_scope(Race(stops, cleans_up_slowly))
    assert scope.cancelled_caught
    assert await handler == "success"


async def test_s_run_3_a_run_without_clean_ups_lets_the_callers_cancellation_pass_too() -> None:
    """No task of the run is left to wait for, so nothing else would look."""

    async def sends_and_cancels(ctx: Context) -> None:
        ctx.send_event(StopEvent(result="success"))
        scope.cancel()

    handler = await _in_a_scope(Calling(sends_and_cancels))
    assert scope.cancelled_caught
    assert await handler == "success"


async def test_s_run_3_a_failure_decided_before_the_cancellation_stays_the_handlers() -> None:
    async def fails(ctx: Context) -> None:
        await begun.wait()
        raise ValueError("first")

    async def cleans_up_slowly(ctx: Context) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await checkpoint()
                scope.cancel()
                await checkpoint()

    begun = anyio.Event()
    handler = await _in_a_scope(Race(fails, cleans_up_slowly))
    assert scope.cancelled_caught
    with pytest.raises(ValueError):
        await handler


async def test_s_run_3_the_outcome_comes_in_a_bounded_number_of_passes() -> None:
    """Nothing of ours waits between the decision and the end."""
    passes = Passes()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(passes.tick)
            await checkpoint()
            before = passes.count
            await Echo().run()
            passes.is_over = True
    assert passes.count - before <= 3


@pytest.mark.parametrize("order", [("one", "other"), ("other", "one")])
async def test_s_run_3_of_two_failures_at_once_the_first_decides_and_both_are_kept(
    order: tuple[str, str],
) -> None:
    """Woken by one event: whichever the backend lets go on first has decided."""

    async def fails(name: str) -> None:
        await gate.wait()
        raised.append(name)
        raise ValueError(name)

    async def one(ctx: Context) -> None:
        await fails(order[0])

    async def other(ctx: Context) -> None:
        begun.set()
        await fails(order[1])

    gate, begun = anyio.Event(), anyio.Event()
    raised: list[str] = []
    handler = Race(one, other).run()
    with anyio.fail_after(5), pytest.raises(ValueError) as caught:
        async with handler:
            await begun.wait()
            gate.set()
    # The second may have been cancelled before its turn came.
    assert [str(error) for error in handler.failures] == raised
    assert str(caught.value) == raised[0]
    assert raised[0] in order
