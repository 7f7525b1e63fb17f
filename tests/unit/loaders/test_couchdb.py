"""The CouchDB loader at servers that answer as a real one did, or worse: one end for each document, always."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from migrator.couch.client import CouchClient
from migrator.couch.endpoint import Endpoint
from migrator.errors import TransientError
from migrator.loaders.couchdb import CouchLoader
from migrator.loaders.target import OnConflict
from migrator.model import Batch, EncodedDocument, Loader, Outcome, Status
from migrator.pipeline.wrapper import BisectingLoader, RetryingLoader
from migrator.retry.retrier import Retrier, RetryPolicy
from tests.support.fake_couch import EMPTY_INFO, FakeCouch
from tests.support.stub_server import Asked, Reply, recorded, recorded_reply


def batch(*documents: dict[str, Any]) -> Batch:
    """As the pipeline makes it."""
    encoded = tuple(EncodedDocument(document["_id"], json.dumps(document).encode()) for document in documents)
    return Batch("db", encoded, end=1, read=len(encoded))


def prepared(couch: FakeCouch, on_conflict: OnConflict = OnConflict.FAIL, **options: Any) -> CouchLoader:
    """A loader that has looked at the database."""
    client = CouchClient(Endpoint(couch.server.url, read_timeout_s=5.0))
    loader = CouchLoader(client, on_conflict=on_conflict, sleep=lambda _s: None, **options)
    loader.prepare("db", None)
    return loader


def stacked(loader: CouchLoader, max_attempts: int = 10) -> Loader:
    """With its wrappers, without their waits."""
    retrier = Retrier(RetryPolicy(max_attempts=max_attempts), sleep=lambda _s: None)
    return BisectingLoader(RetryingLoader(loader, retrier))


def ends(outcomes: Sequence[Outcome]) -> list[tuple[str, Status]]:
    """Ids and how they ended."""
    return [(outcome.id, outcome.status) for outcome in outcomes]


DOCS = [{"_id": letter, "n": n} for n, letter in enumerate("abcdef")]
WRITTEN = [(str(doc["_id"]), Status.WRITTEN) for doc in DOCS]


# -- recorded answers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bulk new", ["written", "written"]),
        ("rows forbidden and unauthorized", ["rejected forbidden 403", "rejected unauthorized 401", "written"]),
        ("bad design document", ["rejected compilation_error None"]),
        ("bulk over tombstone", ["written"]),
        ("numbers in", ["written"]),
    ],
)
def test_recorded_rows_become_outcomes(couch: FakeCouch, name: str, expected: list[str]) -> None:
    """Each row that the real server gave is the end of its document."""
    record = recorded()[name]
    couch.before = lambda _asked: recorded_reply(name)
    loader = prepared(couch)
    documents = [
        EncodedDocument(doc["_id"], json.dumps(doc).encode()) for doc in json.loads(record["request"])["docs"]
    ]
    outcomes = loader.load(Batch("db", tuple(documents), end=1, read=len(documents)))
    found = [
        f"{outcome.status.value} {outcome.error} {outcome.http_status}" if outcome.error else outcome.status.value
        for outcome in outcomes
    ]
    assert found == expected
    assert [outcome.id for outcome in outcomes] == [document.id for document in documents]
    loader.close()


@pytest.mark.parametrize(
    "name",
    ["bad id underscore", "bad field", "document too large", "attachment stub missing", "integer of 310 digits"],
)
def test_recorded_refusals_find_their_document(couch: FakeCouch, name: str) -> None:
    """With a real refusal of a whole batch, exactly the bad document is rejected, and the others are written."""
    guilty = {"document too large": "big"}.get(name, "d")
    documents = [{**doc, "_id": guilty} if doc["_id"] == "d" else doc for doc in DOCS]

    def before(asked: Asked) -> Reply | None:
        bad = any(doc["_id"] == guilty for doc in asked.json["docs"])
        return recorded_reply(name) if bad else None

    couch.before = before
    loader = stacked(prepared(couch))
    outcomes = loader.load(batch(*documents))
    loader.close()
    rejected = [outcome for outcome in outcomes if outcome.status is Status.REJECTED]
    assert [outcome.id for outcome in rejected] == [guilty]
    assert rejected[0].http_status == recorded()[name]["status"]
    assert rejected[0].error == json.loads(recorded()[name]["response"])["error"]
    assert sorted(couch.documents) == ["a", "b", "c", "e", "f"]
    assert [outcome.id for outcome in outcomes] == [document["_id"] for document in documents]


# -- answers that lie, or lack ----------------------------------------------------------------------------------


def once(
    spoiled: Callable[[list[dict[str, Any]]], Reply | None],
) -> Callable[[Asked, list[dict[str, Any]]], Reply | None]:
    """Spoil the first answer."""
    left = [spoiled]

    def spoil(_asked: Asked, rows: list[dict[str, Any]]) -> Reply | None:
        return left.pop()(rows) if left else Reply(201, rows)

    return spoil


def trouble(row: dict[str, Any], error: str = "internal_server_error") -> dict[str, Any]:
    """The row as the server gives it when it does not know."""
    return {"id": row["id"], "error": error, "reason": "unknown"}


SPOILED: dict[str, Callable[[list[dict[str, Any]]], Reply | None]] = {
    "connection broken": lambda _rows: None,
    "torn": lambda rows: Reply(201, json.dumps(rows).encode()[:-9]),
    "cut": lambda rows: Reply(201, rows, cut=30),
    "empty": lambda _rows: Reply(201, b""),
    "no rows": lambda _rows: Reply(201, []),
    "a row dropped": lambda rows: Reply(201, rows[:2] + rows[3:]),
    "a row twice": lambda rows: Reply(201, [rows[0], *rows]),
    "rows of another": lambda _rows: Reply(201, [{"ok": True, "id": "z", "rev": "1-a"}]),
    "rows without ids": lambda rows: Reply(201, [{"ok": True, "rev": row["rev"]} for row in rows]),
    "a row without a revision": lambda rows: Reply(201, [{"ok": True, "id": "a"}, *rows[1:]]),
    "500 with rows": lambda rows: Reply(500, [trouble(rows[0]), *rows[1:]]),
    "500 timeout": lambda _rows: Reply(500, {"error": "timeout", "reason": "r"}),
    "503 page": lambda _rows: Reply(503, b"<html>Service Unavailable</html>"),
    "a slow validation": lambda rows: Reply(201, [trouble(rows[0], "os_process_error"), *rows[1:]]),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_a_spoiled_answer_is_settled_by_reading(couch: FakeCouch, kind: str) -> None:
    """All was written, and the answer was of no use: each document is found, counted once and not sent again."""
    couch.spoil = once(SPOILED[kind])
    loader = stacked(prepared(couch))
    assert ends(loader.load(batch(*DOCS))) == WRITTEN
    loader.close()
    assert couch.documents == {str(doc["_id"]): doc for doc in DOCS}
    assert {rev.partition("-")[0] for rev in couch.revs.values()} == {"1"}
    assert len(couch.bulks) == 1


def test_a_busy_server_is_asked_again(couch: FakeCouch) -> None:
    """429 says that nothing was done, so all is sent again without a look."""
    replies = [Reply(429, b"", {"Retry-After": "0"})] * 3
    couch.before = lambda _asked: replies.pop() if replies else None
    loader = stacked(prepared(couch))
    outcomes = loader.load(batch(*DOCS))
    loader.close()
    assert ends(outcomes) == WRITTEN
    assert {outcome.attempts for outcome in outcomes} == {4}
    assert not any("_all_docs" in asked.path for asked in couch.server.asked)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("rows of another", "'z', which was not asked"),
        ("a row dropped", "no answer for 1 document, the first 'c'"),
    ],
)
def test_what_is_wrong_with_an_answer_is_told(couch: FakeCouch, kind: str, words: str) -> None:
    """With the id, and with what to do."""
    couch.spoil = once(SPOILED[kind])
    loader = prepared(couch)
    with pytest.raises(TransientError) as caught:
        loader.load(batch(*DOCS))
    loader.close()
    assert words in str(caught.value)
    assert "--resume" in caught.value.hint
    assert caught.value.outcome_unknown


def test_a_row_that_proves_nothing_is_looked_into(couch: FakeCouch) -> None:
    """Without a revision nothing says that the document was written, and here it was not."""
    couch.spoil = once(lambda rows: Reply(201, [{"ok": True, "id": "a"}, *rows[1:]]))
    forget = couch.spoil

    def spoil(asked: Asked, rows: list[dict[str, Any]]) -> Reply | None:
        if len(couch.bulks) == 1:
            del couch.revs["a"], couch.documents["a"]
        return forget(asked, rows)

    couch.spoil = spoil
    loader = stacked(prepared(couch))
    assert ends(loader.load(batch(*DOCS))) == WRITTEN
    loader.close()
    assert [[doc["_id"] for doc in docs] for docs in couch.bulks] == [list("abcdef"), ["a"]]


@pytest.mark.parametrize("order", [[5, 4, 3, 2, 1, 0], [3, 1, 0, 5, 4, 2]])
def test_rows_in_another_order_find_their_documents(couch: FakeCouch, order: list[int]) -> None:
    """A row belongs to the id in it, not to a place."""
    couch.revs["b"], couch.documents["b"] = "1-x", {"_id": "b", "other": True}
    couch.spoil = lambda _asked, rows: Reply(201, [rows[index] for index in order])
    loader = prepared(couch)
    outcomes = loader.load(batch(*DOCS))
    loader.close()
    assert [outcome.id for outcome in outcomes] == list("abcdef")
    assert [outcome.id for outcome in outcomes if outcome.status is not Status.WRITTEN] == ["b"]


def test_trouble_that_stays_is_an_error(couch: FakeCouch) -> None:
    """A server that never knows blames no document; what became of the batch stays open for a resume."""
    couch.before = lambda asked: Reply(500, [trouble({"id": doc["_id"]}) for doc in asked.json["docs"]])
    loader = stacked(prepared(couch), max_attempts=3)
    with pytest.raises(TransientError, match="internal_server_error") as caught:
        loader.load(batch(*DOCS))
    loader.close()
    assert caught.value.outcome_unknown
    assert caught.value.exit_code == 5


def test_a_document_that_always_hangs_its_validation_is_rejected(couch: FakeCouch) -> None:
    """One document on which the validation function never ends does not hold up the others."""

    def before(asked: Asked) -> Reply | None:
        docs = asked.json["docs"]
        if not any(doc["_id"] == "d" for doc in docs):
            return None
        rows = [couch._write(doc) for doc in docs if doc["_id"] != "d"]
        return Reply(201, [*rows, trouble({"id": "d"}, "os_process_error")])

    couch.before = before
    loader = stacked(prepared(couch))
    outcomes = loader.load(batch(*DOCS))
    loader.close()
    assert [(outcome.id, outcome.error) for outcome in outcomes if outcome.status is Status.REJECTED] == [
        ("d", "os_process_error")
    ]
    assert sorted(couch.documents) == ["a", "b", "c", "e", "f"]


def test_a_lost_answer_over_a_filled_database(couch: FakeCouch) -> None:
    """What is found there may be a stranger's equal write: it is counted as unchanged, never sent again."""
    couch.info = {**EMPTY_INFO, "doc_count": 1}
    couch.spoil = once(lambda _rows: None)
    loader = stacked(prepared(couch))
    assert {status for _, status in ends(loader.load(batch(*DOCS)))} == {Status.UNCHANGED}
    loader.close()
    assert len(couch.bulks) == 1


@pytest.mark.parametrize(
    ("made", "found"), [(201, Status.WRITTEN), (202, Status.WRITTEN), (412, Status.UNCHANGED)]
)
def test_a_lost_answer_on_a_cluster(couch: FakeCouch, made: int, found: Status) -> None:
    """One copy can say of a filled database that it is empty: only what this run made is known to have been so,
    however often it is prepared.
    """
    infos = [Reply(404, {"error": "not_found"})]
    couch.info = {**EMPTY_INFO, "cluster": {"n": 3}}
    couch.spoil = once(lambda _rows: None)

    def answer(asked: Asked) -> Reply | None:
        if asked.method == "PUT" and asked.path == "/db":
            return Reply(made, {"ok": True})
        return infos.pop() if infos and asked.path == "/db" else couch._answer(asked)

    couch.server.answer = answer
    loader = stacked(prepared(couch))
    loader.prepare("db", None)
    assert {status for _, status in ends(loader.load(batch(*DOCS)))} == {found}
    loader.close()
    assert len(couch.bulks) == 1


@pytest.mark.parametrize("kind", ["500 with rows", "a row dropped", "a slow validation"])
def test_what_was_confirmed_counts_as_written(couch: FakeCouch, kind: str) -> None:
    """Trouble with one row takes nothing from the others, though the database was not empty."""
    couch.info = {**EMPTY_INFO, "doc_count": 1}
    couch.revs["f"], couch.documents["f"] = "1-x", {"_id": "f", "other": True}
    couch.spoil = once(SPOILED[kind])
    loader = stacked(prepared(couch, OnConflict.OVERWRITE))
    outcomes = loader.load(batch(*DOCS))
    loader.close()
    unknown = {"a row dropped": "c"}.get(kind, "a")
    assert [outcome.id for outcome in outcomes if outcome.status is Status.UNCHANGED] == [unknown]
    assert [outcome.id for outcome in outcomes if outcome.status is Status.WRITTEN] == sorted(
        set("abcdef") - {unknown}
    )
    assert [outcome.id for outcome in outcomes if outcome.conflict] == ["f"]
    assert loader._inner._inner._targets["db"].confirmed == {}  # type: ignore[attr-defined]


def test_a_lost_answer_to_an_overwriting(couch: FakeCouch) -> None:
    """The document is found as we wrote it, counts as written over a conflict, and has one new revision."""
    couch.info = {**EMPTY_INFO, "doc_count": 1}
    couch.revs["a"], couch.documents["a"] = "1-x", {"_id": "a", "other": True}
    replies: list[Reply | None] = []

    def spoil(asked: Asked, rows: list[dict[str, Any]]) -> Reply | None:
        replies.append(None)
        return None if len(replies) == 1 else Reply(201, rows)

    couch.spoil = spoil
    loader = stacked(prepared(couch, OnConflict.OVERWRITE))
    outcomes = loader.load(batch(DOCS[0]))
    loader.close()
    assert [(outcome.status, outcome.conflict) for outcome in outcomes] == [(Status.WRITTEN, True)]
    assert couch.documents["a"] == DOCS[0]
    assert couch.revs["a"].startswith("2-")
    assert len(couch.bulks) == 1


# -- twins ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "statuses", "stored"),
    [
        (OnConflict.FAIL, [Status.WRITTEN] + [Status.REJECTED] * 19, 0),
        (OnConflict.SKIP, [Status.WRITTEN] + [Status.SKIPPED] * 19, 0),
        (OnConflict.OVERWRITE, [Status.WRITTEN] * 20, 19),
        (OnConflict.NEWER, [Status.WRITTEN] * 20, 19),
    ],
)
@pytest.mark.parametrize("reverse", [False, True])
def test_many_documents_of_one_id(
    couch: FakeCouch, policy: OnConflict, statuses: list[Status], stored: int, reverse: bool
) -> None:
    """More twins than a race has rounds, rows in any order: the first wins or the last, as the policy says."""
    couch.spoil = lambda _asked, rows: Reply(201, rows[::-1] if reverse else rows)
    loader = prepared(couch, policy, newer_field="n")
    outcomes = loader.load(batch(*({"_id": "a", "n": n} for n in range(20)), {"_id": "b"}))
    loader.close()
    assert [outcome.status for outcome in outcomes] == [*statuses, Status.WRITTEN]
    assert couch.documents["a"]["n"] == stored
    assert max(sum(doc["_id"] == "a" for doc in docs) for docs in couch.bulks) == 1
    # A late copy of a cluster would store what is sent without a revision as new, beside the first.
    assert len(couch.bulks) == len({json.dumps(docs) for docs in couch.bulks}) == (20 if stored else 1)


def test_equal_twins_are_one_write(couch: FakeCouch) -> None:
    """The second finds the first, also after a lost answer."""
    for spoil in (couch.spoil, once(lambda _rows: None)):
        couch.documents.clear()
        couch.revs.clear()
        couch.spoil = spoil
        loader = stacked(prepared(couch))
        outcomes = loader.load(batch(DOCS[0], DOCS[0]))
        loader.close()
        assert [outcome.status for outcome in outcomes] == [Status.WRITTEN, Status.UNCHANGED]


# -- races ------------------------------------------------------------------------------------------------------


def rival(couch: FakeCouch, wins: int) -> Callable[[Asked], Reply | None]:
    """Another writer, who changes the document before so many of our writes over it."""
    left = [None] * wins

    def before(asked: Asked) -> Reply | None:
        if left and any("_rev" in doc for doc in asked.json["docs"]):
            left.pop()
            couch.revs["a"], couch.documents["a"] = f"{9 + len(left)}-rival", {"_id": "a", "rival": len(left)}
        return None

    return before


@pytest.mark.parametrize(("wins", "status"), [(1, Status.WRITTEN), (5, Status.WRITTEN), (99, Status.REJECTED)])
def test_races_are_run_again_and_end(couch: FakeCouch, wins: int, status: Status) -> None:
    """Overwriting reads afresh after each race lost, and gives up after a dozen, as a conflict."""
    couch.revs["a"], couch.documents["a"] = "1-x", {"_id": "a", "other": True}
    couch.before = rival(couch, wins)
    loader = prepared(couch, OnConflict.OVERWRITE)
    outcomes = loader.load(batch(*DOCS))
    loader.close()
    assert [outcome.status for outcome in outcomes] == [status, *[Status.WRITTEN] * 5]
    assert outcomes[0].conflict
    assert sorted(len(docs) for docs in couch.bulks)[:-1] == [1] * (len(couch.bulks) - 1)
    if status is Status.REJECTED:
        assert "12 times" in outcomes[0].reason
        assert "rival" in couch.documents["a"]


def test_a_document_deleted_while_it_is_overwritten(couch: FakeCouch) -> None:
    """It is written again."""
    couch.revs["a"], couch.documents["a"] = "1-x", {"_id": "a", "other": True}

    def before(asked: Asked) -> Reply | None:
        if any("_rev" in doc for doc in asked.json["docs"]):
            couch.revs.pop("a", None)
        return None

    couch.before = before
    loader = prepared(couch, OnConflict.OVERWRITE)
    outcomes = loader.load(batch(DOCS[0]))
    loader.close()
    assert ends(outcomes) == [("a", Status.WRITTEN)]
    assert couch.documents["a"] == DOCS[0]


# -- what is asked ----------------------------------------------------------------------------------------------


def test_identical_documents_are_known_by_revision_alone(couch: FakeCouch) -> None:
    """A second run reads no body: one write, one look at revisions, nothing more."""
    loader = prepared(couch)
    loader.load(batch(*DOCS))
    asked = len(couch.server.asked)
    assert {status for _, status in ends(loader.load(batch(*DOCS)))} == {Status.UNCHANGED}
    paths = [request.path for request in couch.server.asked[asked:]]
    loader.close()
    assert paths == ["/db/_bulk_docs", "/db/_all_docs"]


def test_stored_bodies_are_read_by_the_hundred(couch: FakeCouch) -> None:
    """What stands at the target is held in memory in parts, however large the batch."""
    documents = [{"_id": f"d{n:03}", "n": n} for n in range(250)]
    for document in documents:
        couch.revs[str(document["_id"])] = "4-x"
        couch.documents[str(document["_id"])] = {"_id": document["_id"], "n": "other"}
    loader = prepared(couch, OnConflict.SKIP)
    outcomes = loader.load(batch(*documents))
    loader.close()
    assert {outcome.status for outcome in outcomes} == {Status.SKIPPED}
    read = [len(asked.json["keys"]) for asked in couch.server.asked if "include_docs=true" in asked.path]
    assert read == [100, 100, 50]


def test_a_refusal_between_tells_the_wrappers_what_may_be_written(couch: FakeCouch) -> None:
    """A slow validation leaves the rest of the batch written, and says so."""
    couch.spoil = once(SPOILED["a slow validation"])
    loader = prepared(couch)
    with pytest.raises(TransientError) as caught:
        loader.load(batch(*DOCS))
    loader.close()
    assert caught.value.outcome_unknown
    assert "does not store 1 document, the first 'a': os_process_error" in caught.value.message


def test_a_database_is_created_once_whoever_is_faster(couch: FakeCouch) -> None:
    """404, then 412 from the race, then it is there."""
    info = [Reply(404, {"error": "not_found"}), Reply(200, EMPTY_INFO)]
    puts: list[str] = []

    def answer(asked: Asked) -> Reply | None:
        if asked.method == "PUT":
            puts.append(asked.path)
            return recorded_reply("create again")
        return info.pop(0) if asked.path == "/db" else couch._answer(asked)

    couch.server.answer = answer
    prepared(couch, create_options={"q": 4, "n": None}).close()
    assert puts == ["/db?q=4"]
