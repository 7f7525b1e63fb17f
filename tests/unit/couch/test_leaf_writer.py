"""What a server says yes to and does not store: the leaf's own fault, or that of a server whose disk is full."""

from __future__ import annotations

import pytest

from migrator.couch.client import CouchClient
from migrator.couch.endpoint import parse_endpoint
from migrator.couch.leaf_writer import LeafWriter
from migrator.errors import EXIT_UNREACHABLE, EndpointError
from migrator.model import Outcome
from migrator.retry import Retrier, RetryPolicy
from migrator.revisions import Leaf
from tests.stub_server import Asked, Reply, StubServer

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
    with pytest.raises(EndpointError, match=r"does not store . documents.*not_stored") as caught:
        written(kept, own)
    assert caught.value.exit_code == EXIT_UNREACHABLE
    assert "disk may be full" in caught.value.hint


def test_a_server_that_stores_other_documents_blames_the_leaf() -> None:
    """Where our own document is stored, and other leaves are, the leaf is rejected by name."""
    outcomes = written("ab", WELL)
    assert [outcome.error for outcome in outcomes] == ["", "", "not_stored"]
    assert "does not hold it" in outcomes[-1].reason
