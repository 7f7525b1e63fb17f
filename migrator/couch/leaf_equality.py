"""Equality of leaves on two sides: content, deletion, ancestry, and the bytes of attachments."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import NamedTuple, TypeVar

from migrator.codec import decode
from migrator.codec.equality import canonical_digest, content
from migrator.naming import shown
from migrator.revisions import Leaf, LeafFault

T = TypeVar("T")


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


def side_by_side(
    ours: Iterator[tuple[str, T]], theirs: Iterator[tuple[str, T]]
) -> Iterator[tuple[str, T | None, T | None]]:
    """Both sides by id, each of which is in the order of ids; None where one has nothing of it."""
    one, other = next(ours, None), next(theirs, None)
    while one or other:
        if other is None or (one is not None and one[0].encode() < other[0].encode()):
            assert one is not None
            yield one[0], one[1], None
            one = next(ours, None)
        elif one is None or other[0].encode() < one[0].encode():
            yield other[0], None, other[1]
            other = next(theirs, None)
        else:
            yield one[0], one[1], other[1]
            one, other = next(ours, None), next(theirs, None)


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
