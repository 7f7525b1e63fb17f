"""What takes more than one request: many documents at once, and what a query finds.

Documents go in one `_bulk_docs`, with more rounds only for those that are there already. Queries come in pages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from migrator.codec import Unencodable, encode
from migrator.couch.client import CouchClient
from migrator.couch.documents import fidelity_of, with_revision
from migrator.couch.trouble import ALONE, CONFLICT, Suspects, is_verdict
from migrator.database import service
from migrator.database.service import Row
from migrator.errors import BatchRefused, TransientError
from migrator.retry.retrier import MAX_ATTEMPTS_AT_ONE_DOCUMENT, repeat_while
from migrator.retry.window import divide_refused

NO_ANSWER = {"error": "no answer", "reason": "no row for it came back"}
# One request holds so much; the server reads all of it before it writes.
MAX_REQUEST_DOCS = 10_000
MAX_REQUEST_BYTES = 32_000_000
# Each race lost means that another writer was faster; so many in a row mean something else.
MAX_RACES = 30


class Write(NamedTuple):
    """A document to write: its body without a revision, and the revision to write over, or None for a new one."""

    id: str
    body: bytes
    rev: str | None = None

    @property
    def text(self) -> bytes:
        """What is sent."""
        return self.body if self.rev is None else with_revision(self.body, self.rev)


def post(client: CouchClient, database: str, writes: Sequence[Write]) -> list[Row]:
    """Write documents with different ids; a row for each, in order.

    A document for which the server refuses the whole request is found, and the others are written. What the server
    does not store without a verdict on the document is sent again; it is called the document's fault only where
    others are stored.

    Raises:
        TargetMissing: there is no such database.
        TransientError: the server is in trouble; some of them may be written.
    """
    rows: dict[str, Row] = {}
    troubles: dict[int, Mapping[str, Any]] = {}

    def send(part: Sequence[Write], resend: bool) -> list[Mapping[str, Any]]:  # noqa: ARG001 conflicts are settled
        answered = {row.get("id"): row for row in client.bulk_docs(database, [write.text for write in part])}
        return [answered.get(write.id, NO_ANSWER) for write in part]

    def alone(write: Write, refused: BatchRefused) -> Mapping[str, Any]:
        row = {"id": write.id, "error": refused.error, "reason": refused.reason or refused.message}
        return {**row, ALONE: True} if refused.server_fault else {**row, "verdict": True}

    def attempt() -> bool:
        waiting = {index: write for index, write in enumerate(writes) if write.id not in rows}
        troubles.clear()
        answers = divide_refused([*waiting.values()], send, alone, id_of=lambda write: write.id)
        for (index, write), row in zip(waiting.items(), answers, strict=True):
            error = row.get("error")
            if error is None and "rev" in row:
                rows[write.id] = Row(id=write.id, ok=True, rev=str(row["rev"]))
            elif is_verdict(error) or row.get("verdict"):
                rows[write.id] = service.row_of(write.id, str(error), str(row.get("reason", "")))
            else:
                troubles[index] = {**NO_ANSWER, **row, "id": write.id}
        return bool(troubles)

    def refuse(index: int, row: Mapping[str, Any]) -> None:
        rows[writes[index].id] = service.row_of(writes[index].id, str(row["error"]), str(row["reason"]))

    if repeat_while(bool, attempt, max_attempts=MAX_ATTEMPTS_AT_ONE_DOCUMENT):
        stored = any(row["ok"] for row in rows.values())
        suspects = Suspects(client, database, attempts=1)
        suspects.settle(troubles, lambda index: writes[index].id, refuse, others_stored=stored)
    return [rows[write.id] for write in writes]


def delete_once(client: CouchClient, database: str, ids: Sequence[str]) -> list[Row]:
    """Delete these documents at their present revisions; of what is missing the row has no revision."""
    there = client.present(database, list(dict.fromkeys(ids)))
    writes = {id: Write(id, encode({"_id": id, "_deleted": True}), rev) for id, rev in there.items()}
    rows = dict(zip(writes, post(client, database, list(writes.values())), strict=True)) if writes else {}
    return [rows.get(id) or Row(id=id, ok=True) for id in ids]


def delete_many(client: CouchClient, database: str, ids: Sequence[Any]) -> list[Row]:
    """Delete documents, whatever others write meanwhile; a row for each, in order."""
    rows: dict[int, Row] = {
        index: service.row_of(id, "bad_id", f"{id!r:.100} cannot be a document's id.")
        for index, id in enumerate(ids)
        if not service.is_id(id)
    }
    waiting = [index for index in range(len(ids)) if index not in rows]

    def attempt() -> list[int]:
        for part in (waiting[at : at + MAX_REQUEST_DOCS] for at in range(0, len(waiting), MAX_REQUEST_DOCS)):
            done = delete_once(client, database, [ids[index] for index in part])
            rows.update(zip(part, done, strict=True))
        waiting[:] = [index for index in waiting if rows[index].get("error") == CONFLICT]
        return waiting

    repeat_while(bool, attempt, max_attempts=MAX_RACES)
    return [rows[index] for index in range(len(ids))]


class SaveMany:
    """The saving of what fits into one request: which wait, and the rows so far. Documents go by their index.

    Args:
        client: the server.
        docs: the documents, each with its `_id`; so many are taken as fit, and `last` says whether these were all.
    """

    def __init__(self, client: CouchClient, docs: Iterator[Mapping[str, Any]]) -> None:
        self._client = client
        self._rows: dict[int, Row] = {}
        self._writes: dict[int, Write] = {}
        # The revisions that the caller wants to write over.
        self._wanted: dict[int, str] = {}
        self._count = 0
        self.last = True
        size_bytes = 0
        for index, doc in enumerate(docs):
            self._count = index + 1
            size_bytes += self._take(index, doc)
            if self._count >= MAX_REQUEST_DOCS or size_bytes >= MAX_REQUEST_BYTES:
                self.last = False
                break

    def run(self, database: str) -> list[Row]:
        """Save what waits; a row for each document, in order."""
        waiting = list(self._writes)

        def attempt() -> list[int]:
            nonlocal waiting
            waiting = self._round(database, waiting)
            return waiting

        if waiting:
            repeat_while(bool, attempt, max_attempts=MAX_RACES)
        return [self._rows[index] for index in range(self._count)]

    def _take(self, index: int, doc: Mapping[str, Any]) -> int:
        """Take in a document; the bytes that it adds."""
        found = service.refused_row(doc)
        if not isinstance(found, tuple):
            self._rows[index] = found
            return 0
        id, fields = found
        try:
            body = encode({"_id": id, **fields})
        except Unencodable as error:
            self._rows[index] = service.row_of(id, error.error, f"{error.reason}.")
            return 0
        rev = doc.get("_rev")
        if isinstance(rev, str) and rev:
            self._wanted[index] = rev
        self._writes[index] = Write(id, body, self._wanted.get(index))
        return len(body)

    def _round(self, database: str, waiting: list[int]) -> list[int]:
        """Write the first of each id once; give what still waits."""
        first = {self._writes[index].id: index for index in reversed(waiting)}
        indexes = sorted(first.values())
        later = [index for index in waiting if first[self._writes[index].id] != index]
        rows = post(self._client, database, [self._writes[index] for index in indexes])
        self._rows.update(zip(indexes, rows, strict=True))
        conflicts = [index for index in indexes if self._rows[index].get("error") == CONFLICT]
        return sorted([*self._again(database, conflicts), *later])

    def _again(self, database: str, conflicts: list[int]) -> list[int]:
        """Of those in conflict, what is to be written over the revision that is there."""
        if not conflicts:
            return []
        states = self._client.lookup(database, [self._writes[index].id for index in conflicts])
        again, strangers = [], []
        for index in conflicts:
            state = states[self._writes[index].id]
            if index in self._wanted and state is not None:
                strangers.append(index)
                continue
            # A revision of another database means nothing here.
            gone = state is None or state.get("deleted")
            self._writes[index] = self._writes[index]._replace(rev=None if gone else str(state["rev"]))  # type: ignore[index]
            again.append(index)
        self._own(database, strangers)
        return again

    def _own(self, database: str, strangers: list[int]) -> None:
        """Find what this very call has written, before its request was divided or its answer was lost."""
        if not strangers:
            return
        fidelity = fidelity_of(self._client.welcome(), database)
        places = {self._writes[index].id: index for index in strangers}
        for id, document in self._client.documents(database, places):
            index = places[id]
            write = self._writes[index]
            if document is not None and fidelity.differing(write.body, document) is None:
                self._rows[index] = Row(id=write.id, ok=True, rev=str(document["_rev"]))


MAX_PAGE_DOCS = 10_000
"""So many documents are asked for at once. The server's own default is 25, without a word that there are more."""


def find(
    client: CouchClient,
    database: str,
    selector: Mapping[str, Any],
    *,
    fields: Sequence[str] = (),
    limit: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield all documents that match, or so many of them.

    Args:
        client: the server.
        database: where to look.
        selector: the condition.
        fields: dotted paths of what to give of each document; all of it where there are none.
        limit: at most so many; all where None.

    Raises:
        BatchRefused: the server does not take the query.
        Unencodable: the selector holds what JSON cannot hold.
        TargetMissing: there is no such database.
        TransientError: no usable answer.
    """
    query: dict[str, Any] = {"selector": dict(selector)}
    if fields:
        query["fields"] = list(fields)
    found = 0
    while limit is None or found < limit or not found:
        query["limit"] = MAX_PAGE_DOCS if limit is None else min(MAX_PAGE_DOCS, limit - found)
        page, bookmark = _page(client, database, query)
        yield from page
        found += len(page)
        if len(page) < query["limit"] or not page:
            return
        if bookmark and bookmark != query.get("bookmark"):
            query["bookmark"] = bookmark
        elif not bookmark:
            # A server that knows no bookmarks, such as the sandbox.
            query["skip"] = found
        else:
            raise TransientError(
                f"Querying {database} at {client.url}: the same page came twice.", signature="same bookmark"
            )


def create_index(client: CouchClient, database: str, fields: Sequence[Any], name: str) -> bool:
    """Create a JSON index; False where the same one was there already.

    Raises:
        BatchRefused: the server does not take it.
        TargetMissing: there is no such database.
        TransientError: no usable answer.
    """
    body = encode({"index": {"fields": list(fields)}, "name": name, "type": "json"})
    what = f"Creating the index {name!r:.100} of {database}"
    return bool(_taken(client, what, database, "_index", body=body).get("result") != "exists")


def _page(client: CouchClient, database: str, query: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str | None]:
    what = f"Querying {database}"
    value = _taken(client, what, database, "_find", body=encode(query))
    documents = value.get("docs")
    if not isinstance(documents, list):
        raise TransientError(f"{what} at {client.url}: the answer has no documents.", signature="no docs")
    bookmark = value.get("bookmark")
    return documents, bookmark if isinstance(bookmark, str) and bookmark != "nil" else None


def _taken(client: CouchClient, what: str, *path: str, body: bytes) -> dict[str, Any]:
    answer = client.ask(what, "POST", *path, ok=(200, 400), body=body)
    if answer.status == 400:
        error, reason = answer.error()
        raise BatchRefused(f"{what} at {client.url}: {error} ({reason}).", status=400, error=error, reason=reason)
    value = answer.json(f"{what} at {client.url}")
    return value if isinstance(value, dict) else {}
