"""Both stores keep what `CheckpointStore` promises (S-CKPT-8)."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest
from hypothesis import given, settings

from anyio_workflows.abc import CheckpointStore, Record, RunInfo
from anyio_workflows.stores import MemoryCheckpointStore, SqliteCheckpointStore
from anyio_workflows.testing import (
    STORE_CHECKS,
    StoreCheck,
    StoreOperation,
    check_store,
    check_store_history,
    store_histories,
)

MakeStore = Callable[[], AbstractAsyncContextManager[CheckpointStore]]


@pytest.fixture(params=["memory", "sqlite"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    """Open one and the same store at every call."""
    if request.param == "memory":
        store = MemoryCheckpointStore()
        return lambda: store
    return lambda: SqliteCheckpointStore(tmp_path / "runs.db")


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
async def test_s_ckpt_8_a_store_keeps_every_promise(check: StoreCheck, make_store: MakeStore) -> None:
    """One test for each promise of the published suite."""
    with anyio.fail_after(20):
        await check(make_store)


async def test_s_ckpt_8_all_promises_can_be_tried_in_one_go(make_store: MakeStore) -> None:
    """One store may hold the runs of all checks."""
    with anyio.fail_after(30):
        await check_store(make_store)


@given(store_histories())
async def test_s_ckpt_8_the_memory_store_answers_as_the_model(history: list[StoreOperation]) -> None:
    """In any order of operations."""
    store = MemoryCheckpointStore()
    await check_store_history(lambda: store, history)


@settings(max_examples=40)
@given(store_histories())
async def test_s_ckpt_8_the_sqlite_store_answers_as_the_model(history: list[StoreOperation]) -> None:
    """In any order of operations, and opened again in between: what it remembers is what the file says."""
    with TemporaryDirectory() as place:
        await check_store_history(lambda: SqliteCheckpointStore(Path(place, "runs.db")), history)


async def test_s_ckpt_8_the_suite_finds_a_store_that_forgets() -> None:
    """A suite that every store passes would say nothing."""
    history = [
        StoreOperation(method="create", kinds=("full",)),
        StoreOperation(method="reopen"),
        StoreOperation(method="run"),
    ]
    with pytest.raises(AssertionError, match=r"method='run'.*UnknownRunError.*expected RunInfo"):
        await check_store_history(MemoryCheckpointStore, history)


class TwiceClaimed(MemoryCheckpointStore):
    """Lets a writer that was thought dead write again."""

    async def claim(self, run_id: str) -> int:
        """Change nothing."""
        return (await self.run(run_id)).epoch


class Halving(MemoryCheckpointStore):
    """Loses the last record of a save."""

    async def save(self, run_id: str, epoch: int, records: Sequence[Record], **said: Any) -> None:
        """Write all but one."""
        await super().save(run_id, epoch, records[: max(1, len(records) - 1)], **said)


@pytest.mark.parametrize(
    ("store_type", "says"),
    [(TwiceClaimed, "a later claim has a higher epoch"), (Halving, "where .* was expected")],
)
async def test_s_ckpt_8_the_suite_says_what_is_wrong(store_type: type[CheckpointStore], says: str) -> None:
    """With values: who wrote the store has not written the suite."""
    store = store_type()
    with pytest.raises(AssertionError, match=says):
        await check_store(lambda: store)


async def test_s_ckpt_8_the_suite_notices_what_is_not_refused() -> None:
    """A call that should have raised is named by what it should have raised."""

    class Careless(MemoryCheckpointStore):
        async def create(self, run: RunInfo, records: Sequence[Record]) -> int:
            self._runs.pop(run.run_id, None)
            return await super().create(run, records)

    store = Careless()
    with pytest.raises(AssertionError, match="should have raised StoreConflictError"):
        await check_store(lambda: store)
