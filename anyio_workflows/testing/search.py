"""Try one workflow under many schedules, and say which one breaks it."""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs

from .. import StartEvent, Workflow, WorkflowError
from .checks import STANDARD_CHECKS, Check
from .exploration import Case, Driver, Exploration, maker_of, run_once
from .report import failure_report
from .schedule import Schedule, schedule_of


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


class NondeterminismError(WorkflowError):
    """The same schedule was run twice, and not the same happened."""


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
    workflow: Workflow | type[Workflow] | Callable[[], Workflow],
    start_event: StartEvent | None = None,
    *,
    invariant: Check | None = None,
    checks: Sequence[Check] = STANDARD_CHECKS,
    driver: Driver | None = None,
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

    Hypothesis draws the schedules, and looks for the shortest that fails. Time is virtual, threads are not used. What
    is decided: which delivery begins, which execution commits first, who goes on at each await of a `Context` and at
    each `checkpoint` of yours; with *crashes*, when the program dies.

    Args:
        workflow: Its class, or a function that makes one: a new one for each run. An instance is used by all of them.
        start_event: What each run starts with; or give its fields among *options*.
        invariant: Looks at an `Exploration` and raises `AssertionError`, as a test does. A run that fails or stalls
            is passed to it too; without an invariant it is an error.
        checks: What has to hold beside.
        driver: Called with the handler of each run, beside it: sends events, reads the stream. Its own
            `anyio_workflows.testing.checkpoint` lets the schedule decide when.
        backends: Where each schedule is tried.
        max_examples: Schedules that Hypothesis draws.
        crashes: Let the program die at some point and go on from a checkpoint of that moment, in a new workflow.
        exhaustive: Instead of drawing, try every schedule with at most *max_deviations*.
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
    """
    case = Case(
        make=maker_of(workflow), start_event=start_event, options=options, driver=driver, recorded=crashes
    )
    trial = _Trial(case, [*checks, invariant or _completed], tuple(backends), _name_of(workflow))
    if schedule is not None:
        trial.attempt(schedule_of(schedule))
        return trial.explored()
    choices = trial.first()
    if exhaustive:
        for number, each in enumerate(_all_schedules(trial, max_deviations), start=1):
            if progress:
                sys.stderr.write(f"\r{number} schedules tried, now {each.deviations} deviations ")
        if progress:
            sys.stderr.write("\n")
        return trial.explored(is_exhaustive=True)
    from .strategies import schedules  # noqa: PLC0415  # Hypothesis, an extra

    _search(trial, schedules(choices=choices, crashes=crashes), max_examples, derandomize=derandomize)
    return trial.explored()


def _completed(seen: Exploration) -> None:
    if seen.error is not None:
        raise AssertionError(f"the run failed: {seen.error!r}") from seen.error


def _name_of(workflow: object) -> str:
    return getattr(workflow, "__name__", type(workflow).__name__)


class _Trial:
    def __init__(self, case: Case, checks: Sequence[Check], backends: tuple[str, ...], name: str) -> None:
        self._case = case
        self._checks = checks
        self._backends = backends
        self._name = name
        self._runs = 0
        self._tried: set[Schedule] = set()

    def first(self) -> int:
        """Try the empty schedule, twice on each backend; return how many choices it leaves."""
        most = 0
        for backend in self._backends:
            seen, again = (run_once(self._case, Schedule(), backend) for _ in range(2))
            _check_same(seen, again)
            most = max(most, len(seen.draws), len(seen.turns))
        self.attempt(Schedule())
        return most

    def attempt(self, schedule: Schedule) -> Exploration:
        """Try *schedule* on each backend; return what was seen on the last."""
        self._tried.add(schedule)
        return [self._attempt_on(backend, schedule) for backend in self._backends][-1]

    def _attempt_on(self, backend: str, schedule: Schedule) -> Exploration:
        self._runs += 1
        seen = run_once(self._case, schedule, backend)
        for check in self._checks:
            try:
                check(seen)
            except AssertionError as error:
                raise ScheduleError(self._report(seen, error), seen) from error
        return seen

    def _report(self, seen: Exploration, error: AssertionError) -> str:
        replay = f'explore({self._name}, ..., schedule="{seen.schedule}")'
        return failure_report(seen, str(error) or "the invariant does not hold", replay)

    def explored(self, *, is_exhaustive: bool = False) -> Explored:
        """Return how much was tried."""
        return Explored(runs=self._runs, schedules=len(self._tried), is_exhaustive=is_exhaustive)


def _check_same(seen: Exploration, again: Exploration) -> None:
    one, other = seen.trace(), again.trace()
    if one == other:
        return
    place = next(
        (place for place, (left, right) in enumerate(zip(one, other, strict=False)) if left != right),
        min(len(one), len(other)),
    )
    left, right = (lines[place] if place < len(lines) else "(nothing more)" for lines in (one, other))
    raise NondeterminismError(
        f"{seen.workflow.workflow_name} was run twice under one schedule on {seen.backend}, and not the same happened:\n"
        f"    first:  {left.strip()}\n    then:   {right.strip()}\n"
        f"Something in it is not controlled: random numbers, the time, a set whose order changes, a thread; or the "
        f"workflow keeps something from run to run, and a new one has to be made for each"
    )


def _all_schedules(trial: _Trial, most: int) -> Iterator[Schedule]:
    """Try every schedule with at most *most* deviations, and give each that was tried."""
    waiting: list[tuple[int, ...]] = [()]
    while waiting:
        prefix = waiting.pop(0)
        schedule = Schedule(prefix)
        seen = trial.attempt(schedule)
        yield schedule
        if schedule.deviations == most:
            continue
        for place in range(len(prefix), len(seen.draws)):
            zeros = (0,) * (place - len(prefix))
            waiting += [(*prefix, *zeros, choice) for choice in range(1, seen.draws[place])]


def _search(trial: _Trial, strategy: Any, max_examples: int, *, derandomize: bool) -> None:
    from hypothesis import HealthCheck, given, settings  # noqa: PLC0415  # an extra

    @settings(
        max_examples=max_examples,
        deadline=None,
        database=None,
        derandomize=derandomize,
        report_multiple_bugs=False,
        suppress_health_check=[*HealthCheck],  # pyright: ignore[reportArgumentType]
    )
    @given(schedule=strategy)
    def attempt(schedule: Schedule) -> None:
        trial.attempt(schedule)

    attempt()
