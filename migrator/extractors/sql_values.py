"""From a row of a table to a document: the columns' values, the id that its key makes, the key as a position."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from migrator.codec import InvalidDocument, decode_value, tag, untag
from migrator.extractors.opening import foreign_position
from migrator.extractors.row_faults import Unreadable
from migrator.model import Position

_SEPARATOR = ":"


@dataclass(frozen=True)
class _Bad:
    raw: bytes


def bad_text(raw: bytes) -> Unreadable:
    """A text that is not in the encoding that it should be in."""
    return Unreadable("invalid_utf8", "the text is no UTF-8", raw)


class NoId(ValueError):
    """A key's value that makes no id."""


def document_id(key: Sequence[Any]) -> str:
    """The `_id` of a row: its key's value as text, or several joined by `:`.

    Of several, `%` and `:` within each are written `%25` and `%3A`, so no two keys make one id.

    >>> document_id([7]), document_id(["a:b", 7])
    ('7', 'a%3Ab:7')

    Raises:
        NoId: a value is of a kind that has no one text.
    """
    if len(key) == 1:
        return _text(key[0])
    return _SEPARATOR.join(_text(value).replace("%", "%25").replace(_SEPARATOR, "%3A") for value in key)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | UUID):
        return str(value)
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(bytes(value)).decode()
    raise NoId(f"a key of type {type(value).__name__} makes no _id")


def key_position(key: Sequence[Any]) -> str:
    """A key as text that `position_key` takes back to the very values."""
    values = [_Bad(value.raw) if isinstance(value, Unreadable) else value for value in key]
    return json.dumps(tag(values), ensure_ascii=False, separators=(",", ":"))


def shown_key(position: Position) -> str:
    """A key's position for people; its bytes that are no text are shown as they stand in Python."""
    text = str(position)
    if _Bad.__name__ not in text:
        return text
    try:
        key = untag(decode_value(text), [_Bad])
    except InvalidDocument:
        return text
    shown = [value.raw.decode("utf-8", "backslashreplace") if isinstance(value, _Bad) else value for value in key]
    return json.dumps(tag(shown), ensure_ascii=False, separators=(",", ":"))


def position_key(position: Position, columns: int) -> list[Any]:
    """The inverse of `key_position`.

    Raises:
        CheckpointError: this is no position of a table with a key of so many columns.
    """
    try:
        key = untag(decode_value(str(position)), [_Bad])
    except InvalidDocument:
        key = None
    if not isinstance(key, list) or len(key) != columns:
        raise foreign_position(position, "no key of this table")
    return [bad_text(value.raw) if isinstance(value, _Bad) else value for value in key]


def sqlite_value(value: Any, declared: str) -> Any:
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
