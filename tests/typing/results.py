"""What runs give, under the type checkers; never run. A wrong call is kept honest by its ignore comment."""

from typing import Any, Generic, TypeVar, assert_type

from anyio_workflows import (
    Checkpoint,
    Context,
    RunGroup,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCheckpointer,
    WorkflowHandler,
    step,
)


class Crawled(StopEvent):
    pages: int


class Crawling(Workflow[Crawled]):
    @step
    async def crawl(self, ev: StartEvent) -> Crawled:
        return Crawled(pages=3)


class Counting(Workflow[int]):
    @step
    async def count(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=3)


class Untyped(Workflow):
    @step
    async def count(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=3)


class Nesting(Workflow):
    @step
    async def nest(self, ctx: Context, ev: StartEvent) -> StopEvent:
        assert_type(await ctx.run_child(Crawling()), Crawled)
        assert_type(await ctx.run_child(Counting(), StartEvent(), namespace="n", timeout=3), int)
        assert_type(await ctx.run_child(Untyped(), field=3), Any)
        await ctx.run_child(Crawling)  # type: ignore[arg-type]  # the class
        return StopEvent()


class Later(Crawling):
    pass


ResultT = TypeVar("ResultT")


class Base(Workflow[ResultT], Generic[ResultT]):
    pass


class Derived(Base[Crawled]):
    @step
    async def crawl(self, ev: StartEvent) -> Crawled:
        return Crawled(pages=3)


async def use(checkpoint: Checkpoint) -> None:
    handler = Crawling().run()
    assert_type(handler, WorkflowHandler[Crawled])
    assert_type(await handler, Crawled)
    assert_type((await Crawling().run()).pages, int)
    assert_type(await Counting().run(start_event=StartEvent()), int)
    assert_type(await Later().run(), Crawled)
    assert_type(await Derived().run(), Crawled)
    async with Crawling().run() as entered:
        assert_type(await entered, Crawled)
    async with Counting() as workflow:
        assert_type(await workflow.run(), int)
    async with RunGroup() as runs:
        assert_type(await runs.start(Crawling()), Crawled)
        assert_type(await runs["1"], Any)
    checkpointer = WorkflowCheckpointer(workflow=Crawling())
    assert_type(await checkpointer.run(), Crawled)
    assert_type(await checkpointer.run_from(checkpoint), Crawled)
    assert_type(await (await checkpointer.resume("1")), Crawled)

    untyped = Untyped().run()
    assert_type(untyped, WorkflowHandler[Any])
    assert_type(await untyped, Any)
    assert_type(await WorkflowCheckpointer(workflow=Untyped()).run(), Any)


def any_workflow(workflow: Workflow) -> WorkflowHandler:
    return workflow.run()


def any_stop(workflow: Workflow[StopEvent]) -> WorkflowHandler[StopEvent]:
    return workflow.run()


def pass_on() -> None:
    assert_type(any_workflow(Crawling()), WorkflowHandler[Any])
    assert_type(any_stop(Crawling()), WorkflowHandler[StopEvent])


async def misuse() -> None:
    any_stop(Counting())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    text: str = await Crawling().run()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    assert_type(text, str)
