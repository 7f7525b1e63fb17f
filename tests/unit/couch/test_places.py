"""What somebody typed is a server, a scheme or clearly a path; what looks like a mistyped URL is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrator.config import JobConfig
from migrator.couch.places import checked_place
from migrator.errors import ConfigError
from migrator.jobs.registry import open_extractor, open_loader, target_text

MEANT = {
    "://127.0.0.1:5984": "http://127.0.0.1:5984",
    ":/127.0.0.1:5984/orders": "http://127.0.0.1:5984/orders",
    "://couch.example.com/orders": "http://couch.example.com/orders",
    "http://couch..example.com:5984/orders": "http://couch.example.com:5984/orders",
    "https://.example.com": "https://example.com",
    "127.0.0.1:5984": "http://127.0.0.1:5984",
    "192.0.2.7": "http://192.0.2.7",
    "192.0.2.7/orders": "http://192.0.2.7/orders",
    "192.0.2.7:5984/orders": "http://192.0.2.7:5984/orders",
    "//127.0.0.1:5984/orders": "http://127.0.0.1:5984/orders",
    "[::1]:5984": "http://[::1]:5984",
    "[2001:db8::1]/orders": "http://[2001:db8::1]/orders",
    "::1": "http://[::1]",
    "::1:5984": "http://[::1]:5984",
    "http://::1:5984": "http://[::1]:5984",
    "http://::1:5984/orders": "http://[::1]:5984/orders",
    "HTTPS://::1": "https://[::1]",
    "http://::1": "http://[::1]",
    "http://[::1:5984": "http://[::1]:5984",
    "http://::1]:5984/a/b": "http://[::1]:5984/a/b",
    "https://2001:db8::5:6984/": "https://[2001:db8::5]:6984/",
    "http://2001:db8::1": "http://[2001:db8::1]",
    "http://1:2:3:4:5:6:7:8:5984": "http://[1:2:3:4:5:6:7:8]:5984",
    "http://::ffff:10.0.0.1:5984": "http://[::ffff:10.0.0.1]:5984",
    "http://fe80::1%eth0:5984": "http://[fe80::1%eth0]:5984",
    "localhost": "http://localhost",
    "LOCALHOST": "http://LOCALHOST",
    "localhost/orders": "http://localhost/orders",
    "localhost:5984/orders": "http://localhost:5984/orders",
    "db:5984": "http://db:5984",
    "db-1:5984/orders": "http://db-1:5984/orders",
    "my_host:5984": "http://my_host:5984",
    "db:6984": "https://db:6984",
    ":5984": "http://localhost:5984",
    "couchdb.example.com": "http://couchdb.example.com",
    "couchdb.example.com/orders": "http://couchdb.example.com/orders",
    "example.com": "http://example.com",
    "db.internal": "http://db.internal",
    "htp://host:5984": "http://host:5984",
    "htttp://host": "http://host",
    "hhtp://host": "http://host",
    "ttp://host": "http://host",
    "http:/host:5984": "http://host:5984",
    "http:host:5984": "http://host:5984",
    "http//host:5984": "http://host:5984",
    "http//:host": "http://host",
    "http;//host": "http://host",
    "https:host": "https://host",
    "https:/host/orders": "https://host/orders",
    "https//host": "https://host",
    "httpss://host": "https://host",
    "http:///host:5984": "http://host:5984",
    "http://http://host": "http://host",
    "http:\\\\host\\orders": "http://host\\orders",
    "https://host:6984\\orders": "https://host:6984/orders",
    "couchdb://host:5984": "http://host:5984",
    "couchdb+https://host": "https://host",
    "couch://host/orders": "http://host/orders",
    " http://host:5984": "http://host:5984",
    "http://host:5984 ": "http://host:5984",
    "http://host:5984\n": "http://host:5984",
    "\tlocalhost:5984": "http://localhost:5984",
    "'http://host:5984'": "http://host:5984",
    '"http://host:5984/orders"': "http://host:5984/orders",
    "\u201chttp://host\u201d": "http://host",
    "<http://host>": "http://host",
    "http://db\u2013one:5984": "http://db-one:5984",
    "http://db\u2010one:5984": "http://db-one:5984",
    "\ufeffhttp://host": "http://host",
    "http://host\u200b": "http://host",
    "http\uff1a//host": "http://host",
}
SECRETS = [
    "ada:s3cret@host:5984",
    "ada:s3cret@host/orders",
    "ada:s3/c@ret@host:5984",
    "//ada:s3cret@host:5984",
    "http:/ada:s3cret@host",
    "http//ada:s3cret@host:5984",
    "https:ada:s3cret@host",
    "htp://ada:s3cret@host",
    "couchdb://ada:s3cret@host/orders",
    " http://ada:s3cret@host:5984",
    "'http://ada:s3cret@host'",
    "http:///ada:s3cret@host",
    "http://http://ada:s3cret@host",
    "\u201chttp://ada:s3cret@host\u201d",
]
PATHS = [
    "out",
    "out/",
    "./localhost",
    "./127.0.0.1:5984",
    "/tmp/x",
    "../x",
    "~",
    ".",
    "backup.d",
    "a.b.c",
    "data.v2",
]
PATHS += ["2026.11.27", "users.ndjson", "old.users.json", "me@home", "größe", "a b", "couchdb", "http", "C", "x:y"]
PATHS += ["/srv/10:5984", "dump.2026-11-27", "out/localhost:5984", "nightly.backup.old"]
URLS = [
    "http://host",
    "HTTP://Host:5984/orders",
    "https://ada:p@ss:w/rd@host/a/b",
    "http://[::1]:5984",
    "https://host/",
]
URLS += ["http://ada:pa\u0308ss@host", "http://ada:p\u2013w@host", "https://xn--hst-sna.example/orders%2F1"]


@pytest.mark.parametrize(("typed", "meant"), MEANT.items())
@pytest.mark.parametrize("reads", [False, True])
def test_a_mistyped_url_is_refused_with_the_one_that_was_meant(typed: str, meant: str, reads: bool) -> None:
    """As a target and as a source."""
    with pytest.raises(ConfigError) as refused:
        checked_place(typed, "--to", reads=reads)
    assert f"Write {meant}." in refused.value.hint


@pytest.mark.parametrize("typed", SECRETS)
def test_the_password_of_a_mistyped_url_is_not_shown(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in what was typed nor in what was meant; also from the environment and as a source."""
    with pytest.raises(ConfigError) as refused:
        checked_place(typed, "--to")
    assert not {"s3", "ada", "ret"} & set(str(refused.value).replace("@", " ").replace(":", " ").split())
    assert "s3c" not in str(refused.value)
    assert "COUCHDB_PASSWORD" in refused.value.hint
    with pytest.raises(ConfigError) as refused:
        target_text(JobConfig(), {"COUCHDB_URL": typed})
    assert "s3" not in str(refused.value)
    assert "COUCHDB_URL" in str(refused.value)
    with pytest.raises(ConfigError) as refused:
        open_extractor(JobConfig(source=typed), {})
    assert "s3" not in str(refused.value)


@pytest.mark.parametrize("typed", PATHS)
def test_what_is_clearly_a_path_stays_one(typed: str) -> None:
    """Names of files and folders as people give them."""
    assert checked_place(typed, "--to") == typed


@pytest.mark.parametrize("typed", URLS)
def test_a_url_stays_as_it_is(typed: str) -> None:
    """Passwords may hold anything."""
    assert checked_place(typed, "--to") == typed


@pytest.mark.parametrize("typed", ["C:\\dir", "c:/dir", "\\\\server\\share"])
def test_a_path_of_windows_is_none_here(typed: str) -> None:
    """It would become a folder of an odd name."""
    with pytest.raises(ConfigError, match="Windows"):
        checked_place(typed, "--to")


def test_what_is_there_can_be_read_whatever_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of an earlier version's mistake too; but it is not written to again."""
    monkeypatch.chdir(tmp_path)
    for name in ("localhost:5984", "example.com"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.ndjson").write_text('{"_id":"a"}\n')
        assert open_extractor(JobConfig(source=name), {}).collections() == ("a",)
    with pytest.raises(ConfigError, match="looks like a server"):
        checked_place("localhost:5984", "--to")
    assert checked_place("example.com", "--to") == "example.com"


@pytest.mark.parametrize(
    "typed", ["file:///srv/a%20b", "FILE:///srv/a%20b", "file://localhost/srv/a%20b", "file:/srv/a b"]
)
def test_a_files_url_is_its_path(typed: str) -> None:
    """Wherever a path can stand."""
    assert checked_place(typed, "--to") == "/srv/a b"
    assert open_loader(JobConfig(target=typed), {}, {}).describe() == "/srv/a b"


@pytest.mark.parametrize("typed", ["file://host/srv", "file:srv", "file://srv"])
def test_a_files_url_of_another_machine_is_refused(typed: str) -> None:
    """And so is one without a path."""
    with pytest.raises(ConfigError, match="no file of this machine"):
        checked_place(typed, "--to")


def test_a_known_scheme_is_not_a_mistyped_url() -> None:
    """What comes after it is its own affair."""
    for text in (
        "csv:localhost:5984",
        "memory:app.db:5984",
        "redis://ada:pw@host",
        "postgresql+psycopg://a:b@h/d",
    ):
        assert checked_place(text, "--from", known=("csv", "memory", "redis", "postgresql"), reads=True) == text
