"""What steps amount to together: where events go, and every mistake at once (S-DEF-2, S-DEF-3, S-DEF-4)."""

from collections.abc import Collection, Sequence
from typing import Any

import pytest

from anyio_workflows._declare.step import step
from anyio_workflows._declare.workflow import DeclaredWorkflow
from anyio_workflows._errors import (
    WorkflowConfigurationError,
    WorkflowStepDoesNotExistError,
    WorkflowValidationError,
)
from anyio_workflows._events import Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent
from anyio_workflows._graph.model import Graph, build_graph


class Query(Event): ...


class LongQuery(Query): ...


class Answer(Event): ...


class Prompt(InputRequiredEvent): ...


class Reply(HumanResponseEvent): ...


class Summary(StopEvent):
    text: str


def graph_of(
    workflow: type[DeclaredWorkflow], skip: Collection[str] = (), extra_events: Sequence[type[Event]] = ()
) -> Graph:
    return build_graph(
        workflow.__name__, workflow.step_declarations(), skip_graph_checks=skip, extra_events=extra_events
    )


def problems_of(workflow: type[DeclaredWorkflow], *args: Any) -> tuple[str, ...]:
    with pytest.raises(WorkflowValidationError) as caught:
        graph_of(workflow, *args)
    assert caught.value.workflow == workflow.__name__
    return caught.value.problems


class Main(DeclaredWorkflow):
    """The part that is right in every test."""

    @step
    async def start(self, ev: StartEvent) -> StopEvent | None: ...


# What the graph knows


class Asking(DeclaredWorkflow):
    @step
    async def start(self, ev: StartEvent) -> Query | LongQuery | None: ...

    @step
    async def exact(self, ev: Query) -> Prompt | None: ...

    @step(accept_event_subclasses=True)
    async def broad(self, ev: Query | Reply) -> StopEvent | None: ...


def test_s_def_2_events_go_to_their_exact_type_and_where_asked_to_subclasses() -> None:
    graph = graph_of(Asking)
    assert graph.targets(StartEvent) == (0,)
    assert graph.targets(Query) == (1, 2)
    assert graph.targets(LongQuery) == (2,)
    assert graph.targets(Answer) == graph.targets(StopEvent) == ()


def test_s_def_2_a_stop_event_goes_to_no_step_not_even_to_one_for_every_event() -> None:
    class Flow(Main):
        @step(accept_event_subclasses=True)
        async def log(self, ev: Event) -> None: ...

    graph = graph_of(Flow)
    assert graph.targets(StopEvent) == graph.targets(Summary) == ()
    assert graph.targets(StartEvent) == (0, 1)


def test_s_def_5_the_graph_is_a_value_to_look_at() -> None:
    graph = graph_of(Asking, (), (Answer,))
    assert (graph.name, graph.step_names) == ("Asking", ("start", "exact", "broad"))
    assert (graph.start_event_class, graph.stop_event_class) == (StartEvent, StopEvent)
    assert graph.events == (StartEvent, Query, LongQuery, Prompt, Reply, StopEvent, Answer)
    assert [graph.index(name) for name in graph.step_names] == [0, 1, 2]
    with pytest.raises(WorkflowStepDoesNotExistError):
        graph.index("missing")


def test_s_run_4_the_graph_knows_whether_humans_are_asked_and_may_answer() -> None:
    class Waiting(DeclaredWorkflow):
        @step(waits_for=Reply)
        async def start(self, ev: StartEvent) -> StopEvent: ...  # type: ignore[empty-body]

    seen = [
        (graph.takes_human_responses, graph.publishes_prompts)
        for graph in map(graph_of, (Asking, Waiting, Main))
    ]
    assert seen == [(True, True), (True, False), (False, False)]


# What is right


def test_s_def_3_a_listener_that_returns_none_is_right() -> None:
    class Flow(Main):
        @step
        async def listen(self, ev: StartEvent) -> None: ...

    assert graph_of(Flow).step_names == ("start", "listen")


def test_s_def_3_a_step_that_only_gives_prompts_is_right() -> None:
    class Flow(DeclaredWorkflow):
        @step
        async def ask(self, ev: StartEvent) -> Prompt: ...  # type: ignore[empty-body]

        @step
        async def answer(self, ev: Reply) -> StopEvent: ...  # type: ignore[empty-body]

    assert graph_of(Flow).publishes_prompts


def test_s_def_3_types_named_by_waits_for_are_right() -> None:
    """They count as consumed when a step returns them, and as produced when only the outside does."""

    class Flow(Main):
        @step
        async def produce(self, ev: StartEvent) -> LongQuery: ...  # type: ignore[empty-body]

        @step(waits_for=(Answer, Query), accept_event_subclasses=True)
        async def wait(self, ev: StartEvent) -> StopEvent: ...  # type: ignore[empty-body]

        @step
        async def also_accept(self, ev: Answer) -> None: ...

    assert graph_of(Flow).events == (StartEvent, StopEvent, LongQuery, Answer, Query)


def test_s_def_3_a_loop_with_an_exit_is_right() -> None:
    class Flow(DeclaredWorkflow):
        @step
        async def loop(self, ev: StartEvent | Query) -> Answer | StopEvent: ...  # type: ignore[empty-body]

        @step
        async def back(self, ev: Answer) -> Query | StartEvent: ...  # type: ignore[empty-body]

    assert graph_of(Flow).targets(StartEvent) == (0,)


def test_s_def_4_extra_events_count_as_sent_by_someone() -> None:
    class Flow(Main):
        @step
        async def work(self, ev: Query) -> None: ...

    assert "step 'work' accepts Query, which no step returns" in problems_of(Flow)[0]
    assert graph_of(Flow, (), (Query,)).events[-1] is Query


# Start and stop


def test_s_def_3_no_steps_is_an_error() -> None:
    class Flow(DeclaredWorkflow): ...

    with pytest.raises(WorkflowConfigurationError, match="there are no steps"):
        graph_of(Flow)


def test_s_def_3_no_start_event_is_a_configuration_error() -> None:
    class Flow(DeclaredWorkflow):
        @step
        async def work(self, ev: Reply) -> StopEvent: ...  # type: ignore[empty-body]

    with pytest.raises(WorkflowConfigurationError, match="no step accepts a StartEvent"):
        graph_of(Flow)


def test_s_def_3_ambiguous_start_events_are_a_configuration_error() -> None:
    class Begin(StartEvent): ...

    class Flow(Main):
        @step
        async def begin(self, ev: Begin) -> StopEvent: ...  # type: ignore[empty-body]

        @step
        async def both(self, ev: Begin | StartEvent) -> StopEvent: ...  # type: ignore[empty-body]

    with pytest.raises(WorkflowConfigurationError):
        graph_of(Flow)
    (problem,) = problems_of(Flow)
    assert problem == (
        "several start events are accepted: StartEvent in steps 'start' and 'both' and Begin in steps 'begin' "
        "and 'both'; a workflow starts with one class, keep one"
    )


def test_s_def_3_no_stop_event_is_a_configuration_error() -> None:
    class Flow(DeclaredWorkflow):
        @step
        async def work(self, ev: StartEvent) -> Prompt: ...  # type: ignore[empty-body]

    with pytest.raises(
        WorkflowConfigurationError, match="no step returns a StopEvent, so the workflow cannot end"
    ):
        graph_of(Flow)


def test_s_def_3_ambiguous_stop_events_are_a_configuration_error() -> None:
    class Flow(Main):
        @step
        async def summarize(self, ev: StartEvent) -> Summary: ...  # type: ignore[empty-body]

    with pytest.raises(WorkflowConfigurationError):
        graph_of(Flow)
    (problem,) = problems_of(Flow)
    assert "StopEvent from step 'start' and Summary from step 'summarize'" in problem


def test_s_def_3_own_start_and_stop_classes_are_found() -> None:
    class Begin(StartEvent):
        topic: str

    class Flow(DeclaredWorkflow):
        @step
        async def begin(self, ev: Begin) -> Summary: ...  # type: ignore[empty-body]

    graph = graph_of(Flow)
    assert (graph.start_event_class, graph.stop_event_class) == (Begin, Summary)


def test_s_def_3_a_stop_event_that_is_accepted_is_a_configuration_error() -> None:
    class Flow(Main):
        @step
        async def after(self, ev: StopEvent | Summary) -> None: ...

    with pytest.raises(WorkflowConfigurationError):
        graph_of(Flow)
    stop, summary = problems_of(Flow)
    assert "step 'after' accepts StopEvent, which ends the run" in stop
    assert "step 'after' accepts Summary, which ends the run" in summary


@pytest.mark.parametrize(
    "field", ["start_event", "state", "run_id", "timeout", "stream_buffer", "checkpoints"]
)
def test_s_def_3_a_start_field_that_run_takes_for_itself_is_a_configuration_error(field: str) -> None:
    begin = type(
        "Begin", (StartEvent,), {"__annotations__": {field: int, "topic": str}, "__module__": __name__}
    )

    async def work(self: object, ev: StartEvent) -> StopEvent | None: ...

    work.__annotations__["ev"] = begin
    work.__qualname__ = "Flow.work"
    flow = type("Flow", (DeclaredWorkflow,), {"work": step(work)})
    with pytest.raises(WorkflowConfigurationError):
        graph_of(flow)
    (problem,) = problems_of(flow)
    assert problem == f"Begin declares '{field}', which run() takes for itself; give the field another name"


# Events and paths


def test_s_def_3_an_event_that_is_produced_but_never_consumed_is_an_error() -> None:
    class Flow(Main):
        @step
        async def one(self, ev: StartEvent) -> Query | StopEvent: ...  # type: ignore[empty-body]

        @step
        async def two(self, ev: StartEvent) -> Query: ...  # type: ignore[empty-body]

    with pytest.raises(WorkflowValidationError) as caught:
        graph_of(Flow)
    assert not isinstance(caught.value, WorkflowConfigurationError)
    (problem,) = caught.value.problems
    assert problem == (
        "steps 'one' and 'two' return Query, which no step accepts; accept it in a step, name it in "
        "@step(waits_for=...), or derive it from StopEvent or InputRequiredEvent"
    )


def test_s_def_3_a_base_class_that_would_consume_the_event_is_pointed_out() -> None:
    class Flow(Main):
        @step
        async def produce(self, ev: StartEvent) -> LongQuery: ...  # type: ignore[empty-body]

        @step
        async def consume(self, ev: Query) -> StopEvent: ...  # type: ignore[empty-body]

    produced, accepted = problems_of(Flow)
    advice = (
        "step 'consume' accepts a base class, but subclasses only with @step(accept_event_subclasses=True)"
    )
    assert produced == f"step 'produce' returns LongQuery, which no step accepts; {advice}"
    assert accepted == f"step 'consume' accepts Query, which no step returns; {advice}"


def test_s_def_3_an_event_that_is_consumed_but_never_produced_is_an_error() -> None:
    class Flow(Main):
        @step
        async def work(self, ev: StartEvent | Query) -> None: ...

    (problem,) = problems_of(Flow)
    assert problem.startswith(
        "step 'work' accepts Query, which no step returns; add it to the return annotation"
    )


def test_s_def_3_a_step_that_is_never_reached_is_an_error() -> None:
    class Flow(Main):
        @step
        async def ping(self, ev: Query) -> Answer | StopEvent: ...  # type: ignore[empty-body]

        @step
        async def pong(self, ev: Answer) -> Query: ...  # type: ignore[empty-body]

    ping, pong = problems_of(Flow)
    assert ping.startswith(
        "step 'ping' is never reached, because Query comes only from steps that are never reached"
    )
    assert pong.startswith("step 'pong' is never reached, because Answer")


def test_s_def_3_a_step_without_a_path_to_the_stop_event_is_an_error() -> None:
    class Flow(Main):
        @step
        async def ping(self, ev: StartEvent | Answer) -> Query: ...  # type: ignore[empty-body]

        @step
        async def pong(self, ev: Query) -> Answer: ...  # type: ignore[empty-body]

    ping, pong = problems_of(Flow)
    assert ping.startswith("step 'ping' is a dead end: Query leads to no StopEvent or InputRequiredEvent")
    assert pong.startswith("step 'pong' is a dead end: Answer leads to no")


def test_s_def_3_a_path_through_a_waiting_step_is_no_dead_end() -> None:
    class Flow(DeclaredWorkflow):
        @step
        async def work(self, ev: StartEvent) -> Answer: ...  # type: ignore[empty-body]

        @step(waits_for=Answer)
        async def wait(self, ev: StartEvent) -> StopEvent: ...  # type: ignore[empty-body]

    assert graph_of(Flow).step_names == ("work", "wait")


def test_s_def_3_duplicate_step_names_are_an_error() -> None:
    declarations = Main.step_declarations() * 2
    with pytest.raises(
        WorkflowValidationError, match="2 steps are called 'start'; give each a name of its own"
    ):
        build_graph("Twice", declarations)


# Skipping checks


class Odd(Main):
    @step
    async def island(self, ev: Query) -> Query: ...  # type: ignore[empty-body]

    @step
    async def outside(self, ev: Answer) -> None: ...

    @step
    async def loose(self, ev: StartEvent) -> LongQuery: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    ("skipped", "left"),
    [
        ([], ["outside", "loose", "island", "island"]),
        (["reachability"], ["loose", "island"]),
        (["terminal_event"], ["outside", "island", "island"]),
        (["dead_end"], ["outside", "loose", "island"]),
        (["reachability", "terminal_event", "dead_end"], []),
    ],
)
def test_s_def_3_checks_are_skipped_for_a_workflow(skipped: list[str], left: list[str]) -> None:
    found = problems_of(Odd, skipped) if left else ()
    named = sorted(
        step for problem in found for step in ("outside", "loose", "island") if f"'{step}'" in problem[:20]
    )
    assert named == sorted(left)
    if not left:
        assert graph_of(Odd, skipped).index("island") == 1


def test_s_def_3_checks_are_skipped_for_a_step() -> None:
    class Flow(Main):
        @step(skip_graph_checks=["reachability", "dead_end"])
        async def island(self, ev: Query) -> Query: ...  # type: ignore[empty-body]

        @step(skip_graph_checks=["reachability"])
        async def outside(self, ev: Answer) -> None: ...

        @step(skip_graph_checks=["terminal_event"])
        async def loose(self, ev: StartEvent) -> LongQuery: ...  # type: ignore[empty-body]

    assert graph_of(Flow).step_names == ("start", "island", "outside", "loose")


def test_s_def_3_unknown_checks_and_extra_events_are_errors() -> None:
    check, extra = problems_of(Main, ["dead_ends"], [int])
    assert check == (
        "the workflow has 'dead_ends' in skip_graph_checks; "
        "the checks are 'reachability', 'terminal_event' and 'dead_end'"
    )
    assert extra == "extra_events has <class 'int'>; name Event subclasses"


# Together


def test_s_def_3_all_mistakes_of_a_graph_come_together() -> None:
    class Begin(StartEvent):
        timeout: int

    class Flow(Main):
        @step
        async def begin(self, ev: Begin) -> Summary: ...  # type: ignore[empty-body]

        @step
        async def after(self, ev: StopEvent) -> None: ...

        @step
        async def lose(self, ev: StartEvent) -> Answer: ...  # type: ignore[empty-body]

        @step
        async def starve(self, ev: LongQuery) -> StopEvent: ...  # type: ignore[empty-body]

        @step
        async def island(self, ev: Query) -> Query: ...  # type: ignore[empty-body]

    with pytest.raises(WorkflowConfigurationError) as caught:
        graph_of(Flow, ["typo"])
    expected = [
        "the workflow has 'typo'",
        "several start events",
        "Begin declares 'timeout'",
        "several stop events",
        "step 'after' accepts StopEvent",
        "step 'lose' returns Answer",
        "step 'starve' accepts LongQuery",
        "step 'island' is never reached",
        "step 'island' is a dead end",
    ]
    starts = [
        problem.startswith(start) for problem, start in zip(caught.value.problems, expected, strict=True)
    ]
    assert all(starts)
    assert str(caught.value).startswith("9 mistakes in the declaration of Flow:\n  - ")


def test_s_def_3_what_follows_from_a_missing_start_or_stop_event_is_not_said_as_well() -> None:
    class Flow(DeclaredWorkflow):
        @step
        async def ping(self, ev: Query) -> Answer: ...  # type: ignore[empty-body]

        @step
        async def pong(self, ev: Answer) -> Query: ...  # type: ignore[empty-body]

    start, stop = problems_of(Flow)
    assert start.startswith("no step accepts a StartEvent")
    assert stop.startswith("no step returns a StopEvent")
