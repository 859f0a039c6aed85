"""Call the function of a step, and drive its coroutine inside a copy of the run's context variables."""

import types
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextvars import Context as ContextVars
from typing import Any, Protocol

from .._declare.signature import CallShape
from .._events import Event, EventList
from .._ledger.plan import Node
from .worker import Execution


class Stretch(Protocol):
    """What a body that suspends means to the run: others have their turn."""

    is_torn_down: bool

    def flush(self) -> None:
        """Start what may start, before others have their turn."""

    def breathed(self) -> None:
        """Note that others have had it."""

    def notice_cancellation(self) -> None:
        """Decide the run if a scope around it is cancelled."""


_NOTHING: Mapping[str, Any] = {}


def call_step(
    node: Node, execution: Execution | None, event: Event, given: Mapping[str, Any] = _NOTHING
) -> Any:
    """Call the function of *node* in whichever shape it has; *given* are its resources, by parameter."""
    shape = node.shape
    argument: Any = event
    if node.slots:
        return node.call(**given, **_in_slots(node, event), **_context_of(node, execution))
    if node.joins is not None:
        assert isinstance(event, EventList), "the ledger puts what comes to a join together"
        argument = list(event.events)
    if shape is CallShape.EVENT:
        return node.call(argument)
    if shape is CallShape.CONTEXT_EVENT:
        return node.call(execution, argument)
    if shape is CallShape.EVENT_CONTEXT:
        return node.call(argument, execution)
    return node.call(**given, **{node.event_parameter: argument}, **_context_of(node, execution))


def _in_slots(node: Node, event: Event) -> dict[str, Event]:
    assert isinstance(event, EventList), "the ledger puts events for several parameters together"
    return {name: each for (name, _), each in zip(node.slots, event.events, strict=True)}


def _context_of(node: Node, execution: Execution | None) -> dict[str, Any]:
    name = node.declaration.context_parameter
    return {} if name is None else {name: execution}


@types.coroutine
def drive(
    stretch: Stretch,
    execution: Execution | None,
    context: ContextVars,
    body: Coroutine[Any, Any, Any],
    suspended_on: Any,
) -> Generator[Any, Any, Any]:
    """Go on with *body*, which has suspended, inside its own copy of the context variables.

    The task's own context stays clean: for the host that is the caller's, and a worker carries nothing from
    one execution into the next.
    """
    while True:
        if execution is not None:
            execution._is_driven = False
        stretch.flush()
        resume: Callable[[Any], Any]
        try:
            argument = yield suspended_on
        except BaseException as error:  # noqa: ASYNC103, BLE001  # cancellation, mostly: it is the body's to receive
            stretch.is_torn_down = isinstance(error, GeneratorExit)
            if not stretch.is_torn_down:
                stretch.notice_cancellation()  # what the body does to clean up is nothing to go on from
            resume, argument = body.throw, error
        else:
            resume = body.send
        stretch.breathed()
        if execution is not None:
            execution._is_driven = True
        try:
            suspended_on = context.run(resume, argument)
        except StopIteration as returned:
            return returned.value
