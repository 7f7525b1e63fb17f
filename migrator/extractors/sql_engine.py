"""Opens a SQL database for reading, and says in this library's words what goes wrong with it.

A PostgreSQL session says the same whoever asks: its settings are fixed, and values that Python lacks come as text.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from migrator.codec import InvalidDocument, decode_value
from migrator.errors import ConfigError, TransientError, Unauthorized
from migrator.extractors.rows import Unreadable, bad_text
from migrator.files.identity import file_identity
from migrator.plugins import extra

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
# What may be in a URL's query and is not a secret.
_SHOWN_QUERY = ("dbname", "host", "port", "service")
# SQLite's words, which come as those of any other trouble.
_OF_A_VALUE = (
    "malformed JSON",
    "integer overflow",
    "string or blob too big",
    "JSON path",
    "cannot hold BLOB values",
)
_DENIED = ("authentication failed", "no pg_hba.conf entry", "no password supplied", "Access denied")


def fix_session(engine: sa.Engine) -> None:
    """Set what every transaction and connection of an engine needs."""

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # By a cursor of the driver's, as the connection may be set to stream what it selects.
        with contextlib.closing(connection.connection.cursor()) as cursor:
            cursor.execute(_SET)
            if _unchecked(connection.connection.dbapi_connection):
                # The server would end the reading at the first text that is not UTF-8.
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
    """A value of type json or jsonb, as exactly as any document's; what is not JSON stays for its row's fault."""
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
            return _text(bytes(data))

    for oid in _TIMES:
        connection.adapters.register_loader(oid, OrText)
    if _unchecked(connection):
        for oid in _TEXTS:
            connection.adapters.register_loader(oid, AnyText)


class Database:
    """A database that is read and never written.

    Args:
        url: SQLAlchemy's.

    Raises:
        ConfigError: it is not the URL of a database.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = sa.make_url(url)
        except (sa.exc.ArgumentError, ValueError):
            # The text may hold a password, so it is not shown.
            raise ConfigError(
                f"The {url.partition(':')[0]} source is not the URL of a database.",
                hint="Write sqlite:///file.db, or postgresql://user@host/database with special characters "
                "percent-encoded.",
            ) from None
        if parsed.drivername in {"postgresql", "postgres"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        self._url = parsed
        self.postgresql = parsed.get_backend_name() == "postgresql"
        self.sqlite = parsed.get_backend_name() == "sqlite"
        self._path = Path(parsed.database or "")
        query = {name: value for name, value in parsed.query.items() if name in _SHOWN_QUERY}
        database = str(self._path.absolute()) if self.sqlite and parsed.database else parsed.database
        shown_url = parsed.set(query=query, database=database)._replace(username=None, password=None)
        self.place = shown_url.render_as_string()
        """Its name for people, without user, password, and whatever in its query may be a secret."""

    @cached_property
    def engine(self) -> sa.Engine:
        """What reads it.

        Raises:
            ConfigError: there is no such kind of database, no such file, or a package is missing.
        """
        if self.sqlite:
            return self._sqlite()
        options: dict[str, Any] = {"json_deserializer": read_json} if self.postgresql else {}
        if self.postgresql and "psycopg" in self._url.drivername:
            options["connect_args"] = {"client_encoding": "UTF8"}
        try:
            with extra("sql", what=f"A {self._url.get_backend_name()} source"):
                engine = sa.create_engine(self._url, poolclass=sa.pool.NullPool, **options)
        except sa.exc.NoSuchModuleError as error:
            raise ConfigError(
                f"There is no SQL dialect {self._url.drivername!r}.", hint="Known are sqlite and postgresql."
            ) from error
        if self.postgresql:
            fix_session(engine)
        return engine

    def rows(self, query: sa.Executable, **values: object) -> Sequence[Any]:
        """All rows that a question of our own gives.

        Raises:
            MigratorError: as `translated` says.
        """
        with translated(self.place), self.engine.connect() as connection:
            return connection.execute(query, values).all()

    def quoted(self, table: Any) -> str:
        """A table's name as SQL has it."""
        return self.engine.dialect.identifier_preparer.format_table(table)

    def content(self) -> str:
        """What tells the content of one that is a file; "" of a server, and of a file that is being written."""
        if not self.sqlite or not self._path.is_file():
            return ""
        log = self._path.with_name(f"{self._path.name}-wal")
        # What stands in the log moves into the file without being changed, whenever SQLite finds time for it.
        if log.exists() and log.stat().st_size:
            return ""
        return " " + file_identity(self._path).partition(" ")[2]

    def close(self) -> None:
        """Close the connections."""
        if "engine" in self.__dict__:
            self.engine.dispose()

    def _sqlite(self) -> sa.Engine:
        if not self._path.is_file():
            raise ConfigError(
                f"There is no SQLite file {self._url.database or ''!r}.",
                hint="A path is written after three slashes, sqlite:///data/app.db; "
                "an absolute one has four in all.",
            )

        def connect() -> sqlite3.Connection:
            address = f"file:{quote(str(self._path.absolute()))}?mode=ro"
            connection = sqlite3.connect(address, uri=True, check_same_thread=False, timeout=30)
            connection.text_factory = _text
            return connection

        return sa.create_engine("sqlite://", creator=connect, poolclass=sa.pool.NullPool)


class UnreadableRow(ConfigError):
    """The database failed over a value that it computes while a row is read, such as a virtual column."""

    def __init__(self, message: str, *, hint: str, reason: str) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


@contextlib.contextmanager
def translated(place: str) -> Iterator[None]:
    """Turn the database's errors into this library's.

    Raises:
        TransientError: it does not answer, or the connection broke.
        Unauthorized: it refused the credentials.
        UnreadableRow: it failed over a row.
        ConfigError: it refused the question.
    """
    try:
        yield
    except sa.exc.DBAPIError as error:
        reason = " ".join(str(error.orig).split())[:500]
        if any(word in reason for word in _DENIED):
            raise Unauthorized(
                f"{place} refused the credentials: {reason}.",
                hint="Put them into the URL, PGPASSWORD or ~/.pgpass.",
            ) from None
        if place.startswith("sqlite"):
            lost = "locked" in reason or "busy" in reason
        else:
            lost = isinstance(error, sa.exc.OperationalError) or error.connection_invalidated
        if lost and "does not exist" not in reason:
            raise TransientError(f"{place} does not answer: {reason}.", hint="Is the database up?") from None
        hint = "Look at the database's name, and at what the user may read."
        if "row-level security" in reason:
            hint = "Read as a role that sees all rows: the owner of the table, or one with BYPASSRLS."
        message = f"{place} cannot be read: {reason}."
        if isinstance(error, sa.exc.DataError) or any(word in reason for word in _OF_A_VALUE):
            raise UnreadableRow(message, hint=hint, reason=reason) from None
        raise ConfigError(message, hint=hint) from None


def _text(raw: bytes) -> str | Unreadable:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return bad_text(raw)
