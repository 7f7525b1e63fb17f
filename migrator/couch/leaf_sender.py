"""Sends leaves as they are: many in one `_bulk_docs`, one with large attachments as a stream of its own."""

from __future__ import annotations

import base64
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
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
    with ExitStack() as opened:
        # The length has to be told before the first byte.
        sources = [_Source(attachment, opened) for attachment in leaf.attachments]
        if multipart and has_path(leaf.id):
            boundary = uuid.uuid4().hex
            parts = _multipart(leaf, sources, boundary)
            headers = {
                "Content-Type": f'multipart/related; boundary="{boundary}"',
                "Content-Length": _length(parts),
            }
            path, params = id_path(leaf.id), {"new_edits": "false"}
            answer = client.call("PUT", database, *path, params=params, body=_pieces(parts), headers=headers)
        else:
            parts = _json(leaf, sources)
            headers = {"Content-Length": _length(parts)}
            answer = client.call("POST", database, "_bulk_docs", body=_pieces(parts), headers=headers)
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


class _Source:
    """An attachment whose length is known: by its own word, or by having been put on disk."""

    def __init__(self, attachment: Attachment, opened: ExitStack) -> None:
        self.attachment = on_disk(attachment, opened) if attachment.length_bytes is None else attachment
        self.length = self.attachment.length_bytes or 0

    def pieces(self) -> Iterator[bytes]:
        """The bytes, exactly as many as were told."""
        left = self.length
        for piece in self.attachment.open():
            left -= len(piece)
            if left < 0:
                break
            yield piece
        if left:
            raise TransientError(
                f"Attachment {self.attachment.name!r:.100} is not as long as it was said to be.",
                signature="wrong length",
            )


class _AsBase64:
    """The bytes of an attachment as they stand in JSON."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self.length = (source.length + 2) // 3 * 4

    def pieces(self) -> Iterator[bytes]:
        """The characters."""
        return base64_pieces(self._source.pieces())


_Part: TypeAlias = bytes | _Source | _AsBase64


def _length(parts: Sequence[_Part]) -> str:
    """Of all of them together, as a header tells it."""
    return str(sum(len(part) if isinstance(part, bytes) else part.length for part in parts))


def _pieces(parts: Sequence[_Part]) -> Iterator[bytes]:
    for part in parts:
        if isinstance(part, bytes):
            yield part
        else:
            with closing(part.pieces()) as pieces:  # type: ignore[type-var]
                yield from pieces


def _multipart(leaf: Leaf, sources: Sequence[_Source], boundary: str) -> list[_Part]:
    stubs = {
        source.attachment.name: {**_described(source.attachment), "follows": True, "length": source.length}
        for source in sources
    }
    line = b"\r\n--" + boundary.encode()
    document = _with_attachments(leaf.body, orjson.dumps(stubs))
    parts: list[_Part] = [line[2:] + b"\r\nContent-Type: application/json\r\n\r\n" + document]
    for source in sources:
        # They come in the order in which the document names them.
        parts += [line + b"\r\n\r\n", source]
    return [*parts, line + b"--"]


def _json(leaf: Leaf, sources: Sequence[_Source]) -> list[_Part]:
    parts: list[_Part] = [b'{"new_edits":false,"docs":[' + leaf.body[:-1] + b',"_attachments":{']
    for number, source in enumerate(sources):
        described = orjson.dumps(_described(source.attachment))
        name = orjson.dumps(source.attachment.name)
        head = (b"," if number else b"") + name + b":" + described[:-1] + b',"data":"'
        parts += [head, _AsBase64(source), b'"}']
    return [*parts, b"}}]}"]


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
