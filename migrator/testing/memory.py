"""Loading without a job: a target in memory, for tests of sources and transformers, and a run of any loader."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from migrator.codec import decode
from migrator.codec.equality import differing_path
from migrator.errors import ConfigError
from migrator.model import Batch, EncodedDocument, Loader, Outcome, Status

CONFLICT_STATUS = 409


class MemoryLoader(Loader):
    """A loader that keeps the texts of documents by id, so that the same batch twice leaves what once leaves.

    >>> from migrator.model import Batch, EncodedDocument
    >>> loader = MemoryLoader()
    >>> loader.load(Batch("agents", (EncodedDocument("a", b'{"_id":"a"}'),)))[0].status.value
    'written'
    >>> loader.documents("agents")
    [{'_id': 'a'}]

    Args:
        store: by collection, the text of each document by its id; loaders that share one see the same target.
        on_conflict: what to do about other content under an id: fail, skip or overwrite.
        max_in_flight: how many batches may be written at once.
    """

    def __init__(
        self,
        store: dict[str, dict[str, bytes]] | None = None,
        *,
        on_conflict: str = "fail",
        max_in_flight: int = 4,
    ) -> None:
        self.store = {} if store is None else store
        self.max_in_flight = max_in_flight
        self._on_conflict = on_conflict
        self._lock = threading.Lock()

    def describe(self) -> str:
        """See Loader.describe; all loaders in memory have one name."""
        return "memory"

    def target_name(self, collection: str) -> str:
        """See Loader.target_name; it is the collection's own.

        Raises:
            ConfigError: it is empty.
        """
        if not collection:
            raise ConfigError("A collection has an empty name.", hint="Give it one.")
        return collection

    def prepare(self, collection: str, mark: int | None) -> None:  # noqa: ARG002
        """See Loader.prepare; it makes room for the collection."""
        self.store.setdefault(collection, {})

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:  # noqa: ARG002
        """See Loader.load; it keeps what is not there yet."""
        with self._lock:
            return [self.keep(batch.collection, document) for document in batch.documents]

    def keep(self, collection: str, document: EncodedDocument) -> Outcome:
        """Keep one document, and say what became of it.

        Args:
            collection: where it belongs.
            document: its id and text.

        Returns:
            What became of it.
        """
        kept = self.store.setdefault(collection, {})
        there = kept.get(document.id)
        if there is not None:
            if differing_path(decode(document.body), decode(there), stored=False) is None:
                return Outcome(document.id, Status.UNCHANGED)
            if self._on_conflict != "overwrite":
                status = Status.SKIPPED if self._on_conflict == "skip" else Status.REJECTED
                reason = "other content is there under this id"
                return Outcome(document.id, status, "conflict", reason, conflict=True, http_status=CONFLICT_STATUS)
        kept[document.id] = document.body
        return Outcome(document.id, Status.WRITTEN, conflict=there is not None)

    def documents(self, collection: str) -> list[Mapping[str, Any]]:
        """What a collection holds, in the order of ids.

        Args:
            collection: its name.

        Returns:
            The documents; none where nothing was prepared.
        """
        return [json.loads(text) for _, text in sorted(self.store.get(collection, {}).items())]


def batch_of(collection: str, documents: Iterable[Mapping[str, Any]], end: int = 1) -> Batch:
    """Make a batch as the pipeline makes it.

    Args:
        collection: the collection's name.
        documents: documents with an `_id`.
        end: the position after them.

    Returns:
        The batch.
    """
    encoded = tuple(
        EncodedDocument(document["_id"], json.dumps(document, ensure_ascii=False).encode())
        for document in documents
    )
    return Batch(collection, encoded, end=end, read=len(encoded))


def load_all(
    loader: Loader,
    collection: str,
    documents: Sequence[Mapping[str, Any]],
    *,
    size: int = 7,
    mark: int | None = None,
) -> list[Outcome]:
    """Load one collection as a whole run does, and close the loader.

    Args:
        loader: an open loader.
        collection: the collection's name.
        documents: documents with an `_id`.
        size: documents per batch.
        mark: what an earlier `flush` returned; None at the beginning.

    Returns:
        One outcome for each document, in order.
    """
    outcomes: list[Outcome] = []
    with contextlib.closing(loader):
        loader.prepare(collection, mark)
        for begin in range(0, len(documents), size):
            outcomes += loader.load(batch_of(collection, documents[begin : begin + size], end=begin + size))
        loader.flush(collection)
        loader.finish(collection)
    return outcomes
