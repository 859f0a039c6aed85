"""Run a workflow from end to end, and keep what a test wants to look at."""

from collections import Counter
from collections.abc import Collection
from typing import Any

import attrs

from .. import Event, StartEvent, Workflow


@attrs.frozen(kw_only=True)
class WorkflowTestResult:
    """What a run gave."""

    collected: list[Event]
    """Events of its stream, in their order, the last one included."""

    event_types: Counter[type[Event]]
    """How many of them there are of each class; 0 for any other class."""

    result: Any
    """What awaiting the run gives."""

    state: Any
    """The state of the run at its end, a copy."""


class WorkflowTestRunner:
    """Runs a workflow from end to end and collects the events of its stream."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow

    async def run(
        self,
        start_event: StartEvent | None = None,
        *,
        expose_internal: bool = True,
        exclude_events: Collection[type[Event]] | None = None,
        **options: Any,
    ) -> WorkflowTestResult:
        """Run the workflow, and return its events and its result.

        A run that waits for a person waits for ever, because nobody can answer: use its handler instead.

        Args:
            start_event: What it starts with; or give its fields among *options*.
            expose_internal: Collect what the engine says of itself, too.
            exclude_events: Event classes to leave out; their subclasses are collected.
            **options: Further keywords of `Workflow.run`, such as ``state=``.

        Raises:
            Exception: What the run raises, as itself.

        Cancellation:
            Cancels the run.
        """
        excluded = frozenset(exclude_events or ())
        async with self._workflow.run(start_event, **options) as handler:
            stream = handler.stream_events(expose_internal=expose_internal)
            collected = [event async for event in stream if type(event) not in excluded]
        return WorkflowTestResult(
            collected=collected,
            event_types=Counter(map(type, collected)),
            result=await handler,
            state=handler.state,
        )
