"""A server that drips is given up; one that is slow, pauses, or sends much for long is not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from migrator.config import JobConfig
from migrator.couch.client import CouchClient
from migrator.couch.connections import MIN_BYTES_PER_S, PIECE_BYTES, Pace
from migrator.couch.endpoint import Endpoint
from migrator.couch.responses import TooSlow
from migrator.couch.transport import Transport
from migrator.errors import EXIT_UNREACHABLE, TransientError
from tests.support.commands import run
from tests.unit.couch.test_transport import TLS, raw_server, tls

# -- the measure ------------------------------------------------------------------------------------------------


def paced(steps: Iterable[tuple[float, int]], *, window_s: float = 45.0, own_pause_s: float = 0.0) -> float:
    """Wait so many seconds for so many bytes, one step after the other; the seconds until all is there."""
    now = 0.0
    watch = Pace(window_s, lambda: now)
    for seconds, count in steps:

        def read(seconds: float = seconds, count: int = count) -> int:
            nonlocal now
            now += seconds
            return count

        assert watch.wait(read) == count
        now += own_pause_s
    return now


HOUR = 3_600
WELL: dict[str, list[tuple[float, int]]] = {
    "a large transfer that takes a day": [(1.0, 65_536)] * 24 * 60,
    "small pieces, many": [(0.01, 200)] * 100_000,
    "a server that thinks long before it answers": [(89.0, 1), *[(0.1, 8_192)] * 100],
    "a drip that ends soon": [(1.0, 1)] * 40,
    "a pause with much after it": [*[(0.1, 8_192)] * 10, (89.0, 100), *[(0.1, 8_192)] * 10],
    "pauses with much between": [(80.0, 8_192), (0.1, 65_536)] * 50,
    "one pause, then little": [(1.0, 300), (80.0, 300), (1.0, 300)],
    "just fast enough": [(1.0, MIN_BYTES_PER_S)] * HOUR,
    "a line of 2,400 bits a second": [(1.0, 300)] * HOUR,
}
DRIPS: dict[str, list[tuple[float, int]]] = {
    "a byte a second": [(1.0, 1)] * HOUR,
    "ten bytes a second": [(0.1, 1)] * 10 * HOUR,
    "a hundred bytes a second": [(1.0, 100)] * HOUR,
    "a byte in a minute": [(60.0, 1)] * HOUR,
    "a byte just before each timeout": [(89.0, 1)] * HOUR,
    "well, then a byte a second": [*[(0.1, 65_536)] * 1_000, *[(1.0, 1)] * HOUR],
    "a heap, then a byte a second": [(0.0, 10_000_000), *[(1.0, 1)] * HOUR],
    "long and short waits in turn": [(20.0, 1), (0.01, 1)] * HOUR,
}


@pytest.mark.parametrize("kind", WELL)
def test_a_healthy_transfer_is_never_given_up(kind: str) -> None:
    """However long it takes."""
    paced(WELL[kind])


@pytest.mark.parametrize("kind", DRIPS)
def test_a_drip_is_given_up(kind: str) -> None:
    """Within a bounded time, whatever came before it."""
    waited: list[float] = []

    def steps() -> Iterable[tuple[float, int]]:
        for seconds, count in DRIPS[kind]:
            waited.append(seconds)
            yield seconds, count

    with pytest.raises(TooSlow):
        paced(steps())
    assert sum(waited) < 300 + 100


def test_a_reader_that_pauses_is_not_to_blame_the_server() -> None:
    """While the target is in trouble, nobody reads the source for minutes."""
    paced([(0.01, 10)] * 1_000, own_pause_s=200.0)


# -- on the wire ------------------------------------------------------------------------------------------------

TIMEOUT_S = 0.3
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"


def dripping(first: bytes) -> Callable[[socket.socket], None]:
    """Send this, then a byte at a time, each of them in time for a timeout."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(first)
        while True:
            time.sleep(0.02)
            connection.sendall(b" ")

    return serve


def ask(url: str, way: str) -> None:
    """One request that is answered too slowly."""
    wire = Transport(Endpoint(url, read_timeout_s=TIMEOUT_S, ca_file=str(TLS / "ca.pem")))
    try:
        if way == "stream":
            for _ in wire.stream(f"{url}/db")[2]:
                pass
        else:
            wire.request(way, f"{url}/db", body=None if way == "GET" else b"{}")
    finally:
        wire.close()


BEGINNINGS = {
    "status": b"HT",
    "header": b"HTTP/1.1 200 OK\r\nX-Slow: ",
    "body": HEAD,
    "later": HEAD + b"x" * 50_000,
    "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\nabc",
    "no length": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{",
    "error": HEAD.replace(b"200 OK", b"500 No"),
    "nothing": b"",
}


@pytest.mark.parametrize("way", ["GET", "POST", "PUT", "stream"])
@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_server_that_drips_ends_as_one_that_is_silent(beginning: str, way: str) -> None:
    """Status line, headers and bodies alike, of whole answers and of streams."""
    with raw_server(dripping(BEGINNINGS[beginning])) as url, pytest.raises(TransientError) as caught:
        ask(url, way)
    # On a busy machine a drip can become a silence.
    assert caught.value.signature in {"read timeout", "reset"}
    assert caught.value.outcome_unknown is (way in {"POST", "PUT"})
    assert caught.value.exit_code == EXIT_UNREACHABLE


@pytest.mark.parametrize("way", ["POST", "stream"])
def test_a_drip_by_tls(way: str) -> None:
    """The same after encryption."""

    def serve(connection: socket.socket) -> None:
        with tls().wrap_socket(connection, server_side=True) as secure:
            dripping(HEAD)(secure)

    with raw_server(serve) as url, pytest.raises(TransientError) as caught:
        ask(url.replace("http:", "https:"), way)
    assert caught.value.signature in {"read timeout", "reset"}


@pytest.mark.parametrize("size", [PIECE_BYTES + 1, 20_000_000])
def test_an_upload_that_nobody_reads_ends_too(size: int) -> None:
    """The server takes a little, and then no more."""
    done = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.recv(1_000)
        done.wait(30)

    with raw_server(serve) as url:
        wire = Transport(Endpoint(url, read_timeout_s=TIMEOUT_S))
        with pytest.raises(TransientError) as caught:
            wire.request("POST", f"{url}/db/_bulk_docs", body=b"x" * size)
        wire.close()
        done.set()
    assert (caught.value.outcome_unknown, caught.value.signature) == (True, "read timeout")


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES, 5_000_001])
@pytest.mark.parametrize("form", ["bytes", "pieces"])
def test_a_body_arrives_as_it_is(size: int, form: str) -> None:
    """Sent in pieces, whatever its length."""
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    got: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        text = b""
        # A client that has gone sends no more, again and again.
        while b"\r\n\r\n" not in text and (piece := connection.recv(65_536)):
            text += piece
        head, _, rest = text.partition(b"\r\n\r\n")
        while len(rest) < size and (piece := connection.recv(1 << 20)):
            rest += piece
        got.extend([head, rest])
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with raw_server(serve) as url:
        wire = Transport(Endpoint(url))
        sent = body if form == "bytes" else iter([body[:1000], body[1000:]])
        headers = {"Content-Length": str(size)}
        assert wire.request("POST", f"{url}/db", body=sent, headers=headers)[2].read() == b"{}"
        wire.close()
    assert got[1] == body


def test_a_client_shares_it() -> None:
    """What all commands use."""
    with raw_server(dripping(HEAD)) as url:
        client = CouchClient(Endpoint(url, read_timeout_s=TIMEOUT_S))
        with pytest.raises(TransientError):
            client.databases()
        client.close()


@pytest.mark.parametrize(("timeout", "outage", "wanted"), [(90, 300, 90), (90, 5, 5), (2, 300, 2), (60, 60, 60)])
def test_no_silence_is_longer_than_an_outage_may_be(timeout: float, outage: float, wanted: float) -> None:
    """`--max-outage` bounds what `--timeout` allows."""
    assert JobConfig(source="a", target="b", timeout_s=timeout, max_outage_s=outage).longest_silence_s == wanted


@pytest.fixture
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where checkpoints go."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("side", ["--from", "--to"])
@pytest.mark.usefixtures("in_a_folder_of_its_own", "no_credentials")
def test_a_command_gives_up_a_server_that_drips(side: str) -> None:
    """Exit code 5, in a bounded time."""
    Path("a.ndjson").write_text('{"_id":"a"}\n', encoding="utf-8")
    other = {"--from": ("--to", "out"), "--to": ("--from", "a.ndjson")}[side]
    with raw_server(dripping(HEAD)) as url:
        started = time.monotonic()
        ran = run("run", "-q", side, f"{url}/db", *other, "--max-outage", "1", "--checkpoint", "c.json")
    assert ran.code == EXIT_UNREACHABLE
    assert time.monotonic() - started < 60
