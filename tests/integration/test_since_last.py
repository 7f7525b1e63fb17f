"""`migrator run --since-last`: all at the first run, then what changed; nothing lost, nothing doubled."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner

from migrator.cli import cli
from migrator.config import JobConfig
from migrator.couch.client import CouchClient
from migrator.couch.endpoint import parse_endpoint
from migrator.errors import CheckpointError, ConfigError, EndpointError
from migrator.extractors import changes
from migrator.extractors.changes import ChangesExtractor, Since
from migrator.jobs.marks import paths_of
from migrator.jobs.run import JobResult
from migrator.jobs.since_last import since_last_job
from migrator.model import Counts, Position
from tests import support
from tests.support.fault_proxy import FaultProxy, Request, at_random

pytestmark = pytest.mark.usefixtures("no_credentials")


@dataclass
class Pair:
    """A source and a target database, on two servers where there are two."""

    server: str
    name: str
    second: str
    copy: str
    folder: Path

    @property
    def source(self) -> str:
        """The database's URL."""
        return f"{self.server}/{self.name}"

    @property
    def target(self) -> str:
        """The database's URL."""
        return f"{self.second}/{self.copy}"

    def put(self, id: str, **fields: Any) -> None:
        """Write a document at the source, whatever is there."""
        put(self.source, id, **fields)

    def delete(self, id: str) -> None:
        """Delete a document at the source."""
        rev = support.get(f"{self.source}/{quote(id, safe='')}")["_rev"]
        assert support.request("DELETE", f"{self.source}/{quote(id, safe='')}?rev={rev}")[0] in {200, 202}

    def run(self, **options: Any) -> dict[str, int]:
        """One run; the numbers that are not 0."""
        return told(self.job(**options).report.totals)

    def job(self, **options: Any) -> JobResult:
        """One run."""
        settings: dict[str, Any] = {
            "source": self.source,
            "target": self.target,
            "since_last": True,
            "checkpoint": str(self.folder / "cp.json"),
            "rejects": str(self.folder / "rejects.ndjson"),
            **options,
        }
        return since_last_job(JobConfig(**settings), environ={})

    def same(self) -> bool:
        """Both hold the same documents."""
        return contents(self.server, self.name) == contents(self.second, self.copy)


def put(database: str, id: str, **fields: Any) -> None:
    url = f"{database}/{quote(id, safe='')}"
    status, value = support.request("GET", url)
    rev = {"_rev": value["_rev"]} if status == 200 else {}
    assert support.request("PUT", url, {**rev, **fields})[0] in {201, 202}


def contents(server: str, name: str) -> dict[str, Any]:
    return support.plain(support.documents(server, name))


def is_deleted(database: str, id: str) -> bool:
    """True for a document that has been, false for one that never was."""
    _, value = support.request("POST", f"{database}/_all_docs", {"keys": [id]})
    (row,) = value["rows"]
    return row.get("value", {}).get("deleted") is True


def told(counts: Counts) -> dict[str, int]:
    # How many are proven depends on the server and on the compiled part.
    return {name: value for name, value in counts.as_dict().items() if value and name != "proven"}


@pytest.fixture
def pair(server_url: str, second_url: str, database_prefix: str, tmp_path: Path) -> Iterator[Pair]:
    """A source of 30 documents, and a target that is not there yet."""
    name = f"{database_prefix}a"
    found = Pair(server_url, name, second_url, f"{name}_copy", tmp_path)
    assert support.request("PUT", found.source)[0] in {201, 202}
    docs = [{"_id": f"d{n:02}", "n": n} for n in range(30)]
    support.request("POST", f"{found.source}/_bulk_docs", {"docs": docs})
    yield found
    support.request("DELETE", found.target)


def test_only_what_changed_is_carried(pair: Pair) -> None:
    """All, then nothing, then one new, one changed and one deleted document and the design document; each once."""
    assert pair.run() == {"read": 30, "written": 30}
    assert pair.run() == {}
    before = support.revisions(pair.second, pair.copy)
    pair.put("new/é", n=1)
    pair.put("d01", n="changed")
    pair.delete("d02")
    pair.put("_design/x", views={})
    assert pair.run() == {"read": 4, "written": 4, "conflicts": 2}
    assert pair.same()
    after = support.revisions(pair.second, pair.copy)
    assert {id for id in before if after.get(id) != before[id]} == {"d01", "d02"}
    assert is_deleted(pair.target, "d02")
    assert pair.run() == {}


def test_what_changes_twice_is_carried_as_it_is(pair: Pair) -> None:
    """Changed and deleted, deleted and made again, made and deleted: the last state counts."""
    pair.run()
    pair.put("d01", n=1)
    pair.delete("d01")
    pair.delete("d02")
    pair.put("d02", n="again")
    pair.put("brief", n=1)
    pair.delete("brief")
    assert pair.run() == {"read": 3, "written": 2, "unchanged": 1, "conflicts": 2}
    assert pair.same()
    assert not is_deleted(pair.target, "brief")
    pair.put("d01", n="back")
    pair.run()
    assert pair.same()


def test_attachments_come_along(pair: Pair) -> None:
    """A document whose attachment changes arrives with its bytes."""
    pair.run()
    data = {"a.bin": {"content_type": "application/octet-stream", "data": "AAEC"}}
    pair.put("d03", n=3, _attachments=data)
    assert pair.run()["written"] == 1
    found = support.get(f"{pair.target}/d03?attachments=true")
    assert found["_attachments"]["a.bin"]["data"] == "AAEC"


def test_deletions_can_be_left_alone(pair: Pair) -> None:
    """Then they count as filtered."""
    pair.run(deletions="ignore")
    pair.delete("d04")
    assert pair.run(deletions="ignore") == {"read": 1, "filtered": 1}
    assert support.get(f"{pair.target}/d04")["n"] == 4


def test_transformers_apply_to_changes(pair: Pair) -> None:
    """What a filter no longer lets through goes from the target, as if it had never been let through."""
    spec = {"transform": ("where:!retired", "drop:secret")}
    pair.put("gone", retired=True)
    assert pair.run(**spec) == {"read": 31, "written": 30, "filtered": 1}
    pair.put("d05", n=5, secret="x")
    pair.put("d06", n=6, retired=True)
    pair.put("gone", retired=False)
    pair.put("never", retired=True)
    assert pair.run(**spec) == {"read": 4, "written": 2, "unchanged": 2, "conflicts": 1}
    stored = contents(pair.second, pair.copy)
    assert "d06" not in stored
    assert "never" not in stored
    assert stored["gone"] == {"_id": "gone", "retired": False}
    assert "secret" not in stored["d05"]


def test_other_transformers_are_another_job(pair: Pair) -> None:
    """What is there was made by the old ones, and is replaced when the user says so."""
    pair.run()
    with pytest.raises(CheckpointError, match="transform"):
        pair.run(transform=("drop:n",))
    assert pair.run(transform=("drop:n",), restart=True) == {"read": 30, "written": 30, "conflicts": 30}


def test_an_id_that_a_function_changes_is_rejected_plainly(pair: Pair, tmp_path: Path) -> None:
    """With deletions carried, ids must be the same on both sides; with them ignored, they need not."""
    module = "tests.integration.test_since_last:with_prefix"
    assert pair.run(transform=(module,)) == {"read": 30, "rejected": 30}
    line = json.loads((tmp_path / "rejects.ndjson").read_text().splitlines()[0])
    assert "--deletions ignore" in line["reason"]
    assert pair.run(transform=(module,), deletions="ignore") == {"read": 30, "written": 30}
    assert "x-d01" in contents(pair.second, pair.copy)


def with_prefix(document: dict[str, Any]) -> dict[str, Any]:
    """A user's transformer that makes other ids."""
    return {**document, "_id": f"x-{document['_id']}"}


def test_documents_that_were_there_before_are_not_overwritten_unasked(pair: Pair) -> None:
    """The first copy rejects what differs, and so does the next run, until the user has said what is meant."""
    assert support.request("PUT", pair.target)[0] in {201, 202}
    put(pair.target, "d07", n="theirs")
    put(pair.target, "other", n="theirs")
    assert pair.run() == {"read": 30, "written": 29, "rejected": 1, "conflicts": 1}
    assert pair.run() == {"read": 30, "unchanged": 29, "rejected": 1, "conflicts": 1}
    assert support.get(f"{pair.target}/d07")["n"] == "theirs"
    assert pair.run(on_conflict="overwrite") == {"read": 30, "written": 1, "unchanged": 29, "conflicts": 1}
    assert pair.run() == {}
    assert support.get(f"{pair.target}/other")["n"] == "theirs"


@pytest.mark.parametrize(
    ("policy", "changed", "deleted"),
    [("overwrite", "ours", None), ("skip", "theirs", "theirs"), ("newer", "theirs", None)],
)
def test_the_policy_decides_over_edits_at_the_target(
    pair: Pair, policy: str, changed: str, deleted: str | None
) -> None:
    """`newer` protects what was edited later; `skip` carries only new documents; deletions follow suit."""
    policies = {"on_conflict": policy, "newer_field": "at" if policy == "newer" else ""}
    pair.put("d08", n=0, at=1)
    pair.put("d09", n=0, at=1)
    pair.run(**policies)
    put(pair.target, "d08", n="theirs", at=9)
    put(pair.target, "d09", n="theirs", at=9)
    pair.put("d08", n="ours", at=5)
    pair.delete("d09")
    pair.put("new", n=1, at=1)
    pair.run(**policies)
    stored = contents(pair.second, pair.copy)
    assert stored["d08"]["n"] == changed
    assert stored.get("d09", {}).get("n") == deleted
    assert "new" in stored


def test_what_was_rejected_is_tried_again_until_it_passes(pair: Pair, tmp_path: Path) -> None:
    """A run is good only when nothing is missing of earlier ones; after a fix the document arrives by itself."""
    pair.run()
    bad = "tests.integration.test_since_last:refuse_bad"
    pair.run(transform=(bad,), restart=True)
    pair.put("d11", n="bad")
    job = pair.job(transform=(bad,))
    assert told(job.report.totals) == {"read": 1, "rejected": 1}
    assert not job.report.ok
    pair.put("d12", n="fine")
    job = pair.job(transform=(bad,))
    assert told(job.report.totals) == {"read": 2, "written": 1, "rejected": 1, "conflicts": 1}
    assert not job.report.ok
    pair.put("d11", n="fixed")
    job = pair.job(transform=(bad,))
    # Once as what is to be tried again, and once as a change.
    assert told(job.report.totals) == {"read": 2, "written": 1, "unchanged": 1, "conflicts": 1}
    assert job.report.ok
    assert pair.run(transform=(bad,)) == {}
    assert pair.same()


def refuse_bad(document: dict[str, Any]) -> dict[str, Any]:
    """A user's transformer that cannot map every document."""
    if document.get("n") == "bad":
        raise ValueError(document["n"])
    return document


def test_a_database_that_was_created_again_is_read_as_a_whole(pair: Pair) -> None:
    """Of the same name, another one: its documents all arrive, and replace older copies."""
    pair.run()
    support.request("DELETE", pair.source)
    assert support.request("PUT", pair.source)[0] in {201, 202}
    pair.put("d01", n="another")
    assert pair.run() == {"read": 1, "written": 1, "conflicts": 1}
    assert support.get(f"{pair.target}/d01")["n"] == "another"
    assert pair.run() == {}


def test_a_target_that_was_emptied_is_filled_again(pair: Pair) -> None:
    """A copy that is gone is copied again, not just its changes."""
    pair.run()
    support.request("DELETE", pair.target)
    pair.put("new", n=1)
    assert pair.run() == {"read": 31, "written": 31}
    assert pair.same()


def test_a_target_that_was_made_again_is_filled_again(pair: Pair) -> None:
    """Not only where it is empty; also within the second that its age is told in."""
    pair.run()
    support.request("DELETE", pair.target)
    assert support.request("PUT", pair.target)[0] in {201, 202}
    put(pair.target, "somebody's")
    assert pair.run() == {"read": 30, "written": 30}
    assert len(contents(pair.second, pair.copy)) == 31


def test_documents_of_a_replaced_target_are_not_overwritten_unasked(pair: Pair) -> None:
    """What stands in the database that has the name now is not this job's own."""
    pair.run()
    support.request("DELETE", pair.target)
    assert support.request("PUT", pair.target)[0] in {201, 202}
    put(pair.target, "d01", n="somebody's")
    assert pair.run() == {"read": 30, "written": 29, "rejected": 1, "conflicts": 1}
    assert support.get(f"{pair.target}/d01")["n"] == "somebody's"


@pytest.mark.parametrize("named", [True, False], ids=["named", "default"])
def test_the_checkpoint_of_a_job_into_another_database_is_refused(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    """It says nothing of this one; the deletion that it had not carried yet arrives where it belongs."""
    monkeypatch.chdir(pair.folder)
    files = {} if named else {"checkpoint": "", "rejects": ""}
    pair.run(**files)
    other = f"{pair.target}_other"
    try:
        if named:
            with pytest.raises(CheckpointError, match="belongs to another job: its database was"):
                pair.run(target=other)
            assert support.request("GET", other)[0] == 404
        else:
            # Unnamed, each has a file of its own.
            assert pair.run(target=other, **files) == {"read": 30, "written": 30}
        pair.delete("d03")
        assert pair.run(**files) == {"read": 1, "written": 1, "conflicts": 1}
        assert pair.same()
    finally:
        support.request("DELETE", other)


@pytest.mark.parametrize("named", [True, False], ids=["named", "default"])
def test_a_checkpoint_that_names_no_database_is_accepted_and_completed(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    """As older versions wrote it, under the name that they gave it, with less of an identity."""
    monkeypatch.chdir(pair.folder)
    files = {} if named else {"checkpoint": "", "rejects": ""}
    with monkeypatch.context() as older:
        older.setattr("migrator.jobs.since_last.paths_of", lambda job, _: paths_of(job, None))
        path = pair.job(**files).checkpoint
    assert path is not None
    old = json.loads(path.read_text())
    assert "database" not in old["job"]
    (mark,) = old["details"]["marks"].values()
    created, token = mark["target"].split(" ")
    mark["target"] = created.strip("?")
    del old["checksum"], old["rejects_digest"], old["run"]
    path.write_text(json.dumps(old))
    pair.put("d01", n="changed")
    assert pair.run(**files) == {"read": 1, "written": 1, "conflicts": 1}
    new = json.loads(path.read_text())
    assert new["job"]["database"] == pair.copy
    (mark,) = new["details"]["marks"].values()
    assert mark["target"] == f"{created} {token}"
    if named:
        with pytest.raises(CheckpointError, match="belongs to another job"):
            pair.run(target=f"{pair.target}_other")


def test_a_new_database_of_the_server_joins(pair: Pair, database_prefix: str) -> None:
    """Of a whole server, chosen databases; one that is new at the source is copied while others go on."""
    names = {pair.name: pair.copy, f"{database_prefix}b": f"{database_prefix}b_copy"}
    job = {"source": pair.server, "target": pair.second, "map": names}
    with pytest.raises(EndpointError):
        pair.run(**job, collection=tuple(names))
    assert support.request("PUT", f"{pair.server}/{database_prefix}b")[0] in {201, 202}
    put(f"{pair.server}/{database_prefix}b", "x", n=1)
    assert pair.run(**job, collection=tuple(names)) == {"read": 31, "written": 31}
    pair.put("d01", n=1.5)
    put(f"{pair.server}/{database_prefix}b", "y", n=1)
    assert pair.run(**job, collection=tuple(names)) == {"read": 2, "written": 2, "conflicts": 1}
    support.request("DELETE", f"{pair.second}/{database_prefix}b_copy")


def test_more_than_a_page_of_changes(pair: Pair) -> None:
    """2,500 documents by three pages, one of which breaks off again and again: each is read and written once."""
    pair.run()
    docs = [{"_id": f"many{n:04}", "n": n} for n in range(2_500)]
    support.request("POST", f"{pair.source}/_bulk_docs", {"docs": docs})
    seen = 0

    def plan(request: Request) -> str | None:
        nonlocal seen
        if "/_changes" not in request.path and "/_all_docs" not in request.path:
            return None
        seen += 1
        return ("torn_reply", "torn_json", "error_500", None)[seen // 2 % 4] if seen % 2 == 0 else None

    with FaultProxy(pair.server, plan) as proxy:
        source = f"{proxy.url}/{pair.name}"
        assert pair.run(source=source, checkpoint=str(pair.folder / "first.json")) == {
            "read": 2_530,
            "written": 2_500,
            "unchanged": 30,
        }
        support.request("POST", f"{pair.source}/_bulk_docs", {"docs": [{"_id": f"more{n}"} for n in range(1_500)]})
        numbers = pair.run(source=source, checkpoint=str(pair.folder / "first.json"))
    assert numbers == {"read": 1_500, "written": 1_500}
    assert sum(proxy.injected.values()) >= 5
    assert pair.same()


def test_a_position_lies_behind_documents_that_were_given(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever goes on after any record, having those up to it, gets all others; pages and parts are small."""
    monkeypatch.setattr(changes, "PAGE_ROWS", 7)
    monkeypatch.setattr(changes, "MAX_DOCS_HELD", 3)
    for n in range(0, 30, 4):
        pair.delete(f"d{n:02}")
    with closing(CouchClient(parse_endpoint(pair.server)[0])) as client:
        extractor = ChangesExtractor(client, pair.name)
        extractor.since = {pair.name: Since("0", ("d01", "never"))}

        def given(after: Position | None = None) -> list[tuple[Position, str]]:
            found = []
            for record in extractor.extract(pair.name, after=after):
                id = record.encoded.id if record.encoded else str((record.document or {})["_id"])
                found.append((record.position, id))
            return found

        records = given()
        everything = {id for _, id in records}
        assert everything == {f"d{n:02}" for n in range(30)} | {"never"}
        for count in range(1, len(records)):
            had = {id for _, id in records[:count]}
            rest = given(records[count - 1][0])
            assert had | {id for _, id in rest} == everything
        assert given(records[-1][0]) == []


@pytest.mark.parametrize("seed", [1, 2])
def test_faults_on_both_sides_lose_and_double_nothing(pair: Pair, seed: int) -> None:
    """Faults at random between both servers and us: the same in the end, and no needless revision."""
    pair.run()
    docs = [{"_id": f"f{n:04}", "n": n} for n in range(600)]
    support.request("POST", f"{pair.source}/_bulk_docs", {"docs": docs})
    for n in range(10):
        pair.delete(f"d{n:02}")
    faults = ("lost_reply", "torn_reply", "torn_json", "error_500", "reset_before", "dropped_row", "busy_429")
    with (
        FaultProxy(pair.server, at_random(seed, 0.15, faults=faults)) as source,
        FaultProxy(pair.second, at_random(seed + 9, 0.15, faults=faults)) as target,
    ):
        numbers = pair.run(
            source=f"{source.url}/{pair.name}",
            target=f"{target.url}/{pair.copy}",
            checkpoint=str(pair.folder / "faults.json"),
            batch_docs=40,
            max_attempts=20,
        )
    assert numbers["read"] == 620
    assert "rejected" not in numbers
    # A first run through another address reads all, deletions are not seen by it, and the run after carries them.
    assert pair.run() == {"read": 610, "written": 10, "unchanged": 600, "conflicts": 10}
    assert pair.same()
    revisions = support.revisions(pair.second, pair.copy)
    assert {rev.partition("-")[0] for rev in revisions.values()} == {"1"}


def test_a_rewound_feed_is_harmless(pair: Pair) -> None:
    """As after the loss of a node: an older sequence names documents again, which stay as they are."""
    pair.run()
    path = pair.folder / "cp.json"
    shutil.copy(path, pair.folder / "old.json")
    pair.put("d01", n="x")
    pair.run()
    revisions = support.revisions(pair.second, pair.copy)
    shutil.copy(pair.folder / "old.json", path)
    assert pair.run() == {"read": 1, "unchanged": 1}
    assert support.revisions(pair.second, pair.copy) == revisions


def test_by_the_command(pair: Pair) -> None:
    """Flags, a report, verification at the end, and a checkpoint that another mode cannot take for its own."""
    words = ["run", "--from", pair.source, "--to", pair.target, "--checkpoint", str(pair.folder / "cp.json"), "-q"]
    result = CliRunner().invoke(cli, [*words, "--since-last", "--json", "--verify"])
    assert result.exit_code == 0, (result.output, result.exception)
    value = json.loads(result.stdout)
    assert (value["ok"], value["totals"]["written"], value.get("behind", 0)) == (True, 30, 0)
    result = CliRunner().invoke(cli, [*words, "--resume"])
    assert isinstance(result.exception, CheckpointError)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "folder"}, "migrator backup"),
        ({"source": "folder"}, "two CouchDB servers"),
        ({"dry_run": True}, "--dry-run"),
        ({"transform_workers": 2, "transform": ("drop:a",)}, "--transform-workers"),
        ({"transform": ("id:field=sku",)}, "--deletions ignore"),
        ({"transform": ("id:uuid7",), "deletions": "ignore"}, "content"),
        ({"since_last": False, "deletions": "carry"}, "--since-last"),
        ({"replicate": True}, "--replicate"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_said(options: dict[str, Any], words: str) -> None:
    """Exit 2 before anything is opened."""
    from migrator.jobs.dispatch import run_any

    settings = {"source": "http://localhost:1/a", "target": "http://localhost:1/b", "since_last": True, **options}
    with pytest.raises(ConfigError, match=words):
        run_any(JobConfig(**settings), environ={})
