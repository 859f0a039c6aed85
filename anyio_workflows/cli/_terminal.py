"""Ask a human on the terminal, one question at a time."""

import io
import sys
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread

import anyio
import anyio.from_thread
from anyio.lowlevel import EventLoopToken, current_token


class Terminal:
    """A thread that reads the answers.

    A daemon, and reading past `sys.stdin`: neither AnyIO's worker threads nor the buffer of `sys.stdin`, whose
    lock the interpreter takes when it ends, would let the program end while a question is open.
    """

    def __init__(self, answered: Callable[[str | None], None]) -> None:
        """Ask nothing yet.

        Args:
            answered: Called in the event loop with each line, and with None when there will be no more.
        """
        self._answered = answered
        self._questions: SimpleQueue[str | None] = SimpleQueue()
        self._thread: Thread | None = None

    def ask(self, question: str) -> None:
        """Put *question* after those that are not answered yet; returns at once."""
        if self._thread is None:
            self._thread = Thread(target=self._converse, args=(current_token(),), daemon=True)
            self._thread.start()
        self._questions.put(question)

    def close(self) -> None:
        """Ask no more; a question that is on the screen stays there."""
        self._questions.put(None)

    def _converse(self, token: EventLoopToken) -> None:
        # The run has ended while the human was thinking.
        with suppress(anyio.RunFinishedError):
            while (question := self._questions.get()) is not None:
                print(question, end="", file=sys.stderr, flush=True)  # noqa: T201  # that is its purpose
                anyio.from_thread.run_sync(self._answered, _read_line(), token=token)


def _read_line() -> str | None:
    try:
        descriptor = sys.stdin.fileno()
    except (AttributeError, io.UnsupportedOperation):  # a program without a terminal
        return None
    with open(descriptor, "rb", buffering=0, closefd=False) as unbuffered:
        line = unbuffered.readline()
    return line.decode(sys.stdin.encoding, "replace").rstrip("\r\n") if line else None
