"""Documents in CouchDB: a database per name, created on first access."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from migrator import naming
from migrator.codec import Unencodable, decode, encode
from migrator.couch.client import CouchClient
from migrator.couch.endpoint import database_url
from migrator.couch.trouble import is_verdict, trouble
from migrator.database.service import Saved, check_fields, check_id, not_found
from migrator.errors import (
    BatchRefused,
    ConfigError,
    DatabaseError,
    DocumentConflict,
    TargetMissing,
    TransientError,
)
from migrator.retry import repeat_while

# Each race lost means that another writer was faster; so many in a row mean something else.
MAX_RACES = 30
REFUSED_HINT = "Mend the document, or the validation function in the database's design documents."


class CouchDatabase:
    """A DatabaseService on one CouchDB server.

    Args:
        client: the server.
    """

    def __init__(self, client: CouchClient) -> None:
        self._client = client
        self._names: dict[str, str] = {}

    def get(self, db_name: str, doc_id: str) -> dict[str, Any]:
        """See DatabaseService.get."""
        document = self._client.get_document(self._database(db_name), check_id(doc_id))
        if document is None:
            raise not_found(db_name, doc_id)
        return _plain(document)

    def save(self, db_name: str, doc_id: str, doc: Mapping[str, Any]) -> Saved:
        """See DatabaseService.save; a race with other writers is run again with the fresh revision.

        Raises:
            DocumentConflict: other writers won every time.
            DatabaseError: the document holds a value that JSON lacks, or the server refuses it.
            EndpointError: the server is out of reach; the document may have been saved all the same.
        """
        check_id(doc_id)
        try:
            body = encode({"_id": doc_id, **check_fields(doc)})
        except Unencodable as error:
            raise DatabaseError(
                f"Document {doc_id!r} of {db_name}: {error.reason}.", hint="Make a JSON value of it."
            ) from None

        def write(database: str) -> str | None:
            state = self._client.lookup(database, [doc_id])[doc_id]
            if state is None or state.get("deleted"):
                return self._post(database, doc_id, body)
            return self._post(database, doc_id, body, str(state["rev"]))

        return Saved(id=doc_id, rev=self._race(write, db_name, doc_id))

    def delete(self, db_name: str, doc_id: str) -> None:
        """See DatabaseService.delete; a race is run again as in save."""
        check_id(doc_id)

        def write(database: str) -> str | None:
            state = self._client.lookup(database, [doc_id])[doc_id]
            if state is None or state.get("deleted"):
                raise not_found(db_name, doc_id)
            return self._post(database, doc_id, encode({"_id": doc_id, "_deleted": True}), str(state["rev"]))

        self._race(write, db_name, doc_id)

    def list_all(self, db_name: str) -> list[dict[str, Any]]:
        """See DatabaseService.list_all; design documents are not listed."""
        database = self._database(db_name)
        rows = self._client.rows(database, include_docs=True)
        return [_plain(decode(row.document)) for row in rows if row.document and not row.id.startswith("_design/")]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _database(self, db_name: str) -> str:
        database = naming.database_name(db_name)
        owner = self._names.get(database)
        if owner is None:
            if self._client.database_info(database) is None:
                self._client.create_database(database)
            owner = self._names.setdefault(database, db_name)
        if owner != db_name:
            raise ConfigError(
                f"{owner!r} and {db_name!r} would both be kept in the database {database!r}.",
                hint="Rename one of them.",
            )
        return database

    def _race(self, write: Callable[[str], str | None], db_name: str, doc_id: str) -> str:
        def attempt() -> str | None:
            database = self._database(db_name)
            try:
                return write(database)
            except TargetMissing:
                # Somebody has deleted the database: the next attempt creates it again.
                self._names.pop(database, None)
                return None

        rev = repeat_while(lambda result: result is None, attempt, max_attempts=MAX_RACES)
        if rev is None:
            raise DocumentConflict(
                f"Document {doc_id!r} of {db_name} was changed by others {MAX_RACES} times while it was saved.",
                hint="Try again when fewer write to it.",
            )
        return rev

    def _post(self, database: str, doc_id: str, body: bytes, rev: str | None = None) -> str | None:
        """Write one document over a revision, or as new; its new revision, or None on a conflict."""
        if rev is not None:
            body = b'{"_rev":"' + rev.encode() + b'",' + body[1:]
        what = f"Document {doc_id!r:.100} cannot be saved in {database}"
        where = database_url(self._client.endpoint, database)
        try:
            rows = self._client.bulk_docs(database, [body])
        except BatchRefused as refused:
            if refused.server_fault:
                raise trouble(where, {"id": doc_id, "error": refused.error, "reason": refused.reason}) from refused
            raise DatabaseError(f"{what}: {refused.error} ({refused.reason}).", hint=REFUSED_HINT) from refused
        row = rows[0] if rows else {}
        error = row.get("error")
        if error == "conflict":
            return None
        if error is None and row.get("id") == doc_id and "rev" in row:
            return str(row["rev"])
        if error is None:
            raise TransientError(f"{what}: no answer for it.", hint="Try again.", outcome_unknown=True)
        if not is_verdict(error):
            raise trouble(where, row)
        raise DatabaseError(f"{what}: {error} ({row.get('reason')}).", hint=REFUSED_HINT)


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in {"_id", "_rev"}}
