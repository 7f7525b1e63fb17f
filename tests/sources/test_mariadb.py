"""MySQL's protocol against a real MariaDB: each type, keys of each order, views, settings, rights, and trouble."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import migrator
from migrator.errors import ConfigError, TransientError, Unauthorized
from migrator.extractors.sql import SqlExtractor
from tests.conftest import NEEDS_MARIADB
from tests.sources import mariadb
from tests.sources.killing import killed_and_resumed
from tests.sources.mariadb import PASSWORD, statements
from tests.sources.sql_reading import documents, read, read_through_a_cut

# As a server that nobody has told to be strict: it keeps dates that are none, and cuts nothing without a word.
LAX = "SET sql_mode = 'ALLOW_INVALID_DATES'"


@pytest.fixture(scope="module")
def base(mariadb_url: str) -> Iterator[str]:
    """A database that the tests share, each with tables of its own."""
    with mariadb.database(mariadb_url) as url:
        yield url


@pytest.fixture
def db(mariadb_url: str) -> Iterator[str]:
    """An empty database."""
    with mariadb.database(mariadb_url) as url:
        yield url


def as_user(url: str, user: str, password: str = "") -> str:
    """The URL for another user."""
    return sa.make_url(url).set(username=user, password=password).render_as_string(hide_password=False)


UTC = dt.UTC
VALUES: list[tuple[str, str, Any]] = [
    ("tinyint", "-128", -128),
    ("tinyint(1)", "2", 2),
    ("boolean", "true", 1),
    ("smallint unsigned", "65535", 65535),
    ("mediumint", "-8388608", -8388608),
    ("int(6) zerofill", "42", 42),
    ("bigint", "-9223372036854775808", -(2**63)),
    ("bigint unsigned", "18446744073709551615", 2**64 - 1),
    ("decimal(65,30)", f"'{'9' * 35}.{'1' * 30}'", Decimal("9" * 35 + "." + "1" * 30)),
    ("decimal(10,2)", "'-0.10'", Decimal("-0.10")),
    ("float", "16777216", 16777216.0),
    ("float", "0.1", 0.1),
    ("float(7,4)", "123.4567", 123.4567),
    ("float", "3.4028234e38", 3.4028235e38),
    ("float unsigned", "1e-38", 1e-38),
    ("double", "0.1", 0.1),
    ("double", "1.7976931348623157e308", 1.7976931348623157e308),
    ("double", "-0e0 - 1e-300", -1e-300),
    ("double(10,2)", "1234.57", 1234.57),
    ("bit(1)", "b'1'", 1),
    ("bit(5)", "b'101'", 5),
    ("bit(64)", "~0", 2**64 - 1),
    ("year", "2026", 2026),
    ("year", "0", 0),
    ("date", "'2026-11-28'", dt.date(2026, 11, 28)),
    ("date", "'0000-00-00'", "0000-00-00"),
    ("date", "'2026-00-10'", "2026-00-10"),
    ("date", "'2026-02-31'", "2026-02-31"),
    ("datetime", "'2026-11-28 01:02:03'", dt.datetime(2026, 11, 28, 1, 2, 3)),
    ("datetime(6)", "'9999-12-31 23:59:59.999999'", dt.datetime(9999, 12, 31, 23, 59, 59, 999_999)),
    ("datetime(2)", "'2026-00-10 01:02:03.45'", "2026-00-10 01:02:03.45"),
    ("datetime", "0", "0000-00-00 00:00:00"),
    ("timestamp null", "'2026-11-28 01:02:03'", dt.datetime(2026, 11, 27, 16, 2, 3, 0, UTC)),
    ("timestamp(3) null", "'2020-01-01 09:00:00.123'", dt.datetime(2020, 1, 1, 0, 0, 0, 123_000, UTC)),
    ("timestamp null", "'0000-00-00 00:00:00'", "0000-00-00 00:00:00"),
    ("time", "'10:11:12'", dt.time(10, 11, 12)),
    ("time(3)", "'10:11:12.5'", dt.time(10, 11, 12, 500_000)),
    ("time", "'24:00:00'", "24:00:00"),
    ("time", "'-838:59:59'", "-838:59:59"),
    ("time(6)", "'-00:00:00.000001'", "-00:00:00.000001"),
    ("enum('small','large')", "'large'", "large"),
    ("enum('small','large')", "'huge'", ""),
    ("enum('é','\U0001f600') charset utf8mb4", "'\U0001f600'", "\U0001f600"),
    ("set('a','b','c')", "'c,a'", "a,c"),
    ("char(5)", "'ab'", "ab"),
    ("varchar(20)", "' a\tb\\0c '", " a\tb\0c "),
    ("varchar(20)", "'\U0001f600 \u2028'", "\U0001f600 \u2028"),
    ("varchar(20) charset utf8mb3", "'Zoë'", "Zoë"),
    ("varchar(20) charset latin1", "'é€'", "é€"),
    ("varchar(20) charset latin1", "x'81ff'", "\x81ÿ"),
    ("varchar(20) charset utf16", "'Zoë \U0001f600'", "Zoë \U0001f600"),
    ("varchar(20) charset gbk", "'漢'", "漢"),
    ("varchar(20) charset koi8r", "'мир'", "мир"),
    ("text charset ascii", "'plain'", "plain"),
    ("longtext", "repeat('é', 100000)", "é" * 100_000),
    ("binary(4)", "'ab'", b"ab\0\0"),
    ("varbinary(9)", "x'00ff'", b"\x00\xff"),
    ("blob", "x'89504e470d0a'", b"\x89PNG\r\n"),
    ("json", '\'{"a": [1, null, "é"], "big": 18446744073709551617}\'', {"a": [1, None, "é"], "big": 2**64 + 1}),
    ("json", "'null'", None),
    ("json", "'7'", 7),
    ("uuid", "'123e4567-e89b-12d3-a456-426655440000'", "123e4567-e89b-12d3-a456-426655440000"),
    ("inet6", "'::1'", "::1"),
    ("inet4", "'1.2.3.4'", "1.2.3.4"),
    (
        "point",
        "ST_GeomFromText('POINT(1 2)', 4326)",
        bytes.fromhex("e6100000 0101000000 000000000000f03f 0000000000000040"),
    ),
    ("int", "NULL", None),
    ("bit(3)", "NULL", None),
    ("json", "NULL", None),
]


@pytest.fixture(scope="module")
def valued(base: str) -> str:
    """A table with a row for each of VALUES, in a column of its own."""
    columns = ", ".join(f"v{at} {kind}" for at, (kind, *_) in enumerate(VALUES))
    statements(
        base,
        f"CREATE TABLE vals (id int PRIMARY KEY, {columns}) DEFAULT CHARSET utf8mb4",
        LAX,
        # The values of time stamps are those of a client in Tokyo.
        "SET time_zone = '+09:00'",
        "INSERT INTO vals (id) VALUES (1)",
        "CREATE TABLE three (id int PRIMARY KEY)",
        "INSERT INTO three VALUES (1), (2), (3)",
        *(f"UPDATE vals SET v{at} = {literal}" for at, (_, literal, _) in enumerate(VALUES)),
    )
    return base


def test_a_value_comes_exactly_or_is_the_servers_own_text(valued: str) -> None:
    """Nothing is rounded, guessed or null; of the very type."""
    (document,) = documents(valued, "vals")
    found = [document[f"v{at}"] for at in range(len(VALUES))]
    wrong = [
        (kind, literal, got, wanted)
        for (kind, literal, wanted), got in zip(VALUES, found, strict=True)
        if (type(got), repr(got)) != (type(wanted), repr(wanted))
    ]
    assert not wrong


@pytest.mark.parametrize(
    "setting", ["time_zone = '+05:00'", "sql_mode = 'NO_ZERO_DATE,STRICT_ALL_TABLES,ANSI_QUOTES'"]
)
def test_the_servers_settings_change_nothing(valued: str, setting: str) -> None:
    """Whatever a server, and so each session, is set to: the documents are the same."""
    before = [*documents(valued, "vals"), *documents(valued, "three")]
    name, _, value = setting.partition(" = ")
    kept = f"SET @kept = @@global.{name}"
    engine = sa.create_engine(sa.make_url(valued).set(drivername="mysql+pymysql"))
    with engine.connect() as connection:
        connection.exec_driver_sql(kept)
        connection.exec_driver_sql(f"SET GLOBAL {name} = {value}, GLOBAL sql_select_limit = 1")
        try:
            after = [*documents(valued, "vals"), *documents(valued, "three")]
        finally:
            connection.exec_driver_sql(f"SET GLOBAL {name} = @kept, GLOBAL sql_select_limit = DEFAULT")
    engine.dispose()
    assert repr(after) == repr(before)


def test_text_that_has_no_unicode_is_a_fault_of_its_row(base: str) -> None:
    """A character that the server would silently make a question mark of, and JSON that nobody checked."""
    statements(
        base,
        "CREATE TABLE odd (id int PRIMARY KEY, s varchar(9) charset sjis, j json)",
        "INSERT INTO odd VALUES (1, _sjis x'8140', '1'), (2, _sjis x'8540', '2'), (3, 'c', '3')",
        "SET check_constraint_checks = 0",
        "INSERT INTO odd VALUES (4, 'd', '{\"a\": ')",
    )
    first, second, third, fourth = read(base, "odd")
    assert (first.fault, first.document["s"]) == (None, "\u3000")
    assert third.document == {"_id": "3", "id": 3, "s": "c", "j": 3}
    for record, column, id in ((second, "s", "2"), (fourth, "j", "4")):
        assert record.fault is not None
        assert record.fault.id == id
        assert f"odd [{id}]: {column}: " in record.fault.reason


def test_a_text_too_large_to_convert_is_a_fault_of_its_row(base: str) -> None:
    """Where the server would give null in its place; what needs no conversion is read whatever its size."""
    statements(
        base,
        "CREATE TABLE large (id int PRIMARY KEY, plain longtext charset utf8mb4, other longtext charset utf16)",
        "INSERT INTO large VALUES (1, repeat('x', 200000), 'a'), (2, 'b', repeat('y', 100000)), (3, 'c', 'c')",
        "SET GLOBAL max_allowed_packet = 65536",
    )
    try:
        first, second, third = read(base, "large")
    finally:
        statements(base, "SET GLOBAL max_allowed_packet = DEFAULT")
    assert (first.fault, len(first.document["plain"])) == (None, 200_000)
    assert "large [2]: other: the text is larger than the server converts" in second.fault.reason
    assert third.document == {"_id": "3", "id": 3, "plain": "c", "other": "c"}


KEYS = {
    "integers": ("bigint", "(-5), (-4), (0), (9223372036854775807)"),
    "unsigned": ("bigint unsigned", "(0), (9223372036854775807), (9223372036854775808), (18446744073709551615)"),
    "decimals": ("decimal(40,20)", "('0.00000000000000000001'), ('0.00000000000000000002'), (1), (10)"),
    "floats": ("float", "(0.1), (0.2), (0.3), (16777217)"),
    "doubles": ("double", "(0.1), (0.2), (0.30000000000000004), (0.3)"),
    "case": ("varchar(20) collate utf8mb4_general_ci", "('a'), ('B'), ('c'), ('D'), ('é'), ('Z')"),
    "accents": ("varchar(20) collate utf8mb4_unicode_ci", "('ä'), ('b'), ('Ç'), ('d'), ('ß'), ('\U0001f600')"),
    "padded": ("varchar(20)", "('a'), ('a\\t'), ('a!'), ('b   '), ('B!')"),
    "nopad": ("varchar(20) collate utf8mb4_nopad_bin", "('a'), ('a '), ('a  '), ('A'), ('')"),
    "latin1": ("varchar(20) charset latin1 collate latin1_german1_ci", "('ä'), ('b'), ('Z'), ('ö'), ('€')"),
    "chinese": ("varchar(20) charset gbk", "('漢'), ('字'), ('a'), ('啊')"),
    "quotes": ("varchar(20)", "('it''s'), ('back\\\\slash'), ('100%s'), ('a:b')"),
    "bytes": ("varbinary(20)", "(x'00'), (x'0001'), (x'ff'), (x'27'), (x'5c')"),
    "fixed": ("binary(3)", "('a'), ('ab'), ('abc'), (x'ffff')"),
    "enum": ("enum('z','a','m')", "('a'), ('m'), ('z')"),
    "set": ("set('z','a','m')", "('a'), ('m,z'), ('z'), ('')"),
    "bits": ("bit(64)", "(0), (1), (b'101'), (~0)"),
    "years": ("year", "(0), (1970), (2026), (2155)"),
    "dates": ("date", "('0000-00-00'), ('2026-00-10'), ('2026-02-31'), ('2026-03-01')"),
    "datetimes": ("datetime(6)", "('0000-00-00'), ('2026-01-01 00:00:00.000001'), ('2026-01-01 00:00:00.000002')"),
    "timestamps": ("timestamp(3)", "('2020-01-01 00:00:00.001'), ('2020-01-01 00:00:00.002'), ('2030-01-01')"),
    "times": ("time(3)", "('-838:59:59'), ('-00:00:01'), ('10:00:00.5'), ('24:00:00'), ('838:59:59')"),
    "uuid": ("uuid", "(uuid()), (uuid()), (uuid()), (uuid())"),
}


@pytest.mark.parametrize("kind", KEYS)
def test_reading_goes_on_after_any_key(base: str, kind: str) -> None:
    """After each row come exactly the rows behind it, whatever the key's type, order and collation."""
    declared, values = KEYS[kind]
    table = f"key_{kind}"
    statements(
        base,
        LAX,
        f"CREATE TABLE {table} (k {declared} NOT NULL PRIMARY KEY, n int DEFAULT 1) DEFAULT CHARSET utf8mb4",
        f"INSERT INTO {table} (k) VALUES {values}",
    )
    records = read(base, table)
    assert len(records) == values.count("(") - values.count("uuid(")
    assert len({record.document["_id"] for record in records}) == len(records)
    for at, record in enumerate(records, 1):
        assert read(base, table, record.position) == records[at:]
    with closing(SqlExtractor(base)) as extractor:
        bounds: list[Any] = [None, *extractor.bounds(table, len(records), 1)]
        assert len(bounds) > 1
        parts = [
            record for after, upto in pairwise(bounds) for record in extractor.extract_range(table, after, upto)
        ]
        assert [*parts, *extractor.extract(table, after=bounds[-1])] == records


def test_reading_goes_on_after_keys_of_several_columns(base: str) -> None:
    """In the order of all of them, each by its own."""
    statements(
        base,
        "CREATE TABLE pairs (a varchar(9) COLLATE utf8mb4_general_ci, b enum('y','x'), c date,"
        " PRIMARY KEY (a, b, c))",
        "INSERT INTO pairs VALUES ('b', 'x', '2026-01-01'), ('B', 'y', '2026-01-01'), ('a:b', 'x', '2026-01-02'),"
        " ('a%', 'x', '2026-01-01'), ('a:b', 'x', '2026-01-01')",
    )
    records = read(base, "pairs")
    assert [record.document["_id"] for record in records] == [
        "a%25:x:2026-01-01",
        "a%3Ab:x:2026-01-01",
        "a%3Ab:x:2026-01-02",
        "B:y:2026-01-01",
        "b:x:2026-01-01",
    ]
    for at, record in enumerate(records, 1):
        assert read(base, "pairs", record.position) == records[at:]


def test_what_is_a_collection(db: str) -> None:
    """Tables of all kinds with all their columns, once; views where they are named; no sequence."""
    statements(
        db,
        "CREATE TABLE `odd ``name``; %s é` (`k.1` int PRIMARY KEY, `a``b` int INVISIBLE DEFAULT 2, `%(x)s` int,"
        " g int AS (`k.1` * 2) VIRTUAL, p int AS (`k.1` * 3) PERSISTENT, `select` int)",
        "INSERT INTO `odd ``name``; %s é` (`k.1`, `%(x)s`, `select`) VALUES (1, 3, 4)",
        "CREATE TABLE parts (id int, y int, PRIMARY KEY (id, y)) PARTITION BY RANGE (y)"
        " (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE)",
        "INSERT INTO parts VALUES (1, 5), (2, 50)",
        "CREATE TABLE versioned (id int PRIMARY KEY, v int) WITH SYSTEM VERSIONING",
        "INSERT INTO versioned VALUES (1, 1)",
        "UPDATE versioned SET v = 2",
        "CREATE TABLE uniq (a int NOT NULL, b int, UNIQUE KEY (a), UNIQUE KEY (b)) ENGINE MyISAM",
        "INSERT INTO uniq VALUES (2, NULL), (1, 1)",
        "CREATE SEQUENCE numbers",
        "CREATE VIEW seen AS SELECT id AS _id, y, CAST(0.1 AS FLOAT) AS f FROM parts",
    )
    with closing(SqlExtractor(db)) as extractor:
        assert extractor.collections() == ["odd `name`; %s é", "parts", "uniq", "versioned"]
        assert extractor.size("parts") > 0
        assert extractor.count("parts") is None
    (odd,) = documents(db, "odd `name`; %s é")
    assert odd == {"_id": "1", "k.1": 1, "a`b": 2, "%(x)s": 3, "g": 2, "p": 3, "select": 4}
    assert [document["_id"] for document in documents(db, "parts")] == ["1:5", "2:50"]
    assert documents(db, "versioned") == [{"_id": "1", "id": 1, "v": 2}]
    assert [document["_id"] for document in documents(db, "uniq")] == ["1", "2"]
    assert documents(db, "seen") == [{"_id": "1", "y": 5, "f": 0.1}, {"_id": "2", "y": 50, "f": 0.1}]


def test_what_has_no_key_is_read_in_one_go(db: str, tmp_path: Path) -> None:
    """Where an id is given; else it is refused by name."""
    statements(db, "CREATE TABLE loose (a int, b date)", LAX, "INSERT INTO loose VALUES (1, 0), (2, '2026-01-01')")
    with pytest.raises(ConfigError, match="'loose' has neither"):
        read(db, "loose")
    report = migrator.run(db, str(tmp_path / "out"), transform=["id:field=a"], checkpoint=str(tmp_path / "c"))
    assert report.totals.written == 2
    lines = [json.loads(line) for line in (tmp_path / "out" / "loose.ndjson").read_bytes().splitlines()]
    assert [(line["_id"], line["b"]) for line in lines] == [("1", "0000-00-00"), ("2", "2026-01-01")]


def test_a_query_with_a_name_is_a_collection(valued: str) -> None:
    """Its values are as exact as a table's."""
    query = "select concat('x', id) as _id, v7, v8, v11, v22, v26, v33, v52, v58, '50%' as p, 'a:b' as q from vals"
    (document,) = documents(f"{valued}&query.mine={query.replace('%', '%25')}", "mine")
    assert document["_id"] == "x1"
    assert (document["p"], document["q"]) == ("50%", "a:b")
    for at in (7, 8, 11, 22, 26, 33, 52):
        assert document[f"v{at}"] == VALUES[at][2]
    # Of a query's text nobody says that it is JSON.
    assert json.loads(document["v58"]) == VALUES[58][2]


def test_what_the_server_fails_over_is_named(base: str) -> None:
    """Of a view, which has no key to leave the row out by: after how many rows, and why."""
    statements(
        base,
        "CREATE TABLE small (id int PRIMARY KEY, b bigint unsigned)",
        "INSERT INTO small VALUES (1, 7), (2, 3), (3, 9)",
        "CREATE VIEW failing AS SELECT id AS _id, b - 5 AS less FROM small",
    )
    with pytest.raises(ConfigError, match=r"'failing' has a row that the database fails over.*out of range"):
        read(base, "failing")


# For a cell of the docs that names several types, one of them.
DECLARED = {
    "TINYINT": "BIGINT UNSIGNED",
    "DECIMAL": "DECIMAL(10,2)",
    "CHAR": "VARCHAR(9)",
    "BINARY": "VARBINARY(9)",
    "TIMESTAMP": "TIMESTAMP NULL",
    "UUID": "INET6",
}


def test_the_table_of_the_docs_is_true(db: str, tmp_path: Path) -> None:
    """Each row of it, as the very text of the document."""
    page = (Path(__file__).parents[2] / "docs" / "sources.md").read_text()
    table = page.partition("| column | such as | in the document |\n|---|---|---|\n")[2].partition("\n\n")[0]
    rows = [re.fullmatch(r"\| `([^`]*)`.* \| `(.*)` \| `(.*)` \|", line) for line in table.splitlines()]
    assert len(rows) > 15
    cells = [row.groups() for row in rows if row]
    assert len(cells) == len(rows)
    columns = ", ".join(f"v{at} {DECLARED.get(kind, kind)}" for at, (kind, *_) in enumerate(cells))
    values = ", ".join(literal for _, literal, _ in cells)
    created = f"CREATE TABLE t (id int PRIMARY KEY, {columns})"
    statements(db, created, LAX, "SET time_zone = '+00:00'", f"INSERT INTO t VALUES (1, {values})")
    assert migrator.run(db, str(tmp_path / "out"), checkpoint=str(tmp_path / "c")).ok
    assert migrator.verify(db, str(tmp_path / "out")).ok
    text = (tmp_path / "out" / "t.ndjson").read_text()
    wanted = [f'"v{at}":{re.sub(": ", ":", value)}' for at, (*_, value) in enumerate(cells)]
    assert [each for each in wanted if each not in text] == []


def test_each_table_is_of_one_state(db: str) -> None:
    """What is written while it is read is not met, nor waited for."""
    statements(db, "CREATE TABLE t (id int PRIMARY KEY, s text)")
    statements(db, "INSERT INTO t SELECT seq, repeat('x', 500) FROM seq_1_to_5000")
    with closing(SqlExtractor(db)) as extractor:
        reading = extractor.extract("t")
        first = next(reading)
        statements(
            db, "UPDATE t SET s = 'changed'", "DELETE FROM t WHERE id > 4000", "INSERT INTO t VALUES (9999, '')"
        )
        others = list(reading)
    found = [record.document for record in (first, *others) if record.document]
    assert [document["id"] for document in found] == list(range(1, 5001))
    assert {document["s"] for document in found} == {"x" * 500}


def test_tables_are_of_one_state_too(db: str, tmp_path: Path) -> None:
    """Those that are read one after the other; what is read again is of a later one."""
    statements(db, "CREATE TABLE a (id int PRIMARY KEY)", "CREATE TABLE b (id int PRIMARY KEY)")
    statements(db, "INSERT INTO a VALUES (1)", "INSERT INTO b VALUES (1)")
    with closing(SqlExtractor(db)) as extractor:

        def ids(name: str) -> list[Any]:
            return [record.document["id"] for record in extractor.extract(name) if record.document]

        assert ids("a") == [1]
        statements(db, "INSERT INTO a VALUES (2)", "INSERT INTO b VALUES (2)")
        assert ids("b") == [1]
        assert ids("b") == [1, 2]
        statements(db, "INSERT INTO a VALUES (3)")
        # Two at a time have two connections.
        assert len(list(zip(extractor.extract("b"), extractor.extract("a"), strict=False))) == 2
        assert ids("a") == [1, 2, 3]

    class Writing(SqlExtractor):
        def extract(self, collection: str, *, after: Any = None) -> Iterator[Any]:
            yield from super().extract(collection, after=after)
            statements(db, "INSERT INTO b VALUES (9)" if collection == "a" else "DELETE FROM a")

    assert migrator.run(Writing(db), str(tmp_path / "out"), checkpoint=str(tmp_path / "c")).totals.written == 5


def test_a_reading_that_is_given_up_ends_at_once(db: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The rest is not read; nothing is said, and the server has no reader left."""
    statements(db, "CREATE TABLE t (id int PRIMARY KEY, s text)")
    # It would take minutes to read it all.
    endless = f"{db}&query.q=select a.seq*1000000000 as _id, repeat('x',5000) as s from seq_1_to_100000000 a"
    with closing(SqlExtractor(endless)) as extractor:
        reading: Any = extractor.extract("q")
        next(reading)
        reading.close()
    assert capfd.readouterr().err == ""


def test_a_broken_connection_is_taken_up_by_the_key(db: str, tmp_path: Path) -> None:
    """When the server ends the connection in the middle, reading goes on after the last row; none twice."""
    statements(db, "CREATE TABLE t (id int PRIMARY KEY, s text)")
    statements(db, "INSERT INTO t SELECT seq, repeat('x', 1000) FROM seq_1_to_30000")
    read_through_a_cut(db, tmp_path, lambda: kill_readers(db))


def kill_readers(url: str) -> None:
    """End the connections of a database's user."""
    user = sa.make_url(url).username
    engine = sa.create_engine(sa.make_url(url).set(drivername="mysql+pymysql"), poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        query = f"SELECT id FROM information_schema.PROCESSLIST WHERE user = '{user}' AND id <> connection_id()"
        for (number,) in connection.exec_driver_sql(query).all():
            connection.exec_driver_sql(f"KILL {number}")


def test_a_server_that_is_started_again_is_taken_up(tmp_path: Path) -> None:
    """Stopped in the middle, and up again: reading goes on after the last row; none twice."""
    if missing := mariadb.missing():
        pytest.skip(f"{NEEDS_MARIADB}{missing} cannot be found")
    with ExitStack() as running:
        administrator = running.enter_context(mariadb.server(tmp_path))
        statements(administrator, "CREATE DATABASE d")
        url = administrator.replace("mysql+pymysql", "mysql").replace("/mysql?", "/d?")
        statements(url, "CREATE TABLE t (id int PRIMARY KEY, s text)")
        statements(url, "INSERT INTO t SELECT seq, repeat('x', 1000) FROM seq_1_to_20000")
        again = False

        class Stopping(SqlExtractor):
            def extract(self, collection: str, *, after: Any = None) -> Iterator[Any]:
                nonlocal again
                for record in super().extract(collection, after=after):
                    yield record
                    if not again and record.document and record.document["id"] == 5_000:
                        again = True
                        running.pop_all().close()
                        running.enter_context(mariadb.server(tmp_path))

        report = migrator.run(
            Stopping(url), str(tmp_path / "out"), checkpoint=str(tmp_path / "cp"), max_attempts=5
        )
    assert again
    assert report.totals.written == 20_000
    ids = [json.loads(line)["id"] for line in (tmp_path / "out" / "t.ndjson").read_bytes().splitlines()]
    assert ids == list(range(1, 20_001))


def test_a_killed_run_goes_on(db: str, tmp_path: Path) -> None:
    """After SIGKILL in the middle and --resume, every row is at the target once."""
    count = 8_000
    statements(db, "CREATE TABLE t (id int PRIMARY KEY, s varchar(20))")
    statements(db, f"INSERT INTO t SELECT seq, concat('Zoë ', seq) FROM seq_1_to_{count}")
    found = killed_and_resumed(db, tmp_path)
    assert [document["id"] for document in found] == list(range(1, count + 1))


def test_what_is_refused_is_said(db: str, mariadb_url: str) -> None:
    """A wrong password, no such database, no right, and no server are four things; no password is shown."""
    statements(
        db,
        "CREATE TABLE t (a int PRIMARY KEY, secret int)",
        "CREATE VIEW v AS SELECT a AS _id FROM t",
        "CREATE OR REPLACE USER reader IDENTIFIED BY 'geh3im'",
    )
    name = sa.make_url(db).database
    reader = as_user(db, "reader", "geh3im")
    gone = sa.make_url(db).set(database="no_such").render_as_string(hide_password=False)
    away = "mysql://u:geh3im@127.0.0.1:9/d?connect_timeout=2"
    cases: list[tuple[str, type[Exception], str]] = [
        (as_user(db, "reader", "wr0ng-geh3im"), Unauthorized, "refused the credentials"),
        (gone, ConfigError, "Unknown database 'no_such'"),
        (reader, ConfigError, "Access denied for user 'reader'"),
        (away, TransientError, "127.0.0.1:9/d does not answer"),
        (away.replace("/d", ""), ConfigError, "names no database"),
        (away.replace("mysql", "mysql+mysqldb"), ConfigError, "read by PyMySQL"),
        (away.replace("timeout=2", "timeuot=2"), ConfigError, r"mean \?connect_timeout="),
        (away.replace("timeout=2", "timeout=geh3im"), ConfigError, "not a number"),
        (away.replace("u:", "u:an@"), ConfigError, "percent-encoded"),
    ]
    for url, error, words in cases:
        with pytest.raises(error, match=words) as caught, closing(SqlExtractor(url)) as extractor:
            extractor.collections()
        assert "geh3im" not in f"{caught.value} {caught.value.hint}"  # type: ignore[attr-defined]
        assert PASSWORD not in str(caught.value)
        assert caught.value.hint  # type: ignore[attr-defined]
    # What is granted for some columns only is not read without the others.
    statements(db, f"GRANT SELECT (a) ON {name}.t TO reader")
    with (
        pytest.raises(ConfigError, match=r"denied.*'reader'") as partial,
        closing(SqlExtractor(reader)) as extractor,
    ):
        extractor.collections()
    assert "GRANT SELECT" in str(partial.value.hint)
    # And SELECT is enough, for a view too, whose text it does not show.
    statements(db, f"GRANT SELECT ON {name}.* TO reader", "INSERT INTO t VALUES (1, 2)")
    assert documents(reader, "t") == [{"_id": "1", "a": 1, "secret": 2}]
    assert documents(reader, "v") == [{"_id": "1"}]
    statements(db, "DROP USER reader")


def test_a_password_of_the_environment(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """MYSQL_PWD, as MySQL's own programs have it; what the URL says goes before."""
    statements(db, "CREATE TABLE t (a int PRIMARY KEY)")
    bare = sa.make_url(db)._replace(password=None).render_as_string()
    monkeypatch.setenv("MYSQL_PWD", PASSWORD)
    assert read(bare, "t") == []
    assert read(bare.replace("mysql://", "mariadb://"), "t") == []
    monkeypatch.setenv("MYSQL_PWD", "wrong")
    assert read(db, "t") == []


def test_memory_is_bounded(db: str) -> None:
    """A table is not held, whatever its size: only so many rows."""
    import tracemalloc

    statements(db, "CREATE TABLE t (id int PRIMARY KEY, s text)")
    statements(db, "INSERT INTO t SELECT seq, repeat('x', 1000) FROM seq_1_to_12000")
    with closing(SqlExtractor(db)) as extractor:
        reading = extractor.extract("t")
        next(reading)
        tracemalloc.start()
        count = sum(1 for _ in reading)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert count == 11_999
    assert peak < 4_000_000
