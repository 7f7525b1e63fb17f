"""How values that JSON lacks are written: the declared codecs `plain` (readable, one way) and `strict` (none is).

A codec takes one value a step nearer to JSON; `migrator.codec.writing` does the walking.
"""

from __future__ import annotations

import base64
import dataclasses
import math
from collections import UserString
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from operator import methodcaller
from typing import Any
from uuid import UUID

from migrator.codec.faults import Refusal
from migrator.codec.rejected import Unfixed

# Subclasses before their bases: a datetime is a date.
_KINDS: dict[type, str] = {
    float: "float",
    datetime: "datetime",
    date: "date",
    time: "time",
    timedelta: "timedelta",
    UUID: "uuid",
    Decimal: "decimal",
    bytes: "bytes",
    bytearray: "bytearray",
    memoryview: "memoryview",
    tuple: "tuple",
    set: "set",
    frozenset: "frozenset",
}


# Divided by three, so that pieces of base64 fit together.
PIECE_BYTES = 3 << 16

MARK = "$type"
"""The key that marks an object as standing for a value of another type."""


class Unordered(list[Any]):
    """The elements of a set; once they are JSON they are sorted by their canonical text."""


class Tag(dict[str, Any]):
    """An object that a codec made to mark a type, so that its keys are not the document's."""


@dataclass(frozen=True, slots=True)
class ValueCodec:
    """A declared way to write values that JSON lacks.

    Args:
        name: what people call it.
        convert: takes a value that is not JSON nearer to JSON, or raises Refusal.
        native: `convert` for use inside orjson; only for a codec that treats NaN, Enum, UUID and tuple as orjson
            does by itself. It raises for what `convert` gives and orjson cannot write.
        escape: whether keys that could be taken for a type's mark are escaped.
    """

    name: str
    convert: Callable[[Any], Any]
    native: Callable[[Any], Any] | None = None
    escape: bool = False


def kind_of(value: object) -> str:
    """Which of the kinds of values that JSON lacks this is, "" for none of them."""
    kind = _KINDS.get(type(value))
    if kind is not None:
        return kind
    if isinstance(value, Enum):
        return "enum"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return "dataclass"
    for known, kind in _KINDS.items():
        if isinstance(value, known):
            return "namedtuple" if known is tuple and hasattr(value, "_fields") else kind
    return ""


def base_value(value: Any) -> Any:
    """Take a subclass of what JSON has to the thing itself, which every codec does.

    Raises:
        Refusal: the value is of no such type.
    """
    if isinstance(value, Unfixed):
        raise Refusal("unfixed", "the raw text of a value that the source could not give")
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__index__(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, UserString):
        return list(value)
    raise Refusal("unknown_type", "which no value codec converts")


def fields_of(value: Any) -> dict[str, Any]:
    """The fields of a dataclass instance or a namedtuple, by name, as they are."""
    if isinstance(value, tuple):
        return dict(zip(value._fields, value, strict=True))  # type: ignore[attr-defined]
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def escaped_key(key: str) -> str:
    """A document's own key, with one more `$` where it could be taken for a mark."""
    return f"${key}" if _ends_like_mark(key) else key


def unescaped_key(key: str) -> str:
    """The inverse of `escaped_key`."""
    return key[1:] if key != MARK and _ends_like_mark(key) else key


def _ends_like_mark(key: str) -> bool:
    return key.endswith(MARK) and not key[: -len(MARK)].strip("$")


def _finite(value: float) -> float | None:
    plain = float.__float__(value)
    return plain if math.isfinite(plain) else None


def base64_text(value: bytes | bytearray | memoryview) -> str:
    """Bytes as text."""
    return base64.b64encode(bytes(value)).decode()


def base64_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Base64 of bytes that come in pieces of any size and are never held whole."""
    rest = b""
    for piece in pieces:
        data = rest + piece
        whole = len(data) - len(data) % 3
        for begin in range(0, whole, PIECE_BYTES):
            yield base64.b64encode(data[begin : min(begin + PIECE_BYTES, whole)])
        rest = data[whole:]
    if rest:
        yield base64.b64encode(rest)


# By its own method: subclasses, such as those of pandas, know more digits.
_isoformat = methodcaller("isoformat")
# A timedelta becomes its seconds as a float, which sorts and adds up in a view; beyond 285 years the last
# microseconds are rounded away. A time whose zone has no fixed offset is written without one.
_PLAIN: dict[str, Callable[[Any], Any]] = {
    "float": _finite,
    "datetime": _isoformat,
    "date": _isoformat,
    "time": _isoformat,
    "timedelta": timedelta.total_seconds,
    "uuid": str,
    "decimal": lambda value: str(value) if value.is_finite() else None,
    "bytes": base64_text,
    "bytearray": base64_text,
    "memoryview": base64_text,
    "tuple": list,
    "set": Unordered,
    "frozenset": Unordered,
    "enum": lambda value: value.value,
    "dataclass": fields_of,
    "namedtuple": fields_of,
    "": base_value,
}


def _plain(value: Any) -> Any:
    return _PLAIN[kind_of(value)](value)


def _plain_inside_orjson(value: Any) -> Any:
    nearer = _PLAIN[kind_of(value)](value)
    if type(nearer) is Unordered:
        raise Refusal("unordered", "whose order is not known before its elements are JSON")
    return nearer


def _strict(value: Any) -> Any:
    kind = kind_of(value)
    if not kind:
        return base_value(value)
    if kind == "float" and math.isfinite(value):
        return float.__float__(value)
    raise Refusal("not_json", "which JSON does not have, and the value codec strict converts nothing")


PLAIN = ValueCodec("plain", _plain, native=_plain_inside_orjson)
"""Readable and one way: ISO 8601, base64, decimal strings, lists; NaN and the infinities become null."""

STRICT = ValueCodec("strict", _strict)
"""Nothing is converted: a value that JSON lacks makes its document unencodable."""
