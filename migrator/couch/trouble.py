"""Tells a verdict on a document from the server's own trouble: the only place that decides whom to blame.

CouchDB answers a document that it did not store with a word. Some words are verdicts on the document (VERDICTS).
Every other word says that the server could not do it, whatever it is called: the row of a full disk is `error`,
with the reason `internal_server_error`. Such a document is tried again. It is never called the cause where the
word is known to be the server's (NEVER_OF_A_DOCUMENT). With another word it is only where the database has a
function that validates, which can throw any word, and when the document fails several times in a row while others
beside it, and one of our own, are stored. When all fail, none is blamed.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from zlib import crc32

from migrator.couch.endpoint import database_url
from migrator.errors import BatchRefused, TransientError
from migrator.model import Status
from migrator.naming import counted
from migrator.retry.retrier import MAX_ATTEMPTS_AT_ONE_DOCUMENT

if TYPE_CHECKING:
    from migrator.couch.client import CouchClient

CONFLICT = "conflict"
# What is at the target now as it was to be.
STORED = frozenset({Status.WRITTEN, Status.UNCHANGED})
# What a server says of a document, and the status that the same has when the document is written alone.
VERDICTS: Mapping[str, int | None] = {
    CONFLICT: 409,
    # Of a validation function, or of the rules for `_users` and `_replicator`.
    "forbidden": 403,
    "unauthorized": 401,
    "partition_overflow": 403,
    # Of design documents.
    "compilation_error": None,
    "invalid_design_doc": None,
    # Of a document's form; CouchDB says these of a whole request, PouchDB of one document.
    "bad_request": 400,
    "doc_validation": 400,
    "illegal_docid": 400,
    "invalid_id": 400,
    "missing_id": 412,
    "missing_stub": 412,
    "document_too_large": 413,
    "attachment_too_large": 413,
    "too_large": 413,
}
# Nothing that a document could bring about, however often it meets it.
NEVER_OF_A_DOCUMENT = frozenset(
    # The row of a full disk, of a shard that is gone, of a database that is just being deleted.
    {"error", "internal_server_error"}
    | {"insufficient_storage", "too_many_requests", "timeout", "nodedown", "all_workers_died", "shutdown"}
    | {"service unavailable", "service_unavailable", "no_majority", "rexi_DOWN", "enospc", "emfile"}
    | {"all_dbs_active"}
)
# What a whole request is refused with while the server is in trouble: asked again before anything is suspected.
SERVER_TROUBLE = NEVER_OF_A_DOCUMENT | {"killed", "noproc"}
# Our own word for a revision that was accepted and is not there.
NOT_STORED = "not_stored"
# What no validation function can be the cause of, or not without the server's doing.
NEVER_VALIDATION = SERVER_TROUBLE | {"os_process_error", NOT_STORED}
# What a server says of a document that it is asked for.
READING_VERDICTS = frozenset({"not_found", "forbidden", "unauthorized", "bad_request", "illegal_docid"})
# In a row that was made of a whole request, which failed with this document alone: it needs no other explanation.
ALONE = "alone"
# So many documents that were each sent alone may be called the cause without one being stored in between.
MAX_BLAMED_IN_A_ROW = 3
# The least that the largest document of a server may have.
MAX_PROBE_BYTES = 1_000_000
TROUBLE_HINT = "Its disk may be full, or its log says why: see migrator doctor URL. Then go on with --resume."


def is_verdict(error: object) -> bool:
    """True when the word in a row is a verdict on the document; any other word is the server's trouble."""
    return error in VERDICTS


def trouble(where: str, row: Mapping[str, Any], documents: int = 1) -> TransientError:
    """What to raise when documents were not stored and none of them is known to be the cause.

    Args:
        where: the database's URL without credentials.
        row: what the server said of the first of them.
        documents: how many there are.
    """
    error, reason = str(row.get("error")), str(row.get("reason", ""))
    return TransientError(
        f"{where}: the server does not store {counted(documents, 'document')}, the first {row.get('id')!r:.100}: "
        f"{error} ({reason:.300}).",
        hint=TROUBLE_HINT,
        outcome_unknown=True,
        status=500,
        signature=f"row {error} {reason:.100}",
    )


def stores(client: CouchClient, database: str, *, like: str = "", size_bytes: int = 0) -> bool:
    """True when a database stores a document of our own, sent the way that documents go, and removed again.

    It is a `_local` document: no list has it, no validation function sees it, and it leaves no tombstone.

    Args:
        client: the server.
        database: its name there.
        like: the id of a document; ours goes to the same shard.
        size_bytes: how large ours is made, within bounds: a disk that is nearly full still takes small ones.

    Raises:
        EndpointError: the database is gone, or the server refuses us.
    """
    id = _id_beside(like)
    padding = secrets.token_hex(min(size_bytes, MAX_PROBE_BYTES) // 2).encode()
    try:
        rows = client.bulk_docs(database, [b'{"_id":"%b","padding":"%b"}' % (id.encode(), padding)])
        if len(rows) != 1 or "error" in rows[0] or "rev" not in rows[0]:
            return False
        rev = str(rows[0]["rev"])
        client.bulk_docs(database, [b'{"_id":"%b","_rev":"%b","_deleted":true}' % (id.encode(), rev.encode())])
    except (TransientError, BatchRefused):
        return False
    return True


def validates(client: CouchClient, database: str) -> bool:
    """True when a database has a function that validates, or may have one: it can throw any word."""
    params = {"startkey": '"_design/"', "endkey": '"_design0"', "include_docs": "true"}
    answer = client.call("GET", database, "_all_docs", params=params)
    if answer.status == 200:
        return b'"validate_doc_update":' in answer.body
    return answer.status in {401, 403}


def _never_of_a_document(row: Mapping[str, Any]) -> bool:
    # `unknown_error` is said of validation functions as well; then the reason may tell, as in `enospc`.
    return not {str(row.get("error", "timeout")), str(row.get("reason"))}.isdisjoint(NEVER_OF_A_DOCUMENT)


def _needs_a_function(row: Mapping[str, Any]) -> bool:
    # A revision that is accepted and not there has no word of the server's at all.
    return ALONE not in row and row.get("error") != NOT_STORED


def _id_beside(id: str) -> str:
    # A shard holds a range of the ids' checksums; with the first byte in common they share all but the narrowest.
    wanted = crc32(id.encode()) >> 24
    while True:
        ours = f"_local/migrator-{secrets.token_hex(8)}"
        if not id or crc32(ours.encode()) >> 24 == wanted:
            return ours


class Suspects:
    """Documents that a database does not store: which of them may be called the cause, and when.

    One for a database and a run. Safe for threads that write different documents.

    Args:
        client: the server.
        database: its name there.
        attempts: so often in a row a document has to fail while others, and one of our own, are stored.
    """

    def __init__(self, client: CouchClient, database: str, attempts: int = MAX_ATTEMPTS_AT_ONE_DOCUMENT) -> None:
        self._client = client
        self._database = database
        self._attempts = attempts
        self._failures: dict[Hashable, int] = {}
        self._blamed_in_a_row = 0
        self._validating = False

    def passed(self) -> None:
        """Note that a document was stored."""
        self._blamed_in_a_row = 0

    def rows(self, send: Callable[[], list[dict[str, Any]]], ids: Sequence[str]) -> list[dict[str, Any]]:
        """Send documents; where one was sent, a refusal that is not a verdict becomes a row like any other.

        Args:
            send: sends them and gives the server's rows.
            ids: of what it sends.

        Raises:
            BatchRefused: a part of them may pass.
            TransientError: the server stores nothing at all, or gives no usable answer.
        """
        try:
            return send()
        except BatchRefused as refused:
            if len(ids) > 1 and not refused.server_fault:
                raise
            # What changes bodies on their way, or takes none at all, has refused each document sooner or later.
            if not stores(self._client, self._database, like=ids[0]):
                raise TransientError(
                    refused.message,
                    hint=TROUBLE_HINT,
                    outcome_unknown=True,
                    status=refused.status,
                    signature=f"{refused.status} {refused.error} {refused.reason}",
                ) from refused
            if len(ids) == 1 and refused.server_fault:
                word = {"error": refused.error, "reason": refused.reason, "status": refused.status}
                return [{"id": ids[0], **word, ALONE: True}]
            if len(ids) == 1 and not is_verdict(refused.error):
                # A proxy's page while one of our own passes: said once, of one document, it proves nothing yet.
                return send()
            raise

    def settle(
        self,
        troubles: Mapping[int, Mapping[str, Any]],
        key_of: Callable[[int], Hashable],
        refuse: Callable[[int, Mapping[str, Any]], None],
        *,
        others_stored: bool,
        size_bytes: int = 0,
    ) -> None:
        """Refuse the documents that have failed often enough on their own; of the others nothing is known.

        Args:
            troubles: the rows of the documents that one request could not store, by a document's index.
            key_of: what a document, given by its index, is known by in the next request.
            refuse: gives a document its end, by its index and row.
            others_stored: the database holds other documents of the same request. A row without `status` is as
                good as that: the server answered 201, and stands by it.
            size_bytes: the size of the largest of them.

        Raises:
            TransientError: others are not stored either, and none of them is known to be the cause.
            EndpointError: the database is gone, or the server refuses us.
        """
        keys = {index: key_of(index) for index in troubles}
        guilty = self._guilty(troubles, keys, others_stored=others_stored, size_bytes=size_bytes)
        for index in guilty:
            del self._failures[keys[index]]
            refuse(index, troubles[index])
        if left := [row for index, row in troubles.items() if index not in guilty]:
            raise trouble(database_url(self._client.endpoint, self._database), left[0], len(left))

    def _guilty(
        self,
        troubles: Mapping[int, Mapping[str, Any]],
        keys: Mapping[int, Hashable],
        *,
        others_stored: bool,
        size_bytes: int,
    ) -> set[int]:
        first = next(iter(troubles.values()))
        # A function that validates may throw any word. It sees all documents but our own, and may refuse them all.
        others_stored = others_stored or all(
            row.get("error") not in NEVER_VALIDATION and "status" not in row for row in troubles.values()
        )
        if (
            any(_never_of_a_document(row) for row in troubles.values())
            or not (others_stored or len(troubles) == 1)
            or not stores(self._client, self._database, like=str(first.get("id", "")), size_bytes=size_bytes)
        ):
            for key in keys.values():
                self._failures.pop(key, None)
            return set()
        for key in keys.values():
            self._failures[key] = self._failures.get(key, 0) + 1
        found = {index for index, key in keys.items() if self._failures[key] >= self._attempts}
        if any(_needs_a_function(troubles[index]) for index in found) and not self._validates():
            return set()
        if others_stored:
            self.passed()
        elif found:
            self._blamed_in_a_row += 1
            if self._blamed_in_a_row > MAX_BLAMED_IN_A_ROW:
                return set()
        return found

    def _validates(self) -> bool:
        self._validating = self._validating or validates(self._client, self._database)
        return self._validating
