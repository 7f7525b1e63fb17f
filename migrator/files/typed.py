"""Takes values out of a JSON file of our own, each of the type that was written."""

from __future__ import annotations

from typing import Any


def as_object(value: Any) -> dict[str, Any]:
    """A JSON object.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, dict):
        raise TypeError
    return value


def as_text(value: Any) -> str:
    """A text.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, str):
        raise TypeError
    return value


def as_natural(value: Any) -> int:
    """A whole number from 0 on.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError
    return value


def as_boolean(value: Any) -> bool:
    """True or false.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, bool):
        raise TypeError
    return value
