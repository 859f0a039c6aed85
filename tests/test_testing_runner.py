"""`WorkflowTestRunner`: what a run gave, for a test to look at."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
from running import Failing, Held

from anyio_workflows import (
    Context,
    Event,
    StartEvent,
    StepState,
    StepStateChanged,
    StopEvent,
    Workflow,
    WorkflowRuntimeError,
    step,
    testing,
)
from anyio_workflows.testing import WorkflowTestResult, WorkflowTestRunner


class Greeted(Event):
    name: str


class WarmlyGreeted(Greeted): ...


class Begin(StartEvent):
    name: str


@attrs.define
class Count:
    greetings: int = 0


class Greeting(Workflow):
    """Greets twice on the stream."""

    @step
    async def greet(self, ctx: Context[Count], ev: Begin) -> Greeted:
        ctx.write_event_to_stream(Greeted(name=ev.name))
        ctx.write_event_to_stream(WarmlyGreeted(name=ev.name))
        async with ctx.store.edit_state() as state:
            state.greetings += 2
        return Greeted(name=ev.name.upper())

    @step
    async def end(self, ev: Greeted) -> StopEvent:
        return StopEvent(result=f"hello {ev.name}!")


async def run(**options: Any) -> WorkflowTestResult:
    with anyio.fail_after(5):
        return await WorkflowTestRunner(Greeting()).run(Begin(name="Adam"), **options)


async def test_it_collects_the_stream_the_result_and_the_state() -> None:
    found = await run(expose_internal=False)
    assert found.collected == [
        Greeted(name="Adam"),
        WarmlyGreeted(name="Adam"),
        StopEvent(result="hello ADAM!"),
    ]
    assert found.event_types == {Greeted: 1, WarmlyGreeted: 1, StopEvent: 1}
    assert found.event_types[StartEvent] == 0
    assert found.result == "hello ADAM!"
    assert found.state == Count(greetings=2)


async def test_it_collects_what_the_engine_says_unless_told_otherwise() -> None:
    """As the runner of LlamaIndex Workflows does."""
    found = await run()
    assert found.event_types == {StepStateChanged: 4, Greeted: 1, WarmlyGreeted: 1, StopEvent: 1}
    changes = [
        (event.name, event.step_state) for event in found.collected if isinstance(event, StepStateChanged)
    ]
    assert changes == [
        ("greet", StepState.RUNNING),
        ("greet", StepState.NOT_RUNNING),
        ("end", StepState.RUNNING),
        ("end", StepState.NOT_RUNNING),
    ]


async def test_it_leaves_out_exactly_the_classes_it_is_told() -> None:
    found = await run(exclude_events=[StepStateChanged, Greeted])
    assert found.event_types == {WarmlyGreeted: 1, StopEvent: 1}
    assert [type(event) for event in found.collected] == [WarmlyGreeted, StopEvent]


async def test_it_passes_on_what_a_run_can_be_given() -> None:
    runner = WorkflowTestRunner(Greeting())
    with anyio.fail_after(5):
        found = await runner.run(name="Eve", state=Count(greetings=1))
        assert (found.result, found.state) == ("hello EVE!", Count(greetings=3))
        with pytest.raises(WorkflowRuntimeError, match="give one or the other"):
            await runner.run(Begin(name="Eve"), name="Adam")


async def test_it_raises_what_the_run_raises() -> None:
    error = ValueError("no")
    with anyio.fail_after(5), pytest.raises(ValueError, match="no") as caught:
        await WorkflowTestRunner(Failing()).run(error=error)
    assert caught.value is error


async def test_its_cancellation_is_the_runs() -> None:
    flow = Held()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(WorkflowTestRunner(flow).run)
            await flow.begun.wait()
            tasks.cancel_scope.cancel()
    assert flow.log == ["begun", "cancelled"]


@pytest.mark.parametrize("name", ["hypothesis", "sqlite3"])
def test_it_needs_nothing_but_the_library_itself(name: str) -> None:
    """The rest of the module tests stores, with Hypothesis."""
    program = (
        f"import sys; sys.modules[{name!r}] = None; from anyio_workflows.testing import WorkflowTestRunner"
    )
    package = Path(testing.__file__).parents[2]
    subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(package)},
        check=True,
        timeout=30,
    )


def test_a_name_that_the_testing_module_does_not_have_is_an_attribute_error() -> None:
    assert [name for name in testing.__all__ if not hasattr(testing, name)] == []
    with pytest.raises(AttributeError, match="no attribute 'WorkflowRunner'"):
        _ = testing.WorkflowRunner
