"""Opens a SQL database for reading, and says in this library's words what goes wrong with it."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import sqlalchemy as sa

from migrator.errors import ConfigError, TransientError, Unauthorized
from migrator.extractors.rows import Unreadable, bad_text
from migrator.extractors.sql_session import fix_session, read_json
from migrator.files.identity import file_identity
from migrator.naming import shown
from migrator.plugins import extra

_QUERY = "query."
# What may be in a URL's query and is no secret.
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


def divide_queries(url: str) -> tuple[str, dict[str, str]]:
    """The URL that the driver takes, and the named queries.

    Args:
        url: as given; within a query only `&`, `#` and `%` before two hexadecimal digits must be percent-encoded.

    Raises:
        ConfigError: a query has no name, no text, or the name of another.
    """
    base, mark, options = url.partition("?")
    queries: dict[str, str] = {}
    others = []
    for option in options.split("&") if mark else ():
        name, _, text = option.partition("=")
        if not name.startswith(_QUERY):
            others.append(option)
            continue
        collection = unquote(name[len(_QUERY) :])
        query = re.sub(r"[;\s]+\Z", "", unquote(text)).strip()
        if not collection or not query or collection in queries:
            what = "twice" if collection in queries else "without a name" if not collection else "without a text"
            raise ConfigError(
                f"The source has the query {shown(collection)} {what}.",
                hint="Write ?query.NAME=select …, each name once, with & in it written %26.",
            )
        queries[collection] = query
    return base + (f"?{'&'.join(others)}" if others else ""), queries


class Database:
    """A database that is read and never written.

    Args:
        url: SQLAlchemy's.

    Raises:
        ConfigError: it is no URL of a database.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = sa.make_url(url)
        except (sa.exc.ArgumentError, ValueError):
            # The text may hold a password, so it is not shown.
            raise ConfigError(
                f"The {url.partition(':')[0]} source is no URL of a database.",
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
