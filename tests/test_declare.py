"""What the signature of a step declares (S-DEF-1, S-DEF-2)."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, NoReturn, Optional, TypeVar, Union, cast

import pytest
from declaring import Answer, Context, Counter, Host, Query, Refusal, State, declared, problems_of
from hypothesis import given
from hypothesis import strategies as st

from anyio_workflows._declare.step import CallShape, step
from anyio_workflows._declare.workflow import DeclaredWorkflow
from anyio_workflows._events import Event, HumanResponseEvent, StartEvent, StopEvent

# What a step accepts and returns


def test_s_def_1_types_come_from_the_annotations() -> None:
    class Flow(DeclaredWorkflow):
        @step
        async def ask(self, ev: StartEvent) -> Query | Answer | None: ...

    found = declared(Flow.ask)
    assert found.name == "ask"
    assert found.accepts == (StartEvent,)
    assert found.returns == (Query, Answer)
    assert found.event_parameter == "ev"
    assert found.is_method


def test_s_def_1_union_is_written_in_any_way() -> None:
    class Flow(DeclaredWorkflow):
        @step
        async def bar(self, ev: Query | Answer) -> Answer | None: ...

        @step
        async def union(self, ev: Union[Query, Answer]) -> Union[Answer, None]: ...  # noqa: UP007

        @step
        async def optional(self, ev: Optional[Query]) -> Optional[Answer]: ...  # noqa: UP045

        @step
        async def annotated(self, ev: Annotated[Query | Answer, "why"]) -> Annotated[Answer, 1] | None: ...

    assert declared(Flow.bar).accepts == declared(Flow.union).accepts == (Query, Answer)
    assert declared(Flow.annotated).accepts == (Query, Answer)
    assert declared(Flow.optional).accepts == (Query,)
    assert {declared(method).returns for method in (Flow.bar, Flow.union, Flow.optional, Flow.annotated)} == {
        (Answer,)
    }


def test_s_def_1_string_annotations_are_resolved() -> None:
    class Flow(DeclaredWorkflow):
        @step
        async def whole(self, ctx: "Context[Counter]", ev: "Query | Answer") -> "StopEvent | None": ...

        @step
        async def inner(self, ctx: Context["Counter"], ev: Optional["Query"]) -> Union["Answer", None]: ...

    assert declared(Flow.whole).accepts == (Query, Answer)
    assert declared(Flow.whole).returns == (StopEvent,)
    assert declared(Flow.whole).state_type is declared(Flow.inner).state_type is Counter
    assert declared(Flow.inner).accepts == (Query,)
    assert declared(Flow.inner).returns == (Answer,)


def test_s_def_1_string_annotations_see_classes_of_every_enclosing_function_and_class() -> None:
    class Outermost(Event): ...

    def build() -> tuple[type[DeclaredWorkflow], type[Event]]:
        class Middle(Event): ...

        class Flow(DeclaredWorkflow):
            class Own(Event): ...

            @step
            async def work(self, ev: "Outermost | Middle") -> "Own | None": ...

        return Flow, Middle

    flow, middle = build()
    (found,) = flow.step_declarations()
    assert found.accepts == (Outermost, middle)
    assert [event.__name__ for event in found.returns] == ["Own"]


def test_s_def_1_a_caller_does_not_shadow_the_names_that_the_author_meant() -> None:
    """A step is declared by its source, not by who happens to call the function around it."""

    def build() -> type[DeclaredWorkflow]:
        class Flow(DeclaredWorkflow):
            @step
            async def work(self, ev: "Query") -> "Answer | None": ...

        return Flow

    def caller() -> type[DeclaredWorkflow]:
        Query, Answer = str, int  # noqa: F841, N806
        return build()

    (found,) = caller().step_declarations()
    assert (found.accepts, found.returns) == ((Query,), (Answer,))


def test_s_def_1_string_annotations_see_what_a_finished_function_left_in_the_closure() -> None:
    def outer() -> Callable[[], Callable[..., Any]]:
        class Kept(Event): ...

        def inner() -> Callable[..., Any]:
            @step(workflow=Host)
            async def closes_over(ev: "Kept") -> None:
                assert type(ev) is Kept

            return closes_over

        return inner

    assert [event.__name__ for event in declared(outer()()).accepts] == ["Kept"]


def test_s_def_1_a_name_that_is_assigned_only_after_the_step_is_not_known() -> None:
    def declare() -> object:
        @step(workflow=Host)
        async def too_early(ctx: Context["Later"], ev: Query) -> None:
            assert not isinstance(ev, Later)

        class Later: ...

        return too_early

    (problem,) = problems_of(declare)
    assert "'Context[Later]' of parameter 'ctx': the name 'Later' is not known there" in problem


def test_s_def_1_type_aliases_are_followed() -> None:
    typing_extensions = pytest.importorskip("typing_extensions")
    alias = typing_extensions.TypeAliasType("alias", Query | Answer)

    class Flow(DeclaredWorkflow):
        @step
        async def work(self, ev: "alias | Refusal") -> "alias | None": ...  # type: ignore[valid-type]

    assert declared(Flow.work).accepts == (Query, Answer, Refusal)
    assert declared(Flow.work).returns == (Query, Answer)


def test_s_def_1_none_or_never_as_return_annotation_is_no_event() -> None:
    class Flow(DeclaredWorkflow):
        @step
        async def listen(self, ev: Query) -> None: ...

        @step
        async def fail(self, ev: Query) -> NoReturn:
            raise ValueError

    assert declared(Flow.listen).returns == declared(Flow.fail).returns == ()


def test_s_def_1_the_decorated_function_stays_as_it_is() -> None:
    def work(self: object, ev: Query) -> Answer:
        return Answer(text=ev.text)

    work.__qualname__ = "Flow.work"
    assert step(work) is work
    assert work(None, Query(text="a")) == Answer(text="a")


# How it is called


@pytest.mark.parametrize("with_self", [True, False])
def test_s_def_2_context_may_stand_in_any_position(*, with_self: bool) -> None:
    if with_self:

        class Flow(DeclaredWorkflow):
            @step
            async def event(self, ev: Query) -> None: ...
            @step
            async def context_event(self, ctx: Context[Any], ev: Query) -> None: ...
            @step
            async def event_context(self, ev: Query, ctx: Context[Any], retries: int = 3) -> None: ...
            @step
            async def keywords(self, ev: Query, *, ctx: Context[Any]) -> None: ...
            @step
            async def default_between(
                self, ctx: Context[Any] | None = None, retries: int = 3, ev: Query | None = None
            ) -> None: ...

    else:

        class Flow(DeclaredWorkflow):  # type: ignore[no-redef]
            pass

        @step(workflow=Flow)
        async def event(ev: Query, /) -> None: ...
        @step(workflow=Flow)
        async def context_event(ctx: Context[Any], ev: Query) -> None: ...
        @step(workflow=Flow)
        async def event_context(ev: Query, ctx: Context[Any], *rest: int, **more: int) -> None: ...
        @step(workflow=Flow)
        async def keywords(*, ev: Query, ctx: Context[Any]) -> None: ...
        @step(workflow=Flow)
        async def default_between(retries: int = 3, *, ev: Query, ctx: Context[Any]) -> None: ...

    shapes = {found.name: found.shape for found in Flow.step_declarations()}
    assert shapes == {
        "event": CallShape.EVENT,
        "context_event": CallShape.CONTEXT_EVENT,
        "event_context": CallShape.EVENT_CONTEXT,
        "keywords": CallShape.KEYWORDS,
        "default_between": CallShape.KEYWORDS,
    }
    assert {found.event_parameter for found in Flow.step_declarations()} == {"ev"}
    assert {found.context_parameter for found in Flow.step_declarations()} == {"ctx", None}
    assert {found.is_method for found in Flow.step_declarations()} == {with_self}


def test_s_def_2_a_parameter_that_a_run_cannot_reach_by_position_is_an_error() -> None:
    def declare() -> None:
        class Flow(DeclaredWorkflow):
            @step
            async def work(self, retries: int = 3, ev: Query | None = None, /) -> None: ...

    (problem,) = problems_of(declare)
    assert "takes 'ev' by position only" in problem


def test_s_def_2_state_type_is_that_of_the_context() -> None:
    class Flow(DeclaredWorkflow):
        @step
        async def bare(self, ctx: Context, ev: Query) -> None: ...  # type: ignore[type-arg]  # as users write it
        @step
        async def anything(self, ctx: Context[Any], ev: Query) -> None: ...
        @step
        async def open(self, ctx: Context[State], ev: Query) -> None: ...
        @step
        async def counter(self, ctx: Context[Counter] | None, ev: Query) -> None: ...
        @step
        async def generic(self, ctx: Context[dict[str, int]], ev: Query) -> None: ...

    found = {one.name: one.state_type for one in Flow.step_declarations()}
    assert found == {"bare": None, "anything": None, "open": None, "counter": Counter, "generic": dict}


def test_s_def_2_a_state_type_that_is_no_class_is_an_error() -> None:
    def declare() -> None:
        class Flow(DeclaredWorkflow):
            @step
            async def work(self, ctx: Context[Counter | str], ev: Query) -> None: ...

    (problem,) = problems_of(declare)
    assert "State must be a class" in problem


@given(
    order=st.permutations(["ctx", "ev", "extra"]),
    keyword_only=st.lists(st.booleans(), min_size=3, max_size=3).map(sorted),
)
def test_s_def_2_every_shape_calls_the_function_as_it_is_written(
    order: list[str], keyword_only: list[bool]
) -> None:
    """Wherever event and context stand, calling by the shape gives each parameter its own value."""
    annotations: dict[str, object] = {"ctx": Context, "ev": Query, "extra": int}
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY if only else inspect.Parameter.POSITIONAL_OR_KEYWORD,
            annotation=annotations[name],
            default=0,
        )
        for name, only in zip(order, keyword_only, strict=True)
    ]
    signature = inspect.Signature(parameters, return_annotation=None)

    def work(*args: object, **kwargs: object) -> Any:
        return signature.bind(*args, **kwargs).arguments

    cast("Any", work).__signature__ = signature

    class Fresh(DeclaredWorkflow): ...

    found = declared(step(workflow=Fresh)(work))
    calls: dict[CallShape, Callable[[], Any]] = {
        CallShape.EVENT: lambda: found.function("E"),
        CallShape.CONTEXT_EVENT: lambda: found.function("C", "E"),
        CallShape.EVENT_CONTEXT: lambda: found.function("E", "C"),
        CallShape.KEYWORDS: lambda: found.function(ev="E", ctx="C"),
    }
    assert calls[found.shape]() == {"ev": "E", "ctx": "C"}


# Async or not, and other decorators


Function = TypeVar("Function", bound=Callable[..., Any])


def logged(function: Function) -> Function:
    """Wrap with a plain function, as most decorators do."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return cast("Function", wrapper)


def test_s_def_1_async_is_seen_through_wrappers() -> None:
    def awaited(function: Callable[..., Answer]) -> Callable[..., Awaitable[Answer]]:
        @functools.wraps(function)
        async def wrapper(*args: Any) -> Answer:
            return function(*args)

        return wrapper

    class Flow(DeclaredWorkflow):
        @step
        async def plain_async(self, ev: Query) -> None: ...
        @step
        def plain(self, ev: Query) -> None: ...
        @step
        @logged
        async def wrapped_async(self, ev: Query) -> None: ...
        @step
        @logged
        @logged
        def wrapped(self, ev: Query) -> None: ...
        @step
        @awaited
        def made_async(self, ev: Query) -> Answer:
            return Answer(text=ev.text)

    assert {found.name: found.is_async for found in Flow.step_declarations()} == {
        "plain_async": True,
        "plain": False,
        "wrapped_async": True,
        "wrapped": False,
        "made_async": True,
    }


def test_s_def_1_a_decorator_above_step_is_not_skipped() -> None:
    """functools.wraps copies the declaration; the engine must call what stands in the class."""

    class Flow(DeclaredWorkflow):
        @logged
        @step
        async def work(self, ev: Query) -> None: ...

    (found,) = Flow.step_declarations()
    assert found.function is Flow.work
    assert found.is_async


def test_s_def_2_takes_is_exact_unless_subclasses_are_accepted() -> None:
    class Longer(Query): ...

    class Flow(DeclaredWorkflow):
        @step
        async def exact(self, ev: Query | HumanResponseEvent) -> None: ...

        @step(accept_event_subclasses=True)
        async def broad(self, ev: Query) -> None: ...

        @step(accept_event_subclasses=True)
        async def everything(self, ev: Event) -> None: ...

    events: list[type[Event]] = [Query, Longer, HumanResponseEvent, StopEvent]
    taken = {
        found.name: {event for event in events if found.takes(event)} for found in Flow.step_declarations()
    }
    expected: dict[str, set[type[Event]]] = {
        "exact": {Query, HumanResponseEvent},
        "broad": {Query, Longer},
        "everything": {Query, Longer, HumanResponseEvent},
    }
    assert taken == expected
