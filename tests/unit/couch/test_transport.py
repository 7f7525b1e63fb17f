"""The wire: one request is sent once, failures have names, TLS is verified, credentials stay with one host."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import struct
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from migrator.config import Connection
from migrator.couch.client import CouchClient
from migrator.couch.endpoint import Endpoint, parse_endpoint
from migrator.couch.transport import Transport
from migrator.errors import ConfigError, EndpointError, TransientError
from tests.support.stub_server import Asked, Reply, StubServer

TLS = Path(__file__).parents[2] / "data" / "tls"
PASSWORD = "s3cr3t-p@ss/word"


def endpoint(url: str, **options: float | str) -> Endpoint:
    """With credentials and short timeouts."""
    return Endpoint(url, "ada", PASSWORD, **{"connect_timeout_s": 2.0, "read_timeout_s": 2.0, **options})  # type: ignore[arg-type]


@contextlib.contextmanager
def transport(url: str, **options: float | str) -> Iterator[Transport]:
    """Closed at the end."""
    wire = Transport(endpoint(url, **options))
    try:
        yield wire
    finally:
        wire.close()


@contextlib.contextmanager
def raw_server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A listener that hands each connection to a function and closes it afterwards; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        serve(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def no_password_in(error: BaseException) -> bool:
    """True when neither the error, nor what it came from, nor its traceback shows the password."""
    secrets = [PASSWORD, base64.b64encode(f"ada:{PASSWORD}".encode()).decode()]
    texts = ["".join(traceback.format_exception(error))]
    link: BaseException | None = error
    while link is not None:
        texts += [str(link), repr(link), repr(link.args), repr(vars(link))]
        link = link.__cause__ or link.__context__
    return not any(secret in text for secret in secrets for text in texts)


# -- requests ---------------------------------------------------------------------------------------------------


def test_sends_credentials_with_the_first_request() -> None:
    """No challenge is waited for, as each one would count as a failed login."""
    with StubServer(lambda _: Reply(200, b"{}")) as server, transport(server.url) as wire:
        wire.request("GET", f"{server.url}/db")
        (asked,) = server.asked
    assert base64.b64decode(asked.headers["Authorization"].removeprefix("Basic ")).decode() == f"ada:{PASSWORD}"
    assert asked.headers["Accept"] == "application/json"
    assert asked.headers["User-Agent"].startswith("migrator/")


def test_sends_none_where_there_are_none() -> None:
    """A server that wants no login gets no header for one."""
    with StubServer(lambda _: Reply(200, b"{}")) as server:
        wire = Transport(Endpoint(server.url))
        wire.request("GET", f"{server.url}/")
        wire.close()
        assert "Authorization" not in server.asked[0].headers


def test_a_password_that_is_no_text_is_sent_as_its_bytes() -> None:
    """The environment may hold bytes that are not UTF-8; they are the password all the same."""
    with StubServer(lambda _: Reply(200, b"{}")) as server:
        wire = Transport(Endpoint(server.url, "ada", b"p\xff".decode(errors="surrogateescape")))
        wire.request("GET", f"{server.url}/")
        wire.close()
        assert base64.b64decode(server.asked[0].headers["Authorization"].removeprefix("Basic ")) == b"ada:p\xff"


def test_keeps_its_connection() -> None:
    """Requests one after another use one connection, whole streams included."""
    with StubServer(lambda _: Reply(200, chunks=(b"[1,", b"2]"))) as server, transport(server.url) as wire:
        for _ in range(3):
            wire.request("GET", f"{server.url}/")
            list(wire.stream(f"{server.url}/")[2])
        assert len({asked.port for asked in server.asked}) == 1


def test_gives_every_status_as_it_is() -> None:
    """What a status means is decided elsewhere."""
    with (
        StubServer(lambda _: Reply(500, {"error": "x"}, {"Retry-After": "3"})) as server,
        transport(server.url) as wire,
    ):
        status, headers, body = wire.request("GET", f"{server.url}/")
    assert (status, headers["retry-after"], body.read()) == (500, "3", b'{"error": "x"}')


def test_gives_a_body_sent_byte_by_byte() -> None:
    """A slow answer is an answer, as long as the next byte comes in time."""
    chunks = tuple(bytes([byte]) for byte in b'{"ok":true}')
    with StubServer(lambda _: Reply(200, chunks=chunks)) as server, transport(server.url) as wire:
        assert wire.request("GET", f"{server.url}/")[2].read() == b'{"ok":true}'
        assert b"".join(wire.stream(f"{server.url}/")[2]) == b'{"ok":true}'


def test_streams_without_waiting_for_the_end() -> None:
    """The first piece is there while the last is not yet sent."""
    received = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        assert received.wait(10)
        connection.sendall(b"4\r\nlast\r\n0\r\n\r\n")

    with raw_server(serve) as url, transport(url) as wire:
        pieces = wire.stream(f"{url}/")[2]
        assert next(pieces) == b"first"
        received.set()
        assert b"".join(pieces) == b"last"


def test_a_stream_given_up_spoils_no_later_request() -> None:
    """A connection with half an answer on its way serves nobody any more."""
    pages = iter([Reply(200, b"x" * 1_000_000), Reply(200, b"the next")])
    with StubServer(lambda _: next(pages)) as server, transport(server.url) as wire:
        pieces = wire.stream(f"{server.url}/")[2]
        next(pieces)
        pieces.close()
        assert wire.request("GET", f"{server.url}/")[2].read() == b"the next"
        assert len({asked.port for asked in server.asked}) == 2


# -- failures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "unknown"), [("GET", False), ("POST", True), ("PUT", True)])
def test_a_break_before_the_answer(method: str, unknown: bool) -> None:
    """The request went out once, and only a reading is known to have changed nothing."""
    with StubServer(lambda _: None) as server, transport(server.url) as wire:
        with pytest.raises(TransientError, match="connection broke") as caught:
            wire.request(method, f"{server.url}/db/_bulk_docs", body=b"{}")
        assert len(server.asked) == 1
    assert (caught.value.outcome_unknown, caught.value.signature) == (unknown, "reset")
    assert server.url in str(caught.value)
    assert no_password_in(caught.value)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(201, b"[1,2,3,4]", cut=4),
        Reply(201, b"[1,2,3,4]", cut=0),
        Reply(201, chunks=(b"[1,2",), end=False),
    ],
)
def test_a_break_inside_the_answer(reply: Reply) -> None:
    """Half an answer is none, whether its length was told or it came in chunks."""
    with StubServer(lambda _: reply) as server, transport(server.url) as wire:
        with pytest.raises(TransientError, match="connection broke") as caught:
            wire.request("POST", f"{server.url}/", body=b"{}")
        assert caught.value.outcome_unknown
        with pytest.raises(TransientError, match="connection broke") as caught:
            list(wire.stream(f"{server.url}/")[2])
        assert not caught.value.outcome_unknown
    assert no_password_in(caught.value)


def test_a_reset_while_the_body_is_sent() -> None:
    """A server that closes in the middle of a large body is a break like any other."""

    def serve(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with raw_server(serve) as url, transport(url) as wire, pytest.raises(TransientError) as caught:
        wire.request("POST", f"{url}/db/_bulk_docs", body=b"x" * 20_000_000)
    assert (caught.value.outcome_unknown, caught.value.signature) == (True, "reset")
    assert no_password_in(caught.value)


def test_a_half_open_connection_ends_with_the_timeout() -> None:
    """A peer that takes the request and says nothing is not waited for without end."""
    done = threading.Event()

    def hold(_: socket.socket) -> None:
        done.wait(30)

    with raw_server(hold) as url, transport(url, read_timeout_s=0.2) as wire:
        started = time.monotonic()
        with pytest.raises(TransientError, match=r"no answer within 0\.2 s") as caught:
            wire.request("POST", f"{url}/", body=b"{}")
        assert time.monotonic() - started < 10
        done.set()
    assert (caught.value.outcome_unknown, caught.value.overload) == (True, True)
    assert caught.value.signature == "read timeout"
    assert "--timeout" in caught.value.hint
    assert no_password_in(caught.value)


def test_a_question_has_a_shorter_timeout_of_its_own() -> None:
    """It ends soon, in the same pool whose other questions go on waiting; it is never a longer one."""
    done = threading.Event()

    def answer(asked: Asked) -> Reply:
        done.wait(30 if asked.path == "/hangs" else 0.6)
        return Reply(200, {})

    with StubServer(answer) as server:
        with transport(server.url, read_timeout_s=20) as wire:
            with pytest.raises(TransientError, match=r"no answer within 0\.2 s"):
                wire.within(0.2).request("GET", f"{server.url}/hangs")
            assert wire.request("GET", f"{server.url}/slow")[0] == 200
            assert wire.within(None).request("GET", f"{server.url}/slow")[0] == 200
        with transport(server.url, read_timeout_s=0.2) as wire:
            with pytest.raises(TransientError, match=r"no answer within 0\.2 s"):
                wire.within(60).request("GET", f"{server.url}/hangs")
            done.set()


def test_an_answer_that_stops_in_the_middle_ends_with_the_timeout() -> None:
    """The clock starts over with each byte, and ends a stream as well."""
    done = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[1,")
        done.wait(30)

    with raw_server(serve) as url, transport(url, read_timeout_s=0.2) as wire:
        pieces = wire.stream(f"{url}/")[2]
        assert next(pieces) == b"[1,"
        with pytest.raises(TransientError, match="no answer within"):
            next(pieces)
        done.set()


def test_nobody_listens() -> None:
    """A port without a server: nothing was done, and the hint says how to wait for it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with transport(url) as wire, pytest.raises(TransientError, match="Connection refused") as caught:
        wire.request("POST", f"{url}/", body=b"{}")
    assert not caught.value.outcome_unknown
    assert f"migrator wait {url}" in caught.value.hint
    assert no_password_in(caught.value)


def test_an_unknown_host() -> None:
    """A name that nobody knows is told as such."""
    url = "http://nowhere.invalid:5984"
    with transport(url) as wire, pytest.raises(TransientError, match="name is not known") as caught:
        wire.request("GET", f"{url}/")
    assert not caught.value.outcome_unknown
    assert no_password_in(caught.value)


def test_what_speaks_no_http() -> None:
    """Another service at the port is a break, not a crash."""
    with (
        raw_server(lambda c: c.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")) as url,
        transport(url) as wire,
        pytest.raises(TransientError),
    ):
        wire.request("GET", f"{url}/")


# -- redirects --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_takes_no_credentials_elsewhere(status: int) -> None:
    """The other host is not asked at all, and the error names it without credentials of its own."""
    with StubServer(lambda _: Reply(200, b"{}")) as other:
        location = other.url.replace("http://", "http://bob:hidden@") + "/db"
        with StubServer(lambda _: Reply(status, b"", {"Location": location})) as server:
            client = CouchClient(endpoint(server.url))
            for ask in (
                client.welcome,
                lambda: client.database_info("db"),
                lambda: client.bulk_docs("db", [b"{}"]),
                lambda: list(client.listing("db").rows()),
            ):
                with pytest.raises(EndpointError, match="points to") as caught:
                    ask()
                assert f"{other.url}/db" in str(caught.value)
                assert "hidden" not in str(caught.value)
                assert not isinstance(caught.value, TransientError)
            client.close()
        assert other.asked == []


# -- TLS --------------------------------------------------------------------------------------------------------


def tls(name: str = "server", *, client_ca: bool = False) -> ssl.SSLContext:
    """A server's side."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / f"{name}.pem", TLS / f"{name}.key")
    if client_ca:
        context.load_verify_locations(TLS / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def ask_by_tls(server: StubServer, **files: str) -> int:
    """One request as a command with these files would send it."""
    paths: dict[str, Any] = {name: str(TLS / file) for name, file in files.items()}
    flags = Connection(**paths)
    target, _ = parse_endpoint(
        server.url.replace("//", "//ada:pw@"), environ={"HOME": "/nonexistent"}, config=flags
    )
    client = CouchClient(target)
    try:
        return client.call("GET").status
    finally:
        client.close()


def test_a_certificate_of_nobody_known_is_refused() -> None:
    """Without the authority's file nothing is sent, and the hint names the flag; trying again is of no use."""
    with StubServer(lambda _: Reply(200, b"{}"), tls()) as server:
        with pytest.raises(EndpointError, match="not trusted") as caught:
            ask_by_tls(server)
        assert server.asked == []
    assert "--ca-file" in caught.value.hint
    assert not isinstance(caught.value, TransientError)


def test_a_named_authority_is_trusted() -> None:
    """With the authority's file, or its variable, the request goes through."""
    with StubServer(lambda _: Reply(200, b"{}"), tls()) as server:
        assert ask_by_tls(server, ca_file="ca.pem") == 200
        environ = {"HOME": "/nonexistent", "COUCHDB_CA_FILE": str(TLS / "ca.pem")}
        client = CouchClient(parse_endpoint(server.url, environ=environ)[0])
        assert client.call("GET").status == 200
        client.close()


def test_a_certificate_of_another_host_is_refused() -> None:
    """A trusted authority is not enough: the name must be the host's."""
    with StubServer(lambda _: Reply(200, b"{}"), tls("elsewhere")) as server:
        with pytest.raises(EndpointError, match=r"not trusted.*127"):
            ask_by_tls(server, ca_file="ca.pem")
        assert server.asked == []


def test_a_client_certificate_opens_the_door() -> None:
    """A server that wants one gets it; without it there is an error and no answer."""
    with StubServer(lambda _: Reply(200, b"{}"), tls(client_ca=True)) as server:
        files = {"ca_file": "ca.pem", "client_cert": "client.pem", "client_key": "client.key"}
        assert ask_by_tls(server, **files) == 200
        with pytest.raises(EndpointError):
            ask_by_tls(server, ca_file="ca.pem")
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    "files",
    [
        {"ca_file": "client.key"},
        {"client_cert": "client.pem", "client_key": "server.key"},
        {"client_cert": "client.key", "client_key": "client.pem"},
        {"client_cert": "client.pem"},
    ],
)
def test_unusable_certificate_files(files: dict[str, str]) -> None:
    """Files that are not certificates, or do not belong together, are a mistake in usage."""
    paths: dict[str, Any] = {name: str(TLS / file) for name, file in files.items()}
    flags = Connection(**paths)
    target, _ = parse_endpoint("https://localhost:1", environ={"HOME": "/nonexistent"}, config=flags)
    with pytest.raises(ConfigError, match="cannot be used"):
        Transport(target)


def test_plain_http_at_a_tls_port() -> None:
    """A server that speaks no TLS is a failure with the address in it."""
    with StubServer(lambda _: Reply(200, b"{}")) as server:
        url = server.url.replace("http:", "https:")
        with transport(url) as wire, pytest.raises(EndpointError, match="TLS failed") as caught:
            wire.request("GET", f"{url}/")
    assert no_password_in(caught.value)


def test_no_text_shows_the_password() -> None:
    """Neither the client, nor its transport, nor their endpoint tell it."""

    def answer(asked: Asked) -> Reply:
        return Reply(401, {"error": "unauthorized", "reason": "Name or password is incorrect."})

    with StubServer(answer) as server:
        client = CouchClient(endpoint(server.url))
        with pytest.raises(EndpointError) as caught:
            client.welcome()
        assert no_password_in(caught.value)
        assert PASSWORD not in repr(client) + str(client) + repr(client.endpoint) + client.url
        client.close()
