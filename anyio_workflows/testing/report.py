"""Say what happened under a schedule that breaks something: who went on when, and where that was not the first."""

import re
from collections.abc import Iterator

from ._turnstile import Turn
from .exploration import Exploration

_WIDE = 110
"""Characters of one line of the table."""

_MOST = 150
"""Lines of a table that is shown whole; of a longer one, what is near to a deviation or to an end."""

_NEAR = 12
"""Lines before and after."""

_LOCAL = re.compile(r"(?:[\w.]+\.<locals>\.)+")


def table(seen: Exploration) -> str:
    """Return the turns of *seen*, a line for each thing that was done, and a star where the order deviates."""
    rows = [("", "", note.who, note.text) for note in seen.before]
    for turn in seen.turns:
        rows += _rows(turn)
    rows = [(star, number, _plain(who), _plain(what)) for star, number, who, what in rows]
    wide = min(max((len(who) for _, _, who, _ in rows), default=0), _WIDE // 2)
    last, lines = "", []
    for star, number, who, what in rows:
        shown = "" if who == last and not star else _cut(who, wide)
        last = who
        lines.append(_cut(f"{star:1} {number:>4}  {shown:<{wide}}  {what}", _WIDE).rstrip())
    return "\n".join(_without_the_dull(lines))


def _rows(turn: Turn) -> Iterator[tuple[str, str, str, str]]:
    star, number = "*" if turn.chosen else "", str(turn.number)
    notes = list(turn.notes)
    if not notes or notes[0].who == "":
        did = {"end": "is done", "begin": "is about to begin"}.get(turn.point.kind, "goes on")
        yield star, number, turn.point.label, did + _instead(turn)
    else:
        first = notes.pop(0)
        yield star, number, first.who, first.text + _instead(turn)
    for note in notes:
        yield "", "", note.who, note.text


def _instead(turn: Turn) -> str:
    return f"   <-- first was {turn.among[0].label}" if turn.chosen else ""


def _plain(text: str) -> str:
    """Without the function in which a test has declared its events."""
    return _LOCAL.sub("", text)


def _cut(text: str, wide: int) -> str:
    return text if len(text) <= wide else text[: wide - 3] + "..."


def _without_the_dull(lines: list[str]) -> Iterator[str]:
    if len(lines) <= _MOST:
        yield from lines
        return
    marks = [0, len(lines)] + [
        place for place, line in enumerate(lines) if line.startswith("*") or "---" in line
    ]
    kept = {place + away for place in marks for away in range(-_NEAR, _NEAR + 1)}
    left_out = 0
    for place, line in enumerate(lines):
        if place not in kept:
            left_out += 1
            continue
        if left_out:
            yield f"        ... {left_out} lines ..."
            left_out = 0
        yield line


def failure_report(seen: Exploration, what: str, replay: str) -> str:
    """Return the report on *seen*, in which *what* is wrong; *replay* is the call that shows it again."""
    return (
        f"{what}\n\n"
        f"{seen.workflow.workflow_name} on {seen.backend}, {_how(seen)}; {came_to(seen)}.\n\n"
        f"{table(seen)}\n\n"
        f"Show it again with\n"
        f"    {replay}\n"
        f"or above a test that has @given(schedule=schedules()), with\n"
        f'    @example(schedule="{seen.schedule}")'
    )


def _how(seen: Exploration) -> str:
    count = seen.schedule.deviations
    died = f", the program dies at turn {seen.schedule.crash_at}" if seen.has_crashed else ""
    if not count:
        return f"with no deviation: in the order of an ordinary run{died}"
    return f"with {count} deviation{'s' * (count > 1)} (*) from the order of an ordinary run{died}"


def came_to(seen: Exploration) -> str:
    """Return what the run has come to."""
    if seen.is_deadlocked:
        return "the run hangs"
    if seen.error is not None:
        return f"the run raised {_plain(repr(seen.error))}"
    return f"the run gave {_plain(repr(seen.result))}"
