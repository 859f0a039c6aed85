"""Gather the steps that a workflow class declares, inherits and is given.

How they fit together is decided by the graph, what happens by the engine.
"""

import inspect
from collections import ChainMap
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, ClassVar

import attrs

from .._errors import WorkflowValidationError
from .step import StepDeclaration, declaration_of, declares_step
from .wording import name_of


class DeclaredWorkflow:
    """A class whose methods, and functions added to it, are steps.

    A subclass inherits the steps of its bases, added functions included. A step that it overrides keeps
    its place in the order; the override must be a step as well, and ``name = None`` removes it.
    """

    _added_steps: ClassVar[dict[str, FunctionType]] = {}
    """Functions added to this very class."""

    _steps_version: ClassVar[int] = 0
    """Grows whenever a step is added to any workflow class, so that what was validated is not so any more."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._added_steps = {}
        # Found again whenever the steps are asked for; here the traceback shows the class.
        cls.step_declarations()

    @classmethod
    def add_step(cls, func: Callable[..., Any], /) -> None:
        """Add a function to this workflow and its subclasses; ``@step(workflow=...)`` does so by itself.

        Args:
            func: A function decorated with ``@step(workflow=...)``, of this workflow or another.

        Raises:
            WorkflowValidationError: It is no such function, or there is a step of its name.
        """
        problem = cls._addition_problem(func)
        if problem:
            raise WorkflowValidationError([problem], workflow=name_of(cls))
        cls._added_steps[func.__name__] = func  # type: ignore[assignment]  # declared, so a plain function
        DeclaredWorkflow._steps_version += 1

    @classmethod
    def _addition_problem(cls, func: Callable[..., Any]) -> str | None:
        declaration = declaration_of(func)
        if declaration is None:
            return f"{func!r} is not declared as a step; decorate it with '@step(workflow={name_of(cls)})'"
        if _is_ours(cls):
            return f"step {name_of(func)!r} would belong to every workflow; give the Workflow subclass that it is for"
        if declaration.is_method:
            return f"step {name_of(func)!r} is a method; derive from its class to have it"
        if any(declared.name == declaration.name for declared in cls.step_declarations()):
            return f"there is a step {declaration.name!r} already; give the function another name"
        return None

    @classmethod
    def step_declarations(cls) -> tuple[StepDeclaration, ...]:
        """Return the steps in order of declaration, those of base classes first.

        Raises:
            WorkflowValidationError: Something that is no step has taken the place of one.
        """
        return tuple(_declarations(cls))


def _declarations(cls: type[DeclaredWorkflow]) -> list[StepDeclaration]:
    steps = _steps_of(cls)
    problems = [*_misplaced(steps), *_made_async(steps), *_hiding(cls, steps)]
    if problems:
        raise WorkflowValidationError(problems, workflow=name_of(cls))
    found = [(name, declaration_of(attribute)) for name, attribute in steps.items()]
    return [
        declaration if declaration.name == name else attrs.evolve(declaration, name=name)
        for name, declaration in found
        if declaration is not None
    ]


def _misplaced(steps: dict[str, Any]) -> Iterator[str]:
    """Tell what stands in the place of a step but is none."""
    for name, attribute in steps.items():
        if attribute is None or declaration_of(attribute) is not None:
            continue
        kind = type(attribute).__name__
        if isinstance(attribute, staticmethod | classmethod):
            yield f"step {name!r} is a {kind}; a step is a method with self: remove @{kind}"
        elif declares_step(attribute):
            yield f"step {name!r} is wrapped in a {kind} object; its decorator should return a function"
        else:
            yield (
                f"step {name!r} is overridden by something that is no step; decorate the override with @step, "
                f"or write '{name} = None' to remove the step"
            )


def _made_async(steps: dict[str, Any]) -> Iterator[str]:
    """Tell which steps have an executor and a decorator that makes their function async."""
    for name, attribute in steps.items():
        declaration = declaration_of(attribute)
        if declaration is not None and declaration.executor is not None and declaration.is_async:
            yield (
                f"step {name!r} has executor=, which calls plain functions, but the decorator above @step makes it "
                f"async; remove one of the two"
            )


def _hiding(cls: type, steps: dict[str, Any]) -> Iterator[str]:
    """Tell which steps would stand in the way of the library's own methods."""
    ours = [vars(owner) for owner in cls.__mro__ if _is_ours(owner)]
    for name, attribute in steps.items():
        # A function that was added is no attribute and hides nothing.
        is_attribute = inspect.getattr_static(cls, name, None) is attribute
        if is_attribute and any(name in own and not declares_step(own[name]) for own in ours):
            yield f"step {name!r} hides what the library itself calls {name!r}; give the step another name"


def _steps_of(cls: type) -> dict[str, Any]:
    """Return what stands under the name of every step of *cls* and its bases, in order of declaration."""
    own = {owner: {**vars(owner), **vars(owner).get("_added_steps", {})} for owner in cls.__mro__[:-1]}
    found = ChainMap(*own.values())
    return {
        name: found[name]
        for owner in _bases_first(cls)
        for name, attribute in own[owner].items()
        if declares_step(attribute)
    }


def _bases_first(cls: type) -> dict[type, None]:
    # Not the reversed MRO, in which the steps of the first base would come after those of the second.
    owners: dict[type, None] = {}
    for base in cls.__bases__:
        if base is not object:
            owners |= _bases_first(base)
    return owners | {cls: None}


def _is_ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == __name__.partition(".")[0]
