"""Say what happened under a schedule that breaks something: who went on when, and where that was not the first."""

from collections.abc import Iterator

from ._turnstile import Turn
from .exploration import Exploration

_WIDE = 100
"""Characters of one line of the table."""


def table(seen: Exploration) -> str:
    """Return the turns of *seen*, a line each; those that deviate from the order of an ordinary run have a star."""
    lines = [f"     {note}" for note in seen.before]
    for turn in seen.turns:
        lines += _lines(turn)
    return "\n".join(line[:_WIDE].rstrip() for line in lines)


def _lines(turn: Turn) -> Iterator[str]:
    star = "*" if turn.chosen else " "
    choice = f"[{turn.chosen + 1} of {len(turn.among)}]" if len(turn.among) > 1 else ""
    yield f"{star}{turn.number:>4}  {turn.point.kind:<10} {turn.point.label}  {choice}"
    if turn.chosen:
        passed_over = ", ".join(f"{point.kind} {point.label}" for point in turn.among[: turn.chosen])
        yield f"                   before {passed_over}"
    for note in turn.notes:
        yield f"                   {note}"


def failure_report(seen: Exploration, what: str, replay: str) -> str:
    """Return the report on *seen*, in which *what* is wrong; *replay* is the line that shows it again."""
    deviations = seen.schedule.deviations
    how = "no deviation" if not deviations else f"{deviations} deviation{'s' * (deviations > 1)}"
    name = seen.workflow.workflow_name
    came_to = f"raised {seen.error!r}" if seen.error is not None else f"gave {seen.result!r}"
    return (
        f"{what}\n\n"
        f"{name} on {seen.backend}, schedule {str(seen.schedule)!r} ({how}); the run {came_to}\n\n"
        f"{table(seen)}\n\n"
        f"Show it again with:\n    {replay}"
    )
