"""A cluster's copies are brought together, with the servers' own proof; what cannot be proven is said."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from migrator.couch.align import NODE_ANSWER_S, NODE_PATIENCE_S, PATIENCE_S
from migrator.couch.client import CouchClient
from migrator.couch.copies import bring_together, copies_of, is_surely_empty, settle, settled_info
from migrator.couch.endpoint import Endpoint
from migrator.couch.responses import Answer
from migrator.errors import Interrupted, TransientError
from migrator.retry.retrier import Retrier
from tests.support.stub_server import Asked, Reply, StubServer

NODES = ("n1", "n2", "n3")
RANGES = ("00000000-7fffffff", "80000000-ffffffff")
Place = tuple[str, str]


@dataclass
class Cluster:
    """Three nodes with copies of two shards each: what each holds, and what it has pushed to each other."""

    seqs: dict[Place, int] = field(default_factory=lambda: {(r, n): 5 for r in RANGES for n in NODES})
    pushed: dict[tuple[str, str, str], int] = field(default_factory=dict)
    n: Any = 3
    documents: int = 0
    deleted: int = 0
    down: set[str] = field(default_factory=set)
    status: dict[str, int] = field(default_factory=dict)
    where: Any = None
    purged: int = 0
    on_push: Callable[[Cluster], None] = lambda cluster: cluster.push()
    on_sleep: Callable[[Cluster], None] = lambda _: None
    now: float = 0.0
    asked: list[str] = field(default_factory=list)
    unconfirmed: dict[str, str] = field(default_factory=dict)
    absent_nodes: set[str] = field(default_factory=set)

    def push(self, upto: int = 1000) -> None:
        """Each copy on a node that is up pushes what it holds to all that are up."""
        up = [node for node in NODES if node not in self.down]
        for (name, one), seq in self.seqs.items():
            for other in up:
                if one in up and one != other:
                    self.pushed[name, one, other] = min(seq, upto)

    def sleep(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self.on_sleep(self)

    def database_info(self, _database: str) -> dict[str, Any] | None:
        """`GET /{db}`."""
        self.asked.append("info")
        return {"doc_count": self.documents, "doc_del_count": self.deleted, "cluster": {"n": self.n}}

    def call(self, _method: str, *path: str, **_: Any) -> Answer:
        """Any other request."""
        kind = {"_node": "copy"}.get(path[0], path[-1]) if path[2:3] != ("_dbs",) else "_dbs"
        self.asked.append(kind)
        if kind in self.status:
            return Answer(self.status[kind], {}, b'{"error":"x"}')
        if kind == "_sync_shards":
            self.on_push(self)
            return Answer(202, {}, b"{}")
        if kind == "_dbs":
            where = {"shard_suffix": [46, 49], "by_range": {name: list(NODES) for name in RANGES}}
            return Answer(200, {}, json.dumps(where if self.where is None else self.where).encode())
        node, name = path[1], path[2].split("/")[1]
        if node in self.down:
            return Answer(500, {}, b'{"error":"nodedown"}')
        return Answer(200, {}, json.dumps(self._of(node, name, path[3:])).encode())

    def _of(self, node: str, name: str, path: tuple[str, ...]) -> dict[str, Any]:
        if path == ("_changes",):
            seq = self.seqs[name, node] - self.purged
            return {"results": [{"seq": seq}] if seq else []}
        if path == ("_local_docs",):
            return {"rows": [{"doc": self._checkpoint(name, *pair)} for pair in self.pushed if pair[0] == name]}
        return {"uuid": f"{node} {name}", "update_seq": self.seqs[name, node]}

    def _checkpoint(self, name: str, _: str, one: str, other: str) -> dict[str, Any]:
        # Those of both directions lie on a copy.
        history = {one: [{"source_uuid": f"{one} {name}"}]}
        return {"seq": self.pushed[name, one, other], "target_uuid": f"{other} {name}", "history": history}


def together(cluster: Cluster, database: str = "db") -> str:
    """Bring them together."""
    return bring_together(cast("CouchClient", cluster), database, sleep=cluster.sleep, clock=lambda: cluster.now)


@pytest.mark.parametrize("n", [1, None, "3", 0])
def test_one_copy_costs_the_database_info_only(n: Any) -> None:
    """On a single node, and on servers that tell nothing of copies."""
    cluster = Cluster(n=n)
    assert together(cluster) == ""
    assert cluster.asked == ["info"]


@pytest.mark.parametrize("info", [None, {}, {"cluster": None}, {"cluster": {}}, {"cluster": {"n": "x"}}])
def test_who_tells_nothing_has_one_copy(info: Any) -> None:
    """As PouchDB Server, and a database that is not there."""
    assert copies_of(info) == 1


def test_copies_that_are_together_are_not_pushed() -> None:
    """They are looked at once, and nobody waits."""
    cluster = Cluster()
    cluster.push()
    assert together(cluster) == ""
    assert (cluster.now, cluster.asked.count("_sync_shards")) == (0.0, 0)


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize(("one", "other"), [(a, b) for a in NODES for b in NODES if a != b])
def test_each_pair_is_waited_for(name: str, one: str, other: str) -> None:
    """Whichever copy has something that whichever other lacks."""
    cluster = Cluster(on_push=lambda _: None)
    cluster.push()
    cluster.pushed[name, one, other] = 4

    def later(cluster: Cluster) -> None:
        if cluster.now > 3:
            cluster.push()

    cluster.on_sleep = later
    assert together(cluster) == ""
    assert cluster.now > 3
    assert "_sync_shards" in cluster.asked


def test_empty_shards_have_nothing_to_push() -> None:
    """A new database is together at once."""
    cluster = Cluster(seqs={(name, node): 0 for name in RANGES for node in NODES})
    assert together(cluster) == ""
    assert cluster.now == 0


def test_what_comes_meanwhile_is_not_waited_for() -> None:
    """Other writers never keep it from ending."""
    cluster = Cluster()

    def written(cluster: Cluster) -> None:
        for place in cluster.seqs:
            cluster.seqs[place] += 100

    cluster.on_sleep = written
    cluster.on_push = lambda cluster: cluster.push(upto=5)
    assert together(cluster) == ""


def test_as_long_as_they_come_nearer_it_waits() -> None:
    """A long way takes long."""
    cluster = Cluster(seqs={(r, n): 1000 for r in RANGES for n in NODES}, on_push=lambda _: None)
    cluster.on_sleep = lambda cluster: cluster.push(upto=int(cluster.now * 10))
    assert together(cluster) == ""
    assert cluster.now > 3 * PATIENCE_S


def test_when_nothing_moves_it_says_so() -> None:
    """After a bounded wait."""
    cluster = Cluster(on_push=lambda _: None)
    assert "did not come together" in together(cluster)
    assert PATIENCE_S < cluster.now < PATIENCE_S + 2
    assert cluster.asked.count("_sync_shards") > 3


def test_purges_are_not_waited_for() -> None:
    """They move a copy's sequence, and leave no change that could be pushed."""
    cluster = Cluster(purged=2)
    cluster.on_push = lambda cluster: cluster.push(upto=3)
    assert together(cluster) == ""
    assert cluster.now < 3


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("kind", ["_dbs", "_sync_shards", "copy"])
def test_without_rights_it_says_so_at_once(kind: str, status: int) -> None:
    """Whichever of the questions is for admins."""
    cluster = Cluster(status={kind: status})
    assert together(cluster).endswith("only a server admin may compare them")
    assert cluster.now == 0


@pytest.mark.parametrize("status", [400, 404, 405, 501])
@pytest.mark.parametrize("kind", ["_dbs", "_sync_shards"])
def test_a_server_that_does_not_know_the_question(kind: str, status: int) -> None:
    """As one behind a proxy that lets databases through only."""
    assert together(Cluster(status={kind: status})).endswith("it does not let them be compared")


@pytest.mark.parametrize(
    "where",
    [
        [],
        {},
        {"shard_suffix": "x", "by_range": {}},
        {"shard_suffix": [46], "by_range": []},
        {"shard_suffix": [999]},
    ],
)
def test_a_map_of_shards_that_nobody_knows(where: Any) -> None:
    """Is no reason to fail."""
    assert "not known" in together(Cluster(where=where))


def test_a_node_that_is_away_is_named_and_waited_for_once() -> None:
    """The others are together, and that is all that can be said."""
    cluster = Cluster(down={"n2"})
    assert together(cluster).endswith("those on n2 are out of reach")
    assert NODE_PATIENCE_S < cluster.now < NODE_PATIENCE_S + 2
    before = cluster.now
    assert "n2" in together(cluster, "other")
    assert cluster.now - before < 1


def hanging(cluster: Cluster, node: str, until_s: float) -> None:
    """This node takes questions and answers none before a time."""
    real = cluster.call

    def call(method: str, *path: str, read_timeout_s: float = 90.0, **more: Any) -> Answer:
        if path[1] == node and cluster.now < until_s:
            cluster.now += read_timeout_s
            raise TransientError("no answer", signature="read timeout")
        return real(method, *path, **more)

    cluster.call = call  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize("node", NODES)
def test_a_node_that_hangs_is_away(node: str) -> None:
    """CouchDB 3.5 never answers what a node is asked while it starts. Its copies are not waited for in turn."""
    cluster = Cluster()
    hanging(cluster, node, 1000)
    assert together(cluster).endswith(f"those on {node} are out of reach")
    assert cluster.now < NODE_PATIENCE_S + NODE_ANSWER_S
    before = cluster.now
    assert node in together(cluster, "other")
    assert cluster.now - before <= NODE_ANSWER_S


@pytest.mark.parametrize("node", NODES)
def test_a_node_that_hangs_while_it_starts_is_compared(node: str) -> None:
    """It is asked again soon."""
    cluster = Cluster()
    hanging(cluster, node, 3)
    assert together(cluster) == ""
    assert cluster.now < 2 * NODE_ANSWER_S


@pytest.mark.parametrize("node", NODES)
def test_a_node_that_hangs_while_it_pushes_is_waited_for(node: str) -> None:
    """What it held is known, and how far it has come is asked again."""
    cluster = Cluster(on_push=lambda _: None)
    cluster.on_sleep = lambda cluster: hanging(cluster, node, 6) if cluster.now < 1 else cluster.push()
    assert together(cluster) == ""
    assert cluster.now < PATIENCE_S


@pytest.mark.parametrize("node", NODES)
def test_a_node_that_comes_back_is_compared(node: str) -> None:
    """With what it holds then."""
    cluster = Cluster(down={node})

    def back(cluster: Cluster) -> None:
        if cluster.now > 4:
            cluster.down.clear()

    cluster.on_sleep = back
    assert together(cluster) == ""
    assert all(cluster.pushed[r, a, b] == 5 for r in RANGES for a in NODES for b in NODES if a != b)


def test_the_checkpoints_of_a_lost_copy_prove_nothing() -> None:
    """A copy that was made again on its node has another id."""
    cluster = Cluster(on_push=lambda _: None)
    cluster.push()
    mine = cluster._checkpoint

    def old(name: str, *pair: str) -> dict[str, Any]:
        value = mine(name, *pair)
        return {**value, "target_uuid": "an older one"} if pair[2] == "n3" else value

    cluster._checkpoint = old  # type: ignore[method-assign, assignment]
    assert "did not come together" in together(cluster)


@pytest.mark.parametrize("documents", [0, 3])
def test_a_reason_is_kept_until_it_is_gone(documents: int) -> None:
    """Whoever reports finds it."""
    cluster = Cluster(status={"copy": 401}, documents=documents)
    client = cast("CouchClient", cluster)
    assert not settle(client, "db")
    assert list(cluster.unconfirmed) == ["db"]
    assert not is_surely_empty(client, "db", {"doc_count": documents, "cluster": {"n": 3}})
    cluster.status.clear()
    cluster.push()
    assert settled_info(client, "db") == cluster.database_info("db")
    assert not cluster.unconfirmed
    assert is_surely_empty(client, "db", {"doc_count": documents, "cluster": {"n": 3}}) is (documents == 0)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("documents", [0, 2])
def test_deletions_make_no_database_empty_where_they_count(documents: int, n: int) -> None:
    """Who asks whether documents are left does not count them; that is the same on a cluster."""
    cluster = Cluster(documents=documents, deleted=5, n=n)
    cluster.push()
    client, info = cast("CouchClient", cluster), cluster.database_info("db") or {}
    assert not is_surely_empty(client, "db", info)
    assert is_surely_empty(client, "db", info, deletions=False) is (documents == 0)


def test_a_stop_ends_the_wait() -> None:
    """As it ends any other."""
    stopping = threading.Event()
    stopping.set()
    cluster = Cluster(on_push=lambda _: None)
    with pytest.raises(Interrupted):
        settle(cast("CouchClient", cluster), "db", Retrier(stopping=stopping))


def test_an_outage_is_tried_again() -> None:
    """The node that is talked to can be the one that goes away."""
    cluster = Cluster()
    cluster.push()
    failures = [TransientError("gone"), TransientError("gone")]
    real = cluster.call

    def call(*path: str, **more: Any) -> Answer:
        if failures:
            raise failures.pop()
        return real(*path, **more)

    cluster.call = call  # type: ignore[method-assign]
    assert settle(cast("CouchClient", cluster), "db", Retrier(sleep=lambda _: None))


@pytest.mark.parametrize("every", [2, 3, 5])
def test_questions_without_an_answer_come_again(every: int) -> None:
    """There are many of them, and one that is lost must not cost all."""
    cluster = Cluster()
    real, count = cluster.call, iter(range(10_000))

    def call(*path: str, **more: Any) -> Answer:
        if path[-1] != "db" and next(count) % every == 0:
            raise TransientError("torn")
        return real(*path, **more)

    cluster.call = call  # type: ignore[method-assign]
    assert together(cluster) == ""


def test_a_server_that_is_gone_is_no_cluster_that_is_apart() -> None:
    """That is for whoever tries again."""
    cluster = Cluster()
    real = cluster.call

    def call(*path: str, **more: Any) -> Answer:
        if "_dbs" in cluster.asked:
            raise TransientError("no route")
        return real(*path, **more)

    cluster.call = call  # type: ignore[method-assign]
    with pytest.raises(TransientError, match="no route"):
        together(cluster)
    assert cluster.now == 0


@pytest.mark.parametrize(("status", "told"), [(201, []), (202, ["db: documents were accepted by fewer"])])
def test_writes_that_few_copies_have_are_told(status: int, told: list[str]) -> None:
    """A cluster accepts them when nodes are away."""

    def answer(_: Asked) -> Reply:
        return Reply(status, [{"ok": True, "id": "a", "rev": "1-x"}])

    with StubServer(answer) as server:
        client = CouchClient(Endpoint(server.url))
        client.bulk_docs("db", [b'{"_id":"a"}'])
        client.close()
    assert [text.split(" than")[0] for text in client.doubts] == told
