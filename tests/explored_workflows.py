"""Small workflows, one for each thing that the engine does, with what has to come of them under every schedule."""

from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any

import anyio
import attrs
from tenacity import wait_fixed

from anyio_workflows import (
    Collect,
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    RetryPolicy,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Take,
    Workflow,
    WorkflowHandler,
    WorkflowStalledError,
    catch_error,
    step,
)
from anyio_workflows.testing import Check, Driver, Exploration, checkpoint


class Job(Event):
    number: int


class Part(Event):
    number: int


class Done(Event):
    number: int


class Batch(Event):
    numbers: tuple[int, ...]


class Question(InputRequiredEvent):
    number: int


class Answer(HumanResponseEvent):
    number: int


class Flaky(Exception):
    """What a first attempt fails with."""


@attrs.frozen(kw_only=True)
class Scenario:
    """A workflow, and what every run of it has to come to, one that died and went on included."""

    make: Callable[[], Workflow]
    check: Check
    driver: Driver | None = None
    options: dict[str, Any] = attrs.field(factory=dict)
    deviations: int = 2
    """So many are tried at most, exhaustively."""


async def count(ctx: Context, name: str, by: int = 1) -> None:
    """Count in the state, in a block with a point in the middle."""
    async with ctx.store.edit_state() as state:
        number = state.get(name, 0)
        await ctx.checkpoint()
        state[name] = number + by


def gives(expected: object, **state: object) -> Check:
    """Return a check that a run gave *expected*, and left *state*."""

    def check(seen: Exploration) -> None:
        assert seen.error is None, f"it raised {seen.error!r}"
        assert seen.result == expected, f"it gave {seen.result!r} instead of {expected!r}"
        for name, value in state.items():
            assert seen.state.get(name) == value, f"{name} is {seen.state.get(name)!r} instead of {value!r}"

    return check


# --- the state and collections


class Gathering(Workflow):
    """Two workers count, and one step collects in pairs."""

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Job | None:
        for number in range(4):
            ctx.send_event(Job(number=number))
        return None

    @step(num_workers=2)
    async def work(self, ctx: Context, ev: Job) -> Done:
        await count(ctx, "worked")
        return Done(number=ev.number)

    @step(num_workers=2)
    async def pair(self, ctx: Context, ev: Done) -> Batch | None:
        pair = ctx.collect_events(ev, [Done] * 2)
        await ctx.checkpoint()
        return None if pair is None else Batch(numbers=tuple(each.number for each in pair))

    @step
    async def end(self, ctx: Context, ev: Batch) -> StopEvent | None:
        batches = ctx.collect_events(ev, [Batch] * 2)
        return (
            None if batches is None else StopEvent(result=sorted(n for each in batches for n in each.numbers))
        )


GATHERING = Scenario(make=Gathering, check=gives([0, 1, 2, 3], worked=4), deviations=1)


class Alone(Workflow):
    """One worker at a time may pass, and they pass in order."""

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Job | None:
        for number in range(3):
            ctx.send_event(Job(number=number))
        return None

    @step(num_workers=1)
    async def work(self, ctx: Context, ev: Job) -> StopEvent | None:
        passed = await ctx.store.get("passed", ())
        await ctx.checkpoint()
        # After a crash it may find what it has set itself.
        passed = (*(number for number in passed if number != ev.number), ev.number)
        await ctx.store.set("passed", passed)
        return StopEvent(result=list(passed)) if len(passed) == 3 else None


ALONE = Scenario(make=Alone, check=gives([0, 1, 2]))


class Overwriting(Workflow):
    """What one has written another overwrites, while the first is still in work."""

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Job | Done:
        await ctx.store.set("phase", "begun")
        ctx.send_event(Job(number=0))
        await anyio.sleep(1)
        return Done(number=1)

    @step
    async def work(self, ctx: Context, ev: Job) -> Done:
        await ctx.store.set("phase", "worked")
        return Done(number=0)

    @step
    async def end(self, ctx: Context, ev: Done) -> StopEvent | None:
        both = ctx.collect_events(ev, [Done] * 2)
        return None if both is None else StopEvent(result=await ctx.store.get("phase"))


OVERWRITING = Scenario(make=Overwriting, check=gives("worked", phase="worked"))


# --- attempts


class Retried(Workflow):
    """The first attempt sends, collects, and fails."""

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Job | None:
        for number in range(2):
            ctx.send_event(Job(number=number))
        return None

    @step(num_workers=2, retry_policy=RetryPolicy())
    async def work(self, ctx: Context, ev: Job) -> Part | Batch | None:
        ctx.send_event(Part(number=ev.number))
        both = ctx.collect_events(ev, [Job] * 2)
        await ctx.checkpoint()
        if ctx.retry_info().retry_number == 0:
            raise Flaky
        return None if both is None else Batch(numbers=tuple(sorted(each.number for each in both)))

    @step
    async def part(self, ctx: Context, ev: Part) -> Done:
        await count(ctx, "parts")
        return Done(number=ev.number)

    @step
    async def end(self, ctx: Context, ev: Done | Batch) -> StopEvent | None:
        all_there: Any = ctx.collect_events(ev, [Done, Done, Batch])
        if all_there is None:
            return None
        one, other, batch = all_there
        return StopEvent(result=(sorted((one.number, other.number)), batch.numbers))


RETRIED = Scenario(make=Retried, check=gives(([0, 1], (0, 1)), parts=2))


class Caught(Workflow):
    """One of two fails, and what stands for it is counted in its place."""

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> list[Job]:
        return [Job(number=number) for number in range(2)]

    @step(num_workers=2)
    async def work(self, ctx: Context, ev: Job) -> Done:
        await ctx.checkpoint()
        if ev.number:
            raise Flaky
        return Done(number=ev.number)

    @catch_error(for_steps=["work"])
    async def instead(self, ctx: Context, ev: StepFailedEvent) -> Done:
        await ctx.checkpoint()
        return Done(number=-1)

    @step
    async def end(self, ev: list[Done]) -> StopEvent:
        return StopEvent(result=sorted(each.number for each in ev))


CAUGHT = Scenario(make=Caught, check=gives([-1, 0]))


# --- fan-outs


class Joined(Workflow):
    """Members give one or two events each, and a join gets all of them, in the order of the list."""

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> list[Job]:
        return [Job(number=number) for number in range(3)]

    @step(num_workers=2)
    async def work(self, ctx: Context, ev: Job) -> Part | Done:
        await ctx.checkpoint()
        return Part(number=ev.number) if ev.number == 0 else Done(number=ev.number)

    @step
    async def longer(self, ctx: Context, ev: Part) -> Done:
        ctx.send_event(Done(number=10))
        await ctx.checkpoint()
        return Done(number=ev.number)

    @step
    async def end(self, ev: Annotated[list[Done], Collect(order="emission")]) -> StopEvent:
        return StopEvent(result=[each.number for each in ev])


JOINED = Scenario(make=Joined, check=gives([10, 0, 1, 2]))


class Racing(Workflow):
    """Two of three are enough, and the third is cancelled."""

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> list[Job]:
        return [Job(number=number) for number in range(3)]

    @step(num_workers=2)
    async def work(self, ctx: Context, ev: Job) -> Done:
        await ctx.checkpoint()
        return Done(number=ev.number)

    @step
    async def first(
        self, ctx: Context, ev: Annotated[list[Done], Collect(Take(2, cancel_rest=True))]
    ) -> Batch:
        await ctx.checkpoint()
        return Batch(numbers=tuple(each.number for each in ev))

    @step
    async def end(self, ev: Batch) -> StopEvent:
        return StopEvent(result=list(ev.numbers))


def two_of_three(seen: Exploration) -> None:
    """The first two that came, and no more joins than one."""
    assert seen.error is None, f"it raised {seen.error!r}"
    assert len(set(seen.result)) == 2, seen.result
    assert set(seen.result) < {0, 1, 2}
    batches = [fact for fact in seen.facts if fact[0] == "event_sent" and type(fact[2]) is Batch]
    assert len({fact[2] for fact in batches}) == 1


RACING = Scenario(make=Racing, check=two_of_three)


# --- waits


class Asking(Workflow):
    """Two executions ask, each waits for any answer; an answer is for one of them."""

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Job | None:
        for number in range(2):
            ctx.send_event(Job(number=number))
        return None

    @step(num_workers=2)
    async def ask(self, ctx: Context, ev: Job) -> Done:
        answer = await ctx.wait_for_event(Answer, waiter_event=Question(number=ev.number))
        await ctx.store.set(f"answer {ev.number}", answer.number)
        return Done(number=answer.number)

    @step
    async def end(self, ctx: Context, ev: Done) -> StopEvent | None:
        both = ctx.collect_events(ev, [Done] * 2)
        return None if both is None else StopEvent(result=sorted(each.number for each in both))


async def answer_all(handler: WorkflowHandler) -> None:
    """Answer each question that is read with its number and 10, when the schedule says so."""
    async for event in handler.stream_events():
        if isinstance(event, Question):
            await checkpoint("the human")
            handler.send_event(Answer(number=10 + event.number))


def each_is_asked_once(seen: Exploration) -> None:
    """Whoever reads the stream sees each question once: in a life, and in a second one if it was not answered."""
    gives([10, 11])(seen)
    asked = Counter(event.number for event in seen.events if isinstance(event, Question))
    assert set(asked.values()) <= {1}, f"questions on the stream: {asked}"
    if not seen.has_crashed:
        assert set(asked) == {0, 1}


ASKING = Scenario(
    make=lambda: Asking(extra_events=[Question, Answer]), check=each_is_asked_once, driver=answer_all
)


class Timed(Workflow):
    """One is tried again after an hour, as long as another waits in vain; nobody is asked."""

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Job | Part | None:
        ctx.send_event(Job(number=0))
        ctx.send_event(Part(number=1))
        return None

    @step(retry_policy=RetryPolicy(wait=wait_fixed(3_600)))
    async def work(self, ctx: Context, ev: Job) -> Done:
        await count(ctx, "attempts")
        if ctx.retry_info().retry_number == 0:
            raise Flaky
        return Done(number=ev.number)

    @step
    async def wait(self, ctx: Context, ev: Part) -> Done:
        try:
            answer = await ctx.wait_for_event(Answer, timeout=3_600)
        except TimeoutError:
            await count(ctx, "in vain")
            return Done(number=ev.number)
        return Done(number=answer.number)

    @step
    async def end(self, ctx: Context, ev: Done) -> StopEvent | None:
        both = ctx.collect_events(ev, [Done] * 2)
        return None if both is None else StopEvent(result=sorted(each.number for each in both))


TIMED = Scenario(
    make=lambda: Timed(extra_events=[Answer]), check=gives([0, 1], attempts=2, **{"in vain": 1}), deviations=1
)


# --- runs within runs


class Child(Workflow):
    """Asks, and counts."""

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Part:
        await count(ctx, "n")
        return Part(number=ev.get("number"))

    @step
    async def end(self, ctx: Context, ev: Part) -> StopEvent:
        await ctx.checkpoint()
        return StopEvent(result=(ev.number, await ctx.store.get("n")))


class Parent(Workflow):
    """Two executions have a child each."""

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Job | None:
        for number in range(2):
            ctx.send_event(Job(number=number))
        return None

    @step(num_workers=2)
    async def work(self, ctx: Context, ev: Job) -> Done:
        number, counted = await ctx.run_child(Child(), number=ev.number)
        assert counted == 1, f"the child counted {counted}"
        return Done(number=number)

    @step
    async def end(self, ctx: Context, ev: Done) -> StopEvent | None:
        both = ctx.collect_events(ev, [Done] * 2)
        return None if both is None else StopEvent(result=sorted(each.number for each in both))


PARENT = Scenario(make=Parent, check=gives([0, 1]), deviations=1)


# --- back-pressure, stops and stalls


class Fed(Workflow):
    """No more than two wait at a time."""

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Job | None:
        for number in range(4):
            await ctx.send(Job(number=number))
        return None

    @step(num_workers=1, max_pending=2)
    async def work(self, ctx: Context, ev: Job) -> Done:
        await ctx.checkpoint()
        return Done(number=ev.number)

    @step
    async def end(self, ctx: Context, ev: Done) -> StopEvent | None:
        all_there = ctx.collect_events(ev, [Done] * 4)
        return None if all_there is None else StopEvent(result=sorted(each.number for each in all_there))


def never_above_max_pending(seen: Exploration) -> None:
    """Never more than two are between their arrival and their end."""
    gives([0, 1, 2, 3])(seen)
    pending: set[tuple[str, int]] = set()
    for name, *about in seen.facts:
        if name == "event_received" and about[2] == "work":
            pending.add((about[0].run_id, about[3]))
            mine = [key for key in pending if key[0] == about[0].run_id]
            assert len(mine) <= 2, f"{len(mine)} are pending"
        elif name == "attempt_ended" and about[0].step == "work":
            pending.discard((about[0].run.run_id, about[0].delivery))


FED = Scenario(make=Fed, check=never_above_max_pending)


class Stopping(Workflow):
    """The first who is done ends the run; what the others do is lost."""

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Job | None:
        for number in range(3):
            ctx.send_event(Job(number=number))
        return None

    @step(num_workers=2)
    async def work(self, ctx: Context, ev: Job) -> StopEvent:
        await ctx.checkpoint()
        await ctx.store.set("last", ev.number)
        return StopEvent(result=ev.number)


def the_first_stop_counts(seen: Exploration) -> None:
    """The result is what was committed first, and the stream ends with it."""
    assert seen.error is None, f"it raised {seen.error!r}"
    stops = [
        fact[2].result for fact in seen.facts if fact[0] == "event_sent" and isinstance(fact[2], StopEvent)
    ]
    assert stops[0] == seen.result
    assert seen.events[-1].get("result") == seen.result


STOPPING = Scenario(make=Stopping, check=the_first_stop_counts)


class Stalling(Workflow):
    """Three are wanted, and there are two."""

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Job | None:
        for number in range(2):
            ctx.send_event(Job(number=number))
        return None

    @step(num_workers=2)
    async def gather(self, ctx: Context, ev: Job) -> StopEvent | None:
        await ctx.checkpoint()
        return None if ctx.collect_events(ev, [Job] * 3) is None else StopEvent()


def stalls_with_two(seen: Exploration) -> None:
    """It says what is missing."""
    assert isinstance(seen.error, WorkflowStalledError), f"it raised {seen.error!r}, and gave {seen.result!r}"
    report: Any = seen.error.report
    assert report.collections == ("step 'gather' has 2 of 3 Job",)
    assert report.pending == ()


STALLING = Scenario(make=Stalling, check=stalls_with_two)

SCENARIOS = {
    "gathering": GATHERING,
    "alone": ALONE,
    "overwriting": OVERWRITING,
    "stopping": STOPPING,
    "stalling": STALLING,
    "caught": CAUGHT,
    "racing": RACING,
    "joined": JOINED,
    "asking": ASKING,
    "timed": TIMED,
    "parent": PARENT,
    "retried": RETRIED,
    "fed": FED,
}
"""All of them, by name; those with many orders last."""
