"""Put together what a store has kept of a run."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .._errors import CheckpointError
from ..abc import Record
from .snapshot import Document, Snapshot


def fold(records: Sequence[Record], read: Callable[[bytes], Document]) -> Snapshot:
    """Return what a run knew at the last of *records*, of which the first is full; not settled.

    Args:
        records: As `CheckpointStore.load` gives them.
        read: Turns a payload into a document.

    Raises:
        CheckpointError: A payload is not what the engine writes.
    """
    snapshot = Snapshot()
    for record in records:
        content = payload(record, read)
        try:
            if record.kind == "full":
                snapshot = Snapshot.from_document(content["snapshot"])
            else:
                snapshot.apply(content["operations"])
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise _damaged(record, f"does not follow from what is before it: {error!r:.100}") from error
    return snapshot


def payload(record: Record, read: Callable[[bytes], Document]) -> Mapping[str, Any]:
    """Return the document of *record*.

    Raises:
        CheckpointError: It is not what the engine writes.
    """
    try:
        content = read(record.payload)
    except CheckpointError as error:
        raise CheckpointError(error.reason, error.path, record.run_id, record.id) from error
    members = {"input", "output", *(("snapshot", "described") if record.kind == "full" else ("operations",))}
    if not isinstance(content, Mapping) or set(content) != members:
        raise _damaged(record, f"has other members than {', '.join(sorted(members))}")
    return content


def _damaged(record: Record, reason: str) -> CheckpointError:
    return CheckpointError(f"the payload {reason}", run_id=record.run_id, checkpoint=record.id)
