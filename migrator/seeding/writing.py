"""Writes and removes a few documents whose revisions are known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from migrator.couch.client import CouchClient
from migrator.couch.endpoint import database_url
from migrator.couch.trouble import is_verdict, trouble
from migrator.errors import BatchRefused, EndpointError

REMOVALS_PER_REQUEST = 500


def write_all(client: CouchClient, database: str, bodies: Sequence[bytes]) -> None:
    """Write documents, all of them.

    Raises:
        TransientError: the server does not store them.
        EndpointError: the server refused one; others may be written.
    """
    try:
        rows = client.bulk_docs(database, bodies) if bodies else []
    except BatchRefused as whole:
        rows = [{"error": whole.error, "reason": whole.reason}]
    if failed := [row for row in rows if row.get("error") and not is_verdict(row["error"])]:
        raise trouble(database_url(client.endpoint, database), failed[0], len(failed))
    if refused := [row for row in rows if row.get("error")]:
        row = refused[0]
        raise EndpointError(
            f"{database}: {len(refused)} documents were refused, the first {row.get('id')!r:.100}: "
            f"{row['error']} ({row.get('reason')}).",
            hint="Somebody else may be writing to this database; try again.",
        )


def remove_all(client: CouchClient, database: str, ids: Iterable[str]) -> int:
    """Remove the documents of these ids that are there; how many there were."""
    wanted = list(ids)
    removed = 0
    for start in range(0, len(wanted), REMOVALS_PER_REQUEST):
        there = client.lookup(database, wanted[start : start + REMOVALS_PER_REQUEST])
        bodies = [tombstone(id, row) for id, row in there.items() if row is not None and not row.get("deleted")]
        write_all(client, database, bodies)
        removed += len(bodies)
    return removed


def tombstone(id: str, row: Mapping[str, object]) -> bytes:
    """The text that removes a document of the revision that a row tells."""
    return _encode({"_id": id, "_rev": row["rev"], "_deleted": True})


def _encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
