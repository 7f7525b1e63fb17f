"""Reads a server's databases for verification: ids and revisions first, bodies only where they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from migrator.couch.client import CouchClient
from migrator.couch.revision import first_revision, rule_holds
from migrator.model import Document
from migrator.verify import Stored

PAGE_ROWS = 20_000


class CouchReader:
    """A TargetReader of one server.

    Args:
        client: the server.
        names: database by collection.
    """

    changes_values = True

    def __init__(self, client: CouchClient, names: Mapping[str, str]) -> None:
        self._client = client
        self._names = names
        self._rule_holds: bool | None = None

    def stored(self, collection: str, *, after: str | None = None) -> Iterator[Stored]:
        """Ids and revisions by `_all_docs`; nothing where there is no database."""
        database = self._names[collection]
        if self._rule_holds is None:
            self._rule_holds = rule_holds(self._client.welcome())
        if self._client.database_info(database) is None:
            return
        for row in self._client.rows(database, after=after, page_rows=PAGE_ROWS):
            yield Stored(row.id, rev=row.rev)

    def is_revision_of(self, body: bytes, rev: str) -> bool:
        """True when this server computes this first revision from this content."""
        return bool(self._rule_holds) and rev.startswith("1-") and first_revision(body) == rev

    def documents(self, collection: str, ids: Sequence[str]) -> Mapping[str, Document | None]:
        """The documents with their attachments."""
        return self._client.documents(self._names[collection], ids)
