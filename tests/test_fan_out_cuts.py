"""Checkpoints of runs with fan-outs: what is in them, that each is one to go on from, and what is refused."""

import json
from collections.abc import Callable
from typing import Annotated, Any

import anyio
import pytest
from durable import settled
from fanning import Done, Extra, Fan, FirstTwo, Gates, Item

from anyio_workflows import (
    All,
    Checkpoint,
    CheckpointError,
    Collect,
    Context,
    EventList,
    StartEvent,
    StepFailedEvent,
    StepStateChanged,
    StopEvent,
    Take,
    Workflow,
    WorkflowCheckpointer,
    catch_error,
    step,
)
from anyio_workflows.stores import MemoryCheckpointStore, SqliteCheckpointStore


async def test_fan_out_a_checkpoint_shows_lists_as_event_lists() -> None:
    checkpointer = WorkflowCheckpointer(workflow=Fan(size=2))
    handler = checkpointer.run()
    with anyio.fail_after(5):
        await handler
    entries = checkpointer.checkpoints[handler.run_id]
    assert [entry.last_completed_step for entry in entries] == ["split", "work", "work", "join"]
    items = EventList(events=(Item(n=0), Item(n=1)))
    dones = EventList(events=(Done(n=0), Done(n=1)))
    assert (entries[0].output_event, entries[-1].input_event) == (items, dones)
    assert [event.event for event in entries[2].pending] == [dones]


async def test_fan_out_an_empty_list_leaves_a_checkpoint() -> None:
    checkpointer = WorkflowCheckpointer(workflow=Fan(size=0))
    handler = checkpointer.run()
    with anyio.fail_after(5):
        assert await handler == []
        for entry in checkpointer.checkpoints[handler.run_id]:
            assert await checkpointer.run_from(entry) == []
    assert checkpointer.checkpoints[handler.run_id][0].output_event == EventList(events=())


@pytest.mark.parametrize("kind", [MemoryCheckpointStore, SqliteCheckpointStore])
async def test_fan_out_a_store_keeps_it_and_a_new_program_goes_on(kind: Any, tmp_path: Any) -> None:
    gates = Gates()
    where = () if kind is MemoryCheckpointStore else (tmp_path / "runs.db",)
    with anyio.fail_after(10):
        async with kind(*where) as store:
            checkpointer = WorkflowCheckpointer(workflow=Fan(gates.member), store=store)
            handler = checkpointer.run(run_id="r")
            with anyio.CancelScope() as scope:
                async with handler:
                    gates.open(1)
                    async for event in handler.stream_events(expose_internal=True):
                        if isinstance(event, StepStateChanged) and event.output_event_name == "Done":
                            scope.cancel()
            again = WorkflowCheckpointer(workflow=Fan(gates.member), store=store)
            resumed = await again.resume("r")
            gates.begun.clear()
            async with resumed:
                gates.open(0, 2)
            assert sorted(await resumed) == [0, 1, 2]
            history = await again.history("r")
        assert [type(entry.output_event) for entry in history] == [EventList, Done, Done, Done, StopEvent]
        assert isinstance(history[-1].input_event, EventList)
    assert sorted(gates.begun) == [0, 2]


async def test_fan_out_the_last_cut_of_a_run_that_failed_is_one_to_go_on_from() -> None:
    """The member that failed is pending there, in a fan-out that nobody has joined."""
    is_broken = True

    async def fail(ctx: Context, ev: Item) -> Done:
        if ev.n == 2 and is_broken:
            await settled()
            raise KeyError
        return Done(n=ev.n)

    checkpointer = WorkflowCheckpointer(workflow=Fan(fail))
    handler = checkpointer.run()
    with anyio.fail_after(5):
        with pytest.raises(KeyError):
            await handler
        last = handler.checkpoint()
        assert [(each.step, each.event) for each in last.pending] == [("work", Item(n=2))]
        is_broken = False
        assert await checkpointer.run_from(last) == [0, 1, 2]


async def test_fan_out_idempotency_keys_are_distinct_and_the_same_after_a_resume() -> None:
    keys: dict[tuple[str, str], set[str]] = {}

    def note(ctx: Context, ev: Any) -> None:
        about = repr([ev] if not isinstance(ev, list) else sorted(ev, key=repr))
        keys.setdefault((ctx.step_name, about), set()).add(ctx.idempotency_key)

    class Flow(Fan):
        @step
        async def work(self, ctx: Context, ev: Item) -> Done:
            note(ctx, ev)
            if ev.n == 1:
                raise ValueError
            return Done(n=ev.n)

        @catch_error
        async def handle(self, ctx: Context, ev: StepFailedEvent) -> Done:
            note(ctx, ev.input_event)
            return Done(n=1)

        @step
        async def join(self, ctx: Context, evs: list[Done]) -> list[Extra]:  # type: ignore[override]
            note(ctx, evs)
            return [Extra(n=1), Extra(n=1)]

        @step
        async def end(self, ctx: Context, evs: list[Extra]) -> StopEvent:
            note(ctx, evs)
            return StopEvent(result="end")

    checkpointer = WorkflowCheckpointer(workflow=Flow())
    handler = checkpointer.run(run_id="r")
    with anyio.fail_after(10):
        await handler
        run: Any = handler._run
        cuts = [run.entries.checkpoint(cut) for cut in run.recording.history.cuts]
        for cut in cuts:
            await checkpointer.run_from(cut, run_id=f"after {cut.sequence}")
    assert [what for what, found in keys.items() if len(found) > 1] == []
    assert len({key for found in keys.values() for key in found}) == len(keys)


@pytest.mark.parametrize(
    ("joins", "more"),
    [
        (Collect(Take(2)), {}),
        (Collect(Take(3, cancel_rest=True)), {}),
        (Collect(All(), order="emission"), {}),
        (Collect(), {}),
        (None, {"max_recoveries": 2}),
        (None, {"for_steps": ["work"]}),
        (None, {}),
    ],
    ids=repr,
)
def test_fan_out_the_fingerprint_tells_joins_and_handlers_apart(
    joins: Collect | None, more: dict[str, Any]
) -> None:
    """A run is not gone on from under other rules without being asked for."""

    def make(collect: Collect, **handling: Any) -> WorkflowCheckpointer:
        class Flow(Fan):
            @step
            async def join(self, evs: Annotated[list[Done], collect]) -> StopEvent: ...  # type: ignore[empty-body]

        if handling.get("max_recoveries"):

            @catch_error(workflow=Flow, **handling)
            async def handle(ev: StepFailedEvent) -> Done: ...  # type: ignore[empty-body]

        return WorkflowCheckpointer(workflow=Flow())

    one = make(Collect(Take(3)), max_recoveries=1)
    other = make(joins or Collect(Take(3)), **({"max_recoveries": 1} | more))
    is_same = joins is None and not more
    assert (one._notation.fingerprint == other._notation.fingerprint) == is_same


# --- documents from anywhere


class Hostile(Workflow):
    """Has everything at one moment: open fan-outs, one in another, a pair that waits, and a member that was recovered."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = Gates()

    @step
    async def split(self, ev: StartEvent) -> list[Extra]:
        return [Extra(n=0), Extra(n=1)]

    @step
    async def again(self, ev: Extra) -> list[Item]:
        return [Item(n=10 * ev.n + k) for k in range(3)]

    @step(num_workers=8)
    async def work(self, ctx: Context, ev: Item) -> Done:
        if ev.n % 10 == 0:
            raise ValueError
        if ev.n % 10 == 1:
            return Done(n=ev.n)
        return await self.gates.member(ctx, ev)

    @catch_error
    async def handle(self, ev: StepFailedEvent) -> Done:
        return Done(n=-1)

    @step
    async def inner(self, evs: list[Done]) -> Extra | None:
        return None

    @step
    async def meet(self, one: Item, other: Extra) -> None: ...

    @step
    async def join(self, evs: list[Extra]) -> StopEvent:
        return StopEvent(result=len(evs))


async def hostile_cut() -> tuple[WorkflowCheckpointer, dict[str, Any]]:
    workflow = Hostile()
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    handler = checkpointer.run()
    with anyio.fail_after(5):
        async with handler:
            await settled()
            cut = handler.checkpoint()
            await handler.cancel_run()
    return checkpointer, json.loads(checkpointer.dumps(cut))


def fan_out(document: Any, place: int = -1) -> Any:
    return document["snapshot"]["fan_outs"][place]


def pending(document: Any) -> Any:
    return document["snapshot"]["pending"][-1]


def slots(document: Any) -> Any:
    return document["snapshot"]["slots"][-1]


def put(part: Callable[[Any], Any], name: str, value: Any) -> Callable[[Any], Any]:
    def damage(document: Any) -> None:
        part(document)[name] = value

    return damage


DAMAGES: dict[str, Callable[[Any], Any]] = {
    "no fan-outs": lambda document: document["snapshot"].pop("fan_outs"),
    "no slots": lambda document: document["snapshot"].pop("slots"),
    "a fan-out twice": lambda document: document["snapshot"]["fan_outs"].append(fan_out(document)),
    "a fan-out of a number never given": put(fan_out, "id", 10**9),
    "a fan-out of number 0": put(fan_out, "id", 0),
    "a fan-out in itself": lambda document: put(fan_out, "lineage", [fan_out(document)["id"], [0], {}])(
        document
    ),
    "a fan-out in one that is not open": put(fan_out, "lineage", [4, [0], {}]),
    "a fan-out of an unknown step": put(fan_out, "step", "nothing"),
    "a fan-out of a step without list": put(fan_out, "step", "work"),
    "a fan-out in nothing at all": put(fan_out, "lineage", []),
    "a lineage of something else": put(fan_out, "lineage", 0),
    "a lineage without a place": lambda document: put(
        fan_out, "lineage", [fan_out(document, 0)["id"], [], {}]
    )(document),
    "a key that is no text": put(fan_out, "key", 3),
    "an unknown member": put(fan_out, "more", 3),
    "joined by no join": put(fan_out, "joined", ["work"]),
    "joined by nobody": put(fan_out, "joined", ["nothing"]),
    "gathered by no join": put(fan_out, "gathered", {"meet": []}),
    "gathered something else": put(fan_out, "gathered", {"inner": [3]}),
    "gathered no event": put(fan_out, "gathered", {"inner": [[{"type": "os.system"}, [0], {}, ""]]}),
    "gathered at a place that is none": put(fan_out, "gathered", {"inner": [[None, ["x"], {}, ""]]}),
    "cancelled maybe": put(fan_out, "cancelled", 1),
    "pending in a fan-out that is not open": put(pending, "lineage", [4, [0], {}]),
    "pending in a fan-out without a place": put(pending, "lineage", [1, [], {}]),
    "pending with strange recoveries": put(pending, "lineage", [None, [], {"handle": -1}]),
    "pending with recoveries of another type": put(pending, "lineage", [None, [], {"handle": "1"}]),
    "pending with half a lineage": put(pending, "lineage", [None, []]),
    "pending and cancelled somehow": put(pending, "cancelled", "yes"),
    "a pair in a fan-out that is not open": put(slots, "key", [10**6, 0]),
    "a pair of a step without several": put(slots, "step", "work"),
    "a pair of an unknown step": put(slots, "step", "nothing"),
    "a pair with a key of three": put(slots, "key", [1, 2, 3]),
    "a pair for too many parameters": put(slots, "lanes", [[], [], []]),
    "a pair twice": lambda document: document["snapshot"]["slots"].append(slots(document)),
    "a pair of something else": put(slots, "lanes", [3]),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
async def test_fan_out_a_damaged_document_is_refused(damage: Callable[[Any], Any]) -> None:
    """When it is read or when it is gone on from, with an error of ours, before anything is run."""
    checkpointer, document = await hostile_cut()
    damage(document)
    with pytest.raises(CheckpointError):
        checkpointer.run_from(checkpointer.loads(json.dumps(document)))


async def test_fan_out_the_same_document_without_damage_is_gone_on_from() -> None:
    checkpointer, document = await hostile_cut()
    workflow: Any = checkpointer.workflow
    workflow.gates.open(2, 12)
    with anyio.fail_after(5):
        assert await checkpointer.run_from(checkpointer.loads(json.dumps(document))) == 2


async def test_fan_out_what_is_left_of_a_cancelled_one_closes_when_the_run_goes_on() -> None:
    """Also in the middle of a commit's own cancellations, nested."""
    gates = Gates()
    checkpointer = WorkflowCheckpointer(workflow=FirstTwo(gates.member, size=20))
    handler = checkpointer.run()
    with anyio.fail_after(5):
        async with handler:
            await settled()
            gates.open(1, 2)
        cuts: list[Checkpoint] = [handler.checkpoint(), *checkpointer.checkpoints[handler.run_id]]
        for cut in cuts:
            result = await checkpointer.run_from(checkpointer.loads(checkpointer.dumps(cut)))
            assert sorted(result) == [1, 2]


async def test_fan_out_a_cancelled_one_in_a_cancelled_one_is_not_joined_when_the_run_goes_on() -> None:
    """Cut while the members of the inner one clean up."""
    cleaning = anyio.Event()
    gate = anyio.Event()

    class Flow(Workflow):
        @step
        async def split(self, ev: StartEvent) -> list[Extra]:
            return [Extra(n=0), Extra(n=1)]

        @step
        async def again(self, ev: Extra) -> list[Item] | Done:
            if ev.n:
                return [Item(n=0), Item(n=1)]
            await cleaning_may_begin.wait()
            return Done(n=0)

        @step
        async def work(self, ev: Item) -> Item2:
            cleaning_may_begin.set()
            try:
                await anyio.sleep_forever()
            finally:
                cleaning.set()
                with anyio.CancelScope(shield=True):
                    await gate.wait()
            raise AssertionError

        @step
        async def inner(self, evs: list[Item2]) -> Done:
            raise AssertionError

        @step
        async def join(self, evs: Annotated[list[Done], Collect(Take(1, cancel_rest=True))]) -> StopEvent:
            await gate.wait()
            return StopEvent(result=[ev.n for ev in evs])

    cleaning_may_begin = anyio.Event()
    checkpointer = WorkflowCheckpointer(workflow=Flow())
    handler = checkpointer.run()
    with anyio.fail_after(5):
        async with handler:
            await cleaning.wait()
            cut = handler.checkpoint()
            gate.set()
        assert await handler == [0]
        assert await checkpointer.run_from(checkpointer.loads(checkpointer.dumps(cut))) == [0]


class Item2(Item):
    pass
