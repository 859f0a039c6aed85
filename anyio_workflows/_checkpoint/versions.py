"""Tell one state of a workflow's source from another, and say what has changed between them."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from .._declare.step import StepDeclaration
from .._graph.model import Graph
from .snapshot import Document


def describe(graph: Graph, types: Mapping[str, Mapping[str, str]]) -> Document:
    """Return what a stored run depends on: the steps with their events, and the fields of every type."""
    return {
        "workflow": graph.name,
        "steps": {
            step.name: {
                "accepts": sorted(kind.__qualname__ for kind in step.accepts),
                "returns": sorted(kind.__qualname__ for kind in step.returns),
                **_how_called(step),
            }
            for step in graph.steps
        },
        "types": {name: dict(fields) for name, fields in types.items()},
    }


def _how_called(step: StepDeclaration) -> Document:
    """Return what is special about how *step* is called, and about what it returns."""
    found: dict[str, Any] = {}
    if step.joins is not None:
        found["joins"] = repr(step.joins)
    if step.slots:
        found["slots"] = [name for name, _ in step.slots]
    if step.fans_out:
        found["fans out"] = sorted(kind.__qualname__ for kind in step.fans_out)
    if step.handles is not None:
        found["handles"] = repr(step.handles)
    return found


def fingerprint(described: Document) -> str:
    """Return a short text that differs if anything in *described* does."""
    return hashlib.blake2b(json.dumps(described, sort_keys=True).encode(), digest_size=16).hexdigest()


def differences(then: Any, now: Document) -> list[str]:
    """Return what has changed from *then*, which may come from anywhere, to *now*, a line each."""
    if not isinstance(then, Mapping) or set(then) != set(now):
        return ["what it was then is not on record"]
    lines = []
    if then["workflow"] != now["workflow"]:
        lines.append(
            f"the workflow was called {then['workflow']!r:.100} and is called {now['workflow']!r:.100}"
        )
    lines += _of_parts("step", then["steps"], now["steps"])
    lines += _of_parts("type", then["types"], now["types"])
    return lines


def _of_parts(kind: str, then: Any, now: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if not isinstance(then, Mapping):
        yield f"the {kind}s that there were are not on record"
        return
    for name in sorted({*then, *now}):
        if name not in now:
            yield f"{kind} {name!r:.100} was removed"
        elif name not in then:
            yield f"{kind} {name!r} was added"
        elif isinstance(then[name], Mapping):
            yield from _of_details(f"{kind} {name!r}", then[name], now[name])


def _of_details(what: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*then, *now}):
        if name not in now:
            yield f"{what} has no {name!r:.100} any more"
        elif name not in then:
            yield f"{what} has a new {name!r}"
        elif then[name] != now[name]:
            yield f"{name} of {what} was {then[name]!r:.100} and is {now[name]!r:.100}"
