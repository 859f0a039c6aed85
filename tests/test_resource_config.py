"""Settings from JSON and TOML files, into classes of every kind."""

import dataclasses
import enum
import json
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import anyio
import attrs
import pydantic
import pytest

from anyio_workflows import ResourceConfig, ResourceConfigError, StartEvent, StopEvent, Workflow, step
from anyio_workflows._run.configs import read_config

TOML = """
title = "app"

[server]
host = "localhost"
port = 8080
since = 2026-01-31
ratio = 1
logs = "var/log"
level = "low"

[server.tls]
names = ["a", "b"]
"""


class Level(enum.Enum):
    LOW = "low"


@attrs.frozen
class Tls:
    names: list[str]


@attrs.frozen
class Server:
    host: str
    port: int = attrs.field(validator=attrs.validators.ge(1024))
    since: date
    ratio: float
    logs: Path
    level: Level
    tls: Tls
    backlog: int | None = None
    owner: "int | str" = "nobody"


@dataclasses.dataclass
class DataTls:
    names: tuple[str, ...]


class ModelTls(pydantic.BaseModel):
    names: tuple[str, ...]


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "app.toml"
    path.write_text(TOML)
    return path


def refusal(path: Path, content: Any, cls: type, selector: str | None = None) -> ResourceConfigError:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ResourceConfigError) as caught:
        read_config(ResourceConfig(path, selector), cls)
    assert caught.value.file == str(path)
    assert str(path) in str(caught.value)
    return caught.value


def test_a_part_of_a_toml_file_becomes_an_attrs_class(toml: Path) -> None:
    assert read_config(ResourceConfig(str(toml), "server"), Server) == Server(
        host="localhost",
        port=8080,
        since=date(2026, 1, 31),
        ratio=1.0,
        logs=Path("var/log"),
        level=Level.LOW,
        tls=Tls(names=["a", "b"]),
    )


@pytest.mark.parametrize("cls", [Tls, DataTls, ModelTls])
def test_json_becomes_any_kind_of_class(tmp_path: Path, cls: Any) -> None:
    path = tmp_path / "tls.json"
    path.write_text('{"names": ["a"]}')
    made: Any = read_config(ResourceConfig(path), cls)
    assert type(made) is cls
    assert list(made.names) == ["a"]


def test_dates_in_json_are_texts(tmp_path: Path) -> None:
    @attrs.frozen
    class Dated:
        since: date

    path = tmp_path / "dated.json"
    path.write_text('{"since": "2026-01-31"}')
    assert read_config(ResourceConfig(path), Dated) == Dated(date(2026, 1, 31))


def test_a_wrong_field_is_named_with_its_place_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    error = refusal(path, {"web": {"tls": {"names": ["a", 3]}}}, Tls, "web.tls")
    assert error.path == "web.tls.names[1]"
    assert error.reason == "3 is of type int, not str"
    assert str(error) == f"config file {str(path)!r}, at web.tls.names[1]: 3 is of type int, not str"


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("port", "80", "port: '80' is of type str, not int"),
        ("port", True, "port: True is of type bool, not int"),
        ("port", 80, "'port' must be >= 1024: 80"),
        ("host", 3, "host: 3 is of type int, not str"),
        ("since", "soon", "since: Invalid isoformat string: 'soon'"),
        ("since", 3, "since: 3 is of type int, not date"),
        ("level", "high", "level: 'high' is not a valid Level"),
        ("logs", 3, "logs: 3 is of type int, not str"),
        ("tls", 3, "tls"),
        ("tls", {"names": [], "key": "k"}, "tls: Tls has no field 'key'"),
        ("tls", {}, "tls.names: it is missing"),
    ],
)
def test_every_kind_of_mistake_is_told(tmp_path: Path, field: str, value: object, expected: str) -> None:
    good = {
        "host": "h",
        "port": 8080,
        "since": "2026-01-31",
        "ratio": 1.5,
        "logs": "l",
        "level": "low",
        "tls": {"names": []},
    }
    assert expected in str(refusal(tmp_path / "a.json", {**good, field: value}, Server))


def test_several_mistakes_are_told_together(tmp_path: Path) -> None:
    @dataclasses.dataclass
    class Pair:
        one: int
        two: int

    assert str(refusal(tmp_path / "a.json", {"one": "1", "two": "2"}, Pair)).endswith(
        "at one: '1' is of type str, not int; two: '2' is of type str, not int"
    )


def test_what_pydantic_refuses_is_told_in_the_same_way(tmp_path: Path) -> None:
    error = refusal(tmp_path / "a.json", {"tls": {"names": ["a", 3]}}, ModelTls, "tls")
    assert error.path == "tls.names[1]"
    assert error.reason == "Input should be a valid string, not 3"
    assert isinstance(error.__cause__, pydantic.ValidationError)


def test_a_part_that_is_not_there_is_named_with_what_is(tmp_path: Path) -> None:
    error = refusal(tmp_path / "a.json", {"web": {"http": {}, "https": {}}}, Tls, "web.tls")
    assert error.path == "web.tls"
    assert error.reason == "there is nothing; there are 'http', 'https'"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert "it is no JSON" in refusal(tmp_path / "a.json", "{", Tls).reason
    assert "it is no TOML" in refusal(tmp_path / "a.toml", "a = ", Tls).reason
    missing = tmp_path / "missing.json"
    with pytest.raises(ResourceConfigError, match="it cannot be read") as caught:
        read_config(ResourceConfig(missing), Tls)
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert isinstance(caught.value, ValueError)


async def test_a_step_is_given_the_settings_which_are_read_once(toml: Path) -> None:
    def of_settings(tls: Annotated[Tls, ResourceConfig(toml, "server.tls")]) -> int:
        return len(tls.names)

    from anyio_workflows import Resource  # noqa: PLC0415

    class Flow(Workflow):
        @step
        async def use(
            self,
            ev: StartEvent,
            server: Annotated[Server, ResourceConfig(config_file=str(toml), path_selector="server")],
            names: Annotated[int, Resource(of_settings)],
        ) -> StopEvent:
            return StopEvent(result=(server, names))

    workflow = Flow()
    with anyio.fail_after(5):
        server, names = await workflow.run()
        assert server.tls.names == ["a", "b"]
        assert names == 2
        toml.unlink()  # noqa: ASYNC240
        again, _ = await workflow.run()
        assert again is server


async def test_a_mistake_in_the_file_is_the_attempts(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{}")  # noqa: ASYNC240

    class Flow(Workflow):
        @step
        async def use(self, ev: StartEvent, tls: Annotated[Tls, ResourceConfig(path)]) -> StopEvent:
            return StopEvent(result=tls)

    workflow = Flow()
    with anyio.fail_after(5):
        with pytest.raises(ResourceConfigError, match="names: it is missing"):
            await workflow.run()
        path.write_text('{"names": []}')  # noqa: ASYNC240
        assert await workflow.run() == Tls(names=[])
