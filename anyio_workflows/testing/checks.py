"""What has to hold of every run, whoever wrote the workflow: ready-made invariants for `explore`."""

from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

from .. import EventsMissed, InternalDispatchEvent, StopEvent
from ..abc import ObservedRun
from .collecting import are_same, what_is_inexact
from .exploration import Exploration

Check: TypeAlias = Callable[[Exploration], object]
"""Looks at what a run has come to, and raises `AssertionError` if that is wrong."""


def _require(holds: bool, message: str) -> None:  # noqa: FBT001  # an assert that pytest does not add to
    if not holds:
        raise AssertionError(message)


def not_deadlocked(seen: Exploration) -> None:
    """No run waits for ever."""
    waiting = "".join(f"\n    {name} has begun and not ended" for name in seen.waiting)
    _require(not seen.is_deadlocked, f"every task waits for something that can never come{waiting}")


def every_delivery_once(seen: Exploration) -> None:
    """Each attempt at a delivery begins once, and each delivery ends at most once with success."""
    begun = Counter(
        (fact[1].run, fact[1].delivery, fact[1].attempt)
        for fact in seen.facts
        if fact[0] == "attempt_started"
    )
    twice = [(run.run_id, *which) for (run, *which), count in begun.items() if count > 1]
    _require(not twice, f"deliveries that were begun twice: {twice}")
    done = Counter(
        (fact[1].run, fact[1].delivery)
        for fact in seen.facts
        if fact[0] == "attempt_ended" and fact[2].status == "completed"
    )
    again = [(run.run_id, which) for (run, which), count in done.items() if count > 1]
    _require(not again, f"deliveries that were done twice: {again}")


def never_above_num_workers(seen: Exploration) -> None:
    """No step has more executions at once than its ``num_workers``."""
    most = {step.name: step.num_workers for step in seen.workflow.graph.steps}
    in_work: Counter[tuple[ObservedRun, str]] = Counter()
    for name, attempt, *_ in seen.facts:
        if name == "attempt_started":
            in_work[attempt.run, attempt.step] += 1
            if attempt.step in most:
                count = in_work[attempt.run, attempt.step]
                _require(
                    count <= most[attempt.step],
                    f"step {attempt.step!r} has {count} executions at once, and num_workers={most[attempt.step]}",
                )
        elif name == "attempt_ended":
            in_work[attempt.run, attempt.step] -= 1


def nothing_after_the_stop(seen: Exploration) -> None:
    """Once a StopEvent is sent no execution begins."""
    stopped: set[ObservedRun] = set()
    for name, about, *more in seen.facts:
        if name == "event_sent" and isinstance(more[0], StopEvent):
            stopped.add(about)
        if name == "attempt_started":
            _require(about.run not in stopped, f"step {about.step!r} begins after the run has its StopEvent")


def stream_ends_with_the_stop(seen: Exploration) -> None:
    """The stream has one StopEvent, and it is the last event."""
    if seen.events:
        places = [place for place, event in enumerate(seen.events) if isinstance(event, StopEvent)]
        _require(places == [len(seen.events) - 1], f"StopEvents at {places} of {len(seen.events)} events")


def stream_as_written(seen: Exploration) -> None:
    """Whoever reads the stream gets what was written to it, in that order, nothing less and nothing more.

    So what one reader has got by now is the beginning of what another will get.
    """
    root = next(
        (fact[1] for fact in reversed(seen.facts) if fact[0] == "run_started" and _is_root(fact[1])), None
    )
    written = [
        fact[2]
        for fact in seen.facts
        if fact[0] == "event_written" and fact[1] is root and not isinstance(fact[2], InternalDispatchEvent)
    ]
    read = list(seen.events)
    if seen.has_crashed and written:
        read = read[-len(written) :]  # a run that goes on begins with the questions that are open
    elif read and isinstance(missed := read[0], EventsMissed):
        del read[0]
        written = written[missed.count :]  # run(stream_buffer=) keeps no more
    exact = len(read) == len(written) and all(map(are_same, read, written))
    _require(
        exact or seen.is_deadlocked, f"written to the stream: {written}; read from it: {list(seen.events)}"
    )


def _is_root(run: ObservedRun) -> bool:
    return run.parent_run_id is None


def collections_exact(seen: Exploration) -> None:
    """Each `Context.collect_events` gives the oldest events that make its batch, as soon as they are there, and none twice.

    What an attempt that failed or was cancelled has added and taken is undone, but for what others have taken.
    """
    inexact = what_is_inexact(seen.facts)
    _require(inexact is None, inexact or "")


def no_task_left(seen: Exploration) -> None:
    """When a run has ended, none of its tasks is left, nor any that its steps have started."""
    _require(not seen.tasks_left, f"tasks are left when the run has ended: {', '.join(seen.tasks_left)}")


def checkpoint_round_trips(seen: Exploration) -> None:
    """What is written of a run is read as the same."""
    if seen.round_trip is not None:
        before, after = seen.round_trip
        _require(before == after, "a checkpoint is read as another than was written")


STANDARD_CHECKS: tuple[Check, ...] = (
    not_deadlocked,
    every_delivery_once,
    never_above_num_workers,
    nothing_after_the_stop,
    stream_ends_with_the_stop,
    stream_as_written,
    collections_exact,
    no_task_left,
    checkpoint_round_trips,
)
"""What `explore` checks beside the invariant of the test."""


def same_after_crash(of: Callable[[Exploration], object] | None = None) -> Check:
    """Return a check that a run which died and went on has come to what one has that did not.

    That is an ordinary run, in the order of the empty schedule. For ``checks=[*STANDARD_CHECKS, same_after_crash()]``
    with ``crashes=True``; not among the standard ones, because a result may rightly depend on the order.

    Args:
        of: What is compared; by default the result, the class of the error and the state. Leave out what depends on the
            order: ``same_after_crash(lambda seen: sorted(seen.result))``.
    """
    outcome = of or _outcome

    def same_after_crash(seen: Exploration) -> None:
        if seen.ordinary is not None:
            after, without = outcome(seen), outcome(seen.ordinary)
            _require(
                after == without,
                f"after the crash the run came to {after!r}; without one it comes to {without!r}",
            )

    return same_after_crash


def _outcome(seen: Exploration) -> tuple[object, ...]:
    return seen.result, type(seen.error), seen.state
