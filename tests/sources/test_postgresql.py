"""PostgreSQL says the same whoever asks: its settings, values that Python lacks, partitions, views, policies."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import migrator
from migrator.codec.rejected import Unfixed
from migrator.errors import CheckpointError, ConfigError
from migrator.extractors.sql import SqlExtractor, divide_queries
from tests.sources import postgresql
from tests.sources.sql_reading import documents, read
from tests.sources.test_sql import statements


@pytest.fixture(scope="module")
def base(postgresql_url: str) -> Iterator[str]:
    """A database that the tests share, each with tables of its own."""
    with postgresql.database(postgresql_url) as url:
        yield url


@pytest.fixture
def pg(postgresql_url: str) -> Iterator[str]:
    """An empty database."""
    with postgresql.database(postgresql_url) as url:
        yield url


def asking(url: str, query: str) -> str:
    """The URL with more in its query."""
    return f"{url}{'&' if '?' in url else '?'}{query}"


UTC = dt.UTC
VALUES: list[tuple[str, str, Any]] = [
    ("date", "'infinity'", "infinity"),
    ("date", "'-infinity'", "-infinity"),
    ("date", "'0044-03-15 BC'", "0044-03-15 BC"),
    ("date", "'10000-01-01'", "10000-01-01"),
    ("date", "'5874897-12-31'", "5874897-12-31"),
    ("date", "'0001-01-01'", dt.date(1, 1, 1)),
    ("date", "'9999-12-31'", dt.date(9999, 12, 31)),
    ("timestamp", "'infinity'", "infinity"),
    ("timestamp", "'4713-01-01 00:00:00 BC'", "4713-01-01 00:00:00 BC"),
    ("timestamp", "'10000-01-01 00:00:00.5'", "10000-01-01 00:00:00.5"),
    ("timestamp", "'2024-02-29 24:00:00'", dt.datetime(2024, 3, 1)),
    ("timestamptz", "'-infinity'", "-infinity"),
    ("timestamptz", "'9999-12-31 23:59:59.999999+00'", dt.datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)),
    ("timestamptz", "'9999-12-31 23:59:59-01'", "10000-01-01 00:59:59+00"),
    ("timestamptz", "'0001-01-01 00:00:00+00'", dt.datetime(1, 1, 1, tzinfo=UTC)),
    ("timestamptz", "'0001-01-01 00:00:00+09'", "0001-12-31 15:00:00+00 BC"),
    ("time", "'24:00:00'", "24:00:00"),
    ("time", "'23:59:59.999999'", dt.time(23, 59, 59, 999999)),
    ("timetz", "'24:00:00+02'", "24:00:00+02"),
    ("date[]", "'{infinity,2020-01-01,NULL}'", ["infinity", dt.date(2020, 1, 1), None]),
    ("timestamptz[]", "'{{10000-01-01 00:00+00},{NULL}}'", [["10000-01-01 00:00:00+00"], [None]]),
    ("interval", "'-1 mon 3 days 04:05:06.7'", "-1 mons +3 days 04:05:06.7"),
    ("interval[]", "'{1 mon}'", '{"1 mon"}'),
    ("money", "-1234.5", "-$1,234.50"),
    ("bytea", "'\\x00ff'", b"\x00\xff"),
    ("float4", "0.1", 0.1),
    ("float8", "1e-320", 1e-320),
    ("numeric", "1e-400", None),
    ("daterange", "'[2020-01-01,infinity)'", "[2020-01-01,infinity)"),
    ("tstzrange", "'[2020-01-01 00:00+02,]'", '["2019-12-31 22:00:00+00",)'),
    ("json", '\'{"a":"\\u0000","a b":[1.0]}\'', {"a": "\x00", "a b": [1.0]}),
    ("jsonb", "'[12345678901234567890123]'", [12345678901234567890123]),
    ("inet", "'::1/128'", "::1/128"),
    ("int[]", "'[0:1]={1,NULL}'", [1, None]),
]


@pytest.mark.parametrize(("kind", "literal", "value"), VALUES)
def test_a_value_is_pythons_or_the_databases_own_text(base: str, kind: str, literal: str, value: Any) -> None:
    """In a table, a view and a query, whatever Python lacks, and each the same; the row before and after too."""
    statements(
        base,
        "DROP TABLE IF EXISTS t CASCADE",
        f"CREATE TABLE t (id int PRIMARY KEY, v {kind})",
        f"INSERT INTO t VALUES (1, NULL), (2, {literal}), (3, NULL)",
        "CREATE VIEW w AS SELECT * FROM t",
    )
    found = documents(base, "t")
    assert [document["_id"] for document in found] == ["1", "2", "3"]
    if value is not None:
        assert found[1]["v"] == value
        assert type(found[1]["v"]) is type(value)
    plain = [{"id": document["id"], "v": document["v"]} for document in found]
    assert documents(base, "w", ids_given=True) == plain
    assert documents(asking(base, "query.q=select * from t order by id"), "q", ids_given=True) == plain


@pytest.mark.parametrize("kind", ["date", "timestamp", "timestamptz"])
def test_reading_goes_on_behind_a_key_that_python_lacks(base: str, kind: str) -> None:
    """Infinity, years before Christ and after 9999 are keys like others."""
    values = ["-infinity", "0044-03-15 BC", "2020-01-01", "10000-01-01", "infinity"]
    rows = ", ".join(f"('{value}')" for value in values)
    statements(
        base, "DROP TABLE IF EXISTS k", f"CREATE TABLE k (k {kind} PRIMARY KEY)", f"INSERT INTO k VALUES {rows}"
    )
    found = read(base, "k")
    assert len({record.document["_id"] for record in found}) == 5
    assert found[0].document["_id"] == "-infinity"
    for number, record in enumerate(found, 1):
        assert read(base, "k", json.loads(json.dumps(record.position))) == found[number:]


@pytest.mark.parametrize("literal", ['{"a":1e400}', '{"a":[{"b":-1e999}]}', f"[{'9' * 5000}]"])
def test_json_that_python_cannot_hold_is_a_fault_of_its_row(base: str, literal: str) -> None:
    """The fault names key and column, the others are read, in arrays too."""
    statements(
        base,
        "DROP TABLE IF EXISTS j",
        "CREATE TABLE j (id int PRIMARY KEY, v json, a json[])",
        f"INSERT INTO j VALUES (1, '1', NULL), (2, '{literal}', NULL), (3, NULL, ARRAY[NULL, '{literal}'::json])",
    )
    first, second, third = read(base, "j")
    assert first.document == {"_id": "1", "id": 1, "v": 1, "a": None}
    assert (second.fault.id, third.fault.id) == ("2", "3")
    assert "j [2]: v: " in second.fault.reason
    assert "j [3]: a[1]: " in third.fault.reason
    assert second.fault.document["v"] == literal
    assert third.fault.document["a"] == [None, literal]


SETTINGS = [
    "TimeZone = 'Asia/Tokyo'",
    "TimeZone = 'America/St_Johns'",
    "DateStyle = 'SQL, DMY'",
    "DateStyle = 'German'",
    "DateStyle = 'Postgres, MDY'",
    "IntervalStyle = 'iso_8601'",
    "IntervalStyle = 'sql_standard'",
    "bytea_output = 'escape'",
    "extra_float_digits = -3",
    "client_encoding = 'LATIN1'",
    "client_encoding = 'SJIS'",
    "search_path = nowhere",
    "search_path = ''",
    "search_path = other, public",
    "default_transaction_isolation = 'serializable'",
    "standard_conforming_strings = off",
    "row_security = on",
]


@pytest.mark.parametrize("whose", ["ROLE", "DATABASE"])
def test_a_role_or_databases_settings_change_nothing(pg: str, whose: str) -> None:
    """Ids and values are those of a session without the setting, with each of them in its turn."""
    name = sa.make_url(pg).database
    statements(
        pg,
        "CREATE TABLE t (id timestamptz PRIMARY KEY, d date, i interval, b bytea, f float8, m text, r tstzrange)",
        "INSERT INTO t VALUES ('2020-01-01 12:00+00', '2020-02-01', '1 year 2 mons 3 days', '\\x00ff41', 0.1, "
        "'Zoë \U0001f600', '[2020-01-01 00:00+00,)')",
        "CREATE SCHEMA other",
        "CREATE TABLE other.t (id int PRIMARY KEY)",
    )
    before = documents(pg, "t")
    assert before[0]["_id"] == "2020-01-01T12:00:00+00:00"
    of, other = f"DATABASE {name}", pg
    if whose == "ROLE":
        # A server has its roles in common.
        of = "ROLE asker"
        statements(pg, "DROP ROLE IF EXISTS asker", "CREATE ROLE asker LOGIN SUPERUSER")
        other = sa.make_url(pg).set(username="asker").render_as_string(hide_password=False)
    try:
        for setting in SETTINGS:
            statements(pg, f"ALTER {of} RESET ALL", f"ALTER {of} SET {setting}")
            with closing(SqlExtractor(other)) as extractor:
                assert extractor.collections() == ["t"], setting
                assert [record.document for record in extractor.extract("t")] == before, setting
    finally:
        if whose == "ROLE":
            statements(pg, "DROP ROLE asker")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PGTZ", "Asia/Tokyo"),
        ("PGDATESTYLE", "German"),
        ("PGCLIENTENCODING", "LATIN1"),
        ("PGOPTIONS", "-ctimezone=EST"),
    ],
)
def test_the_clients_environment_changes_nothing(
    base: str, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the client's variables say is overruled."""
    statements(
        base,
        "DROP TABLE IF EXISTS e",
        "CREATE TABLE e (id timestamptz PRIMARY KEY, d date, s text)",
        "INSERT INTO e VALUES ('2020-01-01 12:00+00', '2020-02-01', 'Zoë')",
    )
    before = documents(base, "e")
    monkeypatch.setenv(variable, value)
    assert documents(base, "e") == before


def test_another_schema_is_named_in_the_url(pg: str) -> None:
    """Then its tables are the collections; without tables in public, those of the role's own path are."""
    statements(
        pg, "CREATE SCHEMA sales", "CREATE TABLE sales.t (id int PRIMARY KEY)", "INSERT INTO sales.t VALUES (7)"
    )
    named = asking(pg, "options=-csearch_path%3Dsales")
    assert documents(named, "t") == [{"_id": "7", "id": 7}]
    statements(pg, f"ALTER DATABASE {sa.make_url(pg).database} SET search_path = sales")
    assert documents(pg, "t") == [{"_id": "7", "id": 7}]
    statements(pg, "CREATE TABLE public.t (id int PRIMARY KEY)")
    assert documents(pg, "t") == []
    assert documents(named, "t") == [{"_id": "7", "id": 7}]


PARTITIONED = {
    "range": (
        "PARTITION BY RANGE (y)",
        ["p1 PARTITION OF t FOR VALUES FROM (0) TO (5)", "p2 PARTITION OF t FOR VALUES FROM (5) TO (9)"],
    ),
    "list": ("PARTITION BY LIST (y)", ["p1 PARTITION OF t FOR VALUES IN (1, 2)", "p2 PARTITION OF t DEFAULT"]),
    "hash": (
        "PARTITION BY HASH (id, y)",
        [f"p{n} PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER {n})" for n in (0, 1)],
    ),
    "two levels": (
        "PARTITION BY RANGE (y)",
        [
            "p1 PARTITION OF t FOR VALUES FROM (0) TO (5) PARTITION BY LIST (id)",
            "p1a PARTITION OF p1 FOR VALUES IN (1)",
            "p1b PARTITION OF p1 DEFAULT",
            "p2 PARTITION OF t DEFAULT",
        ],
    ),
    "another schema": (
        "PARTITION BY RANGE (y)",
        ["parts.p1 PARTITION OF t FOR VALUES FROM (0) TO (5)", 'parts."P 2" PARTITION OF t DEFAULT'],
    ),
}


@pytest.mark.parametrize("kind", PARTITIONED)
def test_partitions_are_read_once_through_their_parent(pg: str, kind: str) -> None:
    """Each row once; a partition that is named is read."""
    by, parts = PARTITIONED[kind]
    statements(
        pg,
        "CREATE SCHEMA parts",
        f"CREATE TABLE t (id int, y int, PRIMARY KEY (id, y)) {by}",
        *(f"CREATE TABLE {part}" for part in parts),
        "INSERT INTO t VALUES (1, 1), (2, 2), (3, 7)",
    )
    with closing(SqlExtractor(pg)) as extractor:
        assert extractor.collections() == ["t"]
    found = read(pg, "t")
    assert [record.document["_id"] for record in found] == ["1:1", "2:2", "3:7"]
    for number, record in enumerate(found, 1):
        assert read(pg, "t", record.position) == found[number:]
    if kind != "another schema":
        name = parts[-1].split()[0]
        assert 0 < len(read(pg, name)) < 3


def test_a_partition_of_a_table_elsewhere_is_a_table_here(pg: str) -> None:
    """When its parent is not among the collections, nobody else reads its rows."""
    statements(
        pg,
        "CREATE SCHEMA up",
        "CREATE TABLE up.t (id int PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE p PARTITION OF up.t DEFAULT",
        "INSERT INTO p VALUES (1)",
    )
    with closing(SqlExtractor(pg)) as extractor:
        assert extractor.collections() == ["p"]


@pytest.mark.parametrize("more", ["", ", extra text"])
def test_tables_that_inherit_are_read_once_with_all_their_columns(pg: str, more: str) -> None:
    """Through the parent, in one go: two rows may have one key. What a child has more is not lost."""
    statements(
        pg,
        "CREATE TABLE base (id int PRIMARY KEY, n int)",
        f"CREATE TABLE child (PRIMARY KEY (id){more}) INHERITS (base)",
        "CREATE TABLE grandchild () INHERITS (child)",
        "INSERT INTO base VALUES (1, 1)",
        "INSERT INTO child (id, n) VALUES (2, 2)",
        "INSERT INTO grandchild (id, n) VALUES (3, 3)",
    )
    if more:
        statements(pg, "UPDATE child SET extra = 'x' WHERE id = 2")
    with closing(SqlExtractor(pg)) as extractor:
        assert extractor.collections() == ["base"]
    found = documents(pg, "base")
    assert sorted(document["_id"] for document in found) == ["1", "2", "3"]
    assert ([document.get("extra") for document in found if document["id"] == 2] == ["x"]) is bool(more)
    assert sorted(document["_id"] for document in documents(pg, "child")) == ["2", "3"]
    with pytest.raises(CheckpointError, match="with restart=True"):
        read(pg, "base", "row:1")


RELATIONS = {
    "view": "CREATE VIEW v AS SELECT * FROM t",
    "view of a join": "CREATE VIEW v AS SELECT a.id, a.s FROM t a JOIN t b ON a.id = b.id",
    "materialized view": "CREATE MATERIALIZED VIEW v AS SELECT * FROM t",
    "table without a key": "CREATE TABLE v AS SELECT * FROM t",
    "unlogged table without a key": "CREATE UNLOGGED TABLE v AS SELECT * FROM t",
    "table with a key that may be null": "CREATE TABLE v (id int UNIQUE, s text)",
    "table with a partial key": "CREATE TABLE v AS SELECT * FROM t; CREATE UNIQUE INDEX ON v (id) WHERE id > 0",
}


@pytest.mark.parametrize("kind", RELATIONS)
def test_what_has_no_key_is_read_in_one_go_where_an_id_is_given(pg: str, kind: str, tmp_path: Path) -> None:
    """Without, it is refused with both ways out; with, each row is written once, a second run writes none."""
    statements(
        pg,
        "CREATE TABLE t (id int PRIMARY KEY, s text)",
        "INSERT INTO t VALUES (1, 'a'), (2, 'b')",
        RELATIONS[kind],
    )
    if kind == "table with a key that may be null":
        statements(pg, "INSERT INTO v SELECT * FROM t")
    options: dict[str, Any] = {
        "collection": ["v"],
        "checkpoint": str(tmp_path / "c"),
        "rejects": str(tmp_path / "r"),
    }
    with pytest.raises(ConfigError, match=r"'v'.*--transform id:hash.*--collection"):
        migrator.run(pg, str(tmp_path / "o"), **options)
    for spec, ids in (("id:field=id", {"1", "2"}), ("id:template=x-{s}", {"x-a", "x-b"}), ("id:hash", None)):
        out = tmp_path / spec[:5]
        for written in (2, 0):
            report = migrator.run(pg, str(out), transform=[spec], restart=True, **options)
            assert (report.totals.written, report.totals.unchanged) == (written, 2 - written)
        found = {json.loads(line)["_id"] for line in (out / "v.ndjson").read_text().splitlines()}
        assert found == ids if ids else len(found) == 2


def test_views_are_collections_only_when_they_are_named(pg: str) -> None:
    """A job of all tables does not write them twice because it makes ids."""
    statements(pg, "CREATE TABLE t (id int PRIMARY KEY)", "CREATE VIEW v AS SELECT * FROM t")
    with closing(SqlExtractor(pg, ids_given=True)) as extractor:
        assert extractor.collections() == ["t"]
    with closing(SqlExtractor(pg, collections=["v", "t"], ids_given=True)) as extractor:
        assert extractor.collections() == ["v", "t"]


def test_a_column_named_id_gives_a_view_its_ids(pg: str) -> None:
    """Then no transformer is needed; what is not a text is taken as a key would be."""
    statements(
        pg,
        "CREATE TABLE t (id int PRIMARY KEY)",
        "INSERT INTO t VALUES (7)",
        "CREATE VIEW v AS SELECT id AS _id FROM t",
    )
    assert documents(pg, "v") == [{"_id": "7"}]
    assert documents(asking(pg, "query.q=select 'x'||id as _id, 1 as n from t"), "q") == [{"_id": "x7", "n": 1}]


QUERIES = [
    ("select 1 as n", [{"n": 1}]),
    ("select id + 1 as n from t", [{"n": 8}]),
    ("select '12:30'::time as n;  ", [{"n": dt.time(12, 30)}]),
    ("select ':x' as n -- a comment", [{"n": ":x"}]),
    ("select 'a%25b' as n where 'axb' like 'a%25b'", [{"n": "a%b"}]),
    ("with w as (select id from t) select id as n from w", [{"n": 7}]),
    ("values (1), (2)", [{"column1": 1}, {"column1": 2}]),
    ("select array_agg(id) as n from t", [{"n": [7]}]),
    ("select 'b%26c' as n", [{"n": "b&c"}]),
    ('select id as "N %22 x" from t'.replace("%22", "%3D"), [{"N = x": 7}]),
]


@pytest.mark.parametrize(("query", "expected"), QUERIES)
def test_a_query_with_a_name_is_a_collection(pg: str, query: str, expected: Any) -> None:
    """Whatever is in it; the tables are none then, but by name."""
    statements(pg, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (7)")
    url = asking(pg, f"query.some name={query}")
    with closing(SqlExtractor(url, ids_given=True)) as extractor:
        assert extractor.collections() == ["some name"]
        assert "select" not in extractor.describe()
    assert documents(url, "some name", ids_given=True) == expected
    assert documents(url, "t") == [{"_id": "7", "id": 7}]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("query.=select 1", "without a name"),
        ("query.q= ;", "without a text"),
        ("query.q=select 1&query.q=select 2", "twice"),
        ("query.q=select 1 as a, 2 as a", "two columns"),
        ("query.q=select", "no columns"),
        ("query.q=delete from t", "syntax error"),
        ("query.q=select * from nowhere", "nowhere"),
    ],
)
def test_a_query_that_cannot_be_is_said(base: str, query: str, words: str) -> None:
    """Before anything is written."""
    with (
        pytest.raises(ConfigError, match=words),
        closing(SqlExtractor(asking(base, query), ids_given=True)) as sql,
    ):
        sql.collections()


def test_queries_are_no_part_of_the_url() -> None:
    """What the driver gets is without them, wherever they stand."""
    url, queries = divide_queries("postgresql://h/d?a=1&query.x=select 1%2B1&b=2")
    assert url == "postgresql://h/d?a=1&b=2"
    assert queries == {"x": "select 1+1"}
    assert divide_queries("sqlite:///a?query.x=select a+1") == ("sqlite:///a", {"x": "select a+1"})


def test_another_query_of_the_name_is_another_source(base: str) -> None:
    """What was read of the one is not gone on with in the other."""
    first, second = (
        SqlExtractor(asking(base, f"query.q=select {number} as n"), ids_given=True).identity("q")
        for number in (1, 2)
    )
    assert first != second


POLICIES = {
    "one": ["CREATE POLICY mine ON t USING (owner = current_user)"],
    "two": ["CREATE POLICY mine ON t USING (false)", "CREATE POLICY ours ON t USING (true)"],
    "none": [],
    "all rows": ["CREATE POLICY mine ON t USING (true)"],
}


@pytest.fixture
def reader(pg: str) -> Iterator[str]:
    """The URL of a user who may read all that there is later."""
    statements(
        pg,
        "DROP ROLE IF EXISTS policed",
        "CREATE ROLE policed LOGIN",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO policed",
    )
    yield sa.make_url(pg).set(username="policed").render_as_string(hide_password=False)
    statements(pg, "DROP OWNED BY policed", "DROP ROLE policed")


@pytest.mark.parametrize("kind", POLICIES)
@pytest.mark.parametrize("shape", ["table", "partitioned", "child"])
def test_rows_that_a_policy_hides_are_an_error(pg: str, reader: str, kind: str, shape: str) -> None:
    """It names table, user, policy and what to do; who sees all rows reads them."""
    name = "t"
    if shape == "table":
        tables = ["CREATE TABLE t (id int PRIMARY KEY, owner text)"]
    elif shape == "partitioned":
        tables = [
            "CREATE TABLE t (id int PRIMARY KEY, owner text) PARTITION BY RANGE (id)",
            "CREATE TABLE p PARTITION OF t DEFAULT",
        ]
    else:
        name = "up"
        tables = ["CREATE TABLE up (id int PRIMARY KEY, owner text)", "CREATE TABLE t (more int) INHERITS (up)"]
    statements(
        pg,
        *tables,
        "INSERT INTO t VALUES (1, 'policed'), (2, 'other')",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        *POLICIES[kind],
    )
    with pytest.raises(ConfigError, match=r"'t'.*'policed'") as caught, closing(SqlExtractor(reader)) as extractor:
        extractor.collections()
    for policy in ("mine", "ours"):
        assert (policy in str(caught.value)) is any(f" {policy} " in text for text in POLICIES[kind])
    assert "BYPASSRLS" in caught.value.hint
    assert len(documents(pg, name)) == 2
    statements(pg, "ALTER ROLE policed BYPASSRLS")
    assert len(documents(reader, name)) == 2


def test_a_view_does_not_hide_rows_either(pg: str, reader: str) -> None:
    """A view that asks as its user ends with the policy's error, never with some of the rows."""
    statements(
        pg,
        "CREATE TABLE t (id int PRIMARY KEY)",
        "INSERT INTO t VALUES (1)",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "CREATE VIEW v WITH (security_invoker) AS SELECT * FROM t",
    )
    with pytest.raises(ConfigError, match="row-level security") as caught:
        read(reader, "v", ids_given=True)
    assert "BYPASSRLS" in caught.value.hint
    with pytest.raises(ConfigError, match="row-level security"):
        read(asking(reader, "query.q=select * from t"), "q", ids_given=True)


def test_odd_names_and_columns(pg: str) -> None:
    """Quoted names, reserved words, computed columns and keys of several columns, in the order of the key."""
    statements(
        pg,
        'CREATE TABLE "Or der" ("select" text, "A:b" int, "c%%d" int GENERATED ALWAYS AS ("A:b" * 2) STORED, '
        '"é" int GENERATED BY DEFAULT AS IDENTITY, PRIMARY KEY ("A:b", "select"))',
        'INSERT INTO "Or der" ("select", "A:b") VALUES (\'x:y\', 2), (\'x\', 1)',
    )
    found = read(pg, "Or der")
    assert [record.document["_id"] for record in found] == ["1:x", "2:x%3Ay"]
    assert found[0].document["c%d"] == 2
    assert read(pg, "Or der", found[0].position) == found[1:]


def test_a_key_that_changed_between_runs_is_said(pg: str, tmp_path: Path) -> None:
    """A table that got, lost or changed its key is another source: nothing is gone on with."""
    statements(pg, "CREATE TABLE t (a int, b int NOT NULL UNIQUE)")
    identities = []
    for change in (
        "ALTER TABLE t ADD PRIMARY KEY (a)",
        "ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (a, b)",
        "ALTER TABLE t DROP CONSTRAINT t_pkey, DROP CONSTRAINT t_b_key",
    ):
        with closing(SqlExtractor(pg, ids_given=True)) as extractor:
            identities.append(extractor.identity("t"))
        statements(pg, change)
    with closing(SqlExtractor(pg, ids_given=True)) as extractor:
        identities.append(extractor.identity("t"))
    assert len(set(identities)) == 4
    assert all(identities)


def test_a_text_whose_encoding_nobody_checked(postgresql_url: str) -> None:
    """In a database of SQL_ASCII: bytes that are not UTF-8 are faults of their rows, in keys and arrays too."""
    engine = sa.create_engine(postgresql_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE IF EXISTS raw")
        connection.exec_driver_sql(
            "CREATE DATABASE raw ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    url = sa.make_url(postgresql_url).set(database="raw").render_as_string(hide_password=False)
    bad = "convert_from('\\x62ff', 'SQL_ASCII')"
    statements(
        asking(url, "client_encoding=utf8"),
        "CREATE TABLE t (k text PRIMARY KEY, s varchar, a text[])",
        f"INSERT INTO t VALUES ('a', {bad}, NULL), ({bad}, 's', NULL), ('c', 'Zoë', NULL)",
        f"INSERT INTO t VALUES ('d', '', ARRAY[{bad}])",
    )
    found = read(url, "t")
    assert [record.fault.reason if record.fault else record.document["s"] for record in found] == [
        't ["a"]: s: the text is not UTF-8', found[1].fault.reason, "Zoë", 't ["d"]: a[0]: the text is not UTF-8',
    ]  # fmt: skip
    assert [record.fault.id for record in found if record.fault] == ["a", "", "d"]
    assert found[0].fault.document["s"] == "b\\xff"
    for number, record in enumerate(found, 1):
        assert read(url, "t", record.position) == found[number:]
    with engine.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE raw WITH (FORCE)")
    engine.dispose()


@pytest.mark.parametrize("bad", [[1], [3, 450], [199, 200, 201], [500]])
def test_a_row_that_the_database_fails_over_is_a_fault_of_its_own(base: str, bad: list[int]) -> None:
    """Of a column that is computed while it is read; the others are given once, in order."""
    zeros = ", ".join(map(str, bad))
    statements(
        base,
        "DROP TABLE IF EXISTS computed",
        "CREATE TABLE computed (id int PRIMARY KEY, x int, y int GENERATED ALWAYS AS (10 / x) VIRTUAL)",
        f"INSERT INTO computed SELECT i, (i NOT IN ({zeros}))::int FROM generate_series(1, 500) i",
    )
    found = read(base, "computed")
    assert [record.fault.id if record.fault else record.document["_id"] for record in found] == [
        str(number) for number in range(1, 501)
    ]
    faults = [record.fault for record in found if record.fault]
    lost = {"x": Unfixed(None), "y": Unfixed(None)}
    assert [fault.document for fault in faults] == [{"_id": str(number), "id": number, **lost} for number in bad]
    assert all(f"computed [{fault.id}]: division by zero" in fault.reason for fault in faults)
    for number in (bad[0], 499):
        assert read(base, "computed", found[number - 1].position) == found[number:]
