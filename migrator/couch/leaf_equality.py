"""Equality of leaves on two sides: content, deletion, ancestry, and the bytes of attachments."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

from migrator.codec import decode
from migrator.codec.equality import canonical_digest, content
from migrator.model.revisions import Leaf, LeafFault
from migrator.naming import shown


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
    """Each document's leaves by revision, of leaves that stand together; `unreadable` is told what is none."""
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
