"""The declared codecs for values that JSON lacks: plain, tagged and strict."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections import namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from migrator.codec import (
    PLAIN,
    STRICT,
    TAGGED,
    VALUE_CODECS,
    InvalidDocument,
    Unencodable,
    decode,
    encode,
    tag,
    untag,
)
from tests.support.exactness import same


class Colour(enum.Enum):
    """An enum whose values are not JSON either."""

    RED = 1
    DAY = date(2024, 2, 29)
    PAIR = (1, Decimal("1.5"))


class Level(enum.IntEnum):
    """An enum that is an integer."""

    LOW = 1


class Word(enum.StrEnum):
    """An enum that is a string."""

    YES = "yes"


class Rights(enum.Flag):
    """An enum whose members combine."""

    READ = 1
    WRITE = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """A dataclass that takes no later writing."""

    x: Any
    y: Any = None


@dataclasses.dataclass
class Checked:
    """A dataclass whose __init__ wants other things than its fields."""

    given: dataclasses.InitVar[int]
    double: int = dataclasses.field(init=False)

    def __post_init__(self, given: int) -> None:
        self.double = 2 * given


class Pair(NamedTuple):
    """A tuple whose places have names."""

    left: Any
    right: Any


Old = namedtuple("Old", "a b")
CLASSES = (Colour, Level, Word, Rights, Point, Checked, Pair, Old)
NAIVE = datetime.fromisoformat("2024-02-29T12:30:00.000005")
CET = timezone(timedelta(hours=1))
BERLIN = ZoneInfo("Europe/Berlin")

PLAIN_FORMS = [
    (NAIVE, "2024-02-29T12:30:00.000005"),
    (datetime(2024, 2, 29, 12, 30, tzinfo=UTC), "2024-02-29T12:30:00+00:00"),
    (datetime(2024, 2, 29, 12, 30, tzinfo=CET), "2024-02-29T12:30:00+01:00"),
    (datetime(2024, 7, 1, 12, tzinfo=BERLIN), "2024-07-01T12:00:00+02:00"),
    (date(2024, 2, 29), "2024-02-29"),
    (time(12, 30, tzinfo=CET), "12:30:00+01:00"),
    (timedelta(days=1, seconds=1, microseconds=500_000), 86401.5),
    (timedelta(days=-1), -86400.0),
    (UUID("12345678-1234-5678-1234-567812345678"), "12345678-1234-5678-1234-567812345678"),
    (Decimal("1.50"), "1.50"),
    (Decimal("1E+400"), "1E+400"),
    (Decimal("NaN"), None),
    (Decimal("-Infinity"), None),
    (Decimal("sNaN"), None),
    (b"\x00\xff", "AP8="),
    (bytearray(b"abc"), "YWJj"),
    (memoryview(b"abcdef")[::2], "YWNl"),
    ((1, (2,), []), [1, [2], []]),
    ({"b", "a"}, ["a", "b"]),
    (frozenset({3, 10, 2}), [10, 2, 3]),
    (set(), []),
    (math.nan, None),
    (math.inf, None),
    (-math.inf, None),
    (Colour.RED, 1),
    (Colour.DAY, "2024-02-29"),
    (Colour.PAIR, [1, "1.5"]),
    (Level.LOW, 1),
    (Word.YES, "yes"),
    (Rights.READ | Rights.WRITE, 3),
    (Point(1.0, date(2024, 1, 1)), {"x": 1.0, "y": "2024-01-01"}),
    (Point({1}, Point(None)), {"x": [1], "y": {"x": None, "y": None}}),
    (Checked(4), {"double": 8}),
    (Pair(1, {"$type": 2}), {"left": 1, "right": {"$type": 2}}),
    (Old(1, 2), {"a": 1, "b": 2}),
]


@pytest.mark.parametrize(("value", "expected"), PLAIN_FORMS, ids=lambda value: type(value).__name__)
def test_plain_writes_the_readable_form(value: Any, expected: Any) -> None:
    """Each kind of value has its declared form, on orjson's path and, beside a huge integer, on the exact one."""
    assert same({"v": expected}, decode(encode({"v": value})))
    assert same({"v": [expected], "big": 2**70}, decode(encode({"v": [value], "big": 2**70})))


@pytest.mark.parametrize("value", [value for value, _ in PLAIN_FORMS], ids=lambda value: type(value).__name__)
def test_strict_converts_nothing(value: Any) -> None:
    """Every such value is refused with its path and type."""
    with pytest.raises(Unencodable) as caught:
        encode({"a": {"b": [value]}}, STRICT)
    assert (caught.value.error, caught.value.path) == ("not_json", "a.b[0]")
    assert type(value).__name__ in caught.value.reason


@pytest.mark.parametrize("value", [value for value, _ in PLAIN_FORMS], ids=lambda value: type(value).__name__)
def test_tagged_comes_back_as_it_was(value: Any) -> None:
    """Through bytes and back each value has its type and its content again."""
    (back,) = untag(decode(encode({"v": [value]}, TAGGED)), CLASSES)["v"]
    assert type(value) is type(back)
    if isinstance(value, Decimal | float):
        assert str(value) == str(back)
    elif isinstance(value, Point):
        assert same(tag(value), tag(back))
    else:
        assert value == back


def test_tagged_keeps_fold_zone_and_offset() -> None:
    """The second 02:30 of the night when clocks go back stays the second, in its zone."""
    for value in (
        datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=BERLIN),
        datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN),
        datetime(2024, 1, 1, tzinfo=timezone(timedelta(seconds=-30))),
        time(2, 30, tzinfo=BERLIN),
        time(2, 30, fold=1),
    ):
        back = untag(tag(value))
        assert (value, value.fold, value.tzinfo) == (back, back.fold, back.tzinfo)
        assert value.utcoffset() == back.utcoffset()


def test_tagged_escapes_what_looks_like_a_mark() -> None:
    """Documents that have `$type` themselves are told apart from marks, however many `$` there are."""
    document = {"$type": "datetime", "value": "x", "$$type": {"$type": 1}, "a$type": 2, "$types": 3, "type": 4}
    tagged = tag(document)
    assert {"$$type", "value", "$$$type", "a$type", "$types", "type"} == set(tagged)
    assert same(document, untag(tagged))
    assert same(document, untag(decode(encode(document, TAGGED))))
    assert same([{"$type": 1}], untag(tag([{"$type": 1}])))


def test_tagged_marks_are_readable() -> None:
    """What people find in the database says what it stands for."""
    assert tag(Decimal("1.50")) == {"$type": "decimal", "value": "1.50"}
    assert tag((1, math.nan)) == {"$type": "tuple", "value": [1, {"$type": "float", "value": "NaN"}]}
    name = f"{__name__}:Colour"
    assert {"$type": "enum", "class": name, "name": "RED"} == tag(Colour.RED)
    assert {"$type": "dataclass", "class": f"{__name__}:Point", "fields": {"x": 1, "y": None}} == tag(Point(1))


def test_untag_brings_back_no_class_that_was_not_given() -> None:
    """No name in the data is imported."""
    for value in (Colour.RED, Point(1), Pair(1, 2)):
        with pytest.raises(InvalidDocument) as caught:
            untag({"a": [tag(value)]})
        assert caught.value.error == "unknown_class"
        assert caught.value.reason.startswith("a[0] is marked as ")
        assert type(value).__name__ in caught.value.reason


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({"$type": "nothing", "value": 1}, "unknown_tag"),
        ({"$type": 1}, "unknown_tag"),
        ({"$type": ["list"]}, "unknown_tag"),
        ({"$type": "datetime"}, "invalid_tag"),
        ({"$type": "datetime", "value": "yesterday"}, "invalid_tag"),
        ({"$type": "datetime", "value": 5}, "invalid_tag"),
        ({"$type": "datetime", "value": "2024-01-01T00:00:00", "zone": "No/Where"}, "invalid_tag"),
        ({"$type": "datetime", "value": "2024-01-01T00:00:00", "zone": "../../etc/passwd"}, "invalid_tag"),
        ({"$type": "date", "value": "2024-13-01"}, "invalid_tag"),
        ({"$type": "timedelta", "value": [10**30, 0, 0]}, "invalid_tag"),
        ({"$type": "uuid", "value": "12"}, "invalid_tag"),
        ({"$type": "decimal", "value": "one"}, "invalid_tag"),
        ({"$type": "bytes", "value": "A*=="}, "invalid_tag"),
        ({"$type": "set", "value": [[1]]}, "invalid_tag"),
        ({"$type": "tuple", "value": None}, "invalid_tag"),
        ({"$type": "enum", "class": f"{__name__}:Colour", "name": "GREEN"}, "invalid_tag"),
        ({"$type": "dataclass", "class": f"{__name__}:Point", "fields": {"x": 1}}, "invalid_tag"),
        ({"$type": "dataclass", "class": f"{__name__}:Point", "fields": {"x": 1, "y": 1, "z": 1}}, "invalid_tag"),
        ({"$type": "dataclass", "class": f"{__name__}:Colour", "fields": {}}, "invalid_tag"),
        ({"$type": "namedtuple", "class": f"{__name__}:Pair", "fields": {"left": 1}}, "invalid_tag"),
    ],
)
def test_a_damaged_mark_is_told_with_its_path(data: Any, error: str) -> None:
    """What cannot be brought back is an error and never another value."""
    with pytest.raises(InvalidDocument) as caught:
        untag({"_id": "x", "list": [0, data]}, CLASSES)
    assert error == caught.value.error
    assert caught.value.reason.startswith("list[1] is marked as ")


def test_marks_of_any_depth_come_back() -> None:
    """A tuple in a tuple, twenty thousand deep, is tagged and untagged."""
    value: Any = Decimal(1)
    for _ in range(20_000):
        value = (value,)
    back = untag(decode(encode({"v": value}, TAGGED)))["v"]
    for _ in range(20_000):
        assert type(back) is tuple
        (back,) = back
    assert Decimal(1) == back


def test_a_set_of_bottomless_tuples_is_refused() -> None:
    """Data from elsewhere must not crash the process: hashing a tuple goes down by recursion."""
    value: Any = 1
    for _ in range(20_000):
        value = {"$type": "tuple", "value": [value]}
    for kind in ("set", "frozenset"):
        with pytest.raises(InvalidDocument) as caught:
            untag({"$type": kind, "value": [value]})
        assert caught.value.error == "invalid_tag"
    deep: Any = [1]
    for _ in range(20_000):
        deep = [deep]
    with pytest.raises(InvalidDocument) as caught:
        untag({"$type": deep})
    assert caught.value.error == "unknown_tag"


def test_untag_leaves_its_input_alone() -> None:
    """What it is given stays as it was."""
    data = {"a": [{"$type": "tuple", "value": [1]}], "$$type": 1}
    assert untag(data) == {"a": [(1,)], "$type": 1}
    assert data == {"a": [{"$type": "tuple", "value": [1]}], "$$type": 1}


def test_the_codecs_go_by_their_names() -> None:
    """The names are what people write after --codec."""
    assert {"plain": PLAIN, "tagged": TAGGED, "strict": STRICT} == VALUE_CODECS
