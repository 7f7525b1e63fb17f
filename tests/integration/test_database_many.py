"""The face that applications have today: the same cases for memory and CouchDB, and what is CouchDB's alone."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest

from migrator.couch.client import CouchClient
from migrator.database import (
    CouchDBService,
    DatabaseError,
    DatabaseService,
    DocumentNotFound,
    MemoryDBService,
    couch_bulk,
)
from migrator.errors import ConfigError, EndpointError, Forbidden, TransientError, Unauthorized
from tests import support
from tests.support.mango_cases import DOCUMENTS, REFUSED, SELECTORS
from tests.support.stub_server import Reply, StubServer

pytestmark = pytest.mark.usefixtures("no_credentials")

COLLECTIONS = ["agents", "deployments", "users", "sessions", "tickets", "demos"]
DATA = "aGVsbG8="
FILE = {"a.txt": {"content_type": "text/plain", "data": DATA}}


def account(server_url: str) -> tuple[str, str, str]:
    """The server's URL without its account, and the account."""
    parts = urlsplit(server_url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port}", parts.username or "", parts.password or ""


@pytest.fixture
def couch(server_url: str) -> Iterator[CouchDBService]:
    """A service on the server, made as an application makes it."""
    service = CouchDBService(*account(server_url))
    yield service
    service.close()


@pytest.fixture(params=["memory", "couchdb"])
def service(request: pytest.FixtureRequest, couch: CouchDBService) -> DatabaseService:
    """A service of each kind."""
    return MemoryDBService() if request.param == "memory" else couch


@pytest.fixture
def name(database_prefix: str) -> str:
    """A database of this test's own."""
    return f"{database_prefix}a"


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The requests that are sent, as method and last part of the path."""
    sent: list[str] = []
    call, stream = CouchClient.call, CouchClient.stream

    def counted_call(self: CouchClient, method: str, *path: str, **options: Any) -> Any:
        sent.append(f"{method} {path[-1] if path else ''}")
        return call(self, method, *path, **options)

    def counted_stream(self: CouchClient, what: str, *path: str, **options: Any) -> Any:
        sent.append(f"GET {path[-1]}")
        return stream(self, what, *path, **options)

    monkeypatch.setattr(CouchClient, "call", counted_call)
    monkeypatch.setattr(CouchClient, "stream", counted_stream)
    return sent


def plain(documents: Any) -> list[dict[str, Any]]:
    """Documents without the revisions that CouchDB's have."""
    return [{key: value for key, value in document.items() if key != "_rev"} for document in documents]


# -- the migration of the page ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", ["memory to couchdb", "couchdb to memory", "couchdb to couchdb"])
def test_the_loop_migrates(kinds: str, couch: CouchDBService, server_url: str, database_prefix: str) -> None:
    """Each document arrives under its id, and the source has every document as before."""
    other = CouchDBService(*account(server_url))
    source: DatabaseService = MemoryDBService() if kinds.startswith("memory") else couch
    target: DatabaseService = MemoryDBService() if kinds.endswith("memory") else other
    for collection in COLLECTIONS:
        for n in range(3):
            source.save(f"{database_prefix}{collection}", f"{collection}-{n}", {"n": n, "nested": {"list": [n]}})
    before = {each: source.list_all(f"{database_prefix}{each}") for each in COLLECTIONS}
    for collection in COLLECTIONS:
        for doc in source.list_all(f"{database_prefix}{collection}"):
            doc_id = doc.pop("_id")
            target.save(f"{database_prefix}{collection}", doc_id, doc)
    for collection, documents in before.items():
        assert source.list_all(f"{database_prefix}{collection}") == (
            documents if kinds != "couchdb to couchdb" else target.list_all(f"{database_prefix}{collection}")
        )
        assert plain(target.list_all(f"{database_prefix}{collection}")) == plain(documents)
    assert len(documents) == 3
    other.close()


def test_the_example_updates(service: DatabaseService, name: str) -> None:
    """Saved, read, changed and saved again: the second revision, and the id in both."""
    first = service.save(name, "agent-1", {"name": "My Agent", "code": "..."})
    assert first == {"id": "agent-1", "rev": first["rev"]}
    assert first["rev"].startswith("1-")
    agent = service.get(name, "agent-1")
    assert agent["_id"] == "agent-1"
    agent["name"] = "Updated Agent"
    before = copy.deepcopy(agent)
    second = service.save(name, "agent-1", agent)
    assert second["rev"].startswith("2-")
    assert agent == before
    assert plain([service.get(name, "agent-1")]) == [{"_id": "agent-1", "name": "Updated Agent", "code": "..."}]


def test_couchdb_stores_and_gives_id_and_revision(couch: CouchDBService, server_url: str, name: str) -> None:
    """The id is CouchDB's and the document's own; the revision is the one that the server has."""
    saved = couch.save(name, "a", {"n": 1})
    there = {"_id": "a", "_rev": saved["rev"], "n": 1}
    assert support.get(f"{server_url}/{name}/a") == there
    assert [couch.get(name, "a"), *couch.list_all(name), *couch.find(name, {"n": 1})] == [there] * 3
    assert list(couch.get_many(name, ["a"])) == [there]


def missing(action: Callable[[str, str], Any], name: str) -> None:
    """Ask for a document that is not there."""
    with pytest.raises(DocumentNotFound):
        action(name, "a")


ACCESSES: dict[str, Callable[[DatabaseService, str], Any]] = {
    "get": lambda service, name: missing(service.get, name),
    "save": lambda service, name: service.save(name, "a", {}),
    "delete": lambda service, name: missing(service.delete, name),
    "list_all": lambda service, name: service.list_all(name),
    "find": lambda service, name: service.find(name, {"n": 1}),
    "ensure_index": lambda service, name: service.ensure_index(name, ["n"]),
    "save_many": lambda service, name: service.save_many(name, [{"_id": "a"}]),
    "get_many": lambda service, name: service.get_many(name, ["a"]),
    "delete_many": lambda service, name: service.delete_many(name, ["a"]),
}


@pytest.mark.parametrize("access", ACCESSES)
def test_a_database_is_made_on_first_access(
    couch: CouchDBService, server_url: str, name: str, access: str
) -> None:
    """By whatever access; and again where somebody has deleted it meanwhile, unless a document is missed there."""
    for _ in range(1 if access == "get" else 2):
        ACCESSES[access](couch, name)
        assert name in support.get(f"{server_url}/_all_dbs")
        support.request("DELETE", f"{server_url}/{name}")
    ACCESSES[access](couch, name)


# -- save_many --------------------------------------------------------------------------------------------------


def test_many_are_saved_with_a_row_each(service: DatabaseService, name: str) -> None:
    """In order, whatever is wrong with some of them; the caller's documents stay as they are."""
    docs: list[Any] = [
        {"_id": "b", "n": 1},
        {"n": 2},
        {"_id": "a", "n": 3},
        {"_id": None},
        {"_id": ""},
        {"_id": 5},
        {"_id": "_a"},
        {"_id": "c", "__v": 1},
        None,
        "text",
        {"_id": "d"},
        {"_id": "\ud800"},
        {},
    ]
    before = copy.deepcopy(docs)
    rows = service.save_many(name, docs)
    assert docs == before
    assert [row["ok"] for row in rows] == [n in {0, 2, 10} for n in range(len(docs))]
    assert [row["id"] for row in rows[:3]] == ["b", None, "a"]
    assert all(row["rev"].startswith("1-") for row in rows if row["ok"])
    assert all(row["error"] and row["reason"] for row in rows if not row["ok"])
    assert rows[1]["error"] == rows[12]["error"] == "missing_id"
    assert "__v" in rows[7]["reason"]
    assert plain(service.list_all(name)) == [{"_id": "a", "n": 3}, {"_id": "b", "n": 1}, {"_id": "d"}]


def test_many_replace_what_is_there(service: DatabaseService, name: str) -> None:
    """Without a revision as `save` does, with the revision that was read, and after a deletion."""
    assert service.save_many(name, []) == []
    service.save_many(name, ({"_id": f"{n}", "n": n} for n in range(4)))
    service.delete(name, "3")
    docs = service.list_all(name)
    for doc in docs:
        doc["n"] += 10
    rows = service.save_many(
        name, [*docs[:2], {"_id": "2", "n": 12}, {"_id": "3", "n": 13}, {"_id": "4", "n": 14}]
    )
    assert [(row["id"], row["ok"]) for row in rows] == [(f"{n}", True) for n in range(5)]
    assert [row["rev"].partition("-")[0] for row in rows] == ["2", "2", "2", "3", "1"]
    assert plain(service.list_all(name)) == [{"_id": f"{n}", "n": n + 10} for n in range(5)]


def test_of_the_same_id_the_last_one_counts(service: DatabaseService, name: str) -> None:
    """As if they were saved one after the other."""
    rows = service.save_many(name, [{"_id": "a", "n": n} for n in range(3)] + [{"_id": "b"}])
    assert [row["ok"] for row in rows] == [True] * 4
    assert plain(service.list_all(name)) == [{"_id": "a", "n": 2}, {"_id": "b"}]


def test_a_revision_that_is_not_the_present_one_is_a_conflict(couch: CouchDBService, name: str) -> None:
    """The row says so, nothing is overwritten, and the others are saved."""
    couch.save(name, "a", {"n": 1})
    couch.save(name, "c", {"n": 1})
    old, gone = couch.get(name, "a"), couch.get(name, "c")
    couch.save(name, "a", {"n": 2})
    couch.delete(name, "c")
    rows = couch.save_many(name, [{"_id": "b"}, {**old, "mine": True}, {**gone, "mine": True}])
    assert [row.get("error") for row in rows] == [None, "conflict", "conflict"]
    assert plain(couch.list_all(name)) == [{"_id": "a", "n": 2}, {"_id": "b"}]


def test_a_revision_of_another_database_counts_for_nothing(couch: CouchDBService, database_prefix: str) -> None:
    """Documents read of one database are saved into another."""
    couch.save_many(f"{database_prefix}a", [{"_id": f"{n}", "n": n} for n in range(3)])
    docs = couch.list_all(f"{database_prefix}a")
    assert all(row["ok"] for row in couch.save_many(f"{database_prefix}b", docs))
    assert plain(couch.list_all(f"{database_prefix}b")) == plain(docs)


def test_what_the_server_forbids_is_a_row(couch: CouchDBService, name: str) -> None:
    """With the server's own words; a value that JSON lacks, and an attachment without data, likewise."""
    code = "function (n) { if (n.bad) throw({forbidden: 'no bad'}); }"
    couch.save(name, "_design/v", {"validate_doc_update": code})
    rows = couch.save_many(
        name,
        [
            {"_id": "a"},
            {"_id": "b", "bad": True},
            {"_id": "c", "value": object()},
            {"_id": "d", "_attachments": {"x": {"stub": True, "content_type": "a/b", "length": 1}}},
            {"_id": "e"},
        ],
    )
    assert [row["ok"] for row in rows] == [True, False, False, False, True]
    assert "no bad" in rows[1]["reason"]
    assert "value is of type object" in rows[2]["reason"]
    assert [document["_id"] for document in couch.list_all(name)] == ["a", "e"]


def test_each_is_one_request(couch: CouchDBService, name: str, requests: list[str]) -> None:
    """However many documents there are; a deletion wants the revisions first."""
    couch.list_all(name)
    docs: list[Any] = [{"_id": f"{n:04}", "n": n} for n in range(300)]
    ids = [doc["_id"] for doc in docs]

    def sent_by(action: Callable[[], Any]) -> tuple[list[str], Any]:
        requests.clear()
        result = action()
        return list(requests), result

    assert sent_by(lambda: couch.save_many(name, docs))[0] == ["POST _bulk_docs"]
    sent, found = sent_by(lambda: couch.get_many(name, [*ids, "none"]))
    assert (sent, len(found)) == (["POST _all_docs"], 301)
    assert sent_by(lambda: couch.save_many(name, found[:300]))[0] == ["POST _bulk_docs"]
    sent, listed = sent_by(lambda: couch.find(name, {"n": {"$gte": 10}}))
    assert (sent, len(listed)) == (["POST _find"], 290)
    assert sent_by(lambda: couch.ensure_index(name, ["n"]))[0] == ["POST _index"]
    assert sent_by(lambda: couch.delete_many(name, ids))[0] == ["POST _all_docs", "POST _bulk_docs"]
    assert sent_by(lambda: couch.save_many(name, []))[0] == []
    assert couch.list_all(name) == []


def test_what_is_too_much_for_one_request_is_divided(
    couch: CouchDBService, name: str, requests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By number and by bytes."""
    monkeypatch.setattr("migrator.database.couch_bulk.MAX_REQUEST_DOCS", 4)
    monkeypatch.setattr("migrator.database.couch_bulk.MAX_REQUEST_BYTES", 1_000)
    docs = [{"_id": f"{n}", "text": "x" * (600 if n < 3 else 1)} for n in range(9)]
    couch.list_all(name)
    requests.clear()
    assert all(row["ok"] for row in couch.save_many(name, iter(docs)))
    assert requests == ["POST _bulk_docs"] * 3
    assert all(row["ok"] for row in couch.delete_many(name, [doc["_id"] for doc in docs]))
    assert couch.list_all(name) == []


def test_savers_and_deleters_race(couch: CouchDBService, name: str) -> None:
    """Whoever saves without a revision wins in the end, and nobody meets an exception."""
    ids = [f"{n}" for n in range(10)]
    barrier = threading.Barrier(4)

    def work(writer: int) -> list[Any]:
        barrier.wait(30)
        if writer == 3:
            return couch.delete_many(name, ids)
        return couch.save_many(name, [{"_id": id, "writer": writer} for id in ids])

    with ThreadPoolExecutor(4) as pool:
        assert all(row["ok"] for rows in pool.map(work, range(4)) for row in rows)


TROUBLES: dict[str, Any] = {
    "full disk": {"error": "error", "reason": "internal_server_error"},
    "other word": {"error": "internal_server_error", "reason": "whatever"},
    "timeout": {"error": "timeout", "reason": "too slow"},
    "unheard of": {"error": "badarg", "reason": ""},
    "no answer": None,
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
def test_trouble_of_the_server_is_no_verdict(
    couch: CouchDBService, name: str, monkeypatch: pytest.MonkeyPatch, trouble: dict[str, Any] | None
) -> None:
    """It is raised, by one and by many and by deletions, and no document is called refused."""
    couch.save(name, "a", {})

    def in_trouble(_client: Any, _database: str, bodies: list[bytes], **_options: Any) -> list[dict[str, Any]]:
        ids = [json.loads(body)["_id"] for body in bodies]
        return [{"id": id, **trouble} for id in ids] if trouble else []

    monkeypatch.setattr(CouchClient, "bulk_docs", in_trouble)
    actions: list[Callable[[], Any]] = [
        lambda: couch.save(name, "a", {}),
        lambda: couch.save_many(name, [{"_id": "a"}, {"_id": "b"}]),
        lambda: couch.delete(name, "a"),
        lambda: couch.delete_many(name, ["a"]),
    ]
    for action in actions:
        with pytest.raises(TransientError, match="does not store") as caught:
            action()
        assert caught.value.outcome_unknown
        assert caught.value.exit_code == 5


def test_trouble_that_passes_is_tried_again(
    couch: CouchDBService, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what was not stored is sent again."""
    couch.list_all(name)
    bulk_docs, sent = CouchClient.bulk_docs, []

    def at_first_in_trouble(self: Any, database: str, bodies: list[bytes], **options: Any) -> list[dict[str, Any]]:
        sent.append(len(bodies))
        rows = bulk_docs(self, database, bodies, **options)
        return [rows[0], {"id": "b", **TROUBLES["full disk"]}, *rows[2:]] if len(sent) == 1 else rows

    monkeypatch.setattr(CouchClient, "bulk_docs", at_first_in_trouble)
    rows = couch.save_many(name, [{"_id": "a"}, {"_id": "b"}, {"_id": "c"}])
    assert [row["ok"] for row in rows] == [True] * 3
    assert sent[:2] == [3, 1]


def test_a_document_that_the_server_fails_at_is_a_row(couch: CouchDBService, name: str, is_couchdb: bool) -> None:
    """An integer beyond a double's range is a 500 of CouchDB's for the whole request; the others are saved."""
    rows = couch.save_many(name, [{"_id": "a"}, {"_id": "b", "n": 10**320}, {"_id": "c"}])
    assert [row["ok"] for row in rows] == [True, not is_couchdb, True]
    if is_couchdb:
        with pytest.raises(DatabaseError, match="badarith"):
            couch.save(name, "b", {"n": 10**320})


# -- get_many and delete_many -----------------------------------------------------------------------------------


def test_many_are_read_in_the_order_asked(service: DatabaseService, name: str) -> None:
    """None for what is missing, deleted, or no id at all; one of them also by its id."""
    service.save_many(name, [{"_id": id, "was": id} for id in ("a", "b", "ü/ä", "gone")])
    service.delete(name, "gone")
    ids: list[Any] = ["b", "none", "a", "b", "gone", "", "_a", None, 5, "ü/ä", "\ud800"]
    found = service.get_many(name, ids)
    assert isinstance(found, list)
    expected = ["b", None, "a", "b", None, None, None, None, None, "ü/ä", None]
    assert [document and document["_id"] for document in found] == expected
    assert [document and document["was"] for document in found] == expected
    assert found["a"] == found[2] == found.get("a")
    assert (found["none"], found.get("never asked")) == (None, None)
    assert dict(found.items())["b"] == found[0]
    with pytest.raises(KeyError):
        found["never asked"]
    assert list(service.get_many(name, [["a"], {}])) == [None, None]  # type: ignore[list-item]
    for action in (service.get_many, service.delete_many):
        with pytest.raises(DatabaseError, match="is one id"):
            action(name, "abc")
    assert list(service.get_many(name, [])) == []
    assert service.get_many(name, iter(["a"]))["a"] == found["a"]


def test_what_one_copy_misses_is_confirmed_before_it_is_called_missing(
    couch: CouchDBService, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a cluster a list comes from one copy, which may lag behind; a document is asked of more than one."""
    couch.save(name, "a", {})
    lookup, asked = CouchClient.lookup, []

    def lagging(self: CouchClient, database: str, ids: Any, **options: Any) -> Any:
        asked.append(ids)
        return dict.fromkeys(ids) if len(asked) < 3 else lookup(self, database, ids, **options)

    monkeypatch.setattr(CouchClient, "lookup", lagging)
    couch.delete(name, "a")
    assert len(asked) == 3
    with pytest.raises(DocumentNotFound):
        couch.get(name, "a")


def test_many_are_deleted(service: DatabaseService, name: str) -> None:
    """What is missing is fine, what is not an id is a row with an error, and twice is once."""
    service.save_many(name, [{"_id": id} for id in ("a", "b", "c")])
    ids: list[Any] = ["a", "none", "b", "a", "", None]
    rows = service.delete_many(name, ids)
    assert [row["ok"] for row in rows] == [True, True, True, True, False, False]
    assert [row["id"] for row in rows[:4]] == ["a", "none", "b", "a"]
    assert [document["_id"] for document in service.list_all(name)] == ["c"]
    assert [row["ok"] for row in service.delete_many(name, ["a", "b"])] == [True, True]
    assert service.delete_many(name, []) == []


# -- find -------------------------------------------------------------------------------------------------------


def test_finds_the_same(couch: CouchDBService, name: str, is_couchdb: bool) -> None:
    """Each selector finds in memory what it finds in CouchDB; the sandbox's own language differs at the edges."""
    memory = MemoryDBService()
    for service in (memory, couch):
        assert all(r["ok"] for r in service.save_many(name, list(DOCUMENTS.values())))
    simple: list[dict[str, Any]] = [
        {"v": 5},
        {"v": {"$gt": 0, "$lt": 7}},
        {"v": {"$in": [5, 10]}},
        {"v": {"$exists": False}},
        {"v": {"$type": "array"}},
        {"v.n.m": {"$size": 2}},
        {"$or": [{"v": 5}, {"w": 1}]},
        {"$and": [{"v": {"$gte": 5}}, {"v": {"$lte": 6}}]},
        {"v": {"$elemMatch": {"$eq": "a"}}},
        {"v": {"$regex": "^a"}},
        {"v": {"$mod": [5, 0]}},
        {"v": {"$all": ["a", "b"]}},
    ]
    selectors = SELECTORS if is_couchdb else simple
    found = {
        service: [sorted(document["_id"] for document in service.find(name, each)) for each in selectors]
        for service in (memory, couch)
    }
    differing = [each for each, one, other in zip(selectors, *found.values(), strict=True) if one != other]
    assert differing == []


def test_a_query_that_the_server_fails_at_is_answered(
    couch: CouchDBService, name: str, is_couchdb: bool, requests: list[str]
) -> None:
    """CouchDB 3.5 fails at null in an `$in` once there is an index on whatever: the documents are read here."""
    memory = MemoryDBService()
    for service in (memory, couch):
        service.save_many(name, list(DOCUMENTS.values()))
        service.save(name, "_design/x", {"v": None})
    couch.ensure_index(name, ["other"])
    selectors = [each for each in SELECTORS if "$in" in str(each) and "None" in str(each)]
    assert selectors
    for selector in selectors if is_couchdb else [{"v": {"$in": [5, 10]}}]:
        for fields, limit in ((None, None), (["v"], 2)):
            found = plain(couch.find(name, selector, fields, limit))
            assert found == memory.find(name, selector, fields, limit)
            assert found
    assert ("GET _all_docs" in requests) is is_couchdb


def test_all_are_found_and_no_more_than_the_limit(
    service: DatabaseService, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's default of 25 cuts nothing off, nor does the end of a page; design documents are not found."""
    service.save_many(name, [{"_id": f"{n:03}", "n": n, "even": n % 2 == 0} for n in range(120)])
    service.save(name, "_design/x", {"n": 5, "language": "javascript"})
    monkeypatch.setattr(couch_bulk, "MAX_PAGE_DOCS", 20)
    for limit, count in ((None, 60), (0, 0), (1, 1), (19, 19), (20, 20), (21, 21), (40, 40), (60, 60), (1000, 60)):
        found = service.find(name, {"even": True}, limit=limit)
        assert [document["_id"] for document in found] == [f"{2 * n:03}" for n in range(count)], limit
    assert len(service.find(name, {})) == 120
    assert service.find(name, {"even": True}, ["n"], 1) == [{"_id": "000", "n": 0}]


def test_fields_are_projected(service: DatabaseService, name: str) -> None:
    """Nested ones too, with the id, and nothing for what is missing."""
    service.save(name, "a", {"n": 1, "deep": {"x": 1, "y": 2}, "rest": True})
    assert service.find(name, {"n": 1}, ["deep.x", "none"]) == [{"_id": "a", "deep": {"x": 1}}]


@pytest.mark.parametrize(
    "bad",
    [
        *({"selector": selector} for selector in (None, "n", ["n"], {"n": ...}, {"n": {"$in": {1: 2}}})),
        *({"limit": limit} for limit in (-1, True, 1.5, "10")),
        *({"fields": fields} for fields in ("n", [1], [""], [None])),
    ],
    ids=repr,
)
def test_a_query_that_cannot_be_is_an_error(service: DatabaseService, name: str, bad: dict[str, Any]) -> None:
    """The mistake is said with what to write instead."""
    with pytest.raises(DatabaseError) as caught:
        service.find(name, **{"selector": {"n": 1}, **bad})
    assert caught.value.hint


def test_a_selector_that_the_server_refuses_is_an_error(couch: CouchDBService, name: str) -> None:
    """With the server's own words."""
    couch.save(name, "a", {"v": {"n": 1}})
    with pytest.raises(DatabaseError, match="is refused") as caught:
        couch.find(name, {"$and": 5})
    assert caught.value.hint


@pytest.mark.couchdb("the sandbox takes some selectors that CouchDB refuses")
def test_each_selector_that_couchdb_refuses_is_an_error(couch: CouchDBService, name: str) -> None:
    """Those of which it was recorded."""
    couch.save(name, "a", {"v": {"n": 1}})
    for selector in REFUSED:
        with pytest.raises(DatabaseError, match="is refused") as caught:
            couch.find(name, selector)
        assert caught.value.hint


def test_an_index_changes_no_result(service: DatabaseService, name: str) -> None:
    """Made twice, by many at once, under a name or without; what lacks the field is found as before."""
    docs: list[Any] = [{"_id": f"{n:02}", "n": n % 5, "s": "x"} for n in range(40)] + [{"_id": "none", "s": "x"}]
    service.save_many(name, docs)
    selectors: list[dict[str, Any]] = [{"n": 3}, {"n": {"$gt": 2}}, {"s": "x"}, {"n": {"$exists": False}}]

    def found() -> list[list[str]]:
        return [sorted(document["_id"] for document in service.find(name, each)) for each in selectors]

    before = found()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: service.ensure_index(name, ["n"]), range(4)))
    service.ensure_index(name, ["s", "n"], "by-s")
    service.ensure_index(name, ["s", "n"], index_name="by-s")
    assert found() == before
    assert [document["_id"] for document in service.list_all(name)] == [doc["_id"] for doc in docs]


@pytest.mark.parametrize("fields", [[], "n", None, [5], [""], 7])
def test_an_index_wants_fields(service: DatabaseService, name: str, fields: Any) -> None:
    """A text is not a list of them."""
    with pytest.raises(DatabaseError, match="not fields of an index"):
        service.ensure_index(name, fields)


def test_the_index_is_at_the_server(couch: CouchDBService, server_url: str, name: str) -> None:
    """Under the name that was given, else one that names the fields."""
    couch.ensure_index(name, ["n", "m"])
    couch.ensure_index(name, ["n"], "mine")
    indexes = support.get(f"{server_url}/{name}/_index")["indexes"]
    assert {index["name"] for index in indexes} >= {"idx-n_m", "mine"}


# -- attachments ------------------------------------------------------------------------------------------------


def test_attachments_of_a_read_document_survive(service: DatabaseService, name: str) -> None:
    """Read by whatever way, changed, and saved by either; what is left out on purpose goes."""
    service.save(name, "a", {"n": 0, "_attachments": FILE})
    readers: list[Callable[[], Any]] = [
        lambda: service.get(name, "a"),
        lambda: service.list_all(name)[0],
        lambda: service.find(name, {"n": {"$gte": 0}})[0],
        lambda: service.get_many(name, ["a"])[0],
    ]
    for read in readers:
        document = read()
        document["n"] += 1
        service.save(name, "a", document)
        assert service.save_many(name, [{**read(), "again": True}])[0]["ok"]
    assert service.get(name, "a")["n"] == len(readers)
    assert list(service.get(name, "a")["_attachments"]) == ["a.txt"]
    document = service.get(name, "a")
    del document["_attachments"]
    service.save(name, "a", document)
    assert "_attachments" not in service.get(name, "a")


def test_an_attachment_that_is_only_named_keeps_its_data(service: DatabaseService, name: str) -> None:
    """As CouchDB names it in a document that was read; the other one goes."""
    service.save(name, "a", {"_attachments": {**FILE, "b.txt": FILE["a.txt"]}})
    read = service.get(name, "a")["_attachments"]["a.txt"]
    stub = {"stub": True, **{key: value for key, value in read.items() if key != "data"}}
    service.save(name, "a", {"_attachments": {"a.txt": stub}})
    document = service.get(name, "a")
    assert list(document["_attachments"]) == ["a.txt"]
    assert isinstance(service, CouchDBService) or document["_attachments"]["a.txt"]["data"] == DATA


def test_the_data_of_a_surviving_attachment_is_there(couch: CouchDBService, server_url: str, name: str) -> None:
    """Byte by byte, beside one that came later."""
    couch.save(name, "a", {"_attachments": FILE})
    document = couch.get(name, "a")
    document["_attachments"]["b.txt"] = {"content_type": "text/plain", "data": "Yg=="}
    couch.save(name, "a", document)
    stored = support.get(f"{server_url}/{name}/a?attachments=true")["_attachments"]
    assert {key: value["data"] for key, value in stored.items()} == {"a.txt": DATA, "b.txt": "Yg=="}


def test_an_attachment_without_its_data_is_refused(service: DatabaseService, name: str) -> None:
    """A document read elsewhere names what is not here: that is said, and nothing is lost in silence."""
    service.save(name, "a", {"n": 1})
    stub = {"_attachments": {"a.txt": {"stub": True, "content_type": "text/plain", "length": 5, "revpos": 1}}}
    for id in ("a", "new"):
        with pytest.raises(DatabaseError, match=id) as caught:
            service.save(name, id, stub)
        assert "migrator run" in caught.value.hint
    assert plain(service.list_all(name)) == [{"_id": "a", "n": 1}]


# -- CouchDBService ---------------------------------------------------------------------------------------------


def test_an_account_that_is_given_is_not_shown(server_url: str, name: str) -> None:
    """Nor the URL's where none is given."""
    url, user, password = account(server_url)
    for service in (CouchDBService(url, user, password), CouchDBService(server_url)):
        service.save(name, "a", {})
        assert repr(service) == f"CouchDBService('{url}')"
        service.close()


@pytest.mark.couchdb("the sandbox lets everybody in")
def test_an_account_that_is_given_counts_before_the_urls(server_url: str, name: str) -> None:
    """The URL's is refused where it is used, and is in no repr or message."""
    url, user, password = account(server_url)
    wrong = url.replace("://", "://nobody:wr0ng@")
    with closing(CouchDBService(wrong, user, password)) as service:
        service.save(name, "a", {})
    with closing(CouchDBService(wrong)) as service:
        with pytest.raises(Unauthorized, match="credentials were refused") as caught:
            service.list_all(name)
        assert "wr0ng" not in f"{caught.value}{service!r}{vars(service)}"


@pytest.mark.parametrize("access", ACCESSES)
def test_a_server_that_is_away_is_said(access: str) -> None:
    """By every access, with what to do and without the password."""
    service = CouchDBService("http://ada:s3cr3t@127.0.0.1:1", "ada", "s3cr3t")
    with pytest.raises(EndpointError, match=r"refused") as caught:
        ACCESSES[access](service, "agents")
    assert "migrator wait" in caught.value.hint
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("access", ACCESSES)
def test_who_is_refused_asks_once(access: str, status: int) -> None:
    """CouchDB locks an account after five failures."""
    refused = {"error": "unauthorized", "reason": "Name or password is incorrect."}
    with StubServer(lambda _asked: Reply(status, refused)) as server:
        service = CouchDBService(server.url, "ada", "wr0ng")
        with pytest.raises((Unauthorized, Forbidden)):
            ACCESSES[access](service, "agents")
        assert len(server.asked) == 1
        service.close()


@pytest.mark.parametrize("url", ["h:5984", "ftp://h", "http://", "http://ada:s3cr3t@h:x"])
def test_a_url_that_names_no_server_is_refused(url: str) -> None:
    """At once, and without its password."""
    with pytest.raises(ConfigError) as caught:
        CouchDBService(url, "ada", "s3cr3t")
    assert "s3cr3t" not in str(caught.value)


def test_a_url_that_names_a_database_is_refused(server_url: str) -> None:
    """A service has one for each collection; the message has the URL to use, without the account."""
    url, user, password = account(server_url)
    with pytest.raises(ConfigError, match="names the database orders") as caught:
        CouchDBService(f"{server_url}/orders", user, password)
    assert caught.value.hint.startswith(f"Set it to {url}; ")
