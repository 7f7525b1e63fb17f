"""A CouchDB of one database, played by a stub, with the real one's revisions."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from migrator.couch.revision import first_revision, revision_after
from tests.support.stub_server import Asked, Reply, StubServer, recorded_reply

EMPTY_INFO = {"db_name": "db", "doc_count": 0, "doc_del_count": 0, "props": {}}


class FakeCouch:
    """A CouchDB of one database in memory, with the real one's revisions; a test can spoil its answers.

    `spoil` gets each bulk write's request and the rows that the server would answer, after the write; it gives
    another reply, or None to break the connection.
    """

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {}
        self.revs: dict[str, str] = {}
        self.info: dict[str, Any] = dict(EMPTY_INFO)
        self.before: Callable[[Asked], Reply | None] = lambda _asked: None
        self.spoil: Callable[[Asked, list[dict[str, Any]]], Reply | None] = lambda _asked, rows: Reply(201, rows)
        self.bulks: list[list[dict[str, Any]]] = []
        self.ranges: list[dict[str, Any]] = []
        self.keys: list[list[str]] = []
        self.server = StubServer(self._answer)

    def _answer(self, asked: Asked) -> Reply | None:
        if asked.path == "/":
            return recorded_reply("welcome")
        if asked.path.endswith("max_document_size"):
            return Reply(404, {"error": "not_found"})
        if asked.path == "/db/_bulk_docs":
            if reply := self.before(asked):
                return reply
            docs = asked.json["docs"]
            if docs and docs[0]["_id"].startswith("_local/"):
                return Reply(201, [{"ok": True, "id": doc["_id"], "rev": "0-1"} for doc in docs])
            if docs:
                self.bulks.append(docs)
            return self.spoil(asked, [self._write(doc) for doc in docs])
        if asked.method == "GET" and asked.path.startswith("/db/_all_docs"):
            asks = {key: json.loads(value) for key, value in parse_qsl(urlsplit(asked.path).query)}
            if "limit" in asks:
                return self._range(asks)
            return Reply(200, {"rows": [{"id": "_design/v", "doc": {"validate_doc_update": "function () {}"}}]})
        if asked.path.startswith("/db/_all_docs"):
            self.keys.append(asked.json["keys"])
            return Reply(200, {"rows": [self._row(id) for id in asked.json["keys"]]})
        return Reply(200, self.info)

    def _write(self, doc: dict[str, Any]) -> dict[str, Any]:
        id, parent = doc["_id"], doc.pop("_rev", None)
        if self.revs.get(id) != parent:
            return {"id": id, "error": "conflict", "reason": "Document update conflict."}
        if parent is None:
            rev = first_revision(json.dumps(doc)) or "1-none"
        else:
            rev = revision_after(json.dumps(doc), parent) or f"{int(parent.partition('-')[0]) + 1}-none"
        self.documents[id], self.revs[id] = doc, rev
        return {"ok": True, "id": id, "rev": rev}

    def _range(self, asks: dict[str, Any]) -> Reply:
        self.ranges.append(asks)
        ids = sorted(id for id in self.revs if asks["startkey"] <= id <= asks["endkey"])[: asks["limit"]]
        rows = [self._row(id) for id in ids]
        if not asks.get("include_docs"):
            for row in rows:
                del row["doc"]
        return Reply(200, {"total_rows": len(self.revs), "offset": 0, "rows": rows})

    def _row(self, id: str) -> dict[str, Any]:
        if id not in self.revs:
            return {"key": id, "error": "not_found"}
        rev = self.revs[id]
        return {"id": id, "key": id, "value": {"rev": rev}, "doc": {**self.documents[id], "_rev": rev}}
