"""Read settings from a JSON or TOML file into a class, and say which field of which file is wrong.

cattrs fills in attrs classes and dataclasses, pydantic its own models.
"""

import json
import tomllib
from collections.abc import Callable, Iterable
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import cattrs
from cattrs.strategies import configure_union_passthrough

from .._brief import brief
from .._declare.resources import ResourceConfig
from .._errors import ResourceConfigError
from .._ledger.copying import is_pydantic


def read_config(config: ResourceConfig, cls: type) -> Any:
    """Return what *config* selects, as an instance of *cls*.

    Raises:
        ResourceConfigError: The file cannot be read, has no such part, or that does not fit the class.
    """
    found = _selected(config, _document(config.config_file))
    if is_pydantic(cls):
        return _as_model(config, cls, found)
    try:
        return _CONVERTER.structure(found, cls)
    except Exception as error:  # whatever a validator of the user's raises
        raise _refused(config, _faults_of(error)) from error


def _document(file: str) -> Any:
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ResourceConfigError(file, "", f"it cannot be read ({error})") from error
    try:
        return tomllib.loads(text) if file.endswith(".toml") else json.loads(text)
    except ValueError as error:
        kind = "TOML" if file.endswith(".toml") else "JSON"
        raise ResourceConfigError(file, "", f"it is no {kind} ({error})") from error


def _selected(config: ResourceConfig, document: Any) -> Any:
    found = document
    way: list[str] = []
    for key in (config.path_selector or "").split(".") if config.path_selector else ():
        way.append(key)
        if not isinstance(found, dict) or key not in found:
            known = f"; there are {', '.join(map(repr, found))}" if isinstance(found, dict) and found else ""
            raise ResourceConfigError(config.config_file, ".".join(way), f"there is nothing{known}")
        found = found[key]
    return found


def _refused(config: ResourceConfig, faults: Iterable[tuple[str, str]]) -> ResourceConfigError:
    """Return the error for *faults*, each the way to a field below what was selected, and what is wrong there."""
    start = [config.path_selector] if config.path_selector else []
    places = [(".".join([*start, *([way] if way else [])]).replace(".[", "["), what) for way, what in faults]
    (first, reason), *others = places
    more = "".join(f"; {place or 'the whole'}: {what}" for place, what in others)
    return ResourceConfigError(config.config_file, first, reason + more)


# --- pydantic


def _as_model(config: ResourceConfig, cls: Any, found: Any) -> Any:
    try:
        return cls.model_validate(found)
    except ValueError as error:  # pydantic's ValidationError is one
        raise _refused(config, _faults_of_model(error)) from error


def _faults_of_model(error: Any) -> list[tuple[str, str]]:
    if not hasattr(error, "errors"):
        return [("", str(error))]
    return [(_joined(each["loc"]), f"{each['msg']}, not {brief(each['input'])}") for each in error.errors()]


def _joined(way: Iterable[str | int]) -> str:
    shown = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in way)
    return shown.removeprefix(".")


# --- attrs and dataclasses


def _exactly(*kinds: type) -> Callable[[Any, Any], Any]:
    """Return a hook that takes values of one kind only: cattrs would make True of ``"no"``."""

    def structure(value: Any, _: Any) -> Any:
        if type(value) not in kinds:
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise TypeError(f"{brief(value)} is of type {type(value).__name__}, not {wanted}")
        return kinds[0](value)

    return structure


def _moment(kind: Any) -> Callable[[Any, Any], Any]:
    """Return a hook that takes what TOML has a syntax for, and the same as text, for JSON."""

    def structure(value: Any, _: Any) -> Any:
        if type(value) is kind:
            return value
        if type(value) is not str:
            raise TypeError(f"{brief(value)} is of type {type(value).__name__}, not {kind.__name__}")
        return kind.fromisoformat(value)

    return structure


def _path(value: Any, _: Any) -> Path:
    return Path(_exactly(str)(value, None))


def _new_converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    configure_union_passthrough(str | bool | int | float | None, converter)
    for kinds in ((str,), (int,), (bool,), (float, int)):
        converter.register_structure_hook(kinds[0], _exactly(*kinds))
    for kind in (datetime, date, time):
        converter.register_structure_hook(kind, _moment(kind))
    converter.register_structure_hook(Path, _path)
    return converter


_CONVERTER = _new_converter()


def _faults_of(error: BaseException) -> list[tuple[str, str]]:
    """Return the way to every field that is wrong, and what is wrong there."""
    return [
        (way.removeprefix("$").removeprefix("."), what)
        for what, _, way in (
            line.rpartition(" @ ") for line in cattrs.transform_error(error, format_exception=_told)
        )
    ]


def _told(error: BaseException, kind: type | None) -> str:
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        extra = ", ".join(sorted(map(repr, error.extra_fields)))
        return f"{error.cl.__qualname__} has no field {extra}"
    if isinstance(error, KeyError):
        return "it is missing"
    if isinstance(error, TypeError | ValueError) and str(error):
        return str(error)
    name = getattr(kind, "__name__", str(kind))
    return f"it is no {name} ({type(error).__name__}: {error})"
