"""Views of a state that copy what is touched, for an ``edit_state`` block, and what becomes of them.

That only one edit is open at a time is the caller's care.
"""

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from .._errors import WorkflowRuntimeError
from .copying import ATOMS, Anatomy, anatomy_of, copy_value, has_fields, remember
from .dict_state import DictState

_EDIT = "_anyio_workflows_edit"
_ENDED = (
    "the edit_state block that gave this state has ended, a change to it would be lost; "
    "change it within `async with ctx.store.edit_state() as state:`"
)
_NOTHING = object()


class Draft:
    """One edit of a state: the user changes `view`, then it is committed or discarded, once."""

    __slots__ = ("_edit", "_put", "view")

    view: Any
    """What the user's block is given; an instance of the state's class.

    After the edit it refuses to be changed, and what is read from it is a copy.
    """

    def __init__(self, state: Any, put: Callable[[Any], None]) -> None:
        self._edit = _edit_of(state)
        self._put = put
        self.view = self._edit.view

    def commit(self) -> None:
        """Make what the block left the committed state, in one step that no reader sees half of."""
        assert self._edit.open, "an edit ends once"
        self._put(self._edit.result())
        self._edit.close()

    @property
    def touched(self) -> set[str] | None:
        """The keys or fields that the block has looked at or changed; None if it cannot be told."""
        return self._edit.touched()

    def discard(self) -> None:
        """Forget the edit; the committed state was never touched."""
        assert self._edit.open, "an edit ends once"
        self._edit.close()


class _DictEdit(MutableMapping[str, Any]):
    """The items of a `DictState` under edit: the committed ones, with the changes laid over them."""

    def __init__(self, state: DictState) -> None:
        self.open = True
        self.view = state.over(self)
        self._state = state
        self._base = state._data
        self._touched: dict[str, Any] = {}
        self._added: dict[str, Any] = {}
        self._gone: set[str] = set()
        self._memo: dict[int, Any] = {}

    def result(self) -> DictState:
        """Apply the changes to the committed state; what was not touched is not looked at."""
        for key in self._gone:
            del self._base[key]
        self._base.update(self._touched)
        self._base.update(self._added)
        return self._state

    def touched(self) -> set[str] | None:
        """Return the keys that were read as mutable values, set or deleted."""
        return {*self._touched, *self._added, *self._gone}

    def close(self) -> None:
        self.open = False
        self._touched = {}
        self._added = {}
        self._gone = set()
        self._memo = {}

    def __getitem__(self, key: str) -> Any:
        if key in self._added:
            return self._added[key]
        if key in self._touched:
            return self._touched[key]
        if key in self._gone:
            raise KeyError(key)
        value = self._base[key]
        if type(value) in ATOMS:
            return value
        if not self.open:
            return copy_value(value, {})
        mine = copy_value(value, self._memo)
        if mine is not value:
            self._touched[key] = mine
        return mine

    def __setitem__(self, key: str, value: Any) -> None:
        self._check_open()
        if key in self._base and key not in self._gone:
            self._touched[key] = value
        else:
            self._added[key] = value

    def __delitem__(self, key: str) -> None:
        self._check_open()
        if key not in self:
            raise KeyError(key)
        if key in self._added:
            del self._added[key]
        else:
            self._gone.add(key)
            self._touched.pop(key, None)

    def __contains__(self, key: object) -> bool:
        return key in self._added or (key in self._base and key not in self._gone)

    def __iter__(self) -> Iterator[str]:
        for key in self._base:
            if key not in self._gone:
                yield key
        # A list: a block may add keys while it goes through them.
        yield from list(self._added)

    def __len__(self) -> int:
        return len(self._base) - len(self._gone) + len(self._added)

    def clear(self) -> None:
        # Inherited, it would look for the first key that is left, over and over.
        self._check_open()
        self._added.clear()
        self._touched.clear()
        self._gone.update(self._base)

    def _check_open(self) -> None:
        if not self.open:
            raise WorkflowRuntimeError(_ENDED)


class _FieldsEdit:
    """An attrs or dataclass state under edit: a view that begins with the committed values and copies as it is read."""

    def __init__(self, state: Any, view_class: type) -> None:
        self.open = True
        self._class = type(state)
        self._anatomy = anatomy_of(self._class)
        self._memo: dict[int, Any] = {}
        self.view: Any = object.__new__(view_class)
        anatomy_of(view_class).put(self.view, _EDIT, self)
        contents = _fill(self.view, self._anatomy, self._anatomy.contents(state))
        self._shared = {name: value for name, value in contents.items() if type(value) not in ATOMS}

    def result(self) -> Any:
        """Return a state, of exactly the state's class, with what the block left."""
        state = object.__new__(self._class)
        _fill(state, self._anatomy, self._anatomy.contents(self.view))
        return state

    def touched(self) -> set[str] | None:
        """Return the fields that the view no longer shares with the committed state, those that cannot be shared too."""
        return {*self._anatomy.contents(self.view)} - {*self._shared}

    def close(self) -> None:
        self.open = False
        self._memo = {}
        # What the block touched is now the committed state's, and is copied again for whoever reads on.
        contents = self._anatomy.contents(self.view)
        self._shared = {name: value for name, value in contents.items() if type(value) not in ATOMS}

    def own(self, name: str, value: Any) -> Any:
        """Return *value*, just read from the view's *name*; a copy that the view keeps if it is still shared."""
        if self._shared.get(name, _NOTHING) is not value:
            return value
        del self._shared[name]
        mine = copy_value(value, self._memo)
        if mine is not value:
            self._anatomy.put(self.view, name, mine)
        return mine

    def own_all(self) -> None:
        """Copy everything that the view still shares with the committed state."""
        stored = self._anatomy.contents(self.view)
        for name in list(self._shared):
            self.own(name, stored.get(name, _NOTHING))


class _CopyEdit:
    """Any other state under edit: a copy of the whole, as nothing is known about where it keeps its values."""

    def __init__(self, state: Any) -> None:
        self.open = True
        self.view = copy_value(state, {})

    def touched(self) -> set[str] | None:
        """Return None: anything may have changed."""
        return None

    def result(self) -> Any:
        """Return a copy of the view, which the user may still hold."""
        return copy_value(self.view, {})

    def close(self) -> None:
        self.open = False


class _View:
    """What the view of a `_FieldsEdit` does beside the state's own class, which comes after it in the MRO."""

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Keep a view's class from the hooks of the state's class: it is none of the user's making."""

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        edit: _FieldsEdit = object.__getattribute__(self, _EDIT)
        if name == "__dict__":
            edit.own_all()
            return value
        return edit.own(name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        _check_open(self)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        _check_open(self)
        super().__delattr__(name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        # A copy or a pickle of a view is one of the state: the view's class can't be found by its name.
        edit: _FieldsEdit = object.__getattribute__(self, _EDIT)
        edit.own_all()
        return edit.result().__reduce_ex__(protocol)


@remember
def _view_class(cls: type) -> type | None:
    """Return a subclass of *cls* whose instances can be views, or None if there can be none."""
    if not has_fields(cls):
        return None
    namespace = {
        "__slots__": (_EDIT,),
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        # attrs and dataclasses compare, print and evolve by __class__.
        "__class__": property(lambda _: cls),
    }
    try:
        view_class: type = type(cls)(cls.__name__, (_View, cls), namespace)
        object.__new__(view_class)
    except TypeError:  # derived from a built-in type, or a metaclass with ideas of its own
        return None
    return view_class


def _edit_of(state: Any) -> _DictEdit | _FieldsEdit | _CopyEdit:
    if isinstance(state, DictState):
        return _DictEdit(state)
    view_class = _view_class(type(state))
    return _CopyEdit(state) if view_class is None else _FieldsEdit(state, view_class)


def _fill(instance: Any, anatomy: Anatomy, contents: dict[str, Any]) -> dict[str, Any]:
    for name, value in contents.items():
        anatomy.put(instance, name, value)
    return contents


def _check_open(view: _View) -> None:
    edit: _FieldsEdit = object.__getattribute__(view, _EDIT)
    if not edit.open:
        raise WorkflowRuntimeError(_ENDED)
