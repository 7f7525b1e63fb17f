"""A JSON object as a text that carries its own checksum, so that no changed byte is taken for a word of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

CHECKSUM = "checksum"
_HEAD = re.compile(rb'\{\n "checksum": "([0-9a-f]{64})",')


class Damaged(ValueError):
    """The text is not what was written; the message says how that is known."""


def seal(value: Mapping[str, Any]) -> bytes:
    """The text of an object, with the checksum of all that follows as its first key."""
    # Names from outside can hold what is no Unicode text; escaped, they can be written and read back.
    body = json.dumps(value, indent=1).encode()[1:]
    return b'{\n "checksum": "' + _checksum(body).encode() + b'",' + body + b"\n"


def unseal(text: bytes) -> tuple[dict[str, Any], bool]:
    """Read such a text.

    Returns:
        The object, and whether it carried a checksum. A text of a version before carries none; whoever reads one
        must see to it that it has no key that only younger ones have.

    Raises:
        Damaged: it was changed, or is no JSON object.
    """
    head = _HEAD.match(text)
    if head is not None and (not text.endswith(b"}\n") or _checksum(text[head.end() : -1]) != head[1].decode()):
        raise Damaged("its content does not match its checksum")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise Damaged("it is no whole JSON") from None
    if not isinstance(value, dict):
        raise Damaged("it is no JSON object")
    if head is None and CHECKSUM in value:
        raise Damaged("its checksum is not as it was written")
    value.pop(CHECKSUM, None)
    return value, head is not None


def _checksum(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
