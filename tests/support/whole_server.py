"""A server worth moving: databases of odd names with all that databases can hold, and what is there afterwards."""

from __future__ import annotations

import time
import uuid
from typing import Any, NamedTuple
from urllib.parse import quote

from tests import support
from tests.support import leaf_states
from tests.support.leaf_states import leaf

VALIDATE = "function (doc) { if (doc.refused) { throw({forbidden: 'refused'}); } }"
COUNT_VIEW = {"all": {"map": "function (doc) { emit(doc._id, 1); }", "reduce": "_sum"}}


class Pair(NamedTuple):
    """Two servers, or one that is both: then names at the target begin otherwise."""

    source: str
    target: str
    source_prefix: str
    target_prefix: str
    is_couchdb: bool

    @property
    def single(self) -> bool:
        """True for one server that is both."""
        return self.source == self.target

    @property
    def arguments(self) -> list[str]:
        """What `migrator plan-server` is told."""
        pair = ["--from", self.source, "--to", self.target, "--database", f"{self.source_prefix}*"]
        return [*pair, "--map", f"{self.source_prefix}*={self.target_prefix}*"]

    def at_target(self, name: str) -> str:
        """A database's name at the target."""
        return self.target_prefix + name.removeprefix(self.source_prefix)


def url_of(server: str, database: str) -> str:
    """A database's URL."""
    return f"{server}/{quote(database, safe='')}"


def odd_names(prefix: str, *, is_couchdb: bool) -> list[str]:
    """Twenty names; the sandbox is spared what it loses itself."""
    if not is_couchdb:
        return [f"{prefix}n{number}" for number in range(20)]
    odd = [
        "a/b",
        "a+b",
        "a$b",
        "a(b)",
        "a-b",
        "a_b",
        "x/y/z",
        "$",
        "+",
        "(",
        ")",
        "-",
        "_",
        "0",
        "q$w(e)r+t/y-u_i",
    ]
    return [prefix + name for name in (*odd, "l" * 200, "plain", "partitioned", "views", "conflicts")]


def fill(server: str, names: list[str], *, is_couchdb: bool, documents: int = 20) -> None:
    """Make the databases: each has documents, a conflict, a tombstone and an attachment, and some have more."""
    for number, name in enumerate(names):
        url = url_of(server, name)
        partitioned = is_couchdb and number % 5 == 2
        query = f"?q={1 + number % 3}&partitioned={'true' if partitioned else 'false'}" if is_couchdb else ""
        assert support.request("PUT", f"{url}{query}")[0] == 201, name
        if is_couchdb and number % 4 == 1:
            support.request("PUT", f"{url}/_revs_limit", 7 + number)
        part = "p:" if partitioned else ""
        leaf_states.write(server, name, *_leaves(part, number, documents))
        _designs(server, name, number, is_couchdb=is_couchdb, partitioned=partitioned)
        if number % 3 == 0:
            support.request("PUT", f"{url}/_security", security(number))


def security(number: int) -> dict[str, Any]:
    """Who may use a database."""
    members = {"names": [f"user{number}"], "roles": ["readers"]}
    return {"admins": {"names": [], "roles": ["ops"]}, "members": members, "note": "kept"}


def _leaves(part: str, number: int, documents: int) -> list[Any]:
    plain = [
        leaf(f"{part}d{n:05}", "2-b", "1-a", n=n, text="é" * (n % 50), big=2**70 + n) for n in range(documents)
    ]
    return [
        *plain,
        leaf(f"{part}conflict", "2-b", "1-a", side="left"),
        leaf(f"{part}conflict", "2-c", "1-a", side="right", files={"c.bin": bytes([number]) * 300}),
        leaf(f"{part}gone", "2-b", "1-a", deleted=True, why="told"),
        leaf(f"{part}file", "1-a", files={"é ü/x.txt": b"hello " * 50, "b.bin": leaf_states.BYTES * 40}),
        leaf(f"{part}日本 +/%", "1-a", name="odd"),
    ]


def _designs(server: str, name: str, number: int, *, is_couchdb: bool, partitioned: bool) -> None:
    url = url_of(server, name)
    if number % 2 == 0:
        design: dict[str, Any] = {"views": COUNT_VIEW}
        if partitioned:
            design["options"] = {"partitioned": False}
        assert support.request("PUT", f"{url}/_design/by", design)[0] == 201
    if number % 5 == 1:
        assert support.request("PUT", f"{url}/_design/check", {"validate_doc_update": VALIDATE})[0] == 201
    if number % 5 == 3 and is_couchdb:
        index = {"index": {"fields": ["n"]}, "ddoc": "ix", "name": "by-n"}
        assert support.request("POST", f"{url}/_index", index)[0] == 200


def state(server: str, name: str) -> dict[str, Any]:
    """All that a move must carry of one database, asked without the library under test."""
    url = url_of(server, name)
    support.settle(server, name)
    info = support.get(url)
    cluster = info.get("cluster") or {}
    return {
        "leaves": leaf_states.state(server, name),
        "options": (cluster.get("q"), cluster.get("n"), info.get("props")),
        "counts": (info["doc_count"], info.get("doc_del_count")),
        # The sandbox has no such setting, on either side.
        "revs_limit": support.request("GET", f"{url}/_revs_limit"),
        "security": support.security(url),
    }


def assert_same(pair: Pair, names: list[str]) -> None:
    """Both sides hold the same: every leaf with its ancestry, every attachment's bytes, every setting."""
    for name in names:
        mine, theirs = state(pair.source, name), state(pair.target, pair.at_target(name))
        assert mine["leaves"].keys() == theirs["leaves"].keys(), name
        for part, value in mine.items():
            assert theirs[part] == value, (name, part)


def assert_queries(pair: Pair, names: list[str]) -> None:
    """Views, Mango indexes and validation functions work at the target."""
    for number, name in enumerate(names):
        url = url_of(pair.target, pair.at_target(name))
        source = url_of(pair.source, name)
        if number % 2 == 0:
            query = "_design/by/_view/all?group=true"
            assert support.get(f"{url}/{query}") == support.get(f"{source}/{query}")
        if number % 5 == 3 and pair.is_couchdb:
            body = {"selector": {"n": {"$gt": 3}}, "use_index": ["ix", "by-n"], "limit": 10_000}
            found, there = (support.request("POST", f"{place}/_find", body)[1] for place in (url, source))
            assert len(found["docs"]) > 10
            assert found["docs"] == there["docs"]
            assert "warning" not in found
        if number % 5 == 1 and pair.is_couchdb:
            assert support.request("PUT", f"{url}/bad", {"refused": True})[0] == 403


def remove(server: str, prefix: str) -> None:
    """Remove databases by their prefix."""
    for name in support.get(f"{server}/_all_dbs"):
        if name.startswith(prefix):
            support.request("DELETE", url_of(server, name))


def remove_document(server: str, database: str, id: str) -> None:
    """Remove one document."""
    url = f"{server}/{database}/{quote(id, safe='')}"
    status, found = support.request("GET", url)
    if status == 200:
        support.request("DELETE", f"{url}?rev={found['_rev']}")


def fresh_name() -> str:
    """A name that nobody has."""
    return f"t{uuid.uuid4().hex[:12]}"


def pause(seconds: float) -> None:
    """Let the server do what it should not."""
    time.sleep(seconds)
