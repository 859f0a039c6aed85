"""Draw a recorded run as SVG: time from the left to the right, and a row for each worker."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from .._markup import escaped, number, shortened, width_of
from .records import Attempt, Mark, MarkKind, RunTrace

_LEFT, _WIDTH, _RIGHT = 84.0, 1000.0, 24.0
"""Units for the names of the rows, for the time, and after it."""

_TOP, _ROW, _BAR = 26.0, 34.0, 20.0
"""Units for the scale, for a row, and for a bar in it."""

_LEAST = 2.0
"""Units that the shortest bar has: it must be seen."""

_FONT_SIZE = 11
_TICKS = 8
"""About how many numbers the scale has."""

_COLOURS = ("#aecbfa", "#a8dab5", "#fde293", "#d7aefb", "#a1e4f2", "#fdcfe8", "#fcc9a1", "#c5cae9")
_RED, _GREY, _TEXT = "#c5221f", "#80868b", "#202124"

_MARK_COLOURS: Mapping[MarkKind, str] = {
    "outside": "#188038",
    "stream": "#3367d6",
    "engine": _GREY,
    "checkpoint": "#c99700",
}


class _Scale(NamedTuple):
    """From seconds of the clock to units of the drawing."""

    began: float
    ended: float

    def x(self, at: float) -> float:
        """Return where a moment is."""
        span = self.ended - self.began
        return _LEFT + (_WIDTH * (at - self.began) / span if span > 0 else 0.0)

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Yield where the scale has numbers, and which: round ones."""
        span = self.ended - self.began
        if span <= 0:
            yield _LEFT, "0 s"
            return
        gap = next(step for step in _round_numbers() if span / step <= _TICKS)
        unit, name = (1.0, "s") if gap >= 0.1 else (1e3, "ms") if gap >= 1e-4 else (1e6, "µs")  # noqa: PLR2004
        for index in range(int(span / gap) + 1):
            yield self.x(self.began + index * gap), f"{index * gap * unit:g} {name}"


def _round_numbers() -> Iterator[float]:
    """Yield 1, 2, 5, 10, … from a nanosecond on."""
    power = -9
    while True:
        for digit in (1, 2, 5):
            yield digit * 10.0**power
        power += 1


def colours_of(attempts: Sequence[Attempt]) -> dict[str, str]:
    """Return a colour for each step, in the order in which they first began."""
    steps = dict.fromkeys(attempt.step for attempt in attempts)
    return {step: _COLOURS[index % len(_COLOURS)] for index, step in enumerate(steps)}


def _line(x1: float, y1: float, x2: float, y2: float, look: str) -> str:
    return f'<line x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}" {look}/>'


def _rectangle(x: float, y: float, width: float, height: float, look: str) -> str:
    return f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}" {look}/>'


def _told(attempt: Attempt, scale: _Scale, now: float) -> str:
    status = attempt.status or "in work"
    lines = [
        f"{attempt.step}, attempt {attempt.attempt}: {status}",
        f"at {attempt.event}, from {attempt.sender or 'outside'}",
        f"began {attempt.began - scale.began:.3f} s, took {(attempt.ended or now) - attempt.began:.3f} s",
    ]
    lines += [
        f"waited for {wait.event_type}: {wait.answer or 'nothing came' if wait.ended is not None else 'still'}"
        for wait in attempt.waits
    ]
    if attempt.gave:
        lines.append(f"{'raised' if attempt.status == 'failed' else 'gave'} {attempt.gave}")
    return "\n".join(lines)


def _bar(attempt: Attempt, scale: _Scale, colour: str, y: float, now: float) -> str:
    x = scale.x(attempt.began)
    end = scale.x(now if attempt.ended is None else attempt.ended)
    width = max(end - x, _LEAST)
    has_failed = attempt.status == "failed"
    line = _RED if has_failed else _GREY
    fill = "#dadce0" if attempt.status == "cancelled" else colour
    parts = [_rectangle(x, y, width, _BAR, f'rx="2" fill="{fill}" stroke="{line}"')]
    for wait in attempt.waits:
        begin, finish = scale.x(wait.began), scale.x(now if wait.ended is None else wait.ended)
        parts.append(_rectangle(begin, y + 1, finish - begin, _BAR - 2, 'fill="#ffffff" fill-opacity="0.7"'))
    if has_failed:
        parts.append(_line(x, y + _BAR, x + width, y, f'stroke="{_RED}" stroke-width="1.5"'))
    label = attempt.step if attempt.attempt == 1 else f"{attempt.step} ({attempt.attempt})"
    if width_of(label, _FONT_SIZE) + 6 <= width:
        parts.append(
            f'<text x="{number(x + 4)}" y="{number(y + _BAR / 2)}" dominant-baseline="central">{escaped(label)}</text>'
        )
    if attempt.began > attempt.since:
        look = f'stroke="{_RED}" stroke-dasharray="4 3"' if attempt.attempt > 1 else f'stroke="{_GREY}"'
        below = y + _BAR + 4
        parts.append(_line(scale.x(attempt.since), below, x, below, f'stroke-width="2" {look}'))
    kind = attempt.status or "in-work"
    return (
        f'<g class="attempt {kind}"><title>{escaped(_told(attempt, scale, now))}</title>{"".join(parts)}</g>'
    )


def _mark(mark: Mark, scale: _Scale, y: float) -> str:
    said = escaped(f"{mark.kind}, {mark.at - scale.began:.3f} s: {mark.text}")
    return (
        f'<circle cx="{number(scale.x(mark.at))}" cy="{number(y)}" r="4" fill="{_MARK_COLOURS[mark.kind]}">'
        f"<title>{said}</title></circle>"
    )


def timeline(trace: RunTrace) -> str:
    """Return the drawing, the same each time."""
    moments = [attempt.ended or attempt.began for attempt in trace.attempts]
    now = (
        max([trace.began, *moments, *(mark.at for mark in trace.marks)])
        if trace.ended is None
        else trace.ended
    )
    scale = _Scale(trace.began, now)
    workers = max((attempt.worker for attempt in trace.attempts), default=0)
    width, height = _LEFT + _WIDTH + _RIGHT, _TOP + _ROW * (workers + 1)
    middles = [_TOP + _ROW * row + _ROW / 2 for row in range(workers + 1)]
    colours = colours_of(trace.attempts)
    names = ["moments", *(f"worker {worker}" for worker in range(1, workers + 1))]
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{number(width)}" height="{number(height)}" '
                f'viewBox="0 0 {number(width)} {number(height)}" role="img" font-family="system-ui, sans-serif" '
                f'font-size="{_FONT_SIZE}" fill="{_TEXT}">'
            ),
            f"<title>{escaped(shortened(f'{trace.workflow}, run {trace.run_id}', 200))}</title>",
            *(
                _line(x, _TOP - 8, x, height, 'stroke="#e8eaed"')
                + f'<text x="{number(x)}" y="{number(_TOP - 12)}" text-anchor="middle">{said}</text>'
                for x, said in scale.ticks()
            ),
            *(
                f'<text x="4" y="{number(y)}" dominant-baseline="central">{name}</text>'
                for name, y in zip(names, middles, strict=True)
            ),
            *(_mark(mark, scale, middles[0]) for mark in trace.marks),
            *(
                _bar(attempt, scale, colours[attempt.step], middles[attempt.worker] - _BAR / 2 - 2, now)
                for attempt in trace.attempts
            ),
            "</svg>",
        ]
    )
