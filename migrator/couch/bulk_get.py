"""Reads answers of `_bulk_get` into leaves whose bodies are cut out and not written again; and attachments.

CouchDB writes `_id` and `_rev` first and `_deleted`, `_revisions` and `_attachments` last, and a row a document;
there a document is cut with a few searches. Whatever looks otherwise is cut bracket by bracket.
"""

from __future__ import annotations

import base64
import binascii
import mmap
import re
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import orjson

from migrator.codec import InvalidDocument, decode, decode_value, one_line
from migrator.codec.reading import STRING, elements, members, values
from migrator.couch.client import CouchClient
from migrator.couch.documents import DEFAULT_CONTENT_TYPE
from migrator.couch.endpoint import has_path, id_path
from migrator.couch.rows import torn
from migrator.errors import TargetMissing, TransientError, UnreadableLeaf
from migrator.files.failures import put_on_disk
from migrator.model.revisions import Attachment, Leaf, LeafFault
from migrator.retry.retrier import Retrier

_BEGIN = re.compile(rb'\s*\{"results":\[\{"id":' + STRING + rb',"docs":\[\{"ok":')
_BETWEEN = re.compile(rb'\}\]\},\{"id":' + STRING + rb',"docs":\[\{"ok":(?=\{"_id":)')
_END = b"}]}]}"
_HEAD = re.compile(rb'\{"_id":' + STRING + rb',"_rev":"[^"\\]+"')
_REVISIONS = re.compile(rb',"_revisions":\{"start":\d+,"ids":\["[^\]]*"\]\}')
_REVISIONS_BEGIN = b',"_revisions":{"start":'
_ATTACHMENTS = b',"_attachments":'
_DELETED = b',"_deleted":true'

AttachmentsOf: TypeAlias = Callable[[str, str, Mapping[str, Any]], tuple[Attachment, ...]]
"""Makes the attachments of a leaf from its id, its revision and the stubs."""


class Asked(NamedTuple):
    """One leaf that is asked for."""

    id: str
    rev: str


class OddLayout(Exception):
    """The answer is not laid out as CouchDB does it."""


def read_leaves(
    body: bytes, asked: Sequence[Asked], attachments_of: AttachmentsOf, what: str
) -> list[Leaf | LeafFault]:
    """Every leaf of an answer, and a fault for each that was asked for and is not in it; in the order asked.

    Args:
        body: the answer.
        asked: what was asked for; what belongs to one id stands together.
        attachments_of: makes attachments of stubs.
        what: what is read, for errors.

    Raises:
        TransientError: the answer is not whole.
    """
    try:
        return [*_quickly(body, asked, attachments_of)]
    except (OddLayout, orjson.JSONDecodeError, KeyError):
        return _carefully(body, asked, attachments_of, what)


def leaf_of(text: bytes, attachments_of: AttachmentsOf) -> Leaf:
    """A leaf from the text of a document with `_revisions` and stubs.

    Raises:
        InvalidDocument: the text is not such a document.
    """
    try:
        return _cut(text, orjson.loads(text), attachments_of)
    except (OddLayout, orjson.JSONDecodeError, KeyError, AttributeError):
        pass
    document = decode(text)
    first: dict[str, bytes] = dict.fromkeys(("_id", "_rev", "_revisions", "_deleted"), b"")
    rest: list[bytes] = []
    for name, raw, both in members(text):
        if name in first:
            first[name] = raw
        elif name != "_attachments":
            rest.append(both)
    id, rev = document.get("_id"), document.get("_rev")
    if not isinstance(id, str) or not isinstance(rev, str) or not isinstance(document.get("_revisions"), dict):
        raise InvalidDocument("not_a_leaf", "the document has no _id, _rev or _revisions")
    deleted = document.get("_deleted") is True
    if not deleted:
        first["_deleted"] = b""
    named = [f'"{name}":'.encode() + raw for name, raw in first.items() if raw]
    body = one_line(b"{" + b",".join([*named, *rest]) + b"}")
    return Leaf(id, rev, body, deleted, attachments_of(id, rev, document.get("_attachments") or {}))


def _quickly(body: bytes, asked: Sequence[Asked], attachments_of: AttachmentsOf) -> Iterator[Leaf]:
    begin = _BEGIN.match(body)
    end = body.rfind(_END)
    if begin is None or end < 0 or body[end + len(_END) :].strip():
        raise OddLayout
    texts = _BETWEEN.split(body[begin.end() : end])
    if len(texts) != len(asked):
        raise OddLayout
    for text, (id, _) in zip(texts, asked, strict=True):
        # A text that was cut in the wrong place is not JSON: no object is the beginning of another one.
        document = orjson.loads(text)
        if document["_id"] != id:
            raise OddLayout
        yield _cut(text, document, attachments_of)


def _cut(text: bytes, document: dict[str, Any], attachments_of: AttachmentsOf) -> Leaf:
    """Put what is last first. Quotes inside of strings are escaped, so these names are found outside of them."""
    head = _HEAD.match(text)
    begin = text.rfind(_REVISIONS_BEGIN)
    revisions = _REVISIONS.match(text, begin) if begin >= 0 else None
    if head is None or revisions is None:
        raise OddLayout
    # What follows closes the document, so _revisions stands in the document itself and in nothing inside of it.
    rest = text[revisions.end() :]
    attachments: tuple[Attachment, ...] = ()
    id, rev = document["_id"], document["_rev"]
    if rest != b"}":
        if not rest.startswith(_ATTACHMENTS):
            raise OddLayout
        attachments = attachments_of(id, rev, orjson.loads(rest[len(_ATTACHMENTS) : -1]))
    fields = text[head.end() : begin]
    deleted = document.get("_deleted") is True
    if deleted:
        if not fields.endswith(_DELETED):
            raise OddLayout
        fields = _DELETED + fields[: -len(_DELETED)]
    elif "_deleted" in document:
        raise OddLayout
    return Leaf(id, rev, head[0] + revisions[0] + fields + b"}", deleted, attachments)


def _carefully(
    body: bytes, asked: Sequence[Asked], attachments_of: AttachmentsOf, what: str
) -> list[Leaf | LeafFault]:
    found: dict[str, list[Leaf | LeafFault]] = {}
    try:
        decode_value(body)
        for result in elements(values(body)["results"]):
            parts = values(result)
            id = str(decode_value(parts["id"]))
            for row in elements(parts["docs"]):
                named = values(row)
                text = named.get("ok")
                leaf = leaf_of(text, attachments_of) if text else _fault(id, decode_value(row))
                found.setdefault(id, []).append(leaf)
    except (InvalidDocument, KeyError, AttributeError):
        raise torn(body[-500:], what) from None
    wanted: dict[str, list[str]] = {}
    for id, rev in asked:
        wanted.setdefault(id, []).append(rev)
    answers: list[Leaf | LeafFault] = []
    for id, revs in wanted.items():
        answers += _accounted(id, revs, found.get(id, []))
    return answers


def _accounted(id: str, revs: Sequence[str], rows: Sequence[Leaf | LeafFault]) -> list[Leaf | LeafFault]:
    """The rows of one id; as many faults as are missing. A leaf may have grown since it was listed."""
    leaves = {row.rev: row for row in rows if isinstance(row, Leaf)}
    faults = [row for row in rows if isinstance(row, LeafFault)]
    named = {fault.rev: fault for fault in faults if fault.rev in revs}
    unnamed = [fault for fault in faults if fault.rev not in revs]
    missing = [rev for rev in revs if rev not in leaves and rev not in named]
    grown = len([rev for rev in leaves if rev not in revs])
    for rev in missing[grown:]:
        fault = unnamed.pop() if unnamed else LeafFault(id, rev, "no_answer", "the server gave no answer for it")
        named[rev] = fault._replace(rev=rev)
    return [*leaves.values(), *named.values()]


def _fault(id: str, row: Any) -> LeafFault:
    error = row.get("error", row) if isinstance(row, dict) else {}
    if not isinstance(error, dict):
        error = row
    return LeafFault(
        id,
        str(error.get("rev", "")),
        str(error.get("error", "missing")),
        str(error.get("reason", "the server names it and does not give it")),
    )


# Four characters of base64 are three bytes.
_PIECE = 1 << 18
# So often in a row one attachment may be shorter than it should be.
MAX_CUT = 5


@dataclass(frozen=True)
class StoredAttachments:
    """Makes the attachments of a database's leaves, whose bytes are streamed as often as they are asked for.

    Args:
        client: its server.
        database: its name.
        retrier: tries again.
    """

    client: CouchClient
    database: str
    retrier: Retrier

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
        what = f"Reading attachment {name!r:.100} of {id!r:.100} ({rev}) in {self.database}"
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
            yield from self.retrier.iterate(f"read an attachment of {id!r:.100}", opened)
        except TargetMissing as error:
            raise UnreadableLeaf(error.message, error="attachment_missing") from error

    def _opened(self, id: str, rev: str, name: str, what: str) -> Generator[bytes]:
        if has_path(id, name):
            path = (self.database, *id_path(id), name)
            return self.client.stream(what, *path, params={"rev": rev})
        return self._from_document(id, rev, name, what)

    def _from_document(self, id: str, rev: str, name: str, what: str) -> Generator[bytes]:
        """By way of the document with all its attachments, which is put on disk, as it may be of any size."""
        body = orjson.dumps({"docs": [{"id": id, "rev": rev}]})
        params = {"attachments": "true"}
        with tempfile.TemporaryFile() as file:
            with closing(self.client.stream(what, self.database, "_bulk_get", params=params, body=body)) as pieces:
                put_on_disk(pieces, file)
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
