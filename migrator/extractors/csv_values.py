"""From the text of a CSV field to a value, where types were asked for."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date
from typing import Any
from uuid import UUID

from migrator.codec import InvalidDocument, decode_value
from migrator.extractors.exact import exact_datetime, exact_decimal, exact_float, exact_time
from migrator.extractors.sql_values import document_id

_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_BOOLEANS = {"true": True, "t": True, "yes": True, "1": True, "false": False, "f": False, "no": False, "0": False}


class BadValue(ValueError):
    """A text that is not of its column's type."""


def converter(name: str, kind: str, null: str | None) -> Callable[[str], Any]:
    """The function from text to value of a column; an empty text is null, but for texts.

    Raises (the function):
        BadValue: the text is none of that kind.
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
        except (ValueError, ArithmeticError, InvalidDocument):
            raise BadValue(f"{name} is {text!r:.80}, which is no {kind}") from None

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


def _boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.strip().lower()]
    except KeyError:
        raise ValueError(text) from None


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
    "bool": _boolean,
    "date": date.fromisoformat,
    "datetime": exact_datetime,
    "time": exact_time,
    "uuid": UUID,
    "json": decode_value,
    "auto": _guessed,
}
KINDS = tuple(_KINDS)[:-1]
"""The types that can be asked for by name."""
