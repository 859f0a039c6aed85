"""Two reviewers are asked about two documents; an answer goes to whoever has waited longest."""

import anyio
from attrs import frozen

from anyio_workflows import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowHandler,
    step,
)
from anyio_workflows.testing import Exploration, checkpoint


class Document(Event):
    title: str


class Question(InputRequiredEvent):
    title: str


class Verdict(HumanResponseEvent):
    title: str
    is_good: bool


class Reviewed(Event):
    title: str
    is_good: bool


@frozen
class Reviewer:
    handler: WorkflowHandler

    async def answer(self, title: str) -> None:
        await checkpoint(f"reviewer of {title}")
        self.handler.send_event(Verdict(title=title, is_good=title == "report"))


async def answer_all(handler: WorkflowHandler) -> None:
    async with anyio.create_task_group() as reviewers:
        async for event in handler.stream_events():
            if isinstance(event, Question):
                reviewers.start_soon(Reviewer(handler).answer, event.title)


class Broken(Workflow):
    @step
    async def hand_out(self, ctx: Context, ev: StartEvent) -> Document | None:
        for title in ("report", "letter"):
            ctx.send_event(Document(title=title))
        return None

    @step
    async def review(self, ctx: Context, ev: Document) -> Reviewed:
        verdict = await ctx.wait_for_event(Verdict, waiter_event=Question(title=ev.title))
        return Reviewed(title=ev.title, is_good=verdict.is_good)

    @step
    async def publish(self, ctx: Context, ev: Reviewed) -> StopEvent | None:
        reviewed = ctx.collect_events(ev, [Reviewed] * 2)
        if reviewed is None:
            return None
        return StopEvent(result=[each.title for each in reviewed if each.is_good])


class Fixed(Broken):
    @step
    async def review(self, ctx: Context, ev: Document) -> Reviewed:
        verdict = await ctx.wait_for_event(
            Verdict, waiter_event=Question(title=ev.title), requirements={"title": ev.title}
        )
        return Reviewed(title=ev.title, is_good=verdict.is_good)


def invariant(seen: Exploration) -> None:
    assert seen.result == ["report"], f"the report is good and the letter is not; {seen.result} is published"


OPTIONS = {"driver": answer_all}
