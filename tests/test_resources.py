"""What steps are given by `Resource`: made when, how often, for whom, and what a failure of a factory means."""

import contextvars
import functools
import threading
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
import attrs
import pytest
from anyio.lowlevel import checkpoint

from anyio_workflows import (
    Context,
    Event,
    Resource,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
    step,
)


class Work(Event):
    number: int = 0


@attrs.define(eq=False)
class Client:
    number: int = 0


class Counted:
    """A factory that counts its calls, and waits at a gate if it is given one."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Client:
        self.calls += 1
        return Client(self.calls)


def flow_of(resource: Resource, *, workers: int = 1) -> type[Workflow]:
    """Return a workflow of which each run gives the clients that *workers* steps have got."""

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Work | None:
            for number in range(workers):
                ctx.send_event(Work(number=number))
            return None

        @step(num_workers=workers)
        async def use(self, ctx: Context, ev: Work, client: Annotated[Client, resource]) -> Used:
            return Used(client=client)

        @step
        async def collect(self, ctx: Context, ev: Used) -> StopEvent | None:
            found = ctx.collect_events(ev, [Used] * workers)
            return None if found is None else StopEvent(result=[used.client for used in found])

    return Flow


class Used(Event, eq=False):
    client: Any


async def test_a_plain_factory_makes_one_object_for_all_runs_of_a_workflow_object() -> None:
    factory = Counted()
    flow = flow_of(Resource(factory), workers=2)
    workflow = flow()
    with anyio.fail_after(5):
        first, second = await workflow.run()
        (third, fourth) = await workflow.run()
        (other, _) = await flow().run()
    assert first is second is third is fourth
    assert other is not first
    assert factory.calls == 2


async def test_scope_run_makes_one_object_for_each_run() -> None:
    factory = Counted()
    workflow = flow_of(Resource(factory, scope="run"), workers=2)()
    with anyio.fail_after(5):
        first, second = await workflow.run()
        third, fourth = await workflow.run()
    assert first is second
    assert third is fourth
    assert first is not third


async def test_cache_false_makes_one_object_for_each_execution() -> None:
    factory = Counted()
    workflow = flow_of(Resource(factory, cache=False), workers=3)()
    with anyio.fail_after(5):
        clients = await workflow.run()
    assert len({id(client) for client in clients}) == 3 == factory.calls


async def test_what_is_not_cached_is_the_same_object_within_one_execution() -> None:
    factory = Counted()

    def pair(client: Annotated[Client, Resource(factory, cache=False)]) -> tuple[Client]:
        return (client,)

    class Flow(Workflow):
        @step
        async def use(
            self,
            ev: StartEvent,
            client: Annotated[Client, Resource(factory, cache=False)],
            its_pair: Annotated[tuple[Client], Resource(pair, cache=False)],
            kept: Annotated[tuple[Client], Resource(pair)],
        ) -> StopEvent:
            return StopEvent(result=(client, its_pair[0], kept[0]))

    with anyio.fail_after(5):
        client, of_pair, of_kept = await Flow().run()
    assert client is of_pair
    assert of_kept is not client  # it outlives the execution, so it was made of one of its own


async def test_factories_may_be_async_functions_classes_lambdas_partials_and_methods() -> None:
    async def make() -> Client:
        await checkpoint()
        return Client(1)

    class Maker:
        def make(self) -> Client:
            return Client(4)

        async def __call__(self) -> Client:
            await checkpoint()
            return Client(5)

    class Flow(Workflow):
        @step
        async def use(
            self,
            ev: StartEvent,
            from_async: Annotated[Client, Resource(make)],
            from_class: Annotated[Client, Resource(Client)],
            from_lambda: Annotated[Client, Resource(lambda: make())],  # noqa: PLW0108  # a lambda is the point
            from_partial: Annotated[Client, Resource(functools.partial(Client, 3))],
            from_method: Annotated[Client, Resource(Maker().make)],
            from_call: Annotated[Client, Resource(Maker())],
            from_builtin: Annotated[dict[str, int], Resource(dict)],
        ) -> StopEvent:
            clients = (from_async, from_class, from_lambda, from_partial, from_method, from_call)
            return StopEvent(result=[*(client.number for client in clients), from_builtin])

    with anyio.fail_after(5):
        assert await Flow().run() == [1, 0, 1, 3, 4, 5, {}]


async def test_two_factories_of_the_same_name_are_two_resources() -> None:
    """LlamaIndex Workflows knows a resource by the name of its factory, and gives the first one's to both."""

    def maker(number: int) -> Callable[[], Client]:
        def make() -> Client:
            return Client(number)

        return make

    class Flow(Workflow):
        @step
        async def use(
            self,
            ev: StartEvent,
            one: Annotated[Client, Resource(maker(1))],
            two: Annotated[Client, Resource(maker(2))],
        ) -> StopEvent:
            return StopEvent(result=(one.number, two.number))

    with anyio.fail_after(5):
        assert await Flow().run() == (1, 2)


async def test_bound_methods_are_the_same_factory_if_they_are_equal() -> None:
    class Maker:
        def make(self) -> Client:
            return Client()

    maker = Maker()

    class Flow(Workflow):
        @step
        async def use(
            self,
            ev: StartEvent,
            one: Annotated[Client, Resource(maker.make)],
            two: Annotated[Client, Resource(maker.make)],
        ) -> StopEvent:
            return StopEvent(result=one is two)

    with anyio.fail_after(5):
        assert await Flow().run()


async def test_a_resource_may_be_made_of_others() -> None:
    made: list[str] = []

    def url() -> str:
        made.append("url")
        return "db://"

    async def connect(address: Annotated[str, Resource(url)], retries: int = 3) -> tuple[str, int]:
        made.append("connection")
        return address, retries

    class Flow(Workflow):
        @step
        async def use(
            self,
            connection: Annotated[tuple[str, int], Resource(connect)],
            ev: StartEvent,
            address: Annotated[str, Resource(url)],
        ) -> StopEvent:
            return StopEvent(result=(connection, address))

    with anyio.fail_after(5):
        assert await Flow().run() == (("db://", 3), "db://")
    assert made == ["url", "connection"]


async def test_a_plain_step_is_given_resources_in_its_thread() -> None:
    """They are made in the event loop, before the thread starts."""
    loop_thread = threading.get_ident()
    seen: list[int] = []

    def make() -> Client:
        seen.append(threading.get_ident())
        return Client(7)

    class Flow(Workflow):
        @step
        def use(self, ev: StartEvent, ctx: Context, client: Annotated[Client, Resource(make)]) -> StopEvent:
            seen.append(threading.get_ident())
            ctx.write_event_to_stream(Work(number=client.number))
            return StopEvent(result=client.number)

    with anyio.fail_after(5):
        assert await Flow().run() == 7
    assert seen[0] == loop_thread != seen[1]


async def test_free_functions_and_steps_with_a_timeout_are_given_resources() -> None:
    class Flow(Workflow):
        pass

    @step(workflow=Flow, timeout=3)
    async def use(ev: StartEvent, client: Annotated[Client, Resource(Client)]) -> StopEvent:
        return StopEvent(result=client)

    with anyio.fail_after(5):
        assert isinstance(await Flow().run(), Client)


async def test_concurrent_first_use_makes_one_resource() -> None:
    calls = 0
    asked = 0
    all_asked = anyio.Event()

    async def make() -> Client:
        nonlocal calls
        calls += 1
        await all_asked.wait()
        await checkpoint()
        return Client()

    def ask() -> None:
        nonlocal asked
        asked += 1
        if asked == 5:
            all_asked.set()

    class Flow(flow_of(Resource(make), workers=5)):  # type: ignore[misc]  # made by a function
        @step(num_workers=5)
        async def use(
            self,
            ev: Work,
            nothing: Annotated[None, Resource(ask, cache=False)],
            client: Annotated[Client, Resource(make)],
        ) -> Used:
            return Used(client=client)

    with anyio.fail_after(5):
        clients = await Flow().run()
    assert calls == 1
    assert len({id(client) for client in clients}) == 1


async def test_an_error_of_a_factory_is_the_attempts_and_is_not_cached() -> None:
    calls = 0

    def make() -> Client:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ConnectionError("nobody there")
        return Client(calls)

    workflow = flow_of(Resource(make))()
    with anyio.fail_after(5):
        handler = workflow.run()
        with pytest.raises(ConnectionError, match="nobody there") as caught:
            await handler
        assert caught.value.__notes__ == [
            f"in step 'use' of {workflow.workflow_name}, attempt 1 at Work(number=0)"
        ]
        assert handler.failures == (caught.value,)
        (client,) = await workflow.run()
    assert client.number == 2


async def test_those_who_wait_for_a_resource_get_its_makers_error() -> None:
    """Each would only run into the same timeout, one after the other."""
    calls = 0

    async def make() -> Client:
        nonlocal calls
        calls += 1
        await anyio.wait_all_tasks_blocked()  # the other one waits, too
        raise ConnectionError("nobody there")

    errors: list[BaseException] = []

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Work | None:
            ctx.send_event(Work(number=0))
            ctx.send_event(Work(number=1))
            return None

        @step
        async def use(self, ctx: Context, ev: Work) -> StopEvent | None:
            try:
                await inner.run()
            except ConnectionError as error:
                errors.append(error)
            return StopEvent() if len(errors) == 2 else None

    inner = flow_of(Resource(make))()
    with anyio.fail_after(5):
        await Flow().run()
    assert calls == 1
    assert errors[0] is errors[1]


async def test_if_the_one_who_makes_a_resource_is_cancelled_the_next_one_takes_over() -> None:
    calls = 0
    begun = anyio.Event()

    async def make() -> Client:
        nonlocal calls
        calls += 1
        if calls == 1:
            begun.set()
            await anyio.sleep_forever()
        return Client(calls)

    workflow = flow_of(Resource(make))()
    results: list[list[Client]] = []

    async def second() -> None:
        results.append(await workflow.run())

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            first = workflow.run()
            async with first:
                await begun.wait()
                tasks.start_soon(second)
                await anyio.wait_all_tasks_blocked()
                assert not results
                await first.cancel_run()
    assert [client.number for client in results[0]] == [2]
    assert calls == 2


async def test_a_step_timeout_counts_the_making_of_its_resources() -> None:
    async def make() -> Client:
        await anyio.sleep_forever()
        raise AssertionError

    class Flow(Workflow):
        @step(timeout=0.01)
        async def use(self, ev: StartEvent, client: Annotated[Client, Resource(make)]) -> StopEvent:
            return StopEvent()

    with anyio.fail_after(5), pytest.raises(WorkflowTimeoutError, match="step 'use'"):
        await Flow().run()


async def test_s_run_4_a_step_that_waits_for_a_resource_runs_and_is_not_blocked() -> None:
    """Nothing else happens in the run meanwhile, and it is no stall."""
    opened = anyio.Event()

    async def make() -> Client:
        await opened.wait()
        return Client()

    workflow = flow_of(Resource(make), workers=2)()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            handler = workflow.run()
            await tasks.start(handler.serve)
            await anyio.wait_all_tasks_blocked()
            assert not handler.is_done()
            opened.set()
        first, second = await handler
    assert first is second


async def test_a_factory_that_needs_its_own_resource_is_told_so_instead_of_waiting_for_itself() -> None:
    async def make() -> list[Client]:
        found: list[Client] = await workflow.run()
        return found

    workflow = flow_of(Resource(make))()
    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError, match="would wait for itself for ever"):
        await workflow.run()


async def test_a_context_manager_that_nobody_would_leave_is_an_error() -> None:
    @asynccontextmanager
    async def connect() -> Any:
        yield Client()

    workflow = flow_of(Resource(lambda: connect()))()  # noqa: PLW0108  # a lambda is the point
    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError, match="is a context manager, which nobody"):
        await workflow.run()


async def test_an_event_or_context_class_behind_a_resource_is_a_resource() -> None:
    def make() -> Work:
        return Work(number=5)

    class Flow(Workflow):
        @step
        async def use(self, ev: StartEvent, template: Annotated[Work, Resource(make)]) -> StopEvent:
            return StopEvent(result=template.number)

    with anyio.fail_after(5):
        assert await Flow().run() == 5


async def test_s_run_6_a_factory_sees_the_variables_of_the_run_and_sets_none_of_a_step() -> None:
    number = contextvars.ContextVar("number", default=0)

    def make() -> int:
        number.set(number.get() + 1)
        return number.get()

    class Flow(Workflow):
        @step
        async def first(self, ev: StartEvent, made: Annotated[int, Resource(make)]) -> Work:
            return Work(number=made)

        @step
        async def second(self, ev: Work) -> StopEvent:
            return StopEvent(result=(ev.number, number.get()))

    number.set(40)
    with anyio.fail_after(5):
        assert await Flow().run() == (41, 40)
    assert number.get() == 40


def test_a_workflow_makes_a_resource_anew_for_each_event_loop() -> None:
    """A client belongs to the loop that it was made in."""
    workflow = flow_of(Resource(Client))()

    async def main() -> Client:
        (first,) = await workflow.run()
        (again,) = await workflow.run()
        assert first is again
        return first  # type: ignore[no-any-return]

    first, second = anyio.run(main), anyio.run(main)
    assert first is not second


def test_loops_in_several_threads_make_their_own() -> None:
    workflow = flow_of(Resource(Client))()
    found: list[Client] = []

    def in_a_thread() -> None:
        async def main() -> None:
            found.extend(await workflow.run())

        anyio.run(main)

    threads = [threading.Thread(target=in_a_thread) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(client) for client in found}) == 3


async def test_resources_are_not_made_for_a_step_that_is_not_executed() -> None:
    factory = Counted()

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Work | StopEvent:
            return StopEvent()

        @step
        async def use(self, ev: Work, client: Annotated[Client, Resource(factory)]) -> StopEvent:
            return StopEvent()

    with anyio.fail_after(5):
        await Flow().run()
    assert factory.calls == 0


async def test_a_subclass_and_an_added_step_share_the_resources_of_one_workflow_object() -> None:
    counted = Counted()

    class Base(Workflow):
        @step
        async def begin(self, ev: StartEvent, client: Annotated[Client, Resource(counted)]) -> Used:
            return Used(client=client)

        @step
        async def end(self, ev: Used, client: Annotated[Client, Resource(counted)]) -> StopEvent:
            return StopEvent(result=ev.client is client)

    class Derived(Base):
        pass

    workflow = Derived()
    with anyio.fail_after(5):
        assert await workflow.run()

        @step(workflow=Derived)
        async def watch(ev: Used, client: Annotated[Client, Resource(counted)]) -> None: ...

        assert await workflow.run()
    assert counted.calls == 1
