"""Run every async test on every backend, and let none of them leave a task or block the loop."""

import asyncio
import platform
import sys
from collections.abc import AsyncIterator, Iterator
from inspect import iscoroutinefunction
from typing import Any

import anyio
import hypothesis
import pytest
from blockbuster import blockbuster_ctx

if platform.system() == "Windows":
    new_uvloop = None
else:
    import uvloop

    new_uvloop = uvloop.new_event_loop

pytest_plugins = ["anyio_workflows.testing.pytest_plugin"]

# A deadline measures the machine: two busy cores make any example slow once in a while.
hypothesis.settings.register_profile("suite", deadline=None, print_blob=True)
hypothesis.settings.load_profile("suite")

BACKENDS: dict[str, tuple[str, dict[str, Any]]] = {
    "asyncio": ("asyncio", {"debug": True}),
    "trio": ("trio", {}),
}
if new_uvloop is not None:
    BACKENDS["asyncio+uvloop"] = ("asyncio", {"debug": True, "loop_factory": new_uvloop})
if sys.version_info >= (3, 12):

    def new_eager_loop() -> asyncio.AbstractEventLoop:
        """Return a loop that runs a new task at once, up to its first real wait."""
        loop = asyncio.new_event_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    BACKENDS["asyncio+eager"] = ("asyncio", {"debug": True, "loop_factory": new_eager_loop})


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--backends``, to go through a part of the matrix quickly."""
    parser.addoption(
        "--backends",
        default=",".join(BACKENDS),
        help=f"run async tests on these only, separated by commas (default: {','.join(BACKENDS)})",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Reject a misspelt backend, which would deselect every async test and look like success."""
    unknown = set(config.getoption("backends").split(",")) - set(BACKENDS)
    if unknown:
        message = f"--backends: no backend {', '.join(sorted(unknown))}; choose among {', '.join(BACKENDS)}"
        raise pytest.UsageError(message)


# Before AnyIO's own hook, so that this one sees the bare function as well.
@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, name: str, obj: object) -> None:
    """Have every async test checked; an autouse fixture that is async would break the others."""
    if not collector.istestfunction(obj, name):
        return
    inner = obj.hypothesis.inner_test if hasattr(obj, "hypothesis") else obj
    if iscoroutinefunction(inner):
        pytest.mark.usefixtures("no_blocking_call", "no_task_left")(obj)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the backends that ``--backends`` does not name."""
    chosen = [BACKENDS[name] for name in config.getoption("backends").split(",")]
    unwanted = [backend for backend in BACKENDS.values() if backend not in chosen]
    deselected = [item for item in items if _backend_of(item) in unwanted]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in set(deselected)]


def _backend_of(item: pytest.Item) -> object:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("anyio_backend") if callspec is not None else None


# Of the module's scope, because Hypothesis rejects an argument that it cannot make anew per example.
@pytest.fixture(scope="module", params=[pytest.param(value, id=name) for name, value in BACKENDS.items()])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Return the backend's name and options; AnyIO's plugin runs the test on it."""
    backend: tuple[str, dict[str, Any]] = request.param
    return backend


@pytest.fixture
async def no_task_left(anyio_backend: object) -> AsyncIterator[None]:
    """Fail a test after which a task is still there that was not there before."""
    before = _tasks()
    yield
    left = {key: task for key, task in _tasks().items() if key not in before}
    if left:
        listed = "\n".join(f"  - {task!r}" for task in left.values())
        pytest.fail(f"tasks outlived the test:\n{listed}", pytrace=False)


def _tasks() -> dict[int, anyio.TaskInfo]:
    # On asyncio the runner makes a task for each of its calls, the one into this fixture included.
    return {
        task.id: task
        for task in anyio.get_running_tasks()
        if not getattr(task.coro, "__qualname__", "").endswith("TestRunner._call_in_runner_task")
    }


@pytest.fixture
def no_blocking_call(anyio_backend: tuple[str, object], request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which the library, or a step that it runs, blocks asyncio's loop."""
    # On trio it sees nothing: it asks asyncio whether a loop is running.
    if anyio_backend[0] != "asyncio" or request.node.get_closest_marker("blocks_on_purpose"):
        yield
        return
    with blockbuster_ctx("anyio_workflows") as blockbuster:
        # Garbage of an earlier test is collected wherever this one happens to be, which is no step's doing.
        for function in blockbuster.functions.values():
            function.can_block_in("multiprocessing/util.py", "__call__")
            function.can_block_in("weakref.py", "__call__")
        yield
