"""SQLite keeps anything anywhere: values of other types than declared, views, queries, and rows at fault."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import migrator
from migrator.codec.rejected import Unfixed
from migrator.errors import CheckpointError, ConfigError
from migrator.extractors.sql import SqlExtractor


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An empty database."""
    return tmp_path / "app.db"


def run(file: Path, *statements: str) -> None:
    """Run some SQL."""
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def read(file: Path, name: str, after: Any = None, *, query: str = "", **options: Any) -> list[Any]:
    """All records of a collection."""
    with closing(SqlExtractor(f"sqlite:///{file}{query}", collections=[name], **options)) as extractor:
        extractor.collections()
        return list(extractor.extract(name, after=after))


VALUES: list[tuple[str, str, Any]] = [
    ("INTEGER", "'seven'", "seven"),
    ("INTEGER", "9223372036854775807", 2**63 - 1),
    ("INTEGER", "-9223372036854775808", -(2**63)),
    ("INTEGER", "9223372036854775808", 9223372036854775808.0),
    ("INTEGER", "1.5", 1.5),
    ("INTEGER", "x'00ff'", b"\x00\xff"),
    ("REAL", "'1e400'", float("inf")),
    ("REAL", "1", 1.0),
    ("REAL", "'abc'", "abc"),
    ("NUMERIC(10,2)", "'1.10'", 1.1),
    ("DECIMAL", "'123456789012345678901234567890'", 1.2345678901234568e29),
    ("TEXT", "7", "7"),
    ("TEXT", "x'41'", b"A"),
    ("TEXT", "'nul ' || char(0) || ' nul'", "nul \x00 nul"),
    ("DATETIME", "'2024-02-29 24:00:00'", "2024-02-29 24:00:00"),
    ("DATETIME", "'infinity'", "infinity"),
    ("DATETIME", "'2020-01-31T10:00:00.123456789Z'", "2020-01-31T10:00:00.123456789Z"),
    ("DATE", "2460000.5", 2460000.5),
    ("TIMESTAMP", "1700000000", 1700000000),
    ("BOOLEAN", "2", 2),
    ("BOOLEAN", "1", True),
    ("BOOLEAN", "'yes'", "yes"),
    ("JSON", "'{\"a\": 1e400}'", '{"a": 1e400}'),
    ("JSON", "'nonsense'", "nonsense"),
    ("JSON", "'[1.0, 12345678901234567890123]'", [1.0, 12345678901234567890123]),
    ("BLOB", "'text'", "text"),
    ("", "NULL", None),
    ("MY OWN TYPE", "'x'", "x"),
]


@pytest.mark.parametrize(("kind", "literal", "value"), VALUES)
def test_a_value_comes_as_it_is_kept(file: Path, kind: str, literal: str, value: Any) -> None:
    """In a table, a view and a query."""
    run(
        file,
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {kind})",
        f"INSERT INTO t VALUES (1, {literal})",
        "CREATE VIEW w AS SELECT id AS _id, v FROM t",
    )
    (record,) = read(file, "t")
    assert record.document == {"_id": "1", "id": 1, "v": value}
    assert type(record.document["v"]) is type(value)
    (record,) = read(file, "w")
    assert record.document["_id"] == "1"
    assert record.document["v"] == value or kind in {"BOOLEAN", "JSON"}
    (record,) = read(file, "q", query="?query.q=select v from t", ids_given=True)
    assert list(record.document) == ["v"]


BAD = "CAST(x'62ff' AS TEXT)"


@pytest.mark.parametrize(
    ("row", "id"),
    [
        (f"2, {BAD}, 'w'", "2"),
        (f"2, 'v', {BAD}", "2"),
        (f"'x y', {BAD}, 'w'", "x y"),
        (f"{BAD}, 'v', 'w'", ""),
        (f"2, CAST(x'{'c3' * 5000}' AS TEXT), 'w'", "2"),
        ("2, CAST(x'eda080' AS TEXT), 'w'", "2"),
        ("2, CAST(x'f5808080' AS TEXT), 'w'", "2"),
    ],
)
def test_text_that_is_no_utf8_rejects_its_row_alone(file: Path, row: str, id: str, tmp_path: Path) -> None:
    """Table, key, column and id are named; in a view too, which is read in one go."""
    run(
        file,
        "CREATE TABLE t (k PRIMARY KEY NOT NULL, v TEXT, w TEXT) WITHOUT ROWID",
        f"INSERT INTO t VALUES (1, 'v', 'w'), ({row}), (x'ff', 'v', 'w')",
        "CREATE VIEW u AS SELECT k AS _id, v, w FROM t",
    )
    for name in ("t", "u"):
        first, second, third = read(file, name)
        assert (first.document["_id"], third.document["_id"]) == ("1", "/w==")
        assert (second.fault.error, second.fault.id) == ("invalid_utf8", id)
        assert f"{name} " in second.fault.reason
        assert any(
            f": {column}: the text is not UTF-8" in second.fault.reason for column in ("k", "v", "w", "_id")
        )
        json.dumps(second.fault.document, default=repr)
    report = migrator.run(
        f"sqlite:///{file}", str(tmp_path / "o"), checkpoint=str(tmp_path / "c"), rejects=str(tmp_path / "r")
    )
    assert (report.totals.written, report.totals.rejected) == (2, 1)


def test_tables_without_a_key_views_and_queries_need_an_id(file: Path, tmp_path: Path) -> None:
    """With one they are read in one go, and a second run writes nothing."""
    run(
        file,
        "CREATE TABLE t (a, b)",
        "INSERT INTO t VALUES (1, 'x'), (2, 'y'), (1, 'x')",
        "CREATE VIEW v AS SELECT a + 1 AS n FROM t",
    )
    url = f"sqlite:///{file}"
    for name, query in (("t", ""), ("v", ""), ("q", "?query.q=select a, b from t where b like '%25'")):
        with pytest.raises(ConfigError, match="--transform id:hash"):
            read(file, name, query=query)
        options: dict[str, Any] = {
            "checkpoint": str(tmp_path / "c"),
            "rejects": str(tmp_path / "r"),
            "transform": ["id:hash"],
        }
        report = migrator.run(url + query, str(tmp_path / name), collection=[name], restart=True, **options)
        assert (report.totals.read, report.totals.rejected) == (3, 0)
        assert (
            len(
                {json.loads(line)["_id"] for line in (tmp_path / name / f"{name}.ndjson").read_text().splitlines()}
            )
            == 2
        )
    with pytest.raises(CheckpointError, match="with restart=True"):
        read(file, "t", "row:1", ids_given=True)


def test_a_query_writes_nothing(file: Path) -> None:
    """The file is opened for reading, whatever the query says."""
    run(file, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
    for query in ("delete from t returning a", "select 1; drop table t", "pragma user_version = 7"):
        with pytest.raises(ConfigError):
            read(file, "q", query=f"?query.q={query}", ids_given=True)
    assert len(read(file, "t", ids_given=True)) == 1


def test_a_database_of_views_alone_has_them_as_collections(file: Path) -> None:
    """Nothing else can be meant; without an id they are refused by name, and never passed over."""
    run(file, "CREATE VIEW v AS SELECT 1 AS n", "CREATE VIEW w AS SELECT 2 AS n")
    url = f"sqlite:///{file}"
    with closing(SqlExtractor(url, ids_given=True)) as extractor:
        assert extractor.collections() == ["v", "w"]
    with closing(SqlExtractor(url)) as extractor, pytest.raises(ConfigError, match="'v'"):
        extractor.collections()


FAILING = ["json_extract(v, '$.x')", "abs(v)", "CASE WHEN v IS NULL THEN 1 ELSE json_extract(v, '$.x') END"]


@pytest.mark.parametrize("bad", [[1], [3, 450], [199, 200, 201], [500]])
@pytest.mark.parametrize("computed", FAILING)
def test_a_row_that_the_database_fails_over_is_a_fault_of_its_own(
    file: Path, bad: list[int], computed: str
) -> None:
    """Of a column that is computed while it is read; the others are given once, in order."""
    values = (-(2**63), 1) if "abs" in computed else ("'{'", "'{\"x\": 1}'")
    run(
        file,
        "CREATE TABLE t (k INTEGER PRIMARY KEY, v)",
        *(f"INSERT INTO t (k, v) VALUES ({number}, {values[number not in bad]})" for number in range(1, 501)),
        f"ALTER TABLE t ADD COLUMN c AS ({computed}) VIRTUAL",
        "CREATE VIEW u AS SELECT k AS _id, c FROM t",
    )
    found = read(file, "t")
    ids = [record.fault.id if record.fault else record.document["_id"] for record in found]
    assert ids == [str(number) for number in range(1, 501)]
    assert [number for number, record in enumerate(found, 1) if record.fault] == bad
    fault = found[bad[0] - 1].fault
    assert fault.document == {"_id": str(bad[0]), "k": bad[0], "v": Unfixed(None), "c": Unfixed(None)}
    assert "malformed JSON" in fault.reason or "integer overflow" in fault.reason
    # Without a key the others cannot be told from it.
    with pytest.raises(
        ConfigError, match="'u' has a row that the database fails over, at most 200 rows after row"
    ):
        read(file, "u")
