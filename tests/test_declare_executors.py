"""What ``@step(executor=...)`` takes, and which steps cannot have one."""

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Annotated, Any

import pytest
from declaring import Answer, Context, Host, Query, declared, problems_of

from anyio_workflows import Resource
from anyio_workflows._declare.step import step
from anyio_workflows._declare.workflow import DeclaredWorkflow


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(1) as executor:  # no process is started before it is used
        yield executor


def make() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1)


class Maker:
    def make(self) -> ThreadPoolExecutor:
        return make()


def test_an_executor_or_what_makes_one_is_taken_as_it_is(pool: Executor) -> None:
    for executor in (
        pool,
        make,
        lambda: pool,
        ThreadPoolExecutor,
        functools.partial(make),
        Maker().make,
        None,
    ):

        class Flow(DeclaredWorkflow):
            @step(executor=executor)
            def work(self, ev: Query) -> Answer: ...  # type: ignore[empty-body]

        assert declared(Flow.work).executor is executor


def test_a_function_is_declared_for_another_process(processes: Executor) -> None:
    declaration: dict[str, Any] = {}
    exec(  # as at the top of a module
        "@step(workflow=Flow, executor=processes)\ndef work(ev: Query) -> None: ...",
        {
            "step": step,
            "Flow": type("Flow", (DeclaredWorkflow,), {}),
            "processes": processes,
            "Query": Query,
            "__name__": "a_module",
        },
        declaration,
    )
    assert declared(declaration["work"]).executor is processes


class Submits:
    def submit(self) -> None: ...


class Slotted:
    """Cannot be remembered for as long as it lives, and no longer."""

    __slots__ = ()

    def __call__(self) -> ThreadPoolExecutor:
        return make()


async def coroutine() -> ThreadPoolExecutor:
    return make()


@pytest.mark.parametrize(
    "executor", [4, "threads", Submits(), Executor.submit, coroutine, ProcessPoolExecutor.map, Slotted()]
)
def test_anything_else_is_an_error(executor: object) -> None:
    def declare() -> None:
        class Flow(DeclaredWorkflow):
            @step(executor=executor)
            def work(self, ev: Query) -> None: ...

    (problem,) = problems_of(declare)
    assert f"step 'Flow.work' has executor={executor!r}; it must be an executor of concurrent" in problem
    assert "'executor=lambda: ProcessPoolExecutor(4)'" in problem


def test_a_step_in_an_executor_is_a_plain_function_of_an_event(pool: Executor) -> None:
    def declare() -> None:
        class Flow(DeclaredWorkflow):
            @step(executor=pool)
            async def work(self, ctx: Context[Any], ev: Query) -> None: ...

    is_async, has_context = problems_of(declare)
    assert is_async == (
        "step 'Flow.work' is async def and has executor=, which calls plain functions; "
        "write def, or remove executor="
    )
    assert "has executor= and the context as 'ctx', which stays in the event loop; remove the parameter" in (
        has_context
    )


def test_what_another_process_could_not_find_is_an_error_where_the_executor_is_known(
    processes: Executor,
) -> None:
    def as_method() -> None:
        class Flow(DeclaredWorkflow):
            @step(executor=processes)
            def work(self, ev: Query) -> None: ...

    def within_a_function() -> None:
        @step(workflow=Host, executor=processes)
        def work(ev: Query) -> None: ...

    assert "step 'Flow.work' is a method, whose workflow cannot follow it" in problems_of(as_method)[0]
    assert (
        "step 'work' stands in a function, where no other process finds it"
        in (problems_of(within_a_function)[0])
    )
    for declare in (as_method, within_a_function):
        assert (
            "at the top of a module, with '@step(workflow=MyWorkflow, executor=...)'"
            in (problems_of(declare)[0])
        )


def test_a_decorator_above_must_leave_it_a_plain_function(pool: Executor) -> None:
    def asynchronous(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def call(*arguments: Any) -> Any:
            return function(*arguments)

        return call

    def declare() -> None:
        class Flow(DeclaredWorkflow):
            @asynchronous
            @step(executor=pool)
            def work(self, ev: Query) -> None: ...

    (problem,) = problems_of(declare)
    assert "step 'work' has executor=, which calls plain functions, but the decorator above @step" in problem


def test_resources_stay_in_the_event_loop(pool: Executor) -> None:
    """They would have to be pickled."""

    def declare() -> None:
        class Flow(DeclaredWorkflow):
            @step(executor=pool)
            def work(self, ev: Query, number: Annotated[int, Resource(lambda: 3)]) -> None: ...

    (problem,) = problems_of(declare)
    assert "step 'Flow.work' has executor= and resources, which stay in the event loop" in problem
