"""What a faithful copy carries: every leaf revision of every document, with its ancestry and its attachments.

A `RevisionReader` (a live database, a backup, a file that another tool wrote) yields `Leaf`s, the leaves of one
document one after the other; a `RevisionWriter` (a live database by `new_edits:false`, a backup, such a file)
takes them and answers one `Outcome` for each. Nothing here knows where they are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from migrator.model import Outcome

# Attachments that together are smaller go along inline: a request of their own would cost more.
MAX_INLINE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Attachment:
    """One attachment of one leaf. Its bytes are never held: `open` gives them in pieces, as often as it is called.

    Args:
        name: as the document has it.
        content_type: as the document has it.
        open: gives the decoded bytes piece by piece; raises TransientError when they break off.
        length_bytes: of the decoded bytes; None where it is not known before they are read.
        digest: the server's own, such as `md5-…`; "" where there is none. It may be of the gzipped bytes.
        revpos: the generation that added it.
    """

    name: str
    content_type: str
    open: Callable[[], Iterator[bytes]] = field(compare=False, repr=False)
    length_bytes: int | None = None
    digest: str = ""
    revpos: int = 0


class Leaf(NamedTuple):
    """One leaf revision of one document, of which a conflict or a deletion is one too.

    `body` is the UTF-8 JSON text of the document without a line break and without `_attachments`: `_id`, `_rev`,
    `_revisions` (`{"start": 3, "ids": [newest, …, oldest]}`) and, where it was deleted, `_deleted` come first.
    Numbers stand in it as the source spelled them.
    """

    id: str
    rev: str
    body: bytes
    deleted: bool = False
    attachments: tuple[Attachment, ...] = ()


DESIGN = "_design/"
"""What ids of design documents begin with; by the order of ids they stand together."""


def is_design(leaf: Leaf | LeafFault) -> bool:
    """True for a leaf of a design document."""
    return leaf.id.startswith(DESIGN)


def order_of(rev: str) -> tuple[int, str]:
    """Of two leaves, the winner among those not deleted is the one for which this is greater."""
    generation, _, hash = rev.partition("-")
    return (int(generation) if generation.isdigit() else 0), hash


def winner_of(*leaves: Leaf) -> Leaf:
    """Which of a document's leaves the server gives when it is asked for the document."""
    return max(leaves, key=lambda leaf: (not leaf.deleted, order_of(leaf.rev)))


def leaf_bytes(leaf: Leaf) -> int:
    """How much a leaf carries: its body, and its attachments as far as their lengths are known."""
    return len(leaf.body) + sum(attachment.length_bytes or 0 for attachment in leaf.attachments)


def inline_bytes(leaf: Leaf) -> int | None:
    """How large a leaf is when its attachments go along inline; None when they are to be streamed."""
    size = 0
    for attachment in leaf.attachments:
        if attachment.length_bytes is None:
            return None
        size += attachment.length_bytes
    return len(leaf.body) + size * 4 // 3 if size <= MAX_INLINE_BYTES else None


def held_bytes(leaf: Leaf) -> int:
    """How much of a leaf is held while it is sent; of large attachments, which are streamed, nothing."""
    size = inline_bytes(leaf)
    return len(leaf.body) if size is None else size


class LeafFault(NamedTuple):
    """A leaf that the source names and cannot give, or that is damaged. `rev` is "" where it names none."""

    id: str
    rev: str
    error: str
    reason: str


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What a database is beside its documents.

    `q`, `n` and `partitioned` can be chosen only when it is created. `instance_start_time` tells a database from
    another of the same name that was created later; "" where the server does not say. Counts are the server's own.
    """

    name: str
    q: int | None = None
    n: int | None = None
    partitioned: bool = False
    revs_limit: int | None = None
    security: Mapping[str, Any] = field(default_factory=dict)
    instance_start_time: str = ""
    documents: int | None = None
    deleted_documents: int | None = None
    size_bytes: int | None = None

    @property
    def creation(self) -> dict[str, Any]:
        """Options that make a database like it; a server of fewer nodes lowers the number of copies by itself."""
        return {"q": self.q, "n": self.n, "partitioned": self.partitioned}


class RevisionReader(Protocol):
    """A source of leaves. Reading is repeatable."""

    def describe(self) -> str:
        """A stable name without credentials."""

    def facts(self) -> DatabaseFacts:
        """The database's settings, as far as the source knows them."""

    def leaves(self, *, after: str | None = None) -> Iterator[Leaf | LeafFault]:
        """Yield all leaves in ascending order of their ids' UTF-8 bytes, from the first id after `after`."""


class RevisionWriter(Protocol):
    """A target of leaves. Writing the same leaf twice leaves what once leaves."""

    def write(self, leaves: Sequence[Leaf]) -> Sequence[Outcome]:
        """Write the leaves and say what became of each, in their order."""
