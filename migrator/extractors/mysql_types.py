"""The types of columns of MySQL and MariaDB: by which expression each is asked for, read and compared."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from migrator.extractors.mysql_values import BAD_TEXT, as_single, place_in, reader
from migrator.extractors.rows import Unreadable

# Text in these goes to UTF-8 without a loss: the one is it, the other has a character for each byte.
_SURE = ("utf8mb4", "latin1", "binary")


class Sent(sa.types.UserDefinedType[Any]):
    """A column's type, by what the server sends for it."""

    cache_ok = True

    def __init__(self, kind: str, charset: str, name: str, members: tuple[str, ...], several: bool) -> None:
        # SQLAlchemy makes copies of a type by the names of these.
        self.kind = kind
        self.charset = charset
        self.name = name
        self.members = members
        self.several = several

    def get_col_spec(self, **_: Any) -> str:
        """As the table declares it."""
        return self.name

    def column_expression(self, column: Any) -> Any:
        """What is selected, so that nothing is lost on the way."""
        native = sa.type_coerce(column, sa.types.NullType())
        if self.kind == "single":
            # As itself it would come with six digits.
            return sa.type_coerce(native * sa.literal_column("1e0"), self)
        if self.kind == "text" and self.charset not in _SURE and re.fullmatch(r"\w+", self.charset):
            return sa.type_coerce(_checked_text(native, self.charset), self)
        return column

    def result_processor(self, _dialect: object, _coltype: object) -> Callable[[Any], Any]:
        """From what comes to the value."""
        return reader(self.kind)

    def compared_value(self, value: Any) -> Any:
        """What stands for a key's value beside the column.

        Raises:
            ValueError: the column has none such.
        """
        if isinstance(value, Unreadable):
            raise ValueError(value.reason)  # noqa: TRY004 (of the column, as the others)
        if self.members:
            # By number, as ORDER BY goes; beside a text it would be compared as one.
            return place_in(self.members, value, several=self.several)
        return as_single(value) if self.kind == "single" else value


def _checked_text(text: Any, charset: str) -> Any:
    """A text of another character set in UTF-8, or its bytes behind a mark where they would not come back."""

    def using(expression: Any, name: str) -> Any:
        return sa.func.convert(expression.op("USING")(sa.literal_column(name)))

    raw = sa.cast(text, sa.LargeBinary)
    mark: sa.ColumnElement[Any] = sa.literal_column(f"x'{BAD_TEXT.hex()}'")
    same = sa.cast(using(using(text, "utf8mb4"), charset), sa.LargeBinary) == raw
    bad = sa.func.coalesce(sa.func.concat(mark, raw), mark)
    return sa.case((text.is_(None), sa.null()), (same, using(text, "utf8mb4")), else_=bad)
