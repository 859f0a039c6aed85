"""A run and the children of its executions, which are one to whoever sends it an event or asks what it waits for."""

from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import attrs
from anyio.lowlevel import checkpoint

from .._brief import brief
from .._errors import WorkflowRuntimeError
from .._events import Event, HumanResponseEvent, StartEvent
from .._ledger.ledger import stop_result
from .._ledger.outcome import Completed
from .._ledger.report import StallReport
from .._ledger.waiting import Wait
from .child import Host

if TYPE_CHECKING:  # each is made of the other
    from .context import Context
    from .run import Run
    from .workflow import Workflow

_OF_A_RUN = ("run_id", "stream_buffer", "observers", "checkpoints")
"""What `Workflow.run` takes and a child has from its parent."""


# --- running a child


async def run_child(  # noqa: PLR0917  # what a Context was called with
    run: "Run",
    execution: "Context[Any]",
    workflow: "Workflow",
    start_event: StartEvent | None,
    namespace: str | None,
    options: Mapping[str, Any],
) -> Any:
    """Run *workflow* as a part of *execution*, and return its result; raises what it ends with.

    Args:
        run: Of which *execution* is one.
        execution: Of a step.
        workflow: What to run.
        start_event: What it starts with; or its fields are among the *options*.
        namespace: What it is called, if the step has said.
        options: As for `Workflow.run`.
    """
    if own := [name for name in _OF_A_RUN if name in options]:
        raise WorkflowRuntimeError(
            f"step {execution._delivery.desk.node.name!r} called run_child with {', '.join(own)}, which a child has "
            f"from the run that it is a part of; give state=, timeout= and what the child starts with"
        )
    delivery = execution._delivery
    if run.watch is not None:
        options = {**options, "observers": run.watch.observers}
    arguments = workflow._arguments(start_event, options)
    key = f"={namespace}"
    if namespace is None:
        start = run.child_start_key(delivery, workflow, arguments["start_event"])
        key = f"#{start}.{execution._count_child(start)}"
    ended_with = run.ended_child(delivery, key, workflow)
    if ended_with is not None:
        await checkpoint()
        return stop_result(ended_with)
    name = namespace or workflow.workflow_name
    arguments["run_id"] = f"{run.run_id}/{delivery.number}/{namespace or name + key}"
    child = run.make_child(Host(run, execution, name), delivery, key, workflow, arguments)
    await _run_to_its_end(run, child)
    outcome = child.ledger.outcome
    if isinstance(outcome, Completed):
        run.note_child_ended(delivery, key, outcome.event)
    return child.result()


async def _run_to_its_end(run: "Run", child: "Run") -> None:
    host = child.host
    assert host is not None, "a child is a part of an execution"
    if run._tells_steps:
        child.trace()
    child.prepare(run)
    if run.children is None:
        run.children = []
    run.children.append(child)
    try:
        _find_answers(child)
        await child.drive()
    finally:
        run.children.remove(child)
        host.goes_on()


# --- who an event is for


def descendants(run: "Run") -> Iterator["Run"]:
    """Return the children of *run*, and theirs, in the order in which they were begun."""
    for child in run.children or ():
        if child.ledger.outcome is None:
            yield child
            yield from descendants(child)


def receiver(run: "Run", event: Event) -> "Run | None":
    """Return who *event* is for, which has come from outside to *run*.

    That is *run* if it takes it; else the child that has asked for it first, or else takes it, or else knows its class.

    Returns:
        None if that cannot be known yet: *run* goes on with children that are not there again.
    """
    if _takes(run, event):
        return run
    below = tuple(descendants(run))
    asking = [(age, child) for child in below if (age := _asked_for(child, event)) is not None]
    if asking:
        return min(asking, key=itemgetter(0))[1]
    for child in below:
        if _takes(child, event):
            return child
    return _keeper(run, below, event)


def _keeper(run: "Run", below: Sequence["Run"], event: Event) -> "Run | None":
    """Return whose ledger has *event*, which nobody takes now; None as of `receiver`."""
    knows = type(event) is HumanResponseEvent or run.ledger.knows(event)
    if knows and isinstance(event, HumanResponseEvent):
        return run  # where a wait that is still to come will find it
    if any(each.expects_children for each in (run, *below)):
        return None
    return next((child for child in below if not knows and child.ledger.knows(event)), run)


def _takes(run: "Run", event: Event) -> bool:
    """Whether a step accepts *event* now, or an execution waits for it; or it ends the run."""
    route = run.plan.route(event, source="the handler")
    return bool(route.targets) or route.is_stop or run.ledger.is_awaited(event)


def _asked_for(child: "Run", event: Event) -> int | None:
    """Return since when *child* waits for *event*, as an age; None if it has not asked."""
    assert child.host is not None, "a child is a part of an execution"
    ages = [child.ledger.oldest_wait_for(event)]
    if child.plan.route(event, source="the handler").targets:
        ages.append(child.host.oldest_question(child.ledger.prompts - child.ledger.responses))
    return min((age for age in ages if age is not None), default=None)


def _root(run: "Run") -> "Run":
    while run.host is not None:
        run = run.host.run
    return run


def find_answer(run: "Run", wait: Wait) -> None:
    """Give *wait* of *run* the oldest answer that came before it, and that another run of the family has kept."""
    top = _root(run)
    for other in (top, *descendants(top)):
        for number, event in other.ledger.early_answers if other is not run else ():
            if wait.is_answered_by(event):
                other.ledger.forget_early(number)
                run.send_from_outside(event, None)
                return


def take_kept_answer(child: "Run") -> bool:
    """Give *child*, which has asked and come to rest, what came before for a step of it; False if there is nothing."""
    if child.ledger.prompts <= child.ledger.responses:
        return False
    top = _root(child)
    for other in (top, *descendants(top)):
        for number, event in other.ledger.early_answers if other is not child else ():
            if child.plan.route(event, source="the handler").targets:
                other.ledger.forget_early(number)
                child.send_from_outside(event, None)
                return True
    return False


def _find_answers(child: "Run") -> None:
    """Give *child*, which has begun, what came for it before."""
    for wait in child.ledger.open_waits:
        find_answer(child, wait)
    _give_out_held(_root(child))


def _give_out_held(top: "Run") -> None:
    """Send again what was held for children, now that one of them is there; what is for nobody is told of."""
    held, top.held = top.held, None
    for event in held or ():
        if top.ledger.outcome is not None:
            return
        if receiver(top, event) is top and not (_takes(top, event) or top.ledger.knows(event)):
            top.ledger._keep_unhandled(event, None, is_answer=False)
        else:
            top.send_from_outside(event, None)


# --- what they wait for


def report(run: "Run", most: int | None) -> StallReport:
    """Say what *run* is left with, its children included; *most* of each as for `Ledger.report`."""
    whole = run.ledger.report(most)
    for child in run.children or ():
        below = report(child, most)
        whole = attrs.evolve(
            whole,
            collections=(*whole.collections, *below.collections),
            pending=(*whole.pending, *below.pending),
            waits=(*whole.waits, *below.waits),
            unconsumed=(*whole.unconsumed, *below.unconsumed),
            is_waiting_for_human=whole.is_waiting_for_human or below.is_waiting_for_human,
            unnamed=whole.unnamed + below.unnamed,
        )
        over = 0 if most is None else max(0, len(whole.pending) - most) + max(0, len(whole.waits) - most)
        if over:
            whole = attrs.evolve(
                whole, pending=whole.pending[:most], waits=whole.waits[:most], unnamed=whole.unnamed + over
            )
    return whole


def name_is_wrong(namespace: object) -> str | None:
    """Return what speaks against a *namespace*, None if nothing does."""
    if namespace is None or (isinstance(namespace, str) and namespace):
        return None
    return f"namespace={brief(namespace)}, which is no name; give a str that is not empty, or none"
