"""Checks backups: every file against its digest, every line, count and attachment, and that chains are whole."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from migrator.backup.catalog import Catalog, database_folder, snapshot_folder
from migrator.backup.format.cipher import PLAIN, Cipher, opens
from migrator.backup.format.lines import Head, StoredAttachment, piece, stored_attachments
from migrator.backup.format.manifest import Manifest, Segment, SnapshotCounts
from migrator.backup.format.manifest import damaged as damage
from migrator.backup.format.snapshot_reader import Entry, entries
from migrator.backup.format.stored_files import StoredFiles
from migrator.backup.storage.base import Place
from migrator.codec import InvalidDocument, top_level
from migrator.errors import DamagedBackup
from migrator.naming import shown

MAX_PROBLEMS_A_SNAPSHOT = 20
"""More of one snapshot tell nobody more."""


class Problem(NamedTuple):
    """Something that is not as it was written."""

    database: str
    snapshot: str
    what: str


class Good(NamedTuple):
    """A snapshot that can be restored, as far as was looked."""

    snapshot: str
    finished: str

    @property
    def finished_at(self) -> datetime:
        """When it was complete."""
        return datetime.fromisoformat(self.finished)


@dataclass(slots=True)
class DatabaseCheck:
    """What was found of one database.

    `good` snapshots can be restored, all that they add to included, and `damaged` ones cannot; both oldest first.
    `begun` is the oldest unfinished one of a database without others; `source` and `encryption` are the newest's.
    """

    database: str
    snapshots: int = 0
    problems: int = 0
    sealed: int = 0
    good: list[Good] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    begun: str = ""
    source: str = ""
    encryption: str = ""


@dataclass(slots=True)
class Checked:
    """What was looked at, and what was found. `sealed` snapshots could be checked against digests only."""

    databases: int = 0
    snapshots: int = 0
    files: int = 0
    size_bytes: int = 0
    leaves: int = 0
    attachments: int = 0
    attachment_bytes: int = 0
    sealed: int = 0
    problems: list[Problem] = field(default_factory=list)
    by_database: list[DatabaseCheck] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True when nothing is wrong."""
        return not self.problems


def check(
    place: Place,
    databases: Iterable[str],
    cipher: Cipher = PLAIN,
    *,
    contents: bool = True,
    listener: Callable[[Manifest], None] = lambda _: None,
) -> Checked:
    """Read everything.

    Args:
        place: where the backups are.
        databases: of which databases.
        cipher: opens what is encrypted; without a key only digests are checked.
        contents: False to read manifests only, and to look whether all files are there.
        listener: receives each snapshot before it is read.

    Raises:
        EndpointError: the place cannot be read.
    """
    result = Checked()
    catalog = Catalog(place, cipher)
    for database in databases:
        result.databases += 1
        result.by_database.append(_check_database(catalog, database, result, listener, contents=contents))
    return result


def _check_database(
    catalog: Catalog, database: str, result: Checked, listener: Callable[[Manifest], None], *, contents: bool
) -> DatabaseCheck:
    survey = catalog.survey(database)
    found = catalog.problems(database, survey)
    known = {manifest.snapshot: manifest for manifest in survey.manifests}
    names = frozenset() if contents else frozenset(catalog.place.names(f"{database_folder(database)}/"))
    check = DatabaseCheck(database)
    for snapshot in sorted({*known, *found}):
        problems = found.get(snapshot, [])
        damaged = snapshot in survey.damaged
        if manifest := known.get(snapshot):
            check.source, check.encryption = manifest.source, manifest.encryption
            listener(manifest)
            try:
                chain = catalog.chain(manifest, known)
            except DamagedBackup as error:
                inside = [error.message]
            else:
                sealed = result.sealed
                if contents:
                    inside = _check_snapshot(catalog.place, chain, catalog.cipher, result)
                else:
                    inside = _missing_files(catalog, manifest, names, result)
                check.sealed += result.sealed - sealed
            problems += inside
            # Parents come before what adds to them.
            damaged = bool(inside) or manifest.parent in check.damaged
        if damaged:
            check.damaged.append(snapshot)
        elif manifest:
            check.good.append(Good(snapshot, manifest.finished))
        check.snapshots += bool(snapshot)
        check.problems += len(problems)
        result.problems += [Problem(database, snapshot, what) for what in problems[:MAX_PROBLEMS_A_SNAPSHOT]]
    result.snapshots += check.snapshots
    if not check.snapshots:
        check.begun = next(iter(catalog.unfinished(database)), "")
    return check


def _missing_files(catalog: Catalog, manifest: Manifest, names: Collection[str], result: Checked) -> list[str]:
    """Which files of a snapshot are not there, unless it was pruned meanwhile."""
    folder = snapshot_folder(manifest.database, manifest.snapshot)
    missing = []
    for file in manifest.files:
        result.files += 1
        result.size_bytes += file.size_bytes
        if f"{folder}/{file.name}" not in names:
            missing.append(damage(f"{catalog.place.describe()}/{folder}/{file.name}").message)
    return missing if missing and manifest.snapshot in catalog.ids(manifest.database) else []


def _check_snapshot(place: Place, chain: Sequence[Manifest], cipher: Cipher, result: Checked) -> list[str]:
    manifest = chain[-1]
    problems: list[str] = []
    with contextlib.closing(StoredFiles(place, chain, cipher)) as files:
        for file in manifest.files:
            result.files += 1
            result.size_bytes += file.size_bytes
            try:
                files.verify(manifest.snapshot, file)
            except DamagedBackup as error:
                problems.append(error.message)
        if problems:
            return problems
        if not all(opens(cipher, each.encryption) for each in chain):
            result.sealed += 1
            return []
        try:
            reading = _Reading(files, manifest)
            problems += islice(reading.problems(), MAX_PROBLEMS_A_SNAPSHOT)
            result.leaves += reading.counts["leaves"]
            result.attachments += reading.counts["attachments"]
            result.attachment_bytes += reading.counts["attachment_bytes"]
        except DamagedBackup as error:
            problems.append(error.message)
        return problems


class _Reading:
    """One snapshot's lines."""

    def __init__(self, files: StoredFiles, manifest: Manifest) -> None:
        self._files = files
        self._manifest = manifest
        self._where = files.snapshot_shown(manifest.snapshot)
        self.counts: Counter[str] = Counter()

    def problems(self) -> Iterator[str]:
        """What is wrong with them."""
        last, last_leaf = b"", b""
        for segment in self._manifest.segments:
            leaves = documents = 0
            index = entries(self._files, replace(self._manifest, segments=(segment,)), of_index=True)
            for entry in entries(self._files, replace(self._manifest, segments=(segment,))):
                yield from self._check_entry(entry, next(index, None), segment, last)
                last = entry.key
                if "fault" in entry.head:
                    self.counts["faults"] += 1
                    continue
                leaves += 1
                documents += entry.key != last_leaf
                last_leaf = entry.key
            if next(index, None) is not None:
                yield f"{self._where}: the index of {segment.name} names what is not in it."
            if (leaves, documents) != (segment.leaves, segment.documents):
                yield (
                    f"{self._where}: {segment.name} holds {leaves:,} leaves of {documents:,} documents, "
                    f"where the manifest says {segment.leaves:,} of {segment.documents:,}."
                )
            yield from self._check_pieces(segment)
            self.counts.update(leaves=leaves, documents=documents)
        counts = SnapshotCounts(**self.counts)
        if counts != self._manifest.counts:
            yield f"{self._where}: it holds {counts}, where the manifest says {self._manifest.counts}."

    def _check_entry(self, entry: Entry, index: Entry | None, segment: Segment, last: bytes) -> Iterator[str]:
        what = f"{self._where}: {shown(entry.head['id'])} in {segment.name}"
        if index is None or not _same(entry.head, index.head):
            yield f"{what} is not what its index says."
        if entry.key < last:
            yield f"{what} is not in the order of ids."
        if not segment.first_id.encode() <= entry.key <= segment.last_id.encode():
            yield f"{what} is not within the bounds that the manifest gives."
        if "fault" in entry.head:
            return
        try:
            body = top_level(entry.body)
        except InvalidDocument as invalid:
            yield f"{what} is not a document: {invalid.reason}."
            return
        if (body.get("_id"), body.get("_rev")) != (entry.head["id"], entry.head["rev"]):
            yield f"{what} has a body of another document or revision."
        for stored in stored_attachments(entry.head):
            yield from self._check_attachment(entry, stored)

    def _check_attachment(self, entry: Entry, stored: StoredAttachment) -> Iterator[str]:
        self.counts.update(attachments=1, attachment_bytes=0 if stored.snapshot else stored.length)
        try:
            for _ in self._files.attachment(entry.head["id"], stored, stored.snapshot or entry.snapshot):
                pass
        except DamagedBackup as error:
            yield error.message

    def _check_pieces(self, segment: Segment) -> Iterator[str]:
        """Pieces that no leaf refers to are those of an attempt that broke off; they are lines all the same."""
        offset, length = 0, self._files.length(self._manifest.snapshot, segment)
        while offset < length:
            lines, offset = self._files.frame(self._manifest.snapshot, segment, offset)
            for line in lines:
                if line.startswith(b'{"piece":'):
                    try:
                        piece(line)
                    except ValueError:
                        yield f"{self._where}: a piece in {segment.name} is not of the format."


def _same(line: Head, index: Head) -> bool:
    """True when an index entry says what the leaf's line says."""
    return all(line.get(name) == index.get(name) for name in ("id", "rev", "attachments", "fault"))
