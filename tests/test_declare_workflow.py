"""Which steps a workflow class has, and in which order (S-DEF-1, S-DEF-3)."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from anyio_workflows import StartEvent, StopEvent, Workflow
from anyio_workflows._declare.step import declaration_of, step
from anyio_workflows._declare.workflow import DeclaredWorkflow
from anyio_workflows._errors import WorkflowValidationError
from anyio_workflows._events import Event


class Query(Event): ...


class Base(DeclaredWorkflow):
    @step
    async def first(self, ev: Query) -> None: ...

    @step
    async def second(self, ev: Query) -> None: ...


def names(workflow: type[DeclaredWorkflow]) -> list[str]:
    return [found.name for found in workflow.step_declarations()]


def problems_of(declare: Callable[[], object]) -> tuple[str, ...]:
    with pytest.raises(WorkflowValidationError) as caught:
        declare()
    return caught.value.problems


def test_s_def_1_steps_are_inherited_before_the_own_ones() -> None:
    class Sub(Base):
        @step
        async def third(self, ev: Query) -> None: ...

    assert names(Sub) == ["first", "second", "third"]
    assert names(Base) == ["first", "second"]


def test_s_def_1_several_bases_come_from_left_to_right() -> None:
    class Left(Base):
        @step
        async def left(self, ev: Query) -> None: ...

    class Right(Base):
        @step
        async def right(self, ev: Query) -> None: ...

    class PlainMixin:
        @step
        async def mixed_in(self, ev: Query) -> None: ...

    class Both(Left, Right, PlainMixin):
        @step
        async def both(self, ev: Query) -> None: ...

    assert names(Both) == ["first", "second", "left", "right", "mixed_in", "both"]


def test_s_def_1_an_override_keeps_the_place_and_brings_its_own_function() -> None:
    class Sub(Base):
        @step
        async def third(self, ev: Query) -> None: ...

        @step(num_workers=1)
        async def first(self, ev: Query) -> None: ...

    assert names(Sub) == ["first", "second", "third"]
    assert Sub.step_declarations()[0].function is Sub.first
    assert Sub.step_declarations()[0].num_workers == 1
    assert Base.step_declarations()[0].function is Base.first


def test_s_def_1_none_removes_an_inherited_step() -> None:
    class Sub(Base):
        first = None  # type: ignore[assignment]

    class Again(Sub):
        @step
        async def first(self, ev: Query) -> None: ...  # type: ignore[override]

    assert names(Sub) == ["second"]
    assert names(Again) == ["first", "second"]


def test_s_def_3_an_override_without_step_is_an_error() -> None:
    """It would silently take the step away, where the decorator was most likely forgotten."""

    def declare() -> None:
        class Sub(Base):
            async def first(self, ev: Query) -> None: ...

            second = 3  # type: ignore[assignment]

    first, second = problems_of(declare)
    assert (
        "step 'first' is overridden by something that is no step; decorate the override with @step" in first
    )
    assert "'second = None'" in second


def test_s_def_3_an_override_by_assignment_is_noticed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sub(Base): ...

    def stub(self: object, ev: Query) -> None: ...

    monkeypatch.setattr(Sub, "first", stub)
    assert "step 'first' is overridden" in problems_of(Sub.step_declarations)[0]


def test_s_def_3_a_step_in_another_kind_of_object_is_an_error() -> None:
    class Wrapper:
        def __init__(self, function: Any) -> None:
            self.__dict__.update(function.__dict__)

        def __call__(self) -> None: ...

    def declare() -> None:
        class Flow(DeclaredWorkflow):
            @staticmethod
            @step
            async def static(this: object, ev: Query) -> None: ...

            @classmethod
            @step
            async def of_class(cls, ev: Query) -> None: ...

            @Wrapper
            @step
            async def wrapped(self, ev: Query) -> None: ...

    assert [problem.partition(";")[0] for problem in problems_of(declare)] == [
        "step 'static' is a staticmethod",
        "step 'of_class' is a classmethod",
        "step 'wrapped' is wrapped in a Wrapper object",
    ]


def test_s_def_3_a_step_must_not_hide_the_librarys_own_methods() -> None:
    def declare() -> None:
        class Flow(DeclaredWorkflow):
            @step
            async def add_step(self, ev: Query) -> None: ...  # type: ignore[override]

    (problem,) = problems_of(declare)
    assert "step 'add_step' hides what the library itself calls 'add_step'" in problem


def test_s_def_1_a_step_under_a_second_name_is_a_second_step() -> None:
    class Flow(DeclaredWorkflow):
        @step
        async def first(self, ev: Query) -> None: ...

        second = first

    assert names(Flow) == ["first", "second"]


def test_s_def_1_functions_are_added_and_inherited() -> None:
    class Host(Base): ...

    class Sub(Host):
        @step
        async def own(self, ev: Query) -> None: ...

    @step(workflow=Host)
    async def added(ev: Query) -> None: ...

    assert names(Host) == ["first", "second", "added"]
    assert names(Sub) == ["first", "second", "added", "own"]
    assert names(Base) == ["first", "second"]
    assert not Host.step_declarations()[2].is_method


def test_s_def_1_an_added_function_can_be_shared_with_another_workflow() -> None:
    class One(DeclaredWorkflow): ...

    class Other(DeclaredWorkflow): ...

    @step(workflow=One)
    async def shared(ev: Query) -> None: ...

    Other.add_step(shared)
    assert One.step_declarations()[0].function is Other.step_declarations()[0].function is shared


def test_s_def_1_a_method_overrides_an_added_function() -> None:
    class Host(DeclaredWorkflow): ...

    @step(workflow=Host)
    async def work(ev: Query) -> None: ...

    class Sub(Host):
        @step
        async def work(self, ev: Query) -> None: ...

    assert [found.function for found in Sub.step_declarations()] == [Sub.work]
    assert [found.function for found in Host.step_declarations()] == [work]


def test_s_def_3_adding_is_noticed() -> None:
    class Host(DeclaredWorkflow): ...

    class Sub(Host): ...

    before = Sub._steps_version

    @step(workflow=Host)
    async def work(ev: Query) -> None: ...

    assert Sub._steps_version != before


def test_s_def_3_a_function_of_a_name_that_is_taken_is_an_error() -> None:
    class Host(Base): ...

    def declare() -> None:
        @step(workflow=Host)
        async def first(ev: Query) -> None: ...

    (problem,) = problems_of(declare)
    assert problem == "there is a step 'first' already; give the function another name"
    assert names(Host) == ["first", "second"]


def test_s_def_3_only_declared_functions_can_be_added() -> None:
    class Host(DeclaredWorkflow): ...

    async def plain(ev: Query) -> None: ...

    assert "decorate it with '@step(workflow=Host)'" in problems_of(lambda: Host.add_step(plain))[0]
    assert "is a method; derive from its class" in problems_of(lambda: Host.add_step(Base.first))[0]
    assert declaration_of(plain) is None
    assert names(Host) == []


def test_s_def_1_a_function_added_to_a_base_late_comes_before_the_steps_of_its_subclass() -> None:
    """In the order of declaration of their classes, however late; and after the methods of its own class."""

    class Host(Base): ...

    class Sub(Host):
        @step
        async def own(self, ev: Query) -> None: ...

    @step(workflow=Sub)
    async def to_sub(ev: Query) -> None: ...

    @step(workflow=Host)
    async def to_host(ev: Query) -> None: ...

    @step(workflow=Host)
    async def again(ev: Query) -> None: ...

    assert names(Sub) == ["first", "second", "to_host", "again", "own", "to_sub"]
    assert names(Host) == ["first", "second", "to_host", "again"]


def test_s_def_1_a_method_that_overrides_a_function_takes_its_place() -> None:
    class Host(DeclaredWorkflow): ...

    @step(workflow=Host)
    async def early(ev: Query) -> None: ...

    @step(workflow=Host)
    async def late(ev: Query) -> None: ...

    class Sub(Host):
        @step
        async def own(self, ev: Query) -> None: ...

        @step
        async def early(self, ev: Query) -> None: ...

    class Without(Sub):
        late = None

    assert names(Sub) == ["early", "late", "own"]
    assert [found.is_method for found in Sub.step_declarations()] == [True, False, True]
    assert names(Without) == ["early", "own"]


def test_s_def_1_a_subclass_keeps_its_own_when_a_function_of_that_name_is_added_to_its_base() -> None:
    class Host(DeclaredWorkflow): ...

    class Sub(Host):
        @step
        async def own(self, ev: Query) -> None: ...

        @step
        async def work(self, ev: Query) -> None: ...

    @step(workflow=Host)
    async def work(ev: Query) -> None: ...

    assert names(Sub) == ["work", "own"]
    assert Sub.step_declarations()[0].function is Sub.work
    assert Host.step_declarations()[0].function is work


def test_s_def_1_functions_come_from_every_base() -> None:
    class Left(DeclaredWorkflow): ...

    class Right(DeclaredWorkflow): ...

    class Both(Left, Right): ...

    @step(workflow=Right)
    async def right(ev: Query) -> None: ...

    @step(workflow=Left)
    async def left(ev: Query) -> None: ...

    assert names(Both) == ["left", "right"]


def test_s_def_3_a_function_that_an_inherited_step_stands_in_the_way_of_is_an_error() -> None:
    """Only a method overrides: a function is added, and two modules that add must not meet unseen."""

    class Host(Base): ...

    class Sub(Host): ...

    @step(workflow=Host)
    async def added(ev: Query) -> None: ...

    for name in ("first", "added"):

        async def work(ev: Query) -> None: ...

        work.__name__ = name
        (problem,) = problems_of(lambda function=work: step(workflow=Sub)(function))  # type: ignore[misc]
        assert problem == f"there is a step {name!r} already; give the function another name"


def test_s_def_3_a_function_must_not_be_added_to_every_workflow_at_once() -> None:
    """One that is written for the class Workflow itself would be a step of all others in the process."""

    def declare(workflow: type[DeclaredWorkflow]) -> None:
        @step(workflow=workflow)
        async def work(ev: Query) -> None: ...

    for everybodys in (DeclaredWorkflow, Workflow):
        (problem,) = problems_of(lambda workflow=everybodys: declare(workflow))  # type: ignore[misc]
        assert problem == (
            "step 'work' would belong to every workflow; give the Workflow subclass that it is for"
        )
        assert names(everybodys) == []


# --- and as they run


class Begun(StartEvent): ...


class Worked(Event):
    by: str


async def test_s_def_1_a_run_has_the_functions_that_were_added_to_a_base() -> None:
    """Also one that was added to the base after the subclass, and a workflow of it, were made."""

    class Host(Workflow):
        @step
        async def begin(self, ev: Begun) -> Worked:
            return Worked(by="method")

    @step(workflow=Host)
    async def end(ev: Worked) -> StopEvent:
        return StopEvent(result=f"function, after {ev.by}")

    class Sub(Host): ...

    class Overriding(Host):
        @step
        def end(self, ev: Worked) -> StopEvent:
            return StopEvent(result=f"override, after {ev.by}")

    flow = Sub()

    @step(workflow=Host)
    async def notice(ev: Worked) -> None: ...

    with anyio.fail_after(5):
        assert await flow.run() == await Host().run() == "function, after method"
        assert await Overriding().run() == "override, after method"
    assert [flow.graph.steps[place].name for place in flow.graph.targets(Worked)] == ["end", "notice"]
