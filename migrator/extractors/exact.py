"""From text to numbers and times without losing a digit: what Python cannot hold is refused, or stays text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime, time
from decimal import Decimal
from typing import TypeVar

_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
Clock = TypeVar("Clock", datetime, time)
_FRACTION = re.compile(r"[.,]([0-9]+)")


def exact_decimal(text: str) -> Decimal:
    """A finite decimal.

    Raises:
        ValueError: the text is none.
    """
    if not _DECIMAL.fullmatch(text):
        raise ValueError(text)
    return Decimal(text)


def exact_float(text: str) -> float:
    """The float that, written with as many digits as the text has, is the text again.

    Raises:
        ValueError: it is no finite number, or a float has fewer digits than it.
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
        ValueError: it is none.
    """
    # The hour 24 is another day's in some versions of Python, and an error in others.
    if re.search(r"[^0-9:+.,-]24", text):
        raise ValueError(text)
    return _exact(text, datetime.fromisoformat)


def exact_time(text: str) -> time | str:
    """A time of day in ISO 8601; the text itself where it has more digits of a second than Python.

    Raises:
        ValueError: it is none.
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
