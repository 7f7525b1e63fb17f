"""Attachments that stand inside of a document's JSON as base64: out of it and into it, piece by piece."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from migrator.codec import InvalidDocument
from migrator.codec.pieces import base64_pieces
from migrator.couch.documents import DEFAULT_CONTENT_TYPE
from migrator.revisions import Attachment

# Divided by four, so that no piece of base64 ends in the middle of a group.
_BASE64_CHARS = 4 << 16


def inline_attachments(attachments: Any) -> tuple[Attachment, ...]:
    """The attachments of a document's `_attachments`, whose data is checked to be base64.

    Raises:
        InvalidDocument: one is not there with its data, or is damaged.
    """
    if attachments is None:
        return ()
    if not isinstance(attachments, Mapping):
        raise InvalidDocument("invalid_attachments", "_attachments is no object")
    return tuple(_attachment(name, fields) for name, fields in attachments.items())


def document_pieces(
    body: bytes, attachments: Sequence[Attachment], *, type_key: str = "content_type"
) -> Iterator[bytes]:
    """The text of a document with its attachments inline, in ASCII, without ever holding the data of one.

    Args:
        body: the document without them.
        attachments: them.
        type_key: how the content type is called.
    """
    if not attachments:
        yield body
        return
    before = body[:-1] + b',"_attachments":{'
    for attachment in attachments:
        fields: dict[str, Any] = {type_key: attachment.content_type}
        if attachment.revpos:
            fields["revpos"] = attachment.revpos
        if attachment.digest:
            fields["digest"] = attachment.digest
        head = json.dumps(fields, separators=(",", ":"))[:-1]
        yield before + f'{json.dumps(attachment.name)}:{head},"data":"'.encode()
        yield from base64_pieces(attachment.open())
        before = b'"},'
    yield b'"}}}'


def _attachment(name: str, fields: Any) -> Attachment:
    if not isinstance(fields, Mapping):
        raise InvalidDocument("invalid_attachments", f"the attachment {name!r:.80} is no object")
    data = fields.get("data")
    if not isinstance(data, str):
        raise InvalidDocument(
            "attachment_missing",
            f"the attachment {name!r:.80} is there only by name; dump with attachments=true (couchbackup: "
            "--attachments)",
        )
    if any(space in data for space in "\r\n\t "):
        data = "".join(data.split())
    try:
        length = sum(map(len, _decoded(data)))
    except (binascii.Error, ValueError):
        raise InvalidDocument(
            "attachment_damaged", f"the data of the attachment {name!r:.80} is no base64"
        ) from None
    if fields.get("length", length) != length:
        raise InvalidDocument(
            "attachment_damaged",
            f"the attachment {name!r:.80} has {length} bytes, not {fields['length']!r:.40} as it says",
        )
    # couchbackup writes what its client library made of the fields' names.
    content_type = fields.get("content_type", fields.get("contentType", fields.get("content-type")))
    digest, revpos = fields.get("digest"), fields.get("revpos")
    return Attachment(
        name,
        content_type if isinstance(content_type, str) else DEFAULT_CONTENT_TYPE,
        partial(_decoded, data),
        length,
        digest if isinstance(digest, str) else "",
        revpos if isinstance(revpos, int) else 0,
    )


def _decoded(data: str) -> Iterator[bytes]:
    padding = data.find("=")
    if len(data) % 4 or 0 <= padding < len(data) - 2:
        raise ValueError("no whole groups of base64")
    for begin in range(0, len(data), _BASE64_CHARS):
        yield base64.b64decode(data[begin : begin + _BASE64_CHARS], validate=True)
