"""Tell the log, beside the stream, of what an attempt has sent that the next one did not send again."""

from collections.abc import Callable

from .._brief import brief
from .._events import Event, ResumeDivergedEvent
from . import log


def telling(
    publish: Callable[[Event], None], workflow: str, run_id: Callable[[], str]
) -> Callable[[Event], None]:
    """Return a *publish* that also writes such differences to the log."""

    def say(event: Event) -> None:
        publish(event)
        if isinstance(event, ResumeDivergedEvent):
            log.warning(
                "%s: run %s: step %s has not sent %s again; it stays delivered",
                workflow,
                run_id(),
                event.step_name,
                brief(event.event),
            )

    return say
