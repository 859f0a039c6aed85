"""Random workflows on every backend, against a sequential interpreter of the same program.

What holds at any time the steps note themselves; the interpreter says what must have happened in the end.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import attrs
import pytest
import trio
from anyio.abc import TaskStatus
from anyio.lowlevel import checkpoint
from hypothesis import event as classify
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_workflows import KINDS, Boom, Said, World, make_workflow

from anyio_workflows import (
    Event,
    StepState,
    StepStateChanged,
    StopEvent,
    Workflow,
    WorkflowCancelledEvent,
    WorkflowError,
    WorkflowFailedEvent,
    WorkflowHandler,
    WorkflowStalledError,
)
from anyio_workflows.testing.programs import Expected, Program, interpret, programs

BACKENDS: dict[str, tuple[str, dict[str, Any]]] = {"asyncio": ("asyncio", {}), "trio": ("trio", {})}
if sys.version_info >= (3, 12):

    def _new_eager_loop() -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    BACKENDS["asyncio+eager"] = ("asyncio", {"loop_factory": _new_eager_loop})

on_every_backend = pytest.mark.parametrize("backend", BACKENDS)
styles = st.sampled_from(["await", "async with", "serve"])


@attrs.define
class Course:
    """One run and what was seen of it from outside."""

    world: World
    handler: WorkflowHandler
    read: list[Event] = attrs.field(factory=list)
    """What a reader beside the run got, the engine's own events included."""
    ended: str = ""
    value: Any = None


def run_on(backend: str, seed: int, main: Callable[[], Awaitable[None]]) -> None:
    """Run *main* in an event loop of its own, and see that it leaves no task."""
    name, options = BACKENDS[backend]

    async def watched() -> None:
        if name == "trio":
            # Trio draws the order of tasks; left to Hypothesis, every example would have the same one.
            trio._core._run._r.seed(seed)
        before = {task.id for task in anyio.get_running_tasks()}
        with anyio.fail_after(20):
            await main()
        assert [task for task in anyio.get_running_tasks() if task.id not in before] == []

    anyio.run(watched, backend=name, backend_options=options)


async def go_through(course: Course, style: str) -> None:
    """Run it to its end in one of the ways there are."""
    handler = course.handler

    async def read() -> None:
        async for event in handler.stream_events(expose_internal=True):
            course.read.append(event)

    async def serve(task_status: TaskStatus[WorkflowHandler]) -> None:
        with suppress(WorkflowError, Boom):
            await handler.serve(task_status=task_status)

    with suppress(WorkflowError, Boom):
        if style == "await":
            await handler
        elif style == "async with":
            async with handler:
                await read()
        else:
            async with anyio.create_task_group() as tasks:
                await tasks.start(serve)
                await read()


async def see_how_it_ended(course: Course) -> None:
    """Ask twice: a run has one outcome."""
    assert course.handler.is_done()
    answers: list[tuple[str, Any]] = []
    for _ in range(2):
        try:
            answers.append(("completed", await course.handler))
        except (WorkflowError, Boom) as error:
            answers.append((type(error).__name__, error))
    assert answers[0] == answers[1]
    course.ended, course.value = answers[0]


async def check_stream(course: Course) -> None:
    """The stream holds what was said until the decision, in order, and the end last; all readers get the same."""
    kept = [event async for event in course.handler.stream_events()]
    read = [event for event in course.read if isinstance(event, Said | StopEvent)]
    assert read == kept[: len(read)]
    assert [event async for event in course.handler.stream_events(offset=1)] == kept[1:]
    *said, last = kept
    last_kinds = {"completed": StopEvent, "WorkflowCancelledError": WorkflowCancelledEvent}
    assert type(last) is last_kinds.get(course.ended, WorkflowFailedEvent)
    world = course.world
    before, ever = (
        [note.value for note in world.noted("said", notes)]
        for notes in (world.notes[: world.decision()], world.notes)
    )
    given = [event.get("uid") for event in said]
    assert given[: len(before)] == before
    if course.ended == "WorkflowCancelledError":  # decided a moment after it was asked for
        assert given == ever[: len(given)]
    else:
        assert given == before


def check_trace(course: Course) -> None:
    """Per step, executions begin in the order of their deliveries."""
    numbers: dict[str, list[int]] = {}
    for event in course.read:
        if isinstance(event, StepStateChanged) and event.step_state is StepState.RUNNING:
            numbers.setdefault(event.name, []).append(int(event.worker_id))
    for begun in numbers.values():
        assert begun == sorted(set(begun))


def check_invariants(course: Course, expected: Expected) -> None:
    """What holds however the run ended."""
    world = course.world
    assert world.faults == []
    started = [(note.toy, note.value) for note in world.noted("start")]
    assert len(started) == len(set(started)), "no delivery is handled twice"
    assert sorted(started) == sorted((note.toy, note.value) for note in world.noted("end")), (
        "every clean-up ran"
    )
    handled = Counter((toy, *world.events[uid]) for toy, uid in started)
    assert handled <= expected.handled
    counted = [note.value for note in world.noted("counted")]
    assert counted == list(range(1, len(counted) + 1)), "no increment is lost"
    assert course.handler.state.get("n", 0) == len(counted)
    check_order(world)
    check_collections(world)


def check_order(world: World) -> None:
    """Per step, what has begun is the beginning of what was sent; and nothing begins after the decision."""
    before, after = world.notes[: world.decision()], world.notes[world.decision() :]
    sent = [note.value for note in world.noted("sent", before) if note.value not in world.from_threads]
    for index, toy in enumerate(world.program.toys):
        mine = [uid for uid in sent if world.events[uid][0] in toy.accepts]
        begun = [note.value for note in world.noted("start", before) if note.toy == index]
        begun = [uid for uid in begun if uid not in world.from_threads]
        if toy.is_async or toy.num_workers == 1:  # threads note it themselves, side by side
            assert begun == mine[: len(begun)]
        if toy.is_async and not world.noted("cancel"):
            assert [note for note in world.noted("start", after) if note.toy == index] == []


def check_collections(world: World) -> None:
    """Nothing is given twice, everything in its order, the oldest first."""
    before = world.notes[: world.decision()]
    for index, toy in enumerate(world.program.toys):
        collected = [note.value for note in world.noted("collect", before) if note.toy == index]
        batches = [note.value for note in world.noted("batch", before) if note.toy == index]
        for batch in batches:
            assert tuple(world.events[uid][0] for uid in batch) == toy.collects
        given = [uid for batch in batches for uid in batch]
        assert len(given) == len(set(given))
        for kind in toy.accepts if toy.is_async else ():
            of_kind = [uid for uid in given if world.events[uid][0] == kind]
            assert of_kind == [uid for uid in collected if world.events[uid][0] == kind][: len(of_kind)]


def check_all_was_done(course: Course, expected: Expected) -> None:
    """A run that nothing has ended has done all there was to do, no more, and names what is left."""
    world = course.world
    started = world.noted("start")
    assert Counter((note.toy, *world.events[note.value]) for note in started) == expected.handled
    assert Counter(note.toy for note in world.noted("batch")) == expected.batches
    assert len(world.noted("counted")) == expected.increments
    report = course.value.report
    assert (report.pending, report.waits, report.unconsumed) == ((), (), ())
    left = {index: kinds for index, kinds in expected.left.items() if kinds.total()}
    assert len(report.collections) == len(left)
    for line, index in zip(report.collections, sorted(left), strict=True):
        assert line.startswith(f"step 's{index}' has ")
        for kind, wanted in Counter(world.program.toys[index].collects).items():
            assert f"{left[index][kind]} of {wanted} {KINDS[kind].__qualname__}" in line


def check_ending(course: Course, expected: Expected) -> None:
    """The first decision wins; without one the run has stalled, exactly when the interpreter says so."""
    world = course.world
    if world.decision() == len(world.notes):
        assert isinstance(course.value, WorkflowStalledError)
        assert expected.increments < world.program.ends_at
        check_all_was_done(course, expected)
        return
    match world.notes[world.decision()]:
        case note if note.what == "stop":
            assert (course.ended, course.value) == ("completed", note.value)
        case note if note.what == "raise":
            assert course.ended == "Boom"
            assert course.value.args == (note.value,)
        case _:
            assert course.ended == "WorkflowCancelledError"


async def check(course: Course, expected: Expected) -> None:
    """Look at everything, once the run has ended."""
    await see_how_it_ended(course)
    classify(course.ended)
    check_invariants(course, expected)
    check_ending(course, expected)
    check_trace(course)
    await check_stream(course)


@on_every_backend
@settings(max_examples=200)
@given(program=programs(), ways=st.lists(styles, min_size=1, max_size=2), seed=st.integers(0, 9))
def test_s_run_3_random_workflows_do_what_a_sequential_interpreter_says(
    backend: str, program: Program, ways: list[str], seed: int
) -> None:
    """Whatever the steps are and however they interleave: also with two runs of one workflow side by side."""
    expected = interpret(program)
    workflow = make_workflow(program)
    courses = [start(workflow, program) for _ in ways]

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for course, style in zip(courses, ways, strict=True):
                tasks.start_soon(go_through, course, style)
        for course in courses:
            await check(course, expected)

    run_on(backend, seed, main)


@on_every_backend
@settings(max_examples=200)
@given(program=programs(), style=styles, checkpoints=st.integers(0, 40), seed=st.integers(0, 9))
def test_s_run_1_a_run_that_is_cancelled_at_any_point_leaves_nothing(
    backend: str, program: Program, style: str, checkpoints: int, seed: int
) -> None:
    """Every clean-up runs, and the outcome is the cancellation unless something was decided before it."""
    expected = interpret(program)
    course = start(make_workflow(program), program)

    async def cancel_later(scope: anyio.CancelScope) -> None:
        for _ in range(checkpoints):
            await checkpoint()
        if not repr(course.handler).endswith(": failed>"):  # else it has stalled, which no step can note
            course.world.note("cancel", -1)
        scope.cancel()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:
                tasks.start_soon(cancel_later, scope)
                await go_through(course, style)
            tasks.cancel_scope.cancel()
        await check(course, expected)

    run_on(backend, seed, main)


def start(workflow: Workflow, program: Program) -> Course:
    """Return a run of *workflow* that has not started."""
    world = World(program)
    return Course(world, workflow.run(start_event=world.start_event()))
