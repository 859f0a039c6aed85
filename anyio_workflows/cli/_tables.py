"""Show what a store holds as tables that a person likes to read."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rich.console import RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from ..abc import Record, RunInfo

_STYLES = {
    "running": "yellow",
    "completed": "green",
    "failed": "red",
    "timed_out": "red",
    "put_away": "cyan",
}
"""How a status is coloured; those that are not here stay as they are."""

_WIDEST = 60
"""Characters of what is shown of an event, or of an outcome in a list."""


def table_of_runs(runs: Iterable[RunInfo]) -> Table:
    """Return a line for each of *runs*."""
    table = _table("run", "workflow", "status", "started", "last change")
    table.add_column("records", justify="right")
    for run in runs:
        table.add_row(
            _plain(run.run_id),
            _plain(run.workflow),
            _status(run),
            _time(run.created_at),
            _time(run.updated_at),
            f"{run.last_sequence + 1:,}",
        )
    return table


def description_of(run: RunInfo, records: Sequence[Record]) -> Table:
    """Return what there is to say of *run* as a whole."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    rows: list[tuple[str, RenderableType]] = [
        ("run", _plain(run.run_id)),
        ("workflow", _plain(run.workflow)),
        ("status", _status(run)),
        ("started", _time(run.created_at)),
        ("last change", _time(run.updated_at)),
        ("records", f"{run.last_sequence + 1:,}, {decimal(sum(len(record.payload) for record in records))}"),
    ]
    if run.parent is not None:
        rows.append(("went on from", _plain(run.parent)))
    outcome = _outcome(run, records)
    if outcome:
        rows.append(("outcome", _plain(outcome)))
    for row in rows:
        table.add_row(*row)
    return table


def table_of_records(run: RunInfo, records: Iterable[Record]) -> Table:
    """Return a line for each of *records* of *run*."""
    table = _table()
    table.add_column("#", justify="right")
    table.add_column("after", justify="right")
    for heading in ("step", "took", "gave"):
        table.add_column(heading, no_wrap=True, overflow="ellipsis")
    table.add_column("size", justify="right")
    for record in records:
        given, output = _events(record)
        table.add_row(
            str(record.sequence),
            f"{record.created_at - run.created_at:,.3f} s",
            "-" if record.step is None else _plain(record.step),
            _event(given),
            _event(output),
            decimal(len(record.payload)),
            style="dim" if record.step is None else "",
        )
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _outcome(run: RunInfo, records: Sequence[Record]) -> str:
    """Return the error that *run* ended with, or else the StopEvent."""
    if run.status == "completed" and records:
        return _described(_events(records[-1])[1])
    return (run.result or b"").decode(errors="replace")


def _events(record: Record) -> tuple[Any, Any]:
    """Return the documents of what a step took and gave, None where there are none."""
    # To the store a payload is bytes; one that is not ours is shown as well as can be.
    try:
        payload = json.loads(record.payload)
    except (ValueError, RecursionError):
        return None, None
    return (payload.get("input"), payload.get("output")) if isinstance(payload, dict) else (None, None)


def _event(document: Any) -> Text:
    text = _described(document)
    return _plain(text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…")


def _described(document: Any) -> str:
    if not isinstance(document, dict):
        return "-"
    fields = [
        f"{name}={json.dumps(value, ensure_ascii=False)}"
        for name, value in document.items()
        if name != "type"
    ]
    return f"{document.get('type', '?')}({', '.join(fields)})"


def _status(run: RunInfo) -> Text:
    return Text(run.status.replace("_", " "), style=_STYLES.get(run.status, ""))


def _plain(text: str) -> Text:
    """Return *text* without what a terminal would obey: a store can be written by hand."""
    return Text("".join(char if char.isprintable() else ascii(char)[1:-1] for char in text))


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S}"
