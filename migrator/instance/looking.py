"""Finds what a target is sure to refuse, and reads a database for it only where nothing else can tell."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from migrator.care.server import Server
from migrator.codec import decode
from migrator.couch.leaves import LeafReader
from migrator.couch.size import document_size
from migrator.instance.plan import CannotGo, DatabasePlan
from migrator.instance.surveying import Limits
from migrator.revisions import Leaf, LeafFault

# More than that nobody reads; what is beyond is counted.
MAX_NAMED = 1_000
MAX_GZIP_FACTOR = 1_032


@dataclass
class Looked:
    """What looking inside found: attachments by database, what cannot go, and how it was found."""

    attachments: dict[str, int] = field(default_factory=dict)
    cannot_go: list[CannotGo] = field(default_factory=list)
    more: int = 0
    how: str = ""


def look_inside(
    source: Server, databases: Sequence[DatabasePlan], have: Limits, bears: Limits, *, everything: bool = False
) -> Looked:
    """Find documents and attachments over the target's limits.

    A database is read only where one of its documents can be too large: the source's own limit is above the
    target's, and so is the database's `sizes.external`, which the server sums up by the measure of that limit.

    Args:
        source: the server that is read.
        databases: what goes.
        have: the source's own limits.
        bears: the target's.
        everything: read every database, which counts attachments too.
    """
    looked = Looked()
    suspects = [d for d in databases if everything or _can_be_too_large(d, have, bears)]
    for database in suspects:
        looked.attachments[database.source] = 0
        for leaf in _leaves(source, database.source):
            _weigh(leaf, database.source, bears, looked)
    looked.how = _how(len(databases), len(suspects), have, bears, everything=everything)
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


def _leaves(source: Server, database: str) -> Iterator[Leaf | LeafFault]:
    with (
        tempfile.TemporaryDirectory(prefix="migrator-plan-") as folder,
        closing(LeafReader(source.client, database, source.retrier, folder=Path(folder))) as reader,
    ):
        yield from reader.leaves()


def _weigh(leaf: Leaf | LeafFault, database: str, bears: Limits, looked: Looked) -> None:
    if isinstance(leaf, LeafFault):
        _note(looked, CannotGo(database, leaf.id, leaf.rev, f"the source cannot give it: {leaf.reason}"))
        return
    looked.attachments[database] += len(leaf.attachments)
    limit = bears.document_bytes
    # A text within the limit needs no reckoning.
    if limit is not None and len(leaf.body) > limit and (size := document_size(decode(leaf.body))) > limit:
        _note(looked, CannotGo(database, leaf.id, leaf.rev, f"{size:,} bytes, where the target takes {limit:,}"))
    limit = bears.attachment_bytes
    for attachment in leaf.attachments:
        length = attachment.length_bytes or 0
        if limit is not None and length > limit:
            reason = f"its attachment {attachment.name} has {length:,} bytes, where the target takes {limit:,}"
            _note(looked, CannotGo(database, leaf.id, leaf.rev, reason))


def _note(looked: Looked, item: CannotGo) -> None:
    if len(looked.cannot_go) < MAX_NAMED:
        looked.cannot_go.append(item)
    else:
        looked.more += 1


def _how(databases: int, read: int, have: Limits, bears: Limits, *, everything: bool) -> str:
    if everything:
        return f"every document of {databases:,} databases was read"
    if bears.document_bytes is None:
        return "the target tells its limits to admins only, so nothing was looked for"
    if have.document_bytes is not None and have.document_bytes <= bears.document_bytes and not read:
        return (
            f"none can be: the source takes no documents over {have.document_bytes:,} bytes, the target none over "
            f"{bears.document_bytes:,}"
        )
    return (
        f"{read:,} of {databases:,} databases were read; each other holds less in all than the target takes in "
        f"one document ({bears.document_bytes:,} bytes)"
    )
