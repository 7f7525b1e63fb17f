"""Where a service's settings come from: arguments, the environment, a file, an object of the application's own."""

from __future__ import annotations

import dataclasses
import os
import types
from collections import UserDict
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from migrator.database import (
    CouchDatabase,
    CouchDBService,
    MemoryDatabase,
    MemoryDBService,
    Settings,
    get_database_service,
)
from migrator.database.settings import read_env_file
from migrator.errors import ConfigError

URL, USER, PASSWORD = "http://db.example.com:5984", "ada", "s3cr3t"
VALUES = {
    "DATABASE_PROVIDER": "couchdb",
    "COUCHDB_URL": URL,
    "COUCHDB_USER": USER,
    "COUCHDB_PASSWORD": PASSWORD,
}
LOWER = {name.lower(): value for name, value in VALUES.items()}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of the test's own, and an environment without settings."""
    for name in list(os.environ):
        if name.startswith(("COUCHDB_", "DATABASE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def account(service: Any) -> tuple[str, str | None, str | None]:
    """The server and the account that a service uses."""
    endpoint = service._client.endpoint
    return endpoint.url, endpoint.user, endpoint.password


class Secret:
    """A secret as settings libraries have it."""

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        """What is kept."""
        return self._value

    def __str__(self) -> str:
        return "**********"


class Url:
    """A URL as settings libraries have it."""

    def __str__(self) -> str:
        return URL


class Provider(StrEnum):
    """A choice as settings libraries have it."""

    COUCHDB = "couchdb"


class PlainClass:
    """Settings as a class of constants."""

    DATABASE_PROVIDER = "couchdb"
    COUCHDB_URL = URL
    COUCHDB_USER = USER
    COUCHDB_PASSWORD = PASSWORD


def module() -> types.ModuleType:
    """Settings as a module of constants."""
    made = types.ModuleType("config")
    vars(made).update(VALUES)
    return made


def computed() -> Any:
    """Settings that are computed when they are asked for."""

    class Computed:
        def __getattr__(self, name: str) -> str:
            try:
                return VALUES[name]
            except KeyError:
                raise AttributeError(name) from None

    return Computed()


OBJECTS: dict[str, Any] = {
    "Settings": Settings(**VALUES),
    "Settings in lower case": Settings(**LOWER),
    "Settings by position": Settings(*VALUES.values()),
    "Settings of both": Settings("couchdb", COUCHDB_URL=URL, COUCHDB_USER=USER, couchdb_password=PASSWORD),
    "namespace": types.SimpleNamespace(**VALUES),
    "namespace in lower case": types.SimpleNamespace(**LOWER),
    "dict": VALUES,
    "dict in lower case": LOWER,
    "other mapping": UserDict(VALUES),
    "class": PlainClass,
    "object of a class": PlainClass(),
    "module": module(),
    "computed": computed(),
    "dataclass": dataclasses.make_dataclass("Config", VALUES, frozen=True)(**VALUES),
    "wrapped": types.SimpleNamespace(
        DATABASE_PROVIDER=Provider.COUCHDB, COUCHDB_URL=Url(), COUCHDB_USER=USER, COUCHDB_PASSWORD=Secret(PASSWORD)
    ),
    "more than these": types.SimpleNamespace(**VALUES, DEBUG=True, couchdb_user=None),
    "capitals and spaces": types.SimpleNamespace(**{**VALUES, "DATABASE_PROVIDER": " CouchDB "}),
}


@pytest.mark.parametrize("settings", OBJECTS.values(), ids=OBJECTS)
def test_any_object_with_the_settings_gives_the_service(settings: Any) -> None:
    """Whatever kind of object holds them."""
    service = get_database_service(settings)
    assert isinstance(service, CouchDBService)
    assert isinstance(service, CouchDatabase)
    assert account(service) == (URL, USER, PASSWORD)
    assert get_database_service(settings) is not service


@pytest.mark.parametrize("settings", [Settings(DATABASE_PROVIDER="memory"), {"DATABASE_PROVIDER": "MEMORY"}])
def test_memory_wants_nothing_else(settings: Any) -> None:
    """Each call gives a service of its own."""
    one, other = get_database_service(settings), get_database_service(settings)
    assert type(one) is MemoryDBService is MemoryDatabase
    one.save("a", "x", {})
    assert other.list_all("a") == []


def test_an_object_needs_no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does not have is not looked for in the environment: another application's may stand there."""
    monkeypatch.setenv("COUCHDB_USER", "other")
    service = get_database_service(types.SimpleNamespace(DATABASE_PROVIDER="couchdb", COUCHDB_PASSWORD=None))
    assert account(service) == ("http://localhost:5984", None, None)


@pytest.mark.parametrize(
    "settings", [object(), {}, {"COUCHDB_URL": URL}, "couchdb", 5, {"DATABASE_PROVIDER": None}]
)
def test_an_object_without_a_provider_is_refused(settings: Any) -> None:
    """To take memory in silence would lose what is saved."""
    with pytest.raises(ConfigError, match="have no DATABASE_PROVIDER") as caught:
        get_database_service(settings)
    assert caught.value.hint


@pytest.mark.parametrize("provider", ["", "couch", "redis", "mem ory"])
def test_an_unknown_provider_is_refused(provider: str) -> None:
    """With those that are known."""
    with pytest.raises(ConfigError, match="DATABASE_PROVIDER is") as caught:
        get_database_service({**VALUES, "DATABASE_PROVIDER": provider})
    assert "memory, couchdb" in caught.value.hint


def test_a_setting_is_given_once() -> None:
    """Under one of its two names."""
    with pytest.raises(TypeError, match="COUCHDB_URL is given twice"):
        Settings(couchdb_url=URL, COUCHDB_URL=URL)
    with pytest.raises(TypeError):
        Settings(COUCHDB_DATABASE="x")  # type: ignore[call-arg]


def test_settings_read_as_they_are_written() -> None:
    """Under both names, equal when they are the same, and fixed."""
    settings = Settings(**VALUES)
    assert [getattr(settings, name) for name in VALUES] == list(VALUES.values())
    assert [getattr(settings, name) for name in LOWER] == list(VALUES.values())
    assert settings == Settings(**LOWER)
    assert hash(settings) == hash(Settings(**LOWER))
    assert dataclasses.replace(settings, couchdb_user="grace").COUCHDB_USER == "grace"
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.couchdb_user = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    "url", ["http://ada:s3cr3t@h:5984", "http://ada:s3c@r3t@h:5984", "ada:s3cr3t@h", "s3cr3t@h"]
)
def test_no_password_is_shown(url: str) -> None:
    """Neither the one that is given nor one in the URL; not even of a URL that is none."""
    settings = Settings("couchdb", url, "ada", "s3cr3t")
    shown = f"{settings} {settings!r} {[settings]}"
    try:
        service = get_database_service(settings)
    except ConfigError as error:
        shown += f"{error} {error!r} {error.hint}"
    else:
        shown += f"{service!r} {vars(service)!r}"
    assert "s3c" not in shown
    assert "r3t" not in shown


def test_the_urls_account_counts_before_the_settings() -> None:
    """As it does for the command; an argument of CouchDBService counts before it."""
    url = "http://grace:other@db.example.com:5984"
    assert account(get_database_service({**VALUES, "COUCHDB_URL": url})) == (URL, "grace", "other")
    assert account(CouchDBService(url, USER, PASSWORD)) == (URL, USER, PASSWORD)
    assert account(CouchDBService(url)) == (URL, "grace", "other")
    assert account(CouchDBService(URL, USER, "p@:/?#w")) == (URL, USER, "p@:/?#w")


def test_the_environment_is_read_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """At each call, by each way."""
    assert type(get_database_service()) is MemoryDBService
    for name, value in VALUES.items():
        monkeypatch.setenv(name, value)
    for settings in (None, Settings(), Settings.from_environment(), Settings(DATABASE_PROVIDER="couchdb")):
        assert account(get_database_service(settings)) == (URL, USER, PASSWORD)
    assert account(CouchDBService(URL)) == (URL, USER, PASSWORD)
    assert Settings(couchdb_user="").COUCHDB_USER == ""
    assert Settings.from_environment({}) == Settings("memory", "http://localhost:5984", "", "")


def test_a_file_of_the_password_is_read(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """As containers have their secrets."""
    (folder / "secret").write_text(f"{PASSWORD}\n")
    monkeypatch.setenv("COUCHDB_PASSWORD_FILE", str(folder / "secret"))
    service = get_database_service(Settings("couchdb", URL, USER))
    assert account(service) == (URL, USER, PASSWORD)


def test_a_file_fills_in_for_the_environment(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """`.env` in the working folder; what the environment has counts before it."""
    text = f"DATABASE_PROVIDER=couchdb\nCOUCHDB_URL={URL}\nCOUCHDB_USER={USER}\nCOUCHDB_PASSWORD={PASSWORD}\n"
    (folder / ".env").write_text(text)
    assert account(get_database_service()) == (URL, USER, PASSWORD)
    assert account(get_database_service(Settings())) == (URL, USER, PASSWORD)
    monkeypatch.setenv("COUCHDB_USER", "grace")
    assert account(get_database_service()) == (URL, "grace", PASSWORD)
    monkeypatch.setenv("DATABASE_PROVIDER", "memory")
    assert type(get_database_service()) is MemoryDBService


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=x", "x"),
        ("A = x ", "x"),
        ("export A=x", "x"),
        ("  A=x", "x"),
        ("A=", ""),
        ("A=''", ""),
        ("A='x y'", "x y"),
        ('A="x y"', "x y"),
        ('A="x" # why', "x"),
        ("A=x # why", "x"),
        ("A=x#y", "x#y"),
        ("A='x # y'", "x # y"),
        ("A=# nothing", ""),
        ("A=p$w${B}", "p$w${B}"),
        ("A=a=b", "a=b"),
        (r'A="a\"b\\c\nd"', 'a"b\\c\nd'),
        (r"A='a\nb'", r"a\nb"),
        ("A=it's", "it's"),
        ("A=ä ö", "ä ö"),
        ("B=1\nA=x", "x"),
        ("A=1\nA=x", "x"),
        ("# A=y\nA=x\n\n", "x"),
        ("A=x\r\nB=1\r\n", "x"),
        ("\ufeffA=x", "x"),
        ("garbage\n=\n'\nA=x", "x"),
        ("AB=y\nA.B=z", None),
        ("#A=x", None),
        ("", None),
    ],
)
def test_lines_of_such_a_file(folder: Path, line: str, value: str | None) -> None:
    """As shells, containers and frameworks agree on them."""
    (folder / "file").write_text(line, encoding="utf-8", newline="")
    assert read_env_file(folder / "file", {"A"}).get("A") == value


@pytest.mark.parametrize("line", ["A='s3cr3t", 'A="s3cr3t', "A='s3'cr3t", r'A="s3cr3t\"'])
def test_a_quote_that_is_open_is_said(folder: Path, line: str) -> None:
    """With file and line, and without the value; another variable's is nobody's concern here."""
    (folder / "file").write_text(f"# first\n{line}\n")
    with pytest.raises(ConfigError, match=r"file:2: the value of A") as caught:
        read_env_file(folder / "file", {"A"})
    assert "s3cr" not in f"{caught.value} {caught.value.hint}"
    assert read_env_file(folder / "file", {"B"}) == {}


def test_a_file_that_cannot_be_read_is_said(folder: Path) -> None:
    """What is not UTF-8; a folder of that name is none of ours."""
    (folder / ".env").write_bytes(b"COUCHDB_USER=\xff")
    with pytest.raises(ConfigError, match="it is not UTF-8"):
        get_database_service()
    (folder / ".env").unlink()
    (folder / ".env").mkdir()
    assert type(get_database_service()) is MemoryDBService
