"""A pytest plugin that puts one fault into the engine while that is imported."""

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

import hypothesis
from catalogue import MUTATIONS, Change

WHICH = "ANYIO_WORKFLOWS_MUTATION"
"""The environment variable that names the fault."""


class _Mutated(SourceFileLoader):
    def __init__(self, fullname: str, path: str, changes: Sequence[Change]) -> None:
        super().__init__(fullname, path)
        self._changes = changes

    def get_code(self, fullname: str) -> CodeType:
        """Compile it from its changed source, past every cache."""
        path = self.get_filename(fullname)
        source = self.get_data(path).decode()
        for _, old, new in self._changes:
            if source.count(old) != 1:
                # No failing test, which would look as if one had noticed.
                sys.stderr.write(f"{fullname} has {source.count(old)} times, and not once:\n{old}\n")
                os._exit(70)
            source = source.replace(old, new)
        return self.source_to_code(source.encode(), path)


class _Finder(MetaPathFinder):
    def __init__(self, changes: Sequence[Change]) -> None:
        self._changes = changes

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find the modules that are changed, and no other."""
        changes = [change for change in self._changes if change.module == fullname]
        spec = PathFinder.find_spec(fullname, path, target) if changes else None
        if spec is not None and spec.origin is not None:
            spec.loader = _Mutated(fullname, spec.origin, changes)
        return spec


_name = os.environ.get(WHICH)
if _name:
    assert not any(name.startswith("anyio_workflows.") for name in sys.modules), (
        "it is to be imported after this"
    )
    sys.meta_path.insert(0, _Finder(MUTATIONS[_name].changes))


def pytest_collection() -> None:
    """Have examples drawn the same each time, and not shrunk: that one fails is enough."""
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile(
        "mutations", hypothesis.settings(), derandomize=True, database=None, phases=phases
    )
    hypothesis.settings.load_profile("mutations")
