"""Arrow's values as Python's: every type, nested as it may be; what Python lacks is a fault of its row alone."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from migrator.errors import ConfigError
from migrator.extractors.arrow_values import finer, values_of
from migrator.extractors.parquet import ParquetExtractor
from migrator.extractors.rows import Unreadable

UTC = dt.UTC
BAD = "bad"
DAY_US = 86_400_000_000


def made(kind: pa.DataType, ticks: Any) -> pa.Array:
    """An array of a type that is kept as numbers, from those."""
    number = pa.int32() if kind.bit_width == 32 else pa.int64()
    return pa.array(ticks, number).view(kind)


TIMES: list[tuple[pa.DataType, int, Any]] = [
    (pa.date32(), 0, dt.date(1970, 1, 1)),
    (pa.date32(), -719_162, dt.date(1, 1, 1)),
    (pa.date32(), -719_163, BAD),
    (pa.date32(), 2_932_896, dt.date(9999, 12, 31)),
    (pa.date32(), 2_932_897, BAD),
    (pa.date32(), 2**31 - 1, BAD),
    (pa.date64(), 86_400_000, dt.date(1970, 1, 2)),
    (pa.date64(), 86_400_001, BAD),
    (pa.date64(), 2**63 - 1, BAD),
    (pa.timestamp("s"), 0, dt.datetime(1970, 1, 1)),
    (pa.timestamp("s"), 253_402_300_799, dt.datetime(9999, 12, 31, 23, 59, 59)),
    (pa.timestamp("s"), 253_402_300_800, BAD),
    (pa.timestamp("s"), -(2**63), BAD),
    (pa.timestamp("ms"), 1, dt.datetime(1970, 1, 1, 0, 0, 0, 1000)),
    (pa.timestamp("ms"), 2**62, BAD),
    (pa.timestamp("us"), -1, dt.datetime(1969, 12, 31, 23, 59, 59, 999_999)),
    (pa.timestamp("us"), 10**18, BAD),
    (pa.timestamp("ns"), 1_000, dt.datetime(1970, 1, 1, 0, 0, 0, 1)),
    (pa.timestamp("ns"), 1, "1970-01-01T00:00:00.000000001"),
    (pa.timestamp("ns"), -1, "1969-12-31T23:59:59.999999999"),
    (pa.timestamp("us", "UTC"), 0, dt.datetime(1970, 1, 1, tzinfo=UTC)),
    (pa.timestamp("us", "+09:00"), 0, dt.datetime(1970, 1, 1, tzinfo=UTC)),
    (pa.timestamp("us", "Asia/Tokyo"), 253_402_300_799_000_000, dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    (pa.timestamp("us", "No/Where"), 0, dt.datetime(1970, 1, 1, tzinfo=UTC)),
    (pa.timestamp("ns", "UTC"), 7, "1970-01-01T00:00:00.000000007+00:00"),
    (pa.timestamp("ns", "+09:00"), 7, "1970-01-01T09:00:00.000000007+09:00"),
    (pa.time32("s"), 86_399, dt.time(23, 59, 59)),
    (pa.time32("s"), 86_400, BAD),
    (pa.time32("ms"), -1, BAD),
    (pa.time64("us"), DAY_US - 1, dt.time(23, 59, 59, 999_999)),
    (pa.time64("us"), DAY_US, BAD),
    (pa.time64("ns"), 1, "00:00:00.000000001"),
    (pa.time64("ns"), 3_600_000_000_000, dt.time(1)),
    (pa.duration("s"), -1, dt.timedelta(seconds=-1)),
    (pa.duration("s"), 2**60, BAD),
    (pa.duration("ns"), 1_000, dt.timedelta(microseconds=1)),
    (pa.duration("ns"), 1_000_000_001, "PT1.000000001S"),
    (pa.duration("ns"), -1, "-PT0.000000001S"),
]


def read(path: Path, rows: int = 500) -> list[Any]:
    """All records of a file."""
    with pytest.MonkeyPatch.context() as few:
        few.setattr("migrator.extractors.parquet.ROWS", rows)
        return list(ParquetExtractor(str(path)).extract(path.stem))


def around(array: pa.Array, shape: str) -> tuple[pa.Array, Any]:
    """An array around another one of three, and the function to what then is its second value."""
    if shape == "list":
        return pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), array), lambda value: [value]
    if shape == "large list":
        return pa.LargeListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int64()), array), lambda value: [value]
    if shape == "fixed list":
        return pa.FixedSizeListArray.from_arrays(array, 1), lambda value: [value]
    if shape == "struct":
        return pa.StructArray.from_arrays([array], names=["in"]), lambda value: {"in": value}
    if shape == "map":
        keys = pa.array(["k", "k", "k"])
        return pa.MapArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), keys, array), lambda value: {"k": value}
    if shape == "dictionary":
        return pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), array), lambda value: value
    assert shape == "list of structs"
    inner, wrap = around(array, "struct")
    outer, wrap_again = around(inner, "list")
    return outer, lambda value: wrap_again(wrap(value))


@pytest.mark.parametrize(
    "shape", ["", "list", "large list", "fixed list", "struct", "map", "dictionary", "list of structs"]
)
@pytest.mark.parametrize(("kind", "ticks", "expected"), TIMES, ids=str)
def test_a_time_is_itself_its_text_or_a_fault(kind: pa.DataType, ticks: int, expected: Any, shape: str) -> None:
    """In every unit and nesting, between good values and beside null; in a slice too."""
    array = made(kind, [0, ticks, 0])
    array, wrap = around(array, shape) if shape else (array, lambda value: value)
    first, second, third = values_of(array)
    assert first == third
    assert "Unreadable" not in repr(first)
    if expected is BAD:
        assert "Unreadable" in repr(second)
    else:
        assert second == wrap(expected)
        assert repr(wrap(expected))[:8] == repr(second)[:8]
    assert values_of(array.slice(1, 1)) == [second]
    assert values_of(array.slice(2)) == [third]
    assert values_of(array.slice(0, 0)) == []


NESTED: list[tuple[pa.DataType, list[Any], list[Any] | None]] = [
    (pa.list_(pa.int64()), [[1, None], None, []], [[1, None], None, []]),
    (pa.list_(pa.list_(pa.date32())), [[[dt.date(2020, 1, 1)], None], None, [[]]], None),
    (pa.struct([("a", pa.int8()), ("b", pa.list_(pa.string()))]), [{"a": 1, "b": ["x"]}, None], None),
    (pa.struct([]), [{}, None], None),
    (pa.map_(pa.string(), pa.int64()), [[("a", 1), ("b", None)], None, []], [{"a": 1, "b": None}, None, {}]),
    (pa.map_(pa.int64(), pa.string()), [[(1, "x")], [(2, None)]], [{"1": "x"}, {"2": None}]),
    (pa.map_(pa.date32(), pa.int64()), [[(dt.date(2020, 1, 1), 1)]], [{"2020-01-01": 1}]),
    (pa.map_(pa.bool_(), pa.int64()), [[(True, 1)]], [{"true": 1}]),
    (pa.map_(pa.string(), pa.map_(pa.string(), pa.bool_())), [[("a", [("b", True)])]], [{"a": {"b": True}}]),
    (pa.large_string(), ["x", None], None),
    (pa.string_view(), ["x", None, "long enough to be kept apart"], None),
    (pa.binary(3), [b"abc", None], None),
    (pa.large_binary(), [b"\xff", None], None),
    (pa.null(), [None, None], None),
    (pa.bool_(), [True, None], None),
    (pa.uint64(), [2**64 - 1, 0], None),
    (pa.int64(), [-(2**63), None], None),
    (pa.float16(), [1.5, None], None),
    (pa.float32(), [0.5, None], None),
    (pa.decimal128(38, 37), [Decimal("1." + "1" * 37)], None),
    (pa.decimal256(76, 0), [Decimal("9" * 76)], None),
    (pa.decimal128(5, -2), [Decimal(12300)], None),
    (pa.dictionary(pa.int8(), pa.string()), ["x", None, "x"], None),
    (pa.uuid(), [UUID(int=7).bytes, None], [UUID(int=7), None]),
]


@pytest.mark.parametrize(("kind", "values", "expected"), NESTED, ids=lambda value: str(value)[:40])
def test_every_type_comes_exactly(kind: pa.DataType, values: list[Any], expected: list[Any] | None) -> None:
    """Nulls at every level, empty ones, and slices."""
    array = pa.array(values, kind)
    found = values_of(array)
    assert found == (values if expected is None else expected)
    for begin in range(len(values)):
        assert values_of(array.slice(begin)) == found[begin:]


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (pa.array([b"a", b"\xff"]).view(pa.string()), "not UTF-8"),
        (pa.array([[("a", 1)], [("b", 1), ("b", 2)]], pa.map_(pa.string(), pa.int64())), "'b' twice"),
        (pa.array([None, {}], pa.struct([])).cast(pa.struct([])), ""),
        (
            pa.StructArray.from_arrays(
                [pa.array([1, 2]), pa.array([3, 4])], names=["x", "x"], mask=pa.array([True, False])
            ),
            "two fields",
        ),
    ],
)
def test_a_value_that_cannot_be_given_leaves_its_neighbours(array: pa.Array, word: str) -> None:
    """The first value is there, the second says what is wrong."""
    first, second = values_of(array)
    assert not isinstance(first, Unreadable)
    if word:
        assert word in second.reason
    else:
        assert second == {}


def test_a_fault_names_file_row_column_and_id(tmp_path: Path) -> None:
    """And holds the row, the bad value as its text, whatever the size of a batch."""
    table = pa.table(
        {
            "_id": ["a", "b", "c"],
            "n": [1, 2, 3],
            "at": pa.array(
                [[{"d": None}], [{"d": None}, {"d": None}], []], pa.list_(pa.struct([("d", pa.date32())]))
            ),
            "d": made(pa.date32(), [0, 10**7, 1]),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    for rows in (1, 2, 500):
        first, second, third = read(tmp_path / "t.parquet", rows)
        assert (first.document["_id"], third.document["_id"]) == ("a", "c")
        assert second.fault.id == "b"
        assert second.fault.reason.startswith(f"{tmp_path}/t.parquet row group 0, row 1: d: 10000000 as date32")
        assert second.fault.document["n"] == 2


def test_a_document_does_not_depend_on_its_neighbours(tmp_path: Path) -> None:
    """A time that needs nanoseconds makes no text of the others, so where reading began says nothing."""
    stamps = made(pa.timestamp("ns"), [1_000, 1, 2_000])
    pq.write_table(pa.table({"_id": ["a", "b", "c"], "t": stamps}), tmp_path / "t.parquet")
    together = read(tmp_path / "t.parquet")
    alone = read(tmp_path / "t.parquet", 1)
    assert together == alone
    assert [type(record.document["t"]) for record in alone] == [dt.datetime, str, dt.datetime]


def test_old_times_of_96_bits_are_not_taken_for_others(tmp_path: Path) -> None:
    """Spark's end of time is read as it is; nanoseconds within their range stay; a year beyond 9999 is a fault."""
    moments = [
        dt.datetime(2024, 1, 1, 20, 34, 56, 123456),
        dt.datetime(9999, 12, 31, 3),
        None,
        dt.datetime(1, 1, 1),
    ]
    column = pa.array(moments, pa.timestamp("us"))
    pq.write_table(pa.table({"t": column}), tmp_path / "t.parquet", use_deprecated_int96_timestamps=True)
    kept = [record.document["t"] for record in read(tmp_path / "t.parquet", 3)]
    assert kept[:1] == moments[:1]
    assert kept[2] is None
    fine = made(pa.timestamp("ns"), [1, 1_000])
    pq.write_table(pa.table({"t": fine}), tmp_path / "n.parquet", use_deprecated_int96_timestamps=True)
    found = [record.document["t"] for record in read(tmp_path / "n.parquet")]
    assert found == ["1970-01-01T00:00:00.000000001", dt.datetime(1970, 1, 1, 0, 0, 0, 1)]


def test_a_page_whose_bits_fell_over_is_damage(tmp_path: Path) -> None:
    """What a checksum shows ends the reading, and no wrong value is given."""
    path = tmp_path / "t.parquet"
    table = pa.table({"n": pa.array(range(1_000), pa.int64())})
    pq.write_table(table, path, use_dictionary=False, compression="none", write_page_checksum=True)
    assert len(list(ParquetExtractor(str(path)).extract("t"))) == 1_000
    raw = bytearray(path.read_bytes())
    raw[raw.index((500).to_bytes(8, "little"))] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match="cannot be read"):
        list(ParquetExtractor(str(path)).extract("t"))


def test_the_finer_of_two_readings_counts_only_where_both_are_one_moment() -> None:
    """Nested as it may be."""
    far, near = dt.datetime(9999, 12, 31), dt.datetime(1816, 3, 30, 5, 56, 8, 66277)
    stamp = dt.datetime(2024, 1, 1, 0, 0, 0, 1)
    text = "2024-01-01T00:00:00.000001009"
    bad = Unreadable("date_out_of_range", "x")
    assert finer([near, text, stamp, None, near], [far, stamp, stamp, None, bad]) == [
        far, text, stamp, None, bad,
    ]  # fmt: skip
    assert finer([{"a": [near]}, {"b": 1}], [{"a": [far]}, {"b": 1}]) == [{"a": [far]}, {"b": 1}]
