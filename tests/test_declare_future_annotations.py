"""Steps in a module that postpones its annotations, as users' modules may (S-DEF-1)."""

from __future__ import annotations  # noqa: TID251  # what is tested

import functools
from typing import Any, Generic, TypeVar

from anyio_workflows._declare.step import ContextParameter, declaration_of, step
from anyio_workflows._declare.workflow import DeclaredWorkflow
from anyio_workflows._events import Event, StartEvent, StopEvent

State = TypeVar("State")


class Context(ContextParameter, Generic[State]): ...


class Query(Event):
    text: str


class Counter: ...


class Flow(DeclaredWorkflow):
    @step
    async def ask(self, ctx: Context[Counter], ev: StartEvent) -> Query | None: ...

    @step
    async def answer(self, ev: Query) -> StopEvent: ...  # type: ignore[empty-body]


def test_s_def_1_postponed_annotations_are_resolved() -> None:
    ask, answer = Flow.step_declarations()
    assert (ask.accepts, ask.returns, ask.state_type) == ((StartEvent,), (Query,), Counter)
    assert (answer.accepts, answer.returns) == ((Query,), (StopEvent,))


def test_s_def_1_postponed_annotations_see_local_classes() -> None:
    class Local(Event): ...

    class LocalState: ...

    class Inner(DeclaredWorkflow):
        @step(num_workers=2)
        async def work(self, ev: Local, ctx: Context[LocalState]) -> Local | None: ...

    @step(workflow=Inner)
    def free(ev: Local, ctx: Context[Any]) -> None: ...

    work, added = Inner.step_declarations()
    assert (work.accepts, work.returns, work.state_type) == ((Local,), (Local,), LocalState)
    assert added.accepts == (Local,)


def test_s_def_1_postponed_annotations_are_resolved_under_another_modules_decorator() -> None:
    # `functools.wraps` gives the wrapper these annotations, but not this module's names.
    names: dict[str, Any] = {"functools": functools}
    exec(
        "def wrap(function):\n"
        "    @functools.wraps(function)\n"
        "    def wrapper(*args): return function(*args)\n"
        "    return wrapper\n",
        names,
    )

    class Wrapped(DeclaredWorkflow):
        work = step(names["wrap"](Flow.answer))

    found = declaration_of(Wrapped.work)
    assert found is not None
    assert found.accepts == (Query,)
