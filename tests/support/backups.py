"""Leaves, places and snapshots for the tests of backups."""

from __future__ import annotations

import contextlib
import hashlib
import io
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypedDict, Unpack
from unittest.mock import patch

import orjson

from migrator.backup.catalog import Catalog
from migrator.backup.format import snapshot_writer
from migrator.backup.format.cipher import PLAIN, Cipher
from migrator.backup.format.manifest import Manifest, new_snapshot_id
from migrator.backup.format.snapshot_reader import ChainIndex, SnapshotReader
from migrator.backup.format.snapshot_writer import SnapshotSizes, SnapshotWriter
from migrator.backup.format.stream_reader import unpack
from migrator.backup.storage.base import LocalPlace, Place, open_place
from migrator.model.revisions import Attachment, DatabaseFacts, Leaf, LeafFault

FACTS = DatabaseFacts(
    "orders", q=2, n=1, revs_limit=7, security={"admins": {"roles": ["boss"]}}, instance_start_time="1700000000"
)


class Sizes(TypedDict, total=False):
    """How a snapshot is divided."""

    max_segment_bytes: int
    frame_bytes: int
    piece_bytes: int


# So small that whatever can be divided is.
TINY = Sizes(max_segment_bytes=300, frame_bytes=120, piece_bytes=50)


class PlainAttachment(NamedTuple):
    """An attachment with its bytes at hand."""

    name: str
    data: bytes
    content_type: str = "text/plain"
    revpos: int = 1


class PlainLeaf(NamedTuple):
    """A leaf that can be compared."""

    id: str
    rev: str
    body: bytes
    deleted: bool = False
    attachments: tuple[PlainAttachment, ...] = ()


def attachment(plain: PlainAttachment) -> Attachment:
    """As a source gives it, in two chunks."""
    half = len(plain.data) // 2
    return Attachment(
        plain.name,
        plain.content_type,
        lambda: iter([plain.data[:half], b"", plain.data[half:]]),
        len(plain.data),
        f"md5-{hashlib.md5(plain.data).hexdigest()}",
        plain.revpos,
    )


def leaf(plain: PlainLeaf) -> Leaf:
    """As a source gives it."""
    return Leaf(plain.id, plain.rev, plain.body, plain.deleted, tuple(attachment(a) for a in plain.attachments))


def plain(given: Leaf | LeafFault) -> PlainLeaf | LeafFault:
    """With the attachments' bytes read, which must be as many as was said."""
    if isinstance(given, LeafFault):
        return given
    found = []
    for each in given.attachments:
        data = b"".join(each.open())
        assert len(data) == each.length_bytes
        assert each.digest == f"md5-{hashlib.md5(data).hexdigest()}"
        found.append(PlainAttachment(each.name, data, each.content_type, each.revpos))
    return PlainLeaf(given.id, given.rev, given.body, given.deleted, tuple(found))


def simple(number: int, generation: int = 1, *attachments: PlainAttachment) -> PlainLeaf:
    """A small document's leaf."""
    id = f"doc-{number:05}"
    rev = f"{generation}-{hashlib.md5(f'{number} {generation}'.encode()).hexdigest()}"
    body = orjson.dumps(
        {"_id": id, "_rev": rev, "_revisions": {"start": generation, "ids": [rev[2:]]}, "n": number}
    )
    return PlainLeaf(id, rev, body, attachments=attachments)


def by_id(leaves: Sequence[PlainLeaf]) -> dict[str, list[PlainLeaf]]:
    """Leaves in the order in which a writer takes them."""
    grouped: dict[str, list[PlainLeaf]] = {}
    for each in sorted(leaves, key=lambda leaf: leaf.id.encode()):
        grouped.setdefault(each.id, []).append(each)
    return grouped


def begin(
    place: Place,
    parent: Manifest | None = None,
    cipher: Cipher = PLAIN,
    database: str = "orders",
    **sizes: Unpack[Sizes],
) -> SnapshotWriter:
    """A writer that has written nothing."""
    return SnapshotWriter.begin(
        place,
        database,
        parent=parent,
        source="http://localhost:5984/orders",
        facts=FACTS,
        last_seq="7-abc",
        cipher=cipher,
        sizes=SnapshotSizes(**sizes),
    )


def write(
    place: Place,
    leaves: Sequence[PlainLeaf],
    parent: Manifest | None = None,
    cipher: Cipher = PLAIN,
    database: str = "orders",
    **sizes: Unpack[Sizes],
) -> Manifest:
    """A whole snapshot."""
    writer = begin(place, parent, cipher, database, **sizes)
    for each in leaves:
        writer.add(leaf(each))
    return writer.finish()


@contextlib.contextmanager
def at(moment: datetime, documents: int | None = None) -> Iterator[None]:
    """Snapshots that are made within are of that moment, and of a database with so many documents."""
    text = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
    with (
        patch(f"{__name__}.FACTS", replace(FACTS, documents=documents)),
        patch.object(snapshot_writer, "now", lambda: text),
        patch.object(snapshot_writer, "new_snapshot_id", partial(new_snapshot_id, now=moment)),
    ):
        yield


def read(
    place: Place,
    manifest: Manifest,
    cipher: Cipher = PLAIN,
    *,
    after: str | None = None,
    ids: set[str] | None = None,
) -> list[PlainLeaf | LeafFault]:
    """The state at a snapshot, with all attachments."""
    chain = Catalog(place, cipher).chain(manifest)
    with SnapshotReader(place, chain, cipher, ids=ids) as reader:
        return [plain(each) for each in reader.leaves(after=after)]


def revs(index: ChainIndex, id: str) -> set[str]:
    """The leaf revisions of one document that an index holds."""
    return {entry.rev for entry in index.leaves(id) if not entry.fault}


def state(*snapshots: Mapping[str, Sequence[PlainLeaf]]) -> list[PlainLeaf]:
    """What a chain of snapshots, oldest first, comes to."""
    merged: dict[str, Sequence[PlainLeaf]] = {}
    for each in snapshots:
        merged |= each
    return [leaf for id in sorted(merged, key=str.encode) for leaf in merged[id]]


def files(folder: Path) -> Iterator[Path]:
    """All segments and indexes of a place, sorted."""
    yield from sorted(folder.rglob("*.zst*"))


@contextlib.contextmanager
def in_memory() -> Iterator[Place]:
    """A place that is gone afterwards."""
    place = open_place(f"memory://{uuid.uuid4().hex}")
    try:
        yield place
    finally:
        place.remove_folder("databases")


def local(folder: Path) -> LocalPlace:
    """A folder as a place."""
    return LocalPlace(folder)


def streamed(work: Callable[[Place], object]) -> bytes:
    """The stream of what some work writes to standard output as to a place."""
    raw = io.BytesIO()
    with contextlib.redirect_stdout(io.TextIOWrapper(raw)) as out:
        place = open_place("-", output=True)
        with place.lock():
            work(place)
            place.finish()
    out.detach()
    return raw.getvalue()


def unpacked(stream: bytes, folder: Path, block_bytes: int = 1 << 18) -> LocalPlace:
    """What comes out of a stream that comes in blocks."""
    blocks = (stream[at : at + block_bytes] for at in range(0, len(stream), block_bytes))
    unpack(blocks, folder, "standard input")
    return LocalPlace(folder)


class CountingPlace(LocalPlace):
    """A folder that behaves as a distant place does, and counts what is read of it: names, and bytes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked: list[str] = []
        self.read_bytes = 0

    def fetched(self, beginning: str) -> list[str]:
        """The files that were read whose names, without their folders, begin so."""
        return [name for name in self.asked if name.rpartition("/")[2].startswith(beginning)]

    def _read(self, name: str) -> bytes:
        data = super()._read(name)
        self.asked.append(name)
        self.read_bytes += len(data)
        return data

    def _fetch(self, name: str, folder: Path) -> Path:
        copy = folder / hashlib.sha256(name.encode()).hexdigest()
        copy.write_bytes(self._read(name))
        return copy
