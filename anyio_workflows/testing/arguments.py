"""What `explore` is called with: mistakes are told before anything runs."""

import difflib
import importlib.util
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio

from .. import Workflow, WorkflowRuntimeError
from .._brief import brief

BACKENDS = ("asyncio", "trio")


def maker_of(given: object, *, in_world: bool) -> Callable[..., Workflow]:
    """Return what makes the workflow that *given* is: a class, a function that makes one, or one.

    Raises:
        WorkflowRuntimeError: It is none of these, or an instance where one has to be made in a world.
    """
    if isinstance(given, Workflow) and not in_world:
        return lambda: given
    if callable(given) and not isinstance(given, Workflow):
        make: Callable[..., Workflow] = given  # pyright: ignore[reportAssignmentType]  # told when it is called
        return make
    if in_world:
        raise WorkflowRuntimeError(
            f"explore() was given a world and {brief(given)}, which cannot be made in it; "
            f"give a function that takes the world and returns a workflow"
        )
    raise WorkflowRuntimeError(
        f"explore() was given {brief(given)}, which is no workflow; give its class, or a function that makes one"
    )


def check_arguments(
    function: Callable[..., object],
    backends: Sequence[str],
    *,
    max_examples: int,
    max_deviations: int,
    options: Mapping[str, Any],
) -> None:
    """Look for mistakes in what *function* was called with.

    Raises:
        WorkflowRuntimeError: There is one.
    """
    _check_backends(backends)
    for name, number, least in (("max_examples", max_examples, 1), ("max_deviations", max_deviations, 0)):
        if number < least:
            raise WorkflowRuntimeError(f"explore() was given {name}={number!r}; give {least} or more")
    for name, value in options.items():
        # A StartEvent takes any field, and a test whose invariant went there would always pass.
        meant = difflib.get_close_matches(name, inspect.signature(function).parameters, n=1, cutoff=0.8)
        if meant and callable(value):
            raise WorkflowRuntimeError(f"explore() was given {name}=, did you mean {meant[0]}=?")
    try:
        anyio.get_cancelled_exc_class()
    except anyio.NoEventLoopError:
        return
    raise WorkflowRuntimeError(
        "explore() makes event loops of its own, and was called while one runs; "
        "call it from a plain function: 'def test_...', not 'async def test_...'"
    )


def _check_backends(backends: Sequence[str]) -> None:
    if isinstance(backends, str):
        raise WorkflowRuntimeError(
            f"explore() was given backends={backends!r}; give several: ({backends!r},)"
        )
    if not backends:
        raise WorkflowRuntimeError("explore() was given no backends; give 'asyncio', 'trio', or both")
    for name in backends:
        if name not in BACKENDS:
            raise WorkflowRuntimeError(
                f"explore() was given backends={tuple(backends)!r}, and knows no {name!r}; "
                f"give 'asyncio', 'trio', or both"
            )
    if "trio" in backends and importlib.util.find_spec("trio") is None:
        raise WorkflowRuntimeError(
            "explore() runs on trio too, which is not installed; "
            "install anyio-workflows[trio], or give backends=('asyncio',)"
        )
