"""How the command ends when a server refuses it or is gone: the exit code, one sentence, the next step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import support
from tests.support.fault_proxy import FaultProxy, Request
from tests.support.stub_server import Asked, Reply, StubServer, recorded_reply

PASSWORD = "wr0ng-p@ss"


@pytest.fixture
def source(tmp_path: Path, database_prefix: str) -> str:
    """A collection of 300 documents; its name."""
    name = f"{database_prefix}a"
    (tmp_path / "source").mkdir()
    lines = [json.dumps({"_id": f"d{n:03}", "n": n}) + "\n" for n in range(300)]
    (tmp_path / "source" / f"{name}.ndjson").write_text("".join(lines))
    return name


def command(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder, with no credentials but those given."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("COUCHDB_")}
    return subprocess.run(
        [sys.executable, "-m", "migrator", *arguments],
        cwd=folder,
        env={**clean, "HOME": str(folder), **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def assert_told(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 5, words for people, no traceback and no password."""
    assert (done.returncode, done.stdout) == (5, ""), done.stderr
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stderr


@pytest.fixture(params=["bad login 1", "locked"])
def refusing(request: pytest.FixtureRequest) -> Iterator[StubServer]:
    """A server that wants other credentials, or has locked the account."""
    reason = "Account is temporarily locked due to multiple authentication failures"
    locked = Reply(403, {"error": "forbidden", "reason": reason})
    reply = locked if request.param == "locked" else recorded_reply(request.param)

    def answer(asked: Asked) -> Reply:
        return reply if "Authorization" in asked.headers else Reply(200, {"status": "ok"})

    with StubServer(answer) as server:
        yield server


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--from", "source", "--to", "URL", "--in-flight", "8"),
        ("run", "--from", "URL", "--to", "out"),
        ("run", "--from", "URL/db", "--to", "out"),
        ("run", "--from", "source", "--to", "URL", "--dry-run"),
        ("plan", "--from", "source", "--to", "URL"),
        ("verify", "--from", "source", "--to", "URL"),
    ],
    ids=" ".join,
)
def test_refused_credentials_are_sent_once(
    arguments: tuple[str, ...], refusing: StubServer, source: str, tmp_path: Path
) -> None:
    """One request with credentials, and no second one: five failures lock an account for everybody."""
    words = [argument.replace("URL", refusing.url) for argument in arguments]
    done = command(tmp_path, *words, COUCHDB_USER="ada", COUCHDB_PASSWORD=PASSWORD)
    assert len([asked for asked in refusing.asked if "Authorization" in asked.headers]) == 1
    assert_told(done, refusing.url, "five")


def test_waiting_tries_no_password(refusing: StubServer, tmp_path: Path) -> None:
    """Whether a server answers is found out without credentials that may be wrong."""
    done = command(tmp_path, "wait", refusing.url, COUCHDB_USER="ada", COUCHDB_PASSWORD=PASSWORD)
    assert done.returncode == 0, done.stderr
    assert [asked for asked in refusing.asked if "Authorization" in asked.headers] == []


def test_a_server_that_goes_away_leaves_a_checkpoint(server_url: str, source: str, tmp_path: Path) -> None:
    """Exit code 5 after what is settled was saved; the same command with --resume sends only the rest."""
    writes = 0

    def plan(request: Request) -> str | None:
        nonlocal writes
        writes += request.path.endswith("/_bulk_docs")
        return "reset_before" if writes > 4 else None

    with FaultProxy(server_url, plan) as proxy:
        job = ["run", "--from", "source", "--to", proxy.url, "--batch-docs", "30", "--in-flight", "1"]
        job += ["--checkpoint", "cp.json", "--max-attempts", "2", "--resume", "--report", "report.json"]
        done = command(tmp_path, *job)
        assert_told(done, proxy.url.rpartition("@")[2], "migrator wait")
        saved = json.loads((tmp_path / "cp.json").read_text())
        assert saved["collections"][source]["counts"]["written"] == 120
        assert oct((tmp_path / "cp.json").stat().st_mode & 0o777) == "0o600"
        proxy.plan = lambda _request: None
        done = command(tmp_path, *job)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["ok"], report["totals"]["read"], report["totals"]["written"]) == (True, 180, 180)
    revisions = support.revisions(server_url, source)
    assert len(revisions) == 300
    assert {rev.partition("-")[0] for rev in revisions.values()} == {"1"}


def test_a_redirect_is_followed_nowhere(source: str, tmp_path: Path) -> None:
    """The other address is named, and gets nothing."""
    with StubServer(lambda _: Reply(200, {"couchdb": "Welcome"})) as other:
        with StubServer(lambda _: Reply(301, b"", {"Location": f"{other.url}/x"})) as server:
            done = command(
                tmp_path,
                "run",
                "--from",
                "source",
                "--to",
                server.url,
                COUCHDB_USER="ada",
                COUCHDB_PASSWORD=PASSWORD,
            )
        assert_told(done, f"{other.url}/x")
        assert other.asked == []
