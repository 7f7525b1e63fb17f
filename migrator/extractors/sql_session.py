"""Makes a PostgreSQL session say the same whoever asks: fixed settings, and values that Python lacks as text."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import sqlalchemy as sa

from migrator.codec import InvalidDocument, decode_value
from migrator.extractors.rows import Unreadable, bad_text

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


def fix_session(engine: sa.Engine) -> None:
    """Set what every transaction and connection of an engine needs."""

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # By a cursor of the driver's, as the connection may be set to stream what it selects.
        with contextlib.closing(connection.connection.cursor()) as cursor:
            cursor.execute(_SET)
            if _unchecked(connection.connection.dbapi_connection):
                # The server would end the reading at the first text that is no UTF-8.
                cursor.execute("SET LOCAL client_encoding = 'SQL_ASCII'")

    if engine.dialect.driver == "psycopg":
        sa.event.listen(engine, "connect", _load_all)


def default_schema(engine: sa.Engine) -> str:
    """The schema whose tables are the collections: the one that the URL names, else `public` where it has any."""
    given = f"{engine.url.query.get('options', '')} {os.environ.get('PGOPTIONS', '')}"
    with engine.connect() as connection:
        found = connection.execute(sa.text(_GIVEN if "search_path" in given else _PUBLIC_FIRST)).one()
    return str(found[0])


def read_json(text: str | bytes) -> Any:
    """A value of type json or jsonb, as exactly as any document's; what is none stays for its row's fault."""
    try:
        return decode_value(text)
    except InvalidDocument as invalid:
        raw = text.encode() if isinstance(text, str) else bytes(text)
        return Unreadable(invalid.error, invalid.reason, raw)


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
            raw = bytes(data)
            try:
                return raw.decode()
            except UnicodeDecodeError:
                return bad_text(raw)

    for oid in _TIMES:
        connection.adapters.register_loader(oid, OrText)
    if _unchecked(connection):
        for oid in _TEXTS:
            connection.adapters.register_loader(oid, AnyText)
