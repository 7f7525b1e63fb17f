"""Compares two sorted streams of documents: what the source holds after its transformers, and what is stored.

Memory is bounded by one batch of open questions, whatever the number of documents or differences.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

from migrator.codec import decode
from migrator.codec.equality import content, differing_path
from migrator.couch.id_ranges import Part
from migrator.couch.rows import Row
from migrator.files.sorting import side_by_side
from migrator.model import EncodedDocument

# Documents whose equality needs the stored body are read so many, or so many bytes of source, at a time.
MAX_OPEN_DOCUMENTS = 200
MAX_OPEN_BYTES = 4_000_000
# Where all is equal, a step is given so often, for progress and checkpoint.
DOCUMENTS_PER_STEP = 10_000

MISSING = "missing"
EXTRA = "extra"
DIFFERENT = "different"


class Difference(NamedTuple):
    """One document on which source and target do not agree. `path` is the first place where they differ."""

    collection: str
    id: str
    kind: str
    path: str = ""


class TargetReader:
    """What a target lets us read for verification: here, one that is whole and gives each document's text."""

    def stored(self, collection: str, *, after: str | None = None, within: Part | None = None) -> Iterator[Row]:
        """What is there, in ascending order of the ids' UTF-8 bytes, after an id; with its text or without.

        Args:
            collection: its name.
            after: only what comes after this id.
            within: only what is in this part; of a target that `divides` alone.
        """
        raise NotImplementedError

    def divides(self, collection: str) -> bool:  # noqa: ARG002
        """True where parts can be read by themselves, by several at once."""
        return False

    def lists_surely(self, collection: str) -> bool:  # noqa: ARG002
        """True when what `stored` did not give is not there; else it is asked for before it is called missing."""
        return True

    def is_revision_of(self, collection: str, document: EncodedDocument, rev: str) -> bool:  # noqa: ARG002
        """True when the revision proves that the stored content is this; False when that is not known."""
        return False

    def differing(self, collection: str, document: EncodedDocument, there: Row) -> str | None:  # noqa: ARG002
        """The first path at which what is there is not what the target makes of a document; None when equal."""
        assert there.document is not None
        if there.document == document.body:
            return None
        return differing_path(content(decode(document.body)), content(decode(there.document)), stored=False)

    def documents(self, collection: str, ids: Sequence[str]) -> Iterator[tuple[str, Row | None]]:  # noqa: ARG002
        """Each of these ids, which differ, with what is there, its text too; None for what is not there."""
        return ((id, None) for id in ids)


@dataclass(slots=True)
class Comparison:
    """The numbers of one collection: `source` = equal + different + missing."""

    source: int = 0
    target: int = 0
    equal: int = 0
    different: int = 0
    missing: int = 0
    extra: int = 0

    @property
    def ok(self) -> bool:
        """True when both sides hold the same."""
        return not (self.different or self.missing or self.extra)

    def as_dict(self) -> dict[str, int]:
        """The numbers by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class Step(NamedTuple):
    """A piece of the way: everything up to and with the id `settled` is compared; these are its differences."""

    settled: str
    differences: tuple[Difference, ...]


def compare_collection(
    collection: str,
    source: Iterator[EncodedDocument],
    target: Iterator[Row],
    reader: TargetReader,
    numbers: Comparison,
    *,
    ignore_extra_design: bool,
) -> Generator[Step]:
    """Walk both streams side by side.

    Args:
        collection: its name.
        source: sorted by id; of several documents with one id, the first counts and the others must equal it.
        target: sorted by id.
        reader: reads bodies where the revision proves nothing.
        numbers: counted up; they belong to the last step that was given.
        ignore_extra_design: design documents that only the target has are its own.

    Yields:
        steps in order; save after each what is needed to go on after it.
    """
    opened: list[EncodedDocument] = []
    found: list[Difference] = []
    size_bytes = 0
    boundary = ""
    met_id: str | None = None
    met: Row | None = None
    unlisted: set[str] = set()

    def close() -> Step:
        nonlocal size_bytes
        found.extend(_settle(collection, opened, reader, numbers, unlisted))
        unlisted.clear()
        step = Step(boundary, tuple(sorted(found, key=lambda difference: difference.id.encode())))
        opened.clear()
        found.clear()
        size_bytes = 0
        return step

    documents = ((document.id, document) for document in source)
    for id, document, stored in side_by_side(documents, ((there.id, there) for there in target)):
        boundary = id
        if document is None:
            numbers.target += 1
            if not (ignore_extra_design and id.startswith("_design/")):
                numbers.extra += 1
                found.append(Difference(collection, id, EXTRA))
            if len(found) >= MAX_OPEN_DOCUMENTS:
                yield close()
            continue
        numbers.source += 1
        if id != met_id:
            met_id, met = id, stored
            numbers.target += met is not None
        # Known only when the list was begun: its copies are brought together then.
        if met is None and reader.lists_surely(collection):
            numbers.missing += 1
            found.append(Difference(collection, document.id, MISSING))
        elif met is None:
            unlisted.add(document.id)
            opened.append(document)
            size_bytes += len(document.body)
        elif reader.is_revision_of(collection, document, met.rev):
            numbers.equal += 1
        elif met.document is not None:
            _count(collection, document.id, reader.differing(collection, document, met), numbers, found)
        else:
            opened.append(document)
            size_bytes += len(document.body)
        full = max(len(opened), len(found)) >= MAX_OPEN_DOCUMENTS or size_bytes >= MAX_OPEN_BYTES
        if full or numbers.source % DOCUMENTS_PER_STEP == 0:
            yield close()
    yield close()


def _settle(
    collection: str,
    opened: Sequence[EncodedDocument],
    reader: TargetReader,
    numbers: Comparison,
    unlisted: set[str],
) -> list[Difference]:
    found: list[Difference] = []
    if not opened:
        return found
    # An id can come twice.
    ours: dict[str, list[EncodedDocument]] = {}
    for document in opened:
        ours.setdefault(document.id, []).append(document)
    for id, there in reader.documents(collection, list(ours)):
        for document in ours[id]:
            if there is None:
                numbers.missing += 1
                found.append(Difference(collection, id, MISSING))
            else:
                # A twin of it is not another document of the target.
                numbers.target += id in unlisted
                unlisted.discard(id)
                _count(collection, id, reader.differing(collection, document, there), numbers, found)
        # One at a time: they can be large.
        del there
    return found


def _count(collection: str, id: str, path: str | None, numbers: Comparison, found: list[Difference]) -> None:
    if path is None:
        numbers.equal += 1
    else:
        numbers.different += 1
        found.append(Difference(collection, id, DIFFERENT, path))
