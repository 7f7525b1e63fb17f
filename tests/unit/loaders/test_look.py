"""What a target is seen to hold is not sent, and all else is as without looking."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from migrator.couch.client import CouchClient
from migrator.couch.endpoint import Endpoint
from migrator.couch.listing import DocumentsWanted
from migrator.loaders import target
from migrator.loaders.couchdb import CouchLoader
from migrator.loaders.target import OnConflict
from migrator.model import Batch, EncodedDocument, Outcome, Status
from tests.support.fake_couch import EMPTY_INFO, FakeCouch
from tests.support.stub_server import Asked, Reply

SOME = {**EMPTY_INFO, "doc_count": 5}
IDS = [f"d{number:02}" for number in range(30)]


def loaded(
    couch: FakeCouch,
    *batches: list[dict[str, Any]],
    policy: OnConflict = OnConflict.FAIL,
    looks: bool = True,
    info: dict[str, Any] | None = None,
) -> list[list[Outcome]]:
    """What became of the documents of these batches."""
    couch.info = info or (SOME if looks else EMPTY_INFO)
    client = CouchClient(Endpoint(couch.server.url, read_timeout_s=5.0))
    loader = CouchLoader(client, on_conflict=policy, newer_field="n", sleep=lambda _s: None)
    loader.prepare("db", None)
    made = []
    for number, documents in enumerate(batches, 1):
        encoded = tuple(EncodedDocument(document["_id"], json.dumps(document).encode()) for document in documents)
        made.append(list(loader.load(Batch("db", encoded, end=number, read=len(encoded)))))
    loader.close()
    return made


def statuses(outcomes: list[Outcome]) -> list[Status]:
    """How the documents of a batch ended."""
    return [outcome.status for outcome in outcomes]


def documents(ids: list[str], n: int = 1) -> list[dict[str, Any]]:
    """One for each id."""
    return [{"_id": id, "n": n} for id in ids]


def test_what_is_there_is_not_sent(couch: FakeCouch) -> None:
    """A second run asks for one range, and nothing else: the revisions prove the content."""
    loaded(couch, documents(IDS), looks=False)
    couch.bulks.clear()
    (outcomes,) = loaded(couch, documents(IDS))
    assert set(statuses(outcomes)) == {Status.UNCHANGED}
    assert (couch.bulks, couch.keys) == ([], [])
    assert [(asks["startkey"], asks["endkey"]) for asks in couch.ranges] == [("d00", "d29")]


def test_only_what_is_absent_is_sent(couch: FakeCouch) -> None:
    """In its order, without what stands between."""
    loaded(couch, documents(IDS[::2]), looks=False)
    couch.bulks.clear()
    (outcomes,) = loaded(couch, documents(IDS))
    assert statuses(outcomes) == [Status.UNCHANGED, Status.WRITTEN] * 15
    assert [[doc["_id"] for doc in docs] for docs in couch.bulks] == [IDS[1::2]]


def test_later_revisions_are_compared_by_the_range(couch: FakeCouch) -> None:
    """No revision proves these, so their documents are read, and not one by one."""
    loaded(couch, documents(IDS), looks=False)
    loaded(couch, documents(IDS, 2), looks=False, policy=OnConflict.OVERWRITE)
    couch.bulks.clear()
    couch.keys.clear()
    (outcomes,) = loaded(couch, documents([*IDS, "new"], 2))
    assert statuses(outcomes) == [Status.UNCHANGED] * 30 + [Status.WRITTEN]
    assert ([docs[0]["_id"] for docs in couch.bulks], couch.keys) == (["new"], [])


def test_documents_come_with_the_list_where_most_are_read(
    couch: FakeCouch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request a batch, as soon as that is known, and no longer than it is so."""
    monkeypatch.setattr("migrator.couch.listing.MIN_SEEN", len(IDS))
    first, second, third, fourth = ([f"{batch}-{id}" for id in IDS] for batch in range(4))
    loaded(couch, documents(first), looks=False)
    loaded(couch, documents([*first, *second], 2), looks=False, policy=OnConflict.OVERWRITE)
    loaded(couch, documents([*third, *fourth]), looks=False)
    couch.bulks.clear()
    couch.keys.clear()
    batches = (documents(first, 2), documents(first, 2), documents(third), documents(fourth))
    made = loaded(couch, *batches)
    assert {status for outcomes in made for status in statuses(outcomes)} == {Status.UNCHANGED}
    assert ([asks["include_docs"] for asks in couch.ranges], couch.keys, couch.bulks) == (
        [False, True, True, True, False],
        [],
        [],
    )


def test_looking_stops_where_it_finds_nothing(couch: FakeCouch) -> None:
    """Two batches say enough."""
    loaded(couch, documents(["x"]), looks=False)
    loaded(couch, *(documents([f"{batch}-{id}" for id in IDS]) for batch in range(6)))
    assert len(couch.ranges) == target.MAX_VAIN
    assert [len(docs) for docs in couch.bulks] == [1] + [30] * 6


def test_looking_begins_where_documents_meet_conflicts(couch: FakeCouch) -> None:
    """What seemed to be empty, or to hold others, is looked at from then on."""
    ids = [f"{batch}-{id}" for batch in range(4) for id in IDS]
    loaded(couch, documents(ids), looks=False)
    couch.bulks.clear()
    made = loaded(couch, *(documents(ids[at : at + 30]) for at in range(0, 120, 30)), looks=False)
    assert {status for outcomes in made for status in statuses(outcomes)} == {Status.UNCHANGED}
    assert len(couch.bulks) == 1
    assert len(couch.ranges) == 3


def test_a_batch_among_many_others_is_asked_for_by_its_ids(couch: FakeCouch) -> None:
    """A range with far more rows than the batch is left at its bound; the next one is not begun."""
    others = [f"d{number:05}" for number in range(1_000)]
    loaded(couch, documents(others), looks=False)
    couch.bulks.clear()
    few = others[::100]
    made = loaded(couch, documents(few), documents(few))
    assert [set(statuses(outcomes)) for outcomes in made] == [{Status.UNCHANGED}] * 2
    assert [asks["limit"] for asks in couch.ranges] == [4 * 10 + target.MORE_ROWS]
    assert couch.keys == [few[2:], few]


@pytest.mark.parametrize("spoilt", [Reply(500, {"error": "x", "reason": "y"}), None], ids=["refused", "broken"])
def test_where_looking_fails_sending_finds_out(couch: FakeCouch, spoilt: Reply | None) -> None:
    """It is a way to be faster, and no step of the work."""
    loaded(couch, documents(IDS), looks=False)

    def answer(asked: Asked) -> Reply | None:
        ranged = asked.method == "GET" and asked.path.startswith("/db/_all_docs")
        return spoilt if ranged else couch._answer(asked)

    couch.server.answer = answer
    (outcomes,) = loaded(couch, documents(IDS))
    assert set(statuses(outcomes)) == {Status.UNCHANGED}


@pytest.mark.parametrize("with_documents", [False, True])
@pytest.mark.parametrize("policy", OnConflict)
def test_another_writer_between_look_and_write(
    couch: FakeCouch, policy: OnConflict, with_documents: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it wrote meets the policy, and what it deleted is written: never taken for what was seen."""
    monkeypatch.setattr(DocumentsWanted, "__call__", lambda _self: with_documents)
    loaded(couch, documents(["b", "c", "d"], 5), looks=False)

    def before(asked: Asked) -> None:
        for doc in documents(["a", "b"], 3):
            couch._write({**doc, **({"_rev": couch.revs[doc["_id"]]} if doc["_id"] in couch.revs else {})})
        couch.revs.pop("c", None)
        couch.before = lambda _asked: None

    couch.before = before
    (outcomes,) = loaded(couch, documents(["a", "b", "c", "d"], 7), policy=policy)
    wins = policy in {OnConflict.OVERWRITE, OnConflict.NEWER}
    lost = {OnConflict.FAIL: Status.REJECTED, OnConflict.SKIP: Status.SKIPPED}.get(policy, Status.WRITTEN)
    # Where all that is there is left alone, nothing but "a" is sent, and the writer comes too late for the others.
    assert statuses(outcomes) == ([Status.WRITTEN] * 4 if wins else [lost] * 4)
    assert {id: doc["n"] for id, doc in couch.documents.items() if id in couch.revs} == (
        {"a": 7, "b": 7, "c": 7, "d": 7} if wins else {"a": 3, "b": 3, "d": 5}
    )


STATES = st.dictionaries(st.sampled_from(IDS[:8]), st.lists(st.integers(0, 2), min_size=1, max_size=3))
BATCHES = st.lists(st.tuples(st.sampled_from(IDS[:8]), st.integers(0, 2)), min_size=1, max_size=12)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(there=STATES, brought=BATCHES, policy=st.sampled_from(OnConflict))
def test_all_ends_as_without_looking(
    couch: FakeCouch, there: dict[str, list[int]], brought: list[tuple[str, int]], policy: OnConflict
) -> None:
    """Each outcome and what the target holds then, whatever was there, in any number of revisions."""
    found = []
    for looks, with_documents in ((False, False), (True, False), (True, True)):
        couch.documents.clear()
        couch.revs.clear()
        for id, contents in there.items():
            for n in contents:
                couch._write({"_id": id, "n": n, **({"_rev": couch.revs[id]} if id in couch.revs else {})})
        with patch.object(DocumentsWanted, "__call__", lambda _self, wanted=with_documents: wanted):
            (outcomes,) = loaded(couch, [{"_id": id, "n": n} for id, n in brought], policy=policy, looks=looks)
        found.append(([(o.id, o.status, o.error, o.conflict) for o in outcomes], dict(couch.documents)))
    assert found[0] == found[1] == found[2]
