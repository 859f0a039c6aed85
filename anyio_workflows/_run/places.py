"""How many runs there may be at once: ``Workflow(num_concurrent_runs=...)`` and ``RunGroup(max_runs=...)``.

A line of our own, because a run has to stand in it in the same pass in which it is started: trio begins tasks
that were started together in random order, and what they did first there would decide who comes first.
"""

from collections.abc import Callable, Container

import anyio
from anyio.lowlevel import RunVar

from .._errors import WorkflowRuntimeError


class _Line:
    """Who has a place in one event loop, and who waits for one, in order."""

    __slots__ = ("holders", "waiting")

    def __init__(self) -> None:
        self.holders: set[object] = set()
        self.waiting: dict[object, anyio.Event] = {}


class Places:
    """A number of places for runs, per event loop, given out first come, first served."""

    __slots__ = ("_line", "_number", "_what")

    def __init__(self, number: int, what: str) -> None:
        self._number = number
        self._what = what
        # A workflow may serve several event loops, each in a thread of its own.
        self._line: RunVar[_Line] = RunVar(f"anyio_workflows places of {what}")

    def _of_this_loop(self) -> _Line:
        try:
            return self._line.get()
        except LookupError:
            line = _Line()
            self._line.set(line)
            return line

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._of_this_loop().waiting)

    @property
    def is_full(self) -> bool:
        """Whether the next one has to wait."""
        return len(self._of_this_loop().holders) >= self._number

    def stand_in_line(self, run: object) -> None:
        """Give *run* a place, or have it wait for one; does nothing if it has done so before."""
        line = self._of_this_loop()
        if run in line.holders or run in line.waiting:
            return
        if len(line.holders) < self._number:
            line.holders.add(run)
        else:
            line.waiting[run] = anyio.Event()

    async def take(self, run: object, waits_for: Callable[[object, Container[object]], bool]) -> None:
        """Wait until *run* has its place.

        Args:
            run: Who is to have it.
            waits_for: Whether somebody who holds a place cannot end before one of others has.

        Raises:
            WorkflowRuntimeError: Every place is held by somebody who waits for *run*, or for another one in line.

        Cancellation:
            `give_back` has to be called, as in any case.
        """
        self.stand_in_line(run)
        line = self._of_this_loop()
        bell = line.waiting.get(run)
        if bell is None:
            return
        if all(waits_for(holder, line.waiting) for holder in line.holders):
            raise WorkflowRuntimeError(
                f"{self._what} allows {self._number} runs at once, and every one of them waits for a run that waits "
                f"for a place, which would go on for ever; raise the limit, or do not nest runs of it"
            )
        await bell.wait()

    def give_back(self, run: object) -> None:
        """Give back the place of *run*, or leave the line."""
        line = self._of_this_loop()
        if line.waiting.pop(run, None) is not None or run not in line.holders:
            return
        line.holders.remove(run)
        if line.waiting:
            following = next(iter(line.waiting))
            line.holders.add(following)
            line.waiting.pop(following).set()
