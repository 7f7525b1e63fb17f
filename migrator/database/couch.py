"""Documents in CouchDB: a database per name, created on first access."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from migrator import naming
from migrator.codec import Unencodable, decode, encode
from migrator.couch.client import CouchClient
from migrator.database.service import Saved, check_id, not_found
from migrator.errors import DatabaseError, DocumentConflict
from migrator.retry import repeat_while

# Each race lost means that another writer was faster; so many in a row mean something else.
MAX_RACES = 30


class CouchDatabase:
    """A DatabaseService on one CouchDB server.

    Args:
        client: the server.
    """

    def __init__(self, client: CouchClient) -> None:
        self._client = client
        self._known: set[str] = set()

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
        """
        database, check = self._database(db_name), check_id(doc_id)
        document = {key: value for key, value in doc.items() if key not in {"_id", "_rev"}}
        try:
            body = encode({"_id": check, **document})
        except Unencodable as error:
            raise DatabaseError(f"Document {doc_id!r} of {db_name}: {error.reason}") from None

        def write() -> str | None:
            state = self._client.lookup(database, [check])[check]
            if state is None or state.get("deleted"):
                return self._client.put_document(database, check, body)
            stamped = b'{"_rev":"' + str(state["rev"]).encode() + b'",' + body[1:]
            return self._client.put_document(database, check, stamped)

        return Saved(id=doc_id, rev=self._race(write, db_name, doc_id))

    def delete(self, db_name: str, doc_id: str) -> None:
        """See DatabaseService.delete; a race is run again as in save."""
        database, check = self._database(db_name), check_id(doc_id)

        def write() -> str | None:
            state = self._client.lookup(database, [check])[check]
            if state is None or state.get("deleted"):
                raise not_found(db_name, doc_id)
            return self._client.delete_document(database, check, str(state["rev"]))

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
        if database not in self._known:
            if self._client.database_info(database) is None:
                self._client.create_database(database)
            self._known.add(database)
        return database

    @staticmethod
    def _race(write: Callable[[], str | None], db_name: str, doc_id: str) -> str:
        rev = repeat_while(lambda result: result is None, write, max_attempts=MAX_RACES)
        if rev is None:
            raise DocumentConflict(
                f"Document {doc_id!r} of {db_name} was changed by others {MAX_RACES} times while it was saved.",
                hint="Try again when fewer write to it.",
            )
        return str(rev)


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in {"_id", "_rev"}}
