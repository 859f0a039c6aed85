"""What ``import anyio_workflows`` loads: programs pay for it whenever they start."""

import subprocess
import sys

import pytest

HEAVY = [
    "typing_extensions",
    "anyio._core._tasks",
    "asyncio",
    "trio",
    "cattrs",
    "tenacity",
    "random",
    "logging",
    "json",
    "pickle",
    "concurrent.futures",
    "anyio_workflows._checkpoint",
    "anyio_workflows._graph.render",
    "anyio_workflows._run.delays",
    "anyio_workflows._run.executors",
    "anyio_workflows._run.group",
    "anyio_workflows._run.resources",
    "anyio_workflows._run.retrying",
    "anyio_workflows._run.watching",
]
"""None of it is needed before it is used; each is a fortieth of the import, or more."""


def test_an_import_loads_nothing_heavy_that_a_plain_run_does_without() -> None:
    program = (
        f"import sys, anyio, attrs, anyio_workflows; print([name for name in {HEAVY} if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_what_is_loaded_later_is_a_name_of_the_package_all_the_same() -> None:
    """In a process that has loaded none of it yet; and a name that there is not is an error as ever."""
    program = (
        "import anyio_workflows as package\n"
        "assert [name for name in package.__all__ if not hasattr(package, name)] == []\n"
        "from anyio_workflows import RunGroup, to_dot\n"
        "assert package.__dict__['RunGroup'] is RunGroup\n"
        "package.Workflows"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "AttributeError: module 'anyio_workflows' has no attribute 'Workflows'" in ran.stderr


@pytest.mark.parametrize("name", ["RunGroup", "WorkflowCheckpointer", "to_mermaid"])
def test_what_is_loaded_later_is_documented_where_it_is_made(name: str) -> None:
    import anyio_workflows  # noqa: PLC0415  # as a user would, who has only this

    assert getattr(anyio_workflows, name).__doc__
