"""Raw HTTP for tests: what the server holds, asked without the library under test."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

import urllib3

# What is between two neighbours only; bodies are unpacked on the way.
_HOP = {"host", "connection", "content-length", "content-encoding", "transfer-encoding", "accept-encoding"}
_POOL = urllib3.PoolManager(retries=False, timeout=60.0)


def request(method: str, url: str, body: Any = None) -> tuple[int, Any]:
    """Send JSON, get status and JSON; credentials in the URL are used."""
    parts = urlsplit(url)
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if parts.username:
        headers |= urllib3.make_headers(basic_auth=unquote(f"{parts.username}:{parts.password}"))
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    data = None if body is None else json.dumps(body).encode("utf-8", "surrogatepass")
    response = _POOL.request(method, url, body=data, headers=headers)
    return response.status, json.loads(response.data or b"null")


def forward(method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes as they are, get status, headers and bytes; credentials in the URL are used."""
    parts = urlsplit(url)
    passed = {name: text for name, text in headers.items() if name.lower() not in _HOP}
    if parts.username:
        passed |= urllib3.make_headers(basic_auth=unquote(f"{parts.username}:{parts.password}"))
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    response = _POOL.request(method, url, body=body, headers=passed)
    answered = {name: text for name, text in response.headers.items() if name.lower() not in _HOP}
    return response.status, answered, response.data


def get(url: str) -> Any:
    """GET that must succeed."""
    status, value = request("GET", url)
    assert status == 200, (status, value)
    return value


def is_cluster(server: str) -> bool:
    """True where several nodes keep copies of each document."""
    status, value = request("GET", f"{server}/_membership")
    return status == 200 and len(value["cluster_nodes"]) > 1


def settle(server: str, database: str, what: str = "_changes?style=all_docs") -> None:
    """Wait until a cluster's copies of a database answer the same, for it asks one of them."""
    name = quote(database, safe="")
    status, info = request("GET", f"{server}/{name}")
    if status != 200 or info.get("cluster", {}).get("n", 1) < 2:
        return
    where = get(f"{server}/_node/_local/_dbs/{name}")
    suffix = bytes(where["shard_suffix"]).decode()
    shards = [(f"shards/{name}/{database}{suffix}", nodes) for name, nodes in where["by_range"].items()]
    for _ in range(600):
        if all(len(_copies(server, shard, nodes, what)) == 1 for shard, nodes in shards):
            return
        request("POST", f"{server}/{name}/_sync_shards", {})
        time.sleep(0.1)
    raise AssertionError(f"the copies of {database} do not become equal")


def security(url: str) -> Any:
    """The `_security` of the database at a URL: on a cluster most copies acknowledge it, and any one answers."""
    server, _, name = url.rpartition("/")
    settle(server, unquote(name), "_security")
    return get(f"{url}/_security")


def counts(server: str, database: str) -> tuple[int, int, str]:
    """Documents, deletions and the number of changes of a database.

    What stands after a sequence's number says which of a cluster's copies answered, though all hold the same.
    """
    settle(server, database)
    info = get(f"{server}/{quote(database, safe='')}")
    return info["doc_count"], info.get("doc_del_count", 0), str(info["update_seq"]).partition("-")[0]


def feed(server: str, database: str) -> list[dict[str, Any]]:
    """The changes of a database, with all leaves."""
    settle(server, database)
    found: list[dict[str, Any]] = get(f"{server}/{quote(database, safe='')}/_changes?style=all_docs")["results"]
    return found


def _copies(server: str, shard: str, nodes: Sequence[str], what: str) -> set[str]:
    """What each node answers of its copy of a shard: one text where all hold the same."""
    found = set()
    for node in nodes:
        status, value = request("GET", f"{server}/_node/{node}/{quote(shard, safe='')}/{what}")
        rows = value.get("results", ())
        changes = {row["id"]: sorted(change["rev"] for change in row["changes"]) for row in rows}
        held = changes if "results" in value else value
        found.add(json.dumps(held, sort_keys=True) if status == 200 else f"{node}: {status}")
    return found


def documents(server: str, database: str) -> dict[str, dict[str, Any]]:
    """All documents of a database by id, with their revisions."""
    return {row["id"]: row["doc"] for row in rows(server, database, include_docs="true")}


def revisions(server: str, database: str) -> dict[str, str]:
    """All revisions of a database by id."""
    return {row["id"]: row["value"]["rev"] for row in rows(server, database)}


def rows(server: str, database: str, **params: str) -> list[dict[str, Any]]:
    """All rows of `_all_docs`; the sandbox lists what is behind U+00FF only where an end is named."""
    found = []
    settle(server, database)
    for first, last in (("", "\ud7ff"), ("\ue000", "\uffff"), ("\U00010000", "\U0010ffff")):
        query = urlencode({"startkey": json.dumps(first), "endkey": json.dumps(last * 8), **params})
        found += get(f"{server}/{quote(database, safe='')}/_all_docs?{query}")["rows"]
    return found


def plain(documents: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Documents without `_rev`."""
    return {id: {key: value for key, value in doc.items() if key != "_rev"} for id, doc in documents.items()}


def contents(url: str) -> dict[str, dict[str, Any]]:
    """All documents of the database at a URL by id, without their revisions."""
    server, _, name = url.rpartition("/")
    return plain(documents(server, name))


def filled_pair(server: str, other: str, name: str, documents: int) -> tuple[str, str]:
    """Make a database of so many documents; its URL, and that of a copy on the other server, not there yet."""
    assert request("PUT", f"{server}/{name}")[0] in {201, 202}
    docs = [{"_id": f"d{n:04}", "n": n} for n in range(documents)]
    request("POST", f"{server}/{name}/_bulk_docs", {"docs": docs})
    return f"{server}/{name}", f"{other}/{name}_copy"
