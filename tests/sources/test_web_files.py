"""Files of web servers as sources: whole or not at all, whatever the connection and the server do."""

from __future__ import annotations

import base64
import gzip
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

import migrator
from migrator.config import JobConfig
from migrator.errors import ConfigError, EndpointError, TransientError
from migrator.jobs.registry import open_extractor
from migrator.model import Extractor
from migrator.retry.retrier import Retrier
from migrator.testing import documents_of
from tests import support
from tests.docs.pages import ROOT
from tests.sources.killing import killed_and_resumed
from tests.support.commands import run
from tests.support.file_server import ServedFile, ranges
from tests.support.stub_server import Asked, Reply, StubServer

pytestmark = pytest.mark.usefixtures("no_credentials")

DOCUMENTS: list[dict[str, Any]] = [
    {"_id": f"o{number:04}", "n": number, "text": "é" * 60} for number in range(500)
]
TLS = ROOT / "tests" / "data" / "tls"
LINES = b"".join(json.dumps(each).encode() + b"\n" for each in DOCUMENTS)
# Longer than a file's name can be.
SIGNED = f"X-Amz-Credential=AKIA&X-Amz-Security-Token={'s3cr3t' * 200}&X-Amz-Date=20260101&X-Amz-Signature="


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits before trying again."""
    monkeypatch.setattr(Retrier, "pause", lambda _self, _seconds: None)


@pytest.fixture
def file() -> ServedFile:
    """What is served."""
    return ServedFile(LINES)


@pytest.fixture
def server(file: ServedFile) -> Iterator[StubServer]:
    """Serves it under any name."""
    with StubServer(file.reply) as server:
        yield server


def opened(source: str) -> Extractor:
    """The extractor of a source."""
    return open_extractor(JobConfig(source=source))


def read(source: str) -> list[dict[str, Any]]:
    """All documents of the only collection."""
    with closing(opened(source)) as extractor:
        (name,) = extractor.collections()
        return documents_of(extractor.extract(name))


def parquet(path: Path) -> None:
    """A file of several row groups."""
    pq.write_table(pa.Table.from_pylist(DOCUMENTS), path, row_group_size=100)


def written(text: bytes) -> Callable[[Path], object]:
    """What writes a file of this content."""
    return lambda path: path.write_bytes(text)


CSV = b"_id;n\n" + b"".join(b"%s;%d\n" % (each["_id"].encode(), each["n"]) for each in DOCUMENTS)
HITS = b"".join(
    json.dumps({"_index": "o", "_id": each["_id"], "_source": each}).encode() + b"\n" for each in DOCUMENTS
)
TOML = b"".join(b"[orders.%s]\nn = %d\n" % (each["_id"].encode(), each["n"]) for each in DOCUMENTS)
SCHEMA = {"type": "SCHEMA", "stream": "orders", "schema": {"properties": {}}, "key_properties": ["_id"]}
SINGER = b"\n".join(
    json.dumps(each).encode()
    for each in [SCHEMA, *({"type": "RECORD", "stream": "orders", "record": each} for each in DOCUMENTS)]
)
EXPORT = json.dumps({"metadata": {}, "data": {"orders": DOCUMENTS}}).encode()
KINDS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "ndjson": ("orders.ndjson", written(LINES), "{}"),
    "jsonl.gz": ("orders.jsonl.gz", written(gzip.compress(LINES)), "{}"),
    "ndjson.zst": ("orders.ndjson.zst", written(zstandard.compress(LINES)), "{}"),
    "any name": ("orders", written(LINES), "ndjson:{}"),
    "csv": ("orders.csv", written(CSV), "csv:{}?delimiter=;&types=n:int"),
    "csv.gz": ("orders.csv.gz", written(gzip.compress(CSV)), "{}?delimiter=;"),
    "export": ("orders.json", written(EXPORT), "{}"),
    "list": ("orders.json", written(json.dumps(DOCUMENTS).encode()), "{}"),
    "lines in .json": ("orders.json.gz", written(gzip.compress(LINES)), "{}"),
    "mongo": ("orders.json", written(LINES), "mongo:{}"),
    "elasticdump": ("orders.json", written(HITS), "elasticdump:{}"),
    "singer": ("orders.txt", written(SINGER), "singer:{}"),
    "toml": ("orders.toml", written(TOML), "{}"),
    "parquet": ("orders.parquet", parquet, "{}"),
}


@pytest.mark.parametrize("in_parts", [True, False], ids=["in parts", "whole"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_is_read_as_on_this_machine(
    kind: str, in_parts: bool, server: StubServer, file: ServedFile, tmp_path: Path
) -> None:
    """The same documents, also where the connection breaks once and again."""
    name, write, form = KINDS[kind]
    write(tmp_path / name)
    file.data = (tmp_path / name).read_bytes()
    file.in_parts = in_parts
    file.cuts = [None, len(file.data) // 2, len(file.data) // 3]
    here = read(form.format(tmp_path / name))
    assert len(here) == len(DOCUMENTS)
    assert read(form.format(f"{server.url}/files/{name}")) == here


@pytest.mark.parametrize("kind", ["ndjson", "csv", "export", "parquet", "ndjson.zst"])
def test_each_position_is_gone_on_from(kind: str, server: StubServer, file: ServedFile, tmp_path: Path) -> None:
    """What follows a position is the same as of a file of this machine, and the same position."""
    name, write, form = KINDS[kind]
    write(tmp_path / name)
    file.data = (tmp_path / name).read_bytes()
    with (
        closing(opened(form.format(tmp_path / name))) as here,
        closing(opened(form.format(f"{server.url}/{name}"))) as there,
    ):
        (collection,) = here.collections()
        records = list(here.extract(collection))
        for at in (0, 99, 250, len(records) - 1):
            rest = list(there.extract(collection, after=records[at].position))
            assert rest == records[at + 1 :]
        if kind in {"ndjson", "csv"}:
            begun = int(str(records[250].position).partition(":")[0]) - (kind == "ndjson")
            assert f"bytes={begun}-{len(file.data) - 1}" in ranges(server)


def test_a_cut_is_gone_on_with_at_its_byte(server: StubServer, file: ServedFile) -> None:
    """Each request asks for what is missing, of the version that was begun."""
    file.cuts = [1000, 2000, 0, 3000]
    assert read(f"{server.url}/orders.ndjson") == DOCUMENTS
    end = len(LINES) - 1
    assert ranges(server) == ["", *(f"bytes={begin}-{end}" for begin in (1000, 3000, 3000, 6000))]
    assert {each.headers.get("If-Range") for each in server.asked[2:]} == {'"one"'}


def test_a_server_without_parts_is_read_from_the_beginning_again(server: StubServer, file: ServedFile) -> None:
    """Up to the cut nothing is given twice."""
    file.in_parts, file.cuts = False, [None, 10_000, 20_000]
    assert read(f"{server.url}/orders.ndjson") == DOCUMENTS
    assert len(ranges(server)) == 3


def test_a_cut_without_an_end_is_an_error(server: StubServer, file: ServedFile) -> None:
    """Never is what came taken for the whole."""
    file.cuts = [1000, *[0] * 20]
    with pytest.raises(TransientError, match=f"cut off at byte 1000 of {len(LINES)}|connection broke"):
        read(f"{server.url}/orders.ndjson")


@pytest.mark.parametrize("name", ["orders.parquet", "orders.toml", "orders.csv.gz", "orders.json"])
def test_what_breaks_in_a_library_is_told_alike(
    name: str, server: StubServer, file: ServedFile, tmp_path: Path
) -> None:
    """Also within what reads Parquet and TOML, a cut that lasts is one of the network."""
    parquet(tmp_path / "orders.parquet")
    others = {"toml": TOML, "gz": gzip.compress(CSV.replace(b";", b",")), "json": EXPORT}
    file.data = others.get(name.rpartition(".")[2]) or (tmp_path / name).read_bytes()
    file.cuts = [len(file.data) // 2, *[0] * 50]
    ran = run("run", "--from", f"{server.url}/{name}", "--to", str(tmp_path / "out"), "--max-attempts", "2")
    assert ran.code == 5
    assert "broke" in ran.output or "cut off" in ran.output


def test_chunks_that_are_cut_are_gone_on_with(server: StubServer, file: ServedFile) -> None:
    """Of a file whose length nobody says, by its version."""
    file.in_parts, file.chunked, file.cuts = False, True, [None, 5000, 30_000]
    assert read(f"{server.url}/orders.ndjson") == DOCUMENTS


def test_what_nobody_can_know_again_is_not_put_together(server: StubServer, file: ServedFile) -> None:
    """Without parts, version and length, a cut ends the reading."""
    file.in_parts, file.chunked, file.etag, file.cuts = False, True, "", [None, 5000]
    with pytest.raises(EndpointError, match=r"broke off at byte \d+, and the server says nothing"):
        read(f"{server.url}/orders.ndjson")


def test_a_length_that_nobody_says_is_refused(server: StubServer, file: ServedFile, monkeypatch: Any) -> None:
    """An answer that ends when the connection does could end anywhere."""
    monkeypatch.setattr("migrator.extractors.remote_web._size_bytes", lambda _: None)
    file.in_parts = False
    with pytest.raises(ConfigError, match="does not say how long it is"):
        read(f"{server.url}/orders.ndjson")


@pytest.mark.parametrize("in_parts", [True, False])
def test_a_file_that_changes_meanwhile_is_named(server: StubServer, file: ServedFile, in_parts: bool) -> None:
    """The rest of another version is never put after the beginning of the first."""
    file.in_parts = in_parts
    file.cuts = [1000] if in_parts else [None, 1000]

    def answer(asked: Asked) -> Reply:
        reply = file.reply(asked)
        if reply.cut:
            file.etag, file.data = '"two"', LINES.replace(b'"n"', b'"m"')
        return reply

    server.answer = answer
    with pytest.raises(ConfigError, match=r"orders\.ndjson was changed while it was read"):
        read(f"{server.url}/orders.ndjson")


def test_what_passes_is_tried_again(server: StubServer, file: ServedFile) -> None:
    """A server that is busy for a moment is asked again."""
    file.replies = [Reply(503, b"", {"Retry-After": "0"}), Reply(502)]
    assert read(f"{server.url}/orders.ndjson") == DOCUMENTS


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (404, 2, "There is no file"),
        (410, 2, "There is no file"),
        (400, 2, "refuses the request (400)"),
        (401, 5, "wants credentials"),
        (403, 5, "sign it again"),
        (500, 5, "cannot answer now (500)"),
    ],
)
@pytest.mark.parametrize("name", ["orders.ndjson", "orders.json", "orders.csv", "orders.toml", "orders.parquet"])
def test_what_is_no_file_is_answered_as_of_servers(
    status: int, code: int, said: str, name: str, server: StubServer, tmp_path: Path
) -> None:
    """With the exit codes of servers, and nothing is written."""
    server.answer = lambda _: Reply(status)
    ran = run("run", "--from", f"{server.url}/{name}?sig=s3cr3t", "--to", str(tmp_path / "out"))
    assert ran.code == code
    assert said in ran.output
    assert "s3cr3t" not in ran.output


def test_nobody_there_is_an_error_of_the_network(tmp_path: Path) -> None:
    """Exit code 5."""
    ran = run("run", "--from", "http://127.0.0.1:1/orders.ndjson", "--to", str(tmp_path / "out"))
    assert ran.code == 5
    assert "Connection refused" in ran.output
    assert "migrator wait" not in ran.output


def test_a_redirect_is_followed_and_credentials_stay(server: StubServer) -> None:
    """Another host gets no credentials; the one that was named gets them."""

    def moved(_: Asked) -> Reply:
        return Reply(302, b"moved", {"Location": f"{server.url}/elsewhere?signed=1"})

    with StubServer(moved) as first:
        source = f"{first.url}/orders.ndjson".replace("://", "://ada:s3cr3t@")
        assert read(source) == DOCUMENTS
        expected = f"Basic {base64.b64encode(b'ada:s3cr3t').decode()}"
        assert {each.headers.get("Authorization") for each in first.asked} == {expected}
    assert {each.headers.get("Authorization") for each in server.asked} == {None}
    assert {each.path for each in server.asked} == {"/elsewhere?signed=1"}


@pytest.mark.parametrize("place", ["file:///etc/passwd", "s3://bucket/x.ndjson", "ftp://host/x"])
def test_a_redirect_to_something_else_is_refused(server: StubServer, place: str) -> None:
    """Only web servers are asked."""
    server.answer = lambda _: Reply(302, b"", {"Location": place})
    with pytest.raises(EndpointError, match="no file is read from"):
        read(f"{server.url}/orders.ndjson")


def test_certificates_are_checked_and_encryption_stays(
    file: ServedFile, server: StubServer, tmp_path: Path
) -> None:
    """An authority that is named is trusted beside those of the system; nothing goes on without encryption."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.pem", TLS / "server.key")
    command = ["run", "--to", str(tmp_path / "out"), "--restart"]
    with StubServer(file.reply, context) as secure:
        command += ["--from", f"{secure.url}/orders.ndjson"]
        refused = run(*command)
        assert refused.code == 5
        assert "the server's certificate is not trusted" in refused.output
        assert run(*command, "--ca-file", str(TLS / "ca.pem")).code == 0
        secure.answer = lambda _: Reply(302, b"", {"Location": f"{server.url}/orders.ndjson"})
        moved = run(*command, "--ca-file", str(TLS / "ca.pem"))
        assert moved.code == 5
        assert "is not encrypted" in moved.output
    assert server.asked == []


def test_redirects_end(server: StubServer) -> None:
    """A circle is not gone round for ever."""
    server.answer = lambda _: Reply(301, b"", {"Location": "/orders.ndjson"})
    with pytest.raises(EndpointError, match="sends on without an end"):
        read(f"{server.url}/orders.ndjson")


@pytest.mark.parametrize("name", ["orders.ndjson", "orders.ndjson.gz"])
@pytest.mark.parametrize("times", [0, 1, 2])
def test_how_it_is_packed_is_told_by_its_bytes(
    name: str, times: int, server: StubServer, file: ServedFile
) -> None:
    """Servers unpack files that are packed, pack those that are not, and pack what is packed already."""
    for _ in range(times):
        file.data = gzip.compress(file.data)
        file.headers = {"Content-Encoding": "gzip"}
    file.cuts = [500]
    assert read(f"{server.url}/{name}") == DOCUMENTS
    assert {each.headers["Accept-Encoding"] for each in server.asked} == {"identity"}


def test_a_packed_file_that_was_stored_cut_is_damaged(server: StubServer, file: ServedFile) -> None:
    """As on this machine."""
    file.data = gzip.compress(LINES)[:-200]
    with pytest.raises(ConfigError, match=r"orders\.ndjson\.gz is damaged"):
        read(f"{server.url}/orders.ndjson.gz")


def test_a_page_to_sign_in_is_no_file(server: StubServer, file: ServedFile) -> None:
    """It would become rejects."""
    file.data, file.headers = b"<!doctype html><form>", {"Content-Type": "text/html; charset=utf-8"}
    with pytest.raises(ConfigError, match="is a web page"):
        read(f"{server.url}/orders.ndjson")
    file.data = LINES
    assert read(f"{server.url}/orders.ndjson") == DOCUMENTS


def test_an_empty_file_has_no_documents(server: StubServer, file: ServedFile) -> None:
    """No part of it can be asked for."""
    file.data = b""
    assert read(f"{server.url}/orders.ndjson") == []
    with pytest.raises(ConfigError, match="is empty, which a gzip file never is"):
        read(f"{server.url}/orders.ndjson.gz")


def test_a_web_server_gets_its_own_parameters(server: StubServer, file: ServedFile) -> None:
    """Options of CSV are those of their names, or all that follows a `#`."""
    file.data = CSV
    for source in ("orders.csv?id=7&delimiter=;", "orders.csv?id=7#delimiter=;", "export?id=7&delimiter=%3B"):
        assert len(read(f"csv:{server.url}/{source}")) == len(DOCUMENTS)
    assert {each.path.partition("?")[2] for each in server.asked} == {"id=7"}
    with pytest.raises(ConfigError, match=r"orders\.csv\?id=7&delimiter=;"):
        read(f"{server.url}/orders.csv?id=7")


def test_a_run_that_was_killed_asks_for_the_rest(server: StubServer, file: ServedFile, tmp_path: Path) -> None:
    """Nothing is lost, and it goes on at the checkpoint's byte with a URL that was signed again."""
    file.data = b"".join(json.dumps({"_id": f"{n:05}", "text": "x" * 200}).encode() + b"\n" for n in range(20_000))
    found = killed_and_resumed(f"{server.url}/orders.ndjson?{SIGNED}s3cr3t", tmp_path)
    assert sorted(each["_id"] for each in found) == [f"{n:05}" for n in range(20_000)]
    begun = [int(each.removeprefix("bytes=").partition("-")[0] or 0) for each in ranges(server)]
    assert begun[0] == 0
    assert len(begun) == 3
    assert 0 < begun[1] < begun[2]


def test_a_run_into_a_server_that_was_killed_loses_nothing(
    server: StubServer, file: ServedFile, server_url: str, database_prefix: str, tmp_path: Path
) -> None:
    """All documents are there, once each."""
    file.data = b"".join(json.dumps({"_id": f"{n:05}", "text": "x" * 200}).encode() + b"\n" for n in range(5_000))
    name = f"{database_prefix}orders"
    killed_and_resumed(f"{server.url}/orders.ndjson", tmp_path, "--to", server_url, "--map", f"orders={name}")
    found = support.get(f"{server_url}/{name}/_all_docs")["rows"]
    assert [row["id"] for row in found] == [f"{n:05}" for n in range(5_000)]
    assert {row["value"]["rev"].partition("-")[0] for row in found} == {"1"}
    assert len(ranges(server)) == 3


def test_no_signature_is_told_and_the_next_goes_on(server: StubServer, file: ServedFile, tmp_path: Path) -> None:
    """In no message, report or checkpoint; it is the same source when the URL is signed again."""
    file.data += b"{broken\n" + file.data.replace(b'"o', b'"p')
    command = [
        "run",
        "--to",
        str(tmp_path / "out"),
        "--checkpoint",
        str(tmp_path / "cp.json"),
        "--max-errors",
        "0",
    ]
    command += ["--report", str(tmp_path / "report.json"), "--rejects", str(tmp_path / "rejects.ndjson")]
    url = server.url.replace("://", "://ada:s3cr3t@")
    first = run(*command, "--from", f"{url}/orders.ndjson?{SIGNED}s3cr3t1", with_errors=True)
    assert first.code == 3
    command[command.index("--max-errors") + 1] = "5"
    again = run(*command, "--from", f"{url}/orders.ndjson?{SIGNED}s3cr3t2", "--resume", with_errors=True)
    assert again.code == 3
    assert "resumed=True" in again.output
    told = first.output + again.output + "".join(path.read_text() for path in tmp_path.glob("*.*json"))
    assert "orders.ndjson" in told
    assert "s3cr3t" not in told
    assert len((tmp_path / "out" / "orders.ndjson").read_bytes().splitlines()) == 2 * len(DOCUMENTS)


def test_another_version_is_refused_on_resume(server: StubServer, file: ServedFile, tmp_path: Path) -> None:
    """As a file of this machine that was changed."""
    file.data += b"{broken\n"
    command = ["run", "--from", f"{server.url}/orders.ndjson", "--to", str(tmp_path / "out"), "--max-errors", "0"]
    command += ["--checkpoint", str(tmp_path / "cp.json"), "--rejects", str(tmp_path / "rejects.ndjson")]
    assert run(*command).code == 3
    file.etag = '"two"'
    assert run(*command, "--resume").code == 6
    file.etag = ""
    assert run(*command, "--resume").code == 6


def test_what_has_no_version_is_not_gone_on_with(server: StubServer, file: ServedFile, tmp_path: Path) -> None:
    """Not even where it is the same: nobody can know."""
    file.data, file.in_parts, file.chunked, file.etag = LINES + b"{broken\n", False, True, ""
    command = ["run", "--from", f"{server.url}/orders.ndjson", "--to", str(tmp_path / "out"), "--max-errors", "0"]
    command += ["--checkpoint", str(tmp_path / "cp.json"), "--rejects", str(tmp_path / "rejects.ndjson")]
    assert run(*command).code == 3
    assert run(*command, "--resume").code == 6


def test_a_file_is_verified_where_it_lies(server: StubServer, file: ServedFile, tmp_path: Path) -> None:
    """`verify` reads it as `run` does, and finds what differs."""
    source, out = f"{server.url}/orders.ndjson", str(tmp_path / "out")
    assert run("run", "--from", source, "--to", out).code == 0
    assert run("verify", "--from", source, "--to", out).code == 0
    assert run("plan", "--from", source, "--to", out).code == 0
    file.data, file.etag = LINES.replace(b'"n": 7,', b'"n": 8,'), '"two"'
    assert run("verify", "--from", source, "--to", out).code == 4


@pytest.mark.parametrize(
    "target", ["https://host/orders.ndjson", "s3://bucket/folder/", "https://host/x.csv?sig=s3cr3t"]
)
def test_nothing_is_written_there(target: str, tmp_path: Path) -> None:
    """A file elsewhere is no target, and the message says what is."""
    (tmp_path / "orders.ndjson").write_bytes(LINES)
    ran = run("run", "--from", str(tmp_path / "orders.ndjson"), "--to", target)
    assert ran.code == 2
    assert "is read and not written" in ran.output
    assert "s3cr3t" not in ran.output


def test_a_server_is_told_from_a_file_by_the_text() -> None:
    """A database's name holds no dot; a kind of file before the URL says what it is."""
    from migrator.couch.places import is_server_url

    servers = [
        "http://localhost:5984",
        "https://host/db",
        "https://host/couch/db",
        "https://host.json",
        "https://host/a.json/",
    ]
    files = [
        "https://host/orders.json",
        "https://u:p@host:8/x/y.csv.gz?q=1",
        "http://h/a%20b.parquet",
        "HTTPS://H/A.NDJSON",
    ]
    assert [is_server_url(each) for each in servers] == [True] * len(servers)
    assert [is_server_url(each) for each in files] == [False] * len(files)


def test_credentials_of_couchdb_go_to_no_other_server(server: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are another server's; those of ~/.netrc are the host's."""
    monkeypatch.setenv("COUCHDB_USER", "admin")
    monkeypatch.setenv("COUCHDB_PASSWORD", "s3cr3t")
    assert read(f"{server.url}/orders.ndjson") == DOCUMENTS
    assert {each.headers.get("Authorization") for each in server.asked} == {None}


def test_a_file_arrives_at_a_server(server: StubServer, server_url: str, database_prefix: str) -> None:
    """Through the function of Python, into CouchDB."""
    result = migrator.run(
        f"{server.url}/orders.ndjson", server_url, map={"orders": f"{database_prefix}orders"}, verify=True
    )
    assert result.ok
    assert result.totals.written == len(DOCUMENTS)
