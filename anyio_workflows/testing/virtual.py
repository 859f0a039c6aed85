"""Time that passes only when nothing else can happen, for tests of timeouts, retries and waits."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import attrs

from ._loops import run_virtually


@attrs.frozen
class VirtualClock:
    """Runs programs on a clock that jumps to the next deadline whenever nothing can run: hours in no time.

    Both event loops have it: on Trio it is a `trio.testing.MockClock`, on asyncio a loop that looks ahead. Sockets and
    threads do not know of it: what waits for them waits in real time.
    """

    backend: str = "asyncio"
    """``"asyncio"`` or ``"trio"``."""

    def run(self, main: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """Run *main* to its end in an event loop of its own, and return what it gives.

        Raises:
            Exception: What *main* raises.
        """
        return run_virtually(partial(main, *arguments), self.backend)
