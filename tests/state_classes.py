"""Classes that the tests of a run's state use as states and as values."""

import dataclasses
import pickle
import threading
from typing import Any

import attrs
import pytest

LOCK = threading.Lock()
"""A value that can't be copied."""


@attrs.define
class Tally:
    """A slotted attrs state, which validates what is assigned."""

    count: int = attrs.field(default=0, validator=attrs.validators.instance_of(int))
    names: list[str] = attrs.field(factory=list)
    limits: dict[str, int] = attrs.field(factory=dict)

    @property
    def size(self) -> int:
        return len(self.names)

    def add(self, name: str) -> None:
        self.names.append(name)
        self.count += 1


@attrs.define(slots=False)
class LooseTally:
    """An attrs state with a __dict__."""

    count: int = 0
    names: list[str] = attrs.field(factory=list)
    limits: dict[str, int] = attrs.field(factory=dict)

    size = Tally.size
    add = Tally.add


@dataclasses.dataclass
class DataTally:
    """A dataclass state, whose defaults are class attributes."""

    count: int = 0
    names: list[str] = dataclasses.field(default_factory=list)
    limits: dict[str, int] = dataclasses.field(default_factory=dict)

    size = Tally.size
    add = Tally.add


@dataclasses.dataclass(slots=True)
class SlottedDataTally:
    """A dataclass state with slots."""

    count: int = 0
    names: list[str] = dataclasses.field(default_factory=list)
    limits: dict[str, int] = dataclasses.field(default_factory=dict)

    size = Tally.size
    add = Tally.add


@attrs.frozen
class FrozenTally:
    """A frozen attrs state."""

    count: int = 0
    limits: dict[str, int] = attrs.field(factory=dict)


@dataclasses.dataclass(frozen=True)
class FrozenDataTally:
    """A frozen dataclass state."""

    count: int = 0


class LoudCopy:
    """A value that counts how often it is copied or compared."""

    touched = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> "LoudCopy":
        LoudCopy.touched += 1
        return LoudCopy()

    def __eq__(self, other: object) -> bool:
        LoudCopy.touched += 1
        return self is other

    __hash__ = None  # type: ignore[assignment]  # nothing hashes it


typed = pytest.mark.parametrize("cls", [Tally, LooseTally, DataTally, SlottedDataTally])
"""Runs a test for every kind of class that a changeable state may have."""


def pickled(value: Any) -> Any:
    """Return what is left of *value* after a journey through a pickle."""
    return pickle.loads(pickle.dumps(value))  # its own pickle
