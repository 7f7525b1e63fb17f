"""The face that the providers share, and what each of them checks of what an application gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NotRequired, Protocol, TypedDict, overload, runtime_checkable

from migrator.codec.faults import has_surrogate
from migrator.errors import DatabaseError, DocumentNotFound


class Saved(TypedDict):
    """The answer to a save: the document's id and its new revision."""

    id: str
    rev: str


class Row(TypedDict):
    """What became of one document of many: `ok` and its revision, or an error's word and a sentence."""

    id: str | None
    ok: bool
    rev: NotRequired[str]
    error: NotRequired[str]
    reason: NotRequired[str]


class Documents(list[dict[str, Any] | None]):
    """Documents in the order in which they were asked for; one of them also by its id.

    Args:
        ids: the ids that were asked for, in order.
        documents: those found, by id.
    """

    def __init__(self, ids: Sequence[str], documents: Mapping[str, dict[str, Any]]) -> None:
        super().__init__(documents.get(id) if isinstance(id, str) else None for id in ids)
        self._by_id = {id: document for id, document in zip(ids, self, strict=True) if isinstance(id, str)}

    @overload  # type: ignore[override]
    def __getitem__(self, at: int | str) -> dict[str, Any] | None: ...
    @overload
    def __getitem__(self, at: slice) -> list[dict[str, Any] | None]: ...
    def __getitem__(self, at: int | str | slice) -> Any:
        return self._by_id[at] if isinstance(at, str) else super().__getitem__(at)

    def get(self, id: str) -> dict[str, Any] | None:
        """Find one of the documents by its id.

        Args:
            id: the document's id.

        Returns:
            The document; None when it is missing or was not asked for.
        """
        return self._by_id.get(id)

    def items(self) -> Iterable[tuple[str, dict[str, Any] | None]]:
        """Go through the ids that were asked for.

        Returns:
            Pairs of an id and its document or None.
        """
        return self._by_id.items()


@runtime_checkable
class DatabaseService(Protocol):
    """Documents by database and id. A database is made on first access.

    A document that comes out has its id as `_id`, and of CouchDB its revision as `_rev`. One that goes in may have
    both or none: the id is the argument, and `_rev` counts in `save_many` alone.
    """

    def get(self, db_name: str, doc_id: str) -> dict[str, Any]:
        """Read one document.

        Args:
            db_name: its database.
            doc_id: its id.

        Returns:
            A copy of the document.

        Raises:
            DocumentNotFound: there is none; it is a KeyError too.
            DatabaseError: that cannot be an id.
            EndpointError: the server is out of reach or refuses.
        """

    def save(self, db_name: str, doc_id: str, doc: Mapping[str, Any]) -> Saved:
        """Create the document, or replace the one that is there.

        Args:
            db_name: its database.
            doc_id: its id.
            doc: its fields; `doc` itself stays as it is.

        Returns:
            The id and the new revision, as `{"id", "rev"}`.

        Raises:
            DatabaseError: the id or a field cannot be stored, or the server refuses the document.
            DocumentConflict: other writers won every time.
            EndpointError: the server is out of reach; the document may have been saved all the same.
        """

    def delete(self, db_name: str, doc_id: str) -> None:
        """Delete one document.

        Args:
            db_name: its database.
            doc_id: its id.

        Raises:
            DocumentNotFound: there is none.
            DatabaseError: that cannot be an id, or the server refuses.
            EndpointError: the server is out of reach; the document may have been deleted all the same.
        """

    def list_all(self, db_name: str) -> list[dict[str, Any]]:
        """Read all documents of a database but design documents.

        Args:
            db_name: the database.

        Returns:
            Copies of the documents, ordered by id; an empty list where there are none.

        Raises:
            EndpointError: the server is out of reach or refuses.
        """

    def find(
        self,
        db_name: str,
        selector: Mapping[str, Any],
        fields: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """The documents that a Mango selector matches, design documents excepted.

        Args:
            db_name: where to look.
            selector: the condition, such as `{"status": "open", "age": {"$gte": 18}}`.
            fields: dotted paths of what to give of each document beside its `_id`; all of it when left out.
            limit: at most so many; all when left out.

        Returns:
            Copies of the documents, in the order that the provider finds them.

        Raises:
            DatabaseError: the selector, the fields or the limit cannot be used.
            EndpointError: the server is out of reach or refuses.
        """

    def ensure_index(self, db_name: str, fields: Sequence[Any], index_name: str | None = None) -> None:
        """Make an index unless it is there; `find` uses it, and finds the same without it.

        Args:
            db_name: the database.
            fields: names of fields, or `{name: "asc" | "desc"}`.
            index_name: `idx-` and the fields' names when left out.

        Raises:
            DatabaseError: these fields or this name cannot be used.
            EndpointError: the server is out of reach or refuses.
        """

    def save_many(self, db_name: str, docs: Iterable[Mapping[str, Any]]) -> list[Row]:
        """Create or replace many documents by their `_id`; a row for each, in order.

        A document that cannot be saved, or has no `_id`, is a row with an error, and the others are saved. One
        with a `_rev` is saved over that revision alone, and over another the row says `conflict`.

        Args:
            db_name: their database.
            docs: the documents; they stay as they are.

        Returns:
            One row for each document, in order: `{"id", "ok", "rev"}`, or `{"id", "ok", "error", "reason"}`.

        Raises:
            EndpointError: the server is out of reach or in trouble; save them all again.
        """

    def get_many(self, db_name: str, doc_ids: Iterable[str]) -> Documents:
        """Read many documents.

        Args:
            db_name: their database.
            doc_ids: their ids.

        Returns:
            Copies in the order in which they were asked for; None for each that is missing.

        Raises:
            DatabaseError: `doc_ids` is one text.
            EndpointError: the server is out of reach or refuses.
        """

    def delete_many(self, db_name: str, doc_ids: Iterable[str]) -> list[Row]:
        """Delete many documents; what is missing is as good as deleted.

        Args:
            db_name: their database.
            doc_ids: their ids.

        Returns:
            One row for each id, in order, as of `save_many`.

        Raises:
            DatabaseError: `doc_ids` is one text.
            EndpointError: the server is out of reach or in trouble; delete them all again.
        """

    def close(self) -> None:
        """Close connections, where there are any."""


def not_found(db_name: str, doc_id: str) -> DocumentNotFound:
    """The documented error for a missing document."""
    return DocumentNotFound(
        f"There is no document {doc_id!r} in {db_name}.", hint="Save it first, or check the id."
    )


def is_id(doc_id: object) -> bool:
    """True for what can be a document's id."""
    if not isinstance(doc_id, str) or not doc_id or (doc_id[0] == "_" and not doc_id.startswith("_design/")):
        return False
    return not has_surrogate(doc_id)


def check_id(doc_id: object) -> str:
    """The id, when it can be one.

    Raises:
        DatabaseError: it cannot.
    """
    if is_id(doc_id):
        return str(doc_id)
    raise DatabaseError(
        f"{doc_id!r:.100} cannot be a document's id.",
        hint="Use a Unicode text that is not empty and begins with no underscore.",
    )


def check_ids(doc_ids: Iterable[Any]) -> list[Any]:
    """Ids of many documents as a list; whether each can be one is another question.

    Raises:
        DatabaseError: this is one text, each letter of which would be taken for an id.
    """
    if isinstance(doc_ids, str):
        raise DatabaseError(f"{doc_ids!r:.100} is one id, and a list of them is wanted.", hint="Write [id].")
    return list(doc_ids)


def own_fields(doc: Mapping[str, Any]) -> dict[str, Any]:
    """The document without its id and revision."""
    return {key: value for key, value in doc.items() if key not in {"_id", "_rev"}}


def check_fields(doc: Mapping[str, Any]) -> dict[str, Any]:
    """The document's own fields, without the id and the revision that it may carry.

    Raises:
        DatabaseError: a field has a name that CouchDB keeps for itself, or this is not a document.
    """
    if not isinstance(doc, Mapping):
        raise DatabaseError(
            f"A document is a mapping, and this is of type {type(doc).__name__}.", hint="Give a dict."
        )
    fields = own_fields(doc)
    for key in fields:
        if isinstance(key, str) and key[:1] == "_" and key != "_attachments":
            raise DatabaseError(
                f"The field {key!r} begins with an underscore, which CouchDB reserves.", hint="Rename it."
            )
    return fields


def row_of(doc_id: object, error: str, reason: str) -> Row:
    """The row of a document that was not saved."""
    return Row(id=doc_id if isinstance(doc_id, str) else None, ok=False, error=error, reason=reason)


def refused_row(doc: object) -> tuple[str, dict[str, Any]] | Row:
    """The id and the fields of one of many documents, or the row that says why it has none."""
    found = doc.get("_id") if isinstance(doc, Mapping) else None
    if isinstance(doc, Mapping) and found is None:
        return row_of(None, "missing_id", "The document has no _id.")
    try:
        fields = check_fields(doc)  # type: ignore[arg-type]
        return check_id(found), fields
    except DatabaseError as error:
        return row_of(found, "bad_document", error.message)
