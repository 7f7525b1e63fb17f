"""Reads a target for verification: a server by ids and revisions, a folder by sorting its files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from migrator.couch.client import CouchClient
from migrator.couch.copies import settle
from migrator.couch.documents import Fidelity, fidelity_of
from migrator.couch.endpoint import is_server_url
from migrator.couch.id_ranges import Part
from migrator.couch.listing import COUCHDB_RANGES, DocumentsWanted, Listing, ascending
from migrator.couch.rows import Row
from migrator.couch.settings import missing
from migrator.errors import ConfigError
from migrator.extractors.ndjson import NdjsonExtractor
from migrator.files.sorting import ExternalSorter
from migrator.jobs.open import OpenJob
from migrator.jobs.registry import open_client, refuse_plugin_target, target_text
from migrator.model import Document, EncodedDocument
from migrator.pipeline.batching import Assembly
from migrator.retry.retrier import Retrier
from migrator.verification.compare import TargetReader

PAGE_ROWS = 20_000
# Of the first page it is not known yet whether it is worth it to read documents with it.
FIRST_PAGE_ROWS = 1_000
# So many ranges at once are read with documents.
AT_ONCE = 4
# A verification may hold one such sort for each side.
SORT_MEMORY_BYTES = 24_000_000


@contextlib.contextmanager
def open_reader(
    job: OpenJob, spool: Path, environ: Mapping[str, str] | None = None, *, must_exist: bool = False
) -> Iterator[TargetReader]:
    """The reader of a job's target.

    Args:
        job: the job.
        spool: a folder for sorting.
        environ: the environment.
        must_exist: a folder or a database that is named is there; each one of a whole server may be missing.

    Raises:
        ConfigError, DatabaseMissing: it is not.
    """
    target = target_text(job.config, environ)
    if not is_server_url(target):
        refuse_plugin_target(target)
        if must_exist and not Path(target).exists():
            raise ConfigError(f"There is no folder {target}.", hint="Look at the path, and where it starts from.")
        with contextlib.ExitStack() as stack:
            yield FolderReader(Path(target), job.names, spool, stack)
        return
    client, database = open_client(job.config, "target", environ)
    with contextlib.closing(client):
        if must_exist and database is not None and client.database_info(database) is None:
            raise missing(client.url, database)
        yield CouchReader(client, job.names, job.retrier)


class FolderReader(TargetReader):
    """A TargetReader of a folder of NDJSON files."""

    def __init__(self, folder: Path, names: Mapping[str, str], spool: Path, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self._names = names
        self._spool = spool
        self._stack = stack

    def stored(
        self,
        collection: str,
        *,
        after: str | None = None,
        within: Part | None = None,  # noqa: ARG002
    ) -> Iterator[Row]:
        """The file's documents, sorted; nothing where there is no file."""
        path = self._folder / self._names[collection]
        if not path.exists():
            return
        sorter = self._stack.enter_context(
            ExternalSorter(self._spool / path.name, max_memory_bytes=SORT_MEMORY_BYTES)
        )
        extractor = NdjsonExtractor(path)
        assembly = Assembly()
        name = extractor.collections()[0]
        for record in extractor.extract(name):
            made = assembly.assemble(record)
            if not isinstance(made, EncodedDocument):
                place = extractor.describe_position(name, record.position)
                raise ConfigError(
                    f"{place} is not a document: {made.reason if made else ''}", hint="Write the folder again."
                )
            sorter.add(made.id, made.body)
        for id, body in sorter.sorted_items(after):
            yield Row(id, "", body)


class CouchReader(TargetReader):
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
        self._wanted = DocumentsWanted()

    @property
    def unconfirmed(self) -> Sequence[str]:
        """What of the lists that were read could not be made sure of, as sentences."""
        return self._client.doubts

    def divides(self, collection: str) -> bool:
        """True where the server lists ids in the order of their bytes."""
        return self._client.listing(self._names[collection]).id_ranges is COUCHDB_RANGES

    def stored(self, collection: str, *, after: str | None = None, within: Part | None = None) -> Iterator[Row]:
        """Ids and revisions by `_all_docs`; nothing where there is no database."""
        database = self._names[collection]
        last = after
        settle(self._client, database, self._retrier)

        def opened() -> Iterator[Row]:
            self._fidelity[collection] = fidelity_of(self._client.welcome(), database)
            if self._client.database_info(database) is None:
                return iter(())
            listing = self._client.listing(database)
            if within is not None:
                return ascending(self._rows(listing.within(within), last), listing.what, last)
            return self._rows(listing, last)

        for row in self._retrier.iterate(f"read {database}", opened):
            last = row.id
            yield row

    def _rows(self, listing: Listing, after: str | None) -> Iterator[Row]:
        """The list, page after page; several ranges at once as soon as the documents are wanted too."""
        last, page_rows = after, FIRST_PAGE_ROWS
        while not self._wanted():
            count = 0
            for row in islice(listing.rows(after=last, page_rows=page_rows), page_rows):
                count, last = count + 1, row.id
                yield row
            if count < page_rows:
                return
            page_rows = PAGE_ROWS
        yield from listing.rows(after=last, include_docs=self._wanted, at_once=AT_ONCE)

    def lists_surely(self, collection: str) -> bool:
        """True when all copies of the database were brought together before it was listed."""
        return self._names[collection] not in self._client.unconfirmed

    def is_revision_of(self, collection: str, document: EncodedDocument, rev: str) -> bool:
        """True when this server computes this first revision from this content."""
        proven = self._fidelity[collection].proves(document, rev)
        self._wanted.note(1, not proven)
        return proven

    def differing(self, collection: str, document: EncodedDocument, there: Row) -> str | None:
        """By what this server keeps of a document."""
        if there.document is not None and self._fidelity[collection].equal(document, there.document):
            return None
        what = f"read {there.id!r:.100}"
        stored = self._retrier.call(what, lambda _: self._client.document_of(self._names[collection], there))
        # What went away meanwhile has nothing that is equal.
        return "" if stored is None else self.difference(collection, document.body, stored)

    def difference(self, collection: str, body: bytes, there: Document) -> str | None:
        """The same of a whole document, with plain attachments."""
        return self._fidelity[collection].differing(body, there)

    def documents(self, collection: str, ids: Sequence[str]) -> Iterator[tuple[str, Row | None]]:
        """What is there, one after the other."""
        database = self._names[collection]
        left = list(ids)
        what = f"read {database}"
        for id, row in self._retrier.iterate(what, lambda: self._client.stored(database, left)):
            left.remove(id)
            yield id, row
