"""From what MySQL and MariaDB send for a value, text or bytes, to the value: exactly, or the server's own text."""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date
from typing import Any

from migrator.extractors.rows import Unreadable, read_json, read_text
from migrator.extractors.text_values import exact_datetime, exact_decimal, exact_float, exact_time

# By the number that the protocol has for a type; texts and bytes have the same ones, and differ by character set.
_KINDS = {
    **dict.fromkeys((1, 2, 3, 8, 9, 13), "integer"),
    **dict.fromkeys((0, 246), "decimal"),
    **dict.fromkeys((10, 14), "date"),
    4: "single",
    5: "double",
    7: "timestamp",
    11: "time",
    12: "datetime",
    16: "bits",
    245: "json",
    242: "bytes",
    255: "bytes",
}
# A column of MariaDB's JSON is a text with this check and nothing else, so whoever writes the check means JSON.
_NAME = r"`(?:[^`]|``)*`"
_JSON_CHECK = re.compile(rf"\s*({_NAME}) .* CHECK \(json_valid\(({_NAME})\)\),?")
BAD_TEXT = b"\xff"
"""What stands before the bytes of a text that has no UTF-8, and alone for one too large to look at."""


def kind_of(code: int, charset: str) -> str:
    """What a column holds.

    Args:
        code: the protocol's number of its type.
        charset: its character set; `binary` of what is not a text.
    """
    return _KINDS.get(code, "bytes" if charset == "binary" else "text")


def json_columns(create_table: str) -> set[str]:
    """The names of the columns that MariaDB checks to be JSON.

    Args:
        create_table: as SHOW CREATE TABLE gives it.
    """
    found = map(_JSON_CHECK.fullmatch, create_table.splitlines())
    return {match[1][1:-1].replace("``", "`") for match in found if match and match[1] == match[2]}


def reader(kind: str) -> Callable[[Any], Any]:
    """The function from what the driver gives for a value to the value; null stays null.

    Args:
        kind: as `kind_of` says.
    """
    read = _READERS[kind]

    def value(sent: Any) -> Any:
        if sent is None:
            return None
        raw = sent.encode() if isinstance(sent, str) else bytes(sent)
        try:
            return read(raw)
        except ValueError:
            return Unreadable("unreadable", f"what the server sends for it is not of the kind {kind}", raw)

    return value


def single(value: float) -> float:
    """The shortest decimal that is this value in single precision, as the float that it is written with.

    >>> single(0.10000000149011612)
    0.1
    """
    kept = struct.pack("<f", value)
    for digits in range(1, 9):
        short = float(f"{value:.{digits}g}")
        # Rounded up, the largest of all is beyond single precision.
        with contextlib.suppress(OverflowError):
            if struct.pack("<f", short) == kept:
                return short
    # Nine digits are enough for each.
    return float(f"{value:.9g}")


def as_single(value: float) -> float:
    """The inverse of `single`: what the server compares with."""
    found: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return found


def place_in(members: Sequence[str], value: str, *, several: bool) -> int:
    """The number by which the server orders a value of an ENUM, or a SET; 0 is the empty value of both.

    Args:
        members: as the column declares them.
        value: as text.
        several: it is a SET's.

    Raises:
        ValueError: the column has no such member.
    """
    if not value:
        return 0
    if several:
        return sum(1 << members.index(each) for each in value.split(","))
    return members.index(value) + 1


def _integer(raw: bytes) -> int:
    return int(raw)


def _or_text(parse: Callable[[str], Any]) -> Callable[[bytes], Any]:
    """The value where Python has such a one, else the server's text: a zero in a date, and hours beyond a day."""

    def read(raw: bytes) -> Any:
        text = raw.decode("ascii")
        try:
            return parse(text)
        except ValueError:
            return text

    return read


def _timestamp(text: str) -> Any:
    found = exact_datetime(text)
    return found if isinstance(found, str) else found.replace(tzinfo=UTC)


def _text(raw: bytes) -> str | Unreadable:
    read = read_text(raw)
    if raw == BAD_TEXT:
        return Unreadable("unreadable", "the text is larger than the server converts: its max_allowed_packet")
    if isinstance(read, Unreadable) and raw.startswith(BAD_TEXT):
        return Unreadable(read.error, "the text has characters that Unicode lacks", raw[len(BAD_TEXT) :])
    return read


_READERS: Mapping[str, Callable[[bytes], Any]] = {
    "integer": _integer,
    "decimal": lambda raw: exact_decimal(raw.decode("ascii")),
    "single": lambda raw: single(float(raw)),
    "double": lambda raw: exact_float(raw.decode("ascii")),
    "date": _or_text(date.fromisoformat),
    "datetime": _or_text(exact_datetime),
    "timestamp": _or_text(_timestamp),
    "time": _or_text(exact_time),
    "bits": lambda raw: int.from_bytes(raw, "big"),
    "json": read_json,
    "bytes": bytes,
    "text": _text,
}
