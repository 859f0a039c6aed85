"""The numbers that all contenders have to agree on, to do the same work."""

WORKERS = 4
"""Executions at once of the step that a fan-out goes to."""

STREAM_BURST = 100
"""Events that a writer writes before it lets its reader run."""

STATE_ITEMS = 10_000
"""Texts of a hundred characters in a state of a megabyte."""

ROW = 170
"""Bytes of one row, which is what a turn of the loop adds to a store."""

EXPLORED_STEPS = 20
"""Executions of a run that a schedule decides."""
