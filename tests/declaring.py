"""Events, a context and shortcuts for the tests of declarations."""

from collections.abc import Callable
from typing import Generic, TypeVar

import attrs
import pytest

from anyio_workflows._declare.step import ContextParameter, StepDeclaration, declaration_of
from anyio_workflows._declare.workflow import DeclaredWorkflow
from anyio_workflows._errors import WorkflowValidationError
from anyio_workflows._events import Event

State = TypeVar("State")


class Context(ContextParameter, Generic[State]):
    """Stands for the context that the engine gives."""


class Query(Event):
    text: str


class Answer(Event):
    text: str


class Refusal(Event):
    text: str


@attrs.define
class Counter:
    count: int = 0


class Host(DeclaredWorkflow):
    """What free functions are added to."""


def declared(function: object) -> StepDeclaration:
    found = declaration_of(function)
    assert found is not None
    return found


def problems_of(declare: Callable[[], object]) -> tuple[str, ...]:
    with pytest.raises(WorkflowValidationError) as caught:
        declare()
    return caught.value.problems
