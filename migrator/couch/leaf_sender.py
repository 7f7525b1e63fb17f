"""Sends leaves as they are: many in one `_bulk_docs`, one with large attachments as a stream of its own."""

from __future__ import annotations

import base64
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import IO, Any, TypeAlias

import orjson

from migrator.codec.values import PIECE_BYTES, base64_pieces
from migrator.couch.client import CouchClient
from migrator.couch.endpoint import has_path, id_path
from migrator.couch.responses import bulk_rows, refuse_bulk
from migrator.errors import TransientError
from migrator.files.failures import put_on_disk
from migrator.model.revisions import Attachment, Leaf

# What is put on disk stays in memory while it is smaller.
_MEMORY_BYTES = 1 << 20


def stream_leaf(client: CouchClient, database: str, leaf: Leaf, *, multipart: bool) -> list[dict[str, Any]]:
    """Write one leaf whose attachments are never held; a row says that it was not written.

    Args:
        client: the server.
        database: its name.
        leaf: the leaf.
        multipart: the server takes attachments after the document; else they go inline, streamed too.

    Raises:
        BatchRefused: the server refuses it.
        TransientError: no usable answer.
        UnreadableLeaf: an attachment cannot be read.
    """
    what = f"Writing {leaf.id!r:.100} ({leaf.rev}) to {database}"
    client.pace.write(1)
    with ExitStack() as opened:
        attachments = [on_disk(each, opened) if each.length_bytes is None else each for each in leaf.attachments]
        boundary = uuid.uuid4().hex if multipart and has_path(leaf.id) else ""
        parts = list(_multipart(leaf, attachments, boundary) if boundary else _json(leaf, attachments))
        headers = {"Content-Length": str(sum(length for length, _ in parts))}
        body = chain.from_iterable(pieces for _, pieces in parts)
        if boundary:
            headers["Content-Type"] = f'multipart/related; boundary="{boundary}"'
            path, params = id_path(leaf.id), {"new_edits": "false"}
            answer = client.call("PUT", database, *path, params=params, body=body, headers=headers)
        else:
            answer = client.call("POST", database, "_bulk_docs", body=body, headers=headers)
            rows = bulk_rows(answer, what)
            if rows is not None:
                return rows
    if answer.status not in {200, 201, 202}:
        error, reason = answer.error()
        if (answer.status, error) == (403, "forbidden"):
            return [{"id": leaf.id, "rev": leaf.rev, "error": error, "reason": reason}]
        refuse_bulk(answer, what, client.url)
    return []


def on_disk(attachment: Attachment, stack: ExitStack) -> Attachment:
    """The same attachment with its length, which can be opened without its source until the stack is left.

    Raises:
        UnreadableLeaf: it cannot be read.
        TransientError: the source gives it no more.
    """
    file: IO[bytes] = stack.enter_context(tempfile.SpooledTemporaryFile(_MEMORY_BYTES))  # noqa: SIM115 it is entered
    put_on_disk(attachment.open(), file)
    return replace(attachment, open=partial(_read, file), length_bytes=file.tell())


def _read(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(PIECE_BYTES):
        yield piece


def _exactly(attachment: Attachment) -> Iterator[bytes]:
    """The bytes, exactly as many as were announced."""
    left = attachment.length_bytes or 0
    for piece in attachment.open():
        left -= len(piece)
        if left < 0:
            break
        yield piece
    if left:
        raise TransientError(
            f"Attachment {attachment.name!r:.100} is not as long as it was said to be.", signature="wrong length"
        )


_Part: TypeAlias = tuple[int, Iterable[bytes]]
"""Some of a request's body: its length, which is sent before the first byte, and its pieces."""


def _text(text: bytes) -> _Part:
    return len(text), [text]


def _multipart(leaf: Leaf, attachments: Sequence[Attachment], boundary: str) -> Iterator[_Part]:
    stubs = {
        attachment.name: {**_described(attachment), "follows": True, "length": attachment.length_bytes}
        for attachment in attachments
    }
    line = b"\r\n--" + boundary.encode()
    document = _with_attachments(leaf.body, orjson.dumps(stubs))
    yield _text(line[2:] + b"\r\nContent-Type: application/json\r\n\r\n" + document)
    for attachment in attachments:
        # They come in the order in which the document names them.
        yield _text(line + b"\r\n\r\n")
        yield attachment.length_bytes or 0, _exactly(attachment)
    yield _text(line + b"--")


def _json(leaf: Leaf, attachments: Sequence[Attachment]) -> Iterator[_Part]:
    yield _text(b'{"new_edits":false,"docs":[' + leaf.body[:-1] + b',"_attachments":{')
    for number, attachment in enumerate(attachments):
        described = orjson.dumps(_described(attachment))
        name = orjson.dumps(attachment.name)
        yield _text((b"," if number else b"") + name + b":" + described[:-1] + b',"data":"')
        yield ((attachment.length_bytes or 0) + 2) // 3 * 4, base64_pieces(_exactly(attachment))
        yield _text(b'"}')
    yield _text(b"}}]}")


def with_inline_attachments(leaf: Leaf) -> bytes:
    """The text of a leaf with its attachments in it, which are small."""
    if not leaf.attachments:
        return leaf.body
    attachments = {
        attachment.name: {
            **_described(attachment),
            "data": base64.b64encode(b"".join(attachment.open())).decode(),
        }
        for attachment in leaf.attachments
    }
    return _with_attachments(leaf.body, orjson.dumps(attachments))


def _described(attachment: Attachment) -> dict[str, Any]:
    described: dict[str, Any] = {"content_type": attachment.content_type}
    if attachment.revpos:
        described["revpos"] = attachment.revpos
    return described


def _with_attachments(body: bytes, attachments: bytes) -> bytes:
    return body[:-1] + b',"_attachments":' + attachments + b"}"
