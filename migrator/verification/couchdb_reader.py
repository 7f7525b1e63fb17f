"""Reads a server's databases for verification: ids and revisions first, bodies only where they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from migrator.couch.client import CouchClient
from migrator.couch.copies import settle
from migrator.couch.documents import Fidelity, fidelity_of
from migrator.model import Document
from migrator.retry.retrier import Retrier
from migrator.verification.compare import Stored

PAGE_ROWS = 20_000


class CouchReader:
    """A TargetReader of one server; a reading that breaks off is taken up again.

    Args:
        client: the server.
        names: database by collection.
        retrier: tries again.
    """

    def __init__(self, client: CouchClient, names: Mapping[str, str], retrier: Retrier) -> None:
        self._client = client
        self._names = names
        self._retrier = retrier
        self._fidelity: dict[str, Fidelity] = {}

    @property
    def unconfirmed(self) -> Sequence[str]:
        """What of the lists that were read could not be made sure of, as sentences."""
        return self._client.doubts

    def stored(self, collection: str, *, after: str | None = None) -> Iterator[Stored]:
        """Ids and revisions by `_all_docs`; nothing where there is no database."""
        database = self._names[collection]
        last = after
        settle(self._client, database, self._retrier)

        def opened() -> Iterator[Stored]:
            self._fidelity[collection] = fidelity_of(self._client.welcome(), database)
            if self._client.database_info(database) is None:
                return iter(())
            rows = self._client.rows(database, after=last, page_rows=PAGE_ROWS)
            return (Stored(row.id, rev=row.rev) for row in rows)

        for row in self._retrier.iterate(f"read {database}", opened):
            last = row.id
            yield row

    def lists_surely(self, collection: str) -> bool:
        """True when all copies of the database were brought together before it was listed."""
        return self._names[collection] not in self._client.unconfirmed

    def is_revision_of(self, collection: str, body: bytes, rev: str) -> bool:
        """True when this server computes this first revision from this content."""
        return self._fidelity[collection].proves(body, rev)

    def differing(self, collection: str, body: bytes, there: Document) -> str | None:
        """By what this server keeps of a document."""
        return self._fidelity[collection].differing(body, there)

    def documents(self, collection: str, ids: Sequence[str]) -> Iterator[tuple[str, Document | None]]:
        """The documents with their attachments, one after the other."""
        database = self._names[collection]
        left = list(ids)
        what = f"read {database}"
        for id, document in self._retrier.iterate(what, lambda: self._client.documents(database, left)):
            left.remove(id)
            yield id, document
