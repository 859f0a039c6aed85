"""The programs in examples/ do what they are there to show, on both backends and in virtual time."""

import asyncio
import random
import runpy
import selectors
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from anyio_workflows import Context, Event

EXAMPLES = Path(__file__).parent.parent / "examples"


class JumpingSelector(selectors.SelectSelector):
    """Never sleeps: where the loop would wait for a time, the time comes."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(None if timeout is None else 0)
        if not ready and timeout is not None:
            self.now += timeout
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """asyncio's counterpart to Trio's autojumping clock."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


VIRTUAL_TIME: dict[str, Callable[[], dict[str, Any]]] = {
    "asyncio": lambda: {"loop_factory": JumpingLoop},
    "trio": lambda: {"clock": MockClock(autojump_threshold=0)},
}

on_both_backends = pytest.mark.parametrize("backend", VIRTUAL_TIME)


def run_program(name: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> float:
    """Run ``python examples/<name> --backend <backend>`` in virtual time; return the seconds that it took."""
    real_run = anyio.run
    seconds = -1.0

    def run_in_virtual_time(main: Callable[[], Awaitable[None]], *, backend: str) -> None:
        async def timed() -> None:
            nonlocal seconds
            begin = anyio.current_time()
            await main()
            seconds = anyio.current_time() - begin

        with monkeypatch.context() as patched:
            patched.setattr(time, "time", anyio.current_time)
            real_run(timed, backend=backend, backend_options=VIRTUAL_TIME[backend]())

    program = str(EXAMPLES / name)
    with monkeypatch.context() as patched:
        patched.setattr(anyio, "run", run_in_virtual_time)
        patched.setattr(sys, "argv", [program, "--backend", backend])
        runpy.run_path(program, run_name="__main__")
    return seconds


def draw(function: str, numbers: Iterable[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `random.<function>` give *numbers*."""
    drawn = iter(numbers)
    monkeypatch.setattr(random, function, lambda *limits: next(drawn))


@on_both_backends
def test_one_worker_takes_the_sum_of_the_times_and_three_workers_the_longest(
    backend: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The times are drawn so that the output is that of the document where the program comes from."""
    one_after_another = [0.4, 0.5, 0.539495086669922]
    at_once = [0.3, 0.5881590843200684, 0.1]
    draw("random", one_after_another + at_once, monkeypatch)

    run_program("parallel_execution.py", backend, monkeypatch)

    lines = capsys.readouterr().out.splitlines()
    times = [float(line.split()[2]) for line in lines if line.startswith("Time taken")]
    assert times == pytest.approx([7.439495086669922, 2.5881590843200684])
    assert [line for line in lines if not line.startswith("Time taken")] == [
        "Start a sequential workflow without setting num_workers in the step of process_data",
        "Completed processing: A",
        "Completed processing: B",
        "Completed processing: C",
        "Workflow result: Processed: A, Processed: B, Processed: C",
        "------------------------------",
        "Start a parallel workflow with setting num_workers in the step of process_data",
        "Completed processing: C",
        "Completed processing: A",
        "Completed processing: B",
        "Workflow result: Processed: C, Processed: A, Processed: B",
    ]


@on_both_backends
def test_the_first_finished_query_wins_and_nobody_waits_for_the_others(
    backend: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw("randint", [4, 1, 3], monkeypatch)

    seconds = run_program("concurrent_first_wins.py", backend, monkeypatch)

    assert seconds == pytest.approx(1)
    assert capsys.readouterr().out.splitlines() == [
        "Running slow query  Query 1",
        "Running slow query  Query 2",
        "Running slow query  Query 3",
        "Workflow result: Query 2",
    ]


@on_both_backends
def test_collected_events_come_in_the_order_received(
    backend: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw("randint", [3, 1, 2], monkeypatch)

    seconds = run_program("concurrent_collect.py", backend, monkeypatch)

    assert seconds == pytest.approx(3)
    assert capsys.readouterr().out.splitlines() == [
        "Running query  Query 1",
        "Running query  Query 2",
        "Running query  Query 3",
        "[StepThreeEvent(result='Query 2'), StepThreeEvent(result='Query 3'), StepThreeEvent(result='Query 1')]",
        "Workflow result: Done",
    ]


@on_both_backends
def test_collected_events_of_several_types_come_in_the_order_asked_for(
    backend: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program does nothing with them, so what it is given is looked at on the way."""
    given: list[list[Event] | None] = []
    collect_events = Context.collect_events

    def observed(self: Context, ev: Event, expected: Any) -> list[Event] | None:
        given.append(collect_events(self, ev, expected))
        return given[-1]

    monkeypatch.setattr(Context, "collect_events", observed)

    run_program("concurrent_types.py", backend, monkeypatch)

    *incomplete, collected = given
    assert incomplete == [None, None]
    assert collected is not None
    assert [type(event).__name__ for event in collected] == [
        "StepCCompleteEvent",
        "StepACompleteEvent",
        "StepBCompleteEvent",
    ]
    lines = capsys.readouterr().out.splitlines()
    # That the three steps take turns is as good as that they do not.
    assert sorted(lines[:-1]) == [
        "Doing something A-ish",
        "Doing something B-ish",
        "Doing something C-ish",
        "Received event  Query 1",
        "Received event  Query 2",
        "Received event  Query 3",
    ]
    assert lines[-1] == "Workflow result: Done"


@on_both_backends
def test_an_example_runs_as_a_program_of_its_own(backend: str) -> None:
    """The only one that draws no random times, so that nobody has to wait."""
    program = [sys.executable, str(EXAMPLES / "concurrent_types.py"), "--backend", backend]
    done = subprocess.run(program, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.endswith("Workflow result: Done\n")
    assert done.stderr == ""
