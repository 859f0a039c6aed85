"""What is measured, against what, and how close it has to come."""

from collections.abc import Mapping

import attrs
import floors
import ours
from timing import Job, Parking


@attrs.frozen(kw_only=True)
class Case:
    """One work at one size, with the floors it stands beside."""

    key: str
    """The work: W1, W2, ..."""

    label: str
    """What it does, in a few words."""

    unit: str
    """What one unit of it is."""

    count: int
    """How much is done in one call."""

    units: int
    """How many units one call amounts to."""

    work: Job
    """The work on the library."""

    floor: Job
    """The same by hand."""

    at_most: Mapping[str, float] = attrs.field(factory=dict)
    """How many times the floor it may take, by event loop; nothing where no aim was set."""


@attrs.frozen(kw_only=True)
class Parked:
    """One way in which a run waits for a human."""

    label: str
    """Where it waits."""

    parking: Parking
    """Opens a number of such runs."""


def _same_on_all(ratio: float, *, uvloop: float | None = None) -> dict[str, float]:
    aims = {"asyncio": ratio, "trio": ratio}
    return aims if uvloop is None else {**aims, "uvloop": uvloop}


LINEAR_AT_MOST = 1.3
"""How many times the cost per event of W2 at 1,000 events it may be at 10,000."""

IMPORT_AT_MOST = 1.4
"""How many times the seconds, and the memory, of importing what the package needs it may need."""

PARKED_AT_MOST = 10_000
"""Bytes that a parked run may keep."""

FAN_OUT_SIZES = (100, 1_000, 10_000)

CASES = (
    Case(
        key="W1",
        label="loop, one step; floor: send_nowait",
        unit="hop",
        count=5_000,
        units=5_000,
        work=ours.loop,
        floor=floors.loop,
        at_most=_same_on_all(1.5, uvloop=1.8),
    ),
    Case(
        key="W1",
        label="loop, one step; floor: await send",
        unit="hop",
        count=5_000,
        units=5_000,
        work=ours.loop,
        floor=floors.loop_awaited,
    ),
    *(
        Case(
            key="W2",
            label=f"fan-out to 4 workers, collect {count:,}",
            unit="event",
            count=count,
            units=count,
            work=ours.fan_out,
            floor=floors.fan_out,
            at_most=_same_on_all(1.8, uvloop=2.5),
        )
        for count in FAN_OUT_SIZES
    ),
    Case(
        key="W3",
        label="1,000 concurrent runs of 3 steps",
        unit="run",
        count=1_000,
        units=1_000,
        work=ours.three_steps,
        floor=floors.three_steps,
        # 8,000 and 6,000 runs a second, where the floor made 26,800 and 26,600.
        at_most={"asyncio": 3.35, "trio": 4.43},
    ),
    Case(
        key="W4",
        label="one run of 1 step",
        unit="run",
        count=1,
        units=1,
        work=ours.one_step,
        floor=floors.one_step,
        at_most=_same_on_all(3.0),  # 45 and 60 us, where the floor took 15 and 20
    ),
    Case(
        key="W7",
        label="10,000 streamed events, written to read",
        unit="event",
        count=10_000,
        units=10_000,
        work=ours.stream,
        floor=floors.stream,
        at_most={"asyncio": 5.36, "trio": 6.0},  # 1.5 and 1.8 us, where the floor took 0.28 and 0.30
    ),
)

PARKED = (
    Parked(label="in wait_for_event", parking=ours.parked),
    Parked(label="between two steps", parking=ours.parked_between_steps),
)
