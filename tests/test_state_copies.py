"""Copies of a state: what is copied, what is shared, and what it stays."""

import collections
import dataclasses
from typing import Any

import attrs
import pytest
from state_classes import (
    LOCK,
)

from anyio_workflows._errors import WorkflowRuntimeError
from anyio_workflows._ledger.state import RunState


@attrs.define
class Holder:
    """Data beside something that can't be copied."""

    lock: Any
    names: list[str]


@dataclasses.dataclass(frozen=True)
class FrozenHolder:
    """The same, frozen."""

    lock: Any
    names: list[str]


class Tagged(list[Any]):
    """A list subclass."""


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ({"lock": LOCK, "names": ["ada"]}, "names"),
        ([LOCK, ["ada"]], "1"),
        ((LOCK, ["ada"]), "1"),
        (Holder(LOCK, ["ada"]), "names"),
        (FrozenHolder(LOCK, ["ada"]), "names"),
        (collections.OrderedDict(lock=LOCK, names=["ada"]), "names"),
        (collections.defaultdict(list, lock=LOCK, names=["ada"]), "names"),
        (collections.deque([LOCK, ["ada"]], maxlen=2), "1"),
        (Tagged([LOCK, ["ada"]]), "1"),
        ({"holder": [Holder(LOCK, ["ada"])], "lock": LOCK}, "holder.0.names"),
    ],
)
def test_what_can_not_be_copied_is_shared_and_what_is_around_it_copied(value: Any, names: str) -> None:
    """As in LlamaIndex Workflows: a client in the state is no reason to fail."""
    state = RunState(None, None)
    state.set("value", value)
    draft = state.edit()
    mine = draft.view["value"]
    assert type(mine) is type(value)
    state_of_copy = RunState(None, None)
    state_of_copy.set("value", mine)
    state_of_copy.get(f"value.{names}").append("bob")
    assert state.get(f"value.{names}") == ["ada"]
    draft.commit()
    assert state.get(f"value.{names}") == ["ada", "bob"]


def test_a_failed_copy_leaves_no_half_copied_parts_behind() -> None:
    """The memo of a copy that gave up would hand them to the next one."""

    class Refusing:
        def __init__(self, inner: list[int]) -> None:
            self.inner = inner

        def __deepcopy__(self, memo: dict[int, Any]) -> "Refusing":
            memo[id(self.inner)] = ["half"]
            raise RuntimeError("no copies")

    inner = [1]
    refusing = Refusing(inner)
    state = RunState(None, None)
    state.set("refusing", refusing)
    state.set("inner", inner)
    draft = state.edit()
    assert draft.view["refusing"] is refusing
    assert draft.view["inner"] == [1]
    draft.discard()


def test_containers_survive_as_what_they_are() -> None:
    """An OrderedDict stays one, and so does a dict with a default factory."""
    value = {
        "ordered": collections.OrderedDict(b=1, a=2),
        "counter": collections.Counter("aab"),
        "grouped": collections.defaultdict(list, a=[1]),
        "queue": collections.deque([1], maxlen=3),
        "set": {1, 2},
        "fixed": (1, ("a", None)),
    }
    taken = RunState(None, value).get_state()
    assert taken == value
    for key, original in value.items():
        assert type(taken[key]) is type(original)
    assert taken["fixed"] is value["fixed"]
    assert taken["queue"].maxlen == 3
    assert taken["grouped"]["new"] == []


def test_a_value_that_holds_itself_is_copied_once() -> None:
    """Cycles end, whichever containers they lead through."""
    ring: list[Any] = []
    ring.append((ring, {"ring": ring}))
    state = RunState(None, None)
    state.set("ring", ring)
    mine = state.get_state()["ring"]
    assert mine is not ring
    assert mine[0][0] is mine
    assert mine[0][1]["ring"] is mine


def test_s_state_2_a_pydantic_model_types_the_state() -> None:
    """Where pydantic is installed; nothing here imports it."""
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):  # type: ignore[misc, name-defined]  # optional
        count: int = 0
        names: list[str] = []  # noqa: RUF012  # pydantic copies it
        lock: Any = None
        _private: list[int] = pydantic.PrivateAttr(default_factory=list)

    class Needs(pydantic.BaseModel):  # type: ignore[misc, name-defined]  # optional
        model_config = pydantic.ConfigDict(frozen=True)
        count: int

    for lock in (None, LOCK):
        state = RunState(Model, {"count": 1, "lock": lock})
        draft = state.edit()
        draft.view.names.append("ada")
        assert state.get("names") == []
        draft.commit()
        draft.view.names.append("late")
        assert state.get("names") == ["ada"]
        assert type(state.get_state()) is Model
    state.set("count", 5)
    assert state.get("count") == 5
    with pytest.raises(WorkflowRuntimeError, match="has no field 'colour'"):
        state.set("colour", 1)
    with pytest.raises(WorkflowRuntimeError, match="has no field 'colour'"):
        RunState(Model, {"colour": 1})
    with pytest.raises(WorkflowRuntimeError, match="can't be made without 'count'"):
        RunState(Needs, None).get("count")
    with pytest.raises(WorkflowRuntimeError, match=r"Needs is frozen; use .*model_copy\(update=\.\.\.\)"):
        RunState(Needs, Needs(count=1)).edit()


def test_a_named_tuple_is_frozen() -> None:
    """It is replaced like any other value that can't be changed."""
    pair = collections.namedtuple("pair", "left right", defaults=(0, 0))  # noqa: PYI024  # the untyped one, too
    state = RunState(pair, None)
    with pytest.raises(WorkflowRuntimeError, match=r"pair is frozen; .*_replace"):
        state.edit()
    assert state.get("left") == 0
