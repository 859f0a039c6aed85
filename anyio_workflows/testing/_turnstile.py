"""Lets one task of an explored run go on at a time, as a schedule says, and notes what happens.

Whether everybody else waits is known by the event loop alone: see `_loops`.
"""

import math
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import attrs

from ..abc import Point
from .schedule import Schedule


class Note(NamedTuple):
    """Something that somebody did."""

    who: str
    """What the execution is called, or the point outside of any; empty if it is nobody."""
    text: str
    """What it did."""


CANCELLED = "is cancelled"
FAILS = "fails: "
"""How notes begin of which several can come at one moment, when a run is cancelled: each time in another order."""

_AT_ONCE = (CANCELLED, FAILS)


@attrs.define
class Turn:
    """One choice, and what came of it."""

    number: int
    """Counts the choices, those included where there was nothing to choose."""

    point: Point
    """Where the task stood that goes on."""

    chosen: int
    """How many came before it and had to wait."""

    among: tuple[Point, ...]
    """Who could have gone on: the task that had the turn before, if it is among them, then the others as they came."""

    notes: list[Note] = attrs.field(factory=list)
    """What the task has done until everybody waited again."""

    draw: int | None = None
    """The place of this choice on the tape, None if there was nothing to choose."""


class Crashed(BaseException):
    """Thrown through a program that dies."""


class _Place:
    __slots__ = ("go_on", "point", "task")

    def __init__(self, point: Point, task: object, go_on: Callable[[], None]) -> None:
        self.point = point
        self.task = task
        self.go_on = go_on


class ScheduledTurnstile:
    """A turnstile that follows a schedule."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._places: list[_Place] = []
        self._newcomers: list[_Place] = []
        """Those who have come since the last turn."""
        self._turn_of: dict[object, int] = {}
        """The last turn of each task that has had one."""
        self._last: object = None
        """The task that went on last; not its id, which another may have after it."""
        self.turns: list[Turn] = []
        """What has happened so far."""
        self.draws: list[int] = []
        """How many there were to choose from, for each choice that was one."""
        self.before: list[Note] = []
        """What was noted before the first turn."""
        self.facts: list[tuple[Any, ...]] = []
        """What an observer was told."""
        self.is_mute: bool = False
        """Nothing is noted: what is left of a run is being thrown away."""
        self.draws_before_crash: int = 0
        self.wait: Callable[[], tuple[object, Awaitable[Any], Callable[[], None]]] = _not_served
        """The loop's: returns the current task, what to await for its turn, and what to call to give it."""
        self.is_crashed: bool = False
        self.on_crash: Callable[[], None] | None = None
        """Called when the program dies."""
        self.on_stuck: Callable[[], None] | None = None
        """Called when nothing can go on any more."""

    async def reach(self, point: Point) -> None:
        """Wait at *point* for the turn of the current task."""
        task, turn, go_on = self.wait()
        place = _Place(point, task, go_on)
        self._newcomers.append(place)
        try:
            await turn
        except BaseException:
            for places in (self._places, self._newcomers):
                if place in places:
                    places.remove(place)
            raise

    def note(self, who: str, text: str) -> None:
        """Note that *who* does what *text* says."""
        if self.is_mute:
            return
        notes = self.turns[-1].notes if self.turns else self.before
        place = len(notes)
        if text.startswith(_AT_ONCE):
            while place and notes[place - 1].text.startswith(_AT_ONCE) and notes[place - 1].who > who:
                place -= 1
        notes.insert(place, Note(who, text))

    def stuck(self) -> None:
        """Note that nothing can go on any more."""
        self.note("", "--- nothing can go on ---")
        self.is_mute = True
        if self.on_stuck is not None:
            self.on_stuck()

    def _let_newcomers_line_up(self) -> None:
        newcomers, self._newcomers = self._newcomers, []
        # Tasks that were woken together come in an order of each backend's own. Here they come in that of their turns
        # before, which for timers is that in which they were set, then new ones, and then those who look for work.
        if len(newcomers) > 1:
            newcomers.sort(key=self._rank)
        self._places += newcomers

    def _rank(self, place: _Place) -> tuple[bool, float]:
        if place.point.kind == "begin":
            return True, place.point.step
        return False, self.last_turn_of(place.task)

    def last_turn_of(self, task: object) -> float:
        """Return the number of the last turn of *task*; infinity if it has had none."""
        return self._turn_of.get(task, math.inf)

    def let_one_through(self) -> bool:
        """Let the next one go on; False if nobody waits. Everybody who could go on by himself has done so."""
        self._let_newcomers_line_up()
        if not self._places:
            return False
        if self._schedule.crash_at == len(self.turns) and not self.is_crashed:
            self.is_crashed = True
            self.note("", "--- the program dies ---")
            self.facts.append(("died", None))
            self.is_mute = True
            self.draws_before_crash = len(self.draws)
            assert self.on_crash is not None, "whoever begins says what dying is"
            self.on_crash()
            return True
        # Whoever had the last turn goes on, as in a run that nobody explores; then those who wait, as they came.
        self._places.sort(key=lambda place: place.task is not self._last)
        among = tuple(place.point for place in self._places)
        chosen, draw = 0, None
        if len(among) > 1:
            draw = len(self.draws)
            self.draws.append(len(among))
            if draw < len(self._schedule.choices):
                chosen = self._schedule.choices[draw] % len(among)
        place = self._places.pop(chosen)
        self.turns.append(Turn(len(self.turns), place.point, chosen, among, draw=draw))
        self._last = place.task
        self._turn_of[place.task] = len(self.turns)
        place.go_on()
        return True


def _not_served() -> tuple[object, Awaitable[Any], Callable[[], None]]:
    raise RuntimeError("a turnstile is for runs that are explored, in a loop that serves it")
