"""Decide whether an attempt that failed is made again, and after how many seconds.

The strategies are tenacity's, which is loaded by the first failure of a step that has a policy.
"""

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any

import anyio

from .._brief import brief
from .._declare.retry import RetryPolicy
from .._errors import WorkflowRuntimeError
from .._ledger.delivery import Delivery

if TYPE_CHECKING:
    import tenacity

_drawing = RLock()

_ATTEMPTS = 3
"""By default."""


def next_delay(policy: RetryPolicy, delivery: Delivery, error: Exception, run_id: str) -> float | None:
    """Return the seconds until the next attempt of *delivery*, which has failed with *error*; None if there is none.

    Raises:
        Exception: Whatever a strategy raises, with *error* as its cause; or that it gave no number of seconds.
    """
    try:
        return _next_delay(policy, delivery, error, run_id)
    except Exception as mistake:
        if _has_led_to(mistake, error):  # whoever follows the causes would go round in circles
            raise
        raise mistake from error


def _has_led_to(mistake: BaseException, error: BaseException) -> bool:
    """Whether *mistake* is *error* or one of those that it was raised from, as ``state.outcome.result()`` raises."""
    seen: set[int] = set()
    to_look_at: list[BaseException | None] = [error]
    while to_look_at:
        one = to_look_at.pop()
        if one is mistake:
            return True
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            to_look_at += [one.__cause__, one.__context__]
    return False


def _next_delay(policy: RetryPolicy, delivery: Delivery, error: Exception, run_id: str) -> float | None:
    state = _state(delivery, error)
    if policy.retry is not None and not policy.retry(state):
        return None
    if policy.wait is not None:
        with _drawn_from(f"{run_id}/{delivery.desk.node.name}/{delivery.number}/{delivery.attempt}"):
            state.upcoming_sleep = _checked(policy.wait(state), delivery)
    stops = delivery.attempt >= _ATTEMPTS if policy.stop is None else policy.stop(state)
    return None if stops else state.upcoming_sleep


def _state(delivery: Delivery, error: Exception) -> "tenacity.RetryCallState":
    """Return what tenacity's strategies look at."""
    import tenacity  # noqa: PLC0415  # a fifth of our import, for those whose steps fail

    node = delivery.desk.node
    state = tenacity.RetryCallState(tenacity.Retrying(), node.declaration.function, (), {})
    state.attempt_number = delivery.attempt
    state.set_exception((type(error), error, error.__traceback__))
    assert delivery.first_began is not None, "it was noted when the first attempt began"
    state.start_time, state.outcome_timestamp = delivery.first_began, anyio.current_time()
    return state


def _checked(seconds: Any, delivery: Delivery) -> float:
    if isinstance(seconds, int | float) and not isinstance(seconds, bool):
        try:
            given = float(seconds)
        except OverflowError:  # an int that is larger than any float
            given = math.inf
        if 0 <= given < math.inf:
            return given
    raise WorkflowRuntimeError(
        f"the wait= of the retry_policy of step {delivery.desk.node.name!r} gave {brief(seconds)}; "
        f"give a number of seconds, 0 or more"
    )


@contextmanager
def _drawn_from(seed: str) -> Iterator[None]:
    """Let tenacity draw its numbers from a source with *seed*.

    It draws from the module `random`, which everybody shares. Whoever uses tenacity in another thread at this very
    moment gets numbers from the same source, which are as good.
    """
    from tenacity import wait  # noqa: PLC0415  # see `_state`

    with _drawing:
        names = wait.__dict__
        shared = names["random"]
        names["random"] = random.Random(seed)  # noqa: S311  # delays, no secrets
        try:
            yield
        finally:
            names["random"] = shared
