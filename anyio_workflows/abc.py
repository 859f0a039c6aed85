"""Protocols that a user of the library may implement, and the facts that go through them.

What is written in a record, and when, is the engine's to decide: a store keeps bytes that it does not understand.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Literal, Protocol, Self

import attrs

from ._observer import (
    AttemptEnd,
    AttemptStatus,
    ObservedAttempt,
    ObservedRun,
    Observer,
    RunEnd,
    RunEndStatus,
)
from ._turnstile import Point, PointKind, Turnstile, turnstile

RunStatus = Literal[
    "running", "completed", "failed", "timed_out", "cancelled", "cancelled_by_user", "put_away"
]
"""How a run stands; ``put_away`` is one that waits in the store alone, for an event from outside."""


@attrs.frozen(kw_only=True)
class Record:
    """One link of a run's chain: a full snapshot, or what changed since the record before."""

    run_id: str
    """The run whose record it is."""

    sequence: int
    """Its place in the chain: 0, 1, 2, … without gaps."""

    kind: Literal["full", "delta"]
    """Whether it can be read on its own. The first one of a run is full."""

    payload: bytes
    """What the engine wrote; opaque to a store, and JSON in practice."""

    is_checkpoint: bool
    """Whether it has an entry in `.checkpoints`; else it is only a cut."""

    step: str | None
    """The step whose commit it is, if it is one's."""

    created_at: float
    """When it was taken, in seconds UTC."""

    previous: str | None
    """`id` of the record before, None for the first one."""

    @property
    def id(self) -> str:
        """What other records and people call it by."""
        return record_id(self.run_id, self.sequence)


@attrs.frozen(kw_only=True)
class RunInfo:
    """What a store knows of one run."""

    run_id: str
    """Its id, unique in the store."""

    workflow: str
    """Name of its workflow."""

    fingerprint: str
    """What tells its workflow from a changed one."""

    status: RunStatus = "running"
    """How it stands."""

    result: bytes | None = None
    """What the engine wrote about its outcome; opaque to a store."""

    parent: str | None = None
    """`Record.id` of the checkpoint that it was started from."""

    created_at: float
    """When it was first stored, in seconds UTC."""

    updated_at: float
    """The latest of: when it was created, its last record, its last change of status; in seconds UTC."""

    last_sequence: int = -1
    """Sequence of its last record, -1 if there is none."""

    epoch: int = 0
    """How many writers have claimed it; only the latest may write."""


def record_id(run_id: str, sequence: int) -> str:
    """Return the id of one record; the text after its last slash is the sequence."""
    return f"{run_id}/{sequence}"


class CheckpointStore(Protocol):
    """A place where runs are kept so that they can be resumed.

    Every method that changes something does all of it or, when it raises, nothing. What has been changed is
    durable when the method returns. A method may be called by any number of tasks at once, of the event loop
    in which the store was opened. `anyio_workflows.testing.check_store` tries all that is promised here.

    Every method may raise a `StoreError`, among them `UnknownRunError` where a run is named that is not there.
    """

    async def create(self, run: RunInfo, records: Sequence[Record]) -> int:
        """Store a new run with its first records, claim it, and return its first epoch: 1.

        Args:
            run: Its `last_sequence` and `epoch` are the store's to say, and not looked at.
            records: Consecutive from 0 and beginning with a full one; may be empty.

        Raises:
            StoreConflictError: A run of that id is there.

        Cancellation:
            Before it has begun to write. Once it has, it is done and returns.
        """
        ...

    async def claim(self, run_id: str) -> int:
        """Take the run over and return the new epoch; writers of older ones are refused from then on.

        Cancellation:
            As of `create`.
        """
        ...

    async def save(
        self,
        run_id: str,
        epoch: int,
        records: Sequence[Record],
        *,
        status: RunStatus | None = None,
        result: bytes | None = None,
        updated_at: float | None = None,
    ) -> None:
        """Add records to a run's chain and say how it stands, all in one.

        Args:
            run_id: The run.
            epoch: What `create` or `claim` has returned.
            records: Consecutive, from the one after the last; may be empty.
            status: How the run stands now; unchanged if None.
            result: What is known of its outcome; unchanged if None.
            updated_at: When its status changed, in seconds UTC; of use without records, which say it themselves.

        Raises:
            StoreConflictError: The run has been claimed since, or *records* do not follow what is stored.

        Cancellation:
            As of `create`.
        """
        ...

    async def run(self, run_id: str) -> RunInfo:
        """Return what is known of one run."""
        ...

    async def runs(
        self, *, workflow: str | None = None, status: RunStatus | None = None, limit: int | None = None
    ) -> list[RunInfo]:
        """Return what is known of all runs, or of those of one workflow or status; the newest first.

        Runs created at the same time come in the order of their ids.
        """
        ...

    async def load(self, run_id: str, *, up_to: int | None = None) -> list[Record]:
        """Return the records that make one state: from the last full one at or before *up_to* to *up_to*.

        Args:
            run_id: The run.
            up_to: A sequence; default the last one. Of a run without records, [] is returned.

        Raises:
            UnknownRecordError: There is no record *up_to*; it may have been pruned.
            StoreDamagedError: A record is not as it was written, or is missing.
        """
        ...

    async def history(self, run_id: str) -> list[Record]:
        """Return every record of the run that is still there, the oldest first."""
        ...

    async def delete(self, run_id: str) -> None:
        """Forget the run; also one that is claimed, whose writer then finds it unknown.

        Cancellation:
            As of `create`.
        """
        ...

    async def prune(self, run_id: str, *, keep_last: int) -> int:
        """Delete the oldest records and return how many; the last *keep_last* can be loaded as before.

        What these build on stays as well, so the rest begins with a full record.

        Args:
            run_id: The run.
            keep_last: A positive number of records, of whatever kind.

        Cancellation:
            As of `create`.
        """
        ...

    async def aclose(self) -> None:
        """Give back all that the store holds open; what was begun is finished first."""
        ...

    # For those who derive from this class; a store that needs opening says how in an `__aenter__` of its own.

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        await self.aclose()


__all__ = (
    "AttemptEnd",
    "AttemptStatus",
    "CheckpointStore",
    "ObservedAttempt",
    "ObservedRun",
    "Observer",
    "Point",
    "PointKind",
    "Record",
    "RunEnd",
    "RunEndStatus",
    "RunInfo",
    "RunStatus",
    "Turnstile",
    "record_id",
    "turnstile",
)
