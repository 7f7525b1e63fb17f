"""What a server says yes to and does not store: the leaf's own fault, or that of a server whose disk is full."""

from __future__ import annotations

import pytest

from migrator.couch.client import CouchClient
from migrator.couch.endpoint import parse_endpoint
from migrator.couch.leaf_writer import LeafWriter
from migrator.errors import EXIT_UNREACHABLE, EndpointError
from migrator.retry import Retrier, RetryPolicy
from migrator.revisions import Leaf
from tests.stub_server import Asked, Reply, StubServer

LEAVES = [Leaf(id, "1-a", f'{{"_id":"{id}","_rev":"1-a"}}'.encode()) for id in "ab"]


def written(own: Reply) -> tuple[list[str], list[str]]:
    """What becomes of leaves that a server swallows, which answers so to a document of the writer's own."""

    def answer(asked: Asked) -> Reply:
        if asked.path.endswith("_bulk_docs"):
            return Reply(201, [])
        if asked.path.endswith("_revs_diff"):
            return Reply(200, {id: {"missing": revs} for id, revs in asked.json.items()})
        if "/_local/" in asked.path:
            return own
        return Reply(200, {"couchdb": "Welcome", "version": "3.5.0"})

    with StubServer(answer) as stub:
        client = CouchClient(parse_endpoint(stub.url, environ={})[0], max_connections=1)
        retrier = Retrier(RetryPolicy(first_wait_s=0.001, max_wait_s=0.001))
        try:
            outcomes = LeafWriter(client, "db", retrier, fresh=True).write(LEAVES)
        finally:
            client.close()
        return [outcome.error for outcome in outcomes], [asked.method for asked in stub.asked]


def test_a_full_disk_is_no_fault_of_documents() -> None:
    """CouchDB says yes to revisions that it cannot write; a document of our own tells, and nothing is rejected."""
    with pytest.raises(EndpointError, match="stores nothing: 500 error internal_server_error") as caught:
        written(Reply(500, {"error": "error", "reason": "internal_server_error"}))
    assert caught.value.exit_code == EXIT_UNREACHABLE
    assert "make room" in caught.value.hint
    assert "--resume" in caught.value.hint


def test_a_server_that_stores_other_documents_blames_the_leaf() -> None:
    """Where our own document is stored, and removed again, the leaves are rejected by name."""
    errors, methods = written(Reply(201, {"ok": True, "rev": "0-1"}))
    assert errors == ["not_stored", "not_stored"]
    assert methods[-2:] == ["PUT", "DELETE"]
