"""Write rows of strings as an aligned or a Markdown table."""

import platform
from collections.abc import Sequence
from importlib import metadata


def text(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the table for a terminal; the first two columns are words, the others numbers."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        aligned = [
            cell.ljust(width) if number < 2 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(aligned).rstrip()

    return "\n".join([line(headings), line(["-" * width for width in widths]), *map(line, rows)])


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the table for a document."""
    rule = ["---" if number < 2 else "---:" for number in range(len(headings))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [headings, rule, *rows])


def microseconds(seconds: float) -> str:
    """Return *seconds* in microseconds, with three figures."""
    value = seconds * 1e6
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def environment(distributions: Sequence[str]) -> dict[str, str]:
    """Return what a reader has to know to judge the numbers: interpreter, machine, versions."""
    versions = {name: _version(name) for name in distributions}
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": f"{platform.system()} {platform.machine()}",
        **{name: version for name, version in versions.items() if version is not None},
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
