"""What a wrong declaration of a resource says, and when."""

import functools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any, Literal

import pytest
from declaring import Host, Query, declared, problems_of

from anyio_workflows import Resource, ResourceConfig, WorkflowValidationError
from anyio_workflows._declare.chains import Kind, Lifetime
from anyio_workflows._declare.step import step


class Client:
    pass


@asynccontextmanager
async def session() -> AsyncIterator[Client]:
    yield Client()


def client() -> Client:
    return Client()


def of_session(it: Annotated[Client, Resource(session)]) -> Client:
    return it


def problem_with(resource: Any, **more: Any) -> str:
    def declare() -> None:
        @step(workflow=Host)
        async def use(ev: Query, it: Annotated[Client, resource]) -> None: ...

    (problem,) = problems_of(declare)
    assert problem.startswith("step 'use' ")
    return problem.removeprefix("step 'use' ")


def lifetime_of(resource: Resource) -> tuple[Lifetime, Kind]:
    class Flow(Host):
        @step
        async def use(self, ev: Query, it: Annotated[Client, resource]) -> None: ...

    ((name, found),) = declared(Flow.use).resources
    assert name == "it"
    return found.lifetime, found.kind


def test_the_lifetime_follows_from_the_factory_and_the_scope() -> None:
    @contextmanager
    def opened() -> Iterator[Client]:
        yield Client()

    def of_block(it: Annotated[Client, Resource(session, scope="workflow")]) -> Client:
        return it

    assert lifetime_of(Resource(client)) == (Lifetime.WORKFLOW, Kind.PLAIN)
    assert lifetime_of(Resource(client, scope="run")) == (Lifetime.RUN, Kind.PLAIN)
    assert lifetime_of(Resource(client, cache=False)) == (Lifetime.EXECUTION, Kind.PLAIN)
    assert lifetime_of(Resource(session)) == (Lifetime.RUN, Kind.ASYNC_MANAGED)
    assert lifetime_of(Resource(session, scope="workflow")) == (Lifetime.BLOCK, Kind.ASYNC_MANAGED)
    assert lifetime_of(Resource(session, cache=False)) == (Lifetime.EXECUTION, Kind.ASYNC_MANAGED)
    assert lifetime_of(Resource(opened)) == (Lifetime.RUN, Kind.MANAGED)
    assert lifetime_of(Resource(functools.partial(session))) == (Lifetime.RUN, Kind.ASYNC_MANAGED)
    assert lifetime_of(Resource(of_block)) == (Lifetime.BLOCK, Kind.PLAIN)
    assert lifetime_of(Resource(of_block, scope="run")) == (Lifetime.RUN, Kind.PLAIN)


def test_what_is_kept_longer_than_what_it_is_made_of_is_an_error() -> None:
    assert problem_with(Resource(of_session)) == (
        "needs resource 'of_session' of scope 'workflow', which is made of 'session', and that ends with each run; "
        "give 'of_session' scope=\"run\", or 'session' scope=\"workflow\""
    )
    assert lifetime_of(Resource(of_session, scope="run")) == (Lifetime.RUN, Kind.PLAIN)


def test_what_is_kept_and_made_of_what_ends_with_an_execution_is_an_error() -> None:
    def of_execution(it: Annotated[Client, Resource(session, cache=False)]) -> Client:
        return it

    assert problem_with(Resource(of_execution, scope="run")) == (
        "needs resource 'of_execution' of scope 'run', which is made of 'session', and that ends with each execution "
        "of a step; give 'of_execution' cache=False"
    )
    assert lifetime_of(Resource(of_execution, cache=False)) == (Lifetime.EXECUTION, Kind.PLAIN)


def test_the_rule_holds_across_what_is_not_cached() -> None:
    def between(it: Annotated[Client, Resource(session)]) -> Client:
        return it

    def above(it: Annotated[Client, Resource(between, cache=False)]) -> Client:
        return it

    assert (
        "'above' of scope 'workflow', which is made of 'between', and that ends with each run"
        in problem_with(Resource(above))
    )
    assert lifetime_of(Resource(above, scope="run")) == (Lifetime.RUN, Kind.PLAIN)


def first(it: "Annotated[Client, Resource(second)]") -> Client:
    return it


def second(it: "Annotated[Client, Resource(third)]") -> Client:
    return it


def third(it: "Annotated[Client, Resource(second)]") -> Client:
    return it


def test_a_circle_of_resources_is_an_error_that_names_it() -> None:
    assert problem_with(Resource(first)) == (
        "needs resources that need each other: second -> third -> second; have one of them make what it needs itself"
    )


def test_a_parameter_of_a_factory_that_nothing_is_given_to_is_an_error() -> None:
    def connect(url: str) -> Client:
        return Client()

    assert problem_with(Resource(connect)) == (
        "needs resource 'connect', whose factory has a parameter 'url' that nothing is given to; annotate it as "
        "'Annotated[T, Resource(make_it)]', or give it a default"
    )
    lifetime_of(Resource(functools.partial(connect, "db://")))


def test_parameters_with_defaults_and_variadic_ones_are_left_alone() -> None:
    def connect(retries: int = 3, *args: object, **options: object) -> Client:
        return Client()

    lifetime_of(Resource(connect))


def test_a_factory_that_is_a_generator_is_an_error() -> None:
    async def generated() -> AsyncIterator[Client]:
        yield Client()

    assert problem_with(Resource(generated)) == (
        "needs resource 'test_a_factory_that_is_a_generator_is_an_error.<locals>.generated', whose factory is a "
        "generator; decorate it with '@contextlib.asynccontextmanager'"
    ).replace("test_a_factory_that_is_a_generator_is_an_error.<locals>.", "")


def test_a_resource_in_the_wrong_place_is_an_error() -> None:
    def in_a_union() -> None:
        @step(workflow=Host)
        async def use(ev: Query, it: Annotated[Client, Resource(client)] | None) -> None: ...

    def as_default() -> None:
        given: Any = Resource(client)

        @step(workflow=Host)
        async def use(ev: Query, it: Client = given) -> None: ...

    for declare in (in_a_union, as_default):
        (problem,) = problems_of(declare)
        assert problem == (
            "step 'use' has a resource in the wrong place of parameter 'it'; write 'it: Annotated[T, "
            "Resource(make_it)]', also where T is a union"
        )


def test_two_resources_behind_one_type_are_an_error() -> None:
    def declare() -> None:
        @step(workflow=Host)
        async def use(ev: Query, it: Annotated[Client, Resource(client), Resource(session)]) -> None: ...

    assert problems_of(declare) == (
        "step 'use' has a parameter 'it' with 2 resources behind its type; keep one",
    )


def test_a_resource_that_is_taken_by_position_only_is_an_error() -> None:
    def declare() -> None:
        @step(workflow=Host)
        async def use(it: Annotated[Client, Resource(client)], /, ev: Query) -> None: ...

    (problem,) = problems_of(declare)
    assert "takes 'it' by position only" in problem


def test_annotations_may_be_strings_aliases_and_names_of_a_function() -> None:
    def local() -> Client:
        return Client()

    def of_local(it: "Annotated[Client, Resource(local)]") -> Client:
        return it

    Given = Annotated[Client, Resource(of_local)]  # noqa: N806  # a type

    class Flow(Host):
        @step
        async def use(self, ev: Query, one: "Annotated[Client, Resource(of_local)]", two: Given) -> None: ...

    (_, one), (_, two) = declared(Flow.use).resources
    assert one.key == two.key
    assert one.needs[0][1].factory is local


def test_the_annotations_of_a_factory_see_its_own_module() -> None:
    """Not the names of the step that wants it."""
    namespace: dict[str, Any] = {"Resource": Resource, "Annotated": Annotated, "client": client}
    exec("def elsewhere(it: 'Annotated[object, Resource(hidden)]'): ...\ndef hidden(): ...", namespace)

    class Flow(Host):
        @step
        async def use(self, ev: Query, it: Annotated[Client, Resource(namespace["elsewhere"])]) -> None: ...

    ((_, found),) = declared(Flow.use).resources
    assert [need.name for _, need in found.needs] == ["hidden"]


def test_wrong_arguments_of_resource_are_errors_at_once() -> None:
    wrong: Any
    for wrong, message in (
        (lambda: Resource(3), r"Resource\(3\) is given no factory"),  # type: ignore[arg-type]  # the mistake
        (lambda: Resource(client, cache="no"), r"cache='no'\): give True or False"),  # type: ignore[arg-type]  # the mistake
        (lambda: Resource(client, scope="app"), r"scope='app'\): give 'run' or 'workflow'"),  # type: ignore[arg-type]  # the mistake
        (lambda: Resource(client, cache=False, scope="run"), "so it has no scope"),
        (lambda: ResourceConfig("settings.yaml"), r"ending in \.json or \.toml"),
        (lambda: ResourceConfig(3), "names no file"),  # type: ignore[arg-type]  # the mistake
        (lambda: ResourceConfig("a.json", "a..b"), "is no path"),
    ):
        with pytest.raises(WorkflowValidationError, match=message):
            wrong()


def test_a_config_behind_something_that_is_no_class_is_an_error() -> None:
    def declare() -> None:
        @step(workflow=Host)
        async def use(ev: Query, it: Annotated[Literal[3], ResourceConfig("a.json")]) -> None: ...

    (problem,) = problems_of(declare)
    assert "ResourceConfig('a.json') behind Literal[3], which is no class" in problem


def test_resources_say_what_they_are() -> None:
    assert repr(Resource(client)) == "Resource(client)"
    assert repr(Resource(functools.partial(client), cache=False)) == "Resource(client, cache=False)"
    assert repr(Resource(session, scope="run")) == "Resource(session, scope='run')"
    assert repr(ResourceConfig("a.json", "b")) == "ResourceConfig('a.json', 'b')"


def test_other_parameters_are_as_before() -> None:
    def declare() -> None:
        @step(workflow=Host)
        async def use(ev: Query, it: Annotated[Client, client]) -> None: ...

    (problem,) = problems_of(declare)
    assert "that is neither an event nor the context; annotate it with an Event subclass" in problem
