"""S-EV: what an event is, and what a run makes of the one that ends it."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from anyio_workflows import (
    Context,
    Event,
    EventFieldsError,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowFailedEvent,
    step,
)

OPEN = [Event, StartEvent, StopEvent, InputRequiredEvent, HumanResponseEvent]
open_classes = pytest.mark.parametrize("kind", OPEN, ids=lambda kind: kind.__name__)


class Fetched(Event):
    url: str
    size: int = 0


class Saved(Event):
    url: str
    size: int = 0


def fields_of(kind: Any) -> "tuple[attrs.Attribute[Any], ...]":
    """Mypy sees the transform only, not that it is an attrs class."""
    return tuple(attrs.fields(kind))


# --- S-EV-1: declaring


def test_s_ev_1_declaring_a_subclass_is_all_it_takes_to_have_an_attrs_class() -> None:
    """No decorator: the fields are those that the class body annotates."""
    kind: Any = Fetched  # mypy sees the transform only
    assert attrs.has(kind)
    assert [field.name for field in fields_of(Fetched)] == ["url", "size"]
    fetched = Fetched(url="a", size=2)
    assert (fetched.url, fetched.size) == ("a", 2)
    assert repr(fetched) == "Fetched(url='a', size=2)"
    anything: Any = fetched
    assert attrs.asdict(attrs.evolve(anything, size=3)) == {"url": "a", "size": 3}


def test_s_ev_1_fields_are_given_by_keyword_only() -> None:
    """Positions would change their meaning when a base class gets a field."""
    with pytest.raises(TypeError):
        Fetched("a")  # type: ignore[call-arg]  # what this is about
    assert all(field.kw_only for field in fields_of(Fetched))


def test_s_ev_1_an_event_is_frozen() -> None:
    """It may be in the hands of several steps."""
    fetched = Fetched(url="a")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        fetched.url = "b"  # type: ignore[misc]  # what this is about
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        del fetched.url
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        fetched.colour = "red"
    assert fetched == Fetched(url="a")


def test_s_ev_1_type_checkers_see_the_constructor() -> None:
    """The unused-ignore check keeps these lines honest: each call is one that a checker refuses."""
    with pytest.raises(EventFieldsError):
        Fetched(link="a")  # type: ignore[call-arg]  # no such field
    with pytest.raises(EventFieldsError):
        Fetched()  # type: ignore[call-arg]  # url is missing
    Fetched(url=1)  # type: ignore[arg-type]  # attrs does not look at types, checkers do
    transform: dict[str, Any] = Event.__dataclass_transform__  # type: ignore[attr-defined]
    said = {**transform["kwargs"], **transform}  # where Python 3.11 keeps frozen_default
    assert (said["kw_only_default"], said["frozen_default"]) == (True, True)
    assert attrs.field in said["field_specifiers"]


def positive(_event: object, attribute: "attrs.Attribute[int]", value: int) -> None:
    if value <= 0:
        raise ValueError(f"{attribute.name} must be positive")


class Rich(Event):
    tags: tuple[str, ...] = attrs.field(converter=tuple, factory=tuple)
    size: int = attrs.field(default=1, validator=positive)
    noted_at: float = attrs.field(default=0.0, eq=False)
    _secret: str = attrs.field(default="none", alias="secret")
    length: int = attrs.field(init=False, default=attrs.Factory(lambda self: len(self.tags), takes_self=True))


def test_s_ev_1_defaults_factories_converters_and_validators_work() -> None:
    """As in any attrs class, private fields and fields that no caller gives included."""
    assert Rich().tags == ()
    rich = Rich(tags=["a", "b"], secret="s")  # type: ignore[arg-type]  # the converter takes a list
    assert (rich.tags, rich.length, rich._secret) == (("a", "b"), 2, "s")
    with pytest.raises(ValueError, match="size must be positive"):
        Rich(size=0)


def test_s_ev_1_a_type_error_of_the_users_own_validator_is_not_explained_away() -> None:
    """It says something about a value, not about which fields there are."""

    class Strict(Event):
        size: int = attrs.field(validator=attrs.validators.instance_of(int))

    with pytest.raises(TypeError) as caught:
        Strict(size="big")  # type: ignore[arg-type]  # what this is about
    assert not isinstance(caught.value, EventFieldsError)


def test_s_ev_1_fields_are_inherited_and_may_follow_defaults() -> None:
    """A mandatory field after one with a default is no problem among keywords."""

    class Parsed(Fetched):
        tree: str

    parsed = Parsed(url="a", tree="t")
    assert [field.name for field in fields_of(Parsed)] == ["url", "size", "tree"]
    assert isinstance(parsed, Fetched)
    assert parsed != Fetched(url="a")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        parsed.tree = "u"  # type: ignore[misc]  # what this is about


def test_s_ev_1_methods_and_properties_may_be_added() -> None:
    """An event is a class like any other."""

    class Priced(Event):
        cents: int

        @property
        def euros(self) -> float:
            return self.cents / 100

    assert Priced(cents=250).euros == 2.5


def test_s_ev_1_eq_false_compares_a_class_by_identity_and_leaves_out_a_field() -> None:
    """Both are attrs' own: ``eq=False`` of the class and of one field."""

    class Ping(Event, eq=False):
        number: int

    ping = Ping(number=1)
    assert ping != Ping(number=1)
    assert len({ping, Ping(number=1), ping}) == 2
    assert Rich(noted_at=1.0) == Rich(noted_at=2.0)
    assert Rich(size=2) != Rich(size=3)


# --- S-EV-2: values


def test_s_ev_2_events_compare_by_class_and_value() -> None:
    """Two classes with the same fields say different things."""
    assert Fetched(url="a") == Fetched(url="a")
    assert Fetched(url="a") != Fetched(url="b")
    assert Fetched(url="a") != Saved(url="a")
    assert Event(url="a") == Event(url="a")
    assert Event(url="a") != StartEvent(url="a")
    assert len({Fetched(url="a"), Fetched(url="a"), Event(n=1), Event(n=1)}) == 2


@open_classes
def test_s_ev_2_an_open_event_is_immutable_too(kind: type[Event]) -> None:
    """Whatever keywords it was given."""
    event = kind(answer=1)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.answer = 2
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        del event.answer  # type: ignore[attr-defined]
    assert event.get("answer") == 1


class Shared(Event):
    values: list[int]


class Seen(Event):
    event: Shared


class Sharing(Workflow):
    @step
    async def share(self, ev: StartEvent) -> Shared:
        return Shared(values=ev.values)

    @step
    async def first(self, ev: Shared) -> Seen:
        return Seen(event=ev)

    @step
    async def second(self, ev: Shared) -> Seen:
        return Seen(event=ev)

    @step
    async def gather(self, ctx: Context, ev: Seen) -> StopEvent | None:
        both = ctx.collect_events(ev, [Seen, Seen])
        return None if both is None else StopEvent(result=both)


async def test_s_ev_2_several_steps_get_the_same_object_with_its_values_shared_and_not_copied() -> None:
    """Copying would cost, and hide from nobody that a list is the wrong thing to put into an event."""
    values = [1, 2]
    one, other = await Sharing().run(values=values)
    assert one.event is other.event
    assert one.event.values is values


# --- S-EV-3: fields


@open_classes
def test_s_ev_3_used_directly_it_accepts_any_keywords(kind: type[Event]) -> None:
    """They are attributes, `get` has a default, and `in` says whether there is one."""
    event = kind(question="why", name="ada", self=1, cls=2, event=3)
    assert event.question == "why"  # type: ignore[attr-defined]
    assert [event.get(name) for name in ("name", "self", "cls", "event")] == ["ada", 1, 2, 3]
    assert event.get("colour") is None
    assert event.get("colour", "red") == "red"
    assert "question" in event
    assert "colour" not in event
    with pytest.raises(AttributeError):
        event.colour  # type: ignore[attr-defined]  # noqa: B018  # what this is about


@open_classes
def test_s_ev_3_a_subclass_accepts_exactly_its_fields(kind: type[Event]) -> None:
    """The error names the class, the keyword and the fields that there are."""
    strict = type("Strict", (kind,), {"__annotations__": {"question": str, "size": int}, "size": 0})
    assert strict(question="why") == strict(question="why", size=0)
    with pytest.raises(EventFieldsError) as caught:
        strict(question="why", colour="red")
    assert str(caught.value) == "Strict has no field 'colour'; its fields are 'question', 'size'"
    assert (caught.value.event, caught.value.unknown) == ("Strict", ("colour",))
    assert isinstance(caught.value, TypeError)
    with pytest.raises(EventFieldsError, match=r"Strict needs 'question'; its fields are 'question', 'size'"):
        strict()


def test_s_ev_3_a_subclass_without_fields_accepts_nothing() -> None:
    """A StopEvent's `result` is no field of its subclasses."""

    class Done(StopEvent):
        pass

    with pytest.raises(EventFieldsError, match="Done has no field 'result'; it declares no fields"):
        Done(result=1)


def test_s_ev_3_the_error_names_a_field_as_the_keyword_that_gives_it() -> None:
    """attrs gives a private field without its underscore; one with ``init=False`` cannot be given."""
    with pytest.raises(EventFieldsError) as caught:
        Rich(length=1)  # type: ignore[call-arg]  # what this is about
    assert caught.value.fields == ("tags", "size", "noted_at", "secret")


def test_s_ev_3_get_and_in_work_on_declared_fields_as_well() -> None:
    """Code that takes any event need not know which kind it has."""
    fetched = Fetched(url="a")
    assert fetched.get("url") == "a"
    assert fetched.get("size", 7) == 0
    assert fetched.get("colour", "red") == "red"
    assert "url" in fetched
    assert "colour" not in fetched


def test_s_ev_3_run_checks_the_fields_of_its_start_event() -> None:
    """At the call, before anything is started."""

    class Begin(StartEvent):
        name: str

    class Greeting(Workflow):
        @step
        async def greet(self, ev: Begin) -> StopEvent:
            return StopEvent(result=ev.name)

    expected = "Begin has no field 'nme' and needs 'name'; its fields are 'name'"
    with pytest.raises(EventFieldsError, match=expected):
        Greeting().run(nme="ada")


# --- S-EV-4: results


class Report(StopEvent):
    result: str
    pages: int = 1


def ending_with(make: Callable[[], StopEvent], annotation: type[StopEvent]) -> Workflow:
    class Ending(Workflow):
        @step
        async def end(self, ev: StartEvent) -> annotation:  # type: ignore[valid-type]
            return make()

    return Ending()


async def test_s_ev_4_the_result_of_a_run_is_the_result_of_its_stop_event() -> None:
    """None, if it has none; further keywords are not in the way."""
    result = ["a"]
    assert await ending_with(lambda: StopEvent(result=result), StopEvent).run() is result
    assert await ending_with(StopEvent, StopEvent).run() is None
    assert await ending_with(lambda: StopEvent(result=1, colour="red"), StopEvent).run() == 1


async def test_s_ev_4_of_a_subclass_the_result_is_the_event() -> None:
    """Even where it has a field called `result`: what one gets depends on no field's name."""
    report = Report(result="fine")
    assert await ending_with(lambda: report, Report).run() is report


async def test_s_ev_4_a_subclass_returned_where_a_stop_event_is_annotated_is_the_result_itself() -> None:
    """The event's class decides, not the annotation."""
    report = Report(result="fine")
    assert await ending_with(lambda: report, StopEvent).run() is report


def test_s_ev_1_what_a_field_says_of_its_repr_counts() -> None:
    """A password stays out of messages, which quote events."""

    class Login(Event):
        user: str = attrs.field(repr=str.upper)
        password: str = attrs.field(repr=False)

    class Secret(Event):
        key: str = attrs.field(repr=False)

    assert repr(Login(user="ann", password="1234")).endswith("Login(user=ANN)")
    assert repr(Secret(key="1234")).endswith("Secret()")


# --- on the way to another process, and back


class Ended(StopEvent):
    _secret: str
    parts: tuple[Fetched, ...] = attrs.field(converter=tuple, default=())


class Ping(Event, eq=False):
    number: int


def pickled(protocol: int) -> Callable[[Any], Any]:
    return lambda event: pickle.loads(pickle.dumps(event, protocol))


PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, *map(pickled, PROTOCOLS)],
    ids=["copy", "deepcopy", *(f"protocol {protocol}" for protocol in PROTOCOLS)],
)
def test_s_ev_2_an_event_survives_a_pickle_and_a_copy(again: Callable[[Any], Any]) -> None:
    """Nothing can be set on a frozen object, which is what unpickling one would come to."""
    ended: Any = Ended  # mypy does not see that attrs takes the underscore away
    events = [kind(value=[1, "a"], nested=Fetched(url="b")) for kind in OPEN]
    events += [Fetched(url="a", size=3), ended(secret="s", parts=[Fetched(url="a")])]
    for event in events:
        copied = again(event)
        assert type(copied) is type(event)
        assert copied == event
        assert copied is not event
        assert repr(copied) == repr(event)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            copied.size = 4


@pytest.mark.parametrize("again", [copy.copy, pickled(2)], ids=["copy", "pickle"])
def test_s_ev_2_an_event_that_cannot_be_compared_survives_too(again: Callable[[Any], Any]) -> None:
    ping = again(Ping(number=1))
    assert (ping.number, ping == Ping(number=1)) == (1, False)
    failed = again(WorkflowFailedEvent(step_name="work", exception=ValueError("no"), attempts=2))
    assert (failed.step_name, failed.exception.args, failed.attempts) == ("work", ("no",), 2)
