"""What is measured, against what, and how close it has to come."""

from collections.abc import Mapping

import attrs
import floors
import ours
import recorded
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

    family: str | None = None
    """What it is called together with its other sizes, beside the largest but one of which the largest is shown."""

    adds_at_most: float | None = None
    """Seconds per unit that it may take on top of the floor, where the aim is set like that."""


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

IN_MEMORY_ADDS = 6e-6
BESIDE_ADDS = 15e-6
"""Seconds that a checkpoint may add to a step: one in memory, and one that is saved beside the run."""

SYNC_AT_MOST = 1.3
"""How many times a durable commit a step may take that waits for its own."""

STATE_AT_MOST = 1.1
"""How many times as long a step may take beside a megabyte of state that it leaves alone."""

SYNC_HOPS = 500
"""Turns of a loop each of which waits for the disk."""

STATE_HOPS = 20_000
"""Turns of a loop beside a large state, which is written once: that is the run's cost, and not to show as a step's."""

PARKED_AT_MOST = 10_000
"""Bytes that a parked run may keep."""

FAN_OUT_SIZES = (100, 1_000, 10_000)
JOIN_SIZES = (1_600, 16_000)

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
            family="fan-out",
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
    *(
        Case(
            key="W8",
            label=f"fan-out and join by type, {count:,}",
            unit="event",
            count=count,
            units=count,
            work=ours.joined,
            floor=floors.joined,
            # No aim is set: the floor notes nothing that a join, a stall or a cancellation would need.
        )
        for count in JOIN_SIZES
    ),
)

RECORDED = (
    Case(
        key="W6",
        label="loop, recorded in memory; floor: not recorded",
        unit="step",
        count=5_000,
        units=5_000,
        work=recorded.loop,
        floor=ours.loop,
        adds_at_most=IN_MEMORY_ADDS,
    ),
    *(
        Case(
            key="W6",
            label=f"fan-out, recorded in memory, collect {count:,}; floor: not recorded",
            unit="event",
            count=count,
            units=count,
            work=recorded.fan_out,
            floor=ours.fan_out,
            family="fan-out, recorded in memory",
        )
        for count in FAN_OUT_SIZES[1:]
    ),
    Case(
        key="W6",
        label="loop beside 1 MB of state, in memory; floor: without it",
        unit="step",
        count=STATE_HOPS,
        units=STATE_HOPS,
        work=recorded.loop_with_state,
        floor=recorded.loop,
        at_most=_same_on_all(STATE_AT_MOST, uvloop=STATE_AT_MOST),
    ),
)


def stored_cases(stored: recorded.Stored, committed: Job, committed_in_thread: Job) -> tuple[Case, ...]:
    """Return the cases that need an open store, and open files for their floors.

    Args:
        stored: The works in their store.
        committed: Commits so many rows, each durably.
        committed_in_thread: The same from a worker thread, as an event loop has to.
    """
    sync = {"unit": "step", "count": SYNC_HOPS, "units": SYNC_HOPS, "work": stored.loop("sync")}
    return (
        Case(
            key="W6",
            label="loop, SQLite, async; floor: not recorded",
            unit="step",
            count=5_000,
            units=5_000,
            work=stored.loop("async"),
            floor=ours.loop,
            adds_at_most=BESIDE_ADDS,
        ),
        *(
            Case(
                key="W6",
                label=f"fan-out, SQLite, async, collect {count:,}; floor: not recorded",
                unit="event",
                count=count,
                units=count,
                work=stored.fan_out,
                floor=ours.fan_out,
                family="fan-out, SQLite, async",
            )
            for count in FAN_OUT_SIZES[1:]
        ),
        Case(
            key="W6",
            label="loop beside 1 MB of state, SQLite, async; floor: without it",
            unit="step",
            count=STATE_HOPS,
            units=STATE_HOPS,
            work=stored.loop("async", with_state=True),
            floor=stored.loop("async"),
            at_most=_same_on_all(STATE_AT_MOST, uvloop=STATE_AT_MOST),
        ),
        Case(
            **sync,
            key="W6",
            label="loop, SQLite, sync; floor: a durable commit",
            floor=committed,
            at_most=_same_on_all(SYNC_AT_MOST, uvloop=SYNC_AT_MOST),
        ),
        Case(
            **sync,
            key="W6",
            label="loop, SQLite, sync; floor: a durable commit in a thread",
            floor=committed_in_thread,
        ),
    )


PARKED = (
    Parked(label="in wait_for_event", parking=ours.parked),
    Parked(label="between two steps", parking=ours.parked_between_steps),
)
