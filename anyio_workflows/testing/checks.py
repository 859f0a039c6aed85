"""What has to hold of every run, whoever wrote the workflow: ready-made invariants for `explore`."""

from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

from .. import StopEvent
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
        (fact[1].run.run_id, fact[1].delivery, fact[1].attempt)
        for fact in seen.facts
        if fact[0] == "attempt_started"
    )
    twice = [key for key, count in begun.items() if count > 1]
    _require(not twice, f"deliveries that were begun twice: {twice}")
    done = Counter(
        (fact[1].run.run_id, fact[1].delivery)
        for fact in seen.facts
        if fact[0] == "attempt_ended" and fact[2].status == "completed"
    )
    again = [key for key, count in done.items() if count > 1]
    _require(not again, f"deliveries that were done twice: {again}")


def never_above_num_workers(seen: Exploration) -> None:
    """No step has more executions at once than its ``num_workers``."""
    most = {step.name: step.num_workers for step in seen.workflow.graph.steps}
    in_work: Counter[tuple[str, str]] = Counter()
    for name, attempt, *_ in seen.facts:
        if name == "attempt_started":
            in_work[attempt.run.run_id, attempt.step] += 1
            if attempt.step in most:
                count = in_work[attempt.run.run_id, attempt.step]
                _require(
                    count <= most[attempt.step],
                    f"step {attempt.step!r} has {count} executions at once, and num_workers={most[attempt.step]}",
                )
        elif name == "attempt_ended":
            in_work[attempt.run.run_id, attempt.step] -= 1


def nothing_after_the_stop(seen: Exploration) -> None:
    """Once a StopEvent is sent no execution begins."""
    stopped: set[str] = set()
    for name, about, *more in seen.facts:
        if name == "event_sent" and isinstance(more[0], StopEvent):
            stopped.add(about.run_id)
        if name == "attempt_started":
            _require(
                about.run.run_id not in stopped, f"step {about.step!r} begins after the run has its StopEvent"
            )


def stream_ends_with_the_stop(seen: Exploration) -> None:
    """The stream has one StopEvent, and it is the last event."""
    if seen.events:
        places = [place for place, event in enumerate(seen.events) if isinstance(event, StopEvent)]
        _require(places == [len(seen.events) - 1], f"StopEvents at {places} of {len(seen.events)} events")


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
    checkpoint_round_trips,
)
"""What `explore` checks beside the invariant of the test."""
