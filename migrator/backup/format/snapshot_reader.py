"""Reads the state of a database at a snapshot, out of the chain of snapshots that it stands on."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial

from migrator.backup.format.attachments import read_attachment
from migrator.backup.format.cipher import PLAIN, Cipher
from migrator.backup.format.lines import stored_attachments
from migrator.backup.format.manifest import Manifest, damaged
from migrator.backup.format.merge import Entry, entries, merged
from migrator.backup.format.stored_files import StoredFiles
from migrator.backup.storage.base import Place
from migrator.naming import shown
from migrator.revisions import Attachment, DatabaseFacts, Leaf, LeafFault


class SnapshotReader:
    """A `RevisionReader` over a chain. Memory is bounded by a frame of each snapshot.

    Args:
        place: where the chain is.
        chain: what `Catalog.chain` gives: the snapshots, oldest first.
        cipher: opens what is encrypted.
        ids: read only these documents.
    """

    def __init__(
        self,
        place: Place,
        chain: Sequence[Manifest],
        cipher: Cipher = PLAIN,
        *,
        ids: Collection[str] | None = None,
    ) -> None:
        self._place = place
        self._chain = list(chain)
        self._files = StoredFiles(place, chain, cipher)
        self._ids = None if ids is None else sorted(id.encode() for id in ids)

    def __enter__(self) -> SnapshotReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of files; attachments cannot be opened afterwards."""
        self._files.close()

    def describe(self) -> str:
        """The place and the snapshot."""
        newest = self._chain[-1]
        return f"{self._place.describe()}, {newest.database} as of {newest.snapshot}"

    def facts(self) -> DatabaseFacts:
        """The database's settings when the newest snapshot was made."""
        return self._chain[-1].facts

    def leaves(self, *, after: str | None = None) -> Iterator[Leaf | LeafFault]:
        """Yield all leaves in ascending order of ids, from the first id after `after`.

        Raises:
            DamagedBackup: a file is missing, or not as it was written; nothing of it was given.
            ConfigError: it is encrypted, and there is no key that fits.
        """
        key = None if after is None else after.encode()
        newest_first = reversed(self._chain)
        for entry in merged([entries(self._files, each, after=key, wanted=self._ids) for each in newest_first]):
            yield self._leaf(entry)

    def _leaf(self, entry: Entry) -> Leaf | LeafFault:
        head = entry.head
        try:
            if fault := head.get("fault"):
                return LeafFault(head["id"], head["rev"], fault["error"], fault["reason"])
            if "attachments" not in head:
                return Leaf(head["id"], head["rev"], entry.body, head.get("deleted", False))
            attachments = tuple(
                Attachment(
                    stored.name,
                    stored.content_type,
                    partial(read_attachment, self._files, head["id"], stored, stored.snapshot or entry.snapshot),
                    stored.length,
                    stored.digest,
                    stored.revpos,
                )
                for stored in stored_attachments(head)
            )
            return Leaf(head["id"], head["rev"], entry.body, head.get("deleted", False), attachments)
        except (KeyError, TypeError):
            raise damaged(
                self._files.snapshot_shown(entry.snapshot), f"the line of {shown(head['id'])} is not of the format"
            ) from None
