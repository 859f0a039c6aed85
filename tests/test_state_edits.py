"""S-STATE-1 and 2: what an ``edit_state`` block sees, copies and leaves."""

import copy
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import attrs
import pytest
from state_classes import DataTally, LooseTally, LoudCopy, Tally, pickled, typed

from anyio_workflows._errors import WorkflowRuntimeError
from anyio_workflows._ledger.state import RunState


@pytest.fixture(autouse=True)
def _quiet() -> None:
    LoudCopy.touched = 0


def test_s_state_1_an_edit_is_seen_when_it_is_committed_and_not_before() -> None:
    """Readers meanwhile see the committed state, even of what the block has changed already."""
    state = RunState(None, {"count": 1, "names": ["ada"], "old": 0})
    draft = state.edit()
    view = draft.view
    view.count += 1
    view["names"].append("bob")
    view.new = [1]
    del view["old"]
    assert state.get_state() == {"count": 1, "names": ["ada"], "old": 0}
    assert view == {"count": 2, "names": ["ada", "bob"], "new": [1]}
    draft.commit()
    assert state.get_state() == {"count": 2, "names": ["ada", "bob"], "new": [1]}


@typed
def test_s_state_2_the_view_of_a_typed_state_is_one_of_its_class(cls: Callable[..., Any]) -> None:
    """Methods, properties, comparison and evolve work on it; what is committed is a plain instance again."""
    state = RunState(cls, {"count": 1, "names": ["ada"]})
    draft = state.edit()
    view = draft.view
    assert isinstance(view, cls)  # type: ignore[arg-type]  # a class
    view.add("bob")
    view.limits["high"] = 9
    assert view.size == 2
    assert view == cls(count=2, names=["ada", "bob"], limits={"high": 9})
    assert repr(view) == repr(cls(count=2, names=["ada", "bob"], limits={"high": 9}))
    assert state.get_state() == cls(count=1, names=["ada"])
    draft.commit()
    assert type(state.get_state()) is cls
    assert state.get_state() == cls(count=2, names=["ada", "bob"], limits={"high": 9})


@typed
def test_a_discarded_edit_leaves_nothing(cls: Callable[..., Any]) -> None:
    """Not even of what was changed deep inside."""
    state = RunState(cls, {"names": ["ada"], "limits": {"high": 1}})
    draft = state.edit()
    draft.view.add("bob")
    draft.view.limits = {}
    draft.discard()
    assert state.get_state() == cls(names=["ada"], limits={"high": 1})


def test_s_state_1_a_view_is_a_mapping_like_any_other() -> None:
    """What was deleted is gone, what was added is there, in the order of a dict."""
    state = RunState(None, {"a": 1, "b": [2], "c": 3})
    draft = state.edit()
    view = draft.view
    del view["a"]
    with pytest.raises(KeyError):
        _ = view["a"]
    with pytest.raises(KeyError):
        del view["a"]
    view["a"] = 4
    view["d"] = 5
    del view["d"]
    assert view.pop("b") == [2]
    assert list(view.items()) == [("c", 3), ("a", 4)]
    draft.commit()
    assert list(state.get_state().items()) == [("c", 3), ("a", 4)]


T = TypeVar("T")


@attrs.define
class Computing(Generic[T]):
    """A state with what classes may have beside fields."""

    items: list[T] = attrs.field(factory=list)
    _secret: list[int] = attrs.field(factory=list)

    @functools.cached_property
    def total(self) -> int:
        return len(self.items)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)


def test_s_state_2_what_a_class_has_beside_public_fields_works_in_the_view() -> None:
    """Cached properties, private fields, parameters and a __setattr__ of its own."""
    state = RunState(Computing[int], {"secret": [1]})
    draft = state.edit()
    draft.view.items = [1, 2]
    draft.view._secret.append(2)
    assert draft.view.total == 2
    assert attrs.asdict(draft.view) == {"items": [1, 2], "_secret": [1, 2]}
    assert attrs.evolve(draft.view, items=[]) == Computing[int](secret=[1, 2])
    assert state.get_state() == Computing[int](secret=[1])
    draft.commit()
    assert state.get_state() == Computing([1, 2], [1, 2])
    assert state.get("total") == 2


def test_a_field_that_can_not_change_is_shared() -> None:
    """There is no use in a copy of a tuple of numbers."""
    state = RunState(LooseTally, None)
    state.set("names", ("ada", "bob"))
    draft = state.edit()
    assert draft.view.names is state.get("names")
    draft.commit()
    assert state.get("names") == ("ada", "bob")


def test_the_validators_of_a_state_hold_in_the_view() -> None:
    """attrs runs them on assignment, and so they run here."""
    state = RunState(Tally, None)
    draft = state.edit()
    with pytest.raises(TypeError):
        draft.view.count = "many"
    with pytest.raises(AttributeError):
        draft.view.colour = 1
    draft.commit()
    assert state.get_state() == Tally()


@typed
def test_a_field_deleted_in_the_view_is_gone(cls: Callable[..., Any]) -> None:
    """It does not come back from the committed state."""
    state = RunState(cls, None)
    draft = state.edit()
    del draft.view.names
    with pytest.raises(AttributeError):
        _ = draft.view.names
    draft.commit()
    assert state.get("names", "gone") == "gone"


@typed
@pytest.mark.parametrize(
    "taken",
    [
        copy.copy,
        copy.deepcopy,
        pickled,
    ],
)
def test_a_copy_of_a_view_is_a_plain_state_of_its_own(
    cls: Callable[..., Any], taken: Callable[[Any], Any]
) -> None:
    """It shares nothing with the committed state."""
    state = RunState(cls, {"names": ["ada"]})
    draft = state.edit()
    mine = taken(draft.view)
    assert type(mine) is cls
    mine.names.append("bob")
    draft.discard()
    assert state.get_state() == cls(names=["ada"])


@pytest.mark.parametrize("cls", [LooseTally, DataTally])
def test_the_dict_of_a_view_is_no_way_around_the_copy(cls: Callable[..., Any]) -> None:
    """`vars(state)` gives the values themselves, so they are copied first."""
    state = RunState(cls, {"names": ["ada"]})
    draft = state.edit()
    vars(draft.view)["names"].append("bob")
    draft.discard()
    assert state.get("names") == ["ada"]


def test_a_view_does_not_run_the_hooks_of_subclassing() -> None:
    """A class that registers its subclasses must not find one that nobody wrote."""
    registered: list[type] = []

    @attrs.define(slots=False)
    class Registering:
        count: int = 0

        def __init_subclass__(cls) -> None:
            registered.append(cls)

    state = RunState(Registering, None)
    draft = state.edit()
    draft.view.count = 1
    draft.commit()
    assert registered == []
    assert state.get("count") == 1


def test_a_class_that_no_view_can_be_made_of_is_copied_whole() -> None:
    """A plain class, or one derived from a built-in type."""

    class Plain:
        def __init__(self) -> None:
            self.names = ["ada"]

    @dataclasses.dataclass(eq=False)
    class Items(list[int]):
        names: list[str] = dataclasses.field(default_factory=lambda: ["ada"])

    for cls in (Plain, Items):
        state = RunState(cls, None)
        draft = state.edit()
        draft.view.names.append("bob")
        assert state.get("names") == ["ada"]
        draft.commit()
        draft.view.names.append("carl")
        assert state.get("names") == ["ada", "bob"]
        state.edit().discard()


def test_s_state_1_an_edit_copies_what_the_block_touches_and_nothing_else() -> None:
    """A counter beside a thousand documents costs no copy of a document."""
    state = RunState(None, {"count": 0})
    for number in range(1000):
        state.set(f"loud{number}", LoudCopy())
    draft = state.edit()
    draft.view.count += 1
    draft.view["loud1"] = "replaced"
    del draft.view["loud2"]
    assert "loud3" in draft.view
    assert len(draft.view) == 1000
    assert draft.view["loud4"] is draft.view.loud4
    draft.commit()
    assert LoudCopy.touched == 1
    assert state.get("loud1") == "replaced"


@typed
def test_s_state_2_a_typed_edit_copies_the_fields_that_are_touched(cls: Callable[..., Any]) -> None:
    """Reading or changing one field does not copy the others."""
    state = RunState(cls, None)
    state.set("names", [LoudCopy()])
    state.set("limits", {"loud": LoudCopy()})
    draft = state.edit()
    draft.view.count += 1
    draft.view.names = []
    draft.commit()
    assert LoudCopy.touched == 0
    draft = state.edit()
    assert draft.view.limits is draft.view.limits
    draft.commit()
    assert LoudCopy.touched == 1


def test_aliases_within_one_edit_stay_aliases() -> None:
    """Two names for one list are two names for one list in the block and after it."""
    shared = ["ada"]
    state = RunState(None, {"first": shared, "second": {"deep": shared}})
    draft = state.edit()
    draft.view["first"].append("bob")
    assert draft.view["second"]["deep"] is draft.view["first"]
    draft.commit()
    assert state.get("second.deep") is state.get("first")
    taken = state.get_state()
    assert taken["first"] is taken["second"]["deep"]


def test_an_ended_view_refuses_changes_and_reads_copies() -> None:
    """A change made too late would be lost without a word; reading the result after the block is usual."""
    for cls in (None, Tally):
        state = RunState(cls, {"count": 1, "names": ["ada"]})
        draft = state.edit()
        view = draft.view
        view.names.append("bob")
        draft.commit()
        assert view.count == 1
        assert view.names == ["ada", "bob"]
        view.names.append("late")
        with pytest.raises(WorkflowRuntimeError, match="the edit_state block that gave this state has ended"):
            view.count = 2
        with pytest.raises(WorkflowRuntimeError, match="has ended"):
            del view.count
        assert state.get("names") == ["ada", "bob"]


def test_an_ended_dict_view_can_not_be_cleared() -> None:
    """As it can't be changed in any other way."""
    state = RunState(None, {"x": 1})
    draft = state.edit()
    draft.discard()
    with pytest.raises(WorkflowRuntimeError, match="has ended"):
        draft.view.clear()
    assert state.get("x") == 1
