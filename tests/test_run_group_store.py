"""A RunGroup with a store: runs that go on in the next process, and runs that are put away (S-CKPT-7, S-WAIT-4)."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest

from anyio_workflows import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    RunGroup,
    RunNotFoundError,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledError,
    WorkflowHandler,
    WorkflowRuntimeError,
    step,
)
from anyio_workflows.abc import CheckpointStore
from anyio_workflows.stores import MemoryCheckpointStore, SqliteCheckpointStore


class Item(Event):
    number: int


class Counted(Event):
    number: int


class Question(InputRequiredEvent):
    text: str


class Answer(HumanResponseEvent):
    text: str


class Pipeline(Workflow):
    """Counts what goes through it; at item 3 it waits for ever, unless it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.is_held = True
        self.held = anyio.Event()
        self.worked: list[int] = []

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Item | None:
        for number in range(6):
            ctx.send_event(Item(number=number))
        return None

    @step(num_workers=1)
    async def work(self, ctx: Context, ev: Item) -> Counted:
        async with ctx.store.edit_state() as state:
            state["count"] = state.get("count", 0) + 1
        if self.is_held and ev.number == 3:
            self.held.set()
            await anyio.sleep_forever()
        self.worked.append(ev.number)
        return Counted(number=ev.number)

    @step(num_workers=1)
    async def collect(self, ctx: Context, ev: Counted) -> StopEvent | None:
        batch = ctx.collect_events(ev, {Counted: 6})
        if batch is None:
            return None
        return StopEvent(result=(tuple(each.number for each in batch), await ctx.store.get("count")))


class Asking(Workflow):
    """Asks two questions, one after the other, in the middle of a step."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts = 0

    @step(waits_for=Answer)
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        self.attempts += 1
        first = await ctx.wait_for_event(Answer, waiter_event=Question(text="first?"))
        second = await ctx.wait_for_event(Answer, waiter_event=Question(text="second?"))
        return StopEvent(result=(ev.get("name"), first.text, second.text))

    @step
    async def other(self, ev: Item) -> Question | None:
        """Declares the question."""
        return None


class AskingGraph(Asking):
    def __init__(self) -> None:
        Workflow.__init__(self, skip_graph_checks={"reachability"}, extra_events=[Question])
        self.attempts = 0


async def settled(runs: RunGroup, count: int) -> None:
    """Wait until *count* runs of the group are live."""
    while len(runs) != count:
        await anyio.lowlevel.checkpoint()


async def test_s_ckpt_7_a_group_takes_up_the_runs_that_its_predecessor_was_cut_short_in() -> None:
    """The result is the one that there would have been, and nothing that was committed is worked on again."""
    store = MemoryCheckpointStore()
    workflow = Pipeline()
    with anyio.fail_after(10):
        async with RunGroup(store=store, workflows=[workflow], grace=0) as runs:
            runs.start(workflow, run_id="one")
            await workflow.held.wait()
        assert (await store.run("one")).status == "cancelled"
        assert workflow.worked == [0, 1, 2]
        workflow.is_held = False
        async with RunGroup(store=store, workflows=[workflow]) as runs:
            assert await runs["one"] == ((0, 1, 2, 3, 4, 5), 6)
        assert workflow.worked == [0, 1, 2, 3, 4, 5]
        assert (await store.run("one")).status == "completed"
        async with RunGroup(store=store, workflows=[workflow]) as runs:
            assert len(runs) == 0


async def test_s_ckpt_7_runs_of_workflows_that_a_group_is_not_given_stay_in_the_store() -> None:
    store = MemoryCheckpointStore()
    workflow = Pipeline()
    with anyio.fail_after(10):
        async with RunGroup(store=store, workflows=[workflow], grace=0) as runs:
            runs.start(workflow, run_id="one")
            await workflow.held.wait()
        async with RunGroup(store=store, workflows=[AskingGraph()]) as runs:
            assert len(runs) == 0
        assert (await store.run("one")).status == "cancelled"


def in_memory(_folder: Path) -> CheckpointStore:
    return MemoryCheckpointStore()


def in_a_file(folder: Path) -> CheckpointStore:
    return SqliteCheckpointStore(folder / "runs.db")


@pytest.mark.parametrize("make_store", [in_memory, in_a_file])
async def test_s_wait_4_a_run_that_was_put_away_is_brought_back_by_its_answer(
    make_store: Callable[[Path], CheckpointStore], tmp_path: Path
) -> None:
    """It asks no question twice: an answer that was given is given again at once."""
    workflow = AskingGraph()
    with anyio.fail_after(10):
        async with make_store(tmp_path) as store:
            async with RunGroup(store=store, workflows=[workflow], put_away_after=0) as runs:
                first = runs.start(workflow, run_id="one", name="ann")
                await settled(runs, 0)
                assert (await store.run("one")).status == "put_away"
                assert "one" in runs
                with pytest.raises(WorkflowCancelledError, match="put away"):
                    await first
                with pytest.raises(WorkflowRuntimeError, match="bring_back"):
                    runs["one"]
                second = await runs.send_event("one", Answer(text="a"))
                assert [event async for event in _until(second, "second?")] == ["first?", "second?"]
                await settled(runs, 0)
                third = await runs.send_event("one", Answer(text="b"))
                assert await third == ("ann", "a", "b")
                assert workflow.attempts == 3
            assert (await store.run("one")).status == "completed"


async def _until(handler: WorkflowHandler, text: str) -> AsyncIterator[str]:
    async for event in handler.stream_events():
        if isinstance(event, Question):
            yield event.text
            if event.text == text:
                return


async def test_s_wait_4_runs_that_were_put_away_are_there_in_the_next_group_without_being_loaded() -> None:
    store = MemoryCheckpointStore()
    workflow = AskingGraph()
    with anyio.fail_after(10):
        async with RunGroup(store=store, workflows=[workflow], put_away_after=0) as runs:
            for number in range(20):
                runs.start(workflow, run_id=str(number), name=number)
            await settled(runs, 0)
        async with RunGroup(store=store, workflows=[workflow], put_away_after=0) as runs:
            assert len(runs) == 0
            assert all(str(number) in runs for number in range(20))
            await runs.send_event("7", Answer(text="a"))
            await settled(runs, 0)
            assert await (await runs.send_event("7", Answer(text="b"))) == (7, "a", "b")


async def test_s_wait_4_a_run_with_something_else_to_do_is_not_put_away() -> None:
    store = MemoryCheckpointStore()
    workflow = Pipeline()
    with anyio.fail_after(10):
        async with RunGroup(store=store, workflows=[workflow], put_away_after=0, grace=0) as runs:
            runs.start(workflow, run_id="one")
            await workflow.held.wait()
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            assert len(runs) == 1


async def test_s_ckpt_7_a_group_says_what_it_does_not_know_and_what_it_cannot_do() -> None:
    with pytest.raises(WorkflowRuntimeError, match="put_away_after"):
        RunGroup(put_away_after=0)
    async with RunGroup(store=MemoryCheckpointStore()) as runs:
        with pytest.raises(RunNotFoundError):
            await runs.bring_back("nobody")
