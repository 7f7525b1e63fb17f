"""What rejects hold that is not a document: almost JSON, and values that stand for what a source could not give.

Nothing of it is ever written as it is: people see it and transformers fix it, and `encode` refuses it until then.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from migrator.codec.faults import Path, find, find_all

# The id stands near the beginning, and a long text must not cost long.
_MAX_SEARCHED_BYTES = 1_000_000
_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
# A string with the colon after it, where it is a key; or a bracket.
_TOKEN = re.compile(rf"({_STRING})(\s*+:\s*+)?|[{{}}\[\]]", re.DOTALL)
# Anything but what opens a string, list or object.
_WORD = re.compile(r'[^\s,{}\[\]"]+')
_OBJECT_ID = re.compile(r'\{\s*"\$oid"\s*:\s*("[0-9A-Fa-f]*")\s*\}')
_ANY_ID = re.compile(rf'"_id"\s*:\s*({_STRING})', re.DOTALL)


class NotANumber:
    """A number that JSON or Python cannot hold: `math.isnan` and `float` work on it, and `encode` refuses it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __float__(self) -> float:
        return float(self.text)

    def __repr__(self) -> str:
        return self.text


def read_loosely(text: bytes) -> dict[str, Any] | None:
    """A document with NaN, control characters, numbers out of range or bytes that are not UTF-8 in it.

    Such bytes become half surrogates, as `surrogateescape` makes them.

    Returns:
        The document; None where the text is not a JSON object even so.
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
    shown = text[:_MAX_SEARCHED_BYTES].decode("utf-8", "replace")
    nested = False
    for depth, key, value_at in _members(shown):
        if key == '"_id"':
            if depth == 1:
                value = _value_text(shown, value_at)
                of_mongo = _OBJECT_ID.fullmatch(value)
                # A number that was cut off, or goes on as something else, is another one.
                whole = not value[-1:].isdigit() or shown[value_at + len(value) :][:1] in {*",} \t\r\n"}
                return text_of(of_mongo[1] if of_mongo else value) if whole else ""
            nested = True
    found = _ANY_ID.findall(shown)
    # Something is wrong before it: a quote that is not closed hides what is a key.
    return text_of(found[0]) if len(found) == 1 and not nested else ""


def field_in_text(text: bytes | str, name: str) -> str:
    """What stands after a key of the outermost object of a text, which need be no JSON; "" for nothing."""
    shown = text if isinstance(text, str) else text[:_MAX_SEARCHED_BYTES].decode("utf-8", "surrogateescape")
    places = (at for depth, key, at in _members(shown) if depth == 1 and key == f'"{name}"')
    return next((_value_text(shown, at) for at in places), "")


def text_of(raw: str) -> str:
    """The text of a value that stands so in JSON: of a string or a whole number; else ""."""
    if re.fullmatch(r"-?\d+", raw):
        return raw
    try:
        found = json.loads(raw, strict=False) if raw.startswith('"') else ""
        found.encode()
    except ValueError:
        # Broken, or with bytes that are not UTF-8: another id would be named.
        return ""
    return str(found)


def _members(text: str) -> Iterator[tuple[int, str, int]]:
    """How deep each key of a text lies, the key in its quotes, and where its value begins."""
    depth = 0
    for token in _TOKEN.finditer(text):
        if token[2]:
            yield depth, token[1], token.end()
        elif not token[1]:
            depth = max(0, depth + (1 if token[0] in "{[" else -1))


def _value_text(text: str, begin: int) -> str:
    word = _WORD.match(text, begin)
    if word is not None:
        return word[0]
    depth = 0
    for token in _TOKEN.finditer(text, begin):
        depth += (token[0] in ("{", "[")) - (token[0] in ("}", "]"))
        if depth <= 0:
            return text[begin : token.end(1) if token[1] else token.end()]
    return text[begin:]


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
        raw: what the reject file shows, which need not be text.
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
        # True is not 1, and 1.0 is not either.
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
