"""Decide when a collection is complete, and which events it gives.

One `Buffer` is one multiset of a step; whose events it holds until they commit is kept by the delivery.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeAlias, TypeVar

from .._brief import brief
from .._errors import WorkflowRuntimeError
from .._events import Event

EventT = TypeVar("EventT", bound=Event)

Expected: TypeAlias = Sequence[type[EventT]] | Mapping[type[EventT], int]
"""Event types in the order wanted, or how many of each."""


class Entry(NamedTuple):
    """An event in a buffer, at its place in the order of the `collect_events` calls."""

    place: int
    """Counts up within the buffer."""

    event: Event
    """What was collected."""

    recoveries: Mapping[str, int] | None = None
    """How often handlers were called on the way to it, where that matters."""


class Buffer:
    """The events of one step under one ``buffer_id``, keyed by exact type, in order of arrival.

    Every operation costs what it returns, not what is buffered; only `put_back`, which undoes a failed
    attempt, sorts.
    """

    __slots__ = ("_by_type", "_places", "_step", "_validated", "buffer_id", "size", "wanted")

    def __init__(self, step: str, buffer_id: str | None) -> None:
        self.buffer_id: str | None = buffer_id
        self._step = step
        self.size: int = 0
        self.wanted: Mapping[type[Event], int] = {}
        """What the last call expected, for the stall report."""
        self._by_type: dict[type[Event], dict[int, Entry]] = {}
        self._places = 0
        self._validated: tuple[int, Any, Any] | None = None

    def put(self, event: Event, recoveries: Mapping[str, int] | None = None) -> Entry:
        """Add *event* after all others of its type."""
        self._places += 1
        entry = Entry(self._places, event, recoveries)
        self._by_type.setdefault(type(event), {})[entry.place] = entry
        self.size += 1
        return entry

    def take(self, expected: Expected[Any]) -> list[Entry] | None:
        """Return and remove what *expected* asks for, in its order; None if not all of it is there."""
        # Leaving early on the length keeps a collection linear: counting a list of 10,000 types costs
        # more than everything else that happens to an event.
        if isinstance(expected, Mapping):
            wanted: Mapping[type[Event], int] = expected
            if self.size < sum(wanted.values()):
                self.wanted = wanted
                return None
            order = [kind for kind, count in wanted.items() for _ in range(count)]
        else:
            if self.size < len(expected):
                self.wanted = _Sequence(expected)
                return None
            order = list(expected)
            wanted = Counter(order)
            for kind in wanted:
                _check_kind(kind, self._step)
        self.wanted = wanted
        if any(len(self._by_type.get(kind, ())) < count for kind, count in wanted.items()):
            return None
        oldest = {
            kind: iter(tuple(islice(self._by_type[kind].values(), count)))
            for kind, count in wanted.items()
            if count
        }
        taken = [next(oldest[kind]) for kind in order]
        for entry in taken:
            del self._by_type[type(entry.event)][entry.place]
        self.size -= len(taken)
        return taken

    def withdraw(self, entry: Entry) -> bool:
        """Remove *entry*; False if it has been taken."""
        entries = self._by_type.get(type(entry.event), {})
        if entries.pop(entry.place, None) is None:
            return False
        self.size -= 1
        return True

    def put_back(self, taken: Sequence[Entry]) -> None:
        """Return what was taken to its places in the order."""
        for kind in {type(entry.event) for entry in taken}:
            entries = self._by_type.setdefault(kind, {})
            entries.update((entry.place, entry) for entry in taken if type(entry.event) is kind)
            self._by_type[kind] = dict(sorted(entries.items()))
        self.size += len(taken)

    def restore(self, entries: Iterable[Entry], places: int) -> None:
        """Hold *entries*, of which the last ever had the place *places*."""
        self._places = places
        self.put_back(list(entries))

    def entries(self) -> list[Entry]:
        """Return everything buffered, in order of arrival."""
        return sorted(
            (e for entries in self._by_type.values() for e in entries.values()), key=lambda e: e.place
        )

    def shortfall(self) -> list[tuple[str, int, int]]:
        """Return (type name, how many there are, how many the last call wanted) for each type."""
        wanted = dict(self.wanted.items())
        kinds = {
            **wanted,
            **{kind: 0 for kind, entries in self._by_type.items() if entries and kind not in wanted},
        }
        return [
            (getattr(kind, "__qualname__", repr(kind)), len(self._by_type.get(kind, ())), count)
            for kind, count in kinds.items()
        ]

    def validate(self, expected: object) -> None:
        """Raise `WorkflowRuntimeError` if *expected* is not made of event types."""
        if isinstance(expected, Mapping):
            for kind, count in expected.items():
                _check_kind(kind, self._step)
                _check_count(kind, count, self._step)
            return
        if not isinstance(expected, Sequence) or isinstance(expected, str):
            raise WorkflowRuntimeError(_wrong(self._step, expected))
        # The same list comes with every event: looking at all of it each time would make a collection of
        # n events cost n². What a list of the same length hides in its middle is found when it is complete.
        mark = (len(expected), expected[0], expected[-1]) if expected else None
        if mark != self._validated:
            for kind in expected:
                _check_kind(kind, self._step)
            self._validated = mark


class _Sequence(Mapping[type[Event], int]):
    """A list of types as a mapping, counted only when somebody asks."""

    __slots__ = ("_counts", "_kinds")

    def __init__(self, kinds: Sequence[type[Event]]) -> None:
        self._kinds = kinds
        self._counts: Counter[type[Event]] | None = None

    def _counted(self) -> Counter[type[Event]]:
        if self._counts is None:
            self._counts = Counter(self._kinds)
        return self._counts

    def __getitem__(self, kind: type[Event]) -> int:
        return self._counted()[kind]

    def __iter__(self) -> Any:
        return iter(self._counted())

    def __len__(self) -> int:
        return len(self._counted())


def _check_kind(kind: object, step: str) -> None:
    if not (isinstance(kind, type) and issubclass(kind, Event)):
        raise WorkflowRuntimeError(_wrong(step, kind))


def _check_count(kind: type[Event], count: object, step: str) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise WorkflowRuntimeError(
            f"step {step!r} collects {count!r} of {kind.__qualname__}; give a number of events, 0 or more"
        )


def _wrong(step: str, given: object) -> str:
    return (
        f"step {step!r} called collect_events with {brief(given)} where an event type belongs; "
        f"give a list of event classes, as [ResultEvent] * 3, or a mapping, as {{ResultEvent: 3}}"
    )
