"""The proxy that a server is reached through, by the environment's variables."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from migrator.couch.client import CouchClient
from migrator.couch.endpoint import parse_endpoint, proxy_of
from migrator.errors import ConfigError, EndpointError, TransientError
from tests.support.processes import joined, started
from tests.support.stub_server import Asked, Reply, StubServer

P = "http://proxy:3128"


@pytest.mark.parametrize(
    ("scheme", "environ", "expected"),
    [
        ("http", {}, None),
        ("http", {"http_proxy": P}, P),
        ("http", {"HTTP_PROXY": P}, P),
        ("https", {"http_proxy": P}, None),
        ("https", {"https_proxy": P}, P),
        ("https", {"HTTPS_PROXY": P}, P),
        ("http", {"https_proxy": P}, None),
        ("http", {"http_proxy": "", "HTTP_PROXY": P}, None),
        ("http", {"http_proxy": "http://low:1", "HTTP_PROXY": P}, "http://low:1"),
        ("http", {"http_proxy": "proxy:3128"}, P),
        ("http", {"http_proxy": "https://proxy:3128"}, "https://proxy:3128"),
        ("http", {"http_proxy": " http://proxy:3128 "}, P),
        ("http", {"HTTP_PROXY": P, "REQUEST_METHOD": "GET"}, None),
        ("http", {"http_proxy": P, "REQUEST_METHOD": "GET"}, P),
        ("http", {"http_proxy": P, "no_proxy": ""}, P),
        ("http", {"http_proxy": "", "no_proxy": "*"}, None),
        ("http", {"all_proxy": P}, None),
    ],
)
def test_which_variable_counts(scheme: str, environ: dict[str, str], expected: str | None) -> None:
    """Lower case first; an empty one stands for none."""
    assert proxy_of(scheme, "db.example.com", None, environ) == expected


@pytest.mark.parametrize(
    ("host", "port", "no_proxy", "through"),
    [
        ("db.example.com", None, "*", False),
        ("db.example.com", None, "db.example.com", False),
        ("db.example.com", None, "example.com", False),
        ("db.example.com", None, ".example.com", False),
        ("db.example.com", None, "*.example.com", False),
        ("DB.Example.com", None, "db.EXAMPLE.com", False),
        ("db.example.com", None, "other.org, example.com", False),
        ("db.example.com", None, "other.org example.com", False),
        ("db.example.com", None, "ample.com", True),
        ("db.example.com", None, "db.example.co", True),
        ("db.example.com", None, "example.com:80", False),
        ("db.example.com", 5984, "example.com:5984", False),
        ("db.example.com", 5984, "example.com:80", True),
        ("db.example.com", None, ".", True),
        ("db.example.com", None, ",,", True),
        ("192.0.2.7", None, "192.0.2.7", False),
        ("192.0.2.7", None, "192.0.2.0/24", False),
        ("192.0.2.7", None, "192.0.3.0/24", True),
        ("192.0.2.7", 5984, "192.0.2.7:5984", False),
        ("192.0.2.7", None, "0.2.7", True),
        ("2001:db8::7", None, "2001:db8::7", False),
        ("2001:db8::7", None, "[2001:db8::7]", False),
        ("2001:db8::7", None, "2001:db8::/32", False),
        ("2001:db8::7", 5984, "[2001:db8::7]:5984", False),
        ("2001:db8::7", None, "2001:db9::/32", True),
        ("localhost", None, "", False),
        ("a.localhost", None, "", False),
        ("127.0.0.1", 5984, "", False),
        ("127.9.9.9", None, "", False),
        ("::1", None, "", False),
    ],
)
def test_which_hosts_are_reached_straight(host: str, port: int | None, no_proxy: str, through: bool) -> None:
    """Names and those below them, addresses, networks, ports; and this machine always."""
    for name in ("no_proxy", "NO_PROXY"):
        assert bool(proxy_of("http", host, port, {"http_proxy": P, name: no_proxy})) is through


@pytest.mark.parametrize(
    "proxy", ["socks5://ada:s3cret@proxy:1080", "ftp://ada:s3cret@p", "http://", "http://ada:s3cret@proxy:port"]
)
def test_a_proxy_that_cannot_be_used_is_refused(proxy: str) -> None:
    """Without its credentials in the message."""
    with pytest.raises(ConfigError, match="not an HTTP proxy") as refused:
        proxy_of("http", "db", None, {"http_proxy": proxy})
    assert "s3cret" not in str(refused.value)


@pytest.fixture
def proxy() -> Iterator[StubServer]:
    """A proxy that answers itself."""

    def answer(asked: Asked) -> Reply:
        if asked.headers.get("Proxy-Authorization", "") not in ("", basic("ada:s3:cret")):
            return Reply(407, {"error": "no"})
        return Reply(200, {"couchdb": "Welcome"})

    with StubServer(answer) as server:
        yield server


def basic(pair: str) -> str:
    """The header's value."""
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


@pytest.mark.parametrize("path", ["", "/couch", "/a/b"])
@pytest.mark.parametrize("user", ["", "ada:s3%3Acret@"])
def test_requests_go_to_the_proxy(proxy: StubServer, user: str, path: str) -> None:
    """With the whole address, and the credentials of each for each alone."""
    environ = {"http_proxy": proxy.url.replace("//", f"//{user}"), "HOME": "/nonexistent"}
    endpoint, _ = parse_endpoint("http://bob:pw@db.example.com:5984", environ=environ)
    endpoint = replace(endpoint, url=endpoint.url + path)
    with closing(CouchClient(endpoint)) as client:
        client.welcome()
        list(client.stream("x", "orders", "_all_docs", params={"limit": "1"}))
    assert [asked.path for asked in proxy.asked] == [
        f"http://db.example.com:5984{path}/",
        f"http://db.example.com:5984{path}/orders/_all_docs?limit=1",
    ]
    for asked in proxy.asked:
        assert asked.headers["Authorization"] == basic("bob:pw")
        assert asked.headers.get("Proxy-Authorization") == (basic("ada:s3:cret") if user else None)
    assert "s3" not in repr(endpoint)


def test_a_proxy_that_refuses_its_credentials_is_named(proxy: StubServer) -> None:
    """It is not taken for the server's answer."""
    environ = {"http_proxy": proxy.url.replace("//", "//eve:s3cret@"), "HOME": "/nonexistent"}
    endpoint, _ = parse_endpoint("http://db.example.com", environ=environ)
    with closing(CouchClient(endpoint)) as client:
        with pytest.raises(EndpointError, match="the proxy http://127") as refused:
            client.database_info("orders")
        with pytest.raises(EndpointError, match="wants credentials"):
            list(client.stream("x", "orders", "_all_docs"))
    assert "s3cret" not in str(refused.value)
    assert not isinstance(refused.value, TransientError)


def test_a_proxy_that_is_not_there_is_named() -> None:
    """Without its credentials, and with the way round it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        environ = {"http_proxy": f"http://ada:s3cret@127.0.0.1:{held.getsockname()[1]}"}
        endpoint, _ = parse_endpoint("http://db.example.com", environ={**environ, "HOME": "/nonexistent"})
        with closing(CouchClient(endpoint)) as client, pytest.raises(TransientError) as failed:
            client.welcome()
    assert "the proxy http://127.0.0.1" in failed.value.message
    assert "refused" in failed.value.message
    assert "no_proxy" in failed.value.hint
    assert "s3cret" not in str(failed.value)


@pytest.mark.parametrize(
    ("status", "kind"), [("407 Proxy Authentication Required", EndpointError), ("503 Busy", TransientError)]
)
def test_a_tunnel_that_is_refused_is_named(status: str, kind: type[Exception]) -> None:
    """Credentials are never asked for twice; everything else may pass later."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())

        thread = started(serve)
        environ = {"https_proxy": f"http://127.0.0.1:{listening.getsockname()[1]}", "HOME": "/nonexistent"}
        endpoint, _ = parse_endpoint("https://db.example.com", environ=environ)
        with closing(CouchClient(endpoint)) as client, pytest.raises(kind) as failed:
            client.welcome()
        joined(thread)
    assert "the proxy" in str(failed.value)
    assert isinstance(failed.value, TransientError) == (kind is TransientError)
