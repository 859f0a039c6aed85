"""S-FAIL-1 and S-FAIL-4: what a run fails with, and the time that clean-ups get."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from running import Abort, Calling, Crowd, Failing, Held, Work, events_of, stored_cancellation

from anyio_workflows import (
    Context,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowCancelledError,
    WorkflowCancelledEvent,
    WorkflowFailedEvent,
    WorkflowHandler,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
    step,
)


async def _await(handler: WorkflowHandler) -> None:
    await handler


async def _enter(handler: WorkflowHandler) -> None:
    async with handler:
        await anyio.sleep_forever()


# --- the step's own exception


async def test_s_fail_1_await_raises_the_steps_own_exception() -> None:
    """So that `except ValueError` works."""
    error = ValueError("no")
    handler = Failing().run(error=error)
    with pytest.raises(ValueError) as caught:
        await handler
    assert caught.value is error
    assert error.__cause__ is None
    assert handler.failures == (error,)


async def test_s_fail_1_a_note_names_workflow_step_event_and_attempt() -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Work:
            return Work(number=17)

        @step
        async def divide(self, ev: Work) -> StopEvent:
            return StopEvent(result=ev.number / 0)

    with pytest.raises(ZeroDivisionError) as caught:
        await Flow(workflow_name="Sums").run()
    (note,) = caught.value.__notes__
    assert "'divide'" in note
    assert "Sums" in note
    assert "attempt 1" in note
    assert "Work(number=17)" in note


async def test_s_fail_1_a_note_about_a_long_event_is_short() -> None:
    with pytest.raises(ValueError) as caught:
        await Failing().run(error=ValueError("no"), text="x" * 100_000)
    (note,) = caught.value.__notes__
    assert len(note) < 500


async def test_s_fail_1_an_exception_that_is_raised_by_several_runs_keeps_a_note_of_each_once() -> None:
    """A module's constant exception must not collect notes for ever."""
    error = ValueError("constant")
    for _ in range(5):
        with pytest.raises(ValueError):
            await Failing().run(error=error)
    assert len([note for note in error.__notes__ if "error=ValueError" in note]) == 1


class _NotesRaise(ValueError):
    def add_note(self, note: str, /) -> None:
        raise RuntimeError("no notes here")


class _NotesAreText(ValueError):
    def __init__(self) -> None:
        super().__init__("text")
        self.__notes__ = "text"  # type: ignore[assignment]  # what a careless library may do


class _NotesAreNumber(ValueError):
    def __init__(self) -> None:
        super().__init__("number")
        self.__notes__ = 5  # type: ignore[assignment]  # likewise


class _AttributesRaise(ValueError):
    def __getattribute__(self, name: str) -> Any:
        if name == "__notes__":
            raise RuntimeError("not even a look")
        return super().__getattribute__(name)

    def add_note(self, note: str, /) -> None:
        raise RuntimeError("no notes here")


@pytest.mark.parametrize("kind", [_NotesRaise, _NotesAreText, _NotesAreNumber, _AttributesRaise])
@pytest.mark.parametrize("use", [_await, _enter])
async def test_s_fail_1_the_note_is_left_out_where_an_exception_refuses_notes(
    use: Callable[[WorkflowHandler], Awaitable[None]], kind: type[ValueError]
) -> None:
    error = kind()
    with anyio.fail_after(5), pytest.raises(kind) as caught:
        await use(Failing().run(error=error))
    assert caught.value is error


class _ReprRaises(Work):
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


async def test_s_fail_1_an_event_without_repr_does_not_hide_the_exception() -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> _ReprRaises:
            return _ReprRaises()

        @step
        async def fail(self, ev: _ReprRaises) -> StopEvent:
            raise ValueError("no")

    outcome: type[BaseException] | None = None
    with anyio.fail_after(5):
        try:
            await Flow().run()
        except BaseException as error:  # noqa: BLE001  # pytest cannot print it, if it is the wrong one
            outcome = type(error)
    assert outcome is ValueError


async def test_s_fail_1_a_plain_function_that_raises_is_told_the_same() -> None:
    class Flow(Workflow):
        @step
        def fail(self, ev: StartEvent) -> StopEvent:
            raise ValueError("in a thread")

    with anyio.fail_after(5), pytest.raises(ValueError) as caught:
        await Flow().run()
    assert "'fail'" in caught.value.__notes__[0]


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration, GeneratorExit])
async def test_s_fail_1_exceptions_that_python_uses_itself_do_not_look_like_an_end(
    kind: type[BaseException],
) -> None:
    """Python makes a RuntimeError of a StopIteration that leaves a coroutine; none of them is a result."""

    async def raises(ctx: Context) -> None:
        raise kind

    outcome: type[BaseException] | None = None
    with anyio.fail_after(5):
        try:
            await Calling(raises).run()
        except BaseException as error:  # noqa: BLE001  # a group of BaseExceptions would end pytest
            outcome = type(error)
    assert outcome in (RuntimeError, kind)


async def test_s_fail_1_the_stream_ends_with_the_failure() -> None:
    error = ValueError("no")
    handler = Failing().run(error=error)
    with pytest.raises(ValueError):
        await handler
    (last,) = await events_of(handler)
    assert isinstance(last, WorkflowFailedEvent)
    assert (last.step_name, last.exception, last.attempts) == ("fail", error, 1)


# --- all failures


async def test_s_fail_1_failures_holds_all_of_them_the_deciding_one_first() -> None:
    async def last(ctx: Context) -> StopEvent:
        raise ValueError("deciding")

    class Flow(Crowd):
        @step
        async def stay(self, ev: Work) -> None:
            try:
                await super().stay(ev)
            finally:
                raise KeyError(ev.number)

    handler = Flow(last).run()
    with anyio.fail_after(5), pytest.raises(ValueError):
        await handler
    assert isinstance(handler.failures, tuple)
    assert str(handler.failures[0]) == "deciding"
    assert sorted(str(error) for error in handler.failures[1:]) == ["0", "1", "2"]


async def test_s_fail_1_a_failure_that_a_step_handles_is_none_of_the_runs() -> None:
    async def handles(ctx: Context) -> str:
        with pytest.raises(ValueError):
            await Failing().run(error=ValueError("inner"))
        return "handled"

    handler = Calling(handles).run()
    with anyio.fail_after(5):
        assert await handler == "handled"
    assert handler.failures == ()


# --- groups


async def test_s_fail_1_exception_groups_of_the_users_own_go_through_unopened() -> None:
    async def child(number: int) -> None:
        raise ValueError(number)

    async def raises_group(ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child, 1)

    for use in (_await, _enter):
        handler = Calling(raises_group).run()
        with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
            await use(handler)
        assert [str(error) for error in caught.value.exceptions] == ["1"]
        assert handler.failures == (caught.value,)


async def test_s_fail_1_a_group_of_one_is_not_unwrapped_and_not_wrapped() -> None:
    error = ExceptionGroup("mine", [ExceptionGroup("inner", [ValueError("no")])])
    for use in (_await, _enter):
        with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
            await use(Failing().run(error=error))
        assert caught.value is error


# --- BaseException


@pytest.mark.parametrize("kind", [Abort, KeyboardInterrupt, SystemExit])
async def test_s_fail_1_a_base_exception_is_raised_as_itself(kind: type[BaseException]) -> None:
    error = kind()
    with anyio.fail_after(5), pytest.raises(kind) as caught:
        await Failing().run(error=error)
    assert caught.value is error
    assert len(error.__notes__) == 1


@pytest.mark.parametrize("kind", [Abort, KeyboardInterrupt, SystemExit])
async def test_s_fail_1_a_base_exception_beside_the_body_is_raised_from_the_block(
    kind: type[BaseException],
) -> None:
    """In a worker that is not the caller's task, where asyncio would otherwise end the loop."""

    async def last(ctx: Context) -> StopEvent:
        raise kind

    flow = Crowd(last)
    with anyio.fail_after(5), pytest.raises(kind):
        async with flow.run():
            await anyio.sleep_forever()
    assert flow.cleaned_up == 3


# --- cancellation


async def test_s_fail_1_a_cancelled_step_is_no_failure() -> None:
    flow = Held()
    with anyio.fail_after(5):
        async with flow.run() as handler:
            await flow.begun.wait()
            await handler.cancel_run()
    assert handler.failures == ()
    assert isinstance((await events_of(handler))[-1], WorkflowCancelledEvent)


async def test_s_fail_1_steps_cancelled_by_anothers_failure_are_no_failures() -> None:
    async def last(ctx: Context) -> StopEvent:
        raise ValueError("only one")

    handler = Crowd(last).run()
    with anyio.fail_after(5), pytest.raises(ValueError):
        await handler
    assert [str(error) for error in handler.failures] == ["only one"]


@pytest.mark.parametrize("use", [_await, _enter])
async def test_s_fail_1_a_cancelled_exception_that_nobody_asked_for_is_a_workflow_runtime_error(
    use: Callable[[WorkflowHandler], Awaitable[None]],
) -> None:
    """Stored and raised later: passed on, it would cancel what nobody has cancelled, or confuse trio."""

    async def raises_stored(ctx: Context) -> None:
        raise await stored_cancellation()

    handler = Calling(raises_stored).run()
    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError) as caught:
        await use(handler)
    assert "step 'call'" in str(caught.value)
    assert "nobody has cancelled it" in str(caught.value)
    assert isinstance(caught.value.__cause__, anyio.get_cancelled_exc_class())
    assert handler.failures == (caught.value,)
    await checkpoint()  # the caller is not cancelled


async def test_s_fail_1_an_unasked_cancellation_in_a_worker_beside_is_told_too() -> None:
    """Not only in the caller's own task."""

    async def last(ctx: Context) -> StopEvent:
        ctx.send_event(Work(number=99))
        await anyio.sleep_forever()
        return StopEvent()

    class Flow(Crowd):
        @step
        async def stay(self, ev: Work) -> None:
            if ev.number == 99:
                raise await stored_cancellation()
            await super().stay(ev)

    flow = Flow(last)
    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError, match="step 'stay'"):
        await flow.run()
    assert flow.cleaned_up == 3


async def test_s_fail_1_a_stored_cancellation_raised_while_really_cancelled_is_cancellation() -> None:
    """Then somebody has asked for it."""

    async def raises_stored(ctx: Context) -> None:
        stored = await stored_cancellation()
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            raise stored

    begun = anyio.Event()
    with anyio.fail_after(5):
        async with Calling(raises_stored).run() as handler:
            await begun.wait()
            await handler.cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await handler


async def _raises_group_when_cancelled(begun: anyio.Event, *others: BaseException) -> None:
    begun.set()
    try:
        await anyio.sleep_forever()
    except anyio.get_cancelled_exc_class() as error:
        raise BaseExceptionGroup("both", [error, *others]) from None


@pytest.mark.parametrize("others", [(), (ValueError("clean-up"),)], ids=["alone", "with another"])
async def test_s_fail_1_of_a_group_the_cancelled_part_goes_on_and_the_rest_is_kept(
    others: tuple[BaseException, ...],
) -> None:
    """The caller's cancellation passes; a clean-up's exception beside it is not lost."""

    async def body(ctx: Context) -> None:
        await _raises_group_when_cancelled(begun, *others)

    begun = anyio.Event()
    handler = Calling(body).run()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:

                async def cancel() -> None:
                    await begun.wait()
                    scope.cancel()

                tasks.start_soon(cancel)
                await handler
            assert scope.cancelled_caught
    if others:
        (group,) = handler.failures
        assert isinstance(group, ExceptionGroup)
        assert group.exceptions == others
    else:
        assert handler.failures == ()
    with pytest.raises(WorkflowCancelledError):
        await handler


async def test_s_fail_1_of_a_group_in_a_worker_beside_the_rest_is_kept_too() -> None:
    async def last(ctx: Context) -> StopEvent:
        raise ValueError("deciding")

    class Flow(Crowd):
        @step
        async def stay(self, ev: Work) -> None:
            self.begun += 1
            if self.begun == 3:
                self.all_begun.set()
            await _raises_group_when_cancelled(anyio.Event(), KeyError(ev.number))

    handler = Flow(last).run()
    with anyio.fail_after(5), pytest.raises(ValueError):
        await handler
    groups = handler.failures[1:]
    assert len(groups) == 3
    for group in groups:
        assert isinstance(group, ExceptionGroup)
        assert [type(error) for error in group.exceptions] == [KeyError]


async def test_s_fail_1_a_nested_task_group_of_a_cancelled_step_loses_nothing() -> None:
    """As AnyIO itself does: the child's exception is a group, the cancellation goes on."""

    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise KeyError("child")

    async def body(ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)
            await checkpoint()
            await checkpoint()
            begun.set()

    begun = anyio.Event()
    with anyio.fail_after(5):
        async with Calling(body).run() as handler:
            await begun.wait()
            await handler.cancel_run()
    (group,) = handler.failures
    assert isinstance(group, ExceptionGroup)
    assert [repr(error) for error in group.exceptions] == ["KeyError('child')"]
    with pytest.raises(WorkflowCancelledByUser):
        await handler


# --- clean-ups


@pytest.mark.parametrize("how", ["stop", "failure", "timeout", "cancel_run", "cancellation", "body"])
async def test_s_fail_4_a_clean_up_under_a_shield_gets_its_time(how: str) -> None:
    """The run's shutdown is bounded by nothing but its steps: no grace, no second cancellation."""
    handler_ended, passes = False, 0

    async def last(ctx: Context) -> StopEvent:
        if how == "failure":
            raise ValueError("no")
        if how != "stop":
            await anyio.sleep_forever()
        return StopEvent()

    class Flow(Crowd):
        @step
        async def stay(self, ev: Work) -> None:
            nonlocal passes
            self.begun += 1
            if self.begun == 3:
                self.all_begun.set()
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    for _ in range(50):
                        await checkpoint()
                        assert not handler_ended
                    passes += 50
                self.cleaned_up += 1

    flow = Flow(last)
    handler = flow.run(timeout=0.02 if how == "timeout" else None)
    with anyio.fail_after(5):
        try:
            with anyio.CancelScope() as scope:
                async with handler:
                    await flow.all_begun.wait()
                    if how == "cancel_run":
                        await handler.cancel_run()
                        assert passes == 150
                    elif how == "cancellation":
                        scope.cancel()
                    elif how == "body":
                        raise KeyError("body")
        except (ValueError, WorkflowTimeoutError, KeyError):
            pass
        handler_ended = True
    assert flow.cleaned_up == 3
    assert passes == 150


async def test_s_fail_4_a_clean_up_without_a_shield_is_cancelled_at_its_first_await() -> None:
    """Cancellation is level-triggered, as in AnyIO: who needs the time says so."""

    async def body(ctx: Context) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            log.append("begun")
            await checkpoint()
            log.append("never")

    begun = anyio.Event()
    log: list[str] = []
    with anyio.fail_after(5):
        async with Calling(body).run() as handler:
            await begun.wait()
            await handler.cancel_run()
    assert log == ["begun"]
