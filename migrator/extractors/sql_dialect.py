"""What differs between SQL databases: a class for each, and one for any other dialect of SQLAlchemy."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from migrator.errors import ConfigError
from migrator.extractors.rows import Unreadable
from migrator.plugins import extra

if TYPE_CHECKING:
    from migrator.extractors.sql_engine import Database

Trouble = Literal["denied", "lost", "value", "refused"]
"""The credentials were refused; it may work later; a value made the reading fail; or the question was refused."""

_DENIED = ("authentication failed", "no pg_hba.conf entry", "no password supplied", "Access denied")


class Dialect:
    """How databases of one kind are opened, asked and understood."""

    words: tuple[str, ...] = ()
    """The words before the colon of a URL."""
    keeps_state = False
    """One state is kept from table to table."""
    compares_rows = False
    """It compares the columns of a key at once, by an index."""
    credentials_hint = "Put them into the URL."
    unpromised = (
        "is read by SQLAlchemy's own rules for its dialect: by the key, values as the driver gives them or as "
        "text; that each value is exact, and all rows of a table are of one state, was not made sure of"
    )
    """What is not promised for it, for people; "" where it is."""

    def url(self, url: sa.URL) -> sa.URL:
        """The URL that SQLAlchemy opens, with its driver's name.

        Raises:
            ConfigError: it lacks what this database needs.
        """
        return url

    def shown_database(self, url: sa.URL) -> str | None:
        """The database's name for people."""
        return url.database

    def options(self, url: sa.URL) -> dict[str, Any]:  # noqa: ARG002
        """What `create_engine` is told."""
        return {}

    def engine(self, url: sa.URL) -> sa.Engine:
        """What reads it.

        Raises:
            ConfigError: there is no such dialect, or a package is missing.
        """
        try:
            return sa.create_engine(url, poolclass=sa.pool.NullPool, **self.options(url))
        except ValueError:
            # The text may be a secret.
            raise ConfigError(
                f"The {url.get_backend_name()} source has an option or a port that is not a number.",
                hint="Look at what stands after the question mark of its URL.",
            ) from None
        except ImportError as error:
            # The extra brings the drivers of what has a class of its own.
            others = () if self.words else (error.name or f"the driver {url.get_driver_name()}",)
            with extra("sql", what=f"A {url.get_backend_name()} source", packages=others):
                raise
        except sa.exc.NoSuchModuleError as error:
            raise ConfigError(
                f"There is no SQL dialect {url.drivername!r}.",
                hint="Known are sqlite, postgresql, mysql and mariadb, and those of installed packages.",
            ) from error

    def content(self, url: sa.URL) -> str:  # noqa: ARG002
        """What tells the content of a file; "" of a server."""
        return ""

    def begin(self, connection: sa.Connection) -> None:
        """Prepare a connection for the rows of a table: one state from the first to the last, if it can."""

    def stop(self, connection: sa.Connection) -> None:
        """Let go of a table that is not read to its end."""

    def begin_query(self, connection: sa.Connection) -> None:
        """Prepare a connection for asking what columns the user's own query has."""

    def relations(self, database: Database) -> Mapping[str, bool]:
        """All relations by name, and whether each is a table that is not part of another."""
        inspector = sa.inspect(database.engine)
        return dict.fromkeys(inspector.get_view_names(), False) | dict.fromkeys(inspector.get_table_names(), True)

    def parts(self, database: Database, name: str) -> tuple[sa.Table, ...]:
        """What a relation is read from: itself, then the tables that inherit from it.

        Raises:
            ConfigError: not all of it would be read.
        """
        return (reflected(database.engine, name),)

    def query_types(self, codes: Sequence[Any]) -> list[sa.types.TypeEngine[Any]]:
        """The types of a query's columns, by what the driver says of them.

        Of a String the driver's value is taken as it comes; what is of no type is cast to text.
        """
        return [sa.String() for _ in codes]

    def settle_types(self, database: Database, source: sa.FromClause) -> None:
        """Give the columns of a table or query types that read exactly what is there."""

    def asked(self, column: Any) -> sa.ColumnElement[Any]:
        """The expression that a column is read by."""
        native: sa.ColumnElement[Any] = column
        return native if _has_python_type(column.type) else sa.cast(column, sa.Text).label(column.name)

    def bound(self, database: Database, column: Any, value: Any) -> sa.ColumnElement[Any]:  # noqa: ARG002
        """A key's value as the database must take it."""
        # The bytes of what is not text, which the database compares as it compared them before.
        if isinstance(value, Unreadable):
            return sa.cast(sa.bindparam(None, value.raw, type_=sa.types.NullType()), sa.Text)
        return sa.bindparam(None, value, type_=sa.types.NullType())

    def without_key(self, nullable: Sequence[Any]) -> Sequence[Any]:
        """The order of rows whose key is null."""
        return nullable

    def count(self, database: Database, table: Any) -> int | None:  # noqa: ARG002
        """How many rows; None where the database would read the whole table for that."""
        return None

    def size(self, database: Database, table: Any) -> int:
        """How large a table is beside the others: whatever costs no reading of the rows."""
        return counted(database, table)

    def sampled(
        self,
        database: Database,  # noqa: ARG002
        key: Sequence[Any],  # noqa: ARG002
        parts: int,  # noqa: ARG002
        min_rows: int,  # noqa: ARG002
    ) -> list[list[Any]] | None:
        """Keys that divide a table which is too large for ranking every row; None where it is not."""
        return None

    def trouble(self, error: sa.exc.DBAPIError, reason: str) -> Trouble:
        """What kind of trouble an error is."""
        if self.is_denied(error, reason):
            return "denied"
        if self.is_lost(error, reason):
            return "lost"
        return "value" if self.is_of_a_value(error, reason) else "refused"

    def is_denied(self, error: sa.exc.DBAPIError, reason: str) -> bool:  # noqa: ARG002
        """True where the credentials are at fault."""
        return any(word in reason for word in _DENIED)

    def is_lost(self, error: sa.exc.DBAPIError, reason: str) -> bool:
        """True where asking again later may work."""
        lost = isinstance(error, sa.exc.OperationalError) or error.connection_invalidated
        return lost and "does not exist" not in reason

    def is_of_a_value(self, error: sa.exc.DBAPIError, reason: str) -> bool:  # noqa: ARG002
        """True where the database failed over a value of a row."""
        return isinstance(error, sa.exc.DataError)

    def refused_hint(self, reason: str) -> str:  # noqa: ARG002
        """What to look at where a question was refused."""
        return "Look at the database's name, and at what the user may read."


def counted(database: Database, table: Any) -> int:
    """The rows of a table, counted."""
    return int(database.rows(sa.select(sa.func.count()).select_from(table))[0][0])


def at_begin(engine: sa.Engine, statements: Callable[[Any], Sequence[str]]) -> None:
    """Run statements at the begin of every transaction, so that a pooler passes nothing of them on to others.

    Args:
        engine: of the database.
        statements: for a connection of the driver's.
    """
    dbapi_error: type[Exception] = engine.dialect.loaded_dbapi.Error

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # By a cursor of the driver's, as the connection may be set to stream what it selects.
        with contextlib.closing(connection.connection.cursor()) as cursor:
            for statement in statements(connection.connection.dbapi_connection):
                try:
                    cursor.execute(statement)
                except dbapi_error as error:
                    raise sa.exc.DBAPIError.instance(
                        statement, None, error, dbapi_error, dialect=engine.dialect
                    ) from error


def reflected(
    engine: sa.Engine, name: str, schema: str | None = None, *, named: Callable[[str], str] = str
) -> sa.Table:
    """A table as the database describes it.

    Args:
        engine: of the database.
        name: the table's.
        schema: what it is in; None for the usual one.
        named: from a column's name as SQLAlchemy gives it to the name that it has.
    """

    def quote(_inspector: object, _table: object, column: dict[str, Any]) -> None:
        # SQLAlchemy does not know each word that each version of a database reserves.
        column["name"] = sa.sql.quoted_name(named(column["name"]), quote=True)

    with warnings.catch_warnings():
        # Of types that SQLAlchemy does not know the database's own text is taken.
        warnings.simplefilter("ignore", sa.exc.SAWarning)
        return sa.Table(
            sa.sql.quoted_name(name, quote=True),
            sa.MetaData(),
            schema=None if schema is None else sa.sql.quoted_name(schema, quote=True),
            autoload_with=engine,
            resolve_fks=False,
            listeners=[("column_reflect", quote)],
        )


def _has_python_type(kind: sa.types.TypeEngine[Any]) -> bool:
    if isinstance(kind, sa.types.ARRAY):
        return _has_python_type(kind.item_type)
    # An interval of months is not a number of days, so it goes as text, as do ranges, addresses and the like.
    numbers = (sa.types.Integer, sa.types.Numeric, sa.types.Float, sa.types.Boolean)
    times = (sa.types.Date, sa.types.DateTime, sa.types.Time)
    return isinstance(
        kind, (*numbers, *times, sa.types.String, sa.types.LargeBinary, sa.types.Uuid, sa.types.JSON)
    )
