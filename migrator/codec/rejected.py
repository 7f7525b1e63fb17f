"""What rejects hold that is no document: almost JSON, and values that stand for what a source could not give.

Nothing of it is ever written as it is: people see it and transformers fix it, and `encode` refuses it until then.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from migrator.codec.faults import Path, find, find_all

# The id stands near the beginning, and a long text must not cost long.
_MAX_SEARCHED_BYTES = 1_000_000
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]', re.DOTALL)
_VALUE = re.compile(rb'\s*:\s*(?:("[^"\\]*(?:\\.[^"\\]*)*")|(-?\d+)(?=\s*[,}\s]))', re.DOTALL)
_OBJECT_ID = re.compile(rb'\s*:\s*\{\s*"\$oid"\s*:\s*("[0-9A-Fa-f]*")\s*\}')
_ANY_ID = re.compile(rb'"_id"\s*:\s*("[^"\\]*(?:\\.[^"\\]*)*")', re.DOTALL)


class NotANumber:
    """A number that JSON or Python cannot hold: `math.isnan` and `float` work on it, and `encode` refuses it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __float__(self) -> float:
        return float(self.text)

    def __repr__(self) -> str:
        return self.text


def read_loosely(text: bytes) -> dict[str, Any] | None:
    """A document with NaN, control characters, numbers out of range or bytes that are no UTF-8 in it.

    Such bytes become half surrogates, as `surrogateescape` makes them.

    Returns:
        The document; None where the text is no JSON object even so.
    """
    try:
        value = _DECODER.decode(text.decode("utf-8", "surrogateescape").removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def write_loosely(document: object) -> bytes | None:
    """A text that `read_loosely` reads back to an equal document; None where there is none."""
    try:
        text = json.dumps(document, default=_not_a_number).encode()
    except (TypeError, ValueError, RecursionError):
        return None
    # The standard library makes texts of other keys. Looked for now, as only now it is known to hold no cycle.
    other_keys = find(
        [document], lambda item: isinstance(item, dict) and not all(isinstance(key, str) for key in item)
    )
    return None if other_keys else text


def id_in(text: bytes) -> str:
    """The `_id` that a text shows, whatever else is wrong with it; "" where it shows none or not whose it is."""
    text = text[:_MAX_SEARCHED_BYTES]
    stack: list[bytes] = []
    before = b""
    nested = False
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in (b"{", b"["):
            stack.append(token)
        elif token in (b"}", b"]"):
            stack[-1:] = []
        elif token == b'"_id"' and before in (b"{", b",", b""):
            if stack == [b"{"]:
                return _id_at(text, match.end())
            nested = True
        before = token
    found = _ANY_ID.findall(text)
    # Something is wrong before it: a quote that is not closed hides what is a key.
    return _text_of(found[0]) if len(found) == 1 and not nested else ""


def _id_at(text: bytes, place: int) -> str:
    if match := _VALUE.match(text, place):
        return _text_of(match[1]) if match[1] else match[2].decode()
    match = _OBJECT_ID.match(text, place)
    return _text_of(match[1]) if match else ""


def _text_of(quoted: bytes) -> str:
    try:
        return str(json.loads(quoted.decode("utf-8", "replace"), strict=False))
    except ValueError:
        return ""


def _float(text: str) -> float | NotANumber:
    value = float(text)
    return value if abs(value) != float("inf") else NotANumber(text)


def _integer(text: str) -> int | NotANumber:
    try:
        return int(text)
    except ValueError:
        return NotANumber(text)


def _not_a_number(value: object) -> float:
    if isinstance(value, NotANumber) and value.text in {"NaN", "Infinity", "-Infinity"}:
        return float(value)
    raise TypeError


class Unfixed(str):
    """A text for people and transformers; `encode` refuses it, so it is never written as it is.

    Whatever is made of it, as by `str()` or `strip()`, is an ordinary text.

    Args:
        raw: what the reject file shows, which need be no text.
    """

    __slots__ = ("raw",)

    raw: Any

    def __new__(cls, raw: Any) -> Unfixed:
        """Make the text of what the source holds."""
        made = super().__new__(cls, "" if raw is None else raw)
        made.raw = raw
        return made


def shown_raw(document: Any) -> tuple[Any, dict[str, Any]]:
    """A document with the raw value in place of each `Unfixed`, and those raw values by JSON Pointer."""
    if not isinstance(document, dict | list):
        return document, {}
    found = [(path, value.raw) for path, value in find_all(document, lambda value: type(value) is Unfixed)]
    return changed(document, found), {_pointer(path): raw for path, raw in found}


def marked_again(document: Any, unfixed: Mapping[str, Any]) -> tuple[Any, str]:
    """The inverse of `shown_raw`, after a person had the document: what was changed is not marked.

    Returns:
        The document, and the pointer of the first value that is unfixed; "" where none is left.
    """
    found: list[tuple[Path, Any]] = []
    first = ""
    for pointer, raw in unfixed.items():
        path = _resolved(document, pointer)
        value = document
        for step in path or ():
            value = value[step]
        # True is no 1, and 1.0 neither.
        if path is not None and type(value) is type(raw) and value == raw:
            found.append((path, Unfixed(raw)))
            first = first or pointer
    return changed(document, found), first


def changed(document: Any, values: Iterable[tuple[Path, Any]]) -> Any:
    """A copy of a document with other values at some places; what is not on the way to them is not copied."""
    values = list(values)
    if not values:
        return document
    root = document.copy()
    ours = {id(root)}
    for path, value in values:
        at = root
        for step in path[:-1]:
            if id(at[step]) not in ours:
                at[step] = at[step].copy()
                ours.add(id(at[step]))
            at = at[step]
        at[path[-1]] = value
    return root


def _pointer(path: Path) -> str:
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


def _resolved(document: Any, pointer: str) -> list[str | int] | None:
    path: list[str | int] = []
    for word in pointer.split("/")[1:]:
        step = word.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict) and step in document:
            path.append(step)
        elif isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            path.append(int(step))
        else:
            return None
        document = document[path[-1]]
    return path or None


_DECODER = json.JSONDecoder(strict=False, parse_constant=NotANumber, parse_float=_float, parse_int=_integer)
