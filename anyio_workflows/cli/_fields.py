"""Read the fields of a start event from ``key=value``."""

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from .. import StartEvent, Workflow
from ._errors import UsageError, blaming


def start_event(workflow: Workflow, fields: Sequence[str]) -> StartEvent:
    """Return what a run of *workflow* starts with.

    Args:
        workflow: It says of which class the event is.
        fields: Each ``key=value``; the value is JSON if it can be read as that, else text.

    Raises:
        UsageError: One is no ``key=value``, a key comes twice, or the event does not take them.
    """
    kind = workflow.start_event_class
    given = _parse(fields)
    with blaming(f"{kind.__qualname__} does not take these values"):
        return kind(**given)


def _parse(fields: Sequence[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for field in fields:
        key, equals, text = field.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"{field!r} is no field; write key=value, as in name=world or sizes='[1, 2]'")
        if key in given:
            raise UsageError(f"{key!r} is given twice; a list is written as {key}='[1, 2]'")
        given[key] = _value(text)
    return given


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(constant: str) -> NoReturn:
    # Python's own addition to JSON; a person may be called NaN.
    raise ValueError(constant)
