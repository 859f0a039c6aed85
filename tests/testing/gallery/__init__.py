"""Concurrency bugs as they are found in workflows, each with its mend and with what must hold.

A module has the workflow that is ``Broken``, the one that is ``Fixed``, an ``invariant``, and if it needs more than
that, ``OPTIONS`` for `anyio_workflows.testing.explore`.
"""
