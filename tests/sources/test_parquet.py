"""Parquet files as sources."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import migrator
from migrator.errors import CheckpointError, ConfigError
from migrator.extractors.parquet import ParquetExtractor
from migrator.testing import ExtractorContract, Source
from tests.contract.test_extractors import Local
from tests.sources.killing import killed_and_resumed
from tests.sources.missing import opened_without
from tests.sources.test_sql import ROWS

# What one column of each type holds.
COLUMNS: dict[str, Sequence[Mapping[str, Any]]] = {
    "tickets": ROWS["tickets"],
    "users": [
        {"_id": "!", "text": "", "extra": {"a": [1, None], "b": None}},
        {"_id": "a b/c", "text": 'tab \t, quote ", \u2028, nul \x00', "extra": {"a": [], "b": {"c": 1.0}}},
        {"_id": "é", "text": None, "extra": None},
        {"_id": "\U0001f600", "text": "\U0001f600" * 100, "extra": {"a": None, "b": {"c": 1e-300}}},
    ],
    "nothing": [],
}


def write(path: Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema | None = None, size: int = 9) -> None:
    """In small row groups."""
    if not rows:
        schema = pa.schema([("_id", pa.string())])
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path, row_group_size=size)


def records(path: Path, after: Any = None) -> list[Any]:
    """All records."""
    with pytest.MonkeyPatch.context() as few:
        few.setattr("migrator.extractors.parquet.ROWS", 4)
        return list(ParquetExtractor(str(path)).extract("a", after=after))


class TestParquet(ExtractorContract):
    """Of a folder, in row groups of nine and batches of four."""

    contents = COLUMNS

    @pytest.fixture
    def source(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
        """One file for each collection."""
        monkeypatch.setattr("migrator.extractors.parquet.ROWS", 4)
        for name, rows in COLUMNS.items():
            write(tmp_path / f"{name}.parquet", rows)
        return Local(lambda names: ParquetExtractor(str(tmp_path), collections=names))


def test_types_come_exactly(tmp_path: Path) -> None:
    """Every type is a value that a codec knows; nothing is rounded."""
    utc = dt.UTC
    stamp = dt.datetime(2024, 2, 29, 12, 30, 0, 1)
    table = pa.table(
        {
            "i": pa.array([2**63 - 1], pa.int64()),
            "u": pa.array([2**64 - 1], pa.uint64()),
            "f": pa.array([0.1], pa.float64()),
            "d": pa.array([Decimal("12345678901234567890.1234567890")], pa.decimal128(38, 10)),
            "t": pa.array([stamp], pa.timestamp("us")),
            "tz": pa.array([stamp.replace(tzinfo=utc)], pa.timestamp("us", "UTC")),
            "whole": pa.array([1_709_209_800_000_001_000], pa.timestamp("ns")),
            "nano": pa.array([1_709_209_800_000_001_001], pa.timestamp("ns")),
            "inner": pa.array([{"at": 1_709_209_800_000_001_000}], pa.struct([("at", pa.timestamp("ns"))])),
            "date": pa.array([dt.date(2024, 2, 29)]),
            "time": pa.array([dt.time(23, 59, 59, 5)], pa.time64("us")),
            "gap": pa.array([dt.timedelta(days=1, microseconds=1)]),
            "raw": pa.array([b"\x00\xff"]),
            "word": pa.array(["x"]).dictionary_encode(),
            "map": pa.array([[("k", 1), ("l", None)]], pa.map_(pa.string(), pa.int64())),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", store_schema=True)
    (record,) = records(tmp_path / "a.parquet")
    assert record.document == {
        "i": 2**63 - 1,
        "u": 2**64 - 1,
        "f": 0.1,
        "d": Decimal("12345678901234567890.1234567890"),
        "t": stamp,
        "tz": stamp.replace(tzinfo=utc),
        "whole": stamp,
        "nano": "2024-02-29T12:30:00.000001001",
        "inner": {"at": stamp},
        "date": dt.date(2024, 2, 29),
        "time": dt.time(23, 59, 59, 5),
        "gap": dt.timedelta(days=1, microseconds=1),
        "raw": b"\x00\xff",
        "word": "x",
        "map": {"k": 1, "l": None},
    }


def test_a_value_that_python_has_not_is_a_fault_of_its_row(tmp_path: Path) -> None:
    """A date after 9999 deep inside a value rejects its row and no other."""
    kind = pa.struct([("at", pa.date32())])
    values = [{"at": pa.scalar(n, pa.int32()).cast(pa.date32())} for n in (0, 10**7, 1000, -(10**7))]
    table = pa.table({"_id": ["a", "b", "c", "d"], "v": pa.array(values, kind)})
    pq.write_table(table, tmp_path / "a.parquet")
    found = records(tmp_path / "a.parquet")
    assert [record.fault.error if record.fault else record.document["_id"] for record in found] == [
        "a", "date_out_of_range", "c", "date_out_of_range",
    ]  # fmt: skip
    assert "row group 0, row 1" in found[1].fault.reason
    report = migrator.run(
        str(tmp_path / "a.parquet"),
        str(tmp_path / "o"),
        checkpoint=str(tmp_path / "c"),
        rejects=str(tmp_path / "r"),
    )
    assert (report.totals.written, report.totals.rejected) == (2, 2)


def test_what_is_no_parquet_is_said(tmp_path: Path) -> None:
    """A damaged file, and a position of another one."""
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 nonsense")
    with pytest.raises(ConfigError, match="cannot be read"):
        records(path)
    write(path, [{"_id": "a"}, {"_id": "b"}])
    for position in ("7:1", "0:3", "x", 4):
        with pytest.raises(CheckpointError):
            records(path, after=position)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """A document would have only one of them, and the other would be gone without a word."""
    columns = [pa.array(["x"]), pa.array([1]), pa.array([2])]
    pq.write_table(pa.Table.from_arrays(columns, names=["_id", "a", "a"]), tmp_path / "t.parquet")
    with pytest.raises(ConfigError, match="two columns 'a'"):
        list(ParquetExtractor(str(tmp_path / "t.parquet")).extract("t"))


def test_memory_is_bounded_by_pages(tmp_path: Path) -> None:
    """A row group of 60 MB is streamed: Arrow holds a fraction of it at a time."""
    path = tmp_path / "a.parquet"
    rows = [{"_id": str(n), "t": f"{n:03}" * 340} for n in range(60_000)]
    pq.write_table(
        pa.Table.from_pylist(rows), path, row_group_size=60_000, use_dictionary=False, compression="none"
    )
    del rows
    assert path.stat().st_size > 60_000_000
    before, most = pa.total_allocated_bytes(), 0
    for record in ParquetExtractor(str(path)).extract("a"):
        if str(record.position).endswith("000"):
            most = max(most, pa.total_allocated_bytes() - before)
    assert 0 < most < 20_000_000


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    """After SIGKILL in the middle and --resume, every row is at the target once."""
    write(tmp_path / "a.parquet", [{"_id": f"{n:06}", "t": "é" * (n % 9)} for n in range(20_000)], size=3_000)
    found = killed_and_resumed("a.parquet", tmp_path)
    assert [document["_id"] for document in found] == [f"{n:06}" for n in range(20_000)]


def test_a_missing_package_is_a_pip_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the extra, the error says what to type."""
    write(tmp_path / "a.parquet", [{"_id": "a"}])
    with pytest.raises(ConfigError, match=r"Parquet needs pyarrow.*couchdb-migrator\[parquet\]"):
        opened_without(monkeypatch, "pyarrow.parquet", "parquet", str(tmp_path / "a.parquet"))
