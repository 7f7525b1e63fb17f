"""Where the server of a URL begins, asked of the server: at the host, or below a path of a web server."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

import pytest

from migrator.couch import locate as module
from migrator.couch.locate import locate, wait_for_server
from migrator.errors import ConfigError, EndpointError, TransientError
from migrator.retry.retrier import FIRST_CONTACT
from tests.support.stub_server import Asked, Reply, StubServer

PAGE = Reply(404, b"<html>nothing</html>", {"Content-Type": "text/html"})
HOME = Reply(200, b"<html>welcome</html>", {"Content-Type": "text/html"})
DATABASES = {"orders", "a/b", "couch", "x y"}
QUIET = {"HOME": "/nonexistent"}
LOGIN = {**QUIET, "COUCHDB_USER": "ada", "COUCHDB_PASSWORD": "pw"}
PAIR = f"Basic {base64.b64encode(b'ada:pw').decode()}"


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stub is as busy after a second as at once."""
    monkeypatch.setattr(module, "FIRST_CONTACT", dataclasses.replace(FIRST_CONTACT, first_wait_s=0.01))


def site(
    prefix: str, *, outside: Reply = PAGE, valid_user: bool = False, basic: bool = False, root: bool = True
) -> Callable[[Asked], Reply]:
    """A web server with a CouchDB below a path.

    Args:
        prefix: the path.
        outside: what it says elsewhere.
        valid_user: CouchDB's require_valid_user.
        basic: the web server itself wants the password.
        root: CouchDB's own root is let through.
    """

    def answer(asked: Asked) -> Reply:
        path = urlsplit(asked.path).path
        if basic and asked.headers.get("Authorization") != PAIR:
            return Reply(401, b"<html>login</html>", {"WWW-Authenticate": "Basic"})
        if not f"{path.rstrip('/')}/".startswith(f"{prefix}/"):
            return outside
        name = unquote(path[len(prefix) :].strip("/"))
        if name == "" and not root:
            return outside
        if valid_user and asked.headers.get("Authorization") != PAIR:
            return Reply(401, {"error": "unauthorized", "reason": "Authentication required."})
        if "/" in path[len(prefix) :].strip("/"):
            return Reply(404, {"error": "not_found", "reason": "missing"})
        if name == "":
            return Reply(200, {"couchdb": "Welcome", "version": "3.5.0"})
        if name == "_up":
            return Reply(200, {"status": "ok"})
        if name in DATABASES:
            return Reply(200, {"db_name": name})
        return Reply(404, {"error": "not_found", "reason": "Database does not exist."})

    return answer


@pytest.mark.parametrize("valid_user", [False, True])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    "trouble",
    [
        Reply(429, {"error": "too_many_requests", "reason": "busy"}),
        Reply(408, {"error": "timeout", "reason": "slow"}),
        Reply(500, {"error": "internal_server_error", "reason": "x"}),
        Reply(503, b"<html>busy</html>", {"Content-Type": "text/html"}),
        Reply(200, b'{"couchdb":"Wel', {"Content-Type": "application/json"}),
    ],
    ids=["429", "408", "500", "503", "torn"],
)
@pytest.mark.parametrize(("prefix", "path"), [("", "/orders"), ("", "/missing"), ("/couch", "/couch/orders")])
def test_a_trouble_says_nothing_of_the_place(
    prefix: str, path: str, trouble: Reply, times: int, valid_user: bool
) -> None:
    """The first answers of a busy server are asked for again, and no database is taken for a server's path."""
    left = times
    usual = site(prefix, valid_user=valid_user)

    def answer(asked: Asked) -> Reply:
        nonlocal left
        left -= 1
        return trouble if left >= 0 else usual(asked)

    with StubServer(answer) as server:
        endpoint, database = locate(f"{server.url}{path}", environ=LOGIN)
    assert (endpoint.url, database) == (f"{server.url}{prefix}", path.rpartition("/")[2])


@pytest.mark.parametrize("options", [{}, {"valid_user": True}, {"basic": True}, {"outside": HOME}], ids=str)
@pytest.mark.parametrize(
    ("prefix", "path", "server", "database"),
    [
        ("", "", "", None),
        ("", "/", "", None),
        ("", "/orders", "", "orders"),
        ("", "/orders/", "", "orders"),
        ("", "/missing", "", "missing"),
        ("", "/a%2Fb", "", "a/b"),
        ("", "/x%20y", "", "x y"),
        ("", "/couch", "", "couch"),
        ("/couch", "/couch", "/couch", None),
        ("/couch", "/couch/", "/couch", None),
        ("/couch", "/couch//", "/couch", None),
        ("/couch", "/couch/orders", "/couch", "orders"),
        ("/couch", "/couch/orders/", "/couch", "orders"),
        ("/couch", "/couch/couch", "/couch", "couch"),
        ("/couch", "/couch/missing", "/couch", "missing"),
        ("/couch", "/couch/a%2Fb", "/couch", "a/b"),
        ("/couch", "/couch/_users", "/couch", "_users"),
        ("/a/b", "/a/b", "/a/b", None),
        ("/a/b", "/a/b/", "/a/b", None),
        ("/a/b", "/a/b/orders", "/a/b", "orders"),
        ("/a/b/c", "/a/b/c", "/a/b/c", None),
        ("/a/b/c", "/a/b/c/orders", "/a/b/c", "orders"),
        ("/my%20db", "/my%20db/orders", "/my%20db", "orders"),
        ("/my%20db", "/my%20db/", "/my%20db", None),
        ("/p%2Fq", "/p%2Fq/orders", "/p%2Fq", "orders"),
        ("/~ada/db", "/~ada/db/orders", "/~ada/db", "orders"),
    ],
)
def test_where_the_server_begins(
    prefix: str, path: str, server: str, database: str | None, options: dict[str, object]
) -> None:
    """Whatever is said at other paths, and with a login of the server's own or of the web server in front."""
    with StubServer(site(prefix, **options)) as stub:  # type: ignore[arg-type]
        endpoint, found = locate(f"{stub.url}{path}", environ=LOGIN)
        assert (endpoint.url, found) == (f"{stub.url}{server}", database)
        assert (endpoint.user, endpoint.password) == ("ada", "pw")
        asked = len(stub.asked)
        assert asked <= 4
        locate(f"{stub.url}{path}", environ=LOGIN)
        # Asked once in a process, where the answer was sure.
        assert len(stub.asked) == asked or options.get("valid_user")


def test_a_url_without_a_path_asks_nobody() -> None:
    """As before."""
    endpoint, database = locate("http://127.0.0.1:1/", environ=QUIET)
    assert (endpoint.url, database) == ("http://127.0.0.1:1", None)


def test_a_database_alone_that_is_let_through() -> None:
    """A web server may show one database and nothing else."""
    with StubServer(site("", root=False)) as stub:
        assert locate(f"{stub.url}/orders", environ=QUIET)[1] == "orders"
    with StubServer(site("/couch", root=False)) as stub:
        endpoint, database = locate(f"{stub.url}/couch/orders", environ=QUIET)
        assert (endpoint.url, database) == (f"{stub.url}/couch", "orders")


@pytest.mark.parametrize("path", ["/orders/doc", "/a/b", "/a/b/c", "/orders/_all_docs", "/_utils/x"])
@pytest.mark.parametrize("outside", [PAGE, HOME])
def test_a_path_that_leads_to_no_server_is_refused(path: str, outside: Reply) -> None:
    """With both that were tried, and how a database's slash is written."""
    with StubServer(site("", outside=outside)) as stub, pytest.raises(ConfigError, match="%2F") as refused:
        locate(f"{stub.url.replace('//', '//ada:s3cret@')}{path}", environ=QUIET)
    assert "no CouchDB at" in refused.value.message
    assert "s3cret" not in str(refused.value)


def test_a_server_that_does_not_answer() -> None:
    """A plain URL is read as before; for a longer path nobody can say what it means."""
    with StubServer(lambda _: None) as stub:
        endpoint, database = locate(f"{stub.url}/orders", environ=QUIET)
        assert (endpoint.url, database) == (stub.url, "orders")
        with pytest.raises(TransientError):
            locate(f"{stub.url}/couch/orders", environ=QUIET)
        stub.answer = site("/couch")
        assert locate(f"{stub.url}/couch/orders", environ=QUIET)[0].url == f"{stub.url}/couch"


@pytest.mark.parametrize("path", ["/couch/", "/a/b", "/a/b/"])
def test_what_can_only_be_a_server_is_one(path: str) -> None:
    """An application may start before its server does; and a database in its place is still told."""
    endpoint, database = locate(f"http://127.0.0.1:1{path}", environ=QUIET, server_only=True)
    assert (endpoint.url, database) == (f"http://127.0.0.1:1{path.rstrip('/')}", None)
    with StubServer(site("")) as stub:
        assert locate(f"{stub.url}/orders", environ=QUIET, server_only=True)[1] == "orders"


def test_trouble_that_passes_is_waited_for() -> None:
    """A gateway's 502 is not an answer."""
    with StubServer(site("/couch")) as stub:
        calls: list[str] = []

        def answer(asked: Asked) -> Reply:
            calls.append(asked.path)
            return Reply(502, b"") if len(calls) < 2 else site("/couch")(asked)

        stub.answer = answer
        assert locate(f"{stub.url}/couch/orders", environ=QUIET)[1] == "orders"


def test_a_wrong_password_is_sent_once_at_most() -> None:
    """CouchDB locks an account after five."""
    with StubServer(site("/couch", valid_user=True)) as stub:
        endpoint, database = locate(
            f"{stub.url}/couch/orders", environ={**LOGIN, "COUCHDB_PASSWORD": "wrong"}, role="target"
        )
        assert (endpoint.url, database) == (f"{stub.url}/couch", "orders")
        assert sum("Authorization" in asked.headers for asked in stub.asked) <= 2


@pytest.mark.parametrize("name", ["Hunt22", "hunt22.x", "x%20y", "1a", "a%3Ab", "%C3%A9", "_dbs"])
@pytest.mark.parametrize("prefix", ["", "/couch"])
def test_an_illegal_name_of_a_target_is_refused(name: str, prefix: str) -> None:
    """A source may be what it is."""
    with StubServer(site(prefix)) as stub:
        with pytest.raises(ConfigError, match="not a legal name"):
            locate(f"{stub.url}{prefix}/{name}", environ=QUIET, role="target")
        assert locate(f"{stub.url}{prefix}/{name}", environ=QUIET, role="source")[1] == unquote(name)


@pytest.mark.parametrize("path", ["", "/", "/couch", "/couch/", "/couch/orders"])
def test_waiting_for_a_server_below_a_path(path: str) -> None:
    """Whichever of the two answers; a page of the web server in front does not count."""
    prefix = "/couch" if "couch" in path else ""
    with StubServer(site(prefix, outside=HOME)) as stub:
        assert wait_for_server(f"{stub.url}{path}", 5.0) == f"{stub.url}{prefix}"
        stub.answer = lambda _: HOME
        if prefix:
            with pytest.raises(EndpointError, match="was not ready"):
                wait_for_server(f"{stub.url}{path}", 0.3)
