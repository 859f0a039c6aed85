"""Drive a store through any order of operations beside a model of the plainest kind, and compare."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import attrs
from hypothesis import strategies as st

from .. import StoreConflictError, StoreError, UnknownRecordError, UnknownRunError
from ..abc import CheckpointStore, Record, RunInfo, RunStatus
from ._records import Kind, a_chain, a_run
from .store_conformance import MakeStore

_STATUSES: tuple[RunStatus, ...] = ("running", "completed", "failed", "cancelled", "put_away")


@attrs.frozen(kw_only=True)
class StoreOperation:
    """One call of a history. What it says of a place or an epoch is relative to where the run stands."""

    method: str
    """A method of `CheckpointStore`, or ``reopen``."""

    run_id: str = "a"
    kinds: tuple[Kind, ...] = ()
    """Of the records that are created or saved."""

    off_by: int = 0
    """How far these are from where they belong."""

    epochs_behind: int = 0
    number: int | None = None
    """For ``load``, ``prune`` and ``runs``."""

    status: RunStatus | None = None
    result: bytes | None = None
    at: float = 0.0
    """Seconds; it may be earlier than what came before, as clocks do."""


def store_histories() -> st.SearchStrategy[list[StoreOperation]]:
    """Return a Hypothesis strategy of histories for `check_store_history`."""
    ids = st.sampled_from("aab")
    kinds = st.lists(st.sampled_from(["delta", "delta", "full"]), max_size=4).map(tuple)
    times = st.sampled_from([0.0, 1.5, 7.0, 3.25])
    mostly_none = st.sampled_from([0, 0, 0, 0, 1, -1])
    statuses = st.none() | st.sampled_from(_STATUSES)
    results = st.none() | st.binary(max_size=3)
    operation = st.builds
    return st.lists(
        operation(
            StoreOperation,
            method=st.just("create"),
            run_id=ids,
            kinds=kinds.map(lambda rest: ("full", *rest)) | kinds,
            at=times,
        )
        | operation(
            StoreOperation,
            method=st.just("save"),
            run_id=ids,
            kinds=kinds,
            off_by=mostly_none,
            epochs_behind=mostly_none,
            status=statuses,
            result=results,
            at=times,
        )
        | operation(
            StoreOperation,
            method=st.just("load"),
            run_id=ids,
            number=st.none() | st.integers(-1, 9),
        )
        | operation(StoreOperation, method=st.just("prune"), run_id=ids, number=st.integers(1, 6))
        | operation(
            StoreOperation,
            method=st.just("runs"),
            status=statuses,
            number=st.none() | st.integers(0, 2),
        )
        | operation(
            StoreOperation,
            method=st.sampled_from(["claim", "run", "history", "delete", "reopen"]),
            run_id=ids,
        ),
        max_size=30,
    )


async def check_store_history(make_store: MakeStore, history: list[StoreOperation]) -> None:
    """Do what *history* says on an empty store and on a model, and compare every answer.

    A property test of a store of one's own::

        @given(store_histories())
        async def test_any_history(history: list[StoreOperation]) -> None:
            with TemporaryDirectory() as place:
                await check_store_history(lambda: MyStore(place), history)

    Args:
        make_store: Opens the store: at every call the same one, with all that it has kept.
        history: What to do.

    Raises:
        AssertionError: The store did not answer as the model.
    """
    model = _Model()
    async with AsyncExitStack() as closing:
        store = await closing.enter_async_context(make_store())
        for operation in history:
            if operation.method == "reopen":
                await closing.aclose()
                store = await closing.enter_async_context(make_store())
                continue
            records, epoch = model.given(operation)
            expected = _plainly(lambda: model.perform(operation, records, epoch))  # noqa: B023  # called here
            actual = await _answer(_call(store, operation, records, epoch))
            if actual != expected:
                raise AssertionError(f"{operation}: the answer is {actual}, expected {expected}")


@attrs.define(kw_only=True)
class _Kept:
    """One run of the model: all that was ever said of it."""

    told: RunInfo
    epoch: int
    times: list[float]
    records: list[Record]


class _Model:
    """A store that keeps lists, and looks through all of them for every answer."""

    def __init__(self) -> None:
        self.kept: dict[str, _Kept] = {}

    def given(self, operation: StoreOperation) -> tuple[list[Record], int]:
        """Return the records and the epoch that *operation* comes with."""
        kept = self.kept.get(operation.run_id)
        following = len(kept.records) and kept.records[-1].sequence + 1 if kept is not None else 0
        if operation.method == "create":
            following = 0
        first = max(0, following + operation.off_by)
        records = a_chain(operation.run_id, operation.kinds, first=first, at=operation.at)
        return records, (kept.epoch if kept is not None else 1) - operation.epochs_behind

    def perform(self, operation: StoreOperation, records: list[Record], epoch: int) -> Any:
        """Return what a store should return, or raise what it should raise."""
        match operation.method:
            case "create":
                return self.create(operation, records)
            case "runs":
                return self.runs(operation)
        kept = self.kept.get(operation.run_id)
        if kept is None:
            raise UnknownRunError("", operation.run_id)
        return getattr(self, operation.method)(operation, kept, records, epoch)

    def create(self, operation: StoreOperation, records: list[Record]) -> int:
        """Store a run that is not there."""
        if operation.run_id in self.kept or (records and records[0].kind != "full"):
            raise StoreConflictError("", operation.run_id, "")
        told = a_run(operation.run_id, created_at=operation.at)
        self.kept[operation.run_id] = _Kept(told=told, epoch=1, times=[operation.at], records=records)
        return 1

    def runs(self, operation: StoreOperation) -> list[RunInfo]:
        """Return all runs of a status."""
        found = [
            self.run(operation, kept, [], 0)
            for kept in self.kept.values()
            if operation.status is None or operation.status == kept.told.status
        ]
        found.sort(key=lambda run: run.run_id)
        found.sort(key=lambda run: run.created_at, reverse=True)
        return found if operation.number is None else found[: operation.number]

    def claim(self, _operation: StoreOperation, kept: _Kept, _records: list[Record], _epoch: int) -> int:
        """Count a claim."""
        kept.epoch += 1
        return kept.epoch

    def save(self, operation: StoreOperation, kept: _Kept, records: list[Record], epoch: int) -> None:
        """Add records that follow."""
        chain = [*kept.records, *records]
        first = kept.records[0].sequence if kept.records else 0
        follows = [record.sequence for record in chain] == list(range(first, first + len(chain)))
        if epoch != kept.epoch or not follows or (chain and chain[0].kind != "full"):
            raise StoreConflictError("", operation.run_id, "")
        kept.records = chain
        kept.times.append(operation.at)
        if operation.status is not None:
            kept.told = attrs.evolve(kept.told, status=operation.status)
        if operation.result is not None:
            kept.told = attrs.evolve(kept.told, result=operation.result)

    def run(self, _operation: StoreOperation, kept: _Kept, _records: list[Record], _epoch: int) -> RunInfo:
        """Describe one run."""
        last = kept.records[-1:]
        return attrs.evolve(
            kept.told,
            epoch=kept.epoch,
            last_sequence=last[0].sequence if last else -1,
            updated_at=max([*kept.times, *(record.created_at for record in last)]),
        )

    def load(
        self, operation: StoreOperation, kept: _Kept, _records: list[Record], _epoch: int
    ) -> list[Record]:
        """Return what makes one state."""
        wanted = operation.number
        if wanted is None:
            if not kept.records:
                return []
            wanted = kept.records[-1].sequence
        if wanted not in {record.sequence for record in kept.records}:
            raise UnknownRecordError("", operation.run_id, wanted)
        before = [record for record in kept.records if record.sequence <= wanted]
        full = max(record.sequence for record in before if record.kind == "full")
        return [record for record in before if record.sequence >= full]

    def history(self, _operation: StoreOperation, kept: _Kept, *_rest: object) -> list[Record]:
        """Return all that is kept."""
        return list(kept.records)

    def delete(self, operation: StoreOperation, *_rest: object) -> None:
        """Forget a run."""
        del self.kept[operation.run_id]

    def prune(self, operation: StoreOperation, kept: _Kept, _records: list[Record], _epoch: int) -> int:
        """Keep what the last records need."""
        assert operation.number is not None, "a history says how many to keep"
        needed = {
            record.sequence
            for last in kept.records[-operation.number :]
            for record in self.load(attrs.evolve(operation, number=last.sequence), kept, [], 0)
        }
        before = len(kept.records)
        kept.records = [record for record in kept.records if record.sequence in needed]
        return before - len(kept.records)


def _call(
    store: CheckpointStore, operation: StoreOperation, records: list[Record], epoch: int
) -> Awaitable[object]:
    run_id = operation.run_id
    match operation.method:
        case "create":
            return store.create(a_run(run_id, created_at=operation.at), records)
        case "save":
            said = {"status": operation.status, "result": operation.result, "updated_at": operation.at}
            return store.save(run_id, epoch, records, **said)  # type: ignore[arg-type]  # one type each
        case "load":
            return store.load(run_id, up_to=operation.number)
        case "prune":
            return store.prune(run_id, keep_last=operation.number or 1)
        case "runs":
            return store.runs(status=operation.status, limit=operation.number)
        case method:
            answer: Awaitable[object] = getattr(store, method)(run_id)
            return answer


def _plainly(call: Callable[[], object]) -> object:
    try:
        return call()
    except StoreError as error:
        return type(error)


async def _answer(call: Awaitable[object]) -> object:
    try:
        return await call
    except StoreError as error:
        return type(error)
