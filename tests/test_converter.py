"""Values of events and of the state become JSON, and come back as what they were."""

import dataclasses
import enum
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, MutableSequence, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import (
    Any,
    Final,
    ForwardRef,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
)
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyio_workflows import (
    DictState,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    WorkflowRuntimeError,
    WorkflowValidationError,
)
from anyio_workflows._checkpoint.converter import Converter
from anyio_workflows._errors import CheckpointError

NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001  # users have such
ItemT = TypeVar("ItemT")
UserId = NewType("UserId", int)


class Socket:
    """No data."""


class Color(enum.Enum):
    RED = object()
    BLUE = "blue"
    AZURE = "blue"  # noqa: PIE796  # an alias


class Level(enum.IntEnum):
    LOW = 1


class Mode(enum.Flag):
    READ = 1
    WRITE = 2


@attrs.frozen
class Point:
    x: int
    y: float = 0.0


@attrs.frozen
class Named(Point):
    name: str = ""


@attrs.define
class Tree:
    name: str
    children: list["Tree"] = attrs.field(factory=list)


@attrs.frozen
class Box(Generic[ItemT]):
    item: ItemT


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


@attrs.frozen
class Split:
    """Its converter does not take what it gives."""

    words: tuple[str, ...] = attrs.field(converter=_split)


@attrs.define
class Private:
    _secret: int
    shown: int = attrs.field(alias="other")
    made: list[int] = attrs.field(factory=list, init=False)


@attrs.frozen
class Doubled:
    """Its values are no longer those that it was given."""

    value: int

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "value", self.value * 2)


@attrs.frozen(init=False)
class OwnInit:
    total: int

    def __init__(self, *parts: int) -> None:
        self.__attrs_init__(sum(parts))


@dataclasses.dataclass
class Data:
    a: int
    b: dict[str, Point] = dataclasses.field(default_factory=dict)
    c: str = dataclasses.field(default="c", init=False)


@dataclasses.dataclass(frozen=True)
class FromSeed:
    seed: dataclasses.InitVar[int]
    value: int = dataclasses.field(init=False)

    def __post_init__(self, seed: int) -> None:
        object.__setattr__(self, "value", seed + 1)


class Pair(NamedTuple):
    left: int
    right: "Pair | None" = None


class Options(TypedDict):
    depth: int
    where: NotRequired[Path]


class Model(pydantic.BaseModel):
    size: int = pydantic.Field(alias="how-big")
    tags: tuple[str, ...] = ()


class Loose(pydantic.BaseModel, extra="allow"):
    a: int


class Numbers(pydantic.RootModel[list[int]]):
    pass


class Inner(Event):
    text: str


class Other(Event):
    number: int


class One(Event):
    value: Any


def holding(annotation: Any) -> type[Event]:
    """Return a class of events with a field of that annotation."""
    return type("Holding", (Event,), {"__annotations__": {"value": annotation}, "__module__": __name__})


def numbered(rows: Sequence[tuple[Any, ...]]) -> list[str]:
    """Return a short id for each row of a table."""
    return [f"{number}-{str(row[0])[:30]}" for number, row in enumerate(rows)]


def converter_for(*events: type[Event], state: Any = None) -> Converter:
    return Converter(workflow="Flow", events=events, state_type=state)


def journey(event: Event, converter: Converter) -> Any:
    """Return what comes back of an event by way of JSON text."""
    text = converter.dumps(converter.unstructure_event(event))
    return converter.structure_event(converter.loads(text, where="event"), where="event")


def same(left: Any, right: Any) -> bool:
    """Return whether two values are equal and of the same types all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same(list(left.items()), list(right.items()))
    if isinstance(left, set | frozenset):
        return bool(left == right) and {*map(type, left)} == {*map(type, right)}
    return bool(left == right)


TYPED: list[tuple[Any, Any, Any]] = [
    (int, -3, -3),
    (int, 10**3000, 10**3000),
    (float, 1.0, 1.0),
    (float, 1, 1),
    (float, 5e-324, 5e-324),
    (bool, True, True),
    (str, "é\0\n", "é\0\n"),
    (str, "\ud800", "\ud800"),
    (None, None, None),
    (Final[int], 5, 5),
    (list[int] | MutableSequence[int], [1], [1]),
    (UserId, 5, 5),
    (list[int], [1, 2], [1, 2]),
    (list, [1, (2,)], [1, {"$tuple": [2]}]),
    (tuple[int, ...], (1, 2), [1, 2]),
    (tuple[int, str], (1, "a"), [1, "a"]),
    (tuple[()], (), []),
    (tuple, (1, "a"), [1, "a"]),
    (set[str], {"b", "a"}, ["a", "b"]),
    (frozenset[int], frozenset({2, 1}), [1, 2]),
    (set[tuple[int, str | None]], {(1, None)}, [[1, None]]),
    (dict[str, int], {"$tuple": 1}, {"$tuple": 1}),
    (dict[int, str], {2: "a", 1: "b"}, [[2, "a"], [1, "b"]]),
    (dict[UUID, int], {UUID(int=1): 1}, {"00000000-0000-0000-0000-000000000001": 1}),
    (dict, {"a": (1,)}, {"a": {"$tuple": [1]}}),
    (Sequence[int], (1, 2), {"$tuple[int, ...]": [1, 2]}),
    (Sequence[int], [1, 2], {"$list[int]": [1, 2]}),
    (Iterable[int], frozenset({1}), {"$frozenset[int]": [1]}),
    (AbstractSet[int], {1}, {"$set[int]": [1]}),
    (Mapping[str, int], {"a": 1}, {"a": 1}),
    (Optional[int], None, None),  # noqa: UP045  # users write it
    (int | str | None, "a", "a"),
    (int | float, 1, 1),
    (int | float, 1.0, 1.0),
    (list[int] | list[str], ["a"], ["a"]),
    (list[int] | tuple[int, ...], (1,), {"$tuple[int, ...]": [1]}),
    (datetime | str, "2026-01-01T00:00:00", {"$str": "2026-01-01T00:00:00"}),
    (datetime | str, NAIVE, {"$datetime": "2026-01-01T00:00:00"}),
    (datetime | int, 5, 5),
    (Point | Data | None, Point(1), {"$Point": {"x": 1, "y": 0.0}}),
    (Point | Data | dict[str, int], {"$Point": 1}, {"$dict[str, int]": {"$Point": 1}}),
    (Box[int] | Box[str], Box("a"), {"$Box[str]": {"item": "a"}}),
    (Literal["a", 1, True, None], True, True),  # noqa: PYI061  # users write it
    (Literal["a", 1], 1, 1),
    (Literal[Color.RED], Color.RED, "RED"),
    (Color, Color.AZURE, "BLUE"),
    (Level, Level.LOW, "LOW"),
    (Mode, Mode.READ | Mode.WRITE, 3),
    (dict[Color, int], {Color.RED: 1}, {"RED": 1}),
    (datetime, datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "2026-01-02T03:04:05.000006+00:00"),
    (datetime, datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=-2))), "2026-01-02T00:00:00-02:00"),
    (date, date(2026, 1, 2), "2026-01-02"),
    (time, time(1, 2, 3), "01:02:03"),
    (timedelta, timedelta(days=-1, microseconds=1), "-86399.999999"),
    (timedelta, timedelta.max, "86399999999999.999999"),
    (bytes, b"\xff\0", "/wA="),
    (UUID, UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    (Decimal, Decimal("1.50"), "1.50"),
    (Path, Path("a/b"), "a/b"),
    (Point, Point(1, 2), {"x": 1, "y": 2}),
    (Point, Named(1, 2.0, "n"), {"$object": {"type": "Named", "x": 1, "y": 2.0, "name": "n"}}),
    (Tree, Tree("a", [Tree("b")]), {"name": "a", "children": [{"name": "b", "children": []}]}),
    (Box[tuple[int, ...]], Box((1,)), {"item": [1]}),
    (Box, Box((1,)), {"item": {"$tuple": [1]}}),
    (Split, Split("a,b"), {"words": ["a", "b"]}),
    (Doubled, Doubled(2), {"value": 4}),
    (OwnInit, OwnInit(1, 2), {"total": 3}),
    (Data, Data(1, {"p": Point(1)}), {"a": 1, "b": {"p": {"x": 1, "y": 0.0}}, "c": "c"}),
    (FromSeed, FromSeed(1), {"value": 2}),
    (Pair, Pair(1, Pair(2)), {"left": 1, "right": {"left": 2, "right": None}}),
    (Options, {"depth": 1, "where": Path("a")}, {"depth": 1, "where": "a"}),
    (Options, {"depth": 1}, {"depth": 1}),
    (Model, Model.model_validate({"how-big": 1, "tags": ("a",)}), {"size": 1, "tags": ["a"]}),
    (Loose, Loose.model_validate({"a": 1, "b": (2,)}), {"a": 1, "b": {"$tuple": [2]}}),
    (Numbers, Numbers([1]), {"root": [1]}),
    (Inner, Inner(text="t"), {"text": "t"}),
    (Event, Inner(text="t"), {"$object": {"type": "Inner", "text": "t"}}),
    (Event, Event(a=1, type=2), {"a": 1, "type_": 2}),
    (object, (1,), {"$tuple": [1]}),
]


@pytest.mark.parametrize(("annotation", "value", "document"), TYPED, ids=numbered(TYPED))
def test_s_ckpt_2_a_typed_value_comes_back_as_itself(annotation: Any, value: Any, document: Any) -> None:
    """And what is written for it is plain, as long as its annotation says what it is."""
    cls = holding(annotation)
    converter = converter_for(cls, holding_class("Extra", named=Named), Inner)
    event = cls(value=value)
    written = converter.unstructure_event(event)
    assert same({"type": "Holding", "value": document}, written)
    back = journey(event, converter)
    assert same(value, back.value)
    assert event == back


def holding_class(name: str, **annotations: Any) -> type[Event]:
    """Return a class of events with these fields."""
    return type(name, (Event,), {"__annotations__": annotations, "__module__": __name__})


UNTYPED: list[tuple[Any, Any]] = [
    (None, None),
    ([1, 1.0, True, "a", None], [1, 1.0, True, "a", None]),
    ({"a": {"b": []}}, {"a": {"b": []}}),
    ({"type": "Point", "x": 1}, {"type": "Point", "x": 1}),
    ({"$tuple": [1]}, {"$dict": [["$tuple", [1]]]}),
    ({"$tuple": [1], "b": 2}, {"$tuple": [1], "b": 2}),
    ({1: "a", (2,): "b"}, {"$dict": [[1, "a"], [{"$tuple": [2]}, "b"]]}),
    ((1, (2,)), {"$tuple": [1, {"$tuple": [2]}]}),
    ({3, 1, 2}, {"$set": [1, 2, 3]}),
    (frozenset({(1,)}), {"$frozenset": [{"$tuple": [1]}]}),
    (b"a", {"$bytes": "YQ=="}),
    (NAIVE, {"$datetime": "2026-01-01T00:00:00"}),
    (date(2026, 1, 2), {"$date": "2026-01-02"}),
    (time(1), {"$time": "01:00:00"}),
    (timedelta(seconds=1), {"$timedelta": "1.000000"}),
    (UUID(int=1), {"$uuid": "00000000-0000-0000-0000-000000000001"}),
    (Decimal(1), {"$decimal": "1"}),
    (Path("a"), {"$path": "a"}),
    (Color.RED, {"$enum": ["Color", "RED"]}),
    (Mode.READ, {"$enum": ["Mode", 1]}),
    (Point(1), {"$object": {"type": "Point", "x": 1, "y": 0.0}}),
    (Data(1), {"$object": {"type": "Data", "a": 1, "b": {}, "c": "c"}}),
    (Model.model_validate({"how-big": 1}), {"$object": {"type": "Model", "size": 1, "tags": []}}),
    (Pair(1), {"$object": {"type": "Pair", "left": 1, "right": None}}),
    (Inner(text="t"), {"$object": {"type": "Inner", "text": "t"}}),
    (StartEvent(type="a", type_="b"), {"$object": {"type": "StartEvent", "type_": "a", "type__": "b"}}),
]


class Known(Event):
    a: Color | Mode
    b: Point | Data
    c: Model
    d: Pair


EVERYTHING = (Known, Inner, One, StartEvent, StopEvent, InputRequiredEvent, HumanResponseEvent, Event)


KNOWING = converter_for(*EVERYTHING)


@pytest.mark.parametrize(("value", "document"), UNTYPED, ids=numbered(UNTYPED))
def test_s_ckpt_7_an_untyped_value_says_what_it_is_and_comes_back(value: Any, document: Any) -> None:
    """A tuple comes back as a tuple; what looks like a tag is none."""
    converter = converter_for(*EVERYTHING)
    written = converter.unstructure_value(value, where="value")
    assert same(document, written)
    text = converter.dumps(written)
    assert same(value, converter.structure_value(converter.loads(text, where="value"), where="value"))
    assert same(value, journey(One(value=value), converter).value)


numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
hashables = st.recursive(
    numbers
    | st.none()
    | st.booleans()
    | st.text()
    | st.binary()
    | st.dates()
    | st.uuids()
    | st.datetimes(timezones=st.none() | st.just(UTC)).map(lambda value: value.replace(fold=0))
    | st.timedeltas()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.sampled_from([*Color, *Mode, Level.LOW]).filter(lambda value: value is not Level.LOW)
    | st.builds(Point, st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner),
    max_leaves=5,
)
values = st.recursive(
    hashables,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.sampled_from(["$tuple", "$dict", "type"]), inner)
        | st.dictionaries(hashables, inner)
        | st.sets(hashables)
        | st.builds(lambda value: StopEvent(result=value), inner)
    ),
    max_leaves=10,
)


@given(values)
def test_s_ckpt_2_whatever_is_written_is_read_as_the_same(value: Any) -> None:
    converter = KNOWING
    written = converter.unstructure_value(value, where="value")
    read = converter.structure_value(converter.loads(converter.dumps(written), where="v"), where="v")
    assert same(value, read)
    assert same(written, converter.unstructure_value(read, where="v"))


@pytest.mark.parametrize("cls", [StartEvent, StopEvent, InputRequiredEvent, HumanResponseEvent, Event])
def test_s_ckpt_2_an_event_of_any_keywords_comes_back(cls: type[Event]) -> None:
    converter = converter_for(cls)
    event = cls(result=(1, {2}), type="t", type_=3)
    assert event == journey(event, converter)


def test_s_ckpt_2_fields_come_back_as_they_were_however_the_class_sets_them() -> None:
    """Private names, aliases, and fields that ``__init__`` does not take."""
    converter = converter_for(holding_class("Holding", value=Private))
    private = Private(1, other=2)
    private.made.append(5)
    event = converter.structure_event(
        converter.unstructure_event(_holding(converter, value=private)), where="e"
    )
    assert private == event.value  # type: ignore[attr-defined]
    assert event.value._secret == 1  # type: ignore[attr-defined]


def _holding(converter: Converter, **fields: Any) -> Event:
    cls: type[Event] = converter._registry.classes["Holding"]
    return cls(**fields)


class Stamped(Event, eq=False):
    text: str
    number: int = attrs.field(factory=iter(range(100)).__next__, init=False)


def test_s_ckpt_2_what_an_event_drew_when_it_was_made_is_not_drawn_again() -> None:
    converter = converter_for(Stamped)
    event = Stamped(text="a")
    back = journey(event, converter)
    assert (event.text, event.number) == (back.text, back.number)


def test_s_ckpt_2_nothing_in_a_document_is_the_events_own() -> None:
    """A mutable value that is changed later must not show in the checkpoint."""
    for annotation in (list[int], Any, list, list[int] | None, dict[str, list[int]] | list[int]):
        cls = holding(annotation)
        value = [1]
        converter = converter_for(cls)
        written = converter.unstructure_event(cls(value=value))
        value.append(2)
        assert written == {"type": "Holding", "value": [1]}


def test_s_ckpt_7_the_tag_is_the_short_name_unless_two_classes_have_it() -> None:
    first = holding_class("Twin", a=int)
    second = holding_class("Twin", b=int)
    second.__module__ = "elsewhere"
    converter = converter_for(first, second)
    assert converter.unstructure_event(first(a=1)) == {"type": f"{__name__}.Twin", "a": 1}
    assert second(b=1) == journey(second(b=1), converter)
    second.__module__ = __name__
    with pytest.raises(WorkflowValidationError, match="2 classes are called"):
        converter_for(first, second)


BAD_ANNOTATIONS: list[Any] = [
    Socket,
    ValueError,
    Callable[[int], str],
    type[int],
    "Nowhere",
    list[ForwardRef("Nowhere")],  # type: ignore[misc]  # as typing.List makes it
    list["Nowhere"],  # type: ignore[name-defined]  # noqa: F821
    complex,
    Literal["RED", Color.RED],
    dict[str, Socket],
    tuple[int, Socket],
    Socket | None,
    Box[Socket],
]


@pytest.mark.parametrize("annotation", BAD_ANNOTATIONS, ids=lambda each: str(each).split(" at 0x")[0])
def test_s_ckpt_2_an_annotation_that_can_not_be_written_is_found_before_any_run(annotation: Any) -> None:
    with pytest.raises(WorkflowValidationError, match=r"Holding\.value is annotated|Box\.item") as caught:
        converter_for(holding(annotation))
    assert len(str(caught.value)) < 600


def test_s_ckpt_2_every_mistake_is_named_at_once() -> None:
    @attrs.define
    class Client:
        lock: Socket
        point: Point

    class Started(Event):
        client: Client
        error: Exception

    with pytest.raises(WorkflowValidationError) as caught:
        converter_for(Started, state=Client)
    assert {problem.partition(", ")[0] for problem in caught.value.problems} == {
        f"{Client.__qualname__}.lock is annotated Socket",
        f"{Started.__qualname__}.error is annotated Exception",
    }
    assert caught.value.workflow == "Flow"


@pytest.mark.parametrize("state", [int, list[int], Socket, dict[int, int]])
def test_s_ckpt_2_a_state_without_names_for_its_parts_is_a_mistake(state: Any) -> None:
    with pytest.raises(WorkflowValidationError, match="the state is of type"):
        converter_for(state=state)


REFUSED: list[tuple[Any, Any, str]] = [
    (int, "a", r"Holding\.value: 'a' is of type str, not int"),
    (int, True, "of type bool, not int"),
    (int, 10**4000, "3,000 digits"),
    (float, float("nan"), "JSON has no nan"),
    (float, "1", "not float"),
    (bool, 1, "not bool"),
    (None, 0, "not None"),
    (str, Level.LOW, "not str"),
    (list[int], (1,), "not list"),
    (list[list[int]], [[1], [2, "x"]], r"Holding\.value\[1\]\[1\]: 'x'"),
    (dict[str, int], {"a": 1, "b": None}, r"Holding\.value\.b: None"),
    (dict[str, int], {1: 1}, r"Holding\.value\.1: 1 is of type int, not str"),
    (dict[int, int], {1: "x"}, r"Holding\.value\[0\]: 'x'"),
    (dict[int, int], [1], "not dict"),
    (dict[str, int], [1], "not dict"),
    (dict, [1], "not dict"),
    (tuple[int, str], (1,), "1 items, where 2"),
    (tuple[int, str], [1, "a"], "not tuple"),
    (tuple[int, str], (1, 2), r"Holding\.value\[1\]"),
    (int | str, 1.5, "not int or str"),
    (Literal["a"], "b", "not one of a"),
    (Literal["a"], [], "not one of a"),
    (Color, "RED", "not Color"),
    (Point, Point("x"), r"Holding\.value\.x: 'x'"),  # type: ignore[arg-type]  # on purpose
    (Point, Named(1), "not Point"),
    (Tree, Tree("a", [Tree("b", [Tree(5)])]), r"value\.children\[0\]\.children\[0\]\.name: 5"),  # type: ignore[arg-type]  # on purpose
    (Options, {}, "needs 'depth'"),
    (Options, {"depth": 1, "other": 2}, r"value\.other: Options has no such"),
    (Options, {"depth": "x"}, r"value\.depth: 'x'"),
    (Options, 5, "keys of Options"),
    (datetime, datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC")), "fixed offset"),
    (datetime, datetime(2026, 1, 1, tzinfo=timezone(timedelta(0), "mine")), "with a name"),
    (datetime, NAIVE.replace(fold=1), "ambiguous"),
    (datetime, date(2026, 1, 1), "not datetime"),
    (Decimal, Decimal("NaN"), "JSON has no NaN"),
    (Any, object(), "does not know"),
    (Any, [1, {"a": {2, 1.5, b"x", Socket}}], r"Holding\.value\[1\]\.a\[\d\]"),
    (Any, {"$x": Socket()}, "does not know"),
    (Any, Point(1), "of type Point, which this workflow does not know: annotate"),
    (Any, Level.LOW, "Level, which this workflow does not know"),
    (Any, ValueError(), "does not know"),
    (Loose, Loose.model_validate({"a": 1, "b": Socket()}), r"value\.b: .*does not know"),
]


@pytest.mark.parametrize(("annotation", "value", "message"), REFUSED, ids=numbered(REFUSED))
def test_s_ckpt_7_a_value_that_can_not_be_written_is_named_with_its_place(
    annotation: Any, value: Any, message: str
) -> None:
    """Written, it could not be read again, and nobody would know before the night of the restart."""
    cls = holding(annotation)
    with pytest.raises(CheckpointError, match=message) as caught:
        converter_for(cls).unstructure_event(cls(value=value))
    assert caught.value.path.startswith("Holding.value")


def test_s_ckpt_7_an_event_that_the_workflow_does_not_know_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"Other: .*extra_events=\[Other\]"):
        converter_for(Inner).unstructure_event(Other(number=1))


def test_s_ckpt_7_a_field_that_was_never_set_is_refused() -> None:
    class Late(Event):
        value: int = attrs.field(init=False)

    with pytest.raises(CheckpointError, match="never set"):
        converter_for(Late).unstructure_event(Late())


def test_s_ckpt_7_a_keyword_that_belongs_to_python_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"StartEvent\.__deepcopy__: names with two underscores"):
        converter_for(StartEvent).unstructure_event(StartEvent(__deepcopy__=1))
    with pytest.raises(CheckpointError, match="or a dollar"):
        converter_for(StartEvent).unstructure_event(StartEvent(**{"$object": 1}))


def test_s_ckpt_7_what_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    tree = Tree("a")
    tree.children.append(tree)
    converter = converter_for(One, holding(Tree))
    for event in (One(value=endless), _holding(converter, value=tree)):
        with pytest.raises(CheckpointError, match="contains itself"):
            converter.unstructure_event(event)
    with pytest.raises(CheckpointError, match="contains itself"):
        converter.unstructure_value(endless, where="state.x")


def test_s_ckpt_7_what_is_too_deep_to_be_read_is_not_written() -> None:
    deep: list[Any] = []
    for _ in range(98):
        deep = [deep]
    converter = converter_for(One)
    assert journey(One(value=deep), converter) == One(value=deep)
    with pytest.raises(CheckpointError, match="more than 100 levels"):
        converter.unstructure_event(One(value=[deep]))
    converter.unstructure_value([deep], where="value")
    with pytest.raises(CheckpointError, match="more than 100 levels"):
        converter.unstructure_value([[deep]], where="value")


STATES: list[tuple[Any, Any]] = [
    (None, DictState(count=1, seen={1}, **{"$tuple": [1], "type": 2})),
    (Any, DictState(count=1)),
    (Private, Private(1, other=2)),
    (Data, Data(1, {"a": Point(1)})),
    (Model, Model.model_validate({"how-big": 2})),
    (Loose, Loose.model_validate({"a": 1, "type": 5})),
    (Pair, Pair(1)),
    (Options, {"depth": 2}),
    (dict, {"a": (1,)}),
    (dict[str, Point], {"a": Point(1)}),
]


@pytest.mark.parametrize(("annotation", "state"), STATES, ids=numbered(STATES))
def test_s_ckpt_1_a_state_is_written_part_by_part_and_comes_back(annotation: Any, state: Any) -> None:
    """So that a change of one part costs that part only."""
    converter = converter_for(state=annotation)
    parts = {
        name: converter.unstructure_field(name, value) for name, value in converter.state_keys(state).items()
    }
    text = converter.dumps(parts)
    back = converter.structure_state(converter.loads(text, where="state"), where="state")
    assert type(back) is type(state)
    assert back == state


class OwnState(DictState):
    pass


def test_s_ckpt_1_a_dict_state_of_the_users_own_class_comes_back_as_that() -> None:
    converter = converter_for(state=OwnState)
    state = converter.structure_state({"a": 1}, where="state")
    assert type(state) is OwnState
    assert state == {"a": 1}


def test_s_ckpt_7_a_part_of_the_state_that_is_wrong_is_named() -> None:
    data, loose = converter_for(state=Data), converter_for(state=None)
    with pytest.raises(CheckpointError, match=r"state\.a: 'x' is of type str, not int"):
        data.unstructure_field("a", "x")
    with pytest.raises(CheckpointError, match=r"state\.z: the state has no such field"):
        data.unstructure_field("z", 1)
    with pytest.raises(CheckpointError, match="of type Point, not Data"):
        data.state_keys(Point(1))
    with pytest.raises(CheckpointError, match="1 is of type int, not a text"):
        loose.unstructure_field(1, 1)  # type: ignore[arg-type]  # a key of the user's
    with pytest.raises(CheckpointError, match=r"state\.a\[1\]: .*does not know"):
        loose.unstructure_field("a", [1, Socket()])
    with pytest.raises(CheckpointError, match=r"here\.a: 'x' is of type str"):
        data.structure_state({"a": "x", "b": {}, "c": ""}, where="here")
    with pytest.raises(CheckpointError, match="Data needs 'b', 'c'"):
        data.structure_state({"a": 1}, where="here")
    with pytest.raises(CheckpointError, match=r"here\.a: '\$x' stands for nothing"):
        loose.structure_state({"a": {"$x": 1}}, where="here")
    with pytest.raises(CheckpointError, match="parts of the state"):
        loose.structure_state([], where="here")  # type: ignore[arg-type]  # on purpose


def test_s_ckpt_7_the_description_names_every_class_field_and_type() -> None:
    """Two of them are compared when a workflow has changed."""
    converter = converter_for(Inner, holding(dict[str, list[Point]] | None), StartEvent, state=Options)
    assert converter.describe() == {
        "Inner": {"text": "str"},
        "Holding": {"value": "dict[str, list[Point]] | None"},
        "StartEvent": {"**": "any keywords"},
        "Point": {"x": "int", "y": "float"},
    }
    enums = converter_for(holding(Color | Literal[Mode.READ] | tuple[int, Box[int]] | frozenset[Options]))
    assert enums.describe() == {
        "Holding": {"value": "Color | Literal[<Mode.READ: 1>] | tuple[int, Box[int]] | frozenset[Options]"},
        "Color": {"RED": "member", "BLUE": "member", "AZURE": "member"},
        "Mode": {"READ": "member", "WRITE": "member"},
        "Box": {"item": "Any"},
    }


def test_s_ckpt_7_a_refusal_of_the_classes_own_is_named_and_kept_as_the_cause() -> None:
    @attrs.frozen
    class Positive:
        number: int = attrs.field(validator=attrs.validators.gt(0))

    class Checked(Event):
        positive: Positive

    converter = converter_for(Checked)
    document = {"type": Checked.__qualname__, "positive": {"number": -1}}
    with pytest.raises(CheckpointError, match=r"here\.positive: .*Positive does not accept it") as caught:
        converter.structure_event(document, where="here")
    assert isinstance(caught.value.__cause__, ValueError)


def test_s_ckpt_7_a_class_whose_converter_is_not_called_again_is_validated_all_the_same() -> None:
    @attrs.frozen
    class Positive:
        number: int = attrs.field(converter=abs, validator=attrs.validators.gt(0))

    class Checked(Event):
        positive: Positive

    document = {"type": Checked.__qualname__, "positive": {"number": -1}}
    with pytest.raises(CheckpointError, match="Positive does not accept it"):
        converter_for(Checked).structure_event(document, where="here")


def test_a_checkpoint_error_says_where_and_survives_a_pickle() -> None:
    error = CheckpointError("it is wrong", "Fetched.pages[3]", "run-1", "run-1/7")
    assert str(error) == "run run-1, checkpoint run-1/7, Fetched.pages[3]: it is wrong"
    assert str(CheckpointError("it is wrong")) == "it is wrong"
    again = pickle.loads(pickle.dumps(error))
    assert (str(error), error.path, error.run_id) == (str(again), again.path, again.run_id)
    assert isinstance(error, WorkflowRuntimeError)
    assert len(str(CheckpointError("a" * 10_000, "b" * 10_000, "c" * 10_000))) < 1300


def test_s_ckpt_2_the_text_is_for_people_and_for_every_json_reader() -> None:
    converter = converter_for(StartEvent)
    assert (
        converter.dumps({"é": [1, None, True], "$tuple": 1.0}) == '{"é":[1,null,true],"$tuple":1.0}'.encode()
    )
    for unfit in (float("inf"), object(), {(): 1}):
        with pytest.raises(CheckpointError, match="can't be written as JSON"):
            converter.dumps(unfit)
    with pytest.raises(CheckpointError, match="keep large values in a file"):
        converter.dumps("x" * (64 * 1024 * 1024))
    assert json.loads(converter.dumps("\ud800")) == "\ud800"


def test_importing_the_package_imports_no_pydantic() -> None:
    """Models are written where pydantic is there already."""
    program = "import sys, anyio_workflows._checkpoint.converter; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


class Unresolved(TypedDict):
    value: "Nowhere"  # type: ignore[name-defined]  # noqa: F821


class Generic2(TypedDict, Generic[ItemT]):
    item: ItemT


def test_s_ckpt_2_a_dict_of_declared_keys_may_have_type_parameters() -> None:
    cls = holding(Generic2[tuple[int, ...]] | None)
    event = cls(value={"item": (1,)})
    assert event == journey(event, converter_for(cls))


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (Unresolved, "in which the name 'Nowhere' can't be found"),
        (Callable[[int, "Nowhere"], None], r"annotated Callable\[\[int, Nowhere\], None\]"),  # noqa: F821
        (Callable[..., int], r"annotated Callable\[\.\.\., int\]"),
        (OSError | None, r"annotated OSError \| None"),
        (type("Counted", (dict,), {"__attrs_attrs__": ()}), "which is no data"),
    ],
    ids=["dict", "function", "any function", "exception", "a dict with fields"],
)
def test_s_ckpt_2_what_an_annotation_lacks_is_said(annotation: Any, message: str) -> None:
    with pytest.raises(WorkflowValidationError, match=message):
        converter_for(holding(annotation))


class Branch(TypedDict):
    branches: "list[Branch]"


def test_s_ckpt_2_a_dict_that_contains_itself_is_a_mistake() -> None:
    """Nothing would bound it; a class with fields may contain itself."""
    for events, state in (([holding(Branch)], None), ([], Branch)):
        with pytest.raises(WorkflowValidationError, match="which contains itself without end"):
            converter_for(*events, state=state)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="aliases of that kind are new")
def test_s_ckpt_2_an_alias_that_contains_itself_is_a_mistake() -> None:
    names: dict[str, Any] = {}
    exec("type Json = list[Json] | int", names)
    with pytest.raises(WorkflowValidationError, match="which contains itself without end"):
        converter_for(holding(names["Json"]))


def test_s_ckpt_7_a_converter_that_recurses_without_end_is_refused() -> None:
    def endless(*args: Any) -> None:
        endless(*args)

    @attrs.frozen
    class Deep:
        number: int = attrs.field(validator=endless)

    class Held(Event):
        deep: Deep

    with pytest.raises(CheckpointError, match="nested in more than 100 levels"):
        converter_for(Held).structure_event({"type": Held.__qualname__, "deep": {"number": 1}}, where="e")
