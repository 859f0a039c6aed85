"""Steps that run in an executor: which one, what is submitted to it, and how the answer comes back.

Whoever made an executor shuts it down. One that a step's function made is kept for the process: its workers are
idle between the runs, and the interpreter waits for them at its exit, as for every executor.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakKeyDictionary

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from .._brief import brief
from .._declare.executors import is_executor
from .._declare.step import StepDeclaration
from .._errors import WorkflowRuntimeError
from ._backend import door_for_threads

if TYPE_CHECKING:  # loaded by programs that have executors
    from concurrent.futures import Executor, Future

_made: dict[int, WeakKeyDictionary[Any, "Executor"]] = {}
"""What functions given as ``@step(executor=...)`` returned, by process: a forked one has the object without its threads.

Who declared the function keeps both alive; an executor that nobody has any more ends its workers itself.
"""

_making = threading.Lock()
"""Held while one is made: event loops of several threads may need it at once."""


class Submitted:
    """One call of a step's function that an executor has."""

    __slots__ = ("_arguments", "_executor", "_step", "future")

    def __init__(
        self, step: "InExecutor", executor: "Executor", future: "Future[Any]", arguments: tuple[Any, ...]
    ) -> None:
        self._step = step
        self._executor = executor
        self._arguments = arguments
        self.future: Future[Any] = future

    def result(self) -> Any:
        """Return what the function has returned, or raise what it has raised."""
        if self.future.cancelled():
            raise WorkflowRuntimeError(
                f"the executor of step {self._step.name!r} cancelled the call before it began; it was shut down"
            )
        error = self.future.exception()
        if error is None:
            return self.future.result()
        self._step.look_at(error, self._executor, self._arguments)
        raise error


class InExecutor:
    """What the engine calls for a step with an executor: it submits the function, and does not wait."""

    __slots__ = ("_function", "_given", "name")

    def __init__(self, declaration: StepDeclaration, function: Callable[..., Any]) -> None:
        self.name: str = declaration.name
        self._given = declaration.executor
        # Decided by ourselves, because a workflow may happen to be picklable: what the step changes in a copy of it
        # would be lost without a word.
        self._function = _Here(function, self.name) if declaration.is_method else function

    def __call__(self, *arguments: Any, **named: Any) -> Submitted:
        executor = _executor_of(self._given, self.name)
        try:
            future = executor.submit(self._function, *arguments, **named)
        except RuntimeError:  # it is broken, or was shut down
            self._replace(executor)
            raise
        return Submitted(self, executor, future, (arguments, named))

    def look_at(self, error: BaseException, executor: "Executor", arguments: tuple[Any, ...]) -> None:
        """Find out whether *error* is the function's or the executor's; raise what says more, if there is more."""
        from concurrent.futures import BrokenExecutor  # noqa: PLC0415  # loaded by programs that have executors
        from pickle import PicklingError  # noqa: PLC0415  # a tenth of our import

        if isinstance(error, BrokenExecutor):
            self._replace(executor)
        elif isinstance(error, AttributeError | TypeError | PicklingError):
            self._explain_pickling(error, arguments)

    def _replace(self, executor: "Executor") -> None:
        """Have the next call make another one, if *executor* was made here and nobody has done so yet."""
        if not is_executor(self._given):
            with _making:
                made = _made_here()
                if made.get(self._given) is executor:
                    del made[self._given]

    def _explain_pickling(self, error: Exception, arguments: tuple[Any, ...]) -> None:
        from pickle import PicklingError, dumps  # noqa: PLC0415  # see look_at

        # An executor says no more than a function would that raises the same, so we try what it has tried.
        try:
            dumps((self._function, arguments))
        except Exception as why:  # noqa: BLE001  # whatever it raises, we compare it
            if isinstance(error, PicklingError) or (type(why) is type(error) and str(why) == str(error)):
                raise (why if isinstance(why, WorkflowRuntimeError) else self._unpicklable(why)) from error

    def _unpicklable(self, why: Exception) -> WorkflowRuntimeError:
        return WorkflowRuntimeError(
            f"step {self.name!r} could not be sent to its executor, which pickles it: {why}; the function must stand "
            f"at the top of a module, under its own name, and events must have picklable values"
        )


class _Here:
    """A method as it is submitted, which says so where it would have to go to another process."""

    __slots__ = ("_method", "_name")

    def __init__(self, method: Callable[..., Any], name: str) -> None:
        self._method = method
        self._name = name

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._method(*arguments, **named)

    def __reduce__(self) -> NoReturn:
        raise WorkflowRuntimeError(
            f"step {self._name!r} is a method, and its executor sends it to another process, where its workflow "
            f"cannot follow; make it a function at the top of a module, with '@step(workflow=..., executor=...)'"
        )


async def run_in_executor(submit: Callable[..., Submitted], *arguments: Any) -> Any:
    """Let *submit* give a call to its executor, and return what that returns.

    Cancellation:
        A call that has not begun is taken back. One that has begun cannot be cancelled: the caller is left when it
        is done, with what it raised if it raised, and its result is thrown away.
    """
    await checkpoint_if_cancelled()
    call = submit(*arguments)
    done = anyio.Event()
    call.future.add_done_callback(partial(_tell, door_for_threads(), done))
    try:
        await done.wait()
    except anyio.get_cancelled_exc_class():
        if not call.future.cancel():
            await _sit_out(done)  # noqa: ASYNC102  # shielded there, for as long as the call takes
            call.result()
        raise
    return call.result()


async def _sit_out(done: anyio.Event) -> None:
    with anyio.CancelScope(shield=True):  # noqa: ASYNC912  # a call that is done needs no wait
        while not done.is_set():
            # Asyncio's own Task.cancel gets through the shield; the caller is being cancelled anyway.
            with suppress(anyio.get_cancelled_exc_class()):
                await done.wait()


def _tell(door: Callable[[Callable[[], None]], object], done: anyio.Event, _: object) -> None:
    # A loop that has ended has nobody left who waits.
    with suppress(RuntimeError):
        door(done.set)


def _executor_of(given: Any, step: str) -> "Executor":
    if is_executor(given):
        executor: Executor = given
        return executor
    with _making:
        made = _made_here()
        known = made.get(given)
        if known is not None:
            return known
        executor = given()
        if not is_executor(executor):
            raise WorkflowRuntimeError(
                f"executor= of step {step!r} is a function that gave {brief(executor)}; it must return an "
                f"executor of concurrent.futures"
            )
        made[given] = executor
        return executor


def _made_here() -> WeakKeyDictionary[Any, "Executor"]:
    return _made.setdefault(os.getpid(), WeakKeyDictionary())
