"""Check what a step gives as its executor, and whether such a step can run away from the event loop.

What cannot be known before it runs, because a function makes the executor, is told when it happens.
"""

import inspect
import sys
import weakref
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

_SEPARATE = (
    ("concurrent.futures.process", "ProcessPoolExecutor"),
    ("concurrent.futures.interpreter", "InterpreterPoolExecutor"),
)
"""Executors of the standard library that pickle what they are given."""


def is_maker(maker: Any) -> bool:
    """Whether *maker* can be called without arguments, as a plain function."""
    if not callable(maker) or inspect.iscoroutinefunction(maker):
        return False
    try:
        inspect.signature(maker).bind()
    except (TypeError, ValueError):  # it needs arguments, or is a builtin that tells no signature
        return False
    return True


def is_executor(given: object) -> bool:
    """Whether *given* is an executor of `concurrent.futures`, or one derived from it."""
    return _is_one_of(given, "concurrent.futures", "Executor")


def option_problems(executor: Any) -> Iterator[str]:
    """Tell what is wrong with the value of ``executor=``, to be read after the name of the step."""
    if executor is None or is_executor(executor) or (is_maker(executor) and _can_be_remembered(executor)):
        return
    yield (
        f"has executor={executor!r}; it must be an executor of concurrent.futures, or a plain function without "
        f"arguments that makes one, as in 'executor=lambda: ProcessPoolExecutor(4)'"
    )


def step_problems(
    function: FunctionType, executor: Any, *, is_async: bool, context_parameter: str | None
) -> Iterator[str]:
    """Tell why *function* cannot run in *executor*, to be read after the name of the step."""
    if executor is None:
        return
    if is_async:
        yield "is async def and has executor=, which calls plain functions; write def, or remove executor="
    if context_parameter is not None:
        yield (
            f"has executor= and the context as {context_parameter!r}, which stays in the event loop; remove the "
            f"parameter, return an event, and leave what needs the context to the step that takes it"
        )
    if any(_is_one_of(executor, *separate) for separate in _SEPARATE):
        yield from _pickling_problems(function)


def _pickling_problems(function: FunctionType) -> Iterator[str]:
    enclosing = function.__qualname__.rpartition(".")[0]
    advice = "make it a function at the top of a module, with '@step(workflow=MyWorkflow, executor=...)'"
    if enclosing.endswith("<locals>"):
        yield f"stands in a function, where no other process finds it; {advice}"
    elif enclosing:
        yield f"is a method, whose workflow cannot follow it to another process; {advice}"


def _can_be_remembered(maker: Callable[[], Any]) -> bool:
    try:
        hash(weakref.ref(maker))
    except TypeError:
        return False
    return True


def _is_one_of(given: object, module: str, name: str) -> bool:
    # Who has an executor has loaded its module; loading it here would burden those who have none.
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(given, kind)
