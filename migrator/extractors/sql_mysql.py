"""MySQL and MariaDB as sources: every value is read from what the server sends, in one state of the database."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import SET

from migrator.errors import CheckpointError, ConfigError
from migrator.extractors.mysql_types import Sent
from migrator.extractors.mysql_values import json_columns, kind_of
from migrator.extractors.sql_dialect import Dialect, at_begin, reflected
from migrator.naming import did_you_mean

if TYPE_CHECKING:
    from migrator.extractors.sql_engine import Database

# Such dates are there, and are compared; and names are quoted in the usual way.
_SQL_MODE = "ALLOW_INVALID_DATES"
# What decides what is read, and how it is written.
_SETTINGS = {
    "time_zone": "'+00:00'",
    "sql_mode": f"'{_SQL_MODE}'",
    # A limit or a time of the server's must not end a table before its last row, nor cut a text.
    "sql_select_limit": 2**64 - 1,
    "sql_big_selects": 1,
    "group_concat_max_len": 2**30,
    # Seconds that the server waits for a reader whose target is slow.
    "net_write_timeout": 86_400,
    "wait_timeout": 86_400,
}
# Each of the two servers takes the other's as a comment.
_NO_TIME_LIMIT = "/*M! max_statement_time = 0, */ /*!50708 max_execution_time = 0, */"
_SESSION = (
    f"SET {_NO_TIME_LIMIT} " + ", ".join(f"{name} = {value}" for name, value in _SETTINGS.items()),
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
)
# MariaDB lists its sequences there too, which are not read.
_RELATIONS = """
SELECT TABLE_NAME, TABLE_TYPE NOT IN ('VIEW', 'SYSTEM VIEW') FROM information_schema.TABLES
WHERE TABLE_SCHEMA = DATABASE()
AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED', 'VIEW', 'SYSTEM VIEW')
"""
_SIZE = """
SELECT coalesce(DATA_LENGTH, 0) FROM information_schema.TABLES
WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = :name
"""
# Wrong password, no such user, a way of proving it that is not known, an expired password.
_DENIED = (1045, 1251, 1698, 1820, 1862, 4151)
# No connection, too many of them, shutdown, a connection lost or killed, a lock or a time that ran out.
_LOST = frozenset(
    (0, 1040, 1041, 1053, 1077, 1079, 1080, 1152, 1154, 1156, 1157, 1158, 1159, 1160, 1161, 1184, 1203, 1205)
) | frozenset((1213, 1226, 1317, 1412, 1927, 1969, 2002, 2003, 2006, 2013, 2014, 2055, 3024, 4031))
# Division, a number out of range, text that is not JSON, a value that is not of a type, a row beyond a packet.
_OF_A_VALUE = (1153, 1264, 1292, 1301, 1365, 1366, 1411, 1441, 1690, 3140, 3141, 3143, 3156, 3157, 4037, 4038)
_GRANT = "GRANT SELECT ON database.* TO user"
_NO_RIGHT = (1142, 1143, 1227, 1345, 1370)
# To who has no right in it, the server does not say whether there is such a database.
_NO_DATABASE = (1044, 1049)


class Mysql(Dialect):
    """A server, by PyMySQL."""

    words = ("mysql", "mariadb")
    credentials_hint = "Put them into the URL, or the password into MYSQL_PWD."
    keeps_state = True
    unpromised = ""

    def url(self, url: sa.URL) -> sa.URL:
        """The URL with PyMySQL for a driver, and a password.

        Raises:
            ConfigError: it names another driver, or no database.
        """
        word, _, driver = url.drivername.partition("+")
        if driver not in ("", "pymysql"):
            raise ConfigError(
                f"{word} is read by PyMySQL, and not by {driver}: values would not come exactly.",
                hint=f"Write {word}://user@host/database.",
            )
        if not url.database:
            raise ConfigError(f"The {word} source names no database.", hint=f"Write {word}://user@host/database.")
        password = os.environ.get("MYSQL_PWD") if url.password is None else url.password
        return url.set(drivername=f"{word}+pymysql", password=password)

    def engine(self, url: sa.URL) -> sa.Engine:
        """What reads it, each of its transactions with the same settings.

        Raises:
            ConfigError: the URL has an option that the driver does not know.
        """
        engine = super().engine(url)
        # It has found the driver's own when it says that there is one.
        if engine.dialect.supports_server_side_cursors:
            engine.dialect._sscursor = _stopping_cursor()  # type: ignore[attr-defined] # noqa: SLF001
        _check_options(engine, url)
        at_begin(engine, lambda _connection: _SESSION)
        return engine

    def options(self, url: sa.URL) -> dict[str, Any]:  # noqa: ARG002
        """UTF-8 of four bytes, and nothing that the driver makes of values."""
        from pymysql.converters import conversions  # it is of the extra

        encoders = {kind: encode for kind, encode in conversions.items() if not isinstance(kind, int)}
        return {"connect_args": {"charset": "utf8mb4", "conv": encoders, "sql_mode": _SQL_MODE}}

    def begin(self, connection: sa.Connection) -> None:
        """Let values come as bytes, of which the driver decodes none."""
        cast(Any, connection.connection.driver_connection).use_unicode = False

    def stop(self, connection: sa.Connection) -> None:
        """End the connection, as its driver would read all that is left."""
        connection.invalidate()

    def relations(self, database: Database) -> Mapping[str, bool]:
        """The tables and views of the database that the URL names."""

        def found() -> Mapping[str, bool]:
            return {str(name): bool(int(own)) for name, own in database.rows(sa.text(_RELATIONS))}

        return database.once("relations", found)

    def parts(self, database: Database, name: str) -> tuple[sa.Table, ...]:
        """A table with all its columns; of a view, which a reader may not see the text of, what it gives."""
        if self.relations(database).get(name, True):
            return (_table(database, name),)
        view = sa.table(sa.sql.quoted_name(name, quote=True))
        with database.engine.connect() as connection:
            found = connection.execute(sa.select(sa.literal_column("*")).select_from(view).limit(0)).keys()
        quoted = [sa.sql.quoted_name(column, quote=True) for column in found]
        return (sa.Table(view.name, sa.MetaData(), *(sa.Column(column) for column in quoted), quote=True),)

    def settle_types(self, database: Database, source: sa.FromClause) -> None:
        """Give each column the type by which its values are read, as the server says of what it sends."""
        columns = list(source.columns)
        asked = [sa.type_coerce(each, sa.types.NullType()).label(f"c{at}") for at, each in enumerate(columns)]
        nothing = sa.select(*asked).limit(0)
        with database.engine.connect() as connection:
            described = connection.execute(nothing).cursor.description
            one, empty = sa.select(sa.literal_column("1").label("one")).subquery(), nothing.subquery()
            # Of a row of nulls too, the server knows what their character sets would be.
            sets = sa.select(*map(sa.func.charset, empty.c)).select_from(one.outerjoin(empty, sa.true()))
            charsets = connection.execute(sets).one()
        for column, told, charset in zip(columns, described, charsets, strict=True):
            json = isinstance(column.type, sa.JSON)
            kind = "json" if json else kind_of(cast(int, told[1]), str(charset))
            several = isinstance(column.type, SET)
            members = getattr(column.type, "values" if several else "enums", ())
            column.type = Sent(kind, str(charset), str(column.type), tuple(members), several)

    def asked(self, column: Any) -> sa.ColumnElement[Any]:
        """The column, whose type says how it is read."""
        native: sa.ColumnElement[Any] = column
        return native

    def bound(self, database: Database, column: Any, value: Any) -> sa.ColumnElement[Any]:
        """A key's value, by which the rest of the table is asked for.

        Raises:
            CheckpointError: it is none of the column's.
        """
        try:
            given = column.type.compared_value(value)
        except (ValueError, TypeError) as error:
            raise CheckpointError(
                f"Reading {database.quoted(column.table)} cannot go on behind a key whose column {column.name} is "
                f"{str(getattr(value, 'raw', value))!r:.80}: {error}.",
                hint="Start over with --restart: documents that are there already stay as they are.",
            ) from None
        return sa.bindparam(None, given, type_=sa.types.NullType())

    def size(self, database: Database, table: Any) -> int:
        """Bytes, about."""
        return int(database.rows(sa.text(_SIZE), name=str(table.name))[0][0])

    def is_lost(self, error: sa.exc.DBAPIError, reason: str) -> bool:  # noqa: ARG002
        """True where asking again later may work; the driver's classes do not tell."""
        return _number(error) in _LOST or error.connection_invalidated

    def is_of_a_value(self, error: sa.exc.DBAPIError, reason: str) -> bool:
        """True where the server failed over a value of a row."""
        return super().is_of_a_value(error, reason) or _number(error) in _OF_A_VALUE

    def is_denied(self, error: sa.exc.DBAPIError, reason: str) -> bool:  # noqa: ARG002
        """True where the credentials are at fault, and not a right."""
        return _number(error) in _DENIED

    def refused_hint(self, reason: str) -> str:
        """What the user lacks, or the database's name."""
        number = int(found[1]) if (found := re.match(r"\((\d+),", reason)) else 0
        if number in _NO_RIGHT:
            return f"The user needs SELECT on all columns: {_GRANT}."
        if number in _NO_DATABASE:
            return f"Look at the database's name; if it is right, the user needs SELECT: {_GRANT}."
        return super().refused_hint(reason)


def _table(database: Database, name: str) -> sa.Table:
    table = reflected(database.engine, name, named=lambda column: column.replace("``", "`"))
    for index in sorted(table.indexes, key=lambda each: str(each.name)):
        # As such SQLAlchemy gives a unique key; an expression in one is not a column.
        if index.unique and len(index.expressions) == len(index.columns):
            table.append_constraint(sa.UniqueConstraint(*index.columns, name=index.name))
    with database.engine.connect() as connection:
        created = connection.exec_driver_sql(f"SHOW CREATE TABLE {database.quoted(table)}").one()[1]
        for column in json_columns(str(created)):
            table.c[column].type = sa.JSON()
    return table


def _check_options(engine: sa.Engine, url: sa.URL) -> None:
    from pymysql.connections import Connection  # the driver of this engine

    known = list(inspect.signature(Connection.__init__).parameters)
    try:
        unknown = [name for name in engine.dialect.create_connect_args(url)[1] if name not in known]
    except ValueError as error:
        # The text after the name may be a secret.
        unknown = [str(error).partition(":")[0]]
    if unknown:
        raise ConfigError(
            f"The {url.get_backend_name()} source has an option that is not right: {unknown[0]}.",
            hint=did_you_mean(unknown[0], known, "?{}=…")
            or "Known are PyMySQL's: ?connect_timeout=10, ?ssl_ca=FILE, …",
        )


def _number(error: sa.exc.DBAPIError) -> int:
    told = getattr(error.orig, "args", ())
    return told[0] if told and isinstance(told[0], int) else -1


def _stopping_cursor() -> type[Any]:
    from pymysql.cursors import SSCursor  # the driver of this connection

    class Stopping(SSCursor):  # type: ignore[misc,unused-ignore] # it may have no types
        """Ends the connection of a result that is not wanted any more, which else would be read to its end."""

        def close(self) -> None:
            result, connection = self._result, self.connection
            if result is not None and result.unbuffered_active:
                result.unbuffered_active = False
                if connection is not None and connection.open:
                    connection.close()
            super().close()

        __del__ = close

    return Stopping
