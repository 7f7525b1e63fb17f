"""A target in memory, for tests of sources and transformers."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from migrator.codec import decode
from migrator.codec.equality import differing_path
from migrator.errors import ConfigError
from migrator.model import Batch, Document, EncodedDocument, Fault, Outcome, Status

CONFLICT_STATUS = 409


class MemoryLoader:
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
        """It has no other name."""
        return "memory"

    def target_name(self, collection: str) -> str:
        """The collection's own.

        Raises:
            ConfigError: it is empty.
        """
        if not collection:
            raise ConfigError("A collection has an empty name.", hint="Give it one.")
        return collection

    def screen(self, id: str, top_level: Document, body: bytes) -> Fault | None:  # noqa: ARG002
        """Everything fits into memory."""
        return None

    def prepare(self, collection: str, mark: int | None) -> None:  # noqa: ARG002
        """Make room for the collection."""
        self.store.setdefault(collection, {})

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:  # noqa: ARG002
        """Keep what is not there yet."""
        with self._lock:
            return [self.keep(batch.collection, document) for document in batch.documents]

    def keep(self, collection: str, document: EncodedDocument) -> Outcome:
        """Keep one document, and say what became of it.

        Args:
            collection: where it belongs.
            document: its id and text.
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

    def flush(self, collection: str) -> int | None:  # noqa: ARG002
        """Nothing waits to be written."""
        return None

    def finish(self, collection: str) -> None:
        """There is nothing to complete."""

    def close(self) -> None:
        """There is nothing to let go of."""

    def documents(self, collection: str) -> list[Mapping[str, Any]]:
        """What a collection holds, in the order of ids.

        Args:
            collection: its name.

        Returns:
            the documents; none where nothing was prepared.
        """
        return [json.loads(text) for _, text in sorted(self.store.get(collection, {}).items())]
