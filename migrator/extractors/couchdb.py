"""Reads CouchDB through `_all_docs`, page after page by key, never by `skip`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from migrator.codec import InvalidDocument, Unencodable, encode, top_level
from migrator.config import JobConfig
from migrator.couch.client import CouchClient
from migrator.couch.copies import settle, settled_info
from migrator.couch.documents import with_plain_attachments
from migrator.couch.endpoint import database_url
from migrator.couch.locate import client_of
from migrator.couch.settings import missing, start_of
from migrator.errors import ConfigError
from migrator.extractors.base import chosen, select_collections, up_to
from migrator.model import Extractor, Fault, Position, Record
from migrator.model.capabilities import Traits

PAGE_ROWS = 5_000


class CouchExtractor:
    """All databases of a server, or one. Design documents come along; `_local` and deleted ones do not.

    Args:
        client: the server.
        database: the one to read; None for all but the system's own.
        collections: of all databases just these, in this order; only an admin may list all.
        page_rows: rows asked for at once; they are streamed, so this costs no memory.
        at_once: how many ranges of ids are read at once, each with a connection of its own.
    """

    ordered = True
    traits = Traits(couchdb=True)

    def __init__(
        self,
        client: CouchClient,
        database: str | None = None,
        *,
        collections: Sequence[str] | None = None,
        page_rows: int = PAGE_ROWS,
        at_once: int = 1,
    ) -> None:
        self._client = client
        self._database = database
        self._collections = None if collections is None else tuple(dict.fromkeys(collections))
        self._page_rows = page_rows
        self._at_once = at_once

    def describe(self) -> str:
        """The URL of server or database, without credentials."""
        return database_url(self._client.endpoint, self._database)

    def collections(self) -> Sequence[str]:
        """The database, the chosen ones, or all whose names do not begin with `_`."""
        if self._database is not None:
            self._info(self._database)
            return select_collections([self._database], self._collections, source=self._client.url)
        if self._collections is not None:
            for name in self._collections:
                self._info(name)
            return self._collections
        return [name for name in self._client.databases() if not name.startswith("_")]

    @property
    def unconfirmed(self) -> Sequence[str]:
        """What of the lists that were read could not be made sure of, as sentences."""
        return self._client.doubts

    def count(self, collection: str) -> int | None:
        """The server's own count."""
        count = self._found(collection, settled_info(self._client, collection)).get("doc_count")
        return count if isinstance(count, int) else None

    def identity(self, collection: str) -> str:
        """When the database was created: one of the same name that was created again is another."""
        return start_of(self._info(collection))

    def address(self, collection: str) -> str:
        """The database's URL."""
        return database_url(self._client.endpoint, collection)

    def describe_position(self, collection: str, position: Position) -> str:
        """The document's address."""
        return f"{self.address(collection)} {position!r:.100}"

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """Yield documents in order of their ids' bytes; `after` is an id."""
        if after is not None and not isinstance(after, str):
            raise ConfigError(f"The position {after!r} is not a document id.", hint="Start over with --restart.")
        settle(self._client, collection)
        rows = self._client.listing(collection).rows(
            after=after, include_docs=True, page_rows=self._page_rows, at_once=self._at_once
        )
        for row in rows:
            text = row.document
            if text is None:
                # Deleted between the index and the body.
                continue
            if b'"_attachments":{' in text and _has_attachments(text):
                record = self._with_attachments(collection, row.id)
                if record is not None:
                    yield record
            else:
                yield Record(row.id, text=text)

    def bounds(self, collection: str, parts: int, min_rows: int) -> list[str]:
        """Keys that divide a database into about so many ranges of at least so many documents."""
        rows = max(-(-(self.count(collection) or 0) // parts), min_rows)
        return self._client.listing(collection, f"Dividing {collection}").boundaries(rows)

    def size(self, collection: str) -> int:
        """The number of documents."""
        return self.count(collection) or 0

    def extract_range(self, collection: str, after: Position | None, upto: Position) -> Iterator[Record]:
        """Yield what comes after one position, up to and with another."""
        return up_to(self.extract(collection, after=after), upto, lambda position: str(position).encode())

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _with_attachments(self, collection: str, id: str) -> Record | None:
        document = self._client.get_document(collection, id, attachments=True)
        if document is None:
            return None
        try:
            return Record(id, text=encode(with_plain_attachments(document)))
        except Unencodable as error:
            return Record(id, fault=Fault(error.error, error.reason, id, document))

    def _info(self, database: str) -> Mapping[str, object]:
        return self._found(database, self._client.database_info(database))

    def _found(self, database: str, info: Mapping[str, object] | None) -> Mapping[str, object]:
        if info is None:
            raise missing(self._client.url, database)
        return info


def _has_attachments(text: bytes) -> bool:
    try:
        return "_attachments" in top_level(text)
    except InvalidDocument:
        # Whoever reads the text next says what is wrong with it.
        return False


def open_source(source: str, config: JobConfig, environ: Mapping[str, str]) -> Extractor:
    """The source that a SOURCE names."""
    most = config.readers + 2
    client, database = client_of(config, source, role="source", environ=environ, max_connections=most)
    return CouchExtractor(client, database, collections=chosen(config), at_once=config.readers)
