"""From text to values without losing a digit: what Python cannot hold is refused, or stays text; types of CSV."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from migrator.codec import InvalidDocument, decode_value
from migrator.extractors.rows import document_id

_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
Clock = TypeVar("Clock", datetime, time)
_FRACTION = re.compile(r"[.,]([0-9]+)")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_BOOLEANS = {"true": True, "t": True, "yes": True, "1": True, "false": False, "f": False, "no": False, "0": False}


def exact_decimal(text: str) -> Decimal:
    """A finite decimal.

    Raises:
        ValueError: the text is not one.
    """
    if not _DECIMAL.fullmatch(text):
        raise ValueError(text)
    return Decimal(text)


def exact_float(text: str) -> float:
    """The float that, written with as many digits as the text has, is the text again.

    Raises:
        ValueError: it is not a finite number, or a float has fewer digits than it.
    """
    told = exact_decimal(text)
    value = float(told)
    if math.isfinite(value):
        # Zeros at either end say nothing that a float lacks. What lies between two texts is written as either.
        digits = len("".join(map(str, told.as_tuple().digits)).strip("0")) or 1
        if told in (Decimal(repr(value)), Decimal(f"{value:.{digits - 1}e}")):
            return value
    raise ValueError(text)


def exact_datetime(text: str) -> datetime | str:
    """A date with a time in ISO 8601; the text itself where it has more digits of a second than Python.

    Raises:
        ValueError: it is not one.
    """
    # The hour 24 is another day's in some versions of Python, and an error in others.
    if re.search(r"[^0-9:+.,-]24", text):
        raise ValueError(text)
    return _exact(text, datetime.fromisoformat)


def exact_time(text: str) -> time | str:
    """A time of day in ISO 8601; the text itself where it has more digits of a second than Python.

    Raises:
        ValueError: it is not one.
    """
    if text.lstrip("T").startswith("24"):
        raise ValueError(text)
    return _exact(text, time.fromisoformat)


def _exact(text: str, parse: Callable[[str], Clock]) -> Clock | str:
    fraction = _FRACTION.search(text)
    if fraction is None or len(fraction[1]) <= 6:
        return parse(text)
    found = parse(text[: fraction.start(1) + 6] + text[fraction.end(1) :])
    return text if fraction[1][6:].strip("0") else found


class BadValue(ValueError):
    """A text that is not of its column's type."""


def converter(name: str, kind: str, null: str | None) -> Callable[[str], Any]:
    """The function from text to value of a column; an empty text is null, but for texts.

    Raises (the function):
        BadValue: the text is not of that kind.
    """
    convert = _KINDS[kind]
    if name == "_id" and kind != "text":
        # Whatever it is, an id is a text.
        typed = converter("", "text" if kind == "auto" else kind, null)
        return lambda text: None if (value := _named(typed, text)) is None else document_id([value])
    if kind == "text":
        return str if null is None else lambda text: None if text == null else text

    def checked(text: str) -> Any:
        if text in {"", null}:
            return None
        try:
            return convert(text)
        except (ValueError, ArithmeticError, KeyError, InvalidDocument):
            raise BadValue(f"{name} is {text!r:.80}, which is not of the type {kind}") from None

    return checked


def _named(convert: Callable[[str], Any], text: str) -> Any:
    try:
        return convert(text)
    except BadValue as error:
        raise BadValue(f"_id{error}") from None


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text.strip()):
        raise ValueError(text)
    return int(text)


def _guessed(text: str) -> Any:
    """Only what would be written back the very same is taken for a number; all else stays text."""
    if _INTEGER.fullmatch(text) and text != "-0" and len(text) < 4_000:
        return int(text)
    if text in {"true", "false"}:
        return text == "true"
    try:
        value = float(text)
    except ValueError:
        return text
    return value if math.isfinite(value) and repr(value) == text else text


_KINDS: dict[str, Callable[[str], Any]] = {
    "text": str,
    "int": _integer,
    "float": lambda text: exact_float(text.strip()),
    "decimal": lambda text: exact_decimal(text.strip()),
    "bool": lambda text: _BOOLEANS[text.strip().lower()],
    "date": date.fromisoformat,
    "datetime": exact_datetime,
    "time": exact_time,
    "uuid": UUID,
    "json": decode_value,
    "auto": _guessed,
}
KINDS = tuple(_KINDS)[:-1]
"""The types that can be asked for by name."""
