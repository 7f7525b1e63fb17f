"""Reads a CouchDB as a whole once, then only what changed since: documents as they are now, and deletions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from migrator.codec import encode
from migrator.couch.changes import Change, ChangesFeed
from migrator.couch.client import CouchClient
from migrator.couch.copies import copies_of, settle
from migrator.errors import TransientError
from migrator.extractors.couchdb import CouchExtractor
from migrator.model import Document, EncodedDocument, Position, Record
from migrator.model.revisions import order_of
from migrator.retry.retrier import Retrier, repeat_while

PAGE_ROWS = 1_000
# Documents are held in memory so many at once.
MAX_DOCS_HELD = 100
MAX_TIMES_BEHIND = 8


@dataclass(frozen=True, slots=True)
class Since:
    """Where the reading of one collection begins: after a sequence, after documents that are to be read again."""

    sequence: str
    again: tuple[str, ...] = ()


class ChangesExtractor(CouchExtractor):
    """As CouchExtractor; a collection with a `Since` yields what changed after it, in no order of ids.

    A position is then the sequence after a page of changes. A document that has gone is yielded as its deletion.

    Args:
        client: the server.
        database: the one to read; None for all but the system's own.
        collections: of all databases just these.
        carry_deletions: yield deletions; else they count as filtered.
        on_lag: told how many changes of a collection are still to be read.
    """

    def __init__(
        self,
        client: CouchClient,
        database: str | None = None,
        *,
        collections: Sequence[str] | None = None,
        carry_deletions: bool = True,
        on_lag: Callable[[str, int], None] = lambda _collection, _changes: None,
    ) -> None:
        super().__init__(client, database, collections=collections)
        self.since: dict[str, Since] = {}
        self.reading_changes = False
        """True while what is yielded are changes."""
        self.retrier = Retrier()
        """Tries again inside a page, which has no positions of its own."""
        self._carry_deletions = carry_deletions
        self._on_lag = on_lag

    def count(self, collection: str) -> int | None:
        """The server's count of all documents; how many of them changed is not known before."""
        return None if collection in self.since else super().count(collection)

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """Yield all documents, or changes and what is to be tried again."""
        since = self.since.get(collection)
        self.reading_changes = since is not None
        if since is None:
            yield from super().extract(collection, after=after)
            return
        several = copies_of(self._info(collection)) > 1
        if several:
            settle(self._client, collection, self.retrier)
        position = since.sequence if after is None else str(after)
        if position == since.sequence:
            yield from self._current(collection, since.again, position, position)
        feed = ChangesFeed(self._client, collection, self.retrier, page_rows=PAGE_ROWS)
        while True:
            page = feed.page(position)
            self._on_lag(collection, len(page.changes) + (page.pending or 0))
            ids = list(dict.fromkeys(change.id for change in page.changes))
            if several and ids:
                # A copy lists a change that the others may lack yet, and documents are read from most of them.
                settle(self._client, collection, self.retrier)
            changes = {change.id: change for change in page.changes} if several else {}
            yield from self._current(collection, ids, position, page.last_seq, changes)
            position = page.last_seq
            if len(page.changes) < PAGE_ROWS:
                # What comes while we read is left for the next run, so that this one ends.
                return

    def _current(
        self,
        collection: str,
        ids: Sequence[str],
        before: str,
        behind: str,
        changes: Mapping[str, Change] | None = None,
    ) -> Iterator[Record]:
        """These documents as they are now; only the last one's position is after all of them.

        Of a cluster's database `changes` says what was listed of them, after which they must not be.
        """
        held: Record | None = None
        for begin in range(0, len(ids), MAX_DOCS_HELD):
            part = ids[begin : begin + MAX_DOCS_HELD]
            for id, document in self._documents(collection, part, changes or {}):
                if held is not None:
                    yield held
                if document is not None:
                    held = Record(before, document=document)
                elif self._carry_deletions:
                    held = Record(before, encoded=EncodedDocument(id, tombstone(id)))
                else:
                    held = Record(before, filtered=1)
        if held is not None:
            yield held._replace(position=behind)

    def _documents(
        self, collection: str, ids: Sequence[str], changes: Mapping[str, Change]
    ) -> Iterator[tuple[str, Document | None]]:
        late: list[str] = []
        for id, document in self._read(collection, ids):
            if id in changes and _is_behind(changes[id], document):
                late.append(id)
            else:
                yield id, document
        if not late:
            return
        documents: dict[str, Document | None] = {}

        def step() -> list[str]:
            documents.update(self._read(collection, late))
            return [id for id in late if _is_behind(changes[id], documents[id])]

        # What was deleted, or lost to a conflict, since it was listed looks the same; it is asked for below.
        still = repeat_while(bool, step, max_attempts=MAX_TIMES_BEHIND, sleep=self.retrier.pause)
        states = self.retrier.call(
            f"look at documents of {collection}", lambda _: self._client.lookup(collection, still) if still else {}
        )
        for id, state in states.items():
            if state is None:
                raise TransientError(
                    f"{collection}: {id!r:.100} is listed by a copy, and most copies lack it.",
                    signature="copies differ",
                )
        yield from documents.items()

    def _read(self, collection: str, ids: Sequence[str]) -> Iterator[tuple[str, Document | None]]:
        left = list(ids)
        what = f"read documents of {collection}"
        for id, document in self.retrier.iterate(what, lambda: self._client.documents(collection, left)):
            left.remove(id)
            yield id, document


def _is_behind(change: Change, document: Document | None) -> bool:
    """True when a document is older than it was listed, or not there although it was listed as no deletion."""
    if document is None:
        return not change.deleted
    return order_of(str(document["_rev"])) < order_of(change.revs[0])


def tombstone(id: str) -> bytes:
    """The deletion of a document as its text."""
    return encode({"_id": id, "_deleted": True})
