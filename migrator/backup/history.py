"""What all snapshots of a database hold of one document: winner, conflicts, and the revisions that are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from migrator.backup.catalog import Catalog, Survey
from migrator.backup.changes import ADDED, CHANGED, DELETED
from migrator.backup.contents import StoredDocument, documents
from migrator.backup.format.manifest import Manifest, snapshot_time
from migrator.backup.format.snapshot_reader import OR_SEGMENT, Entry, entries, merged
from migrator.backup.format.stored_files import StoredFiles
from migrator.backup.format.wanted import Wanted
from migrator.errors import DamagedBackup
from migrator.model.revisions import Leaf, LeafFault

UNCHANGED, ABSENT, GONE, UNREADABLE, UNKNOWN = "unchanged", "absent", "gone", "unreadable", "unknown"


class Version(NamedTuple):
    """A document at one snapshot.

    `leaves` are the revisions whose bodies are kept, the winner first, and `stored` those of them that this
    snapshot stores itself. `problem` says why a snapshot cannot be read. `change` is since the one before that can
    be read, and unknown where there are only such as cannot.
    """

    snapshot: str
    finished: str
    change: str
    rev: str | None = None
    deleted: bool = False
    conflicts: Sequence[str] = ()
    leaves: Sequence[str] = ()
    stored: Sequence[str] = ()
    unread: Sequence[str] = ()
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        """A line for programs."""
        return self._asdict()


class History:
    """The versions of one document, oldest first. Of each snapshot its own part is read once.

    Args:
        catalog: the place, with the key of what is encrypted.
        database: the database.
        id: the document.
    """

    def __init__(self, catalog: Catalog, database: str, id: str) -> None:
        self._catalog = catalog
        self._survey: Survey = catalog.survey(database)
        self._known = {each.snapshot: each for each in self._survey.manifests}
        self._key = id.encode()
        self._own: dict[str, list[Entry]] = {}

    def versions(self) -> Iterator[Version]:
        """A row for each snapshot.

        Raises:
            ConfigError: it is encrypted, and there is no key that fits.
        """
        before: StoredDocument | None = None
        readable = unreadable = False
        with closing(StoredFiles(self._catalog.place, self._survey.manifests, self._catalog.cipher)) as files:
            for snapshot in sorted({*self._known, *self._survey.damaged}):
                manifest = self._known.get(snapshot)
                began = f"{snapshot_time(snapshot):%Y-%m-%dT%H:%M:%SZ}"
                if manifest is None:
                    unreadable = True
                    yield Version(snapshot, began, UNREADABLE, problem=self._survey.damaged[snapshot])
                    continue
                try:
                    document = self._at(files, manifest)
                except DamagedBackup as error:
                    unreadable = True
                    yield Version(snapshot, manifest.finished, UNREADABLE, problem=error.message)
                    continue
                version = self._version(manifest, before, document)
                yield version._replace(change=UNKNOWN) if unreadable and not readable else version
                before, readable = document, True

    def manifest(self, snapshot: str) -> Manifest:
        """The manifest of a snapshot that can be read."""
        return self._known[snapshot]

    def _at(self, files: StoredFiles, manifest: Manifest) -> StoredDocument | None:
        """The document as the chain of a snapshot has it, without bodies."""
        chain = self._catalog.chain(manifest, self._known)
        sources = []
        for each in reversed(chain):
            own = self._own_of(files, each)
            sources.append(iter(own))
            if own and not any("fault" in entry.head for entry in own):
                break
        return next(documents(map(_leaf, merged(sources))), None)

    def _own_of(self, files: StoredFiles, manifest: Manifest) -> list[Entry]:
        """The lines that a snapshot has of the document itself, where its index says that it has any."""
        if manifest.snapshot not in self._own:
            wanted = Wanted(ids=[self._key])
            there = next(entries(files, manifest, wanted, of_index=OR_SEGMENT), None)
            lines = entries(files, manifest, wanted) if there else iter(())
            self._own[manifest.snapshot] = [entry._replace(body=b"") for entry in lines]
        return self._own[manifest.snapshot]

    def _version(
        self, manifest: Manifest, before: StoredDocument | None, document: StoredDocument | None
    ) -> Version:
        change = _change_of(before, document)
        if document is None:
            return Version(manifest.snapshot, manifest.finished, change)
        winner = document.winner
        own = self._own.get(manifest.snapshot, [])
        return Version(
            manifest.snapshot,
            manifest.finished,
            change,
            winner.rev if winner else None,
            bool(winner and winner.deleted),
            document.conflicts,
            [leaf.rev for leaf in document.leaves],
            [entry.head["rev"] for entry in own if "fault" not in entry.head],
            [fault.rev for fault in document.faults],
        )


def _leaf(entry: Entry) -> Leaf | LeafFault:
    head = entry.head
    if fault := head.get("fault"):
        return LeafFault(head["id"], head["rev"], fault["error"], fault["reason"])
    return Leaf(head["id"], head["rev"], b"", head.get("deleted", False))


def _change_of(before: StoredDocument | None, document: StoredDocument | None) -> str:
    if document is None:
        return ABSENT if before is None else GONE
    if before == document:
        return UNCHANGED
    was_live = before is not None and before.live is not None
    if document.live is None and document.leaves:
        return DELETED if was_live or before is None else CHANGED
    return CHANGED if was_live else ADDED
