"""A context for one call of one step, without a run around it: what the step does to it is there to be looked at."""

import copy
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

from anyio.lowlevel import checkpoint

from .. import Context, DictState, Event, RetryInfo, StatePathError, Workflow

_MISSING = object()


class Sent(NamedTuple):
    """An event that the step has sent."""

    event: Event
    step: str | None
    """To which step alone, None for all that accept it."""


class FakeStore:
    """The state that a step is given, as ``ctx.store``."""

    def __init__(self, context: "FakeContext") -> None:
        self._context = context

    async def get(self, path: str, default: Any = _MISSING) -> Any:
        """Return what is at *path*.

        Raises:
            StatePathError: Nothing is there and no *default* was given.
        """
        await checkpoint()
        found: Any = self._context.state
        for part in path.split("."):
            found = _inside(found, part)
            if found is _MISSING:
                if default is _MISSING:
                    raise StatePathError(path, f"nothing is at {part!r}")
                return default
        return found

    async def set(self, path: str, value: Any) -> None:
        """Put *value* at *path*."""
        await checkpoint()
        *way, last = path.split(".")
        place: Any = self._context.state
        for part in way:
            inner = _inside(place, part)
            if inner is _MISSING:
                inner = {}
                place[part] = inner
            place = inner
        if isinstance(place, Mapping | DictState):
            place[last] = value  # type: ignore[index]  # a mapping of a state can be changed
        elif isinstance(place, list):
            place[int(last)] = value
        else:
            setattr(place, last, value)

    async def get_state(self) -> Any:
        """Return a copy of the state."""
        await checkpoint()
        return copy.deepcopy(self._context.state)

    async def set_state(self, state: Any) -> None:
        """Replace the state."""
        await checkpoint()
        self._context.state = copy.deepcopy(state)

    async def clear(self) -> None:
        """Put the state back to what an empty one is."""
        await checkpoint()
        self._context.state = type(self._context.state)()

    def edit_state(self) -> AbstractAsyncContextManager[Any]:
        """Change the state: a block that raises changes nothing."""
        return self._editing()

    @asynccontextmanager
    async def _editing(self) -> AsyncGenerator[Any, None]:
        await checkpoint()
        draft = copy.deepcopy(self._context.state)
        yield draft
        self._context.state = draft


def _inside(place: Any, part: str) -> Any:
    if isinstance(place, Mapping | DictState):
        return place.get(part, _MISSING)
    if isinstance(place, list | tuple):
        return place[int(part)] if part.isdecimal() and int(part) < len(place) else _MISSING
    return getattr(place, part, _MISSING)


class FakeContext(Context[Any]):
    """What to call a step with that takes a context: ``await flow.work(FakeContext(), Job(number=1))``.

    What the step does is in `sent`, `written`, `collected` and `state` afterwards.
    """

    __slots__ = (
        "_answers",
        "_children",
        "_run_name",
        "_step",
        "_store",
        "asked",
        "collected",
        "info",
        "sent",
        "state",
        "written",
    )

    def __init__(
        self,
        *,
        state: Any = None,
        answers: Iterable[Event] = (),
        collected: Mapping[str | None, Sequence[Event]] | None = None,
        children: Mapping[str, Any] | None = None,
        retry_info: RetryInfo | None = None,
        run_id: str = "test",
        step_name: str = "step",
    ) -> None:
        """Make a context.

        Args:
            state: What the step finds as its state; by default an empty one that takes any keys. It is changed.
            answers: What `wait_for_event` gives, in turn.
            collected: What is in the collections already, by ``buffer_id``.
            children: What `run_child` gives, by the name of the workflow or its namespace.
            retry_info: How it stands with attempts; by default this is the first.
            run_id: Id of the run that there is not.
            step_name: Name of the step.
        """
        # Not Context's own: that belongs to a run.
        self.state: Any = DictState() if state is None else state
        """What the step leaves as the state."""
        self.sent: list[Sent] = []
        """What it has sent."""
        self.written: list[Event] = []
        """What it has written to the stream."""
        self.asked: list[type[Event]] = []
        """What it has waited for."""
        self.collected: dict[str | None, list[Event]] = {
            key: list(events) for key, events in (collected or {}).items()
        }
        """What is in the collections, by ``buffer_id``."""
        self.info: RetryInfo = retry_info or RetryInfo(0, 0.0, None, None)
        self._answers = list(answers)
        self._children = dict(children or {})
        self._run_name = run_id
        self._step = step_name
        self._store = FakeStore(self)

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self._run_name

    @property
    def step_name(self) -> str:
        """Name of the step."""
        return self._step

    @property
    def idempotency_key(self) -> str:
        """Names the execution."""
        return f"{self._run_name}/{self._step}"

    @property
    def store(self) -> Any:
        """The state."""
        return self._store

    def retry_info(self) -> RetryInfo:
        """Return what the context was made with."""
        return self.info

    def send_event(self, event: Event, step: str | None = None) -> None:
        """Note *event*."""
        self.sent.append(Sent(event, step))

    async def send(self, event: Event, step: str | None = None) -> None:
        """Note *event*; there is always a place."""
        await checkpoint()
        self.sent.append(Sent(event, step))

    async def checkpoint(self) -> None:
        """Let others have their turn."""
        await checkpoint()

    def collect_events(self, ev: Event, expected: Any, buffer_id: str | None = None) -> list[Any] | None:
        """Collect as in a run of this step alone."""
        events = self.collected.setdefault(buffer_id, [])
        if not any(one is ev for one in events):
            events.append(ev)
        wanted = (
            [kind for kind, count in expected.items() for _ in range(count)]
            if isinstance(expected, Mapping)
            else expected
        )
        left, taken = list(events), []
        for kind in wanted:
            found = next((one for one in left if type(one) is kind), None)
            if found is None:
                return None
            left.remove(found)
            taken.append(found)
        self.collected[buffer_id] = left
        return taken

    async def wait_for_event(
        self,
        event_type: type[Any],
        waiter_event: Event | None = None,
        waiter_id: str | None = None,  # noqa: ARG002
        requirements: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Give the next answer of that class that meets the requirements.

        Raises:
            TimeoutError: There is none.
        """
        await checkpoint()
        if waiter_event is not None:
            self.written.append(waiter_event)
        self.asked.append(event_type)
        for answer in self._answers:
            meets = all(answer.get(name, _MISSING) == value for name, value in (requirements or {}).items())
            if isinstance(answer, event_type) and meets:
                self._answers.remove(answer)
                return answer
        raise TimeoutError(
            f"the step waits for {event_type.__qualname__} (timeout={timeout}), and answers= of its FakeContext has "
            f"none that fits"
        )

    def write_event_to_stream(self, ev: Event | None) -> None:
        """Note *ev*."""
        if ev is not None:
            self.written.append(ev)

    async def run_child(
        self,
        workflow: Workflow,
        start_event: Any = None,  # noqa: ARG002
        *,
        namespace: str | None = None,
        state: object | None = None,  # noqa: ARG002
        timeout: float | None = None,  # noqa: ARG002
        **fields: Any,  # noqa: ARG002
    ) -> Any:
        """Give what *children* has for it; an exception there is raised.

        Raises:
            KeyError: *children* has nothing for it.
        """
        await checkpoint()
        result = self._children[namespace or workflow.workflow_name]
        if isinstance(result, BaseException):
            raise result
        return result

    def cancel_step(self, step: str, reason: str = "") -> int:  # noqa: ARG002
        """Cancel nothing."""
        return 0

    def cancel_fan_out(self, step: str, reason: str = "") -> int:  # noqa: ARG002
        """Cancel nothing."""
        return 0
