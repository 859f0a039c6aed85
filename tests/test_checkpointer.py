"""The checkpointer without a store, promise by promise."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import attrs
import pytest
from running import Held, events_of
from virtual_time import both_backends, run_virtually

from anyio_workflows import (
    Checkpoint,
    CheckpointError,
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowCheckpointer,
    WorkflowRuntimeError,
    WorkflowStalledError,
    WorkflowStepDoesNotExistError,
    WorkflowValidationError,
    step,
)
from anyio_workflows.stores import MemoryCheckpointStore


class ProcessEvent(Event):
    data: str


class ResultEvent(Event):
    result: str


class HoldsObject(Event):
    thing: type


class ParallelWorkflow(Workflow):
    """The program of the seed; what takes its time there waits here until the one before it was collected."""

    def __init__(self, order: str = "CAB", workers: int = 3, **options: Any) -> None:
        super().__init__(**options)
        self.turns: dict[str, anyio.Event] = {}
        self.take_turns(order)
        self.worked: list[str] = []

    def take_turns(self, order: str) -> None:
        """Let the items be processed in this order."""
        self.order = order
        self.turns = {item: anyio.Event() for item in order}
        self.turns[order[0]].set()

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> ProcessEvent | None:
        await ctx.store.set("num_to_collect", 3)
        for item in "ABC":
            ctx.send_event(ProcessEvent(data=item))
        return None

    @step(num_workers=3)
    async def process_data(self, ev: ProcessEvent) -> ResultEvent:
        await self.turns[ev.data].wait()
        self.worked.append(ev.data)
        return ResultEvent(result=f"Processed: {ev.data}")

    @step
    async def combine_results(self, ctx: Context, ev: ResultEvent) -> StopEvent | None:
        results = ctx.collect_events(ev, [ResultEvent] * await ctx.store.get("num_to_collect"))
        for item in self.order.partition(ev.result[-1])[2][:1]:
            self.turns[item].set()
        return None if results is None else StopEvent(result=", ".join(each.result for each in results))


def steps_of(checkpointer: WorkflowCheckpointer, handler: Any) -> list[str | None]:
    return [checkpoint.last_completed_step for checkpoint in checkpointer.checkpoints[handler.run_id]]


async def first_run(order: str = "CAB") -> tuple[ParallelWorkflow, WorkflowCheckpointer, list[Checkpoint]]:
    """Run the seed's program once; return its four checkpoints as well."""
    workflow = ParallelWorkflow(order)
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    handler = checkpointer.run()
    with anyio.fail_after(5):
        await handler
    return workflow, checkpointer, checkpointer.checkpoints[handler.run_id]


# --- S-CKPT-3: the seed


async def test_s_ckpt_3_the_seeds_four_histories_come_out_with_their_results() -> None:
    """What was done stays done, in its order; what was pending is done; a step that gives None leaves no entry."""
    workflow = ParallelWorkflow("CAB")
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    with anyio.fail_after(5):
        handler = checkpointer.run()
        assert await handler == "Processed: C, Processed: A, Processed: B"
        assert workflow.worked == ["C", "A", "B"]
        checkpoints = checkpointer.checkpoints[handler.run_id]
        histories = [steps_of(checkpointer, handler)]
        for index, order, result in [
            (0, "CBA", "Processed: C, Processed: B, Processed: A"),
            (1, "AB", "Processed: C, Processed: A, Processed: B"),
            (2, "B", "Processed: C, Processed: A, Processed: B"),
        ]:
            workflow.take_turns(order)
            workflow.worked.clear()
            handler = checkpointer.run_from(checkpoint=checkpoints[index])
            assert await handler == result
            assert workflow.worked == list(order[1:])
            histories.append(steps_of(checkpointer, handler))
    assert histories == [
        ["process_data", "process_data", "process_data", "combine_results"],
        ["process_data", "process_data", "combine_results"],
        ["process_data", "combine_results"],
        ["combine_results"],
    ]
    assert len(checkpointer.checkpoints) == 4


# --- S-CKPT-1: what a checkpoint is


async def test_s_ckpt_1_a_checkpoint_is_a_complete_consistent_cut() -> None:
    """Its output is pending, its input is not; collections, state, names and time are there."""
    before = datetime.now(UTC)
    _, checkpointer, checkpoints = await first_run()
    first, second, third, last = checkpoints
    assert first.last_completed_step == "process_data"
    assert first.input_event == ProcessEvent(data="C")
    assert first.output_event == ResultEvent(result="Processed: C")
    assert [(pending.step, pending.event) for pending in first.pending] == [
        ("process_data", ProcessEvent(data="A")),
        ("process_data", ProcessEvent(data="B")),
        ("combine_results", ResultEvent(result="Processed: C")),
    ]
    assert first.collections == ()
    assert [each.events for each in third.collections] == [
        (ResultEvent(result="Processed: C"), ResultEvent(result="Processed: A"))
    ]
    assert [each.step for each in third.pending] == ["combine_results"]
    assert (last.pending, last.collections) == ((), ())
    assert last.output_event == StopEvent(result="Processed: C, Processed: A, Processed: B")
    assert all(dict(each.state) == {"num_to_collect": 3} for each in checkpoints)
    assert [each.sequence for each in checkpoints] == sorted({each.sequence for each in checkpoints})
    assert len({each.id_ for each in checkpoints}) == 4
    assert {(each.workflow, each.fingerprint) for each in checkpoints} == {
        ("ParallelWorkflow", checkpointer.fingerprint)
    }
    assert all(before <= each.created_at <= datetime.now(UTC) for each in checkpoints)
    assert first.created_at.utcoffset() == timedelta(0)
    assert second.parent is None


async def test_s_ckpt_1_a_checkpoint_knows_the_cut_before_it() -> None:
    """Each commit is a cut, also one that gives no event; the first cut is the start."""
    _, checkpointer, checkpoints = await first_run()
    read = checkpointer.loads(checkpointer.dumps(checkpoints[1]))
    assert read.previous == checkpoints[1].previous != checkpoints[0].id_
    async with MemoryCheckpointStore() as store:
        kept = WorkflowCheckpointer(workflow=ParallelWorkflow(), store=store)
        with anyio.fail_after(5):
            await kept.run(run_id="kept")
        cuts = await kept.history("kept", cuts=True)
    assert [each.previous for each in cuts] == [None, *(each.id_ for each in cuts[:-1])]


async def test_s_ckpt_1_the_cut_at_the_start_and_the_others_are_no_entries() -> None:
    """A store gets them; whoever looks at the checkpoints sees executions."""
    workflow = Held(extra_events=[HumanResponseEvent])
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            handler.send_event(HumanResponseEvent())
            await workflow.begun.wait()
            cut = handler.checkpoint()
            assert checkpointer.checkpoints == {handler.run_id: []}
            workflow.gate.set()
    assert (cut.last_completed_step, cut.input_event, cut.output_event) == (None, None, None)
    assert [each.last_completed_step for each in checkpointer.checkpoints[handler.run_id]] == ["hold"]


async def test_s_ckpt_2_a_checkpoint_is_frozen_and_each_look_at_its_state_gives_a_copy() -> None:
    _, _, checkpoints = await first_run()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        checkpoints[0].sequence = 7  # type: ignore[misc]
    state = checkpoints[0].state
    state["num_to_collect"] = 1
    assert checkpoints[0].state["num_to_collect"] == 3


# --- S-CKPT-2: written down


async def test_s_ckpt_2_a_checkpoint_is_json_and_comes_back_as_it_was() -> None:
    """What was loaded is as good as what was cut, and is written in the same way."""
    workflow, checkpointer, checkpoints = await first_run()
    for checkpoint in checkpoints:
        written = checkpointer.dumps(checkpoint)
        document = json.loads(written)
        assert (document["format"], document["step"]) == (1, checkpoint.last_completed_step)
        loaded = checkpointer.loads(written)
        assert loaded == checkpoint
        assert (loaded.pending, loaded.collections) == (checkpoint.pending, checkpoint.collections)
        assert checkpointer.dumps(loaded) == written
        assert checkpointer.loads(written.decode()) == loaded
    workflow.take_turns("CBA")
    with anyio.fail_after(5):
        loaded = checkpointer.loads(checkpointer.dumps(checkpoints[0]))
        assert await checkpointer.run_from(loaded) == "Processed: C, Processed: B, Processed: A"


async def test_s_ckpt_2_another_process_reads_what_this_one_has_written() -> None:
    """Another checkpointer of the same workflow knows nothing of the runs of the first."""
    _, checkpointer, checkpoints = await first_run()
    other = WorkflowCheckpointer(workflow=ParallelWorkflow("CAB"))
    with anyio.fail_after(5):
        handler = other.run_from(other.loads(checkpointer.dumps(checkpoints[0])))
        assert await handler == "Processed: C, Processed: A, Processed: B"
    assert list(other.checkpoints) == [handler.run_id]


# --- S-CKPT-3: filters, enabling, live cuts


async def test_s_ckpt_3_filters_agree_with_everything_that_is_given() -> None:
    workflow, checkpointer, checkpoints = await first_run()
    workflow.take_turns("AB")
    later = checkpointer.run_from(checkpoints[1])
    with anyio.fail_after(5):
        await later
    find = checkpointer.filter_checkpoints
    assert find(run_id=checkpoints[0].run_id) == checkpoints
    assert find(last_completed_step="combine_results") == [
        checkpoints[3],
        checkpointer.checkpoints[later.run_id][-1],
    ]
    assert find(run_id=later.run_id, input_event_type=ProcessEvent) == [
        checkpointer.checkpoints[later.run_id][0]
    ]
    assert find(run_id=checkpoints[0].run_id, output_event_type=StopEvent) == [checkpoints[3]]
    assert find(last_completed_step="process_data", output_event_type=StopEvent) == []
    with pytest.raises(WorkflowRuntimeError, match="something to look for"):
        find()
    with pytest.raises(WorkflowRuntimeError, match="no run 'x'"):
        find(run_id="x")


async def test_s_ckpt_3_checkpoints_are_enabled_and_disabled_per_step_also_in_mid_run() -> None:
    """It is about entries: what is left out is not lost, and what is on is as complete as ever."""

    class Chain(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> ProcessEvent:
            checkpointer.disable_checkpoint("middle")
            return ProcessEvent(data="x")

        @step
        async def middle(self, ev: ProcessEvent) -> ResultEvent:
            checkpointer.enable_checkpoint("end")
            return ResultEvent(result=ev.data)

        @step
        async def end(self, ev: ResultEvent) -> StopEvent:
            return StopEvent(result=ev.result)

    checkpointer = WorkflowCheckpointer(workflow=Chain())
    assert checkpointer.enabled_checkpoints == {"begin", "middle", "end"}
    checkpointer.disable_checkpoint("end")
    checkpointer.disable_checkpoint("end")
    assert checkpointer.enabled_checkpoints == {"begin", "middle"}
    handler = checkpointer.run()
    with anyio.fail_after(5):
        await handler
    assert steps_of(checkpointer, handler) == ["begin", "end"]
    assert checkpointer.enabled_checkpoints == {"begin", "end"}
    checkpointer.enable_checkpoint("middle")
    with anyio.fail_after(5):
        later = checkpointer.run_from(checkpointer.checkpoints[handler.run_id][0])
        assert await later == "x"
    assert steps_of(checkpointer, later) == ["middle", "end"]
    for change in (checkpointer.enable_checkpoint, checkpointer.disable_checkpoint):
        with pytest.raises(WorkflowStepDoesNotExistError, match="nowhere"):
            change("nowhere")


async def test_s_ckpt_3_a_live_run_is_cut_at_any_moment_if_it_is_recorded() -> None:
    """Before its first step too; a run that nobody records says how to record it."""
    workflow = Held()
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    handler = checkpointer.run(value="x")
    with pytest.raises(WorkflowRuntimeError, match="was not started"):
        handler.checkpoint()
    with anyio.fail_after(5):
        async with handler:
            first = handler.checkpoint()
            await workflow.begun.wait()
            second = handler.checkpoint()
            workflow.gate.set()
        for cut in (first, second):
            assert [pending.event for pending in cut.pending] == [StartEvent(value="x")]
            assert await checkpointer.run_from(cut) == "x"
        async with workflow.run() as plain:
            with pytest.raises(WorkflowRuntimeError, match=r"run\(\.\.\., checkpoints=True\)"):
                plain.checkpoint()


async def test_s_ckpt_3_a_run_that_is_recorded_without_a_checkpointer_is_cut_as_well() -> None:
    """And a checkpointer, made later, goes on from there."""
    workflow = Held()
    with anyio.fail_after(5):
        async with workflow.run(checkpoints=True, value="x") as handler:
            await workflow.begun.wait()
            cut = handler.checkpoint()
            workflow.gate.set()
        assert await handler == "x"
        assert handler.checkpoint().pending == ()
        checkpointer = WorkflowCheckpointer(workflow=workflow)
        again = checkpointer.run_from(checkpointer.loads(checkpointer.dumps(cut)))
        assert await again == "x"
    assert again.checkpoint().parent == cut.id_


async def test_s_ckpt_3_what_cannot_be_written_down_is_reported_when_a_run_is_to_be_recorded() -> None:
    """A run that is not has no such demand."""

    class Opaque(Workflow):
        @step
        async def give(self, ev: StartEvent) -> HoldsObject:
            return HoldsObject(thing=int)

        @step
        async def end(self, ev: HoldsObject) -> StopEvent:
            return StopEvent(result="done")

    workflow = Opaque()
    with pytest.raises(WorkflowValidationError, match="HoldsObject"):
        workflow.run(checkpoints=True)
    with anyio.fail_after(5):
        assert await workflow.run() == "done"


async def test_s_ckpt_3_the_cut_of_a_run_that_has_ended_is_the_moment_in_which_it_was_decided() -> None:
    """What its clean-ups do afterwards is nothing to go on from; what was in work is pending."""

    class Failing(Workflow):
        fails = True
        both: anyio.Event

        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> ProcessEvent | ResultEvent:
            ctx.send_event(ProcessEvent(data="x"))
            return ResultEvent(result="x")

        @step
        async def fail(self, ev: ProcessEvent) -> StopEvent:
            await self.both.wait()
            if self.fails:
                raise ZeroDivisionError
            return StopEvent(result="mended")

        @step
        async def clean_up(self, ctx: Context, ev: ResultEvent) -> None:
            self.both.set()
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await ctx.store.set("late", 1)
                    ctx.collect_events(ev, [ResultEvent] * 2)

    workflow = Failing()
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    workflow.both = anyio.Event()
    with anyio.fail_after(5):
        handler = checkpointer.run()
        with pytest.raises(ZeroDivisionError):
            await handler
        cut = handler.checkpoint()
        assert {pending.step for pending in cut.pending} == {"fail", "clean_up"}
        assert dict(cut.state) == {}
        workflow.fails = False
        assert await checkpointer.run_from(cut) == "mended"


async def test_s_ckpt_3_a_cancelled_run_can_be_gone_on_from() -> None:
    """The execution in work, and its wait, are pending in the last cut."""

    class Asking(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            answer = await ctx.wait_for_event(HumanResponseEvent, waiter_event=InputRequiredEvent(prefix="?"))
            return StopEvent(result=answer.response)

    checkpointer = WorkflowCheckpointer(workflow=Asking())
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            async for _ in handler.stream_events():
                await handler.cancel_run()
                break
        with pytest.raises(WorkflowCancelledByUser):
            await handler
        async with checkpointer.run_from(handler.checkpoint()) as again:
            async for event in again.stream_events():
                if isinstance(event, InputRequiredEvent):
                    again.send_event(HumanResponseEvent(response=event.prefix))
        assert await again == "?"


# --- S-CKPT-4: going on


async def test_s_ckpt_4_going_on_is_a_new_run_with_its_parent_recorded() -> None:
    """It keeps the count of nothing but its own cuts."""
    workflow, checkpointer, checkpoints = await first_run()
    workflow.take_turns("AB")
    with anyio.fail_after(5):
        handler = checkpointer.run_from(checkpoints[1], run_id="mine")
        await handler
    assert handler.run_id == "mine"
    assert {checkpoint.parent for checkpoint in checkpointer.checkpoints["mine"]} == {checkpoints[1].id_}
    assert all(checkpoint.run_id == "mine" for checkpoint in checkpointer.checkpoints["mine"])


async def test_s_ckpt_4_from_the_last_checkpoint_a_run_ends_at_once() -> None:
    """It has its result, its stream and its state, and executes nothing."""
    workflow, checkpointer, checkpoints = await first_run()
    workflow.worked.clear()
    with anyio.fail_after(5):
        async with checkpointer.run_from(checkpoints[-1]) as handler:
            said = await events_of(handler)
        assert await handler == "Processed: C, Processed: A, Processed: B"
        assert said == [StopEvent(result="Processed: C, Processed: A, Processed: B")]
        assert handler.state["num_to_collect"] == 3
    assert workflow.worked == []
    assert checkpointer.checkpoints[handler.run_id] == []


class Survey(Workflow):
    """Waits in two executions at once."""

    def __init__(self) -> None:
        super().__init__(extra_events=[HumanResponseEvent, InputRequiredEvent])

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> ProcessEvent | None:
        for item in "AB":
            ctx.send_event(ProcessEvent(data=item))
        return None

    @step
    async def ask(self, ctx: Context, ev: ProcessEvent) -> ResultEvent:
        answer = await ctx.wait_for_event(
            HumanResponseEvent,
            waiter_event=InputRequiredEvent(about=ev.data),
            requirements={"about": ev.data},
        )
        return ResultEvent(result=f"{ev.data}: {answer.response}")

    @step
    async def end(self, ctx: Context, ev: ResultEvent) -> StopEvent | None:
        got = ctx.collect_events(ev, [ResultEvent] * 2)
        return None if got is None else StopEvent(result=sorted(each.result for each in got))


async def test_s_ckpt_4_from_a_cut_with_nothing_but_waits_a_run_waits() -> None:
    """The questions are on its stream from the start, and either may be answered first."""
    checkpointer = WorkflowCheckpointer(workflow=Survey())
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            reader = handler.stream_events()
            assert [(await anext(reader)).get("about") for _ in range(2)] == ["A", "B"]
            cut = checkpointer.loads(checkpointer.dumps(handler.checkpoint()))
            await handler.cancel_run()
        assert [len(each["waits"]) for each in cut.document["pending"]] == [1, 1]
        async with checkpointer.run_from(cut) as handler:
            handler.send_event(HumanResponseEvent(about="B", response=2))
            handler.send_event(HumanResponseEvent(about="A", response=1))
            said = await events_of(handler)
        assert await handler == ["A: 1", "B: 2"]
    assert [event.get("about") for event in said[:-1]] == ["A", "B"]


async def test_s_ckpt_4_a_checkpoint_is_used_any_number_of_times_and_never_changed() -> None:
    """Also by runs that go on beside each other and change the state that executions in it have seen."""
    _, checkpointer, checkpoints = await first_run()
    written = [checkpointer.dumps(checkpoint) for checkpoint in checkpoints]
    results: list[tuple[str, str]] = []

    async def go_on(order: str) -> None:
        # Each with turns of its own: those of one run would have the other go on before it has collected.
        beside = WorkflowCheckpointer(workflow=ParallelWorkflow(order))
        results.append((order, await beside.run_from(checkpoints[0])))

    for orders in (("CBA", "CAB"), ("CAB", "CAB"), ("CBA", "CBA")):
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                for order in orders:
                    tasks.start_soon(go_on, order)
    assert len(results) == 6
    for order, result in results:
        assert result == ", ".join(f"Processed: {each}" for each in order)
    assert [checkpointer.dumps(checkpoint) for checkpoint in checkpoints] == written


async def test_s_ckpt_4_a_stalled_run_stalls_again_with_the_same_report() -> None:
    """What is left in collections is in the cut."""

    class Incomplete(ParallelWorkflow):
        @step
        async def combine_results(self, ctx: Context, ev: ResultEvent) -> StopEvent | None:
            ctx.collect_events(ev, [ResultEvent] * 4)
            return None

    workflow = Incomplete()
    for turn in workflow.turns.values():
        turn.set()
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    with anyio.fail_after(5):
        handler = checkpointer.run()
        with pytest.raises(WorkflowStalledError, match="3 of 4 ResultEvent"):
            await handler
        again = checkpointer.run_from(handler.checkpoint())
        with pytest.raises(WorkflowStalledError, match="3 ResultEvent"):
            await again
    assert again.checkpoint().collections == handler.checkpoint().collections


async def test_s_ckpt_4_the_options_of_a_run_that_goes_on_are_its_own() -> None:
    """It has its start event and its state already."""
    _, checkpointer, checkpoints = await first_run()
    with pytest.raises(WorkflowRuntimeError, match="state, topic"):
        checkpointer.run_from(checkpoints[0], state={}, topic="x")
    with pytest.raises(WorkflowRuntimeError, match="timeout=0"):
        checkpointer.run_from(checkpoints[0], timeout=0)


async def test_s_ckpt_7_a_run_that_is_resumed_takes_no_start_event_and_no_state() -> None:
    """It would be lost in silence."""
    async with MemoryCheckpointStore() as store:
        checkpointer = WorkflowCheckpointer(workflow=ParallelWorkflow(), store=store)
        with anyio.fail_after(5):
            await checkpointer.run(run_id="kept")
            with pytest.raises(WorkflowRuntimeError, match="state, topic"):
                await checkpointer.resume("kept", state={}, topic="x")


@both_backends
def test_s_ckpt_4_a_run_that_goes_on_has_a_timeout_of_its_own(backend: str) -> None:
    """Its time begins when it does."""

    class Slow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> ProcessEvent:
            await anyio.sleep(8)
            return ProcessEvent(data="x")

        @step
        async def end(self, ev: ProcessEvent) -> StopEvent:
            await anyio.sleep(8)
            return StopEvent(result="done")

    async def main() -> None:
        checkpointer = WorkflowCheckpointer(workflow=Slow())
        handler = checkpointer.run(timeout=10)
        with pytest.raises(TimeoutError):
            await handler
        assert await checkpointer.run_from(handler.checkpoint(), timeout=10) == "done"

    run_virtually(main, backend)


# --- what cannot be written


async def test_s_def_4_an_event_of_an_unknown_type_is_reported_where_it_is_sent() -> None:
    """With the step, the type, and what to do."""

    class Stray(Event):
        number: int = 0

    class Sends(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.send_event(Stray())
            return StopEvent()

    with anyio.fail_after(5):
        with pytest.raises(CheckpointError, match=r"Stray.*extra_events") as caught:
            await WorkflowCheckpointer(workflow=Sends()).run()
        assert any("step 'begin'" in note for note in caught.value.__notes__)
        await WorkflowCheckpointer(workflow=Sends(extra_events=[Stray])).run()


@pytest.mark.parametrize("where", ["start", "send", "return", "set", "edit", "collect", "prompt"])
async def test_s_ckpt_2_a_value_that_cannot_be_written_is_reported_where_it_enters_the_run(
    where: str,
) -> None:
    """At once, with the way to the field; not by the store in the night."""

    class Bad(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
            bad: dict[str, Any] = {"deep": [object()]}
            match where:
                case "send":
                    ctx.send_event(HumanResponseEvent(**bad))
                case "set":
                    await ctx.store.set("x", bad)
                case "edit":
                    async with ctx.store.edit_state() as state:
                        state["x"] = bad
                case "collect":
                    ctx.collect_events(HumanResponseEvent(**bad), [HumanResponseEvent] * 2)
                case "prompt":
                    ctx.write_event_to_stream(InputRequiredEvent(**bad))
            return StopEvent(result=bad)

    checkpointer = WorkflowCheckpointer(workflow=Bad())
    with anyio.fail_after(5), pytest.raises(CheckpointError, match=r"deep\[0\].*object") as caught:
        await (checkpointer.run(deep=[object()]) if where == "start" else checkpointer.run())
    assert "deep[0]" in caught.value.path


# --- documents from outside


async def test_s_ckpt_7_a_checkpoint_of_another_workflow_is_refused_with_the_difference() -> None:
    """One with other steps or events, under the same name."""

    class Other(ParallelWorkflow):
        @step
        async def more(self, ev: ResultEvent) -> None: ...

    Other.__qualname__ = "ParallelWorkflow"
    _, checkpointer, checkpoints = await first_run()
    other = WorkflowCheckpointer(workflow=Other())
    with pytest.raises(CheckpointError, match="more") as caught:
        other.run_from(other.loads(checkpointer.dumps(checkpoints[0])))
    assert caught.value.run_id == checkpoints[0].run_id
    assert other.checkpoints == {}


def set_at(document: Any, path: str, value: Any) -> None:
    """Put *value* at *path*, as ``snapshot.pending.0.step``."""
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in way:
        document = document[part]
    document[last] = value


async def cut_of_everything() -> tuple[WorkflowCheckpointer, dict[str, Any]]:
    """Return the document of a cut that has something of each kind."""

    class Everything(Survey):
        is_over: anyio.Event

        @step
        async def ask(self, ctx: Context, ev: ProcessEvent) -> ResultEvent:
            if ev.data == "B":
                ctx.collect_events(ev, [ProcessEvent] * 2)
                async with ctx.store.edit_state() as state:
                    state["n"] = 1
                ctx.send_event(ProcessEvent(data="C"))
                await ctx.wait_for_event(HumanResponseEvent, waiter_event=InputRequiredEvent(about="first"))
                await ctx.wait_for_event(
                    HumanResponseEvent,
                    InputRequiredEvent(about="B"),
                    requirements={"about": "B"},
                    timeout=1e6,
                )
            if ev.data == "C" and ctx.collect_events(ev, [ProcessEvent] * 2):
                return ResultEvent(result="C")
            await anyio.sleep_forever()
            raise AssertionError

        @step
        async def end(self, ctx: Context, ev: ResultEvent) -> StopEvent | None:
            ctx.collect_events(ev, [ResultEvent] * 2, buffer_id="left")
            self.is_over.set()
            return None

    workflow = Everything()
    workflow.is_over = anyio.Event()
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            reader = handler.stream_events()
            await anext(reader)
            handler.send_event(HumanResponseEvent(n=1))
            await anext(reader)
            await workflow.is_over.wait()
            handler.send_event(HumanResponseEvent(n=2))
            handler.send_event(HumanResponseEvent(n=3))
            document: dict[str, Any] = json.loads(checkpointer.dumps(handler.checkpoint()))
            await handler.cancel_run()
    return checkpointer, document


NONSENSE: list[Any] = [
    None,
    True,
    -1,
    1.5,
    10**400,
    "",
    "x",
    [],
    [[]],
    [1],
    {},
    {"x": 1},
    {"type": "StopEvent"},
]


def places(document: Any, way: str = "") -> list[str]:
    """Return the path of everything in *document*."""
    found = [way] if way else []
    pairs = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for key, value in pairs:
        found += places(value, f"{way}.{key}" if way else str(key))
    return found


async def test_s_ckpt_7_whatever_is_in_a_document_there_is_one_error_of_ours() -> None:
    """Each thing in a rich document, exchanged for nonsense, left out, or with something beside it.

    What can be read all the same is a checkpoint of something else, and ends in no other way than runs do.
    """
    checkpointer, document = await cut_of_everything()
    kinds = {"sent", "spent", "answers", "waits", "prompts", "unanswered", "changes"}
    pending = document["snapshot"]["pending"]
    assert {name for each in pending for name in each} >= kinds
    written = json.dumps(document)
    refused = 0
    for path in places(document):
        for nonsense in NONSENSE:
            changed = json.loads(written)
            set_at(changed, path, nonsense)
            refused += await _is_refused(checkpointer, json.dumps(changed))
    assert refused > 500


async def _is_refused(checkpointer: WorkflowCheckpointer, document: str) -> bool:
    """Read *document*, and have a run begin from it if that can be; nothing but a CheckpointError is raised."""
    try:
        checkpoint = checkpointer.loads(document)
        _ = checkpoint.pending, checkpoint.collections, checkpoint.state
        handler = checkpointer.run_from(checkpoint)
    except CheckpointError as error:
        return len(str(error)) < 1000
    with anyio.move_on_after(0), suppress(WorkflowStalledError):
        await handler
    checkpointer.forget(handler.run_id)
    return False


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("format", 2, "format 2 is not known"),
        ("format", "1", "format '1' is not known"),
        ("extra", 1, "extra"),
        ("snapshot.extra", 1, r"unknown.*extra"),
        ("snapshot.pending.0.extra", 1, "extra"),
        ("snapshot.pending.0.step", "nowhere", "nowhere"),
        ("snapshot.pending.0.number", 10**6, "never given"),
        ("snapshot.pending.0.event.type", "os.system", "no type 'os.system'"),
        ("snapshot.pending.0.event.more", 1, "no such field"),
        ("snapshot.collections.0.step", "nowhere", "nowhere"),
        ("snapshot.collections.1.places", 0, "never given"),
        ("snapshot.stop", {"type": "ProcessEvent", "data": "x"}, "only a StopEvent"),
        ("input", {"type": "Gone"}, "no type 'Gone'"),
        ("created_at", 1e300, "no snapshot"),
        ("sequence", "1", "sequence"),
        ("id", 1, "id"),
    ],
)
async def test_s_ckpt_7_a_document_that_is_wrong_says_what_is(path: str, value: Any, reason: str) -> None:
    checkpointer, document = await cut_of_everything()
    set_at(document, path, value)
    with pytest.raises(CheckpointError, match=reason):
        checkpointer.run_from(checkpointer.loads(json.dumps(document)))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "1", '{"format": 1}', "\ud800", "[" * 10_000])
async def test_s_ckpt_7_what_is_no_checkpoint_is_refused(text: str) -> None:
    checkpointer = WorkflowCheckpointer(workflow=Survey())
    with pytest.raises(CheckpointError):
        checkpointer.loads(text)
    with pytest.raises(CheckpointError):
        checkpointer.loads(text.encode(errors="replace"))


async def test_s_ckpt_7_a_damaged_document_is_refused() -> None:
    """Cut short anywhere, it is no JSON any more."""
    _, checkpointer, checkpoints = await first_run()
    written = checkpointer.dumps(checkpoints[0])
    for length in range(0, len(written), 7):
        with pytest.raises(CheckpointError):
            checkpointer.loads(written[:length])
