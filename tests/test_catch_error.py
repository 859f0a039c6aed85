"""``@catch_error``: what is called where a step has failed for good, and how often (S-FAIL-3)."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from fanning import Done, Extra, Item
from running import Abort, Held

from anyio_workflows import (
    Context,
    RetryPolicy,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledError,
    WorkflowCheckpointer,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
    catch_error,
    step,
)
from anyio_workflows._ledger.lineage import largest


class Failing(Workflow):
    """Fails as often as it is started to, each time on behalf of the handler's answer."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.failures: list[StepFailedEvent] = []

    @step
    async def begin(self, ev: StartEvent) -> Item:
        return Item(n=ev.n)

    @step
    async def work(self, ev: Item) -> StopEvent | Item:
        if ev.n:
            raise ValueError(ev.n)
        return StopEvent(result="done")

    @catch_error(max_recoveries=3)
    async def handle(self, ev: StepFailedEvent) -> Item | None:
        self.failures.append(ev)
        assert isinstance(ev.input_event, Item)
        return Item(n=ev.input_event.n - 1)


async def test_s_fail_3_a_handler_goes_on_where_a_step_has_failed() -> None:
    workflow = Failing()
    handler = workflow.run(n=1)
    before = datetime.now(UTC)
    with anyio.fail_after(5):
        assert await handler == "done"
    (failure,) = workflow.failures
    assert (failure.step_name, failure.input_event, failure.attempts) == ("work", Item(n=1), 1)
    assert isinstance(failure.exception, ValueError)
    assert failure.exception.__traceback__ is not None
    assert "in step 'work'" in "".join(failure.exception.__notes__)
    assert 0 <= failure.elapsed_seconds < 5
    assert before - timedelta(seconds=1) < failure.failed_at < before + timedelta(seconds=5)
    assert handler.failures == ()


async def test_s_fail_3_a_lineage_is_recovered_so_often_and_then_fails_with_the_steps_error() -> None:
    workflow = Failing()
    with anyio.fail_after(5):
        assert await workflow.run(n=3) == "done"
        with pytest.raises(ValueError, match=r"^1\n"):
            await workflow.run(n=4)
    assert len(workflow.failures) == 6


async def test_s_fail_3_a_handler_is_called_when_the_last_attempt_has_failed() -> None:
    class Flow(Failing):
        @step(retry_policy=RetryPolicy())
        async def work(self, ev: Item) -> StopEvent | Item:
            return await Failing.work(self, ev)

    workflow = Flow()
    with anyio.fail_after(5):
        assert await workflow.run(n=2) == "done"
    assert [failure.attempts for failure in workflow.failures] == [3, 3]


async def test_s_fail_3_the_handler_that_names_the_step_comes_first_and_no_other_after_it() -> None:
    called: list[str] = []

    class Flow(Failing):
        @step
        async def begin(self, ev: StartEvent) -> Item:
            if ev.n > 10:
                raise KeyError(ev.n)
            return Item(n=ev.n)

        @catch_error
        async def handle(self, ev: StepFailedEvent) -> StopEvent:  # type: ignore[override]
            called.append(f"any: {ev.step_name}")
            return StopEvent(result="caught")

        @catch_error(for_steps=["work"])
        async def of_work(self, ctx: Context, ev: StepFailedEvent) -> Item:
            called.append(f"{ctx.step_name}: {ev.step_name}")
            return Item(n=0 if ev.input_event == Item(n=1) else 5)

    with anyio.fail_after(5):
        assert await Flow().run(n=1) == "done"
        assert await Flow().run(n=11) == "caught"
        with pytest.raises(ValueError, match="5"):
            await Flow().run(n=2)
    assert called == ["of_work: work", "any: begin", "of_work: work"]


async def test_s_fail_3_a_step_that_no_handler_covers_fails_the_run() -> None:
    class Flow(Failing):
        @catch_error(for_steps=["begin"])
        async def handle(self, ev: StepFailedEvent) -> Item | None: ...

    with anyio.fail_after(5), pytest.raises(ValueError, match="1"):
        await Flow().run(n=1)


async def test_s_fail_3_a_handler_that_fails_fails_the_run() -> None:
    class Flow(Failing):
        @catch_error
        async def handle(self, ev: StepFailedEvent) -> Item | None:
            raise KeyError("in the handler")

    handler = Flow().run(n=1)
    with anyio.fail_after(5), pytest.raises(KeyError, match="in the handler"):
        await handler
    assert [type(failure) for failure in handler.failures] == [KeyError]


async def test_s_fail_3_a_handler_that_gives_nothing_ends_what_has_failed() -> None:
    class Flow(Failing):
        @catch_error
        async def handle(self, ev: StepFailedEvent) -> None:
            return None

    with anyio.fail_after(5), pytest.raises(Exception, match="every step has returned"):
        await Flow().run(n=1)


async def test_s_fail_3_what_a_handler_sends_has_been_recovered_too() -> None:
    class Flow(Failing):
        @catch_error
        def handle(self, ctx: Context, ev: StepFailedEvent) -> Item | None:  # type: ignore[override]
            ctx.send_event(Item(n=1))
            return None

    with anyio.fail_after(5), pytest.raises(ValueError, match="1"):
        await Flow().run(n=2)


async def test_s_fail_3_errors_of_the_engines_are_handled_like_the_steps() -> None:
    """What is returned against the annotation, and a timeout of the step's."""
    seen: list[type[BaseException]] = []

    class Flow(Workflow):
        @step(timeout=0.01)
        async def begin(self, ev: StartEvent) -> Item:
            if ev.wrong:
                return "Item"  # type: ignore[return-value]  # the mistake
            await anyio.sleep_forever()
            raise AssertionError

        @step
        async def end(self, ev: Item) -> StopEvent: ...  # type: ignore[empty-body]

        @catch_error
        async def handle(self, ev: StepFailedEvent) -> StopEvent:
            seen.append(type(ev.exception))
            return StopEvent(result="caught")

    with anyio.fail_after(5):
        assert [await Flow().run(wrong=wrong) for wrong in (True, False)] == ["caught", "caught"]
    assert seen == [WorkflowRuntimeError, WorkflowTimeoutError]


class HeldHandled(Held):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.handled = 0

    @catch_error
    async def handle(self, ev: StepFailedEvent) -> StopEvent:
        self.handled += 1
        return StopEvent(result="handled")


async def test_s_fail_3_no_handler_is_called_when_the_run_is_cancelled_or_its_time_is_over() -> None:
    with anyio.fail_after(5):
        workflow = HeldHandled(timeout=0.01)
        with pytest.raises(WorkflowTimeoutError):
            await workflow.run()
        assert workflow.handled == 0
        workflow = HeldHandled()
        handler = workflow.run()
        async with handler:
            await workflow.begun.wait()
            await handler.cancel_run()
        with pytest.raises(WorkflowCancelledError):
            await handler
        assert workflow.handled == 0
        with anyio.move_on_after(0.01):
            await workflow.run()
        assert workflow.handled == 0


async def test_s_fail_3_no_handler_is_called_for_what_is_no_exception_of_a_program() -> None:
    class Flow(Failing):
        @step
        async def work(self, ev: Item) -> StopEvent | Item:
            raise Abort

    workflow = Flow()
    with anyio.fail_after(5), pytest.raises(Abort):
        await workflow.run(n=1)
    assert workflow.failures == []


async def test_s_fail_3_what_a_failed_execution_collected_is_undone_and_what_it_sent_stays() -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(3)]

        @step(num_workers=1)
        async def work(self, ctx: Context, ev: Item) -> Done | Extra | None:
            batch = ctx.collect_events(ev, [Item] * 2)
            ctx.send_event(Extra(n=ev.n))
            if ev.n == 0:
                raise ValueError
            return None if batch is None else Done(n=sum(each.n for each in batch))

        @catch_error
        async def handle(self, ev: StepFailedEvent) -> None: ...

        @step
        async def join(self, evs: list[Done | Extra]) -> StopEvent:
            return StopEvent(result=sorted((type(ev).__name__, ev.n) for ev in evs))

    with anyio.fail_after(5):
        assert await Flow().run() == [("Done", 3), ("Extra", 0), ("Extra", 1), ("Extra", 2)]


def test_s_fail_3_where_lineages_meet_each_handler_has_its_largest_count() -> None:
    assert largest([{"a": 2}, {"a": 1, "b": 1}, {}]) == {"a": 2, "b": 1}
    assert largest([{}, {}]) == {}


async def test_s_fail_3_a_handler_of_a_run_that_goes_on_is_told_what_was_raised() -> None:
    """Exceptions are not stored; a RestoredError tells of them."""
    seen: Counter[tuple[str, str]] = Counter()

    class Flow(Failing):
        @catch_error
        async def handle(self, ev: StepFailedEvent) -> StopEvent:  # type: ignore[override]
            seen[type(ev.exception).__name__, str(ev.exception)] += 1
            ctx = ev.attempts, ev.step_name, ev.input_event
            return StopEvent(result=repr(ctx))

    checkpointer = WorkflowCheckpointer(workflow=Flow())
    handler = checkpointer.run(n=1)
    with anyio.fail_after(5):
        assert await handler == "(1, 'work', Item(n=1))"
        run: Any = handler._run
        cuts = [run.entries.checkpoint(cut) for cut in run.recording.history.cuts]
        (cut,) = [cut for cut in cuts if [event.step for event in cut.pending] == ["handle"]]
        assert await checkpointer.run_from(checkpointer.loads(checkpointer.dumps(cut))) == await handler
    assert seen == {("ValueError", "1"): 1, ("RestoredError", "before the run was resumed: ValueError(1)"): 1}
