"""``Workflow[T]``: what the runs give is what the class says."""

import pickle
from typing import Any, Generic, TypeVar

import anyio
import pytest

from anyio_workflows import StartEvent, StopEvent, Workflow, WorkflowConfigurationError, step

ResultT = TypeVar("ResultT")
OtherT = TypeVar("OtherT")


class Done(StopEvent):
    pages: int = 0


class FullyDone(Done):
    pass


class WithStop:
    @step
    async def end(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=3)


class WithDone:
    @step
    async def end(self, ev: StartEvent) -> Done:
        return Done(pages=3)


class WithFullyDone:
    @step
    async def end(self, ev: StartEvent) -> FullyDone:
        return FullyDone(pages=4)


class Base(Workflow[ResultT], Generic[OtherT, ResultT]):
    pass


def problem_of(cls: Any) -> str:
    with pytest.raises(WorkflowConfigurationError) as caught:
        cls()
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("parameter", "mixin"),
    [
        (Done, WithDone),
        (Done, WithFullyDone),
        (StopEvent, WithDone),
        (Done | None, WithDone),
        (Any, WithDone),
        (Any, WithStop),
        (object, WithDone),
        (object, WithStop),
        (int, WithStop),
        (list[int], WithStop),
        (int | None, WithStop),
        pytest.param("Done", WithDone, id="text"),
    ],
)
async def test_s_ev_4_a_workflow_gives_what_its_class_says(parameter: Any, mixin: Any) -> None:
    class Flow(Workflow[parameter], mixin):  # type: ignore[misc]  # variables
        pass

    with anyio.fail_after(5):
        result = await Flow().run()
    assert result in (3, Done(pages=3), FullyDone(pages=4))


def test_s_ev_4_a_stop_event_that_the_class_does_not_say_is_an_error() -> None:
    class Flow(Workflow[FullyDone], WithDone):
        pass

    assert problem_of(Flow) == (
        "it is declared as Workflow[FullyDone], but its steps return Done, which a run gives as it is; write "
        "Workflow[Done], or return what is declared"
    )


def test_s_ev_4_the_result_of_a_stop_event_is_not_the_event() -> None:
    class Flow(Workflow[StopEvent], WithStop):
        pass

    class Other(Workflow[Done], WithStop):
        pass

    assert problem_of(Flow) == (
        "it is declared as Workflow[StopEvent], but of a StopEvent a run gives the result; write Workflow[...] with "
        "its type"
    )
    assert "return Done, or write Workflow[...] with the type of the result" in problem_of(Other)


def test_s_ev_4_a_stop_event_where_a_value_is_said_is_an_error() -> None:
    class Flow(Workflow[int], WithDone):
        pass

    assert "declared as Workflow[int], but its steps return Done" in problem_of(Flow)


def test_the_parameter_is_found_through_classes_between() -> None:
    class Right(Base[int, Done], WithDone):
        pass

    class Wrong(Base[Done, int], WithDone):
        pass

    class Below(Wrong):
        pass

    class Open(Base, WithDone):  # type: ignore[type-arg]  # left open
        pass

    Right()
    Open()
    assert "Workflow[int]" in problem_of(Wrong)
    assert "Workflow[int]" in problem_of(Below)


class Pickled(Workflow[Done], WithDone):
    pass


def test_the_class_is_an_ordinary_one() -> None:
    assert pickle.loads(pickle.dumps(Pickled)) is Pickled
    assert [declaration.name for declaration in Pickled.step_declarations()] == ["end"]
