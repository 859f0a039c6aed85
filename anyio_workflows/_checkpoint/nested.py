"""What a snapshot knows of a run that is part of an execution: a child."""

from collections.abc import Callable
from typing import Any

from .shapes import Document, mapping, members, text

_CHILD = ("workflow", "fingerprint", "snapshot")


class Child:
    """One child, as documents."""

    __slots__ = ("fingerprint", "snapshot", "workflow")

    def __init__(self, workflow: str, fingerprint: str, snapshot: Any) -> None:
        self.workflow: str = workflow
        """Name of its workflow."""
        self.fingerprint: str = fingerprint
        """What that was when the child began."""
        self.snapshot: Any = snapshot
        """A `Snapshot` of its own."""

    @property
    def has_ended(self) -> bool:
        """Whether there is a StopEvent that it has ended with."""
        return self.snapshot.stop is not None

    def document(self) -> Document:
        """Return it as JSON types."""
        return {
            "workflow": self.workflow,
            "fingerprint": self.fingerprint,
            "snapshot": self.snapshot.document(),
        }

    @classmethod
    def from_document(cls, document: Document, read: Callable[[Document], Any]) -> "Child":
        """Return the child that *document* describes; *read* reads its snapshot."""
        members(mapping(document), _CHILD)
        return cls(text(document["workflow"]), text(document["fingerprint"]), read(document["snapshot"]))
