"""How each column is asked for: the driver's value where Python has one for the type, else the database's text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migrator.errors import ConfigError
from migrator.naming import shown

if TYPE_CHECKING:
    import sqlalchemy as sa

# Of PostgreSQL: bool, bytea, "char", name, integers, text, json, floats, bpchar, varchar, times, numeric, uuid,
# jsonb, each also in arrays.
_NATIVE_OIDS = frozenset(
    (16, 17, 18, 19, 20, 21, 23, 25, 114, 700, 701, 1042, 1043, 1082, 1083, 1114, 1184, 1266, 1700, 2950, 3802)
) | frozenset(
    (1000, 1001, 1002, 1003, 1016, 1005, 1007, 1009, 199, 1021, 1022, 1014, 1015, 1182, 1183, 1115, 1185)
)
_NATIVE_OIDS |= frozenset((1270, 1231, 2951, 3807))


def asked_for(engine: sa.Engine, column: Any) -> sa.ColumnElement[Any]:
    """The expression that a column is read by."""
    import sqlalchemy as sa  # open_engine says what to do where it is missing

    if engine.dialect.name == "sqlite":
        # Its columns hold values of any type: those come as they are kept.
        return sa.type_coerce(column, sa.types.NullType()).label(column.name)
    native: sa.ColumnElement[Any] = column
    return native if _has_python_type(column.type) else sa.cast(column, sa.Text).label(column.name)


def query_columns(engine: sa.Engine, text: str, name: str) -> sa.FromClause:
    """A query as something to select from, with the columns that it gives.

    Raises:
        ConfigError: two of them have one name, or it gives none.
    """
    import sqlalchemy as sa

    # A colon is no parameter here, and a comment at the end does not reach beyond its line.
    query = text.replace(":", "\\:") + "\n"
    reading = {"postgresql_readonly": True} if engine.dialect.name == "postgresql" else {}
    with engine.connect().execution_options(**reading) as connection:
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
    from sqlalchemy import types

    if isinstance(kind, types.ARRAY):
        return _has_python_type(kind.item_type)
    # An interval of months is no number of days, so it goes as text, as do ranges, addresses and the like.
    numbers = (types.Integer, types.Numeric, types.Float, types.Boolean)
    times = (types.Date, types.DateTime, types.Time)
    return isinstance(kind, (*numbers, *times, types.String, types.LargeBinary, types.Uuid, types.JSON))
