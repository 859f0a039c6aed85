"""S-STATE-1 to 3: a run's state by path and as a whole, without an event loop."""

import collections
import time
from collections.abc import Callable
from typing import Any, TypedDict

import attrs
import pytest
from state_classes import (
    FrozenDataTally,
    FrozenTally,
    LoudCopy,
    Tally,
    typed,
)

from anyio_workflows._errors import StatePathError, WorkflowRuntimeError
from anyio_workflows._ledger.state import DictState, RunState


@pytest.fixture(autouse=True)
def _quiet() -> None:
    LoudCopy.touched = 0


def test_s_state_1_a_path_leads_through_keys_indices_and_attributes() -> None:
    """Every kind of container that a state may hold is walked by the same dots."""
    state = RunState(None, {"user": {"tallies": [Tally(names=["ada"]), (1, 2)]}})
    assert state.get("user.tallies.0.names.0") == "ada"
    assert state.get("user.tallies.0.size") == 1
    assert state.get("user.tallies.-1.1") == 2


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("user.age", "'user' has no key 'age' (its keys: 'name', 'pets')"),
        ("absent", "the state has no key 'absent' (its keys: 'user', 'tally')"),
        ("user.pets.3", "'user.pets' has no index 3 (its length: 1)"),
        (
            "tally.colour",
            "'tally' is a Tally, which has no field 'colour' (its fields: 'count', 'names', 'limits')",
        ),
        ("tally.add", "'tally' is a Tally"),
        ("tally.__class__", "'tally' is a Tally"),
        ("user.name.first", "'user.name' is a str, which has no 'first'"),
        ("tally.limits.x", "'tally.limits' has no key 'x' (it is empty)"),
        ("user.pets.append", "'user.pets' is a list, which has no 'append'"),
    ],
)
def test_s_state_1_a_missing_path_is_a_key_error_and_a_value_error_that_says_where(
    path: str, says: str
) -> None:
    """The path alone does not help: the message says how far it leads, and what is there."""
    state = RunState(None, {"user": {"name": "ada", "pets": ["rex"]}, "tally": Tally()})
    with pytest.raises(StatePathError) as caught:
        state.get(path)
    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, ValueError)
    assert caught.value.path == path
    assert says in str(caught.value)
    assert state.get(path, default=None) is None
    assert state.get(path, 7) == 7


def test_a_message_about_many_keys_shows_a_few() -> None:
    """A state may have 100,000 keys."""
    state = RunState(None, {f"key{number}": number for number in range(100)})
    with pytest.raises(StatePathError, match=r"'key4', …\)"):
        state.get("absent")


def test_reading_makes_nothing() -> None:
    """A defaultdict would grow a key by being asked for it."""
    counts: Any = collections.defaultdict(list)
    state = RunState(None, {"counts": counts})
    assert state.get("counts.a", None) is None
    assert state.get("counts") == {}


def test_set_makes_the_dicts_that_are_missing() -> None:
    """As in LlamaIndex Workflows."""
    state = RunState(None, None)
    state.set("user.profile.name", "ada")
    state.set("user.profile.age", 36)
    assert state.get("user") == {"profile": {"name": "ada", "age": 36}}


def test_set_reaches_into_lists_and_objects() -> None:
    """Whatever can be read by path and can be changed, can be set by path."""
    loose = type("Loose", (), {})()
    state = RunState(None, {"items": [0, {"x": 1}], "tally": Tally()})
    state.set("loose", loose)
    state.set("items.0", 5)
    state.set("items.1.x", 2)
    state.set("tally.limits.high", 9)
    state.set("tally.count", 3)
    state.set("loose.extra.deep", 1)
    assert state.get("items") == [5, {"x": 2}]
    assert state.get("tally") == Tally(count=3, limits={"high": 9})
    assert state.get("loose").extra == {"deep": 1}


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("", "'' is no path"),
        ("items.4", "'items' has no index 4 (its length: 1)"),
        ("items.append", "'items' is a list"),
        ("pair.0", "'pair' is a tuple, which can't be changed; set the whole of it"),
        ("span.0", "'span' is a range, which can't be changed; set the whole of it"),
        ("name.first", "'name' is a str"),
        ("nothing.at.all", "'nothing' is a NoneType"),
        (
            "tally.colour",
            "'tally' is a Tally, which has no field 'colour' (its fields: 'count', 'names', 'limits')",
        ),
        ("tally.colour.deep", "'tally' is a Tally, which has no field 'colour'"),
        ("tally.size", "'tally' is a Tally that does not take 'size'"),
        ("frozen.count", "'frozen' is a FrozenTally, which can't be changed; set the whole of it"),
    ],
)
def test_a_set_that_has_no_place_says_so_and_changes_nothing(path: str, says: str) -> None:
    """Half of the dicts on the way would be worse than none."""
    content = {
        "items": [1],
        "pair": (1, 2),
        "span": range(3),
        "name": "ada",
        "nothing": None,
        "tally": Tally(),
        "frozen": FrozenTally(),
    }
    state = RunState(None, content)
    with pytest.raises(WorkflowRuntimeError) as caught:
        state.set(path, 1)
    assert says in str(caught.value)
    assert state.get_state() == content


def test_a_path_that_is_no_text_is_refused() -> None:
    """A key of another type can't be reached by a path."""
    with pytest.raises(WorkflowRuntimeError, match="5 is no path"):
        RunState(None, None).get(5)  # type: ignore[arg-type]  # the mistake in question


def test_s_state_1_get_and_set_neither_copy_nor_compare_anything() -> None:
    """They cost what they touch, whatever else the state holds."""
    state = RunState(None, None)
    state.set("loud", LoudCopy())
    state.set("deep.loud", [LoudCopy() for _ in range(100)])
    state.set("deep.count", 1)
    assert state.get("deep.count") == 1
    assert LoudCopy.touched == 0


def test_s_state_1_get_and_set_do_not_grow_with_the_state() -> None:
    """A thousand times the keys may not cost ten times as much; the margin is for a busy machine."""

    def cost(keys: int) -> float:
        state = RunState(None, {f"key{number}": "x" * 10 for number in range(keys)})
        best = float("inf")
        for _ in range(5):
            began = time.perf_counter()
            for number in range(500):
                state.set("key1", number)
                state.get("key1")
                draft = state.edit()
                draft.view["key1"] += 1
                draft.commit()
            best = min(best, time.perf_counter() - began)
        return best

    assert cost(100_000) < 10 * cost(100)


def test_what_is_set_is_stored_itself() -> None:
    """A client or a large array is not copied on its way in or out."""
    value = [1]
    state = RunState(None, None)
    state.set("value", value)
    assert state.get("value") is value


def test_s_state_3_the_given_state_is_never_changed() -> None:
    """Two runs may start from one object."""
    given_state = {"names": ["ada"], "deep": {"x": 1}}
    state = RunState(None, given_state)
    state.set("deep.x", 2)
    state.get("names").append("bob")
    assert given_state == {"names": ["ada"], "deep": {"x": 1}}


@typed
def test_s_state_3_a_run_starts_with_a_state_a_mapping_or_the_default(cls: Callable[..., Any]) -> None:
    """And `handler.state` of one run starts the next."""
    given_state = cls(count=1, names=["ada"])
    state = RunState(cls, given_state)
    state.get("names").append("bob")
    assert given_state == cls(count=1, names=["ada"])
    following = RunState(cls, state.snapshot())
    assert following.get_state() == cls(count=1, names=["ada", "bob"])
    assert RunState(cls, {"count": 4}).get_state() == cls(count=4)
    assert RunState(cls, None).get_state() == cls()


def test_s_state_3_a_mapping_with_wrong_fields_is_refused_by_name() -> None:
    """A state that silently lacks what was given is found out much later."""
    with pytest.raises(
        WorkflowRuntimeError, match=r"Tally.* has no field 'colour', 'hue' \(its fields: 'count', 'n"
    ):
        RunState(Tally, {"count": 1, "colour": 2, "hue": 3})


def test_a_state_without_default_asks_for_one() -> None:
    """The error comes when the state is first needed: a run that does not need it does not fail."""

    @attrs.define
    class Needs:
        count: int
        name: str = ""

    state = RunState(Needs, None)
    with pytest.raises(WorkflowRuntimeError, match=r"can't be made without 'count'; give run\(state=.*Needs"):
        state.get("name")
    with pytest.raises(WorkflowRuntimeError, match="without 'count'"):
        RunState(Needs, {"name": "ada"})
    assert RunState(Needs, {"count": 1}).get("count") == 1


def test_what_a_states_own_validator_raises_leaves_as_itself() -> None:
    """It is the user's error, in the user's words."""
    with pytest.raises(TypeError, match="must be <class 'int'>"):
        RunState(Tally, {"count": "many"})
    state = RunState(Tally, None)
    with pytest.raises(TypeError, match="must be <class 'int'>"):
        state.set("count", "many")
    assert state.get("count") == 0


def test_a_state_of_the_wrong_class_is_refused() -> None:
    """At the start and later, with what to give instead."""
    with pytest.raises(
        WorkflowRuntimeError, match=r"given a FrozenTally, but the state of this run is a Tally"
    ):
        RunState(Tally, FrozenTally())
    with pytest.raises(WorkflowRuntimeError, match=r"annotate the steps with ctx: Context\[Tally\]"):
        RunState(None, Tally())
    with pytest.raises(WorkflowRuntimeError, match=r"set_state\(\) was given a dict"):
        RunState(Tally, None).set_state({"count": 1})
    with pytest.raises(WorkflowRuntimeError, match=r"set_state\(\) was given a int"):
        RunState(None, None).set_state(1)


@pytest.mark.parametrize("whole", [RunState.get_state, RunState.snapshot, lambda state: state.get("")])
def test_the_whole_state_is_given_as_a_copy(whole: Callable[[RunState], Any]) -> None:
    """What is done to it never shows in the run."""
    state = RunState(None, {"deep": {"names": ["ada"]}})
    taken = whole(state)
    assert isinstance(taken, DictState)
    taken.deep["names"].append("bob")
    taken.extra = 1
    assert state.get_state() == {"deep": {"names": ["ada"]}}


def test_set_state_stores_a_copy_and_clear_goes_back_to_the_default() -> None:
    """For a typed state the default is the class's, not what the run was given."""
    state = RunState(Tally, Tally(count=5))
    mine = Tally(names=["ada"])
    state.set_state(mine)
    mine.names.append("bob")
    assert state.get_state() == Tally(names=["ada"])
    state.clear()
    assert state.get_state() == Tally()

    untyped = RunState(None, {"x": 1})
    untyped.set_state({"y": 2})
    assert untyped.get_state() == DictState(y=2)
    untyped.set_state(DictState(z=3))
    assert untyped.get_state() == {"z": 3}
    untyped.clear()
    assert untyped.get_state() == {}


class Options(TypedDict, total=False):
    """A dict with known keys."""

    x: int


@pytest.mark.parametrize(
    ("state_type", "cls"),
    [
        (dict, dict),
        pytest.param(dict[str, int], dict, id="dict[str,int]"),
        (Options, dict),
        (collections.OrderedDict, collections.OrderedDict),
        (Any, DictState),
    ],
)
def test_a_dict_class_may_be_the_state(state_type: object, cls: type) -> None:
    """`Context[dict]` and `Context[dict[str, int]]` are what some will write."""
    state = RunState(state_type, {"x": 1})
    state.set("deep.y", 2)
    draft = state.edit()
    draft.view["x"] = 3
    draft.commit()
    assert type(state.get_state()) is cls
    assert state.get_state() == {"x": 3, "deep": {"y": 2}}


def test_a_subclass_of_dict_state_is_a_state_class() -> None:
    """It may bring methods and properties, which work in a block as well."""

    class Named(DictState):
        @property
        def name(self) -> str:
            return str(self["first"])

        @name.setter
        def name(self, value: str) -> None:
            self["first"] = value

    state = RunState(Named, {"first": "ada"})
    draft = state.edit()
    assert isinstance(draft.view, Named)
    draft.view.name = "bob"
    draft.commit()
    assert state.get_state() == Named(first="bob")
    assert state.get_state().name == "bob"


@pytest.mark.parametrize(
    ("cls", "way"), [(FrozenTally, "attrs.evolve(...)"), (FrozenDataTally, "dataclasses.replace(...)")]
)
def test_s_state_2_a_frozen_state_is_replaced_and_edit_says_so(cls: type, way: str) -> None:
    """At once: a block that can't change anything need not begin."""
    state = RunState(cls, None)
    says = f"{cls.__name__} is frozen; use ctx.store.set_state({way})"
    for change in (state.edit, lambda: state.set("count", 1), lambda: state.set("limits.high", 1)):
        with pytest.raises(WorkflowRuntimeError) as caught:
            change()
        assert str(caught.value) == says
    state.set_state(cls(count=2))
    assert state.get("count") == 2
