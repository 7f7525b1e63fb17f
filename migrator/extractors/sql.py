"""Reads SQL databases through SQLAlchemy: a table is a collection, streamed in the order of its key."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from migrator.errors import CheckpointError, ConfigError
from migrator.extractors.selection import select_collections
from migrator.extractors.sql_engine import open_engine, shown_url, translated
from migrator.extractors.sql_ranges import KeyOrder, dividing_keys, table_size
from migrator.extractors.sql_values import (
    BadText,
    NoId,
    document_id,
    key_position,
    position_key,
    sqlite_value,
)
from migrator.model import Fault, Position, Record
from migrator.naming import shown

if TYPE_CHECKING:
    import sqlalchemy as sa

FETCH_ROWS = 200
_NULLS = "null:"


class SqlExtractor:
    """The tables of a database's default schema that have a primary key (or a unique one without nulls).

    A row is a document of its columns, `_id` made of the key. Order and comparison of keys are the database's
    own, so a resumed reading asks for `key > …` in whatever collation the columns have. A position is the key,
    as JSON in which other types are marked.

    Args:
        url: SQLAlchemy's URL of the database.
        collections: which tables to read, in this order; all, sorted by name, where None.
        fetch_rows: rows held at once.
    """

    ordered = False

    def __init__(
        self, url: str, *, collections: Sequence[str] | None = None, fetch_rows: int = FETCH_ROWS
    ) -> None:
        self._url = url
        self._wanted = collections
        self._fetch_rows = fetch_rows
        self._tables: dict[str, sa.Table] = {}

    def describe(self) -> str:
        """The URL without credentials."""
        return shown_url(self._url)

    def collections(self) -> Sequence[str]:
        """The tables.

        Raises:
            ConfigError: one has no key to go by, or there is none of that name.
            TransientError: the database does not answer.
        """
        import sqlalchemy as sa  # noqa: PLC0415 open_engine says what to do where it is missing

        with translated(self.describe()):
            names = sorted(sa.inspect(self._engine).get_table_names())
        names = list(select_collections(names, self._wanted, source=self.describe()))
        for name in names:
            self._key(name)
        return names

    def count(self, collection: str) -> int | None:
        """How many rows; None where the database would read the whole table for that."""
        import sqlalchemy as sa  # noqa: PLC0415

        if self._engine.dialect.name != "sqlite":
            return None
        with translated(self.describe()), self._engine.connect() as connection:
            query = sa.select(sa.func.count()).select_from(self._table(collection))
            return int(connection.execute(query).scalar_one())

    def identity(self, collection: str) -> str:
        """The key's columns and their types: with another key, old positions say nothing."""
        return json.dumps([[column.name, str(column.type)] for column in self._key(collection)])

    def describe_position(self, collection: str, position: Position) -> str:
        """Table and key."""
        return f"{collection} {position!s:.100}"

    def extract(
        self, collection: str, *, after: Position | None = None, upto: Position | None = None
    ) -> Iterator[Record]:
        """Yield a record for each row, in the key's order; rows without a whole key come last, as faults.

        Args:
            collection: the table.
            after: the position to go on behind.
            upto: the last position to read; what comes behind it, and rows without a key, are another's.

        Raises:
            CheckpointError: `after` is no position of this table.
            TransientError: the connection broke; reading can go on after the last record.
        """
        import sqlalchemy as sa  # noqa: PLC0415

        key = self._key(collection)
        nulls = _nulls_read(after)
        if nulls is None:
            where: list[sa.ColumnElement[bool]] = [column.is_not(None) for column in key if column.nullable]
            if after is not None:
                where.append(self._order.behind(key, position_key(after, len(key))))
            if upto is not None:
                where.append(sa.not_(self._order.behind(key, position_key(upto, len(key)))))
            for row in self._rows(collection, where, key):
                yield self._record(collection, row)
        if upto is None:
            yield from self._without_key(collection, nulls or 0)

    def size(self, collection: str) -> int:
        """How large a table is beside the others: its bytes in PostgreSQL, its rows in SQLite."""
        return table_size(self._engine, self._table(collection), self.describe())

    def bounds(self, collection: str, parts: int, min_rows: int) -> list[str]:
        """Keys that divide a table into about so many ranges of at least so many rows, as positions."""
        found = dividing_keys(
            self._engine,
            self._key(collection),
            self._selected,
            parts=parts,
            min_rows=min_rows,
            place=self.describe(),
        )
        return [key_position(values) for values in found]

    def close(self) -> None:
        """Close the connections."""
        if "_engine" in self.__dict__:
            self._engine.dispose()

    @cached_property
    def _engine(self) -> sa.Engine:
        return open_engine(self._url)

    @cached_property
    def _order(self) -> KeyOrder:
        return KeyOrder(self._engine, self.describe())

    def _table(self, collection: str) -> sa.Table:
        import sqlalchemy as sa  # noqa: PLC0415

        if collection not in self._tables:
            with translated(self.describe()), warnings.catch_warnings():
                # Of types that SQLAlchemy does not know the database's own text is taken.
                warnings.simplefilter("ignore", sa.exc.SAWarning)
                self._tables[collection] = sa.Table(
                    sa.sql.quoted_name(collection, quote=True),
                    sa.MetaData(),
                    autoload_with=self._engine,
                    resolve_fks=False,
                    listeners=[("column_reflect", _quote)],
                )
        return self._tables[collection]

    def _key(self, collection: str) -> list[sa.Column[Any]]:
        import sqlalchemy as sa  # noqa: PLC0415

        table = self._table(collection)
        key = list(table.primary_key.columns)
        for constraint in sorted(table.constraints, key=lambda each: str(each.name)):
            columns = list(constraint.columns) if isinstance(constraint, sa.UniqueConstraint) else []
            if not key and not any(column.nullable for column in columns):
                key = columns
        if not key:
            raise ConfigError(
                f"The table {shown(collection)} has neither a primary key nor a unique one without nulls, so "
                "reading could not go on where it stopped.",
                hint="Give it one, or name the tables to read with --collection.",
            )
        if "_id" in table.columns and [column.name for column in key] != ["_id"]:
            raise ConfigError(
                f"The table {shown(collection)} has a column _id that is not its key.",
                hint="Rename the column, or read a view's table without it.",
            )
        return key

    def _selected(self, column: sa.Column[Any]) -> sa.ColumnElement[Any]:
        """What is asked for: the driver's value where Python has one for the type, else the database's text."""
        import sqlalchemy as sa  # noqa: PLC0415

        if self._engine.dialect.name == "sqlite":
            # Its columns hold values of any type: those come as they are kept.
            return sa.type_coerce(column, sa.types.NullType()).label(column.name)
        return column if _has_python_type(column.type) else sa.cast(column, sa.Text).label(column.name)

    def _rows(
        self, collection: str, where: Sequence[sa.ColumnElement[bool]], order: Sequence[Any]
    ) -> Iterator[sa.Row[Any]]:
        import sqlalchemy as sa  # noqa: PLC0415

        columns = [self._selected(column) for column in self._table(collection).columns]
        query = sa.select(*columns).where(*where).order_by(*order)
        with contextlib.ExitStack() as stack:
            stack.enter_context(translated(self.describe()))
            connection = stack.enter_context(self._engine.connect())
            if self._engine.dialect.name == "postgresql":
                # One state of the table from its first row to its last.
                connection = connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            streamed = connection.execution_options(stream_results=True, yield_per=self._fetch_rows)
            yield from stack.enter_context(streamed.execute(query))

    def _record(self, collection: str, row: Sequence[Any]) -> Record:
        columns = list(self._table(collection).columns)
        names = [column.name for column in columns]
        key = [row[names.index(column.name)] for column in self._key(collection)]
        position = key_position(key)
        bad = [name for name, value in zip(names, row, strict=True) if isinstance(value, BadText)]
        if bad:
            reason = f"{collection} {position:.100}: the text in {bad[0]} is no UTF-8"
            return Record(position, fault=Fault("invalid_utf8", reason))
        values = list(row)
        if self._engine.dialect.name == "sqlite":
            declared = [str(column.type).upper() for column in columns]
            values = [sqlite_value(value, kind) for value, kind in zip(values, declared, strict=True)]
        document = dict(zip(names, values, strict=True))
        try:
            # Behind the columns, so that a key named _id is the text that an id must be.
            return Record(position, {"_id": None} | document | {"_id": document_id(key)})
        except NoId as error:
            return Record(position, fault=Fault("no_id", f"{collection} {position:.100}: {error}", "", document))

    def _without_key(self, collection: str, read: int) -> Iterator[Record]:
        import sqlalchemy as sa  # noqa: PLC0415

        nullable = [column for column in self._key(collection) if column.nullable]
        if not nullable:
            return
        # Only SQLite lets a primary key be null, and only where its rows are numbered.
        order = [sa.text("_rowid_")] if self._engine.dialect.name == "sqlite" else list(nullable)
        names = [column.name for column in self._table(collection).columns]
        where = [sa.or_(*(column.is_(None) for column in nullable))]
        for number, row in enumerate(islice(self._rows(collection, where, order), read, None), read + 1):
            reason = f"{collection}: the key {', '.join(column.name for column in nullable)} is null"
            document = {
                name: value for name, value in zip(names, row, strict=False) if not isinstance(value, BadText)
            }
            yield Record(f"{_NULLS}{number}", fault=Fault("null_key", reason, "", document))


def _quote(_inspector: object, _table: object, column: dict[str, Any]) -> None:
    # SQLAlchemy does not know each word that each version of a database reserves.
    from sqlalchemy.sql import quoted_name  # noqa: PLC0415

    column["name"] = quoted_name(column["name"], quote=True)


def _has_python_type(kind: sa.types.TypeEngine[Any]) -> bool:
    from sqlalchemy import types  # noqa: PLC0415

    if isinstance(kind, types.ARRAY):
        return _has_python_type(kind.item_type)
    # An interval of months is no number of days, so it goes as text, as do ranges, addresses and the like.
    numbers = (types.Integer, types.Numeric, types.Float, types.Boolean)
    times = (types.Date, types.DateTime, types.Time)
    return isinstance(kind, (*numbers, *times, types.String, types.LargeBinary, types.Uuid, types.JSON))


def _nulls_read(after: Position | None) -> int | None:
    if after is None or not str(after).startswith(_NULLS):
        return None
    number = str(after)[len(_NULLS) :]
    if not number.isdecimal():
        raise CheckpointError(f"The position {after!r} is none of a table's.", hint="Start anew with --restart.")
    return int(number)
