"""Write recorded runs as a page of HTML: for each a timeline, and tables of all that it shows."""

from collections.abc import Iterable, Mapping, Sequence

from .._markup import escaped, page, table
from .records import Attempt, RunTrace
from .timeline import colours_of, timeline

_LEGEND = (
    "One row for each worker, one bar for each attempt. Pale: it waits for an event. Red and crossed: it failed. Grey: "
    "it was cancelled. Line below: the event stands in line for a worker, dashed red: it waits to be tried again. "
    "Point at anything to read more."
)

_MARKS: Mapping[str, str] = {
    "outside": "from outside",
    "stream": "to the stream",
    "engine": "the engine says",
    "checkpoint": "checkpoint",
}


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _attempt_rows(trace: RunTrace) -> Iterable[tuple[str, Sequence[str | float | int]]]:
    for attempt in trace.attempts:
        status = attempt.status or "in work"
        waits = "; ".join(
            f"{wait.event_type} for {_seconds((wait.ended or wait.began) - wait.began)}"
            if wait.ended is not None
            else f"{wait.event_type}, still"
            for wait in attempt.waits
        )
        yield (
            status if status in ("failed", "cancelled") else "",
            (
                f"{attempt.began - trace.began:.3f}",
                attempt.step,
                attempt.attempt,
                attempt.worker,
                attempt.event,
                attempt.sender or "outside",
                _seconds(attempt.began - attempt.since),
                _seconds(None if attempt.ended is None else attempt.ended - attempt.began),
                waits,
                status,
                attempt.gave,
            ),
        )


def _mark_rows(trace: RunTrace) -> Iterable[tuple[str, Sequence[str | float | int]]]:
    for mark in trace.marks:
        yield "", (f"{mark.at - trace.began:.3f}", _MARKS[mark.kind], mark.text)


def _legend(attempts: Sequence[Attempt]) -> str:
    chips = "".join(
        f'<span style="background: {colour}; border-radius: 3px; padding: 0 .5em; margin-right: .5em">{escaped(step)}</span>'
        for step, colour in colours_of(attempts).items()
    )
    return f"<p>{chips}</p>\n<p>{_LEGEND}</p>"


def _section(trace: RunTrace) -> Iterable[str]:
    yield f"<h2>{escaped(trace.workflow)}, run {escaped(trace.run_id)}</h2>"
    how = trace.status or "under way"
    took = "" if trace.ended is None else f" after {_seconds(trace.ended - trace.began)} s"
    nested = "" if trace.parent_run_id is None else f", in run {trace.parent_run_id}"
    gave = f": {trace.gave}" if trace.gave else ""
    yield (
        f"<p>Started {escaped(trace.started_at.isoformat(timespec='seconds'))}{escaped(nested)}; "
        f"{escaped(how)}{took}{escaped(gave)}</p>"
    )
    if trace.left_out:
        yield f"<p>{trace.left_out} further attempts and moments were not recorded: give most_entries=.</p>"
    yield f'<div class="drawing">\n{timeline(trace)}\n</div>'
    yield _legend(trace.attempts)
    yield "<h3>Attempts</h3>"
    yield table(
        (
            "at (s)",
            "step",
            "attempt",
            "worker",
            "event",
            "sent by",
            "in line (s)",
            "took (s)",
            "waited for",
            "outcome",
            "gave",
        ),
        _attempt_rows(trace),
    )
    yield "<h3>Moments</h3>"
    yield table(("at (s)", "what", "which"), _mark_rows(trace))


def to_html(traces: Sequence[RunTrace]) -> str:
    """Return a page with a section for each of *traces*."""
    names = list(dict.fromkeys(trace.workflow for trace in traces))
    title = f"Runs of {', '.join(names)}" if names else "No runs"
    return page(title, (line for trace in traces for line in _section(trace)))
