"""Steps that run in an executor: threads of the user's, and other processes."""

import gc
import multiprocessing
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ThreadPoolExecutor,
    process,
)
from contextvars import ContextVar
from pickle import PicklingError
from typing import Any

import anyio
import in_processes
import pytest
from anyio.lowlevel import checkpoint
from in_processes import AsMethod, Doing, Number, Odd, Squaring

from anyio_workflows import (
    Context,
    Event,
    EventFieldsError,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
    step,
)
from anyio_workflows._run import executors
from anyio_workflows._run._backend import door_for_threads


@pytest.fixture(scope="module", autouse=True)
def pools_shut_down() -> Iterator[None]:
    yield
    while in_processes.made:
        in_processes.made.pop().shutdown()


@pytest.fixture
def one_thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1, thread_name_prefix="ours") as pool:
        yield pool


submits_to_processes = pytest.mark.blocks_on_purpose
"""A pool of processes starts them, and wakes its thread through a pipe, in `submit`."""


class Busy:
    """Keeps an executor's thread until it is let go, and tells when it has begun."""

    def __init__(self) -> None:
        self.has_begun = threading.Event()
        self.gate = threading.Event()
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        self.has_begun.set()
        assert self.gate.wait(5)
        return "late"

    async def begun(self) -> None:
        # Not in a thread: that would be one more that might be waited for.
        while not self.has_begun.is_set():  # noqa: ASYNC110
            await checkpoint()


class Go(Event):
    number: int = 0


def calling(executor: object, call: Callable[[], object], **options: Any) -> Workflow:
    """Return a workflow that ends with what *call* gives in *executor*."""

    class Calling(Workflow):
        @step(executor=executor, **options)
        def work(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=call())

    return Calling()


# --- where a step runs


async def test_a_method_runs_in_the_threads_of_its_executor(one_thread: ThreadPoolExecutor) -> None:
    """And has its workflow there, since nothing has to follow it anywhere."""

    class Threaded(Workflow):
        greeting = "hello"

        @step(executor=one_thread)
        def work(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=(self.greeting, threading.current_thread().name))

    with anyio.fail_after(5):
        assert await Threaded().run() == ("hello", "ours_0")


@submits_to_processes
async def test_functions_run_in_other_processes_and_events_go_there_and_back() -> None:
    with anyio.fail_after(20):
        async with Squaring().run(value=12) as handler:
            *_, last = [event async for event in handler.stream_events()]
    squared, where = await handler
    assert squared == 144
    assert where <= set(in_processes.made[-1]._processes)
    assert isinstance(last, StopEvent)
    assert isinstance(last.given, Number)
    assert (last.given.value, {*last.given.seen_by} <= where) == (12, True)


async def test_a_call_keeps_no_thread_waiting(one_thread: ThreadPoolExecutor) -> None:
    before = set(threading.enumerate())
    seen: list[set[str]] = []

    class Many(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Go | None:
            for number in range(20):
                ctx.send_event(Go(number=number))
            return None

        @step(num_workers=20, executor=one_thread)
        def work(self, ev: Go) -> StopEvent | None:
            seen.append({thread.name for thread in set(threading.enumerate()) - before})
            return StopEvent() if ev.number == 19 else None

    with anyio.fail_after(5):
        await Many().run()
    assert len(seen) == 20
    # AnyIO's pytest plugin runs Trio as a guest, which waits for input in a thread of its own now and then.
    assert all(names >= {"ours_0"} and len(names) <= 2 for names in seen), seen


async def test_s_work_1_num_workers_bounds_what_an_executor_is_given() -> None:
    at_work = most = 0
    lock = threading.Lock()
    two_at_once = threading.Barrier(2)

    class Many(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Go | None:
            for number in range(6):
                ctx.send_event(Go(number=number))
            return None

        @step(num_workers=2, executor=lambda: ThreadPoolExecutor(6))
        def work(self, ev: Go) -> Number:
            nonlocal at_work, most
            with lock:
                at_work += 1
                most = max(most, at_work)
            two_at_once.wait(5)
            with lock:
                at_work -= 1
            two_at_once.wait(5)  # nobody begins before both have left
            return Number(value=ev.number)

        @step
        async def join(self, ctx: Context, ev: Number) -> StopEvent | None:
            return StopEvent() if ctx.collect_events(ev, {Number: 6}) is not None else None

    with anyio.fail_after(5):
        await Many().run()
    assert most == 2


async def test_context_variables_stay_in_the_event_loop(one_thread: ThreadPoolExecutor) -> None:
    """An executor's workers belong to nobody's context; a thread must not see more than a process would."""
    variable: ContextVar[str] = ContextVar("variable", default="nobody's")
    variable.set("the caller's")
    with anyio.fail_after(5):
        assert await calling(one_thread, variable.get).run() == "nobody's"


@submits_to_processes
async def test_a_step_in_an_executor_is_recorded_like_any_other() -> None:
    with anyio.fail_after(20):
        async with Squaring().run(value=3, checkpoints=True) as handler:
            assert (await handler)[0] == 9
            assert handler.checkpoint().pending == ()


# --- failures


@submits_to_processes
async def test_an_exception_comes_back_as_itself(one_thread: ThreadPoolExecutor) -> None:
    with anyio.fail_after(20):
        for flow in (calling(one_thread, in_processes.raise_odd), Doing()):
            with pytest.raises(Odd) as caught:
                await flow.run(call=in_processes.raise_odd)
            assert caught.value.number == 3
            assert any("attempt 1 at StartEvent(" in note for note in caught.value.__notes__)


@submits_to_processes
async def test_our_own_errors_come_back_from_another_process() -> None:
    """One that could be pickled but not unpickled would break the whole pool."""
    with anyio.fail_after(20), pytest.raises(EventFieldsError, match="'amount'") as caught:
        await Doing().run(call=in_processes.misspell)
    assert caught.value.missing == ("value",)


@submits_to_processes
async def test_an_event_that_cannot_be_pickled_is_a_clear_error() -> None:
    with anyio.fail_after(20), pytest.raises(WorkflowRuntimeError) as caught:
        await Doing().run(call=lambda: None)
    assert "step 'do' could not be sent to its executor" in str(caught.value)
    assert "events must have picklable values" in str(caught.value)
    assert isinstance(caught.value.__cause__, AttributeError | PicklingError)


@submits_to_processes
async def test_a_result_that_cannot_be_pickled_is_the_failure_of_its_execution() -> None:
    with anyio.fail_after(20), pytest.raises(TypeError, match="cannot pickle"):
        await Doing().run(call=in_processes.give_a_lock)


@pytest.mark.parametrize("error", [TypeError("mine"), AttributeError("mine"), ValueError("mine")])
async def test_an_error_of_the_functions_own_is_not_taken_for_one_of_pickling(
    error: Exception, one_thread: ThreadPoolExecutor
) -> None:
    """Although it could not be pickled either, in an executor that does so."""

    class Raising(Workflow): ...

    @step(workflow=Raising, executor=one_thread)
    def fail(ev: StartEvent) -> StopEvent:
        raise error

    with anyio.fail_after(5), pytest.raises(type(error)) as caught:
        await Raising().run()
    assert caught.value is error


@submits_to_processes
async def test_a_method_does_not_go_to_another_process() -> None:
    """It would work on a copy of its workflow, and what it changes there would be lost without a word."""
    with anyio.fail_after(20), pytest.raises(WorkflowRuntimeError, match="step 'work' is a method") as caught:
        await AsMethod().run()
    assert "@step(workflow=..., executor=...)" in str(caught.value)


async def test_an_executor_that_only_says_that_it_could_not_pickle_is_explained() -> None:
    """As loky's does, which has the reason in a text."""

    class Loky(ThreadPoolExecutor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_exception(PicklingError("Could not pickle the task to send it to the workers."))
            return future

    class AsFunction(Workflow): ...

    @step(workflow=AsFunction, executor=Loky)
    def work(ev: StartEvent) -> StopEvent: ...  # type: ignore[empty-body]

    for flow, message in (
        (AsFunction(), "could not be sent to its executor, which pickles it: .*work"),
        (calling(Loky, int), "step 'work' is a method"),
    ):
        with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError, match=message) as caught:
            await flow.run()
        assert isinstance(caught.value.__cause__, PicklingError)


@submits_to_processes
async def test_a_broken_pool_fails_its_execution_and_is_made_anew() -> None:
    with anyio.fail_after(20):
        with pytest.raises(process.BrokenProcessPool):
            await Doing().run(call=in_processes.die)
        broken = in_processes.made[-1]
        assert (await Squaring().run(value=2))[0] == 4  # another workflow that has the same function
    assert in_processes.made[-1] is not broken


async def test_a_pool_that_broke_before_the_call_is_made_anew_too() -> None:
    def fail() -> None:
        raise Odd(1)

    pools: list[ThreadPoolExecutor] = []

    def make() -> ThreadPoolExecutor:
        pools.append(ThreadPoolExecutor(1, initializer=fail if not pools else None))
        return pools[-1]

    flow = calling(make, int)
    with anyio.fail_after(5):
        with pytest.raises(BrokenExecutor):
            await flow.run()
        pools[0].shutdown()
        assert await flow.run() == 0
    assert len(pools) == 2
    pools[1].shutdown()
    with anyio.fail_after(5):
        with pytest.raises(RuntimeError, match="after shutdown"):
            await flow.run()
        assert await flow.run() == 0
    assert len(pools) == 3


async def test_one_that_hears_late_of_a_broken_pool_does_not_throw_away_the_new_one() -> None:
    class ByHand(Executor):
        def __init__(self) -> None:
            self.futures: list[Future[StopEvent]] = []
            pools.append(self)

        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            self.futures.append(Future())
            return self.futures[-1]

    pools: list[ByHand] = []
    flow = calling(ByHand, int)
    results: list[Any] = []

    async def run() -> None:
        try:
            results.append(await flow.run())
        except BrokenExecutor as error:
            results.append(type(error))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:

            async def one_more() -> None:
                tasks.start_soon(run)
                await anyio.wait_all_tasks_blocked()

            await one_more()
            await one_more()
            for number in range(2):
                pools[0].futures[number].set_exception(BrokenExecutor())
                while len(results) == number:
                    await checkpoint()
                await one_more()
            assert [len(pool.futures) for pool in pools] == [2, 2]
            for future in pools[1].futures:
                future.set_result(StopEvent(result="done"))
    assert results == [BrokenExecutor, BrokenExecutor, "done", "done"]


async def test_a_broken_executor_of_the_users_stays_broken() -> None:
    """It is theirs to replace."""

    def fail() -> None:
        raise Odd(1)

    with ThreadPoolExecutor(1, initializer=fail) as pool, anyio.fail_after(5):
        flow = calling(pool, int)
        for _ in range(2):
            with pytest.raises(BrokenExecutor):
                await flow.run()


async def test_an_executor_that_drops_a_call_says_so(one_thread: ThreadPoolExecutor) -> None:
    busy = Busy()
    one_thread.submit(busy)
    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError, match="cancelled the call before it began"):
        async with calling(one_thread, int).run():
            await anyio.wait_all_tasks_blocked()
            one_thread.shutdown(wait=False, cancel_futures=True)
            busy.gate.set()


async def test_an_executor_that_answers_at_once_will_do() -> None:
    class Immediate(Executor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_result(fn(*args, **kwargs))
            return future

    with anyio.fail_after(5):
        assert await calling(Immediate(), lambda: "done").run() == "done"


# --- shutting down, cancelling, time


@pytest.mark.blocks_on_purpose
async def test_shutting_down_in_the_event_loop_waits_for_the_call_and_gets_it() -> None:
    """A call that answered through `anyio.from_thread` would wait for the loop, and the loop for the call."""
    busy = Busy()
    pool = ThreadPoolExecutor(1)
    with anyio.fail_after(5):
        async with calling(pool, busy).run() as handler:
            await busy.begun()
            threading.Timer(0.05, busy.gate.set).start()
            pool.shutdown(wait=True)
            assert await handler == "late"


async def test_a_call_that_has_not_begun_is_taken_back(one_thread: ThreadPoolExecutor) -> None:
    busy, never_called = Busy(), Busy()
    one_thread.submit(busy)
    await busy.begun()
    handler = calling(one_thread, never_called).run()
    with anyio.fail_after(5):
        async with handler:
            await anyio.wait_all_tasks_blocked()
            await handler.cancel_run()
        assert handler.is_done()
    busy.gate.set()
    one_thread.shutdown()
    assert never_called.calls == 0


async def test_a_call_that_has_begun_is_waited_for(one_thread: ThreadPoolExecutor) -> None:
    busy = Busy()
    with anyio.fail_after(5):
        async with calling(one_thread, busy).run() as handler, anyio.create_task_group() as tasks:
            await busy.begun()
            tasks.start_soon(handler.cancel_run)
            await anyio.wait_all_tasks_blocked()
            assert not handler.is_done()
            busy.gate.set()
    assert handler.is_done()
    assert handler.failures == ()


async def test_what_a_call_raises_after_the_cancellation_is_kept(one_thread: ThreadPoolExecutor) -> None:
    busy = Busy()

    def fail() -> None:
        busy()
        raise Odd(5)

    with anyio.fail_after(5):
        async with calling(one_thread, fail).run() as handler, anyio.create_task_group() as tasks:
            await busy.begun()
            tasks.start_soon(handler.cancel_run)
            await anyio.wait_all_tasks_blocked()
            busy.gate.set()
    assert [type(error) for error in handler.failures] == [Odd]


async def test_a_run_that_is_cancelled_already_gives_nothing_to_an_executor(
    one_thread: ThreadPoolExecutor,
) -> None:
    busy = Busy()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await calling(one_thread, busy).run()
    assert busy.calls == 0


async def test_s_run_5_a_timeout_takes_back_a_call_that_has_not_begun(one_thread: ThreadPoolExecutor) -> None:
    busy, never_called = Busy(), Busy()
    one_thread.submit(busy)
    await busy.begun()
    with anyio.fail_after(5), pytest.raises(WorkflowTimeoutError, match="step 'work'"):
        await calling(one_thread, never_called, timeout=0.01).run()
    busy.gate.set()
    one_thread.shutdown()
    assert never_called.calls == 0


@pytest.mark.parametrize("where", ["an executor", "a thread"])
async def test_s_run_5_a_call_that_takes_longer_than_the_timeout_fails(
    where: str, one_thread: ThreadPoolExecutor
) -> None:
    """It cannot be interrupted; but what it gives then comes too late."""
    finished: list[bool] = []

    def dawdle() -> None:
        finished.append(threading.Event().wait(0.05))

    executor = one_thread if where == "an executor" else None
    with anyio.fail_after(5), pytest.raises(WorkflowTimeoutError, match="step 'work'"):
        await calling(executor, dawdle, timeout=0.01).run()
    assert finished == [False]


# --- executors that are made


async def test_one_executor_is_made_for_all_steps_and_workflows_that_have_the_same_function() -> None:
    pools: list[ThreadPoolExecutor] = []

    def make() -> ThreadPoolExecutor:
        pools.append(ThreadPoolExecutor(1))
        return pools[-1]

    def where() -> int:
        return threading.get_ident()

    flow, other = calling(make, where), calling(make, where)
    assert pools == []
    with anyio.fail_after(5):
        assert await flow.run() == await other.run() == await flow.run()
    assert len(pools) == 1


def test_an_executor_serves_one_event_loop_after_the_other() -> None:
    pools: list[ThreadPoolExecutor] = []

    def make() -> ThreadPoolExecutor:
        pools.append(ThreadPoolExecutor(1))
        return pools[-1]

    flow = calling(make, lambda: "done")

    async def main() -> Any:
        return await flow.run()

    for backend in ("asyncio", "trio", "asyncio"):
        assert anyio.run(main, backend=backend) == "done"
    assert len(pools) == 1


async def test_an_executor_that_was_made_goes_with_the_last_who_could_use_it() -> None:
    """Its threads end when it is collected, so that workflows made in passing leave none behind."""
    pools: list[weakref.ref[ThreadPoolExecutor]] = []
    threads: list[threading.Thread] = []

    def make() -> ThreadPoolExecutor:
        pool = ThreadPoolExecutor(1)
        pools.append(weakref.ref(pool))
        return pool

    with anyio.fail_after(5):
        await calling(make, lambda: threads.append(threading.current_thread())).run()
    assert pools[0]() is not None
    del make
    gc.collect()
    assert pools[0]() is None
    threads[0].join(5)
    assert not threads[0].is_alive()


async def test_a_function_that_makes_no_executor_is_the_failure_of_the_execution() -> None:
    given: list[Any] = [OSError("no memory"), None, ThreadPoolExecutor(1)]

    def make() -> Any:
        found = given.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    flow = calling(make, lambda: "done")
    with anyio.fail_after(5):
        with pytest.raises(OSError, match="no memory"):
            await flow.run()
        with pytest.raises(
            WorkflowRuntimeError, match="executor= of step 'work' is a function that gave None"
        ):
            await flow.run()
        assert await flow.run() == "done"


def test_a_forked_process_makes_executors_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads of the parent's are not there, and a call would wait for ever."""

    def make() -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1)

    parents = executors._executor_of(make, "work")
    assert executors._executor_of(make, "work") is parents
    monkeypatch.setattr("os.getpid", lambda: -1)
    own = executors._executor_of(make, "work")
    assert own is not parents
    del executors._made[-1]


def test_an_answer_that_comes_after_the_event_loop_has_ended_is_nobodys() -> None:
    async def start() -> tuple[Any, anyio.Event]:
        return door_for_threads(), anyio.Event()

    for backend in ("asyncio", "trio"):
        door, done = anyio.run(start, backend=backend)
        executors._tell(door, done, None)
        assert not done.is_set()


@pytest.fixture
def garbage() -> list[Any]:
    return [multiprocessing.get_context("spawn").Lock()]


async def test_the_locks_of_an_earlier_pool_may_be_collected_in_any_step(garbage: list[Any]) -> None:
    """The alarm for blocking calls is not for what the garbage collector runs there."""

    class Unlucky(Workflow):
        @step
        async def collect(self, ev: StartEvent) -> StopEvent:
            garbage.clear()
            return StopEvent()

    with anyio.fail_after(5):
        await Unlucky().run()
