"""Load a program of examples/ as a module, or run it as a program."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import anyio_workflows

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"

on_both_backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def load(name: str) -> ModuleType:
    """Return examples/*name*.py as a fresh module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def command(*arguments: object) -> list[str]:
    """Return what runs a program with *arguments*, the first of which is its path."""
    return [sys.executable, *map(str, arguments)]


def environment() -> dict[str, str]:
    """Return an environment in which a program finds the package that is tested."""
    return {**os.environ, "PYTHONPATH": str(Path(anyio_workflows.__file__).parent.parent)}


def called(*arguments: object, text: str = "", timeout: float = 40) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with *text* on its standard input."""
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env=environment(),
        input=text,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
