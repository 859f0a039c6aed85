"""The works written by hand on AnyIO, without an engine: what the library is measured against.

Each is what one would write for this one job: no state, no retries, no stall report, no answer to
"what if". Who can do with that should write it; the ratio to it is the price of everything else.
"""

import math
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import anyio.to_thread
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from anyio.lowlevel import checkpoint
from shapes import Done, First, Progress, Second, Tick, Work
from sizes import ROW, STREAM_BURST, WORKERS
from timing import Job

from anyio_workflows import StartEvent, StopEvent


async def loop(hops: int) -> int:
    """W1: one worker that feeds its own channel with `send_nowait`."""
    send, receive = anyio.create_memory_object_stream[Tick | StopEvent](math.inf)
    result = -1

    async def hop() -> None:
        nonlocal result
        async for event in receive:
            match event:
                case Tick(n=0):
                    send.send_nowait(StopEvent(result=hops))
                case Tick(n=n):
                    send.send_nowait(Tick(n=n - 1))
                case StopEvent(result=done):
                    result = done
                    return

    with send, receive:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hop)
            send.send_nowait(Tick(n=hops))
    return result


async def loop_awaited(hops: int) -> int:
    """W1: the same with `await send`, so that the channel could have a bound."""
    send, receive = anyio.create_memory_object_stream[Tick | StopEvent](1)
    result = -1

    async def hop() -> None:
        nonlocal result
        async for event in receive:
            match event:
                case Tick(n=0):
                    await send.send(StopEvent(result=hops))
                case Tick(n=n):
                    await send.send(Tick(n=n - 1))
                case StopEvent(result=done):
                    result = done
                    return

    with send, receive:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hop)
            await send.send(Tick(n=hops))
    return result


async def fan_out(count: int) -> int:
    """W2: four workers on one channel, a collector on another."""
    send_work, receive_work = anyio.create_memory_object_stream[Work](math.inf)
    send_done, receive_done = anyio.create_memory_object_stream[Done](math.inf)
    collected: list[Done] = []

    async def work(items: ObjectReceiveStream[Work], results: ObjectSendStream[Done]) -> None:
        async with items, results:
            async for item in items:
                await results.send(Done(n=item.n, of=item.of))

    async def collect() -> None:
        nonlocal collected
        async with receive_done:
            collected = [done async for done in receive_done]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(collect)
        with receive_work, send_done:
            for _ in range(WORKERS):
                tasks.start_soon(work, receive_work.clone(), send_done.clone())
        with send_work:
            for n in range(count):
                send_work.send_nowait(Work(n=n, of=count))
    return len(collected)


async def joined(count: int) -> int:
    """W8: four workers on one channel in a task group, and a function after it."""
    send_work, receive_work = anyio.create_memory_object_stream[Work](math.inf)
    done: list[Done] = []

    async def work(items: ObjectReceiveStream[Work]) -> None:
        async with items:
            async for item in items:
                event = Done(n=item.n, of=item.of)
                done.append(event)

    async def join(events: list[Done]) -> int:
        return len(events)

    async with anyio.create_task_group() as tasks:
        with receive_work:
            for _ in range(WORKERS):
                tasks.start_soon(work, receive_work.clone())
        with send_work:
            for event in [Work(n=n, of=count) for n in range(count)]:
                send_work.send_nowait(event)
    return await join(done)


async def one_step(_count: int) -> int:
    """W4: a task group and a channel; the one step runs in the task of the caller."""
    send, receive = anyio.create_memory_object_stream[StartEvent](math.inf)

    async def only(event: StartEvent) -> StopEvent:
        return StopEvent(result=event.n)

    with send, receive:
        async with anyio.create_task_group():
            send.send_nowait(StartEvent(n=1))
            stop = await only(await receive.receive())
    result: int = stop.result
    return result


async def _first(event: StartEvent) -> First:
    return First(n=event.n)


async def _second(event: First) -> Second:
    return Second(n=event.n)


async def _third(event: Second) -> StopEvent:
    return StopEvent(result=event.n)


async def three_steps(runs: int) -> int:
    """W3: a task per run, each with a channel of its own that three functions pass events through."""
    finished = 0

    async def run_one() -> None:
        nonlocal finished
        send, receive = anyio.create_memory_object_stream[StartEvent | First | Second | StopEvent](math.inf)
        with send, receive:
            send.send_nowait(StartEvent(n=1))
            async for event in receive:
                match event:
                    case First():
                        send.send_nowait(await _second(event))
                    case Second():
                        send.send_nowait(await _third(event))
                    case StopEvent():
                        break
                    case StartEvent():
                        send.send_nowait(await _first(event))
        finished += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(runs):
            tasks.start_soon(run_one)
    return finished


async def stream(count: int) -> int:
    """W7: a deque and an event; the reader takes what is there and sleeps when nothing is."""
    log: deque[Progress | StopEvent] = deque()
    written = anyio.Event()
    event = Progress(n=1)
    read = 0

    async def write() -> None:
        for n in range(count):
            log.append(event)
            written.set()
            if n % STREAM_BURST == 0:
                await checkpoint()
        log.append(StopEvent())
        written.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        stopped = False
        while not stopped:
            await written.wait()
            written = anyio.Event()
            while log:
                stopped = isinstance(log.popleft(), StopEvent)
                read += 1
    return read


@contextmanager
def commits() -> Iterator[tuple[Job, Job]]:
    """W6: rows of a file of SQLite's, each in a transaction of its own that is on the disk when it ends.

    Gives one function that commits in the event loop's own thread, which blocks it, and one that has it done in a
    worker thread, as a program with other things to do must.
    """
    row = b"x" * ROW
    with (
        TemporaryDirectory() as folder,
        closing(
            sqlite3.connect(Path(folder, "rows.db"), isolation_level=None, check_same_thread=False)
        ) as connection,
    ):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE rows (row BLOB NOT NULL)")

        def commit() -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO rows VALUES (?)", (row,))
            connection.execute("COMMIT")

        async def here(rows: int) -> None:
            for _ in range(rows):
                commit()

        async def in_thread(rows: int) -> None:
            for _ in range(rows):
                await anyio.to_thread.run_sync(commit)

        yield here, in_thread


@asynccontextmanager
async def parked(runs: int) -> AsyncIterator[Callable[[], int]]:
    """W5: a task per run, with a task group and a channel, that waits for an event of its own.

    Gives a function that counts those that wait.
    """
    waiting = 0

    async def run_one() -> None:
        nonlocal waiting
        send, receive = anyio.create_memory_object_stream[StopEvent](math.inf)
        answered = anyio.Event()
        with send, receive:
            async with anyio.create_task_group():
                waiting += 1
                await answered.wait()

    async with anyio.create_task_group() as tasks:
        for _ in range(runs):
            tasks.start_soon(run_one)
        yield lambda: waiting
        tasks.cancel_scope.cancel()
