"""A server that answers lists as a cluster's late copy does: short until the copies are brought together."""

from __future__ import annotations

import json
import threading
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests import support
from tests.support.stub_server import Asked, Reply, StubServer

NODES = ("node1@127.0.0.1", "node2@127.0.0.1", "node3@127.0.0.1")
RANGE = "00000000-ffffffff"
SUFFIX = ".1700000000"
SEQ = 7


class LateCopies:
    """Stands before a real server. What is read by its id is whole, as of most copies; lists are not.

    Args:
        server: the real one's URL.
        prefix: databases of these names are late.
        keeps: how many rows of a list are told while it is late.
        rights: the copies may be compared and brought together, as a server's admin may.
        polls: so often the copies are asked until they are together, after they were told to.
    """

    def __init__(self, server: str, prefix: str, *, keeps: int = 0, rights: bool = True, polls: int = 2) -> None:
        self._server = server
        self.prefix = prefix
        self._keeps = keeps
        self.rights = rights
        self._polls = polls
        self._left: dict[str, int] = {}
        self._lock = threading.Lock()
        self.short = 0
        """How many lists were told short."""
        self._stub = StubServer(self._answer)
        userinfo = server.rpartition("@")[0].rpartition("//")[2]
        host = self._stub.url.removeprefix("http://")
        self.url = f"http://{userinfo}@{host}" if userinfo else self._stub.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stub.close()

    def late_again(self) -> None:
        """Other writers are busy: the copies are apart once more."""
        self._left.clear()

    def _is_late(self, database: str) -> bool:
        return database.startswith(self.prefix) and self._left.get(database, 1) > 0

    def _answer(self, asked: Asked) -> Reply:
        parts = urlsplit(asked.path)
        path = [unquote(part) for part in parts.path.strip("/").split("/")]
        if path[:1] == ["_node"] and (path[2:3] == ["_dbs"] or (path[2:3] and path[2].startswith("shards/"))):
            return self._of_copies(path[1:])
        if path[1:] == ["_sync_shards"]:
            if not self.rights:
                return Reply(401, {"error": "unauthorized", "reason": "You are not a server admin."})
            with self._lock:
                self._left.setdefault(path[0], self._polls)
            return Reply(202, {"ok": True})
        # The server's URL has the credentials; sent twice, they are none.
        passed = {name: text for name, text in asked.headers.items() if name.lower() != "authorization"}
        status, headers, body = support.forward(asked.method, self._server + asked.path, passed, asked.body)
        if status == 200 and path[0].startswith(self.prefix):
            body = self._made_late(asked, path, parse_qs(parts.query), body)
        return Reply(status, body, headers)

    def _of_copies(self, path: list[str]) -> Reply:
        if not self.rights:
            return Reply(401, {"error": "unauthorized", "reason": "You are not a server admin."})
        node, name, *rest = path
        if name == "_dbs":
            where = {"shard_suffix": list(SUFFIX.encode()), "by_range": {RANGE: list(NODES)}}
            return Reply(200, where)
        database = name.removeprefix(f"shards/{RANGE}/").removesuffix(SUFFIX)
        if not rest:
            return Reply(200, {"uuid": f"uuid of {node}", "update_seq": SEQ})
        if rest != ["_local_docs"]:
            return Reply(200, {"results": [{"seq": SEQ}]})
        with self._lock:
            if self._left.get(database, 0) > 0 and node == NODES[0]:
                self._left[database] -= 1
        done = SEQ if self._left.get(database, 1) == 0 or not database.startswith(self.prefix) else SEQ - 1
        rows = [
            {
                "doc": {
                    "seq": done,
                    "target_uuid": f"uuid of {other}",
                    "history": {node: [{"source_uuid": f"uuid of {node}"}]},
                }
            }
            for other in NODES
            if other != node
        ]
        return Reply(200, {"rows": rows})

    def _made_late(self, asked: Asked, path: list[str], query: dict[str, list[str]], body: bytes) -> bytes:
        database, *rest = path
        value: dict[str, Any]
        if not rest and asked.method == "GET":
            value = json.loads(body)
            value["cluster"] = {"q": 1, "n": 3, "w": 2, "r": 2}
            if self._is_late(database):
                value |= {"doc_count": min(self._keeps, value["doc_count"]), "doc_del_count": 0}
                self.short += 1
            return json.dumps(value).encode()
        if not self._is_late(database):
            return body
        if rest == ["_all_docs"] and not (asked.body and "keys" in asked.json):
            value = json.loads(body)
            value |= {"rows": value["rows"][: self._keeps], "total_rows": self._keeps}
        elif rest == ["_changes"]:
            value = json.loads(body)
            # What comes late gets a later sequence of this copy's own.
            value |= {"results": value["results"][: self._keeps], "last_seq": query.get("since", ["0"])[0]}
            value["pending"] = 0
        else:
            return body
        self.short += 1
        return json.dumps(value).encode()
