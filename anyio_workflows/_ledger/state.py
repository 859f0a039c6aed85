"""The committed state of one run: read and set by path, replaced, edited.

Nothing here waits or locks. Who may change the state, and when, is decided by the run's ``ctx.store``.
"""

import inspect
from collections.abc import Mapping
from typing import Any, get_origin, is_typeddict

from .._errors import WorkflowRuntimeError
from .copying import copy_value, way_to_replace
from .dict_state import DictState
from .drafts import Draft
from .paths import MISSING, read_path, write_path

__all__ = ("MISSING", "DictState", "Draft", "RunState")


class RunState:
    """The committed state of one run; made when it is first needed, unless the run was given one.

    Args:
        state_type: Class of the state, or one with its parameters, as ``dict[str, int]``; None for a `DictState`.
        initial: A state of that class, a mapping with its fields or keys, or None for the class's default. It is copied.

    Raises:
        WorkflowRuntimeError: *initial* is no such state, or does not fit the fields of the class.
    """

    __slots__ = ("_state", "_type")

    def __init__(self, state_type: object | None, initial: object | None) -> None:
        self._type: type = DictState if state_type is None else _class_of(state_type)
        self._state: Any = None if initial is None else self._begun_with(initial)

    def get(self, path: str, default: Any = MISSING) -> Any:
        """Return what is stored at *path*, itself: changing it is a mistake, `edit` is for that.

        The empty path gives a copy of the whole state.

        Raises:
            StatePathError: Nothing is there, and no *default* was given.
        """
        if path == "":
            return self.get_state()
        return read_path(self._root(), path, default)

    def set(self, path: str, value: Any) -> None:
        """Store *value* itself at *path*, with new dicts for what is missing on the way.

        Raises:
            WorkflowRuntimeError: The state has no place for it, or is frozen. Nothing was changed.
        """
        self._check_not_frozen()
        write_path(self._root(), path, value)

    def get_state(self) -> Any:
        """Return a copy of the whole state."""
        return copy_value(self._committed(), {})

    def snapshot(self) -> Any:
        """Return a copy of the whole state, as `get_state`."""
        return self.get_state()

    def set_state(self, state: Any) -> None:
        """Replace the whole state by a copy of *state*.

        Raises:
            WorkflowRuntimeError: *state* is no instance of the run's state class.
        """
        if issubclass(self._type, DictState) and isinstance(state, Mapping):
            self._state = self._as_dict_state(state)
        elif isinstance(state, self._type):
            self._state = copy_value(state, {})
        else:
            raise WorkflowRuntimeError(self._refusal("ctx.store.set_state()", state))

    def clear(self) -> None:
        """Go back to the default of the state's class.

        Raises:
            WorkflowRuntimeError: The class has fields without default.
        """
        self._state = _made(self._type, {})

    def begin_anew(self) -> None:
        """Be a state that nobody has used; it is made when it is next needed."""
        self._state = None

    def edit(self) -> Draft:
        """Begin an edit of the state. The caller sees to it that nothing else changes it meanwhile.

        Raises:
            WorkflowRuntimeError: The state is frozen.
        """
        self._check_not_frozen()
        return Draft(self._committed(), self._put)

    def committed(self) -> Any:
        """Return the state itself, for somebody who only reads it at once."""
        return self._committed()

    def _committed(self) -> Any:
        if self._state is None:
            self._state = _made(self._type, {})
        return self._state

    def _root(self) -> Any:
        """Return where paths begin; the dict itself for a `DictState`, whose methods are no values."""
        state = self._committed()
        return state._data if isinstance(state, DictState) else state

    def _put(self, state: Any) -> None:
        self._state = state

    def _begun_with(self, initial: object) -> Any:
        if issubclass(self._type, DictState) and isinstance(initial, Mapping):
            return self._as_dict_state(initial)
        if isinstance(initial, self._type):
            return copy_value(initial, {})
        if isinstance(initial, Mapping):
            return _made(self._type, copy_value(dict(initial), {}))
        raise WorkflowRuntimeError(self._refusal("run(state=...)", initial))

    def _as_dict_state(self, content: Mapping[str, Any]) -> DictState:
        if isinstance(content, self._type):
            copied: DictState = copy_value(content, {})
            return copied
        made: DictState = self._type(copy_value(dict(content), {}))
        return made

    def _check_not_frozen(self) -> None:
        way = way_to_replace(self._type)
        if way is not None:
            raise WorkflowRuntimeError(f"{self._type.__qualname__} is frozen; use ctx.store.set_state({way})")

    def _refusal(self, where: str, state: object) -> str:
        if self._type is DictState:
            return (
                f"{where} was given a {type(state).__qualname__}, but the workflow declares no state class; "
                f"give a mapping, or annotate the steps with ctx: Context[{type(state).__qualname__}]"
            )
        return (
            f"{where} was given a {type(state).__qualname__}, "
            f"but the state of this run is a {self._type.__qualname__}; give one of those"
        )


def _class_of(state_type: object) -> type:
    """Return the class that isinstance understands behind the annotation *state_type*."""
    if is_typeddict(state_type):
        return dict
    if state_type is Any:  # a class, from Python 3.11 on
        return DictState
    cls = state_type if isinstance(state_type, type) else get_origin(state_type)
    return cls if isinstance(cls, type) else DictState


def _made(cls: type, fields: dict[str, Any]) -> Any:
    """Return an instance of *cls* with *fields*; what its own validators raise leaves as itself."""
    if issubclass(cls, dict | DictState):
        return cls(fields)
    # A pydantic model overlooks unknown keywords, so what is given is always compared with the signature.
    misfit = _misfit(cls, fields) if fields else ""
    if not misfit:
        try:
            return cls(**fields)
        except (TypeError, ValueError):
            misfit = _misfit(cls, fields)
            if not misfit:
                raise
    raise WorkflowRuntimeError(f"{cls.__qualname__}, the state of this run, {misfit}")


def _misfit(cls: type, fields: Mapping[str, Any]) -> str:
    """Say in which way *fields* are not what *cls* is made of, or return an empty text."""
    parameters = inspect.signature(cls).parameters.values()
    named = [each for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    names = [each.name for each in named]
    faults = []
    unknown = [name for name in fields if name not in names]
    if unknown and not any(each.kind is each.VAR_KEYWORD for each in parameters):
        declared = _quoted(names) if names else "none"
        faults.append(f"has no field {_quoted(unknown)} (its fields: {declared})")
    missing = [each.name for each in named if each.default is each.empty and each.name not in fields]
    if missing:
        faults.append(
            f"can't be made without {_quoted(missing)}; give run(state={cls.__qualname__}(...)), "
            f"or a whole one to ctx.store.set_state()"
        )
    return " and ".join(faults)


def _quoted(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
