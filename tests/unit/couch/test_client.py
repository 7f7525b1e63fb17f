"""What the client asks and makes of the answers, by replaying those of a real server and by inventing others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from migrator.couch.client import CouchClient
from migrator.couch.endpoint import Endpoint
from migrator.errors import BatchRefused, ConfigError, EndpointError, TargetMissing, TransientError, Unauthorized
from tests.support.stub_server import Asked, Reply, StubServer, recorded, recorded_reply

RECORDED = recorded()


class Bench:
    """A client at a stub whose answer can be changed."""

    def __init__(self) -> None:
        self.reply: Callable[[Asked], Reply | None] = lambda _: Reply(404)
        self.server = StubServer(self._answer)
        self.client = CouchClient(Endpoint(self.server.url, read_timeout_s=5.0))

    def say(self, *replies: Reply | None) -> None:
        """Answer so, one request after another, the last one again and again."""
        left = list(replies)
        self.reply = lambda _: left.pop(0) if len(left) > 1 else left[0]

    def _answer(self, asked: Asked) -> Reply | None:
        return self.reply(asked)

    @property
    def asked(self) -> Asked:
        """The latest request."""
        return self.server.asked[-1]

    def close(self) -> None:
        """Both sides."""
        self.client.close()
        self.server.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Of one test."""
    bench = Bench()
    yield bench
    bench.close()


# -- server -----------------------------------------------------------------------------------------------------


def test_greets_couchdb_and_its_kin(bench: Bench) -> None:
    """A CouchDB, or what calls itself one."""
    bench.say(recorded_reply("welcome"))
    assert bench.client.welcome()["version"] == "3.5.0"
    bench.say(Reply(200, {"express-pouchdb": "Welcome!", "version": "4.2.0"}))
    assert bench.client.welcome()["version"] == "4.2.0"
    assert (bench.asked.method, bench.asked.path) == ("GET", "/")


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"name":"elasticsearch"}', b'"hello"'])
def test_another_service_is_no_couchdb(bench: Bench, body: bytes) -> None:
    """What answers at the address and is something else is told so."""
    bench.say(Reply(200, body))
    with pytest.raises(EndpointError, match="not as a CouchDB") as caught:
        bench.client.welcome()
    assert not isinstance(caught.value, TransientError)


def test_a_web_page_is_no_couchdb(bench: Bench) -> None:
    """Neither is HTML."""
    bench.say(Reply(200, b"<html>It works!</html>"))
    with pytest.raises(EndpointError, match=f"{bench.server.url} answers, but not"):
        bench.client.welcome()
    bench.say(Reply(200, b'{"couchdb":"Wel'))
    with pytest.raises(TransientError, match=bench.server.url):
        bench.client.welcome()


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(200, b'"8000000"\n'), 8_000_000),
        (Reply(200, b'"infinity"\n'), None),
        (Reply(200, b""), None),
        (Reply(200, b"[]"), None),
        (Reply(401, b"{}"), None),
        (Reply(404, b'{"error":"not_found","reason":"unknown_config_value"}'), None),
        (Reply(500, b"oops"), None),
    ],
)
def test_the_size_limit_where_it_may_be_known(bench: Bench, reply: Reply, expected: int | None) -> None:
    """Only admins are told; it is not an error not to be."""
    bench.say(reply)
    assert bench.client.max_document_size() == expected


# -- databases --------------------------------------------------------------------------------------------------


def test_looks_at_a_database(bench: Bench) -> None:
    """What is there, or nothing."""
    bench.say(recorded_reply("info"))
    info = bench.client.database_info("rec")
    assert info is not None
    assert (info["doc_count"], info["instance_start_time"]) == (40, "1795443723")
    bench.say(recorded_reply("no database"))
    assert bench.client.database_info("a/b+c") is None
    assert bench.asked.path == "/a%2Fb%2Bc"
    bench.say(recorded_reply("no credentials"))
    with pytest.raises(Unauthorized):
        bench.client.database_info("rec")


def test_creates_a_database(bench: Bench) -> None:
    """With the options given, and without a complaint when somebody was faster."""
    bench.say(recorded_reply("create"))
    assert bench.client.create_database("rec", q=2, n=None, partitioned="true")
    assert (bench.asked.method, bench.asked.path) == ("PUT", "/rec?q=2&partitioned=true")
    bench.say(recorded_reply("create again"))
    assert not bench.client.create_database("rec")


@pytest.mark.parametrize("name", [name for name in RECORDED if name.startswith("create illegal")])
def test_a_name_that_the_server_refuses(bench: Bench, name: str) -> None:
    """The server's own words are passed on, as a mistake in usage."""
    bench.say(recorded_reply(name))
    with pytest.raises(ConfigError, match=r"illegal_database_name|database_name_too_long"):
        bench.client.create_database("x")


def test_deletes_a_database(bench: Bench) -> None:
    """One that is not there is deleted already."""
    bench.say(Reply(200, b'{"ok":true}'))
    assert bench.client.delete_database("rec")
    bench.say(recorded_reply("no database"))
    assert not bench.client.delete_database("rec")


# -- bulk writes ------------------------------------------------------------------------------------------------

BULK = [
    name
    for name, record in RECORDED.items()
    if record["path"].endswith("/_bulk_docs") and record["response"].startswith("[")
]


@pytest.mark.parametrize("name", BULK)
@pytest.mark.parametrize("status", [None, 500])
def test_rows_are_rows_whatever_the_status(bench: Bench, name: str, status: int | None) -> None:
    """Every recorded bulk answer comes out row by row, also under the 500 that CouchDB puts before some."""
    reply = recorded_reply(name)
    bench.say(reply if status is None else Reply(status, reply.body))
    assert bench.client.bulk_docs("rec", [b"{}"]) == json.loads(RECORDED[name]["response"])


def test_bodies_are_sent_as_they_are_encoded(bench: Bench) -> None:
    """No digit, key or escape changes on the way."""
    bench.say(Reply(201, []))
    bodies = [b'{"_id":"a","n":1.10,"n":1E5}', '{"_id":"ä","big":123456789012345678901234567890}'.encode()]
    bench.client.bulk_docs("a/b", bodies)
    assert (bench.asked.method, bench.asked.path) == ("POST", "/a%2Fb/_bulk_docs")
    assert bench.asked.body == b'{"docs":[' + b",\n".join(bodies) + b"]}"
    assert bench.asked.headers["Content-Type"] == "application/json"
    assert "Content-Encoding" not in bench.asked.headers


def test_long_bodies_are_packed_for_a_server_far_away(bench: Bench) -> None:
    """Compression is for networks, and for what is worth it."""
    far = CouchClient(Endpoint(bench.server.url), compress=True)
    bench.say(Reply(201, []))
    far.bulk_docs("db", [b'{"_id":"a"}'])
    assert "Content-Encoding" not in bench.asked.headers
    far.bulk_docs("db", [b'{"_id":"a","x":"' + b"x" * 5_000 + b'"}'])
    far.close()
    assert bench.asked.headers["Content-Encoding"] == "gzip"
    assert bench.asked.json["docs"][0]["x"] == "x" * 5_000
    assert int(bench.asked.headers["Content-Length"]) < 500


@pytest.mark.parametrize("body", [b"", b"[", b'[{"ok":true,"id":"a"', b"{}", b"[1]", b"<html>ok</html>"])
@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_success_without_rows_is_no_success(bench: Bench, body: bytes, status: int) -> None:
    """What became of the documents is not known, and must be found out by reading."""
    bench.say(Reply(status, body))
    with pytest.raises(TransientError, match="broke off") as caught:
        bench.client.bulk_docs("db", [b"{}"])
    assert caught.value.outcome_unknown


def test_a_500_may_be_the_documents_own_or_the_servers(bench: Bench) -> None:
    """Which of both is for those to find out who can send something else."""
    bench.say(recorded_reply("integer of 310 digits"))
    with pytest.raises(BatchRefused) as caught:
        bench.client.bulk_docs("db", [b'{"_id":"a"}'])
    assert caught.value.server_fault


# -- lookups ----------------------------------------------------------------------------------------------------


def test_looks_up_ids(bench: Bench) -> None:
    """Revision and document of what is there, None for what is not, by the server's own answer."""
    bench.say(recorded_reply("all_docs keys"))
    found = bench.client.lookup("rec", ["a", "b", "zzz"], include_docs=True)
    assert found["zzz"] is None
    assert found["a"] is not None
    assert found["a"]["rev"] == "1-0785e9eb543380151003dc452c3a001a"
    assert found["a"]["doc"]["x"] == 1
    assert (bench.asked.method, bench.asked.path) == ("POST", "/rec/_all_docs?include_docs=true")
    assert bench.asked.json == {"keys": ["a", "b", "zzz"]}


def test_looks_up_a_deleted_id(bench: Bench) -> None:
    """It is told apart from one that never was."""
    row = {"id": "b", "key": "b", "value": {"rev": "2-a", "deleted": True}, "doc": None}
    bench.say(Reply(200, {"total_rows": 1, "offset": None, "rows": [row]}))
    assert bench.client.lookup("rec", ["b"], include_docs=True) == {
        "b": {"rev": "2-a", "deleted": True, "doc": None}
    }
    assert list(bench.client.documents("rec", ["b"])) == [("b", None)]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"key": "a", "error": "timeout"}],
        [{"id": "b", "key": "b", "value": {"rev": "1-a"}, "doc": {}}],
        [{"id": "a", "key": "a", "value": {"rev": "1-a"}}],
        [{"id": "a", "key": "a", "value": None, "doc": {}}],
    ],
)
def test_an_id_without_an_answer_is_transient(bench: Bench, rows: list[Any]) -> None:
    """An incomplete answer never passes for `not there`, which would write the document again."""
    bench.say(Reply(200, {"rows": rows}))
    with pytest.raises(TransientError, match="no answer for 'a'"):
        bench.client.lookup("db", ["a"], include_docs=True)


@pytest.mark.parametrize("body", [b"[]", b"1", b'{"rows":[', b'[{"ok":true,"id":"a","rev":"1-a"}]'])
def test_an_answer_to_another_question_is_transient(bench: Bench, body: bytes) -> None:
    """Whatever it is."""
    bench.say(Reply(200, body))
    with pytest.raises(TransientError):
        bench.client.lookup("db", ["a"])


def test_lookups_in_a_missing_database(bench: Bench) -> None:
    """404 is about the database."""
    bench.say(recorded_reply("no database"))
    with pytest.raises(TargetMissing):
        bench.client.lookup("rec", ["a"])


# -- documents --------------------------------------------------------------------------------------------------


def test_gets_a_document(bench: Bench) -> None:
    """Numbers are exact; missing and deleted are both None."""
    bench.say(recorded_reply("numbers out"))
    found = bench.client.get_document("rec", "num")
    assert found is not None
    assert found["c"] == 12345678901234567890123
    for name in ("single missing", "single deleted"):
        bench.say(recorded_reply(name))
        assert bench.client.get_document("rec", "b") is None


@pytest.mark.parametrize(
    ("id", "path"),
    [
        ("a/b", "/db/a%2Fb"),
        ("_design/x", "/db/_design/x"),
        ("_design/x/y", "/db/_design/x%2Fy"),
        ("a b+c?d#e", "/db/a%20b%2Bc%3Fd%23e"),
        ("nul\x00\n", "/db/nul%00%0A"),
        ("日", "/db/%E6%97%A5"),
        ("%41", "/db/%2541"),
        ("...", "/db/..."),
    ],
)
def test_ids_are_quoted_in_paths(bench: Bench, id: str, path: str) -> None:
    """Every character is the id's own, but for the slash of a design document."""
    bench.say(Reply(200, {"_id": id}))
    assert bench.client.get_document("db", id) == {"_id": id}
    assert bench.asked.path == path


@pytest.mark.parametrize("id", [".", "..", "x" * 10_000, "日" * 1_000])
def test_ids_that_no_path_can_hold_go_into_a_body(bench: Bench, id: str) -> None:
    """Dots name other places, and long paths are refused."""
    bench.say(Reply(200, {"rows": [{"id": id, "key": id, "value": {"rev": "1-a"}, "doc": {"_id": id}}]}))
    assert bench.client.get_document("db", id, attachments=True) == {"_id": id}
    assert bench.asked.path == "/db/_all_docs?include_docs=true&attachments=true"
    assert bench.asked.json == {"keys": [id]}


def test_a_foreign_document_is_not_taken(bench: Bench) -> None:
    """Another id, or no object at all, answers another question."""
    for body in (b'{"_id":"b"}', b"[]", b"null"):
        bench.say(Reply(200, body))
        with pytest.raises(TransientError, match="another question"):
            bench.client.get_document("db", "a")


def test_what_is_no_object_says_nothing_of_a_database(bench: Bench) -> None:
    """Something between here and the server gave it: it is asked for again."""
    for body in (b"[]", b"null"):
        bench.say(Reply(200, body))
        with pytest.raises(TransientError, match="another question"):
            bench.client.database_info("db")


# -- listings ---------------------------------------------------------------------------------------------------


def test_lists_in_pages(bench: Bench) -> None:
    """A page that is not full is the last one."""

    def reply(asked: Asked) -> Reply:
        if asked.path == "/":
            return recorded_reply("welcome")
        return recorded_reply("after missing stub" if "startkey" in asked.path else "all_docs page")

    bench.reply = reply
    found = list(bench.client.listing("rec").rows(include_docs=False, page_rows=2))
    assert [row.id for row in found] == ["a", "b", "stray"]
    paths = [asked.path for asked in bench.server.asked]
    assert paths == [
        "/",
        "/rec/_all_docs?limit=2&include_docs=false",
        "/rec/_all_docs?limit=2&startkey=%22b%5Cu0000%22&include_docs=false",
    ]


def test_names_an_end_where_lists_end_early(bench: Bench) -> None:
    """PouchDB Server leaves ids out of a listing without one, so every question names one there."""
    welcome = Reply(200, {"express-pouchdb": "Welcome!"})
    empty = Reply(200, {"rows": [], "offset": 0, "total_rows": 0})
    bench.reply = lambda asked: welcome if asked.path == "/" else empty
    assert list(bench.client.listing("db").rows()) == []
    asked = [parse_qs(urlsplit(asked.path).query) for asked in bench.server.asked[1:]]
    assert [json.loads(query["endkey"][0])[0] for query in asked] == ["\ud7ff", "\uffff", "\U0010ffff"]


def test_long_keys_go_into_a_body(bench: Bench) -> None:
    """No request line holds them."""
    bench.reply = lambda asked: recorded_reply("welcome" if asked.path == "/" else "after missing stub")
    list(bench.client.listing("rec").rows(after="a" * 10_000, page_rows=5))
    assert (bench.asked.method, bench.asked.path) == ("POST", "/rec/_all_docs")
    assert bench.asked.json == {"limit": 5, "startkey": "a" * 10_000 + "\x00", "include_docs": False}


def test_a_listing_of_a_missing_database(bench: Bench) -> None:
    """404 is told before any row."""
    bench.reply = lambda asked: recorded_reply("welcome" if asked.path == "/" else "no database")
    with pytest.raises(TargetMissing):
        list(bench.client.listing("rec").rows())
