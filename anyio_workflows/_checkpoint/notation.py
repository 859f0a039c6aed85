"""How the runs of one workflow are written down: its values, what it is itself, and a cut through a run of it."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import attrs

from .._brief import brief
from .._errors import CheckpointError
from .._events import Event
from .._ledger.plan import Plan
from ..abc import record_id
from .converter import Converter
from .document import Checkpoint
from .records import written_name
from .snapshot import Document
from .versions import describe, differences, fingerprint
from .writing import known_events
from .written import read_checkpoint, write_checkpoint

_DIGEST_BYTES = 8
"""Of the events that one execution starts children with: enough that two of them never meet."""

_MOST_DIFFERENCES = 5
"""Named in one message; a workflow that was written anew differs in everything."""


class Notation:
    """The notation of one workflow, as it is declared now."""

    __slots__ = ("converter", "described", "fingerprint", "workflow")

    def __init__(self, plan: Plan) -> None:
        """Look whether the events and the state of the workflow can be written down.

        Raises:
            WorkflowValidationError: Some field cannot; all of them are named.
        """
        self.workflow: str = plan.name
        self.converter: Converter = Converter(
            workflow=plan.name, events=known_events(plan), state_type=plan.state_type
        )
        self.described: Document = describe(plan.graph, self.converter.describe())
        """What a stored run depends on: steps, events and fields."""
        self.fingerprint: str = fingerprint(self.described)

    def checkpoint(
        self,
        *,
        run_id: str,
        parent: str | None,
        sequence: int,
        at: float,
        step: str | None,
        given: Document,
        output: Document,
        content: Callable[[], Document],
    ) -> Checkpoint:
        """Return the checkpoint at one cut, whose *content* is asked for when somebody looks.

        Raises:
            CheckpointError: *given* or *output* is no event of this workflow.
        """
        structure = self.converter.structure_event
        return Checkpoint(
            id_=record_id(run_id, sequence),
            run_id=run_id,
            sequence=sequence,
            parent=parent,
            workflow=self.workflow,
            fingerprint=self.fingerprint,
            created_at=datetime.fromtimestamp(at, UTC),
            last_completed_step=step,
            input_event=None if given is None else structure(given, where="input"),
            output_event=None if output is None else structure(output, where="output"),
            described=self.described,
            content=content,
            converter=self.converter,
        )

    def digest(self, event: Event) -> str:
        """Return what is the same for events that are equal, and, as far as anybody will see, for no others.

        Raises:
            CheckpointError: *event* cannot be written.
        """
        document = self.converter.unstructure_event(event)
        kind: Any = type(event)
        fields = attrs.fields(kind) if attrs.has(kind) else ()  # those of a keyword event all count
        unequal = [written_name(each.name) for each in fields if not each.eq]
        compared = {name: value for name, value in sorted(document.items()) if name not in unequal}
        return blake2b(self.converter.dumps(compared), digest_size=_DIGEST_BYTES).hexdigest()

    def read(self, payload: bytes) -> Document:
        """Return what a record of a store holds.

        Raises:
            CheckpointError: It is no JSON.
        """
        return self.converter.loads(payload, where="record")

    def dumps(self, checkpoint: Checkpoint) -> bytes:
        """Return *checkpoint* as JSON."""
        return self.converter.dumps(write_checkpoint(checkpoint, self.converter))

    def loads(self, document: bytes | str) -> Checkpoint:
        """Return the checkpoint that *document*, which may come from anywhere, describes.

        Raises:
            CheckpointError: It is damaged, of a newer format, or not of this workflow.
        """
        content = self.converter.loads(document, where="checkpoint")
        try:
            return read_checkpoint(content, self.converter)
        except CheckpointError:
            # What is wrong with it may be that the workflow has changed, which says more than where it shows first.
            if isinstance(content, Mapping) and isinstance(then := content.get("fingerprint"), str):
                self.check_unchanged(
                    then, content.get("described"), run_id=brief(content.get("run_id")), checkpoint="this one"
                )
            raise

    def check_unchanged(self, then: str, described: Document, *, run_id: str, checkpoint: str) -> None:
        """Compare what the workflow was *then*, a fingerprint, with what it is.

        Raises:
            CheckpointError: It has changed; the differences from *described* are named.
        """
        if then == self.fingerprint:
            return
        lines = differences(described, self.described)
        more = [f"and {len(lines) - _MOST_DIFFERENCES} more"] if len(lines) > _MOST_DIFFERENCES else []
        raise CheckpointError(
            "the workflow has changed since, and allow_changed=True was not given: "
            + "; ".join([*lines[:_MOST_DIFFERENCES], *more]),
            run_id=run_id,
            checkpoint=checkpoint,
        )
