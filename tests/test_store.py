"""S-STATE-1 to 3 as steps and callers see them: ``ctx.store``, ``run(state=)``, ``handler.state``."""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import attrs
import pytest
from anyio.lowlevel import checkpoint
from running import Calling, Work

from anyio_workflows import (
    Context,
    DictState,
    StartEvent,
    StateStore,
    StopEvent,
    Workflow,
    WorkflowRuntimeError,
    WorkflowValidationError,
    step,
)


@attrs.define
class Tally:
    count: int = 0
    names: list[str] = attrs.field(factory=list)


@attrs.frozen
class FrozenTally:
    count: int = 0


@dataclasses.dataclass
class DataTally:
    count: int = 0


class TypedCalling(Workflow):
    """Ends with what an async function of the test's gives; its state is a Tally."""

    def __init__(self, body: Callable[[Context[Tally]], Awaitable[object]]) -> None:
        super().__init__()
        self.body = body

    @step
    async def call(self, ctx: Context[Tally], ev: StartEvent) -> StopEvent:
        return StopEvent(result=await self.body(ctx))


async def _run(body: Callable[[Context[Any]], Awaitable[object]], **options: Any) -> Any:
    with anyio.fail_after(5):
        return await Calling(body).run(**options)


# --- get, set, clear


async def test_s_state_1_what_is_set_can_be_got() -> None:
    async def body(ctx: Context) -> object:
        await ctx.store.set("user.name", "ada")
        return [await ctx.store.get("user.name"), await ctx.store.get("user")]

    assert await _run(body) == ["ada", {"name": "ada"}]


async def test_s_state_1_a_missing_path_gives_the_default() -> None:
    async def body(ctx: Context) -> object:
        return [await ctx.store.get("no.where", default=None), await ctx.store.get("no", default=3)]

    assert await _run(body) == [None, 3]


async def test_s_state_1_a_missing_path_without_default_names_the_path() -> None:
    """Both KeyError and ValueError: whichever the ported program caught."""

    async def body(ctx: Context) -> object:
        for kind in (KeyError, ValueError):
            with pytest.raises(kind, match=r"no\.where"):
                await ctx.store.get("no.where")
        return "caught"

    assert await _run(body) == "caught"


async def test_s_state_1_get_state_is_a_copy_and_set_state_replaces() -> None:
    async def body(ctx: Context) -> object:
        await ctx.store.set("names", ["ada"])
        state = await ctx.store.get_state()
        state["names"].append("bob")
        before = await ctx.store.get("names")
        await ctx.store.set_state(state)
        state["names"].append("eve")
        return [list(before), await ctx.store.get("names")]

    assert await _run(body) == [["ada"], ["ada", "bob"]]


async def test_s_state_1_clear_puts_it_back_to_empty() -> None:
    async def body(ctx: Context) -> object:
        await ctx.store.set("name", "ada")
        await ctx.store.clear()
        return [await ctx.store.get("name", default="gone"), dict(await ctx.store.get_state())]

    assert await _run(body, state={"given": 1}) == ["gone", {}]


async def test_s_state_1_a_change_is_visible_to_other_steps_at_once() -> None:
    """Not only when the step that made it has returned."""

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Work | StopEvent:
            await ctx.store.set("n", 1)
            ctx.send_event(Work())
            await seen.wait()
            return StopEvent(result=results)

        @step
        async def look(self, ctx: Context, ev: Work) -> None:
            results.append(await ctx.store.get("n"))
            await ctx.store.set("n", 2)
            seen.set()

    seen = anyio.Event()
    results: list[int] = []
    handler = Flow().run()
    with anyio.fail_after(5):
        assert await handler == [1]
    assert handler.state["n"] == 2


async def test_s_state_1_the_store_is_of_a_named_class() -> None:
    async def body(ctx: Context) -> object:
        return isinstance(ctx.store, StateStore)

    assert await _run(body) is True


# --- edit_state


async def test_s_state_1_an_edit_is_committed_on_normal_exit() -> None:
    async def body(ctx: Context) -> object:
        async with ctx.store.edit_state() as state:
            state["n"] = 1
            state["names"] = ["ada"]
        async with ctx.store.edit_state() as state:
            state["n"] += 1
            state["names"].append("bob")
        return [await ctx.store.get("n"), await ctx.store.get("names")]

    assert await _run(body) == [2, ["ada", "bob"]]


async def test_s_state_1_an_edit_is_discarded_on_error() -> None:
    async def body(ctx: Context) -> object:
        await ctx.store.set("names", ["ada"])
        with pytest.raises(ZeroDivisionError):
            async with ctx.store.edit_state() as state:
                state["names"].append("bob")
                state["n"] = 1 / 0
        return dict(await ctx.store.get_state())

    assert await _run(body) == {"names": ["ada"]}


async def test_s_state_1_an_edit_is_discarded_when_its_block_is_cancelled() -> None:
    async def body(ctx: Context) -> object:
        with anyio.move_on_after(0.01):
            async with ctx.store.edit_state() as state:
                state["n"] = 1
                await anyio.sleep_forever()
        await ctx.store.set("m", 2)  # nobody holds the state any more
        return dict(await ctx.store.get_state())

    assert await _run(body) == {"m": 2}


async def test_s_state_1_others_read_the_committed_state_meanwhile() -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Work | StopEvent:
            async with ctx.store.edit_state() as state:
                state["n"] = 1
                ctx.send_event(Work())
                await seen.wait()
            return StopEvent(result=results)

        @step
        async def look(self, ctx: Context, ev: Work) -> None:
            results.append(await ctx.store.get("n", default="nothing yet"))
            results.append(dict(await ctx.store.get_state()))
            seen.set()

    seen = anyio.Event()
    results: list[object] = []
    handler = Flow().run(state={})
    with anyio.fail_after(5):
        assert await handler == ["nothing yet", {}]
    assert dict(handler.state) == {"n": 1}


@pytest.mark.parametrize("change", ["edit_state", "set", "set_state", "clear"])
async def test_s_state_1_changes_of_others_wait_for_the_block(change: str) -> None:
    """Exclusive, for every kind of change; else the commit would undo theirs."""

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Work | StopEvent:
            async with ctx.store.edit_state() as state:
                ctx.send_event(Work())
                await trying.wait()
                for _ in range(5):
                    await checkpoint()
                log.append("block ends")
                state["n"] = 1
            await changed.wait()
            return StopEvent()

        @step
        async def other(self, ctx: Context, ev: Work) -> None:
            trying.set()
            if change == "edit_state":
                async with ctx.store.edit_state() as state:
                    state["n"] += 10
            elif change == "set":
                await ctx.store.set("n", 11)
            elif change == "set_state":
                await ctx.store.set_state({"n": 11})
            else:
                await ctx.store.clear()
            log.append("changed")
            changed.set()

    trying, changed = anyio.Event(), anyio.Event()
    log: list[str] = []
    handler = Flow().run()
    with anyio.fail_after(5):
        await handler
    assert log == ["block ends", "changed"]
    assert dict(handler.state) == ({} if change == "clear" else {"n": 11})


async def test_s_state_1_many_increments_at_once_lose_none() -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Work | None:
            for number in range(40):
                ctx.send_event(Work(number=number))
            return None

        @step(num_workers=8)
        async def count(self, ctx: Context, ev: Work) -> StopEvent | None:
            async with ctx.store.edit_state() as state:
                seen = state.get("n", 0)
                await checkpoint()
                state["n"] = seen + 1
            return StopEvent(result=seen + 1) if seen + 1 == 40 else None

    with anyio.fail_after(5):
        assert await Flow().run() == 40


@pytest.mark.parametrize("change", ["edit_state", "set", "set_state", "clear"])
async def test_s_state_1_a_change_inside_ones_own_block_is_an_error_never_a_deadlock(change: str) -> None:
    async def body(ctx: Context) -> object:
        async with ctx.store.edit_state() as state:
            state["n"] = 1
            with pytest.raises(WorkflowRuntimeError, match="inside its own edit_state block") as caught:
                if change == "edit_state":
                    async with ctx.store.edit_state():
                        pass
                elif change == "set":
                    await ctx.store.set("n", 2)
                elif change == "set_state":
                    await ctx.store.set_state({"n": 2})
                else:
                    await ctx.store.clear()
            assert "'call'" in str(caught.value)
        return await ctx.store.get("n")

    assert await _run(body) == 1


async def test_s_state_1_reading_inside_ones_own_block_gives_the_committed_state() -> None:
    async def body(ctx: Context) -> object:
        await ctx.store.set("n", 1)
        async with ctx.store.edit_state() as state:
            state["n"] = 2
            return await ctx.store.get("n")

    assert await _run(body) == 1


async def test_s_state_1_who_gives_up_waiting_for_the_state_leaves_the_line() -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Work | StopEvent:
            async with ctx.store.edit_state() as state:
                ctx.send_event(Work(number=0))
                ctx.send_event(Work(number=1))
                await given_up.wait()
                state["n"] = 1
            await changed.wait()
            return StopEvent()

        @step
        async def other(self, ctx: Context, ev: Work) -> None:
            if ev.number == 0:
                with anyio.move_on_after(0.01):
                    await ctx.store.set("never", True)
                given_up.set()
            else:
                await ctx.store.set("m", 2)
                changed.set()

    given_up, changed = anyio.Event(), anyio.Event()
    handler = Flow().run()
    with anyio.fail_after(5):
        await handler
    assert dict(handler.state) == {"n": 1, "m": 2}


async def test_s_state_1_a_block_of_a_cancelled_run_is_discarded() -> None:
    async def body(ctx: Context) -> None:
        async with ctx.store.edit_state() as state:
            state["n"] = 2
            begun.set()
            await anyio.sleep_forever()

    begun = anyio.Event()
    with anyio.fail_after(5):
        async with Calling(body).run(state={"n": 1}) as handler:
            await begun.wait()
            assert handler.state["n"] == 1
            await handler.cancel_run()
    assert dict(handler.state) == {"n": 1}


# --- typed


async def test_s_state_2_an_attrs_class_types_the_state() -> None:
    async def body(ctx: Context[Tally]) -> object:
        await ctx.store.set("count", 3)
        async with ctx.store.edit_state() as state:
            state.count += 1
            state.names.append("ada")
        whole = await ctx.store.get_state()
        return [type(whole), whole]

    with anyio.fail_after(5):
        assert await TypedCalling(body).run() == [Tally, Tally(count=4, names=["ada"])]


async def test_s_state_2_a_field_that_the_class_does_not_declare_is_an_error() -> None:
    async def body(ctx: Context[Tally]) -> None:
        await ctx.store.set("total", 3)

    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError, match="total"):
        await TypedCalling(body).run()


async def test_s_state_2_a_dataclass_types_the_state() -> None:
    class Flow(Workflow):
        @step
        async def count(self, ctx: Context[DataTally], ev: StartEvent) -> StopEvent:
            async with ctx.store.edit_state() as state:
                state.count += 1
            return StopEvent(result=await ctx.store.get_state())

    with anyio.fail_after(5):
        assert await Flow().run(state=DataTally(count=4)) == DataTally(count=5)


async def test_s_state_2_a_frozen_class_is_replaced_and_edit_state_says_so() -> None:
    class Flow(Workflow):
        @step
        async def count(self, ctx: Context[FrozenTally], ev: StartEvent) -> StopEvent:
            with pytest.raises(WorkflowRuntimeError, match=r"set_state\(attrs\.evolve"):
                async with ctx.store.edit_state():
                    pass
            state = await ctx.store.get_state()
            await ctx.store.set_state(attrs.evolve(state, count=state.count + 1))
            return StopEvent(result=await ctx.store.get("count"))

    with anyio.fail_after(5):
        assert await Flow().run() == 1


async def test_s_state_2_the_refused_edit_of_a_frozen_class_blocks_nobody() -> None:
    class Flow(Workflow):
        @step
        async def count(self, ctx: Context[FrozenTally], ev: StartEvent) -> StopEvent:
            for _ in range(2):
                with pytest.raises(WorkflowRuntimeError, match="frozen"):
                    async with ctx.store.edit_state():
                        pass
                with pytest.raises(WorkflowRuntimeError, match="frozen"):
                    await ctx.store.set("count", 1)
            await ctx.store.set_state(FrozenTally(count=9))
            return StopEvent(result=await ctx.store.get("count"))

    with anyio.fail_after(5):
        assert await Flow().run() == 9


def test_s_state_2_two_state_classes_in_one_workflow_are_an_error() -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context[Tally], ev: StartEvent) -> Work:
            return Work()

        @step
        async def end(self, ctx: Context[DataTally], ev: Work) -> StopEvent:
            return StopEvent()

    with pytest.raises(WorkflowValidationError, match=r"DataTally, Tally.*a run has one state"):
        Flow()


# --- of the run


async def test_s_state_3_state_belongs_to_the_run() -> None:
    """Two runs of one workflow, one after the other and side by side, share nothing."""

    async def body(ctx: Context) -> object:
        async with ctx.store.edit_state() as state:
            state["n"] = state.get("n", 0) + 1
            await checkpoint()
        return await ctx.store.get("n")

    flow = Calling(body)
    with anyio.fail_after(5):
        async with flow.run() as first, flow.run() as second:
            assert [await first, await second] == [1, 1]
        assert await flow.run() == 1


@pytest.mark.parametrize("given", [Tally(count=5), {"count": 5}], ids=["object", "mapping"])
async def test_s_state_3_a_run_starts_with_a_given_state(given: object) -> None:
    async def body(ctx: Context[Tally]) -> object:
        async with ctx.store.edit_state() as state:
            state.count += 1
            state.names.append("ada")
        return await ctx.store.get("count")

    before = attrs.asdict(given) if isinstance(given, Tally) else dict(given)  # type: ignore[call-overload]
    with anyio.fail_after(5):
        assert await TypedCalling(body).run(state=given) == 6
    after = attrs.asdict(given) if isinstance(given, Tally) else dict(given)  # type: ignore[call-overload]
    assert after == before  # it was copied


async def test_s_state_3_a_run_starts_with_the_state_of_an_earlier_one() -> None:
    """How a conversation goes on."""

    async def body(ctx: Context) -> object:
        async with ctx.store.edit_state() as state:
            state.setdefault("words", []).append("again")
        return list(await ctx.store.get("words"))

    flow = Calling(body)
    with anyio.fail_after(5):
        first = flow.run()
        assert await first == ["again"]
        second = flow.run(state=first.state)
        assert await second == ["again", "again"]
    assert list(first.state["words"]) == ["again"]
    assert isinstance(first.state, DictState)


async def test_s_state_3_handler_state_is_there_before_during_and_after_and_is_a_copy() -> None:
    async def body(ctx: Context) -> None:
        await ctx.store.set("n", 2)
        changed.set()
        await gate.wait()
        await ctx.store.set("n", 3)

    changed, gate = anyio.Event(), anyio.Event()
    handler = Calling(body).run(state={"n": 1})
    assert handler.state["n"] == 1
    with anyio.fail_after(5):
        async with handler:
            await changed.wait()
            snapshot = handler.state
            assert snapshot["n"] == 2
            snapshot["n"] = 99
            assert handler.state["n"] == 2
            gate.set()
    assert handler.state["n"] == 3


async def test_s_state_3_a_run_that_never_touches_its_state_has_an_empty_one() -> None:
    async def body(ctx: Context) -> None: ...

    handler = Calling(body).run()
    assert dict(handler.state) == {}
    await handler
    assert dict(handler.state) == {}


async def test_s_state_3_the_state_of_a_failed_run_is_what_was_last_committed() -> None:
    async def body(ctx: Context) -> None:
        await ctx.store.set("n", 1)
        async with ctx.store.edit_state() as state:
            state["n"] = 2
            raise ValueError("no")

    handler = Calling(body).run()
    with anyio.fail_after(5), pytest.raises(ValueError):
        await handler
    assert handler.state["n"] == 1


@pytest.mark.parametrize(
    ("given", "says"),
    [(3, "int"), ({"total": 3}, "total"), (DataTally(), "DataTally")],
    ids=["number", "unknown field", "another class"],
)
def test_s_state_3_a_state_of_the_wrong_kind_is_refused_by_run(given: object, says: str) -> None:
    async def body(ctx: Context[Tally]) -> None: ...

    with pytest.raises(WorkflowRuntimeError, match=says):
        TypedCalling(body).run(state=given)


async def test_s_state_3_a_store_used_after_its_execution_is_an_error() -> None:
    stores: list[StateStore[Any]] = []
    contexts: list[Context] = []

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Work:
            stores.append(ctx.store)
            contexts.append(ctx)
            return Work()

        @step
        async def end(self, ctx: Context, ev: Work) -> StopEvent:
            for use in (stores[0].get("n", default=1), stores[0].set("n", 1), stores[0].clear()):
                with pytest.raises(WorkflowRuntimeError, match=r"step 'begin' had ended"):
                    await use
            with pytest.raises(WorkflowRuntimeError, match=r"step 'begin' had ended"):
                contexts[0].store  # noqa: B018  # reading it is the use
            with pytest.raises(WorkflowRuntimeError, match=r"step 'begin' had ended"):
                async with stores[0].edit_state():
                    pass
            return StopEvent()

    with anyio.fail_after(5):
        await Flow().run()


async def test_s_state_3_a_plain_function_has_no_store_and_is_told_so() -> None:
    """It runs in a thread, where nothing can be awaited."""

    class Flow(Workflow):
        @step
        def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.store  # noqa: B018  # reading it is the use
            return StopEvent()

    with (
        anyio.fail_after(5),
        pytest.raises(WorkflowRuntimeError, match=r"ctx\.store cannot be used in step 'begin'"),
    ):
        await Flow().run()
