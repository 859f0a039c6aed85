"""examples/parallel_checkpointing.py, which goes on from every checkpoint of a run."""

import random
import re
import runpy
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import anyio
import pytest
from virtual_time import both_backends, run_virtually

PROGRAM = str(Path(__file__).parent.parent / "examples" / "parallel_checkpointing.py")

HISTORIES = [
    "['process_data', 'process_data', 'process_data', 'combine_results']",
    "['process_data', 'process_data', 'combine_results']",
    "['process_data', 'combine_results']",
    "['combine_results']",
]


def run_program(backend: str, draws: Iterable[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run ``python examples/parallel_checkpointing.py --backend <backend>`` in virtual time."""
    started: list[tuple[Callable[[], Awaitable[Any]], str]] = []
    drawn = iter(draws)
    with monkeypatch.context() as patched:
        patched.setattr(anyio, "run", lambda main, *, backend: started.append((main, backend)))
        patched.setattr(sys, "argv", [PROGRAM, "--backend", backend])
        runpy.run_path(PROGRAM, run_name="__main__")
    [(main, chosen)] = started
    with monkeypatch.context() as patched:
        patched.setattr(random, "random", lambda: next(drawn))
        run_virtually(main, chosen)
    assert list(drawn) == [], "every execution draws once, and none is made again that was done"


@both_backends
def test_s_ckpt_3_the_four_histories_of_the_document_come_out(
    backend: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The times are drawn so that the output is that of the document where the program comes from."""
    at_once = [0.3, 0.6, 0.1]
    after_one, after_two = [0.7, 0.2], [0.4]

    run_program(backend, at_once + after_one + after_two, monkeypatch)

    lines = capsys.readouterr().out.splitlines()
    first_run_id = repr(lines[4].split()[1])
    assert lines[4].startswith("Run: ")
    assert [line for line in lines if not line.startswith("Run: ")] == [
        "Completed processing: C",
        "Completed processing: A",
        "Completed processing: B",
        "'Processed: C, Processed: A, Processed: B'",
        "Completed processing: B",
        "Completed processing: A",
        "'Processed: C, Processed: B, Processed: A'",
        first_run_id,
        "Completed processing: B",
        "'Processed: C, Processed: A, Processed: B'",
        "'Processed: C, Processed: A, Processed: B'",
    ]
    runs = [re.fullmatch(r"Run: (\S+) has (\[.*\])", line) for line in lines if line.startswith("Run: ")]
    told = [(run[1], run[2]) for run in runs if run is not None]
    assert [history for _, history in told] == [
        *HISTORIES[:1],
        *HISTORIES[:2],
        *HISTORIES[:3],
        *HISTORIES,
    ]
    assert len({run_id for run_id, _ in told}) == 4
