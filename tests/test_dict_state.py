"""`DictState`, the state of a run that declares no type for it."""

import copy
from collections.abc import Callable

import pytest
from state_classes import pickled

from anyio_workflows._errors import WorkflowRuntimeError
from anyio_workflows._ledger.state import DictState, RunState


def test_dict_state_is_read_and_written_by_item_and_by_attribute() -> None:
    """As the DictState of LlamaIndex Workflows."""
    state = DictState({"a": 1}, b=2)
    state.c = 3
    state["d"] = 4
    del state.a
    assert (state.b, state["c"], state.get("d"), state.get("e")) == (2, 3, 4, None)
    assert "a" not in state
    assert list(state) == ["b", "c", "d"]
    assert state == DictState(b=2, c=3, d=4)
    assert state == {"b": 2, "c": 3, "d": 4}
    assert state != 5
    assert repr(state) == "DictState({'b': 2, 'c': 3, 'd': 4})"
    state.clear()
    assert not state


def test_dict_state_says_what_it_lacks() -> None:
    """A misspelled attribute is an AttributeError, so that hasattr works."""
    state = DictState()
    assert not hasattr(state, "count")
    with pytest.raises(AttributeError, match="DictState has no 'count'"):
        _ = state.count
    with pytest.raises(AttributeError, match="DictState has no 'count'"):
        del state.count
    with pytest.raises(WorkflowRuntimeError, match=r"write state\['items'\] = \.\.\."):
        state.items = [1]  # type: ignore[assignment, method-assign]  # the mistake in question
    state["items"] = [1]
    assert RunState(None, state).get("items.0") == 1


@pytest.mark.parametrize(
    "taken",
    [copy.copy, copy.deepcopy, pickled],
)
def test_a_copied_or_pickled_dict_state_is_one_of_its_own(taken: Callable[[DictState], DictState]) -> None:
    """The default copy of a class with slots would share the dict."""
    state = DictState(a=1)
    twin = taken(state)
    twin["b"] = 2
    assert state == {"a": 1}
    assert twin == DictState(a=1, b=2)
