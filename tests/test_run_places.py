"""S-RUN-2: ``num_concurrent_runs``: first come, first served."""

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from running import Calling, Echo, Held, Work, events_of

from anyio_workflows import (
    Context,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowHandler,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
    step,
)


class Turns(Workflow):
    """Each run notes its number when it begins and waits for its own gate."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.begun: list[int] = []
        self.present = 0
        self.most = 0
        self.gates = [anyio.Event() for _ in range(10)]

    @step
    async def take_turn(self, ev: StartEvent) -> StopEvent:
        self.begun.append(ev.number)
        self.present += 1
        self.most = max(self.most, self.present)
        try:
            await self.gates[ev.number].wait()
        finally:
            self.present -= 1
        return StopEvent(result=ev.number)


async def _await(handler: WorkflowHandler) -> None:
    await handler


async def _settle() -> None:
    for _ in range(6):
        await checkpoint()


async def test_s_run_2_never_more_runs_at_once_than_num_concurrent_runs() -> None:
    flow = Turns(num_concurrent_runs=3)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(_await, flow.run(number=number))
            await _settle()
            assert len(flow.begun) == 3
            for gate in flow.gates:
                gate.set()
    assert flow.most == 3
    assert sorted(flow.begun) == list(range(10))


async def test_s_run_2_runs_get_their_places_first_come_first_served() -> None:
    """Who is let in is decided by who came, not by whom the backend wakes first."""
    flow = Turns(num_concurrent_runs=1)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(_await, flow.run(number=number))
                await _settle()  # trio begins tasks in random order
            for number in range(10):
                await _settle()
                assert flow.begun == list(range(number + 1))
                flow.gates[number].set()


async def test_s_run_2_runs_entered_in_one_pass_get_their_places_in_that_order() -> None:
    """Who has entered first came first, whichever task the backend begins first."""
    for _ in range(5):
        flow = Turns(num_concurrent_runs=1)
        for gate in flow.gates:
            gate.set()
        with anyio.fail_after(5):
            async with flow.run(number=0), flow.run(number=1), flow.run(number=2):
                pass
        assert flow.begun == [0, 1, 2]


async def test_s_run_2_a_run_that_comes_when_a_place_was_just_freed_does_not_jump_the_line() -> None:
    flow = Turns(num_concurrent_runs=1)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for number in (0, 1):
                tasks.start_soon(_await, flow.run(number=number))
                await _settle()
            first = flow.run(number=2)
            flow.gates[0].set()
            flow.gates[2].set()
            tasks.start_soon(_await, first)
            await _settle()
            assert flow.begun == [0, 1]
            flow.gates[1].set()
    assert flow.begun == [0, 1, 2]


async def test_s_run_2_waiting_in_line_does_not_count_against_the_timeout() -> None:
    """The timeout is what the run may take, not what others take."""
    flow = Turns(num_concurrent_runs=1)
    with anyio.fail_after(5):
        async with flow.run(number=0) as first:
            await _settle()
            async with flow.run(number=1, timeout=0.05) as second:
                await anyio.sleep(0.1)
                assert not second.is_done()
                flow.gates[0].set()
                flow.gates[1].set()
                assert await second == 1
    assert await first == 0


async def test_s_run_2_once_it_has_its_place_the_timeout_counts() -> None:
    flow = Turns(num_concurrent_runs=1)
    with anyio.fail_after(5), pytest.raises(WorkflowTimeoutError):
        async with flow.run(number=0), flow.run(number=1, timeout=0.02) as second:
            await _settle()
            flow.gates[0].set()
            await second


async def test_s_run_2_a_run_cancelled_in_line_takes_no_place() -> None:
    flow = Turns(num_concurrent_runs=1)
    with anyio.fail_after(5):
        async with flow.run(number=0):
            await _settle()
            async with flow.run(number=1) as second:
                await _settle()
                await second.cancel_run()
            with anyio.move_on_after(0.01) as scope:
                await flow.run(number=2)
            assert scope.cancelled_caught
            flow.gates[0].set()
        flow.gates[3].set()
        assert await flow.run(number=3) == 3
    assert flow.begun == [0, 3]
    with pytest.raises(WorkflowCancelledByUser):
        await second


async def test_s_run_2_a_place_is_given_back_however_the_run_ends() -> None:
    async def body(ctx: Context) -> object:
        raise ValueError("no")

    flow = Calling(body, num_concurrent_runs=1)
    for _ in range(3):
        with pytest.raises(ValueError), anyio.fail_after(5):
            await flow.run()
    held = Held(num_concurrent_runs=1)
    for _ in range(3):
        with anyio.fail_after(5), pytest.raises(WorkflowTimeoutError):
            await held.run(timeout=0.01)
    with anyio.fail_after(5):
        async with held.run() as handler:
            await handler.cancel_run()
        held.gate.set()
        assert await held.run() == "let go"


async def test_s_run_2_a_place_is_held_until_the_clean_ups_have_run() -> None:
    """What a limit protects is in use until then."""
    present = 0

    async def body(ctx: Context) -> str:
        nonlocal present
        present += 1
        assert present == 1
        begun.set()
        try:
            if not gate.is_set():
                await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await _settle()
            present -= 1
        return "done"

    begun, gate = anyio.Event(), anyio.Event()
    flow = Calling(body, num_concurrent_runs=1)
    with anyio.fail_after(5):
        async with flow.run() as first:
            await begun.wait()
            async with flow.run() as second:
                gate.set()
                await first.cancel_run()
                assert await second == "done"


async def test_s_run_2_each_instance_has_its_own_limit() -> None:
    first, second = Turns(num_concurrent_runs=1), Turns(num_concurrent_runs=1)
    with anyio.fail_after(5):
        async with first.run(number=0), second.run(number=0):
            await _settle()
            assert first.begun == second.begun == [0]
            first.gates[0].set()
            second.gates[0].set()


async def test_s_run_2_an_event_sent_to_a_run_in_line_is_kept_for_it() -> None:
    class Flow(Workflow):
        @step(num_workers=1)
        async def note(self, ev: StartEvent | Work) -> StopEvent | None:
            seen.append(type(ev).__name__)
            return StopEvent() if isinstance(ev, Work) else None

    seen: list[str] = []
    flow = Flow(num_concurrent_runs=1, skip_graph_checks=["reachability"])
    with anyio.fail_after(5):
        async with flow.run() as first:
            await _settle()
            async with flow.run() as second:
                second.send_event(Work())
                await _settle()
                assert seen == ["StartEvent"]
                first.send_event(Work())
                await second
    assert seen == ["StartEvent", "Work", "StartEvent", "Work"]


async def test_s_run_2_a_run_in_line_is_never_called_stalled() -> None:
    """Its body may be parked in it all the while: it waits for another run, which will end."""
    flow = Turns(num_concurrent_runs=1)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks, flow.run(number=0), flow.run(number=1) as second:

            async def release() -> None:
                await _settle()
                flow.gates[0].set()
                flow.gates[1].set()

            tasks.start_soon(release)
            assert await events_of(second) == [StopEvent(result=1)]


# --- one's own ancestors


async def test_s_run_2_waiting_for_a_place_that_only_ones_own_ancestor_holds_is_an_error_at_once() -> None:
    """The outer run waits for the inner, the inner for the outer's place."""

    async def body(ctx: Context) -> object:
        return await flow.run()

    flow = Calling(body, num_concurrent_runs=1)
    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError) as caught:
        await flow.run()
    assert "num_concurrent_runs of Calling allows 1 runs at once" in str(caught.value)
    assert "raise the limit" in str(caught.value)


async def test_s_run_2_ancestors_are_found_through_runs_of_other_workflows_and_bodies() -> None:
    async def body(ctx: Context) -> None:
        await middle.run()

    async def between(ctx: Context) -> None:
        async with flow.run() as handler:
            await handler

    flow = Calling(body, num_concurrent_runs=1)
    middle = Calling(between)
    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError, match="allows 1 runs"):
        await flow.run()


async def test_s_run_2_with_a_limit_of_two_two_generations_fit_and_a_third_is_an_error() -> None:
    depth = 0

    async def body(ctx: Context) -> int:
        nonlocal depth
        depth += 1
        if depth == 3:
            return 0
        try:
            return 1 + int(await flow.run())
        except WorkflowRuntimeError:
            return 100

    flow = Calling(body, num_concurrent_runs=2)
    with anyio.fail_after(5):
        assert await flow.run() == 101


async def test_s_run_2_a_place_that_a_stranger_holds_too_is_waited_for() -> None:
    """The stranger will end; that only takes time."""
    stranger_begun, stranger_gate = anyio.Event(), anyio.Event()

    async def body(ctx: Context) -> object:
        role = roles.pop(0)
        if role == "stranger":
            stranger_begun.set()
            await stranger_gate.wait()
        elif role == "outer":
            return await flow.run()
        return role

    roles = ["stranger", "outer", "inner"]
    flow = Calling(body, num_concurrent_runs=2)
    with anyio.fail_after(5):
        async with flow.run():
            await stranger_begun.wait()
            async with flow.run() as outer:
                await _settle()
                assert not outer.is_done()
                stranger_gate.set()
                assert await outer == "inner"


async def test_s_run_2_runs_that_hold_all_places_and_wait_for_more_are_an_error_never_a_hang() -> None:
    """Each of two outer runs waits for an inner one, which waits for the place of either."""
    begun = 0

    async def body(ctx: Context) -> object:
        nonlocal begun
        begun += 1
        if begun == 2:
            both_begun.set()
        if begun > 2:
            return "inner"
        await both_begun.wait()
        try:
            return await flow.run()
        except WorkflowRuntimeError:
            return "refused"

    both_begun = anyio.Event()
    flow = Calling(body, num_concurrent_runs=2)
    with anyio.fail_after(2):
        async with flow.run() as first, flow.run() as second:
            results = [await first, await second]
    # The one that comes last is refused; its outer run ends, and the other goes on in its place.
    assert sorted(map(str, results)) == ["inner", "refused"]


async def test_s_run_2_a_workflow_without_limit_nests_as_deep_as_it_likes() -> None:
    assert await Echo(num_concurrent_runs=None).run(value=1) == 1
