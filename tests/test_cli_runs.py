"""The command line keeps runs in a store, shows them, and goes on with them."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

import anyio_workflows
from anyio_workflows.cli import main

on_both_backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])

FLOWS = dedent(
    """
    import io, os, pathlib, signal
    from anyio_workflows import (
        Context, Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent, Workflow, step,
    )

    class Item(Event):
        number: int

    class Double(Event):
        number: int

    class Doubling(Workflow):
        @step
        async def split(self, ctx: Context, ev: StartEvent) -> Item | None:
            await ctx.store.set("count", ev.count)
            for number in range(ev.count):
                ctx.send_event(Item(number=number))

        @step(num_workers=1)
        async def double(self, ev: Item) -> Double:
            if ev.number == 3 and pathlib.Path("deadly").exists():
                pathlib.Path("deadly").unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            with open("done", "a") as done:
                done.write(f"{ev.number}\\n")
            return Double(number=2 * ev.number)

        @step
        async def combine(self, ctx: Context, ev: Double) -> StopEvent | None:
            doubles = ctx.collect_events(ev, {Double: await ctx.store.get("count")})
            return doubles and StopEvent(result=sorted(double.number for double in doubles))

    class Fails(Workflow):
        @step
        async def explode(self, ev: StartEvent) -> StopEvent:
            raise ValueError("too hot")

    class Asking(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> InputRequiredEvent:
            return InputRequiredEvent(prefix="Your name?")

        @step
        async def greet(self, ev: HumanResponseEvent) -> StopEvent:
            return StopEvent(result=f"Hello, {ev.response}!")

    class Echo(Workflow):
        @step
        async def echo(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=ev.get("value"))

    class Holding(Event):
        file: io.TextIOBase

    class Unkept(Workflow):
        @step
        async def hold(self, ev: StartEvent) -> Holding: ...
        @step
        async def release(self, ev: Holding) -> StopEvent: ...
    """
)

TAKEN = (
    "error: runs.db has a run 'mine' already; go on with it (anyio-workflows runs resume mine ...), "
    "or give another --run-id\n"
)

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with ``flows.py`` as the current one."""
    (tmp_path / "flows.py").write_text(FLOWS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    yield tmp_path
    sys.modules.pop("flows", None)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Return a function that calls the command line: its exit code, stdout and stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def cells(table: str) -> list[list[str]]:
    """Return the lines of *table*, each as what two spaces part."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in table.splitlines()]


# --- keeping a run


@on_both_backends
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_a_run_is_kept_in_the_store_that_is_made_for_it(durability: str, backend: str, call: Call) -> None:
    """The id by which it can be found goes to stderr, the result alone to stdout."""
    options = ["--store", "runs.db", "--durability", durability, "--backend", backend]
    code, out, err = call("run", "flows:Doubling", "count=3", *options)
    assert (code, out) == (0, "[0, 2, 4]\n")
    run_id = err.splitlines()[0].removeprefix("run ")
    listed = cells(call("runs", "list", "--store", "runs.db")[1])
    assert listed[1][:3] == [run_id, "Doubling", "completed"]


def test_a_run_is_called_as_it_is_told_also_without_a_store(call: Call) -> None:
    assert call("run", "flows:Echo", "value=1", "--run-id", "mine", "--store", "runs.db") == (0, "1\n", "")
    assert call("run", "flows:Echo", "value=1", "--run-id", "mine") == (0, "1\n", "")


def test_a_run_id_that_is_taken_ends_with_2_and_says_how_to_go_on(call: Call) -> None:
    call("run", "flows:Echo", "value=1", "--store", "runs.db", "--run-id", "mine")
    assert call("run", "flows:Echo", "value=2", "--store", "runs.db", "--run-id", "mine") == (
        2,
        "",
        TAKEN,
    )


# --- going on


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@on_both_backends
def test_a_run_that_was_killed_goes_on_and_gives_the_same_result(
    backend: str, flows: Path, call: Call
) -> None:
    """With sync, what was done is not done again: only the one that died is."""
    (flows / "deadly").touch()
    package = Path(anyio_workflows.__file__).parent.parent
    options = ["--store", "runs.db", "--run-id", "r", "--durability", "sync", "--backend", backend]
    killed = subprocess.run(
        [sys.executable, "-m", "anyio_workflows.cli", "run", "flows:Doubling", "count=6", *options],
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert killed.returncode == -9
    assert cells(call("runs", "list", "--store", "runs.db", "--status", "running")[1])[1][0] == "r"

    resume = ["runs", "resume", "r", "flows:Doubling", "--store", "runs.db", "--backend", backend]
    assert call(*resume) == (0, "[0, 2, 4, 6, 8, 10]\n", "")
    assert (flows / "done").read_text().split() == ["0", "1", "2", "3", "4", "5"]
    assert call(*resume) == (0, "[0, 2, 4, 6, 8, 10]\n", "")
    assert (flows / "done").read_text().split() == ["0", "1", "2", "3", "4", "5"]


def test_a_run_that_nobody_could_answer_asks_again_when_it_is_resumed(flows: Path) -> None:
    """Without input it ends with 1; it was cancelled from outside, and so goes on."""

    def called(*arguments: str, typed: str) -> subprocess.CompletedProcess[str]:
        package = Path(anyio_workflows.__file__).parent.parent
        return subprocess.run(
            [sys.executable, "-m", "anyio_workflows.cli", *arguments, "--store", "runs.db"],
            env={**os.environ, "PYTHONPATH": str(package)},
            input=typed,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    unanswered = called("run", "flows:Asking", "--run-id", "r", typed="")
    assert unanswered.returncode == 1
    assert "Asking asks for input, and standard input has ended" in unanswered.stderr
    answered = called("runs", "resume", "r", "flows:Asking", "--timeout", "20", typed="Zoë\n")
    assert (answered.returncode, answered.stdout) == (0, "Hello, Zoë!\n"), answered.stderr
    assert answered.stderr == "Your name? "


def test_a_changed_workflow_is_resumed_only_if_that_is_allowed(flows: Path, call: Call) -> None:
    call("run", "flows:Echo", "value=7", "--store", "runs.db", "--run-id", "r")
    del sys.modules["flows"]
    (flows / "flows.py").write_text(FLOWS.replace("async def echo(", "async def repeat("))
    resume = ["runs", "resume", "r", "flows:Echo", "--store", "runs.db"]
    code, out, err = call(*resume)
    assert (code, out) == (2, "")
    assert err.startswith("error: run r")
    assert call(*resume, "--allow-changed") == (0, "7\n", "")


# --- looking


def test_an_empty_store_and_one_without_such_runs_say_so(call: Call) -> None:
    call("run", "flows:Echo", "--store", "runs.db", "--run-id", "a")
    for chosen in (["--workflow", "Other"], ["--status", "failed"]):
        assert call("runs", "list", "--store", "runs.db", *chosen) == (0, "runs.db holds no such runs\n", "")
    call("runs", "delete", "a", "--store", "runs.db")
    assert call("runs", "list", "--store", "runs.db") == (0, "runs.db holds no runs\n", "")


def test_runs_are_listed_newest_first_and_can_be_chosen(call: Call) -> None:
    for run_id, target in (("a", "Echo"), ("b", "Fails"), ("c", "Echo")):
        call("run", f"flows:{target}", "--store", "runs.db", "--run-id", run_id)

    def listed(*options: str) -> list[list[str]]:
        code, out, err = call("runs", "list", "--store", "runs.db", *options)
        assert (code, err) == (0, "")
        return [row[:3] for row in cells(out)]

    heading = ["run", "workflow", "status"]
    a, b, c = ["a", "Echo", "completed"], ["b", "Fails", "failed"], ["c", "Echo", "completed"]
    assert listed() == [heading, c, b, a]
    assert listed("--workflow", "Echo") == [heading, c, a]
    assert listed("--status", "failed") == [heading, b]
    assert listed("--last", "1") == [heading, c]


def test_a_run_is_shown_with_what_its_steps_took_and_gave(call: Call) -> None:
    call("run", "flows:Doubling", "count=2", "--store", "runs.db", "--run-id", "r", "--durability", "sync")
    code, out, err = call("runs", "show", "r", "--store", "runs.db")
    assert (code, err) == (0, "")
    described, records = (cells(part) for part in out.strip().split("\n\n"))
    told = {row[0]: row[1:] for row in described}
    assert told["run"] == ["r"]
    assert told["workflow"] == ["Doubling"]
    assert told["status"] == ["completed"]
    assert told["outcome"] == ["StopEvent(result=[0, 2])"]
    steps = [row[2:5] for row in records]
    assert steps[0] == ["step", "took", "gave"]
    assert steps[1] == ["-", "-", "-"], "the cut before the first step"
    assert ["split", "StartEvent(count=2)", "-"] in steps
    assert ["double", "Item(number=1)", "Double(number=2)"] in steps
    assert steps[-1][2] == "StopEvent(result=[0, 2])"


def test_of_a_long_run_the_last_records_are_shown(call: Call) -> None:
    options = ["--store", "runs.db", "--durability", "sync"]
    call("run", "flows:Doubling", "count=20", "--run-id", "r", *options)
    _, out, _ = call("runs", "show", "r", "--store", "runs.db", "--last", "4")
    records, note = out.strip().split("\n\n")[1:]
    count = int(note.rpartition("--last ")[2].removesuffix(" shows all"))
    assert [row[0] for row in cells(records)] == ["#", *(str(count - left) for left in (4, 3, 2, 1))]
    assert note == f"{count - 4} earlier ones are not shown; --last {count} shows all"
    everything = (
        call("runs", "show", "r", "--store", "runs.db", "--last", str(count))[1].strip().split("\n\n")
    )
    assert len(everything) == 2
    assert len(cells(everything[1])) == count + 1


def test_a_failed_run_shows_what_it_failed_with(call: Call) -> None:
    assert call("run", "flows:Fails", "--store", "runs.db", "--run-id", "r")[0] == 1
    shown = call("runs", "show", "r", "--store", "runs.db")[1]
    assert ["outcome", "ValueError('too hot')"] in cells(shown)


def test_on_a_terminal_long_events_are_cut_and_nothing_in_them_is_obeyed(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store can be written by hand; what is in it must not move the cursor, nor be taken for markup."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    call(
        "run",
        "flows:Echo",
        f"value=[red]\x1b[2J{'long ' * 100}",
        "--store",
        "runs.db",
        "--run-id",
        "a\x1b[2Jb",
    )
    listed = call("runs", "list", "--store", "runs.db")[1]
    shown = call("runs", "show", "a\x1b[2Jb", "--store", "runs.db")[1]
    for text in (listed, shown):
        assert "\x1b[2J" not in text
        assert r"a\x1b[2Jb" in text
        assert "\x1b[32mcompleted" in text
    assert "[red]" in shown
    assert max(map(len, shown.strip().split("\n\n")[1].splitlines())) < 250


def test_it_shows_records_that_are_not_ours_as_well_as_it_can(flows: Path, call: Call) -> None:
    """To a store a payload is bytes."""
    (flows / "make.py").write_text(
        dedent(
            """
            import anyio
            from anyio_workflows.abc import Record, RunInfo
            from anyio_workflows.stores import SqliteCheckpointStore

            async def main():
                about = dict(workflow="W", fingerprint="f", created_at=1e9, updated_at=1e9)
                given = dict(run_id="r", is_checkpoint=False, step="s", created_at=1e9)
                async with SqliteCheckpointStore("runs.db") as store:
                    await store.create(RunInfo(run_id="r", parent="q/3", **about), [
                        Record(sequence=0, kind="full", payload=b"\\xff", previous=None, **given),
                        Record(sequence=1, kind="delta", payload=b"[1]", previous="r/0", **given),
                    ])
                    await store.create(RunInfo(run_id="bare", **about), [])

            anyio.run(main)
            """
        )
    )
    exec(compile((flows / "make.py").read_text(), "make.py", "exec"), {})
    shown = cells(call("runs", "show", "r", "--store", "runs.db")[1])
    assert ["went on from", "q/3"] in shown
    assert [row[2:5] for row in shown[-2:]] == [["s", "-", "-"], ["s", "-", "-"]]
    assert ["records", "0, 0 bytes"] in cells(call("runs", "show", "bare", "--store", "runs.db")[1])


def test_runs_are_listed_and_shown_while_another_program_writes(flows: Path, call: Call) -> None:
    """Deleting and going on is for the one writer."""
    call("run", "flows:Echo", "--store", "runs.db", "--run-id", "r")
    holder = dedent(
        """
        import anyio, sys
        from anyio_workflows.stores import SqliteCheckpointStore

        async def main():
            async with SqliteCheckpointStore("runs.db"):
                print("open", flush=True)
                sys.stdin.readline()

        anyio.run(main)
        """
    )
    package = Path(anyio_workflows.__file__).parent.parent
    with subprocess.Popen(
        [sys.executable, "-c", holder],
        env={**os.environ, "PYTHONPATH": str(package)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writing:
        assert writing.stdout is not None
        assert writing.stdout.readline() == "open\n"
        try:
            assert call("runs", "list", "--store", "runs.db")[0] == 0
            assert call("runs", "show", "r", "--store", "runs.db")[0] == 0
            code, _, err = call("runs", "delete", "r", "--store", "runs.db")
        finally:
            writing.communicate("\n")
    assert code == 2
    assert "one file has one writer at a time" in err


# --- deleting


def test_a_deleted_run_is_gone(call: Call) -> None:
    for run_id in "ab":
        call("run", "flows:Echo", "--store", "runs.db", "--run-id", run_id)
    assert call("runs", "delete", "a", "--store", "runs.db") == (0, "", "")
    assert [row[0] for row in cells(call("runs", "list", "--store", "runs.db")[1])] == ["run", "b"]


# --- what cannot be done


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["runs", "list", "--store", "nowhere.db"], "error: there is no store nowhere.db; `run` makes one: "),
        (
            ["runs", "list", "--store", "flows.py"],
            "error: checkpoint store flows.py: the file is no SQLite database",
        ),
        (
            ["runs", "show", "x", "--store", "runs.db"],
            "error: checkpoint store runs.db: there is no run 'x'; ",
        ),
        (
            ["runs", "delete", "x", "--store", "runs.db"],
            "error: checkpoint store runs.db: there is no run 'x'; ",
        ),
        (
            ["runs", "resume", "x", "flows:Echo", "--store", "runs.db"],
            "error: checkpoint store runs.db: there is no ",
        ),
        (["runs", "resume", "f", "flows:Fails", "--store", "runs.db"], "error: run f: it has ended, failed"),
        (["runs", "resume", "f", "flows:Echo", "--store", "runs.db"], "error: run f"),
        (["runs", "resume", "f", "flows:Nothing", "--store", "runs.db"], "error: flows has no 'Nothing'"),
        (
            ["run", "flows:Echo", "--store", "flows.py"],
            "error: checkpoint store flows.py: the file is no SQLite",
        ),
        (["run", "flows:Echo", "--store", "no/where.db"], "error: checkpoint store no/where.db: "),
        (["run", "flows:Unkept", "--store", "new.db"], "error: 1 mistake in the declaration of Unkept"),
        (
            ["run", "flows:Echo", "--durability", "sync"],
            "error: --durability sync says when a run is saved; say where: --store runs.db",
        ),
    ],
)
def test_what_makes_no_sense_ends_with_2_and_one_clear_line(
    arguments: list[str], complaint: str, call: Call
) -> None:
    call("run", "flows:Fails", "--store", "runs.db", "--run-id", "f")
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(complaint)
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["runs", "list"],
        ["runs", "show", "--store", "runs.db"],
        ["runs", "list", "--store", "runs.db", "--last", "0"],
        ["runs", "list", "--store", "runs.db", "--status", "asleep"],
        ["runs", "forget", "a", "--store", "runs.db"],
    ],
)
def test_a_wrong_call_ends_with_2(arguments: list[str], call: Call) -> None:
    code, out, _ = call(*arguments)
    assert (code, out) == (2, "")


def test_without_a_command_it_shows_what_can_be_done_with_runs(call: Call) -> None:
    code, out, _ = call("runs")
    assert code == 0
    for word in ("list", "show", "resume", "delete"):
        assert word in out
