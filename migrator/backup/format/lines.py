"""The lines of a segment and of its index; docs/backup-format.md describes them for other readers.

A leaf's line comes after the lines with the pieces of its attachments. So what broke off in the middle has no
leaf's line and is nothing, and a leaf's line says all that is known of its attachments.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import orjson

from migrator.errors import MigratorError
from migrator.model.revisions import Leaf, LeafFault

PIECE = b'{"piece":'
# No string of JSON has a bare quotation mark in it, so this is a member of the line and the last one.
_BODY = b',"body":'

Head: TypeAlias = Mapping[str, Any]
"""A leaf's line without its body."""


class Offset(NamedTuple):
    """Where a line stands: number of the segment, offset of the zstd frame in it, number of the line in that."""

    segment: int
    frame: int
    line: int


class StoredAttachment(NamedTuple):
    """An attachment as leaf and index have it. `snapshot` is "" where its pieces are in the line's own."""

    name: str
    content_type: str
    length: int
    sha256: str
    digest: str
    revpos: int
    at: Offset
    snapshot: str = ""


def leaf_line(leaf: Leaf, attachments: Sequence[StoredAttachment]) -> bytes:
    """The line of a leaf, without a line break."""
    if not attachments and not leaf.deleted:
        return b'{"id":%b,"rev":%b,"body":%b}' % (_text(leaf.id), _text(leaf.rev), leaf.body)
    return b"%b%b%b}" % (_head(leaf.id, leaf.rev, attachments, deleted=leaf.deleted), _BODY, leaf.body)


def index_line(id: str, rev: str, attachments: Sequence[StoredAttachment]) -> bytes:
    """The line of a leaf's index entry."""
    if not attachments:
        return b'{"id":%b,"rev":%b}' % (_text(id), _text(rev))
    return _head(id, rev, attachments) + b"}"


def fault_line(fault: LeafFault) -> bytes:
    """The line of a leaf that could not be read, in a segment and in its index alike."""
    value = {"id": fault.id, "rev": fault.rev, "fault": {"error": fault.error, "reason": fault.reason}}
    return _dumps(value, fault.id)


def piece_line(name: str, at: int, data: bytes | memoryview) -> bytes:
    """The line of a piece of an attachment's bytes, which begins at `at`."""
    return b'%b%b,"at":%d,"data":"%b"}' % (PIECE, _text(name), at, binascii.b2a_base64(data, newline=False))


def divide(line: bytes) -> tuple[Head, bytes]:
    """The head and the body of a line; the body is empty where it has none.

    Raises:
        ValueError: it is not such a line.
    """
    head, mark, rest = line.partition(_BODY)
    if not mark:
        return orjson.loads(line), b""
    if not rest.endswith(b"}"):
        raise ValueError("cut off")
    return orjson.loads(head + b"}"), rest[:-1]


def piece(line: bytes) -> tuple[str, int, bytes]:
    """Name, place and bytes of a piece's line.

    Raises:
        ValueError: it is not such a line.
    """
    value = orjson.loads(line)
    try:
        return value["piece"], value["at"], base64.b64decode(value["data"], validate=True)
    except (KeyError, TypeError) as error:
        raise ValueError(str(error)) from None


def stored_attachments(head: Head) -> list[StoredAttachment]:
    """The attachments of a line."""
    return [
        StoredAttachment(
            each["name"],
            each["content_type"],
            each["length"],
            each["sha256"],
            each.get("digest", ""),
            each.get("revpos", 0),
            Offset(*each["at"]),
            each.get("snapshot", ""),
        )
        for each in head.get("attachments", ())
    ]


def _head(id: str, rev: str, attachments: Sequence[StoredAttachment], *, deleted: bool = False) -> bytes:
    value: dict[str, Any] = {"id": id, "rev": rev}
    if deleted:
        value["deleted"] = True
    if attachments:
        value["attachments"] = [_attachment(each) for each in attachments]
    return _dumps(value, id)[:-1]


def _attachment(stored: StoredAttachment) -> dict[str, Any]:
    value = {**stored._asdict(), "at": list(stored.at)}
    if not stored.snapshot:
        del value["snapshot"]
    return value


def _text(text: str) -> bytes:
    return _dumps(text, text)


def _dumps(value: Any, named: str) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        raise MigratorError(
            f"{named!a} holds half a surrogate pair, which no server takes.", hint="Rename it at the source."
        ) from None
