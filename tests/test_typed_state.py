"""S-STATE-2: attrs classes, dataclasses and pydantic models are equal as states, recorded or not."""

import dataclasses
from typing import Any

import anyio
import attrs
import pydantic
import pytest

from anyio_workflows import (
    CheckpointError,
    Context,
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCheckpointer,
    WorkflowRuntimeError,
    step,
)


@attrs.define
class AttrsPlace:
    street: str = "none"


@attrs.define
class AttrsState:
    count: int = 0
    names: list[str] = attrs.field(factory=list)
    limits: dict[str, int] = attrs.field(factory=dict)
    place: AttrsPlace = attrs.field(factory=AttrsPlace)


@dataclasses.dataclass
class DataPlace:
    street: str = "none"


@dataclasses.dataclass
class DataState:
    count: int = 0
    names: list[str] = dataclasses.field(default_factory=list)
    limits: dict[str, int] = dataclasses.field(default_factory=dict)
    place: DataPlace = dataclasses.field(default_factory=DataPlace)


class ModelPlace(pydantic.BaseModel):
    street: str = "none"


class ModelState(pydantic.BaseModel):
    count: int = 0
    names: list[str] = []
    limits: dict[str, int] = {}
    place: ModelPlace = ModelPlace()


STATES = [AttrsState, DataState, ModelState]


class Half(Event):
    pass


def flow_of(cls: type, first: Any, second: Any = None) -> Workflow:
    class Flow(Workflow):
        @step
        async def one(self, ctx: Context[cls], ev: StartEvent) -> Half:  # type: ignore[valid-type]  # a variable
            await first(ctx)
            return Half()

        @step
        async def two(self, ctx: Context[cls], ev: Half) -> StopEvent:  # type: ignore[valid-type]  # a variable
            if second is not None:
                await second(ctx)
            return StopEvent(result=await ctx.store.get_state())

    return Flow()


async def change(ctx: Context[Any]) -> None:
    async with ctx.store.edit_state() as state:
        state.count += 1
        state.names.append("Ann")
        state.place.street = "High Street"
    await ctx.store.set("limits.a", 1)
    await ctx.store.set("names.0", "Bob")
    await ctx.store.set("place.street", (await ctx.store.get("place.street")).upper())


async def add_ten(ctx: Context[Any]) -> None:
    async with ctx.store.edit_state() as state:
        state.count += 10


@pytest.mark.parametrize("cls", STATES)
async def test_s_state_2_every_kind_of_class_is_changed_recorded_and_restored_alike(cls: Any) -> None:
    checkpointer = WorkflowCheckpointer(workflow=flow_of(cls, change, add_ten))
    handler = checkpointer.run()
    with anyio.fail_after(5):
        state = await handler
        assert type(state) is cls
        assert (state.count, state.names, state.limits) == (11, ["Bob"], {"a": 1})
        assert state.place.street == "HIGH STREET"
        assert handler.state == state
        half = checkpointer.loads(checkpointer.dumps(checkpointer.checkpoints[handler.run_id][0]))
        assert type(half.state) is cls
        assert half.state.count == 1
        assert await checkpointer.run_from(half) == state


@pytest.mark.parametrize("cls", STATES)
async def test_s_state_3_every_kind_of_class_begins_with_a_mapping_or_an_object(cls: Any) -> None:
    workflow = flow_of(cls, add_ten)
    given = cls(count=5)
    with anyio.fail_after(5):
        assert (await workflow.run(state={"count": 1})).count == 11
        assert (await workflow.run(state=given)).count == 15
        assert given.count == 5
        with pytest.raises(
            WorkflowRuntimeError, match=f"{cls.__name__}, the state of this run, has no field 'cuont'"
        ):
            workflow.run(state={"cuont": 1})


@pytest.mark.parametrize("cls", STATES)
async def test_s_state_1_a_block_that_raises_changes_nothing_in_any_kind_of_class(cls: Any) -> None:
    async def body(ctx: Context[Any]) -> None:
        with pytest.raises(ValueError, match="no"):
            async with ctx.store.edit_state() as state:
                state.count += 1
                state.names.append("Ann")
                state.place.street = "High Street"
                raise ValueError("no")

    with anyio.fail_after(5):
        assert await flow_of(cls, body).run() == cls()


@pytest.mark.parametrize("cls", STATES)
@pytest.mark.parametrize("is_first", [True, False])
async def test_a_change_that_cannot_be_recorded_is_an_error_and_no_change(
    cls: Any, *, is_first: bool
) -> None:
    """A field that is never validated would otherwise hold what no checkpoint can: from then on every change fails."""
    wrong: Any = "many"

    async def body(ctx: Context[Any]) -> None:
        if not is_first:
            await ctx.store.set("names", ["Ann"])
        with pytest.raises(CheckpointError, match=r"state\.count: 'many' is of type str, not int"):
            await ctx.store.set("count", wrong)
        assert await ctx.store.get("count") == 0
        with pytest.raises(CheckpointError, match=r"state\.count"):
            async with ctx.store.edit_state() as state:
                state.names.append("Bob")
                state.count = wrong
        assert await ctx.store.get_state() == cls(names=[] if is_first else ["Ann"])

    with anyio.fail_after(5):
        state = await flow_of(cls, body, add_ten).run(checkpoints=True)
    assert state == cls(count=10, names=[] if is_first else ["Ann"])


@attrs.frozen
class FrozenAttrs:
    count: int = 0


@dataclasses.dataclass(frozen=True)
class FrozenData:
    count: int = 0


class FrozenModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)

    count: int = 0


@pytest.mark.parametrize(
    ("cls", "way", "replace"),
    [
        (FrozenAttrs, "attrs.evolve(...)", lambda state: attrs.evolve(state, count=3)),
        (FrozenData, "dataclasses.replace(...)", lambda state: dataclasses.replace(state, count=3)),
        (FrozenModel, "state.model_copy(update=...)", lambda state: state.model_copy(update={"count": 3})),
    ],
)
async def test_s_state_2_a_frozen_class_of_any_kind_says_how_it_is_replaced(
    cls: Any, way: str, replace: Any
) -> None:
    async def body(ctx: Context[Any]) -> None:
        for change_it in (lambda: ctx.store.edit_state().__aenter__(), lambda: ctx.store.set("count", 1)):
            with pytest.raises(WorkflowRuntimeError) as caught:
                await change_it()
            assert str(caught.value) == f"{cls.__name__} is frozen; use ctx.store.set_state({way})"
        await ctx.store.set_state(replace(await ctx.store.get_state()))

    checkpointer = WorkflowCheckpointer(workflow=flow_of(cls, body))
    handler = checkpointer.run()
    with anyio.fail_after(5):
        assert await handler == cls(count=3)
        assert await checkpointer.run_from(checkpointer.checkpoints[handler.run_id][0]) == cls(count=3)


class Checked(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(validate_assignment=True)

    count: int = pydantic.Field(default=0, ge=0)


@attrs.define
class AttrsChecked:
    count: int = attrs.field(default=0, validator=[attrs.validators.instance_of(int), attrs.validators.ge(0)])


@pytest.mark.parametrize("cls", [AttrsChecked, Checked])
async def test_s_state_2_a_class_that_validates_does_so_in_every_change(cls: Any) -> None:
    async def body(ctx: Context[Any]) -> None:
        with pytest.raises(ValueError, match=r"greater than or equal|must be >="):
            await ctx.store.set("count", -1)
        with pytest.raises(ValueError, match=r"greater than or equal|must be >="):
            async with ctx.store.edit_state() as state:
                state.count -= 1
        assert await ctx.store.get_state() == cls()

    with anyio.fail_after(5):
        assert await flow_of(cls, body).run() == cls()
        with pytest.raises(ValueError, match=r"greater than or equal|must be >="):
            flow_of(cls, body).run(state={"count": -1})


class Required(pydantic.BaseModel):
    owner: str


@dataclasses.dataclass
class DataRequired:
    owner: str


@pytest.mark.parametrize("cls", [Required, DataRequired])
async def test_a_state_that_cannot_be_made_by_itself_says_what_to_give(cls: Any) -> None:
    async def body(ctx: Context[Any]) -> None:
        await ctx.store.get("owner")

    with anyio.fail_after(5):
        with pytest.raises(WorkflowRuntimeError, match=r"can't be made without 'owner'; give run\(state="):
            await flow_of(cls, body).run()
        assert (await flow_of(cls, body).run(state={"owner": "Ann"})).owner == "Ann"
