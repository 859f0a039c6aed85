"""Put each fault into the engine, and see which test notices: ``python tests/mutations/run.py --help``."""

import argparse
import os
import re
import subprocess  # this program's own interpreter, on this project's tests
import sys
import time
from pathlib import Path

from catalogue import MUTATIONS, Mutation
from mutating import WHICH

HERE = Path(__file__).parent
ENGINE, TIMERS, CHECKPOINTS = (
    str(HERE.parent / f"test_explored_{name}.py") for name in ("engine", "timers", "checkpoints")
)
MOST_SECONDS = 180


def noticed_by(name: str | None, mutation: Mutation | None) -> str | None:
    """Return the test that fails with the fault called *name*, None if all pass."""
    files = (
        [CHECKPOINTS, ENGINE, TIMERS]
        if mutation is not None and mutation.is_of_checkpoints
        else [ENGINE, TIMERS, CHECKPOINTS]
    )
    search = [str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, search)), WHICH: name or ""}
    options = [
        "-x",
        "-q",
        "-rfE",
        "--tb=no",
        "--timeout=60",
        "-p",
        "mutating",
        "-p",
        "no:randomly",
        "-k",
        "not trio",
    ]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *files],
            env=environment,
            cwd=HERE.parent.parent,
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "(nothing more happens)"
    if done.returncode == 0:
        return None
    found = re.search(r"^(?:FAILED|ERROR) \S*?(\w+)\.py::(\S+)", done.stdout, re.MULTILINE)
    if done.returncode != 1 and found is None and "Timeout" not in done.stdout + done.stderr:
        raise SystemExit(f"{name}: the tests could not be run\n{done.stdout}\n{done.stderr}")
    return f"{found[2]}" if found is not None else "(nothing more happens)"


def main() -> None:
    """Print a table, and fail if a fault survives."""
    parser = argparse.ArgumentParser(description="Put faults into the engine, and see which test notices.")
    parser.add_argument("--only", action="append", choices=tuple(MUTATIONS), help="may be repeated")
    only = parser.parse_args().only
    survivors: list[str] = []
    if only is None and (failed := noticed_by(None, None)) is not None:
        raise SystemExit(f"without any fault, {failed} fails")
    print("| fault | noticed by | seconds |\n| --- | --- | ---: |", flush=True)
    for name in only or MUTATIONS:
        began = time.perf_counter()
        test = noticed_by(name, MUTATIONS[name])
        if test is None:
            survivors.append(name)
        seconds = time.perf_counter() - began
        print(f"| {name} | {test or '**nobody**'} | {seconds:.1f} |", flush=True)
    if survivors:
        raise SystemExit(f"nobody notices {', '.join(survivors)}")
    print(f"\n{len(only or MUTATIONS)} faults, all noticed")


if __name__ == "__main__":
    main()
