"""What an outcome is to those outside: the last event of the stream, and what awaiting the run raises."""

from typing import assert_never

from .._brief import brief
from .._errors import WorkflowCancelledByUser, WorkflowCancelledError, WorkflowRuntimeError
from .._events import StopEvent, WorkflowCancelledEvent, WorkflowFailedEvent, WorkflowTimedOutEvent
from .._ledger.delivery import Delivery
from .._ledger.outcome import Cancelled, Completed, Failed, Outcome, TimedOut


def last_event(outcome: Outcome) -> StopEvent:
    """Return what the stream of a run with *outcome* ends with."""
    match outcome:
        case Completed(event):
            return event
        case Failed(error, step, attempts, elapsed):
            return WorkflowFailedEvent(
                step_name=step, exception=error, attempts=attempts, elapsed_seconds=elapsed
            )
        case TimedOut(_, timeout, active_steps):
            return WorkflowTimedOutEvent(timeout=timeout, active_steps=active_steps)
        case Cancelled(reason=reason):
            return WorkflowCancelledEvent(reason=reason)
        case _:
            assert_never(outcome)


def error_of(outcome: Outcome, workflow: str, run_id: str) -> BaseException | None:
    """Return what awaiting a run with *outcome* raises, None if it gives a result."""
    match outcome:
        case Completed():
            return None
        case Failed(error) | TimedOut(error):
            return error
        case Cancelled(reason=reason, by_user=by_user):
            kind = WorkflowCancelledByUser if by_user else WorkflowCancelledError
            return kind(workflow, run_id, reason)
        case _:
            assert_never(outcome)


def unasked_cancellation(delivery: Delivery, error: BaseException) -> WorkflowRuntimeError:
    """Return the failure that a cancelled exception is which nobody has asked for."""
    unasked = WorkflowRuntimeError(
        f"step {delivery.desk.node.name!r} raised {type(error).__name__}, but nobody has cancelled it; it was "
        f"raised by hand, or came from awaiting something that was cancelled elsewhere: handle it in the step"
    )
    unasked.__cause__ = error
    return unasked


def note_where(error: BaseException, workflow: str, delivery: Delivery) -> None:
    """Add to *error* in which step of which workflow it was raised, and at what."""
    add_note(
        error,
        f"in step {delivery.desk.node.name!r} of {workflow}, "
        f"attempt {delivery.attempt} at {brief(delivery.event)}",
    )


def add_note(error: BaseException, note: str) -> None:
    """Add *note* to *error*, once; an exception of the user's that refuses notes does without."""
    try:
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
    except Exception:  # noqa: BLE001, S110  # whatever its add_note raises, the exception itself matters more
        pass
