"""From a row to its record: the `_id` and the position that its key makes, or why there is none, for all sources.

A fault names what people need to find the row again: its place (file and line, table and key), the column, the
reason, the id where it can be read, and what could be had of the row.
"""

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
from migrator.codec.faults import find_all
from migrator.codec.rejected import Unfixed, changed, id_in
from migrator.extractors.base import foreign_position
from migrator.model import Fault, Position, Record
from migrator.naming import shown

_SEPARATOR = ":"
# What taps note on the transport of a record is another at each run, and no part of its content.
_NOTES = ("_sdc_", "_dlt_")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands in a row for a value that cannot be given: one word, one sentence, and what the source holds."""

    error: str
    reason: str
    raw: Any = None


def row_fault(
    place: str, error: str, reason: object, *, column: str = "", id: str = "", document: Any = None
) -> Fault:
    """The fault of one row.

    Args:
        place: where it stands, for people.
        error: one machine-readable word.
        reason: what is wrong.
        column: the column or path of the value that is at fault.
        id: the document's, where it can be read.
        document: what could be had of it; what is unreadable in it is kept as `Unfixed`.
    """
    one_line = " ".join(str(reason).split())[:500]
    parts = [part for part in (place, column, one_line) if part]
    return Fault(error, ": ".join(parts), id, _kept(document))


def mismatch_fault(place: str, id: str, document: Mapping[str, Any], what: str = "the document") -> Fault:
    """The fault of a document whose own `_id` is not the one that its place in the source says.

    Args:
        place: where it stands, for people.
        id: what the place says.
        document: with its own `_id`, which is not written before somebody has chosen one.
        what: it is, for people.
    """
    own = document["_id"]
    reason = f"{what} has the _id {shown(own) if isinstance(own, str) else repr(own)}, which is not its key"
    unsure = {**document, "_id": Unreadable("id_mismatch", reason, own)}
    return row_fault(place, "id_mismatch", reason, id=id, document=unsure)


def text_fault(invalid: InvalidDocument, text: bytes, place: str = "", *, id: str = "") -> Fault:
    """The fault of a text that is not a document, which is kept as it is; its id is looked for in the text.

    Args:
        invalid: what the codec says.
        text: as the source holds it.
        place: where it stands, for people.
        id: the id, where something else than the text says it.
    """
    return row_fault(place, invalid.error, invalid.reason, id=id or id_in(text), document=text)


def row_record(position: Position, place: str, document: dict[str, Any], id: str = "") -> Record:
    """The record of a row; where it holds an `Unreadable`, at any depth, its fault."""
    for (name, *inner), bad in find_all(document, lambda value: isinstance(value, Unreadable)):
        column = f"{name}" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in inner)
        fault = row_fault(place, bad.error, bad.reason, column=column, id=id, document=document)
        return Record(position, fault=fault)
    return Record(position, document)


def _kept(value: Any) -> Any:
    if isinstance(value, Unreadable):
        return _unfixed(value)
    if not isinstance(value, dict | list):
        return value
    found = find_all(value, lambda item: isinstance(item, Unreadable))
    return changed(value, [(path, _unfixed(bad)) for path, bad in found])


def _unfixed(bad: Unreadable) -> Unfixed:
    raw = bad.raw
    return Unfixed(bytes(raw).decode("utf-8", "backslashreplace") if isinstance(raw, bytes | memoryview) else raw)


@dataclass(frozen=True)
class _Bad:
    raw: bytes


def bad_text(raw: bytes) -> Unreadable:
    """A text that is not in the encoding that it should be in."""
    return Unreadable("invalid_utf8", "the text is not UTF-8", raw)


def read_text(raw: bytes) -> str | Unreadable:
    """A text whose encoding nobody may have looked at."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return bad_text(raw)


def read_json(text: str | bytes) -> Any:
    """A value of a JSON type, as exactly as any document's; what is not JSON stays for its row's fault."""
    try:
        return decode_value(text)
    except InvalidDocument as invalid:
        raw = text.encode() if isinstance(text, str) else bytes(text)
        return Unreadable(invalid.error, invalid.reason, raw)


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
            position, fault=row_fault(place, "not_an_object", "the record is not an object", document=content)
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
    """A key's position for people; its bytes that are not text are shown as they stand in Python."""
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
        CheckpointError: this is not a position of a table with a key of so many columns.
    """
    try:
        key = untag(decode_value(str(position)), [_Bad])
    except InvalidDocument:
        key = None
    if not isinstance(key, list) or len(key) != columns:
        raise foreign_position(position, "no key of this table")
    return [bad_text(value.raw) if isinstance(value, _Bad) else value for value in key]
