"""What this library is tested with, for those who write workflows or stores of their own."""

from typing import TYPE_CHECKING, Any

from .runner import WorkflowTestResult, WorkflowTestRunner
from .store_conformance import STORE_CHECKS, StoreCheck, check_store

if TYPE_CHECKING:
    from .store_model import StoreOperation, check_store_history, store_histories

__all__ = (
    "STORE_CHECKS",
    "StoreCheck",
    "StoreOperation",
    "WorkflowTestResult",
    "WorkflowTestRunner",
    "check_store",
    "check_store_history",
    "store_histories",
)


def __getattr__(name: str) -> Any:
    # Hypothesis is for those who test a store, and takes longer to load than most tests of a workflow to run.
    if name in ("StoreOperation", "check_store_history", "store_histories"):
        from . import store_model  # noqa: PLC0415

        return getattr(store_model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
