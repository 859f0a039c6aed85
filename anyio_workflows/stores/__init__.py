"""Places where runs are kept: the process' memory, or one SQLite file."""

from .memory import MemoryCheckpointStore
from .sqlite import SqliteCheckpointStore

__all__ = ("MemoryCheckpointStore", "SqliteCheckpointStore")
