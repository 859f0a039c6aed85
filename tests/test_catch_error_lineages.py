"""Error handlers where events come of several: in fan-outs, joins and collections (S-FAIL-3)."""

from typing import Annotated, Any

import anyio
import pytest
from durable import settled
from fanning import Done, Extra, Fan, Item

from anyio_workflows import (
    Collect,
    Context,
    Event,
    EventList,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Workflow,
    WorkflowCheckpointer,
    catch_error,
    step,
)


class HandledFan(Fan):
    """A member that fails is handled in its place."""

    @catch_error(for_steps=["work"])
    async def handle(self, ev: StepFailedEvent) -> Done | Item | None:
        assert isinstance(ev.input_event, Item)
        return Done(n=100 + ev.input_event.n)

    @step
    async def join(self, evs: Annotated[list[Done], Collect(order="emission")]) -> StopEvent:
        return StopEvent(result=[ev.n for ev in evs])


async def odd_ones_fail(ctx: Context, ev: Item) -> Done:
    if ev.n % 2:
        raise ValueError(ev.n)
    return Done(n=ev.n)


async def test_s_fail_3_a_member_is_handled_in_its_place_and_each_counts_for_itself() -> None:
    with anyio.fail_after(5):
        assert await HandledFan(odd_ones_fail, size=6).run() == [0, 101, 2, 103, 4, 105]


async def test_s_fail_3_a_failed_list_is_an_event_list_and_its_handler_belongs_where_it_did() -> None:
    class Flow(Fan):
        @step
        async def again(self, ev: Done) -> list[Extra]:
            return [Extra(n=ev.n)]

        @step
        async def join(self, evs: list[Extra]) -> Item:  # type: ignore[override]
            raise ValueError

        @catch_error
        async def handle(self, ev: StepFailedEvent) -> Marked:
            assert isinstance(ev.input_event, EventList)
            return Marked(events=ev.input_event.events)

        @step
        async def outer(self, evs: list[Marked]) -> StopEvent:
            return StopEvent(result=[event.n for ev in evs for event in ev.events])  # type: ignore[attr-defined]

    with anyio.fail_after(5):
        assert await Flow(skip_graph_checks=["dead_end"]).run() == [0, 1, 2]


class Marked(Event):
    events: tuple[Event, ...]


class Joining(Workflow):
    """One of two members is recovered; then what both have come to fails."""

    how: str

    @step
    async def split(self, ev: StartEvent) -> list[Item]:
        return [Item(n=0), Item(n=1)]

    @step
    async def work(self, ev: Item) -> Done:
        if ev.n == 0:
            raise ValueError("before")
        await settled()  # the one that was recovered comes first
        return Done(n=ev.n)

    @catch_error(max_recoveries=1)
    async def handle(self, ev: StepFailedEvent) -> Done | StopEvent:
        return Done(n=0) if ev.step_name == "work" else StopEvent(result="recovered twice")


class JoiningList(Joining):
    @step
    async def join(self, evs: list[Done]) -> Extra:
        return Extra(n=len(evs))

    @step
    async def end(self, ev: Extra) -> StopEvent:
        raise ValueError("after")


class JoiningSlots(Joining):
    @step
    async def both(self, a: Done, b: Done) -> StopEvent:
        raise ValueError("after")

    @step
    async def split(self, ctx: Context, ev: StartEvent) -> Item | None:  # type: ignore[override]
        ctx.send_event(Item(n=0))
        return Item(n=1)


class JoiningCollection(JoiningSlots):
    @step
    async def both(self, ctx: Context, ev: Done) -> StopEvent | Extra | None:  # type: ignore[override]
        return None if ctx.collect_events(ev, [Done] * 2) is None else Extra(n=0)

    @step
    async def end(self, ev: Extra) -> StopEvent:
        raise ValueError("after")


@pytest.mark.parametrize("kind", [JoiningList, JoiningSlots, JoiningCollection])
async def test_s_fail_3_a_lineage_that_joins_several_carries_the_largest_count(kind: type[Joining]) -> None:
    """Unlike in LlamaIndex Workflows, where a list join forgets it and a collection has its last event's."""
    with anyio.fail_after(5), pytest.raises(ValueError, match="after"):
        await kind().run()


@pytest.mark.parametrize("kind", [JoiningList, JoiningSlots, JoiningCollection])
async def test_s_fail_3_the_counts_are_in_every_cut(kind: type[Joining]) -> None:
    checkpointer = WorkflowCheckpointer(workflow=kind())
    handler = checkpointer.run()
    with anyio.fail_after(5), pytest.raises(ValueError, match="after"):
        await handler
    run: Any = handler._run
    cuts = [run.entries.checkpoint(cut) for cut in run.recording.history.cuts]
    assert len(cuts) > 4
    for cut in cuts:
        with anyio.fail_after(5), pytest.raises(ValueError, match="after"):
            await checkpointer.run_from(checkpointer.loads(checkpointer.dumps(cut)))
