"""The numbers that all contenders have to agree on, to do the same work."""

WORKERS = 4
"""Executions at once of the step that a fan-out goes to."""

STREAM_BURST = 100
"""Events that a writer writes before it lets its reader run."""
