"""The event stream of a run: one append-only log with any number of readers.

A reader is an object with an offset, never a generator that holds a scope: leaving its loop early leaves
nothing behind.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from anyio.lowlevel import checkpoint

from .._events import Event, EventsMissed, InternalDispatchEvent

_EVENTS_PER_CHECKPOINT = 64
"""A reader that has much to drain lets other tasks run after so many events. A checkpoint costs about ten
times as much as reading one event, so this keeps reading near its floor."""


class EventStream:
    """What a run has said so far."""

    __slots__ = ("_events", "_limit", "_missed", "_missed_public", "_parked", "is_closed", "is_sealed")

    def __init__(self, limit: int | None = None) -> None:
        self._events: list[Event] | deque[Event] = [] if limit is None else deque()
        self._limit = limit
        self._missed = 0
        self._missed_public = 0
        self._parked: list[Any] | None = None
        self.is_closed: bool = False
        self.is_sealed: bool = False
        """Nothing but the last event may come."""

    @property
    def end(self) -> int:
        """How many events there have been, those included that are gone."""
        return self._missed + len(self._events)

    def append(self, event: Event) -> None:
        """Write *event*; after the stream was sealed or closed it is dropped."""
        if self.is_sealed:
            return
        self._events.append(event)
        if self._limit is not None and len(self._events) > self._limit:
            gone = self._events.popleft()  # type: ignore[union-attr]  # bounded: a deque
            self._missed += 1
            self._missed_public += not isinstance(gone, InternalDispatchEvent)
        if self._parked:
            self._wake()

    def close(self, last: Event) -> None:
        """Write the *last* event and end the stream for every reader."""
        self.is_sealed = False
        self.append(last)
        self.is_sealed = self.is_closed = True

    def seal(self) -> None:
        """Drop what is written from now on; readers wait for the last event."""
        self.is_sealed = True

    def _wake(self) -> None:
        parked, self._parked = self._parked, None
        for place in parked or ():
            place.wake()

    def wait(self, place: Any) -> None:
        """Have *place* woken by the next event."""
        if self._parked is None:
            self._parked = []
        self._parked.append(place)

    def stop_waiting(self, place: Any) -> None:
        """Forget *place*, whose reader was cancelled."""
        if self._parked is not None and place in self._parked:
            self._parked.remove(place)


class EventReader:
    """One reading of a stream, as ``async for`` wants it.

    Each reader begins at the start of the run, or at its offset, however late it comes.
    """

    __slots__ = ("_expose_internal", "_park", "_position", "_seen", "_since_checkpoint", "_skip", "_stream")

    def __init__(
        self, stream: EventStream, park: Callable[[EventStream], Any], *, offset: int, expose_internal: bool
    ) -> None:
        self._stream = stream
        self._park = park
        self._expose_internal = expose_internal
        self._position = 0
        """Index, in the whole stream, of the next event to look at."""
        self._seen = 0
        """Events passed, as this reader counts them: all, or the public ones."""
        self._skip = offset
        """Events, as this reader counts them, that are still to be passed over."""
        self._since_checkpoint = 0

    def __aiter__(self) -> "EventReader":
        return self

    async def __anext__(self) -> Event:
        """Return the next event, waiting for it if need be.

        Raises:
            StopAsyncIteration: The run has ended and all has been read.

        Cancellation:
            Nothing is lost: the same reader goes on where it was.
        """
        stream = self._stream
        while True:
            self._since_checkpoint += 1
            if self._since_checkpoint > _EVENTS_PER_CHECKPOINT:
                self._since_checkpoint = 0
                await checkpoint()
            if self._position < stream._missed:
                if missed := self._pass_over_missed():
                    return EventsMissed(count=missed)
            elif self._position < stream.end:
                event = stream._events[self._position - stream._missed]
                self._position += 1
                if not self._expose_internal and isinstance(event, InternalDispatchEvent):
                    continue
                self._seen += 1
                if self._skip:
                    self._skip -= 1
                    continue
                return event
            elif stream.is_closed:
                raise StopAsyncIteration
            else:
                self._since_checkpoint = 0
                await self._park(stream)

    def _pass_over_missed(self) -> int:
        """Move to the oldest event that is left, and return how many this reader has missed."""
        stream = self._stream
        gone = (stream._missed if self._expose_internal else stream._missed_public) - self._seen
        self._position = stream._missed
        self._seen += gone
        skipped = min(self._skip, gone)
        self._skip -= skipped
        return gone - skipped
