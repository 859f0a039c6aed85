"""Try one workflow under many schedules, and say which one breaks it."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import attrs

from .. import StartEvent, Workflow
from .arguments import check_arguments, maker_of
from .checks import STANDARD_CHECKS, Check
from .exhausting import NondeterminismError, all_schedules, check_same
from .exploration import Case, Driver, Exploration, run_once
from .report import failure_report
from .schedule import Schedule, schedule_of
from .shrinking import Shrinker


class ScheduleError(AssertionError):
    """Under some schedule a run does what it must not; the text shows how."""

    def __init__(self, message: str, exploration: Exploration) -> None:
        super().__init__(message)
        self.exploration: Exploration = exploration
        """What was seen."""

    @property
    def schedule(self) -> str:
        """Under which schedule, for ``explore(..., schedule=...)``."""
        return str(self.exploration.schedule)


@attrs.frozen(kw_only=True)
class Explored:
    """How much was tried."""

    runs: int
    """Runs, on all backends together."""

    schedules: int
    """Different schedules."""

    is_exhaustive: bool = False
    """Whether these are all that there are with so few deviations."""


def explore(
    workflow: Workflow | type[Workflow] | Callable[..., Workflow],
    start_event: StartEvent | None = None,
    *,
    invariant: Check | None = None,
    checks: Sequence[Check] = STANDARD_CHECKS,
    driver: Driver | None = None,
    world: Callable[[], Any] | None = None,
    backends: Sequence[str] = ("asyncio", "trio"),
    max_examples: int = 200,
    crashes: bool = False,
    exhaustive: bool = False,
    max_deviations: int = 2,
    schedule: Schedule | str | None = None,
    derandomize: bool = False,
    progress: bool = False,
    **options: Any,
) -> Explored:
    """Run *workflow* under many schedules, and raise if one breaks the *invariant*.

    Hypothesis draws the schedules. Of one that fails, the simplest is looked for: with the fewest deviations from the
    order of an ordinary run, and the earliest. Time is virtual, threads are not used. What is decided: which delivery
    begins, which execution commits or fails first, which of several timers counts first, who goes on at each await of a
    `Context` and at each `checkpoint` of yours; with *crashes*, when the program dies.

    Args:
        workflow: Its class, or a function that makes one: a new one for each run. An instance is used by all of them.
        start_event: What each run starts with; or give its fields among *options*.
        invariant: Looks at an `Exploration` and raises `AssertionError`, as a test does. A run that fails or stalls
            is passed to it too; without an invariant it is an error.
        checks: What has to hold beside.
        driver: Called with the handler of each run, beside it: sends events, reads the stream. Its own
            `anyio_workflows.testing.checkpoint` lets the schedule decide when.
        world: Makes what is outside of a run, such as the double of a payment service: a new one for each run, which
            outlives its death. *workflow* is called with it, and the invariant has it as ``seen.world``.
        backends: Where each schedule is tried.
        max_examples: Schedules that Hypothesis draws.
        crashes: Let the program die at some point and go on from a checkpoint of that moment, in a new workflow.
        exhaustive: Instead of drawing, try every schedule with at most *max_deviations*; with *crashes*, each with
            every moment to die at.
        max_deviations: How often such a schedule does not take the first who came.
        schedule: Try this one alone, as a report has it.
        derandomize: Draw the same schedules each time.
        progress: With *exhaustive*, write how far it has come to the standard error.
        **options: As for `Workflow.run`.

    Returns:
        How much was tried.

    Raises:
        ScheduleError: A schedule breaks something; the text is a table of what happened, and a line to show it again.
        NondeterminismError: The same schedule gave different runs: the workflow does something that is not controlled.
        WorkflowRuntimeError: An argument has a wrong value, an extra is not installed, or an event loop runs already.
    """
    check_arguments(
        explore, backends, max_examples=max_examples, max_deviations=max_deviations, options=options
    )
    only = None if schedule is None else schedule_of(schedule)
    case = Case(
        make=maker_of(workflow, in_world=world is not None),
        start_event=start_event,
        options=options,
        driver=driver,
        recorded=crashes or (only is not None and only.crash_at is not None),
        world=world,
    )
    trial = _Trial(
        case, [*checks, invariant or _completed], tuple(backends), _call_of(workflow, crashes=case.recorded)
    )
    if only is not None:
        trial.attempt(only)
        return trial.explored()
    choices = trial.first()
    if exhaustive:
        every = all_schedules(trial.attempt, max_deviations, crashes=crashes)
        for number, each in enumerate(every, start=1):
            if progress:
                sys.stderr.write(f"\r{number} schedules tried, now {each.deviations} deviations ")
        if progress:
            sys.stderr.write("\n")
        return trial.explored(is_exhaustive=True)
    from .strategies import find, schedules  # noqa: PLC0415  # Hypothesis, an extra

    failed = find(
        trial.failure_of, schedules(choices=choices, crashes=crashes), max_examples, derandomize=derandomize
    )
    if failed is not None:
        trial.report_simplest(failed)
    return trial.explored()


def _completed(seen: Exploration) -> None:
    if seen.error is not None:
        raise AssertionError(f"the run failed: {seen.error!r}") from seen.error


def _driven(seen: Exploration) -> None:
    if seen.driver_error is not None:
        raise AssertionError(f"the driver failed: {seen.driver_error!r}") from seen.driver_error


def _call_of(workflow: object, *, crashes: bool) -> str:
    name = getattr(workflow, "__name__", type(workflow).__name__)
    return f"explore({name}, ...{', crashes=True' * crashes}, schedule="


@attrs.frozen
class _Failure:
    """What is wrong with one run."""

    seen: Exploration
    check: Check
    error: Exception

    @property
    def text(self) -> str:
        name = getattr(self.check, "__name__", type(self.check).__name__)
        if isinstance(self.error, AssertionError):
            return str(self.error) or f"{name} does not hold"
        return f"{name} raised {self.error!r}"


class _Trial:
    """Schedules are tried with it, and what fails is told."""

    def __init__(self, case: Case, checks: Sequence[Check], backends: tuple[str, ...], call: str) -> None:
        self._case = case
        self._checks = (_driven, *checks)
        self._backends = backends
        self._call = call
        self._runs = 0
        self._tried: set[Schedule] = set()
        self._ordinary: dict[str, Exploration] = {}
        """What the empty schedule comes to, by backend."""

    def first(self) -> int:
        """Try the empty schedule, twice on each backend; return how many choices it leaves."""
        most = 0
        for backend in self._backends:
            seen, again = self._ordinary_on(backend), self._run(Schedule(), backend)
            check_same(seen, again)
            self._pass(seen)
            most = max(most, len(seen.draws), len(seen.turns))
        self._tried.add(Schedule())
        return most

    def attempt(self, schedule: Schedule) -> Exploration:
        """Try *schedule* on each backend; return what was seen on the last.

        Raises:
            ScheduleError: Something is wrong.
        """
        self._tried.add(schedule)
        seen = [self._run(schedule, backend) for backend in self._backends]
        for each in seen:
            self._pass(each)
        return seen[-1]

    def failure_of(self, schedule: Schedule) -> _Failure | None:
        """Try *schedule* on each backend; return what is wrong on the first on which something is."""
        self._tried.add(schedule)
        found = (self._failure(self._run(schedule, backend)) for backend in self._backends)
        return next((failure for failure in found if failure is not None), None)

    def report_simplest(self, failure: _Failure) -> NoReturn:
        """Look for the simplest schedule that fails as *failure* does.

        Raises:
            ScheduleError: With the simplest.
            NondeterminismError: It does not fail again.
        """
        backend = failure.seen.backend

        def fails(schedule: Schedule) -> Exploration | None:
            self._tried.add(schedule)
            found = self._failure(self._run(schedule, backend))
            return found.seen if found is not None and found.check is failure.check else None

        simplest = Shrinker(failure.seen, fails).shrink()
        again = self._run(simplest.came_to, backend)
        check_same(simplest, again)
        self._pass(again)
        raise NondeterminismError(
            f"{again.workflow.workflow_name} failed once under schedule {str(again.schedule)!r} on {backend}, and then "
            f"passed: {failure.text}\n"
            f"The same happened, as far as it is noted; so what the check looks at is not controlled, or is kept from "
            f"run to run"
        )

    def _run(self, schedule: Schedule, backend: str) -> Exploration:
        self._runs += 1
        seen = run_once(self._case, schedule, backend)
        if seen.has_crashed:
            seen.ordinary = self._ordinary_on(backend)
        return seen

    def _ordinary_on(self, backend: str) -> Exploration:
        ordinary = self._ordinary.get(backend)
        if ordinary is None:
            ordinary = self._ordinary[backend] = self._run(Schedule(), backend)
        return ordinary

    def _failure(self, seen: Exploration) -> _Failure | None:
        for check in self._checks:
            try:
                check(seen)
            except Exception as error:  # noqa: BLE001  # an invariant that trips over what it sees does not hold
                return _Failure(seen, check, error)
        return None

    def _pass(self, seen: Exploration) -> None:
        failure = self._failure(seen)
        if failure is not None:
            replay = f'{self._call}"{seen.schedule}")'
            raise ScheduleError(failure_report(seen, failure.text, replay), seen) from failure.error

    def explored(self, *, is_exhaustive: bool = False) -> Explored:
        """Return how much was tried."""
        return Explored(runs=self._runs, schedules=len(self._tried), is_exhaustive=is_exhaustive)
