"""The events that every contender of a benchmark passes around.

The hand-written floors and the engine make the same objects, so a ratio between them shows the engine
alone and not the cost of an attrs class.
"""

from anyio_workflows import Event


class Tick(Event):
    """One turn of a loop."""

    n: int
    """Turns still to go."""


class Work(Event):
    """One item of a fan-out."""

    n: int
    """Which one."""

    of: int
    """How many there are."""


class Done(Event):
    """An item that was worked on."""

    n: int
    """Which one."""

    of: int
    """How many there are."""


class First(Event):
    """What the first of three steps returns."""

    n: int
    """The number that is passed on."""


class Second(Event):
    """What the second of three steps returns."""

    n: int
    """The number that is passed on."""


class Progress(Event):
    """What is written to a stream."""

    n: int
    """How far the writer is."""
