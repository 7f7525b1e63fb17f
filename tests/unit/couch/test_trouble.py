"""What is not a verdict on a document is the server's trouble: the loader and the leaf writer judge alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from zlib import crc32

import pytest

from migrator.couch.client import CouchClient
from migrator.couch.endpoint import Endpoint
from migrator.couch.leaf_writer import LeafWriter
from migrator.couch.trouble import MAX_BLAMED_IN_A_ROW, NEVER_OF_A_DOCUMENT, VERDICTS, is_verdict, stores
from migrator.errors import EXIT_UNREACHABLE, EndpointError, TargetMissing, TransientError
from migrator.loaders.couchdb import CouchLoader
from migrator.model import Batch, EncodedDocument, Outcome, Status
from migrator.model.revisions import Leaf
from migrator.pipeline.wrapper import BisectingLoader, RetryingLoader
from migrator.retry.retrier import MAX_ATTEMPTS_AT_ONE_DOCUMENT, Retrier, RetryPolicy
from tests.support.stub_server import Asked, Reply, StubServer, recorded_reply

# What CouchDB, its parts and what stands before it were seen to say while they could not store, and some made up.
WORDS = [
    ("error", "internal_server_error"),
    ("error", "anything"),
    ("internal_server_error", "No DB shards could be opened."),
    ("insufficient_storage", "the disk is full"),
    ("timeout", "The request could not be processed in a reasonable amount of time."),
    ("unknown_error", "all_dbs_active"),
    ("unknown_error", "enospc"),
    ("enospc", "enospc"),
    ("emfile", ""),
    ("noproc", "{gen_server,call,[<0.1.0>]}"),
    ("nodedown", "progress not possible"),
    ("no_majority", ""),
    ("rexi_DOWN", "{'couchdb@127.0.0.1',noconnect}"),
    ("service_unavailable", ""),
    ("too_many_requests", ""),
    ("shutdown", ""),
    ("killed", ""),
    ("badmatch", "{error,enospc}"),
    ("case_clause", ""),
    ("function_clause", ""),
    ("file_corruption", "block checksum"),
    ("os_process_error", "{exit_status,137}"),
    ("TypeError", "doc.a is undefined"),
    ("", ""),
]
IDS = [f"{error}-{reason:.12}" for error, reason in WORDS]


DESIGNS = {
    "validating": Reply(
        200, {"rows": [{"id": "_design/v", "doc": {"_id": "_design/v", "validate_doc_update": "function () {}"}}]}
    ),
    "a view": Reply(200, {"rows": [{"id": "_design/v", "doc": {"_id": "_design/v", "views": {}}}]}),
    "none": Reply(200, {"rows": []}),
    "not for us": Reply(403, {"error": "forbidden", "reason": "You are not allowed to access this db."}),
    "no answer": Reply(500, {"error": "timeout", "reason": "x"}),
}


class Couch:
    """A database in memory; `refuse` says what becomes of a document that is to be stored, None to store it."""

    def __init__(self) -> None:
        self.docs: dict[str, str] = {}
        self.refuse: Callable[[str], dict[str, Any] | None] = lambda _id: None
        self.refuse_probe: Callable[[str], dict[str, Any] | None] = lambda _id: None
        self.probes: list[dict[str, Any]] = []
        self.writes = 0
        self.status = 500
        # With a function that validates there is somebody who may have thrown a word that nobody knows.
        self.designs: Reply = DESIGNS["validating"]
        self.server = StubServer(self._answer)

    def _answer(self, asked: Asked) -> Reply:
        if asked.path == "/":
            return recorded_reply("welcome")
        if asked.path.endswith("_bulk_docs"):
            docs = asked.json["docs"]
            if docs and docs[0]["_id"].startswith("_local/"):
                self.probes += docs
                rows = [self.refuse_probe(doc["_id"]) or _stored(doc["_id"], "0-1") for doc in docs]
            else:
                self.writes += 1
                rows = [self._write(doc) for doc in docs]
            bad = [row for row in rows if "error" in row]
            status = self.status if any(not is_verdict(row["error"]) for row in bad) else 201
            return Reply(status, bad if asked.json.get("new_edits") is False else rows)
        if asked.path.endswith("_revs_diff"):
            gone = {id: [rev for rev in revs if self.docs.get(id) != rev] for id, revs in asked.json.items()}
            return Reply(200, {id: {"missing": revs} for id, revs in gone.items() if revs})
        if asked.method == "GET" and asked.path.startswith("/db/_all_docs"):
            return self.designs
        if asked.path.startswith("/db/_all_docs"):
            return Reply(200, {"rows": [self._row(id) for id in asked.json["keys"]]})
        if asked.path == "/db":
            return Reply(200, {"db_name": "db", "doc_count": 0, "doc_del_count": 0, "props": {}})
        return Reply(404, {"error": "not_found", "reason": "missing"})

    def _write(self, doc: dict[str, Any]) -> dict[str, Any]:
        id = doc["_id"]
        if row := self.refuse(id):
            return {"id": id, **row}
        if id in self.docs and "_rev" not in doc:
            return {"id": id, "error": "conflict", "reason": "Document update conflict."}
        self.docs[id] = doc.get("_rev", "1-a")
        return _stored(id, self.docs[id])

    def _row(self, id: str) -> dict[str, Any]:
        if id not in self.docs:
            return {"key": id, "error": "not_found"}
        return {"id": id, "key": id, "value": {"rev": self.docs[id]}, "doc": {"_id": id, "_rev": self.docs[id]}}


def _stored(id: str, rev: str) -> dict[str, Any]:
    return {"ok": True, "id": id, "rev": rev}


@pytest.fixture
def couch() -> Iterator[Couch]:
    """Of one test."""
    couch = Couch()
    yield couch
    couch.server.close()


def load(couch: Couch, ids: Sequence[str], *, batch_docs: int = 100, max_attempts: int = 10) -> list[Outcome]:
    """Through the loader and its wrappers."""
    loader = CouchLoader(CouchClient(Endpoint(couch.server.url)), sleep=lambda _s: None, attempts=max_attempts)
    stacked = BisectingLoader(RetryingLoader(loader, Retrier(RetryPolicy(max_attempts), sleep=lambda _s: None)))
    outcomes: list[Outcome] = []
    try:
        stacked.prepare("db", None)
        for begin in range(0, len(ids), batch_docs):
            docs = [
                EncodedDocument(id, json.dumps({"_id": id}).encode()) for id in ids[begin : begin + batch_docs]
            ]
            outcomes += stacked.load(Batch("db", tuple(docs), end=1, read=len(docs)))
    finally:
        stacked.close()
    return outcomes


def write(couch: Couch, ids: Sequence[str], *, batch_docs: int = 100, max_attempts: int = 10) -> list[Outcome]:
    """Through the leaf writer."""
    client = CouchClient(Endpoint(couch.server.url))
    writer = LeafWriter(client, "db", Retrier(RetryPolicy(max_attempts), sleep=lambda _s: None))
    outcomes: list[Outcome] = []
    try:
        for begin in range(0, len(ids), batch_docs):
            part = ids[begin : begin + batch_docs]
            outcomes += writer.write([Leaf(id, "1-a", f'{{"_id":"{id}","_rev":"1-a"}}'.encode()) for id in part])
    finally:
        client.close()
    return outcomes


both = pytest.mark.parametrize("through", [load, write])
words = pytest.mark.parametrize(("error", "reason"), WORDS, ids=IDS)
LETTERS = list("abcdefgh")


@both
@words
def test_trouble_that_passes_blames_nobody(couch: Couch, through: Any, error: str, reason: str) -> None:
    """Of three requests no document is stored, then all are."""
    couch.refuse = lambda _id: {"error": error, "reason": reason} if couch.writes <= 3 else None
    assert [outcome.status for outcome in through(couch, LETTERS)] == [Status.WRITTEN] * len(LETTERS)
    assert sorted(couch.docs) == LETTERS


@both
@pytest.mark.parametrize("probed", [True, False])
@words
def test_trouble_with_all_that_stays_is_exit_5(
    couch: Couch, through: Any, probed: bool, error: str, reason: str
) -> None:
    """Whether a document of our own is stored or not: nothing is rejected, and the word is told."""
    couch.refuse = lambda _id: {"error": error, "reason": reason}
    couch.refuse_probe = lambda name: None if probed else couch.refuse(name)
    with pytest.raises(TransientError) as caught:
        through(couch, LETTERS)
    assert caught.value.exit_code == EXIT_UNREACHABLE
    assert error in caught.value.message
    assert "doctor" in caught.value.hint


@both
@words
def test_one_document_that_is_never_stored_is_named(couch: Couch, through: Any, error: str, reason: str) -> None:
    """The others pass and so does one of our own: after some attempts it is a reject, unless it never can be."""
    couch.refuse = lambda name: {"error": error, "reason": reason} if name == "d" else None
    if not NEVER_OF_A_DOCUMENT.isdisjoint({error, reason}):
        with pytest.raises(TransientError):
            through(couch, LETTERS)
        assert sorted(couch.docs) == [letter for letter in LETTERS if letter != "d"]
        return
    outcomes = through(couch, LETTERS)
    assert [outcome.id for outcome in outcomes] == LETTERS
    assert [(o.id, o.error, o.reason) for o in outcomes if o.status is Status.REJECTED] == [("d", error, reason)]
    assert couch.writes == MAX_ATTEMPTS_AT_ONE_DOCUMENT


@both
@pytest.mark.parametrize("status", [500, 201])
@pytest.mark.parametrize("designs", ["none", "a view", "no answer"])
@pytest.mark.parametrize("bad", ["d", "bdfh", "abcdefgh"])
@pytest.mark.parametrize("error", ["something", "unknown_error", "badmatch", "os_process_error"])
def test_a_word_that_nobody_can_have_thrown_is_the_servers_trouble(
    couch: Couch, through: Any, error: str, bad: str, designs: str, status: int
) -> None:
    """Without a function that validates, good documents are not rejected for it, however often it is said."""
    couch.designs, couch.status = DESIGNS[designs], status
    couch.refuse = lambda name: {"error": error, "reason": "x"} if name in bad else None
    with pytest.raises(TransientError) as caught:
        through(couch, LETTERS)
    assert caught.value.exit_code == EXIT_UNREACHABLE
    assert sorted(couch.docs) == [letter for letter in LETTERS if letter not in bad]


@both
def test_whether_a_function_validates_is_not_always_told(couch: Couch, through: Any) -> None:
    """Who may write and not read: one bad document does not end the run."""
    couch.designs = DESIGNS["not for us"]
    couch.refuse = lambda name: {"error": "something", "reason": "x"} if name == "d" else None
    outcomes = through(couch, LETTERS)
    assert [outcome.id for outcome in outcomes if outcome.status is Status.REJECTED] == ["d"]


@both
@words
def test_one_document_is_not_named_while_nothing_of_ours_is_stored(
    couch: Couch, through: Any, error: str, reason: str
) -> None:
    """As when a disk is so full that small ones still pass."""
    couch.refuse = lambda name: {"error": error, "reason": reason} if name == "d" else None
    couch.refuse_probe = lambda _id: {"error": "error", "reason": "internal_server_error"}
    with pytest.raises(TransientError):
        through(couch, LETTERS)


VALIDATING = [
    ("unknown_error", "bar"),
    ("TypeError", "{[]}"),
    ("Error", "{[]}"),
    ("x", "y"),
    ("unnamed_error", ""),
]


@both
@pytest.mark.parametrize(("error", "reason"), VALIDATING)
def test_a_validation_function_may_refuse_all_with_any_word(
    couch: Couch, through: Any, error: str, reason: str
) -> None:
    """CouchDB answers 201 then, and stores what no function sees: so each is named, after some attempts."""
    couch.status = 201
    couch.refuse = lambda _id: {"error": error, "reason": reason}
    assert {(o.status, o.error, o.http_status) for o in through(couch, LETTERS)} == {
        (Status.REJECTED, error, None)
    }
    assert couch.writes == MAX_ATTEMPTS_AT_ONE_DOCUMENT


@both
@pytest.mark.parametrize(
    ("error", "probed"),
    [("unknown_error", False), ("TypeError", False), ("os_process_error", True), ("internal_server_error", True)],
)
def test_all_rows_of_a_201_may_be_trouble_too(couch: Couch, through: Any, error: str, probed: bool) -> None:
    """Where nothing is stored, or where no validation function says such a thing."""
    couch.status = 201
    couch.refuse = lambda _id: {"error": error, "reason": "x"}
    couch.refuse_probe = lambda name: None if probed else couch.refuse(name)
    with pytest.raises(TransientError):
        through(couch, LETTERS)


@both
def test_many_of_a_batch_are_named_at_once(couch: Couch, through: Any) -> None:
    """A fault in a validation function may hit many: they are not tried one by one."""
    bad = {f"d{n:03}" for n in range(0, 100, 3)}
    couch.refuse = lambda name: {"error": "TypeError", "reason": "doc.a is undefined"} if name in bad else None
    outcomes = through(couch, [f"d{n:03}" for n in range(100)])
    assert {outcome.id for outcome in outcomes if outcome.status is Status.REJECTED} == bad
    assert couch.writes == MAX_ATTEMPTS_AT_ONE_DOCUMENT


@both
def test_documents_that_travel_alone_are_not_all_named(couch: Couch, through: Any) -> None:
    """Large ones have nobody beside them: after a few the server is the cause, whatever it says to our own."""
    named: list[str] = []

    def refuse(id: str) -> dict[str, Any]:
        if id not in named:
            named.append(id)
        return {"error": "badmatch", "reason": "{error,eio}"}

    couch.refuse = refuse
    with pytest.raises(TransientError):
        through(couch, LETTERS, batch_docs=1)
    assert len(named) == MAX_BLAMED_IN_A_ROW + 1


@both
def test_documents_that_travel_alone_are_named_while_others_pass(couch: Couch, through: Any) -> None:
    """Every second one is stored."""
    couch.refuse = lambda name: {"error": "badmatch", "reason": "x"} if name in "bdfh" else None
    outcomes = through(couch, LETTERS, batch_docs=1)
    assert [outcome.status is Status.REJECTED for outcome in outcomes] == [False, True] * 4


@both
@pytest.mark.parametrize("status", [500, 201])
def test_every_second_row_of_a_full_disk_names_nobody(couch: Couch, through: Any, status: int) -> None:
    """Two shards, one of them on a full disk: half of the rows fail for good, and a document of ours passes."""
    couch.status = status
    couch.refuse = lambda name: {"error": "error", "reason": "internal_server_error"} if name in "bdfh" else None
    with pytest.raises(TransientError) as caught:
        through(couch, LETTERS)
    assert caught.value.exit_code == EXIT_UNREACHABLE
    assert not set("bdfh") & set(couch.docs)


@both
def test_fewer_attempts_are_enough_where_fewer_are_allowed(couch: Couch, through: Any) -> None:
    """One bad document never ends a run, however impatient it is."""
    couch.refuse = lambda name: {"error": "unknown_error", "reason": "no"} if name == "d" else None
    outcomes = through(couch, LETTERS, max_attempts=2)
    assert [outcome.id for outcome in outcomes if outcome.status is Status.REJECTED] == ["d"]


@both
def test_failures_before_and_after_an_outage_do_not_add_up(couch: Couch, through: Any) -> None:
    """A document is the cause only when it fails in a row while the server is well."""
    couch.refuse = lambda name: {"error": "error", "reason": "x"} if name == "d" and couch.writes < 7 else None
    couch.refuse_probe = lambda _id: {"error": "error", "reason": "x"} if couch.writes == 3 else None
    couch.docs.clear()
    outcomes = through(couch, LETTERS)
    assert (couch.writes, [o.id for o in outcomes if o.status is Status.REJECTED]) == (7, [])


@both
@pytest.mark.parametrize("error", sorted(set(VERDICTS) - {"conflict"}))
def test_a_verdict_is_a_reject_at_once(couch: Couch, through: Any, error: str) -> None:
    """Even for all documents, and without a request more."""
    couch.refuse = lambda _id: {"error": error, "reason": "why"}
    outcomes = through(couch, LETTERS)
    assert {(o.status, o.error, o.reason, o.http_status) for o in outcomes} == {
        (Status.REJECTED, error, "why", VERDICTS[error])
    }
    assert (couch.writes, couch.probes) == (1, [])


# -- the same document twice ------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("ids", ["aa", "aba", "aabb", "abcabc", "aaaa"])
@pytest.mark.parametrize("batch_docs", [1, 2, 100])
@pytest.mark.parametrize("there", ["", "a", "ab"])
def test_the_same_twice_is_one_document(couch: Couch, through: Any, ids: str, batch_docs: int, there: str) -> None:
    """The first is written, unless it is there; every other one is unchanged, in one request or in several."""
    couch.docs = dict.fromkeys(there, "1-967a00dff5e02add41819138abb3284d" if through is load else "1-a")
    statuses = [outcome.status for outcome in through(couch, list(ids), batch_docs=batch_docs)]
    new = [id not in there and ids.index(id) == place for place, id in enumerate(ids)]
    assert statuses == [Status.WRITTEN if fresh else Status.UNCHANGED for fresh in new]


@both
def test_of_the_same_twice_both_are_rejected(couch: Couch, through: Any) -> None:
    """So that the numbers add up."""
    couch.refuse = lambda name: {"error": "forbidden", "reason": "no"} if name == "a" else None
    assert [outcome.error for outcome in through(couch, list("aba"))] == ["forbidden", "", "forbidden"]


def test_a_revision_is_asked_for_once(couch: Couch) -> None:
    """CouchDB calls one that is asked for twice missing, whether it is there or not."""
    write(couch, list("aab"))
    asked = [asked.json for asked in couch.server.asked if asked.path.endswith("_revs_diff")]
    assert asked == [{"a": ["1-a"], "b": ["1-a"]}] * 2


# -- whole requests ---------------------------------------------------------------------------------------------

WHOLE = [
    Reply(500, {"error": "unknown_error", "reason": "badarith"}),
    Reply(500, {"error": "error", "reason": "internal_server_error"}),
    Reply(500, b"<html>Oops</html>"),
    Reply(400, b"<html>Bad Request</html>"),
    Reply(400, {"error": "bad_request", "reason": "invalid UTF-8 JSON"}),
    Reply(412, {"error": "nodedown", "reason": "progress not possible"}),
    Reply(413, b"<html>Request Entity Too Large</html>"),
    Reply(415, {"error": "bad_content_type", "reason": "Content-Type must be application/json"}),
    Reply(422, b"{}"),
    Reply(429, b""),
    Reply(503, b"<html>Service Unavailable</html>"),
    Reply(507, {"error": "insufficient_storage", "reason": "x"}),
]


@both
@pytest.mark.parametrize("ids", [LETTERS, ["a"]], ids=["many", "one"])
@pytest.mark.parametrize("reply", WHOLE, ids=[f"{r.status} {r.data[:30]!r}" for r in WHOLE])
def test_a_way_that_lets_no_write_pass_blames_nobody(
    couch: Couch, through: Any, reply: Reply, ids: list[str]
) -> None:
    """A proxy that spoils or refuses every body, or a server that fails at all: exit 5."""
    answer = couch._answer
    couch.server.answer = lambda asked: reply if asked.path.endswith("_bulk_docs") else answer(asked)
    with pytest.raises(EndpointError) as caught:
        through(couch, ids)
    assert caught.value.exit_code == EXIT_UNREACHABLE


@both
@pytest.mark.parametrize("reply", [WHOLE[0], WHOLE[3], WHOLE[4], WHOLE[6]], ids=["500", "page", "400", "413"])
def test_a_request_that_fails_with_one_document_names_it(couch: Couch, through: Any, reply: Reply) -> None:
    """All without it pass."""
    answer = couch._answer
    couch.designs = DESIGNS["none"]

    def chokes(asked: Asked) -> Reply:
        return reply if asked.path.endswith("_bulk_docs") and b'"d"' in asked.body else answer(asked)

    couch.server.answer = chokes
    outcomes = through(couch, LETTERS)
    assert [outcome.id for outcome in outcomes if outcome.status is Status.REJECTED] == ["d"]


@both
def test_a_page_that_comes_once_blames_nobody(couch: Couch, through: Any) -> None:
    """What stands before the server says 413 of one small document, and not when it comes again."""
    answer = couch._answer
    pages = [WHOLE[6]]

    def once(asked: Asked) -> Reply:
        page = pages and asked.path.endswith("_bulk_docs") and b'"d"' in asked.body
        return pages.pop() if page else answer(asked)

    couch.server.answer = once
    outcomes = through(couch, ["d"])
    assert [(outcome.id, outcome.status) for outcome in outcomes] == [("d", Status.WRITTEN)]
    assert pages == []


# -- the document of our own ------------------------------------------------------------------------------------


def probe(couch: Couch, **options: Any) -> bool:
    """One probe."""
    client = CouchClient(Endpoint(couch.server.url))
    try:
        return stores(client, "db", **options)
    finally:
        client.close()


@pytest.mark.parametrize("like", ["a", "x" * 300, "é/ü", "_design/x", "user:1"])
def test_our_own_document_goes_the_documents_way_and_is_removed(couch: Couch, like: str) -> None:
    """In a bulk write, to the same shard, of the same size, never in a list."""
    assert probe(couch, like=like, size_bytes=5_000)
    first, second = couch.probes
    assert (first["_id"], second) == (second["_id"], {"_id": second["_id"], "_rev": "0-1", "_deleted": True})
    assert crc32(first["_id"].encode()) >> 24 == crc32(like.encode()) >> 24
    assert 4_900 < len(first["padding"]) < 5_100


def test_our_own_document_stays_small_beside_giants(couch: Couch) -> None:
    """A server's limit must not refuse it."""
    assert probe(couch, size_bytes=800_000_000)
    assert len(couch.probes[0]["padding"]) <= 1_000_000


@pytest.mark.parametrize(
    "rows", [[], [{"id": "x"}], [{"id": "x", "error": "error"}], [{"ok": True, "rev": "0-1"}] * 2]
)
def test_an_answer_without_a_revision_is_a_no(couch: Couch, rows: list[Any]) -> None:
    """Only what is confirmed was stored."""
    couch.server.answer = lambda _asked: Reply(201, rows)
    assert not probe(couch)


def test_a_database_that_is_gone_is_said_to_be(couch: Couch) -> None:
    """That is neither a yes nor a no."""
    couch.server.answer = lambda _asked: recorded_reply("bulk to no database")
    with pytest.raises(TargetMissing):
        probe(couch)
