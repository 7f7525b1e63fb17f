"""Addresses and credentials: where they come from, which wins, and that no text shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrator.config import Connection
from migrator.couch.endpoint import Endpoint, database_url, is_server_url, parse_endpoint, redact
from migrator.errors import ConfigError


def parse(url: str, environ: dict[str, str] | None = None, role: str = "") -> tuple[Endpoint, str | None]:
    """With an environment of its own, so that no file of the developer's is read."""
    return parse_endpoint(url, environ={"HOME": "/nonexistent", **(environ or {})}, role=role)


@pytest.mark.parametrize(
    ("url", "server", "database"),
    [
        ("http://localhost:5984", "http://localhost:5984", None),
        ("http://localhost:5984/", "http://localhost:5984", None),
        ("HTTP://LocalHost:5984/tickets", "http://localhost:5984", "tickets"),
        ("https://db.example.org/a%2Fb/", "https://db.example.org", "a/b"),
        ("http://[::1]:5984/x", "http://[::1]:5984", "x"),
        ("https://admin:pw@db.example.org:6984/x", "https://db.example.org:6984", "x"),
    ],
)
def test_a_url_names_server_and_database(url: str, server: str, database: str | None) -> None:
    """Scheme and host are in lower case, the database's name is unquoted, credentials are gone."""
    endpoint, found = parse(url)
    assert (server, database) == (endpoint.url, found)


@pytest.mark.parametrize(
    ("text", "user", "password"),
    [
        ("ada:secret", "ada", "secret"),
        ("ada:p@ss", "ada", "p@ss"),
        ("ada:p:a:ss", "ada", "p:a:ss"),
        ("ada:pa/ss", "ada", "pa/ss"),
        ("ada:pa?s#s", "ada", "pa?s#s"),
        ("ada:p@a/s:s?x@", "ada", "p@a/s:s?x@"),
        ("ada:p%40ss%25", "ada", "p@ss%"),
        ("ada:100%", "ada", "100%"),
        ("ada:", "ada", ""),
        ("%61da:x", "ada", "x"),
        ("ada:Grüße", "ada", "Grüße"),
    ],
)
def test_a_url_holds_user_and_password(text: str, user: str, password: str) -> None:
    """A password may hold the characters that divide a URL, raw or quoted; the database is still found."""
    endpoint, database = parse(f"http://{text}@host:5984/tickets")
    assert (user, password) == (endpoint.user, endpoint.password)
    assert (endpoint.url, database) == ("http://host:5984", "tickets")


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://host:port",
        "http://ada:s3cr3t@host:port/x",
        "http://ada:s3cr3t/x@host:99999",
        "http://ada:s3?cr3t@host/a/b",
        "http://ada:s3cr3t@host/a?b=c",
        "http://ada:s3cr3t@host/a#b",
        "http://ada:s3cr3t@[::1",
        "ftp://ada:s3cr3t@host",
        "ada:s3cr3t@host:5984",
        "http://ada:s3cr3t@",
    ],
)
def test_an_unusable_url_is_refused_without_its_password(url: str) -> None:
    """What is not an address of a server is a mistake in usage, and the error tells nothing of a password."""
    with pytest.raises(ConfigError) as caught:
        parse(url)
    assert caught.value.hint
    for part in ("s3", "cr3t", "ada"):
        assert part not in str(caught.value)
        assert part not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://host:5984/x", "http://host:5984/x"),
        ("http://ada:secret@host:5984/x", "http://host:5984/x"),
        ("http://ada:se/cr@et@host/x", "http://host/x"),
        ("ada:secret@host", "host"),
        ("couch://ada:se?cret@host/x", "couch://host/x"),
        ("memory:app:db", "memory:app:db"),
    ],
)
def test_redacting(url: str, shown: str) -> None:
    """A URL for people has neither user nor password, whatever characters they hold."""
    assert shown == redact(url)


def test_the_environment_gives_credentials() -> None:
    """COUCHDB_USER and COUCHDB_PASSWORD serve a URL without any."""
    endpoint, _ = parse("http://host", {"COUCHDB_USER": "ada", "COUCHDB_PASSWORD": "p@:/ss"})
    assert (endpoint.user, endpoint.password) == ("ada", "p@:/ss")


def test_the_url_wins_over_the_environment() -> None:
    """Credentials in the URL are the ones that are meant."""
    endpoint, _ = parse("http://bob:b@host", {"COUCHDB_USER": "ada", "COUCHDB_PASSWORD": "a"})
    assert (endpoint.user, endpoint.password) == ("bob", "b")


def test_a_role_has_credentials_of_its_own() -> None:
    """COUCHDB_SOURCE_USER counts for the source alone; the other side has the common ones."""
    environ = {"COUCHDB_USER": "ada", "COUCHDB_PASSWORD": "a"}
    environ |= {"COUCHDB_SOURCE_USER": "reader", "COUCHDB_SOURCE_PASSWORD": "r"}
    source, _ = parse("http://host", environ, role="source")
    target, _ = parse("http://host", environ, role="target")
    assert (source.user, source.password) == ("reader", "r")
    assert (target.user, target.password) == ("ada", "a")


def test_a_file_gives_the_password(tmp_path: Path) -> None:
    """COUCHDB_PASSWORD_FILE is read without its last line break, and gives way to COUCHDB_PASSWORD."""
    path = tmp_path / "password"
    path.write_text(" p@ss wörd \n")
    environ = {"COUCHDB_USER": "ada", "COUCHDB_PASSWORD_FILE": str(path)}
    assert parse("http://host", environ)[0].password == " p@ss wörd "
    assert parse("http://host", {**environ, "COUCHDB_PASSWORD": "x"})[0].password == "x"
    # As a Compose file passes on a variable that is not set.
    assert parse("http://host", {**environ, "COUCHDB_PASSWORD": ""})[0].password == " p@ss wörd "


def test_an_unreadable_password_file_is_named(tmp_path: Path) -> None:
    """A missing password file, or one that is not text, is an error with its path."""
    for path, data in ((tmp_path / "none", None), (tmp_path / "binary", b"\xff\xfe")):
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(ConfigError, match=str(path)):
            parse("http://host", {"COUCHDB_USER": "ada", "COUCHDB_PASSWORD_FILE": str(path)})


def test_a_url_with_a_user_alone_takes_the_password_of_the_environment(tmp_path: Path) -> None:
    """A password that is kept out of the URL is found, but never another user's."""
    path = tmp_path / "password"
    path.write_text("filed\n")
    assert parse("http://ada@host", {"COUCHDB_PASSWORD": "pw"})[0].password == "pw"
    assert parse("http://ada@host", {"COUCHDB_PASSWORD_FILE": str(path)})[0].password == "filed"
    environ = {"COUCHDB_USER": "ada", "COUCHDB_PASSWORD": "pw"}
    assert parse("http://ada@host", environ)[0].password == "pw"
    assert parse("http://bob@host", environ)[0].password == ""


def test_netrc_gives_credentials_last(tmp_path: Path) -> None:
    """An entry for the host in the file that NETRC names, or in ~/.netrc, serves where nothing else does."""
    path = tmp_path / ".netrc"
    path.write_text("machine host login ada password from-netrc\n")
    path.chmod(0o600)
    for environ in ({"NETRC": str(path)}, {"HOME": str(tmp_path)}):
        endpoint, _ = parse("http://host:5984", environ)
        assert (endpoint.user, endpoint.password) == ("ada", "from-netrc")
        assert (parse("http://other", environ)[0].user, parse("http://other", environ)[0].password) == (None, None)
    endpoint, _ = parse("http://host", {"NETRC": str(path), "COUCHDB_USER": "bob", "COUCHDB_PASSWORD": "b"})
    assert (endpoint.user, endpoint.password) == ("bob", "b")


def test_a_damaged_netrc_tells_nothing_of_its_lines(tmp_path: Path) -> None:
    """The parser's own message quotes the file, so it is kept back."""
    path = tmp_path / "netrc"
    path.write_text("machine host login ada password s3cr3t surplus\n")
    path.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        parse("http://host", {"NETRC": str(path)})
    assert "s3cr3t" not in str(caught.value)
    assert "surplus" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_no_text_of_an_endpoint_shows_the_password() -> None:
    """Neither repr, nor str, nor the URL for people."""
    endpoint, database = parse("http://ada:s3cr3t@host:5984/tickets")
    texts = [repr(endpoint), str(endpoint), endpoint.url, endpoint.host, database_url(endpoint, database)]
    assert [text for text in texts if "s3cr3t" in text] == []


def test_a_database_url_quotes_the_name() -> None:
    """A slash in a database's name is not a slash of the path."""
    endpoint, _ = parse("http://host:5984")
    assert database_url(endpoint, "a/b+") == "http://host:5984/a%2Fb%2B"
    assert database_url(endpoint, None) == "http://host:5984"


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://localhost:5984", True),
        ("http://127.0.0.1", True),
        ("http://127.1.2.3", True),
        ("http://[::1]:5984", True),
        ("http://db.example.org", False),
        ("http://localhost.example.org", False),
        ("http://10.0.0.1", False),
    ],
)
def test_knows_this_machine(url: str, local: bool) -> None:
    """A server on this machine is told from one across a network."""
    assert local == parse(url)[0].local


def test_tls_files_come_from_flags_or_environment(tmp_path: Path) -> None:
    """A flag wins; a file that is not there is an error that names it."""
    flag, variable = tmp_path / "flag.pem", tmp_path / "variable.pem"
    flag.touch()
    variable.touch()
    environ = {"HOME": "/nonexistent", "COUCHDB_CA_FILE": str(variable), "COUCHDB_CLIENT_CERT": str(variable)}
    endpoint, _ = parse_endpoint("https://host", environ=environ, config=Connection(ca_file=str(flag)))
    assert (str(flag), str(variable), None) == (endpoint.ca_file, endpoint.client_cert, endpoint.client_key)
    with pytest.raises(ConfigError, match="client key"):
        parse_endpoint("https://host", environ=environ, config=Connection(client_key=str(tmp_path / "none")))


def test_tells_servers_from_other_words() -> None:
    """Only http and https are servers."""
    assert [is_server_url(text) for text in ("http://x", "HTTPS://x", "memory:x:y", "folder/http")] == [
        True,
        True,
        False,
        False,
    ]
