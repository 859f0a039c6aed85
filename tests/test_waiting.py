"""S-WAIT: steps that ask a human, or wait in their middle for an event."""

from collections.abc import Awaitable, Callable
from itertools import chain
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from virtual_time import both_backends, run_virtually

from anyio_workflows import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    UnhandledEvent,
    Workflow,
    WorkflowHandler,
    WorkflowIdleEvent,
    WorkflowRuntimeError,
    WorkflowStalledError,
    step,
)


class Question(InputRequiredEvent):
    text: str


class Answer(HumanResponseEvent):
    number: int = 0
    by: str = "ada"


class PoliteAnswer(Answer):
    pass


class Signal(Event):
    number: int = 0


class Job(Event):
    number: int


Body = Callable[[Context, Job], Awaitable[Any]]


class Jobs(Workflow):
    """Runs the body of the test for each of *count* jobs; the result has what each of them gave, by number."""

    def __init__(self, body: Body, count: int = 1, **options: Any) -> None:
        self.body = body
        self.count = count
        self.done: dict[int, Any] = {}
        super().__init__(**options)

    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Job | None:
        for number in range(1, self.count + 1):
            ctx.send_event(Job(number=number))
        return None

    @step(num_workers=8, waits_for=[Answer, Signal])
    async def work(self, ctx: Context, ev: Job) -> StopEvent | None:
        return await self.run_body(ctx, ev)

    async def run_body(self, ctx: Context, ev: Job) -> StopEvent | None:
        self.done[ev.number] = await self.body(ctx, ev)
        return StopEvent(result=self.done) if len(self.done) == self.count else None


class OneWorker(Jobs):
    @step(num_workers=1, waits_for=[Answer, Signal])
    async def work(self, ctx: Context, ev: Job) -> StopEvent | None:
        return await self.run_body(ctx, ev)


async def idle(handler: WorkflowHandler) -> None:
    """Return when nothing runs and the run waits for the outside."""
    async for event in handler.stream_events(expose_internal=True):
        if isinstance(event, WorkflowIdleEvent):
            return
    raise AssertionError("the run ended")


async def answer_of(ctx: Context, ev: Job) -> Answer:
    return await ctx.wait_for_event(Answer)


# --- S-WAIT-1: from step to step


async def test_s_wait_1_a_question_goes_out_on_the_stream_and_the_answer_to_a_step() -> None:
    """Two steps with a human between them; more than one round."""

    class Dialogue(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> Question:
            return Question(text="first?")

        @step
        async def listen(self, ev: Answer) -> Question | StopEvent:
            return Question(text=f"after {ev.number}?") if ev.number < 2 else StopEvent(result=ev.by)

    heard: list[Event] = []
    with anyio.fail_after(5):
        async with Dialogue().run() as handler:
            async for event in handler.stream_events():
                heard.append(event)
                if isinstance(event, Question):
                    handler.send_event(Answer(number=len(heard), by="bob"))
            assert await handler == "bob"
    assert heard == [Question(text="first?"), Question(text="after 1?"), StopEvent(result="bob")]


# --- S-WAIT-2: in the middle of a step


async def test_s_wait_2_a_wait_suspends_the_live_step_which_goes_on_with_the_answer() -> None:
    """It is not run again from its top, and its local variables are still there."""
    begun: list[int] = []

    async def body(ctx: Context, ev: Job) -> str:
        begun.append(ev.number)
        local = object()
        before = id(local)
        answer = await ctx.wait_for_event(Answer, waiter_event=Question(text="why?"))
        assert id(local) == before
        return f"{answer.by} {answer.number}"

    with anyio.fail_after(5):
        async with Jobs(body).run() as handler:
            async for event in handler.stream_events():
                if event == Question(text="why?"):
                    handler.send_event(Answer(number=42))
            assert await handler == {1: "ada 42"}
    assert begun == [1]


async def test_s_wait_2_the_waiter_event_is_on_the_stream_before_the_wait_and_once() -> None:
    """Whatever kind of event it is; without one nothing is written."""

    async def body(ctx: Context, ev: Job) -> None:
        await ctx.wait_for_event(Answer, waiter_event=Signal(number=1))
        await ctx.wait_for_event(Answer)

    with anyio.fail_after(5):
        async with Jobs(body).run() as handler:
            await idle(handler)
            handler.send_event(Answer())
            handler.send_event(Answer())
            streamed = [event async for event in handler.stream_events()]
    assert streamed == [Signal(number=1), StopEvent(result={1: None})]


async def test_s_wait_2_two_waits_of_one_type_get_one_answer_each_the_oldest_first() -> None:
    """As people in a queue."""
    with anyio.fail_after(5):
        async with Jobs(answer_of, count=3).run() as handler:
            await idle(handler)
            for number in (10, 20, 30):
                handler.send_event(Answer(number=number))
            done = await handler
    assert {job: answer.number for job, answer in done.items()} == {1: 10, 2: 20, 3: 30}


async def test_s_wait_2_one_answer_wakes_one_wait() -> None:
    """The other goes on waiting."""
    done: list[int] = []

    async def body(ctx: Context, ev: Job) -> None:
        done.append((await ctx.wait_for_event(Answer)).number)

    with anyio.fail_after(5):
        async with Jobs(body, count=2).run() as handler:
            await idle(handler)
            handler.send_event(Answer(number=1))
            await anyio.wait_all_tasks_blocked()
            assert done == [1]
            handler.send_event(Answer(number=2))
    assert done == [1, 2]


async def test_s_wait_2_an_event_taken_by_a_wait_goes_to_no_step() -> None:
    """A step that accepts it gets it only when nobody waits; any kind of event, from steps or from outside."""
    delivered: list[Event] = []

    class Both(Jobs):
        @step(num_workers=1)
        async def take(self, ev: Answer | Signal) -> None:
            delivered.append(ev)

    async def body(ctx: Context, ev: Job) -> list[Event]:
        ctx.send_event(Signal(number=1))
        waited = [await ctx.wait_for_event(Signal), await ctx.wait_for_event(Answer)]
        await anyio.wait_all_tasks_blocked()
        return waited

    with anyio.fail_after(5):
        async with Both(body).run() as handler:
            await idle(handler)
            handler.send_event(Signal(number=2))
            handler.send_event(Answer(number=4))  # before the step goes on: nobody waits for it
            await anyio.wait_all_tasks_blocked()
            handler.send_event(Answer(number=5))
            done = await handler
    assert done == {1: [Signal(number=2), Answer(number=5)]}
    assert delivered == [Signal(number=1), Answer(number=4)]


async def test_s_wait_2_it_goes_by_exact_type() -> None:
    """A subclass answers only where the step accepts subclasses."""

    class Wide(Jobs):
        @step(waits_for=[Answer, Signal], accept_event_subclasses=True)
        async def work(self, ctx: Context, ev: Job) -> StopEvent | None:
            return await self.run_body(ctx, ev)

    with anyio.fail_after(5):
        async with Wide(answer_of).run() as handler:
            await idle(handler)
            handler.send_event(PoliteAnswer(number=1))
            assert await handler == {1: PoliteAnswer(number=1)}
        async with Jobs(answer_of).run() as handler:
            await idle(handler)
            handler.send_event(PoliteAnswer(number=1))
            handler.send_event(Answer(number=2))
            assert await handler == {1: Answer(number=2)}


async def test_s_wait_2_requirements_must_be_met_by_the_answer() -> None:
    """Each answer goes to the oldest wait that it fits; one that fits none is kept."""

    async def body(ctx: Context, ev: Job) -> Answer:
        answer = await ctx.wait_for_event(Answer, requirements={"number": ev.number, "by": "ada"})
        if ev.number == 2:
            assert await ctx.wait_for_event(Answer) == Answer(number=2, by="bob")
        return answer

    with anyio.fail_after(5):
        async with Jobs(body, count=2).run() as handler:
            await idle(handler)
            handler.send_event(Answer(number=2, by="bob"))
            handler.send_event(Answer(number=2))
            handler.send_event(Answer(number=1))
            assert await handler == {1: Answer(number=1), 2: Answer(number=2)}


async def test_s_wait_2_a_field_that_the_answer_lacks_meets_no_requirement() -> None:
    """Not even one of None; the open HumanResponseEvent has whatever fields it was given."""

    async def body(ctx: Context, ev: Job) -> HumanResponseEvent:
        return await ctx.wait_for_event(HumanResponseEvent, requirements={"colour": None})

    with anyio.fail_after(5):
        async with Jobs(body).run() as handler:
            await idle(handler)
            handler.send_event(HumanResponseEvent(size=1))
            handler.send_event(HumanResponseEvent(colour=None, size=2))
            assert (await handler)[1].size == 2


async def test_s_wait_2_answers_that_no_step_accepts_are_kept_for_a_later_wait() -> None:
    """The oldest that fits first; the others for whoever asks next."""

    async def body(ctx: Context, ev: Job) -> list[int]:
        await ctx.wait_for_event(Signal)
        third = await ctx.wait_for_event(Answer, requirements={"number": 3})
        return [third.number, *[(await ctx.wait_for_event(Answer)).number for _ in range(2)]]

    with anyio.fail_after(5):
        async with Jobs(body).run() as handler:
            for number in (1, 2, 3):
                handler.send_event(Answer(number=number))
            await idle(handler)
            handler.send_event(Signal())
            assert await handler == {1: [3, 1, 2]}


async def test_s_wait_2_an_answer_that_a_step_accepts_is_not_kept() -> None:
    """It went there; a later wait asks for a new one."""
    delivered: list[Event] = []

    class Both(Jobs):
        @step
        async def take(self, ev: Answer) -> None:
            delivered.append(ev)

    with anyio.fail_after(5):
        async with Both(answer_of).run() as handler:
            handler.send_event(Answer(number=1))
            await idle(handler)
            handler.send_event(Answer(number=2))
            assert await handler == {1: Answer(number=2)}
    assert delivered == [Answer(number=1)]


async def test_s_wait_2_an_event_that_is_no_human_response_is_not_kept() -> None:
    """Nobody waits for it and nobody accepts it: it is unhandled."""

    async def body(ctx: Context, ev: Job) -> Signal:
        ctx.send_event(Signal(number=1))
        return await ctx.wait_for_event(Signal)

    with anyio.fail_after(5):
        async with Jobs(body).run() as handler:
            await idle(handler)
            handler.send_event(Signal(number=2))
            assert await handler == {1: Signal(number=2)}
            internal = [event async for event in handler.stream_events(expose_internal=True)]
    assert [event.event_type for event in internal if isinstance(event, UnhandledEvent)] == ["Signal"]


async def test_s_wait_2_an_answer_that_nobody_has_asked_for_is_in_the_stall_report() -> None:
    """It was meant for somebody."""

    class Deaf(Workflow):
        @step
        async def start(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
            ctx.send_event(Answer(number=7))
            return None

    expected = r"nothing has asked for Answer\(number=7, by='ada'\)"
    with anyio.fail_after(5), pytest.raises(WorkflowStalledError, match=expected):
        await Deaf().run()


async def test_s_wait_2_a_waiter_id_is_unique_within_one_execution() -> None:
    """Across executions it may repeat: each is asked about by the delivery that it belongs to."""

    async def body(ctx: Context, ev: Job) -> list[int]:
        first = await ctx.wait_for_event(Answer, waiter_id="name")
        with pytest.raises(WorkflowRuntimeError, match=r"step 'work' waits twice with waiter_id='name'"):
            await ctx.wait_for_event(Answer, waiter_id="name")
        second = await ctx.wait_for_event(Answer, waiter_id="age")
        return [first.number, second.number]

    with anyio.fail_after(5):
        async with Jobs(body, count=2).run() as handler:
            for number in (1, 2, 3, 4):
                handler.send_event(Answer(number=number))
            assert sorted(chain(*(await handler).values())) == [1, 2, 3, 4]


@pytest.mark.parametrize("kind", [int, "Answer", Answer(), None])
async def test_s_wait_2_waiting_for_what_is_no_event_class_is_an_error(kind: Any) -> None:
    """An instance, for example; nothing was asked."""

    async def body(ctx: Context, ev: Job) -> None:
        with pytest.raises(WorkflowRuntimeError, match=r"step 'work' waits for .*, which is no event class"):
            await ctx.wait_for_event(kind, waiter_event=Question(text="why?"))

    with anyio.fail_after(5):
        async with Jobs(body).run() as handler:
            assert [event async for event in handler.stream_events()] == [StopEvent(result={1: None})]


async def test_s_wait_2_a_timeout_is_a_timeout_error_in_the_step() -> None:
    """Which says what was waited for; the step may go on, and an answer that comes later is for others."""

    async def body(ctx: Context, ev: Job) -> Answer:
        with pytest.raises(
            TimeoutError, match=r"'work' waits for Answer \(number=9\).* within 0\.01 seconds"
        ):
            await ctx.wait_for_event(Answer, requirements={"number": 9}, timeout=0.01)
        ctx.send_event(Answer(number=9))
        return await ctx.wait_for_event(Answer)

    with anyio.fail_after(5):
        assert await Jobs(body).run() == {1: Answer(number=9)}


async def test_s_wait_2_a_timeout_that_the_step_does_not_handle_fails_the_run() -> None:
    """Like any other exception."""

    async def body(ctx: Context, ev: Job) -> None:
        await ctx.wait_for_event(Answer, timeout=0.01)

    with anyio.fail_after(5), pytest.raises(TimeoutError, match="waits for Answer") as caught:
        await Jobs(body).run()
    assert "in step 'work' of Jobs" in caught.value.__notes__[0]


async def test_s_wait_2_an_answer_in_time_is_given_whatever_the_timeout() -> None:
    """A timeout that is never reached leaves nothing behind."""

    async def body(ctx: Context, ev: Job) -> Answer:
        answer = await ctx.wait_for_event(Answer, timeout=5)
        assert anyio.current_effective_deadline() == deadlines[0]
        return answer

    with anyio.fail_after(5):
        deadlines = [anyio.current_effective_deadline()]
        async with Jobs(body).run() as handler:
            await idle(handler)
            handler.send_event(Answer(number=1))
            assert await handler == {1: Answer(number=1)}


async def test_s_wait_2_an_answer_in_time_counts_though_its_worker_comes_late() -> None:
    """The seconds are for the human, not for the executions in between."""

    async def body(ctx: Context, ev: Job) -> Answer | None:
        if ev.number == 1:
            return await ctx.wait_for_event(Answer, timeout=0.05)
        ctx.send_event(Answer(number=1))
        with anyio.move_on_after(0.1):
            await anyio.Event().wait()
        return None

    with anyio.fail_after(5):
        assert await OneWorker(body, count=2).run() == {1: Answer(number=1), 2: None}


async def test_s_wait_2_a_cancelled_wait_is_closed_and_its_answer_goes_to_the_next() -> None:
    """By the step's own scope around it."""
    scope = anyio.CancelScope()

    async def body(ctx: Context, ev: Job) -> Answer | None:
        if ev.number == 2:
            return await ctx.wait_for_event(Answer)
        with scope:
            await ctx.wait_for_event(Answer)
        assert scope.cancelled_caught
        return None

    with anyio.fail_after(5):
        async with Jobs(body, count=2).run() as handler:
            await idle(handler)
            scope.cancel()
            await anyio.wait_all_tasks_blocked()
            handler.send_event(Answer(number=1))
            assert await handler == {1: None, 2: Answer(number=1)}


async def test_s_wait_2_an_answer_and_a_cancellation_in_one_pass_lose_no_answer() -> None:
    """Either the step has it, or the next wait gets it."""
    scope = anyio.CancelScope()

    async def body(ctx: Context, ev: Job) -> Answer:
        with scope:
            return await ctx.wait_for_event(Answer)
        return await ctx.wait_for_event(Answer)

    with anyio.fail_after(5):
        async with Jobs(body).run() as handler:
            await idle(handler)
            handler.send_event(Answer(number=1))
            scope.cancel()
            assert await handler == {1: Answer(number=1)}


async def test_s_wait_2_an_answered_wait_that_is_cancelled_in_the_line_for_a_worker_gives_its_answer_back() -> (
    None
):
    """It has its answer but not yet its worker."""
    scope = anyio.CancelScope()

    async def body(ctx: Context, ev: Job) -> Answer | None:
        if ev.number == 1:
            with scope:
                return await ctx.wait_for_event(Answer)
            return None
        await gate.wait()
        return await ctx.wait_for_event(Answer)

    gate = anyio.Event()
    with anyio.fail_after(5):
        async with OneWorker(body, count=2).run() as handler:
            await anyio.wait_all_tasks_blocked()
            handler.send_event(Answer(number=1))
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await anyio.wait_all_tasks_blocked()
            gate.set()
            assert await handler == {1: None, 2: Answer(number=1)}


@both_backends
def test_s_wait_2_an_answer_in_time_that_is_cancelled_after_its_time_is_given_back(backend: str) -> None:
    """Its time is over and no worker has been free since it was answered."""
    scopes: list[anyio.CancelScope] = []

    async def body(ctx: Context, ev: Job) -> Answer | None:
        if ev.number == 1:
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                return await ctx.wait_for_event(Answer, timeout=1)
            return None
        ctx.send_event(Answer(number=1))
        await anyio.sleep(2)
        scopes[0].cancel()
        await anyio.sleep(1)
        return await ctx.wait_for_event(Answer, timeout=1)

    async def main() -> None:
        with anyio.fail_after(60):
            assert await OneWorker(body, count=2).run() == {1: None, 2: Answer(number=1)}

    run_virtually(main, backend)


async def test_s_wait_2_child_tasks_of_a_step_may_wait_at_the_same_time() -> None:
    """Each gets an answer of its own."""

    async def body(ctx: Context, ev: Job) -> list[int]:
        numbers: list[int] = []

        async def child(name: str) -> None:
            numbers.append((await ctx.wait_for_event(Answer, requirements={"by": name})).number)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child, "ada")
            tasks.start_soon(child, "bob")
        return numbers

    with anyio.fail_after(5):
        async with Jobs(body).run() as handler:
            await anyio.wait_all_tasks_blocked()
            handler.send_event(Answer(number=1, by="bob"))
            await anyio.wait_all_tasks_blocked()
            handler.send_event(Answer(number=2, by="ada"))
            assert await handler == {1: [1, 2]}


# --- S-WAIT-3: workers


async def test_s_wait_3_a_waiting_step_holds_no_worker_token() -> None:
    """Any number of them wait at a step with one worker."""
    with anyio.fail_after(5):
        async with OneWorker(answer_of, count=5).run() as handler:
            await idle(handler)
            assert handler.limiter("work").statistics().borrowed_tokens == 0
            for number in range(5):
                handler.send_event(Answer(number=number))
            done = await handler
    assert [done[job].number for job in sorted(done)] == [0, 1, 2, 3, 4]


async def test_s_wait_3_a_waiting_step_holds_no_token_of_a_shared_limiter() -> None:
    """Nor does it keep other steps or runs from working; it gets one again before it goes on."""
    limiter = anyio.CapacityLimiter(1)

    class Sharing(Jobs):
        @step(num_workers=8, waits_for=[Answer, Signal], limiter=limiter)
        async def work(self, ctx: Context, ev: Job) -> StopEvent | None:
            return await self.run_body(ctx, ev)

    async def body(ctx: Context, ev: Job) -> int:
        assert limiter.borrowed_tokens == 1
        answer = await ctx.wait_for_event(Answer)
        assert limiter.borrowed_tokens == 1
        return answer.number

    with anyio.fail_after(5):
        async with Sharing(body, count=3).run() as handler:
            await idle(handler)
            assert limiter.borrowed_tokens == 0
            for number in range(3):
                handler.send_event(Answer(number=number))
            assert await handler == {1: 0, 2: 1, 3: 2}
    assert limiter.borrowed_tokens == 0


async def test_s_wait_3_a_resumed_wait_goes_before_queued_deliveries_and_not_beside_them() -> None:
    """Its turn is the next, when the execution in work has ended: one worker is one worker."""
    log: list[str] = []
    gate = anyio.Event()

    async def body(ctx: Context, ev: Job) -> None:
        log.append(f"{ev.number} begins")
        if ev.number == 1:
            await ctx.wait_for_event(Answer)
            log.append("1 goes on")
        if ev.number == 2:
            await gate.wait()
        log.append(f"{ev.number} ends")

    with anyio.fail_after(5):
        async with OneWorker(body, count=4).run() as handler:
            await anyio.wait_all_tasks_blocked()
            handler.send_event(Answer())
            await anyio.wait_all_tasks_blocked()
            assert log == ["1 begins", "2 begins"]
            gate.set()
    assert log[2:5] == ["2 ends", "1 goes on", "1 ends"]
    assert log[5:] == ["3 begins", "3 ends", "4 begins", "4 ends"]


async def test_s_wait_3_waits_that_are_answered_on_the_spot_do_not_exceed_num_workers() -> None:
    """Hundreds of waits and answers; a token given back is taken by another, and waited for again."""
    inside = 0
    most = 0

    class Answering(Jobs):
        @step(num_workers=2, waits_for=[Answer, Signal])
        async def work(self, ctx: Context, ev: Job) -> StopEvent | None:
            return await self.run_body(ctx, ev)

        @step
        async def reply(self, ev: Question) -> Answer:
            await checkpoint()
            return Answer(by=ev.text)

    async def body(ctx: Context, ev: Job) -> None:
        nonlocal inside, most
        for round_ in range(3):
            inside += 1
            most = max(most, inside)
            await checkpoint()
            inside -= 1
            name = f"{ev.number} {round_}"
            ctx.send_event(Question(text=name))
            await ctx.wait_for_event(Answer, requirements={"by": name})
        inside += 1
        most = max(most, inside)
        await checkpoint()
        inside -= 1

    with anyio.fail_after(10):
        await Answering(body, count=100, extra_events=[Question]).run()
    assert most == 2


async def test_s_wait_3_a_cancelled_wait_runs_its_clean_up_at_once() -> None:
    """Without a worker, if they are all busy: the others may be waiting for just that clean-up."""
    scope = anyio.CancelScope()
    cleaned_up = anyio.Event()

    async def body(ctx: Context, ev: Job) -> None:
        if ev.number == 1:
            with scope:
                try:
                    await ctx.wait_for_event(Answer)
                finally:
                    cleaned_up.set()
        else:
            scope.cancel()
            await cleaned_up.wait()

    with anyio.fail_after(5):
        assert await OneWorker(body, count=2).run() == {1: None, 2: None}


async def test_s_wait_3_a_step_whose_wait_was_cancelled_may_wait_again_without_a_worker() -> None:
    """It went on beside the one that has the worker; its next answer finds it all the same."""
    scope = anyio.CancelScope()
    gate = anyio.Event()

    async def body(ctx: Context, ev: Job) -> Answer | None:
        if ev.number == 2:
            await gate.wait()
            return None
        with scope:
            await ctx.wait_for_event(Answer)
        return await ctx.wait_for_event(Answer)

    with anyio.fail_after(5):
        async with OneWorker(body, count=2).run() as handler:
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await anyio.wait_all_tasks_blocked()
            handler.send_event(Answer(number=1))
            await anyio.wait_all_tasks_blocked()
            gate.set()
            assert await handler == {1: Answer(number=1), 2: None}
    assert handler.limiter("work").borrowed_tokens == 0


async def test_s_wait_3_a_second_wait_after_a_cancelled_one_holds_no_worker_token_either() -> None:
    """The worker that it stood in line for goes to the next delivery."""
    scope = anyio.CancelScope()
    gate = anyio.Event()
    begun: list[int] = []

    async def body(ctx: Context, ev: Job) -> Answer | None:
        begun.append(ev.number)
        if ev.number == 1:
            with scope:
                await ctx.wait_for_event(Answer)
            return await ctx.wait_for_event(Answer)
        await gate.wait()
        return None

    with anyio.fail_after(5):
        async with OneWorker(body, count=3).run() as handler:
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await anyio.wait_all_tasks_blocked()
            assert begun == [1, 2]
            gate.set()
            await anyio.wait_all_tasks_blocked()
            assert begun == [1, 2, 3]
            handler.send_event(Answer(number=1))
            assert await handler == {1: Answer(number=1), 2: None, 3: None}


async def test_s_wait_3_after_a_cancelled_wait_the_worker_is_there_for_the_next() -> None:
    """Whatever the cancelled step did in the line for it: ended, waited for something else, or waited again."""
    scopes = [anyio.CancelScope() for _ in range(3)]
    gate = anyio.Event()

    async def body(ctx: Context, ev: Job) -> None:
        if ev.number == 4:
            await gate.wait()
        if ev.number > 3:
            return
        with scopes[ev.number - 1]:
            await ctx.wait_for_event(Answer)
        if ev.number == 2:
            await checkpoint()
            ctx.send_event(Signal())
        if ev.number == 3:
            with anyio.move_on_after(0.01):
                await ctx.wait_for_event(Answer)

    with anyio.fail_after(5):
        async with OneWorker(body, count=20).run() as handler:
            await anyio.wait_all_tasks_blocked()
            for scope in scopes:
                scope.cancel()
            await anyio.wait_all_tasks_blocked()
            gate.set()
            assert len(await handler) == 20
    assert handler.limiter("work").borrowed_tokens == 0


async def test_s_wait_3_a_claim_on_a_worker_that_is_held_outside_keeps_nobody_from_beginning() -> None:
    """The cancelled step ends without ever getting one; the next delivery must not be forgotten."""
    scope = anyio.CancelScope()
    gate = anyio.Event()
    begun: list[int] = []

    async def body(ctx: Context, ev: Job) -> None:
        begun.append(ev.number)
        if ev.number == 1:
            with scope:
                await ctx.wait_for_event(Answer)
            await gate.wait()

    class Fed(OneWorker):
        @step
        async def start(self, ctx: Context, ev: StartEvent) -> Job | None:
            return Job(number=1)

    with anyio.fail_after(5):
        async with Fed(body, count=2).run() as handler:
            await anyio.wait_all_tasks_blocked()
            async with handler.limiter("work"):
                scope.cancel()
                await anyio.wait_all_tasks_blocked()
                handler.send_event(Job(number=2))
                await anyio.wait_all_tasks_blocked()
                assert begun == [1]
            gate.set()
            assert await handler == {1: None, 2: None}
