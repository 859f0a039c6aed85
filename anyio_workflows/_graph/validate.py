"""Find every mistake that the steps of a workflow make together.

Mistakes of a single step are found when it is decorated.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from .._declare.options import graph_check_problems
from .._declare.step import StepDeclaration
from .._declare.wording import listed, name_of, quoted
from .._events import Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StepFailedEvent, StopEvent
from .levels import joins_of

_T = TypeVar("_T")

RESERVED_START_FIELDS = (
    "start_event",
    "state",
    "run_id",
    "timeout",
    "stream_buffer",
    "checkpoints",
    "observers",
)
"""Keywords of ``Workflow.run`` that never reach the start event."""


class Problem(NamedTuple):
    """One mistake."""

    sentence: str
    """What is wrong, where, and what to do."""

    configuration: bool = False
    """It concerns the start or the stop event."""


def problems(
    steps: Sequence[StepDeclaration],
    *,
    skip_graph_checks: Collection[str],
    extra_events: Sequence[type[Event]],
) -> list[Problem]:
    """Return every mistake that *steps* make together, in the order in which to read them."""
    found = [
        Problem(sentence=f"the workflow {sentence}") for sentence in graph_check_problems(skip_graph_checks)
    ]
    found += [
        Problem(sentence=f"extra_events has {extra!r}; name Event subclasses")
        for extra in extra_events
        if not _is_event(extra)
    ]
    if not steps:
        return [*found, _NO_STEPS]
    extras = [extra for extra in extra_events if _is_event(extra)]
    wiring = _Wiring(steps, skip_graph_checks, extras)
    return [
        *found,
        *_duplicates(steps),
        *_start_problems(steps),
        *_stop_problems(steps),
        *_handler_problems(steps),
        *_join_problems(steps),
        *wiring.never_consumed(),
        *wiring.never_produced(),
        *wiring.unreachable(),
        *wiring.dead_ends(),
    ]


_NO_STEPS = Problem(
    sentence="there are no steps; decorate methods of the class with @step, or functions with @step(workflow=...)",
    configuration=True,
)


def start_classes(steps: Iterable[StepDeclaration]) -> list[type[StartEvent]]:
    """Return the start events that steps accept."""
    return _distinct(
        accepted for step in steps for accepted in step.accepts if issubclass(accepted, StartEvent)
    )


def stop_classes(steps: Iterable[StepDeclaration]) -> list[type[StopEvent]]:
    """Return the stop events that steps return."""
    return _distinct(
        returned for step in steps for returned in step.returns if issubclass(returned, StopEvent)
    )


def _duplicates(steps: Sequence[StepDeclaration]) -> Iterator[Problem]:
    names = [step.name for step in steps]
    for name in _distinct(names):
        if names.count(name) > 1:
            yield Problem(
                sentence=f"{names.count(name)} steps are called {name!r}; give each a name of its own"
            )


def _start_problems(steps: Sequence[StepDeclaration]) -> Iterator[Problem]:
    starts = start_classes(steps)
    if not starts:
        yield _configuration("no step accepts a StartEvent; annotate the first step's parameter with it")
    if len(starts) > 1:
        where = listed(f"{name_of(start)} in {_who(_accepting(steps, start))}" for start in starts)
        yield _configuration(
            f"several start events are accepted: {where}; a workflow starts with one class, keep one"
        )
    for start in starts:
        fields = [field.alias or field.name for field in getattr(start, "__attrs_attrs__", ()) if field.init]
        taken = [field for field in fields if field in RESERVED_START_FIELDS]
        if taken:
            yield _configuration(
                f"{name_of(start)} declares {quoted(taken)}, which run() takes for itself; give the field another name"
            )


def _stop_problems(steps: Sequence[StepDeclaration]) -> Iterator[Problem]:
    stops = stop_classes(steps)
    if not stops:
        yield _configuration(
            "no step returns a StopEvent, so the workflow cannot end; add it to the return annotation of the last step"
        )
    if len(stops) > 1:
        where = listed(
            f"{name_of(stop)} from {_who([step for step in steps if stop in step.returns])}" for stop in stops
        )
        yield _configuration(
            f"several stop events are returned: {where}; a workflow ends with one class, keep one"
        )
    for consumed in _distinct(one for step in steps for one in step.accepts if issubclass(one, StopEvent)):
        yield _configuration(
            f"{_who(_accepting(steps, consumed), 'accept')} {name_of(consumed)}, which ends the run and is delivered "
            f"to no step; accept another event"
        )


def _handler_problems(steps: Sequence[StepDeclaration]) -> Iterator[Problem]:
    names = {step.name: step for step in steps}
    wildcards = [step for step in steps if step.handles and step.handles.for_steps is None]
    if len(wildcards) > 1:
        yield Problem(
            sentence=f"{_who(wildcards, 'handle')} the errors of all steps that no other handler names; keep one"
        )
    owners: dict[str, str] = {}
    for step in steps:
        for name in (step.handles.for_steps or ()) if step.handles else ():
            if name not in names:
                yield Problem(
                    sentence=f"handler {step.name!r} names {name!r} in for_steps, which is no step; "
                    f"the steps are {quoted(names)}"
                )
            elif names[name].handles is not None:
                yield Problem(
                    sentence=f"handler {step.name!r} names {name!r} in for_steps, which is a handler; "
                    f"handlers are not handled, name steps"
                )
            elif owners.get(name) == step.name:
                yield Problem(
                    sentence=f"step {name!r} is named twice in for_steps of handler {step.name!r}; name it once"
                )
            elif name in owners:
                yield Problem(
                    sentence=f"step {name!r} is named by the handlers {owners[name]!r} and {step.name!r}; "
                    f"let one of them have it"
                )
            owners.setdefault(name, step.name)


def _join_problems(steps: Sequence[StepDeclaration]) -> Iterator[Problem]:
    joined = {join for joins in joins_of(steps).values() for join in joins}
    for index, step in enumerate(steps):
        if step.joins is not None and index not in joined:
            yield Problem(
                sentence=f"step {step.name!r} takes a list of {_events(step.accepts)}, but no fan-out leads to it; "
                f"return 'list[...]' in a step before it, or take one event and collect with ctx.collect_events"
            )


class _Wiring(NamedTuple):
    """The checks that follow events from step to step."""

    steps: Sequence[StepDeclaration]
    skipped: Collection[str]
    extras: Sequence[type[Event]]

    def never_consumed(self) -> Iterator[Problem]:
        for event, producers in self._unconsumed().items():
            near = [step for step in self.steps if issubclass(event, step.accepts)]
            advice = (
                _subclass_advice(near)
                if near
                else "accept it in a step, name it in @step(waits_for=...), or derive it from StopEvent or "
                "InputRequiredEvent"
            )
            yield Problem(
                sentence=f"{_who(producers, 'return')} {name_of(event)}, which no step accepts; {advice}"
            )

    def never_produced(self) -> Iterator[Problem]:
        for event, consumers in self._unproduced().items():
            advice = (
                _subclass_advice(consumers)
                if any(issubclass(source, event) for source in self._sources())
                else "decorate the step with @catch_error"
                if event is StepFailedEvent
                else "add it to the return annotation of the step that sends it, derive it from HumanResponseEvent "
                "if it comes from outside, or name it in extra_events="
            )
            yield Problem(
                sentence=f"{_who(consumers, 'accept')} {name_of(event)}, which no step returns; {advice}"
            )

    def unreachable(self) -> Iterator[Problem]:
        # Without a start event nothing is reachable, which has been said.
        if not start_classes(self.steps):
            return
        said = [step for consumers in self._unproduced().values() for step in consumers]
        reachable = self._reachable()
        for step in self.steps:
            if step not in reachable and step not in said and not self._allows(step, "reachability"):
                yield Problem(
                    sentence=f"{_who([step])} is never reached, because {_events(step.accepts)} comes only from steps "
                    f"that are never reached; connect it with the StartEvent or a HumanResponseEvent"
                )

    def dead_ends(self) -> Iterator[Problem]:
        # Without a stop event everything is a dead end, which has been said.
        if not stop_classes(self.steps):
            return
        ending = self._ending()
        for step in self.steps:
            # A step that returns nothing is a listener, which is right.
            if step.returns and step not in ending and not self._allows(step, "dead_end"):
                yield Problem(
                    sentence=f"{_who([step])} is a dead end: {_events(step.returns)} leads to no StopEvent or "
                    f"InputRequiredEvent; return one in it or in a step after it, or allow it with "
                    f"skip_graph_checks=['dead_end']"
                )

    def _unconsumed(self) -> dict[type[Event], list[StepDeclaration]]:
        """Return what is returned to nobody, with who returns it."""
        return self._gather(
            lambda step: step.returns,
            lambda event: (
                not issubclass(event, StopEvent | InputRequiredEvent) and not self._consumers(event)
            ),
            "terminal_event",
        )

    def _unproduced(self) -> dict[type[Event], list[StepDeclaration]]:
        """Return what is accepted but comes from nowhere, with who accepts it."""
        return self._gather(
            lambda step: [one for one in step.accepts if not self._is_fed(step, one)],
            lambda event: not issubclass(event, StopEvent),
            "reachability",
        )

    def _gather(
        self,
        events: Callable[[StepDeclaration], Iterable[type[Event]]],
        wrong: Callable[[type[Event]], bool],
        check: str,
    ) -> dict[type[Event], list[StepDeclaration]]:
        gathered: dict[type[Event], list[StepDeclaration]] = {}
        for step in self.steps:
            for event in events(step):
                if wrong(event) and not self._allows(step, check):
                    gathered.setdefault(event, []).append(step)
        return gathered

    def _allows(self, step: StepDeclaration, check: str) -> bool:
        return check in self.skipped or check in step.skip_graph_checks

    def _consumers(self, event: type[Event]) -> list[StepDeclaration]:
        return [step for step in self.steps if step.takes(event) or _waits(step, event)]

    def _is_fed(self, step: StepDeclaration, accepted: type[Event]) -> bool:
        """Return whether something that *step* takes as *accepted* comes from a step or from outside."""
        return step.handles is not None or any(
            event is accepted or (step.accept_event_subclasses and issubclass(event, accepted))
            for event in self._sources()
        )

    def _sources(self) -> list[type[Event]]:
        return [*self._from_outside(), *(event for step in self.steps for event in step.returns)]

    def _from_outside(self) -> list[type[Event]]:
        """Return what comes without a step that is annotated with it."""
        answers = [one for step in self.steps for one in step.accepts if issubclass(one, HumanResponseEvent)]
        waited = [one for step in self.steps for one in step.waits_for]
        return [*start_classes(self.steps), *answers, *waited, *self.extras]

    def _reachable(self) -> set[StepDeclaration]:
        events = self._from_outside()
        reached = {step for step in self.steps if step.handles is not None}
        events += [returned for step in reached for returned in step.returns]
        while events:
            event = events.pop()
            new = [step for step in self.steps if step not in reached and step.takes(event)]
            reached.update(new)
            events += [returned for step in new for returned in step.returns]
        return reached

    def _ending(self) -> set[StepDeclaration]:
        """Return the steps from which a run can come to its end, or to a human."""
        # A returned event that nobody consumes has been complained of or allowed; it is no second mistake.
        ending = {step for step in self.steps if any(self._leaves(event) for event in step.returns)}
        while True:
            before = {
                step
                for step in self.steps
                if step not in ending
                and any(ending.intersection(self._consumers(event)) for event in step.returns)
            }
            if not before:
                return ending
            ending |= before

    def _leaves(self, event: type[Event]) -> bool:
        return issubclass(event, StopEvent | InputRequiredEvent) or not self._consumers(event)


def _waits(step: StepDeclaration, event: type[Event]) -> bool:
    if step.accept_event_subclasses:
        return issubclass(event, step.waits_for)
    return event in step.waits_for


def _subclass_advice(steps: Iterable[StepDeclaration]) -> str:
    return (
        f"{_who(steps, 'accept')} a base class, but subclasses only with @step(accept_event_subclasses=True)"
    )


def _accepting(steps: Iterable[StepDeclaration], event: type[Event]) -> list[StepDeclaration]:
    return [step for step in steps if event in step.accepts]


def _who(steps: Iterable[StepDeclaration], verb: str = "") -> str:
    """Return the steps as the subject of a sentence, with the *verb* in the right number."""
    names = _distinct(repr(step.name) for step in steps)
    subject, inflected = (
        (f"step {names[0]}", f"{verb}s") if len(names) == 1 else (f"steps {listed(names)}", verb)
    )
    return f"{subject} {inflected}" if verb else subject


def _events(events: Iterable[type[Event]]) -> str:
    return listed(map(name_of, events), "or")


def _configuration(sentence: str) -> Problem:
    return Problem(sentence=sentence, configuration=True)


def _is_event(candidate: object) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, Event)


def _distinct(items: Iterable[_T]) -> list[_T]:
    return list(dict.fromkeys(items))
