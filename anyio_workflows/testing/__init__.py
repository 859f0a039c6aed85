"""What this library is tested with, for those who write workflows or stores of their own."""

from .store_conformance import STORE_CHECKS, StoreCheck, check_store
from .store_histories import StoreOperation, check_store_history, store_histories

__all__ = (
    "STORE_CHECKS",
    "StoreCheck",
    "StoreOperation",
    "check_store",
    "check_store_history",
    "store_histories",
)
