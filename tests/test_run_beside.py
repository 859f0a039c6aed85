"""S-RUN-2: ``async with handler:`` runs it beside the body."""

import traceback

import anyio
import pytest
from anyio.lowlevel import checkpoint
from running import Abort, Calling, Echo, Failing, Held, Work, events_of, never

from anyio_workflows import (
    Context,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowCancelledError,
    WorkflowCancelledEvent,
    WorkflowHandler,
    WorkflowTimeoutError,
    step,
)


class Answering(Workflow):
    """Ends with the numbers of two Works that come from outside; waits for them by an event of its own."""

    def __init__(self) -> None:
        super().__init__(skip_graph_checks=["reachability"])
        self.there = anyio.Event()
        self.numbers: list[int] = []

    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        await self.there.wait()
        return StopEvent(result=self.numbers)

    @step(num_workers=1)
    async def first(self, ev: Work) -> None:
        self.numbers.append(ev.number)
        if len(self.numbers) == 2:
            self.there.set()

    @step(num_workers=1, skip_graph_checks=["reachability"])
    async def second(self, ev: Work) -> None:
        self.numbers.append(-ev.number)
        if len(self.numbers) == 2:
            self.there.set()


async def test_s_run_2_the_run_goes_on_beside_the_body() -> None:
    """Each waits for the other: neither would end if they ran one after the other."""

    async def meet(ctx: Context) -> str:
        begun.set()
        await gate.wait()
        return "met"

    begun, gate = anyio.Event(), anyio.Event()
    with anyio.fail_after(5):
        async with Calling(meet).run() as handler:
            await begun.wait()
            gate.set()
            assert await handler == "met"


async def test_s_run_2_entering_gives_the_handler_itself() -> None:
    handler = Echo().run()
    async with handler as entered:
        assert entered is handler


async def test_s_run_2_leaving_the_body_waits_for_the_run() -> None:
    flow = Held()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            async with flow.run() as handler:
                await flow.begun.wait()

                async def release() -> None:
                    await checkpoint()
                    assert not handler.is_done()
                    flow.gate.set()

                tasks.start_soon(release)
            assert handler.is_done()
    assert flow.log == ["begun", "done"]


async def test_s_run_2_return_and_break_leave_the_body_normally() -> None:
    """They are no exceptions: the run is waited for, not cancelled."""

    async def returns(flow: Held) -> str:
        async with flow.run():
            await flow.begun.wait()
            flow.gate.set()
            return "returned"

    breaking, returning = Held(), Held()
    with anyio.fail_after(5):
        for _ in range(2):
            async with breaking.run():
                await breaking.begun.wait()
                breaking.gate.set()
                break
        assert await returns(returning) == "returned"
    assert breaking.log == returning.log == ["begun", "done"]


@pytest.mark.parametrize("error", [ValueError("body"), Abort(), ExceptionGroup("mine", [ValueError("body")])])
async def test_s_run_2_an_exception_in_the_body_cancels_the_run_and_leaves_as_itself(
    error: BaseException,
) -> None:
    """A task group would have made a group of it, and a group of the user's own is not opened."""
    flow = Held()
    handler = flow.run()
    with anyio.fail_after(5), pytest.raises(type(error)) as caught:
        async with handler:
            await flow.begun.wait()
            raise error
    assert caught.value is error
    assert flow.log == ["begun", "cancelled"]
    assert handler.failures == ()
    with pytest.raises(WorkflowCancelledError, match=type(error).__name__):
        await handler
    assert isinstance((await events_of(handler))[-1], WorkflowCancelledEvent)


async def test_s_run_2_an_exception_of_the_body_keeps_its_traceback() -> None:
    async def body() -> None:
        async with Held().run():
            raise ValueError("body")

    with anyio.fail_after(5), pytest.raises(ValueError) as caught:
        await body()
    assert [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)].count("body") >= 1


async def test_s_run_2_an_exception_in_the_body_after_the_run_has_completed_leaves_the_result() -> None:
    """The first outcome decided wins: the run was a success."""
    handler = Echo().run(value=3)
    with anyio.fail_after(5), pytest.raises(ValueError):
        async with handler:
            assert await handler == 3
            raise ValueError("body")
    assert await handler == 3


async def test_s_run_2_a_failure_of_the_run_cancels_the_body_and_leaves_as_itself() -> None:
    error = ValueError("run")
    log: list[str] = []
    with anyio.fail_after(5), pytest.raises(ValueError) as caught:
        async with Failing().run(error=error):
            try:
                await anyio.sleep_forever()
            finally:
                log.append("cleaned up")
    assert caught.value is error
    assert log == ["cleaned up"]
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)][-1] == "fail"


@pytest.mark.parametrize("error", [Abort(), ExceptionGroup("mine", [ValueError("run")]), KeyError("key")])
async def test_s_run_2_whatever_the_run_fails_with_is_never_wrapped_in_a_group(error: BaseException) -> None:
    with anyio.fail_after(5), pytest.raises(type(error)) as caught:
        async with Failing().run(error=error):
            await anyio.sleep_forever()
    assert caught.value is error


async def test_s_run_2_a_failure_after_the_body_has_ended_is_raised_from_the_block() -> None:
    async def fail(ctx: Context) -> None:
        await gate.wait()
        raise ValueError("run")

    gate = anyio.Event()
    with anyio.fail_after(5), pytest.raises(ValueError):
        async with Calling(fail).run():
            gate.set()


async def test_s_run_2_a_failure_of_the_run_cancels_child_tasks_of_the_body_too() -> None:
    """Whatever the body waits for in a task group of its own."""
    log: list[str] = []

    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            log.append("child")

    with anyio.fail_after(5), pytest.raises(ValueError):
        async with Failing().run(error=ValueError("run")), anyio.create_task_group() as tasks:
            tasks.start_soon(child)
            await anyio.sleep_forever()
    assert log in (["child"], [])  # [] if it was cancelled before it began


async def test_s_run_2_a_timeout_of_the_run_cancels_the_body() -> None:
    flow = Held()
    with anyio.fail_after(5), pytest.raises(WorkflowTimeoutError):
        async with flow.run(timeout=0.02):
            await anyio.sleep_forever()
    assert flow.log == ["begun", "cancelled"]


async def test_s_run_2_a_success_does_not_cancel_the_body() -> None:
    """The body has a use for the result."""
    async with Echo().run(value=1) as handler:
        assert await handler == 1
        for _ in range(5):
            await checkpoint()
        last = "reached"
    assert last == "reached"


async def test_s_run_2_if_both_fail_the_bodys_exception_leaves_with_a_note_of_the_runs() -> None:
    """Never a group: `except KeyError` around the block must work."""
    run_error = ValueError("the run's own")
    handler = Failing().run(error=run_error)
    with anyio.fail_after(5), pytest.raises(KeyError) as caught:
        async with handler:
            try:
                await anyio.sleep_forever()
            finally:
                raise KeyError("clean-up of the body")
    (note,) = caught.value.__notes__
    assert "Failing" in note
    assert "ValueError" in note
    assert "the run's own" in note
    assert handler.failures == (run_error,)
    with pytest.raises(ValueError):
        await handler


class Stubborn(KeyError):
    """Refuses notes."""

    def add_note(self, note: str, /) -> None:
        raise TypeError("no notes")


async def test_s_run_2_if_both_fail_an_exception_that_refuses_notes_leaves_all_the_same() -> None:
    handler = Failing().run(error=ValueError("run"))
    with anyio.fail_after(5), pytest.raises(Stubborn):
        async with handler:
            try:
                await anyio.sleep_forever()
            finally:
                raise Stubborn
    assert [str(error) for error in handler.failures] == ["run"]


async def test_s_run_2_a_clean_up_that_fails_after_the_body_raised_is_in_failures() -> None:
    """The body's exception decided; what the run raised because of it is kept beside it."""

    async def clean_up_badly(ctx: Context) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("clean-up")

    begun = anyio.Event()
    handler = Calling(clean_up_badly).run()
    with anyio.fail_after(5), pytest.raises(KeyError):
        async with handler:
            await begun.wait()
            raise KeyError("body")
    assert [repr(error) for error in handler.failures] == ["ValueError('clean-up')"]
    with pytest.raises(WorkflowCancelledError):
        await handler


async def test_s_run_2_a_failure_that_the_body_received_and_handled_is_not_raised_again() -> None:
    log: list[str] = []
    with anyio.fail_after(5):
        async with Failing().run(error=ValueError("run")) as handler:
            with pytest.raises(ValueError):
                await handler
            await checkpoint()  # the body goes on uncancelled
            log.append("handled")
    assert log == ["handled"]


async def test_s_run_2_a_failure_that_the_body_awaits_is_received_not_a_cancellation() -> None:
    """A body parked in ``await handler`` when the run fails gets the failure at that await."""

    async def fail(ctx: Context) -> None:
        await gate.wait()
        raise ValueError("run")

    gate = anyio.Event()
    log: list[str] = []
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks, Calling(fail).run() as handler:

            async def release() -> None:
                await checkpoint()
                gate.set()

            tasks.start_soon(release)
            try:
                await handler
            except ValueError as error:
                log.append(str(error))
            await checkpoint()
            log.append("went on")
    assert log == ["run", "went on"]


async def test_s_run_2_a_failure_that_the_body_received_and_lets_pass_leaves_once() -> None:
    error = ValueError("run")
    with anyio.fail_after(5), pytest.raises(ValueError) as caught:
        async with Failing().run(error=error) as handler:
            await handler
    assert caught.value is error
    assert not any("meanwhile" in note for note in error.__notes__)


async def test_s_run_2_a_body_that_received_the_failure_may_raise_another() -> None:
    run_error = ValueError("run")
    handler = Failing().run(error=run_error)
    with anyio.fail_after(5), pytest.raises(KeyError) as caught:
        async with handler:
            try:
                await handler
            except ValueError as error:
                raise KeyError("instead") from error
    assert caught.value.__cause__ is run_error
    assert handler.failures == (run_error,)


async def test_s_run_2_a_body_that_swallows_its_cancellation_still_gets_the_failure() -> None:
    """A failure that the body has not received is never lost."""
    with anyio.fail_after(5), pytest.raises(ValueError):
        async with Failing().run(error=ValueError("run")):
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():  # noqa: ASYNC103  # on purpose
                pass  # noqa: ASYNC104


async def test_s_run_2_cancellation_from_outside_cancels_body_and_run() -> None:
    flow = Held()
    handler = flow.run()
    log: list[str] = []
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:

            async def own() -> None:
                async with handler:
                    try:
                        await anyio.sleep_forever()
                    finally:
                        log.append("body")

            tasks.start_soon(own)
            await flow.begun.wait()
            await checkpoint()
            tasks.cancel_scope.cancel()
    assert log == ["body"]
    assert flow.log == ["begun", "cancelled"]
    with pytest.raises(WorkflowCancelledError):
        await handler


async def test_s_run_2_a_clean_up_that_fails_in_the_cancelled_body_leaves_the_block() -> None:
    """As from any cancelled task: the exception goes on instead of the cancellation."""
    flow = Held()
    with anyio.fail_after(5), pytest.raises(KeyError):
        with anyio.CancelScope() as scope:
            async with flow.run():
                await flow.begun.wait()
                scope.cancel()
                try:
                    await checkpoint()
                finally:
                    raise KeyError("clean-up of the body")
    assert flow.log == ["begun", "cancelled"]


async def test_s_run_2_a_scope_of_the_bodys_own_is_no_business_of_the_runs() -> None:
    flow = Held()
    with anyio.fail_after(5):
        async with flow.run() as handler:
            with anyio.move_on_after(0.01) as scope:
                await anyio.sleep_forever()
            assert scope.cancelled_caught
            assert flow.log == ["begun"]
            flow.gate.set()
    assert await handler == "let go"


async def test_s_run_2_events_are_sent_from_the_body() -> None:
    """To every step that accepts them; synchronous, like a step's own."""
    flow = Answering()
    with anyio.fail_after(5):
        async with flow.run() as handler:
            handler.send_event(Work(number=4))
            assert sorted(await handler) == [-4, 4]


async def test_s_run_2_an_event_from_the_body_may_go_to_one_step_alone() -> None:
    flow = Answering()
    with anyio.fail_after(5):
        async with flow.run() as handler:
            handler.send_event(Work(number=4), step="second")
            handler.send_event(Work(number=5), step="second")
            assert await handler == [-4, -5]


async def test_s_run_2_an_event_sent_before_the_first_step_began_comes_after_the_start_event() -> None:
    """The body runs first, up to its first await; the start event is the run's first all the same."""

    class Flow(Workflow):
        @step(num_workers=1)
        async def note(self, ev: StartEvent | Work) -> StopEvent | None:
            seen.append(type(ev).__name__)
            return StopEvent() if isinstance(ev, Work) else None

    seen: list[str] = []
    with anyio.fail_after(5):
        async with Flow(skip_graph_checks=["reachability"]).run() as handler:
            handler.send_event(Work())
    assert seen == ["StartEvent", "Work"]


async def test_s_run_2_the_body_streams_what_the_steps_write() -> None:
    async def write(ctx: Context) -> None:
        ctx.write_event_to_stream(Work(number=1))
        ctx.write_event_to_stream(Work(number=2))

    with anyio.fail_after(5):
        async with Calling(write).run() as handler:
            events = await events_of(handler)
    assert events == [Work(number=1), Work(number=2), StopEvent()]


async def test_s_run_2_await_in_the_body_and_after_the_block_any_number_of_times() -> None:
    with anyio.fail_after(5):
        async with Echo().run(value=[1]) as handler:
            first = await handler
            assert await handler is first
        assert await handler is first
        assert await handler is first


# --- cancel_run


async def test_s_run_2_cancel_run_returns_when_the_run_has_ended() -> None:
    """Clean-ups that take their time are part of the run."""

    async def clean_up(ctx: Context) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                for _ in range(5):
                    await checkpoint()
            log.append("cleaned up")

    begun = anyio.Event()
    log: list[str] = []
    with anyio.fail_after(5):
        async with Calling(clean_up).run() as handler:
            await begun.wait()
            await handler.cancel_run()
            assert log == ["cleaned up"]
            assert handler.is_done()
            await checkpoint()  # the body is not cancelled
            log.append("body went on")
    assert log == ["cleaned up", "body went on"]
    with pytest.raises(WorkflowCancelledByUser):
        await handler
    assert handler.failures == ()
    assert isinstance((await events_of(handler))[-1], WorkflowCancelledEvent)


async def test_s_run_2_await_in_the_body_after_cancel_run_raises_cancelled_by_user() -> None:
    with anyio.fail_after(5), pytest.raises(WorkflowCancelledByUser) as caught:
        async with Held().run() as handler:
            await handler.cancel_run()
            await handler
    with pytest.raises(WorkflowCancelledByUser) as again:
        await handler
    assert again.value is caught.value


async def test_s_run_2_cancel_run_after_the_end_does_nothing() -> None:
    async with Echo().run(value=5) as handler:
        await handler
        await handler.cancel_run()
    await handler.cancel_run()
    assert await handler == 5
    failed = Failing().run(error=ValueError("no"))
    with pytest.raises(ValueError):
        await failed
    await failed.cancel_run()
    with pytest.raises(ValueError):
        await failed


async def test_s_run_2_cancel_run_may_be_called_by_any_task_and_several_times() -> None:
    flow = Held()
    handler = flow.run()

    async def owner() -> None:
        with pytest.raises(WorkflowCancelledByUser):
            await handler
        await checkpoint()  # it is not cancelled itself

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(owner)
            await flow.begun.wait()
            tasks.start_soon(handler.cancel_run)
            await handler.cancel_run()
            await handler.cancel_run()
    assert flow.log == ["begun", "cancelled"]


async def test_s_run_2_a_cancel_run_that_is_cancelled_has_cancelled_the_run() -> None:
    """Only the wait for the end is given up."""

    async def take_time(ctx: Context) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await gate.wait()

    begun, gate = anyio.Event(), anyio.Event()
    with anyio.fail_after(5):
        async with Calling(take_time).run() as handler:
            await begun.wait()
            with anyio.move_on_after(0.01) as scope:
                await handler.cancel_run()
            assert scope.cancelled_caught
            assert not handler.is_done()
            gate.set()
    with pytest.raises(WorkflowCancelledByUser):
        await handler


async def test_s_run_2_cancel_run_before_the_first_step_has_begun() -> None:
    flow = Held()
    with anyio.fail_after(5):
        async with flow.run() as handler:
            await handler.cancel_run()
    assert flow.log == []
    with pytest.raises(WorkflowCancelledByUser):
        await handler


async def test_s_run_2_a_clean_up_that_fails_after_cancel_run_is_kept_and_not_raised() -> None:
    async def clean_up_badly(ctx: Context) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("clean-up")

    begun = anyio.Event()
    with anyio.fail_after(5):
        async with Calling(clean_up_badly).run() as handler:
            await begun.wait()
            await handler.cancel_run()
    assert [str(error) for error in handler.failures] == ["clean-up"]
    with pytest.raises(WorkflowCancelledByUser):
        await handler


# --- serve


async def test_s_run_2_serve_runs_it_in_the_callers_task_group() -> None:
    """`start` gives the handler at once; the run goes on."""
    flow = Held()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            handler: WorkflowHandler = await tasks.start(flow.run(value=1).serve)
            assert not handler.is_done()
            await flow.begun.wait()
            flow.gate.set()
            assert await handler == 1
            handler.stream_events()
    assert await handler == 1


async def test_s_run_2_serve_may_be_started_soon() -> None:
    handler = Echo().run(value=1)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(handler.serve)
    assert await handler == 1


async def test_s_run_2_a_served_run_that_fails_raises_into_the_task_group() -> None:
    """A failure that nobody awaits must not be lost; the group it leaves in is the caller's."""
    error = ValueError("run")
    with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as tasks:
            await tasks.start(Failing().run(error=error).serve)
            await anyio.sleep_forever()
    assert caught.value.exceptions == (error,)


async def test_s_run_2_cancelling_the_task_group_cancels_the_served_run() -> None:
    flow = Held()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            handler: WorkflowHandler = await tasks.start(flow.run().serve)
            await flow.begun.wait()
            tasks.cancel_scope.cancel()
    assert flow.log == ["begun", "cancelled"]
    with pytest.raises(WorkflowCancelledError):
        await handler


async def test_s_run_2_cancel_run_of_a_served_run_leaves_the_task_group_alone() -> None:
    flow = Held()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            handler: WorkflowHandler = await tasks.start(flow.run().serve)
            await handler.cancel_run()
            await checkpoint()
    with pytest.raises(WorkflowCancelledByUser):
        await handler


async def test_s_run_2_a_body_that_is_a_step_of_another_run_is_cancelled_with_it() -> None:
    """Runs nest like scopes."""
    inner = Held()

    async def nest(ctx: Context) -> None:
        async with inner.run():
            await never()

    with anyio.fail_after(5):
        async with Calling(nest).run() as handler:
            await inner.begun.wait()
            await handler.cancel_run()
    assert inner.log == ["begun", "cancelled"]
