"""S-WORK, S-WAIT and S-SEND together: what holds for any mixture of steps that wait, send and give up.

Each seed is a workflow of its own: how many workers, which shared limiter, what each execution does.
"""

import random
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import attrs
import pytest
from anyio.lowlevel import checkpoint

from anyio_workflows import Context, Event, HumanResponseEvent, StartEvent, StopEvent, Workflow, step


class Job(Event):
    number: int


class Question(Event):
    """Answered by a step, at once or a little later."""

    key: str


class Answer(HumanResponseEvent):
    key: str


class Note(Event):
    pass


class Done(Event):
    number: int


@attrs.define
class Presence:
    """Who is at work at the moment: those who wait for an answer are not."""

    inside: int = 0
    most: int = 0

    def enter(self) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)

    def leave(self) -> None:
        self.inside -= 1


@attrs.frozen
class Doing:
    """One execution, as the things that it may do see it."""

    ctx: Context
    presence: Presence
    rng: random.Random

    def ask(self, key: str) -> str:
        self.ctx.send_event(Question(key=key))
        return key

    def soon(self) -> float:
        """A time within which an answer may come or not."""
        return self.rng.choice([0.0, 0.0005, 0.001, 0.002])

    async def wait_for(self, key: str, timeout: float | None = None) -> None:
        self.presence.leave()
        try:
            answer = await self.ctx.wait_for_event(Answer, requirements={"key": key}, timeout=timeout)
            assert answer.key == key
        except TimeoutError:
            assert timeout is not None
        self.presence.enter()


async def suspend(doing: Doing, key: str) -> None:
    await checkpoint()


async def wait(doing: Doing, key: str) -> None:
    await doing.wait_for(doing.ask(key))


async def wait_in_vain(doing: Doing, key: str) -> None:
    await doing.wait_for("nobody's", timeout=0.001)


async def wait_for_what_may_be_late(doing: Doing, key: str) -> None:
    await doing.wait_for(doing.ask(key), timeout=doing.soon() + 0.0001)


async def give_up_waiting(doing: Doing, key: str) -> None:
    """A cancelled wait goes on without a worker, so whoever is there then is not counted."""
    doing.presence.leave()
    asked = doing.ask(key) if doing.rng.random() < 0.5 else "nobody's"
    with anyio.move_on_after(doing.soon()):
        await doing.ctx.wait_for_event(Answer, requirements={"key": asked})
    doing.presence.inside += 1


async def wait_in_children(doing: Doing, key: str) -> None:
    async with anyio.create_task_group() as tasks:
        for name in "ab":
            requirements = {"key": doing.ask(key + name)}
            tasks.start_soon(partial(doing.ctx.wait_for_event, Answer, requirements=requirements))


async def send_with_back_pressure(doing: Doing, key: str) -> None:
    await doing.ctx.send(Note())


async def edit_state(doing: Doing, key: str) -> None:
    async with doing.ctx.store.edit_state() as state:
        await checkpoint()
        state["count"] = state.get("count", 0) + 1


Act = Callable[[Doing, str], Awaitable[None]]
ORDERLY: list[Act] = [
    suspend,
    wait,
    wait_in_vain,
    wait_for_what_may_be_late,
    wait_in_children,
    send_with_back_pressure,
    edit_state,
]


class AtRandom(Workflow):
    def __init__(self, seed: int, acts: list[Act]) -> None:
        self.rng = rng = random.Random(seed)
        self.count = rng.randrange(5, 40)
        self.plans = [[rng.choice(acts) for _ in range(rng.randrange(5))] for _ in range(self.count)]
        self.presence = Presence()
        self.begun: list[int] = []
        self.done: list[int] = []
        super().__init__()

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Job | None:
        for number in range(self.count):
            if self.rng.random() < 0.3:
                await ctx.send(Job(number=number))
            else:
                ctx.send_event(Job(number=number))
        return None

    async def execute(self, ctx: Context, ev: Job) -> Done:
        self.begun.append(ev.number)
        self.presence.enter()
        for index, act in enumerate(self.plans[ev.number]):
            await act(Doing(ctx, self.presence, self.rng), f"{ev.number}.{index}")
        self.presence.leave()
        return Done(number=ev.number)

    @step
    async def reply(self, ev: Question) -> Answer:
        if self.rng.random() < 0.5:
            await checkpoint()
        return Answer(key=ev.key)

    @step(num_workers=1, max_pending=2)
    async def note(self, ev: Note) -> None:
        if self.rng.random() < 0.5:
            await checkpoint()

    @step
    async def end(self, ctx: Context, ev: Done) -> StopEvent | None:
        self.done.append(ev.number)
        return StopEvent() if len(self.done) == self.count else None


def at_random(seed: int, acts: list[Act]) -> tuple[AtRandom, int, anyio.CapacityLimiter | None]:
    """Return a workflow, the number of workers of its main step, and the limiter that this shares, if any."""
    rng = random.Random(-seed - 1)
    num_workers = rng.randrange(1, 4)
    limiter = anyio.CapacityLimiter(rng.randrange(1, 3)) if rng.random() < 0.4 else None
    options = {"num_workers": num_workers, "limiter": limiter, "max_pending": rng.randrange(1, 4)}

    class Working(AtRandom):
        @step(waits_for=Answer, **options)  # type: ignore[call-overload, untyped-decorator]  # drawn options
        async def work(self, ctx: Context, ev: Job) -> Done | Question | Note:
            return await self.execute(ctx, ev)

    return Working(seed, acts), num_workers, limiter


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("acts", [ORDERLY, [*ORDERLY, give_up_waiting], [wait, give_up_waiting]], ids=len)
async def test_s_work_1_any_mixture_ends_in_order_within_its_limits_and_gives_everything_back(
    seed: int, acts: list[Act]
) -> None:
    """No delivery is lost or overtaken, no worker too many works, no token stays behind."""
    workflow, num_workers, limiter = at_random(seed, acts)
    with anyio.fail_after(5):
        async with workflow.run() as handler:
            await handler
    assert workflow.begun == list(range(workflow.count))
    assert sorted(workflow.done) == list(range(workflow.count))
    if give_up_waiting not in acts:
        assert workflow.presence.most <= num_workers
    assert handler.limiter("work").borrowed_tokens == 0
    if limiter is not None:
        assert limiter.borrowed_tokens == limiter.statistics().tasks_waiting == 0
