"""Workflows that are run as children, for the tests of these."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from anyio.lowlevel import checkpoint
from running import Calling

from anyio_workflows import (
    ChildEvent,
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowHandler,
    WorkflowIdleEvent,
    step,
)

Body = Callable[[Context], Awaitable[Any]]


class Ask(StartEvent):
    who: str = "child"


class Question(InputRequiredEvent):
    who: str


class Answer(HumanResponseEvent):
    who: str = ""
    text: str = ""


class Said(Event):
    text: str


class Answered(Event):
    text: str


class Result(StopEvent):
    text: str


class Asking(Workflow):
    """Asks in the middle of a step; `needs_name` takes only answers to itself."""

    def __init__(self, *, needs_name: bool = False, **options: Any) -> None:
        super().__init__(extra_events=[Question, Answer], **options)
        self.needs_name = needs_name
        self.begun: list[str] = []

    @step
    async def ask(self, ctx: Context, ev: Ask) -> StopEvent:
        self.begun.append(ev.who)
        answer = await ctx.wait_for_event(
            Answer,
            waiter_event=Question(who=ev.who),
            requirements={"who": ev.who} if self.needs_name else None,
        )
        return StopEvent(result=f"{ev.who}: {answer.text}")


class AskingInSteps(Workflow):
    """Asks with one step and takes the answer with another."""

    @step
    async def ask(self, ev: Ask) -> Question:
        return Question(who=ev.who)

    @step
    async def take(self, ev: Answer) -> StopEvent:
        return StopEvent(result=f"steps: {ev.text}")


class Saying(Workflow):
    """Writes a word to the stream and gives it back, in an event of its own class."""

    @step
    async def say(self, ctx: Context, ev: Ask) -> Result:
        ctx.write_event_to_stream(Said(text=ev.who))
        return Result(text=ev.who)


class Counted(Workflow):
    """Three steps, each of which counts itself in the state and in `ran`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(extra_events=[Said], **options)
        self.ran: list[str] = []

    async def count(self, ctx: Context, what: str) -> None:
        self.ran.append(what)
        async with ctx.store.edit_state() as state:
            state["count"] = state.get("count", 0) + 1
        await checkpoint()

    @step
    async def first(self, ctx: Context, ev: Ask) -> Said:
        await self.count(ctx, f"first {ev.who}")
        return Said(text=ev.who)

    @step
    async def second(self, ctx: Context, ev: Said) -> StopEvent:
        await self.count(ctx, f"second {ev.text}")
        return StopEvent(result=f"{ev.text} {await ctx.store.get('count')}")


class Fan(Workflow):
    """Runs *body* once for each name, in executions of their own, and gives what they gave, sorted."""

    def __init__(self, body: Callable[[Context, str], Awaitable[Any]], *names: str, **options: Any) -> None:
        super().__init__(extra_events=[Question, Answer], **options)
        self.body = body
        self.names = names

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Said | None:
        for name in self.names:
            ctx.send_event(Said(text=name))
        return None

    @step
    async def work(self, ctx: Context, ev: Said) -> Answered:
        return Answered(text=str(await self.body(ctx, ev.text)))

    @step
    async def end(self, ctx: Context, ev: Answered) -> StopEvent | None:
        done = ctx.collect_events(ev, {Answered: len(self.names)})
        return None if done is None else StopEvent(result=sorted(each.text for each in done))


def running(child: Workflow) -> Workflow:
    """Return a workflow that runs *child*, and knows none of its events."""
    return Calling(lambda ctx: ctx.run_child(child))


async def idle(handler: WorkflowHandler) -> WorkflowIdleEvent:
    """Wait until the run, and nobody below it, says that it waits for the outside; return what it says."""
    async for event in handler.stream_events(expose_internal=True):
        if isinstance(event, WorkflowIdleEvent):
            return event
    raise AssertionError("it has ended")


async def asked(handler: WorkflowHandler, count: int) -> list[str]:
    """Wait for *count* questions, and return who has asked."""
    names: list[str] = []
    async for event in handler.stream_events():
        if isinstance(event, Question):
            names.append(event.who)
            if len(names) == count:
                break
    return names


async def all_of(handler: WorkflowHandler) -> list[Event]:
    return [event async for event in handler.stream_events()]


def said(events: list[Event]) -> list[tuple[tuple[str, ...], str]]:
    """Return what children have said, and their names."""
    return [
        (event.namespace, event.event.text)
        for event in events
        if isinstance(event, ChildEvent) and isinstance(event.event, Said)
    ]


async def several(*bodies: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Run *bodies* at once and return what each has given."""
    results: list[Any] = [None] * len(bodies)

    async def one(index: int) -> None:
        results[index] = await bodies[index]()

    async with anyio.create_task_group() as tasks:
        for index in range(len(bodies)):
            tasks.start_soon(one, index)
    return results
