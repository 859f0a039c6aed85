"""examples/index_code.py with a store: it is killed, called again, and goes on where it was."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

import anyio_workflows

PROGRAM = Path(__file__).parent.parent / "examples" / "index_code.py"
FILES = 150
COLLECTED = 10

on_both_backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])

DRIVER = dedent(
    """
    # Runs the example, notes each file that it parses, and kills it from one on, when others have been stored.
    import os, runpy, signal, sqlite3, sys

    program, log, store, kill_at, collected, *arguments = sys.argv[1:]
    example = runpy.run_path(program)
    parse, main, noted = example["index_file"], example["main"], []

    def index_file(path):
        noted.append(path)
        if len(noted) >= int(kill_at) > 0:
            connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
            query = "SELECT count(*) FROM records WHERE step = 'collect'"
            while connection.execute(query).fetchone()[0] < int(collected):
                pass
            os.kill(os.getpid(), signal.SIGKILL)
        with open(log, "a") as file:
            file.write(f"{path}\\n")
        return parse(path)

    main.__globals__["index_file"] = index_file
    sys.exit(main([*arguments, "--store", store]))
    """
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree whose files are of three heights, and some of them wrong."""
    folder = tmp_path / "tree"
    folder.mkdir()
    for number in range(FILES):
        broken = "print 'no'\n" if number % 50 == 7 else ""
        (folder / f"m{number:03}.py").write_text("def f():\n" + "    pass\n" * (number % 3 + 1) + broken)
    return folder


def called(*arguments: object, timeout: float = 40) -> subprocess.CompletedProcess[str]:
    """Run a program that finds the package which is tested."""
    package = Path(anyio_workflows.__file__).parent.parent
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(package), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@on_both_backends
def test_killed_and_called_again_it_goes_on_and_its_report_is_the_same(
    backend: str, tree: Path, tmp_path: Path
) -> None:
    """What had been collected and stored is not parsed again; once it is done, nothing is."""
    (driver := tmp_path / "driver.py").write_text(DRIVER)
    store = tmp_path / "runs.db"

    def run(name: str, kill_at: int) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        log = tmp_path / name
        log.touch()
        done = called(driver, PROGRAM, log, store, kill_at, COLLECTED, tree, "--backend", backend)
        return done, log.read_text().splitlines()

    uninterrupted = called(PROGRAM, tree, "--backend", backend)
    killed, parsed_first = run("first", kill_at=50)
    resumed, parsed_then = run("then", kill_at=0)
    again, parsed_at_last = run("last", kill_at=0)

    assert uninterrupted.returncode == 0, uninterrupted.stderr
    assert (killed.returncode, killed.stdout) == (-9, "")
    assert (resumed.returncode, resumed.stdout) == (0, uninterrupted.stdout), resumed.stderr
    assert len(parsed_first) < 50
    assert len(parsed_then) <= FILES - COLLECTED
    assert len(set(parsed_then)) == len(parsed_then)
    assert {*parsed_first, *parsed_then} == {str(path) for path in tree.iterdir()}
    assert (again.returncode, again.stdout, parsed_at_last) == (0, uninterrupted.stdout, []), again.stderr


def test_a_run_is_named_and_shows_the_tree_that_it_was_begun_with(tree: Path, tmp_path: Path) -> None:
    """The path is of no use to a run that knows its own."""
    store, other = tmp_path / "runs.db", tmp_path / "other"
    other.mkdir()
    first = called(PROGRAM, tree, "--store", store, "--run-id", "mine")
    second = called(PROGRAM, other, "--store", store, "--run-id", "mine")
    third = called(PROGRAM, other, "--store", store)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert second.stdout == first.stdout
    assert (third.returncode, third.stderr.splitlines()[-1]) == (1, f"there is no Python file below {other}")


def test_a_store_that_cannot_be_used_or_is_missing_is_told_in_one_line(tree: Path, tmp_path: Path) -> None:
    (wrong := tmp_path / "wrong.db").write_bytes(b"this is no database" * 100)
    for arguments, complaint in (
        (("--store", wrong), f"checkpoint store {wrong}: "),
        (("--run-id", "mine"), "--run-id names a run of a store; give --store runs.db as well"),
    ):
        done = called(PROGRAM, tree, *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert complaint in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
