"""Every command on a server below a path, as a web server in front of it serves it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from migrator.database import Settings, get_database_service
from tests import support
from tests.support import commands
from tests.support.stub_server import Asked, Reply, StubServer

PAGE = Reply(404, b"<html>nothing here</html>", {"Content-Type": "text/html"})


@pytest.fixture(params=["/couch", "/a/b", "/my%20db"])
def below(request: pytest.FixtureRequest, server_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of the test's server below a path; what is asked outside of the path is a page of another kind."""
    prefix: str = request.param
    parts = urlsplit(server_url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    if parts.username:
        monkeypatch.setenv("COUCHDB_USER", parts.username)
        monkeypatch.setenv("COUCHDB_PASSWORD", parts.password or "")

    def answer(asked: Asked) -> Reply:
        if asked.path != prefix and not asked.path.startswith((f"{prefix}/", f"{prefix}?")):
            return PAGE
        path = asked.path[len(prefix) :] or "/"
        status, headers, body = support.forward(asked.method, f"{bare}{path}", asked.headers, asked.body)
        return Reply(status, body, headers)

    with StubServer(answer) as server:
        yield f"{server.url}{prefix}"


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_prefix: str) -> str:
    """A file of two documents, whose name is a database's; the current folder is the test's own."""
    monkeypatch.chdir(tmp_path)
    name = f"{database_prefix}a"
    Path(f"{name}.ndjson").write_text('{"_id":"a"}\n{"_id":"b"}\n')
    return name


def done(*words: str, code: int = 0) -> str:
    """Run a command that ends with a code."""
    ran = commands.run(*words)
    assert ran.code == code, ran.output
    return ran.output


@pytest.mark.parametrize("slash", ["", "/"])
def test_documents_go_in_and_out(
    server_url: str, below: str, source: str, database_prefix: str, slash: str
) -> None:
    """run, plan, verify, retry, convert; with a database in the URL and without, from and to."""
    file, name = f"{source}.ndjson", source
    done("run", "-q", "--from", file, "--to", f"{below}{slash}")
    assert set(support.documents(server_url, name)) == {"a", "b"}
    done("run", "-q", "--from", file, "--to", f"{below}/{database_prefix}x{slash}", "--restart")
    assert set(support.documents(server_url, f"{database_prefix}x")) == {"a", "b"}
    assert name in done("plan", "--from", file, "--to", f"{below}{slash}")
    done("verify", "-q", "--from", file, "--to", f"{below}/{database_prefix}x{slash}")
    done("verify", "-q", "--from", f"{below}/{name}{slash}", "--to", f"{below}/{database_prefix}x{slash}")
    done("run", "-q", "--from", f"{below}/{name}{slash}", "--to", "out")
    assert len(Path(f"out/{name}.ndjson").read_text().splitlines()) == 2
    reject = {"collection": name, "id": "c", "stage": "load", "error": "x", "reason": "", "document": {"_id": "c"}}
    Path("rejects").write_text(json.dumps(reject) + "\n")
    done("retry", "-q", "rejects", "--to", f"{below}{slash}")
    assert set(support.documents(server_url, name)) == {"a", "b", "c"}
    done("convert", "-q", "--from", f"{below}/{name}{slash}", "--to", "a.backup", "--format", "couchbackup")
    done("convert", "-q", "--from", "a.backup", "--to", f"{below}/{database_prefix}y{slash}")
    assert set(support.documents(server_url, f"{database_prefix}y")) == {"a", "b", "c"}


def test_backups_and_fixtures(server_url: str, below: str, source: str, database_prefix: str) -> None:
    """backup, restore, seed, snapshot."""
    done("run", "-q", "--from", f"{source}.ndjson", "--to", below)
    done("backup", "-q", "--from", f"{below}/{source}", "--to", "backups")
    done("backup", "-q", "--from", f"{below}/", "--database", source, "--to", "backups")
    done("restore", "-q", "--from", "backups", "--to", f"{below}/{database_prefix}r")
    done("restore", "-q", "--from", "backups", "--to", below, "--map", f"{source}={database_prefix}s")
    for name in ("r", "s"):
        assert set(support.documents(server_url, database_prefix + name)) == {"a", "b"}
    done("snapshot", "-q", f"{below}/{source}", "fixtures")
    done("seed", "-q", "fixtures", "--to", f"{below}/", "--prefix", f"{database_prefix}t_")
    assert set(support.documents(server_url, f"{database_prefix}t_{source}")) == {"a", "b"}
    done("seed", "-q", "fixtures", "--to", f"{below}/{source}", code=2)


def test_whole_servers(server_url: str, below: str, source: str, database_prefix: str, is_couchdb: bool) -> None:
    """plan, apply, doctor, wait."""
    done("run", "-q", "--from", f"{source}.ndjson", "--to", below)
    # On a server that is its own source the plan has a problem, which is said, or nothing to do.
    target = ["--to", f"{below}/", "--database", source, "--map", f"{source}={database_prefix}m", "--no-probe"]
    assert (
        commands.run("plan-server", "-q", "--from", below, *target, "--output", "plan.json", "--no-users").code
        == 0
    )
    assert commands.run("apply", "-q", "plan.json").code in ({0} if is_couchdb else {0, 3})
    assert set(support.documents(server_url, f"{database_prefix}m")) == {"a", "b"}
    for url in (below, f"{below}/{source}"):
        ran = commands.run("doctor", url, "--json", "-q")
        assert ran.code in {0, 4}, ran.output
        assert json.loads(ran.output)["server"] == below
    assert done("wait", below).strip() == f"{below} is ready."


@pytest.mark.couchdb("the sandbox has no users, no scheduler and no sizes")
def test_a_servers_upkeep(below: str, source: str, database_prefix: str) -> None:
    """compact, secure, replicate."""
    done("run", "-q", "--from", f"{source}.ndjson", "--to", below)
    done("compact", "-q", f"{below}/{source}")
    done("secure", "-q", f"{below}/{source}", "--user", f"{database_prefix}u", "--dry-run")
    done("replicate", "list", below, "--json")
    both = ["--from", f"{below}/{source}", "--to", f"{below}/{database_prefix}q", "--create-target"]
    done("replicate", "set-up", *both, "--dry-run")
    assert done("wait", f"{below}/{source}").strip() == f"{below} is ready."


def test_the_database_service(below: str, source: str, database_prefix: str, server_url: str) -> None:
    """COUCHDB_URL of an application."""
    settings = Settings(
        database_provider="couchdb",
        couchdb_url=below,
        couchdb_user=os.environ.get("COUCHDB_USER", ""),
        couchdb_password=os.environ.get("COUCHDB_PASSWORD", ""),
    )
    service = get_database_service(settings)
    service.save(source, "x", {"n": 1})
    assert set(support.documents(server_url, source)) == {"x"}
    assert service.get(source, "x")["n"] == 1


def test_the_environment_names_it(
    below: str, source: str, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """COUCHDB_URL in place of --to; and a resumed run is of the same job."""
    monkeypatch.setenv("COUCHDB_URL", f"{below}/{source}")
    done("run", "-q", "--from", f"{source}.ndjson", "--checkpoint", "c")
    done("run", "-q", "--from", f"{source}.ndjson", "--checkpoint", "c", "--resume", "--to", f"{below}/{source}/")
    assert set(support.documents(server_url, source)) == {"a", "b"}


@pytest.mark.parametrize("path", ["/nothing/there", "/couch/a/b", "/x/y/z"])
@pytest.mark.parametrize("command", ["run", "plan", "verify", "convert", "seed", "doctor", "backup"])
def test_a_path_that_leads_to_no_server(
    server_url: str, source: str, path: str, command: str, tmp_path: Path
) -> None:
    """Exit code 2 and the way a database's slash is written."""
    (tmp_path / "fixtures").mkdir()
    (tmp_path / "fixtures" / "a.ndjson").write_text('{"_id": "1"}\n')
    url = f"{server_url}{path}"
    words = {
        "seed": ["fixtures", "--to", url],
        "doctor": [url],
        "backup": ["--from", url, "--to", "backups"],
        "convert": ["--from", url, "--to", "out", "--format", "all-docs"],
    }.get(command, ["--from", f"{source}.ndjson", "--to", url])
    assert "%2F" in done(command, *words, code=2)
