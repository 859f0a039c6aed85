"""A run whose child waits for a human is put away with it, and brought back by the answer (S-WAIT-4, S-CKPT-7)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from nesting import Answer, Asking, AskingInSteps, Question, all_of, asked, running

from anyio_workflows import (
    Context,
    Event,
    HumanResponseEvent,
    RunGroup,
    StartEvent,
    StopEvent,
    UnhandledEvent,
    Workflow,
    WorkflowCheckpointer,
    WorkflowHandler,
    step,
)
from anyio_workflows.abc import CheckpointStore
from anyio_workflows.stores import MemoryCheckpointStore, SqliteCheckpointStore


def in_memory(_folder: Path) -> CheckpointStore:
    return MemoryCheckpointStore()


def in_a_file(folder: Path) -> CheckpointStore:
    return SqliteCheckpointStore(folder / "runs.db")


every_store = pytest.mark.parametrize("make_store", [in_memory, in_a_file])
kinds = pytest.mark.parametrize("kind", [Asking, AskingInSteps])
depths = pytest.mark.parametrize("depth", [1, 2])


async def put_away(runs: RunGroup) -> None:
    while len(runs):
        await anyio.lowlevel.checkpoint()


def parent_of(child: Workflow, depth: int) -> Workflow:
    """Return a workflow that knows neither the question nor the answer, and runs *child* so far below."""
    for _ in range(depth):
        child = running(child)
    return child


@every_store
@kinds
@depths
async def test_s_wait_4_a_parent_is_put_away_and_brought_back_by_the_answer_to_its_child(
    make_store: Callable[[Path], CheckpointStore], kind: Any, depth: int, tmp_path: Path
) -> None:
    """The answer comes before the execution that runs the child has begun again: it is not lost."""
    workflow = parent_of(kind(), depth)
    with anyio.fail_after(10):
        async with make_store(tmp_path) as store:
            async with RunGroup(store=store, workflows=[workflow], put_away_after=0) as runs:
                runs.start(workflow, run_id="one")
                await put_away(runs)
                handler = await runs.send_event("one", Answer(text="yes"))
                assert (await handler).endswith(": yes")
            assert (await store.run("one")).status == "completed"


@kinds
@depths
async def test_s_wait_4_a_parent_that_was_put_away_is_brought_back_in_the_next_process(
    kind: Any, depth: int
) -> None:
    store = MemoryCheckpointStore()
    with anyio.fail_after(10):
        workflow = parent_of(kind(), depth)
        async with RunGroup(store=store, workflows=[workflow], put_away_after=0) as runs:
            runs.start(workflow, run_id="one")
            await put_away(runs)
        workflow = parent_of(kind(), depth)
        async with RunGroup(store=store, workflows=[workflow], put_away_after=0) as runs:
            handler = await runs.bring_back("one")
            assert len(await asked(handler, 1)) == 1
            await put_away(runs)
            handler = await runs.send_event("one", Answer(text="yes"))
            assert (await handler).endswith(": yes")


class Hesitating(Workflow):
    """Waits for its turn before it runs its child, which has asked in an earlier process."""

    def __init__(self, child: Workflow) -> None:
        super().__init__()
        self.child = child
        self.gate: anyio.Event | None = None

    @step
    async def call(self, ctx: Context, ev: StartEvent) -> StopEvent:
        if self.gate is not None:
            await self.gate.wait()
        return StopEvent(result=await ctx.run_child(self.child))


@kinds
async def test_s_wait_4_answers_wait_for_a_child_that_is_not_there_again(kind: Any) -> None:
    workflow, store = Hesitating(kind()), MemoryCheckpointStore()
    checkpointer = WorkflowCheckpointer(workflow=workflow, store=store)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            handler = checkpointer.run(run_id="one")
            await tasks.start(handler.serve)
            await asked(handler, 1)
            tasks.cancel_scope.cancel()
        workflow.gate = anyio.Event()
        async with await checkpointer.resume("one") as handler:
            handler.send_event(Answer(text="yes"))
            await anyio.lowlevel.checkpoint()
            workflow.gate.set()
            assert (await handler).endswith(": yes")


async def test_s_send_5_what_was_held_for_a_child_that_does_not_know_it_is_told_to_be_unhandled() -> None:
    """It can be written down by nobody, and is no failure of the step whose child began."""
    workflow = Hesitating(Asking())
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    with anyio.fail_after(5):
        checkpoint = await cut_while_asked(checkpointer.run())
        async with checkpointer.run_from(checkpoint) as handler:
            handler.send_event(Stray())
            await asked(handler, 1)
            handler.send_event(Answer(text="yes"))
            assert await handler == "child: yes"
            events = [each async for each in handler.stream_events(expose_internal=True)]
    assert [each.event_type for each in events if isinstance(each, UnhandledEvent)] == ["Stray"]


async def test_s_wait_4_a_run_that_holds_an_answer_for_a_child_is_not_put_away() -> None:
    """It is in no store yet."""

    class AsksFirst(Workflow):
        asks = False

        @step
        async def call(self, ctx: Context, ev: StartEvent) -> StopEvent:
            if AsksFirst.asks:
                await ctx.wait_for_event(HumanResponseEvent)
            return StopEvent(result=await ctx.run_child(Asking()))

    workflow, store = AsksFirst(), MemoryCheckpointStore()
    with anyio.fail_after(5):
        async with RunGroup(store=store, workflows=[workflow], put_away_after=0) as runs:
            runs.start(workflow, run_id="one")
            await put_away(runs)
            AsksFirst.asks = True
            handler = await runs.send_event("one", Answer(text="yes"))
            for _ in range(30):
                await anyio.lowlevel.checkpoint()
            assert not handler.is_done()
            handler.send_event(HumanResponseEvent())
            assert await handler == "child: yes"


class Stray(Event):
    pass


async def cut_while_asked(handler: WorkflowHandler, count: int = 1) -> Any:
    async with handler:
        await asked(handler, count)
        await anyio.lowlevel.checkpoint()
        checkpoint = handler.checkpoint()
        await handler.cancel_run()
    return checkpoint


@kinds
@depths
async def test_s_wait_4_the_open_question_of_a_child_is_on_the_resumed_stream_once(
    kind: Any, depth: int
) -> None:
    checkpointer = WorkflowCheckpointer(workflow=parent_of(kind(), depth))
    with anyio.fail_after(5):
        checkpoint = await cut_while_asked(checkpointer.run())
        for _ in range(2):  # a checkpoint may be used any number of times
            async with checkpointer.run_from(checkpoint) as handler:
                assert await asked(handler, 1) == ["child"]
                handler.send_event(Answer(text="yes"))
                events: list[Event] = await all_of(handler)
            assert [each for each in events if isinstance(each, Question)] == [Question(who="child")]
            assert isinstance(events[0], Question)


async def test_s_wait_4_a_child_that_was_answered_before_the_cut_has_its_answer() -> None:
    """Its step runs again from the top, and asks nobody."""

    class Twice(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            answers = [
                await ctx.wait_for_event(Answer, waiter_event=Question(who=who)) for who in ("one", "two")
            ]
            return StopEvent(result=[each.text for each in answers])

    workflow = parent_of(Twice(extra_events=[Question, Answer]), 2)
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            await asked(handler, 1)
            handler.send_event(Answer(text="1"))
            await asked(handler, 2)
            checkpoint = handler.checkpoint()
            await handler.cancel_run()
        async with checkpointer.run_from(checkpoint) as handler:
            assert await asked(handler, 1) == ["two"]
            handler.send_event(Answer(text="2"))
            assert await handler == ["1", "2"]


async def test_s_wait_2_requirements_hold_for_children_that_were_brought_back() -> None:
    """Two of them; the answer that comes first is for the one that is there again last."""

    class Both(Workflow):
        @step
        async def call(self, ctx: Context, ev: StartEvent) -> StopEvent:
            results = {}

            async def one(who: str) -> None:
                results[who] = await ctx.run_child(Asking(needs_name=True), who=who)

            async with anyio.create_task_group() as tasks:
                for who in ("a", "b"):
                    tasks.start_soon(one, who)
            return StopEvent(result=results)

    checkpointer = WorkflowCheckpointer(workflow=Both())
    with anyio.fail_after(5):
        checkpoint = await cut_while_asked(checkpointer.run(), 2)
        async with checkpointer.run_from(checkpoint) as handler:
            handler.send_event(Answer(who="b", text="B"))
            handler.send_event(Answer(who="a", text="A"))
            assert await handler == {"a": "a: A", "b": "b: B"}
