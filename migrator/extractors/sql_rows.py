"""The rows of a table, view or query: how columns are asked for, ranges of keys, and from a row to its record."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa

from migrator.codec import InvalidDocument, decode_value
from migrator.errors import ConfigError
from migrator.extractors.rows import NoId, Unreadable, document_id, row_fault, row_record, shown_key
from migrator.extractors.sql_engine import Database
from migrator.model import Fault, Position, Record
from migrator.naming import shown

# Of a larger table of PostgreSQL a sample is ranked; below, ranking every key costs a moment.
RANKED_ROWS = 2_000_000
SAMPLED_ROWS = 100_000
# A partitioned table has no pages of its own.
_PARTS = "(SELECT relid FROM pg_partition_tree(CAST(:t AS regclass)) UNION SELECT CAST(:t AS regclass)) AS parts"
_SIZE = f"SELECT coalesce(sum(pg_table_size(relid)), 0) FROM {_PARTS}"  # noqa: S608 (no value is in it)
_ESTIMATE = (
    f"SELECT sum(CASE WHEN reltuples < 0 THEN 0 ELSE reltuples END) FROM {_PARTS} "  # noqa: S608
    "JOIN pg_class ON oid = relid WHERE relkind <> 'p'"
)
# Of PostgreSQL: bool, bytea, "char", name, integers, text, json, floats, bpchar, varchar, times, numeric, uuid,
# jsonb, each also in arrays.
_NATIVE_OIDS = frozenset(
    (16, 17, 18, 19, 20, 21, 23, 25, 114, 700, 701, 1042, 1043, 1082, 1083, 1114, 1184, 1266, 1700, 2950, 3802)
) | frozenset(
    (1000, 1001, 1002, 1003, 1016, 1005, 1007, 1009, 199, 1021, 1022, 1014, 1015, 1182, 1183, 1115, 1185)
)
_NATIVE_OIDS |= frozenset((1270, 1231, 2951, 3807))


@dataclass(eq=False)
class KeyRanges:
    """Ranges of the keys of a database's tables.

    Args:
        database: the database.
    """

    database: Database

    def __post_init__(self) -> None:
        self._types: dict[tuple[str, str], sa.types.TypeEngine[Any]] = {}

    def behind(self, key: Sequence[sa.Column[Any]], values: Sequence[Any]) -> sa.ColumnElement[bool]:
        """True of rows whose key comes after these values.

        By the operator that ORDER BY goes by, never by Python's comparison.
        """
        columns = [sa.type_coerce(column, sa.types.NullType()) for column in key]
        bound = [self._bound(column, value) for column, value in zip(key, values, strict=True)]
        return columns[0] > bound[0] if len(key) == 1 else sa.tuple_(*columns) > sa.tuple_(*bound)

    def size(self, table: Any) -> int:
        """Bytes in PostgreSQL, rows in SQLite: whatever costs no reading of the rows."""
        if self.database.postgresql:
            return int(self.database.rows(sa.text(_SIZE), t=self.database.quoted(table))[0][0])
        return int(self.database.rows(sa.select(sa.func.count()).select_from(table))[0][0])

    def dividing(self, key: Sequence[sa.Column[Any]], parts: int, min_rows: int) -> list[list[Any]]:
        """Find keys that divide a table into ranges of about one size; each is the last of its range.

        The key's index is read once; of a table of millions in PostgreSQL only pages here and there.

        Args:
            key: the columns of the table's key.
            parts: so many ranges at most.
            min_rows: so many rows has each at least.
        """
        asked = partial(asked_for, self.database)
        table = key[0].table
        whole = [column.is_not(None) for column in key if column.nullable]
        if self.database.postgresql:
            estimate = float(self.database.rows(sa.text(_ESTIMATE), t=self.database.quoted(table))[0][0] or 0)
            if estimate > RANKED_ROWS:
                percent = min(100.0, 100 * SAMPLED_ROWS / estimate)
                sample = sa.tablesample(table, sa.func.system(percent), seed=sa.literal(1))
                columns = [sample.c[column.name] for column in key]
                found = self.database.rows(sa.select(*map(asked, columns)).order_by(*columns))
                parts = max(1, min(parts, int(estimate) // min_rows, len(found)))
                return [list(found[len(found) * part // parts - 1]) for part in range(1, parts)]
        rows = int(self.database.rows(sa.select(sa.func.count()).select_from(table).where(*whole))[0][0])
        step = max(-(-rows // parts), min_rows)
        number = sa.func.row_number().over(order_by=list(key)).label("migrator_number")
        ranked = sa.select(*map(asked, key), number).where(*whole).subquery()
        *columns, at = ranked.c
        last = sa.select(*columns).where(at % step == 0, at < rows).order_by(at)
        return [list(row) for row in self.database.rows(last)]

    def _bound(self, column: sa.Column[Any], value: Any) -> sa.ColumnElement[Any]:
        """A key's value as the database must take it."""
        # The bytes of what is not text, which the database compares as it compared them before.
        given = value.raw if isinstance(value, Unreadable) else value
        bound: sa.ColumnElement[Any] = sa.bindparam(None, given, type_=sa.types.NullType())
        if not self.database.postgresql:
            return sa.cast(bound, sa.Text) if isinstance(value, Unreadable) else bound
        if isinstance(value, Unreadable):
            bound = sa.func.convert_from(bound, "SQL_ASCII")
        # By the column's own type: text beside citext, say, would be compared as text.
        return sa.cast(bound, self._own_type(column))

    def _own_type(self, column: sa.Column[Any]) -> sa.types.TypeEngine[Any]:
        known = (str(column.table.name), str(column.name))
        if known in self._types:
            return self._types[known]
        query = sa.text(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = CAST(:table AS regclass) AND attname = :name"
        )
        ((name,),) = self.database.rows(query, table=self.database.quoted(column.table), name=column.name)

        class OwnType(sa.types.UserDefinedType[Any]):
            cache_ok = True

            def get_col_spec(self, **_: Any) -> str:
                return str(name)

        return self._types.setdefault(known, OwnType())


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
        self._collection = collection
        self._source = source
        self._names = [str(column.name) for column in columns]
        self._asked = [asked_for(database, column) for column in columns]
        self._key_at = [self._names.index(name) for name in id_columns]
        # SQLite keeps any type in any column.
        self._declared = [str(column.type).upper() for column in columns] if database.sqlite else []
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
        place = f"{self._collection} {shown_key(position):.100}"
        return Record(position, fault=row_fault(place, "unreadable", reason, id=id, document=document))

    def fault(self, row: Sequence[Any], error: str, reason: str) -> Fault:
        """A row that has no key."""
        return row_fault(self._collection, error, reason, document=self._document(row))

    def _document(self, row: Sequence[Any]) -> dict[str, Any]:
        values: Sequence[Any] = row
        if self._declared:
            values = [_sqlite_value(value, kind) for value, kind in zip(row, self._declared, strict=True)]
        return dict(zip(self._names, values, strict=True))


def asked_for(database: Database, column: Any) -> sa.ColumnElement[Any]:
    """The expression that a column is read by."""
    if database.sqlite:
        # Its columns hold values of any type: those come as they are kept.
        return sa.type_coerce(column, sa.types.NullType()).label(column.name)
    native: sa.ColumnElement[Any] = column
    return native if _has_python_type(column.type) else sa.cast(column, sa.Text).label(column.name)


def query_columns(database: Database, text: str, name: str) -> sa.FromClause:
    """A query as something to select from, with the columns that it gives.

    Raises:
        ConfigError: two of them have one name, or it gives none.
    """
    # A colon is not a parameter here, and a comment at the end does not reach beyond its line.
    query = text.replace(":", "\\:") + "\n"
    reading = {"postgresql_readonly": True} if database.postgresql else {}
    with database.engine.connect().execution_options(**reading) as connection:
        # The query is the user's own text, and a database that is opened for reading runs it.
        found = connection.execute(sa.text(f"SELECT * FROM ({query}) AS migrator_query LIMIT 0"))  # noqa: S608
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
    # Of a String the driver's value is taken as it comes; what is of no type is cast to text.
    columns = [
        sa.Column(
            sa.sql.quoted_name(column, quote=True), sa.String() if oid in _NATIVE_OIDS else sa.types.NullType()
        )
        for column, oid in described
    ]
    return sa.text(query).columns(*columns).subquery("migrator_query")


def _has_python_type(kind: sa.types.TypeEngine[Any]) -> bool:
    if isinstance(kind, sa.types.ARRAY):
        return _has_python_type(kind.item_type)
    # An interval of months is not a number of days, so it goes as text, as do ranges, addresses and the like.
    numbers = (sa.types.Integer, sa.types.Numeric, sa.types.Float, sa.types.Boolean)
    times = (sa.types.Date, sa.types.DateTime, sa.types.Time)
    return isinstance(
        kind, (*numbers, *times, sa.types.String, sa.types.LargeBinary, sa.types.Uuid, sa.types.JSON)
    )


def _sqlite_value(value: Any, declared: str) -> Any:
    """A value as SQLite keeps it, which is of any type whatever its column declares.

    Only what a declared type says beyond doubt is taken: 0 and 1 of a BOOLEAN, and the value in a JSON text.
    """
    if declared.startswith("BOOL") and type(value) is int and value in (0, 1):
        return bool(value)
    if declared == "JSON" and isinstance(value, str):
        try:
            return decode_value(value)
        except InvalidDocument:
            return value
    return value
