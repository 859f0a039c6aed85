"""A program that is killed and started again: nothing is lost, nothing done twice, as with no other crash.

``nox -s crashes`` kills hundreds; what `test_crash_properties` tries is in the middle of a save as well.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest
from program_to_kill import PIECES, RUN_ID

import anyio_workflows
from anyio_workflows import UnknownRunError
from anyio_workflows.stores import SqliteCheckpointStore

PROGRAM = Path(__file__).parent / "program_to_kill.py"
LIVES = int(os.environ.get("ANYIO_WORKFLOWS_CRASHES", "3"))
"""How many programs are killed with each durability, in all."""

DEATHS_OF_A_RUN = 3
MOST_LINES = 77
"""So many executions begin in a run that nobody kills."""


def start(tmp_path: Path, durability: str, backend: str) -> "subprocess.Popen[str]":
    """Start the program."""
    arguments = [str(tmp_path / "runs.db"), str(tmp_path / "log"), durability, backend]
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # The package that is tested, wherever it is.
        env={**os.environ, "PYTHONPATH": str(Path(anyio_workflows.__file__).parent.parent)},
    )


def kill(program: "subprocess.Popen[str]", log: Path, chance: random.Random) -> bool:
    """Kill it when some executions have begun, a moment later; False if it has ended before."""
    begun = len(lines_of(log))
    wanted = begun + chance.randrange(MOST_LINES - begun if begun < MOST_LINES else 1)
    while len(lines_of(log)) <= wanted and program.poll() is None:
        time.sleep(0.0005)
    time.sleep(chance.random() / 200)
    program.send_signal(signal.SIGKILL)
    output, _ = program.communicate(timeout=20)
    assert program.returncode in (0, -signal.SIGKILL), output
    return program.returncode != 0


def lines_of(log: Path) -> list[list[str]]:
    """Return key, way and cause of each execution that has begun."""
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def committed(path: Path) -> set[str]:
    """Return the keys of the executions that the file knows to have committed."""

    async def read() -> set[str]:
        async with SqliteCheckpointStore(path) as store:
            try:
                records = await store.history(RUN_ID)
            except UnknownRunError:
                return set()
        keys: dict[int, str] = {}
        ended: set[str] = set()
        for record in records:
            document = json.loads(record.payload)
            pending = {} if record.kind == "delta" else document["snapshot"]["pending"]
            if record.kind == "full":
                left = {entry["number"]: entry["key"] for entry in pending}
                ended.update(key for number, key in keys.items() if number not in left)
                keys = left
            for name, *details in document.get("operations", ()):
                if name == "deliver":
                    keys[details[0]] = details[-1]
                elif name == "commit":
                    ended.add(keys.pop(details[0]))
        return ended

    return anyio.run(read)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no such signal")
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_s_ckpt_5_a_program_that_is_killed_goes_on_where_it_was(durability: str, tmp_path: Path) -> None:
    """However often, and on whichever backend it goes on."""
    chance = random.Random(durability)
    lives = 0
    while lives < LIVES:
        directory = tmp_path / str(lives)
        directory.mkdir()
        lives += live_and_die(directory, durability, chance)


def live_and_die(directory: Path, durability: str, chance: random.Random) -> int:
    """Let one run come to its end over several lives, look at it, and return their number."""
    path, log = directory / "runs.db", directory / "log"
    for life in range(DEATHS_OF_A_RUN):
        before = committed(path) if life else set()
        already_begun = len(lines_of(log))
        was_killed = kill(start(directory, durability, chance.choice(["asyncio", "trio"])), log, chance)
        begun = lines_of(log)[already_begun:]
        assert before.isdisjoint(key for key, *_ in begun), "what is committed is not executed again"
        if durability == "sync":
            causes = {by for _, how, by in begun if how == "returned"}
            assert causes <= committed(path), "what a step returns goes out when its commit is on disk"
        if not was_killed:
            break
    for _ in range(2):  # the second time it has ended, and executes nothing
        before, already_begun = committed(path), len(lines_of(log))
        program = start(directory, durability, chance.choice(["asyncio", "trio"]))
        output, _ = program.communicate(timeout=20)
        assert program.returncode == 0, output
        assert json.loads(output) == [list(range(1, PIECES + 1)), {"drawn": PIECES}]
        assert before.isdisjoint(key for key, *_ in lines_of(log)[already_begun:])
    assert len(lines_of(log)) == already_begun
    return life + 1
