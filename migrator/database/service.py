"""The face that the providers share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NotRequired, Protocol, TypedDict, overload, runtime_checkable

from migrator.codec import Unencodable, decode, encode
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
    """Documents in the order in which they were asked for; one of them also by its id."""

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
        """The document of an id; None when it is missing or was not asked for."""
        return self._by_id.get(id)

    def items(self) -> Iterable[tuple[str, dict[str, Any] | None]]:
        """Each id that was asked for with its document or None."""
        return self._by_id.items()


@runtime_checkable
class DatabaseService(Protocol):
    """Documents by database and id. A database is made on first access.

    A document that comes out has its id as `_id`, and of CouchDB its revision as `_rev`. One that goes in may have
    both or none: the id is the argument, and `_rev` counts in `save_many` alone.
    """

    def get(self, db_name: str, doc_id: str) -> dict[str, Any]:
        """The document. Raises DocumentNotFound, which is a KeyError too, when there is none."""
        ...

    def save(self, db_name: str, doc_id: str, doc: Mapping[str, Any]) -> Saved:
        """Create the document, or replace the one that is there; `doc` itself stays as it is."""
        ...

    def delete(self, db_name: str, doc_id: str) -> None:
        """Delete the document. Raises DocumentNotFound when there is none."""
        ...

    def list_all(self, db_name: str) -> list[dict[str, Any]]:
        """All documents of a database but design documents, ordered by id; an empty list where there are none."""
        ...

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

        Raises:
            DatabaseError: the selector, the fields or the limit cannot be used.
        """
        ...

    def ensure_index(self, db_name: str, fields: Sequence[Any], index_name: str | None = None) -> None:
        """Make an index on these fields unless it is there; `find` uses it and finds the same without it."""
        ...

    def save_many(self, db_name: str, docs: Iterable[Mapping[str, Any]]) -> list[Row]:
        """Create or replace many documents by their `_id`; a row for each, in order.

        A document that cannot be saved, or has no `_id`, is a row with an error, and the others are saved. One
        with a `_rev` is saved over that revision alone, and over another the row says `conflict`.
        """
        ...

    def get_many(self, db_name: str, doc_ids: Iterable[str]) -> Documents:
        """Many documents in the order in which they are asked for; None for each that is missing."""
        ...

    def delete_many(self, db_name: str, doc_ids: Iterable[str]) -> list[Row]:
        """Delete many documents; a row for each, in order. What is missing is as good as deleted."""
        ...

    def close(self) -> None:
        """Close connections, where there are any."""
        ...


def not_found(db_name: str, doc_id: str) -> DocumentNotFound:
    """The documented error for a missing document."""
    return DocumentNotFound(
        f"There is no document {doc_id!r} in {db_name}.", hint="Save it first, or check the id."
    )


def is_id(doc_id: object) -> bool:
    """True for what can be a document's id."""
    if not isinstance(doc_id, str) or not doc_id or (doc_id[0] == "_" and not doc_id.startswith("_design/")):
        return False
    try:
        doc_id.encode()
    except UnicodeEncodeError:
        return False
    return True


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


def check_fields(doc: Mapping[str, Any]) -> dict[str, Any]:
    """The document's own fields, without the id and the revision that it may carry.

    Raises:
        DatabaseError: a field has a name that CouchDB keeps for itself, or this is no document.
    """
    if not isinstance(doc, Mapping):
        raise DatabaseError(
            f"A document is a mapping, and this is of type {type(doc).__name__}.", hint="Give a dict."
        )
    fields = {key: value for key, value in doc.items() if key not in {"_id", "_rev"}}
    for key in fields:
        if isinstance(key, str) and key[:1] == "_" and key != "_attachments":
            raise DatabaseError(
                f"The field {key!r} begins with an underscore, which CouchDB reserves.", hint="Rename it."
            )
    return fields


def check_selector(selector: object) -> dict[str, Any]:
    """The selector, when it is an object that JSON can hold.

    Raises:
        DatabaseError: it is not.
    """
    if not isinstance(selector, Mapping):
        raise DatabaseError(
            f"{selector!r:.100} cannot be used: a selector is an object.", hint='Write {"field": "value"}.'
        )
    try:
        return dict(decode(encode({"selector": selector}))["selector"])
    except Unencodable as error:
        raise DatabaseError(
            f"The selector cannot be used: {error.reason}.", hint="Make a JSON value of it."
        ) from None


def check_limit(limit: int | None) -> int | None:
    """The limit, when it can be one.

    Raises:
        DatabaseError: it cannot.
    """
    if limit is None or (isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0):
        return limit
    raise DatabaseError(f"The limit {limit!r:.50} is no count.", hint="Give a number from 0, or None for all.")


def check_index_fields(fields: Sequence[Any]) -> list[Any]:
    """The fields of an index, when they can be ones.

    Raises:
        DatabaseError: they cannot.
    """
    if isinstance(fields, list | tuple) and fields:
        plain = [next(iter(each), "") if isinstance(each, Mapping) else each for each in fields]
        if all(isinstance(each, str) and each for each in plain):
            return list(fields)
    raise DatabaseError(f"{fields!r:.100} are no fields of an index.", hint='Give a list of names: ["name"].')


def check_paths(fields: Sequence[str] | None) -> list[str]:
    """What `find` is to give of each document, `_id` first; nothing stands for all of it.

    Raises:
        DatabaseError: these are no names of fields.
    """
    if not fields:
        return []
    if isinstance(fields, str) or not all(isinstance(each, str) and each for each in fields):
        raise DatabaseError(f"{fields!r:.100} are no fields.", hint='Give a list of names: ["name"].')
    return list(dict.fromkeys(["_id", *fields]))


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
