"""Write text of the user's into SVG and HTML so that it is text there, and pages that load nothing from elsewhere."""

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML document may have, however they are written: control characters and halves of others."""

_NARROW, _WIDE = 0.6, 1.0
"""Widths of characters in ems, on the safe side: no font is asked, so that a drawing is the same everywhere."""

_STYLE = """
:root { color-scheme: light; }
body { font: 14px/1.5 system-ui, sans-serif; color: #202124; background: #fff; margin: 2rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.drawing { overflow-x: auto; }
table { border-collapse: collapse; margin-top: .5rem; }
th, td { border: 1px solid #dadce0; padding: .25rem .6rem; text-align: left; vertical-align: top; }
th { background: #f1f3f4; }
td { max-width: 40rem; overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.failed td { background: #fce8e6; } .cancelled td { background: #f1f3f4; }
""".strip()

# Even if something were not escaped that should be: nothing is loaded, and nothing runs.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def escaped(text: str) -> str:
    """Return *text* for the content of an element, or for an attribute in quotes, of SVG or HTML."""
    return html.escape(_NOT_XML.sub("\ufffd", text))


def width_of(text: str, size: float) -> float:
    """Return about how many units *text* takes in a font of *size* units."""
    return size * sum(
        _WIDE if unicodedata.east_asian_width(character) in "WF" else _NARROW for character in text
    )


def shortened(text: str, most: int) -> str:
    """Return *text* on one line, cut to *most* characters."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def number(value: float) -> str:
    """Return a coordinate, the same on every machine."""
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")  # + 0.0: there is no -0


def table(headings: Sequence[str], rows: Iterable[tuple[str, Sequence[str | float | int]]]) -> str:
    """Return a table of HTML.

    Args:
        headings: One for each column.
        rows: Each with its class, and its cells; numbers stand at the right.
    """
    lines = ["<table>", f"<tr>{''.join(f'<th>{escaped(heading)}</th>' for heading in headings)}</tr>"]
    for kind, cells in rows:
        written = "".join(
            f"<td>{escaped(cell)}</td>" if isinstance(cell, str) else f'<td class="number">{cell}</td>'
            for cell in cells
        )
        lines.append(f'<tr class="{escaped(kind)}">{written}</tr>' if kind else f"<tr>{written}</tr>")
    return "\n".join([*lines, "</table>"])


def page(title: str, body: Iterable[str]) -> str:
    """Return a page of HTML that needs nothing else; *body* is markup already."""
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8"/>',
        f'<meta http-equiv="Content-Security-Policy" content="{escaped(_POLICY)}"/>',
        f"<title>{escaped(title)}</title>",
        f"<style>\n{_STYLE}\n</style>",
        "</head>",
        "<body>",
        f"<h1>{escaped(title)}</h1>",
        *body,
        "</body>",
        "</html>",
    ]
    return "\n".join(lines) + "\n"
