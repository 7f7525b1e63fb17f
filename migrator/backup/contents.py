"""What a database was at a snapshot, document by document, for who looks into a backup without restoring it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any, Self

import orjson

from migrator.backup.catalog import Catalog
from migrator.backup.format.manifest import Manifest
from migrator.backup.format.snapshot_reader import SnapshotReader
from migrator.codec.reading import without_members
from migrator.errors import ConfigError
from migrator.model.revisions import Attachment, Leaf, LeafFault, order_of, winner_of
from migrator.naming import did_you_mean, shown

MAX_NEAR = 2_000
"""So many ids that begin as a missing one does are compared with it."""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document at a snapshot.

    Args:
        id: its id.
        leaves: all leaf revisions that are kept, the winner first.
        faults: those that could not be read when the snapshot was made.
    """

    id: str
    leaves: tuple[Leaf, ...]
    faults: tuple[LeafFault, ...] = ()

    @property
    def winner(self) -> Leaf | None:
        """The leaf that the server gave when it was asked for the document; None where none could be read."""
        return self.leaves[0] if self.leaves else None

    @property
    def live(self) -> Leaf | None:
        """The winner, where it is not a deletion."""
        return self.leaves[0] if self.leaves and not self.leaves[0].deleted else None

    @property
    def conflicts(self) -> list[str]:
        """The revisions beside the winner that are not deletions."""
        return [leaf.rev for leaf in self.leaves[1:] if not leaf.deleted]

    def as_dict(self) -> dict[str, Any]:
        """What it is, without its fields."""
        winner = self.winner
        return {
            "id": self.id,
            "rev": winner.rev if winner else None,
            "deleted": bool(winner and winner.deleted),
            "conflicts": self.conflicts,
            "attachments": [each.name for each in winner.attachments] if winner else [],
            "size_bytes": len(winner.body) if winner else 0,
            "unread": [fault.rev for fault in self.faults],
        }


def documents(leaves: Iterable[Leaf | LeafFault]) -> Iterator[StoredDocument]:
    """Leaves by document, of which those of one stand together. One document is held at a time."""
    for id, group in groupby(leaves, key=lambda each: each.id):
        found: list[Leaf] = []
        faults: list[LeafFault] = []
        for each in group:
            if isinstance(each, Leaf):
                found.append(each)
            else:
                faults.append(each)
        if len(found) > 1:
            found.sort(key=lambda leaf: order_of(leaf.rev), reverse=True)
            winner = winner_of(*found)
            found = [winner, *(leaf for leaf in found if leaf is not winner)]
        yield StoredDocument(id, tuple(found), tuple(faults))


class Contents:
    """A database as of a snapshot; a context that lets go of files at its end.

    Args:
        catalog: the place, with the key of what is encrypted.
        manifest: the snapshot.

    Raises:
        DamagedBackup: a snapshot that this one adds to is missing or damaged.
    """

    def __init__(self, catalog: Catalog, manifest: Manifest) -> None:
        self.manifest = manifest
        self.chain = catalog.chain(manifest)
        self.reader = SnapshotReader(catalog.place, self.chain, catalog.cipher)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.reader.close()

    def documents(self, prefix: str = "", ids: Collection[str] | None = None) -> Iterator[StoredDocument]:
        """All documents in the order of ids; only those that begin so, or whose ids are these.

        Only segments that can hold one are read; where ids are named, only those that do, as the indexes say.
        """
        return documents(self.reader.leaves(prefix=prefix, ids=ids))

    def document(self, id: str) -> StoredDocument | None:
        """One document, or None where there is none of that id, not even a deleted one."""
        return next(self.documents(ids=[id]), None)

    def missing(self, id: str) -> ConfigError:
        """What to raise for a document that is not there: the nearest id, and how to look further back."""
        database = shown(self.manifest.database)
        what = f"The backup of {database} as of {self.manifest.finished} holds no document {shown(id)}."
        return ConfigError(what, hint=f"{self.near(id)} {look_back(self.manifest.database, id)}".strip())

    def near(self, id: str) -> str:
        """Ask whether another id was meant, of those that begin as it does; "" where none is near."""
        entries = self.reader.entries(prefix=id[: max(1, len(id) // 2)])
        return did_you_mean(id, dict.fromkeys(entry.id for entry in islice(entries, MAX_NEAR)))


def look_back(database: str, id: str) -> str:
    """How to see what all snapshots hold of a document."""
    # What begins with a dash would be an option.
    words = [database, *(["--"] if id.startswith("-") else []), id]
    return f"All snapshots: migrator backups history --from PLACE {shlex.join(words)}"


def document_text(leaf: Leaf) -> bytes:
    """A leaf's document as the server gives it: its fields as they were stored, attachments by name and digest."""
    text = without_members(leaf.body, {"_revisions"})
    if not leaf.attachments:
        return text
    stubs = {each.name: attachment_stub(each) for each in leaf.attachments}
    return text[:-1] + b',"_attachments":' + orjson.dumps(stubs) + b"}"


def attachment_stub(attachment: Attachment) -> dict[str, Any]:
    """What a document says of an attachment whose bytes are elsewhere."""
    stub: dict[str, Any] = {"content_type": attachment.content_type, "revpos": attachment.revpos}
    if attachment.digest:
        stub["digest"] = attachment.digest
    return {**stub, "length": attachment.length_bytes, "stub": True}


def leaf_of_rev(document: StoredDocument, rev: str) -> Leaf | None:
    """The leaf of a revision."""
    return next((leaf for leaf in document.leaves if leaf.rev == rev), None)


def attachment_of(leaf: Leaf, name: str) -> Callable[[], Iterator[bytes]]:
    """What gives an attachment's bytes.

    Raises:
        ConfigError: the document has none of that name; it says which it has.
    """
    for each in leaf.attachments:
        if each.name == name:
            return each.open
    names: Sequence[str] = [each.name for each in leaf.attachments]
    there = f"It has: {', '.join(map(shown, names[:20]))}." if names else "It has none."
    raise ConfigError(
        f"{shown(leaf.id)} at {leaf.rev} has no attachment {shown(name)}.",
        hint=f"{did_you_mean(name, names)} {there}".strip(),
    )
