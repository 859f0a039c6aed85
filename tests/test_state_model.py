"""A run's state against a naive model, under any order of operations."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from anyio_workflows._errors import StatePathError, WorkflowRuntimeError
from anyio_workflows._ledger.state import RunState

keys = st.sampled_from("abcd")
leaves = st.none() | st.integers(-3, 3) | st.sampled_from(["x", "y"])
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=2), max_leaves=5
)
paths = st.lists(keys | st.sampled_from("01"), min_size=1, max_size=3).map(".".join)


def naive_get(state: Any, path: str) -> Any:
    """Follow *path* through dicts and lists the plain way."""
    for segment in path.split("."):
        if isinstance(state, dict):
            state = state[segment]
        elif isinstance(state, list):
            state = state[int(segment)]
        else:
            raise LookupError(segment)
    return state


def naive_set(state: Any, path: str, value: Any) -> None:
    """Set *path* the plain way, in a state that may be left half changed."""
    *way, last = path.split(".")
    for segment in way:
        try:
            state = naive_get(state, segment)
        except (LookupError, ValueError):
            assign(state, segment, {})
            state = naive_get(state, segment)
    assign(state, last, value)


def assign(state: Any, segment: str, value: Any) -> None:
    """Set one item of a dict or a list."""
    if isinstance(state, dict):
        state[segment] = value
    elif isinstance(state, list):
        state[int(segment)] = value
    else:
        raise LookupError(segment)


class StateComparison(RuleBasedStateMachine):
    """A `RunState` and a dict that is deep-copied at every opportunity, kept alike."""

    def __init__(self) -> None:
        super().__init__()
        self.state = RunState(None, None)
        self.model: dict[str, Any] = {}
        self.draft: Any = None
        self.edited: Any = None

    @rule(path=paths, value=values)
    def set(self, path: str, value: Any) -> None:
        """A set works, or fails and changes nothing; while an edit is open, nobody sets."""
        if self.draft is not None:
            return
        after = copy.deepcopy(self.model)
        try:
            naive_set(after, path, copy.deepcopy(value))
        except (LookupError, ValueError):
            with pytest.raises(WorkflowRuntimeError):
                self.state.set(path, value)
        else:
            self.state.set(path, value)
            self.model = after

    @rule(path=paths)
    def get(self, path: str) -> None:
        """What is there is found, what is not is an error."""
        try:
            expected = naive_get(self.model, path)
        except (LookupError, ValueError):
            with pytest.raises(StatePathError):
                self.state.get(path)
        else:
            assert self.state.get(path) == expected

    @rule(content=st.dictionaries(keys, values, max_size=3))
    def set_state(self, content: dict[str, Any]) -> None:
        """The whole is replaced by a copy."""
        if self.draft is None:
            self.state.set_state(content)
            self.model = copy.deepcopy(content)
            content["late"] = 1

    @rule()
    def clear(self) -> None:
        """An untyped state is empty by default."""
        if self.draft is None:
            self.state.clear()
            self.model = {}

    @rule()
    def edit(self) -> None:
        """An edit starts from what is committed."""
        if self.draft is None:
            self.draft = self.state.edit()
            self.edited = copy.deepcopy(self.model)

    @rule(data=st.data())
    def change(self, data: st.DataObject) -> None:
        """The block does to the view what dicts and lists allow."""
        if self.draft is None:
            return
        key = data.draw(keys)
        change = data.draw(st.sampled_from(CHANGES))
        value = data.draw(values)
        outcomes = []
        for target in (self.draft.view, self.edited):
            try:
                outcomes.append(copy.deepcopy(change(target, key, copy.deepcopy(value))))
            except KeyError as error:
                outcomes.append(repr(error))
        assert outcomes[0] == outcomes[1]
        assert key not in self.edited or self.draft.view[key] == self.edited[key]

    @rule(commit=st.booleans())
    def end(self, *, commit: bool) -> None:
        """An edit takes effect as a whole or not at all."""
        if self.draft is None:
            return
        if commit:
            self.draft.commit()
            self.model = self.edited
        else:
            self.draft.discard()
        self.draft = None

    @invariant()
    def alike(self) -> None:
        """Readers see the committed state, in the same order; the block sees its own."""
        taken = self.state.snapshot()
        assert taken == self.model
        assert list(taken) == list(self.model)
        if self.draft is not None:
            # Not by value, which would touch, and so copy, everything.
            assert list(self.draft.view) == list(self.edited)
            assert len(self.draft.view) == len(self.edited)


def deepen(target: Any, key: str, value: Any) -> None:
    """Change what is inside a value."""
    inner = target[key]
    if isinstance(inner, list):
        inner.append(value)
    elif isinstance(inner, dict):
        inner["a"] = value


CHANGES: list[Callable[[Any, str, Any], Any]] = [
    deepen,
    lambda target, key, value: target.__setitem__(key, value),
    lambda target, key, value: target.__delitem__(key),
    lambda target, key, value: target.pop(key),
    lambda target, key, value: target.setdefault(key, value),
    lambda target, key, value: target.update({key: value, "a": value}),
    lambda target, key, value: key in target,
    lambda target, key, value: target.get(key),
    lambda target, key, value: list(target.items()),
    lambda target, key, value: target.clear(),
]

TestStateComparison = StateComparison.TestCase


@given(values)
def test_a_copy_is_equal_and_shares_nothing_that_can_change(value: Any) -> None:
    """Whatever is built of dicts and lists."""
    state = RunState(None, {"value": value})
    taken = state.get_state()["value"]
    assert taken == value

    def containers(inside: Any) -> set[int]:
        items = inside.values() if isinstance(inside, dict) else inside if isinstance(inside, list) else ()
        found = set().union(*map(containers, items))
        return found | {id(inside)} if isinstance(inside, dict | list) else found

    assert not containers(taken) & containers(value)
    assert not containers(taken) & containers(state.get("value"))
