"""Make a schedule that fails smaller: fewer deviations from an ordinary run, then earlier ones.

Hypothesis could, number by number; but what a report is read by is how many deviations there are, and a schedule with
one is found by trying them, which are as many as there are choices.
"""

from collections.abc import Callable, Iterator

from .exploration import Exploration
from .schedule import Schedule

_MOST_RUNS = 400
"""Runs that a smaller schedule is worth: a second or two."""


class Shrinker:
    """Looks for the simplest schedule that fails in the same way."""

    def __init__(self, seen: Exploration, fails: Callable[[Schedule], Exploration | None]) -> None:
        self.best: Exploration = seen
        """What was seen under the simplest schedule that fails."""
        self._schedule = seen.came_to
        self._fails = fails
        self._tried: set[Schedule] = {seen.schedule}
        self._runs = 0

    def shrink(self) -> Exploration:
        """Return what is seen under the simplest schedule that was found."""
        self._try(Schedule())
        self._try_all(self._without_crash)
        self._try_all(self._with_crash_alone)
        if self._schedule.deviations > 1:
            self._try_all(self._with_one)
        before = None
        while before != self._schedule and self._runs < _MOST_RUNS:
            before = self._schedule
            for candidates in (self._with_fewer, self._earlier, self._lower, self._with_earlier_crash):
                self._try_all(candidates)
        return self.best

    def _try(self, schedule: Schedule) -> bool:
        if schedule in self._tried or self._runs >= _MOST_RUNS:
            return False
        self._tried.add(schedule)
        self._runs += 1
        seen = self._fails(schedule)
        if seen is None or _cost(seen.came_to) >= _cost(self._schedule):
            return False
        self._schedule, self.best = seen.came_to, seen
        return True

    def _try_all(self, candidates: Callable[[], Iterator[Schedule]]) -> None:
        while any(map(self._try, candidates())):
            pass

    def _without_crash(self) -> Iterator[Schedule]:
        if self._schedule.crash_at is not None:
            yield Schedule(self._schedule.choices)

    def _with_crash_alone(self) -> Iterator[Schedule]:
        if self._schedule.crash_at is not None and self._schedule.deviations:
            for crash_at in range(len(self.best.turns)):
                yield Schedule((), crash_at)

    def _with_one(self) -> Iterator[Schedule]:
        # Between how many one chooses is known of the run that fails alone, and may be less in another.
        for place, among in enumerate(self.best.draws):
            for choice in range(1, among):
                yield Schedule((0,) * place + (choice,), self._schedule.crash_at)

    def _with_fewer(self) -> Iterator[Schedule]:
        """First without half of the deviations, last without one."""
        choices = self._schedule.choices
        places = [place for place, choice in enumerate(choices) if choice]
        size = max(1, len(places) // 2)
        while size:
            for first in range(0, len(places), size):
                gone = set(places[first : first + size])
                yield self._with(0 if place in gone else choice for place, choice in enumerate(choices))
            size //= 2

    def _earlier(self) -> Iterator[Schedule]:
        """One deviation at an earlier choice."""
        choices = self._schedule.choices
        for place, choice in enumerate(choices):
            if choice:
                for target in range(place):
                    if not choices[target]:
                        moved = list(choices)
                        moved[target], moved[place] = choice, 0
                        yield self._with(moved)

    def _lower(self) -> Iterator[Schedule]:
        choices = self._schedule.choices
        for place, choice in enumerate(choices):
            for lower in range(1, choice):
                yield self._with((*choices[:place], lower, *choices[place + 1 :]))

    def _with_earlier_crash(self) -> Iterator[Schedule]:
        for crash_at in range(self._schedule.crash_at or 0):
            yield Schedule(self._schedule.choices, crash_at)

    def _with(self, choices: object) -> Schedule:
        return Schedule(tuple(choices), self._schedule.crash_at)  # type: ignore[arg-type]


def _cost(schedule: Schedule) -> tuple[object, ...]:
    crash = schedule.crash_at
    places = tuple(place for place, choice in enumerate(schedule.choices) if choice)
    return crash is not None, schedule.deviations, places, schedule.choices, -1 if crash is None else crash
