"""SQL databases as sources: SQLite files and a real PostgreSQL server."""

from __future__ import annotations

import datetime as dt
import json
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

import migrator
from migrator.config import JobConfig
from migrator.errors import CheckpointError, ConfigError, TransientError, Unauthorized
from migrator.extractors.rows import document_id, key_position, position_key
from migrator.extractors.sql import SqlExtractor
from migrator.extractors.sql_engine import translated
from migrator.jobs.registry import open_extractor
from migrator.testing import ExtractorContract, Source
from tests.sources import postgresql
from tests.sources.killing import killed_and_resumed
from tests.sources.missing import opened_without
from tests.sources.sql_reading import read_through_a_cut

ROWS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "tickets": [{"_id": f"t{n:03}", "number": n, "open": n % 2 == 0} for n in range(40)],
    "users": [
        {"_id": "!", "text": "", "extra": {}},
        {"_id": "a b/c", "text": 'tab \t, quote ", line separator \u2028', "extra": [1, {"x": None}]},
        {"_id": "é", "text": None, "extra": {"big": 2**70 + 1, "float": 1e-300, "whole": 1.0}},
        {"_id": "\U0001f600", "text": "\U0001f600" * 100, "extra": "text"},
    ],
    "nothing": [],
}


def fill(url: str) -> None:
    """Tables of ROWS."""
    metadata = sa.MetaData()

    def key() -> sa.Column[str]:
        return sa.Column("_id", sa.Text, primary_key=True)

    tables = {
        "tickets": sa.Table(
            "tickets", metadata, key(), sa.Column("number", sa.Integer), sa.Column("open", sa.Boolean)
        ),
        "users": sa.Table("users", metadata, key(), sa.Column("text", sa.Text), sa.Column("extra", sa.JSON)),
        "nothing": sa.Table("nothing", metadata, key(), quote=True),
    }
    engine = sa.create_engine(url)
    metadata.create_all(engine)
    with engine.begin() as connection:
        for name, rows in ROWS.items():
            if rows:
                connection.execute(tables[name].insert(), list(rows))
    engine.dispose()


def statements(url: str, *texts: str) -> None:
    """Run some SQL."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for text in texts:
            connection.exec_driver_sql(text)
    engine.dispose()


def read(url: str, table: str, after: Any = None) -> list[Any]:
    """All records of a table."""
    with closing(SqlExtractor(url)) as extractor:
        return list(extractor.extract(table, after=after))


class Database:
    """A database with ROWS."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.secrets: Sequence[str] = [secret for secret in [sa.make_url(url).password] if secret]

    def open(self, collections: Sequence[str] | None = None) -> SqlExtractor:
        """A new extractor."""
        return SqlExtractor(self._url, collections=collections)

    def collection(self, name: str) -> str:
        """The same."""
        return name


@pytest.fixture
def pg(postgresql_url: str) -> Iterator[str]:
    """An empty database of PostgreSQL."""
    with postgresql.database(postgresql_url) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        (tmp_path / "app.db").touch()
        return f"sqlite:///{tmp_path / 'app.db'}"
    found: str = request.getfixturevalue("pg")
    return found


class TestSqlExtractor(ExtractorContract):
    """Of tables of a text key, a number and a boolean, and of JSON."""

    contents: ClassVar[Mapping[str, Sequence[Mapping[str, Any]]]] = ROWS

    @pytest.fixture
    def source(self, url: str, monkeypatch: pytest.MonkeyPatch) -> Source:
        """Three tables, of which seven rows are held at once."""
        monkeypatch.setattr("migrator.extractors.sql.FETCH_ROWS", 7)
        fill(url)
        return Database(url)


def test_postgresql_types_come_exactly(pg: str) -> None:
    """Every type is a value that a codec knows, or the database's own text; nothing is rounded or guessed."""
    statements(
        pg,
        "CREATE TABLE t (id int PRIMARY KEY, big bigint, exact numeric, nan numeric, f4 real, f8 double precision,"
        " b boolean, d date, ts timestamp, tz timestamptz, t time,"
        " i interval, u uuid, raw bytea, j json, jb jsonb,"
        " a int[], aa text[], ip inet, r int4range, c char(4), m money, bits bit(3), x tsvector, o oid)",
        "INSERT INTO t VALUES (1, 9223372036854775807, 12345678901234567890.1234567890, 'NaN', 0.1,"
        " 1e-300, true, '2024-02-29', '2024-02-29 12:30:00.000001', '2024-02-29 12:30:00+02', '23:59:59.5',"
        " '1 mon 2 days', '00000000-0000-0000-0000-000000000001', '\\x00ff',"
        " '{\"a\":36893488147419103233,\"b\":1.0}', '[1e2]',"
        " '{1,NULL,3}', '{a,\"b c\"}', '10.0.0.1/8', '[1,5)', 'ab', '12.50', B'101', 'a', 4294967295)",
    )
    (record,) = read(pg, "t")
    document = dict(record.document)
    assert document.pop("tz") == dt.datetime(2024, 2, 29, 10, 30, tzinfo=dt.UTC)
    assert document.pop("nan").is_nan()
    assert repr(document.pop("jb")[0]) in {"100", "100.0"}
    assert document.pop("m").endswith("12.50")
    assert document == {
        "_id": "1",
        "id": 1,
        "big": 2**63 - 1,
        "exact": Decimal("12345678901234567890.1234567890"),
        "f4": 0.1,
        "f8": 1e-300,
        "b": True,
        "d": dt.date(2024, 2, 29),
        "ts": dt.datetime(2024, 2, 29, 12, 30, 0, 1),
        "t": dt.time(23, 59, 59, 500_000),
        "i": "1 mon 2 days",
        "u": UUID(int=1),
        "raw": b"\x00\xff",
        "j": {"a": 2**65 + 1, "b": 1.0},
        "a": [1, None, 3],
        "aa": ["a", "b c"],
        "ip": "10.0.0.1/8",
        "r": "[1,5)",
        "c": "ab  ",
        "bits": "101",
        "x": "'a'",
        "o": "4294967295",
    }


def test_sqlite_values_come_as_they_are_kept(tmp_path: Path) -> None:
    """SQLite keeps any type in any column, so what is kept counts, but for 0 and 1 of a BOOLEAN and for JSON."""
    url = f"sqlite:///{tmp_path / 'a.db'}"
    statements(
        url,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, d DATETIME,"
        " n NUMERIC(10,2), b BOOLEAN, j JSON, x BLOB, s VARCHAR)",
        "INSERT INTO t VALUES (1, 'yesterday', 1.5, 1, '{\"a\": 1.0}', x'00ff', 'é')",
        "INSERT INTO t VALUES (2, 1700000000, 12345678901234.123, 7, 'no json', 'text', NULL)",
    )
    first, second = (dict(record.document) for record in read(url, "t"))
    assert first == {
        "_id": "1", "id": 1, "d": "yesterday", "n": 1.5, "b": True, "j": {"a": 1.0}, "x": b"\x00\xff", "s": "é"
    }  # fmt: skip
    assert first["b"] is True
    assert second["n"] == 12345678901234.123
    assert (second["d"], second["b"], second["j"], second["x"]) == (1700000000, 7, "no json", "text")


def test_values_that_json_lacks_go_through_the_declared_codec(pg: str, tmp_path: Path) -> None:
    """Decimals, dates, bytes and UUIDs are written as --codec says."""
    statements(
        pg,
        "CREATE TABLE t (id uuid PRIMARY KEY, n numeric, raw bytea, d date)",
        "INSERT INTO t VALUES ('00000000-0000-0000-0000-00000000000a', 1.50, '\\x00ff', '2024-02-29')",
    )
    expected: dict[str, dict[str, Any]] = {
        "plain": {"n": "1.50", "raw": "AP8=", "d": "2024-02-29"},
        "tagged": {
            "n": {"$type": "decimal", "value": "1.50"},
            "raw": {"$type": "bytes", "value": "AP8="},
            "d": {"$type": "date", "value": "2024-02-29"},
        },
    }
    codec: Any
    for codec, values in expected.items():
        out = tmp_path / codec
        report = migrator.run(pg, str(out), codec=codec, checkpoint=str(tmp_path / f"{codec}.json"))
        assert report.totals.written == 1
        document = json.loads((out / "t.ndjson").read_text())
        assert document["_id"] == "00000000-0000-0000-0000-00000000000a"
        assert {name: document[name] for name in values} == values
    strict = migrator.run(
        pg, str(tmp_path / "s"), codec="strict", checkpoint=str(tmp_path / "s.json"), rejects=str(tmp_path / "r")
    )
    assert strict.totals.rejected == 1


KEYS = {
    "integers": ("bigint", ["-5", "0", "9", "10", "9007199254740993"]),
    "texts": ("text", ["''", "'B'", "'a'", "'a '", "'Z'", "'é'", "'z'", "'10'", "'9'", "'''q'", "'a:b'", "'%%'"]),
    "decimals": ("numeric(30,10)", ["0.1", "0.1000000001", "99999999999999999999.5", "-1"]),
    "dates": ("date", ["'2024-01-01'", "'1999-12-31'"]),
    "times": (
        "timestamptz",
        ["'2024-01-01 00:00:00.000001+00'", "'2024-01-01 00:00:00+02'", "'2024-01-01 00:00+00'"],
    ),
    "uuids": ("uuid", [f"'{UUID(int=n)}'" for n in (1, 2**127, 77)]),
    "bytes": ("bytea", ["'\\x00'", "'\\x00ff'", "'\\xff'"]),
    "intervals": ("interval", ["'1 mon'", "'29 days'", "'31 days'"]),
    "addresses": ("inet", ["'10.0.0.2'", "'9.0.0.1'", "'::1'"]),
    "reals": ("real", ["0.1", "1e30", "-0.3"]),
    "fixed": ("char(3)", ["'a'", "'ab'", "'B'"]),
}


@pytest.mark.parametrize("kind", KEYS)
def test_reading_goes_on_after_any_key(kind: str, pg: str) -> None:
    """After each key of each type come exactly the rows that came after it at first, in two columns too."""
    type_name, values = KEYS[kind]
    pairs = ", ".join(f"({value}, {n})" for value in values for n in (2, 10))
    statements(
        pg,
        f"CREATE TABLE one (k {type_name} PRIMARY KEY)",
        f"INSERT INTO one VALUES {', '.join(f'({value})' for value in values)}",
        f"CREATE TABLE two (k {type_name}, n int, PRIMARY KEY (k, n))",
        f"INSERT INTO two VALUES {pairs}",
    )
    with closing(SqlExtractor(pg)) as extractor:
        for table, count in (("one", len(values)), ("two", 2 * len(values))):
            records: list[Any] = list(extractor.extract(table))
            assert len(records) == len({record.document["_id"] for record in records}) == count
            for number, record in enumerate(records, 1):
                after = json.loads(json.dumps(record.position))
                assert list(extractor.extract(table, after=after)) == records[number:]


def test_the_order_is_the_columns_own(url: str) -> None:
    """A column that does not compare by bytes is resumed by its own comparison."""
    if url.startswith("sqlite"):
        expected = ["A", "a2", "b", "B1", "c", "C3"]
        statements(url, "CREATE TABLE t (k TEXT COLLATE NOCASE PRIMARY KEY)")
    else:
        # An enum is ordered as it was declared, and its labels are not texts to compare.
        expected = ["c", "C3", "A", "b", "a2", "B1"]
        labels = ", ".join(f"'{label}'" for label in expected)
        statements(url, f"CREATE TYPE e AS ENUM ({labels})", "CREATE TABLE t (k e PRIMARY KEY)")
    statements(url, "INSERT INTO t VALUES ('b'), ('A'), ('c'), ('B1'), ('a2'), ('C3')")
    records = read(url, "t")
    assert [record.document["k"] for record in records] == expected
    for number, record in enumerate(records, 1):
        assert read(url, "t", after=record.position) == records[number:]


def ranges_of(url: str, table: str, parts: int) -> list[list[Any]]:
    """The records of each range that a table is divided into."""
    with closing(SqlExtractor(url)) as extractor:
        bounds = json.loads(json.dumps(extractor.bounds(table, parts, 1)))
        return [
            list(
                extractor.extract(table, after=lower)
                if upper is None
                else extractor.extract_range(table, lower, upper)
            )
            for lower, upper in pairwise([None, *bounds, None])
        ]


@pytest.mark.parametrize("kind", KEYS)
def test_ranges_of_any_key_add_up(kind: str, pg: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a key's type, the ranges of a table have every row once and in order, none of them all."""
    type_name, values = KEYS[kind]
    pairs = ", ".join(f"({value}, {n})" for value in values for n in (2, 10))
    statements(
        pg,
        f"CREATE TABLE two (k {type_name}, n int, PRIMARY KEY (k, n))",
        f"INSERT INTO two VALUES {pairs}",
        "ANALYZE two",
    )
    records = read(pg, "two")
    for ranked in (2_000_000, 0):
        # All keys are ranked, or a sample of them, which is all of so few.
        monkeypatch.setattr("migrator.extractors.sql_postgresql.RANKED_ROWS", ranked)
        found = ranges_of(pg, "two", 3)
        assert [record for part in found for record in part] == records
        assert len(found) in {2, 3}
        assert max(map(len, found)) <= -(-len(records) // 3)
        with closing(SqlExtractor(pg)) as extractor:
            for part in found:
                rest = list(extractor.extract_range("two", part[0].position, part[-1].position))
                assert rest == part[1:]


def test_ranges_of_an_odd_order_add_up(url: str) -> None:
    """Case-insensitive texts, and rows of SQLite whose key is null: those are the last range's."""
    if url.startswith("sqlite"):
        statements(
            url, "CREATE TABLE t (k TEXT COLLATE NOCASE PRIMARY KEY)", "INSERT INTO t VALUES (NULL), (NULL)"
        )
    else:
        statements(
            url, "CREATE TYPE e AS ENUM ('c', 'C3', 'A', 'b', 'a2', 'B1')", "CREATE TABLE t (k e PRIMARY KEY)"
        )
    statements(url, "INSERT INTO t VALUES ('b'), ('A'), ('c'), ('B1'), ('a2'), ('C3')")
    found = ranges_of(url, "t", 3)
    assert [record for part in found for record in part] == read(url, "t")
    assert [sum(record.fault is None for record in part) for part in found] == [2, 2, 2]
    assert not any(record.fault for part in found[:-1] for record in part)


def test_a_sample_divides_well_enough(pg: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a large table, and of one in partitions, pages are sampled: the ranges are about equal, and add up."""
    monkeypatch.setattr("migrator.extractors.sql_postgresql.RANKED_ROWS", 10_000)
    monkeypatch.setattr("migrator.extractors.sql_postgresql.SAMPLED_ROWS", 8_000)
    rows = "SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i"
    statements(
        pg,
        "CREATE TABLE flat (id int PRIMARY KEY, s text)",
        f"INSERT INTO flat {rows}",
        "CREATE TABLE parted (id int PRIMARY KEY, s text) PARTITION BY HASH (id)",
        "CREATE TABLE parted_0 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
        "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
        f"INSERT INTO parted {rows}",
        "ANALYZE",
    )
    with closing(SqlExtractor(pg)) as extractor:
        assert extractor.size("flat") > 1_000_000
        assert extractor.size("parted") > 1_000_000
    for table in ("flat", "parted"):
        found = ranges_of(pg, table, 4)
        assert len(found) == 4
        assert [record.document["id"] for part in found for record in part] == list(range(1, 20_001))
        assert all(3_500 < len(part) < 6_500 for part in found)


def test_a_unique_key_without_nulls_stands_in_for_a_primary_one(url: str) -> None:
    """A table with such a key is read by it; one with none is refused before anything is written, by name."""
    statements(
        url,
        "CREATE TABLE good (code TEXT NOT NULL, n INTEGER, CONSTRAINT u UNIQUE (code))",
        "INSERT INTO good VALUES ('x', 1), ('y', NULL)",
    )
    assert [record.document["_id"] for record in read(url, "good")] == ["x", "y"]
    statements(url, "CREATE TABLE bad (n INTEGER)")
    with closing(SqlExtractor(url)) as extractor, pytest.raises(ConfigError, match=r"'bad'.*--collection"):
        extractor.collections()
    with closing(SqlExtractor(url, collections=["good"])) as extractor:
        assert list(extractor.collections()) == ["good"]


def test_sqlite_rows_without_a_key_are_faults_that_are_counted(tmp_path: Path) -> None:
    """SQLite lets a primary key be null: such rows come last, each is a reject, and reading goes on among them."""
    url = f"sqlite:///{tmp_path / 'a.db'}"
    statements(
        url,
        "CREATE TABLE t (k TEXT PRIMARY KEY, n INTEGER)",
        "INSERT INTO t VALUES (NULL, 1), ('b', 2), (NULL, 3), ('a', 4)",
    )
    records = read(url, "t")
    assert [record.fault.error if record.fault else record.document["_id"] for record in records] == [
        "a", "b", "null_key", "null_key",
    ]  # fmt: skip
    assert [record.fault.document["n"] for record in records[2:]] == [1, 3]
    for number, record in enumerate(records, 1):
        assert read(url, "t", after=record.position) == records[number:]
    report = migrator.run(url, str(tmp_path / "out"), checkpoint=str(tmp_path / "c"), rejects=str(tmp_path / "r"))
    assert (report.totals.written, report.totals.rejected) == (2, 2)


def test_text_that_is_no_text_is_a_fault_of_its_row(tmp_path: Path) -> None:
    """Bytes in a text column that are not UTF-8 reject that row, in the key too, and the others are read."""
    url = f"sqlite:///{tmp_path / 'a.db'}"
    statements(
        url,
        "CREATE TABLE t (k TEXT PRIMARY KEY, s TEXT)",
        "INSERT INTO t VALUES ('a', CAST(x'ff' AS TEXT)), (CAST(x'62ff' AS TEXT), 's'), ('c', 's')",
    )
    records = read(url, "t")
    assert [record.fault.error if record.fault else record.document["_id"] for record in records] == [
        "invalid_utf8", "invalid_utf8", "c",
    ]  # fmt: skip
    for number, record in enumerate(records, 1):
        assert read(url, "t", after=record.position) == records[number:]


def test_sqlite_keys_of_mixed_types(tmp_path: Path) -> None:
    """Numbers, texts and bytes in one key column keep the database's order across a resumption."""
    url = f"sqlite:///{tmp_path / 'a.db'}"
    statements(
        url,
        "CREATE TABLE t (k PRIMARY KEY) WITHOUT ROWID",
        "INSERT INTO t VALUES (10), (9), (1.5), ('10'), ('9'), ('a'), (x'31'), (x''), (9007199254740993)",
    )
    records = read(url, "t")
    assert len(records) == 9
    for number, record in enumerate(records, 1):
        assert read(url, "t", after=json.loads(json.dumps(record.position))) == records[number:]


values = st.one_of(
    st.integers(),
    st.text(st.characters(codec="utf-8")),
    st.binary(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.uuids(),
    st.datetimes(),
    st.dates(),
    st.floats(allow_nan=False, allow_infinity=False),
)


@given(st.lists(values, min_size=1, max_size=3))
def test_a_position_is_its_key(key: list[Any]) -> None:
    """A key comes back from its position in value and type."""
    back = position_key(json.loads(json.dumps(key_position(key))), len(key))
    assert back == key
    assert list(map(type, back)) == list(map(type, key))


def test_a_key_that_is_no_text_is_shown_as_it_is(tmp_path: Path) -> None:
    """The reason and the position for people hold the bytes, and nothing of how a position is kept."""
    url = f"sqlite:///{tmp_path / 'a.db'}"
    statements(url, "CREATE TABLE t (id TEXT PRIMARY KEY)", "INSERT INTO t VALUES (CAST(x'ff61' AS TEXT))")
    [record] = read(url, "t")
    assert record.fault is not None
    assert record.fault.reason == 't ["\\\\xffa"]: id: the text is not UTF-8'


@given(st.lists(st.tuples(st.text("a:%2"), st.text("a:%3A")), unique=True, min_size=2))
def test_no_two_keys_make_one_id(keys: list[tuple[str, str]]) -> None:
    """Whatever stands in the parts of a composite key, joined they stay apart."""
    assert len({document_id(key) for key in keys}) == len(keys)


@pytest.mark.parametrize("position", ["x", "[1]", 5, '["a","b","c"]', "null:x", '[{"$type":"gone"},1]'])
def test_a_position_of_something_else_is_refused(position: Any, url: str) -> None:
    """A checkpoint of another source ends the run before it reads."""
    statements(url, "CREATE TABLE t (a INTEGER NOT NULL, b INTEGER NOT NULL, PRIMARY KEY (a, b))")
    with pytest.raises(CheckpointError):
        read(url, "t", after=position)


def test_another_key_is_another_identity(url: str) -> None:
    """When the key's columns change, old positions are not taken for the new ones."""
    statements(url, "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)", "CREATE TABLE s (b TEXT PRIMARY KEY)")
    with closing(SqlExtractor(url)) as extractor:
        assert extractor.identity("t") != extractor.identity("s")


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("sqlite:///no-such.db", ConfigError, "no SQLite file"),
        ("sqlite://", ConfigError, "three slashes"),
        ("postgresql:secret", ConfigError, "not the URL"),
        ("postgresql+nodriver://u:secret@h/d", ConfigError, "dialect"),
        ("postgresql://u:secret@127.0.0.1:9/d?connect_timeout=2", TransientError, "127.0.0.1:9"),
    ],
)
def test_what_cannot_be_opened_is_said(source: str, error: type[Exception], words: str) -> None:
    """Each mistake has its error, without the password."""
    with pytest.raises(error, match=words) as caught:
        SqlExtractor(source).collections()
    assert "secret" not in str(caught.value)
    assert caught.value.hint  # type: ignore[attr-defined]


def test_what_postgresql_refuses_is_said(pg: str) -> None:
    """A missing database, an unknown user's missing right, and a wrong password are three things."""
    gone = sa.make_url(pg).set(database="no_such").render_as_string(hide_password=False)
    with pytest.raises(ConfigError, match="no_such"):
        SqlExtractor(gone).collections()
    with pytest.raises(Unauthorized, match="refused the credentials"), translated("postgresql://h"):
        raise sa.exc.OperationalError("", {}, Exception('FATAL: password authentication failed for user "u"'))
    statements(
        pg,
        "CREATE TABLE t (a INTEGER PRIMARY KEY)",
        "DROP ROLE IF EXISTS nobody_here",
        "CREATE ROLE nobody_here LOGIN",
    )
    poor = sa.make_url(pg).set(username="nobody_here").render_as_string(hide_password=False)
    with pytest.raises(ConfigError, match="permission denied"), closing(SqlExtractor(poor)) as extractor:
        list(extractor.extract("t"))
    statements(pg, "DROP ROLE nobody_here")


def test_a_broken_connection_is_taken_up_by_the_key(pg: str, tmp_path: Path) -> None:
    """When the server ends the connection in the middle, reading goes on after the last row; none twice."""
    statements(pg, "CREATE TABLE t AS SELECT i AS id, repeat('x', 100) AS s FROM generate_series(1, 30000) i")
    statements(pg, "ALTER TABLE t ADD PRIMARY KEY (id)")
    end = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    read_through_a_cut(pg, tmp_path, lambda: statements(pg, end))


def test_memory_is_bounded(url: str) -> None:
    """A table is not held, whatever its size: only so many rows."""
    if url.startswith("sqlite"):
        made = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000) SELECT i, "
        text = "hex(zeroblob(500))"
    else:
        made, text = "SELECT i, ", "repeat('x', 1000) FROM generate_series(1, 12000) i"
    statements(url, "CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT)")
    statements(url, f"INSERT INTO t {made}{text}{' FROM n' if url.startswith('sqlite') else ''}")
    with closing(SqlExtractor(url)) as extractor:
        reading = extractor.extract("t")
        next(reading)
        tracemalloc.start()
        count = sum(1 for _ in reading)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert count == 11_999
    assert peak < 4_000_000


def test_a_killed_run_goes_on(url: str, tmp_path: Path) -> None:
    """After SIGKILL in the middle and --resume, every row is at the target once."""
    count = 8_000
    statements(url, "CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT)")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        rows = [{"i": i, "s": f"Zoë {i}"} for i in range(count)]
        connection.execute(sa.text("INSERT INTO t VALUES (:i, :s)"), rows)
    engine.dispose()
    documents = killed_and_resumed(url, tmp_path)
    assert [document["id"] for document in documents] == list(range(count))


OTHER = """
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite


class OtherDialect(SQLiteDialect_pysqlite):
    name = "otherdb"
    supports_statement_cache = True
"""


def test_any_other_dialect_is_read_the_same_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that a package brings, with what is not promised for it said once."""
    info = tmp_path / "packages" / "otherdb-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: otherdb\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[sqlalchemy.dialects]\notherdb = otherdb:OtherDialect\n")
    (info.parent / "otherdb.py").write_text(OTHER)
    monkeypatch.syspath_prepend(str(info.parent))
    (tmp_path / "app.db").touch()
    fill(f"sqlite:///{tmp_path / 'app.db'}")
    source = f"otherdb:///{tmp_path / 'app.db'}"
    report = migrator.run(source, str(tmp_path / "out"), checkpoint=str(tmp_path / "c"))
    assert report.ok
    assert report.totals.written == sum(map(len, ROWS.values()))
    statements(
        f"sqlite:///{tmp_path / 'app.db'}",
        "CREATE TABLE pairs (a INTEGER, b TEXT, c INTEGER, PRIMARY KEY (a, b, c))",
        "INSERT INTO pairs VALUES (1, 'x', 2), (1, 'y', 1), (2, 'a', 1), (1, 'x', 1), (2, 'a', 3)",
    )
    records = read(source, "pairs")
    assert [record.document["_id"] for record in records] == ["1:x:1", "1:x:2", "1:y:1", "2:a:1", "2:a:3"]
    for at, record in enumerate(records, 1):
        assert read(source, "pairs", record.position) == records[at:]
    (sentence,) = report.unconfirmed
    assert source in sentence
    assert "was not made sure of" in sentence
    with pytest.raises(ConfigError, match="the scheme 'unheardof' is not known"):
        open_extractor(JobConfig(source="unheardof://h/d"))
    with pytest.raises(ConfigError, match=r"needs pyodbc, .*couchdb-migrator\[sql\]\" pyodbc"):
        open_extractor(JobConfig(source="mssql+pyodbc://h/d")).collections()


def test_a_missing_package_is_a_pip_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the extra, the error says what to type."""
    with pytest.raises(ConfigError, match=r"A SQL source needs sqlalchemy.*couchdb-migrator\[sql\]"):
        opened_without(monkeypatch, "sqlalchemy", "sql", f"sqlite:///{tmp_path}/x.db")
