"""Fixtures for pytest: write ``pytest_plugins = ["anyio_workflows.testing.pytest_plugin"]`` in your top conftest.py.

Not found by itself: pytest would then rewrite the assertions of the whole package in every test run.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .. import Workflow
    from .runner import WorkflowTestRunner
    from .schedule import Schedule
    from .virtual import VirtualClock

_BACKENDS = ["asyncio", *(["trio"] if find_spec("trio") else [])]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that says which schedule to show again."""
    group = parser.getgroup("anyio-workflows")
    group.addoption(
        "--workflow-schedule",
        default=None,
        metavar="TAPE",
        help="the schedule that the fixture of that name gives, as a report of explore() has it: 1.0.3",
    )


@pytest.fixture
def workflow_runner() -> "Callable[[Workflow], WorkflowTestRunner]":
    """Give what makes a `WorkflowTestRunner` for a workflow: its ``run`` is awaited in an async test."""
    from .runner import WorkflowTestRunner  # noqa: PLC0415  # nothing is loaded before it is used

    return WorkflowTestRunner


@pytest.fixture(params=_BACKENDS)
def virtual_clock(request: pytest.FixtureRequest) -> "VirtualClock":
    """Run a program in virtual time, on each backend: ``virtual_clock.run(main)`` in a plain test function."""
    from .virtual import VirtualClock  # noqa: PLC0415  # nothing is loaded before it is used

    return VirtualClock(request.param)


@pytest.fixture
def schedule(request: pytest.FixtureRequest) -> "Schedule | None":
    """Give the schedule of ``--workflow-schedule``, None without it: for ``explore(..., schedule=schedule)``."""
    from .schedule import Schedule  # noqa: PLC0415  # nothing is loaded before it is used

    given: Any = request.config.getoption("--workflow-schedule")
    return None if given is None else Schedule.parse(given)
