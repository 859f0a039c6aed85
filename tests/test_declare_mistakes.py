"""What is said of the mistakes of a single step (S-DEF-3)."""

import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from declaring import Answer, Context, Counter, Host, Query, problems_of

from anyio_workflows._declare.step import step
from anyio_workflows._declare.workflow import DeclaredWorkflow


def test_s_def_3_a_step_without_event_parameter_is_an_error() -> None:
    def declare() -> None:
        class Flow(DeclaredWorkflow):
            @step
            async def work(self, ctx: Context[Any]) -> None: ...

    (problem,) = problems_of(declare)
    assert problem == (
        "step 'Flow.work' has no event parameter; annotate one with the events it accepts, as in 'ev: StartEvent'"
    )


def test_s_def_3_several_contexts_are_an_error() -> None:
    def declare() -> None:
        class Flow(DeclaredWorkflow):
            @step
            async def work(self, first: Context[Any], ev: Query, second: Context[Any]) -> None: ...

    (problem,) = problems_of(declare)
    assert "several context parameters, 'first' and 'second'" in problem


def test_s_def_2_any_other_parameter_without_default_is_an_error_that_names_it() -> None:
    def declare() -> None:
        class Flow(DeclaredWorkflow):
            @step
            async def work(self, ev: Query, client: str, other, nothing: None, fine: int = 3) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    assert [problem.partition(" that is")[0] for problem in problems_of(declare)] == [
        "step 'Flow.work' has a parameter 'client: str'",
        "step 'Flow.work' has a parameter 'other'",
        "step 'Flow.work' has a parameter 'nothing: None'",
    ]


def test_s_def_3_events_mixed_with_other_types_are_an_error() -> None:
    def declare() -> None:
        class Flow(DeclaredWorkflow):
            @step
            async def work(self, ev: Query | dict[str, int]) -> None: ...

    (problem,) = problems_of(declare)
    assert "accepts dict[str, int] beside events in parameter 'ev'" in problem


def test_s_def_3_a_missing_return_annotation_is_an_error() -> None:
    def declare() -> None:
        class Flow(DeclaredWorkflow):
            @step
            async def work(self, ev: Query): ...  # type: ignore[no-untyped-def]

    (problem,) = problems_of(declare)
    assert "has no return annotation" in problem


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (str, "annotated to return str; a step returns an Event or None"),
        (Any, "annotated to return Any; name the Event subclasses"),
        (object, "annotated to return object; name the Event subclasses"),
        (Query | str, "annotated to return str"),
        (tuple[Query, ...], "return tuple[Query, Ellipsis]; write '-> list[Query]'"),
        (list[int], "annotated to return list[int]; a step returns an Event or None"),
        (type[Query], "annotated to return type[Query]"),
        (3, "annotated to return 3"),
    ],
)
def test_s_def_3_returning_what_is_no_event_is_an_error_that_says_what_to_write(
    annotation: Any, said: str
) -> None:
    def work(ev: Query) -> None: ...

    work.__annotations__["return"] = annotation
    (problem,) = problems_of(lambda: step(workflow=Host)(work))
    assert said in problem


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        ("Missing", "the name 'Missing' is not known"),
        ("functools.Missing", "AttributeError"),
        ("Query |", "SyntaxError"),
        ("Query | 3", "TypeError"),
    ],
)
def test_s_def_3_an_annotation_that_cannot_be_resolved_is_one_error(annotation: str, said: str) -> None:
    def work(ev: Query, other: None) -> None: ...

    work.__annotations__["other"] = annotation
    (problem,) = problems_of(lambda: step(workflow=Host)(work))
    assert f"'{annotation}' of parameter 'other': " in problem
    assert said in problem


def test_s_def_3_an_unresolved_event_parameter_is_not_complained_of_twice() -> None:
    def work(ev: "Missing") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    (problem,) = problems_of(lambda: step(workflow=Host)(work))
    assert "cannot be resolved" in problem


def test_s_def_3_a_method_without_self_is_an_error() -> None:
    def declare_nothing() -> None:
        class Flow(DeclaredWorkflow):
            @step
            async def work() -> None: ...  # type: ignore[misc]

    def declare_event_only() -> None:
        class Flow(DeclaredWorkflow):
            @staticmethod
            @step
            async def work(ev: Query) -> None: ...

    def declare_self_only() -> None:
        class Flow(DeclaredWorkflow):
            @step
            async def work(self: object) -> None: ...

    assert "is a method without self" in problems_of(declare_nothing)[0]
    assert "has no event parameter; annotate one" in problems_of(declare_self_only)[0]
    (problem,) = problems_of(declare_event_only)
    assert "its first, 'ev', is taken as self; write '(self, ev: Query)'" in problem


def test_s_def_3_what_is_no_function_cannot_be_a_step() -> None:
    def work(self: object, ev: Query) -> None: ...

    wrong: list[tuple[Any, str]] = [
        (staticmethod(work), "is a staticmethod"),
        (classmethod(work), "is a classmethod"),
        (functools.partial(work, None), "cannot be a step"),
        (Counter(), "cannot be a step"),
        (Counter, "cannot be a step"),
        (4, "give options by keyword"),
        (lambda self, ev: None, "a lambda"),
    ]
    for candidate, said in wrong:
        (problem,) = problems_of(functools.partial(step, candidate))
        assert said in problem


def test_s_def_3_generators_are_an_error() -> None:
    def declare_generator() -> None:
        class Flow(DeclaredWorkflow):
            @step  # type: ignore[type-var]
            def work(self, ev: Query) -> Iterator[Answer]:
                yield Answer(text="a")

    def declare_async_generator() -> None:
        class Flow(DeclaredWorkflow):
            @step  # type: ignore[type-var]
            async def work(self, ev: Query) -> AsyncIterator[Answer]:
                yield Answer(text="a")

    for declare in (declare_generator, declare_async_generator):
        generator, returned = problems_of(declare)
        assert "is a generator" in generator
        assert "is annotated to return" in returned


def test_s_def_3_two_methods_of_one_name_in_a_class_are_an_error() -> None:
    def declare() -> None:
        class Flow(DeclaredWorkflow):
            @step
            async def work(self, ev: Query) -> None: ...

            @step  # type: ignore[no-redef]
            async def work(self, ev: Answer) -> None: ...  # noqa: F811

    (problem,) = problems_of(declare)
    assert "step 'Flow.work' is declared twice in its class, the first time in line " in problem


def test_s_def_3_a_function_needs_its_workflow_and_a_method_none() -> None:
    def declare_function() -> None:
        @step
        async def work(ev: Query) -> None: ...

    def declare_method() -> None:
        class Flow(DeclaredWorkflow):
            @step(workflow=Host)
            async def work(self, ev: Query) -> None: ...

    def declare_for_instance() -> None:
        @step(workflow=Host())
        async def work(ev: Query) -> None: ...

    assert "write '@step(workflow=MyWorkflow)'" in problems_of(declare_function)[0]
    assert "remove workflow=" in problems_of(declare_method)[0]
    assert "give the Workflow subclass itself" in problems_of(declare_for_instance)[0]


def test_s_def_3_all_mistakes_of_a_step_come_together() -> None:
    def declare() -> None:
        class Flow(DeclaredWorkflow):
            @step(num_workers=0, timeout=-1, waits_for=int)  # type: ignore[arg-type, type-var]
            def work(self, ev: Query, client: str) -> str: ...  # type: ignore[empty-body]

    assert len(problems_of(declare)) == 5
