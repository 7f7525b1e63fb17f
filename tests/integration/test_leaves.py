"""Reading and writing revisions as they are: nothing left out, nothing respelled, nothing believed unconfirmed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from migrator.couch.changes import ChangesFeed
from migrator.couch.client import CouchClient
from migrator.couch.endpoint import parse_endpoint
from migrator.couch.leaf_writer import LeafWriter
from migrator.couch.leaves import Held, LeafReader
from migrator.couch.settings import apply_revs_limit, apply_security, read_facts
from migrator.errors import Interrupted, TargetMissing, TransientError, UnreadableLeaf
from migrator.model import BatchLimits, Outcome, Status
from migrator.model.revisions import DatabaseFacts, Leaf, LeafFault
from migrator.retry.retrier import Retrier, RetryPolicy
from tests import support
from tests.support.fault_proxy import FaultProxy, at_random
from tests.support.leaf_states import leaf, make, odd_leaves, random_leaves, state, write
from tests.support.stub_server import Asked, Reply, StubServer

pytestmark = pytest.mark.usefixtures("no_credentials")

READ_FAULTS = ("reset_before", "lost_reply", "torn_reply", "torn_json", "busy_429", "error_500", "down_503")
WRITE_FAULTS = (*READ_FAULTS, "reset_during", "odd_500")


class Side:
    """One database through the library."""

    def __init__(self, url: str, database: str, folder: Path) -> None:
        self.client = CouchClient(parse_endpoint(url)[0])
        self.database = database
        self.retrier = Retrier(RetryPolicy(max_attempts=30), sleep=lambda _seconds: None)
        self._folder = folder
        self._readers = 0

    def reader(self, **options: Any) -> LeafReader:
        """A reader with a listing of its own."""
        self._readers += 1
        folder = self._folder / f"{self.database}-{self._readers}"
        return LeafReader(self.client, self.database, self.retrier, folder=folder, **options)

    def writer(self, **options: Any) -> LeafWriter:
        """A writer."""
        return LeafWriter(self.client, self.database, self.retrier, **options)


@pytest.fixture
def open_side(tmp_path: Path) -> Iterator[Callable[[str, str], Side]]:
    """Opens sides, and closes them in the end."""
    sides: list[Side] = []

    def opened(url: str, database: str) -> Side:
        sides.append(Side(url, database, tmp_path))
        return sides[-1]

    yield opened
    for side in sides:
        side.client.close()


@pytest.fixture
def pair(server_url: str, database_prefix: str, open_side: Callable[[str, str], Side]) -> tuple[Side, Side]:
    """Two empty databases."""
    for name in "ab":
        make(server_url, f"{database_prefix}{name}")
    return open_side(server_url, f"{database_prefix}a"), open_side(server_url, f"{database_prefix}b")


def read(reader: LeafReader, after: str | None = None) -> list[Leaf]:
    """All leaves, of which none is a fault."""
    found = list(reader.leaves(after=after))
    assert [fault for fault in found if isinstance(fault, LeafFault)] == []
    return [leaf for leaf in found if isinstance(leaf, Leaf)]


def statuses(outcomes: list[Outcome]) -> set[Status]:
    """How they ended."""
    bad = [outcome for outcome in outcomes if outcome.status is Status.REJECTED]
    assert bad == []
    return {outcome.status for outcome in outcomes}


# -- a copy ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer_bytes", [1, 2_000, 2_000_000])
def test_a_copy_is_equal_leaf_by_leaf(pair: tuple[Side, Side], server_url: str, answer_bytes: int) -> None:
    """Conflicts, tombstones with bodies, ancestry, attachments and numbers, however many are asked for at once."""
    source, target = pair
    write(server_url, source.database, *odd_leaves())
    reader = source.reader(answer_bytes=answer_bytes)
    leaves = read(reader)
    ids = [leaf.id.encode() for leaf in leaves]
    assert ids == sorted(ids)
    assert statuses(target.writer().write(leaves)) == {Status.WRITTEN}
    before = state(server_url, source.database)
    assert len(before) == len(odd_leaves())
    assert state(server_url, target.database) == before
    assert {(leaf.id, leaf.rev, leaf.deleted) for leaf in leaves} == {
        (id, rev, document.get("_deleted", False)) for (id, rev), (document, _) in before.items()
    }
    assert statuses(target.writer().write(leaves)) == {Status.UNCHANGED}
    reader.close()


def test_numbers_stay_as_the_server_spells_them(
    pair: tuple[Side, Side], server_url: str, is_couchdb: bool
) -> None:
    """Integers beyond 64 bits and floats that are whole are in the text that was read."""
    source, _ = pair
    write(server_url, source.database, leaf("a", "1-a", n=12345678901234567890123, f=[1.0, 1e22]))
    (found,) = read(source.reader())
    # The sandbox has rounded them when it stored them.
    text = '"n":12345678901234567890123,"f":[1.0,1' if is_couchdb else '"n":1.2345678901234568e+22,"f":[1,1'
    head = '{"_id":"a","_rev":"1-a","_revisions":{"start":1,"ids":["a"]},'
    assert found.body.decode().startswith(head + text)


def test_goes_on_behind_an_id(pair: tuple[Side, Side], server_url: str) -> None:
    """Each id is a place to go on from, with all leaves of it before."""
    source, _ = pair
    write(server_url, source.database, *odd_leaves())
    reader = source.reader()
    leaves = read(reader)
    for id in {found.id for found in leaves}:
        behind = [found.rev for found in leaves if found.id.encode() > id.encode()]
        assert [found.rev for found in read(reader, id)] == behind


def test_thousands_of_leaves_of_one_document(pair: tuple[Side, Side], server_url: str, is_couchdb: bool) -> None:
    """They are read and written in parts, and none is lost between two of them. The sandbox is slow with them."""
    source, target = pair
    count, step = (2_500, 500) if is_couchdb else (200, 100)
    for begin in range(0, count, step):
        write(
            server_url,
            source.database,
            *(leaf("a", f"2-{number:032x}", "1-a", n=number) for number in range(begin, begin + step)),
        )
    write(server_url, source.database, leaf("b", "1-a"))
    leaves = read(source.reader(answer_bytes=count * 10))
    assert len({leaf.rev for leaf in leaves if leaf.id == "a"}) == count
    assert statuses(target.writer(limits=BatchLimits(count // 7, 4_000_000)).write(leaves)) == {Status.WRITTEN}
    assert [leaf.body for leaf in read(target.reader())] == [leaf.body for leaf in leaves]


def test_a_reading_that_is_held_ends_with_its_reader(pair: tuple[Side, Side], server_url: str) -> None:
    """Its threads are gone then: no garbage collector has to wait for them somewhere else."""
    source, _ = pair
    write(server_url, source.database, *odd_leaves())

    def reading() -> set[str]:
        return {thread.name for thread in threading.enumerate() if thread.name.startswith("leaves")}

    with closing(source.reader(answer_bytes=1)) as reader:
        leaves = reader.leaves()
        assert next(leaves)
        assert reading()
    assert reading() == set()
    assert list(leaves) == []


def test_an_answer_too_large_is_asked_for_in_halves(pair: tuple[Side, Side], server_url: str) -> None:
    """Memory has a bound whatever the size of the documents."""
    source, _ = pair
    write(server_url, source.database, *(leaf(f"d{n:02}", "1-a", text="x" * 10_000) for n in range(40)))
    found = read(source.reader(max_answer_bytes=50_000))
    assert [leaf.id for leaf in found] == [f"d{n:02}" for n in range(40)]


def test_what_is_known_is_left_out(pair: tuple[Side, Side], server_url: str) -> None:
    """A document whose leaves somebody holds is not read; one with another leaf is, with all its leaves."""
    source, _ = pair
    write(server_url, source.database, *(leaf(id, "1-a") for id in "abcd"), leaf("b", "1-b"))
    write(server_url, source.database, leaf("e", "1-a"), leaf("f", "1-a"))
    last_seq = source.reader().last_seq
    known = [
        Held("Z", ("1-a",)),
        Held("a", ("1-a",)),
        Held("b", ("1-a",)),
        Held("c", ("1-z",)),
        Held("d", ("1-a",)),
    ]
    known += [Held("e", (), ("1-a",)), Held("f", ("1-a",))]
    reader = source.reader(known=lambda _after: iter(known))
    changed = [("b", "1-a"), ("b", "1-b"), ("c", "1-a"), ("e", "1-a")]
    assert sorted((leaf.id, leaf.rev) for leaf in read(reader)) == changed
    # What could not be read is read again though nothing changed.
    reader = source.reader(since=last_seq, known=lambda _after: iter(known))
    assert [(leaf.id, leaf.rev) for leaf in read(reader)] == [("e", "1-a")]


def test_reads_what_changed_since(pair: tuple[Side, Side], server_url: str) -> None:
    """After a sequence there is what changed since, and nothing else; also deletions."""
    source, _ = pair
    write(server_url, source.database, *(leaf(id, "1-a") for id in "abcd"))
    last_seq = source.reader().last_seq
    write(
        server_url,
        source.database,
        leaf("b", "2-b", "1-a"),
        leaf("c", "2-b", "1-a", deleted=True),
        leaf("e", "1-a"),
    )
    reader = source.reader(since=last_seq)
    assert [(leaf.id, leaf.rev, leaf.deleted) for leaf in read(reader)] == [
        ("b", "2-b", False),
        ("c", "2-b", True),
        ("e", "1-a", False),
    ]
    assert read(source.reader(since=reader.last_seq)) == []


def test_a_document_that_changes_meanwhile_comes_as_it_is_now(pair: tuple[Side, Side], server_url: str) -> None:
    """What was listed has a child when it is read: the child comes, and after `last_seq` it is again."""
    source, _ = pair
    write(server_url, source.database, *(leaf(id, "1-a") for id in "ab"))
    reader = source.reader()
    last_seq = reader.last_seq
    write(server_url, source.database, leaf("a", "2-b", "1-a", n=2))
    assert [(leaf.id, leaf.rev) for leaf in read(reader)] == [("a", "2-b"), ("b", "1-a")]
    assert [leaf.id for leaf in read(source.reader(since=last_seq))] == ["a"]


# -- what can go wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_reads_all_through_faults(
    pair: tuple[Side, Side], server_url: str, open_side: Callable[[str, str], Side], seed: int
) -> None:
    """Whatever breaks on the way, every leaf and every byte of an attachment comes."""
    source, target = pair
    write(server_url, source.database, *odd_leaves(), *random_leaves(seed))
    with FaultProxy(server_url, at_random(seed, 0.3, faults=READ_FAULTS)) as proxy:
        leaves = read(open_side(proxy.url, source.database).reader(answer_bytes=3_000))
        assert statuses(target.writer().write(leaves)) == {Status.WRITTEN}
        assert proxy.injected
    assert state(server_url, target.database) == state(server_url, source.database)


@pytest.mark.parametrize("seed", range(4))
def test_writes_all_through_faults(
    pair: tuple[Side, Side], server_url: str, open_side: Callable[[str, str], Side], seed: int
) -> None:
    """Lost answers, broken requests and servers in trouble leave neither a gap nor a false word of one."""
    source, target = pair
    write(server_url, source.database, *odd_leaves(), *random_leaves(seed))
    leaves = read(source.reader())
    with FaultProxy(server_url, at_random(seed, 0.3, faults=WRITE_FAULTS)) as proxy:
        writer = open_side(proxy.url, target.database).writer(limits=BatchLimits(7, 100_000), fresh=True)
        assert statuses(writer.write(leaves)) == {Status.WRITTEN}
        assert proxy.injected
    assert state(server_url, target.database) == state(server_url, source.database)


def test_a_leaf_that_poisons_its_batch_is_found(pair: tuple[Side, Side], server_url: str) -> None:
    """Exactly the leaf that the server refuses is rejected with its reason; all others are written."""
    source, target = pair
    write(server_url, source.database, *(leaf(f"d{n:02}", "1-a") for n in range(20)))
    leaves = read(source.reader())
    leaves[13] = leaves[13]._replace(body=leaves[13].body[:-1] + b',"_foo":1}')
    outcomes = target.writer(fresh=True).write(leaves)
    assert [o.id for o in outcomes if o.status is not Status.WRITTEN] == ["d13"]
    assert outcomes[13].status is Status.REJECTED
    assert (outcomes[13].error, "_foo" in outcomes[13].reason) == ("doc_validation", True)
    assert len(state(server_url, target.database)) == 19


def test_what_a_validation_function_forbids_is_named(pair: tuple[Side, Side], server_url: str) -> None:
    """Small leaves and streamed ones alike."""
    source, target = pair
    files = {"f": b"x" * 100_000}
    write(
        server_url,
        source.database,
        leaf("good", "1-a"),
        leaf("bad", "1-a", bad=1),
        leaf("big", "1-a", bad=1, files=files),
    )
    leaves = read(source.reader())
    code = 'function (doc) { if (doc.bad) throw({forbidden: "it is bad"}); }'
    write(server_url, target.database, leaf("_design/v", "1-a", validate_doc_update=code))
    outcomes = {outcome.id: outcome for outcome in target.writer().write(leaves)}
    assert outcomes["good"].status is Status.WRITTEN
    for id in ("bad", "big"):
        expected = (Status.REJECTED, "forbidden", "it is bad", 403)
        found = outcomes[id]
        assert (found.status, found.error, found.reason, found.http_status) == expected


def spoiling(server_url: str, spoil: Callable[[Asked, Any], Any]) -> Callable[[Asked], Reply]:
    """Pass requests on to a server, and give the answers of POSTs to a function that may spoil them."""

    def answer(asked: Asked) -> Reply:
        body: Any = asked.json if asked.body else None
        status, value = support.request(asked.method, server_url + asked.path, body)
        return Reply(status, spoil(asked, value))

    return answer


def test_a_leaf_that_the_server_does_not_give_is_a_fault(
    pair: tuple[Side, Side], server_url: str, open_side: Callable[[str, str], Side]
) -> None:
    """A row with an error is asked for again, then it is a fault; a row that is missing too. All others come."""
    source, _ = pair
    write(server_url, source.database, *(leaf(id, "1-a") for id in "abcd"))
    asked_for: list[str] = []

    def spoil(asked: Asked, value: Any) -> Any:
        if "_bulk_get" in asked.path:
            asked_for.extend(row["id"] for row in asked.json["docs"])
            value["results"] = [result for result in value["results"] if result["id"] != "c"]
            for result in value["results"]:
                # Twice is trouble that passes.
                if result["id"] == "b" or (result["id"] == "d" and asked_for.count("d") < 3):
                    error = {"id": result["id"], "rev": "1-a", "error": "timeout", "reason": "shard"}
                    result["docs"] = [{"error": error}]
        return value

    with StubServer(spoiling(server_url, spoil)) as stub:
        found = list(open_side(stub.url, source.database).reader().leaves())
    assert [type(row).__name__ for row in found] == ["Leaf", "LeafFault", "LeafFault", "Leaf"]
    assert found[1] == LeafFault("b", "1-a", "timeout", "shard")
    assert (found[2].id, found[2].rev) == ("c", "1-a")
    assert asked_for.count("b") > 3


def test_a_server_that_fails_at_every_row_fails(
    pair: tuple[Side, Side], server_url: str, open_side: Callable[[str, str], Side]
) -> None:
    """That is not a fault of documents, and a copy of nothing but faults is none."""
    source, _ = pair
    write(server_url, source.database, *(leaf(id, "1-a") for id in "abcd"))

    def spoil(asked: Asked, value: Any) -> Any:
        if "_bulk_get" in asked.path:
            for result in value["results"]:
                result["docs"] = [{"error": {"id": result["id"], "rev": "1-a", "error": "timeout", "reason": "x"}}]
        return value

    with (
        StubServer(spoiling(server_url, spoil)) as stub,
        pytest.raises(TransientError, match=r"at 4 revisions, .*: timeout"),
    ):
        list(open_side(stub.url, source.database).reader().leaves())


def test_a_leaf_that_the_server_only_says_it_wrote_is_rejected(
    pair: tuple[Side, Side], server_url: str, open_side: Callable[[str, str], Side]
) -> None:
    """An empty list of failures is not proof; what the server does not hold afterwards is named."""
    source, target = pair
    write(server_url, source.database, *(leaf(id, "1-a") for id in "abc"))
    leaves = read(source.reader())

    def answer(asked: Asked) -> Reply:
        body: Any = asked.json if asked.body else None
        if asked.path.endswith("_bulk_docs"):
            body = {**body, "docs": [document for document in body["docs"] if document["_id"] != "b"]}
        return Reply(*support.request(asked.method, server_url + asked.path, body))

    with StubServer(answer) as stub:
        outcomes = open_side(stub.url, target.database).writer(fresh=True).write(leaves)
    assert [outcome.status.value for outcome in outcomes] == ["written", "rejected", "written"]
    assert outcomes[1].error == "not_stored"


def test_an_attachment_that_is_gone_is_its_leaf_s_own_fault(pair: tuple[Side, Side], server_url: str) -> None:
    """It is told by an error that is about this leaf, and when it is written, the others are."""
    source, target = pair
    files = {"f": b"x" * 100_000}
    write(server_url, source.database, *(leaf(id, "1-a", files=files) for id in "ab"), leaf("c", "1-a"))
    leaves = read(source.reader())
    support.request("PUT", f"{server_url}/{source.database}_x")
    lost = leaves[0].attachments[0]
    (foreign,) = source.reader().fetch("b", ["1-a"])[0].attachments  # type: ignore[union-attr]
    support.request("DELETE", f"{server_url}/{source.database}")
    for attachment in (lost, foreign):
        with pytest.raises(UnreadableLeaf):
            b"".join(attachment.open())
    outcomes = target.writer().write(leaves)
    assert [outcome.status.value for outcome in outcomes] == ["rejected", "rejected", "written"]
    assert outcomes[0].error == "attachment_missing"


def test_a_stopped_reading_ends(pair: tuple[Side, Side], server_url: str) -> None:
    """It ends between two answers, and says how to go on."""
    source, _ = pair
    write(server_url, source.database, *(leaf(f"d{n:03}", "1-a") for n in range(300)))
    found = source.reader(answer_bytes=1).leaves()
    next(found)
    source.retrier.stopping.set()
    with pytest.raises(Interrupted):
        list(found)


# -- answers that are not whole ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tail",
    [
        b'{"error":"timeout","reason":"The request could not be processed in a reasonable amount of time."}\n',
        b'{"seq":"2-x","id":"b","cha',
        b"",
    ],
)
def test_a_listing_that_breaks_off_is_listed_again(
    pair: tuple[Side, Side], server_url: str, open_side: Callable[[str, str], Side], tail: bytes
) -> None:
    """An answer without its end, or with an error in it, counts for nothing, though its status was 200."""
    source, _ = pair
    write(server_url, source.database, *(leaf(id, "1-a") for id in "abc"))
    first = True

    def answer(asked: Asked) -> Reply:
        nonlocal first
        status, value = support.request(asked.method, server_url + asked.path, asked.json if asked.body else None)
        if "_changes" in asked.path and first:
            first = False
            row = json.dumps(value["results"][0]).encode()
            return Reply(chunks=(b'{"results":[\n', row + b",\n", *([tail] if tail else [])))
        return Reply(status, value)

    with StubServer(answer) as stub:
        reader = open_side(stub.url, source.database).reader()
        assert [leaf.id for leaf in read(reader)] == ["a", "b", "c"]
        listings = [urlsplit(asked.path).query for asked in stub.asked if "_changes" in asked.path]
    assert len(listings) == 2
    assert reader.last_seq


def test_pages_of_changes_lose_nothing(pair: tuple[Side, Side], server_url: str) -> None:
    """Pages of any size name every document, and the sequence after the last is where nothing is left."""
    source, _ = pair
    write(server_url, source.database, *(leaf(f"d{n:02}", "1-a") for n in range(30)))
    for rows in (1, 7, 30, 31):
        feed = ChangesFeed(source.client, source.database, source.retrier, page_rows=rows)
        found: list[str] = []
        last_seq = feed.list("0", lambda change, found=found: found.append(change.id))  # type: ignore[misc]
        assert sorted(found) == [f"d{n:02}" for n in range(30)]
        left: list[str] = []
        feed.list(last_seq, lambda change, left=left: left.append(change.id))  # type: ignore[misc]
        assert left == []


# -- settings ----------------------------------------------------------------------------------------------------


def test_settings_are_read_and_given_on(
    server_url: str, database_prefix: str, is_couchdb: bool, open_side: Callable[[str, str], Side]
) -> None:
    """Shards, partitioning, the limit of ancestors and who is let in; the sandbox has none and says so."""
    client = open_side(server_url, "").client
    security = {"admins": {"names": ["ann"], "roles": []}, "members": {"names": [], "roles": ["staff"]}}
    facts = DatabaseFacts("x", q=3, n=1, partitioned=is_couchdb, revs_limit=17, security=security)
    name = f"{database_prefix}a"
    assert client.create_database(name, **facts.creation)
    assert not client.create_database(name, **facts.creation)
    assert apply_revs_limit(client, name, facts) is is_couchdb
    apply_security(client, name, facts)
    found = read_facts(client, name)
    expected = (3, 1, True, 17) if is_couchdb else (None, None, False, None)
    assert (found.q, found.n, found.partitioned, found.revs_limit) == expected
    assert found.security == security
    assert (found.documents, found.name) == (0, name)
    assert found.instance_start_time
    with pytest.raises(TargetMissing, match="no database"):
        read_facts(client, f"{database_prefix}b")


def test_ancestry_is_kept_up_to_the_limit(
    server_url: str, database_prefix: str, is_couchdb: bool, open_side: Callable[[str, str], Side]
) -> None:
    """A limit that is set first keeps all that the source has kept."""
    side = open_side(server_url, f"{database_prefix}a")
    make(server_url, side.database)
    revs = [f"{number}-{number:04x}" for number in range(1_200, 0, -1)]
    assert apply_revs_limit(side.client, side.database, DatabaseFacts("x", revs_limit=2_000)) is is_couchdb
    body = json.dumps(leaf("a", *revs)).encode()
    assert statuses(side.writer().write([Leaf("a", revs[0], body)])) == {Status.WRITTEN}
    ((document, _),) = state(server_url, side.database).values()
    assert len(document["_revisions"]["ids"]) == (1_200 if is_couchdb else 1_000)
