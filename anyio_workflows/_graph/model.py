"""The graph of a workflow: its steps, its events, and which event goes to which step."""

from collections.abc import Collection, Sequence
from typing import Any

import attrs

from .._declare.step import StepDeclaration
from .._errors import WorkflowConfigurationError, WorkflowStepDoesNotExistError, WorkflowValidationError
from .._events import Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent
from .results import result_problems
from .validate import problems, start_classes, stop_classes


@attrs.frozen(kw_only=True, eq=False)
class Graph:
    """Steps without a mistake among them; `build_graph` makes one."""

    name: str
    """Name of the workflow."""

    steps: tuple[StepDeclaration, ...]
    """In order of declaration."""

    start_event_class: type[StartEvent]
    """What a run starts with."""

    stop_event_class: type[StopEvent]
    """What a run ends with."""

    events: tuple[type[Event], ...]
    """Every event type that is known, in the order in which the steps name them, extra ones last."""

    takes_human_responses: bool
    """A step is annotated with a `HumanResponseEvent`, or declares to wait for one."""

    publishes_prompts: bool
    """A step is annotated to return an `InputRequiredEvent`."""

    @property
    def step_names(self) -> tuple[str, ...]:
        """Names of the steps, in order of declaration."""
        return tuple(step.name for step in self.steps)

    def index(self, name: str) -> int:
        """Return the place of the step called *name* in `steps`.

        Raises:
            WorkflowStepDoesNotExistError: There is none.
        """
        names = self.step_names
        if name not in names:
            raise WorkflowStepDoesNotExistError(name, names)
        return names.index(name)

    def targets(self, event_type: type[Event]) -> tuple[int, ...]:
        """Return the places of the steps that get an event of exactly *event_type*, in order of declaration."""
        return tuple(index for index, step in enumerate(self.steps) if step.takes(event_type))

    # What draws a graph is loaded by those who look at one, and builds upon this module.

    def to_svg(self) -> str:
        """Return it as an SVG image, the same each time; ``to_mermaid`` and ``to_dot`` are for other programs to draw."""
        from .svg import to_svg  # noqa: PLC0415

        return to_svg(self)

    def to_html(self) -> str:
        """Return it as a page of HTML that loads nothing from elsewhere: the image, and a table of the steps."""
        from .page import to_html  # noqa: PLC0415

        return to_html(self)

    def _repr_mimebundle_(self, **_options: object) -> dict[str, str]:
        """Show it in a notebook."""
        from .page import to_text  # noqa: PLC0415

        return {"image/svg+xml": self.to_svg(), "text/plain": to_text(self)}


def build_graph(
    name: str,
    steps: Sequence[StepDeclaration],
    *,
    skip_graph_checks: Collection[str] = (),
    extra_events: Sequence[type[Event]] = (),
    result: Any = Any,
) -> Graph:
    """Return what *steps* amount to.

    Args:
        name: Name of the workflow, for messages.
        steps: In order of declaration.
        skip_graph_checks: Mistakes to allow everywhere: ``"reachability"``, ``"terminal_event"``, ``"dead_end"``.
        extra_events: Event types that no annotation names, but that steps send or that come from outside.
        result: What the workflow's class says that its runs give; Any if it says nothing.

    Raises:
        WorkflowConfigurationError: Among the mistakes is one of the start or stop event.
        WorkflowValidationError: The steps don't fit together; all mistakes are named.
    """
    found = problems(steps, skip_graph_checks=skip_graph_checks, extra_events=extra_events)
    found += result_problems(steps, result)
    if found:
        configuration = any(problem.configuration for problem in found)
        error = WorkflowConfigurationError if configuration else WorkflowValidationError
        raise error([problem.sentence for problem in found], workflow=name)
    consumed = [event for step in steps for event in (*step.accepts, *step.waits_for)]
    named = [event for step in steps for event in (*step.accepts, *step.waits_for, *step.returns)]
    return Graph(
        name=name,
        steps=tuple(steps),
        start_event_class=start_classes(steps)[0],
        stop_event_class=stop_classes(steps)[0],
        events=tuple(dict.fromkeys([*named, *extra_events])),
        takes_human_responses=any(issubclass(event, HumanResponseEvent) for event in consumed),
        publishes_prompts=any(
            issubclass(event, InputRequiredEvent) for step in steps for event in step.returns
        ),
    )
