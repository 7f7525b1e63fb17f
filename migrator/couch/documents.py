"""Documents as a server stores them: read one by one, with their attachments, and compared; leaves compared too.

Of large documents one is held at a time, and not all that are asked for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias

from migrator.codec import decode
from migrator.codec.equality import canonical_digest, content, differing_path, surely_differ
from migrator.couch.revision import compiled_terms, first_revision, revision_after, rule_holds
from migrator.couch.rows import HEAD, Row, lines, listed, missing, row_of, row_texts, text_of, torn
from migrator.model import Document, EncodedDocument
from migrator.model.revisions import Leaf, LeafFault
from migrator.naming import shown

MAX_DOCS_ASKED = 100
# A server that writes all rows in one line is asked for fewer when they are longer than this together.
MAX_LINE_BYTES = 4_000_000
ATTACHMENTS = b'"_attachments":'
"""In the text of a document that has some."""

Stream: TypeAlias = Callable[..., Generator[bytes]]
"""`CouchClient.stream`: gives the body of an answer in pieces."""


class TooLong(Exception):
    """An answer is too long to be held: fewer documents are to be asked for at once."""


def read_documents(stream: Stream, database: str, ids: Iterable[str]) -> Generator[tuple[str, Row | None]]:
    """Yield what stands under each id, in the order asked; an id that comes twice is answered once.

    Args:
        stream: asks the server.
        database: its name, for errors.
        ids: what to read.

    Yields:
        the id, and its row with the document's text; None where there is no document, or it is deleted.

    Raises:
        TransientError: an answer is missing for some id, or one is not whole.
    """
    left = list(dict.fromkeys(ids))
    count = MAX_DOCS_ASKED
    while left:
        part = left[:count]
        what = f"Reading {len(part)} documents of {database}"
        body = json.dumps({"keys": part}, ensure_ascii=False).encode()
        answer = stream(what, database, "_all_docs", params={"include_docs": "true"}, body=body)
        given = 0
        try:
            with closing(answer) as pieces, closing(_rows(pieces, len(part), what)) as rows:
                for text in rows:
                    if given == len(part):
                        raise torn(text[:500], what)
                    given += 1
                    yield part[given - 1], row_of(text, part[given - 1], what)
        except TooLong:
            count = max(1, len(part) // 2)
            continue
        if given < len(part):
            raise missing(what, part[given])
        left = left[given:]


def with_revision(body: bytes, rev: str) -> bytes:
    """The text of a document, to be written over a revision."""
    return b'{"_rev":"' + rev.encode() + b'",' + body.lstrip()[1:]


def _rows(pieces: Iterable[bytes], asked: int, what: str) -> Generator[bytes]:
    """The rows of an answer: a line each, as CouchDB writes them, or all in one."""
    rest = lines(bounded(pieces, asked))
    head = next(rest, b"")
    if HEAD.fullmatch(head):
        yield from row_texts(rest, what)
        return
    text = b"\n".join([head, *rest])
    one = HEAD.match(text) if asked == 1 else None
    if one:
        # Not parsed before it is compared.
        yield text[one.end() :].rstrip().removesuffix(b"]}")
        return
    yield from map(text_of, listed(text, what))


def bounded(pieces: Iterable[bytes], asked: int) -> Generator[bytes]:
    """The pieces, as long as they are not many rows in one line that has grown too long."""
    length = 0
    divided = asked == 1
    for piece in pieces:
        divided = divided or b"\n" in piece
        length += len(piece)
        if not divided and length > MAX_LINE_BYTES:
            raise TooLong
        yield piece


# What the server takes an attachment for that says nothing of its type.
DEFAULT_CONTENT_TYPE = "application/octet-stream"


def with_plain_attachments(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with each attachment as type and data alone, the data in canonical base64.

    Digest, revpos, length and encoding are the server's own and differ between servers for equal content.
    """
    attachments = document.get("_attachments")
    if not isinstance(attachments, Mapping):
        return dict(document)
    plain = {name: _plain(value) if isinstance(value, Mapping) else value for name, value in attachments.items()}
    return {**document, "_attachments": plain}


def _plain(attachment: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {"content_type": attachment.get("content_type", DEFAULT_CONTENT_TYPE)}
    if isinstance(data := attachment.get("data"), str):
        try:
            plain["data"] = base64.b64encode(base64.b64decode(data)).decode()
        except (binascii.Error, ValueError):
            plain["data"] = data
    return plain


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How a server stores.

    Args:
        computes_revisions: revisions are those of `first_revision` and `revision_after`.
        keeps_numbers: 1 and 1.0 stay apart, and integers of any size stay exact. Servers written in JavaScript,
            such as the sandbox, hold every number as a double.
    """

    computes_revisions: bool = True
    keeps_numbers: bool = True

    def proves(self, document: EncodedDocument, rev: str) -> bool:
        """True when the revision proves that the stored content is this; False when that is not known."""
        return rev.startswith("1-") and self.expected(document) == rev

    def expected(self, document: EncodedDocument, parent: str | None = None) -> str | None:
        """The revision that this content gets, over a parent or as the first; None where none is known."""
        if not self.computes_revisions:
            return None
        if parent is None:
            return document.rev or first_revision(document.body)
        return revision_after(document.body, parent)

    def equal(self, document: EncodedDocument, stored: bytes) -> bool:
        """True when the texts alone prove that a stored document is a sent one; False when that is not known.

        Args:
            document: as it is sent.
            stored: the text of the stored document.
        """
        if document.body == stored:
            return True
        # Of attachments the text has no data.
        ours = self.expected(document) if ATTACHMENTS not in stored else None
        return ours is not None and ours == first_revision(stored)

    def unequal(self, document: EncodedDocument, stored: bytes) -> bool:
        """True when the texts alone show that a stored document is another than a sent one."""
        return self.keeps_numbers and ATTACHMENTS not in stored and surely_differ(document.body, stored)

    def differing(self, body: bytes, there: Document) -> str | None:
        """The first path at which a stored document is not what the server makes of a sent one; None when equal.

        Args:
            body: the document as it is sent.
            there: the stored document with plain attachments.
        """
        ours, theirs = content(with_plain_attachments(decode(body))), content(there)
        if not self.keeps_numbers:
            ours, theirs = _with_doubles(ours), _with_doubles(theirs)
        return differing_path(ours, theirs, stored=True)


def proving(asked: bool | None) -> bool:
    """Say whether to compute revisions in passing: as asked, else where the compiled part makes it quick."""
    return compiled_terms is not None if asked is None else asked


def fidelity_of(welcome: Mapping[str, Any], database: str = "") -> Fidelity:
    """Of the server that greets so, and of the database: user documents are rewritten as they are stored."""
    computes = rule_holds(welcome) and database not in {"_users", "_replicator"}
    return Fidelity(computes, "express-pouchdb" not in welcome)


def _with_doubles(value: dict[str, Any]) -> dict[str, Any]:
    try:
        changed: dict[str, Any] = json.loads(json.dumps(value), parse_int=float)
    except RecursionError:
        # So deep a document never came through such a server.
        return value
    return changed


class Proof(NamedTuple):
    """What must be equal of a leaf."""

    deleted: bool
    digest: bytes
    ancestors: tuple[str, ...]
    attachments: tuple[tuple[str, str, int, str], ...]


def proof_of(leaf: Leaf) -> Proof:
    """What must be equal of this leaf; its attachments are read."""
    body = decode(leaf.body)
    ancestors = tuple(body.get("_revisions", {}).get("ids", ()))
    attachments = []
    for attachment in leaf.attachments:
        digest = hashlib.sha256()
        length = 0
        for piece in attachment.open():
            digest.update(piece)
            length += len(piece)
        attachments.append((attachment.name, attachment.content_type, length, digest.hexdigest()))
    fields = {name: value for name, value in content(body).items() if name != "_deleted"}
    return Proof(leaf.deleted, canonical_digest(fields, stored=True), ancestors, tuple(sorted(attachments)))


def proofs(
    leaves: Iterable[Leaf | LeafFault], unreadable: Callable[[LeafFault], None]
) -> Iterator[tuple[str, dict[str, Proof]]]:
    """Each document's leaves by revision, of leaves that stand together; `unreadable` gets the faults."""
    for id, group in groupby(leaves, key=lambda leaf: leaf.id):
        found: dict[str, Proof] = {}
        for leaf in group:
            if isinstance(leaf, Leaf):
                found[leaf.rev] = proof_of(leaf)
            else:
                unreadable(leaf)
        yield id, found


def unlike(
    id: str, ours: Mapping[str, Proof], theirs: Mapping[str, Proof], *, revs_limit: int = 1
) -> Iterator[str]:
    """What differs between the leaves of one document that both sides have, as sentences.

    Args:
        id: the document's.
        ours: its leaves by revision.
        theirs: the other side's.
        revs_limit: of the ancestry of each leaf the other side keeps so many revisions at least.
    """
    for rev in sorted(ours.keys() & theirs.keys()):
        what = f"{shown(id)} {rev}"
        one, other = ours[rev], theirs[rev]
        if one.deleted != other.deleted or one.digest != other.digest:
            yield f"{what} has another content"
        if one.attachments != other.attachments:
            yield f"{what} has other attachments"
        kept = min(len(one.ancestors), max(revs_limit, len(other.ancestors)))
        if one.ancestors[:kept] != other.ancestors[:kept]:
            yield f"{what} has another ancestry"
