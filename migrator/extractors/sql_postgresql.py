"""PostgreSQL as a source: a session says the same whoever asks, and values that Python lacks come as text."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from migrator.errors import ConfigError
from migrator.extractors.rows import Unreadable, read_json, read_text
from migrator.extractors.sql_dialect import Dialect, at_begin, reflected
from migrator.naming import shown

if TYPE_CHECKING:
    from migrator.extractors.sql_engine import Database

# What decides how a value is written. Set in each transaction, so that a pooler passes none of it on to others.
_SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "3",
    "lc_monetary": "C",
    "xmlbinary": "base64",
    "client_encoding": "UTF8",
    # Rows that a policy hides are an error, as they are for pg_dump.
    "row_security": "off",
}
_SET = "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in _SETTINGS.items())
# What a role's or a database's search_path says must not choose the tables; operators of extensions need the rest.
_PUBLIC_FIRST = (
    "SELECT CASE WHEN EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')) THEN 'public'"
    " ELSE coalesce(current_schema(), 'public') END"
)
_GIVEN = "SELECT coalesce(current_schema(), 'public')"

# date, time, timestamp, timestamptz, timetz: their text stays where Python has no such value.
_TIMES = (1082, 1083, 1114, 1184, 1266)
# text, varchar, char, name, "char", and 0 for types that the driver does not know.
_TEXTS = (25, 1043, 1042, 19, 18, 0)
# Of a larger table of PostgreSQL a sample is ranked; below, ranking every key costs a moment.
RANKED_ROWS = 2_000_000
SAMPLED_ROWS = 100_000
# A partitioned table has no pages of its own.
_PARTS = "(SELECT relid FROM pg_partition_tree(CAST(:t AS regclass)) UNION SELECT CAST(:t AS regclass)) AS parts"
_SIZE = f"SELECT coalesce(sum(pg_table_size(relid)), 0) FROM {_PARTS}"  # noqa: S608 (no value is in it)
_ESTIMATE = (
    f"SELECT sum(CASE WHEN reltuples < 0 THEN 0 ELSE reltuples END) FROM {_PARTS} "  # noqa: S608
    "JOIN pg_class ON oid = relid WHERE relkind <> 'p'"
)
# Of PostgreSQL: bool, bytea, "char", name, integers, text, json, floats, bpchar, varchar, times, numeric, uuid,
# jsonb, each also in arrays.
_NATIVE_OIDS = frozenset(
    (16, 17, 18, 19, 20, 21, 23, 25, 114, 700, 701, 1042, 1043, 1082, 1083, 1114, 1184, 1266, 1700, 2950, 3802)
) | frozenset(
    (1000, 1001, 1002, 1003, 1016, 1005, 1007, 1009, 199, 1021, 1022, 1014, 1015, 1182, 1183, 1115, 1185)
)
_NATIVE_OIDS |= frozenset((1270, 1231, 2951, 3807))

_COLUMN_TYPE = """
SELECT format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = CAST(:table AS regclass) AND attname = :name
"""
# Partitions and inherited tables are parts of their parents, where those are read too.
_RELATIONS = """
WITH RECURSIVE up AS (
  SELECT inhrelid AS child, inhparent AS parent FROM pg_inherits
  UNION SELECT up.child, i.inhparent FROM up JOIN pg_inherits i ON i.inhrelid = up.parent)
SELECT c.relname, c.relkind IN ('r', 'p') AND NOT EXISTS (
  SELECT FROM up JOIN pg_class p ON p.oid = up.parent
  WHERE up.child = c.oid AND p.relnamespace = c.relnamespace)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = :schema AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
# The relation itself comes first; of a partitioned table it alone counts, as its partitions have its columns.
_PARTS = """
WITH RECURSIVE down AS (
  SELECT c.oid, 0 AS depth FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = :schema AND c.relname = :name
  UNION SELECT i.inhrelid, 1 FROM down JOIN pg_inherits i ON i.inhparent = down.oid
  JOIN pg_class p ON p.oid = i.inhparent WHERE p.relkind = 'r')
SELECT n.nspname, c.relname, row_security_active(c.oid), current_user,
  ARRAY(SELECT polname FROM pg_policy WHERE polrelid = c.oid ORDER BY 1)
FROM down JOIN pg_class c ON c.oid = down.oid JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY down.depth, n.nspname, c.relname
"""


class Postgresql(Dialect):
    """A server, by psycopg."""

    words = ("postgresql", "postgres")
    credentials_hint = "Put them into the URL, PGPASSWORD or ~/.pgpass."
    compares_rows = True
    unpromised = ""

    def url(self, url: sa.URL) -> sa.URL:
        """The URL with psycopg for a driver."""
        return url.set(drivername="postgresql+psycopg") if url.drivername in self.words else url

    def engine(self, url: sa.URL) -> sa.Engine:
        """What reads it, each of its transactions with the same settings."""
        engine = super().engine(url)
        at_begin(engine, _settings)
        if engine.dialect.driver == "psycopg":
            sa.event.listen(engine, "connect", _load_all)
        return engine

    def options(self, url: sa.URL) -> dict[str, Any]:
        """JSON with every digit, and texts that are texts."""
        options: dict[str, Any] = {"json_deserializer": read_json}
        if "psycopg" in url.drivername:
            options["connect_args"] = {"client_encoding": "UTF8"}
        return options

    def begin(self, connection: sa.Connection) -> None:
        """One state of the table from its first row to its last."""
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def begin_query(self, connection: sa.Connection) -> None:
        """Nothing is written by the user's own text."""
        connection.execution_options(postgresql_readonly=True)

    def relations(self, database: Database) -> Mapping[str, bool]:
        """Those of the schema; partitions and tables that inherit are parts of others."""
        found = database.rows(sa.text(_RELATIONS), schema=_schema(database))
        return {str(name): bool(own) for name, own in found}

    def parts(self, database: Database, name: str) -> tuple[sa.Table, ...]:
        """A table, then those that inherit from it.

        Raises:
            ConfigError: a policy hides rows of one.
        """
        found = database.rows(sa.text(_PARTS), schema=_schema(database), name=name)
        for _, part, hidden, user, policies in found:
            if hidden:
                raise _policy_error(str(part), str(user), [str(policy) for policy in policies])
        return tuple(reflected(database.engine, str(part), str(schema)) for schema, part, *_ in found)

    def query_types(self, codes: Sequence[Any]) -> list[sa.types.TypeEngine[Any]]:
        """A String of what has a value in Python, and of no type what has none."""
        return [sa.String() if code in _NATIVE_OIDS else sa.types.NullType() for code in codes]

    def bound(self, database: Database, column: Any, value: Any) -> sa.ColumnElement[Any]:
        """A key's value in the column's own type: text beside citext, say, would be compared as text."""
        given = value.raw if isinstance(value, Unreadable) else value
        bound: sa.ColumnElement[Any] = sa.bindparam(None, given, type_=sa.types.NullType())
        if isinstance(value, Unreadable):
            bound = sa.func.convert_from(bound, "SQL_ASCII")
        return sa.cast(bound, _own_type(database, column))

    def size(self, database: Database, table: Any) -> int:
        """Bytes."""
        return int(database.rows(sa.text(_SIZE), t=database.quoted(table))[0][0])

    def sampled(self, database: Database, key: Sequence[Any], parts: int, min_rows: int) -> list[list[Any]] | None:
        """Of a table of millions only pages here and there are read."""
        table = key[0].table
        estimate = float(database.rows(sa.text(_ESTIMATE), t=database.quoted(table))[0][0] or 0)
        if estimate <= RANKED_ROWS:
            return None
        percent = min(100.0, 100 * SAMPLED_ROWS / estimate)
        sample = sa.tablesample(table, sa.func.system(percent), seed=sa.literal(1))
        columns = [sample.c[column.name] for column in key]
        found = database.rows(sa.select(*map(self.asked, columns)).order_by(*columns))
        parts = max(1, min(parts, int(estimate) // min_rows, len(found)))
        return [list(found[len(found) * part // parts - 1]) for part in range(1, parts)]

    def refused_hint(self, reason: str) -> str:
        """Of rows that a policy hides, who sees them."""
        if "row-level security" in reason:
            return "Read as a role that sees all rows: the owner of the table, or one with BYPASSRLS."
        return super().refused_hint(reason)


def _schema(database: Database) -> str:
    return database.once("schema", lambda: _default_schema(database.engine))


def _own_type(database: Database, column: Any) -> sa.types.TypeEngine[Any]:
    table = database.quoted(column.table)

    def found() -> sa.types.TypeEngine[Any]:
        ((name,),) = database.rows(sa.text(_COLUMN_TYPE), table=table, name=column.name)

        class OwnType(sa.types.UserDefinedType[Any]):
            cache_ok = True

            def get_col_spec(self, **_: Any) -> str:
                return str(name)

        return OwnType()

    return database.once(f"type {table} {column.name}", found)


def _settings(connection: Any) -> Sequence[str]:
    # The server would end the reading at the first text that is not UTF-8.
    return (_SET, "SET LOCAL client_encoding = 'SQL_ASCII'") if _unchecked(connection) else (_SET,)


def _default_schema(engine: sa.Engine) -> str:
    """The schema whose tables are the collections: the one that the URL names, else `public` where it has any."""
    given = f"{engine.url.query.get('options', '')} {os.environ.get('PGOPTIONS', '')}"
    with engine.connect() as connection:
        found = connection.execute(sa.text(_GIVEN if "search_path" in given else _PUBLIC_FIRST)).one()
    return str(found[0])


def _unchecked(connection: Any) -> bool:
    """True of a database that keeps texts in whatever encoding they came."""
    told = getattr(getattr(connection, "info", None), "parameter_status", None)
    return told is not None and told("server_encoding") == "SQL_ASCII"


def _load_all(connection: Any, _record: object) -> None:
    from psycopg import Error  # the driver of this connection
    from psycopg.adapt import Loader
    from psycopg.pq import Format

    usual = {oid: connection.adapters.get_loader(oid, Format.TEXT) for oid in _TIMES}

    class OrText(Loader):
        """The driver's value where Python has one, else the database's own text."""

        def __init__(self, oid: int, context: Any = None) -> None:
            super().__init__(oid, context)
            self._usual = usual[oid](oid, context)

        def load(self, data: Any) -> Any:
            try:
                return self._usual.load(data)
            except (Error, ValueError, OverflowError):
                return bytes(data).decode()

    class AnyText(Loader):
        """A text whose encoding the server never looked at."""

        def load(self, data: Any) -> Any:
            return read_text(bytes(data))

    for oid in _TIMES:
        connection.adapters.register_loader(oid, OrText)
    if _unchecked(connection):
        for oid in _TEXTS:
            connection.adapters.register_loader(oid, AnyText)


def _policy_error(table: str, user: str, policies: Sequence[str]) -> ConfigError:
    named = ", ".join(shown(policy) for policy in policies)
    by = (
        f"the {'policy' if len(policies) == 1 else 'policies'} {named}"
        if policies
        else "no policy lets it see any"
    )
    return ConfigError(
        f"The table {shown(table)} has row-level security, which hides rows from the user {shown(user)} ({by}), "
        "so not all of it would be read.",
        hint=f'Read as its owner, or as a role that sees all rows: ALTER ROLE "{user}" BYPASSRLS; or leave it '
        "out: name the others with --collection.",
    )
