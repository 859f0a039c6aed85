"""Find the workflow that ``module:Workflow`` or ``path/to/file.py:Workflow`` names."""

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType

from .. import Workflow
from ._errors import UsageError, blaming

_FORMS = "module:Workflow or path/to/file.py:Workflow"


def load_workflow(target: str) -> Workflow:
    """Return the workflow that *target* names; of a class, a new instance.

    Raises:
        UsageError: There is no such workflow, its module cannot be imported, or it is declared wrongly.
    """
    place, _, name = target.rpartition(":")
    if not place or not name:
        raise UsageError(f"{target!r} names no workflow; write {_FORMS}")
    with blaming(f"{place} cannot be imported"):
        module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
    if not hasattr(module, name):
        raise UsageError(f"{place} has no {name!r}; {_workflows_of(module)}")
    found = getattr(module, name)
    if isinstance(found, Workflow):
        return found
    if not (isinstance(found, type) and issubclass(found, Workflow)):
        raise UsageError(f"{target} is no workflow but {found!r:.200}; {_workflows_of(module)}")
    _check_needs_nothing(found, target)
    with blaming(f"{target} cannot be made"):
        return found()


def _import_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise UsageError(f"{name!r} is no name of a module; write {_FORMS}")
    # A script of the package, unlike `python -m`, does not find what lies in the current folder.
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise UsageError(
            f"there is no module {error.name!r}, neither here nor installed; write {_FORMS}"
        ) from error


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"there is no file {path}; write {_FORMS}")
    # As `python path/to/file.py` does, for what it imports from beside itself.
    sys.path.insert(0, str(path.parent.resolve()))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None, "a file that ends in .py has a loader"
    assert spec.loader is not None, "as above"
    module = importlib.util.module_from_spec(spec)
    # Never instead of another module: a file may well be called random.py.
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module


def _workflows_of(module: ModuleType) -> str:
    names = [
        name
        for name, value in vars(module).items()
        if isinstance(value, Workflow)
        or (isinstance(value, type) and issubclass(value, Workflow) and value is not Workflow)
    ]
    return f"its workflows are {', '.join(names)}" if names else "it has no workflows"


def _check_needs_nothing(kind: type[Workflow], target: str) -> None:
    try:
        inspect.signature(kind).bind()
    except TypeError as error:
        raise UsageError(
            f"{target} cannot be made without arguments ({error}); make an instance in its module, and name that"
        ) from error
