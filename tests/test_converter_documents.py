"""Frozen attrs classes of ours are written and read by cattrs, as strictly as events are."""

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from anyio_workflows import Event, StopEvent
from anyio_workflows._checkpoint.converter import Converter
from anyio_workflows._checkpoint.documents import Documents
from anyio_workflows._errors import CheckpointError


class Fetched(Event):
    size: int


@attrs.frozen(kw_only=True)
class Entry:
    number: int
    event: Event


@attrs.frozen(kw_only=True)
class Cut:
    run: str
    at: datetime
    step: str | None
    stop: StopEvent | None
    entries: tuple[Entry, ...]


DOCUMENTS = Documents(Converter(workflow="Flow", events=[Fetched, StopEvent], state_type=None))
CUT = Cut(
    run="r",
    at=datetime(2026, 1, 1, tzinfo=UTC),
    step=None,
    stop=StopEvent(result=(1,)),
    entries=(Entry(number=1, event=Fetched(size=2)),),
)
WRITTEN: dict[str, Any] = {
    "run": "r",
    "at": "2026-01-01T00:00:00+00:00",
    "step": None,
    "stop": {"type": "StopEvent", "result": {"$tuple": [1]}},
    "entries": [{"number": 1, "event": {"type": "Fetched", "size": 2}}],
}


def test_s_ckpt_2_a_frozen_snapshot_comes_back_by_way_of_cattrs() -> None:
    written = DOCUMENTS.unstructure(CUT)
    text = DOCUMENTS._converter.dumps(written)
    assert DOCUMENTS._converter.loads(text, where="cut") == WRITTEN
    assert DOCUMENTS.structure(DOCUMENTS._converter.loads(text, where="cut"), Cut, where="cut") == CUT


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({"run": 1}, "cut.run", "1 is of type int, not str"),
        ({"more": 1}, "cut", "Extra fields in constructor for Cut: more"),
        ({"entries": "ab"}, "cut.entries", "not a list"),
        ({"entries": [{"number": True, "event": {}}]}, "cut.entries[0].number", "of type bool, not int"),
        ({"stop": {"type": "Fetched", "size": 1}}, "cut.stop", "not StopEvent"),
        ({"stop": {"type": "os.system"}}, "cut.stop", "there is no type 'os.system'"),
        ({"at": "now"}, "cut.at", "'now'"),
    ],
    ids=str,
)
def test_s_ckpt_7_a_wrong_snapshot_is_refused_and_the_place_named(
    change: dict[str, Any], path: str, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        DOCUMENTS.structure({**WRITTEN, **change}, Cut, where="cut")
    assert caught.value.path == path


def test_s_ckpt_7_what_is_no_snapshot_at_all_is_refused() -> None:
    with pytest.raises(CheckpointError, match="fields of Cut"):
        DOCUMENTS.structure([], Cut, where="cut")
    with pytest.raises(CheckpointError, match=r"cut\.at: it is missing"):
        DOCUMENTS.structure({"run": "r"}, Cut, where="cut")
    with pytest.raises(CheckpointError, match=r"Fetched\.size: 'x'"):
        DOCUMENTS.unstructure(attrs.evolve(CUT, entries=(Entry(number=1, event=Fetched(size="x")),)))  # type: ignore[arg-type]  # on purpose
    with pytest.raises(CheckpointError, match="Cut: 1 is of type int, not str"):
        DOCUMENTS.unstructure(attrs.evolve(CUT, run=1))  # type: ignore[arg-type]  # on purpose


def test_importing_the_package_imports_no_cattrs() -> None:
    """Runs without checkpoints don't pay for it."""
    program = "import sys, anyio_workflows._checkpoint.documents; sys.exit('cattrs' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
