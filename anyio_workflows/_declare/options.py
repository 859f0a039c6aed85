"""Check the options of the step decorator; whatever is wrong with them is said together."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from .._events import Event, StopEvent
from .annotations import members
from .executors import is_maker, option_problems
from .retry import RetryPolicy
from .wording import name_of, quoted

GRAPH_CHECKS = ("reachability", "terminal_event", "dead_end")
"""What ``skip_graph_checks=`` may name."""

_LEAST_MAX_PENDING = 64
"""Default of ``max_pending`` for few workers: a burst of this size never makes its sender wait."""


def as_list(given: Any) -> list[Any]:
    """Return *given*, one thing or an iterable of things, as a list."""
    return [given] if isinstance(given, str | type) or not isinstance(given, Iterable) else list(given)


class StepOptions(NamedTuple):
    """What `step` was given by keyword, in the form in which it was given, but for the lists."""

    num_workers: Any
    max_pending: Any
    timeout: Any
    limiter: Any
    retry_policy: Any
    cancellable: Any
    executor: Any
    waits_for: list[Any]
    accept_event_subclasses: Any
    skip_graph_checks: list[Any]

    def problems(self) -> list[str]:
        """Return what is wrong, each to be read after the name of the step."""
        return [
            *_count_problems("num_workers", self.num_workers),
            *(_count_problems("max_pending", self.max_pending) if self.max_pending is not None else ()),
            *_timeout_problems(self.timeout),
            *_limiter_problems(self.limiter),
            *_retry_problems(self.retry_policy),
            *option_problems(self.executor),
            *_waits_for_problems(self.waits_for),
            *_flag_problems("accept_event_subclasses", self.accept_event_subclasses),
            *_flag_problems("cancellable", self.cancellable),
            *graph_check_problems(self.skip_graph_checks),
        ]

    def settled(self) -> dict[str, Any]:
        """Return the options, which have no problems, as a declaration keeps them."""
        least = max(_LEAST_MAX_PENDING, 2 * self.num_workers)
        return {
            "num_workers": self.num_workers,
            "max_pending": least if self.max_pending is None else self.max_pending,
            "timeout": self.timeout,
            "limiter": self.limiter,
            "retry_policy": self.retry_policy,
            "cancellable": self.cancellable,
            "executor": self.executor,
            "waits_for": tuple(_named_types(self.waits_for)),
            "accept_event_subclasses": self.accept_event_subclasses,
            "skip_graph_checks": frozenset(self.skip_graph_checks),
        }


def graph_check_problems(skipped: Any) -> list[str]:
    """Return what is wrong with the names in ``skip_graph_checks=``."""
    return [
        f"has {name!r} in skip_graph_checks; the checks are {quoted(GRAPH_CHECKS)}"
        for name in as_list(skipped)
        if name not in GRAPH_CHECKS
    ]


def _count_problems(option: str, value: object) -> list[str]:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return []
    return [f"has {option}={value!r}; it must be an int greater than 0"]


def _timeout_problems(timeout: object) -> list[str]:
    if timeout is None:
        return []
    if isinstance(timeout, int | float) and not isinstance(timeout, bool) and timeout > 0:
        return []
    return [f"has timeout={timeout!r}; it must be a number of seconds greater than 0, or None"]


def _limiter_problems(limiter: Any) -> list[str]:
    if limiter is None or _is_limiter(limiter) or is_maker(limiter):
        return []
    allowed = "a CapacityLimiter, or a plain function without arguments that makes one"
    return [f"has limiter={limiter!r}; it must be {allowed}, as in 'limiter=lambda: CapacityLimiter(10)'"]


def _is_limiter(limiter: Any) -> bool:
    return not isinstance(limiter, type) and hasattr(limiter, "acquire_on_behalf_of_nowait")


def _retry_problems(policy: object) -> list[str]:
    if policy is None:
        return []
    if not isinstance(policy, RetryPolicy):
        return [f"has retry_policy={policy!r}; write 'retry_policy=RetryPolicy(...)'"]
    return list(policy.problems())


def _waits_for_problems(waits_for: list[Any]) -> list[str]:
    problems = []
    for named in _named_types(waits_for):
        if not isinstance(named, type) or not issubclass(named, Event):
            problems.append(
                f"has {named!r} in waits_for; name Event subclasses, as in 'waits_for=(Answer, Refusal)'"
            )
        elif issubclass(named, StopEvent):
            problems.append(
                f"waits for {name_of(named)}, which ends the run when it is sent; wait for another event"
            )
    return problems


def _named_types(waits_for: list[Any]) -> list[Any]:
    return [member for named in waits_for for member in members(named)]


def _flag_problems(option: str, value: object) -> list[str]:
    return [] if isinstance(value, bool) else [f"has {option}={value!r}; it must be True or False"]
