"""Whether collections are exact: compared with a list of what was added, and what was taken from it.

The oracle knows nothing of the engine: it goes by what an observer was told, and by what `Context.collect_events`
promises.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from .. import Event
from .._brief import brief
from ..abc import ObservedAttempt, ObservedRun

Expected: TypeAlias = Sequence[type[Event]] | Mapping[type[Event], int]


@attrs.define(eq=False)
class _Item:
    """One event in a collection."""

    event: Event
    delivery: int
    """Whose it is: that has added it, and does not do so again."""
    added_by: ObservedAttempt
    known_to: ObservedAttempt
    """The last attempt that has come with it; each may have made an object of its own."""
    known_as: Event
    """That object."""
    taken_by: ObservedAttempt | None = None
    is_consumed: bool = False


class CollectionsModel:
    """What the collections of one run hold, those of its children and of its second life included."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str, str | None], list[_Item]] = defaultdict(list)
        self._in_work: set[ObservedAttempt] = set()
        self._root: ObservedRun | None = None

    def run_started(self, run: ObservedRun) -> None:
        """A run has started: the first one, a child, or the second life of the first."""
        if self._root is None:
            self._root = run

    def run_ended(self, run: ObservedRun) -> None:
        """A run has ended: a child that is begun anew under its id has nothing of it."""
        assert self._root is not None, "a run starts before it ends"
        ended = run.run_id.removeprefix(self._root.run_id)
        for key in [key for key in self._items if key[0] == ended]:
            del self._items[key]

    def attempt_started(self, attempt: ObservedAttempt) -> None:
        """An attempt is in work."""
        self._in_work.add(attempt)

    def attempt_ended(self, attempt: ObservedAttempt, *, has_completed: bool) -> None:
        """Its takes are final, or all that it did is undone."""
        self._in_work.discard(attempt)
        if not has_completed:
            self._undo({attempt})
            return
        for items in self._items.values():
            for item in items:
                item.is_consumed = item.is_consumed or item.taken_by is attempt

    def died(self) -> None:
        """What goes on begins as if those in work had not begun."""
        self._undo(self._in_work)
        self._in_work = set()
        self._root = None

    def _undo(self, attempts: set[ObservedAttempt]) -> None:
        """Put back what *attempts* took, then withdraw what they added, but for what others have taken."""
        for items in self._items.values():
            for item in items:
                if item.taken_by in attempts and not item.is_consumed:
                    item.taken_by = None
            items[:] = [item for item in items if item.taken_by is not None or item.added_by not in attempts]

    def collected(
        self, attempt: ObservedAttempt, event: Event, expected: Expected, buffer_id: str | None
    ) -> list[Event] | None:
        """Add *event*, and return what the call is to be given."""
        assert self._root is not None, "a run starts before its steps do"
        # The second life of a run has another id, of which those of its children are made.
        run_id = attempt.run.run_id.removeprefix(self._root.run_id)
        items = self._items[run_id, attempt.step, buffer_id]
        self._add(items, attempt, event)
        order = _in_order(expected)
        there = {
            kind: [item for item in items if item.taken_by is None and type(item.event) is kind]
            for kind in set(order)
        }
        if any(len(there[kind]) < count for kind, count in Counter(order).items()):
            return None
        taken = [there[kind].pop(0) for kind in order]
        for item in taken:
            item.taken_by = attempt
        return [item.event for item in taken]

    @staticmethod
    def _add(items: list[_Item], attempt: ObservedAttempt, event: Event) -> None:
        own = [item for item in items if item.delivery == attempt.delivery]
        if any(item.known_as is event for item in own):
            return
        for item in own:
            # Left from an attempt that was undone, because another one has taken it.
            if item.known_to is not attempt and are_same(item.event, event):
                item.known_to, item.known_as = attempt, event
                return
        items.append(_Item(event, attempt.delivery, attempt, attempt, event))


def are_same(event: Event | None, other: Event | None) -> bool:
    """Return whether two events are one, or were written and read between."""
    return event is other or (type(event) is type(other) and brief(event) == brief(other))


def _are_same_batches(batch: Sequence[Event] | None, due: Sequence[Event] | None) -> bool:
    if batch is None or due is None:
        return batch is due
    return len(batch) == len(due) and all(map(are_same, batch, due))


def _in_order(expected: Expected) -> list[type[Event]]:
    if isinstance(expected, Mapping):
        return [kind for kind, count in expected.items() for _ in range(count)]
    return list(expected)


def what_is_inexact(facts: Sequence[tuple[Any, ...]]) -> str | None:
    """Return what a call of `Context.collect_events` was given wrongly; None if each was given what it should be."""
    model = CollectionsModel()
    for name, *about in facts:
        match name:
            case "run_started":
                model.run_started(about[0])
            case "run_ended":
                model.run_ended(about[0])
            case "attempt_started":
                model.attempt_started(about[0])
            case "attempt_ended":
                model.attempt_ended(about[0], has_completed=about[1].status == "completed")
            case "died":
                model.died()
            case "event_collected":
                attempt, event, expected, batch, buffer_id = about
                due = model.collected(attempt, event, expected, buffer_id)
                if not _are_same_batches(batch, due):
                    return (
                        f"step {attempt.step!r} collected {brief(event)} and was given {listed(batch)}; "
                        f"{listed(due)} was due"
                    )
    return None


def listed(batch: Sequence[Event] | None) -> str:
    """Return *batch* in words."""
    return "nothing" if batch is None else f"[{', '.join(map(brief, batch))}]"
