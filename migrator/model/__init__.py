"""The nouns and protocols of the library: read this file first.

Data flows one way: an `Extractor` yields `Record`s, `Transformer`s map their documents, a codec turns each
into an `EncodedDocument`, documents travel in a `Batch` to a `Loader`, which answers one `Outcome` for each.
Only then does the checkpoint move to `Batch.end`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from migrator.model.outcomes import ALTERED, CollectionReport, Counts, Outcome, Reject, Report, Status

__all__ = [
    "ALTERED",
    "Batch",
    "BatchLimits",
    "CollectionReport",
    "Counts",
    "Document",
    "EncodedDocument",
    "Extractor",
    "Fault",
    "Loader",
    "Outcome",
    "Position",
    "Record",
    "Reject",
    "Report",
    "Status",
    "Transformer",
]


Document: TypeAlias = Mapping[str, Any]
"""A JSON object as Python holds it. Never changed after it was read; stages make new ones."""

Position: TypeAlias = str | int
"""Where reading can go on: a key, a sequence or a file offset. Opaque to all but the extractor that made it."""

Transformer: TypeAlias = Callable[[Document], Document | None]
"""A pure function of one document; None filters the document out."""


class Fault(NamedTuple):
    """Why something that was read is not a document that can be written.

    `error` is one machine-readable word, `reason` one sentence for people with the place in it. `document` is
    what could be had of it: an object, or as bytes its text that is not JSON; `notation` names how it was read.
    """

    error: str
    reason: str
    id: str = ""
    document: Any = None
    notation: str = ""


class EncodedDocument(NamedTuple):
    """A document ready to be sent: its id and one JSON object as UTF-8 bytes, without a line break.

    `rev` is the first revision that CouchDB gives it, where it was computed on the way.
    """

    id: str
    body: bytes
    rev: str | None = None


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


@dataclass(frozen=True)
class BatchLimits:
    """A batch is full at whichever comes first. A larger document travels alone."""

    max_docs: int = 1_000
    max_bytes: int = 2_000_000


@runtime_checkable
class Extractor(Protocol):
    """A source. Reading is resumable and repeatable; it never changes what it reads."""

    ordered: bool
    """True when `extract` yields documents in ascending order of their ids' UTF-8 bytes."""

    def describe(self) -> str:
        """Name the source for the checkpoint and for people.

        Returns:
            A stable text without credentials.
        """

    def collections(self) -> Sequence[str]:
        """Name the collections.

        Returns:
            Names in the order in which they are read.

        Raises:
            MigratorError: the source cannot be listed.
        """

    def count(self, collection: str) -> int | None:
        """Count the documents of a collection, for progress only.

        Args:
            collection: its name.

        Returns:
            Documents; None where counting would mean reading them all.
        """

    def identity(self, collection: str) -> str:
        """Name the state of a collection that positions belong to.

        Args:
            collection: its name.

        Returns:
            A text that changes when earlier positions no longer fit; "" where they always do.
        """

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """Read a collection, or what comes after a position in it.

        Args:
            collection: its name.
            after: the position of the last record that is not wanted again; None from the beginning.

        Yields:
            One record for each thing read; what is not a document is a record with a `Fault`, not an error.

        Raises:
            TransientError: the source does not answer; the same call may work later.
            MigratorError: the source cannot be read.
        """

    def close(self) -> None:
        """Let go of files and connections."""


@runtime_checkable
class Loader(Protocol):
    """A target. `load` is idempotent: the same batch twice leaves what once leaves.

    A class that inherits from it may leave out `screen`, `flush`, `finish` and `close`.
    """

    max_in_flight: int
    """How many `load` calls may run at once, from as many threads."""

    def describe(self) -> str:
        """Name the target for the checkpoint and for people.

        Returns:
            A stable text without credentials.
        """

    def target_name(self, collection: str) -> str:
        """Name the database or file that a collection goes to.

        Args:
            collection: its name.

        Returns:
            The database's name, or the file's path.

        Raises:
            ConfigError: no such name is possible.
        """

    def screen(self, id: str, top_level: Document, body: bytes) -> Fault | None:  # noqa: ARG002
        """Find a document that the target is sure to refuse, before it is sent.

        Args:
            id: the document's id.
            top_level: its fields; numbers may be inexact.
            body: its text, as it would be sent.

        Returns:
            Why it would be refused; None where it may pass.
        """
        return None

    def prepare(self, collection: str, mark: int | None) -> None:
        """Create or open the target once, before the first batch.

        Args:
            collection: the collection's name.
            mark: what `flush` returned for the checkpoint; None at the beginning.

        Raises:
            MigratorError: the target cannot be created or opened.
        """

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
        """Write the documents and say what became of each.

        Args:
            batch: the documents.
            resend: an earlier attempt's outcome is unknown, so documents may be there already.

        Returns:
            One outcome for each document, in the batch's order.

        Raises:
            TransientError: nothing is known or nothing was done; the same call may work later.
            BatchRefused: the target refuses the batch as a whole; a part of it may pass.
            MigratorError: nothing of this batch can pass.
        """

    def flush(self, collection: str) -> int | None:  # noqa: ARG002
        """Make what was loaded durable.

        Args:
            collection: the collection's name.

        Returns:
            A mark that the checkpoint keeps and `prepare` gets on resume; None where none is needed.

        Raises:
            MigratorError: it cannot be made durable.
        """
        return None

    def finish(self, collection: str) -> None:  # noqa: ARG002
        """Complete the collection: no further batch follows.

        Args:
            collection: its name.

        Raises:
            MigratorError: it cannot be completed.
        """
        return

    def close(self) -> None:
        """Let go of files and connections; what is incomplete stays so."""
        return
