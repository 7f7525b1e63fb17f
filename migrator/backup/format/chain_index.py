"""Which leaves a chain of snapshots holds, without their bodies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from migrator.backup.format.cipher import PLAIN, Cipher
from migrator.backup.format.lines import StoredAttachment, stored_attachments
from migrator.backup.format.manifest import Manifest
from migrator.backup.format.merge import Entry, entries, merged
from migrator.backup.format.stored_files import StoredFiles
from migrator.backup.storage.base import Place
from migrator.revisions import Attachment


class IndexEntry(NamedTuple):
    """A leaf that is held, or, with `fault`, one that could not be read when the snapshot was made."""

    id: str
    rev: str
    fault: bool = False
    attachments: tuple[StoredAttachment, ...] = ()


class ChainIndex:
    """The index of a chain's newest state.

    Args:
        place: where the chain is.
        chain: the snapshots, oldest first.
        cipher: opens what is encrypted; without a key nothing can be asked.
    """

    def __init__(self, place: Place, chain: Sequence[Manifest], cipher: Cipher = PLAIN) -> None:
        self._files = StoredFiles(place, chain, cipher)
        self._chain = list(chain)
        self._cursor: Iterator[Entry] | None = None
        self._head: Entry | None = None
        self._asked = b""
        self._found: list[IndexEntry] = []

    def __enter__(self) -> ChainIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of files."""
        self._files.close()

    def entries(self, *, after: str | None = None) -> Iterator[IndexEntry]:
        """All leaves in ascending order of ids, those of one document one after the other."""
        for entry in self._merged(None if after is None else after.encode()):
            yield _index_entry(entry)

    def leaves(self, id: str) -> list[IndexEntry]:
        """The leaves of one document. Quick where ids are asked for in ascending order."""
        key = id.encode()
        if key == self._asked and self._found:
            return self._found
        if self._cursor is None or key <= self._asked:
            self._cursor = self._merged(None)
            self._head = next(self._cursor, None)
        self._asked = key
        self._found = []
        while self._head is not None and self._head.key <= key:
            if self._head.key == key:
                self._found.append(_index_entry(self._head))
            self._head = next(self._cursor, None)
        return self._found

    def revs(self, id: str) -> frozenset[str]:
        """The leaf revisions of one document that are held; asked as `leaves` is."""
        return frozenset(entry.rev for entry in self.leaves(id) if not entry.fault)

    def attachment(self, id: str, attachment: Attachment) -> StoredAttachment | None:
        """Where the same attachment of the same document is stored, told by name, revpos, digest and length."""
        for entry in self.leaves(id):
            for stored in entry.attachments:
                if (stored.name, stored.digest, stored.revpos, stored.content_type) == (
                    attachment.name,
                    attachment.digest,
                    attachment.revpos,
                    attachment.content_type,
                ) and attachment.length_bytes in {None, stored.length}:
                    return stored
        return None

    def _merged(self, after: bytes | None) -> Iterator[Entry]:
        newest_first = reversed(self._chain)
        return merged([entries(self._files, each, of_index=True, after=after) for each in newest_first])


def _index_entry(entry: Entry) -> IndexEntry:
    stored = tuple(
        each if each.snapshot else each._replace(snapshot=entry.snapshot)
        for each in stored_attachments(entry.head)
    )
    return IndexEntry(entry.head["id"], entry.head["rev"], "fault" in entry.head, stored)
