"""What becomes of an attempt that failed or was cancelled: another one, a call of its handler, nothing, or the end.

How a run ends is decided by the run, which fills in the abstract methods.
"""

from abc import abstractmethod
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING

import anyio

from .._brief import brief
from .._errors import WorkflowRuntimeError
from .._events import StepFailedEvent
from .._ledger.delivery import Delivery, Failure
from .._ledger.descending import DescendingLedger
from .._ledger.ledger import Ledger
from .._ledger.matching import MatchingLedger
from .._ledger.outcome import Cancelled, Outcome
from . import log
from .crew import Crew
from .ending import note_where, unasked_cancellation

if TYPE_CHECKING:  # loaded by steps that are made again
    from .delays import Delays

BY_ITS_TASK = "the task that ran it was cancelled"


class Attempts(Crew):
    """The attempts of one run."""

    __slots__ = ("_delays", "has_begun", "is_verbose")

    has_begun: bool
    is_verbose: bool
    spawned: int

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._delays: Delays | None = None

    def failed(self, delivery: Delivery, error: BaseException) -> bool:
        """Take note of what a step raised; True if it is cancellation, which goes on through the task."""
        if isinstance(error, GeneratorExit) and self.is_torn_down:
            self.ledger.withdraw(delivery)
            return True
        if self.is_traced:
            self._raised(delivery, error)
        was_cancelled = self.ledger.outcome is not None or self._is_cancelled()
        if was_cancelled:
            # Decided when the scope was cancelled: what clean-ups raise afterwards is no outcome. And at once: a
            # task that ends cancelled has its task group cancelled, which then hides where it came from.
            self.decide(Cancelled(BY_ITS_TASK))
        if was_cancelled or delivery.is_cancelled:
            left = _without_cancellation(error)
            if left is None:
                self._end_without_output(delivery)
                return not isinstance(error, BaseExceptionGroup)
            error = left
        else:
            if isinstance(error, anyio.get_cancelled_exc_class()):
                error = unasked_cancellation(delivery, error)
            try:
                if self._is_retried(delivery, error) or self._is_handled(delivery, error):
                    return False
            except Exception as mistake:  # noqa: BLE001  # whatever a policy of the user's raises
                error = mistake
        self.ledger.withdraw(delivery)
        self._fail(error, delivery)
        return False

    def _end_without_output(self, delivery: Delivery) -> None:
        if self.ledger.outcome is None:
            self.ledger.drop(delivery)
        else:
            self.ledger.withdraw(delivery)

    def _is_retried(self, delivery: Delivery, error: BaseException) -> bool:
        """Have the delivery worked on again, if the policy of its step says so.

        Raises:
            Exception: What the policy raises.
        """
        policy = delivery.desk.node.retry_policy
        if policy is None or not isinstance(error, Exception):
            return False
        from .retrying import next_delay  # noqa: PLC0415  # loaded by steps that are made again

        delay = next_delay(policy, delivery, error, self.run_id)
        if delay is None:
            return False
        now = self.wall_clock()
        assert delivery.first_began is not None, "it was noted when the first attempt began"
        failure = Failure(error, now, now - (anyio.current_time() - delivery.first_began))
        if self.is_verbose:
            log.info(
                "%s: step %s will be tried again in %g s: %s",
                self.name,
                delivery.desk.node.name,
                delay,
                brief(error),
            )
        ledger = self.ledger
        assert isinstance(ledger, MatchingLedger), "a workflow with retries has one"
        if delay:
            ledger.retry(delivery, failure, now + delay)
            self._delay(delivery, delay)
        else:
            ledger.retry(delivery, failure, None)
        return True

    def _is_handled(self, delivery: Delivery, error: BaseException) -> bool:
        """Have a handler called in the place of *delivery*, if there is one for it."""
        ledger = self.ledger
        if not isinstance(error, Exception) or not isinstance(ledger, DescendingLedger):
            return False
        if (handler := ledger.handler_for(delivery)) is None:
            return False
        note_where(error, self.name, delivery)
        failure = StepFailedEvent(
            step_name=delivery.desk.node.name,
            input_event=delivery.event,
            exception=error,
            attempts=delivery.attempt,
            elapsed_seconds=self.elapsed(delivery),
            failed_at=datetime.fromtimestamp(self.wall_clock(), UTC),
        )
        ledger.recover(delivery, handler, failure)
        if self.is_verbose:
            name = self.ledger.plan.nodes[handler].name
            log.info(
                "%s: step %s has failed, and %s is called: %s",
                self.name,
                failure.step_name,
                name,
                brief(error),
            )
        return True

    def elapsed(self, delivery: Delivery) -> float:
        """Return the seconds since the first attempt of *delivery* began."""
        if delivery.first_began is not None:
            return anyio.current_time() - delivery.first_began
        now = perf_counter() if self.turnstile is None else anyio.current_time()
        return now - delivery.began

    def _delay(self, delivery: Delivery, seconds: float) -> None:
        """Let *delivery* stand in line again after so many seconds."""
        if self._delays is None:
            from .delays import Delays  # noqa: PLC0415  # loaded by steps that are made again

            assert isinstance(self.ledger, MatchingLedger), "a workflow with retries has one"
            self._delays = Delays(self, self.ledger)
        self._delays.add(delivery, anyio.current_time() + seconds)

    # --- what is cancelled by itself

    def cancel_step(self, step: str, reason: str) -> int:
        """Cancel the executions of *step*, and what is in line for it; return how many deliveries.

        Raises:
            WorkflowStepDoesNotExistError: There is no such step.
            WorkflowRuntimeError: It is not cancellable.
        """
        node = self.ledger.plan.node(step)
        if not (node.declaration.cancellable or self.ledger.plan.joins_of):
            raise WorkflowRuntimeError(
                f"step {step!r} of {self.name} cannot be cancelled by itself; declare it with "
                f"@step(cancellable=True)"
            )
        return self._after_cancelling(self.ledger.cancel_step(node.index, reason))

    def cancel_fan_out(self, step: str, reason: str) -> int:
        """Cancel what has come of the lists that *step* has returned; return how many deliveries.

        Raises:
            WorkflowStepDoesNotExistError: There is no such step.
            WorkflowRuntimeError: It returns no lists.
        """
        node = self.ledger.plan.node(step)
        if not node.fans_out:
            raise WorkflowRuntimeError(
                f"step {step!r} of {self.name} returns no list, so there is no fan-out of it"
            )
        return self._after_cancelling(self.ledger.cancel_fan_outs(node.index, reason))

    def _after_cancelling(self, count: int) -> int:
        self._cut_if_new()
        if self.has_begun:
            self.flush()
            if not self.active:
                self.rest()
        return count

    def _cancel(self, delivery: Delivery) -> None:
        super()._cancel(delivery)
        if self._delays is not None:
            self._delays.discard(delivery)

    # --- what the run decides

    @property
    @abstractmethod
    def run_id(self) -> str:
        """Id of the run."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the workflow."""

    @abstractmethod
    def decide(self, outcome: Outcome) -> bool:
        """Let the run end."""

    @abstractmethod
    def _raised(self, delivery: Delivery, error: BaseException) -> None:
        """An attempt of a run that is traced has ended by *error*."""

    @abstractmethod
    def _fail(self, error: BaseException, delivery: Delivery | None) -> None:
        """The run has failed, in the execution of *delivery* if it was a step's doing."""

    @abstractmethod
    def _is_cancelled(self) -> bool:
        """Whether the run is cancelled from outside."""

    @abstractmethod
    def _cut_if_new(self) -> None:
        """Cut the run, if anything was noted since the last cut."""


def _without_cancellation(error: BaseException) -> BaseException | None:
    """Return what is left of *error* when the cancellation in it is taken away, None if it is nothing else."""
    if isinstance(error, anyio.get_cancelled_exc_class()):
        return None
    if isinstance(error, BaseExceptionGroup):
        return error.split(anyio.get_cancelled_exc_class())[1]
    return error
