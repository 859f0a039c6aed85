"""Show on stderr what a run is doing, as its stream tells it."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .. import Event, InternalDispatchEvent, StepState, StepStateChanged, StopEvent, Workflow


class Progress:
    """A line for each event that a step wrote; below them on a terminal, a table of the steps."""

    def __init__(self, workflow: Workflow, console: Console) -> None:
        self._console = console
        self._running = dict.fromkeys(workflow.graph.step_names, 0)
        self._done = dict(self._running)
        self._live = Live(
            get_renderable=self._table,
            console=console,
            refresh_per_second=8,
            transient=True,
            # What steps print belongs above the table if it goes to the same screen, and nowhere else if not.
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self.resume()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.pause()

    def pause(self) -> None:
        """Leave the terminal to somebody else."""
        self._live.stop()

    def resume(self) -> None:
        """Take the terminal again."""
        if self._console.is_terminal:
            self._live.start()

    def show(self, event: Event) -> None:
        """Take notice of what came on the stream; the end of the run is told by others."""
        match event:
            case StepStateChanged(name=step, step_state=StepState.RUNNING):
                self._running[step] += 1
            case StepStateChanged(name=step, step_state=StepState.NOT_RUNNING):
                self._running[step] -= 1
                self._done[step] += 1
            case InternalDispatchEvent() | StopEvent():
                pass
            case _:
                self._console.print(Text(repr(event)), no_wrap=True, overflow="ellipsis")

    def _table(self) -> Table:
        table = Table("step", "running", "done", box=None)
        for step, running in self._running.items():
            table.add_row(Text(step), str(running), str(self._done[step]), style="" if running else "dim")
        return table
