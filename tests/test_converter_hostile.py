"""A document from anywhere gives what it says or an error of ours: it imports nothing, calls nothing, costs little."""

import enum
import sys
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import attrs
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyio_workflows import DictState, Event, StartEvent, StopEvent
from anyio_workflows._checkpoint.converter import Converter
from anyio_workflows._errors import CheckpointError


class Color(enum.Enum):
    RED = 1


class Mode(enum.Flag):
    READ = 1


@attrs.frozen
class Point:
    x: int
    y: float = 0.0


@attrs.define
class Unhashable:
    x: int


class Pair(NamedTuple):
    left: int
    right: str


class Options(TypedDict):
    depth: int


class Model(pydantic.BaseModel):
    size: int


class Wide(Event):
    integer: int = 0
    number: float = 0.0
    flag: bool = False
    text: str = ""
    nothing: None = None
    anything: Any = None
    many: list[int] = attrs.field(factory=list)
    fixed: tuple[int, str] = (1, "")
    unique: set[int] = attrs.field(factory=set)
    table: dict[str, int] = attrs.field(factory=dict)
    pairs: dict[int, int] = attrs.field(factory=dict)
    points: tuple[Point, ...] = ()
    unhashable: Unhashable | None = None
    either: int | str | datetime | Point | Model | None = None
    choice: Literal["a", 1] = 1
    color: Color = Color.RED
    mode: Mode = Mode.READ
    pair: Pair = Pair(1, "")
    options: Options = attrs.field(factory=lambda: Options(depth=1))
    model: Model = attrs.field(factory=lambda: Model(size=1))
    when: datetime = datetime(2026, 1, 1)  # noqa: DTZ001  # users have such
    duration: timedelta = timedelta(0)
    data: bytes = b""
    key: UUID = UUID(int=1)
    amount: Decimal = Decimal(1)
    path: Path = Path("a")
    event: Event | None = None


CONVERTER = Converter(workflow="Flow", events=[Wide, StartEvent, StopEvent], state_type=None)
FIELDS = [field.name for field in attrs.fields(Wide)]  # type: ignore[arg-type]  # an attrs class
GOOD = CONVERTER.unstructure_event(Wide())


@contextmanager
def no_import() -> Iterator[None]:
    """Fail if a module is imported or looked for meanwhile."""
    asked: list[str] = []

    class Watch:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> None:
            asked.append(name)

    sys.meta_path.insert(0, Watch)
    before = set(sys.modules)
    try:
        yield
    finally:
        sys.meta_path.remove(Watch)
    assert not asked
    assert before == set(sys.modules)


@contextmanager
def little(*, seconds: float, megabytes: float) -> Iterator[None]:
    """Fail if it takes many times as long as it should, or memory that the input does not explain."""
    tracemalloc.start()
    begun = time.perf_counter()
    try:
        yield
        assert time.perf_counter() - begun < seconds
        assert tracemalloc.get_traced_memory()[1] < megabytes * 1e6
    finally:
        tracemalloc.stop()


NAMES = [
    "os.system",
    "builtins.eval",
    "subprocess:Popen",
    "antigravity",
    "__class__",
    "__init__",
    "__reduce__",
    "Event.__init__",
    "Wide.__init__.__globals__",
    "anyio_workflows._events.Wide",
    "Socket",
    "",
    "\ud800",
    "a" * 1_000_000,
    None,
    1,
    ["Wide"],
    {"type": "Wide"},
    True,
]


@pytest.mark.parametrize("name", NAMES, ids=[str(index) for index in range(len(NAMES))])
def test_s_ckpt_2_a_name_that_the_registry_does_not_have_is_nothing_but_an_error(name: Any) -> None:
    """Whatever it would mean to Python."""
    documents: list[Any] = [
        {"type": name},
        {"type": name, "args": ["rm"], "x": 1},
        {**GOOD, "anything": {"$object": {"type": name}}},
        {**GOOD, "anything": {"$enum": [name, "RED"]}},
        {**GOOD, "event": {"$object": {"type": name}}},
        {**GOOD, "anything": [[{"a": {"$object": {"type": name, "x": 1}}}]]},
    ]
    if isinstance(name, str) and name:
        documents += [
            {**GOOD, "anything": {"$" + name: []}},
            {**GOOD, "color": name},
            {**GOOD, name: 1},
            {**GOOD, "either": {"$" + name: 1}},
            {"type": "StartEvent", "__" + name: 1},
        ]
    for document in documents:
        with no_import(), pytest.raises(CheckpointError) as caught:
            CONVERTER.structure_event(document, where="stored")
        assert len(str(caught.value)) < 1000


SHAPES: list[Any] = [
    {"x": 1},
    [["a"]],
    "no value of this\0",
    {"$tuple": []},
    {"$object": {"type": "Color"}},
    {"$enum": ["Point", "x"]},
]
WRONG: list[tuple[str, Any]] = [
    *(
        (field, wrong)
        for field in FIELDS
        if field != "anything"
        for wrong in SHAPES
        if (field, wrong) not in (("text", "no value of this\0"), ("either", "no value of this\0"))
        and (field, wrong) != ("path", "no value of this\0")
        # Which is one of theirs.
        and not (field in ("event", "either", "table", "unhashable") and wrong == {"x": 1})
    ),
    ("integer", True),
    ("integer", 1.0),
    ("integer", "1"),
    ("integer", 1 << 20_000),
    ("number", True),
    ("number", "1.0"),
    ("number", float("nan")),
    ("number", float("inf")),
    ("flag", 1),
    ("nothing", False),
    ("text", 1),
    ("many", {"0": 1}),
    ("many", "12"),
    ("fixed", [1]),
    ("fixed", 1),
    ("fixed", [1, "", 2]),
    ("unique", [1, 1]),
    ("pairs", [[1, 2], [1, 3]]),
    ("pairs", [[1, 2, 3]]),
    ("pairs", [1]),
    ("points", [{"x": 1}]),
    ("points", [{"x": 1, "y": 0.0, "z": 1}]),
    ("points", [{"x": 1, "y": 0.0, "type": "Point"}]),
    ("points", [{"$object": {"type": "Wide"}}]),
    ("choice", True),
    ("choice", 1.0),
    ("choice", []),
    ("color", "__class__"),
    ("color", "name"),
    ("color", 1),
    ("mode", "READ"),
    ("mode", 1 << 70),
    ("mode", True),
    ("pair", [1, ""]),
    ("options", {}),
    ("options", {"depth": 1, "more": 2}),
    ("model", {"size": "1"}),
    ("model", {}),
    ("when", "2026-01-01"),
    ("when", "20260101T000000"),
    ("when", "2026-01-01 00:00:00"),
    ("when", 0),
    ("duration", "1"),
    ("duration", "9" * 100 + ".000000"),
    ("duration", "1.5"),
    ("data", "YQ"),
    ("data", "YQ==\n"),
    ("key", "{00000000-0000-0000-0000-000000000001}"),
    ("amount", "NaN"),
    ("amount", "1_000"),
    ("amount", " 1"),
    ("amount", 1),
    ("path", "a//b"),
    ("path", ["a"]),
    ("either", {"$Point": {"x": "1", "y": 0.0}}),
    ("either", {"$Point": 1}),
    ("either", {"$tuple": 1}),
    ("event", {"type": "StartEvent", "a": 1}),
    ("event", {"$object": {"type": "Point", "x": 1, "y": 0.0}}),
    ("anything", {"$set": [{"$object": {"type": "Unhashable", "x": 1}}]}),
    ("anything", {"$set": [[1]]}),
    ("anything", {"$set": [1, 1]}),
    ("anything", {"$set": {}}),
    ("anything", {"$dict": [[1]]}),
    ("anything", {"$dict": [[[1], 1]]}),
    ("anything", {"$dict": [[1, 1], [1, 2]]}),
    ("anything", {"$dict": 1}),
    ("anything", {"$enum": ["Color"]}),
    ("anything", {"$enum": ["Point", "x"]}),
    ("anything", {"$object": 1}),
    ("anything", {"$object": {"type": "Color"}}),
    ("anything", {"$object": {"type": "StartEvent", "get": 1}}),
    ("anything", {"$datetime": 1}),
    ("anything", (1,)),
    ("anything", {1: 2}),
    ("anything", object()),
    ("type", "Point"),
]


@pytest.mark.parametrize(
    ("field", "document"), WRONG, ids=[f"{number}-{row[0]}" for number, row in enumerate(WRONG)]
)
def test_s_ckpt_7_a_value_of_the_wrong_shape_is_refused_and_its_place_named(
    field: str, document: Any
) -> None:
    """Also one that Python would have made something of, as 1.0 of an int field."""
    with no_import(), pytest.raises(CheckpointError) as caught:
        CONVERTER.structure_event({**GOOD, field: document}, where="stored")
    assert field == "type" or caught.value.path.startswith(f"stored.{field}")


@pytest.mark.parametrize("field", [*FIELDS, "type"])
def test_s_ckpt_7_every_member_that_is_written_is_required(field: str) -> None:
    """A default would hide that something was lost."""
    document = {key: value for key, value in GOOD.items() if key != field}
    with pytest.raises(CheckpointError, match=f"needs '{field}'|no type None"):
        CONVERTER.structure_event(document, where="stored")


@pytest.mark.parametrize("document", [None, [], "Wide", 1, {}, {"type": "Wide"}, {1: 2}, ()], ids=str)
def test_s_ckpt_7_what_is_no_event_at_all_is_refused(document: Any) -> None:
    with pytest.raises(CheckpointError):
        CONVERTER.structure_event(document, where="stored")


TEXTS: list[tuple[str, bytes | str]] = [
    ("empty", b""),
    ("words", b"hello"),
    ("two", b"{} {}"),
    ("NaN", b'{"a": NaN}'),
    ("Infinity", b"[-Infinity]"),
    ("overflow", b"[1e999]"),
    ("huge integer", b"1" * 100_000),
    ("key twice", b'{"a": 1, "b": {"c": 1, "c": 2}}'),
    ("escaped key twice", b'{"a": 1, "\\u0061": 2}'),
    ("no UTF-8", b'["\xff"]'),
    ("surrogates in UTF-8", b'["\xed\xa0\x80"]'),
    ("UTF-16", '["a"]'.encode("utf-16")),
    ("byte order mark", b"\xef\xbb\xbf[]"),
    ("control character", b'["\n"]'),
    ("single quotes", b"['a']"),
    ("comment", b"[] // nothing"),
    ("deep list", b"[" * 100_000 + b"]" * 100_000),
    ("deep open list", b"[" * 1_000_000),
    ("deep object", b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    ("a little too deep", b"[" * 151 + b"]" * 151),
    ("a pickle", b"\x80\x04N."),
]


@pytest.mark.parametrize("data", [row[1] for row in TEXTS], ids=[row[0] for row in TEXTS])
def test_s_ckpt_7_what_is_no_json_of_ours_is_refused(data: bytes | str) -> None:
    texts: list[bytes | str] = [data]
    if isinstance(data, bytes) and data.isascii():
        texts.append(data.decode())
    for text in texts:
        with no_import(), little(seconds=5, megabytes=100), pytest.raises(CheckpointError) as caught:
            CONVERTER.loads(text, where="checkpoint")
        assert str(caught.value).startswith("checkpoint: ")
        assert len(str(caught.value)) < 500


def test_s_ckpt_7_the_deepest_that_is_allowed_is_read() -> None:
    assert CONVERTER.loads(b"[" * 150 + b"]" * 150, where="checkpoint")


def test_s_ckpt_7_a_text_of_a_hundred_megabytes_is_refused_before_it_is_read() -> None:
    data = b'"' + b"a" * 100_000_000 + b'"'
    with little(seconds=1, megabytes=1), pytest.raises(CheckpointError, match="larger than 67,108,864 bytes"):
        CONVERTER.loads(data, where="checkpoint")
    with pytest.raises(CheckpointError, match="larger than 10 bytes"):
        CONVERTER.loads(data, where="checkpoint", most_bytes=10)
    assert len(CONVERTER.loads(data, where="checkpoint", most_bytes=None)) == 100_000_000
    for wrong in (None, 5, ["a"]):
        with pytest.raises(CheckpointError, match="give bytes or text"):
            CONVERTER.loads(wrong, where="checkpoint")  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("field", ["integer", "color", "when", "amount", "key", "choice", "type", "points"])
def test_s_ckpt_7_a_message_quotes_little_of_a_huge_value(field: str) -> None:
    text = "9" * 10_000_000 + "x"
    with little(seconds=5, megabytes=100), pytest.raises(CheckpointError) as caught:
        CONVERTER.structure_event({**GOOD, field: text}, where="stored")
    assert len(str(caught.value)) < 600
    with pytest.raises(CheckpointError) as caught:
        CONVERTER.structure_event({**GOOD, text: 1}, where="stored")
    assert len(str(caught.value)) < 600


def test_s_ckpt_7_values_that_are_nested_deeply_are_refused_however_they_come() -> None:
    """A document that was not read from text has no bound of its own."""
    document: Any = 1
    for _ in range(100_000):
        document = [document]
    for deep in ({**GOOD, "anything": document}, {**GOOD, "many": document}):
        with pytest.raises(CheckpointError):
            CONVERTER.structure_event(deep, where="stored")
    for convert in (CONVERTER.structure_value, CONVERTER.unstructure_value):
        with pytest.raises(CheckpointError, match="levels"):
            convert(document, where="stored")
    with pytest.raises(CheckpointError, match="levels"):
        CONVERTER.dumps(document)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["Wide", "StartEvent", "Point", "Color", "RED", "__class__", "os.system"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "x",
                    "y",
                    "__init__",
                    "$tuple",
                    "$set",
                    "$dict",
                    "$enum",
                    "$object",
                    "$bytes",
                    "$Point",
                ]
            )
            | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values, st.sampled_from([*FIELDS, "type", "unknown"]))
@settings(max_examples=300)
def test_s_ckpt_7_any_json_at_any_field_is_a_value_or_an_error_of_ours(document: Any, field: str) -> None:
    """And what is read as a value is written as what was read."""
    with no_import():
        for read, whole in (
            (CONVERTER.structure_event, {**GOOD, field: document}),
            (CONVERTER.structure_event, document),
        ):
            try:
                event = read(whole, where="stored")
            except CheckpointError:
                continue
            assert isinstance(event, Wide | StartEvent | StopEvent)
            CONVERTER.unstructure_event(event)


@given(json_values)
@settings(max_examples=300)
def test_s_ckpt_7_any_json_is_a_value_or_an_error_of_ours(document: Any) -> None:
    with no_import():
        try:
            value = CONVERTER.structure_value(document, where="stored")
        except CheckpointError:
            pass
        else:
            CONVERTER.unstructure_value(value, where="value")
        try:
            state = CONVERTER.structure_state(document, where="state")
        except CheckpointError:
            pass
        else:
            assert type(state) is DictState


@given(st.binary() | st.text() | json_values.map(repr))
@settings(max_examples=300)
def test_s_ckpt_7_any_bytes_are_a_document_or_an_error_of_ours(data: bytes | str) -> None:
    try:
        document = CONVERTER.loads(data, where="checkpoint")
    except CheckpointError:
        return
    assert CONVERTER.loads(CONVERTER.dumps(document), where="checkpoint") == document
