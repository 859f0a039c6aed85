"""Find out whether the steps of a ``Workflow[T]`` end it with a T."""

from collections.abc import Iterator, Sequence
from typing import Any, ForwardRef, TypeVar

from .._declare.annotations import members
from .._declare.step import StepDeclaration
from .._declare.wording import name_of, written
from .._events import StopEvent
from .validate import Problem, stop_classes


def result_problems(steps: Sequence[StepDeclaration], result: Any) -> Iterator[Problem]:
    """Tell in which way *result*, the parameter of the workflow's class, is not what its runs give."""
    stops = stop_classes(steps)
    kinds = members(result)
    if len(stops) != 1 or any(isinstance(kind, TypeVar | ForwardRef | str) or kind is Any for kind in kinds):
        return
    (stop,) = stops
    declared = f"it is declared as Workflow[{written(result)}]"
    if stop is StopEvent:
        if all(map(_is_stop_event, kinds)):
            sentence = (
                f"{declared}, but its steps return StopEvent, of which a run gives the result; return "
                f"{name_of(kinds[0])}, or write Workflow[...] with the type of the result"
                if kinds != (StopEvent,)
                else f"{declared}, but of a StopEvent a run gives the result; write Workflow[...] with its type"
            )
            yield Problem(sentence=sentence, configuration=True)
    elif not any(isinstance(kind, type) and issubclass(stop, kind) for kind in kinds):
        yield Problem(
            sentence=f"{declared}, but its steps return {name_of(stop)}, which a run gives as it is; write "
            f"Workflow[{name_of(stop)}], or return what is declared",
            configuration=True,
        )


def _is_stop_event(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, StopEvent)
