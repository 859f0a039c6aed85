"""S-RUN-6: context variables."""

import contextvars

import anyio
import pytest
from anyio.lowlevel import checkpoint
from running import Calling, Work

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, WorkflowHandler, step

user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")


class Next(Event):
    pass


class Seeing(Workflow):
    """Notes what each of its steps sees, one of them in a thread, some beside the caller's task."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str]] = []

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Work:
        self.seen.append(("begin", user.get()))
        ctx.send_event(Work(number=1))
        return Work(number=2)

    @step
    async def beside(self, ctx: Context, ev: Work) -> Next | None:
        await checkpoint()
        self.seen.append(("beside", user.get()))
        return Next() if ctx.collect_events(ev, [Work] * 2) else None

    @step
    def in_a_thread(self, ev: Next) -> StopEvent:
        self.seen.append(("thread", user.get()))
        return StopEvent()


async def _run(handler: WorkflowHandler, way: str) -> None:
    if way == "await":
        await handler
    elif way == "async with":
        async with handler:
            pass
    else:
        async with anyio.create_task_group() as tasks:
            await tasks.start(handler.serve)


@pytest.mark.parametrize("way", ["await", "async with", "serve"])
async def test_s_run_6_variables_of_the_task_that_starts_the_run_are_visible_in_every_step(way: str) -> None:
    """Whether it was made in the same task or not: it is the start that counts."""
    flow = Seeing()
    token = user.set("ada")
    handler = flow.run()
    user.reset(token)
    token = user.set("bob")
    with anyio.fail_after(5):
        await _run(handler, way)
    user.reset(token)
    assert flow.seen == [("begin", "bob"), ("beside", "bob"), ("beside", "bob"), ("thread", "bob")]


class Setting(Workflow):
    """Every execution notes what it sees, and sets the variable; before and after it has suspended."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.kept: list[str] = []

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Work:
        self.seen.append(user.get())
        user.set("begin")
        return Work(number=0)

    @step(num_workers=2)
    async def again(self, ev: Work) -> Work | Next:
        self.seen.append(user.get())
        user.set(f"again {ev.number}")
        if ev.number % 2:
            await checkpoint()
            self.kept.append(user.get())
            user.set("after a suspension")
            await checkpoint()
            self.kept.append(user.get())
        return Work(number=ev.number + 1) if ev.number < 3 else Next()

    @step
    def in_a_thread(self, ev: Next) -> StopEvent:
        self.seen.append(user.get())
        user.set("thread")
        return StopEvent()


@pytest.mark.parametrize("way", ["await", "async with", "serve"])
async def test_s_run_6_what_a_step_sets_is_visible_neither_in_another_nor_in_the_caller(way: str) -> None:
    """Also if one task works on one after the other, which is the caller's own in the case of await."""
    flow = Setting()
    token = user.set("caller")
    with anyio.fail_after(5):
        await _run(flow.run(), way)
    assert user.get() == "caller"
    user.reset(token)
    assert flow.seen == ["caller"] * 6


async def test_s_run_6_a_step_keeps_what_it_has_set_over_its_awaits() -> None:
    flow = Setting()
    with anyio.fail_after(5):
        await flow.run()
    assert flow.kept == ["again 1", "after a suspension", "again 3", "after a suspension"]


async def test_s_run_6_a_token_can_be_reset_after_an_await() -> None:
    """It belongs to the context in which it was made: the same one all through an execution."""

    async def resets(ctx: Context) -> str:
        token = user.set("inner")
        await checkpoint()
        await ctx.store.set("n", 1)
        user.reset(token)
        return user.get()

    with anyio.fail_after(5):
        assert await Calling(resets).run() == "nobody"


async def test_s_run_6_child_tasks_and_threads_of_a_step_see_what_it_has_set() -> None:
    async def has_children(ctx: Context) -> None:
        async def child() -> None:
            await checkpoint()
            seen.append(user.get())

        user.set("parent")
        await checkpoint()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)
        seen.append(await anyio.to_thread.run_sync(user.get))

    seen: list[str] = []
    with anyio.fail_after(5):
        await Calling(has_children).run()
    assert seen == ["parent", "parent"]


async def test_s_run_6_a_nested_run_sees_what_the_step_around_it_has_set() -> None:
    async def inner(ctx: Context) -> str:
        seen = user.get()
        user.set("inner")
        return seen

    async def outer(ctx: Context) -> list[object]:
        user.set("outer")
        result = await Calling(inner).run()
        return [result, user.get()]

    with anyio.fail_after(5):
        assert await Calling(outer).run() == ["outer", "outer"]


async def test_s_run_6_a_failing_step_leaves_the_callers_variables_clean() -> None:
    async def fails(ctx: Context) -> None:
        user.set("inner")
        await checkpoint()
        raise ValueError("no")

    with anyio.fail_after(5), pytest.raises(ValueError):
        await Calling(fails).run()
    assert user.get() == "nobody"


async def test_s_run_6_what_the_body_sets_after_the_start_is_its_own() -> None:
    async def late(ctx: Context) -> str:
        await gate.wait()
        return user.get()

    gate = anyio.Event()
    with anyio.fail_after(5):
        async with Calling(late).run() as handler:
            token = user.set("body")
            gate.set()
            assert await handler == "nobody"
            user.reset(token)


async def test_s_run_6_runs_side_by_side_see_each_its_own() -> None:
    async def looks(ctx: Context) -> str:
        before = user.get()
        for _ in range(5):
            await checkpoint()
        return f"{before} {user.get()}"

    async def request(name: str) -> None:
        user.set(name)
        results.append((name, await flow.run()))

    flow = Calling(looks)
    results: list[tuple[str, object]] = []
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(request, str(number))
    assert sorted(results) == [(str(number), f"{number} {number}") for number in range(10)]
