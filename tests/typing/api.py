"""How users write it, under the type checkers; never run. A wrong call is kept honest by its ignore comment."""

from concurrent.futures import ProcessPoolExecutor
from typing import Annotated, Any, assert_type

import anyio
import attrs
from anyio.abc import TaskGroup

from anyio_workflows import (
    Collect,
    Context,
    Event,
    EventReader,
    HumanResponseEvent,
    InputRequiredEvent,
    RunGroup,
    StallReport,
    StartEvent,
    StateStore,
    StepFailedEvent,
    StopEvent,
    Take,
    Workflow,
    WorkflowHandler,
    catch_error,
    step,
)
from anyio_workflows.testing import WorkflowTestRunner


class Fetched(Event):
    url: str
    size: int = attrs.field(default=0, validator=attrs.validators.ge(0))


class Begin(StartEvent):
    urls: tuple[str, ...]


class Answer(HumanResponseEvent):
    text: str


@attrs.define
class State:
    seen: int = 0


class Joining(Workflow):
    @step
    async def split(self, ev: StartEvent) -> list[Fetched] | None:
        return [Fetched(url="a")]

    @step
    def split_in_a_thread(self, ev: Answer) -> list[Fetched | Answer]:
        return [Fetched(url="a"), ev]

    @step(num_workers=2)
    async def join(
        self, evs: Annotated[list[Fetched], Collect(Take(2, cancel_rest=True), order="emission")]
    ) -> StopEvent:
        assert_type(evs, list[Fetched])
        return StopEvent(result=len(evs))

    @step
    async def meet(self, ctx: Context, left: Fetched, right: Answer) -> StopEvent:
        assert_type(ctx.cancel_step("join", "no use"), int)
        return StopEvent(result=left.size)

    @catch_error(for_steps=["join"], max_recoveries=2)
    async def handle(self, ev: StepFailedEvent) -> StopEvent | None:
        assert_type(ev.exception, BaseException)
        return None

    @step  # type: ignore[type-var]  # a list of what is no event
    async def wrong(self, ev: Fetched) -> list[int]:
        return []


class Crawl(Workflow):
    @step
    async def begin(self, ctx: Context[State], ev: Begin) -> Fetched | None:
        for url in ev.urls:
            ctx.send_event(Fetched(url=url))
        await ctx.send(Fetched(url="last", size=3), step="count")
        return None

    @step(num_workers=2, timeout=3, limiter=lambda: anyio.CapacityLimiter(3))
    async def count(self, ev: Fetched, ctx: Context[State]) -> StopEvent | None:
        assert_type(ctx.store, StateStore[State])
        async with ctx.store.edit_state() as state:
            assert_type(state, State)
            state.seen += ev.size
        collected = ctx.collect_events(ev, [Fetched] * 3)
        assert_type(collected, list[Fetched] | None)
        assert_type(ctx.collect_events(ev, {Fetched: 3}), list[Fetched] | None)
        answer = await ctx.wait_for_event(Answer, waiter_event=InputRequiredEvent(prefix="?"), timeout=1.5)
        assert_type(answer, Answer)
        return StopEvent(result=answer.text)

    @step
    def in_a_thread(self, ev: Fetched) -> None:
        assert_type(ev.size, int)


@step(workflow=Crawl)
async def free(ctx: Context, ev: Fetched) -> None:
    assert_type(ctx, Context[Any])


@step(workflow=Crawl, executor=lambda: ProcessPoolExecutor(2))
def in_a_process(ev: Fetched) -> Fetched:
    return Fetched(url=ev.url)


async def test(runner: WorkflowTestRunner) -> None:
    found = await runner.run(Begin(urls=()), exclude_events=[Fetched], state=State())
    assert_type(found.collected, list[Event])
    assert_type(found.event_types[Fetched], int)
    assert_type(found.result, Any)


async def use(tasks: TaskGroup) -> None:
    workflow = Crawl(timeout=3, num_concurrent_runs=2)
    handler = workflow.run(start_event=Begin(urls=("a",)), state=State())
    assert_type(handler, WorkflowHandler)
    async with handler as entered:
        assert_type(entered, WorkflowHandler)
        stream = handler.stream_events(expose_internal=True, offset=1)
        assert_type(stream, EventReader)
        async for event in stream:
            assert_type(event, Event)
        handler.send_event(HumanResponseEvent(response="yes"))
        await handler.cancel_run()
    result: str = await handler
    assert_type(result, str)
    served: WorkflowHandler = await tasks.start(workflow.run(urls=()).serve)
    assert_type(served.failures, tuple[BaseException, ...])
    async with RunGroup(max_runs=3, grace=1) as runs:
        assert_type(runs.start(workflow, urls=(), run_id="1"), WorkflowHandler)
        assert_type(runs["1"], WorkflowHandler)
    assert_type(str(StallReport()), str)
    assert_type(StartEvent(topic="x").topic, Any)
    assert_type(StopEvent("x").result, Any)
    assert_type(Event(any=1).get("any"), Any)


async def misuse(handler: WorkflowHandler, workflow: Workflow, ctx: Context) -> None:
    Fetched(ur="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Fetched("x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Fetched(url="x").length  # type: ignore[attr-defined]  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue, reportUnusedExpression]
    Fetched(url="x").url = "y"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    ctx.run()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    handler.collect_events()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    workflow.send_event(StopEvent())  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
