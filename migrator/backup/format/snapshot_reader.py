"""Reads the state of a database at a snapshot, out of the chain of snapshots that it stands on."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Final, Literal, NamedTuple, Self, TypeAlias

from migrator.backup.format.cipher import PLAIN, Cipher
from migrator.backup.format.lines import PIECE, Head, StoredAttachment, divide, stored_attachments
from migrator.backup.format.manifest import Manifest, Segment, StoredFile, damaged
from migrator.backup.format.stored_files import StoredFiles
from migrator.backup.format.wanted import EVERYTHING, Wanted, first_frame
from migrator.backup.storage.base import Place
from migrator.errors import DamagedBackup
from migrator.model.revisions import Attachment, DatabaseFacts, Leaf, LeafFault
from migrator.naming import shown

OR_SEGMENT: Final = "or segment"
Index: TypeAlias = bool | Literal["or segment"]


class Entry(NamedTuple):
    """A line of a leaf or a fault, of a segment or an index."""

    key: bytes
    snapshot: str
    head: Head
    body: bytes


def entries(
    files: StoredFiles, manifest: Manifest, wanted: Wanted = EVERYTHING, *, of_index: Index = False
) -> Iterator[Entry]:
    """The lines of one snapshot in order, but for pieces.

    Args:
        files: the chain's files.
        manifest: the snapshot.
        wanted: which of them; segments that can hold none are not read.
        of_index: read the index in place of the segments; with `OR_SEGMENT` only where it is as it was written.
    """
    for segment in manifest.segments:
        if not wanted.may_be_in(segment):
            continue
        file: Segment | StoredFile = segment.index if of_index else segment
        if of_index == OR_SEGMENT and not files.fits(manifest.snapshot, file):
            file = segment
        try:
            yield from _entries_of(files, manifest.snapshot, file, wanted, wanted.first_in(segment))
        except (ValueError, KeyError, TypeError, AttributeError):
            where = files.where(manifest.snapshot, file)
            raise damaged(where, "a line is not of the format") from None


def _entries_of(
    files: StoredFiles, snapshot: str, file: Segment | StoredFile, wanted: Wanted, first: bytes
) -> Iterator[Entry]:
    offset = first_frame(files, snapshot, file, first) if first else 0
    every = wanted.everything
    length = files.length(snapshot, file)
    while offset < length:
        lines, offset = files.frame(snapshot, file, offset)
        for line in lines:
            if line.startswith(PIECE):
                continue
            head, body = divide(line)
            key = head["id"].encode()
            if every or wanted.has(key):
                yield Entry(key, snapshot, head, body)
            elif wanted.ends_before(key):
                return


def merged(sources: Sequence[Iterator[Entry]]) -> Iterator[Entry]:
    """Merge the entries of a chain.

    Where the newest snapshot of a document has a fault, the leaves of the one before count too: of two revisions
    of one branch the server keeps the later one anyway, and the earlier is better than none.

    Args:
        sources: those of each snapshot, the newest first.
    """
    if len(sources) == 1:
        yield from sources[0]
        return
    # Of equal keys the newest snapshot's come first.
    in_order = heapq.merge(*sources, key=attrgetter("key"))
    for _, document in groupby(in_order, key=attrgetter("key")):
        seen: set[str] = set()
        faults: dict[str, Entry] = {}
        for _, leaves in groupby(document, key=attrgetter("snapshot")):
            faulty = False
            for entry in leaves:
                rev = entry.head["rev"]
                if "fault" in entry.head:
                    faulty = True
                    faults.setdefault(rev, entry)
                elif rev not in seen:
                    seen.add(rev)
                    yield entry
            if not faulty:
                # What older snapshots have under this id is of the past, unless a leaf is missing here.
                break
        yield from (fault for rev, fault in faults.items() if rev not in seen)


class _Chain:
    """A chain's files, and what its snapshots come to.

    Args:
        place: where the chain is.
        chain: what `Catalog.chain` gives: the snapshots, oldest first.
        cipher: opens what is encrypted; without a key nothing can be asked.
        ids: read only these documents.
    """

    _index: Index = True

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
        self._ids = ids

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of files; attachments cannot be opened afterwards."""
        self._files.close()

    def entries(
        self, *, after: str | None = None, prefix: str = "", ids: Collection[str] | None = None
    ) -> Iterator[IndexEntry]:
        """What the indexes say of leaves, in ascending order of ids, those of one document one after the other.

        The arguments are those of `SnapshotReader.leaves`.
        """
        return map(_index_entry, self._entries(after, prefix, ids, of_index=self._index))

    def ids_from(self, number: int) -> Iterator[str]:
        """The ids that the snapshots from one on name themselves, sorted, and each as often as they do."""
        own = [entries(self._files, each, of_index=self._index) for each in self._chain[number:]]
        return (entry.head["id"] for entry in heapq.merge(*own, key=attrgetter("key")))

    def _entries(
        self, after: str | None, prefix: str, ids: Collection[str] | None, *, of_index: Index = False
    ) -> Iterator[Entry]:
        ids = self._ids if ids is None else ids
        keys = None if ids is None else sorted(id.encode() for id in ids)
        wanted = Wanted(None if after is None else after.encode(), prefix.encode(), keys)
        if of_index or keys is None:
            of_each = [(manifest, wanted) for manifest in reversed(self._chain)]
        else:
            of_each = self._narrowed(wanted)
        return merged([entries(self._files, each, of_it, of_index=of_index) for each, of_it in of_each])

    def _narrowed(self, wanted: Wanted) -> list[tuple[Manifest, Wanted]]:
        """What to read of each snapshot, the newest first: only what its index names and no newer one settles."""
        of_each = []
        left = list(wanted.ids or ())
        for manifest in reversed(self._chain):
            of_it = replace(wanted, ids=left)
            try:
                found = list(entries(self._files, manifest, of_it, of_index=True))
            except DamagedBackup:
                # Segments can tell as well.
                of_each.append((manifest, of_it))
                continue
            of_each.append((manifest, replace(wanted, ids=sorted({each.key for each in found}))))
            faulty = {each.key for each in found if "fault" in each.head}
            settled = {each.key for each in found} - faulty
            left = [key for key in left if key not in settled]
        return of_each


class SnapshotReader(_Chain):
    """A `RevisionReader` over a chain. Memory is bounded by a frame of each snapshot."""

    _index = OR_SEGMENT

    def describe(self) -> str:
        """The place and the snapshot."""
        newest = self._chain[-1]
        return f"{self._place.describe()}, {newest.database} as of {newest.snapshot}"

    def facts(self) -> DatabaseFacts:
        """The database's settings when the newest snapshot was made."""
        return self._chain[-1].facts

    def leaves(
        self, *, after: str | None = None, prefix: str = "", ids: Collection[str] | None = None
    ) -> Iterator[Leaf | LeafFault]:
        """Yield all leaves in ascending order of ids, from the first id after `after`.

        Attachments may be read in other threads while the reading goes on.

        Args:
            after: only of ids above this one.
            prefix: only of ids that begin so.
            ids: only of these, in place of the reader's own; few enough that they are held.

        Raises:
            DamagedBackup: a file is missing, or not as it was written; nothing of it was given.
            ConfigError: it is encrypted, and there is no key that fits.
        """
        return map(self._leaf, self._entries(after, prefix, ids))

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
                    partial(self._files.attachment, head["id"], stored, stored.snapshot or entry.snapshot),
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


class IndexEntry(NamedTuple):
    """A leaf that is held, or, with `fault`, one that could not be read when the snapshot was made."""

    id: str
    rev: str
    fault: bool = False
    attachments: tuple[StoredAttachment, ...] = ()


class ChainIndex(_Chain):
    """The index of a chain's newest state: which leaves it holds, without their bodies."""

    _cursor: Iterator[Entry]
    _head: Entry | None
    _asked: bytes | None = None
    _found: list[IndexEntry]

    def leaves(self, id: str) -> list[IndexEntry]:
        """The leaves of one document. Quick where ids are asked for in ascending order."""
        key = id.encode()
        if key != self._asked:
            if self._asked is None or key < self._asked:
                self._cursor = self._entries(None, "", None, of_index=True)
                self._head = next(self._cursor, None)
            self._asked, self._found = key, []
            while self._head is not None and self._head.key <= key:
                if self._head.key == key:
                    self._found.append(_index_entry(self._head))
                self._head = next(self._cursor, None)
        return self._found

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


def _index_entry(entry: Entry) -> IndexEntry:
    stored = tuple(
        each if each.snapshot else each._replace(snapshot=entry.snapshot)
        for each in stored_attachments(entry.head)
    )
    return IndexEntry(entry.head["id"], entry.head["rev"], "fault" in entry.head, stored)
