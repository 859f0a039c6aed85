"""Hypothesis strategies for schedules, events and workflows."""

from collections.abc import Callable
from typing import Any, TypeVar

import attrs
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from .. import Event, Workflow
from .programs import Program, programs
from .schedule import Schedule
from .toys import ToyWorkflow, workflow_of

FoundT = TypeVar("FoundT")

_MOST_OTHERS = 5
"""Largest number on a tape; counted round where fewer wait."""


def schedules(*, choices: int = 60, crashes: bool = False) -> st.SearchStrategy[Schedule]:
    """Return schedules: some that deviate here and there from first come, first served, some that hardly follow it.

    They shrink to few deviations, early ones.

    Args:
        choices: About how many choices a run has.
        crashes: Whether the program may die.
    """
    deviations = st.lists(
        st.tuples(st.integers(0, max(choices, 1)), st.integers(1, _MOST_OTHERS)), max_size=6
    )
    sparse = deviations.map(_tape)
    dense = st.integers(0, max(choices, 1)).flatmap(
        lambda size: st.lists(st.integers(0, _MOST_OTHERS), min_size=size, max_size=size)
    )
    dies = crash_points(choices=choices) if crashes else st.none()
    return st.builds(Schedule, sparse | dense, dies)


def _tape(deviations: list[tuple[int, int]]) -> list[int]:
    tape = [0] * (1 + max((place for place, _ in deviations), default=-1))
    for place, choice in deviations:
        tape[place] = choice
    return tape


def crash_points(*, choices: int = 60) -> st.SearchStrategy[int | None]:
    """Return moments for a program to die at, among them none.

    Args:
        choices: About how many choices a run has.
    """
    return st.none() | st.integers(0, max(choices, 1))


def events_of(workflow: Workflow | type[Workflow]) -> st.SearchStrategy[Event]:
    """Return events of every class that the graph of *workflow* names, with fields of their types."""
    made: Any = workflow() if isinstance(workflow, type) else workflow
    return st.one_of([st.from_type(event) for event in made.graph.events])


class _FoundError(Exception):
    """Something was found; Hypothesis is to draw no more."""


def find(
    trial: Callable[[Schedule], FoundT | None],
    strategy: st.SearchStrategy[Schedule],
    most: int,
    *,
    derandomize: bool,
) -> FoundT | None:
    """Draw up to *most* schedules, and return the first thing that *trial* gives; None if it gives nothing."""
    found: list[FoundT] = []

    @settings(
        max_examples=most,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        derandomize=derandomize,
        suppress_health_check=[*HealthCheck],  # pyright: ignore[reportArgumentType]
    )
    @given(schedule=strategy)
    def attempt(schedule: Schedule) -> None:
        if not found:  # else Hypothesis asks whether it is found again
            one = trial(schedule)
            if one is None:
                return
            found.append(one)
        raise _FoundError

    try:
        attempt()
    except _FoundError:
        return found[0]
    return None


def workflows() -> st.SearchStrategy[type[ToyWorkflow]]:
    """Return random workflow classes: valid graphs of up to five toy steps, whose runs need no arguments.

    They fan out, loop, collect, count in the state, write to the stream, send with and without waiting; some of their
    steps are plain functions. A run gives the number of its executions, which is the same in every order:
    its class has it as ``executions``.
    """
    return programs().map(_with_contexts).map(workflow_of)


def _with_contexts(program: Program) -> Program:
    return attrs.evolve(program, toys=tuple(attrs.evolve(toy, has_context=True) for toy in program.toys))
