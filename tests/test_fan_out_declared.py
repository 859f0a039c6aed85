"""What may be declared of fan-outs, joins, several event parameters and error handlers, and what not."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import pytest
from declaring import Answer, Context, Host, Query, Refusal, declared, problems_of

from anyio_workflows import (
    All,
    Collect,
    Event,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Take,
    Workflow,
    WorkflowValidationError,
    catch_error,
    step,
)


def new_host() -> type[Workflow]:
    """Return what a step is added to."""
    return type("Flow", (Workflow,), {})


def joining(annotation: Any) -> Callable[..., Any]:
    """Return a function that takes *annotation*."""

    def join(evs: Any) -> None: ...

    join.__annotations__["evs"] = annotation
    return join


# --- what is read


@pytest.mark.parametrize(
    ("annotation", "accepts", "joins"),
    [
        (list[Query], (Query,), Collect(All())),
        (list[Query] | None, (Query,), Collect()),
        (list[Query | Answer], (Query, Answer), Collect()),
        (list[Query] | list[Answer], (Query, Answer), Collect()),
        (Annotated[list[Query], Collect(Take(2))], (Query,), Collect(Take(2))),
        (Annotated[list[Query], Collect(Take(2))] | None, (Query,), Collect(Take(2))),
        (Annotated[list[Query], "a note"], (Query,), Collect()),
        ("Annotated[list[Query], Collect(order='emission')]", (Query,), Collect(order="emission")),
    ],
    ids=repr,
)
def test_fan_out_a_list_of_events_as_the_parameter_makes_a_join(
    annotation: Any, accepts: tuple[type[Event], ...], joins: Collect
) -> None:
    join = declared(step(workflow=new_host())(joining(annotation)))
    assert (join.accepts, join.joins) == (accepts, joins)


def test_fan_out_a_list_in_the_return_annotation_makes_a_fan_out() -> None:
    @step(workflow=Host)
    async def split(ev: Query) -> list[Answer | Query] | Refusal | None: ...

    found = declared(split)
    assert found.fans_out == (Answer, Query)
    assert found.bare == (Refusal,)
    assert found.returns == (Answer, Query, Refusal)


def test_slots_several_event_parameters_are_kept_in_their_order() -> None:
    @step(workflow=Host)
    async def meet(second: Answer, ctx: Context[Any], first: Query, again: Answer) -> None: ...

    assert declared(meet).slots == (("second", Answer), ("first", Query), ("again", Answer))
    assert declared(meet).accepts == (Answer, Query)


# --- mistakes of one step


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (list[Query] | Answer, "accepts Answer beside a list of events in parameter 'evs'"),
        (Annotated[Query, Collect()], "has Collect on parameter 'evs', which is no list of events"),
        (Annotated[list[int], Collect()], "has Collect on parameter 'evs', which is no list of events"),
        (Annotated[list[Query], Take(2)], "has Take(n=2, cancel_rest=False) on parameter 'evs'; write"),
        (Annotated[list[Query], Collect], "Collect'> on parameter 'evs'; write"),
        (Annotated[list[Query], All()], "has All() on parameter 'evs'; write"),
        (list[Query | int], "is neither an event nor the context"),
    ],
    ids=repr,
)
def test_fan_out_a_join_that_is_declared_wrongly_is_an_error(annotation: Any, said: str) -> None:
    (problem, *_) = problems_of(lambda: step(workflow=Host)(joining(annotation)))
    assert problem.startswith("step 'join'") or "'join'" in problem
    assert said in problem


def test_fan_out_a_join_has_one_event_parameter() -> None:
    def two_lists(a: list[Query], b: list[Answer]) -> None: ...
    def list_and_event(a: list[Query], b: Answer) -> None: ...

    for function in (two_lists, list_and_event):
        (problem,) = problems_of(lambda function=function: step(workflow=Host)(function))  # type: ignore[misc]
        assert "has 2 event parameters, 'a' and 'b', one of them a list" in problem
        assert "a step that joins has one event parameter" in problem


def test_slots_each_of_several_event_parameters_has_one_type() -> None:
    def meet(a: Query | Answer, b: Refusal) -> None: ...

    (problem,) = problems_of(lambda: step(workflow=Host)(meet))
    assert "has several event parameters, and 'a' takes 2 types; write one type in each" in problem


@pytest.mark.parametrize(
    "annotation", [set[Query], frozenset[Query], AsyncIterator[Query], list[Query | None]], ids=repr
)
def test_fan_out_other_containers_are_an_error_that_says_what_to_write(annotation: Any) -> None:
    def split(ev: Query) -> None: ...

    split.__annotations__["return"] = annotation
    (problem,) = problems_of(lambda: step(workflow=Host)(split))
    assert "is annotated to return" in problem
    assert "write '-> list[Query]' to have each of them worked on" in problem


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "2", None])
def test_fan_out_take_wants_a_number(n: Any) -> None:
    with pytest.raises(WorkflowValidationError, match="takes no number of events; give an int of 1 or more"):
        Take(n)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Take(1, cancel_rest="yes"), "Take has cancel_rest='yes'; it must be True or False"),  # type: ignore[arg-type]
        (lambda: Collect(3), "Collect(3) says nothing of when to join; give All() or Take(n)"),  # type: ignore[arg-type]
        (lambda: Collect(order="random"), "Collect has order='random'; it must be 'arrival' or 'emission'"),  # type: ignore[arg-type]
    ],
)
def test_fan_out_wrong_options_are_errors(make: Callable[[], Any], said: str) -> None:
    assert problems_of(make) == (said,)


def test_cancel_part_cancellable_is_true_or_false() -> None:
    def work(ev: Query) -> None: ...

    (problem,) = problems_of(lambda: step(workflow=Host, cancellable="yes")(work))  # type: ignore[call-overload]
    assert "cancellable='yes'" in problem


# --- mistakes of handlers


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"for_steps": "work"}, "has for_steps='work'; give a list of names of steps, or nothing for all"),
        ({"for_steps": [1]}, "has for_steps=[1]; give a list of names"),
        ({"for_steps": 3}, "has for_steps=3; give a list of names"),
        ({"max_recoveries": 0}, "has max_recoveries=0; it must be an int greater than 0"),
        ({"max_recoveries": True}, "has max_recoveries=True; it must be an int greater than 0"),
        ({"max_recoveries": 1.5}, "has max_recoveries=1.5; it must be an int greater than 0"),
    ],
)
def test_s_fail_3_wrong_options_of_a_handler_are_errors(options: dict[str, Any], said: str) -> None:
    def handle(ev: StepFailedEvent) -> None: ...

    (problem,) = problems_of(lambda: catch_error(workflow=Host, **options)(handle))
    assert said in problem


def test_s_fail_3_a_handler_takes_a_failure_and_nothing_else() -> None:
    def other(ev: Query) -> None: ...
    def either(ev: StepFailedEvent | Query) -> None: ...
    def listed(evs: list[StepFailedEvent]) -> None: ...
    def two(a: StepFailedEvent, b: StepFailedEvent) -> None: ...

    for function in (other, either, listed, two):
        (problem,) = problems_of(lambda function=function: catch_error(workflow=Host)(function))  # type: ignore[misc]
        assert "annotate its event parameter with StepFailedEvent, and with nothing else" in problem


def failing(**more: Any) -> Workflow:
    """Return a workflow with two steps, and what *more* has."""

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Query | None: ...

        @step
        async def work(self, ev: Query) -> StopEvent: ...  # type: ignore[empty-body]

    for name, options in more.items():

        def handle(ev: StepFailedEvent) -> StopEvent | None: ...

        handle.__name__ = name
        catch_error(workflow=Flow, **options)(handle)
    return Flow()


@pytest.mark.parametrize(
    ("handlers", "said"),
    [
        (
            {"one": {}, "two": {}},
            "steps 'one' and 'two' handle the errors of all steps that no other handler names; keep one",
        ),
        (
            {"one": {"for_steps": ["wrok"]}},
            "handler 'one' names 'wrok' in for_steps, which is no step; the steps are 'begin', 'work' and 'one'",
        ),
        (
            {"one": {"for_steps": ["two"]}, "two": {}},
            "handler 'one' names 'two' in for_steps, which is a handler; handlers are not handled, name steps",
        ),
        ({"one": {"for_steps": ["one"]}}, "which is a handler; handlers are not handled, name steps"),
        (
            {"one": {"for_steps": ["work"]}, "two": {"for_steps": ("work",)}},
            "step 'work' is named by the handlers 'one' and 'two'; let one of them have it",
        ),
        ({"one": {"for_steps": ["work", "work"]}}, "step 'work' is named twice"),
    ],
)
def test_s_fail_3_handlers_that_do_not_go_together_are_errors(handlers: dict[str, Any], said: str) -> None:
    with pytest.raises(WorkflowValidationError) as caught:
        failing(**handlers)
    assert [problem for problem in caught.value.problems if said in problem]


def test_s_fail_3_all_mistakes_of_handlers_are_reported_together() -> None:
    with pytest.raises(WorkflowValidationError) as caught:
        failing(one={"for_steps": ["wrok", "begni"]}, two={}, three={})
    assert len(caught.value.problems) == 3


def test_s_fail_3_one_handler_for_a_step_and_one_for_the_others_go_together() -> None:
    """A handler that is asked for nothing is right as well, if useless."""
    failing(one={"for_steps": ["work"]}, two={}, three={"for_steps": []})


def test_s_fail_3_a_plain_step_does_not_take_failures() -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent: ...  # type: ignore[empty-body]

        @step
        async def handle(self, ev: StepFailedEvent) -> StopEvent: ...  # type: ignore[empty-body]

    with pytest.raises(WorkflowValidationError, match="decorate the step with @catch_error"):
        Flow()


# --- mistakes of the graph


def test_fan_out_a_join_that_no_fan_out_leads_to_is_an_error() -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Query | None: ...

        @step
        async def join(self, evs: list[Query | Answer]) -> StopEvent: ...  # type: ignore[empty-body]

        @step
        async def other(self, ev: Query) -> Answer: ...  # type: ignore[empty-body]

    with pytest.raises(WorkflowValidationError) as caught:
        Flow()
    (problem,) = caught.value.problems
    assert problem == (
        "step 'join' takes a list of Query or Answer, but no fan-out leads to it; return 'list[...]' in a step "
        "before it, or take one event and collect with ctx.collect_events"
    )


def test_fan_out_a_join_of_what_only_the_join_inside_gives_is_led_to_over_that() -> None:
    """Of a nested fan-out the outer join takes what the inner one gives, or what a handler gives instead."""

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Query]: ...  # type: ignore[empty-body]

        @step
        async def split(self, ev: Query) -> list[Answer]: ...  # type: ignore[empty-body]

        @step
        async def inner(self, evs: list[Answer]) -> None: ...

        @catch_error(for_steps=["inner"])
        async def handle(self, ev: StepFailedEvent) -> Refusal: ...  # type: ignore[empty-body]

        @step
        async def outer(self, evs: list[Refusal]) -> StopEvent: ...  # type: ignore[empty-body]

    Flow(skip_graph_checks=["dead_end"])


def test_fan_out_what_is_listed_and_taken_by_nobody_is_an_error() -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Query] | StopEvent: ...  # type: ignore[empty-body]

    with pytest.raises(WorkflowValidationError, match="step 'begin' returns Query, which no step accepts"):
        Flow()
