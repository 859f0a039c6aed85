"""Write results and errors as text for a terminal."""

import json
from typing import Any

from ._errors import CommandError


def result_text(result: Any) -> str:
    """Return a string as it is, else JSON if *result* is nothing but that, else its repr."""
    if isinstance(result, str):
        return result
    try:
        return json.dumps(result, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return repr(result)


def error_text(error: BaseException) -> str:
    """Return *error* and its notes, which say what step it comes from, without a traceback."""
    if isinstance(error, CommandError):
        return f"error: {error}"
    lines = [f"error: {type(error).__name__}: {error}".removesuffix(": ")]
    lines += [f"  {note}" for note in getattr(error, "__notes__", ())]
    if isinstance(error, BaseExceptionGroup):
        lines += [f"  {line}" for part in error.exceptions for line in error_text(part).splitlines()]
    return "\n".join(lines)
