"""The history of a run that is part of an execution: it stands in that of the run which the execution belongs to."""

from typing import Any, Protocol

from .history import Cut, History
from .shapes import Document


class NotesChildren(Protocol):
    """The ledger of a recorded run."""

    history: History

    def note_of_child(self, by: int, operation: list[Any]) -> None:
        """Note what a child of the execution *by* has noted."""
        ...


class _Operations:
    """What a child notes, put into the history of its parent."""

    __slots__ = ("_by", "_key", "_parent")

    def __init__(self, parent: NotesChildren, by: int, key: str) -> None:
        self._parent = parent
        self._by = by
        self._key = key

    def append(self, operation: list[Any]) -> None:
        """Note *operation*, unless the parent notes nothing any more."""
        self._parent.note_of_child(self._by, ["child", self._by, self._key, operation])


class ChildHistory(History):
    """The history of a child, which is in that of its parent: every cut of it is one there."""

    __slots__ = ("_parent",)

    def __init__(self, parent: NotesChildren, by: int, key: str) -> None:
        super().__init__(parent.history.clock)
        self._parent = parent
        self.operations: Any = _Operations(parent, by, key)

    def cut(self, step: str | None = None, given: Document = None, output: Document = None) -> Cut:  # noqa: ARG002
        """Note that this is a moment to go on from."""
        return self._parent.history.cut()

    def cut_if_new(self) -> None:
        """Cut, if anything was noted since the last time."""
        self._parent.history.cut_if_new()
