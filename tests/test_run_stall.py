"""S-RUN-4: a run that can no longer go on is stalled, at once, and says what it was left with."""

from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint
from running import Calling, Passes, Work, events_of

from anyio_workflows import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    RunGroup,
    StallReport,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowError,
    WorkflowFailedEvent,
    WorkflowHandler,
    WorkflowIdleEvent,
    WorkflowStalledError,
    step,
)


class ResultEvent(Event):
    number: int = 0


class OtherEvent(Event):
    number: int = 0


class Loose(Event):
    """No step accepts it."""


class Combining(Workflow):
    """Collects three results, of which it gets as many as it was started with."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Work | None:
        for number in range(ev.count):
            ctx.send_event(Work(number=number))
        return None

    @step
    async def work(self, ev: Work) -> ResultEvent:
        return ResultEvent(number=ev.number)

    @step
    async def combine(self, ctx: Context, ev: ResultEvent) -> StopEvent | None:
        results = ctx.collect_events(ev, [ResultEvent] * 3)
        return None if results is None else StopEvent(result=len(results))


async def _stall_of(handler: WorkflowHandler) -> WorkflowStalledError:
    with anyio.fail_after(5), pytest.raises(WorkflowStalledError) as caught:
        await handler
    return caught.value


def _report(error: WorkflowStalledError) -> StallReport:
    assert isinstance(error.report, StallReport)
    return error.report


# --- what it says


async def test_s_run_4_a_collection_that_only_gets_2_of_3_is_named() -> None:
    """The commonest silent hang of its kind: the message is the feature."""
    error = await _stall_of(Combining().run(count=2))
    assert str(error) == (
        "Combining can no longer go on and has not produced a StopEvent\n  step 'combine' has 2 of 3 ResultEvent"
    )
    assert error.workflow == "Combining"
    assert error.report == StallReport(collections=("step 'combine' has 2 of 3 ResultEvent",))
    assert isinstance(error, WorkflowError)
    assert not isinstance(error, TimeoutError)


async def test_s_run_4_enough_results_are_no_stall() -> None:
    assert await Combining().run(count=3) == 3


async def test_s_run_4_a_surplus_that_waits_for_its_next_batch_is_named() -> None:
    """Four of three: one batch is given, but here nothing comes of it."""

    class Flow(Combining):
        @step
        async def combine(self, ctx: Context, ev: ResultEvent) -> StopEvent | None:
            ctx.collect_events(ev, [ResultEvent] * 3)
            return None

    error = await _stall_of(Flow().run(count=4))
    assert _report(error).collections == ("step 'combine' has 1 of 3 ResultEvent",)


async def test_s_run_4_every_half_full_collection_is_named_with_types_and_buffer() -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> ResultEvent | OtherEvent | None:
            ctx.send_event(ResultEvent())
            ctx.send_event(OtherEvent())
            return None

        @step
        async def pair(self, ctx: Context, ev: ResultEvent) -> StopEvent | None:
            return StopEvent() if ctx.collect_events(ev, [ResultEvent, OtherEvent]) else None

        @step
        async def named(self, ctx: Context, ev: OtherEvent) -> StopEvent | None:
            return StopEvent() if ctx.collect_events(ev, [OtherEvent] * 2, buffer_id="mine") else None

    error = await _stall_of(Flow().run())
    assert len(_report(error).collections) == 2
    pair, named = _report(error).collections
    assert pair.startswith("step 'pair' has 1 of 1 ResultEvent and 0 of 1 OtherEvent")
    assert named == "step 'named' has 1 of 2 OtherEvent in buffer 'mine'"


async def test_s_run_4_steps_that_have_all_returned_are_a_stall() -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent | None:
            return None

    error = await _stall_of(Flow().run())
    assert _report(error) == StallReport()
    assert "every step has returned and no event is left" in str(error)
    assert "StopEvent" in str(error)


async def test_s_run_4_an_event_that_nothing_accepts_is_named() -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
            ctx.send_event(Loose())
            return None

    error = await _stall_of(Flow().run())
    assert _report(error).unconsumed == ("nothing accepts Loose()",)
    assert "nothing accepts Loose()" in str(error)


async def test_s_run_4_a_long_report_is_cut_and_says_so() -> None:
    """A fan-out of 10,000 must not print 10,000 lines."""

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
            for _ in range(10_000):
                ctx.send_event(Loose())
            return None

    error = await _stall_of(Flow().run())
    assert str(error).count("\n") <= 25
    assert "further events" in str(error) or "more like these" in str(error)


async def test_s_run_4_the_stall_is_the_failure_of_the_run() -> None:
    """Same object each time; first on failures, last on the stream, of no step."""
    handler = Combining().run(count=2)
    error = await _stall_of(handler)
    assert await _stall_of(handler) is error
    assert handler.failures == (error,)
    (last,) = await events_of(handler)
    assert isinstance(last, WorkflowFailedEvent)
    assert (last.step_name, last.exception) == (None, error)


async def test_s_run_4_a_stall_comes_in_the_pass_that_made_it_so() -> None:
    """Never after a timeout, never by polling."""
    passes = Passes()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(passes.tick)
            await checkpoint()
            before = passes.count
            await _stall_of(Combining().run(count=2, timeout=4))
            passes.is_over = True
    assert passes.count - before <= 8


# --- blocked in the run


async def test_s_run_4_a_sender_that_blocks_itself_is_a_stall_that_names_it() -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Work:
            return Work(number=0)

        @step(num_workers=1, max_pending=1)
        async def work(self, ctx: Context, ev: Work) -> Work | StopEvent:
            await ctx.send(Work(number=ev.number + 1))
            return StopEvent()

    error = await _stall_of(Flow().run())
    (line,) = _report(error).pending
    assert "Work(number=0) is pending at step 'work'" in line
    assert "ctx.send to step 'work'" in line


async def test_s_run_4_senders_that_block_each_other_are_a_stall_that_names_all() -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Work | OtherEvent | None:
            ctx.send_event(Work())
            ctx.send_event(OtherEvent())
            return None

        @step(num_workers=1, max_pending=1)
        async def there(self, ctx: Context, ev: Work) -> OtherEvent | StopEvent:
            await ctx.send(OtherEvent(number=1))
            return StopEvent()

        @step(num_workers=1, max_pending=1)
        async def back(self, ctx: Context, ev: OtherEvent) -> Work | None:
            await ctx.send(Work(number=1))
            return None

    error = await _stall_of(Flow().run())
    assert len(_report(error).pending) == 2
    assert "blocked in ctx.send to step 'back'" in str(error)
    assert "blocked in ctx.send to step 'there'" in str(error)


async def test_s_run_4_a_deadlock_over_edit_state_is_a_stall_that_names_both_sides() -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Work | StopEvent:
            async with ctx.store.edit_state() as state:
                state["n"] = 1
                for number in range(3):
                    await ctx.send(Work(number=number))
            return StopEvent()

        @step(num_workers=1, max_pending=2)
        async def work(self, ctx: Context, ev: Work) -> None:
            await ctx.store.set("n", ev.number)

    error = await _stall_of(Flow().run())
    assert "blocked in the line for edit_state" in str(error)
    assert "blocked in ctx.send to step 'work'" in str(error)
    assert "Work(number=1) is pending at step 'work' (in line)" in str(error)


async def test_s_run_4_a_stalled_run_cancels_its_blocked_steps_whose_clean_ups_run() -> None:
    log: list[str] = []

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Work:
            return Work()

        @step(num_workers=1, max_pending=1)
        async def work(self, ctx: Context, ev: Work) -> Work | StopEvent:
            try:
                await ctx.send(Work())
            finally:
                log.append("cleaned up")
            return StopEvent()

    await _stall_of(Flow().run())
    assert log == ["cleaned up"]


async def test_s_run_4_a_deadlock_over_a_shared_limiter_within_the_run_is_a_stall() -> None:
    """Nobody else holds a token: it can never come free."""
    limiter = anyio.CapacityLimiter(1)

    class Flow(Workflow):
        @step(limiter=limiter)
        async def begin(self, ctx: Context, ev: StartEvent) -> Work | StopEvent:
            await ctx.send(Work(number=0))
            await ctx.send(Work(number=1))
            return StopEvent()

        @step(num_workers=1, max_pending=1, limiter=limiter)
        async def work(self, ev: Work) -> None: ...

    error = await _stall_of(Flow().run())
    assert "blocked in ctx.send to step 'work'" in str(error)
    assert limiter.borrowed_tokens == 0


@pytest.mark.parametrize("bound", ["run", "step", "caller"])
async def test_s_run_4_the_timeouts_of_run_and_steps_and_caller_are_no_reason_to_wait(bound: str) -> None:
    """They would only make the hang a timeout, without saying why."""

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Work:
            return Work()

        @step(num_workers=1, max_pending=1, timeout=60 if bound == "step" else None)
        async def work(self, ctx: Context, ev: Work) -> Work | StopEvent:
            await ctx.send(Work())
            return StopEvent()

    passes = Passes()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(passes.tick)
            with anyio.move_on_after(60 if bound == "caller" else None):
                await _stall_of(Flow().run(timeout=60 if bound == "run" else None))
            passes.is_over = True
    assert passes.count <= 12


async def test_s_run_4_a_deadline_that_never_comes_is_no_reason_to_wait() -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Work:
            return Work()

        @step(num_workers=1, max_pending=1)
        async def work(self, ctx: Context, ev: Work) -> Work | StopEvent:
            with anyio.CancelScope():
                await ctx.send(Work())
            return StopEvent()

    await _stall_of(Flow().run())


# --- not stalled


async def test_s_run_4_a_deadline_of_the_steps_own_is_a_reason_to_wait() -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Work:
            return Work()

        @step(num_workers=1, max_pending=1)
        async def work(self, ctx: Context, ev: Work) -> Work | StopEvent:
            with anyio.move_on_after(0.02) as scope:
                await ctx.send(Work())
            return StopEvent(result=scope.cancelled_caught)

    with anyio.fail_after(5):
        assert await Flow().run() is True


async def test_s_run_4_what_a_step_waits_for_by_its_own_means_is_no_stall() -> None:
    """An event of its own, a child task, a thread: the run does not see them, and waits."""
    gate = anyio.Event()

    async def own_event(ctx: Context) -> None:
        await gate.wait()

    async def child_task(ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.wait)

    async def thread(ctx: Context) -> None:
        await anyio.to_thread.run_sync(lambda: None)

    async def another_run(ctx: Context) -> None:
        await Calling(own_event).run()

    for body in (own_event, child_task, thread, another_run):
        gate = anyio.Event()
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                handler = Calling(body).run()
                tasks.start_soon(_await, handler)
                for _ in range(10):
                    await checkpoint()
                gate.set()
        assert await handler is None


async def _await(handler: WorkflowHandler) -> None:
    await handler


async def test_s_run_4_a_plain_function_in_its_thread_is_no_stall() -> None:
    class Flow(Workflow):
        @step
        def begin(self, ev: StartEvent) -> Work:
            return Work()

        @step
        def end(self, ctx: Context, ev: Work) -> StopEvent:
            ctx.send_event(StopEvent(result="from a thread"))
            return StopEvent()

    with anyio.fail_after(5):
        assert await Flow().run() == "from a thread"


async def test_s_run_4_a_child_task_that_is_blocked_in_the_run_is_no_stall() -> None:
    """Its sibling may set it free, which the run cannot see."""
    gate = anyio.Event()

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Work:
            return Work()

        @step(num_workers=1, max_pending=1)
        async def work(self, ctx: Context, ev: Work) -> Work | StopEvent:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ctx.send, Work())
                await gate.wait()
                tasks.cancel_scope.cancel()
            return StopEvent(result="set free")

    handler = Flow().run()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_await, handler)
            for _ in range(10):
                await checkpoint()
            assert not handler.is_done()
            gate.set()
    assert await handler == "set free"


async def test_s_run_4_a_shared_limiter_that_another_run_holds_is_no_stall() -> None:
    limiter = anyio.CapacityLimiter(1)

    class Flow(Workflow):
        @step(limiter=limiter)
        async def begin(self, ev: StartEvent) -> StopEvent:
            begun.set()
            await gate.wait()
            return StopEvent(result="done")

    begun, gate = anyio.Event(), anyio.Event()
    flow = Flow()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            first = flow.run()
            tasks.start_soon(_await, first)
            await begun.wait()
            second = flow.run()
            tasks.start_soon(_await, second)
            for _ in range(10):
                await checkpoint()
            assert not second.is_done()
            gate.set()
    assert [await first, await second] == ["done", "done"]


@pytest.mark.parametrize("max_pending", [1, 2, 3])
async def test_s_run_4_who_is_woken_counts_as_running(max_pending: int) -> None:
    """Between the wake-up and the woken task's turn nobody runs: that must not look like a stall."""

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Work | None:
            for number in range(60):
                await ctx.send(Work(number=number))
            return None

        @step(num_workers=1, max_pending=max_pending)
        async def relay(self, ctx: Context, ev: Work) -> OtherEvent | None:
            if ev.number % 3 == 0:
                await checkpoint()
            await ctx.send(OtherEvent(number=ev.number))
            return None

        @step(num_workers=2, max_pending=max_pending)
        async def end(self, ctx: Context, ev: OtherEvent) -> StopEvent | None:
            async with ctx.store.edit_state() as state:
                state["n"] = state.get("n", 0) + 1
                if ev.number % 4 == 0:
                    await checkpoint()
            return StopEvent(result=ev.number) if await ctx.store.get("n") == 60 else None

    with anyio.fail_after(5):
        assert isinstance(await Flow().run(), int)


async def test_s_run_4_many_executions_in_line_for_edit_state_are_no_stall() -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Work | None:
            for number in range(30):
                ctx.send_event(Work(number=number))
            return None

        @step(num_workers=30)
        async def work(self, ctx: Context, ev: Work) -> StopEvent | None:
            async with ctx.store.edit_state() as state:
                count = state["n"] = state.get("n", 0) + 1
                await checkpoint()
            return StopEvent(result=count) if count == 30 else None

    with anyio.fail_after(5):
        assert await Flow().run() == 30


# --- waits and humans


class Asking(Workflow):
    """Publishes as many prompts as it was started with; ends with as many answers as `needs` says."""

    def __init__(self, needs: int, **options: Any) -> None:
        super().__init__(**options)
        self.needs = needs

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> InputRequiredEvent | None:
        for number in range(ev.prompts):
            ctx.send_event(InputRequiredEvent(prefix=str(number)))
        return None

    @step
    async def listen(self, ctx: Context, ev: HumanResponseEvent) -> StopEvent | None:
        answers = ctx.collect_events(ev, [HumanResponseEvent] * self.needs)
        return None if answers is None else StopEvent(result=[answer.get("text") for answer in answers])


async def _at_rest(handler: WorkflowHandler) -> StallReport:
    """Wait until the run says that it waits for the outside."""
    async for event in handler.stream_events(expose_internal=True):
        if isinstance(event, WorkflowIdleEvent):
            assert isinstance(event.report, StallReport)
            return event.report
    raise AssertionError("the stream has ended")


async def test_s_run_4_a_human_who_may_still_answer_is_a_reason_to_wait() -> None:
    """Though the body is parked in the handler: another task may send the answer."""
    handler = Asking(1).run(prompts=1)

    async def answers() -> None:
        report = await _at_rest(handler)
        assert report.is_waiting_for_human
        handler.send_event(HumanResponseEvent(text="yes"))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks, handler:
            tasks.start_soon(answers)
            assert await handler == ["yes"]


async def test_s_run_4_when_every_prompt_is_answered_there_is_no_human_to_wait_for() -> None:
    """Two answers are needed and one prompt was published: the second will never come."""
    handler = Asking(2).run(prompts=1)
    with anyio.fail_after(5), pytest.raises(WorkflowStalledError) as caught:
        async with handler:
            handler.send_event(HumanResponseEvent(text="one"))
    assert _report(caught.value).collections == ("step 'listen' has 1 of 2 HumanResponseEvent",)
    assert not _report(caught.value).is_waiting_for_human


async def test_s_run_4_prompts_are_counted_against_answers() -> None:
    handler = Asking(2).run(prompts=2)

    async def answers() -> None:
        for text in ("one", "two"):
            await _at_rest(handler)
            handler.send_event(HumanResponseEvent(text=text))
            await checkpoint()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks, handler:
            tasks.start_soon(answers)
            assert await handler == ["one", "two"]


async def test_s_run_4_a_graph_that_takes_answers_and_publishes_no_prompt_waits() -> None:
    """The prompt is somewhere else, a form or a mail; the run cannot know, so it waits."""

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> None: ...

        @step
        async def listen(self, ev: HumanResponseEvent) -> StopEvent:
            return StopEvent(result=ev.text)

    handler = Flow().run()

    async def answers() -> None:
        assert (await _at_rest(handler)).is_waiting_for_human
        handler.send_event(HumanResponseEvent(text="by mail"))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks, handler:
            tasks.start_soon(answers)
            assert await handler == "by mail"


async def test_s_run_4_a_wait_for_event_is_a_reason_to_wait() -> None:
    async def waits(ctx: Context) -> int:
        return (await ctx.wait_for_event(OtherEvent, requirements={"number": 3})).number

    handler = Calling(waits).run()

    async def sends() -> None:
        report = await _at_rest(handler)
        assert report.waits == ("step 'call' waits for OtherEvent (number=3)",)
        handler.send_event(OtherEvent(number=3))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks, handler:
            tasks.start_soon(sends)
            assert await handler == 3


async def test_s_run_4_when_the_last_wait_has_timed_out_the_rest_is_a_stall() -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
            with pytest.raises(TimeoutError):
                await ctx.wait_for_event(OtherEvent, timeout=0.02)
            return None

    error = await _stall_of(Flow().run())
    assert _report(error).waits == ()


async def test_s_run_4_answers_that_nobody_asked_for_are_named() -> None:
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
            await ctx.wait_for_event(HumanResponseEvent, requirements={"to": "me"})
            return None

    handler = Flow().run()
    with anyio.fail_after(5), pytest.raises(WorkflowStalledError) as caught:
        async with handler:
            handler.send_event(HumanResponseEvent(to="you"))
            handler.send_event(HumanResponseEvent(to="me"))
    assert _report(caught.value).unconsumed == ("nothing has asked for HumanResponseEvent(to='you')",)


async def test_s_run_4_any_other_event_from_outside_is_never_waited_for() -> None:
    """It might be sent, by anyone, at any time: waiting for that would be a silent hang."""

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> None: ...

        @step(skip_graph_checks=["reachability"])
        async def listen(self, ev: OtherEvent) -> StopEvent:
            return StopEvent()

    await _stall_of(Flow(skip_graph_checks=["reachability", "dead_end"]).run())


# --- where there is no body


async def test_s_run_4_a_served_run_stalls_at_once() -> None:
    with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as tasks:
            await tasks.start(Combining().run(count=2).serve)
            await anyio.sleep_forever()
    assert isinstance(caught.value.exceptions[0], WorkflowStalledError)


async def test_s_run_4_a_detached_run_stalls_at_once() -> None:
    with anyio.fail_after(5):
        async with RunGroup() as runs:
            await _stall_of(runs.start(Combining(), count=2))


async def test_s_run_4_a_nested_run_that_stalls_raises_in_the_step_that_awaits_it() -> None:
    async def nests(ctx: Context) -> str:
        await _stall_of(Combining().run(count=1))
        return "handled"

    with anyio.fail_after(5):
        assert await Calling(nests).run() == "handled"
