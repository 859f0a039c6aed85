"""The faults that ``nox -s mutations`` puts into the engine can be put in."""

import sys
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import pytest

with mock.patch.object(sys, "path", [str(Path(__file__).with_name("mutations")), *sys.path]):
    from catalogue import MUTATIONS


@pytest.mark.parametrize("name", MUTATIONS)
def test_what_a_fault_replaces_stands_once_in_its_module(name: str) -> None:
    """Else it would have to be found out in an hour, when they are tried."""
    for change in MUTATIONS[name].changes:
        spec = find_spec(change.module)
        assert spec is not None
        assert spec.origin is not None
        assert Path(spec.origin).read_text(encoding="utf-8").count(change.old) == 1
        assert change.new != change.old
