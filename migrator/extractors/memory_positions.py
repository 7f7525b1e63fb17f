"""Positions in a Python object, each with a digest of what was read up to it, the same in every process."""

from __future__ import annotations

import contextlib
import marshal
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from migrator.codec import TAGGED, encode
from migrator.extractors.base import foreign_position
from migrator.model import Position

# Without references between equal objects, which differ from process to process.
_FORMAT = 2


def chained(digest: str, key: str, document: Any) -> str:
    """The digest of what was digested before and one document more.

    Args:
        digest: of the documents before; "" for the first.
        key: the document's key, which need not be in it.
        document: of any kind; one that has no form of its own counts by its type alone.
    """
    text = f"{digest}{len(key)}:{key}".encode("utf-8", "surrogatepass")
    return blake2b(text + _content(document), digest_size=12).hexdigest()


def _content(document: Any) -> bytes:
    try:
        # Quicker than JSON, and no other thread changes the document meanwhile.
        return marshal.dumps(document, _FORMAT)
    except ValueError:
        pass
    try:
        return encode(dict(document) if isinstance(document, Mapping) else {"": document}, TAGGED)
    except Exception:  # noqa: BLE001 what shows its own content runs code of its own
        return type(document).__qualname__.encode()


def key_position(key: str, digest: str) -> str:
    """The position after a key, with the digest of all that was read up to it."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return f"readhex:{digest}:{key.encode('utf-8', 'surrogatepass').hex()}"
    return f"read:{digest}:{key}"


def parsed_position(position: Position) -> tuple[str, str, str]:
    """What a position is of, `key` or `item`, its key or number, and the digest of what was read; "" for none."""
    kind, _, value = str(position).partition(":")
    digest = ""
    if kind in {"read", "readhex"}:
        digest, _, value = value.partition(":")
        kind = "key" if kind == "read" else "hex"
    if kind == "key":
        return kind, value, digest
    if kind == "item":
        value, _, digest = value.partition(":")
        if value.isdecimal():
            return kind, value, digest
    if kind == "hex":
        with contextlib.suppress(ValueError):
            return "key", bytes.fromhex(value).decode("utf-8", "surrogatepass"), digest
    raise foreign_position(position, "none of a Python object's")
