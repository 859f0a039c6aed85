"""The state of a run as its steps reach it: who may change it when.

What a path means and what a block copies is decided by the ledger's `RunState`.
"""

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from .._brief import brief
from .._errors import WorkflowRuntimeError
from .._ledger.delivery import Delivery
from .._ledger.state import MISSING, Draft, RunState
from .crew import Crew
from .worker import Execution, Parked, name_of

StateT = TypeVar("StateT")


class StateNotes(Protocol):
    """Where a recorded run notes the changes of its state."""

    def state_changed(self, delivery: Delivery, state: RunState, names: set[str] | None) -> None:
        """Note that these top-level keys or fields may have changed; None for any."""

    def undo_change(self, state: RunState) -> None:
        """Make *state* again what was last noted."""

    def earlier_state(self, delivery: Delivery) -> RunState | None:
        """Return what the next change of *delivery* started from in an earlier attempt; None if it is new."""
        ...

    def repeats_change(self, delivery: Delivery) -> bool:
        """Match a change with one that an earlier attempt of *delivery* has made, once; False if it is new."""
        ...


class SharedState:
    """The state of one run and the one execution that may change it."""

    __slots__ = ("_holder", "_line", "notes", "state")

    def __init__(self, state: RunState, notes: StateNotes | None = None) -> None:
        self.state: RunState = state
        self.notes: StateNotes | None = notes
        self._holder: Execution | None = None
        self._line: deque[tuple[Parked, Execution]] | None = None

    async def acquire(self, crew: Crew, execution: Execution) -> None:
        """Wait until nobody else edits the state; first come, first served."""
        if self._holder is execution:
            raise WorkflowRuntimeError(
                f"step {execution._delivery.desk.node.name!r} changes the state inside its own edit_state block, "
                f"which would wait for itself; change the object that the block gave you"
            )
        if self._holder is None:
            self._holder = execution
            return
        place = Parked(crew)
        if self._line is None:
            self._line = deque()
        self._line.append((place, execution))
        try:
            await crew.park(execution, place, "the line for edit_state")
        except BaseException:
            if place.bell.is_set():
                self.release()
            else:
                self._line.remove((place, execution))
            raise

    def change(self, execution: Execution, how: Callable[[], None], names: set[str] | None) -> bool:
        """Change the state; False if an earlier attempt of *execution* has made this very change, and it stands."""
        notes = self.notes
        if notes is not None and notes.repeats_change(execution._delivery):
            return False
        how()
        if notes is not None:
            try:
                notes.state_changed(execution._delivery, self.state, names)
            except BaseException:  # it cannot be written down
                notes.undo_change(self.state)
                raise
        return True

    def release(self) -> None:
        """Let the next one change the state."""
        if self._line:
            place, self._holder = self._line.popleft()
            place.wake()
        else:
            self._holder = None


class EditBlock(Generic[StateT]):
    """What ``async with ctx.store.edit_state() as state:`` enters."""

    __slots__ = ("_draft", "_store")

    def __init__(self, store: "StateStore[StateT]") -> None:
        self._store = store
        self._draft: Draft | None = None

    async def __aenter__(self) -> StateT:
        shared, notes = self._store._shared, self._store._shared.notes
        await self._store._begin_change()
        try:
            earlier = notes.earlier_state(self._store._execution._delivery) if notes is not None else None
            self._draft = (shared.state if earlier is None else earlier).edit()
        except BaseException:
            shared.release()
            raise
        self._store._note("begins to edit the state")
        return self._draft.view  # type: ignore[no-any-return]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        draft, shared = self._draft, self._store._shared
        assert draft is not None, "a block is left after it was entered"
        try:
            is_told = shared.notes is not None or self._store._crew.turnstile is not None
            names = draft.touched if is_told else None
            self._store._note(_edited(names) if kind is None else "gives up editing the state")
            # A block that raised changed nothing, before a cut as now: what is matched is the next one that ends.
            if kind is not None or not shared.change(self._store._execution, draft.commit, names):
                draft.discard()
        finally:
            shared.release()


def _edited(names: set[str] | None) -> str:
    return "has edited the state" + (f": {', '.join(sorted(names))}" if names else "")


class StateStore(Generic[StateT]):
    """The state of the run, shared by all its steps: ``ctx.store``.

    A change is visible to every other step at once. Paths are dotted: ``"user.profile.name"`` goes through
    mapping keys, list indices and attributes.
    """

    __slots__ = ("_crew", "_execution", "_shared")

    def __init__(self, crew: Crew, execution: Execution, shared: SharedState) -> None:
        self._crew = crew
        self._execution = execution
        self._shared = shared

    async def _look(self) -> None:
        if self._execution._is_over:
            raise WorkflowRuntimeError(
                f"ctx.store was used after its execution of step "
                f"{self._execution._delivery.desk.node.name!r} had ended; use it while the step runs"
            )
        await self._crew.hop(self._execution)

    def _note(self, what: str) -> None:
        """Tell what explores the run, if it is explored."""
        if self._crew.turnstile is not None:
            self._crew.turnstile.note(name_of(self._execution._delivery), what)

    async def _begin_change(self) -> None:
        await self._look()
        await self._shared.acquire(self._crew, self._execution)

    def _change(self, how: Callable[[], None], names: set[str] | None) -> None:
        self._shared.change(self._execution, how, names)

    async def get(self, path: str, default: Any = MISSING) -> Any:
        """Return what is at *path*, as it is stored: do not change it in place.

        Raises:
            StatePathError: Nothing is there and no *default* was given; a KeyError and a ValueError.

        Cancellation:
            Nothing has happened.
        """
        await self._look()
        value = self._shared.state.get(path, default)
        if self._crew.turnstile is not None:
            self._note(f"reads {path} = {brief(value)}")
        return value

    async def set(self, path: str, value: Any) -> None:
        """Put *value* at *path*; mappings on the way are made as needed.

        Raises:
            StatePathError: The path leads through something that can hold nothing.
            WorkflowRuntimeError: The typed state declares no such field or is frozen, or this execution has an
                `edit_state` block open.

        Cancellation:
            Nothing has happened.
        """
        await self._begin_change()
        try:
            first = path.partition(".")[0]
            self._change(lambda: self._shared.state.set(path, value), {first})
            if self._crew.turnstile is not None:
                self._note(f"writes {path} = {brief(value)}")
        finally:
            self._shared.release()

    async def get_state(self) -> StateT:
        """Return a copy of the whole state.

        Cancellation:
            Nothing has happened.
        """
        await self._look()
        self._note("reads the state")
        return self._shared.state.get_state()  # type: ignore[no-any-return]

    async def set_state(self, state: StateT) -> None:
        """Replace the whole state with a copy of *state*.

        Raises:
            WorkflowRuntimeError: It is not of the run's state type, or this execution has an `edit_state` block
                open.

        Cancellation:
            Nothing has happened.
        """
        await self._begin_change()
        try:
            self._change(lambda: self._shared.state.set_state(state), None)
            self._note("writes the whole state")
        finally:
            self._shared.release()

    async def clear(self) -> None:
        """Put the state back to what an empty one is.

        Raises:
            WorkflowRuntimeError: This execution has an `edit_state` block open.

        Cancellation:
            Nothing has happened.
        """
        await self._begin_change()
        try:
            self._change(self._shared.state.clear, None)
            self._note("clears the state")
        finally:
            self._shared.release()

    def edit_state(self) -> EditBlock[StateT]:
        """Change the state exclusively: ``async with ctx.store.edit_state() as state: state["n"] += 1``.

        What the block did is committed when it ends normally and discarded when it raises; others read the
        committed state meanwhile. Other changes wait for the block.

        Raises:
            WorkflowRuntimeError: On entering: the state's class is frozen, or this execution has a block open.

        Cancellation:
            While waiting to enter, nothing has happened; inside the block it is discarded.
        """
        return EditBlock(self)
