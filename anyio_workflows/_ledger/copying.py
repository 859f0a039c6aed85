"""Copy values so that changing the copy never shows in the original.

What classes declare is read here as well; when something is copied is decided elsewhere.
"""

import copy
import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping, MutableSequence
from types import MemberDescriptorType, NoneType
from typing import Any, NamedTuple, TypeVar

import attrs

ATOMS: frozenset[type] = frozenset({NoneType, bool, int, float, complex, str, bytes})
"""Types whose values can't change; found by type alone, subclasses are copied."""

_Answer = TypeVar("_Answer")


def remember(ask: Callable[[type], _Answer]) -> Callable[[type], _Answer]:
    """Ask *ask* once per class, for as many classes as programs have states."""
    # Bounded, because a class made in a function would otherwise live as long as the process.
    return functools.lru_cache(maxsize=256)(ask)


@functools.cache
def _frozen_setattr() -> object:
    """Return the `__setattr__` of every frozen attrs class."""
    return attrs.make_class("Frozen", (), frozen=True).__setattr__


class Anatomy(NamedTuple):
    """Where the instances of one class written in Python keep their attributes."""

    slots: Mapping[str, MemberDescriptorType]
    """The class's slots, inherited ones included, by the name they are stored under."""

    has_dict: bool
    """True if instances have a ``__dict__``, too."""

    def contents(self, instance: Any) -> dict[str, Any]:
        """Return what *instance* stores, without running any code of its class."""
        found: dict[str, Any] = {}
        for name, slot in self.slots.items():
            try:
                found[name] = slot.__get__(instance)
            except AttributeError:
                continue  # a slot that was never filled, or deleted
        if self.has_dict:
            found.update(object.__getattribute__(instance, "__dict__"))
        return found

    def put(self, instance: Any, name: str, value: Any) -> None:
        """Store *value* under *name* in *instance*, without running any code of its class."""
        if name in self.slots:
            self.slots[name].__set__(instance, value)
        else:
            object.__getattribute__(instance, "__dict__")[name] = value


@remember
def anatomy_of(cls: type) -> Anatomy:
    """Return where instances of *cls* keep their attributes."""
    slots = {
        name: member
        for ancestor in reversed(cls.__mro__)
        for name, member in vars(ancestor).items()
        if isinstance(member, MemberDescriptorType)
    }
    return Anatomy(slots, has_dict=cls.__dictoffset__ != 0)


def is_pydantic(cls: type) -> bool:
    """Return whether *cls* is a pydantic model; pydantic is never imported for the question."""
    model = getattr(sys.modules.get("pydantic"), "BaseModel", None)
    return model is not None and issubclass(cls, model)


def has_fields(cls: type) -> bool:
    """Return whether *cls* is an attrs class or a dataclass."""
    return attrs.has(cls) or dataclasses.is_dataclass(cls)


@remember
def declared_fields(cls: type) -> tuple[str, ...] | None:
    """Return the names of the fields that *cls* declares, or None for a class that may hold anything."""
    if attrs.has(cls):
        return tuple(field.name for field in attrs.fields(cls))
    if dataclasses.is_dataclass(cls):
        return tuple(field.name for field in dataclasses.fields(cls))
    if is_pydantic(cls) and cls.model_config.get("extra") != "allow":  # type: ignore[attr-defined]  # a model
        return tuple(cls.model_fields)  # type: ignore[attr-defined]  # a model
    return None


@remember
def way_to_replace(cls: type) -> str | None:
    """Return the expression that makes a changed instance of a frozen class, or None if *cls* is not frozen."""
    if attrs.has(cls):
        # attrs gives every frozen class the same function, and offers no other way to ask before 25.4.
        return "attrs.evolve(...)" if cls.__setattr__ is _frozen_setattr() else None
    if dataclasses.is_dataclass(cls):
        return "dataclasses.replace(...)" if cls.__dataclass_params__.frozen else None  # type: ignore[attr-defined]
    if is_pydantic(cls):
        frozen = cls.model_config.get("frozen")  # type: ignore[attr-defined]  # a model
        return "state.model_copy(update=...)" if frozen else None
    if issubclass(cls, tuple):
        return "state._replace(...)"
    return None


def copy_value(value: Any, memo: dict[int, Any]) -> Any:
    """Return a deep copy of *value*, in which what can't be copied is shared.

    A state may hold a lock or a client, which are no data: the value around them is copied, they are not.

    Args:
        value: What to copy.
        memo: The memo of `copy.deepcopy`. Aliases within all values that are copied with one memo stay
            aliases; the originals must live as long as the memo.
    """
    kind = type(value)
    if kind in ATOMS:
        return value
    if id(value) in memo:
        return memo[id(value)]
    walk = _WALKS.get(kind)
    if walk is not None:
        return walk(value, memo)
    known = len(memo)
    try:
        return copy.deepcopy(value, memo)
    except Exception:  # noqa: BLE001  # __deepcopy__ and __reduce__ are the user's and raise what they like
        # Newest first: what the failed attempt remembered may be half filled.
        while len(memo) > known:
            memo.popitem()
        return _copy_around(value, memo)


def _copy_around(value: Any, memo: dict[int, Any]) -> Any:
    """Copy an object that holds something that can't be copied, or share it if it can't be rebuilt."""
    kind = type(value)
    own_way = getattr(kind, "__deepcopy__", None)
    if is_pydantic(kind):
        return _copy_model(value, memo)
    if isinstance(value, dict | MutableSequence) and own_way is None:
        return _copy_container(value, memo)
    if has_fields(kind) and own_way is None and not isinstance(value, BaseException):
        return _copy_fields(value, memo)
    memo[id(value)] = value
    return value


def _copy_fields(value: Any, memo: dict[int, Any]) -> Any:
    kind = type(value)
    anatomy = anatomy_of(kind)
    twin = memo[id(value)] = object.__new__(kind)
    for name, item in anatomy.contents(value).items():
        anatomy.put(twin, name, copy_value(item, memo))
    return twin


def _copy_container(value: Any, memo: dict[int, Any]) -> Any:
    # Its own shallow copy keeps what a subclass knows besides its items, as a default factory.
    twin = memo[id(value)] = copy.copy(value)
    for key in twin if isinstance(twin, dict) else range(len(twin)):
        twin[key] = copy_value(twin[key], memo)
    return twin


def _copy_model(value: Any, memo: dict[int, Any]) -> Any:
    twin = memo[id(value)] = value.model_copy()
    for store in (twin.__dict__, twin.__pydantic_extra__, twin.__pydantic_private__):
        for name, item in (store or {}).items():
            store[name] = copy_value(item, memo)
    return twin


def _walk_dict(value: dict[Any, Any], memo: dict[int, Any]) -> dict[Any, Any]:
    twin: dict[Any, Any] = {}
    memo[id(value)] = twin
    for key, item in value.items():
        twin[copy_value(key, memo)] = copy_value(item, memo)
    return twin


def _walk_list(value: list[Any], memo: dict[int, Any]) -> list[Any]:
    twin: list[Any] = []
    memo[id(value)] = twin
    twin.extend(copy_value(item, memo) for item in value)
    return twin


def _walk_set(value: set[Any], memo: dict[int, Any]) -> set[Any]:
    twin = memo[id(value)] = {copy_value(item, memo) for item in value}
    return twin


def _walk_tuple(value: tuple[Any, ...], memo: dict[int, Any]) -> tuple[Any, ...]:
    twin = tuple(copy_value(item, memo) for item in value)
    if all(mine is theirs for mine, theirs in zip(twin, value, strict=True)):
        twin = value
    # A cycle through an item may have copied this tuple already.
    found: tuple[Any, ...] = memo.setdefault(id(value), twin)
    return found


# Built-in containers are walked here, not by deepcopy, which gives up on the whole for one item that it can't copy.
_WALKS: Mapping[type, Callable[[Any, dict[int, Any]], Any]] = {
    dict: _walk_dict,
    list: _walk_list,
    set: _walk_set,
    tuple: _walk_tuple,
}
