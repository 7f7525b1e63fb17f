"""Opens a SQL database for reading, and says in this library's words what goes wrong with it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, TypeVar

import sqlalchemy as sa

from migrator.errors import ConfigError, TransientError, Unauthorized
from migrator.extractors.sql_dialect import Dialect
from migrator.extractors.sql_mysql import Mysql
from migrator.extractors.sql_postgresql import Postgresql
from migrator.extractors.sql_sqlite import Sqlite

_DIALECTS: dict[str, Dialect] = {
    word: dialect for dialect in (Sqlite(), Postgresql(), Mysql()) for word in dialect.words
}
_OTHER = Dialect()
# What may be in a URL's query and is not a secret.
_SHOWN_QUERY = ("dbname", "host", "port", "service", "unix_socket")
_T = TypeVar("_T")


def dialect_of(url: str) -> Dialect:
    """What is known of the databases that a URL's first word stands for."""
    return _DIALECTS.get(url.partition(":")[0].partition("+")[0].lower(), _OTHER)


class Database:
    """A database that is read and never written.

    Args:
        url: SQLAlchemy's.

    Raises:
        ConfigError: it is not the URL of a database.
    """

    def __init__(self, url: str) -> None:
        parsed = None
        with contextlib.suppress(sa.exc.ArgumentError, ValueError):
            parsed = sa.make_url(url)
        # A raw @ in a password makes its rest a part of the host's name.
        if parsed is None or "@" in (parsed.host or ""):
            # The text may hold a password, so it is not shown.
            raise ConfigError(
                f"The {url.partition(':')[0]} source is not the URL of a database.",
                hint="Write sqlite:///file.db, postgresql://user@host/database or mysql://user@host/database, "
                "with special characters percent-encoded.",
            )
        self.dialect = dialect_of(parsed.drivername)
        self._url = self.dialect.url(parsed)
        self._known: dict[str, Any] = {}
        self._kept: list[tuple[sa.Connection, set[str]]] = []
        query = {name: value for name, value in parsed.query.items() if name in _SHOWN_QUERY}
        shown_url = self._url.set(query=query, database=self.dialect.shown_database(self._url))
        self.place = shown_url._replace(username=None, password=None).render_as_string()
        """Its name for people, without user, password, and whatever in its query may be a secret."""

    @cached_property
    def engine(self) -> sa.Engine:
        """What reads it.

        Raises:
            ConfigError: there is no such kind of database, no such file, or a package is missing.
        """
        return self.dialect.engine(self._url)

    def rows(self, query: sa.Executable, **values: object) -> Sequence[Any]:
        """All rows that a question of our own gives.

        Raises:
            MigratorError: as `translated` says.
        """
        with translated(self.place), self.engine.connect() as connection:
            return connection.execute(query, values).all()

    @contextlib.contextmanager
    def reading(self, collection: str) -> Iterator[sa.Connection]:
        """A connection for the rows of a collection, of one state from the first to the last, if it can.

        Where the dialect keeps a state, collections that are read one after the other are of the same one; what is
        read again is of a later one.
        """
        kept = None
        # Threads read too, each by a connection of its own.
        with contextlib.suppress(IndexError):
            kept = self._kept.pop()
        if kept is not None and collection in kept[1]:
            kept[0].close()
            kept = None
        connection, read = kept or (self.engine.connect(), set[str]())
        with contextlib.ExitStack() as closing:
            closing.callback(connection.close)
            if kept is None:
                self.dialect.begin(connection)
            yield connection
            if self.dialect.keeps_state:
                closing.pop_all()
                self._kept.append((connection, read | {collection}))

    def quoted(self, table: Any) -> str:
        """A table's name as SQL has it."""
        return self.engine.dialect.identifier_preparer.format_table(table)

    def once(self, what: str, find: Callable[[], _T]) -> _T:
        """What is found once and stays."""
        if what not in self._known:
            self._known[what] = find()
        found: _T = self._known[what]
        return found

    def content(self) -> str:
        """What tells the content of one that is a file; "" of a server, and of a file that is being written."""
        return self.dialect.content(self._url)

    def close(self) -> None:
        """Close the connections."""
        while self._kept:
            self._kept.pop()[0].close()
        if "engine" in self.__dict__:
            self.engine.dispose()


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
    except RuntimeError as error:
        if "cryptography" not in str(error):
            raise
        raise ConfigError(
            f"{place} cannot be opened: {error}.",
            hint="Install it: pip install cryptography; or connect by TLS: ?ssl_ca=FILE.",
        ) from None
    except sa.exc.DBAPIError as error:
        dialect = dialect_of(place)
        reason = " ".join(str(error.orig).split())[:500]
        trouble = dialect.trouble(error, reason)
        if trouble == "denied":
            message = f"{place} refused the credentials: {reason}."
            raise Unauthorized(message, hint=dialect.credentials_hint) from None
        if trouble == "lost":
            raise TransientError(f"{place} does not answer: {reason}.", hint="Is the database up?") from None
        hint = dialect.refused_hint(reason)
        message = f"{place} cannot be read: {reason}."
        if trouble == "value":
            raise UnreadableRow(message, hint=hint, reason=reason) from None
        raise ConfigError(message, hint=hint) from None
