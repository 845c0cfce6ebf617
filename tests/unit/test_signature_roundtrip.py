"""What is sent arrives as it was given, in its declared type, or is refused before anything is sent."""

import dataclasses
import enum
import math
import re
import string
from collections import OrderedDict, defaultdict, deque
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, Optional, Union
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from annotated_types import Len
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    Json,
    JsonValue,
    PlainSerializer,
    PositiveInt,
    PrivateAttr,
    RootModel,
    SecretStr,
    computed_field,
    field_validator,
)  # fmt: skip
from typing_extensions import TypedDict

from taskq.errors import InvalidArguments
from taskq.tasks.router import Router
from taskq.tasks.signature import Signature


class Colour(enum.Enum):
    RED = "red"
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


class Name(enum.StrEnum):
    ANN = "ann"


class Point(NamedTuple):
    x: int
    y: float


class Size(BaseModel):
    width: int
    depth: float | None = None


class Box(BaseModel):
    sizes: list[Size]
    when: datetime
    named: dict[str, Decimal] = {}


class Node(BaseModel):
    value: int
    children: list["Node"] = []


class Aliased(BaseModel):
    width: int = Field(alias="w")


class BothAliases(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    width: int = Field(validation_alias="in", serialization_alias="out")


class Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore")
    width: int


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    width: int


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    width: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        return self.width**2

    @cached_property
    def cached(self) -> int:
        return 1


class Private(BaseModel):
    width: int
    _seen: int = PrivateAttr(default=0)


class Raw(BaseModel):
    data: bytes


class Measured(BaseModel):
    value: float
    maybe: float | None = None


class Excluded(BaseModel):
    width: int = Field(default=1, exclude=True)


class Big(Size):
    height: int = 0


class Lookalike(BaseModel):
    width: int


class Embedded(BaseModel):
    inner: Json[list[int]]


class Login(BaseModel):
    password: SecretStr


class Bytes64(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    data: bytes


class Nameless:
    """No equality and no text of its own."""

    def __repr__(self) -> str:
        raise RuntimeError


Ids = RootModel[list[int]]
UserId = NewType("UserId", int)


@dataclasses.dataclass
class Plain:
    name: str
    data: bytes = b""
    ratio: float = 0.0
    sizes: list[Size] = dataclasses.field(default_factory=list)


class Movie(TypedDict):
    title: str
    data: NotRequired[bytes]


def signature(kind: Any) -> Signature:
    def function(value: kind) -> kind: ...  # type: ignore[valid-type, empty-body]

    return Router().task(function).definition.signature


def there_and_back(kind: Any, value: object) -> Any:
    """Send a value as an argument and as a result, and return what arrives."""
    both = signature(kind)
    [by_name] = both.decode(both.encode((value,), {})).kwargs.values()
    result = both.decode_result(both.encode_result(value))
    assert type(by_name) is type(result)
    return by_name


def same(one: object, other: object) -> bool:
    """Compare values and their types. Written apart from `difference`, which it is there to check."""
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, set) and isinstance(other, set):
        return same(sorted(one, key=repr), sorted(other, key=repr))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    if isinstance(one, BaseModel):
        return type(one) is type(other) and same(list(one), list(other))  # type: ignore[call-overload]
    if dataclasses.is_dataclass(one) and not isinstance(one, type):
        return type(one) is type(other) and same(vars(one), vars(other))
    if isinstance(one, datetime) and isinstance(other, datetime):
        return one.isoformat() == other.isoformat()
    return type(one) is type(other) and one == other


texts = st.text(st.characters(exclude_categories=["Cs"]))
floats = st.floats()
offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
sizes = st.builds(Size, width=st.integers(), depth=st.none() | st.floats(allow_nan=False, allow_infinity=False))
nodes = st.recursive(
    st.builds(Node, value=st.integers()), lambda inner: st.builds(Node, value=st.integers(), children=st.lists(inner))
)
plain_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)

KINDS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers() | st.integers(-(10**300), 10**300)),
    (float, floats),
    (bool, st.booleans()),
    (str, texts),
    (bytes, st.binary()),
    (None, st.none()),
    (datetime, st.datetimes() | st.datetimes(timezones=offsets)),
    (AwareDatetime, st.datetimes(timezones=st.just(UTC))),
    (date, st.dates()),
    (time, st.times() | st.times(timezones=offsets)),
    (timedelta, st.timedeltas()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (UUID, st.uuids()),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (Name, st.sampled_from(Name)),
    (Path, texts.map(Path)),
    (IPv4Address, st.ip_addresses(v=4)),
    (complex, st.complex_numbers(allow_nan=False)),
    (UserId, st.integers()),
    (Literal["a", 1, True], st.sampled_from(["a", 1, True])),
    (Annotated[int, Field(gt=0)], st.integers(min_value=1)),
    (Annotated[list[PositiveInt], Len(1, 3)], st.lists(st.integers(min_value=1), min_size=1, max_size=3)),
    (Optional[bytes], st.none() | st.binary()),  # noqa: UP045
    (Union[int, str, None], st.none() | st.integers() | texts),  # noqa: UP007
    (int | float, st.integers() | floats),
    (tuple[int, bytes], st.tuples(st.integers(), st.binary())),
    (tuple[float, ...], st.lists(floats).map(tuple)),
    (Point, st.builds(Point, st.integers(), floats)),
    (list[list[bytes]], st.lists(st.lists(st.binary()))),
    (deque[int], st.lists(st.integers()).map(deque)),
    (set[UUID], st.sets(st.uuids())),
    (set[float], st.sets(floats)),
    (frozenset[bytes], st.frozensets(st.binary())),
    (Sequence[str], st.lists(texts)),
    (Mapping[str, int], st.dictionaries(texts, st.integers())),
    (dict[str, float], st.dictionaries(texts, floats)),
    (dict[int, str], st.dictionaries(st.integers(), texts)),
    (dict[bytes, int], st.dictionaries(st.binary(), st.integers())),
    (dict[date, Decimal], st.dictionaries(st.dates(), st.decimals(allow_nan=False, allow_infinity=False))),
    (dict[Name, int], st.dictionaries(st.sampled_from(Name), st.integers())),
    (Size, sizes),
    (list[Size], st.lists(sizes)),
    (Size | int, sizes | st.integers()),
    (Box, st.builds(Box, sizes=st.lists(sizes), when=st.datetimes(timezones=offsets),
                    named=st.dictionaries(texts, st.decimals(allow_nan=False, allow_infinity=False)))),
    (Node, nodes),
    (Ids, st.lists(st.integers()).map(Ids)),
    (Aliased, st.builds(Aliased, w=st.integers())),
    (Computed, st.builds(Computed, width=st.integers())),
    (Lenient, st.builds(Lenient, width=st.integers(), dropped=st.integers())),
    (Open, st.builds(Open, width=st.integers(), more=plain_json)),
    (Embedded, st.lists(st.integers()).map(lambda ids: Embedded(inner=str(ids)))),
    (Bytes64, st.builds(Bytes64, data=st.binary())),
    (Plain, st.builds(Plain, name=texts, data=st.binary(), ratio=floats, sizes=st.lists(sizes))),
    (Movie, st.fixed_dictionaries({"title": texts}, optional={"data": st.binary()})),
    (Any, plain_json),
    (object, plain_json),
    (JsonValue, plain_json),
    (dict[str, Any], st.dictionaries(texts, plain_json)),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "values"), KINDS, ids=[str(kind) for kind, _ in KINDS])
def test_value_arrives_as_it_was_given(kind: Any, values: st.SearchStrategy[Any]) -> None:
    both = signature(kind)

    @settings(max_examples=30)
    @given(value=values)
    def check(value: object) -> None:
        [argument] = both.decode(both.encode((value,), {})).kwargs.values()
        assert same(value, argument), f"{value!r} arrived as {argument!r}"
        result = both.decode_result(both.encode_result(value))
        assert same(value, result), f"{value!r} came back as {result!r}"

    check()


# what may change on the way: documented in taskq/tasks/difference.py


@pytest.mark.parametrize(
    ("kind", "value", "arrives"),
    [
        (Sequence[int], (1, 2), [1, 2]),
        (Any, (1, (2, 3)), [1, [2, 3]]),
        (Mapping[str, int], OrderedDict(a=1), {"a": 1}),
        (dict[str, Any], {"a": defaultdict(int, b=2)}, {"a": {"b": 2}}),
        (str, Name.ANN, "ann"),
        (Any, Name.ANN, "ann"),
        (Any, Level.LOW, 1),
        (float, 3, 3.0),
        (int, "3", 3),
        (bytes, "ü", "ü".encode()),
        (str, b"text", "text"),
        (date, "2030-01-01", date(2030, 1, 1)),
        (Size, {"width": "3"}, Size(width=3)),
        (Lenient, {"width": 3, "dropped": 1}, Lenient(width=3)),
        (HttpUrl, "https://example.com", HttpUrl("https://example.com/")),
    ],
    ids=str,
)
def test_value_is_converted_to_the_declared_type(kind: Any, value: object, arrives: object) -> None:
    assert there_and_back(kind, value) == arrives


def test_time_zone_arrives_as_its_offset_also_in_the_hour_that_repeats() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    for fold in (0, 1):
        given = datetime(2024, 10, 27, 2, 30, tzinfo=berlin, fold=fold)
        arrived = there_and_back(datetime, given)
        assert arrived.utcoffset() == given.utcoffset()
        assert arrived.isoformat() == given.isoformat()


def test_private_attributes_are_no_part_of_a_model_s_data() -> None:
    model = Private(width=3)
    model._seen = 5
    assert there_and_back(Private, model) == Private(width=3)


def test_cached_property_is_no_part_of_a_model_s_data() -> None:
    model = Computed(width=3)
    assert model.cached == 1
    assert there_and_back(Computed, model) == Computed(width=3)


def test_object_without_equality_is_taken_as_its_type_reads_it_back() -> None:
    class Tag:
        def __init__(self, text: str) -> None:
            self.text = text

    written = Annotated[str, AfterValidator(Tag), PlainSerializer(lambda tag: tag.text, return_type=str)]
    assert there_and_back(written, "a").text == "a"


# what cannot travel


AsText = Annotated[int, AfterValidator(str)]

CANNOT: list[tuple[Any, Any, str]] = [
    # not of the type
    (int, "three", "valid integer"),
    (int, 3.5, "valid integer"),
    (Size, {"width": "wide"}, "value.width"),
    (Movie, {"title": "x", "unknown": 1}, "value.unknown"),
    (Decimal, Decimal("NaN"), "finite"),
    (Annotated[int, Field(gt=0)], 0, "greater than 0"),
    # not JSON
    (str, "\ud800", "surrogates"),
    (Any, "\ud800", "surrogates"),
    (dict[str, int], {"\ud800": 1}, "would arrive as str"),
    (dict[str, Any], {"a": {"\udfff": 1}}, "surrogates"),
    (Any, object(), "cannot be written as JSON"),
    (Any, 10**5000, "number out of range"),
    (Any, Fraction(1, 3), "would arrive as str '1/3'"),
    (Any, float("nan"), "float nan would arrive as str 'NaN'"),
    (Any, float("inf"), "would arrive as str"),
    (Path, Path("\udcff"), "surrogates"),
    # inside of models, which bring their own settings
    (Raw, Raw(data=b"\xff"), "utf-8"),
    (Measured, Measured(value=float("nan")), "value.value: what JSON makes of it cannot be read back"),
    (Measured, Measured(value=1, maybe=float("inf")), "value.maybe: float inf would arrive as NoneType None"),
    (Login, {"password": "hunter2"}, "value.password: SecretStr"),
    (BothAliases, BothAliases(width=3), "cannot be read back"),
    (Excluded, Excluded(width=5), "value.width: int 5 would arrive as int 1"),
    (Open, Open(width=1, when=date(2030, 1, 1)), "value.when: date"),
    # an instance that was changed past its validation
    (Size, Size.model_construct(width="wide"), "cannot be written as JSON"),
    # more than one type fits
    (Size, Big(width=1, height=2), "value: Big Big(width=1, depth=None, height=2) would arrive as Size"),
    (list[Size], [Size(width=1), Big(width=2)], "value.1: Big"),
    (Size | Lookalike, Lookalike(width=1), "value: Lookalike"),
    (datetime | str, "2030-01-01T00:00:00", "would arrive as datetime"),
    (str | bytes, b"text", "would arrive as str"),
    (UUID | str, str(UUID(int=1)), "would arrive as UUID"),
    (set[int] | list[int], {1}, "would arrive as list"),
    # untyped
    (Any, datetime(2030, 1, 1, tzinfo=UTC), "would arrive as str"),
    (Any, {1, 2}, "would arrive as list"),
    (Any, b"text", "would arrive as str"),
    (Any, Size(width=1), "would arrive as dict"),
    (Any, Point(1, 2), "would arrive as list"),
    (dict[str, Any], {"a": [1, UUID(int=1)]}, "value.a.1: UUID"),
    (Any, {1: "x"}, "value: the key int 1 would arrive as str '1'"),
    (Any, {1: "x", "1": "y"}, "would arrive as dict"),
    (object, Decimal(1), "would arrive as str"),
    # keys and containers that JSON has no form for
    (dict[tuple[int, int], int], {(1, 2): 3}, "cannot be read back"),
    (dict[Colour, int], {Colour.BLUE: 3}, "cannot be read back"),
    (Literal[Colour.RED], Colour.RED, "cannot be read back"),
    (Literal[b"\x00"], b"\x00", "cannot be read back"),
    # lost in the text
    (re.Pattern[str], re.compile("a", re.IGNORECASE), "would arrive as Pattern"),
    (datetime, datetime(1800, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")), "would arrive as datetime"),
    (Annotated[Any, PlainSerializer(lambda thing: "x")], Nameless(), "Nameless that cannot be shown"),
    # validators that do not take what they made
    (Annotated[int, AfterValidator(lambda n: n + 1)], 1, "int 2 would arrive as int 3"),
    # what pydantic only warns of, at any depth
    (Annotated[int, AfterValidator(str)], 5, "serialized value may not be as expected"),
    (list[dict[str, AsText]], [{"key": 5}], "serialized value may not be as expected"),
    (TypedDict("Named", {"metadata": AsText}), {"metadata": 5}, "[field_name='metadata'"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "text"), CANNOT, ids=[text for _, _, text in CANNOT])
def test_value_that_cannot_arrive_as_given_is_refused(kind: Any, value: object, text: str) -> None:
    both = signature(kind)
    with pytest.raises(InvalidArguments) as caught:
        both.encode((value,), {})
    assert text in str(caught.value)
    with pytest.raises(InvalidArguments) as caught:
        both.encode_result(value)
    assert text.removeprefix("value") in str(caught.value)
    assert all(place.startswith("result") for place, _ in caught.value.problems)


def test_model_that_is_no_key_in_json_is_fine_while_there_is_none() -> None:
    class Key(BaseModel):
        model_config = ConfigDict(frozen=True)
        n: int

    assert there_and_back(dict[Key, int], {}) == {}
    with pytest.raises(InvalidArguments, match="value"):
        signature(dict[Key, int]).encode(({Key(n=1): 1},), {})


@pytest.mark.parametrize("depth", [150, 190])
def test_deep_nesting_arrives(depth: int) -> None:
    assert there_and_back(Any, nested(depth)) == nested(depth)


@pytest.mark.parametrize("depth", [200, 240, 260, 5_000, 100_000])
def test_nesting_deeper_than_a_worker_reads_is_refused(depth: int) -> None:
    for kind in (Any, JsonValue):
        with pytest.raises(InvalidArguments, match=r"recursion|Recursion|depth"):
            signature(kind).encode((nested(depth),), {})


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def test_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    node = Node(value=1)
    node.children.append(node)
    for kind, circular in ((Any, value), (JsonValue, value), (Node, node)):
        with pytest.raises(InvalidArguments, match=r"recursion|Recursion|Circular"):
            signature(kind).encode((circular,), {})


@pytest.mark.parametrize("error", [KeyError("x"), TypeError("x"), ZeroDivisionError("x"), RuntimeError("x")], ids=repr)
def test_what_a_validator_raises_counts_as_a_value_that_does_not_fit(error: Exception) -> None:
    class Broken(BaseModel):
        n: int

        @field_validator("n")
        @classmethod
        def check(cls, n: int) -> int:
            raise error

    both = signature(Broken)
    with pytest.raises(InvalidArguments, match=type(error).__name__) as caught:
        both.encode(({"n": 1},), {})
    assert caught.value.__cause__ is error
    with pytest.raises(InvalidArguments, match=type(error).__name__):
        both.decode(b'{"value":{"n":1}}')


def test_what_a_serializer_raises_counts_as_a_value_that_cannot_be_written() -> None:
    def fail(n: int) -> int:
        raise LookupError("no")

    with pytest.raises(InvalidArguments, match=r"cannot be written as JSON.*LookupError"):
        signature(Annotated[int, PlainSerializer(fail)]).encode((1,), {})


# anything at all

atoms = (
    st.none() | st.booleans() | st.integers() | floats | st.text() | st.binary() | st.datetimes() | st.uuids()
    | st.decimals() | st.dates() | st.timedeltas() | st.sampled_from([*Colour, *Name, *Level]) | sizes
    | st.datetimes(timezones=st.timezones(), allow_imaginary=True) | st.builds(Big, width=st.integers())
)  # fmt: skip
keys = st.text() | st.integers() | st.booleans() | st.none() | st.binary() | st.floats(allow_nan=False) | st.dates()
anything = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(keys, inner, max_size=3)
        | st.builds(Plain, name=st.text(), data=st.binary(), ratio=floats)
        | st.builds(Point, st.integers(), floats)
    ),
    max_leaves=6,
)  # fmt: skip
LOOSE: list[Any] = [
    Any, JsonValue, object, dict[str, Any], list[Any], Open, int | str | bytes | float | None, UUID | bytes | str,
    datetime | date | str | None, Size | Big | dict[str, Any], Decimal | float | int | str, Colour | Name | str,
    list[Size] | tuple[Any, ...], set[int] | list[int | str], Mapping[str, bytes | str], dict[int | str, Any],
]  # fmt: skip


@pytest.mark.parametrize("kind", LOOSE, ids=str)
def test_whatever_is_given_under_a_loose_type_arrives_or_is_refused(kind: Any) -> None:
    both = signature(kind)

    @settings(max_examples=60)
    @given(value=anything)
    def check(value: Any) -> None:
        try:
            body = both.encode((value,), {})
        except InvalidArguments:
            return
        [arrived] = both.decode(body).kwargs.values()
        again = both.encode((arrived,), {})
        assert same(both.decode(again).kwargs["value"], arrived), "what arrives can be sent on"
        if not isinstance(value, (str, bytes, int, float)) and kind in (Any, object):
            assert same(plain(value), arrived)

    check()


def plain(value: Any) -> Any:
    """The changes that are allowed under ``Any``."""
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    return value.value if isinstance(value, (Level, Name)) else value


def test_printable_text_travels_unescaped() -> None:
    assert signature(str).encode((string.printable + "ü€😀",), {}).decode().endswith('ü€😀"}')
