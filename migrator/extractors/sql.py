"""Reads SQL databases through SQLAlchemy: a table is a collection, streamed in the order of its key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any
from urllib.parse import unquote

import sqlalchemy as sa

from migrator.errors import CheckpointError, ConfigError
from migrator.extractors.base import BaseExtractor, factory, foreign_position
from migrator.extractors.rows import key_position, position_key, shown_key
from migrator.extractors.sql_catalog import Catalog, Relation
from migrator.extractors.sql_engine import Database, UnreadableRow, translated
from migrator.extractors.sql_rows import KeyRanges, Rows
from migrator.model import Position, Record
from migrator.naming import shown

# Rows held at once.
FETCH_ROWS = 200
_NULLS = "null"
_QUERY = "query."


class SqlExtractor(BaseExtractor):
    """The tables of a database's default schema that have a primary key (or a unique one without nulls).

    A row is a document of its columns, `_id` made of the key. Order and comparison of keys are the database's
    own, so a resumed reading asks for `key > …` in whatever collation the columns have. A position is the key,
    as JSON in which other types are marked. What has no key is read in one go, where something else gives ids;
    then a position is a number of rows, which nothing can go on after.

    Args:
        url: SQLAlchemy's URL of the database; `?query.NAME=select …` adds a query as a collection.
        collections: which tables, views or queries to read, in this order; where None, the queries, or without
            any all tables but parts of other ones, sorted by name.
        ids_given: a transformer makes the ids, so that a table needs no key.
    """

    def __init__(
        self,
        url: str,
        *,
        collections: Sequence[str] | None = None,
        ids_given: bool = False,
    ) -> None:
        url, self._queries = divide_queries(url)
        self._database = Database(url)
        self._ranges = KeyRanges(self._database)
        self._wanted = collections
        self.ids_given = ids_given

    def describe(self) -> str:
        """The URL without credentials."""
        return self._database.place

    @property
    def unconfirmed(self) -> Sequence[str]:
        """What is not promised for a database of this kind."""
        unpromised = self._database.dialect.unpromised
        return [f"{self._database.place} {unpromised}"] if unpromised else []

    def collections(self) -> Sequence[str]:
        """The tables or queries.

        Raises:
            ConfigError: one has no key to go by, is not read whole, or there is none of that name.
            TransientError: the database does not answer.
        """
        return list(self._catalog.names(self._wanted))

    def count(self, collection: str) -> int | None:
        """How many rows; None where the database would read the whole table for that."""
        if collection in self._queries:
            return None
        return self._database.dialect.count(self._database, self._catalog.relation(collection).parts[0])

    def identity(self, collection: str) -> str:
        """The key's columns and types, as with another key positions say nothing; of a file its content too."""
        return self._catalog.relation(collection).identity + self._database.content()

    def describe_position(self, collection: str, position: Position) -> str:
        """Table and key."""
        return f"{collection} {shown_key(position):.100}"

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """Yield a record for each row, in the key's order; rows without a whole key come last, as faults.

        Args:
            collection: the table.
            after: the position to go on after.

        Raises:
            CheckpointError: `after` is not a position of this table, or the table is read in one go.
            TransientError: the connection broke; reading can go on after the last record.
        """
        relation = self._catalog.relation(collection)
        if not relation.key:
            yield from self._in_one_go(collection, relation, after)
            return
        kind, _, number = str(after).partition(":")
        if kind != _NULLS:
            yield from self._by_key(collection, relation, after, None)
        elif not number.isdecimal():
            raise foreign_position(str(after), "none of a table's")
        yield from self._without_key(collection, relation, int(number) if kind == _NULLS else 0)

    def extract_range(self, collection: str, after: Position | None, upto: Position) -> Iterator[Record]:
        """Yield the rows between two keys; rows without a whole key are in the range that has no end."""
        yield from self._by_key(collection, self._catalog.relation(collection), after, upto)

    def size(self, collection: str) -> int:
        """How large a table is beside the others: its bytes or its rows."""
        relation = self._catalog.relation(collection)
        return self._database.dialect.size(self._database, relation.parts[0]) if relation.key else 0

    def bounds(self, collection: str, parts: int, min_rows: int) -> list[str]:
        """Keys that divide a table into about so many ranges of at least so many rows, as positions."""
        key = self._catalog.relation(collection).key
        return [key_position(values) for values in self._ranges.dividing(key, parts, min_rows)] if key else []

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    @cached_property
    def _catalog(self) -> Catalog:
        return Catalog(self._database, self._queries, self.ids_given)

    def _read(self, collection: str, selects: Sequence[sa.Select[Any]]) -> Iterator[sa.Row[Any]]:
        with translated(self._database.place), self._database.reading(collection) as connection:
            streamed = connection.execution_options(stream_results=True, yield_per=FETCH_ROWS)
            for select in selects:
                with streamed.execute(select) as rows:
                    try:
                        yield from rows
                    except BaseException:
                        self._database.dialect.stop(connection)
                        raise

    def _by_key(
        self, collection: str, relation: Relation, position: Position | None, upto: Position | None
    ) -> Iterator[Record]:
        key = relation.key
        rows = Rows(self._database, collection, relation.parts[0], [column.name for column in key])
        while True:
            try:
                for row in self._read(collection, [rows.select(self._between(key, position, upto), key)]):
                    position = key_position(rows.key(row))
                    yield rows.record(row, position)
            except UnreadableRow as error:
                failed = error
            else:
                return
            # What failed gave none of its rows: the next ones are divided until those at fault are alone.
            asked = rows.select(self._between(key, position, upto), key, keys_only=True).limit(FETCH_ROWS)
            found = list(self._read(collection, [asked]))
            if not found:
                raise failed
            keys = [key_position(list(values)) for values in found]
            yield from self._divided(rows, key, position, keys)
            position = keys[-1]

    def _divided(
        self, rows: Rows, key: Sequence[sa.Column[Any]], after: Position | None, keys: Sequence[str]
    ) -> Iterator[Record]:
        """The rows of some keys in a row, in halves down to the one that the database fails over."""
        try:
            found = list(self._read(rows.collection, [rows.select(self._between(key, after, keys[-1]), key)]))
        except UnreadableRow as error:
            if len(keys) == 1:
                yield rows.failed(position_key(keys[0], len(key)), keys[0], error.reason)
                return
        else:
            yield from (rows.record(row, key_position(rows.key(row))) for row in found)
            return
        half = len(keys) // 2
        yield from self._divided(rows, key, after, keys[:half])
        yield from self._divided(rows, key, keys[half - 1], keys[half:])

    def _between(
        self, key: Sequence[sa.Column[Any]], after: Position | None, upto: Position | None
    ) -> list[sa.ColumnElement[bool]]:
        where: list[sa.ColumnElement[bool]] = [column.is_not(None) for column in key if column.nullable]
        if after is not None:
            where.append(self._ranges.behind(key, position_key(after, len(key))))
        if upto is not None:
            where.append(sa.not_(self._ranges.behind(key, position_key(upto, len(key)))))
        return where

    def _in_one_go(self, collection: str, relation: Relation, after: Position | None) -> Iterator[Record]:
        if after is not None:
            raise CheckpointError(
                f"{shown(collection)} has no key, so reading it cannot go on where it stopped.",
                hint="Start over with --restart: documents that are there already stay as they are.",
            )
        number = 0
        for part in relation.parts:
            rows = Rows(self._database, collection, part, relation.id_columns)
            try:
                for row in self._read(collection, [rows.select((), (), only=relation.inherited)]):
                    number += 1
                    yield rows.record(row, f"row:{number}", f"row {number}")
            except UnreadableRow as error:
                raise ConfigError(
                    f"{shown(collection)} has a row that the database fails over, at most {FETCH_ROWS} rows "
                    f"after row {number}: {error.reason}.",
                    hint="It has no key by which the other rows could be read: read the table that has one, or "
                    "leave the row out with a query, ?query.NAME=select …; what is there already stays.",
                ) from None

    def _without_key(self, collection: str, relation: Relation, read: int) -> Iterator[Record]:
        nullable = [column for column in relation.key if column.nullable]
        if not nullable:
            return
        order = self._database.dialect.without_key(nullable)
        rows = Rows(self._database, collection, relation.parts[0], ())
        where = [sa.or_(*(column.is_(None) for column in nullable))]
        reason = f"the key {', '.join(column.name for column in nullable)} is null"
        found = self._read(collection, [rows.select(where, order)])
        for number, row in enumerate(islice(found, read, None), read + 1):
            yield Record(f"{_NULLS}:{number}", fault=rows.fault(row, "null_key", reason))


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


open_source = factory(SqlExtractor)
