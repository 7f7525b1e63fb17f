"""What can be wrong with a text or a document, and how a place inside one is found and named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Any, TypeAlias

Path: TypeAlias = Sequence[str | int]
"""Keys and indexes from the document down to a value."""

SURROGATE = re.compile("[\ud800-\udfff]")
_TRAILING_COMMA = "Illegal trailing comma"

_SIMPLE_KEY = re.compile(r"[^\W\d][\w$-]*")
_MAX_KEY_LENGTH = 80
_MAX_STEPS = 20


def json_fault(error: JSONDecodeError) -> tuple[str, int]:
    """Find what is wrong with a JSON text, in the same words on every Python.

    Args:
        error: what the standard library raised.

    Returns:
        What is wrong, and the offset in characters.
    """
    if error.msg.startswith("Illegal trailing comma"):
        return _TRAILING_COMMA, error.pos
    # Before Python 3.13 a key or a value is missed at the bracket after the comma.
    before = error.doc[: error.pos].rstrip(" \t\n\r")
    if before.endswith(",") and error.doc[error.pos : error.pos + 1] in {"}", "]"}:
        return _TRAILING_COMMA, len(before) - 1
    return error.msg, error.pos


@dataclass(eq=False)
class InvalidDocument(Exception):
    """A text is not a document.

    Args:
        error: one machine-readable word.
        reason: one sentence for people.
        at: the offset in characters where it is not JSON; None where it is JSON, or no text.
    """

    error: str
    reason: str
    at: int | None = None

    def __str__(self) -> str:
        return self.reason


@dataclass(eq=False)
class Unencodable(Exception):
    """A document cannot be written as JSON.

    Args:
        path: the name of the value.
        error: one machine-readable word.
        reason: a sentence that holds the path.
    """

    path: str
    error: str
    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(eq=False)
class Refusal(Exception):
    """A value codec will not convert a value; whoever knows the path makes an Unencodable of it."""

    error: str
    why: str


def path_text(path: Path) -> str:
    r"""Name a place for people.

    >>> path_text(["address", "lines", 2])
    'address.lines[2]'
    >>> path_text(["odd key", "x"])
    '["odd key"].x'
    >>> path_text([])
    'the document'
    """
    if not path:
        return "the document"
    if len(path) > _MAX_STEPS:
        half = _MAX_STEPS // 2
        return f"{_steps(path[:half])} … {_steps(path[-half:])} ({len(path)} levels deep)"
    return _steps(path)


def type_name(value: object) -> str:
    """A type as people write it: `int`, `decimal.Decimal`."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def shown(value: object) -> str:
    """A value of any kind for a message, in short, even where it cannot show itself."""
    try:
        return f"{value!r:.80}"
    except Exception as error:  # noqa: BLE001 what shows itself runs code of its own; an integer can be too long
        return f"<{type_name(value)}: {type(error).__name__}>"


def find(document: Any, wanted: Callable[[Any], bool]) -> list[str | int] | None:
    """The path of the first value or key that is wanted, in a document of plain JSON values of any depth."""
    return next((path for path, _ in find_all(document, wanted)), None)


def find_all(document: Any, wanted: Callable[[Any], bool]) -> Iterator[tuple[list[str | int], Any]]:
    """The path of each value that is wanted or whose key is, and the value; nothing within such a one.

    What holds itself, as an object of a live process can, is not entered again.
    """
    path: list[str | int] = []
    pending = [_children(document)]
    # In order, as the last one is left first.
    entered = {id(document): None}
    while pending:
        for step, value in pending[-1]:
            if wanted(value) or wanted(step):
                yield [*path, step], value
            elif isinstance(value, dict | list) and id(value) not in entered:
                path.append(step)
                pending.append(_children(value))
                entered[id(value)] = None
                break
        else:
            pending.pop()
            entered.popitem()
            if path:
                path.pop()


def has_surrogate(value: object) -> bool:
    """True for a string that holds half a surrogate pair, which is not Unicode text."""
    return isinstance(value, str) and SURROGATE.search(value) is not None


def _children(value: dict[str, Any] | list[Any]) -> Iterator[tuple[str | int, Any]]:
    return iter(value.items() if isinstance(value, dict) else enumerate(value))


def _steps(path: Path) -> str:
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif len(step) <= _MAX_KEY_LENGTH and _SIMPLE_KEY.fullmatch(step):
            text += f".{step}" if text else step
        else:
            shown = step if len(step) <= _MAX_KEY_LENGTH else step[:_MAX_KEY_LENGTH] + "…"
            # What people can read stays as it is; half a surrogate pair could not be printed.
            text += f"[{json.dumps(shown, ensure_ascii=has_surrogate(shown))}]"
    return text
