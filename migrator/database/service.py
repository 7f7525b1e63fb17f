"""The face that the providers share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypedDict, runtime_checkable

from migrator.errors import DatabaseError, DocumentNotFound


class Saved(TypedDict):
    """The answer to a save: the document's id and its new revision."""

    id: str
    rev: str


@runtime_checkable
class DatabaseService(Protocol):
    """Documents by database and id."""

    def get(self, db_name: str, doc_id: str) -> dict[str, Any]:
        """The document. Raises DocumentNotFound when there is none."""
        ...

    def save(self, db_name: str, doc_id: str, doc: Mapping[str, Any]) -> Saved:
        """Create the document, or replace the one that is there."""
        ...

    def delete(self, db_name: str, doc_id: str) -> None:
        """Delete the document. Raises DocumentNotFound when there is none."""
        ...

    def list_all(self, db_name: str) -> list[dict[str, Any]]:
        """All documents of a database but design documents, ordered by id; an empty list where there are none."""
        ...


def not_found(db_name: str, doc_id: str) -> DocumentNotFound:
    """The documented error for a missing document."""
    return DocumentNotFound(
        f"There is no document {doc_id!r} in {db_name}.", hint="Save it first, or check the id."
    )


def check_id(doc_id: object) -> str:
    """The id, when it can be one.

    Raises:
        DatabaseError: it cannot.
    """
    if isinstance(doc_id, str) and doc_id and (doc_id[0] != "_" or doc_id.startswith("_design/")):
        try:
            doc_id.encode()
        except UnicodeEncodeError:
            pass
        else:
            return doc_id
    raise DatabaseError(
        f"{doc_id!r:.100} cannot be a document's id.",
        hint="Use a Unicode text that is not empty and begins with no underscore.",
    )


def check_fields(doc: Mapping[str, Any]) -> dict[str, Any]:
    """The document's own fields, without the id and the revision that it may carry.

    Raises:
        DatabaseError: a field has a name that CouchDB keeps for itself.
    """
    fields = {key: value for key, value in doc.items() if key not in {"_id", "_rev"}}
    for key in fields:
        if key[:1] == "_" and key != "_attachments":
            raise DatabaseError(
                f"The field {key!r} begins with an underscore, which CouchDB reserves.", hint="Rename it."
            )
    return fields
