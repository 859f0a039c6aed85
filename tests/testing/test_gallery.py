"""Seeded bugs of the gallery: each is found, made simple and shown again; what mends it passes."""

import os
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import gallery
import pytest

from anyio_workflows.testing import NondeterminismError, Schedule, ScheduleError, explore

MODULES = [import_module(f"gallery.{module.name}") for module in iter_modules(gallery.__path__)]
BACKENDS = ("asyncio", "trio")

EXAMPLES = int(os.environ.get("ANYIO_WORKFLOWS_EXAMPLES", "25"))
"""How many schedules what is mended has to pass; the session "gallery" of nox asks for 1,000."""

each_bug = pytest.mark.parametrize("bug", MODULES, ids=lambda module: module.__name__.partition(".")[2])


def options(bug: ModuleType) -> dict[str, Any]:
    return {"invariant": bug.invariant, "derandomize": True, **getattr(bug, "OPTIONS", {})}


def table_of(error: ScheduleError) -> str:
    return str(error).partition(".\n\n")[2]


def test_there_are_at_least_ten_bugs_in_the_gallery() -> None:
    assert len(MODULES) >= 10


@each_bug
def test_a_bug_is_found_made_simple_and_shown_again_alike_on_both_backends(bug: ModuleType) -> None:
    """One deviation, or one crash, is all that any of them needs."""
    found = []
    for backend in BACKENDS:
        with pytest.raises(ScheduleError) as caught:
            explore(bug.Broken, backends=[backend], max_examples=200, **options(bug))
        found.append(caught.value)
    schedule = Schedule.parse(found[0].schedule)
    assert schedule.deviations + (schedule.crash_at is not None) == 1
    again = []
    for backend in BACKENDS:
        with pytest.raises(ScheduleError) as caught:
            explore(bug.Broken, backends=[backend], schedule=found[0].schedule, **options(bug))
        again.append(caught.value)
    assert len({error.schedule for error in (*found, *again)}) == 1
    assert len({table_of(error) for error in (*found, *again)}) == 1
    assert len({tuple(error.exploration.trace()) for error in (*found, *again)}) == 1


@each_bug
def test_a_bug_is_not_in_the_order_of_an_ordinary_run(bug: ModuleType) -> None:
    """Else any test would find it."""
    explore(bug.Broken, schedule="", **options(bug))


@each_bug
def test_what_mends_a_bug_passes(bug: ModuleType) -> None:
    try:
        explored = explore(bug.Fixed, max_examples=EXAMPLES, **options(bug))
    except (ScheduleError, NondeterminismError) as error:
        pytest.fail(str(error), pytrace=False)
    assert explored.schedules > min(EXAMPLES, 25) // 2
