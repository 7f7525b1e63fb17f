"""`migrator run --replicate`: done by CouchDB itself; here it is started, followed and held to account."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from click.testing import CliRunner, Result

from migrator.cli import cli
from migrator.config import JobConfig
from migrator.errors import EndpointError, Interrupted, LockedError
from migrator.jobs.replicate import replicate_job
from migrator.model.events import CollectionStarted, Event
from tests import support
from tests.support.processes import ended, wait_until

pytestmark = pytest.mark.usefixtures("no_credentials")

REFUSE_SEVENS = "function (d) { if (d.n % 100 === 7) throw({forbidden: 'no sevens'}); }"


@pytest.fixture
def pair(server_url: str, second_url: str, database_prefix: str) -> Iterator[tuple[str, str]]:
    """URLs of a source database of 300 documents with a conflict and a deletion, and of a target to be made."""
    name = f"{database_prefix}a"
    assert support.request("PUT", f"{server_url}/{name}?q=3")[0] in {201, 202}
    docs = [{"_id": f"d{n:03}", "n": n} for n in range(300)]
    support.request("POST", f"{server_url}/{name}/_bulk_docs", {"docs": docs})
    conflict = {"_id": "d001", "_rev": "1-abc", "n": "other", "_revisions": {"start": 1, "ids": ["abc"]}}
    support.request("POST", f"{server_url}/{name}/_bulk_docs", {"docs": [conflict], "new_edits": False})
    rev = support.get(f"{server_url}/{name}/d002")["_rev"]
    assert support.request("DELETE", f"{server_url}/{name}/d002?rev={rev}")[0] == 200
    target = f"{second_url}/{name}_copy"
    yield f"{server_url}/{name}", target
    support.request("DELETE", target)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["run", "--replicate", "--quiet", *arguments])


def totals(result: Result) -> dict[str, int]:
    value: dict[str, int] = json.loads(result.stdout)["totals"]
    return {name: value[name] for name in ("read", "written", "unchanged", "rejected")}


def jobs_left(server: str, source: str) -> list[str]:
    """Documents of _replicator that name this source."""
    base = server.rpartition("/")[0]
    if support.request("GET", f"{base}/_replicator")[0] == 404:
        return []
    name = source.rpartition("/")[2]
    found = support.documents(base, "_replicator")
    named = [id for id, document in found.items() if name in json.dumps(document.get("source", ""))]
    # A cluster lists from one copy, which may be late; a document is asked of most copies.
    return [id for id in named if support.request("GET", f"{base}/_replicator/{quote(id)}")[0] == 200]


replicates = pytest.mark.couchdb("the sandbox has no replicator that can be followed")


def test_a_server_without_a_replicator_is_named(pair: tuple[str, str], is_couchdb: bool) -> None:
    """The sandbox has none that can be followed: exit 2, nothing created, and what works instead."""
    result = run("--from", pair[0], "--to", pair[1])
    if is_couchdb:
        assert result.exit_code == 0, result.output
    else:
        assert getattr(result.exception, "exit_code", None) == 2
        assert "--replicate" in str(result.exception)
        assert support.request("GET", pair[1])[0] == 404


@replicates
def test_revisions_conflicts_and_deletions_arrive(pair: tuple[str, str]) -> None:
    """All leaves as they are, the database as the source's is, no job left; a second run carries just the news."""
    source, target = pair
    result = run("--from", source, "--to", target, "--report", "-")
    assert result.exit_code == 0, (result.output, result.exception)
    assert totals(result) == {"read": 301, "written": 301, "unchanged": 0, "rejected": 0}
    assert support.get(target)["cluster"]["q"] == 3
    assert support.get(f"{target}/d001?conflicts=true")["_conflicts"]
    assert support.request("GET", f"{target}/d002")[1]["reason"] == "deleted"
    assert jobs_left(target, source) == []
    support.request("PUT", f"{source}/new", {"n": 1})
    result = run("--from", source, "--to", target, "--report", "-", "--keep-job")
    assert result.exit_code == 0
    assert totals(result) == {"read": 1, "written": 1, "unchanged": 0, "rejected": 0}
    (id,) = jobs_left(target, source)
    result = run("--from", source, "--to", target, "--report", "-")
    assert totals(result)["read"] == 0
    assert jobs_left(target, source) == []
    assert id.startswith("migrator-")


@replicates
def test_documents_that_the_server_skips_fail_the_run(pair: tuple[str, str]) -> None:
    """The server says `completed`; the run says 3, again when nothing is new, until --restart has fixed it."""
    source, target = pair
    assert support.request("PUT", target)[0] in {201, 202}
    support.request("PUT", f"{target}/_design/v", {"validate_doc_update": REFUSE_SEVENS})
    result = run("--from", source, "--to", target, "--report", "-")
    assert result.exit_code == 3, result.output
    assert totals(result) == {"read": 301, "written": 298, "unchanged": 0, "rejected": 3}
    assert "migrator verify" in result.stderr
    rev = support.get(f"{target}/_design/v")["_rev"]
    assert support.request("DELETE", f"{target}/_design/v?rev={rev}")[0] == 200
    result = run("--from", source, "--to", target, "--report", "-")
    assert result.exit_code == 3
    # A cluster's replicator can find a late copy of its own checkpoint, and then it compares all once more.
    again = 298 if support.is_cluster(target.rpartition("/")[0]) and totals(result)["read"] == 301 else 0
    assert totals(result) == {"read": 3 + again, "written": 0, "unchanged": again, "rejected": 3}
    assert "--restart" in result.stderr
    result = run("--from", source, "--to", target, "--report", "-", "--restart")
    assert result.exit_code == 0, result.output
    assert totals(result) == {"read": 301, "written": 3, "unchanged": 298, "rejected": 0}
    assert support.get(f"{target}/d107")["n"] == 107
    result = run("--from", source, "--to", target, "--report", "-")
    assert result.exit_code == 0
    assert totals(result)["rejected"] == 0


@replicates
def test_a_replication_that_cannot_be_ends_with_the_servers_reason(
    pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that is gone in the middle: exit 5, the reason, no password, and no job that goes on."""
    source, target = pair
    from migrator.couch import replicator  # what the server is told, not what we reach

    real = replicator.side
    monkeypatch.setattr(
        "migrator.jobs.replicate.side",
        lambda endpoint, name: {**real(endpoint, name), "url": real(endpoint, name)["url"] + "_missing"},
    )
    with pytest.raises(EndpointError) as caught:
        replicate_job(JobConfig(source=source, target=target, replicate=True), environ={})
    assert caught.value.exit_code == 5
    assert "db_not_found" in str(caught.value)
    assert (urlsplit(source).password or "no password") not in str(caught.value)
    assert jobs_left(target, source) == []


@replicates
def test_stopping_removes_the_job(pair: tuple[str, str]) -> None:
    """Told to stop, it takes the job away and says that the next run goes on."""
    source, target = pair
    stopping = threading.Event()

    def listener(event: Event) -> None:
        if isinstance(event, CollectionStarted):
            threading.Timer(0.3, stopping.set).start()

    with pytest.raises(Interrupted):
        replicate_job(
            JobConfig(source=source, target=target, replicate=True),
            environ={},
            listener=listener,
            stopping=stopping,
        )
    assert jobs_left(target, source) == []
    result = run("--from", source, "--to", target)
    assert result.exit_code == 0


@replicates
def test_a_killed_run_is_taken_up(pair: tuple[str, str], tmp_path: Path) -> None:
    """After kill -9 the server goes on; the next run takes the place of that job, and two at once are refused."""
    source, target = pair
    command = [sys.executable, "-m", "migrator", "run", "--replicate", "--from", source, "--to", target]
    command += ["--checkpoint", str(tmp_path / "lock"), "--log-format", "json"]
    with ended(subprocess.Popen(command, stderr=subprocess.PIPE, text=True)) as process:
        wait_until(lambda: bool(jobs_left(target, source)), process=process)
        config: dict[str, Any] = {"source": source, "target": target, "replicate": True}
        with pytest.raises(LockedError):
            replicate_job(JobConfig(**config, checkpoint=str(tmp_path / "lock")), environ={})
        process.send_signal(signal.SIGKILL)
        assert process.stderr is not None
        log = process.stderr.read()
    assert "secret" not in log
    result = replicate_job(JobConfig(**config, checkpoint=str(tmp_path / "lock")), environ={})
    assert result.report.ok
    assert jobs_left(target, source) == []
    assert len(support.revisions(*target.rsplit("/", 1))) == 299


@pytest.mark.parametrize(
    "flags",
    [
        ["--transform", "drop:a"],
        ["--on-conflict", "overwrite"],
        ["--dry-run"],
    ],
    ids=" ".join,
)
def test_what_the_replicator_cannot_is_refused(flags: list[str]) -> None:
    """Exit 2 before anything is opened, with what to use instead."""
    result = run("--from", "http://localhost:1/a", "--to", "http://localhost:1/b", *flags)
    assert getattr(result.exception, "exit_code", result.exit_code) == 2
    assert flags[0] in str(result.exception)
