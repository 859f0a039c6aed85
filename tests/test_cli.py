"""The command line as its user meets it: what is printed, and what it ends with."""

import json
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from interrupting import press_ctrl_c

import anyio_workflows.cli
from anyio_workflows.cli import main

on_both_backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])

FLOWS = dedent(
    """
    import anyio
    from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step

    class Noted(Event):
        words: str

    class Echo(Workflow):
        @step
        async def echo(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.write_event_to_stream(Noted(words="[bold]so far[/bold], " + "so good " * 40))
            return StopEvent(result=ev.get("value"))

    class Fails(Workflow):
        @step
        async def explode(self, ev: StartEvent) -> StopEvent:
            if ev.get("group"):
                raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])
            raise ValueError("too hot")

    class Hangs(Workflow):
        @step
        async def hang(self, ev: StartEvent) -> StopEvent:
            print("hanging", flush=True)
            await anyio.sleep_forever()
            return StopEvent()

    class Leaves(Workflow):
        @step
        async def leave(self, ev: StartEvent) -> StopEvent:
            raise KeyboardInterrupt

    class Sized(StartEvent):
        size: int
        scale: float = 1.0

        def __attrs_post_init__(self) -> None:
            if self.size < 0:
                raise ValueError(f"size is {self.size}")

    class Strict(Workflow):
        @step
        async def start(self, ev: Sized) -> StopEvent:
            return StopEvent(result=ev)

    class Wrong(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Noted: ...
        @step
        async def lost(self, ev: Noted) -> Event: ...

    class Needy(Workflow):
        def __init__(self, model: str) -> None:
            super().__init__(workflow_name=model)

        @step
        async def start(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=self.workflow_name)

    class Moody(Workflow):
        def __init__(self) -> None:
            raise OSError("not today")

        @step
        async def start(self, ev: StartEvent) -> StopEvent: ...

    ready = Needy("gpt")
    nothing = 42
    """
)


@pytest.fixture(autouse=True)
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with ``flows.py`` as the current one."""
    (tmp_path / "flows.py").write_text(FLOWS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


# --- running


@on_both_backends
@pytest.mark.parametrize("target", ["flows:Echo", "flows.py:Echo", "./flows.py:Echo"])
def test_the_result_is_printed_on_stdout_and_nothing_else(
    target: str, backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", target, "value=hello", "--backend", backend]) == 0
    assert capsys.readouterr().out == "hello\n"


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        ("[1, 2]", "[1, 2]"),
        ('{"a": null}', '{"a": null}'),
        ('"12"', "12"),
        ("12", "12"),
        ("null", "null"),
        ("a = b", "a = b"),
        ("", ""),
        ("NaN", "NaN"),
        ("Zoë", "Zoë"),
        ('["Zoë"]', '["Zoë"]'),
        ("[" * 100_000, "[" * 100_000),
        ("1e999", "inf"),
    ],
)
def test_a_value_is_json_or_else_text_and_a_result_as_well(
    value: str, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "flows:Echo", f"value={value}", "--no-progress"]) == 0
    assert capsys.readouterr() == (f"{printed}\n", "")


def test_a_result_that_is_no_json_is_printed_as_its_repr(capsys: pytest.CaptureFixture[str]) -> None:
    """The StopEvent takes the StartEvent as its result, for want of anything stranger."""
    assert main(["run", "flows:Strict", "size=3", "--no-progress"]) == 0
    assert capsys.readouterr().out == "Sized(size=3, scale=1.0)\n"


def test_an_instance_is_run_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "flows:ready"]) == 0
    assert capsys.readouterr().out == "gpt\n"


def test_what_steps_write_to_the_stream_is_shown_on_stderr_as_it_is_and_a_line_each(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What looks like markup is the user's own text."""
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["run", "flows:Echo"]) == 0
    shown = capsys.readouterr().err
    assert shown.startswith("Noted(words='[bold]so far[/bold], so good")
    assert shown.count("\n") == 1


def test_on_a_terminal_the_steps_are_shown_with_how_often_they_ran(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert main(["run", "flows:Echo", "value=1"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "1\n"
    for word in ("step", "running", "done", "echo"):
        assert word in captured.err


@on_both_backends
def test_a_run_that_fails_ends_with_1_and_says_what_failed_where(
    backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "flows:Fails", "at=1", "--backend", backend]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ValueError: too hot\n")
    assert "step 'explode' of Fails" in captured.err
    assert "Traceback" not in captured.err


def test_a_group_of_failures_is_told_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "flows:Fails", "group=true"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ExceptionGroup: several")
    assert "error: ValueError: one" in told
    assert "error: KeyError: 'two'" in told


def test_traceback_shows_the_line_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "flows:Fails", "--traceback"]) == 1
    assert 'raise ValueError("too hot")' in capsys.readouterr().err


@on_both_backends
def test_a_timeout_ends_with_1_and_names_the_step(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "flows:Hangs", "--timeout", "0.1", "--backend", backend]) == 1
    assert "WorkflowTimeoutError: Hangs was not done after 0.1 seconds; active steps: hang" in (
        capsys.readouterr().err
    )


@on_both_backends
def test_a_keyboard_interrupt_ends_with_130(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "flows:Leaves", "--backend", backend]) == 130
    assert capsys.readouterr().err.endswith("interrupted\n")


# --- what cannot be run


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["Echo"], "'Echo' names no workflow; write module:Workflow or path/to/file.py:Workflow"),
        (["flows:"], "'flows:' names no workflow"),
        ([":Echo"], "':Echo' names no workflow"),
        (["a/b:Echo"], "'a/b' is no name of a module"),
        (["nowhere:Echo"], "there is no module 'nowhere'"),
        (["nowhere.deep:Echo"], "there is no module 'nowhere'"),
        (["nowhere.py:Echo"], "there is no file nowhere.py"),
        (["flows:Missing"], "flows has no 'Missing'; its workflows are Echo, Fails, Hangs"),
        (["json:Missing"], "json has no 'Missing'; it has no workflows"),
        (["flows:nothing"], "flows:nothing is no workflow but 42"),
        (["flows:Noted"], "flows:Noted is no workflow but <class 'flows.Noted'>"),
        (["flows:Needy"], "make an instance in its module"),
        (["flows:Moody"], "flows:Moody cannot be made: OSError: not today"),
        (["flows:Echo", "value"], "'value' is no field; write key=value"),
        (["flows:Echo", "1=2"], "'1=2' is no field; write key=value"),
        (["flows:Echo", "a=1", "a=2"], "'a' is given twice"),
        (["flows:Strict"], "Sized needs 'size'; its fields are 'size', 'scale'"),
        (["flows:Strict", "size=1", "weight=2"], "Sized has no field 'weight'"),
        (["flows:Strict", "size=-1"], "Sized does not take these values: ValueError: size is -1"),
        (["flows:Echo", "--timeout", "0"], "--timeout"),
        (["flows:Echo", "--backend", "curio"], "curio"),
        (["flows:Echo", "--nonsense"], "--nonsense"),
        ([], "TARGET"),
    ],
)
def test_a_wrong_call_ends_with_2_and_says_what_is_wrong(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["run", *arguments]) == 2
    captured = capsys.readouterr()
    assert complaint in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("command", ["run", "graph"])
def test_a_wrong_declaration_ends_with_2_and_every_mistake_is_told(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "flows:Wrong"]) == 2
    told = capsys.readouterr().err
    assert "2 mistakes in the declaration of Wrong" in told
    assert "no step returns a StopEvent" in told
    assert "step 'lost' returns Event, which no step accepts" in told


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("1 / 0", "broken cannot be imported: ZeroDivisionError: division by zero"),
        ("import not_installed_anywhere", "broken cannot be imported: ModuleNotFoundError: No module named"),
        ("def :", "broken cannot be imported: SyntaxError"),
    ],
)
def test_a_module_that_breaks_ends_with_2_and_its_own_error(
    source: str, complaint: str, flows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (flows / "broken.py").write_text(source)
    assert main(["run", "broken:Echo"]) == 2
    assert complaint in capsys.readouterr().err
    assert main(["run", "broken:Echo", "--traceback"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_file_finds_what_lies_beside_it_and_takes_no_module_s_place(
    flows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = flows / "elsewhere"
    folder.mkdir()
    (folder / "beside.py").write_text("from flows import Echo\n")
    (folder / "json.py").write_text("from beside import Echo\n")
    sys.path.insert(0, str(flows))
    assert main(["run", "elsewhere/json.py:Echo", "value=[1]"]) == 0
    assert capsys.readouterr().out == "[1]\n"
    assert sys.modules["json"] is json


def test_without_trio_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("anyio_workflows.cli._options.find_spec", lambda name: None)
    assert main(["run", "flows:Echo", "--backend", "trio"]) == 2
    assert capsys.readouterr().err == (
        "error: trio is not installed; install the extra: pip install 'anyio-workflows[trio]'\n"
    )


def test_without_its_extra_it_says_what_to_install_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(anyio_workflows.cli, "find_spec", lambda name: None)
    assert main(["run", "flows:Echo"]) == 2
    assert capsys.readouterr().err == (
        "anyio-workflows needs cyclopts and rich; install its extra: pip install 'anyio-workflows[cli]'\n"
    )


# --- drawing, and the program around it


@pytest.mark.parametrize(
    ("options", "first_line"),
    [
        ([], "flowchart TD"),
        (["--format", "mermaid"], "flowchart TD"),
        (["--format", "dot"], 'digraph "Echo" {'),
        (["--format", "svg"], '<svg xmlns="http://www.w3.org/2000/svg"'),
        (["--format", "html"], "<!DOCTYPE html>"),
    ],
)
def test_a_graph_is_printed_in_the_language_asked_for(
    options: list[str], first_line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["graph", "flows:Echo", *options]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0].startswith(first_line)
    assert "echo" in captured.out
    assert captured.err == ""


def test_without_a_command_it_shows_its_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was typed is read from the process, as the installed script does."""
    monkeypatch.setattr(sys, "argv", ["anyio-workflows"])
    assert main() == 0
    help_text = capsys.readouterr().out
    assert "Run a workflow and print its result." in help_text
    assert "Print the graph of a workflow" in help_text


def test_its_package_is_a_program_that_ends_with_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["anyio-workflows", "run", "flows:Fails"])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_module("anyio_workflows.cli", run_name="__main__")
    assert exit_.value.code == 1


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "anyio_workflows.cli", *arguments]


def test_it_is_a_program() -> None:
    asked = command("run", "flows:Echo", "value=hello", "--no-progress")
    done = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="no signal does there what Ctrl-C does")
@on_both_backends
def test_ctrl_c_ends_a_program_that_hangs_with_130(backend: str) -> None:
    asked = command("run", "flows:Hangs", "--backend", backend)
    with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "hanging\n"
        assert press_ctrl_c(running) == 130
        assert running.stderr is not None
        assert running.stderr.read() == "interrupted\n"
