"""Our own JSON files: texts that carry their own checksum, and dataclasses made of what was read of them."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")

CHECKSUM = "checksum"
_HEAD = re.compile(rb'\{\n "checksum": "([0-9a-f]{64})",')


class Damaged(ValueError):
    """The text is not what was written; the message says how that is known."""


def seal(value: Mapping[str, Any]) -> bytes:
    """The text of an object, with the checksum of all that follows as its first key.

    So no changed byte is taken for a word of it.
    """
    # Names from outside can hold what is not Unicode text; escaped, they can be written and read back.
    body = json.dumps(value, indent=1).encode()[1:]
    return b'{\n "checksum": "' + _checksum(body).encode() + b'",' + body + b"\n"


def unseal(text: bytes) -> tuple[dict[str, Any], bool]:
    """Read such a text.

    Returns:
        The object, and whether it carried a checksum. A text of a version before carries none; whoever reads one
        must see to it that it has no key that only younger ones have.

    Raises:
        Damaged: it was changed, or is not a JSON object.
    """
    head = _HEAD.match(text)
    if head is not None and (not text.endswith(b"}\n") or _checksum(text[head.end() : -1]) != head[1].decode()):
        raise Damaged("its content does not match its checksum")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise Damaged("it is not complete JSON") from None
    if not isinstance(value, dict):
        raise Damaged("it is not a JSON object")
    if head is None and CHECKSUM in value:
        raise Damaged("its checksum is not as it was written")
    value.pop(CHECKSUM, None)
    return value, head is not None


def _checksum(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def from_json(kind: type[T], value: Any, *, defaults: bool = False) -> T:
    """The inverse of `dataclasses.asdict` after JSON; what only a later version knows is left out.

    Args:
        kind: a dataclass, whose fields are JSON's own types, dataclasses, sequences, mappings and unions of them.
        value: what was read.
        defaults: take the default of a field that is absent; else only of one whose metadata says `later`.

    Raises:
        TypeError: something is of another type, or absent.
    """
    if not isinstance(value, dict):
        raise TypeError(kind.__name__)
    hints = _hints(kind)  # type: ignore[arg-type]  # a class can be hashed
    if not defaults and (absent := _always_written(kind) - value.keys()):  # type: ignore[arg-type]
        raise TypeError(f"{kind.__name__} without {sorted(absent)}")
    return kind(**{name: _made(hint, value[name], defaults) for name, hint in hints.items() if name in value})


def _made(hint: Any, value: Any, defaults: bool) -> Any:
    kind, parts = get_origin(hint), get_args(hint)
    if kind is UnionType:
        for part in parts:
            with contextlib.suppress(TypeError):
                return _made(part, value, defaults)
    elif kind in {tuple, list} and isinstance(value, list):
        return kind(_made(parts[0], item, defaults) for item in value)
    elif kind in {dict, Mapping} and isinstance(value, dict):
        return {key: _made(parts[1], item, defaults) for key, item in value.items()}
    elif dataclasses.is_dataclass(hint):
        return from_json(hint, value, defaults=defaults)  # type: ignore[arg-type]
    elif hint is Any or (hint is float and type(value) is int) or type(value) is hint:
        return value
    raise TypeError(f"{value!r} for {hint}")


@cache
def _always_written(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind) if not field.metadata.get("later")}


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
