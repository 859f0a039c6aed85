"""Decide whether what a step has returned is what it is annotated to return, as far as lists are concerned."""

from typing import Any

from .._brief import brief
from .._errors import WorkflowRuntimeError
from .plan import Node


def check_list(node: Node, output: list[Any]) -> None:
    """Look at a list that a step has returned.

    Raises:
        WorkflowRuntimeError: The return annotation has no such list.
    """
    if not node.fans_out:
        raise WorkflowRuntimeError(
            f"step {node.name!r} returned a list, but its return annotation has none; "
            f"write 'list[...]' there, or return one event"
        )
    for member in output:
        if not isinstance(member, node.fans_out):
            expected = " | ".join(kind.__qualname__ for kind in node.fans_out)
            raise WorkflowRuntimeError(
                f"step {node.name!r} returned a list with {brief(member)}, but its return annotation says "
                f"list[{expected}]; return what it says, or say what it returns"
            )


def check_bare(node: Node, output: object) -> None:
    """Look at an event that a step has returned alone.

    Raises:
        WorkflowRuntimeError: The return annotation has it in lists only.
    """
    declared = node.declaration
    if node.fans_out and isinstance(output, node.fans_out) and not isinstance(output, declared.bare or ()):
        raise WorkflowRuntimeError(
            f"step {node.name!r} returned {brief(output)} alone, but its return annotation has it in a list only; "
            f"return a list of one, or write '| {type(output).__qualname__}' there"
        )
