"""Measure what an import costs: seconds, and the memory of the process afterwards.

Every import gets interpreters of its own, and they take turns.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import attrs

_PROBE = """
import sys, time
before = time.perf_counter()
{statement}
seconds = time.perf_counter() - before
try:
    with open("/proc/self/status") as status:
        kib = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
except OSError:  # no /proc: the peak will have to do, which is bytes on macOS
    import resource
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)
print(seconds, kib * 1024)
"""

FLOOR = "import anyio, attrs, cattrs"
OURS = "import anyio_workflows"


@attrs.frozen(kw_only=True)
class ImportCost:
    """Medians over several fresh interpreters."""

    seconds: float
    """Seconds that the import took, byte code cached."""

    resident: float
    """Bytes of resident memory of the whole process after it (a bare interpreter has some 9 MB)."""


def import_costs(statements: Mapping[str, str], rounds: int) -> dict[str, ImportCost]:
    """Measure every statement *rounds* times, in turns; those that fail are left out."""
    taken: dict[str, list[tuple[float, float]]] = {}
    # A cache of our own: where the interpreter is told to write no byte code, as in many containers, a
    # package run from its sources would be compiled again each time, and an installed one not.
    with tempfile.TemporaryDirectory() as cache:
        for name, statement in statements.items():
            if _probe(statement, cache) is not None:  # which has compiled it
                taken[name] = []
        for _ in range(rounds):
            for name, taken_so_far in taken.items():
                cost = _probe(statements[name], cache)
                assert cost is not None, f"{statements[name]} worked once and then no more"
                taken_so_far.append(cost)
    return {
        name: ImportCost(
            seconds=statistics.median(seconds for seconds, _ in costs),
            resident=statistics.median(resident for _, resident in costs),
        )
        for name, costs in taken.items()
    }


def _probe(statement: str, cache: str) -> tuple[float, float] | None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", _PROBE.format(statement=statement)],
        cwd=Path(__file__).parent.parent,  # so that an uninstalled work tree is found as well
        env={**environment, "PYTHONPYCACHEPREFIX": cache},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return None
    seconds, resident = done.stdout.split()[-2:]
    return float(seconds), float(resident)
