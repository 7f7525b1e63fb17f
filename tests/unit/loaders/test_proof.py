"""Each write is proven by its revision; what was changed on its way is named, and nobody else is accused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from migrator.codec import decode
from migrator.couch.client import CouchClient
from migrator.couch.documents import Fidelity
from migrator.couch.endpoint import Endpoint
from migrator.loaders import proof
from migrator.loaders.couchdb import CouchLoader
from migrator.loaders.target import OnConflict
from migrator.model import ALTERED, Batch, EncodedDocument, Outcome, Status
from migrator.pipeline.accounting import account
from migrator.pipeline.wrapper import BisectingLoader, RetryingLoader
from migrator.retry.retrier import Retrier, RetryPolicy
from tests.support.fake_couch import EMPTY_INFO, FakeCouch
from tests.support.stub_server import Asked, Reply, recorded_reply

IDS = [f"d{number:02}" for number in range(20)]


def texts(ids: Sequence[str] = IDS, n: int = 1) -> list[bytes]:
    """One document for each id."""
    return [json.dumps({"_id": id, "n": n, "s": "x"}).encode() for id in ids]


def loaded(
    couch: FakeCouch, bodies: Sequence[bytes], policy: OnConflict = OnConflict.OVERWRITE, *, prove: bool = True
) -> list[Outcome]:
    """What becomes of these documents, sent as one batch."""
    couch.info = {**EMPTY_INFO, "doc_count": len(couch.revs)}
    client = CouchClient(Endpoint(couch.server.url, read_timeout_s=5.0))
    loader = CouchLoader(client, on_conflict=policy, newer_field="n", prove=prove, sleep=lambda _s: None)
    loader.prepare("db", None)
    retrier = Retrier(RetryPolicy(max_attempts=5), sleep=lambda _s: None)
    encoded = tuple(EncodedDocument(str(decode(body)["_id"]), body) for body in bodies)
    outcomes = BisectingLoader(RetryingLoader(loader, retrier)).load(
        Batch("db", encoded, end=1, read=len(encoded))
    )
    loader.close()
    return list(outcomes)


def changing(couch: FakeCouch, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Have something on the way change each document that is sent."""
    write = couch._write
    couch._write = lambda doc: write(change(dict(doc)))  # type: ignore[method-assign]


def spoilt(*ids: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Changes a byte of these documents."""
    return lambda doc: {**doc, "s": "y"} if doc["_id"] in ids else doc


def named(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """The rejected documents and why."""
    return {outcome.id: outcome.error for outcome in outcomes if outcome.status is Status.REJECTED}


def test_each_write_is_proven_by_its_revision(couch: FakeCouch) -> None:
    """New ones, those over a known parent, and what was there already; nothing is read for it."""
    first = loaded(couch, texts())
    assert {outcome.id: outcome.proof for outcome in first} == couch.revs
    over = loaded(couch, texts(n=2))
    assert {outcome.id: outcome.proof for outcome in over} == couch.revs
    assert {outcome.proof[:2] for outcome in over} == {"2-"}
    fresh = texts(["new"])
    loaded(couch, fresh)
    couch.keys.clear()
    assert [(each.status, each.proof) for each in loaded(couch, fresh)] == [
        (Status.UNCHANGED, couch.revs["new"]),
    ]
    assert couch.keys == []


@pytest.mark.parametrize("prove", [True, False])
def test_without_it_nothing_is_proven_and_nothing_is_accused(couch: FakeCouch, prove: bool) -> None:
    """A changed document is found only where it is looked for."""
    changing(couch, spoilt("d03"))
    outcomes = loaded(couch, texts(), prove=prove)
    assert named(outcomes) == ({"d03": ALTERED} if prove else {})
    assert sum(bool(outcome.proof) for outcome in outcomes) == (19 if prove else 0)
    assert {outcome.proof for outcome in loaded(couch, texts(["d01"]), prove=False)} == {""}


@pytest.mark.parametrize("policy", OnConflict)
@pytest.mark.parametrize("all_of_them", [False, True])
def test_a_document_that_was_changed_on_its_way_is_rejected(
    couch: FakeCouch, policy: OnConflict, all_of_them: bool
) -> None:
    """Whatever the policy, it is never called written, skipped or a conflict; the numbers say so."""
    changing(couch, spoilt(*(IDS if all_of_them else ["d03", "d07"])))
    encoded = tuple(EncodedDocument(str(decode(body)["_id"]), body) for body in texts())
    outcomes = loaded(couch, texts(), policy)
    guilty = IDS if all_of_them else ["d03", "d07"]
    assert named(outcomes) == dict.fromkeys(guilty, ALTERED)
    counts, rejects = account(Batch("db", encoded, end=1, read=20), outcomes, "db")
    assert (counts.read, counts.written, counts.rejected) == (20, 20 - len(guilty), len(guilty))
    assert (counts.altered, counts.proven, counts.conflicts) == (len(guilty), 20 - len(guilty), 0)
    assert rejects[0].document == {"_id": guilty[0], "n": 1, "s": "x"}
    assert couch.revs[guilty[0]] in rejects[0].reason
    assert "they differ first at s" in rejects[0].reason


def test_so_is_one_that_is_written_over_another(couch: FakeCouch) -> None:
    """By the revision of its known parent."""
    loaded(couch, texts())
    changing(couch, spoilt("d05"))
    outcomes = loaded(couch, texts(n=2))
    assert named(outcomes) == {"d05": ALTERED}
    assert {outcome.conflict for outcome in outcomes} == {True}


def test_it_is_written_again_over_what_is_stored(couch: FakeCouch) -> None:
    """As the reason says: what is stored is other content by then, as any other."""
    write = couch._write
    changing(couch, spoilt("d05"))
    loaded(couch, texts())
    couch._write = write  # type: ignore[method-assign]
    assert named(loaded(couch, texts(["d05"]), OnConflict.FAIL)) == {"d05": "conflict"}
    (again,) = loaded(couch, texts(["d05"]))
    assert (again.status, again.proof) == (Status.WRITTEN, couch.revs["d05"])
    assert couch.documents["d05"]["s"] == "x"


@pytest.mark.parametrize("greets", [True, False], ids=["greets as CouchDB", "says what it is"])
def test_a_server_with_revisions_of_its_own_accuses_nobody(couch: FakeCouch, greets: bool) -> None:
    """What it stores is what was sent, so its rule is another one: after some of these nothing is computed."""

    def write(doc: dict[str, Any]) -> dict[str, Any]:
        row = FakeCouch._write(couch, doc)
        row["rev"] = couch.revs[doc["_id"]] = f"1-{doc['_id']:0>32}"
        return row

    couch._write = write  # type: ignore[method-assign]
    if not greets:
        answer = couch.server.answer
        other = Reply(200, {"couchdb": "Welcome", "version": "3.5.0", "vendor": {"name": "Other"}})
        couch.server.answer = lambda asked: other if asked.path == "/" else answer(asked)
    many = [f"e{number:03}" for number in range(proof.MAX_EQUAL + 10)]
    outcomes = loaded(couch, texts(many))
    assert {(outcome.status, outcome.proof) for outcome in outcomes} == {(Status.WRITTEN, "")}
    assert sum(map(len, couch.keys)) == (2 * len(many) if greets else 0)


def test_that_is_found_out_once(couch: FakeCouch) -> None:
    """The next batches are not read again."""
    client = CouchClient(Endpoint(couch.server.url, read_timeout_s=5.0))
    loader = CouchLoader(client, prove=True)
    loader.prepare("db", None)

    def write(doc: dict[str, Any]) -> dict[str, Any]:
        row = FakeCouch._write(couch, doc)
        row["rev"] = couch.revs[doc["_id"]] = f"1-{doc['_id']:0>32}"
        return row

    couch._write = write  # type: ignore[method-assign]
    for number in range(4):
        bodies = texts([f"{number}-{place:03}" for place in range(60)])
        encoded = tuple(EncodedDocument(str(decode(body)["_id"]), body) for body in bodies)
        couch.keys.clear()
        outcomes = loader.load(Batch("db", encoded, end=1, read=60))
        assert {(outcome.status, outcome.proof) for outcome in outcomes} == {(Status.WRITTEN, "")}
        assert bool(couch.keys) is (number < 2)
    loader.close()


def test_json_that_is_spelled_otherwise_on_the_way_is_no_other_document(couch: FakeCouch) -> None:
    """With its keys in another order it has another revision and the same content: written, and not proven."""
    changing(couch, lambda doc: dict(sorted(doc.items(), reverse=True)) if doc["_id"] == "d03" else doc)
    outcomes = loaded(couch, texts())
    assert named(outcomes) == {}
    assert {outcome.id for outcome in outcomes if not outcome.proof} == {"d03"}
    assert {outcome.status for outcome in outcomes} == {Status.WRITTEN}


def test_a_row_that_is_spoilt_on_its_way_back(couch: FakeCouch) -> None:
    """The revision that is stored is the right one, which proves the document all the same."""

    def spoil(_asked: Asked, rows: list[dict[str, Any]]) -> Reply:
        return Reply(201, [{**row, "rev": "1-" + "0" * 32} if row["id"] == "d03" else row for row in rows])

    couch.spoil = spoil
    outcomes = loaded(couch, texts())
    assert {outcome.id: outcome.proof for outcome in outcomes} == couch.revs
    assert {outcome.status for outcome in outcomes} == {Status.WRITTEN}


def test_over_a_tombstone_nothing_is_known(couch: FakeCouch) -> None:
    """A document that was deleted before gets a later number, whose parent nobody has looked at."""
    write = couch._write

    def over(doc: dict[str, Any]) -> dict[str, Any]:
        row = write(doc)
        couch.revs[doc["_id"]] = row["rev"] = "3-" + "0" * 32
        return row

    couch._write = over  # type: ignore[method-assign]
    outcomes = loaded(couch, texts())
    assert {(outcome.status, outcome.proof) for outcome in outcomes} == {(Status.WRITTEN, "")}
    assert couch.keys == []


DEEP = b"[" * 3_000 + b"1.0" + b"]" * 3_000


@pytest.mark.parametrize(
    ("body", "proven"),
    [
        (b'{"_id":"a","n":1.0,"m":1e3,"k":-0.0,"big":123456789012345678901234567890}', True),
        (b'{"_id":"a","e":"\\u00e9\\ud83d\\ude00","nul":"\\u0000"}', True),
        (b'{"_id":"a","deep":%b}' % DEEP, True),
        (b'{"_id":"a","tiny":1e-310}', False),
        (b'{"_id":"a","_attachments":{"f":{"data":"eA==","content_type":"text/plain"}}}', False),
    ],
    ids=["numbers", "texts", "deep", "a number that servers round", "attachments"],
)
def test_what_is_proven_and_what_is_not(couch: FakeCouch, body: bytes, proven: bool) -> None:
    """Where the rule is not certain nothing is proven, accused or read."""
    outcomes: list[Outcome] = []
    expected = Fidelity().expected(EncodedDocument("a", body))
    assert (expected is not None) is proven
    couch.before = lambda asked: (
        Reply(201, [{"ok": True, "id": "a", "rev": expected or "1-" + "f" * 32}]) if b'"a"' in asked.body else None
    )
    outcomes = loaded(couch, [body])
    assert [(each.status, each.proof) for each in outcomes] == [(Status.WRITTEN, expected or "")]
    assert couch.keys == []


@pytest.mark.parametrize("policy", OnConflict)
def test_where_reading_it_fails_it_is_still_ours(couch: FakeCouch, policy: OnConflict) -> None:
    """The batch is sent again; what was changed on its way is not another writer's conflict."""
    changing(couch, spoilt("d03"))
    failing = iter([True, False, True])
    answer = couch.server.answer

    def unsure(asked: Asked) -> Reply | None:
        if asked.method == "POST" and asked.path.startswith("/db/_all_docs") and next(failing, False):
            return Reply(503, {"error": "x", "reason": "y"})
        return answer(asked)

    couch.server.answer = unsure
    outcomes = loaded(couch, texts(), policy)
    assert named(outcomes) == {"d03": ALTERED}
    assert {outcome.status for outcome in outcomes if outcome.id != "d03"} == {Status.WRITTEN}
    assert sum(bool(outcome.proof) for outcome in outcomes) == 19


@pytest.mark.parametrize("policy", OnConflict)
def test_so_it_is_where_the_batch_fails_behind_it(couch: FakeCouch, policy: OnConflict) -> None:
    """A later part of the batch, with the second of two documents of one id, is answered by nothing at first."""
    changing(couch, spoilt("d03"))
    failing = iter([True])

    def before(asked: Asked) -> Reply | None:
        later = [doc["_id"] for doc in asked.json["docs"]] == ["d05"]
        return Reply(503, {"error": "x", "reason": "y"}) if later and next(failing, False) else None

    couch.before = before
    answer = couch.server.answer

    def unsure(asked: Asked) -> Reply | None:
        reads_twin = (
            asked.method == "POST" and asked.path.startswith("/db/_all_docs") and asked.json["keys"] == ["d05"]
        )
        return Reply(503, {"error": "x", "reason": "y"}) if reads_twin and next(failing, False) else answer(asked)

    couch.server.answer = unsure
    outcomes = loaded(couch, [*texts(), *texts(["d05"])], policy)
    assert next(failing, None) is None
    assert named(outcomes) == {"d03": ALTERED}


@pytest.mark.parametrize("policy", OnConflict)
def test_another_writer_behind_us(couch: FakeCouch, policy: OnConflict) -> None:
    """What it made of a document that was changed on its way goes by the policy, as any other content."""
    changing(couch, spoilt("d03"))

    def spoil(_asked: Asked, rows: list[dict[str, Any]]) -> Reply:
        couch.spoil = lambda _asked, rows: Reply(201, rows)
        FakeCouch._write(couch, {"_id": "d03", "_rev": couch.revs["d03"], "n": 7, "s": "theirs"})
        couch._write = lambda doc: FakeCouch._write(couch, doc)  # type: ignore[method-assign]
        return Reply(201, rows)

    couch.spoil = spoil
    found = {outcome.id: outcome for outcome in loaded(couch, texts(), policy)}["d03"]
    expected = {OnConflict.FAIL: Status.REJECTED, OnConflict.OVERWRITE: Status.WRITTEN}
    assert found.status is expected.get(policy, Status.SKIPPED)
    assert found.error == ("conflict" if policy is OnConflict.FAIL else "")
    assert couch.documents["d03"]["s"] == ("x" if policy is OnConflict.OVERWRITE else "theirs")


@given(
    there=st.dictionaries(st.sampled_from(IDS), st.integers(1, 3)),
    sent=st.lists(st.tuples(st.sampled_from(IDS), st.integers(1, 3)), min_size=1, max_size=25),
    policy=st.sampled_from(list(OnConflict)),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_outcomes_are_those_without_proving(
    there: dict[str, int], sent: list[tuple[str, int]], policy: OnConflict
) -> None:
    """Also where an id comes twice, and over what is there in any revision."""
    made = []
    for prove in (True, False):
        couch = FakeCouch()
        for id, n in there.items():
            for body in texts([id], 0), texts([id], n):
                loaded(couch, body, prove=False)
        bodies = [texts([id], n)[0] for id, n in sent]
        outcomes = loaded(couch, bodies, policy, prove=prove)
        assert prove or {outcome.proof for outcome in outcomes} == {""}
        assert all(outcome.proof in {"", couch.revs[outcome.id]} or len(sent) > 1 for outcome in outcomes)
        made.append(([outcome._replace(proof="") for outcome in outcomes], couch.documents, couch.revs))
        couch.server.close()
    assert made[0] == made[1]


def test_the_welcome_of_couchdb_is_what_lets_it_be_used(couch: FakeCouch) -> None:
    """The stub greets as a real server did; the rule is asked of that."""
    reply = recorded_reply("welcome")
    assert reply is not None
    assert named(loaded(couch, texts())) == {}
