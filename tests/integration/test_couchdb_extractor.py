"""Reading from a real server, and from one that breaks its answers off in every way a server can."""

from __future__ import annotations

import base64
import json
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from migrator.config import JobConfig
from migrator.couch import listing as listing_module
from migrator.couch.client import CouchClient
from migrator.couch.endpoint import parse_endpoint
from migrator.errors import CheckpointError, EndpointError, Interrupted, TargetMissing, TransientError
from migrator.extractors.couchdb import CouchExtractor
from migrator.jobs.run import run_job
from migrator.model.events import BatchLoaded, Event
from migrator.pipeline.wrapper import RetryingExtractor
from migrator.retry.retrier import Retrier
from tests import support
from tests.support.fault_proxy import FaultProxy, Request
from tests.support.processes import wait_until
from tests.support.stub_server import Asked, Reply, StubServer

pytestmark = pytest.mark.usefixtures("no_credentials")

# In the order of their bytes.
ODD_IDS = [
    *(" ", '"', "%2F", "+", "-", ".", "..", "a", "a\x00", "a\x00b", "a b", "a+b", "a/b", "a\\b", "a\nb"),
    *("x" * 3_000, "x" * 100_000, "z", "é", "\u2028", "日本", "\ufffd", "😀", "😀a"),
]
ODD_IDS.sort(key=str.encode)


def fill(server_url: str, name: str, documents: list[dict[str, Any]]) -> None:
    """Make a database with documents."""
    assert support.request("PUT", f"{server_url}/{name}")[0] == 201
    status, rows = support.request("POST", f"{server_url}/{name}/_bulk_docs", {"docs": documents})
    assert status == 201
    assert [row for row in rows if "rev" not in row] == []


@pytest.fixture
def client(server_url: str) -> Iterator[CouchClient]:
    """Of the server under test."""
    client = CouchClient(parse_endpoint(server_url)[0])
    yield client
    client.close()


def read(extractor: CouchExtractor, name: str, after: str | None = None) -> list[dict[str, Any]]:
    """All documents, as they go on to the transformers."""
    return [json.loads(record.text or b"null") for record in extractor.extract(name, after=after)]


# -- a real server ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page_rows", [1, 7, len(ODD_IDS), 1000])
def test_pages_by_key_over_odd_ids(
    client: CouchClient, server_url: str, database_prefix: str, page_rows: int
) -> None:
    """Every id is read once, in order, however many fit a page, and whatever it is made of."""
    name = f"{database_prefix}a"
    fill(server_url, name, [{"_id": id, "n": n} for n, id in enumerate(ODD_IDS)])
    found = read(CouchExtractor(client, name, page_rows=page_rows), name)
    assert [(document["_id"], document["n"]) for document in found] == list(
        zip(ODD_IDS, range(1000), strict=False)
    )


def test_goes_on_behind_every_odd_id(client: CouchClient, server_url: str, database_prefix: str) -> None:
    """Each id is a position, also that of a document which has gone since."""
    name = f"{database_prefix}a"
    fill(server_url, name, [{"_id": id} for id in ODD_IDS])
    extractor = CouchExtractor(client, name, page_rows=7)
    for number, id in enumerate(ODD_IDS, 1):
        assert [document["_id"] for document in read(extractor, name, id)] == ODD_IDS[number:]
    rev = support.revisions(server_url, name)["a b"]
    assert support.request("DELETE", f"{server_url}/{name}/a%20b?rev={rev}")[0] == 200
    behind = ODD_IDS[ODD_IDS.index("a b") + 1 :]
    assert [document["_id"] for document in read(extractor, name, "a b")] == behind


@pytest.mark.parametrize("at_once", [2, 5])
def test_ranges_read_at_once_are_what_pages_are(
    client: CouchClient, server_url: str, database_prefix: str, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Every id once and in order, after every position too, odd ones and such as are missing included.

    Where the server does not tell ranks, as the sandbox, this is one reading after another.
    """
    monkeypatch.setattr(listing_module, "PART_ROWS", 3)
    name = f"{database_prefix}a"
    fill(server_url, name, [{"_id": id, "n": n} for n, id in enumerate(ODD_IDS)])
    extractor = CouchExtractor(client, name, page_rows=2, at_once=at_once)
    for number in range(len(ODD_IDS)):
        after = ODD_IDS[number - 1] if number else None
        assert [document["_id"] for document in read(extractor, name, after)] == ODD_IDS[number:]
    assert [document["_id"] for document in read(extractor, name, "m")] == [id for id in ODD_IDS if id > "m"]


def test_ranges_are_taken_up_behind_a_fault(
    server_url: str, database_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers that break off in the middle of any range cost nothing but another try; none comes twice."""
    monkeypatch.setattr(listing_module, "PART_ROWS", 50)
    name = f"{database_prefix}a"
    fill(server_url, name, [{"_id": f"{n * 7919 % 10_007:05}", "pad": "x" * 500} for n in range(1_000)])
    rng = random.Random(3)

    def plan(_request: Request) -> str | None:
        return rng.choice(["torn_reply", "torn_json", "reset_before"]) if rng.random() < 0.2 else None

    with FaultProxy(server_url, plan) as proxy:
        client = CouchClient(parse_endpoint(proxy.url)[0])
        retrier = Retrier(sleep=lambda _seconds: None)
        extractor = RetryingExtractor(CouchExtractor(client, name, page_rows=60, at_once=4), retrier)
        found = [json.loads(record.text or b"")["_id"] for record in extractor.extract(name)]
        client.close()
        assert proxy.injected
    assert sorted(f"{n * 7919 % 10_007:05}" for n in range(1_000)) == found


def test_never_skips(server_url: str, database_prefix: str) -> None:
    """Pages are asked for by their first key, each once, and never by `skip`."""
    name = f"{database_prefix}a"
    fill(server_url, name, [{"_id": f"d{n:02}"} for n in range(20)])
    asked: list[dict[str, list[str]]] = []
    with StubServer(passing_on(server_url, asked)) as proxy:
        client = CouchClient(parse_endpoint(proxy.url)[0])
        assert len(read(CouchExtractor(client, name, page_rows=7), name)) == 20
        client.close()
    queries = [query for query in asked if "😀" > json.loads(query.get("startkey", ['""'])[0])[:1] < "\ue000"]
    keys = [json.loads(query["startkey"][0]) if "startkey" in query else None for query in queries]
    assert keys[:3] == [None, "d06\x00", "d13\x00"]
    assert [query for query in asked if "skip" in query] == []
    assert {query["limit"][0] for query in asked} == {"7"}


def passing_on(server_url: str, asked: list[dict[str, list[str]]]) -> Callable[[Asked], Reply]:
    """Pass requests on to a server, and keep the queries of listings."""

    def answer(request: Asked) -> Reply:
        if "_all_docs" in request.path:
            asked.append(parse_qs(urlsplit(request.path).query))
        status, value = support.request(request.method, server_url + request.path)
        return Reply(status, value)

    return answer


def test_attachments_come_inline(client: CouchClient, server_url: str, database_prefix: str) -> None:
    """Type and bytes come along, what the server adds does not, also for ids that fit into no request line."""
    name = f"{database_prefix}a"
    data = {"hello.txt": b"hello " * 1000, "bytes": bytes(range(256)), "empty": b""}
    attachments = {
        file: {"content_type": "text/plain", "data": base64.b64encode(content).decode()}
        for file, content in data.items()
    }
    ids = ["a", "a/b", "日" * 1_500, "z" * 20_000]
    fill(server_url, name, [{"_id": id, "_attachments": attachments, "n": 1} for id in ids])
    fill(server_url, f"{name}b", [{"_id": "plain", "text": '"_attachments":{'}])
    found = read(CouchExtractor(client, name), name)
    assert sorted(found, key=lambda document: str(document["_id"])) == [
        {"_id": id, "_attachments": attachments, "n": 1} for id in sorted(ids)
    ]
    assert read(CouchExtractor(client, f"{name}b"), f"{name}b") == [{"_id": "plain", "text": '"_attachments":{'}]


def test_design_documents_come_and_local_and_deleted_ones_do_not(
    client: CouchClient, server_url: str, database_prefix: str
) -> None:
    """What belongs to the database comes along; bookkeeping and tombstones stay."""
    name = f"{database_prefix}a"
    fill(server_url, name, [{"_id": "_design/x", "language": "query"}, {"_id": "a"}, {"_id": "gone"}])
    assert support.request("PUT", f"{server_url}/{name}/_local/cp", {"s": 1})[0] == 201
    rev = support.revisions(server_url, name)["gone"]
    assert support.request("DELETE", f"{server_url}/{name}/gone?rev={rev}")[0] == 200
    extractor = CouchExtractor(client, name)
    assert read(extractor, name) == [{"_id": "_design/x", "language": "query"}, {"_id": "a"}]
    assert extractor.count(name) == 2


def test_a_whole_server_leaves_out_the_systems_own(
    client: CouchClient, server_url: str, database_prefix: str
) -> None:
    """Without a database all are read, but none whose name begins with an underscore; chosen ones need no list."""
    for letter in "ab":
        fill(server_url, f"{database_prefix}{letter}", [{"_id": letter}])
    mine = [f"{database_prefix}a", f"{database_prefix}b"]
    found = CouchExtractor(client).collections()
    assert [name for name in found if name.startswith(database_prefix)] == mine
    assert [name for name in found if name.startswith("_")] == []
    assert list(CouchExtractor(client, collections=mine[::-1]).collections()) == mine[::-1]


def test_a_missing_database_is_named(client: CouchClient, database_prefix: str) -> None:
    """Naming a database that is not there is told before anything is read, with exit code 2.

    What vanishes while it is read is the server's matter.
    """
    name = f"{database_prefix}none"
    extractor = CouchExtractor(client, name)
    actions: list[Callable[[], Any]] = [
        extractor.collections,
        CouchExtractor(client, collections=[name]).collections,
        lambda: extractor.count(name),
        lambda: extractor.identity(name),
        lambda: read(extractor, name),
    ]
    for action in actions:
        with pytest.raises(TargetMissing, match=name) as caught:
            action()
        assert caught.value.exit_code == (5 if action is actions[-1] else 2)


def test_a_database_created_again_ends_a_resume(
    server_url: str, database_prefix: str, tmp_path: Path, is_couchdb: bool
) -> None:
    """Positions in another database of the same name are refused with exit code 6.

    PouchDB Server does not tell when a database was made; there a resume goes on by key.
    """
    name = f"{database_prefix}a"
    documents = [{"_id": f"d{n:03}"} for n in range(100)]
    fill(server_url, name, documents)
    stopping = threading.Event()

    def stop_at_first(event: Event) -> None:
        if isinstance(event, BatchLoaded):
            stopping.set()

    def config(**options: Any) -> JobConfig:
        return JobConfig(
            source=f"{server_url}/{name}",
            target=str(tmp_path / "out"),
            checkpoint=str(tmp_path / "checkpoint.json"),
            batch_docs=10,
            in_flight=1,
            **options,
        )

    with pytest.raises(Interrupted):
        run_job(config(), environ={}, listener=stop_at_first, stopping=stopping)
    before = support.get(f"{server_url}/{name}")["instance_start_time"]

    def made_again() -> bool:
        # A database is gone some moments after its deletion was confirmed, and its age is told in whole seconds.
        support.request("DELETE", f"{server_url}/{name}")
        if support.request("PUT", f"{server_url}/{name}")[0] != 201:
            return False
        status, info = support.request("GET", f"{server_url}/{name}")
        return status == 200 and (not is_couchdb or info["instance_start_time"] != before)

    wait_until(made_again)
    assert support.request("POST", f"{server_url}/{name}/_bulk_docs", {"docs": documents[:50]})[0] == 201
    if is_couchdb:
        with pytest.raises(CheckpointError, match="has changed") as caught:
            run_job(config(resume=True), environ={})
        assert caught.value.exit_code == 6
        assert "--restart" in caught.value.hint
        report = run_job(config(restart=True, on_conflict="overwrite"), environ={}).report
        assert report.totals.read == 50
    else:
        report = run_job(config(resume=True), environ={}).report
        assert report.totals.read + report.carried.read == 50


# -- a server that breaks off -----------------------------------------------------------------------------------


def row(id: str, **fields: Any) -> bytes:
    """One row of a listing with documents, as CouchDB spells it."""
    document = {"_id": id, "_rev": "1-a", **fields}
    value = {"id": id, "key": id, "value": {"rev": "1-a"}, "doc": document}
    return json.dumps(value, separators=(",", ":")).encode()


HEAD = b'{"total_rows":6,"offset":0,"rows":[\r\n'
TAIL = b"\r\n]}\n"
IDS = ["a", "b", "c", "d", "e", "f"]
ERROR_TAIL = (
    b'\n\n{"error":"timeout","reason":"The request could not be processed in a reasonable amount of time."}\n'
)


def listing(rows: list[bytes], tail: bytes = TAIL) -> bytes:
    """A whole answer."""
    return HEAD + b",\r\n".join(rows) + tail


class Breaking:
    """Breaks the first listing in some way, and serves those that follow."""

    def __init__(self, first: Callable[[list[bytes]], Reply | None]) -> None:
        self.first = first
        self.starts: list[str] = []

    def __call__(self, asked: Asked) -> Reply | None:
        """Answer."""
        if "_all_docs" not in asked.path:
            return Reply(200, {"couchdb": "Welcome", "version": "3.5.0", "doc_count": 6})
        query = parse_qs(urlsplit(asked.path).query)
        start = json.loads(query.get("startkey", ['""'])[0])
        self.starts.append(start)
        rows = [row(id) for id in IDS if id >= start]
        return self.first(rows) if len(self.starts) == 1 else Reply(200, listing(rows))


BREAKS: dict[str, Callable[[list[bytes]], Reply | None]] = {
    "error after three rows": lambda rows: Reply(200, chunks=(listing(rows[:3], ERROR_TAIL),)),
    "error after a comma": lambda rows: Reply(200, chunks=(listing([*rows[:3], b""], ERROR_TAIL),)),
    "error after the head": lambda _rows: Reply(200, chunks=(HEAD + ERROR_TAIL,)),
    "error alone": lambda _rows: Reply(200, ERROR_TAIL),
    "error after the end": lambda rows: Reply(200, listing(rows) + ERROR_TAIL),
    "no end": lambda rows: Reply(200, listing(rows, b"\r\n")),
    "nothing": lambda _rows: Reply(200, b""),
    "half a row": lambda rows: Reply(200, listing(rows)[:-40]),
    "half a head": lambda _rows: Reply(200, HEAD[:10]),
    "broken connection": lambda rows: Reply(200, listing(rows), cut=200),
    "broken chunks": lambda rows: Reply(200, chunks=(listing(rows)[:200],), end=False),
    "no answer": lambda _rows: None,
    "500": lambda _rows: Reply(500, {"error": "timeout", "reason": "slow"}),
    "503 page": lambda _rows: Reply(503, b"<html>Service Unavailable</html>"),
    "429": lambda _rows: Reply(429, b"", {"Retry-After": "0"}),
    "a body that could not be read": lambda rows: Reply(
        200, listing([rows[0], b'{"id":"b","key":"b","value":{"rev":"1-a"},"error":"timeout"}', *rows[2:]])
    ),
    "a row without its document": lambda rows: Reply(
        200, listing([rows[0], b'{"id":"b","key":"b","value":{"rev":"1-a"}}', *rows[2:]])
    ),
    "an answer to another question": lambda _rows: Reply(200, [{"ok": True, "id": "a", "rev": "1-a"}]),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_what_breaks_off_is_taken_up_behind_the_last_row(broken: str) -> None:
    """No row is lost and none comes twice, whatever the first answer was; the second asks after the last row."""
    answer = Breaking(BREAKS[broken])
    with StubServer(answer) as server:
        client = CouchClient(parse_endpoint(server.url)[0])
        extractor = RetryingExtractor(CouchExtractor(client, "db"), Retrier(sleep=lambda _s: None))
        records = list(extractor.extract("db"))
        client.close()
    assert [record.position for record in records] == IDS
    assert [json.loads(record.text or b"")["_id"] for record in records] == IDS
    assert len(answer.starts) == 2
    assert answer.starts[1] == "" or answer.starts[1].endswith("\x00")


@pytest.mark.parametrize("broken", BREAKS)
def test_a_break_is_transient_and_names_the_database(broken: str) -> None:
    """Without the wrapper each break is an error that says what was read, and that it may work later."""
    with StubServer(Breaking(BREAKS[broken])) as server:
        client = CouchClient(parse_endpoint(server.url)[0])
        with pytest.raises(TransientError, match=server.url):
            list(CouchExtractor(client, "db").extract("db"))
        client.close()


@pytest.mark.parametrize("order", ["acbdef", "aabcdef", "abcdefa"])
def test_rows_out_of_order_are_not_believed(order: str) -> None:
    """What came before may lack rows, so nothing goes on from there; that is told, and not tried again."""
    with StubServer(Breaking(lambda _rows: Reply(200, listing([row(id) for id in order])))) as server:
        client = CouchClient(parse_endpoint(server.url)[0])
        with pytest.raises(EndpointError, match="out of order") as caught:
            list(CouchExtractor(client, "db").extract("db"))
        client.close()
    assert not isinstance(caught.value, TransientError)
    assert "--restart" in caught.value.hint


def test_a_document_deleted_while_reading_is_left_out() -> None:
    """The row says so by `null`; that is not an error."""
    gone = b'{"id":"b","key":"b","value":{"rev":"1-a"},"doc":null}'
    with StubServer(Breaking(lambda rows: Reply(200, listing([rows[0], gone, *rows[2:]])))) as server:
        client = CouchClient(parse_endpoint(server.url)[0])
        found = [record.position for record in CouchExtractor(client, "db").extract("db")]
        client.close()
    assert found == ["a", "c", "d", "e", "f"]


@pytest.mark.parametrize("layout", ["pretty", "one line", "other order"])
def test_other_layouts_of_a_listing_are_read(layout: str) -> None:
    """Servers and proxies that write JSON otherwise are understood."""
    rows = [json.loads(row(id, n=2**70)) for id in IDS]
    value = (
        {"rows": rows, "offset": 0, "total_rows": 6}
        if layout == "other order"
        else {"total_rows": 6, "rows": rows}
    )
    body = json.dumps(value, indent=2 if layout == "pretty" else None).encode()
    with StubServer(Breaking(lambda _rows: Reply(200, body))) as server:
        client = CouchClient(parse_endpoint(server.url)[0])
        found = read(CouchExtractor(client, "db"), "db")
        client.close()
    assert [(document["_id"], document["n"]) for document in found] == [(id, 2**70) for id in IDS]


def test_an_attachment_of_another_document_is_not_taken() -> None:
    """An answer to another question is noticed by its id."""

    def answer(asked: Asked) -> Reply:
        if "_all_docs" in asked.path:
            stub = {"x": {"stub": True, "content_type": "text/plain"}}
            return Reply(200, listing([row("a", _attachments=stub)]))
        if asked.path.startswith("/db/"):
            return Reply(200, {"_id": "b", "_rev": "1-a", "_attachments": {}})
        return Reply(200, {"couchdb": "Welcome"})

    with StubServer(answer) as server:
        client = CouchClient(parse_endpoint(server.url)[0])
        with pytest.raises(TransientError, match="another question"):
            list(CouchExtractor(client, "db").extract("db"))
        client.close()


def test_positions_of_other_kinds_are_refused(client: CouchClient, database_prefix: str) -> None:
    """A number is not a position in a database."""
    extractor = CouchExtractor(client, f"{database_prefix}a")
    with pytest.raises(Exception, match="not a document id") as caught:
        next(extractor.extract(f"{database_prefix}a", after=5))
    assert not isinstance(caught.value, EndpointError)
    assert quote(database_prefix) in extractor.describe()
