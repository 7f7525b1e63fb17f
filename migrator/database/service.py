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
        """All documents of a database, ordered by id; an empty list where there are none."""
        ...


def not_found(db_name: str, doc_id: str) -> DocumentNotFound:
    """The documented error for a missing document."""
    return DocumentNotFound(
        f"There is no document {doc_id!r} in {db_name}.", hint="Save it first, or check the id."
    )


def check_id(doc_id: object) -> str:
    """The id, when it can be one."""
    if not isinstance(doc_id, str) or not doc_id or (doc_id.startswith("_") and not doc_id.startswith("_design/")):
        raise DatabaseError(
            f"{doc_id!r} cannot be a document's id.",
            hint="Use a text that is not empty and begins with no underscore.",
        )
    return doc_id
