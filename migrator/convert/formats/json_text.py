"""A document's JSON text: cut so that all stays as it was spelled, and attachments that stand inline in it."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from migrator.codec import InvalidDocument, one_line, top_level
from migrator.codec.reading import members
from migrator.codec.values import base64_pieces
from migrator.couch.documents import DEFAULT_CONTENT_TYPE
from migrator.couch.revision import first_revision
from migrator.model.revisions import Attachment, Leaf, LeafFault

# Divided by four, so that no piece of base64 ends in the middle of a group.
_BASE64_CHARS = 4 << 16
_REVISION = re.compile(r"([1-9][0-9]*)-(.+)", re.ASCII | re.DOTALL)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
HEAD = ("_id", "_rev", "_revisions", "_deleted")
# CouchDB's own notes of one copy, which it computes again and never stores.
NOTES = frozenset({"_conflicts", "_deleted_conflicts", "_local_seq", "_revs_info"})


def inline_attachments(attachments: Any) -> tuple[Attachment, ...]:
    """The attachments of a document's `_attachments`, whose data is checked to be base64.

    Raises:
        InvalidDocument: one is not there with its data, or is damaged.
    """
    if attachments is None:
        return ()
    if not isinstance(attachments, Mapping):
        raise InvalidDocument("invalid_attachments", "_attachments is not an object")
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
        raise InvalidDocument("invalid_attachments", f"the attachment {name!r:.80} is not an object")
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
            "attachment_damaged", f"the data of the attachment {name!r:.80} is not base64"
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


def leaf_of(text: bytes, place: str, *, compute_rev: bool = False) -> Leaf | LeafFault:
    """Make a leaf of a document as another tool wrote it, or say why that cannot be.

    Where there is no `_revisions`, the revision itself is all of the ancestry that is known.

    Args:
        text: the document's JSON, attachments inline.
        place: file and line, for people.
        compute_rev: give a document without `_rev` the revision that CouchDB would give it when it is new.
    """
    id = rev = ""
    try:
        document = top_level(text)
        id = _id_of(document)
        rev, revisions = _revision_of(document, text, compute_rev=compute_rev)
        attachments = inline_attachments(document.get("_attachments"))
    except InvalidDocument as invalid:
        return LeafFault(id, rev, invalid.error, f"{place}: {invalid.reason}.")
    deleted = document.get("_deleted") is True
    parts = {member.key: member.text for member in members(text)}
    head = [parts["_id"], f'"_rev":{json.dumps(rev)}'.encode(), b'"_revisions":' + revisions]
    if deleted:
        head.append(b'"_deleted":true')
    rest = [part for key, part in parts.items() if key not in HEAD and key not in NOTES and key != "_attachments"]
    body = one_line(b"{" + b",".join([*head, *rest]) + b"}")
    return Leaf(id, rev, body, deleted, attachments)


def ascii_only(text: bytes) -> bytes:
    r"""The same JSON with everything that is not ASCII escaped, which can only stand in strings.

    >>> ascii_only('{"é":"😀"}'.encode())
    b'{"\\u00e9":"\\ud83d\\ude00"}'
    """
    return text if text.isascii() else _NOT_ASCII.sub(_escaped, text.decode()).encode()


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def _id_of(document: dict[str, Any]) -> str:
    id = document.get("_id")
    if not isinstance(document.get("_deleted", False), bool):
        raise InvalidDocument("invalid_document", "_deleted is neither true nor false")
    if isinstance(id, str) and id:
        return id
    raise InvalidDocument(
        "missing_id" if id is None else "invalid_id",
        "the document has no _id" if id is None else f"_id is {json.dumps(id)[:80]}, expected a text",
    )


def _revision_of(document: dict[str, Any], text: bytes, *, compute_rev: bool) -> tuple[str, bytes]:
    """The revision, and the text of `_revisions`."""
    rev = document.get("_rev")
    revisions = document.get("_revisions")
    if revisions is None:
        if rev is None and compute_rev:
            rev = first_revision(text)
        match = _REVISION.fullmatch(rev) if isinstance(rev, str) else None
        if match is None or not isinstance(rev, str):
            raise InvalidDocument(
                "no_revision",
                "the document has no _rev, so it cannot be an exact copy; load it as new with migrator run"
                if rev is None
                else f"_rev is {json.dumps(rev)[:80]}, which is not a revision",
            )
        return rev, f'{{"start":{match[1]},"ids":[{json.dumps(match[2])}]}}'.encode()
    start, ids = (revisions.get("start"), revisions.get("ids")) if isinstance(revisions, dict) else (None, None)
    if (
        not isinstance(start, int)
        or not isinstance(ids, list)
        or not ids
        or not all(isinstance(id, str) and id for id in ids)
        or not len(ids) <= start
    ):
        raise InvalidDocument("invalid_revisions", "_revisions is not a list of revisions with its start")
    newest = f"{start}-{ids[0]}"
    if rev not in (None, newest):
        raise InvalidDocument(
            "invalid_revisions", f"_rev is {json.dumps(rev)[:80]}, but _revisions begins with {newest[:80]}"
        )
    return newest, json.dumps({"start": start, "ids": ids}, separators=(",", ":")).encode()
