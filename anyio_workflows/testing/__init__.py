"""What this library is tested with, for those who write workflows or stores of their own."""

from typing import TYPE_CHECKING, Any

from ._turnstile import Note, Turn
from .checks import (
    STANDARD_CHECKS,
    Check,
    checkpoint_round_trips,
    collections_exact,
    every_delivery_once,
    never_above_num_workers,
    no_task_left,
    not_deadlocked,
    nothing_after_the_stop,
    same_after_crash,
    stream_as_written,
    stream_ends_with_the_stop,
)
from .exhausting import NondeterminismError
from .exploration import Driver, Exploration, checkpoint, interleave
from .fake_context import FakeContext, FakeStore, Sent
from .replaying import replay
from .runner import WorkflowTestResult, WorkflowTestRunner
from .schedule import Schedule
from .search import Explored, ScheduleError, explore
from .store_conformance import STORE_CHECKS, StoreCheck, check_store
from .virtual import VirtualClock

if TYPE_CHECKING:
    from .store_model import StoreOperation, check_store_history, store_histories
    from .strategies import crash_points, events_of, schedules, workflows
    from .toys import ToyWorkflow

__all__ = (
    "STANDARD_CHECKS",
    "STORE_CHECKS",
    "Check",
    "Driver",
    "Exploration",
    "Explored",
    "FakeContext",
    "FakeStore",
    "NondeterminismError",
    "Note",
    "Schedule",
    "ScheduleError",
    "Sent",
    "StoreCheck",
    "StoreOperation",
    "ToyWorkflow",
    "Turn",
    "VirtualClock",
    "WorkflowTestResult",
    "WorkflowTestRunner",
    "check_store",
    "check_store_history",
    "checkpoint",
    "checkpoint_round_trips",
    "collections_exact",
    "crash_points",
    "events_of",
    "every_delivery_once",
    "explore",
    "interleave",
    "never_above_num_workers",
    "no_task_left",
    "not_deadlocked",
    "nothing_after_the_stop",
    "replay",
    "same_after_crash",
    "schedules",
    "store_histories",
    "stream_as_written",
    "stream_ends_with_the_stop",
    "workflows",
)


def __getattr__(name: str) -> Any:
    # Hypothesis is for those who draw, and takes longer to load than most tests of a workflow to run.
    if name in ("StoreOperation", "check_store_history", "store_histories"):
        from . import store_model  # noqa: PLC0415

        return getattr(store_model, name)
    if name in ("ToyWorkflow", "crash_points", "events_of", "schedules", "workflows"):
        from . import strategies  # noqa: PLC0415

        return getattr(strategies, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
