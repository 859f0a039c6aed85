"""One thread that does what tasks ask for, in the order in which they ask and all that wait in one go.

Knows threads and the way back to the event loop; what is done is the business of the requests, and how several
are done together that of the function which it is given.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue
from typing import Any

import anyio
import attrs
from anyio import from_thread
from anyio.lowlevel import EventLoopToken, checkpoint, checkpoint_if_cancelled, current_token


@attrs.define(eq=False, kw_only=True)
class Request:
    """Something to be done in the thread, and what came of it."""

    call: Callable[[], Any]
    writes: bool
    """Whether it may share a transaction with others."""

    answered: anyio.Event = attrs.field(factory=anyio.Event)
    result: Any = None
    error: Exception | None = None
    given_up: bool = False
    """Whether nobody waits for it any more."""


class Writer:
    """A thread from `__init__` to `stop`; each of its users has at most one request in it.

    Args:
        name: What the thread is called.
        serve: Does what it is given, and leaves results and errors in the requests.
        finish: Called in the thread when nothing more will come.
    """

    def __init__(
        self, name: str, serve: Callable[[Sequence[Request]], None], finish: Callable[[], None]
    ) -> None:
        self.token: EventLoopToken = current_token()
        """The event loop whose tasks are answered."""
        self._serve = serve
        self._finish = finish
        self._last_error: Exception | None = None
        # None says that nothing more will come. Never full: a task that has a request in it waits for the answer.
        self._requests: SimpleQueue[Request | None] = SimpleQueue()
        self._stopped = anyio.Event()
        # A daemon, for programs that are thrown out of their event loop: they end in spite of it, and the file
        # takes that as it takes a crash.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def ask(self, call: Callable[[], Any], *, writes: bool) -> Any:
        """Have *call* called in the thread and return what it returns.

        Cancellation:
            What only reads is given up. What writes is waited for, unless it was cancelled before.
        """
        await checkpoint_if_cancelled()
        request = Request(call=call, writes=writes)
        self._requests.put(request)
        try:
            # Asyncio's own Task.cancel gets through the shield: then the request goes on without the caller.
            with anyio.CancelScope(shield=writes):
                await request.answered.wait()
        finally:
            request.given_up = not writes
        if request.error is not None:
            raise request.error
        return request.result

    async def stop(self) -> None:
        """End the thread when it has done all that it was asked for.

        Cancellation:
            Shielded: it takes as long as what is being written.
        """
        self._requests.put(None)
        with anyio.CancelScope(shield=True):
            await self._stopped.wait()
            # It has said its last word, and cannot say that it is out: a matter of microseconds.
            while self._thread.is_alive():  # noqa: ASYNC110
                await checkpoint()
        if self._last_error is not None:
            raise self._last_error

    def _work(self) -> None:
        going_on = True
        while going_on:
            batch = [self._requests.get()]
            batch.extend(self._waiting())
            going_on = None not in batch
            requests = [request for request in batch if request is not None and not request.given_up]
            try:
                self._serve(requests)
            except Exception as error:  # noqa: BLE001  # nobody may wait for ever, whatever went wrong
                for request in requests:
                    request.error = request.error or error
            self._tell(request.answered for request in requests)
        try:
            self._finish()
        except Exception as error:  # noqa: BLE001  # raised where the thread is waited for
            self._last_error = error
        self._tell([self._stopped])

    def _waiting(self) -> list[Request | None]:
        found: list[Request | None] = []
        try:
            while True:
                found.append(self._requests.get_nowait())
        except Empty:
            return found

    def _tell(self, events: Iterable[anyio.Event]) -> None:
        try:
            from_thread.run_sync(_set_all, tuple(events), token=self.token)
        except RuntimeError:
            # The event loop has ended, or is just ending: nobody is left to hear it. What was written is written.
            self._requests.put(None)


def _set_all(events: Iterable[anyio.Event]) -> None:
    for event in events:
        event.set()
