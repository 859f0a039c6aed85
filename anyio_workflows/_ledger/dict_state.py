"""The state of a run that declares no type for it: a mapping whose keys can be read as attributes."""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Self

from .._errors import WorkflowRuntimeError
from .copying import copy_value


class DictState(MutableMapping[str, Any]):
    """A state that holds what it is given: ``state["count"]`` and ``state.count`` are the same.

    A key that is also the name of a method, as ``items``, is reached as ``state["items"]`` only.
    """

    __slots__ = ("_data",)

    _data: MutableMapping[str, Any]

    def __init__(self, content: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), /, **items: Any) -> None:
        object.__setattr__(self, "_data", dict(content, **items))

    @classmethod
    def over(cls, data: MutableMapping[str, Any]) -> Self:
        """Return a state that keeps its items in *data* itself."""
        state = cls.__new__(cls)
        object.__setattr__(state, "_data", data)
        return state

    def __getitem__(self, key: str) -> Any:
        return self._data[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._data[key] = value

    def __delitem__(self, key: str) -> None:
        del self._data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __contains__(self, key: object) -> bool:
        return key in self._data

    def clear(self) -> None:
        """Remove every key."""
        self._data.clear()

    def __getattr__(self, name: str) -> Any:
        # Copying and unpickling look for special methods on an instance that has no _data yet.
        if name == "_data" or name.startswith("__") or name not in self._data:
            raise AttributeError(f"{type(self).__qualname__} has no {name!r}", name=name, obj=self)
        return self._data[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if not hasattr(type(self), name):
            self._data[name] = value
        elif isinstance(getattr(type(self), name), property):
            super().__setattr__(name, value)
        else:
            raise WorkflowRuntimeError(
                f"{name!r} is an attribute of the class {type(self).__qualname__} itself; "
                f"for a key of that name write state[{name!r}] = ..."
            )

    def __delattr__(self, name: str) -> None:
        if name not in self._data:
            raise AttributeError(f"{type(self).__qualname__} has no {name!r}", name=name, obj=self)
        del self._data[name]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return dict(self) == dict(other)

    __hash__ = None  # type: ignore[assignment]  # compares by value and can be changed

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({dict(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would give a shallow copy the same dict, and unpickle through __setattr__.
        return type(self), (dict(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = memo[id(self)] = self.over({})
        twin.update(copy_value(dict(self), memo))
        return twin
