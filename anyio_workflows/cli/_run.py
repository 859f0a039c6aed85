"""Run a workflow for somebody at a terminal: show how it goes, ask what it asks."""

from contextlib import closing, suppress
from typing import Any

import anyio
from rich.console import Console

from .. import (
    EventFieldsError,
    HumanResponseEvent,
    InputRequiredEvent,
    Workflow,
    WorkflowHandler,
    WorkflowRuntimeError,
)
from ._errors import UnansweredError
from ._progress import Progress
from ._terminal import Terminal

_PROMPT_FIELDS = ("prefix", "msg", "question")
"""Fields of an InputRequiredEvent that hold the words to show, as examples and tutorials call them."""


async def execute(workflow: Workflow, handler: WorkflowHandler, *, console: Console) -> Any:
    """Run *handler* to its end and return its result.

    Args:
        workflow: What it is a run of.
        handler: A run that has not been started.
        console: Where progress is shown.

    Raises:
        Exception: What the run failed with.
        UnansweredError: The run asks for input and there is none, or not of its kind.

    Cancellation:
        Cancels the run.
    """
    with Progress(workflow, console) as progress:
        async with handler:
            await _follow(handler, workflow, progress, expose_internal=not console.quiet)
    return await handler


async def _follow(
    handler: WorkflowHandler, workflow: Workflow, progress: Progress, *, expose_internal: bool
) -> None:
    """Show what comes on the stream, and ask; the questions wait in a thread, the stream goes on."""
    human = _Human(handler, workflow, progress)
    with closing(human), human.scope:
        async for event in handler.stream_events(expose_internal=expose_internal):
            if isinstance(event, InputRequiredEvent):
                human.ask(event)
            else:
                progress.show(event)
    if human.has_left:
        raise UnansweredError(
            f"{workflow.workflow_name} asks for input, and standard input has ended; run it at a terminal, "
            f"or give a line for each question"
        )


class _Human:
    """Whoever sits at the terminal."""

    def __init__(self, handler: WorkflowHandler, workflow: Workflow, progress: Progress) -> None:
        self.scope = anyio.CancelScope()
        self.has_left = False
        self._handler = handler
        self._workflow = workflow
        self._progress = progress
        self._terminal = Terminal(self._answered)
        self._open_questions = 0

    def ask(self, event: InputRequiredEvent) -> None:
        _answer(self._workflow, "")  # before anybody has typed what cannot be sent
        self._open_questions += 1
        self._progress.pause()
        prompt = str(next((event.get(name) for name in _PROMPT_FIELDS if name in event), event))
        self._terminal.ask(prompt if prompt[-1:].isspace() else f"{prompt} ")

    def close(self) -> None:
        self._terminal.close()

    def _answered(self, line: str | None) -> None:
        if line is None:
            self.has_left = True
            self.scope.cancel()
            return
        self._open_questions -= 1
        if not self._open_questions:
            self._progress.resume()
        # The run may have been decided meanwhile, without the answer.
        with suppress(WorkflowRuntimeError):
            self._handler.send_event(_answer(self._workflow, line))


def _answer(workflow: Workflow, line: str) -> HumanResponseEvent:
    """Return *line* as an event that the workflow takes: a bare one, or else of a class with a `response`."""
    kinds = [kind for kind in workflow.events if issubclass(kind, HumanResponseEvent)]
    # A wait in the middle of a step need not be declared; then the graph knows of no answers at all.
    if not kinds or HumanResponseEvent in kinds:
        return HumanResponseEvent(response=line)
    for kind in kinds:
        with suppress(EventFieldsError):
            return kind(response=line)
    names = ", ".join(kind.__qualname__ for kind in kinds)
    raise UnansweredError(
        f"{workflow.workflow_name} asks for input, but takes only {names}; a line of text answers a "
        f"HumanResponseEvent, or a subclass whose one field is 'response'"
    )
