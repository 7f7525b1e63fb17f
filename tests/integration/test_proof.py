"""Writes that are proven as they happen, through a proxy that changes a byte of what is posted.

The sandbox gives revisions of its own: nothing is proven there, and nobody is accused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from migrator.config import JobConfig
from migrator.errors import VerificationError
from migrator.files.own_json import seal
from migrator.jobs.since_last import since_last_job
from migrator.verification import job
from migrator.verification.job import verify_job
from tests import support
from tests.integration.test_faults import make_documents, run, write_source
from tests.support import commands
from tests.support.fault_proxy import FaultProxy, Request, changing_a_byte

pytestmark = pytest.mark.usefixtures("no_credentials")

# Of the 300 documents, the one with this number.
BYTE = (b'"n": 77,', b'"n": 78,')
GUILTY = "d00077"


@pytest.fixture
def source(tmp_path: Path, database_prefix: str) -> Path:
    """300 documents of one collection."""
    return write_source(tmp_path / "source", f"{database_prefix}a", make_documents(300))


def numbers(report: Any) -> tuple[int, int, int, int, int, int]:
    """Read, written, unchanged, rejected, proven and altered."""
    totals = report.totals
    return (totals.read, totals.written, totals.unchanged, totals.rejected, totals.proven, totals.altered)


def test_all_that_is_written_is_proven(tmp_path: Path, source: Path, server_url: str, is_couchdb: bool) -> None:
    """And what a second run finds unchanged."""
    all_of_them = 300 if is_couchdb else 0
    assert numbers(run(tmp_path, source, server_url, prove=True).report) == (300, 300, 0, 0, all_of_them, 0)
    assert numbers(run(tmp_path, source, server_url, prove=True).report) == (300, 0, 300, 0, all_of_them, 0)
    assert numbers(run(tmp_path, source, server_url, prove=False).report) == (300, 0, 300, 0, 0, 0)


def test_a_byte_that_is_changed_on_the_way(
    tmp_path: Path, source: Path, server_url: str, database_prefix: str, is_couchdb: bool
) -> None:
    """Exit 4, the document named and on the reject file, and the numbers add up; written again it is as meant."""
    name = f"{database_prefix}a"
    rejects, report = tmp_path / "rejects.ndjson", tmp_path / "report.json"
    words = ["run", "--from", str(source), "--rejects", str(rejects), "--report", str(report), "--prove"]
    with FaultProxy(server_url, changing_a_byte(*BYTE)) as proxy:
        ran = commands.run(*words, "--to", proxy.url, "--checkpoint", str(tmp_path / "cp"), with_errors=True)
    found = json.loads(report.read_text())["totals"]
    assert found["read"] == 300 == found["written"] + found["rejected"]
    assert support.get(f"{server_url}/{name}/{GUILTY}")["n"] == 78
    if not is_couchdb:
        assert (ran.code, found["rejected"], found["proven"], found["altered"]) == (0, 0, 0, 0)
        return
    assert (ran.code, found["rejected"], found["proven"], found["altered"]) == (4, 1, 299, 1)
    assert "1 document was rejected. 1 of them was changed on the way to the server." in ran.output
    (reject,) = map(json.loads, rejects.read_text().splitlines())
    assert (reject["collection"], reject["id"], reject["error"]) == (name, GUILTY, "altered")
    assert reject["document"] == make_documents(300)[77]
    assert "they differ first at n" in reject["reason"]
    again = commands.run("retry", str(rejects), "--to", server_url, "--on-conflict", "overwrite", "--prove")
    assert again.code == 0
    assert support.contents(f"{server_url}/{name}")[GUILTY]["n"] == 77


@pytest.mark.couchdb("its revisions are what proves")
def test_a_run_that_goes_on_adds_up(tmp_path: Path, source: Path, server_url: str) -> None:
    """What the run before proved and found changed counts for the exit code of the whole job."""
    words = ["run", "--from", str(source), "--checkpoint", str(tmp_path / "cp"), "--batch-docs", "50", "--prove"]
    words += ["--rejects", str(tmp_path / "rejects.ndjson")]
    with FaultProxy(server_url, changing_a_byte(*BYTE)) as proxy:
        stopped = commands.run(*words, "--to", proxy.url, "--max-errors", "0")
        assert (stopped.code, "1 of " in stopped.output) == (4, True)
        before = json.loads((tmp_path / "cp").read_text())["collections"].popitem()[1]["counts"]
        assert (before["rejected"], before["altered"]) == (1, 1)
        assert before["proven"] == before["written"] == before["read"] - 1
        ended = commands.run(*words, "--to", proxy.url, "--resume", "--report", str(tmp_path / "report.json"))
    assert ended.code == 4
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["totals"]["proven"] + found["settled_before"]["proven"] == 299
    assert found["totals"]["altered"] + found["settled_before"]["altered"] == 1


@pytest.mark.couchdb("its revisions are what proves")
def test_a_checkpoint_without_the_numbers_is_gone_on_from(tmp_path: Path, source: Path, server_url: str) -> None:
    """A version before has written it."""
    with FaultProxy(server_url, changing_a_byte(*BYTE)) as proxy:
        with pytest.raises(VerificationError, match="more than allowed"):
            run(tmp_path, source, proxy.url, prove=True, max_errors="0", in_flight=1)
        path = tmp_path / "checkpoint.json"
        value = json.loads(path.read_text())
        for state in value["collections"].values():
            del state["counts"]["proven"], state["counts"]["altered"]
        del value["checksum"]
        path.write_bytes(seal(value))
        report = run(tmp_path, source, proxy.url, restart=False, resume=True, prove=True).report
    assert (report.carried.proven, report.carried.rejected) == (0, 1)
    assert report.totals.proven == report.totals.read > 0
    assert report.totals.read + report.carried.read == 300


@pytest.mark.couchdb("its revisions are what proves")
def test_changes_since_the_last_run_are_proven(tmp_path: Path, server_url: str, database_prefix: str) -> None:
    """Updates and deletions by the revisions over their parents; one that is changed on its way is rejected."""
    ours, theirs = f"{server_url}/{database_prefix}s", f"{database_prefix}t"

    def since_last(url: str) -> Any:
        config = JobConfig(
            source=ours,
            target=f"{url}/{theirs}",
            since_last=True,
            on_conflict="overwrite",
            prove=True,
            checkpoint=str(tmp_path / "cp.json"),
            rejects=str(tmp_path / "rejects.ndjson"),
        )
        return numbers(since_last_job(config, environ={}).report)

    support.request("PUT", ours)
    support.request("POST", f"{ours}/_bulk_docs", {"docs": [{"_id": f"d{n}", "n": n} for n in range(20)]})
    with FaultProxy(server_url, changing_a_byte(b'"n":103', b'"n":203', of=f"/{theirs}/_bulk_docs")) as proxy:
        assert since_last(proxy.url) == (20, 20, 0, 0, 20, 0)
        revs = support.revisions(server_url, f"{database_prefix}s")
        docs: list[dict[str, Any]] = [{"_id": f"d{n}", "_rev": revs[f"d{n}"], "n": n + 100} for n in range(5)]
        docs.append({"_id": "d19", "_rev": revs["d19"], "_deleted": True})
        support.request("POST", f"{ours}/_bulk_docs", {"docs": docs})
        assert since_last(proxy.url) == (6, 5, 0, 1, 5, 1)
    (reject,) = map(json.loads, (tmp_path / "rejects.ndjson").read_text().splitlines())
    assert (reject["id"], reject["error"]) == ("d3", "altered")


def test_a_backup_proves_what_it_reads(
    tmp_path: Path, server_url: str, database_prefix: str, is_couchdb: bool
) -> None:
    """First revisions prove, and one that is not of its content is named; the backup is whole all the same."""
    name = f"{database_prefix}b"
    url = f"{server_url}/{name}"
    support.request("PUT", url)
    attached = {"file": {"content_type": "text/plain", "data": "eA=="}}
    plain = [
        {"_id": f"d{n}", "n": n, "f": n / 4, "s": "Zoë \U0001f600", "deep": [[{"x": None}]]} for n in range(30)
    ]
    support.request("POST", f"{url}/_bulk_docs", {"docs": [*plain, {"_id": "a", "_attachments": attached}]})
    revs = support.revisions(server_url, name)
    later = [{"_id": "d0", "_rev": revs["d0"], "n": 5}, {"_id": "d1", "_rev": revs["d1"], "_deleted": True}]
    support.request("POST", f"{url}/_bulk_docs", {"docs": later})
    # As a replication from elsewhere brings it.
    others = [{"_id": f"other{n}", "_rev": "1-" + f"{n:032}", "n": 1} for n in range(25)]
    support.request("POST", f"{url}/_bulk_docs", {"docs": others, "new_edits": False})
    words = ["backup", "--from", url, "--to", str(tmp_path / "backups"), "--full"]
    ran = commands.run(*words, "--report", str(tmp_path / "report.json"), "--prove", with_errors=True)
    assert ran.code == 0
    found = json.loads((tmp_path / "report.json").read_text())["databases"][name]
    assert (found["ok"], found.get("proven")) == (True, 28 if is_couchdb else None)
    unlike = {"documents": 25, "ids": sorted(f"other{n}" for n in range(25))[:20]}
    assert found.get("unlike") == (unlike if is_couchdb else None)
    warning = (
        f"{name}: 25 documents with other content than that of the first revision: 'other0', 'other1', 'other10'"
    )
    assert (warning in ran.output) is is_couchdb
    found = commands.run(*words, "--no-prove", "--json").value["databases"][name]
    assert "proven" not in found
    assert "unlike" not in found


@pytest.fixture
def verified(tmp_path: Path, source: Path, server_url: str, database_prefix: str) -> Any:
    """A run with `--verify`, and what that found; something can happen at the target in between."""
    name = f"{database_prefix}a"

    def run_it(between: Any = None, *more: str) -> tuple[int, dict[str, Any], int]:
        answers = 0

        def plan(request: Request) -> None:
            nonlocal between, answers
            if request.method == "GET" and request.path.startswith(f"/{name}/_all_docs"):
                answers += 1
                if between is not None:
                    between()
                    between = None

        with FaultProxy(server_url, plan) as proxy:
            words = ["run", "--from", str(source), "--to", proxy.url, "--restart", "--verify", "--prove", *more]
            files = ["--checkpoint", str(tmp_path / "cp"), "--report", str(tmp_path / "report.json")]
            files += ["--rejects", str(tmp_path / "rejects.ndjson")]
            ran = commands.run(*words, *files)
        found = json.loads((tmp_path / "report.json").read_text())
        return ran.code, found["verification"], answers

    return run_it


def test_what_was_proven_is_not_read_once_more(verified: Any, is_couchdb: bool) -> None:
    """The list of the target is enough, with one number for all that was proven."""
    code, found, lists = verified()
    assert (code, found["ok"]) == (0, True)
    assert found["totals"] == {
        "source": 300,
        "target": 300,
        "equal": 300,
        "different": 0,
        "missing": 0,
        "extra": 0,
    }
    assert found.get("proven", 0) == (300 if is_couchdb else 0)
    # The sandbox is asked for bodies too.
    assert lists == 1 or not is_couchdb
    assert "proven" not in verified(None, "--no-prove")[1]


@pytest.mark.parametrize("what", ["changed", "deleted", "added"])
def test_what_others_do_meanwhile_is_found(
    what: str, verified: Any, server_url: str, database_prefix: str
) -> None:
    """A list that holds anything else is compared with the source, and each difference is named."""
    url = f"{server_url}/{database_prefix}a"

    def between() -> None:
        stored = support.get(f"{url}/{GUILTY}")
        if what == "changed":
            support.request("PUT", f"{url}/{GUILTY}", {**stored, "n": 1})
        elif what == "deleted":
            support.request("DELETE", f"{url}/{GUILTY}?rev={stored['_rev']}")
        else:
            support.request("PUT", f"{url}/{GUILTY}x", {"n": 1})

    code, found, _ = verified(between)
    assert code == 4
    id, kind = {
        "changed": (GUILTY, "different"),
        "deleted": (GUILTY, "missing"),
        "added": (f"{GUILTY}x", "extra"),
    }[what]
    assert [(each["id"], each["kind"]) for each in found["differences"]] == [(id, kind)]
    assert "proven" not in found


def test_a_source_that_changed_meanwhile_is_read(
    verified: Any, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its content is no longer that of which all was written: the document that came late is missing."""
    (path,) = source.glob("*.ndjson")

    def verifies(self: Any, *rest: Any, **named: Any) -> Any:
        path.write_bytes(path.read_bytes() + b'{"_id":"late"}\n')
        return verify_job(self, *rest, **named)

    monkeypatch.setattr(job, "verify_job", verifies)
    code, found, _ = verified()
    assert (code, [each["id"] for each in found["differences"]]) == (4, ["late"])
    assert "proven" not in found


def test_own_designs_of_the_target_and_twins_of_the_source(
    verified: Any, source: Path, server_url: str, database_prefix: str, is_couchdb: bool
) -> None:
    """The target's own design documents are not difference; a twin is at the target once, so all is read."""
    url = f"{server_url}/{database_prefix}a"
    support.request("PUT", url)
    support.request("PUT", f"{url}/_design/own", {"views": {}})
    code, found, _ = verified()
    assert (code, found["totals"]["source"], found["totals"]["target"]) == (0, 300, 301)
    assert found.get("proven", 0) == (300 if is_couchdb else 0)
    (path,) = source.glob("*.ndjson")
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[0])
    code, found, _ = verified()
    assert (code, found["totals"]["source"], found["totals"]["target"]) == (0, 301, 301)
    assert "proven" not in found
