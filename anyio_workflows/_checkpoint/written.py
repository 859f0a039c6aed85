"""The document that a checkpoint is written as: a frozen attrs class, which cattrs writes and reads."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from .._brief import brief
from .._errors import CheckpointError
from .._events import Event
from .converter import Converter
from .document import Checkpoint
from .documents import Documents
from .snapshot import Document, Snapshot

FORMAT = 1
"""Of the documents that this version writes. A newer one is refused, an older one would be migrated."""


@attrs.frozen(kw_only=True)
class WrittenCheckpoint:
    """A checkpoint as it is written; every member is required."""

    format: int
    id: str
    run_id: str
    sequence: int
    parent: str | None
    workflow: str
    fingerprint: str
    described: Any
    created_at: float
    """Seconds since the epoch, UTC."""
    step: str | None
    input: Event | None
    output: Event | None
    snapshot: Any


def write_checkpoint(checkpoint: Checkpoint, converter: Converter) -> Document:
    """Return *checkpoint* as JSON types.

    Raises:
        CheckpointError: One of its events can't be written.
    """
    written = WrittenCheckpoint(
        format=FORMAT,
        id=checkpoint.id_,
        run_id=checkpoint.run_id,
        sequence=checkpoint.sequence,
        parent=checkpoint.parent,
        workflow=checkpoint.workflow,
        fingerprint=checkpoint.fingerprint,
        described=checkpoint.described,
        created_at=checkpoint.created_at.timestamp(),
        step=checkpoint.last_completed_step,
        input=checkpoint.input_event,
        output=checkpoint.output_event,
        snapshot=checkpoint.document,
    )
    return Documents(converter).unstructure(written)


def read_checkpoint(document: Document, converter: Converter) -> Checkpoint:
    """Return the checkpoint that *document*, which may come from anywhere, describes.

    Raises:
        CheckpointError: It describes none of this workflow.
    """
    if not isinstance(document, Mapping):
        raise CheckpointError("a checkpoint is an object", "checkpoint")
    form = document.get("format")
    if type(form) is not int or form != FORMAT:
        raise CheckpointError(
            f"format {brief(form)} is not known; this version reads format {FORMAT}", "checkpoint"
        )
    written = Documents(converter).structure(document, WrittenCheckpoint, where="checkpoint")
    try:
        snapshot = Snapshot.from_document(written.snapshot)
        created_at = datetime.fromtimestamp(written.created_at, UTC)
    except (KeyError, TypeError, ValueError, OverflowError, OSError) as error:
        raise CheckpointError(f"this is no snapshot of a run: {error}", "checkpoint.snapshot") from error
    return Checkpoint(
        id_=written.id,
        run_id=written.run_id,
        sequence=written.sequence,
        parent=written.parent,
        workflow=written.workflow,
        fingerprint=written.fingerprint,
        described=written.described,
        created_at=created_at,
        last_completed_step=written.step,
        input_event=written.input,
        output_event=written.output,
        content=snapshot.document,
        converter=converter,
    )
