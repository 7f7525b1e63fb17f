"""Documents in this process's memory, with the same rules as CouchDB's for ids, copies and missing documents."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping
from typing import Any

from migrator.database.service import Saved, check_fields, check_id, not_found


class MemoryDatabase:
    """A DatabaseService in memory; `dbs` is `{db_name: {doc_id: document}}`, which `migrator run` reads from."""

    def __init__(self) -> None:
        self.dbs: dict[str, dict[str, dict[str, Any]]] = {}
        self._generations: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def get(self, db_name: str, doc_id: str) -> dict[str, Any]:
        """See DatabaseService.get."""
        check_id(doc_id)
        with self._lock:
            document = self.dbs.setdefault(db_name, {}).get(doc_id)
            if document is None:
                raise not_found(db_name, doc_id)
            return copy.deepcopy(document)

    def save(self, db_name: str, doc_id: str, doc: Mapping[str, Any]) -> Saved:
        """See DatabaseService.save."""
        check_id(doc_id)
        document = copy.deepcopy(check_fields(doc))
        with self._lock:
            self.dbs.setdefault(db_name, {})[doc_id] = document
            generation = self._next_generation(db_name, doc_id)
        return Saved(id=doc_id, rev=f"{generation}-memory")

    def delete(self, db_name: str, doc_id: str) -> None:
        """See DatabaseService.delete."""
        check_id(doc_id)
        with self._lock:
            if self.dbs.setdefault(db_name, {}).pop(doc_id, None) is None:
                raise not_found(db_name, doc_id)
            self._next_generation(db_name, doc_id)

    def list_all(self, db_name: str) -> list[dict[str, Any]]:
        """See DatabaseService.list_all."""
        with self._lock:
            documents = self.dbs.setdefault(db_name, {})
            ids = sorted(id for id in documents if not id.startswith("_design/"))
            return [copy.deepcopy(documents[id]) for id in ids]

    def _next_generation(self, db_name: str, doc_id: str) -> int:
        generation = self._generations.get((db_name, doc_id), 0) + 1
        self._generations[db_name, doc_id] = generation
        return generation
