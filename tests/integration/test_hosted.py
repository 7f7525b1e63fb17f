"""Every command that asks a server, where a login is good for few requests: a token of IBM Cloudant, a session."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from migrator.database import CouchDBService
from tests import support
from tests.support.cloudant import KEY, Gate, Sessions, TokenService, bearer
from tests.support.commands import run_whole

USER, PASSWORD = "ada-n0t-secret", "p@ss:w0rd/n0t-to-be-shown"
DOCUMENTS = 60
# Requests that a login is good for.
GOOD = 4


@pytest.fixture(params=["iam", "cookie"])
def gate(
    request: pytest.FixtureRequest, server_url: str, no_credentials: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Gate]:
    """A server behind which each login is good for a few requests; the environment has the credentials for it."""
    monkeypatch.setenv("NETRC", os.devnull)
    if request.param == "cookie":
        sessions = Sessions(USER, PASSWORD)
        monkeypatch.setenv("COUCHDB_USER", USER)
        monkeypatch.setenv("COUCHDB_PASSWORD", PASSWORD)
        monkeypatch.setenv("COUCHDB_AUTH", "cookie")
        with Gate(sessions.newest, server=server_url, good=GOOD, answer=sessions.answer) as gate:
            yield gate
        return
    with TokenService() as service:
        monkeypatch.setenv("COUCHDB_IAM_API_KEY", KEY)
        monkeypatch.setenv("COUCHDB_IAM_URL", service.url)
        with Gate(bearer(service), server=server_url, good=GOOD) as gate:
            yield gate


@pytest.fixture
def done(tmp_path: Path) -> Callable[..., str]:
    """Runs a command in a folder of its own, which must end well and show no secret; what it printed."""

    def work(*words: str) -> str:
        ran = run_whole(tmp_path, *words)
        assert ran.returncode == 0, ran.stderr + ran.stdout
        return ran.stdout + ran.stderr

    return work


def everything(folder: Path) -> bytes:
    """All files below a folder."""
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def ids(server_url: str, database: str) -> list[str]:
    """What is stored."""
    return [row["id"] for row in support.get(f"{server_url}/{database}/_all_docs")["rows"]]


def test_every_command_renews_its_login(
    tmp_path: Path, gate: Gate, server_url: str, database_prefix: str, done: Callable[..., str]
) -> None:
    """Logins end in the middle of each command many times, and all of them end well, without showing a secret."""
    name, copy, again = (f"{database_prefix}{each}" for each in "abc")
    wanted = [f"{number:03}" for number in range(DOCUMENTS)]
    (tmp_path / "in").mkdir()
    lines = [json.dumps({"_id": id, "text": "x" * 50}) for id in wanted]
    (tmp_path / "in" / f"{name}.ndjson").write_text("\n".join(lines) + "\n")
    small = ("--batch-docs", "7", "--log-level", "debug")
    said = done(
        "run", "--from", "in", "--to", gate.url, *small, "--report", "report.json", "--checkpoint", "cp.json"
    )
    assert ids(server_url, name) == wanted
    one = f"{gate.url}/{name}"
    said += done("run", "--from", one, "--to", f"{gate.url}/{copy}", *small, "--verify")
    assert ids(server_url, copy) == wanted
    said += done("verify", "--from", one, "--to", f"{gate.url}/{copy}")
    said += done("run", "--from", one, "--to", f"{gate.url}/{again}", "--since-last", "--checkpoint", "since.json")
    said += done("backup", "--from", one, "--to", "place")
    support.request("DELETE", f"{server_url}/{copy}")
    said += done("restore", "--from", "place", "--to", f"{gate.url}/{copy}")
    assert ids(server_url, copy) == wanted
    said += done("convert", "--from", one, "--to", "out.couchbackup", "--format", "couchbackup")
    said += done("wait", gate.url)
    said += done("doctor", one, "--no-probe")
    assert gate.refused > 10
    for secret in (KEY, PASSWORD, "token-1", "session-1"):
        assert secret not in said
        assert secret.encode() not in everything(tmp_path)


def test_the_application_renews_its_login(gate: Gate, database_prefix: str) -> None:
    """The database service does, without being told how."""
    service = CouchDBService(gate.url)
    name = f"{database_prefix}app"
    for number in range(8):
        service.save(name, f"{number}", {"number": number})
    assert [service.get(name, f"{number}")["number"] for number in range(8)] == [*range(8)]
    assert gate.refused > 1


def test_fixtures_are_loaded(
    tmp_path: Path, gate: Gate, server_url: str, database_prefix: str, done: Callable[..., str]
) -> None:
    """By the command, twice, and the second time nothing is written."""
    folder = tmp_path / "fixtures" / "people"
    folder.mkdir(parents=True)
    for number in range(12):
        (folder / f"p{number:02}.json").write_text(json.dumps({"number": number}))
    words = ("seed", "fixtures", "--to", gate.url, "--prefix", database_prefix)
    done(*words)
    assert len(ids(server_url, f"{database_prefix}people")) == 12
    done(*words)
    assert gate.refused > 1
