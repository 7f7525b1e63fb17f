"""Writes a snapshot: segments as they fill, then the manifest, with which there is a backup and not before."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

from migrator.backup.catalog import Catalog, note_finished, snapshot_folder
from migrator.backup.format.cipher import PLAIN, Cipher, opens
from migrator.backup.format.lines import StoredAttachment, fault_line, index_line, leaf_line, piece_line
from migrator.backup.format.manifest import (
    COPY,
    FILE,
    PROGRESS,
    Manifest,
    SnapshotCounts,
    dump_manifest,
    load_progress,
    new_snapshot_id,
    now,
)
from migrator.backup.format.segments import FRAME_BYTES, SegmentWriter, pieces
from migrator.backup.format.snapshot_reader import ChainIndex
from migrator.backup.options import SEGMENT_BYTES
from migrator.backup.storage.base import Place
from migrator.errors import TransientError
from migrator.model.revisions import Attachment, DatabaseFacts, Leaf, LeafFault
from migrator.naming import shown

PIECE_BYTES = 786_432
"""Decoded; a megabyte in base64."""


class SnapshotSizes(NamedTuple):
    """How a snapshot is divided.

    Args:
        max_segment_bytes: a segment is full with so many stored bytes, or a frame more.
        frame_bytes: how much is compressed at once.
        piece_bytes: the longest piece of an attachment, decoded.
    """

    max_segment_bytes: int = SEGMENT_BYTES
    frame_bytes: int = FRAME_BYTES
    piece_bytes: int = PIECE_BYTES


USUAL = SnapshotSizes()


@dataclass(eq=False)
class SnapshotWriter:
    """Takes the leaves of one database in the order of their ids. Hold the place's lock meanwhile.

    Made by `begin` or `resume`. Leaves of one document come one after the other. What was added is durable
    up to the id `position`, None at the beginning, and counts as a backup after `finish`.
    """

    place: Place
    manifest: Manifest
    parent: Manifest | None
    cipher: Cipher
    sizes: SnapshotSizes
    position: str | None = None

    def __post_init__(self) -> None:
        begun = self.manifest
        self._folder = snapshot_folder(begun.database, begun.snapshot)
        self._total = Counter(asdict(begun.counts))
        self._segments = SegmentWriter(
            self.place, self._folder, self.cipher, self.sizes.frame_bytes, list(begun.segments)
        )
        # The last id of which a leaf is complete, the id that leaves must not go below, and that of the last one.
        self._id = self.position
        self._leaf_id: str | None = None
        self._floor = b"" if self.position is None else self.position.encode()
        self._key = self._floor
        self._known: ChainIndex | None = None

    @classmethod
    def begin(
        cls,
        place: Place,
        database: str,
        *,
        parent: Manifest | None,
        source: str,
        facts: DatabaseFacts,
        last_seq: str,
        cipher: Cipher = PLAIN,
        sizes: SnapshotSizes = USUAL,
    ) -> SnapshotWriter:
        """Begin a snapshot.

        Args:
            place: where to.
            database: its name.
            parent: the snapshot that this one adds to, whose `last_seq` it begins at; None for a full one.
            source: where the leaves come from, without credentials.
            facts: the database's settings.
            last_seq: the sequence that the next snapshot goes on from.
            cipher: seals what is written.
            sizes: how it is divided.
        """
        folders = Catalog(place).ids(database)
        manifest = Manifest(
            database=database,
            snapshot=new_snapshot_id(folders[-1] if folders else ""),
            parent=parent.snapshot if parent else None,
            parent_digest=parent.digest if parent else "",
            source=source,
            started=now(),
            finished="",
            facts=facts,
            since=parent.last_seq if parent else "",
            last_seq=last_seq,
            encryption=cipher.name,
        )
        return cls(place, manifest, parent, cipher, sizes)

    @classmethod
    def resume(
        cls,
        place: Place,
        database: str,
        *,
        parent: Manifest | None,
        facts: DatabaseFacts,
        cipher: Cipher = PLAIN,
        sizes: SnapshotSizes = USUAL,
    ) -> SnapshotWriter | None:
        """Go on with the newest unfinished snapshot that adds to the same parent; None when there is none.

        It keeps its own `last_seq`: what changed since it began may be in it or not, and is read again from there.
        An encrypted one can be gone on with only by who has the key too. Another database of the same name, which
        `facts` tell of, is another one.
        """
        catalog = Catalog(place)
        wanted = (parent.snapshot if parent else None, parent.digest if parent else "")
        for snapshot in reversed(catalog.unfinished(database)):
            folder = snapshot_folder(database, snapshot)
            try:
                found = load_progress(place.read(f"{folder}/{PROGRESS}"), cipher, place=f"{folder}/{PROGRESS}")
            except FileNotFoundError:
                continue
            if found is None:
                continue
            manifest, position = found
            known = {f"{folder}/{name}" for name in (*(file.name for file in manifest.files), PROGRESS)}
            there = place.names(f"{folder}/")
            if (
                (manifest.database, manifest.snapshot) == (database, snapshot)
                and (manifest.parent, manifest.parent_digest) == wanted
                and manifest.facts.instance_start_time == facts.instance_start_time
                and manifest.encryption == cipher.name
                and known.issubset(there)
            ):
                # Segments of a document that was not complete.
                for name in set(there) - known:
                    place.remove(name)
                return cls(place, manifest, parent, cipher, sizes, position)
        return None

    @property
    def snapshot(self) -> str:
        """The snapshot's id."""
        return self.manifest.snapshot

    def add(self, leaf: Leaf) -> None:
        """Add a leaf. Whatever is raised meanwhile, by an attachment's source too, the leaf is not added.

        Raises:
            EndpointError: a segment cannot be written.
            TransientError: an attachment breaks off.
        """
        self._arrive(leaf.id)
        stored = [self._attachment(leaf, each) for each in leaf.attachments]
        line = leaf_line(leaf, stored)
        first = leaf.id != self._leaf_id
        self._id = self._leaf_id = leaf.id
        self._total["documents"] += first
        self._total["leaves"] += 1
        if stored:
            self._total["attachments"] += len(stored)
            self._total["attachment_bytes"] += sum(each.length for each in stored if not each.snapshot)
        filled = self._segments.leaf(leaf.id, line, index_line(leaf.id, leaf.rev, stored), first=first)
        # One that grows too long within one document is ended; that document is not noted as written.
        if filled and self._segments.size_bytes >= 2 * self.sizes.max_segment_bytes:
            self._segments.close()

    def fault(self, fault: LeafFault) -> None:
        """Add a leaf that could not be read, so that whoever reads the snapshot knows that it is not whole."""
        self._arrive(fault.id)
        self._id = fault.id
        self._total["faults"] += 1
        self._segments.fault(fault.id, fault_line(fault))

    def save(self) -> None:
        """Make durable what was added, which is the whole of its documents, and note how far that is."""
        self._segments.close()
        if self._id is None or self._id == self.position:
            return
        self.position = self._id
        self._floor = self._id.encode()
        self.place.write(
            f"{self._folder}/{PROGRESS}", dump_manifest(self._as_it_is(), self.cipher, position=self._id)
        )

    def finish(self) -> Manifest:
        """Write the manifest: from then on there is a backup."""
        self.save()
        manifest = replace(self._as_it_is(), finished=now())
        text = dump_manifest(manifest, self.cipher)
        manifest = replace(manifest, digest=hashlib.sha256(text).hexdigest())
        publish(self.place, manifest, text)
        if self._known:
            self._known.close()
        return manifest

    def _as_it_is(self) -> Manifest:
        return replace(
            self.manifest, segments=tuple(self._segments.segments), counts=SnapshotCounts(**self._total)
        )

    def _arrive(self, id: str) -> None:
        """A line of a document comes next."""
        key = id.encode("utf-8", "surrogatepass")
        if key < self._key or (key <= self._floor and self.position is not None):
            raise ValueError(f"{shown(id)} comes after {shown(self._id or '')}")
        if key != self._key and self._segments.size_bytes >= self.sizes.max_segment_bytes:
            self.save()
        self._key = key

    def _attachment(self, leaf: Leaf, attachment: Attachment) -> StoredAttachment:
        if known := self._stored_before(leaf, attachment):
            return known
        digest = hashlib.sha256()
        length = 0
        at = self._segments.offset()
        for piece in pieces(attachment.open(), self.sizes.piece_bytes):
            if not length:
                at = self._segments.offset()
            digest.update(piece)
            filled = self._segments.line(leaf.id, piece_line(attachment.name, length, piece))
            if filled and self._segments.size_bytes >= self.sizes.max_segment_bytes:
                self._segments.close()
            length += len(piece)
        if attachment.length_bytes not in {None, length}:
            raise TransientError(
                f"The attachment {shown(attachment.name)} of {shown(leaf.id)} ended after {length:,} of "
                f"{attachment.length_bytes:,} bytes.",
                signature="attachment_cut_off",
            )
        return StoredAttachment(
            attachment.name,
            attachment.content_type,
            length,
            digest.hexdigest(),
            attachment.digest,
            attachment.revpos,
            at,
        )

    def _stored_before(self, leaf: Leaf, attachment: Attachment) -> StoredAttachment | None:
        """The same attachment in a snapshot that this one stands on."""
        if self.parent is None or not attachment.digest:
            return None
        if self._known is None:
            chain = Catalog(self.place, self.cipher).chain(self.parent)
            if not all(opens(self.cipher, each.encryption) for each in chain):
                self.parent = None
                return None
            self._known = ChainIndex(self.place, chain, self.cipher)
        return self._known.attachment(leaf.id, attachment)


def publish(place: Place, manifest: Manifest, text: bytes) -> None:
    """Make a backup of a snapshot whose files are all there.

    Args:
        place: where they are, held by this run.
        manifest: with the digest of its file.
        text: that file.

    Raises:
        EndpointError: it cannot be written.
    """
    folder = snapshot_folder(manifest.database, manifest.snapshot)
    place.write(f"{folder}/{FILE}", text)
    note_finished(place, manifest)
    # Where there is a copy there is a list too, so that a list that is gone is missed.
    place.write(f"{folder}/{COPY}", text)
    place.remove(f"{folder}/{PROGRESS}")
