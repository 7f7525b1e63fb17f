"""Reads documents for the plan: counts attachments and conflicts, and finds what the target is sure to refuse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import groupby

from migrator.codec import decode
from migrator.couch.validate import document_size
from migrator.model.events import TaskProgressed
from migrator.model.revisions import Leaf, LeafFault
from migrator.server.admin.connection import Limits, Server
from migrator.server.move.plan import CannotGo, DatabasePlan

# More than that nobody reads; what is beyond is counted.
MAX_NAMED = 1_000
MAX_GZIP_FACTOR = 1_032
SIDE_BY_SIDE = 2
TELL_EVERY = 5_000


@dataclass
class Counted:
    """One database by its documents: leaf revisions, their attachments, and documents with a living conflict."""

    leaves: int = 0
    attachments: int = 0
    conflicts: int = 0
    cannot_go: list[CannotGo] = field(default_factory=list)
    more: int = 0


@dataclass
class Looked:
    """What looking inside found: the databases with their counts, what cannot go, and how it was found."""

    databases: dict[str, DatabasePlan]
    cannot_go: list[CannotGo] = field(default_factory=list)
    more: int = 0
    how: str = ""


def look_inside(
    source: Server, databases: Sequence[DatabasePlan], have: Limits, bears: Limits, *, everything: bool = True
) -> Looked:
    """Count what the server does not count, and find documents and attachments over the target's limits.

    Where not everything is read, a database is read only where one of its documents can be too large: the source's
    own limit is above the target's, and so is the database's `sizes.external`, which the server sums up by the
    measure of that limit.

    Args:
        source: the server that is read; its listener receives the progress, from several threads.
        databases: what goes.
        have: the source's own limits.
        bears: the target's.
        everything: read every database.

    Raises:
        EndpointError: the source does not answer.
        Interrupted: asked to stop.
    """
    chosen = [d for d in databases if everything or _can_be_too_large(d, have, bears)]

    def count(database: DatabasePlan) -> Counted:
        with source.leaves(database.source) as reader:
            return _count(source, database, reader.leaves(), bears)

    looked = Looked(
        {each.source: each for each in databases},
        how=_how(len(databases), len(chosen), have, bears, everything=everything),
    )
    with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="look") as pool:
        for database, counted in zip(chosen, pool.map(count, chosen), strict=True):
            looked.databases[database.source] = replace(
                database, leaves=counted.leaves, attachments=counted.attachments, conflicts=counted.conflicts
            )
            room = MAX_NAMED - len(looked.cannot_go)
            looked.cannot_go += counted.cannot_go[:room]
            looked.more += counted.more + len(counted.cannot_go[room:])
    return looked


def _can_be_too_large(database: DatabasePlan, have: Limits, bears: Limits) -> bool:
    for own, other, factor in (
        (have.document_bytes, bears.document_bytes, 1),
        # Attachments are summed up as they are stored, which can be compressed.
        (have.attachment_bytes, bears.attachment_bytes, MAX_GZIP_FACTOR),
    ):
        if other is None or (own is not None and own <= other):
            continue
        if database.external_bytes is None or database.external_bytes * factor > other:
            return True
    return False


def _count(source: Server, database: DatabasePlan, leaves: Iterator[Leaf | LeafFault], bears: Limits) -> Counted:
    counted = Counted()
    total = max(1, database.documents + database.deleted_documents)
    for documents, (_, group) in enumerate(groupby(leaves, key=lambda leaf: leaf.id), 1):
        living = 0
        for leaf in group:
            living += isinstance(leaf, Leaf) and not leaf.deleted
            _weigh(leaf, database.source, bears, counted)
        counted.conflicts += living > 1
        if documents % TELL_EVERY == 0:
            source.listener(TaskProgressed("reading", database.source, min(1.0, documents / total)))
    return counted


def _weigh(leaf: Leaf | LeafFault, database: str, bears: Limits, counted: Counted) -> None:
    counted.leaves += 1
    if isinstance(leaf, LeafFault):
        _note(counted, CannotGo(database, leaf.id, leaf.rev, f"the source cannot give it: {leaf.reason}"))
        return
    counted.attachments += len(leaf.attachments)
    limit = bears.document_bytes
    # A text within the limit needs no computing.
    if limit is not None and len(leaf.body) > limit and (size := document_size(decode(leaf.body))) > limit:
        _note(counted, CannotGo(database, leaf.id, leaf.rev, f"{size:,} bytes, where the target takes {limit:,}"))
    limit = bears.attachment_bytes
    for attachment in leaf.attachments:
        length = attachment.length_bytes or 0
        if limit is not None and length > limit:
            reason = f"its attachment {attachment.name} has {length:,} bytes, where the target takes {limit:,}"
            _note(counted, CannotGo(database, leaf.id, leaf.rev, reason))


def _note(counted: Counted, item: CannotGo) -> None:
    if len(counted.cannot_go) < MAX_NAMED:
        counted.cannot_go.append(item)
    else:
        counted.more += 1


def _how(databases: int, read: int, have: Limits, bears: Limits, *, everything: bool) -> str:
    if bears.document_bytes is None:
        told = "the target tells its limits to admins only, so nothing was looked for"
        return f"every document was read, but {told}" if everything else told
    if everything:
        return (
            f"all documents of {databases:,} databases were read; the target takes {bears.document_bytes:,} bytes"
        )
    if have.document_bytes is not None and have.document_bytes <= bears.document_bytes and not read:
        return (
            f"none should be: the source takes none over {have.document_bytes:,} bytes, the target none over "
            f"{bears.document_bytes:,}; without --quick all are read"
        )
    return (
        f"{read:,} of {databases:,} databases were read; each other holds less in all than the target takes in "
        f"one document ({bears.document_bytes:,} bytes)"
    )
