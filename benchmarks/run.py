"""Measure the library beside its hand-written floors: ``python benchmarks/run.py --help``."""

import argparse
import gc
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import anyio
import attrs
import floors
import recorded
from cases import (
    CASES,
    FAN_OUT_SIZES,
    IMPORT_AT_MOST,
    LINEAR_AT_MOST,
    PARKED,
    PARKED_AT_MOST,
    RECORDED,
    Case,
    stored_cases,
)
from explored import explored_runs
from imports import FLOOR, OURS, import_costs
from tables import environment, markdown, microseconds, text
from timing import QUICK, THOROUGH, Effort, Job, Sample, bytes_at_most, bytes_per_run, compare

BACKENDS: dict[str, tuple[str, dict[str, Any]]] = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}
KEYS = ("W1", "W2", "W3", "W4", "W4b", "W5", "W6", "W7", "W8", "W9")
HEADINGS = ("work", "what", "loop", "ours", "floor", "ratio", "must be", "holds")
EXPLORED_AT_LEAST = {"asyncio": 300, "trio": 200}
"""Runs per second; uvloop has no clock that jumps."""
DISTRIBUTIONS = ("anyio", "attrs", "cattrs", "trio", "uvloop")


@attrs.frozen(kw_only=True)
class Row:
    """One line of the table."""

    key: str
    """The work."""

    what: str
    """What it does."""

    loop: str
    """The event loop it ran on."""

    ours: str
    """What it cost, with its unit."""

    floor: str
    """What it was compared with."""

    ratio: float
    """How many times as much it cost."""

    at_most: float | None = None
    """The most that this should be; None if there is no aim."""

    def cells(self) -> list[str]:
        """Return what the table shows."""
        aim = ("-", "-")
        if self.at_most is not None:
            aim = (f"≤ {self.at_most:.2f}", "yes" if self.ratio <= self.at_most else "NO")
        return [self.key, self.what, self.loop, self.ours, self.floor, f"{self.ratio:.2f}", *aim]


async def _timed(cases: Sequence[Case], loop: str, effort: Effort) -> list[Row]:
    """Measure *cases* one after the other, each beside its floor."""
    rows: list[Row] = []
    families: dict[str, dict[int, Sample]] = {}
    for case in cases:
        works = {"ours": case.work, "floor": case.floor}
        samples = await compare(works, case.count, case.units, effort)
        mine, floor = samples["ours"], samples["floor"]
        rows.append(
            Row(
                key=case.key,
                what=case.label,
                loop=loop,
                ours=_per(mine.median, case.unit),
                floor=_per(floor.median, case.unit),
                ratio=mine.over(floor),
                at_most=_aim(case, loop, floor),
            )
        )
        if case.family is not None:
            families.setdefault(case.family, {})[case.count] = mine
            if case.count == max(FAN_OUT_SIZES):
                rows.append(_growth(case.key, case.family, families[case.family], loop))
    return rows


def _aim(case: Case, loop: str, floor: Sample) -> float | None:
    """Return how many times *floor* the case may take; None if there is no aim."""
    if case.adds_at_most is None:
        return case.at_most.get(loop)
    return 1 + case.adds_at_most / floor.median


def _growth(key: str, family: str, samples: dict[int, Sample], loop: str) -> Row:
    fewer, more = (samples[size] for size in FAN_OUT_SIZES[1:])
    return Row(
        key=key,
        what=f"{family}, growth: 10,000 beside 1,000",
        loop=loop,
        ours=_per(more.median, "event"),
        floor=_per(fewer.median, "event"),
        ratio=more.over(fewer),
        at_most=LINEAR_AT_MOST,
    )


async def _recorded(loop: str, effort: Effort) -> list[Row]:
    """Measure what a checkpoint after every execution costs: in memory, and in a store."""
    rows = await _timed(RECORDED, loop, effort)
    rows.append(await _growth_of_memory("recorded in memory", recorded.fan_out, loop))
    async with recorded.stored() as stored:
        with floors.commits() as (committed, committed_in_thread):
            rows += await _timed(stored_cases(stored, committed, committed_in_thread), loop, effort)
        rows.append(await _growth_of_memory("SQLite, async", stored.fan_out, loop))
    return rows


async def _growth_of_memory(how: str, work: Job, loop: str) -> Row:
    fewer, more = [await bytes_at_most(work, size, size) for size in FAN_OUT_SIZES[1:]]
    return Row(
        key="W6",
        what=f"fan-out, {how}, memory: 10,000 beside 1,000",
        loop=loop,
        ours=f"{more / 1000:.2f} kB/event",
        floor=f"{fewer / 1000:.2f} kB/event",
        ratio=more / fewer,
        at_most=LINEAR_AT_MOST,
    )


def _per(seconds: float, unit: str) -> str:
    rate = f" ({1 / seconds:,.0f}/s)" if unit == "run" else ""
    return f"{microseconds(seconds)} us/{unit}{rate}"


async def _parked(loop: str, runs: int) -> list[Row]:
    """Count the bytes of runs that wait for a human, and of a task that waits for an event."""
    floor = await bytes_per_run(floors.parked, runs)
    rows: list[Row] = []
    for parked in PARKED:
        mine = await bytes_per_run(parked.parking, runs)
        rows.append(
            Row(
                key="W5",
                what=f"parked run, {parked.label}",
                loop=loop,
                ours=f"{mine / 1000:.1f} kB/run",
                floor=f"{floor / 1000:.1f} kB/run",
                ratio=mine / floor,
                # Bytes don't drift as microseconds do, so the aim is a number of bytes.
                at_most=PARKED_AT_MOST / floor,
            )
        )
    return rows


def _imported(rounds: int) -> list[Row]:
    """Measure what importing the package costs beside importing what it needs."""
    costs = import_costs({"ours": OURS, "floor": FLOOR}, rounds)
    mine, floor = costs["ours"], costs["floor"]
    return [
        Row(
            key="W4b",
            what="import, seconds",
            loop="-",
            ours=f"{mine.seconds * 1e3:.0f} ms",
            floor=f"{floor.seconds * 1e3:.0f} ms",
            ratio=mine.seconds / floor.seconds,
            at_most=IMPORT_AT_MOST,
        ),
        Row(
            key="W4b",
            what="import, resident memory of the process",
            loop="-",
            ours=f"{mine.resident / 1e6:.1f} MB",
            floor=f"{floor.resident / 1e6:.1f} MB",
            ratio=mine.resident / floor.resident,
            at_most=IMPORT_AT_MOST,
        ),
    ]


def _explored(loop: str, effort: Effort) -> Row:
    """Measure runs that a schedule decides, beside the same runs without one."""
    mine, floor = explored_runs(loop, effort)
    return Row(
        key="W9",
        what="explored run of 20 steps; floor: not explored",
        loop=loop,
        ours=_per(mine.median, "run"),
        floor=_per(floor.median, "run"),
        ratio=mine.over(floor),
        at_most=1 / EXPLORED_AT_LEAST[loop] / floor.median,
    )


def measure(only: Sequence[str], loops: Iterable[str], effort: Effort, runs: int) -> list[Row]:
    """Measure the works named by *only* on every one of *loops*."""
    rows: list[Row] = []
    cases = [case for case in CASES if case.key in only]
    for loop in loops:
        backend, options = BACKENDS[loop]
        print(f"measuring on {loop} ...", file=sys.stderr)
        if cases:
            rows += anyio.run(_timed, cases, loop, effort, backend=backend, backend_options=options)
        if "W6" in only:
            rows += anyio.run(_recorded, loop, effort, backend=backend, backend_options=options)
        if "W5" in only:
            rows += anyio.run(_parked, loop, runs, backend=backend, backend_options=options)
        if "W9" in only and loop in EXPLORED_AT_LEAST:
            rows.append(_explored(loop, effort))
    if "W4b" in only:
        rows += _imported(effort.rounds)
    # Work by work is how one compares; sorted() keeps the order of cases within a work and loop.
    return sorted(rows, key=lambda row: KEYS.index(row.key))


def _loops(wanted: Sequence[str] | None) -> list[str]:
    """Return the event loops to measure on; of those not asked for by name, the ones installed."""
    if wanted:
        return list(wanted)
    return [loop for loop in BACKENDS if importlib.util.find_spec(loop) is not None]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure anyio_workflows beside hand-written AnyIO.")
    parser.add_argument("--only", action="append", choices=KEYS, help="a work; may be repeated")
    parser.add_argument("--backend", action="append", choices=tuple(BACKENDS), help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="shorter turns: a look, not a result")
    parser.add_argument("--gc", action="store_true", help="let the garbage collector run within a turn")
    parser.add_argument("--markdown", action="store_true", help="print the table for a document")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured to FILE as well")
    return parser.parse_args()


def main() -> None:
    """Measure, and print one table."""
    arguments = _arguments()
    effort = attrs.evolve(QUICK if arguments.quick else THOROUGH, collect=arguments.gc)
    # What importing left behind is not the works' garbage; no collection has to look at it again.
    gc.collect()
    gc.freeze()
    rows = measure(
        arguments.only or KEYS, _loops(arguments.backend), effort, runs=200 if arguments.quick else 1_000
    )
    about = {**environment(DISTRIBUTIONS), "cores": str(os.cpu_count())}
    table = markdown if arguments.markdown else text
    print(", ".join(f"{name} {value}" for name, value in about.items()), end="\n\n")
    print(table(HEADINGS, [row.cells() for row in rows]))
    if arguments.json:
        document = {"environment": about, "rows": [attrs.asdict(row) for row in rows]}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
