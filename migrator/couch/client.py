"""What the library asks of a CouchDB server, one method a question, through the `couchdb` package."""

from __future__ import annotations

import gzip
import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

from migrator.couch.documents import read_documents, with_plain_attachments
from migrator.couch.endpoint import MAX_QUERY_BYTES, Endpoint, database_url, has_path, id_path
from migrator.couch.listing import COUCHDB_RANGES, POUCHDB_RANGES, IdRange, Listing
from migrator.couch.package import Server, encoded
from migrator.couch.responses import Answer, bulk_rows, refuse, refuse_bulk
from migrator.couch.rows import Row, parsed
from migrator.couch.transport import Transport
from migrator.errors import ConfigError, EndpointError, TransientError

JSON_HEADERS = {"Content-Type": "application/json"}
# Below this gzip saves nothing worth a processor's time.
GZIP_MIN_BYTES = 2_000


class CouchClient:
    """One server. Safe for threads; a connection serves one request at a time.

    Args:
        endpoint: the server and its credentials.
        max_connections: connections kept for reuse.
        compress: gzip request bodies; by default where the server is not on this machine.
    """

    def __init__(self, endpoint: Endpoint, *, max_connections: int = 8, compress: bool | None = None) -> None:
        self.endpoint = endpoint
        self.url = endpoint.url
        self._compress = not endpoint.local if compress is None else compress
        self._transport = Transport(endpoint, max_connections=max_connections)
        self.pace = self._transport.pace
        self._id_ranges: Sequence[IdRange] | None = None
        # By database what could not be made sure of, of lists (see `couch.copies`) and of writes.
        self.unconfirmed: dict[str, str] = {}
        self.unconfirmed_writes: dict[str, str] = {}
        self.absent_nodes: set[str] = set()
        self._root = Server(endpoint.url + "/", session=self._transport).resource

    @property
    def doubts(self) -> list[str]:
        """What could not be made sure of, as sentences for a report."""
        return [*self.unconfirmed.values(), *self.unconfirmed_writes.values()]

    def doubts_of(self, database: str) -> list[str]:
        """The same of one database."""
        return [text for kind in (self.unconfirmed, self.unconfirmed_writes) if (text := kind.get(database))]

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    # -- requests ---------------------------------------------------------------------------------------------

    def call(
        self,
        method: str,
        *path: str,
        params: Mapping[str, Any] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        read_timeout_s: float | None = None,
    ) -> Answer:
        """Send one request and give the answer, whatever its status. `params` are sent as they are."""
        resource = self._root(*path) if path else copy(self._root)
        resource.session = self._transport.within(read_timeout_s)
        all_headers = {**({} if body is None else JSON_HEADERS), **(headers or {})}
        if self._compress and isinstance(body, bytes) and len(body) >= GZIP_MIN_BYTES:
            body = gzip.compress(body, 1)
            all_headers["Content-Encoding"] = "gzip"
        status, response_headers, data = resource._request(  # noqa: SLF001 its public verbs do no more
            method, body=body, headers=all_headers, **(params or {})
        )
        return Answer(status, response_headers, data.read())

    def stream(
        self, what: str, *path: str, params: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Generator[bytes]:
        """The body of an answer piece by piece; asked by POST where there is a body to send.

        Raises:
            TransientError: also from the iterator, when the answer breaks off.
        """
        url = "/".join([self.url, *(quote(segment, safe="") for segment in path)])
        status, headers, pieces = self._transport.stream(
            f"{url}?{urlencode(params)}" if params else url,
            body=body,
            headers=JSON_HEADERS if body is not None else None,
        )
        if status != 200:
            refuse(Answer(status, headers, b"".join(pieces)), what, self.url)
        return pieces

    def ask(self, what: str, method: str, *path: str, ok: Iterable[int] = (200,), **request: Any) -> Answer:
        """Send one request, as `call` does, that is to be answered with a status of `ok`; `what` is for people.

        Raises:
            EndpointError: any other status.
        """
        answer = self.call(method, *path, **request)
        if answer.status not in ok:
            refuse(answer, what, self.url)
        return answer

    def value(self, what: str, method: str, *path: str, **request: Any) -> Any:
        """As `ask`, and give the answer's JSON."""
        return self.ask(what, method, *path, **request).json(f"{what} at {self.url}")

    def found(self, what: str, *path: str, id: str | None = None, **request: Any) -> dict[str, Any] | None:
        """The JSON object of what is there, with this `_id` where one is given; None where there is nothing."""
        answer = self.ask(what, "GET", *path, ok=(200, 404), **request)
        if answer.status == 404:
            return None
        value = answer.json(f"{what} at {self.url}")
        if not isinstance(value, dict) or (id is not None and value.get("_id") != id):
            raise TransientError(f"{what}: the answer is to another question.", signature="foreign document")
        return value

    # -- server -----------------------------------------------------------------------------------------------

    def welcome(self) -> dict[str, Any]:
        """`GET /`: name and version of the server."""
        answer = self.ask("Greeting the server", "GET")
        # A page of HTML is not an answer that broke off.
        value = answer.json(f"Greeting the server at {self.url}") if answer.body[:1] == b"{" else None
        if not isinstance(value, dict) or not any(
            isinstance(value.get(k), str) for k in ("couchdb", "express-pouchdb")
        ):
            raise EndpointError(
                f"{self.url} answers, but not as a CouchDB server.", hint="Check host and port (usually 5984)."
            )
        return value

    def databases(self) -> list[str]:
        """Names of all databases."""
        return list(self.value("Listing databases", "GET", "_all_dbs"))

    def max_document_size(self) -> int | None:
        """The server's `max_document_size` in bytes; None where we may not know (admins only)."""
        answer = self.call("GET", "_node", "_local", "_config", "couchdb", "max_document_size")
        if answer.status != 200:
            return None
        try:
            return int(json.loads(answer.body))
        except (ValueError, TypeError):
            return None

    # -- databases --------------------------------------------------------------------------------------------

    def database_info(self, database: str) -> dict[str, Any] | None:
        """`GET /{db}`, or None when there is none."""
        return self.found(f"Looking at database {database}", database)

    def create_database(self, database: str, **options: Any) -> bool:
        """Create a database; False when it was there already, by a race or before.

        Raises:
            ConfigError: the server does not take the name.
        """
        params = {k: "true" if v is True else v for k, v in options.items() if v is not None and v is not False}
        answer = self.ask(f"Creating database {database}", "PUT", database, ok=(201, 202, 400, 412), params=params)
        if answer.status == 400:
            error, reason = answer.error()
            raise ConfigError(
                f"Database {database!r} cannot be created: {error} ({reason}).", hint="Choose another name."
            )
        return answer.status != 412

    def delete_database(self, database: str) -> bool:
        """Delete a database; False when there was none."""
        return self.ask(f"Deleting database {database}", "DELETE", database, ok=(200, 202, 404)).status != 404

    # -- documents --------------------------------------------------------------------------------------------

    def bulk_docs(self, database: str, bodies: Sequence[bytes], *, new_edits: bool = True) -> list[dict[str, Any]]:
        """Post documents as they are encoded; the rows come as the server gave them, in its order.

        A 500 can hold an array of rows and is then an answer like any other. Without `new_edits` the revisions
        are kept as they are, and rows are given only for what was not written.

        Raises:
            BatchRefused: the server refuses the whole request.
            TransientError: no usable answer.
        """
        what = f"Writing {len(bodies)} documents to {database}"
        head = b'{"docs":[' if new_edits else b'{"new_edits":false,"docs":['
        # In one piece: it can be large, and each copy counts.
        ends = [head + bodies[0], *bodies[1:]] if bodies else [head]
        ends[-1] += b"]}"
        self.pace.write(len(bodies))
        answer = self.call("POST", database, "_bulk_docs", body=b",\n".join(ends))
        rows = bulk_rows(answer, what)
        if rows is None:
            refuse_bulk(answer, what, self.url)
        if answer.status == 202:
            self.unconfirmed_writes[database] = f"{database}: documents were accepted by fewer than most copies"
        return rows

    def lookup(
        self, database: str, ids: Sequence[str], *, include_docs: bool = False, attachments: bool = False
    ) -> dict[str, dict[str, Any] | None]:
        """The current state of just these ids: `{"rev", "deleted"?, "doc"?}` each, None where there is none.

        Raises:
            TransientError: an answer is missing for some id.
        """
        what = f"Reading {len(ids)} documents of {database}"
        params = {k: "true" for k, on in (("include_docs", include_docs), ("attachments", attachments)) if on}
        body = encoded({"keys": list(ids)}).encode()
        self.pace.read(len(ids) if include_docs else 0)
        value = self.value(what, "POST", database, "_all_docs", params=params, body=body)
        found: dict[str, dict[str, Any] | None] = {}
        for row in value.get("rows", ()) if isinstance(value, dict) else ():
            key = row.get("key", row.get("id"))
            if row.get("error") == "not_found":
                found[key] = None
            elif isinstance(row.get("value"), dict) and (not include_docs or "doc" in row):
                found[key] = {**row["value"], "doc": row.get("doc")}
        if missing := [id for id in ids if id not in found]:
            raise TransientError(f"{what}: no answer for {missing[0]!r:.100}.", signature="missing rows")
        return found

    def present(self, database: str, ids: Sequence[str]) -> dict[str, str]:
        """The revision of each of these ids under which there is a document; the others are left out."""
        states = self.lookup(database, ids)
        return {id: str(state["rev"]) for id, state in states.items() if state and not state.get("deleted")}

    def stored(self, database: str, ids: Iterable[str]) -> Generator[tuple[str, Row | None]]:
        """What stands under each of these ids, one after the other, as `read_documents` has it."""
        return self.pace.each(read_documents(self.stream, database, ids))

    def document_of(self, database: str, row: Row | None) -> dict[str, Any] | None:
        """The document of a row, with its attachments and its revision; None where there is none."""
        if row is None or row.document is None:
            return None
        document: dict[str, Any] | None = parsed(row.document, f"Reading document {row.id!r:.100} of {database}")
        if document and "_attachments" in document:
            document = self.get_document(database, row.id, attachments=True)
            return with_plain_attachments(document) if document else None
        return {**document, "_rev": row.rev} if document else None

    def documents(self, database: str, ids: Iterable[str]) -> Generator[tuple[str, dict[str, Any] | None]]:
        """Each of these ids with its document and the attachments, or None; one is held at a time."""
        for id, row in self.stored(database, ids):
            yield id, self.document_of(database, row)

    def listing(self, database: str, what: str = "") -> Listing:
        """The list of a database's ids; `what` is done with it, for errors."""
        what = what or f"Reading {database_url(self.endpoint, database)}"
        return Listing(partial(self._all_docs, database, what=what), self._ranges(), what, self.pace)

    def _ranges(self) -> Sequence[IdRange]:
        if self._id_ranges is None:
            self._id_ranges = POUCHDB_RANGES if "express-pouchdb" in self.welcome() else COUCHDB_RANGES
        return self._id_ranges

    def _all_docs(self, database: str, params: Mapping[str, Any], what: str) -> Generator[bytes]:
        query = {key: encoded(value) for key, value in params.items()}
        if len(urlencode(query)) <= MAX_QUERY_BYTES:
            return self.stream(what, database, "_all_docs", params=query)
        # Keys of many kilobytes fit into no request line.
        return self.stream(what, database, "_all_docs", body=encoded(params).encode())

    def get_document(self, database: str, id: str, *, attachments: bool = False) -> dict[str, Any] | None:
        """One document, or None when it is missing or deleted."""
        what = f"Reading document {id!r:.100} of {database}"
        if not has_path(id):
            # A POST's body takes any id.
            row = self.lookup(database, [id], include_docs=True, attachments=attachments)[id]
            return None if row is None else row["doc"]
        params = {"attachments": "true"} if attachments else {}
        return self.found(what, database, *id_path(id), id=id, params=params)
