"""Ranges of a table's key: compared in the database's own order, and found so that they are of about one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from migrator.extractors.row_faults import Unreadable
from migrator.extractors.sql_engine import Database
from migrator.extractors.sql_rows import asked_for

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


class KeyRanges:
    """Ranges of the keys of a database's tables.

    Args:
        database: the database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
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
        if self._database.postgresql:
            return int(self._database.rows(sa.text(_SIZE), t=self._database.quoted(table))[0][0])
        return int(self._database.rows(sa.select(sa.func.count()).select_from(table))[0][0])

    def dividing(self, key: Sequence[sa.Column[Any]], parts: int, min_rows: int) -> list[list[Any]]:
        """Find keys that divide a table into ranges of about one size; each is the last of its range.

        The key's index is read once; of a table of millions in PostgreSQL only pages here and there.

        Args:
            key: the columns of the table's key.
            parts: so many ranges at most.
            min_rows: so many rows has each at least.
        """
        table = key[0].table
        whole = [column.is_not(None) for column in key if column.nullable]
        if self._database.postgresql:
            estimate = float(self._database.rows(sa.text(_ESTIMATE), t=self._database.quoted(table))[0][0] or 0)
            if estimate > RANKED_ROWS:
                percent = min(100.0, 100 * SAMPLED_ROWS / estimate)
                sample = sa.tablesample(table, sa.func.system(percent), seed=sa.literal(1))
                columns = [sample.c[column.name] for column in key]
                found = self._database.rows(sa.select(*map(self._asked, columns)).order_by(*columns))
                parts = max(1, min(parts, int(estimate) // min_rows, len(found)))
                return [list(found[len(found) * part // parts - 1]) for part in range(1, parts)]
        rows = int(self._database.rows(sa.select(sa.func.count()).select_from(table).where(*whole))[0][0])
        step = max(-(-rows // parts), min_rows)
        number = sa.func.row_number().over(order_by=list(key)).label("migrator_number")
        ranked = sa.select(*map(self._asked, key), number).where(*whole).subquery()
        *columns, at = ranked.c
        last = sa.select(*columns).where(at % step == 0, at < rows).order_by(at)
        return [list(row) for row in self._database.rows(last)]

    def _asked(self, column: Any) -> sa.ColumnElement[Any]:
        return asked_for(self._database, column)

    def _bound(self, column: sa.Column[Any], value: Any) -> sa.ColumnElement[Any]:
        """A key's value as the database must take it."""
        # The bytes of what is no text, which the database compares as it compared them before.
        given = value.raw if isinstance(value, Unreadable) else value
        bound: sa.ColumnElement[Any] = sa.bindparam(None, given, type_=sa.types.NullType())
        if not self._database.postgresql:
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
        ((name,),) = self._database.rows(query, table=self._database.quoted(column.table), name=column.name)

        class OwnType(sa.types.UserDefinedType[Any]):
            cache_ok = True

            def get_col_spec(self, **_: Any) -> str:
                return str(name)

        return self._types.setdefault(known, OwnType())
