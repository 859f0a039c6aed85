"""Every schedule with so few deviations, instead of some that are drawn; and whether two runs of one are the same."""

from collections import deque
from collections.abc import Callable, Iterator

from .. import WorkflowError
from .exploration import Exploration
from .schedule import Schedule


class NondeterminismError(WorkflowError):
    """The same schedule was run twice, and not the same happened."""


def check_same(seen: Exploration, again: Exploration) -> None:
    """Compare two runs under one schedule.

    Raises:
        NondeterminismError: They differ; the text has the first place where they do.
    """
    one, other = seen.trace(), again.trace()
    if one == other:
        return
    place = next(
        (place for place, (left, right) in enumerate(zip(one, other, strict=False)) if left != right),
        min(len(one), len(other)),
    )
    left, right = (lines[place].strip() if place < len(lines) else "(nothing more)" for lines in (one, other))
    turn = next(
        (line for line in reversed(one[: place + 1]) if not line.startswith(" ") and line[:1].isdigit()), None
    )
    where = "before the first turn" if turn is None else f"in turn {turn}"
    raise NondeterminismError(
        f"{seen.workflow.workflow_name} was run twice under schedule {str(seen.schedule)!r} on {seen.backend}, "
        f"and not the same happened. The first difference is {where}:\n"
        f"    first:  {left}\n    then:   {right}\n"
        f"Something there is not controlled: random numbers, the time of day, an id, the order of a set, a thread; or "
        f"something is kept from run to run, and a new workflow (or world) has to be made for each"
    )


def all_schedules(
    attempt: Callable[[Schedule], Exploration], most: int, *, crashes: bool
) -> Iterator[Schedule]:
    """Try every schedule with at most *most* deviations, those with fewer first, and give each that was tried."""
    waiting: deque[Schedule] = deque([Schedule()])
    while waiting:
        schedule = waiting.popleft()
        seen = attempt(schedule)
        yield schedule
        if crashes and schedule.crash_at is None:
            waiting += [Schedule(schedule.choices, turn) for turn in range(len(seen.turns))]
        if schedule.deviations < most:
            waiting += _with_one_more(schedule, seen)


def _with_one_more(schedule: Schedule, seen: Exploration) -> Iterator[Schedule]:
    """Deviate once more, later than so far; in another life, if there is one: the first has had its own."""
    choices = schedule.choices
    for place in range(max(len(choices), seen.draws_before_crash), len(seen.draws)):
        zeros = (0,) * (place - len(choices))
        for choice in range(1, seen.draws[place]):
            yield Schedule((*choices, *zeros, choice), schedule.crash_at)
