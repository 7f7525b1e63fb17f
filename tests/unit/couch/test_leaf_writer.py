"""What a server says yes to and does not store: the leaf's own fault, or that of a server whose disk is full."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from migrator.couch.client import CouchClient
from migrator.couch.endpoint import parse_endpoint
from migrator.couch.leaf_writer import LeafWriter
from migrator.errors import EXIT_UNREACHABLE, EndpointError, TargetMissing, TargetReplaced
from migrator.model import Outcome, Status
from migrator.model.revisions import Leaf
from migrator.retry.retrier import Retrier, RetryPolicy
from tests.support.stub_server import Asked, Reply, StubServer

LEAVES = [Leaf(id, "1-a", f'{{"_id":"{id}","_rev":"1-a"}}'.encode()) for id in "abc"]


def written(kept: str, own: Reply) -> list[Outcome]:
    """What becomes of leaves of which a server keeps some, which answers so to a document of the writer's own."""
    stored: set[str] = set()

    def answer(asked: Asked) -> Reply:
        if asked.path.endswith("_bulk_docs"):
            ids = [doc["_id"] for doc in asked.json["docs"]]
            if ids[0].startswith("_local/"):
                return own
            stored.update(id for id in ids if id in kept)
            return Reply(201, [])
        if asked.path.endswith("_revs_diff"):
            return Reply(200, {id: {"missing": revs} for id, revs in asked.json.items() if id not in stored})
        return Reply(200, {"couchdb": "Welcome", "version": "3.5.0"})

    with StubServer(answer) as stub:
        client = CouchClient(parse_endpoint(stub.url, environ={})[0], max_connections=1)
        retrier = Retrier(RetryPolicy(first_wait_s=0.001, max_wait_s=0.001))
        try:
            return LeafWriter(client, "db", retrier, fresh=True).write(LEAVES)
        finally:
            client.close()


FULL = Reply(500, [{"id": "_local/x", "error": "error", "reason": "internal_server_error"}])
WELL = Reply(201, [{"ok": True, "id": "_local/x", "rev": "0-1"}])


@pytest.mark.parametrize(("kept", "own"), [("", FULL), ("ab", FULL), ("", WELL)])
def test_a_full_disk_is_no_fault_of_documents(kept: str, own: Reply) -> None:
    """CouchDB says yes to what it cannot write; where none is stored, or none of our own, none is rejected."""
    with pytest.raises(EndpointError, match=r"does not store . documents?, .*not_stored") as caught:
        written(kept, own)
    assert caught.value.exit_code == EXIT_UNREACHABLE
    assert "disk may be full" in caught.value.hint


def test_a_server_that_stores_other_documents_blames_the_leaf() -> None:
    """Where our own document is stored, and other leaves are, the leaf is rejected by name."""
    outcomes = written("ab", WELL)
    assert [outcome.error for outcome in outcomes] == ["", "", "not_stored"]
    assert "does not hold it" in outcomes[-1].reason


def test_a_leaf_that_comes_again_in_a_later_batch_is_written_once() -> None:
    """Also where nobody asks before writing; only the batch that goes on with a document costs a request more."""
    stored: set[tuple[str, str]] = set()
    asked = []

    def answer(request: Asked) -> Reply:
        asked.append(request.path.rpartition("/")[2])
        if asked[-1] == "_bulk_docs":
            stored.update((doc["_id"], doc["_rev"]) for doc in request.json["docs"])
            return Reply(201, [])
        missing = {id: [rev for rev in revs if (id, rev) not in stored] for id, revs in request.json.items()}
        return Reply(200, {id: {"missing": revs} for id, revs in missing.items() if revs})

    with StubServer(answer) as stub:
        client = CouchClient(parse_endpoint(stub.url, environ={})[0], max_connections=1)
        writer = LeafWriter(client, "db", Retrier(RetryPolicy()), fresh=True)
        try:
            first = writer.write(LEAVES)
            requests = len(asked)
            # Of another thread, in between.
            other = writer.write([Leaf("d", "1-a", b'{"_id":"d","_rev":"1-a"}')])
            second = writer.write([LEAVES[2], Leaf("c", "1-b", b'{"_id":"c","_rev":"1-b"}')])
        finally:
            client.close()
    assert [outcome.status for outcome in first + other] == [Status.WRITTEN] * 4
    assert [outcome.status for outcome in second] == [Status.UNCHANGED, Status.WRITTEN]
    assert asked[:requests] == ["_bulk_docs", "_revs_diff"]
    assert asked[requests + 2 :] == ["_revs_diff", "_bulk_docs", "_revs_diff"]


@pytest.mark.parametrize("refused", ["", "ab", "abc"])
@pytest.mark.parametrize("held", ["abc", "ac", ""])
def test_one_copy_decides_nothing(held: str, refused: str) -> None:
    """A cluster answers `_revs_diff` from one copy, and one that knows a validation function before it has a leaf
    refuses that for all. What most copies hold is stored, and is not sent again.
    """
    asked = []

    def answer(request: Asked) -> Reply:
        asked.append(request.path.rpartition("/")[2].partition("?")[0])
        if asked[-1] == "_bulk_docs":
            local = request.json["docs"][0]["_id"].startswith("_local/")
            no = [{"id": id, "rev": "1-a", "error": "forbidden", "reason": "no"} for id in refused]
            return Reply(500, [{"id": "x", "error": "error"}]) if local else Reply(201, no)
        if asked[-1] == "_revs_diff":
            return Reply(200, {id: {"missing": revs} for id, revs in request.json.items()})
        if asked[-1] == "_bulk_get":
            return Reply(200, {"results": [row(**each) for each in request.json["docs"]]})
        return Reply(200, {"db_name": "db", "cluster": {"n": 3}})

    def row(id: str, rev: str) -> dict[str, object]:
        revisions = {"start": 1, "ids": [rev.partition("-")[2]]}
        there = {"ok": {"_id": id, "_rev": rev, "n": 1, "_revisions": revisions}}
        gone = {"error": {"id": id, "rev": rev, "error": "not_found", "reason": "missing"}}
        return {"id": id, "docs": [there if id in held else gone]}

    with StubServer(answer) as stub:
        client = CouchClient(parse_endpoint(stub.url, environ={})[0], max_connections=1)
        writer = LeafWriter(client, "db", Retrier(RetryPolicy(1)), fresh=True)
        try:
            missing = set("abc").difference(held, refused)
            if missing:
                with pytest.raises(EndpointError, match=f"does not store {len(missing)} document"):
                    writer.write(LEAVES)
            else:
                found = {outcome.id: outcome.status for outcome in writer.write(LEAVES)}
                assert found == {id: Status.WRITTEN if id in held else Status.REJECTED for id in "abc"}
                assert asked.count("_bulk_docs") == 1
        finally:
            client.close()


class Vanishing:
    """A server whose database is gone, or there again, from a numbered request on."""

    def __init__(self, statuses: list[int]) -> None:
        self.statuses = iter(statuses)
        self.stored: set[str] = set()
        self.checks = 0

    def __call__(self, asked: Asked) -> Reply:
        """404, 503, or the answer; how many copies it has is not counted."""
        if asked.method == "GET":
            return Reply(200, {"db_name": "db"})
        status = next(self.statuses, 200)
        if status == 404:
            return Reply(404, {"error": "not_found", "reason": "Database does not exist."})
        if status == 503:
            return Reply(503, {"error": "busy", "reason": "later"})
        if asked.path.endswith("_bulk_docs"):
            self.stored.update(doc["_id"] for doc in asked.json["docs"])
            return Reply(201, [])
        return Reply(200, {id: {"missing": revs} for id, revs in asked.json.items() if id not in self.stored})

    def write(self, check: Callable[[], object] | None, *, fresh: bool) -> list[Outcome]:
        """Write the leaves."""
        with StubServer(self) as stub:
            client = CouchClient(parse_endpoint(stub.url, environ={})[0], max_connections=1)
            retrier = Retrier(RetryPolicy(first_wait_s=0.001, max_wait_s=0.001))
            try:
                return LeafWriter(client, "db", retrier, fresh=fresh, check=check).write(LEAVES)
            finally:
                client.close()


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize(
    "statuses", [[404], [200, 404], [503, 200], [200, 503], [503, 503, 404], [200, 503, 200, 404]]
)
def test_a_database_that_was_replaced_is_found_out(statuses: list[int], fresh: bool) -> None:
    """When it is missing, and after each outage, whoever knows the database is asked; otherwise never."""

    def check() -> None:
        raise TargetReplaced("another one")

    with pytest.raises(TargetReplaced):
        Vanishing(list(statuses)).write(check, fresh=fresh)


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize(
    ("statuses", "checks"), [([], 0), ([404], 2), ([200, 404], 2), ([503], 1), ([503, 404], 2), ([404, 404], 3)]
)
def test_a_database_that_is_still_the_same_is_gone_on_with(statuses: list[int], checks: int, fresh: bool) -> None:
    """A 404 that passes is one outage more, and without one nobody is asked."""
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1

    outcomes = Vanishing(list(statuses)).write(check, fresh=fresh)
    assert [outcome.id for outcome in outcomes] == list("abc")
    assert asked == checks


def test_without_anybody_who_knows_a_missing_database_is_an_error() -> None:
    """As it was."""
    with pytest.raises(TargetMissing):
        Vanishing([404]).write(None, fresh=True)


def test_the_leaf_that_the_server_names_is_left_out_and_the_others_go_at_once() -> None:
    """No halves are tried where the answer says whose fault it is; each leaf keeps its own outcome."""
    stored: set[str] = set()
    sent: list[list[str]] = []

    def answer(request: Asked) -> Reply:
        if request.path.endswith("_bulk_docs"):
            sent.append([doc["_id"] for doc in request.json["docs"]])
            if "b" in sent[-1]:
                return Reply(413, {"error": "document_too_large", "reason": "b"})
            stored.update(sent[-1])
            return Reply(201, [])
        return Reply(200, {id: {"missing": revs} for id, revs in request.json.items() if id not in stored})

    with StubServer(answer) as stub:
        client = CouchClient(parse_endpoint(stub.url, environ={})[0], max_connections=1)
        try:
            outcomes = LeafWriter(client, "db", Retrier(RetryPolicy()), fresh=True).write(LEAVES)
        finally:
            client.close()
    assert sent == [["a", "b", "c"], ["a", "c"]]
    assert [(outcome.id, outcome.status) for outcome in outcomes] == [
        ("a", Status.WRITTEN),
        ("b", Status.REJECTED),
        ("c", Status.WRITTEN),
    ]
    assert (outcomes[1].error, outcomes[1].http_status) == ("document_too_large", 413)
