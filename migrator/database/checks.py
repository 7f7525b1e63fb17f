"""What an application gives to a service, checked alike for every provider."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from migrator.codec import Unencodable, decode, encode
from migrator.database.service import Row
from migrator.errors import DatabaseError, DocumentNotFound


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


def check_find(
    selector: object, fields: Sequence[str] | None, limit: int | None
) -> tuple[dict[str, Any], list[str], int | None]:
    """What `find` is asked, as JSON can hold it; of the fields `_id` is the first, and none stand for all.

    Raises:
        DatabaseError: the selector is not an object, a field is not a name, or the limit is not a count.
    """
    if not isinstance(selector, Mapping):
        raise DatabaseError(
            f"{selector!r:.100} cannot be used: a selector is an object.", hint='Write {"field": "value"}.'
        )
    try:
        wanted = dict(decode(encode({"selector": selector}))["selector"])
    except Unencodable as error:
        raise DatabaseError(
            f"The selector cannot be used: {error.reason}.", hint="Make a JSON value of it."
        ) from None
    if fields and (isinstance(fields, str) or not all(isinstance(each, str) and each for each in fields)):
        raise DatabaseError(f"{fields!r:.100} are no fields.", hint='Give a list of names: ["name"].')
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
        raise DatabaseError(f"The limit {limit!r:.50} is no count.", hint="Give a number from 0, or None for all.")
    return wanted, list(dict.fromkeys(["_id", *fields])) if fields else [], limit


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
