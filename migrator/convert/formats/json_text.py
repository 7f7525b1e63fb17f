"""Cuts a document's JSON text at its top level, so that what is carried stays as it was spelled."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from migrator.codec import InvalidDocument, one_line, top_level
from migrator.convert.formats.inline import inline_attachments
from migrator.couch.raw_json import members
from migrator.couch.revision import first_revision
from migrator.revisions import Leaf, LeafFault

_REVISION = re.compile(r"([1-9][0-9]*)-(.+)", re.ASCII | re.DOTALL)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")

HEAD = ("_id", "_rev", "_revisions", "_deleted")
# CouchDB's own notes of one copy, which it computes again and never stores.
NOTES = frozenset({"_conflicts", "_deleted_conflicts", "_local_seq", "_revs_info"})


def leaf_of(text: bytes, place: str, *, compute_rev: bool = False) -> Leaf | LeafFault:
    """Make a leaf of a document as another tool wrote it, or say why it is none.

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


def without(body: bytes, keys: Collection[str]) -> bytes:
    """The same document without some of its members."""
    return b"{" + b",".join([member.text for member in members(body) if member.key not in keys]) + b"}"


def ascii_only(text: bytes) -> bytes:
    r"""The same JSON with everything that is no ASCII escaped, which can only stand in strings.

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
                "the document has no _rev, so it can be no exact copy; load it as new with migrator run"
                if rev is None
                else f"_rev is {json.dumps(rev)[:80]}, which is no revision",
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
        raise InvalidDocument("invalid_revisions", "_revisions is no list of revisions with its start")
    newest = f"{start}-{ids[0]}"
    if rev not in (None, newest):
        raise InvalidDocument(
            "invalid_revisions", f"_rev is {json.dumps(rev)[:80]}, but _revisions begins with {newest[:80]}"
        )
    return newest, json.dumps({"start": start, "ids": ids}, separators=(",", ":")).encode()
