"""Streams the bytes of attachments out of a database, as often as they are asked for."""

from __future__ import annotations

import base64
import binascii
import mmap
import tempfile
from collections.abc import Generator, Mapping
from contextlib import closing
from functools import partial
from typing import Any

import orjson

from migrator.couch.client import CouchClient
from migrator.couch.documents import DEFAULT_CONTENT_TYPE
from migrator.couch.endpoint import has_path, id_path
from migrator.couch.rows import torn
from migrator.errors import TargetMissing, TransientError, UnreadableLeaf
from migrator.files.failures import temporary_file
from migrator.model.revisions import Attachment
from migrator.retry.retrier import Retrier

# Four characters of base64 are three bytes.
_PIECE = 1 << 18
# So often in a row one attachment may be shorter than it should be.
MAX_CUT = 5


class StoredAttachments:
    """Makes the attachments of a database's leaves.

    Args:
        client: its server.
        database: its name.
        retrier: tries again.
    """

    def __init__(self, client: CouchClient, database: str, retrier: Retrier) -> None:
        self._client = client
        self._database = database
        self._retrier = retrier

    def of(self, id: str, rev: str, stubs: Mapping[str, Any]) -> tuple[Attachment, ...]:
        """Those that a leaf's stubs name."""
        return tuple(
            Attachment(
                name,
                str(stub.get("content_type", DEFAULT_CONTENT_TYPE)),
                partial(self._bytes, id, rev, name, stub.get("length")),
                stub.get("length"),
                str(stub.get("digest", "")),
                int(stub.get("revpos", 0)),
            )
            for name, stub in stubs.items()
        )

    def _bytes(self, id: str, rev: str, name: str, length: int | None) -> Generator[bytes]:
        """The bytes; a stream that breaks off is opened again, and what was given already is passed over."""
        what = f"Reading attachment {name!r:.100} of {id!r:.100} ({rev}) in {self._database}"
        given = cut = 0

        def opened() -> Generator[bytes]:
            nonlocal given, cut
            for piece in _behind(given, self._opened(id, rev, name, what)):
                given, cut = given + len(piece), 0
                yield piece
            if length is not None and given != length:
                # A proxy can cut an answer short and make it look whole.
                cut += 1
                message = f"{what}: {given} bytes came in place of {length}."
                if given > length or cut >= MAX_CUT:
                    raise UnreadableLeaf(message, error="wrong_length")
                raise TransientError(message, signature="cut short")

        try:
            yield from self._retrier.iterate(f"read an attachment of {id!r:.100}", opened)
        except TargetMissing as error:
            raise UnreadableLeaf(error.message, error="attachment_missing") from error

    def _opened(self, id: str, rev: str, name: str, what: str) -> Generator[bytes]:
        if has_path(id, name):
            path = (self._database, *id_path(id), name)
            return self._client.stream(what, *path, params={"rev": rev})
        return self._from_document(id, rev, name, what)

    def _from_document(self, id: str, rev: str, name: str, what: str) -> Generator[bytes]:
        """By way of the document with all its attachments, which is put on disk, as it may be of any size."""
        body = orjson.dumps({"docs": [{"id": id, "rev": rev}]})
        params = {"attachments": "true"}
        with tempfile.TemporaryFile() as file:
            with closing(
                self._client.stream(what, self._database, "_bulk_get", params=params, body=body)
            ) as pieces:
                for piece in pieces:
                    with temporary_file():
                        file.write(piece)
            with temporary_file():
                file.flush()
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as answer:
                begin, end = _data_of(answer, name, what)
                for at in range(begin, end, _PIECE):
                    try:
                        yield base64.b64decode(answer[at : min(at + _PIECE, end)], validate=True)
                    except binascii.Error:
                        raise torn(b"", what) from None


def _data_of(answer: mmap.mmap, name: str, what: str) -> tuple[int, int]:
    """Where in the answer an attachment's base64 stands: quotes inside of strings are escaped."""
    at = answer.rfind(b'"_attachments":{')
    at = answer.find(orjson.dumps(name) + b":{", at) if at >= 0 else -1
    at = answer.find(b'"data":"', at) if at >= 0 else -1
    begin = at + len(b'"data":"')
    end = answer.find(b'"', begin) if at >= 0 else -1
    if end < 0:
        if not answer[-100:].rstrip().endswith(b"]}"):
            raise torn(b"", what)
        raise UnreadableLeaf(f"{what}: the server does not give it.", error="attachment_missing")
    return begin, end


def _behind(given: int, pieces: Generator[bytes]) -> Generator[bytes]:
    """What comes after so many bytes."""
    with closing(pieces):
        for piece in pieces:
            if given >= len(piece):
                given -= len(piece)
                continue
            yield piece[given:]
            given = 0
