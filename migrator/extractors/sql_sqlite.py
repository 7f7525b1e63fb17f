"""SQLite as a source: opened for reading only; its columns hold values of any type, as which they come."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import sqlalchemy as sa

from migrator.codec import InvalidDocument, decode_value
from migrator.errors import ConfigError
from migrator.extractors.rows import read_text
from migrator.extractors.sql_dialect import Dialect, counted
from migrator.files.identity import file_identity

if TYPE_CHECKING:
    from migrator.extractors.sql_engine import Database

# SQLite's words, which come as those of any other trouble.
_OF_A_VALUE = (
    "malformed JSON",
    "integer overflow",
    "string or blob too big",
    "JSON path",
    "cannot hold BLOB values",
)


class Sqlite(Dialect):
    """A file."""

    words = ("sqlite",)
    compares_rows = True
    unpromised = ""

    def shown_database(self, url: sa.URL) -> str | None:
        """The whole path."""
        return str(_path(url).absolute()) if url.database else url.database

    def engine(self, url: sa.URL) -> sa.Engine:
        """What reads it.

        Raises:
            ConfigError: there is no such file.
        """
        path = _path(url)
        if not path.is_file():
            raise ConfigError(
                f"There is no SQLite file {url.database or ''!r}.",
                hint="A path is written after three slashes, sqlite:///data/app.db; "
                "an absolute one has four in all.",
            )

        def connect() -> sqlite3.Connection:
            address = f"file:{quote(str(path.absolute()))}?mode=ro"
            connection = sqlite3.connect(address, uri=True, check_same_thread=False, timeout=30)
            connection.text_factory = read_text
            return connection

        return sa.create_engine("sqlite://", creator=connect, poolclass=sa.pool.NullPool)

    def content(self, url: sa.URL) -> str:
        """What tells the content of the file; "" where it is being written."""
        path = _path(url)
        if not path.is_file():
            return ""
        log = path.with_name(f"{path.name}-wal")
        # What stands in the log moves into the file without being changed, whenever SQLite finds time for it.
        if log.exists() and log.stat().st_size:
            return ""
        return " " + file_identity(path).partition(" ")[2]

    def query_types(self, codes: Sequence[Any]) -> list[sa.types.TypeEngine[Any]]:
        """None: a query's columns have no type."""
        return [sa.types.NullType() for _ in codes]

    def asked(self, column: Any) -> sa.ColumnElement[Any]:
        """The column, whose values come as they are kept."""
        return sa.type_coerce(column, _Kept(str(column.type).upper())).label(column.name)

    def without_key(self, nullable: Sequence[Any]) -> Sequence[Any]:  # noqa: ARG002
        """Only SQLite lets a primary key be null, and only where its rows are numbered."""
        return [sa.text("_rowid_")]

    def count(self, database: Database, table: Any) -> int | None:
        """How many rows."""
        return counted(database, table)

    def is_lost(self, error: sa.exc.DBAPIError, reason: str) -> bool:  # noqa: ARG002
        """True where somebody else holds the file."""
        return "locked" in reason or "busy" in reason

    def is_of_a_value(self, error: sa.exc.DBAPIError, reason: str) -> bool:
        """True where it failed over a value of a row."""
        return super().is_of_a_value(error, reason) or any(word in reason for word in _OF_A_VALUE)


class _Kept(sa.types.UserDefinedType[Any]):
    """A value as SQLite keeps it, which is of any type whatever its column declares.

    Only what a declared type says beyond doubt is taken: 0 and 1 of a BOOLEAN, and the value in a JSON text.
    """

    cache_ok = True

    def __init__(self, declared: str) -> None:
        self.declared = declared

    def get_col_spec(self, **_: Any) -> str:
        return self.declared

    def result_processor(self, _dialect: object, _coltype: object) -> Callable[[Any], Any] | None:
        if self.declared.startswith("BOOL"):
            return _boolean
        return _json if self.declared == "JSON" else None


def _boolean(value: Any) -> Any:
    return bool(value) if type(value) is int and value in (0, 1) else value


def _json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return decode_value(value)
    except InvalidDocument:
        return value


def _path(url: sa.URL) -> Path:
    return Path(url.database or "")
