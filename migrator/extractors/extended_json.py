"""MongoDB's Extended JSON, version 2 in both forms and version 1, to the values that it stands for."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from migrator.codec import canonical
from migrator.extractors.exact import exact_decimal, exact_float
from migrator.extractors.keys import NoId, document_id

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ISO = re.compile(r"(\d{4}|[+-]\d{4,6})(-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:?\d\d)")
_UUID_SUBTYPE = 4
_UUID = re.compile("-".join(f"[0-9a-fA-F]{{{length}}}" for length in (8, 4, 4, 4, 12)))
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")
_SPECIAL = re.compile("[+-]?(inf|infinity|nan)", re.IGNORECASE)


class NotExtended(ValueError):
    """An object that is marked as a type and cannot be one."""


def plain_values(value: Any, path: str = "") -> Any:
    """Take marked objects to the values they stand for, at every depth.

    What neither JSON nor Python has (timestamps, regular expressions, code, MinKey and the like, and dates that
    are out of Python's range or finer than microseconds) stays as it is marked, so nothing of it is lost.

    Raises:
        NotExtended: a marked object is damaged; the message begins with the path to it.
    """
    if isinstance(value, list):
        return [plain_values(item, f"{path}[{number}]") for number, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    make = _MARKS.get(frozenset(value)) if 0 < len(value) < 3 else None
    if make is None:
        return {key: plain_values(item, f"{path}.{key}" if path else key) for key, item in value.items()}
    try:
        return make(value)
    except (ValueError, TypeError, InvalidOperation, binascii.Error, AttributeError, KeyError):
        raise NotExtended(f"{path or 'the document'} is marked as {next(iter(value))} and is none") from None


def id_text(value: Any) -> Any:
    """The `_id` that stands for a value: of text the text, of other values their text, of all else its JSON."""
    try:
        return document_id([value])
    except NoId:
        return canonical(value).decode()


def _oid(value: Mapping[str, Any]) -> str:
    text = value["$oid"]
    if not re.fullmatch("[0-9a-fA-F]{24}", text):
        raise ValueError(text)
    return str(text.lower())


def _date(value: Mapping[str, Any]) -> Any:
    stamp = value["$date"]
    if isinstance(stamp, Mapping):
        stamp = _integer(stamp["$numberLong"])
    if isinstance(stamp, int) and not isinstance(stamp, bool):
        try:
            return _EPOCH + timedelta(milliseconds=stamp)
        except OverflowError:
            return value
    match = _ISO.fullmatch(stamp)
    if match is None:
        raise ValueError(stamp)
    year, day, fraction, zone = match[1], match[2], f"{match[3] or '.':0<7}", match[4]
    if len(year) > 4 or year == "0000" or fraction[7:].strip("0"):
        return value
    moment = datetime.fromisoformat(f"{year}{day}{fraction[:7]}{'+00:00' if zone == 'Z' else zone}")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return value


def _integer(text: Any) -> int:
    if isinstance(text, int) and not isinstance(text, bool):
        # Version 1 of some tools.
        return text
    if not re.fullmatch(r"-?\d+", text):
        raise ValueError(text)
    return int(text)


def _double(value: Mapping[str, Any]) -> float:
    text = value["$numberDouble"]
    return float(text) if text in _NOT_FINITE else exact_float(str(text))


def _decimal(value: Mapping[str, Any]) -> Decimal:
    text = str(value["$numberDecimal"])
    return Decimal(text) if _SPECIAL.fullmatch(text) else exact_decimal(text)


def _binary(value: Mapping[str, Any]) -> bytes | UUID:
    content = value["$binary"]
    if isinstance(content, Mapping):
        text, kind = content["base64"], int(content["subType"], 16)
    else:
        text, kind = content, int(value["$type"], 16)
    raw = base64.b64decode(text, validate=True)
    return UUID(bytes=raw) if kind == _UUID_SUBTYPE and len(raw) == 16 else raw


def _uuid(value: Mapping[str, Any]) -> UUID:
    if not _UUID.fullmatch(value["$uuid"]):
        raise ValueError(value)
    return UUID(value["$uuid"])


_MARKS: dict[frozenset[str], Callable[[Mapping[str, Any]], Any]] = {
    frozenset({"$oid"}): _oid,
    frozenset({"$date"}): _date,
    frozenset({"$numberInt"}): lambda value: _integer(value["$numberInt"]),
    frozenset({"$numberLong"}): lambda value: _integer(value["$numberLong"]),
    frozenset({"$numberDouble"}): _double,
    frozenset({"$numberDecimal"}): _decimal,
    frozenset({"$binary"}): _binary,
    frozenset({"$binary", "$type"}): _binary,
    frozenset({"$uuid"}): _uuid,
}
