"""What the key of a row makes: the `_id` of its document, and a position."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from migrator.codec import BOOKKEEPING, InvalidDocument, Unencodable, content_hash, decode_value, tag, untag
from migrator.extractors.opening import foreign_position
from migrator.extractors.row_faults import Unreadable, row_fault
from migrator.model import Position, Record

_SEPARATOR = ":"
# What taps note on the transport of a record is another at each run, and no part of its content.
_NOTES = ("_sdc_", "_dlt_")


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


def keyed_record(position: Position, content: Any, key: Sequence[str], place: str) -> Record:
    """The document of a stream's record, or its fault.

    Args:
        position: after it.
        content: the record.
        key: the properties that are its key; without any, the `_id` that it has is kept, and else the SHA-256
            of its content is taken: what comes again is written once.
        place: where it stands, for people.
    """
    if not isinstance(content, Mapping):
        return Record(
            position, fault=row_fault(place, "not_an_object", "the record is no object", document=content)
        )
    missing = [name for name in key if name not in content]
    if missing:
        reason = f"the record has no {missing[0]}, which is of the key"
        return Record(position, fault=row_fault(place, "no_key", reason, document=content))
    if not key and "_id" in content:
        return Record(position, content)
    try:
        id = document_id([content[name] for name in key]) if key else _content_id(content)
    except NoId as error:
        return Record(position, fault=row_fault(place, "no_id", error, document=content))
    except Unencodable as error:
        return Record(position, fault=row_fault(place, error.error, error.reason, document=content))
    return Record(position, {**content, "_id": id})


def _content_id(content: Mapping[str, Any]) -> str:
    return content_hash(
        {name: value for name, value in content.items() if name not in BOOKKEEPING and not name.startswith(_NOTES)}
    )


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
