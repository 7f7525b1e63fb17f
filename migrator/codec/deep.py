"""JSON of any nesting depth: slower than the C scanner and encoder, which give up at about a thousand levels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from json import JSONDecodeError, JSONDecoder, JSONEncoder
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")


def loads(text: str, decoder: JSONDecoder) -> Any:
    """Read one JSON value; `decoder` reads what has no depth: strings, numbers, words.

    Raises:
        JSONDecodeError: the text is no JSON.
    """
    containers: list[dict[str, Any] | list[Any]] = []
    keys: list[str] = []
    index = _skip(text, 0)
    while True:
        opening = text[index : index + 1]
        value: Any
        if opening in {"{", "["}:
            index = _skip(text, index + 1)
            value = {} if opening == "{" else []
            if text[index : index + 1] != _closing(value):
                containers.append(value)
                key, index = _key(text, index, decoder) if opening == "{" else ("", index)
                keys.append(key)
                continue
            index += 1
        else:
            value, index = decoder.raw_decode(text, index)
        while containers:
            container = containers[-1]
            if isinstance(container, dict):
                container[keys[-1]] = value
            else:
                container.append(value)
            index = _skip(text, index)
            separator = text[index : index + 1]
            if separator == ",":
                index = _skip(text, index + 1)
                if isinstance(container, dict):
                    keys[-1], index = _key(text, index, decoder)
                break
            if separator != _closing(container):
                raise JSONDecodeError("Expecting ',' delimiter", text, index)
            index += 1
            value = containers.pop()
            keys.pop()
        else:
            index = _skip(text, index)
            if index != len(text):
                raise JSONDecodeError("Extra data", text, index)
            return value


def dumps(value: Any, encoder: JSONEncoder) -> str:
    """Write plain JSON values; `encoder` writes strings, numbers and words. `sort_keys` of it holds here too."""
    encode = encoder.encode
    parts: list[str] = []
    pending: list[tuple[Iterator[Any], bool]] = [(iter([value]), False)]
    first = True
    while pending:
        items, keyed = pending[-1]
        for item in items:
            if not first and len(pending) > 1:
                parts.append(",")
            first = False
            if keyed:
                key, child = item
                parts.append(encode(key) + ":")
            else:
                child = item
            if isinstance(child, dict):
                parts.append("{")
                pairs = sorted(child.items(), key=_first) if encoder.sort_keys else child.items()
                pending.append((iter(pairs), True))
            elif isinstance(child, list):
                parts.append("[")
                pending.append((iter(child), False))
            else:
                parts.append(encode(child))
                continue
            first = True
            break
        else:
            pending.pop()
            first = False
            if pending:
                parts.append("}" if keyed else "]")
    return "".join(parts)


def _skip(text: str, index: int) -> int:
    match = _SPACE.match(text, index)
    return index if match is None else match.end()


def _closing(container: dict[str, Any] | list[Any]) -> str:
    return "}" if isinstance(container, dict) else "]"


def _key(text: str, index: int, decoder: JSONDecoder) -> tuple[str, int]:
    if text[index : index + 1] != '"':
        raise JSONDecodeError("Expecting property name enclosed in double quotes", text, index)
    key, index = decoder.raw_decode(text, index)
    index = _skip(text, index)
    if text[index : index + 1] != ":":
        raise JSONDecodeError("Expecting ':' delimiter", text, index)
    return str(key), _skip(text, index + 1)


def _first(pair: tuple[str, Any]) -> str:
    return pair[0]
