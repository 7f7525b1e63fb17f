"""Ranges of a table's key: compared in the database's own order, and found so that they are of about one size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from migrator.extractors.row_faults import Unreadable
from migrator.extractors.sql_engine import translated

if TYPE_CHECKING:
    import sqlalchemy as sa

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


class KeyOrder:
    """Says in SQL what comes after a key: by the operator that ORDER BY goes by, never by Python's comparison.

    Args:
        engine: the database.
        place: its name for messages.
    """

    def __init__(self, engine: sa.Engine, place: str) -> None:
        self._engine = engine
        self._place = place
        self._types: dict[tuple[str, str], sa.types.TypeEngine[Any]] = {}

    def behind(self, key: Sequence[sa.Column[Any]], values: Sequence[Any]) -> sa.ColumnElement[bool]:
        """True of rows whose key comes after these values."""
        import sqlalchemy as sa  # open_engine says what to do where it is missing

        columns = [sa.type_coerce(column, sa.types.NullType()) for column in key]
        bound = [self._bound(column, value) for column, value in zip(key, values, strict=True)]
        return columns[0] > bound[0] if len(key) == 1 else sa.tuple_(*columns) > sa.tuple_(*bound)

    def _bound(self, column: sa.Column[Any], value: Any) -> sa.ColumnElement[Any]:
        """A key's value as the database must take it."""
        import sqlalchemy as sa  # open_engine says what to do where it is missing

        if isinstance(value, Unreadable):
            # The bytes, which the database compares as it compared them before.
            raw = sa.bindparam(None, value.raw, type_=sa.types.NullType())
            if self._engine.dialect.name == "postgresql":
                return sa.cast(sa.func.convert_from(raw, "SQL_ASCII"), self._own_type(column))
            return sa.cast(raw, sa.Text)
        if self._engine.dialect.name == "postgresql":
            # By the column's own type: text beside citext, say, would be compared as text.
            return sa.cast(sa.bindparam(None, value, type_=sa.types.NullType()), self._own_type(column))
        return sa.bindparam(None, value, type_=sa.types.NullType())

    def _own_type(self, column: sa.Column[Any]) -> sa.types.TypeEngine[Any]:
        import sqlalchemy as sa  # open_engine says what to do where it is missing

        known = (str(column.table.name), str(column.name))
        if known in self._types:
            return self._types[known]
        query = sa.text(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = CAST(:table AS regclass) AND attname = :name"
        )
        table = self._engine.dialect.identifier_preparer.format_table(column.table)
        with translated(self._place), self._engine.connect() as connection:
            name = str(connection.execute(query, {"table": table, "name": column.name}).scalar_one())

        class OwnType(sa.types.UserDefinedType[Any]):
            cache_ok = True

            def get_col_spec(self, **_: Any) -> str:
                return name

        return self._types.setdefault(known, OwnType())


def table_size(engine: sa.Engine, table: Any, place: str) -> int:
    """Bytes in PostgreSQL, rows in SQLite: whatever costs no reading of the rows."""
    import sqlalchemy as sa

    with translated(place), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            named = engine.dialect.identifier_preparer.format_table(table)
            return int(connection.execute(sa.text(_SIZE), {"t": named}).scalar_one())
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def dividing_keys(
    engine: sa.Engine,
    key: Sequence[sa.Column[Any]],
    asked: Callable[[Any], sa.ColumnElement[Any]],
    *,
    parts: int,
    min_rows: int,
    place: str,
) -> list[list[Any]]:
    """Find keys that divide a table into ranges of about one size; each is the last of its range.

    The key's index is read once; of a table of millions in PostgreSQL only pages here and there.

    Args:
        engine: the database.
        key: the columns of the table's key.
        asked: how a column is asked for.
        parts: so many ranges at most.
        min_rows: so many rows has each at least.
        place: the database's name for messages.
    """
    import sqlalchemy as sa

    table = key[0].table
    whole = [column.is_not(None) for column in key if column.nullable]
    with translated(place), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            named = engine.dialect.identifier_preparer.format_table(table)
            estimate = float(connection.execute(sa.text(_ESTIMATE), {"t": named}).scalar() or 0)
            if estimate > RANKED_ROWS:
                percent = min(100.0, 100 * SAMPLED_ROWS / estimate)
                sample = sa.tablesample(table, sa.func.system(percent), seed=sa.literal(1))
                columns = [sample.c[column.name] for column in key]
                found = connection.execute(sa.select(*map(asked, columns)).order_by(*columns)).all()
                parts = max(1, min(parts, int(estimate) // min_rows, len(found)))
                return [list(found[len(found) * part // parts - 1]) for part in range(1, parts)]
        rows = int(connection.execute(sa.select(sa.func.count()).select_from(table).where(*whole)).scalar_one())
        step = max(-(-rows // parts), min_rows)
        number = sa.func.row_number().over(order_by=list(key)).label("migrator_number")
        ranked = sa.select(*map(asked, key), number).where(*whole).subquery()
        *columns, at = ranked.c
        return [
            list(row)
            for row in connection.execute(sa.select(*columns).where(at % step == 0, at < rows).order_by(at))
        ]
