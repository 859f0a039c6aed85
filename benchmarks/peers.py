"""Measure the library beside other workflow engines: ``python benchmarks/peers.py --help``.

On asyncio, since that is where they all run. One that is not installed is left out. ``nox -s bench-peers``
makes an environment that has them.
"""

import argparse
import gc
import importlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import attrs
from imports import FLOOR, OURS, import_costs
from tables import environment, markdown, microseconds, text
from timing import Effort, Sample, bytes_per_run, compare


@attrs.frozen(kw_only=True)
class Contender:
    """One engine, or none."""

    module: str
    """Module beside this one that has the works as functions; it lacks those the engine cannot do."""

    distribution: str
    """What to install."""

    statement: str
    """What a program imports that uses it."""


CONTENDERS = {
    "floor": Contender(module="floors", distribution="anyio", statement=FLOOR),
    "ours": Contender(module="ours", distribution="anyio_workflows", statement=OURS),
    "llama": Contender(
        module="peer_llama", distribution="llama-index-workflows", statement="import workflows"
    ),
    "langgraph": Contender(
        module="peer_langgraph", distribution="langgraph", statement="import langgraph.graph"
    ),
    "pydantic-graph": Contender(
        module="peer_pydantic_graph", distribution="pydantic-graph", statement="import pydantic_graph"
    ),
    "burr": Contender(module="peer_burr", distribution="apache-burr", statement="import burr.core"),
}
THOROUGH = Effort(rounds=7, turn=0.1, limit=30.0)
QUICK = Effort(rounds=3, turn=0.02, limit=3.0)
FAN_OUT_LIMIT = 60.0
"""Seconds that one fan-out may take; a contender whose growth promises more is cut."""
CUT = "(cut)"
ABSENT = "-"


@attrs.frozen(kw_only=True)
class Work:
    """One work at one size."""

    key: str
    """The work: W1, W2, ..."""

    what: str
    """What it does, and per what it is measured."""

    function: str
    """Name of the function that each contender's module has for it."""

    count: int
    """How much is done in one call."""

    units: int
    """How many units one call amounts to."""


WORKS = (
    Work(key="W1", what="loop, us/hop", function="loop", count=500, units=500),
    Work(key="W2", what="fan-out 100, us/event", function="fan_out", count=100, units=100),
    Work(key="W2", what="fan-out 1,000, us/event", function="fan_out", count=1_000, units=1_000),
    Work(key="W2", what="fan-out 10,000, us/event", function="fan_out", count=10_000, units=10_000),
    Work(key="W3", what="1,000 runs of 3 steps, us/run", function="three_steps", count=1_000, units=1_000),
    Work(key="W4", what="one run of 1 step, us/run", function="one_step", count=1, units=1),
    Work(key="W7", what="streamed event, us/event", function="stream", count=10_000, units=10_000),
)
KEYS = ("W1", "W2", "W3", "W4", "W4b", "W5", "W7")

Line = dict[str, str]
Numbers = dict[str, float]


async def _compare(
    works: Sequence[Work], modules: Mapping[str, ModuleType], effort: Effort
) -> list[tuple[Work, dict[str, Sample], set[str]]]:
    """Run *works* on all that can do them; say for each work what came out and who was cut."""
    results: list[tuple[Work, dict[str, Sample], set[str]]] = []
    fan_outs: dict[str, list[float]] = {}
    for work in works:
        able = {name: module for name, module in modules.items() if hasattr(module, work.function)}
        cut = {name for name in able if _would_take(fan_outs.get(name, []), work) > FAN_OUT_LIMIT}
        jobs = {name: getattr(module, work.function) for name, module in able.items() if name not in cut}
        print(f"{work.key} {work.what}: {', '.join(jobs)}", file=sys.stderr)
        samples = await compare(jobs, work.count, work.units, effort)
        if work.key == "W2":
            for name, sample in samples.items():
                fan_outs.setdefault(name, []).append(sample.median)
        results.append((work, samples, cut))
    return results


def _would_take(costs: Sequence[float], work: Work) -> float:
    """Return the seconds that *work* takes if its cost per event goes on growing as it did."""
    if work.function != "fan_out" or len(costs) < 2:
        return 0.0
    return work.count * costs[-1] * max(1.0, costs[-1] / costs[-2])


def _in_own_process(arguments: Sequence[str]) -> float | None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__)), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return None
    return float(done.stdout.split()[-1])


def _parked_bytes(names: Sequence[str], runs: int, rounds: int) -> Numbers:
    """Count the bytes of a run that waits for a human, each contender in processes of its own."""
    taken: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            found = _in_own_process(["--park", name, "--runs", str(runs)])
            if found is not None:
                taken[name].append(found)
    return {name: statistics.median(found) for name, found in taken.items() if found}


def _park(name: str, runs: int) -> None:
    module = importlib.import_module(CONTENDERS[name].module)
    gc.freeze()
    print(anyio.run(bytes_per_run, module.parked, runs))


def _installed(names: Sequence[str]) -> dict[str, ModuleType]:
    """Import the modules of *names*, and leave out those whose engine is not there."""
    modules: dict[str, ModuleType] = {}
    for name in names:
        try:
            modules[name] = importlib.import_module(CONTENDERS[name].module)
        except ImportError as error:
            print(f"without {name}: {error}", file=sys.stderr)
    return modules


def _line(key: str, what: str, names: Sequence[str], cells: Mapping[str, str]) -> list[str]:
    return [key, what, *(cells.get(name, ABSENT) for name in names)]


def _timed_cells(samples: Mapping[str, Sample], cut: set[str], rounds: int) -> Line:
    """Return what the table shows, with a star where the time allowed for fewer rounds."""
    ours = samples.get("ours")
    cells: Line = dict.fromkeys(cut, CUT)
    for name, sample in samples.items():
        cells[name] = microseconds(sample.median) + ("" if len(sample.seconds) == rounds else "*")
        if ours is not None and name != "ours":
            cells[name] += f" ({_figures(sample.over(ours))}x)"
    return cells


def _figures(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}"


def _measure(only: Sequence[str], names: Sequence[str], effort: Effort) -> tuple[list[list[str]], Any]:
    modules = _installed(names)
    names = list(modules)
    gc.collect()
    gc.freeze()
    works = [work for work in WORKS if work.key in only]
    lines: list[list[str]] = []
    found: list[dict[str, Any]] = []
    for work, samples, cut in anyio.run(_compare, works, modules, effort):
        lines.append(_line(work.key, work.what, names, _timed_cells(samples, cut, effort.rounds)))
        found.append(
            {
                "work": work.key,
                "what": work.what,
                "seconds": {name: sample.seconds for name, sample in samples.items()},
            }
        )
    if "W4b" in only:
        costs = import_costs({name: CONTENDERS[name].statement for name in names}, effort.rounds)
        times = {name: cost.seconds for name, cost in costs.items()}
        sizes = {name: cost.resident for name, cost in costs.items()}
        lines += [
            _line("W4b", "import, ms", names, {name: f"{time * 1e3:.0f}" for name, time in times.items()}),
            _line("W4b", "import, MB", names, {name: f"{size / 1e6:.1f}" for name, size in sizes.items()}),
        ]
        found.append({"work": "W4b", "seconds": times, "bytes": sizes})
    if "W5" in only:
        able = [name for name, module in modules.items() if hasattr(module, "parked")]
        parked = _parked_bytes(able, 1_000, min(3, effort.rounds))
        cells = {name: f"{size / 1000:.1f}" for name, size in parked.items()}
        lines.append(_line("W5", "parked run, kB", names, cells))
        found.append({"work": "W5", "bytes": parked})
    lines.sort(key=lambda line: KEYS.index(line[0]))
    return [["work", "what", *names], *lines], found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure anyio_workflows beside other engines, on asyncio.")
    parser.add_argument("--only", action="append", choices=KEYS, help="a work; may be repeated")
    parser.add_argument("--who", action="append", choices=tuple(CONTENDERS), help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="shorter turns: a look, not a result")
    parser.add_argument("--gc", action="store_true", help="let the garbage collector run within a turn")
    parser.add_argument("--markdown", action="store_true", help="print the table for a document")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured to FILE as well")
    parser.add_argument("--park", choices=tuple(CONTENDERS), help=argparse.SUPPRESS)
    parser.add_argument("--runs", type=int, default=1_000, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure, and print one table."""
    arguments = _arguments()
    if arguments.park:
        _park(arguments.park, arguments.runs)
        return
    effort = attrs.evolve(QUICK if arguments.quick else THOROUGH, collect=arguments.gc)
    names = arguments.who or tuple(CONTENDERS)
    (headings, *lines), found = _measure(arguments.only or KEYS, names, effort)
    about = {
        **environment([contender.distribution for contender in CONTENDERS.values()]),
        "cores": str(os.cpu_count()),
    }
    table = markdown if arguments.markdown else text
    print(", ".join(f"{name} {value}" for name, value in about.items()), end="\n\n")
    print(table(headings, lines))
    if arguments.json:
        document = {"environment": about, "works": found}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
