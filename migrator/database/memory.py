"""Documents in this process's memory, with the same rules as CouchDB's for ids, copies and missing documents."""

from __future__ import annotations

import copy
import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from migrator.database import service
from migrator.database.selector import check_find, check_index_fields, found_in
from migrator.database.service import Documents, Row, Saved
from migrator.errors import DatabaseError, DocumentNotFound


class MemoryDBService:
    """A DatabaseService in memory; `dbs` is `{db_name: {doc_id: document}}`, which `migrator run` reads from."""

    def __init__(self) -> None:
        self.dbs: dict[str, dict[str, dict[str, Any]]] = {}
        self._generations: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def get(self, db_name: str, doc_id: str) -> dict[str, Any]:
        """See DatabaseService.get."""
        service.check_id(doc_id)
        with self._lock:
            document = self.dbs.setdefault(db_name, {}).get(doc_id)
            if document is None:
                raise service.not_found(db_name, doc_id)
            return _given(doc_id, document)

    def save(self, db_name: str, doc_id: str, doc: Mapping[str, Any]) -> Saved:
        """See DatabaseService.save."""
        service.check_id(doc_id)
        document = {"_id": doc_id, **copy.deepcopy(service.check_fields(doc))}
        with self._lock:
            documents = self.dbs.setdefault(db_name, {})
            if "_attachments" in document:
                document["_attachments"] = _kept_attachments(doc_id, document, documents.get(doc_id))
            documents[doc_id] = document
            return Saved(id=doc_id, rev=self._next_rev(db_name, doc_id))

    def delete(self, db_name: str, doc_id: str) -> None:
        """See DatabaseService.delete."""
        service.check_id(doc_id)
        with self._lock:
            if self.dbs.setdefault(db_name, {}).pop(doc_id, None) is None:
                raise service.not_found(db_name, doc_id)
            self._next_rev(db_name, doc_id)

    def list_all(self, db_name: str) -> list[dict[str, Any]]:
        """See DatabaseService.list_all."""
        with self._lock:
            return [_given(id, document) for id, document in self._listed(db_name)]

    def find(
        self,
        db_name: str,
        selector: Mapping[str, Any],
        fields: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """See DatabaseService.find; the documents come ordered by id."""
        wanted, paths, most = check_find(selector, fields, limit)
        with self._lock:
            listed = (_whole(id, document) for id, document in self._listed(db_name))
            return copy.deepcopy(found_in(listed, wanted, paths, most))

    def ensure_index(self, db_name: str, fields: Sequence[Any], index_name: str | None = None) -> None:  # noqa: ARG002
        """See DatabaseService.ensure_index; there is nothing to make here."""
        check_index_fields(fields)
        with self._lock:
            self.dbs.setdefault(db_name, {})

    def save_many(self, db_name: str, docs: Iterable[Mapping[str, Any]]) -> list[Row]:
        """See DatabaseService.save_many; there are no revisions here that could be in conflict."""
        rows: list[Row] = []
        for doc in docs:
            found = service.refused_row(doc)
            if isinstance(found, tuple):
                doc_id, fields = found
                try:
                    saved = self.save(db_name, doc_id, fields)
                except DatabaseError as error:
                    rows.append(service.row_of(doc_id, "bad_document", error.message))
                else:
                    rows.append(Row(id=doc_id, ok=True, rev=saved["rev"]))
            else:
                rows.append(found)
        return rows

    def get_many(self, db_name: str, doc_ids: Iterable[str]) -> Documents:
        """See DatabaseService.get_many."""
        ids = service.check_ids(doc_ids)
        with self._lock:
            documents = self.dbs.setdefault(db_name, {})
            found = {id: _given(id, documents[id]) for id in ids if service.is_id(id) and id in documents}
        return Documents(ids, found)

    def delete_many(self, db_name: str, doc_ids: Iterable[str]) -> list[Row]:
        """See DatabaseService.delete_many."""
        rows: list[Row] = []
        for doc_id in service.check_ids(doc_ids):
            try:
                self.delete(db_name, doc_id)
            except DocumentNotFound:
                pass
            except DatabaseError as error:
                rows.append(service.row_of(doc_id, "bad_id", error.message))
                continue
            rows.append(Row(id=doc_id, ok=True))
        return rows

    def close(self) -> None:
        """There is nothing to close."""

    def _listed(self, db_name: str) -> Iterable[tuple[str, dict[str, Any]]]:
        documents = self.dbs.setdefault(db_name, {})
        # Python compares strings by code points, which is the order of their UTF-8 bytes too.
        ids = sorted(id for id in documents if isinstance(id, str) and not id.startswith("_design/"))
        return [(id, documents[id]) for id in ids]

    def _next_rev(self, db_name: str, doc_id: str) -> str:
        generation = self._generations.get((db_name, doc_id), 0) + 1
        self._generations[db_name, doc_id] = generation
        return f"{generation}-{uuid.uuid4().hex}"


def _whole(doc_id: str, document: Mapping[str, Any]) -> dict[str, Any]:
    # An application may have put documents into `dbs` by itself, where the id is the key alone.
    return {"_id": doc_id, **service.own_fields(document)}


def _given(doc_id: str, document: Mapping[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(_whole(doc_id, document))


def _kept_attachments(doc_id: str, document: Mapping[str, Any], there: Mapping[str, Any] | None) -> Any:
    """The attachments with their data: of one that is only named, that which is there already."""
    attachments = document["_attachments"]
    if not isinstance(attachments, Mapping):
        return attachments
    before = (there or {}).get("_attachments") or {}
    kept = {}
    for name, value in attachments.items():
        named = isinstance(value, Mapping) and "data" not in value
        if named and name not in before:
            raise DatabaseError(
                f"Document {doc_id!r} names the attachment {name!r} without its data.",
                hint="Carry attachments with: migrator run --from URL --to TARGET",
            )
        kept[name] = before[name] if named else value
    return kept


MemoryDatabase = MemoryDBService
"""The name that this class had first."""
