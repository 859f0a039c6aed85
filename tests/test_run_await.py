"""S-RUN-2: ``await handler``."""

import traceback

import anyio
import pytest
from anyio.lowlevel import checkpoint
from running import Calling, Echo, Failing, Held, events_of

from anyio_workflows import (
    Context,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowCancelledError,
    WorkflowCancelledEvent,
    WorkflowHandler,
    step,
)


async def test_s_run_2_run_starts_nothing() -> None:
    """Structured concurrency: a call without await or async with leaves nothing behind."""
    flow = Held()
    before = len(anyio.get_running_tasks())
    handler = flow.run()
    await checkpoint()
    await checkpoint()
    assert flow.log == []
    assert len(anyio.get_running_tasks()) == before
    assert not handler.is_done()
    flow.gate.set()
    await handler


async def test_s_run_2_await_gives_the_result() -> None:
    assert await Echo().run(value=42) == 42


async def test_s_run_2_a_run_starts_with_fields_or_with_a_start_event() -> None:
    assert await Echo().run(start_event=StartEvent(value="given")) == "given"


async def test_s_run_2_await_runs_it_in_the_callers_task() -> None:
    """No hidden task: what the backend says of the step's task is the caller's."""

    async def own_task(ctx: Context) -> object:
        await checkpoint()
        return anyio.get_current_task().id

    assert await Calling(own_task).run() == anyio.get_current_task().id


async def test_s_run_2_the_callers_cancellation_is_the_runs() -> None:
    flow = Held()
    handler = flow.run()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_await, handler)
            await flow.begun.wait()
            tasks.cancel_scope.cancel()
    assert flow.log == ["begun", "cancelled"]
    assert handler.is_done()
    assert isinstance((await events_of(handler))[-1], WorkflowCancelledEvent)


async def _await(handler: WorkflowHandler) -> None:
    await handler


async def test_s_run_2_the_callers_timeout_is_the_runs() -> None:
    """The idiom of the backend is enough: no timeout of ours is needed."""
    flow = Held()
    handler = flow.run()
    with pytest.raises(TimeoutError) as caught, anyio.fail_after(0.02):
        await handler
    assert type(caught.value) is TimeoutError
    assert flow.log == ["begun", "cancelled"]
    with pytest.raises(WorkflowCancelledError):
        await handler


async def test_s_run_2_a_caller_that_is_cancelled_already_goes_no_further_than_one_stretch() -> None:
    """Its first await inside the run is where it learns of it."""
    flow = Held()
    handler = flow.run()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await handler
    assert scope.cancelled_caught
    assert flow.log in ([], ["begun", "cancelled"])
    with pytest.raises(WorkflowCancelledError):
        await handler


async def test_s_run_2_further_tasks_wait_for_the_same_run() -> None:
    """However many await it, it runs once, and each gets the result."""
    flow = Held()
    handler = flow.run(value=7)
    results: list[object] = []

    async def further() -> None:
        results.append(await handler)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(further)
            await flow.begun.wait()
            for _ in range(3):
                await checkpoint()
            assert results == []
            flow.gate.set()
    assert results == [7, 7, 7]
    assert flow.log == ["begun", "done"]


async def test_s_run_2_a_further_task_that_is_cancelled_leaves_the_run_alone() -> None:
    """Only the task that runs it is its owner."""
    flow = Held()
    handler = flow.run()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_await, handler)
            await flow.begun.wait()
            with anyio.move_on_after(0.01) as scope:
                await handler
            assert scope.cancelled_caught
            assert flow.log == ["begun"]
            flow.gate.set()
    assert await handler == "let go"


async def test_s_run_2_further_tasks_get_workflow_cancelled_error_when_the_owner_is_cancelled() -> None:
    """Never the backend's cancelled exception, which would cancel a task that nobody has cancelled."""
    flow = Held()
    handler = flow.run()
    caught: list[WorkflowCancelledError] = []

    async def further() -> None:
        with pytest.raises(WorkflowCancelledError) as raised:
            await handler
        caught.append(raised.value)
        await checkpoint()  # it is not cancelled itself

    with anyio.fail_after(5):
        async with anyio.create_task_group() as outer, anyio.create_task_group() as owner:
            owner.start_soon(_await, handler)
            await flow.begun.wait()
            outer.start_soon(further)
            outer.start_soon(further)
            await checkpoint()
            await checkpoint()
            owner.cancel_scope.cancel()
    assert len(caught) == 2
    assert caught[0] is caught[1]
    assert type(caught[0]) is WorkflowCancelledError
    assert (caught[0].workflow, caught[0].run_id) == ("Held", handler.run_id)
    assert handler.run_id in str(caught[0])


def test_s_run_2_cancelled_by_user_is_a_cancelled_error() -> None:
    """Who does not care by whom needs one except clause."""
    assert issubclass(WorkflowCancelledByUser, WorkflowCancelledError)
    assert not issubclass(WorkflowCancelledError, TimeoutError)


async def test_s_run_2_every_await_raises_the_same_exception_with_its_original_traceback() -> None:
    """Awaiting again must not make the traceback longer, or forget where the step raised."""
    error = ValueError("no")
    handler = Failing().run(error=error)
    tracebacks: list[list[str]] = []
    for _ in range(4):
        with pytest.raises(ValueError) as caught:
            await handler
        assert caught.value is error
        tracebacks.append([frame.name for frame in traceback.extract_tb(error.__traceback__)])
    assert tracebacks[0][-1] == "fail"
    assert [names[-1] for names in tracebacks] == ["fail"] * 4
    # The first await drives the run, further ones only ask for the outcome.
    assert tracebacks[1] == tracebacks[2] == tracebacks[3]
    assert tracebacks[0].count("fail") == 1


async def test_s_run_2_every_task_gets_the_same_exception_with_its_original_traceback() -> None:
    error = ValueError("no")

    async def fail(ctx: Context) -> None:
        begun.set()
        await gate.wait()
        raise error

    async def further() -> None:
        with pytest.raises(ValueError) as caught:
            await handler
        names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        seen.append((caught.value, names[-1], names.count("further")))

    begun, gate = anyio.Event(), anyio.Event()
    seen: list[tuple[BaseException, str, int]] = []
    handler = Calling(fail).run()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(further)
            await begun.wait()
            gate.set()
    assert seen == [(error, "fail", 1)] * 3


@pytest.mark.parametrize("kind", [WorkflowCancelledByUser, ValueError])
async def test_s_run_2_awaiting_after_the_end_gives_the_outcome_again(
    kind: type[Exception],
) -> None:
    """A handler is a value that can be kept: also the errors of ours are one object."""
    flow = Held()
    raised: list[BaseException] = []
    if kind is ValueError:
        handler = Failing().run(error=ValueError("no"))
        with pytest.raises(ValueError):
            await handler
    else:
        async with flow.run() as handler:
            await flow.begun.wait()
            await handler.cancel_run()
    for _ in range(2):
        with pytest.raises(kind) as caught:
            await handler
        raised.append(caught.value)
    assert raised[0] is raised[1]


async def test_s_run_2_awaiting_an_ended_run_is_a_checkpoint() -> None:
    """Whoever awaits in a loop can be cancelled, however often the result was there at once."""
    handler = Echo().run(value=1)
    await handler
    with anyio.CancelScope() as scope:
        scope.cancel()
        await handler
    assert scope.cancelled_caught
    assert await handler == 1


async def test_s_run_2_a_workflow_serves_any_number_of_runs_at_once() -> None:
    """Nothing of a run lives in its workflow."""
    present = 0

    class Flow(Workflow):
        @step
        async def meet(self, ctx: Context, ev: StartEvent) -> StopEvent:
            nonlocal present
            present += 1
            await ctx.store.set("number", ev.number)
            if present == 50:
                all_there.set()
            await all_there.wait()
            return StopEvent(result=await ctx.store.get("number"))

    all_there = anyio.Event()
    flow = Flow()
    results: dict[int, object] = {}

    async def one(number: int) -> None:
        results[number] = await flow.run(number=number)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(one, number)
    assert results == {number: number for number in range(50)}


async def test_s_run_2_run_ids_are_given_or_unique() -> None:
    handlers = [Echo().run() for _ in range(20)]
    named = Echo().run(run_id="mine")
    for handler in [*handlers, named]:
        await handler
    assert len({handler.run_id for handler in handlers}) == 20
    assert named.run_id == "mine"
    assert "mine" in repr(named)
    assert named.workflow_name == "Echo"
