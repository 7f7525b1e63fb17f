"""JSON of any nesting depth: slower than the C scanner and encoder, which give up at about a thousand levels."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from json import JSONDecodeError, JSONDecoder, JSONEncoder
from operator import itemgetter
from typing import Any
from uuid import UUID

_SPACE = re.compile(r"[ \t\n\r]*")
_END: Any = object()
_IMMUTABLE = frozenset(
    {str, int, float, bool, type(None), bytes, datetime, date, time, timedelta, Decimal, UUID},
)


def read(text: str, decoder: JSONDecoder) -> Any:
    """Read one JSON value of any depth, as quickly as that goes.

    Raises:
        JSONDecodeError: the text is not JSON.
    """
    try:
        return decoder.decode(text)
    except RecursionError:
        return loads(text, decoder)


def loads(text: str, decoder: JSONDecoder) -> Any:
    """Read one JSON value; `decoder` reads strings, numbers and words, and its `object_pairs_hook` makes objects.

    Raises:
        JSONDecodeError: the text is not JSON.
    """
    # The closing bracket of each open container and its items: in an object keys and values in turn.
    levels: list[tuple[str, list[Any]]] = [("", [])]
    hook: Any = decoder.object_pairs_hook
    index = _skip(text, 0)
    while True:
        opening = text[index : index + 1]
        if opening in {"{", "["}:
            levels.append(("}" if opening == "{" else "]", []))
            index = _skip(text, index + 1)
            if text[index : index + 1] != levels[-1][0]:
                index = _key(text, index, decoder, *levels[-1])
                continue
        else:
            value, index = decoder.raw_decode(text, index)
            levels[-1][1].append(value)
            index = _skip(text, index)
        while text[index : index + 1] == levels[-1][0] != "":
            closing, items = levels.pop()
            value = items if closing == "]" else (hook or dict)([*zip(items[::2], items[1::2], strict=True)])
            levels[-1][1].append(value)
            index = _skip(text, index + 1)
        if len(levels) == 1:
            if index != len(text):
                raise JSONDecodeError("Extra data", text, index)
            return levels[0][1][0]
        if text[index : index + 1] != ",":
            raise JSONDecodeError("Expecting ',' delimiter", text, index)
        index = _key(text, _skip(text, index + 1), decoder, *levels[-1])


def write(value: Any, encoder: JSONEncoder) -> str:
    """Write plain JSON values of any depth, as quickly as that goes."""
    try:
        return encoder.encode(value)
    except RecursionError:
        return dumps(value, encoder)


def dumps(value: Any, encoder: JSONEncoder) -> str:
    """Write plain JSON values; `encoder` writes strings, numbers and words. `sort_keys` of it holds here too."""
    encode = encoder.encode
    parts: list[str] = []
    # What is still to be written, the next one last: a text, and the value after it.
    pending: list[tuple[str, Any]] = [("", value)]
    while pending:
        before, value = pending.pop()
        parts.append(before)
        if isinstance(value, dict):
            opening, closing = "{}"
            pairs = sorted(value.items(), key=itemgetter(0)) if encoder.sort_keys else value.items()
            inside = [(f",{encode(key)}:", child) for key, child in pairs]
        elif isinstance(value, list):
            opening, closing = "[]"
            inside = [(",", child) for child in value]
        else:
            parts.append("" if value is _END else encode(value))
            continue
        pending += [(closing, _END), *reversed(inside)]
        if inside:
            pending[-1] = (inside[0][0][1:], inside[0][1])
        parts.append(opening)
    return "".join(parts)


def detached(value: Any) -> Any:
    """A deep copy; mappings become dicts.

    Several times as fast as `copy.deepcopy`, which still copies what is neither mapping, list nor immutable.

    Raises:
        RecursionError: it is nested deeper than Python calls functions, or holds itself.
    """
    kind = type(value)
    if kind in _IMMUTABLE or isinstance(value, Enum):
        return value
    if kind is list:
        return [detached(item) for item in value]
    if isinstance(value, Mapping):
        return {key: detached(item) for key, item in value.items()}
    return copy.deepcopy(value)


def _skip(text: str, index: int) -> int:
    match = _SPACE.match(text, index)
    return index if match is None else match.end()


def _key(text: str, index: int, decoder: JSONDecoder, closing: str, items: list[Any]) -> int:
    """Read the next key where it is an object's turn; where its value begins."""
    if closing == "]":
        return index
    if text[index : index + 1] != '"':
        raise JSONDecodeError("Expecting property name enclosed in double quotes", text, index)
    key, index = decoder.raw_decode(text, index)
    items.append(key)
    index = _skip(text, index)
    if text[index : index + 1] != ":":
        raise JSONDecodeError("Expecting ':' delimiter", text, index)
    return _skip(text, index + 1)
