"""CouchDB's revisions, computed from content: MD5 over the Erlang terms that the server makes of a JSON text.

The server hashes `[Deleted, OldStart, OldRev, Body, Attachments]` in Erlang's external term format, so a client
that encodes the same terms knows the revision without asking.
"""

from __future__ import annotations

import binascii
import hashlib
import json
import math
import re
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sized
from itertools import repeat
from typing import Any, NoReturn

import orjson

from migrator.codec import BOOKKEEPING, deep
from migrator.model import EncodedDocument

compiled_terms: Callable[[bytes, bytes, bytes], tuple[str | None, bytes] | None] | None
try:
    # Where a C compiler was there at the installation: ten times as fast as `terms`, which is the reference.
    from migrator.couch._terms import read as compiled_terms
except ImportError:
    compiled_terms = None

APACHE = "The Apache Software Foundation"

# Special fields that the server keeps in the body, and so in the hash.
BODY_FIELDS = frozenset(
    {"_access", "_replication_id", "_replication_state", "_replication_state_reason", "_replication_state_time"}
    | {"_replication_stats"}
)
# The first integer of which the server cannot take log10, as its nearest float would be infinite.
MAX_INTEGER = 2**1024 - 2**970
# At and below it, the JSON codec of CouchDB 3.0 to 3.5.1 rounds otherwise than that of 3.5.2.
SMALLEST_CERTAIN_FLOAT = sys.float_info.min
# A number of this many characters, with an exponent and no fraction, is multiplied out, and rounded twice.
LONG_NUMBER = 32

MAX_KEPT_KEYS = 4096
MAX_KEPT_KEY_BYTES = 64

_NIL = b"j"
# A list of five members, the last of which, the attachments, is empty; then the list ends.
_TERM = b"\x83l\x00\x00\x00\x05"
_NO_ATTACHMENTS = _NIL + _NIL
_OBJECT = b"h\x01"
_CONSTANTS = {None: b"d\x00\x04null", True: b"d\x00\x04true", False: b"d\x00\x05false"}
_SMALL_INTEGERS = tuple(bytes((97, value)) for value in range(256))
_SHORT_STRINGS = tuple(b"m" + size.to_bytes(4, "big") for size in range(1024))
_pack_integer = struct.Struct(">ci").pack
_pack_float = struct.Struct(">cd").pack
_REVISION = re.compile(r"([1-9][0-9]*)-(.+)", re.ASCII | re.DOTALL)
_LIVE = _TERM + _CONSTANTS[False]
_NO_PARENT = _SMALL_INTEGERS[0] * 2
_LEGAL_ID = re.compile(r"[^_]|_design/.", re.DOTALL)


class _Uncertain(ValueError):
    """The server refuses the text, or what it makes of it depends on its version."""


class _KeyTerms(dict[str | None, bytes]):
    """The opening of a `{Key, Value}` pair by key; those of short keys are kept, as documents share them."""

    def __missing__(self, key: str) -> bytes:
        data = key.encode()
        term = b"h\x02" + _string_head(data) + data
        if len(data) <= MAX_KEPT_KEY_BYTES and len(self) < MAX_KEPT_KEYS:
            self[key] = term
        return term


# A list's items go through the same loop as an object's, under no key.
_KEY_TERMS = _KeyTerms({None: b""})


def rule_holds(welcome: Mapping[str, Any]) -> bool:
    """Say from a server's answer to `GET /` whether it gives revisions by this rule; others have their own."""
    vendor = welcome.get("vendor")
    name = vendor.get("name") if isinstance(vendor, Mapping) else None
    return name == APACHE and str(welcome.get("version")).startswith("3.")


def first_revision(body: bytes | str) -> str | None:
    """Compute the revision that CouchDB 3.x gives to a document under an id that never existed.

    Holds in all databases but `_users` and `_replicator`, which change documents on writing.

    Args:
        body: the JSON text of one document, with or without `_id`; bookkeeping fields like `_rev` do not count.

    Returns:
        `1-` and 32 digits, or None where the rule does not hold or is not certain: attachments, `_local`
        documents, floats below 2.3e-308, and texts that the server refuses.
    """
    return _revision(body, 0, _SMALL_INTEGERS[0])


def revision_after(body: bytes | str, parent: str) -> str | None:
    """Compute the revision that CouchDB 3.x gives to a document written over the revision `parent`.

    The parent may be a tombstone; then it is the parent too of a document that is written without `_rev`.

    Returns:
        None as for `first_revision`, and when `parent` is not a revision.
    """
    match = _REVISION.fullmatch(parent)
    if match is None:
        return None
    digest = match[2].encode()
    try:
        start = int(match[1])
        digest = binascii.unhexlify(digest) if len(digest) == 32 else digest
    except ValueError:
        return None
    return _revision(body, start, _string_head(digest) + digest)


def recognized(text: bytes) -> EncodedDocument | None:
    """A document that goes as it is, with its first revision: valid, without special fields but for a legal `_id`.

    Args:
        text: what may be one, without a line break.

    Returns:
        None where it is something else, or nobody has looked: without the compiled part, all have to be parsed.
    """
    found = compiled_terms(text, _LIVE + _NO_PARENT, _NO_ATTACHMENTS) if compiled_terms else None
    return EncodedDocument(found[0], text, f"1-{_digest(found[1])}") if found and found[0] else None


def _revision(body: bytes | str, start: int, parent: bytes) -> str | None:
    """The revision after a parent, whose number is `start` and whose term is `parent`."""
    try:
        text = body.encode() if isinstance(body, str) else body
        after = _integer(start) + parent
        # It knows plain documents alone, and no tombstones.
        _, term = (compiled_terms and compiled_terms(text, _LIVE + after, _NO_ATTACHMENTS)) or (None, b"")
        if not term:
            document = _decode(text)
            head = _TERM + _CONSTANTS[_take_special_fields(document)]
            term = head + after + terms(document) + _NO_ATTACHMENTS
    except ValueError:  # also invalid UTF-8, invalid JSON, lone surrogates, integers of too many digits
        return None
    return f"{start + 1}-{_digest(term)}"


def _digest(term: bytes) -> str:
    return hashlib.md5(term, usedforsecurity=False).hexdigest()


def _take_special_fields(document: dict[str, Any]) -> bool:
    """Remove from `document` what does not enter the body; True when it is a tombstone.

    Bookkeeping goes as on a plain import: a stray `_rev` would be taken for a parent, the rest is ignored.
    """
    deleted = False
    for key in [key for key in document if key[:1] == "_"]:
        if key in BODY_FIELDS:
            continue
        value = document.pop(key)
        if key == "_deleted" and isinstance(value, bool):
            deleted = value
        elif key == "_id":
            if not isinstance(value, str) or not _LEGAL_ID.match(value):
                raise _Uncertain
        elif key not in BOOKKEEPING and not (key == "_attachments" and value == {}):
            raise _Uncertain
    return deleted


def terms(document: dict[str, Any]) -> bytes:
    """The external term format of `{[{Key, Value}, ...]}`, at any depth.

    Args:
        document: values as a JSON parser makes them.

    Raises:
        ValueError: it is not certain what the server makes of it.
    """
    pieces = [_OBJECT]
    append = pieces.append
    outer: list[Iterator[tuple[str | None, Any]]] = []
    items: Iterator[tuple[str | None, Any]] = iter(document.items())
    if document:
        append(_list_head(document))
    while True:
        for key, value in items:
            append(_KEY_TERMS[key])
            kind = type(value)
            if kind is str:
                data = value.encode()
                size = len(data)
                append(_SHORT_STRINGS[size] if size < 1024 else _string_head(data))
                append(data)
            elif kind is int:
                append(_SMALL_INTEGERS[value] if 0 <= value < 256 else _integer(value))
            elif kind is float:
                if -SMALLEST_CERTAIN_FLOAT <= value <= SMALLEST_CERTAIN_FLOAT and value:
                    raise _Uncertain
                append(_pack_float(b"F", value))
            elif kind is dict:
                append(_OBJECT)
                if value:
                    append(_list_head(value))
                    outer.append(items)
                    items = iter(value.items())
                    break
                append(_NIL)
            elif kind is list:
                if not value:
                    append(_NIL)
                elif type(value[0]) is int and _is_string_term(value):
                    append(b"k" + len(value).to_bytes(2, "big") + bytes(value))
                else:
                    append(_list_head(value))
                    outer.append(items)
                    items = zip(repeat(None), value)
                    break
            else:
                append(_CONSTANTS[value])
        else:
            append(_NIL)
            if not outer:
                return b"".join(pieces)
            items = outer.pop()


def _string_head(data: bytes) -> bytes:
    return b"m" + len(data).to_bytes(4, "big")


def _list_head(values: Sized) -> bytes:
    return b"l" + len(values).to_bytes(4, "big")


def _is_string_term(values: list[Any]) -> bool:
    # So Erlang writes a list of at most 65,535 bytes.
    return len(values) < 65536 and all(type(value) is int and 0 <= value < 256 for value in values)


def _integer(value: int) -> bytes:
    if 0 <= value < 256:
        return _SMALL_INTEGERS[value]
    if -(2**31) <= value < 2**31:
        return _pack_integer(b"b", value)
    if abs(value) >= MAX_INTEGER:
        raise _Uncertain
    size = (value.bit_length() + 7) // 8
    return b"n" + bytes((size, value < 0)) + abs(value).to_bytes(size, "little")


def _decode(text: bytes) -> dict[str, Any]:
    """Read a JSON object as the server does: of equal keys the last counts, in the last one's place.

    Raises:
        ValueError: the text is not a JSON object, or holds a number that is not certain.
    """
    try:
        document: Any = orjson.loads(text)
        # What is written back byte for byte has no repeated key and no number that orjson rounds.
        if orjson.dumps(document) != text:
            document = deep.read(text.decode(), _DECODER)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):  # refuses more than the server, and depth
        document = deep.read(text.decode(), _DECODER)
    if not isinstance(document, dict):
        raise _Uncertain
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        members = {}
        for key, value in pairs:
            members.pop(key, None)
            members[key] = value
    return members


def _float(text: str) -> float:
    value = float(text)
    rounds_to_zero = not value and text.lower().partition("e")[0].strip("-0.")
    if rounds_to_zero or math.isinf(value) or (len(text) >= LONG_NUMBER and "." not in text):
        raise _Uncertain
    return value


def _refuse(constant: str) -> NoReturn:
    raise _Uncertain(constant)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_refuse)
