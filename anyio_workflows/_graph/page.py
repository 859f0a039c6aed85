"""Write a graph as a page of HTML, and as plain text."""

from .._declare.step import StepDeclaration
from .._declare.wording import name_of
from .._markup import page, table
from .model import Graph
from .svg import to_svg


def _names(events: tuple[type, ...], separator: str) -> str:
    return separator.join(map(name_of, events))


def _step_line(step: StepDeclaration) -> str:
    waits = f" (waits for {_names(step.waits_for, ', ')})" if step.waits_for else ""
    return f"{step.name}: {_names(step.accepts, ' | ')} -> {_names(step.returns, ' | ') or 'None'}{waits}"


def to_text(graph: Graph) -> str:
    """Return *graph* as a line for each of its steps."""
    return "\n".join([graph.name, *(f"    {_step_line(step)}" for step in graph.steps)])


def to_html(graph: Graph) -> str:
    """Return *graph* as a page that needs nothing else: the drawing, and a table of the steps."""
    rows = [
        (
            "",
            (
                step.name,
                _names(step.accepts, ", "),
                _names(step.returns, ", "),
                _names(step.waits_for, ", "),
                step.num_workers,
                "async def" if step.is_async else "def, in a thread",
            ),
        )
        for step in graph.steps
    ]
    headings = ("step", "accepts", "returns", "waits for", "workers", "runs as")
    drawing = f'<div class="drawing">\n{to_svg(graph)}\n</div>'
    return page(graph.name, [drawing, "<h2>Steps</h2>", table(headings, rows)])
