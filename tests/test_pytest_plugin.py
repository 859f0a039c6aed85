"""The fixtures for pytest, virtual time, and the command that shows a schedule again."""

import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from tenacity import stop_after_attempt, wait_fixed

from anyio_workflows import Context, Event, RetryPolicy, StartEvent, StopEvent, Workflow, step
from anyio_workflows.cli import main as command_line
from anyio_workflows.testing import Schedule, VirtualClock, WorkflowTestRunner, replay


class Flaky(Workflow):
    """Needs an hour."""

    @step(retry_policy=RetryPolicy(wait=wait_fixed(1200), stop=stop_after_attempt(4)))
    async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
        if ctx.retry_info().retry_number < 3:
            raise ConnectionError
        return StopEvent(result=ctx.retry_info().elapsed_seconds)


def test_s_det_1_an_hour_of_retries_takes_no_time(virtual_clock: VirtualClock) -> None:
    async def main() -> float:
        with anyio.fail_after(4000):
            elapsed: float = await Flaky().run()
        assert anyio.current_time() >= 3600
        return elapsed

    assert virtual_clock.run(main) == pytest.approx(3600)


def test_the_clock_hands_arguments_on_and_raises_what_the_program_raises(virtual_clock: VirtualClock) -> None:
    async def divide(one: int, other: int) -> float:
        await anyio.sleep(86_400)
        return one / other

    assert virtual_clock.run(divide, 1, 2) == 0.5
    with pytest.raises(ZeroDivisionError):
        virtual_clock.run(divide, 1, 0)


async def test_the_runner_fixture_makes_runners(workflow_runner: type[WorkflowTestRunner]) -> None:
    class Echo(Workflow):
        @step
        async def echo(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=ev.text)

    with anyio.fail_after(5):
        assert (await workflow_runner(Echo()).run(text="x")).result == "x"


def test_without_the_option_there_is_no_schedule(schedule: Schedule | None) -> None:
    assert schedule is None


def test_the_option_says_which_schedule_it_is(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text('def test_it(schedule):\n    assert str(schedule) == "1.0.3!5"\n')
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["anyio_workflows.testing.pytest_plugin"]\n')
    command = [sys.executable, "-m", "pytest", "--workflow-schedule", "1.0.3!5", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


class Job(Event):
    number: int


class Counting(Workflow):
    @step
    async def start(self, ctx: Context, ev: StartEvent) -> Job | None:
        for number in range(2):
            ctx.send_event(Job(number=number))
        return None

    @step
    async def work(self, ctx: Context, ev: Job) -> StopEvent | None:
        n = await ctx.store.get("n", 0)
        await ctx.store.set("n", n + 1)
        return StopEvent(result=n + 1) if ev.number else None


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_s_det_3_a_schedule_is_shown_again_alike_on_both_backends(
    backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = replay(Counting, "0.0.1", backend=backend)
    assert shown == replay(Counting, "0.0.1", backend="asyncio")
    assert "*" in shown
    assert shown.endswith("the run gave 1")
    assert replay(Counting, backend=backend).endswith("the run gave 2")
    target = f"{__file__}:Counting"
    assert command_line(["replay", target, "--schedule", "0.0.1", "--backend", backend]) == 0
    assert capsys.readouterr().out == f"{shown}\n"


def test_a_schedule_that_is_none_is_an_error_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line(["replay", f"{__file__}:Counting", "--schedule", "1.x"]) == 2
    assert "'1.x' is no schedule" in capsys.readouterr().err
