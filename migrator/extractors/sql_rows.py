"""From a row of a table, view or query to its record."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from migrator.extractors.row_faults import Unreadable, row_fault, unreadable_fault
from migrator.extractors.sql_columns import asked_for
from migrator.extractors.sql_values import NoId, document_id, shown_key, sqlite_value
from migrator.model import Fault, Position, Record

if TYPE_CHECKING:
    import sqlalchemy as sa


class Rows:
    """The rows of one relation.

    Args:
        engine: the database.
        collection: its name for people.
        source: what is selected from.
        id_columns: the columns whose values make the id; none where a transformer makes it.
    """

    def __init__(
        self, engine: sa.Engine, collection: str, source: sa.FromClause, id_columns: Sequence[str]
    ) -> None:
        columns = list(source.columns)
        self._engine = engine
        self._collection = collection
        self._source = source
        self._names = [str(column.name) for column in columns]
        self._asked = [asked_for(engine, column) for column in columns]
        self._key_at = [self._names.index(name) for name in id_columns]
        # SQLite keeps any type in any column.
        self._declared = (
            [str(column.type).upper() for column in columns] if engine.dialect.name == "sqlite" else []
        )
        # Only these can hold a value that is unreadable within a readable one.
        self._nested = any(hasattr(column.type, "item_type") for column in columns)

    def select(
        self, where: Sequence[Any], order: Sequence[Any], *, only: bool = False, keys_only: bool = False
    ) -> sa.Select[Any]:
        """The question for its rows, or their keys; `only` leaves out those of tables that inherit from it."""
        import sqlalchemy as sa  # open_engine says what to do where it is missing

        asked = [self._asked[at] for at in self._key_at] if keys_only else self._asked
        query = sa.select(*asked).where(*where).order_by(*order)
        return query.with_hint(self._source, "ONLY", "postgresql") if only else query

    def key(self, row: Sequence[Any]) -> list[Any]:
        """The values that make the id."""
        return [row[at] for at in self._key_at]

    def record(self, row: Sequence[Any], position: Position, shown: str = "") -> Record:
        """The document of a row, or why it has none."""
        document = self._document(row)
        place = f"{self._collection} {shown or shown_key(position):.100}"
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
            fault = unreadable_fault(place, whole if id else document, id)
            if fault is not None:
                return Record(position, fault=fault)
        return Record(position, whole)

    def failed(self, key: Sequence[Any], position: Position, reason: str) -> Record:
        """A row that the database cannot read, of which its key is known."""
        id = ""
        with contextlib.suppress(NoId):
            id = document_id(key)
        known = {self._names[at]: value for at, value in zip(self._key_at, key, strict=True)}
        lost = dict.fromkeys(self._names, Unreadable("unreadable", reason))
        document = {"_id": None} | lost | known | {"_id": id} if id else lost | known
        place = f"{self._collection} {shown_key(position):.100}"
        return Record(position, fault=row_fault(place, "unreadable", reason, id=id, document=document))

    def fault(self, row: Sequence[Any], error: str, reason: str) -> Fault:
        """A row that has no key."""
        return row_fault(self._collection, error, reason, document=self._document(row))

    def _document(self, row: Sequence[Any]) -> dict[str, Any]:
        values: Sequence[Any] = row
        if self._declared:
            values = [sqlite_value(value, kind) for value, kind in zip(row, self._declared, strict=True)]
        return dict(zip(self._names, values, strict=True))
