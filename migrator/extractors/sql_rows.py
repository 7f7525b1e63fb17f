"""The rows of a table, view or query: how columns are asked for, ranges of keys, and from a row to its record."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from migrator.errors import ConfigError
from migrator.extractors.rows import NoId, Unreadable, document_id, row_fault, row_record, shown_key
from migrator.extractors.sql_engine import Database
from migrator.model import Fault, Position, Record
from migrator.naming import shown


@dataclass(eq=False)
class KeyRanges:
    """Ranges of the keys of a database's tables.

    Args:
        database: the database.
    """

    database: Database

    def behind(self, key: Sequence[sa.Column[Any]], values: Sequence[Any]) -> sa.ColumnElement[bool]:
        """True of rows whose key comes after these values.

        By the operator that ORDER BY goes by, never by Python's comparison.
        """
        dialect = self.database.dialect
        columns = [sa.type_coerce(column, sa.types.NullType()) for column in key]
        bound = [dialect.bound(self.database, column, value) for column, value in zip(key, values, strict=True)]
        if len(key) == 1:
            return columns[0] > bound[0]
        if dialect.compares_rows:
            return sa.tuple_(*columns) > sa.tuple_(*bound)
        pairs = list(zip(columns, bound, strict=True))
        behind = [
            sa.and_(*(before == value for before, value in pairs[:at]), column > value)
            for at, (column, value) in enumerate(pairs)
        ]
        # The first column alone lets an index be used.
        return sa.and_(columns[0] >= bound[0], sa.or_(*behind))

    def dividing(self, key: Sequence[sa.Column[Any]], parts: int, min_rows: int) -> list[list[Any]]:
        """Find keys that divide a table into ranges of about one size; each is the last of its range.

        The key's index is read once; of a table of millions only pages here and there, where the database can.

        Args:
            key: the columns of the table's key.
            parts: so many ranges at most.
            min_rows: so many rows has each at least.
        """
        dialect = self.database.dialect
        if (found := dialect.sampled(self.database, key, parts, min_rows)) is not None:
            return found
        table = key[0].table
        whole = [column.is_not(None) for column in key if column.nullable]
        rows = int(self.database.rows(sa.select(sa.func.count()).select_from(table).where(*whole))[0][0])
        step = max(-(-rows // parts), min_rows)
        number = sa.func.row_number().over(order_by=list(key)).label("migrator_number")
        ranked = sa.select(*map(dialect.asked, key), number).where(*whole).subquery()
        *columns, at = ranked.c
        last = sa.select(*columns).where(at % step == 0, at < rows).order_by(at)
        return [list(row) for row in self.database.rows(last)]


class Rows:
    """The rows of one relation.

    Args:
        database: it.
        collection: its name for people.
        source: what is selected from.
        id_columns: the columns whose values make the id; none where a transformer makes it.
    """

    def __init__(
        self, database: Database, collection: str, source: sa.FromClause, id_columns: Sequence[str]
    ) -> None:
        columns = list(source.columns)
        self.collection = collection
        self._source = source
        self._names = [str(column.name) for column in columns]
        self._asked = [database.dialect.asked(column) for column in columns]
        self._key_at = [self._names.index(name) for name in id_columns]
        # Only these can hold a value that is unreadable within a readable one.
        self._nested = any(hasattr(column.type, "item_type") for column in columns)

    def select(
        self, where: Sequence[Any], order: Sequence[Any], *, only: bool = False, keys_only: bool = False
    ) -> sa.Select[Any]:
        """The question for its rows, or their keys; `only` leaves out those of tables that inherit from it."""
        asked = [self._asked[at] for at in self._key_at] if keys_only else self._asked
        query = sa.select(*asked).where(*where).order_by(*order)
        return query.with_hint(self._source, "ONLY", "postgresql") if only else query

    def key(self, row: Sequence[Any]) -> list[Any]:
        """The values that make the id."""
        return [row[at] for at in self._key_at]

    def record(self, row: Sequence[Any], position: Position, shown: str = "") -> Record:
        """The document of a row, or why it has none."""
        document = self._document(row)
        place = f"{self.collection} {shown or shown_key(position):.100}"
        id = ""
        if self._key_at:
            key = self.key(row)
            try:
                id = "" if any(isinstance(value, Unreadable) for value in key) else document_id(key)
            except NoId as error:
                return Record(position, fault=row_fault(place, "no_id", error, document=document))
        # After the columns, so that a key named _id is the text that an id must be.
        whole = {"_id": None} | document | {"_id": id} if self._key_at else document
        if self._nested or any(isinstance(value, Unreadable) for value in row):
            record = row_record(position, place, whole if id else document, id)
            if record.fault is not None:
                return record
        return Record(position, whole)

    def failed(self, key: Sequence[Any], position: Position, reason: str) -> Record:
        """A row that the database cannot read, of which its key is known."""
        id = ""
        with contextlib.suppress(NoId):
            id = document_id(key)
        known = {self._names[at]: value for at, value in zip(self._key_at, key, strict=True)}
        lost = dict.fromkeys(self._names, Unreadable("unreadable", reason))
        document = {"_id": None} | lost | known | {"_id": id} if id else lost | known
        place = f"{self.collection} {shown_key(position):.100}"
        return Record(position, fault=row_fault(place, "unreadable", reason, id=id, document=document))

    def fault(self, row: Sequence[Any], error: str, reason: str) -> Fault:
        """A row that has no key."""
        return row_fault(self.collection, error, reason, document=self._document(row))

    def _document(self, row: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(self._names, row, strict=True))


def query_columns(database: Database, text: str, name: str) -> sa.FromClause:
    """A query as something to select from, with the columns that it gives.

    Raises:
        ConfigError: two of them have one name, or it gives none.
    """
    # A colon is not a parameter here, and a comment at the end does not reach beyond its line.
    query = text.replace(":", "\\:") + "\n"
    with database.engine.connect() as connection:
        database.dialect.begin_query(connection)
        # The query is the user's own text, and a database that is opened for reading runs it.
        # No row is asked for, in words that every database has.
        found = connection.execute(sa.text(f"SELECT * FROM ({query}) migrator_query WHERE 1 = 0"))  # noqa: S608
        told = found.cursor.description if found.cursor is not None else ()
        described = [(str(each[0]), each[1]) for each in told]
    names = [column for column, _ in described]
    twice = [column for column in names if names.count(column) > 1]
    if twice or not names:
        raise ConfigError(
            f"The query {shown(name)} gives "
            + (f"two columns {shown(twice[0])}, of which a document can have one." if twice else "no columns."),
            hint="Name each: select a.id as a_id, b.id as b_id, ….",
        )
    types = database.dialect.query_types([code for _, code in described])
    columns = [
        sa.Column(sa.sql.quoted_name(name, quote=True), kind) for name, kind in zip(names, types, strict=True)
    ]
    return sa.text(query).columns(*columns).subquery("migrator_query")
