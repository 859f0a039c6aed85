"""Cuts through executions that are in the middle: what the obvious designs lose, double or mix up."""

import dataclasses
import logging
from typing import Any

import anyio
import attrs
import pytest
from running import Work, events_of

from anyio_workflows import (
    Checkpoint,
    CheckpointError,
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    ResumeDivergedEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCheckpointer,
    step,
)


class Done(Event):
    number: int = 0


class Listed(Event):
    numbers: list[int]


class Fresh(Event):
    number: int
    uid: int = attrs.field(eq=False, default=0)


class ByIdentity(Event, eq=False):
    number: int
    uid: int = attrs.field(eq=False, default=0)


class Ask(InputRequiredEvent):
    what: str


class Say(HumanResponseEvent):
    what: str


class Gate:
    """Holds executions until it is opened, and says when so many of them stand there."""

    def __init__(self, wanted: int = 1) -> None:
        self.wanted = wanted
        self.full = anyio.Event()
        self.opened = anyio.Event()
        self.passed: list[object] = []

    async def __call__(self, who: object = None) -> None:
        self.passed.append(who)
        if len(self.passed) == self.wanted:
            self.full.set()
        await self.opened.wait()


class Gated(Workflow):
    """A workflow whose steps wait at a gate of the test's."""

    def __init__(self, wanted: int = 1, **options: Any) -> None:
        super().__init__(extra_events=[Work, Done, Listed, Fresh, ByIdentity, Ask, Say], **options)
        self.gate = Gate(wanted)


async def cut_at_gate(workflow: Gated, **start: Any) -> tuple[WorkflowCheckpointer, Checkpoint, Any]:
    """Run *workflow*, cut it when its gate is full, then let it end; every gate is open from then on."""
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    handler = checkpointer.run(**start)
    with anyio.fail_after(5):
        async with handler:
            await workflow.gate.full.wait()
            cut = handler.checkpoint()
            workflow.gate.opened.set()
            result = await handler
    return checkpointer, checkpointer.loads(checkpointer.dumps(cut)), result


async def go_on(checkpointer: WorkflowCheckpointer, cut: Checkpoint) -> Any:
    with anyio.fail_after(5):
        return await checkpointer.run_from(cut)


# --- the state


class Counting(Gated):
    """Four executions count themselves, and are held after it."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Work | None:
        for number in range(4):
            ctx.send_event(Work(number=number))
        return None

    @step(num_workers=4)
    async def count(self, ctx: Context, ev: Work) -> Done:
        async with ctx.store.edit_state() as state:
            number = state.get("n", 0)
            state["n"] = number + 1
        await self.gate()
        return Done(number=number)

    @step
    async def collect(self, ctx: Context, ev: Done) -> StopEvent | None:
        done = ctx.collect_events(ev, [Done] * 4)
        if done is None:
            return None
        return StopEvent(result=[await ctx.store.get("n"), sorted(each.number for each in done)])


async def test_s_state_4_parallel_increments_are_counted_once_and_numbers_drawn_once() -> None:
    """All four are in work at the cut, each after its increment: none counts itself again, none draws another number."""
    checkpointer, cut, result = await cut_at_gate(Counting(4))
    assert result == [4, [0, 1, 2, 3]]
    assert [pending.step for pending in cut.pending] == ["count"] * 4
    assert cut.state["n"] == 4
    for _ in range(2):
        assert await go_on(checkpointer, cut) == result


class SetsInTurn(Gated):
    """Draws a number; another step changes the state while it is held; then it draws again."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Work | Done:
        ctx.send_event(Done())
        return Work()

    @step
    async def draw(self, ctx: Context, ev: Work) -> StopEvent:
        await self.may_draw.wait()
        async with ctx.store.edit_state() as state:
            first = [state.get("n", 0), state.get("other")]
            state["n"] = first[0] + 1
        await self.gate()
        async with ctx.store.edit_state() as state:
            second = [state["n"], state.get("other")]
            state["n"] = second[0] + 1
        return StopEvent(result=[*first, *second])

    @step
    async def change(self, ctx: Context, ev: Done) -> None:
        await self.may_change.wait()
        await ctx.store.set("n", 100)
        await ctx.store.set("other", "set")
        self.changed.set()

    def __init__(self) -> None:
        super().__init__()
        self.may_draw, self.may_change, self.changed = anyio.Event(), anyio.Event(), anyio.Event()


async def test_s_state_4_a_change_that_is_matched_starts_from_the_state_it_started_from() -> None:
    """Not from that of the cut, nor from what others have made of it since, before or after; one after the cut is new."""
    workflow = SetsInTurn()
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            workflow.may_draw.set()
            await workflow.gate.full.wait()
            before = handler.checkpoint()
            workflow.may_change.set()
            await workflow.changed.wait()
            after = handler.checkpoint()
            workflow.gate.opened.set()
            assert await handler == [0, None, 100, "set"]
        assert (before.state["n"], after.state["n"]) == (1, 100)
        assert await checkpointer.run_from(after) == [0, None, 100, "set"]
        workflow.may_draw = workflow.changed = anyio.Event()
        assert await checkpointer.run_from(before) == [0, None, 100, "set"]
        assert before.state["n"] == 1


class GivesUp(Gated):
    """Its first block raises, its second one counts."""

    @step
    async def count(self, ctx: Context, ev: StartEvent) -> StopEvent:
        with pytest.raises(ZeroDivisionError):
            async with ctx.store.edit_state() as state:
                state["n"] = 1 // 0
        async with ctx.store.edit_state() as state:
            state["n"] = state.get("n", 0) + 1
        await self.gate()
        return StopEvent(result=await ctx.store.get("n"))


async def test_s_state_4_a_block_that_raised_changed_nothing_and_is_no_change_to_match() -> None:
    """Else the block after it, which did, would be taken for a new one and count twice."""
    checkpointer, cut, result = await cut_at_gate(GivesUp())
    assert (result, await go_on(checkpointer, cut)) == (1, 1)


class SetsAll(Gated):
    """Every way to change the state, each once."""

    @step
    async def change(self, ctx: Context, ev: StartEvent) -> StopEvent:
        await ctx.store.set("a.b", 1)
        await ctx.store.set_state({"n": 1, "gone": {"absent": True}})
        await ctx.store.set("n", (await ctx.store.get("n")) + 1)
        async with ctx.store.edit_state() as state:
            del state["gone"]
        await ctx.store.set("last", {"absent": True})
        await self.gate()
        return StopEvent(result=dict(await ctx.store.get_state()))


async def test_s_state_4_every_way_to_change_the_state_is_matched() -> None:
    """Also where a value looks like what a careless format says of a key that is not there."""
    checkpointer, cut, result = await cut_at_gate(SetsAll())
    assert result == {"n": 2, "last": {"absent": True}}
    assert dict(cut.state) == result
    assert await go_on(checkpointer, cut) == result


@attrs.define
class Tallied:
    total: int = 10
    seen: list[int] = attrs.field(factory=list)


@dataclasses.dataclass
class TalliedData:
    total: int = 10
    seen: list[int] = dataclasses.field(default_factory=list)


@attrs.frozen
class Sealed:
    total: int = 10


@pytest.mark.parametrize("kind", [Tallied, TalliedData])
async def test_s_state_4_typed_state_is_cut_and_matched(kind: Any) -> None:
    """The first change of all started from the defaults, which stand in no document of a change."""

    class Typed(Gated):
        @step
        async def count(self, ctx: Context[kind], ev: StartEvent) -> StopEvent:
            async with ctx.store.edit_state() as state:
                number = state.total
                state.total += 1
                state.seen.append(number)
            await self.gate()
            state = await ctx.store.get_state()
            return StopEvent(result=[number, state.total, state.seen])

    checkpointer, cut, result = await cut_at_gate(Typed())
    assert result == [10, 11, [10]]
    assert cut.state == kind(total=11, seen=[10])
    assert await go_on(checkpointer, cut) == result


async def test_s_state_4_frozen_state_is_cut_and_matched() -> None:
    """It is replaced as a whole, once."""

    class Typed(Gated):
        @step
        async def count(self, ctx: Context[Sealed], ev: StartEvent) -> StopEvent:
            state = await ctx.store.get_state()
            await ctx.store.set_state(attrs.evolve(state, total=state.total + 1))
            await self.gate()
            return StopEvent(result=(await ctx.store.get_state()).total)

    checkpointer, cut, result = await cut_at_gate(Typed())
    assert (result, await go_on(checkpointer, cut)) == (11, 11)


@attrs.define
class Needy:
    total: int


async def test_s_ckpt_1_state_that_no_default_makes_is_there_once_a_step_has_made_it() -> None:
    """Until then there is none, and a cut says so."""

    class Typed(Gated):
        @step
        async def count(self, ctx: Context[Needy], ev: StartEvent) -> StopEvent:
            await self.gate()
            await ctx.store.set_state(Needy(total=1))
            return StopEvent(result=(await ctx.store.get_state()).total)

    checkpointer, cut, result = await cut_at_gate(Typed())
    with pytest.raises(CheckpointError, match="total"):
        _ = cut.state
    assert (result, await go_on(checkpointer, cut)) == (1, 1)


async def test_s_state_3_a_given_state_is_in_every_cut() -> None:
    """Also before any step has changed it."""

    class Typed(Gated):
        @step
        async def count(self, ctx: Context[Tallied], ev: StartEvent) -> StopEvent:
            await self.gate()
            return StopEvent(result=await ctx.store.get("total"))

    checkpointer, cut, result = await cut_at_gate(Typed(), state=Tallied(total=3))
    assert cut.state == Tallied(total=3)
    assert (result, await go_on(checkpointer, cut)) == (3, 3)


async def test_s_ev_2_a_mutable_value_changed_after_the_cut_never_shows_in_it() -> None:
    """What is written down is made when the value enters the run."""

    class Careless(Gated):
        @step
        async def change(self, ctx: Context, ev: StartEvent) -> StopEvent:
            numbers = [1]
            await ctx.store.set("numbers", numbers)
            ctx.send_event(Listed(numbers=numbers))
            ev.given.append(2)
            numbers.append(2)
            await self.gate()
            return StopEvent(result=None)

        @step
        async def listen(self, ev: Listed) -> None:
            await anyio.sleep_forever()

    _, cut, _ = await cut_at_gate(Careless(), given=[1])
    assert [pending.event for pending in cut.pending] == [StartEvent(given=[1]), Listed(numbers=[1])]
    assert cut.pending[0].sent == (Listed(numbers=[1]),)
    assert cut.state["numbers"] == [1]


# --- sends


@pytest.mark.parametrize("kind", [Fresh, ByIdentity])
async def test_s_ckpt_4_events_sent_before_the_cut_are_not_sent_again(kind: Any) -> None:
    """Equal events sent twice on purpose stay two; a field that is left out of the comparison does not matter."""

    class Sending(Gated):
        calls = 0

        @step
        async def send(self, ctx: Context, ev: StartEvent) -> None:
            for number in (1, 1, 2):
                self.calls += 1
                ctx.send_event(kind(number=number, uid=self.calls))
            ctx.send_event(kind(number=2), step="other")
            await self.gate()
            ctx.send_event(kind(number=1))

        @step
        async def collect(self, ctx: Context, ev: kind) -> StopEvent | None:
            got = ctx.collect_events(ev, [kind] * 4)
            return None if got is None else StopEvent(result=[each.number for each in got])

        @step
        async def other(self, ev: kind) -> None:
            pass

    checkpointer, cut, result = await cut_at_gate(Sending())
    assert result == [1, 1, 2, 1]
    assert len(cut.pending[0].sent) == 4
    assert await go_on(checkpointer, cut) == result


async def test_s_ckpt_4_what_is_recorded_and_does_not_come_again_stays_and_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A step that sends fewer or other events: the new ones go, the old ones stay, and somebody is told."""

    class Fickle(Gated):
        first = True

        @step
        async def send(self, ctx: Context, ev: StartEvent) -> None:
            numbers = (1, 2) if self.first else (1, 3)
            self.first = False
            for number in numbers:
                ctx.send_event(Work(number=number))
            await self.gate()

        @step
        async def collect(self, ctx: Context, ev: Work) -> StopEvent | None:
            got = ctx.collect_events(ev, [Work] * 2)
            await self.gate()
            return None if got is None else StopEvent(result=[each.number for each in got])

    workflow = Fickle(3)
    checkpointer, cut, _ = await cut_at_gate(workflow)
    with anyio.fail_after(5), caplog.at_level(logging.WARNING, "anyio_workflows"):
        async with checkpointer.run_from(cut) as handler:
            said = await events_of(handler, expose_internal=True)
    diverged = [event for event in said if isinstance(event, ResumeDivergedEvent)]
    assert diverged == [ResumeDivergedEvent(step_name="send", event=Work(number=2))]
    assert "step send has not sent Work(number=2) again" in caplog.text
    assert await handler == [1, 2]
    last = handler.checkpoint()
    left = [each.event for each in last.pending] + [
        event for each in last.collections for event in each.events
    ]
    assert Work(number=3) in left


async def test_s_send_4_a_send_that_is_matched_does_not_wait_for_a_place() -> None:
    """The one who is to make room may wait for what comes after it."""

    class Narrow(Gated):
        @step
        async def feed(self, ctx: Context, ev: StartEvent) -> Done | StopEvent:
            await ctx.send(Work())
            await self.gate()
            return Done()

        @step(max_pending=1, num_workers=1)
        async def work(self, ctx: Context, ev: Work) -> StopEvent:
            await ctx.wait_for_event(Done, waiter_event=Ask(what="?"))
            return StopEvent(result="done")

        @step
        async def listen(self, ev: Done) -> None:
            pass

    workflow = Narrow()
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            await anext(handler.stream_events())
            await workflow.gate.full.wait()
            cut = handler.checkpoint()
            workflow.gate.opened.set()
        assert await handler == await checkpointer.run_from(cut) == "done"


async def test_s_ckpt_1_a_continuation_in_the_same_task_is_pending_in_the_cut() -> None:
    """The next execution begins without any task being woken; its event is in the cut all the same."""

    class Chain(Workflow):
        @step
        async def first(self, ev: StartEvent) -> Work:
            return Work(number=1)

        @step
        async def second(self, ev: Work) -> Work | StopEvent:
            return Work(number=ev.number + 1) if ev.number < 9 else StopEvent(result=ev.number)

    checkpointer = WorkflowCheckpointer(workflow=Chain())
    handler = checkpointer.run()
    assert await handler == 9
    cuts = checkpointer.checkpoints[handler.run_id]
    assert [[pending.event for pending in cut.pending] for cut in cuts] == [
        *([Work(number=number)] for number in range(1, 10)),
        [],
    ]
    for index, cut in enumerate(cuts):
        later = checkpointer.run_from(cut)
        assert await later == 9
        assert len(checkpointer.checkpoints[later.run_id]) == 9 - index


# --- collections


class Collecting(Gated):
    """Executions that share a buffer are held before they return what they have collected."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Work | None:
        for number in range(4):
            ctx.send_event(Work(number=number))
        return None

    @step(num_workers=4)
    async def pair(self, ctx: Context, ev: Work) -> Done | None:
        got = ctx.collect_events(ev, [Work] * 2, buffer_id=f"by {ev.number % self.buffers}")
        if ev.number not in self.quick:
            await self.gate(ev.number)
        return None if got is None else Done(number=sum(each.number for each in got))

    @step
    async def sum_up(self, ctx: Context, ev: Done) -> StopEvent | None:
        done = ctx.collect_events(ev, {Done: 2})
        return None if done is None else StopEvent(result=sorted(each.number for each in done))

    def __init__(self, buffers: int, quick: tuple[int, ...] = ()) -> None:
        super().__init__(4 - len(quick))
        self.buffers = buffers
        self.quick = quick


@pytest.mark.parametrize("quick", [(), (0,), (1,), (0, 3), (1, 2), (2, 3)])
@pytest.mark.parametrize("buffers", [1, 2])
async def test_s_col_5_executions_cut_after_they_have_collected_give_and_take_as_if_they_had_not(
    buffers: int, quick: tuple[int, ...]
) -> None:
    """In whichever order they commit: each event is in one batch, and there are as many batches."""
    checkpointer, cut, result = await cut_at_gate(Collecting(buffers, quick))
    assert sum(result) == 6
    again = await go_on(checkpointer, cut)
    assert sum(again) == 6
    if buffers == 2:
        assert result == again == [2, 4]


async def test_s_col_5_collections_in_a_cut_are_as_if_executions_in_work_had_not_touched_them() -> None:
    """What they have taken is back at its place, what they have added is gone; what was committed is there."""
    _, cut, _ = await cut_at_gate(Collecting(2, quick=(0,)))
    assert [(each.step, each.buffer_id, each.events) for each in cut.collections] == [
        ("pair", "by 0", (Work(number=0),))
    ]
    assert [pending.event for pending in cut.pending] == [Work(number=number) for number in (1, 2, 3)]


async def test_s_col_5_what_another_has_taken_for_good_is_not_added_again() -> None:
    """The first has added its event and is held, the second has taken both and committed. Also for an event made anew."""

    class Derived(Gated):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Work | None:
            for number in range(3):
                ctx.send_event(Work(number=number))
            return None

        @step(num_workers=3)
        async def pair(self, ctx: Context, ev: Work) -> Done | None:
            made = [Listed(numbers=[0]), Listed(numbers=[0])] if ev.number == 0 else []
            for each in made:
                assert ctx.collect_events(each, [Listed] * 4) is None
            if ev.number == 0:
                await self.gate()
                assert ctx.collect_events(made[0], [Listed] * 4) is None
                return Done(number=0)
            got = ctx.collect_events(Listed(numbers=[ev.number]), [Listed] * 4)
            return None if got is None else Done(number=len(got))

        @step
        async def sum_up(self, ctx: Context, ev: Done) -> StopEvent | None:
            done = ctx.collect_events(ev, [Done] * 2)
            await self.gate()
            return None if done is None else StopEvent(result=sorted(each.number for each in done))

    checkpointer, cut, result = await cut_at_gate(Derived(2))
    assert result == [0, 4]
    assert [pending.event for pending in cut.pending] == [Work(number=0), Done(number=4)]
    assert len(cut.document["pending"][0]["spent"]) == 2
    with anyio.fail_after(5):
        async with checkpointer.run_from(cut) as handler:
            assert await handler == result
    assert [each for each in handler.checkpoint().collections if each.step == "pair"] == []


# --- waits


class Interview(Gated):
    """One step that asks one thing after the other."""

    named: bool = False
    order: tuple[str, ...] = ("name", "age", "town")

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        answers = []
        for what in self.order:
            answer = await ctx.wait_for_event(
                Say, waiter_event=Ask(what=what), waiter_id=what if self.named else None
            )
            answers.append(answer.what)
        return StopEvent(result=answers)


async def reply(handler: Any, answers: dict[str, str], cuts: list[Checkpoint] | None = None) -> list[str]:
    """Answer everything that is asked; return what was."""
    asked = []
    async for event in handler.stream_events():
        if isinstance(event, Ask):
            asked.append(event.what)
            if cuts is not None:
                cuts.append(handler.checkpoint())
            handler.send_event(Say(what=answers[event.what]))
    return asked


@pytest.mark.parametrize("named", [False, True])
async def test_s_wait_4_a_step_cut_in_its_next_question_asks_that_one_alone(named: bool) -> None:
    """What was answered is recorded, what is open is on the stream again, once, and nothing else is."""
    workflow = Interview()
    workflow.named = named
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    cuts: list[Checkpoint] = []
    answers = {"name": "Ada", "age": "36", "town": "London"}
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            assert await reply(handler, answers, cuts) == ["name", "age", "town"]
        for index, cut in enumerate(cuts):
            later = dict.fromkeys(answers, "later")
            resumed: list[Checkpoint] = []
            async with checkpointer.run_from(checkpointer.loads(checkpointer.dumps(cut))) as handler:
                assert await reply(handler, later, resumed) == ["name", "age", "town"][index:]
            assert await handler == [*list(answers.values())[:index], *["later"] * (3 - index)]
            # And a run that has gone on can be gone on from again.
            for place, again in enumerate(resumed):
                async with checkpointer.run_from(again) as handler:
                    assert await reply(handler, answers) == ["name", "age", "town"][index + place :]


async def test_s_wait_4_named_waits_keep_their_answers_whatever_their_order() -> None:
    """A waiter_id is the identity of a wait, and no number of another one's."""
    workflow = Interview()
    workflow.named, workflow.order = True, ("#2", "b")
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    cuts: list[Checkpoint] = []
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            await reply(handler, {"#2": "1", "b": "2"}, cuts)
        workflow.order = ("b", "#2")
        async with checkpointer.run_from(cuts[1]) as handler:
            assert await reply(handler, {"b": "other"}) == ["b"]
        assert await handler == ["other", "1"]


async def test_s_wait_4_a_restored_wait_is_open_from_the_first_moment() -> None:
    """Its question is on the stream, so that somebody may answer before the step has come to it again.

    Were it not, an event that a step accepts as well would go there, and one that nothing accepts be lost.
    """

    class Either(Gated):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            if ev.slowly:
                await self.gate()
            told = await ctx.wait_for_event(Done, waiter_event=Ask(what="?"), requirements={"number": 7})
            return StopEvent(result=told.number)

        @step
        async def listen(self, ev: Done) -> StopEvent:
            return StopEvent(result="taken away")

    workflow = Either(2)
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    with anyio.fail_after(5):
        async with checkpointer.run(slowly=True) as handler:
            workflow.gate.opened.set()
            async for _ in handler.stream_events():
                break
            cut = handler.checkpoint()
            handler.send_event(Done(number=7))
        assert await handler == 7
        workflow.gate = Gate()
        async with checkpointer.run_from(cut) as handler:
            handler.send_event(Done(number=7))
            await workflow.gate.full.wait()
            between = handler.checkpoint()
            workflow.gate.opened.set()
        assert await handler == 7
        assert await checkpointer.run_from(between) == 7


async def test_s_wait_4_a_wait_that_is_not_asked_for_again_gives_its_answer_to_another() -> None:
    """A step that diverges closes what it does not open again."""

    class Fickle(Gated):
        asks = True

        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent | Done:
            if self.asks:
                await ctx.wait_for_event(Say, waiter_event=Ask(what="?"))
            return Done()

        @step
        async def ask_later(self, ctx: Context, ev: Done) -> StopEvent:
            return StopEvent(result=(await ctx.wait_for_event(Say)).what)

    workflow = Fickle()
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            async for _ in handler.stream_events():
                break
            cut = handler.checkpoint()
            handler.send_event(Say(what="first"))
            handler.send_event(Say(what="second"))
        assert await handler == "second"
        workflow.asks = False
        async with checkpointer.run_from(cut) as handler:
            handler.send_event(Say(what="only"))
        assert await handler == "only"
        async with checkpointer.run_from(cut) as handler:
            async for _ in handler.stream_events():
                pass_on = handler.checkpoint()
                handler.send_event(Say(what="only"))
                break
        assert await handler == "only"
        assert pass_on.pending


async def test_s_ckpt_1_an_answer_that_came_before_its_question_is_in_the_cut() -> None:
    """A restored run has it for the wait that comes."""

    class Late(Gated):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await self.gate()
            return StopEvent(result=(await ctx.wait_for_event(Say)).what)

    workflow = Late()
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            await workflow.gate.full.wait()
            handler.send_event(Say(what="early"))
            handler.send_event(Say(what="too early"))
            cut = handler.checkpoint()
            workflow.gate.opened.set()
        assert await handler == "early"
        assert await checkpointer.run_from(cut) == "early"
        last = handler.checkpoint()
        assert last.document["early"][0][1]["what"] == "too early"
        assert len(last.document["early"]) == 1


async def test_s_str_1_prompts_returned_since_the_last_answer_are_on_the_resumed_stream_once() -> None:
    """A prompt that died unread is not lost; one that was followed by an answer does not come again."""

    class Form(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent) -> Ask:
            ctx.send_event(Ask(what="sent"))
            return Ask(what="returned")

        @step
        async def then(self, ctx: Context, ev: Say) -> Ask | StopEvent:
            return StopEvent(result=ev.what) if ev.what == "end" else Ask(what=f"after {ev.what}")

    checkpointer = WorkflowCheckpointer(workflow=Form())
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            reader = handler.stream_events()
            assert [(await anext(reader)).get("what") for _ in range(2)] == ["sent", "returned"]
            cuts = [handler.checkpoint()]
            handler.send_event(Say(what="one"))
            assert (await anext(reader)).get("what") == "after one"
            cuts.append(handler.checkpoint())
            handler.send_event(Say(what="end"))
        for cut, expected in zip(cuts, [["sent", "returned"], ["after one"]], strict=True):
            async with checkpointer.run_from(cut) as handler:
                handler.send_event(Say(what="end"))
                said = await events_of(handler)
            assert [event.what for event in said if isinstance(event, Ask)] == expected


async def test_s_str_1_two_open_waits_with_equal_questions_are_two_prompts() -> None:
    """Once each: equal is not the same."""

    class Twice(Gated):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Work | None:
            ctx.send_event(Work())
            ctx.send_event(Work())
            return None

        @step
        async def ask(self, ctx: Context, ev: Work) -> Done:
            await ctx.wait_for_event(Say, waiter_event=Ask(what="?"))
            return Done()

        @step
        async def end(self, ctx: Context, ev: Done) -> StopEvent | None:
            return StopEvent() if ctx.collect_events(ev, [Done] * 2) else None

    checkpointer = WorkflowCheckpointer(workflow=Twice())
    cuts: list[Checkpoint] = []
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            assert await reply(handler, {"?": "!"}, cuts) == ["?", "?"]
        for answered, cut in enumerate(cuts):
            async with checkpointer.run_from(cut) as handler:
                asked = await reply(handler, {"?": "!"})
            assert len(asked) == 2 - answered


async def test_s_wait_4_a_prompt_that_the_step_wrote_itself_belongs_to_its_next_wait() -> None:
    """It is written before the cut, and stands on the resumed stream once, whether the wait was open or not."""

    class Writes(Gated):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.write_event_to_stream(Ask(what="?"))
            await self.gate()
            return StopEvent(result=(await ctx.wait_for_event(Say)).what)

    workflow = Writes()
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            await workflow.gate.full.wait()
            cut = handler.checkpoint()
            workflow.gate.opened.set()
            assert await reply(handler, {"?": "1"}) == ["?"]
        async with checkpointer.run_from(cut) as handler:
            assert await reply(handler, {"?": "2"}) == ["?"]
        assert await handler == "2"


async def test_s_wait_2_what_is_waited_for_must_be_known_and_what_is_required_written_down() -> None:
    """Found when the wait begins, not when the run is to go on in the night."""

    class Unknown(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            if ev.how == "type":
                await ctx.wait_for_event(Listed)
            await ctx.wait_for_event(HumanResponseEvent, requirements={"who": object()})
            return StopEvent()

    checkpointer = WorkflowCheckpointer(workflow=Unknown())
    for how, reason in (("type", r"extra_events=\[Listed\]"), ("requirements", "requirements.*object")):
        with anyio.fail_after(5), pytest.raises(CheckpointError, match=reason):
            await checkpointer.run(how=how)
