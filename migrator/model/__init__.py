"""The nouns and protocols of the library: read this file first.

Data flows one way: an `Extractor` yields `Record`s, `Transformer`s map their documents, a codec turns each
into an `EncodedDocument`, documents travel in a `Batch` to a `Loader`, which answers one `Outcome` for each.
Only then does the checkpoint move to `Batch.end`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

Document: TypeAlias = Mapping[str, Any]
"""A JSON object as Python holds it. Never changed after it was read; stages make new ones."""

Position: TypeAlias = str | int
"""Where reading can go on: a key, a sequence or a file offset. Opaque to all but the extractor that made it."""

Transformer: TypeAlias = Callable[[Document], Document | None]
"""A pure function of one document; None filters the document out."""


class Fault(NamedTuple):
    """Why something that was read is not a document that can be written.

    `error` is one machine-readable word, `reason` one sentence for people with the place in it. `document` is
    what could be had of it: an object, or as bytes its text that is no JSON; `notation` names what it was read as.
    """

    error: str
    reason: str
    id: str = ""
    document: Any = None
    notation: str = ""


class EncodedDocument(NamedTuple):
    """A document ready to be sent: its id and one JSON object as UTF-8 bytes, without a line break."""

    id: str
    body: bytes


class Record(NamedTuple):
    """One thing that an extractor read; exactly one of `document`, `text`, `fault`, `filtered`, `encoded` counts.

    `text` is the UTF-8 JSON text of one document as the source holds it, so that nothing need parse what no
    stage looks at. `filtered` stands for so many documents that were read and filtered out before, `encoded` for
    one that was transformed, encoded and screened before. `position` is where reading goes on *after* this record.
    """

    position: Position
    document: Document | None = None
    text: bytes | None = None
    fault: Fault | None = None
    filtered: int = 0
    encoded: EncodedDocument | None = None


class Reject(NamedTuple):
    """A document that was not written, for the reject file. `status` is the HTTP status, None where none was.

    `document` and `notation` are those of the `Fault`. `database` is the database or file that was meant, ""
    where that is not known; `again` the command that writes what `retry` cannot, such as a whole revision.
    """

    collection: str
    id: str
    stage: str  # "extract", "transform" or "load"
    error: str
    reason: str
    attempts: int = 1
    status: int | None = None
    document: Any = None
    database: str = ""
    again: str = ""
    notation: str = ""


class Status(Enum):
    """How a document that reached the loader ended."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    REJECTED = "rejected"


class Outcome(NamedTuple):
    """What became of one document; a loader answers exactly one for each document, in the batch's order.

    `conflict` says that another content stood at the target under this id, whatever the policy then did.
    """

    id: str
    status: Status
    error: str = ""
    reason: str = ""
    conflict: bool = False
    attempts: int = 1
    http_status: int | None = None


@dataclass(frozen=True)
class Batch:
    """Documents that travel together, with the counts of what was read to make them.

    `read` = documents + filtered + rejects. `end` is the position after the last record read for it; None
    means that nothing new was read.
    """

    collection: str
    documents: tuple[EncodedDocument, ...]
    end: Position | None = None
    read: int = 0
    filtered: int = 0
    rejects: tuple[Reject, ...] = ()

    @cached_property
    def size_bytes(self) -> int:
        """Sum of the encoded documents' lengths."""
        return sum([len(document.body) for document in self.documents])

    @cached_property
    def ids(self) -> frozenset[str]:
        """The documents' ids, each once."""
        return frozenset([document.id for document in self.documents])


@dataclass(slots=True)
class Counts:
    """The fate of every document of one collection; `accounted` is the product's promise."""

    read: int = 0
    written: int = 0
    unchanged: int = 0
    skipped: int = 0
    filtered: int = 0
    rejected: int = 0
    conflicts: int = 0

    @property
    def accounted(self) -> bool:
        """True when every document that was read has ended in exactly one way."""
        return self.read == self.written + self.unchanged + self.skipped + self.filtered + self.rejected

    def add(self, other: Counts) -> None:
        """Add another's numbers to this one's."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @classmethod
    def sum(cls, all_counts: Iterable[Counts]) -> Counts:
        """The numbers of several together."""
        totals = cls()
        for counts in all_counts:
            totals.add(counts)
        return totals

    def as_dict(self) -> dict[str, int]:
        """The numbers by name, in the report's order."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True)
class BatchLimits:
    """A batch is full at whichever comes first. A larger document travels alone."""

    max_docs: int = 1_000
    max_bytes: int = 2_000_000


@dataclass(frozen=True, slots=True)
class CollectionReport:
    """What one run did with one collection. `database` is the database or file it went to."""

    database: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class Report:
    """What one run did.

    Args:
        collections: by name.
        seconds: how long it took.
        carried: what earlier, interrupted runs of the same checkpoint had settled.
        unconfirmed: what could not be made sure of, as sentences.
    """

    collections: dict[str, CollectionReport]
    seconds: float
    carried: Counts = field(default_factory=Counts)
    unconfirmed: tuple[str, ...] = ()

    @property
    def totals(self) -> Counts:
        """The sum over all collections."""
        return Counts.sum(collection.counts for collection in self.collections.values())

    @property
    def rejected(self) -> int:
        """Rejected documents of the whole job: of this run and of those that it went on from."""
        return self.totals.rejected + self.carried.rejected

    @property
    def ok(self) -> bool:
        """True when every document is accounted for and none was rejected, here or in the runs gone on from."""
        return self.rejected == 0 and all(c.counts.accounted for c in self.collections.values())


@runtime_checkable
class Extractor(Protocol):
    """A source. Reading is resumable and repeatable; it never changes what it reads."""

    ordered: bool
    """True when `extract` yields documents in ascending order of their ids' UTF-8 bytes."""

    def describe(self) -> str:
        """A stable name of the source without credentials: it goes into the checkpoint and to people."""
        ...

    def collections(self) -> Sequence[str]:
        """The names of the collections, in the order in which they are read."""
        ...

    def count(self, collection: str) -> int | None:
        """How many documents there are, for progress only; None where that would cost a reading."""
        ...

    def identity(self, collection: str) -> str:
        """Something that changes when positions taken earlier no longer fit; "" where they always do."""
        ...

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """Yield what comes after a position; a record that is no document is yielded as a `Fault`, not raised."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


@runtime_checkable
class Loader(Protocol):
    """A target. `load` is idempotent: the same batch twice leaves what once leaves."""

    max_in_flight: int
    """How many `load` calls may run at once, from as many threads."""

    def describe(self) -> str:
        """A stable name of the target without credentials."""
        ...

    def target_name(self, collection: str) -> str:
        """The database or file that the collection goes to. Raises ConfigError for a name that cannot be."""
        ...

    def screen(self, id: str, top_level: Document, body: bytes) -> Fault | None:
        """Say why the target is sure to refuse a document, or None. `top_level` may hold inexact numbers."""
        ...

    def prepare(self, collection: str, mark: int | None) -> None:
        """Create or open the target once, before the first batch; `mark` is what `flush` gave the checkpoint."""
        ...

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
        """Write the documents and say what became of each.

        Args:
            batch: the documents.
            resend: an earlier attempt's outcome is unknown, so documents may be there already.

        Raises:
            TransientError: nothing is known or nothing was done; the same call may work later.
            BatchRefused: the target refuses the batch as a whole; a part of it may pass.
            MigratorError: nothing of this batch can pass.
        """
        ...

    def flush(self, collection: str) -> int | None:
        """Make what was loaded durable; the answer is kept in the checkpoint and given to `prepare` on resume."""
        ...

    def finish(self, collection: str) -> None:
        """The collection is complete."""
        ...

    def close(self) -> None:
        """Let go of files and connections; what is incomplete stays so."""
        ...
