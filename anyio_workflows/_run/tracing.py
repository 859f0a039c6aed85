"""What a run tells of its executions: to its stream and the log, to those who observe it, or to nobody."""

from contextvars import Context as ContextVars
from typing import TYPE_CHECKING

import anyio

from .._brief import brief
from .._events import StepState, StepStateChanged
from .._ledger.delivery import Delivery
from . import log
from .attempts import Attempts
from .stream import EventStream
from .worker import Worker

if TYPE_CHECKING:
    from .run import Run  # which is one of these
    from .watching import Watch  # loaded by programs that observe


class Traced(Attempts):
    """A run that tells of its executions, if anybody wants to know: the crew asks ``is_traced`` first."""

    __slots__ = ("_tells_steps", "children", "stream", "watch")

    stream: EventStream
    watch: "Watch | None"
    """Who is told what it does."""

    children: "list[Run] | None"
    """Runs that are part of executions of this one."""

    _tells_steps: bool
    """Each execution is written to the stream."""

    def trace(self) -> None:
        """Write each execution to the stream from now on."""
        self.is_traced = self._tells_steps = True
        for child in self.children or ():
            child.trace()

    def begins(self, delivery: Delivery, worker: Worker) -> ContextVars:
        """Tell that an execution begins; return the context variables for its body."""
        context = self.base_context.copy()
        if self.turnstile is not None:
            delivery.began = anyio.current_time()
        if self._tells_steps:
            which = "" if delivery.attempt == 1 else f", attempt {delivery.attempt}"
            self._tell_step(delivery, StepState.RUNNING, None, f"begins{which}")
        if self.watch is not None:
            self.watch.attempt_started(delivery, worker, context)
        return context

    def ends(self, delivery: Delivery, output: object) -> None:
        """Tell that an execution ends; those who observe are told by the ledger, when it is committed."""
        if self._tells_steps:
            result = None if output is None else type(output).__name__
            self._tell_step(
                delivery, StepState.NOT_RUNNING, result, f"gave {result}" if result else "returned"
            )

    def _raised(self, delivery: Delivery, error: BaseException) -> None:
        """Tell that an execution ends by *error*, whatever follows from that."""
        was_cancelled = isinstance(error, anyio.get_cancelled_exc_class()) and (
            delivery.is_cancelled or self.ledger.outcome is not None or self._is_cancelled()
        )
        if self._tells_steps:
            how = (
                "was cancelled" if was_cancelled else f"failed in attempt {delivery.attempt} ({brief(error)})"
            )
            self._tell_step(delivery, StepState.NOT_RUNNING, None, how)
        if self.watch is not None:
            self.watch.attempt_failed(delivery, error, was_cancelled=was_cancelled)

    def _tell_step(
        self, delivery: Delivery, state: StepState, output_event_name: str | None, how: str
    ) -> None:
        """Write it to the stream, and to the log if the workflow is verbose."""
        step, given = delivery.desk.node.name, type(delivery.event).__name__
        self.stream.append(
            StepStateChanged(
                name=step,
                step_state=state,
                worker_id=str(delivery.number),
                input_event_name=given,
                output_event_name=output_event_name,
            )
        )
        if self.is_verbose:
            log.info("%s: step %s %s, at %s", self.name, step, how, given)
