"""Queries by Mango: `_find` page by page, and the indexes that serve it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from migrator.codec import encode
from migrator.couch.client import CouchClient
from migrator.errors import BatchRefused, TransientError

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
