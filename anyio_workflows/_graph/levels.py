"""Which joins belong to which fan-out, and which handler to which step: what events can lead to by their types.

A step that returns ``list[E]`` opens a level of its own; a step that takes a list closes it, and what it returns
belongs to the level around it.
"""

from collections.abc import Mapping, Sequence

from .._declare.step import StepDeclaration
from .._events import Event


def handler_of(steps: Sequence[StepDeclaration]) -> dict[int, int]:
    """Return the place of the handler of each step that has one, by the place of the step."""
    named = {
        name: index
        for index, step in enumerate(steps)
        if step.handles
        for name in step.handles.for_steps or ()
    }
    wildcard = next(
        (i for i, step in enumerate(steps) if step.handles and step.handles.for_steps is None), None
    )
    found = {}
    for index, step in enumerate(steps):
        handler = named.get(step.name, wildcard)
        if handler is not None and step.handles is None:
            found[index] = handler
    return found


def joins_of(steps: Sequence[StepDeclaration]) -> dict[int, tuple[int, ...]]:
    """Return the places of the steps that join what each step with ``list[E]`` fans out, by the place of that step."""
    handlers = handler_of(steps)
    producers = [index for index, step in enumerate(steps) if step.fans_out]
    found: dict[int, frozenset[int]] = {producer: frozenset() for producer in producers}
    while True:
        # What a level leads to depends on what the levels in it lead to: until nothing is new.
        again = {producer: _reached(producer, steps, handlers, found) for producer in producers}
        if again == found:
            return {producer: tuple(sorted(joins)) for producer, joins in found.items()}
        found = again


def _reached(
    producer: int,
    steps: Sequence[StepDeclaration],
    handlers: Mapping[int, int],
    known: Mapping[int, frozenset[int]],
) -> frozenset[int]:
    """Return the joins that events of the fan-out of *producer* come to on its own level."""
    joins: set[int] = set()
    events: list[type[Event]] = list(steps[producer].fans_out)
    seen: set[type[Event]] = set()
    giving: set[int] = set()

    def give(index: int) -> None:
        """Go on with what the step at *index* gives without leaving the level."""
        if index in giving:
            return
        giving.add(index)
        events.extend(steps[index].bare)
        for inner in known.get(index, ()):
            give(inner)
        if index in handlers:
            give(handlers[index])

    while events:
        event = events.pop()
        if event in seen:
            continue
        seen.add(event)
        for index, step in enumerate(steps):
            if step.takes(event) and step.joins is not None:
                joins.add(index)
            elif step.takes(event):
                give(index)
    return frozenset(joins)
