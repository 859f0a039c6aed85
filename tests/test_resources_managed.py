"""Resources that are entered and left: in one task, in which order, and what a failure means for the run."""

import asyncio
import contextvars
import gc
import logging
import warnings
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from anyio_workflows import (
    Context,
    Event,
    Resource,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowCheckpointer,
    WorkflowFailedEvent,
    WorkflowRuntimeError,
    WorkflowStalledError,
    WorkflowTimeoutError,
    step,
)
from anyio_workflows._run import holding
from anyio_workflows.stores import MemoryCheckpointStore


class Work(Event):
    number: int = 0


class Log:
    """Makes factories that note when they are entered and left, and in which task."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.tasks: dict[str, list[int]] = {}

    def note(self, what: str, name: str) -> None:
        self.lines.append(f"{what} {name}")
        self.tasks.setdefault(name, []).append(anyio.get_current_task().id)

    def managed(self, name: str) -> Callable[[], Any]:
        @asynccontextmanager
        async def factory() -> AsyncIterator[str]:
            await checkpoint()
            self.note("enter", name)
            try:
                yield name
            finally:
                await checkpoint()
                self.note("leave", name)

        return factory

    def managed_after(self, name: str, other: Resource) -> Callable[..., Any]:
        @asynccontextmanager
        async def factory(needed: Annotated[str, other]) -> AsyncIterator[str]:
            self.note("enter", name)
            yield f"{name} of {needed}"
            self.note("leave", name)

        return factory


def using(*resources: Resource, body: Callable[..., Awaitable[Any]] | None = None) -> Workflow:
    """Return a workflow with a step for the first of *resources*, and one after it for the second, if any."""
    first, second = resources[0], resources[-1]

    class Flow(Workflow):
        @step
        async def one(self, ctx: Context, ev: StartEvent, given: Annotated[str, first]) -> Work:
            return Work()

        @step
        async def two(self, ctx: Context, ev: Work, given: Annotated[str, second]) -> StopEvent:
            return StopEvent(result=given if body is None else await body(ctx, given))

    return Flow()


async def test_a_managed_resource_is_left_at_the_end_of_the_run_in_the_task_that_has_entered_it() -> None:
    log = Log()
    resource = Resource(log.managed("a"))
    with anyio.fail_after(5):
        assert await using(resource).run() == "a"
    assert log.lines == ["enter a", "leave a"]
    entered, left = log.tasks["a"]
    assert entered == left != anyio.get_current_task().id


async def test_each_run_has_its_own() -> None:
    log = Log()
    workflow = using(Resource(log.managed("a")))
    with anyio.fail_after(5):
        await workflow.run()
        await workflow.run()
    assert log.lines == ["enter a", "leave a"] * 2


async def test_resources_are_left_in_the_reverse_order_of_entering() -> None:
    log = Log()
    inner = Resource(log.managed("inner"))
    outer = Resource(log.managed_after("outer", inner))
    with anyio.fail_after(5):
        assert await using(Resource(log.managed("first")), outer).run() == "outer of inner"
    assert log.lines == [
        *("enter first", "enter inner", "enter outer"),
        *("leave outer", "leave inner", "leave first"),
    ]


async def test_the_slower_of_two_independent_resources_is_left_first() -> None:
    """Entered last, though asked for first."""
    log = Log()
    quick_entered = anyio.Event()

    @asynccontextmanager
    async def slow() -> AsyncIterator[str]:
        await quick_entered.wait()
        log.note("enter", "slow")
        yield "slow"
        log.note("leave", "slow")

    @asynccontextmanager
    async def quick() -> AsyncIterator[str]:
        log.note("enter", "quick")
        quick_entered.set()
        yield "quick"
        log.note("leave", "quick")

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Work | Other | None:
            ctx.send_event(Work())
            ctx.send_event(Other())
            return None

        @step
        async def one(self, ev: Work, given: Annotated[str, Resource(slow)]) -> StopEvent:
            return StopEvent()

        @step
        async def two(self, ev: Other, given: Annotated[str, Resource(quick)]) -> None: ...

    with anyio.fail_after(5):
        await Flow().run()
    assert log.lines == ["enter quick", "enter slow", "leave slow", "leave quick"]


class Other(Event):
    pass


async def test_a_resource_may_hold_a_task_group() -> None:
    """Which must be left in the task that has entered it, whichever worker asks first."""
    pumped: list[int] = []

    @asynccontextmanager
    async def pump() -> AsyncIterator[Callable[[int], Awaitable[None]]]:
        send, receive = anyio.create_memory_object_stream[int](10)

        async def work() -> None:
            async with receive:
                pumped.extend([number async for number in receive])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            async with send:
                yield send.send

    async def body(ctx: Context, send: Any) -> str:
        await send(1)
        await send(2)
        return "sent"

    with anyio.fail_after(5):
        assert await using(Resource(pump), body=body).run() == "sent"
    assert pumped == [1, 2]


async def test_a_resource_may_hold_a_cancel_scope_and_many_workers_use_it() -> None:
    @asynccontextmanager
    async def scoped() -> AsyncIterator[anyio.CancelScope]:
        with anyio.CancelScope() as scope:
            yield scope

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Work | None:
            for number in range(20):
                ctx.send_event(Work(number=number))
            return None

        @step
        async def use(
            self, ctx: Context, ev: Work, scope: Annotated[anyio.CancelScope, Resource(scoped)]
        ) -> StopEvent | None:
            await checkpoint()
            done = ctx.collect_events(ev, [Work] * 20)
            return None if done is None else StopEvent(result=scope.cancel_called)

    with anyio.fail_after(5):
        assert await Flow().run() is False


async def test_a_plain_context_manager_is_managed_too() -> None:
    lines: list[str] = []

    @contextmanager
    def opened() -> Iterator[str]:
        lines.append("enter")
        yield "it"
        lines.append("leave")

    with anyio.fail_after(5):
        assert await using(Resource(opened)).run() == "it"
    assert lines == ["enter", "leave"]


async def test_it_is_left_when_every_step_has_ended_and_before_the_run_has() -> None:
    """A clean-up of a step may still use what the step was given."""
    log = Log()
    begun = anyio.Event()

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Work | StopEvent:
            ctx.send_event(Work())
            await begun.wait()
            return StopEvent(result="done")

        @step
        async def use(self, ev: Work, given: Annotated[str, Resource(log.managed("a"))]) -> None:
            begun.set()
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await checkpoint()
                log.lines.append("clean up")

    handler = Flow().run()
    with anyio.fail_after(5):
        assert await handler == "done"
    assert log.lines == ["enter a", "clean up", "leave a"]


async def test_it_is_left_shielded_when_the_run_is_cancelled() -> None:
    log = Log()
    begun = anyio.Event()

    async def body(ctx: Context, given: str) -> None:
        begun.set()
        await anyio.sleep_forever()

    handler = using(Resource(log.managed("a")), body=body).run()
    with anyio.fail_after(5):
        async with handler:
            await begun.wait()
            await handler.cancel_run()
            assert log.lines == ["enter a", "leave a"]
        with pytest.raises(WorkflowCancelledByUser):
            await handler


async def test_it_is_left_shielded_when_the_caller_is_cancelled() -> None:
    log = Log()
    begun = anyio.Event()

    async def body(ctx: Context, given: str) -> None:
        begun.set()
        await anyio.sleep_forever()

    was_cancelled = False
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                nonlocal was_cancelled
                try:
                    await using(Resource(log.managed("a")), body=body).run()
                except anyio.get_cancelled_exc_class():
                    was_cancelled = True
                    raise

            tasks.start_soon(call)
            await begun.wait()
            tasks.cancel_scope.cancel()
    assert was_cancelled
    assert log.lines == ["enter a", "leave a"]


async def test_an_error_while_entering_is_the_attempts() -> None:
    calls = 0

    @asynccontextmanager
    async def connect() -> AsyncIterator[int]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ConnectionError("nobody there")
        yield calls

    workflow = using(Resource(connect))
    with anyio.fail_after(5):
        handler = workflow.run()
        with pytest.raises(ConnectionError) as caught:
            await handler
        assert handler.failures == (caught.value,)
        assert "in step 'one'" in caught.value.__notes__[0]
        assert await workflow.run() == 2


async def test_a_failing_teardown_is_the_runs_failure_if_nothing_failed_before() -> None:
    """What was to be written at the end is not: nobody may believe that it was."""

    @asynccontextmanager
    async def transaction() -> AsyncIterator[str]:
        yield "transaction"
        raise OSError("not committed")

    handler = using(Resource(transaction)).run()
    with anyio.fail_after(5):
        with pytest.raises(OSError, match="not committed") as caught:
            await handler
        last = [event async for event in handler.stream_events()][-1]
    assert handler.failures == (caught.value,)
    assert caught.value.__notes__ == [f"in resource {transaction.__qualname__.rpartition('<locals>.')[2]!r}"]
    assert isinstance(last, WorkflowFailedEvent)
    assert last.exception is caught.value


async def test_a_failing_teardown_after_a_failure_is_kept_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = Log()

    @asynccontextmanager
    async def broken() -> AsyncIterator[str]:
        yield "broken"
        raise OSError("teardown")

    async def body(ctx: Context, given: str) -> None:
        raise ValueError("body")

    handler = using(Resource(log.managed("a")), Resource(broken), body=body).run()
    with anyio.fail_after(5), pytest.raises(ValueError, match="body"):
        await handler
    assert [type(error) for error in handler.failures] == [ValueError, OSError]
    assert log.lines == ["enter a", "leave a"]  # the others are left all the same
    assert "a resource of run" in caplog.text


async def test_the_success_is_on_the_stream_when_the_resources_are_left() -> None:
    release = anyio.Event()

    @asynccontextmanager
    async def slow() -> AsyncIterator[str]:
        yield "slow"
        await release.wait()

    seen: list[Event] = []
    with anyio.fail_after(5):
        async with using(Resource(slow)).run() as handler, anyio.create_task_group() as tasks:

            async def read() -> None:
                seen.extend([event async for event in handler.stream_events()])

            tasks.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            assert not seen
            release.set()
    assert [type(event) for event in seen] == [StopEvent]


async def test_a_resource_that_fails_in_the_middle_fails_the_run_at_once() -> None:
    @asynccontextmanager
    async def dying() -> AsyncIterator[anyio.Event]:
        async def die(wanted: anyio.Event) -> None:
            await wanted.wait()
            raise OSError("connection lost")

        wanted = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(die, wanted)
            yield wanted

    async def body(ctx: Context, wanted: Any) -> None:
        wanted.set()
        await anyio.sleep_forever()

    with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
        await using(Resource(dying), body=body).run()
    assert caught.group_contains(OSError, match="connection lost")


async def test_a_resource_that_ends_by_itself_fails_the_run() -> None:
    @asynccontextmanager
    async def brief() -> AsyncIterator[anyio.CancelScope]:
        with anyio.CancelScope() as scope:
            yield scope

    async def body(ctx: Context, scope: Any) -> None:
        scope.cancel()
        await anyio.sleep_forever()

    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError, match=r"brief' has ended by itself"):
        await using(Resource(brief), body=body).run()


async def test_a_teardown_that_does_not_end_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "TEARDOWN", 0.01)
    log = Log()

    @asynccontextmanager
    async def stuck() -> AsyncIterator[str]:
        yield "stuck"
        await anyio.sleep_forever()

    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError, match="was not left within"):
        await using(Resource(log.managed("a")), Resource(stuck)).run()
    assert log.lines == ["enter a", "leave a"]


async def test_entering_is_undone_when_the_one_who_asked_has_no_more_time() -> None:
    log: list[str] = []

    @asynccontextmanager
    async def slow() -> AsyncIterator[None]:
        log.append("begin")
        try:
            await anyio.sleep_forever()
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await checkpoint()
            log.append("end")

    class Flow(Workflow):
        @step(timeout=0.01)
        async def use(self, ev: StartEvent, given: Annotated[None, Resource(slow)]) -> StopEvent:
            return StopEvent()

    handler = Flow().run()
    with anyio.fail_after(5), pytest.raises(WorkflowTimeoutError) as caught:
        await handler
    assert log == ["begin", "end"]
    assert handler.failures == (caught.value,)


async def test_the_next_one_who_waits_enters_it_when_the_first_is_cancelled_by_itself() -> None:
    """A nested run is cancelled in its step, and with it the entering that it has asked for."""
    log: list[str] = []
    entering = anyio.Event()
    waits = anyio.Event()

    @asynccontextmanager
    async def slow() -> AsyncIterator[int]:
        number = log.count("begin") + 1
        log.append("begin")
        try:
            if number == 1:
                entering.set()
                await anyio.sleep_forever()
            yield number
        finally:
            log.append("end")

    workflow = using(Resource(slow, scope="workflow"))

    async def second() -> None:
        waits.set()
        assert await workflow.run() == 2

    with anyio.fail_after(5):
        async with workflow, anyio.create_task_group() as tasks, workflow.run() as first:
            await entering.wait()
            tasks.start_soon(second)
            await waits.wait()
            await anyio.wait_all_tasks_blocked()
            await first.cancel_run()
    assert log == ["begin", "end", "begin", "end"]


async def test_a_run_that_ends_while_a_resource_is_being_entered_undoes_it() -> None:
    log: list[str] = []
    entering = anyio.Event()

    @asynccontextmanager
    async def slow() -> AsyncIterator[None]:
        entering.set()
        try:
            await anyio.sleep_forever()
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await checkpoint()
            log.append("undone")

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Work | StopEvent:
            ctx.send_event(Work())
            await entering.wait()
            return StopEvent(result="done")

        @step
        async def use(self, ev: Work, given: Annotated[None, Resource(slow)]) -> None: ...

    handler = Flow().run()
    with anyio.fail_after(5):
        assert await handler == "done"
    assert log == ["undone"]
    assert handler.failures == ()


async def test_one_that_is_entered_without_looking_for_cancellation_is_left_again() -> None:
    """Whoever has asked for it is gone before its task begins, on trio; on asyncio it is kept."""
    lines: list[str] = []

    @contextmanager
    def scoped() -> Iterator[anyio.CancelScope]:
        with anyio.CancelScope() as scope:
            yield scope

    given_scope = Resource(scoped, cache=False)

    def give_up(scope: Annotated[anyio.CancelScope, given_scope]) -> None:
        scope.cancel()

    @contextmanager
    def quick() -> Iterator[None]:
        lines.append("enter")
        try:
            yield
        finally:
            lines.append("leave")

    class Flow(Workflow):
        @step
        async def use(
            self,
            ev: StartEvent,
            scope: Annotated[anyio.CancelScope, given_scope],
            nothing: Annotated[None, Resource(give_up, cache=False)],
            given: Annotated[None, Resource(quick)],
        ) -> StopEvent:
            await checkpoint()
            return StopEvent(result="used")

    handler = Flow().run()
    with anyio.fail_after(5), pytest.raises(WorkflowStalledError) as caught:
        await handler
    assert lines == ["enter", "leave"]
    assert handler.failures == (caught.value,)


async def test_nested_runs_have_resources_of_their_own() -> None:
    log = Log()
    inner = using(Resource(log.managed("inner")))

    async def body(ctx: Context, given: str) -> str:
        found: str = await inner.run()
        return f"{given} and {found}"

    with anyio.fail_after(5):
        assert await using(Resource(log.managed("outer")), body=body).run() == "outer and inner"
    assert log.lines == ["enter outer", "enter inner", "leave inner", "leave outer"]


async def test_a_managed_resource_sees_the_variables_of_the_run_and_not_those_of_a_step() -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")

    @asynccontextmanager
    async def outer() -> AsyncIterator[str]:
        who.set("the outer resource")
        yield who.get()

    @asynccontextmanager
    async def inner(given: Annotated[str, Resource(outer)]) -> AsyncIterator[tuple[str, str]]:
        yield given, who.get()

    who.set("the caller")
    with anyio.fail_after(5):
        assert await using(Resource(inner)).run() == ("the outer resource", "the caller")


async def test_a_recorded_run_with_a_failing_teardown_is_recorded_as_failed() -> None:
    @asynccontextmanager
    async def transaction() -> AsyncIterator[str]:
        yield "transaction"
        raise OSError("not committed")

    store = MemoryCheckpointStore()
    for durability in ("sync", "async", "exit"):
        checkpointer = WorkflowCheckpointer(
            workflow=using(Resource(transaction)),
            store=store,
            durability=durability,
        )
        handler = checkpointer.run()
        with anyio.fail_after(5), pytest.raises(OSError, match="not committed"):
            await handler
        events = [event async for event in handler.stream_events()]
        assert [type(event) for event in events] == [WorkflowFailedEvent]
        assert (await store.run(handler.run_id)).status == "failed"


async def test_a_resumed_run_makes_its_resources_anew() -> None:
    """Nothing of them is in a checkpoint."""
    log = Log()
    checkpointer = WorkflowCheckpointer(workflow=using(Resource(log.managed("a"))))
    handler = checkpointer.run()
    with anyio.fail_after(5):
        await handler
        assert log.lines == ["enter a", "leave a"]
        first = checkpointer.checkpoints[handler.run_id][0]
        assert b"enter" not in checkpointer.dumps(first)
        assert await checkpointer.run_from(first) == "a"
    assert log.lines == ["enter a", "leave a"] * 2


# --- one for each execution


async def test_cache_false_is_entered_and_left_with_each_execution_in_its_own_task() -> None:
    log = Log()

    class Flow(Workflow):
        @step
        async def begin(
            self, ev: StartEvent, given: Annotated[str, Resource(log.managed("a"), cache=False)]
        ) -> Work:
            log.note("use", given)
            return Work()

        @step
        def end(self, ev: Work, given: Annotated[str, Resource(log.managed("b"), cache=False)]) -> StopEvent:
            log.lines.append(f"use {given}")
            return StopEvent()

    with anyio.fail_after(5):
        await Flow().run()
    assert log.lines == ["enter a", "use a", "leave a", "enter b", "use b", "leave b"]
    assert len(set(log.tasks["a"])) == 1


async def test_an_exception_of_the_step_goes_through_the_resource_of_its_execution() -> None:
    """So a transaction knows whether to commit."""
    log: list[str] = []

    @asynccontextmanager
    async def transaction() -> AsyncIterator[None]:
        try:
            yield
        except ValueError:
            log.append("roll back")
            raise
        else:
            log.append("commit")

    async def body(ctx: Context, given: None) -> None:
        raise ValueError("wrong")

    resource = Resource(transaction, cache=False)
    with anyio.fail_after(5), pytest.raises(ValueError, match="wrong"):
        await using(resource, body=body).run()
    assert log == ["commit", "roll back"]


async def test_a_failing_teardown_of_an_execution_is_the_attempts() -> None:
    @asynccontextmanager
    async def transaction() -> AsyncIterator[None]:
        yield
        raise OSError("not committed")

    with anyio.fail_after(5), pytest.raises(OSError, match="not committed") as caught:
        await using(Resource(transaction, cache=False)).run()
    assert "in step 'one'" in caught.value.__notes__[0]


async def test_the_resource_of_an_execution_is_left_shielded_and_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Log()
    begun = anyio.Event()

    async def body(ctx: Context, given: str) -> None:
        begun.set()
        await anyio.sleep_forever()

    handler = using(Resource(log.managed("a"), cache=False), body=body).run()
    with anyio.fail_after(5):
        async with handler:
            await begun.wait()
            await handler.cancel_run()
    assert log.lines == ["enter a", "leave a"] * 2

    from anyio_workflows._run import resources  # noqa: PLC0415  # to shorten its time

    monkeypatch.setattr(resources, "TEARDOWN", 0.01)

    @asynccontextmanager
    async def stuck() -> AsyncIterator[None]:
        yield
        await anyio.sleep_forever()

    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError, match="stuck' was not left within"):
        await using(Resource(stuck, cache=False)).run()


async def test_a_resource_of_an_execution_may_hold_a_task_group_that_cancels_the_step() -> None:
    @asynccontextmanager
    async def watched() -> AsyncIterator[None]:
        async def watch() -> None:
            raise OSError("lost")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            yield

    async def body(ctx: Context, given: None) -> None:
        await anyio.sleep_forever()

    with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
        await using(Resource(Log().managed("a")), Resource(watched, cache=False), body=body).run()
    assert caught.group_contains(OSError, match="lost")


async def test_the_variables_that_a_resource_of_an_execution_sets_are_the_steps() -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")

    @asynccontextmanager
    async def impersonated() -> AsyncIterator[None]:
        token = who.set("Ann")
        yield
        who.reset(token)

    async def body(ctx: Context, given: None) -> str:
        return who.get()

    with anyio.fail_after(5):
        assert await using(Resource(impersonated, cache=False), body=body).run() == "Ann"
    assert who.get() == "nobody"


async def test_a_failing_teardown_cancels_the_body_and_is_raised_by_the_block() -> None:
    """As any failure of the run: the body may wait for what never comes."""

    @asynccontextmanager
    async def broken() -> AsyncIterator[None]:
        yield
        raise OSError("not closed")

    with anyio.fail_after(5), pytest.raises(OSError, match="not closed"):
        async with using(Resource(broken)).run():
            await anyio.sleep_forever()


async def test_a_handler_that_is_kept_keeps_no_resource() -> None:
    class Client:
        pass

    @asynccontextmanager
    async def connect() -> AsyncIterator[Client]:
        yield Client()

    async def body(ctx: Context, client: Any) -> weakref.ref[Client]:
        return weakref.ref(client)

    handler = using(Resource(connect), body=body).run()
    with anyio.fail_after(5):
        found = await handler
    gc.collect()
    assert found() is None


@pytest.mark.parametrize("stage", ["entering", "in use"])
def test_an_event_loop_that_is_closed_under_a_run_ends_its_resources_without_a_word(stage: str) -> None:
    log: list[str] = []

    @asynccontextmanager
    async def slow() -> AsyncIterator[None]:
        log.append("begun")
        if stage == "entering":
            await anyio.sleep_forever()
        try:
            yield
        finally:
            log.append("thrown away")

    async def body(ctx: Context, given: None) -> None:
        await anyio.sleep_forever()

    async def main() -> None:
        await using(Resource(slow), body=body).run()

    loop = asyncio.new_event_loop()
    task = loop.create_task(main())
    for _ in range(10):
        loop.call_soon(loop.stop)
        loop.run_forever()
    assert log == ["begun"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # asyncio's own, of tasks that are pending
        logging.getLogger("asyncio").disabled = True
        loop.close()
        del task
        gc.collect()
        logging.getLogger("asyncio").disabled = False
