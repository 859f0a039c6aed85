"""Try on a store what `CheckpointStore` promises, one promise after the other.

Histories of random operations are in `store_model`.
"""

import reprlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from uuid import uuid4

import anyio
import attrs

from .. import StoreConflictError, StoreError, UnknownRecordError, UnknownRunError
from ..abc import CheckpointStore, Record
from ._records import a_chain, a_record, a_run

MakeStore = Callable[[], AbstractAsyncContextManager[CheckpointStore]]
"""Opens the store that is tried: at every call the same one, with all that it has kept."""

StoreCheck = Callable[[MakeStore], Awaitable[None]]
"""One promise; raises `AssertionError` where a store does not keep it."""

_SHORT = reprlib.Repr()
_SHORT.maxother = _SHORT.maxlist = 1_000


async def check_store(make_store: MakeStore) -> None:
    """Try every promise on one store.

    With pytest, one test for each says more::

        @pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
        async def test_my_store(check: StoreCheck, tmp_path: Path) -> None:
            await check(lambda: MyStore(tmp_path / "runs"))

    Args:
        make_store: Opens the store: at every call the same one, with all that it has kept. It may hold other runs.

    Raises:
        AssertionError: A promise is not kept.
    """
    for check in STORE_CHECKS:
        await check(make_store)


async def records_come_back_as_they_were(make_store: MakeStore) -> None:
    """Whatever bytes, names and times they hold."""
    payloads = [b"", b"{}", b"\x00\xff\xfe", "žluťoučký\n'\"\\".encode(), b"x" * 1_000_000, bytes(range(256))]
    run_id = f"{uuid4()}/ů '\"\\ %?#"
    run = attrs.evolve(
        a_run(run_id, workflow="Wörkflow", created_at=1_700_000_000.123456),
        parent="a/b/7",
        fingerprint="é" * 999,
    )
    records = [
        attrs.evolve(a_record(run_id, place, payload=payload), step="štěp", created_at=place / 3)
        for place, payload in enumerate(payloads)
    ]
    async with make_store() as store:
        await store.create(run, records[:2])
        await store.save(run_id, 1, records[2:])
        _same(await store.history(run_id), records)
        _same(await store.load(run_id), records)
        found = await store.run(run_id)
    _same(found, attrs.evolve(run, epoch=1, last_sequence=len(records) - 1))


async def a_run_is_created_once(make_store: MakeStore) -> None:
    """A second one of its id is refused, and the first stays as it was."""
    run_id = str(uuid4())
    async with make_store() as store:
        _same(await store.create(a_run(run_id), a_chain(run_id, ["full"])), 1)
        before = await store.run(run_id)
        await _refused(StoreConflictError, store.create(a_run(run_id, workflow="V"), []))
        _same(await store.run(run_id), before)
        _same(len(await store.history(run_id)), 1)


async def only_the_last_to_claim_may_write(make_store: MakeStore) -> None:
    """A writer that was thought dead and comes back changes nothing."""
    run_id = str(uuid4())
    async with make_store() as store:
        epoch = await store.create(a_run(run_id), a_chain(run_id, ["full"]))
        later = await store.claim(run_id)
        _true(later > epoch, "a later claim has a higher epoch")
        for wrong in (epoch, later + 1, 0):
            await _refused(
                StoreConflictError, store.save(run_id, wrong, [a_record(run_id, 1)], status="completed")
            )
        info = await store.run(run_id)
        _same((info.status, info.last_sequence, info.epoch), ("running", 0, later))
        await store.save(run_id, later, [a_record(run_id, 1)])
        _same((await store.run(run_id)).last_sequence, 1)


async def a_chain_has_no_gaps(make_store: MakeStore) -> None:
    """Records that do not follow are refused, together with all that came with them."""
    run_id = str(uuid4())
    async with make_store() as store:
        await store.create(a_run(run_id), a_chain(run_id, ["full", "delta"]))
        stranger = a_record("somebody else's", 2)
        misled = attrs.evolve(a_record(run_id, 2), previous=f"{run_id}/0")
        for wrong in (
            [a_record(run_id, 1)],
            [a_record(run_id, 3)],
            [a_record(run_id, 2), a_record(run_id, 2)],
            [a_record(run_id, 2), a_record(run_id, 4)],
            [a_record(run_id, 2), attrs.evolve(stranger, sequence=3)],
            [stranger],
            [misled],
        ):
            await _refused(StoreError, store.save(run_id, 1, wrong, status="failed", result=b"no"))
            info = await store.run(run_id)
            _same((info.last_sequence, info.status, info.result), (1, "running", None))
        await store.save(run_id, 1, [a_record(run_id, 2)])
        empty = f"{run_id} with nothing to build on"
        await _refused(StoreConflictError, store.create(a_run(empty), [a_record(empty, 0, "delta")]))
        await _refused(UnknownRunError, store.run(empty))
        await store.create(a_run(empty), [])
        await _refused(StoreConflictError, store.save(empty, 1, [a_record(empty, 0, "delta")]))
        _same((await store.run(empty)).last_sequence, -1)


async def loading_begins_at_the_last_full_record(make_store: MakeStore) -> None:
    """Not earlier, and ends where it was asked to."""
    run_id = str(uuid4())
    chain = a_chain(run_id, ["full", "delta", "delta", "full", "full", "delta"])
    async with make_store() as store:
        await store.create(a_run(run_id), [])
        _same(await store.load(run_id), [])
        _same(await store.history(run_id), [])
        await store.save(run_id, 1, chain)
        _same(await store.load(run_id), chain[4:])
        for up_to, begins in enumerate([0, 0, 0, 3, 4, 4]):
            _same(await store.load(run_id, up_to=up_to), chain[begins : up_to + 1])
        for absent in (-1, 6, 2**80):
            await _refused(UnknownRecordError, store.load(run_id, up_to=absent))


async def what_is_said_of_a_run_is_kept(make_store: MakeStore) -> None:
    """Status, result and times; what is not said stays as it was."""
    run_id = str(uuid4())
    async with make_store() as store:
        await store.create(a_run(run_id, created_at=100), a_chain(run_id, ["full"], at=150))
        _same((await store.run(run_id)).updated_at, 150)
        await store.save(run_id, 1, [], status="put_away", updated_at=200)
        await store.save(run_id, 1, [a_record(run_id, 1, at=300)], result=b"\x00r")
        info = await store.run(run_id)
        _same((info.status, info.result), ("put_away", b"\x00r"))
        _same((info.created_at, info.updated_at), (100, 300))
        await store.save(run_id, 1, [a_record(run_id, 2, at=250)], status="completed", result=b"")
        info = await store.run(run_id)
        _same((info.status, info.result), ("completed", b""))
        _same(await store.claim(run_id), 2)
        _same((await store.run(run_id)).status, "completed")


async def runs_are_listed_newest_first(make_store: MakeStore) -> None:
    """All, or those that were asked for."""
    workflow = str(uuid4())
    ids = [f"{workflow} {letter}" for letter in "abcd"]
    async with make_store() as store:
        for run_id, created_at in zip(ids, (1.0, 3.0, 3.0, 2.0), strict=True):
            await store.create(a_run(run_id, workflow=workflow, created_at=created_at), [])
        await store.save(ids[2], 1, a_chain(ids[2], ["full"]), status="failed")
        found = await store.runs(workflow=workflow)
        _same([run.run_id for run in found], [ids[1], ids[2], ids[3], ids[0]])
        _same(found, [await store.run(run.run_id) for run in found])
        _same([run.run_id for run in await store.runs(workflow=workflow, status="failed")], [ids[2]])
        _same([run.run_id for run in await store.runs(workflow=workflow, limit=2)], [ids[1], ids[2]])
        _same(await store.runs(workflow=workflow, limit=0), [])
        _same(await store.runs(workflow=workflow, limit=2**80), found)
        _same(await store.runs(workflow=workflow, status="completed"), [])
        _true(set(ids) <= {run.run_id for run in await store.runs()}, "runs() lists all of them")
        await _refused(StoreError, store.runs(limit=-1))


async def a_deleted_run_is_gone(make_store: MakeStore) -> None:
    """For its writer as well; its id is free again."""
    run_id, other = str(uuid4()), str(uuid4())
    async with make_store() as store:
        for each in (run_id, other):
            await store.create(a_run(each), a_chain(each, ["full", "delta"]))
        await store.delete(run_id)
        await _refused(UnknownRunError, store.save(run_id, 1, [a_record(run_id, 2)]))
        await _refused(UnknownRunError, store.delete(run_id))
        _true(run_id not in {run.run_id for run in await store.runs()}, "a deleted run is not listed")
        _same(await store.create(a_run(run_id), a_chain(run_id, ["full"])), 1)
        _same(len(await store.history(run_id)), 1)
        _same(len(await store.history(other)), 2)


async def pruning_never_breaks_a_chain(make_store: MakeStore) -> None:
    """What is kept can be loaded as before, and the run goes on."""
    run_id = str(uuid4())
    chain = a_chain(run_id, ["full", "delta", "full", "delta", "delta", "full", "delta"])
    async with make_store() as store:
        await store.create(a_run(run_id), chain)
        _same(await store.prune(run_id, keep_last=50), 0)
        _same(await store.prune(run_id, keep_last=5), 2)
        _same(await store.history(run_id), chain[2:])
        _same(await store.load(run_id, up_to=3), chain[2:4])
        await _refused(UnknownRecordError, store.load(run_id, up_to=1))
        _same(await store.prune(run_id, keep_last=2), 3)
        _same(await store.history(run_id), chain[5:])
        await store.save(run_id, 1, [a_record(run_id, 7)])
        _same([record.sequence for record in await store.load(run_id)], [5, 6, 7])
        for wrong in (0, -1):
            await _refused(StoreError, store.prune(run_id, keep_last=wrong))


async def an_unknown_run_is_one_error(make_store: MakeStore) -> None:
    """The same from every method."""
    run_id = str(uuid4())
    async with make_store() as store:
        for call in (
            store.claim(run_id),
            store.save(run_id, 1, [a_record(run_id, 0)]),
            store.run(run_id),
            store.load(run_id),
            store.load(run_id, up_to=3),
            store.history(run_id),
            store.delete(run_id),
            store.prune(run_id, keep_last=1),
        ):
            await _refused(UnknownRunError, call)


async def many_may_save_at_once(make_store: MakeStore) -> None:
    """Nothing is lost, and one that is refused harms nobody else."""
    ids = [str(uuid4()) for _ in range(20)]

    async def write(store: CheckpointStore, run_id: str) -> None:
        await store.create(a_run(run_id), a_chain(run_id, ["full"]))
        for place in range(1, 11):
            await store.save(run_id, 1, [a_record(run_id, place)])

    async def fail(store: CheckpointStore) -> None:
        for _ in range(10):
            await _refused(StoreError, store.save(ids[0], 7, [a_record(ids[0], 77)]))

    async with make_store() as store:
        async with anyio.create_task_group() as tasks:
            for run_id in ids:
                tasks.start_soon(write, store, run_id)
            tasks.start_soon(fail, store)
        for run_id in ids:
            _same(await store.load(run_id), [a_record(run_id, place) for place in range(11)])


async def of_equal_records_one_is_written(make_store: MakeStore) -> None:
    """Two tasks that go on from the same place do not both succeed."""
    run_id = str(uuid4())
    written: list[bytes] = []

    async def write(store: CheckpointStore, payload: bytes) -> None:
        try:
            await store.save(run_id, 1, [a_record(run_id, 1, payload=payload)])
        except StoreConflictError:
            return
        written.append(payload)

    async with make_store() as store:
        await store.create(a_run(run_id), a_chain(run_id, ["full"]))
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(write, store, b"%d" % number)
        _same([record.payload for record in await store.history(run_id)][1:], written)
        _same(len(written), 1)


async def a_cancelled_save_happens_or_does_not(make_store: MakeStore) -> None:
    """One that returned has happened, one that was cancelled has not, and none has happened by halves."""
    run_id = str(uuid4())
    returned: list[int] = []

    async def write(store: CheckpointStore) -> None:
        place = 1
        while True:
            await store.save(run_id, 1, [a_record(run_id, place), a_record(run_id, place + 1)])
            returned.append(place + 1)
            place += 2
            await anyio.lowlevel.checkpoint()

    async with make_store() as store:
        await store.create(a_run(run_id), a_chain(run_id, ["full"]))
        for patience in range(8):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(write, store)
                for _ in range(patience * 3):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            stored = await store.history(run_id)
            _same([record.sequence for record in stored], list(range(len(stored))))
            _same(len(stored) - 1, (returned[-1] if returned else 0))
            await store.delete(run_id)
            await store.create(a_run(run_id), a_chain(run_id, ["full"]))
            returned.clear()


async def what_was_saved_is_there_when_opened_again(make_store: MakeStore) -> None:
    """With its claims, so that an older writer is refused for ever."""
    run_id = str(uuid4())
    chain: list[Record] = a_chain(run_id, ["full", "delta", "full", "delta"])
    async with make_store() as store:
        await store.create(a_run(run_id), chain[:2])
        _same(await store.claim(run_id), 2)
        await store.save(run_id, 2, chain[2:])
        before = await store.run(run_id)
    async with make_store() as store:
        _same(await store.run(run_id), before)
        _same(await store.history(run_id), chain)
        await _refused(StoreConflictError, store.save(run_id, 1, [a_record(run_id, 4)]))
        await store.save(run_id, 2, [a_record(run_id, 4)])
        _same(await store.claim(run_id), 3)
        await store.aclose()
        await store.aclose()


def _same(actual: object, expected: object) -> None:
    # Not an assert statement: pytest explains those of test modules alone.
    if actual != expected:
        raise AssertionError(f"{_SHORT.repr(actual)}, where {_SHORT.repr(expected)} was expected")


def _true(holds: bool, promise: str) -> None:  # noqa: FBT001  # it is what an assert statement takes
    if not holds:
        raise AssertionError(f"it does not hold that {promise}")


async def _refused(kind: type[StoreError], call: Awaitable[object]) -> None:
    try:
        await call
    except kind:
        return
    raise AssertionError(f"a call went well that should have raised {kind.__name__}")


STORE_CHECKS: tuple[StoreCheck, ...] = (
    records_come_back_as_they_were,
    a_run_is_created_once,
    only_the_last_to_claim_may_write,
    a_chain_has_no_gaps,
    loading_begins_at_the_last_full_record,
    what_is_said_of_a_run_is_kept,
    runs_are_listed_newest_first,
    a_deleted_run_is_gone,
    pruning_never_breaks_a_chain,
    an_unknown_run_is_one_error,
    many_may_save_at_once,
    of_equal_records_one_is_written,
    a_cancelled_save_happens_or_does_not,
    what_was_saved_is_there_when_opened_again,
)
"""Every promise of `CheckpointStore`, to be tried one by one."""
