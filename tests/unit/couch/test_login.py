"""Who asks is said by a session or a token that is renewed in time, for all threads at once, and shown nowhere."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from migrator.config import Connection
from migrator.couch.endpoint import Endpoint, parse_endpoint
from migrator.couch.login import AGAIN_S, SHARE, Login, Ticket, login_of
from migrator.couch.replicator import side
from migrator.couch.transport import Transport
from migrator.errors import ConfigError, EndpointError, MigratorError, TransientError, Unauthorized
from tests.support.cloudant import KEY, Gate, Sessions, TokenService, bearer
from tests.support.stub_server import Asked, Reply, StubServer
from tests.unit.couch.test_transport import PASSWORD

NO_NETRC = {"NETRC": "/dev/null"}


@contextlib.contextmanager
def opened(url: str, environ: dict[str, str], config: Connection | None = None) -> Iterator[Transport]:
    """A transport for what the environment says."""
    wire = Transport(parse_endpoint(url, environ={**NO_NETRC, **environ}, config=config)[0])
    with contextlib.closing(wire):
        yield wire


def ask(wire: Transport, url: str, **more: Any) -> int:
    """The status of a request."""
    return wire.request("GET" if not more else "POST", f"{url}/db", **more)[0]


# -- where they come from ----------------------------------------------------------------------------------------


def test_a_key_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    """For both sides or for one; as passwords do, without the line's end, and never from the URL."""
    (tmp_path / "key").write_text("from-file\n")
    environ = {
        **NO_NETRC,
        "COUCHDB_IAM_API_KEY": "for-all",
        "COUCHDB_TARGET_IAM_API_KEY_FILE": str(tmp_path / "key"),
        "COUCHDB_IAM_URL": "https://iam.test/token",
    }
    source = parse_endpoint("https://h.test/db", environ=environ, role="source")[0]
    target = parse_endpoint("https://h.test/db", environ=environ, role="target")[0]
    assert (source.auth, source.password, source.iam_url) == ("iam", "for-all", "https://iam.test/token")
    assert (target.auth, target.password) == ("iam", "from-file")
    assert "for-all" not in repr(source)
    in_url = parse_endpoint("https://ada:pw@h.test/db", environ=environ)[0]
    assert (in_url.auth, in_url.user, in_url.password) == ("basic", "ada", "pw")


def test_one_side_may_have_a_key_and_the_other_a_password() -> None:
    """What counts for one side goes before what counts for both."""
    environ = {**NO_NETRC, "COUCHDB_USER": "ada", "COUCHDB_PASSWORD": "pw", "COUCHDB_TARGET_IAM_API_KEY": "k"}
    assert parse_endpoint("http://h:5984", environ=environ, role="source")[0].auth == "basic"
    assert parse_endpoint("http://h:5984", environ=environ, role="target")[0].auth == "iam"


@pytest.mark.parametrize(
    ("environ", "match"),
    [
        ({"COUCHDB_USER": "ada", "COUCHDB_IAM_API_KEY": KEY}, "COUCHDB_USER and COUCHDB_IAM_API_KEY"),
        ({"COUCHDB_IAM_API_KEY_FILE": "/no/such/file"}, "/no/such/file"),
        ({"COUCHDB_AUTH": "digest"}, "'digest'"),
    ],
)
def test_what_cannot_be_is_said(environ: dict[str, str], match: str) -> None:
    """Before anything is asked, and without the key."""
    with pytest.raises(ConfigError, match=match) as caught:
        parse_endpoint("http://h:5984", environ={**NO_NETRC, **environ})
    assert KEY not in str(caught.value)


def test_how_a_password_is_sent_is_an_option() -> None:
    """The option goes before the variable; without either it is sent with each request."""
    environ = {**NO_NETRC, "COUCHDB_AUTH": "cookie"}
    assert parse_endpoint("http://a:b@h", environ=NO_NETRC)[0].auth == "basic"
    assert parse_endpoint("http://a:b@h", environ=environ)[0].auth == "cookie"
    assert parse_endpoint("http://a:b@h", environ=environ, config=Connection(auth="basic"))[0].auth == "basic"
    with pytest.raises(ConfigError, match="basic, cookie"):
        Connection(auth="digest")
    assert login_of(parse_endpoint("http://h", environ=environ)[0]) is None


def test_a_replication_gets_the_key_as_cloudant_wants_it() -> None:
    """And a name and password however they are sent here."""
    key = Endpoint("https://h", "iamapikey", KEY, auth="iam")
    assert side(key, "db") == {"url": "https://h/db", "auth": {"iam": {"api_key": KEY}}}
    basic = {"basic": {"username": "ada", "password": "pw"}}
    assert side(Endpoint("https://h", "ada", "pw", auth="cookie"), "db")["auth"] == basic


def key_of(service: TokenService) -> dict[str, str]:
    """The environment of who has its key."""
    return {"COUCHDB_IAM_API_KEY": KEY, "COUCHDB_IAM_URL": service.url}


def transport_of(gate: Gate, service: TokenService) -> Transport:
    """To be closed."""
    return Transport(parse_endpoint(gate.url, environ={**NO_NETRC, **key_of(service)})[0])


# -- tokens ------------------------------------------------------------------------------------------------------


def test_tokens_are_renewed_when_they_are_refused() -> None:
    """Each is good for five requests: of 23 none is lost, and streams and bodies are sent again as they were."""
    with TokenService() as service, Gate(bearer(service), good=5) as gate:
        with opened(gate.url, key_of(service)) as wire:
            for number in range(23):
                if number % 3:
                    assert ask(wire, gate.url, body=b"%d" % number) == 200
                else:
                    status, _, pieces = wire.stream(f"{gate.url}/db")
                    assert (status, b"".join(pieces)) == (200, b"{}")
        assert len(service.given) == 5
        assert gate.refused == 4
        sent = [asked.body for asked in gate.asked if asked.body]
        assert set(sent) == {b"%d" % number for number in range(23) if number % 3}


def test_tokens_are_renewed_before_they_run_out() -> None:
    """At four fifths of their time; nobody waits for the end."""
    now = [0.0]
    tickets = iter(range(10))
    login = Login(lambda at: Ticket({"n": str(next(tickets))}, at + SHARE * 3600, at + 3600), lambda: now[0])
    seen = []
    for now[0] in (0.0, 2879.0, 2880.0, 5000.0, 5760.0):
        seen.append(login.ticket().headers["n"])
    assert seen == ["0", "0", "1", "1", "2"]


def test_a_token_serves_while_no_other_can_be_got() -> None:
    """The service is out of reach for a while: what is still good is used, and it is asked now and then."""
    now, asked = [0.0], []

    def get(at: float) -> Ticket:
        asked.append(at)
        if 0 < at < 95:
            raise TransientError("out of reach")
        return Ticket({"n": str(at)}, at + 80, at + 100)

    login = Login(get, lambda: now[0])
    login.ticket()
    for now[0] in (80.0, 81.0, 80.0 + AGAIN_S):
        assert login.ticket().headers["n"] == "0.0"
    assert asked == [0.0, 80.0, 80.0 + AGAIN_S]
    now[0] = 94.0 + AGAIN_S
    assert login.ticket().headers["n"] == str(94.0 + AGAIN_S)


def test_many_threads_ask_for_one_token() -> None:
    """Eight at once, and eight that are refused at once: two tokens."""
    together = threading.Barrier(8)
    with (
        TokenService() as service,
        Gate(bearer(service), good=8) as gate,
        opened(gate.url, key_of(service)) as wire,
    ):

        def work(_: int) -> int:
            together.wait(20)
            return ask(wire, gate.url)

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(work, range(8))) == {200}
            assert len(service.given) == 1
            assert set(pool.map(work, range(8))) == {200}
        assert len(service.given) == 2


def test_who_may_not_do_something_gets_that_answer() -> None:
    """It is asked once more, with another token, and not for ever."""

    def refuse(asked: Asked) -> Reply | None:
        return Reply(401, {"error": "unauthorized"}) if asked.method == "POST" else None

    with TokenService() as service, Gate(bearer(service), answer=refuse) as gate:
        wire = transport_of(gate, service)
        assert [ask(wire, gate.url), ask(wire, gate.url, body=b"{}"), ask(wire, gate.url)] == [200, 401, 200]
        assert len(service.given) == 2
        wire.close()


def test_a_refused_key_is_no_outage() -> None:
    """Once asked, with what the service says, and never tried again."""
    with (
        TokenService("another") as service,
        Gate(bearer(service)) as gate,
        opened(gate.url, key_of(service)) as wire,
    ):
        with pytest.raises(Unauthorized, match="API key could not be found") as caught:
            ask(wire, gate.url)
        with pytest.raises(Unauthorized):
            ask(wire, gate.url)
        assert len(service.asked) == 1
        assert gate.asked == []
    assert caught.value.exit_code == 5
    assert "COUCHDB_IAM_API_KEY" in caught.value.hint
    assert_no_key(caught.value)


@pytest.mark.parametrize("trouble", [Reply(503), Reply(429, headers={"Retry-After": "0.01"}), None])
def test_a_service_out_of_reach_is_an_outage(trouble: Reply | None) -> None:
    """It passes, and nothing was done at the server meanwhile, whatever the request was."""
    with TokenService(troubles=(trouble,)) as service, Gate(bearer(service)) as gate:
        wire = transport_of(gate, service)
        with pytest.raises(TransientError) as caught:
            ask(wire, gate.url, body=b"{}")
        assert (caught.value.outcome_unknown, caught.value.overload) == (False, False)
        assert service.url.removesuffix("/identity/token") in str(caught.value)
        assert_no_key(caught.value)
        assert ask(wire, gate.url, body=b"{}") == 200
        wire.close()


@pytest.mark.parametrize("reply", [Reply(200, {}), Reply(200, b"<html>"), Reply(404, b"")])
def test_another_service_is_not_taken_for_it(reply: Reply) -> None:
    """An address that gives no tokens is said to be one."""
    with StubServer(lambda _: reply) as other:
        environ = {"COUCHDB_IAM_API_KEY": KEY, "COUCHDB_IAM_URL": f"{other.url}/nothing"}
        with opened("http://127.0.0.1:1", environ) as wire, pytest.raises(EndpointError, match="gives no token"):
            ask(wire, "http://127.0.0.1:1")


def test_an_address_that_is_none_is_refused() -> None:
    """As what was typed is."""
    environ = {"COUCHDB_IAM_API_KEY": KEY, "COUCHDB_IAM_URL": "iam.cloud.ibm.com"}
    with opened("http://127.0.0.1:1", environ) as wire, pytest.raises(ConfigError, match="COUCHDB_IAM_URL"):
        ask(wire, "http://127.0.0.1:1")


def assert_no_key(error: MigratorError) -> None:
    """The key is nowhere in an error."""
    assert KEY not in f"{error} {error!r} {vars(error)}"


# -- sessions ----------------------------------------------------------------------------------------------------


def sessions(max_age: str = "; Max-Age=600") -> Sessions:
    """Those of one account."""
    return Sessions("ada", PASSWORD, max_age)


ACCOUNT = {"COUCHDB_USER": "ada", "COUCHDB_PASSWORD": PASSWORD, "COUCHDB_AUTH": "cookie"}


@pytest.mark.parametrize("max_age", ["; Max-Age=600", ""])
def test_a_session_is_opened_once_and_again_when_it_has_ended(max_age: str) -> None:
    """The password goes to `_session` alone."""
    known = sessions(max_age)
    with Gate(known.newest, good=5, answer=known.answer) as gate:
        with opened(gate.url, ACCOUNT) as wire:
            assert [ask(wire, gate.url) for _ in range(12)] == [200] * 12
        assert len(known.opened) == 3
        others = [asked for asked in gate.asked if asked.path != "/_session"]
        assert not [asked for asked in others if "Authorization" in asked.headers or PASSWORD in str(asked)]


def test_a_session_that_is_given_in_passing_is_gone_on_with() -> None:
    """CouchDB gives a newer cookie while one is in use; an answer that takes it away changes nothing."""
    known = sessions()
    given = ["AuthSession=second", "AuthSession=", "AuthSession=third"]

    def answer(asked: Asked) -> Reply:
        return known.answer(asked) or Reply(200, {}, known.cookie(given.pop(0)) if given else {})

    with StubServer(answer) as server, opened(server.url, ACCOUNT) as wire:
        for _ in range(5):
            ask(wire, server.url)
        cookies = [asked.headers["Cookie"] for asked in server.asked if asked.path != "/_session"]
    first, second, third = "AuthSession=session-1", "AuthSession=second", "AuthSession=third"
    assert cookies == [first, second, second, third, third]
    assert len(known.opened) == 1


def test_a_wrong_password_is_tried_once_by_all_threads() -> None:
    """A few failures more would lock the account."""
    known = sessions()
    entered = threading.Barrier(6)
    wrong = {**ACCOUNT, "COUCHDB_PASSWORD": f"wrong-{PASSWORD}"}
    with Gate(known.newest, answer=known.answer) as gate, opened(gate.url, wrong) as wire:

        def work(_: int) -> EndpointError:
            entered.wait(20)
            with pytest.raises(Unauthorized, match="incorrect") as caught:
                ask(wire, gate.url)
            return caught.value

        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(work, range(6)))
        assert all(PASSWORD not in f"{error} {error!r} {vars(error)}" for error in found)
        assert len(gate.asked) == 1


@pytest.mark.parametrize("reply", [Reply(404, {"error": "not_found"}), Reply(200, {"ok": True})])
def test_a_server_without_sessions(reply: Reply) -> None:
    """Says what to do."""
    with (
        StubServer(lambda _: reply) as server,
        opened(server.url, ACCOUNT) as wire,
        pytest.raises(EndpointError, match="opens no session") as caught,
    ):
        ask(wire, server.url)
    assert "--auth basic" in caught.value.hint


@pytest.mark.parametrize("auth", ["cookie", "iam"])
def test_a_body_that_was_sent_piece_by_piece_is_sent_again_by_whoever_has_it(auth: str) -> None:
    """Its pieces are gone: the request failed in a way that passes, and did nothing."""
    known = sessions()
    with TokenService(key=PASSWORD) as service:
        newest = known.newest if auth == "cookie" else bearer(service)
        endpoint = Endpoint("", "ada", PASSWORD, auth=auth, iam_url=service.url)
        with Gate(newest, good=1, answer=known.answer) as gate:
            wire = Transport(Endpoint(gate.url, "ada", PASSWORD, auth=auth, iam_url=endpoint.iam_url))
            assert ask(wire, gate.url) == 200
            headers = {"Content-Length": "2"}
            with pytest.raises(TransientError, match="run out") as caught:
                ask(wire, gate.url, body=iter([b"{", b"}"]), headers=headers)
            assert not caught.value.outcome_unknown
            assert ask(wire, gate.url, body=iter([b"{", b"}"]), headers=headers) == 200
            wire.close()
