"""A target database that is deleted, made again or emptied at any moment of a run: said, with exit code 6."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from migrator.checkpoint.reject_file import RejectFile
from migrator.config import JobConfig
from migrator.couch.client import CouchClient
from migrator.couch.endpoint import parse_endpoint
from migrator.couch.settings import MARK, mark_database, read_identity
from migrator.errors import EndpointError, MigratorError, TargetReplaced
from migrator.jobs.dispatch import StreamWriter
from migrator.jobs.run import run_job
from migrator.model import Record
from migrator.model.events import DocumentsCompared, Event
from migrator.verification.job import verify_job
from tests import support
from tests.support.commands import Ran, run, run_whole
from tests.support.fault_proxy import FaultProxy, Request

pytestmark = pytest.mark.usefixtures("no_credentials")

COUNT = 400


@dataclass
class Job:
    """A job of one file into one database, through a proxy that lets something happen before a request."""

    url: str
    name: str
    folder: Path
    happens: dict[int, Callable[[], None]] = field(default_factory=dict)
    writes: int = 0

    @property
    def database(self) -> str:
        """The database's URL."""
        return f"{self.url}/{self.name}"

    def config(self, target: str, **options: object) -> JobConfig:
        """The job."""
        settings: dict[str, object] = {
            "source": str(self.folder / f"{self.name}.ndjson"),
            "target": target,
            "checkpoint": str(self.folder / "cp.json"),
            "rejects": str(self.folder / "rejects.ndjson"),
            "batch_docs": 20,
            "in_flight": 1,
            **options,
        }
        return JobConfig(**settings)  # type: ignore[arg-type]

    def plan(self, request: Request) -> str | None:
        """Counts the bulk writes."""
        if request.method == "POST" and request.path.endswith("/_bulk_docs"):
            self.writes += 1
            if event := self.happens.pop(self.writes, None):
                event()
        return None

    def delete(self) -> None:
        """The database is gone."""
        support.request("DELETE", self.database)

    def recreate(self) -> None:
        """It is deleted and made again, within a second."""
        self.delete()
        # Right after a deletion CouchDB may still know the old one, by a list that it keeps in memory.
        while (status := support.request("PUT", self.database)[0]) == 412:
            time.sleep(0.01)
        assert status in {201, 202}

    def replace(self) -> None:
        """By one of somebody else, who had all documents and more."""
        self.recreate()
        documents = [{"_id": f"d{number:05}", "n": number} for number in range(COUNT + 7)]
        support.request("POST", f"{self.database}/_bulk_docs", {"docs": documents})

    def empty(self) -> None:
        """Somebody deletes every document."""
        revisions = support.revisions(self.url, self.name)
        documents = [{"_id": id, "_rev": revision, "_deleted": True} for id, revision in revisions.items()]
        support.request("POST", f"{self.database}/_bulk_docs", {"docs": documents})

    def listed(self) -> list[object] | None:
        """The rows of all its documents, or None."""
        support.settle(self.url, self.name)
        rows: list[object] | None = support.request("GET", f"{self.database}/_all_docs")[1].get("rows")
        return rows

    def is_whole(self) -> bool:
        """Everything is there."""
        found = support.plain(support.documents(self.url, self.name))
        return all(found.get(f"d{number:05}") == {"_id": f"d{number:05}", "n": number} for number in range(COUNT))


@pytest.fixture
def job(server_url: str, database_prefix: str, tmp_path: Path) -> Iterator[Job]:
    """A job that has not begun."""
    name = f"{database_prefix}replaced"
    lines = [json.dumps({"_id": f"d{number:05}", "n": number}) for number in range(COUNT)]
    (tmp_path / f"{name}.ndjson").write_text("\n".join(lines) + "\n")
    made = Job(server_url, name, tmp_path)
    yield made
    made.delete()


@pytest.mark.parametrize("event", [Job.delete, Job.recreate, Job.replace], ids=lambda event: event.__name__)
@pytest.mark.parametrize("before", [2, 10, 20])
def test_on_the_way(job: Job, event: Callable[[Job], None], before: int) -> None:
    """The run says so, a resumed one again, and a restart makes it whole."""
    job.happens[before] = lambda: event(job)
    with FaultProxy(job.url, job.plan) as proxy:
        for _ in range(2):
            with pytest.raises(TargetReplaced, match=job.name):
                run_job(job.config(proxy.url, resume=True), environ={})
        run_job(job.config(proxy.url, restart=True), environ={})
    assert job.is_whole()


@pytest.mark.parametrize(
    "event", [Job.delete, Job.recreate, Job.replace, Job.empty], ids=lambda event: event.__name__
)
def test_between_two_runs(job: Job, event: Callable[[Job], None]) -> None:
    """Nothing is made at the target, and the database of somebody else stays as it is."""
    with FaultProxy(job.url, job.plan) as proxy:
        stop_after(job, proxy.url, 100)
        event(job)
        before = job.listed()
        with pytest.raises(TargetReplaced):
            run_job(job.config(proxy.url, resume=True), environ={})
        assert job.listed() == before
        run_job(job.config(proxy.url, restart=True, on_conflict="overwrite"), environ={})
    assert job.is_whole()


def stop_after(job: Job, target: str, documents: int) -> None:
    """A run that is stopped when so many are settled."""
    stopping = threading.Event()
    done = 0

    def listener(event: Event) -> None:
        nonlocal done
        done += getattr(getattr(event, "counts", None), "read", 0)
        if done >= documents:
            stopping.set()

    with pytest.raises(MigratorError, match="Stopped"):
        run_job(job.config(target), environ={}, listener=listener, stopping=stopping)


def test_the_same_database_is_gone_on_with(job: Job) -> None:
    """Documents of others, compaction and other settings make no other database of it."""
    with FaultProxy(job.url, job.plan) as proxy:
        stop_after(job, proxy.url, 100)
        support.request("POST", f"{job.database}/_bulk_docs", {"docs": [{"_id": "somebody's"}]})
        support.request("POST", f"{job.database}/_compact", {})
        run_job(job.config(proxy.url, resume=True), environ={})
    assert job.is_whole()


def test_by_the_command(job: Job) -> None:
    """Exit code 6, and the whole command to type next, without the password."""
    with FaultProxy(job.url, job.plan) as proxy:
        stop_after(job, proxy.url, 100)
        job.delete()
        config = job.config(proxy.url)
        arguments = ["run", "--from", config.source, "--to", proxy.url, "--checkpoint", config.checkpoint]
        arguments += ["--rejects", config.rejects, "-q", "--batch-docs", "20", "--in-flight", "1"]
        ended = run_whole(job.folder, *arguments, "--resume")
        assert (ended.returncode, ended.stdout) == (6, "")
        said = " ".join(ended.stderr.split())
        assert f"/{job.name} is gone: it was deleted or replaced since this job began." in said
        assert said.endswith("--in-flight 1 --restart")
        assert "password@" not in said
        assert run_whole(job.folder, *arguments, "--restart").returncode == 0
    assert job.is_whole()


def retried(job: Job, target: str, *options: str) -> Ran:
    """`retry` of a reject file that holds every document."""
    file = job.folder / "rejected.ndjson"
    line = {"collection": job.name, "database": job.name, "stage": "load", "error": "forbidden", "reason": "x"}
    documents = [{"_id": f"d{number:05}", "n": number} for number in range(COUNT)]
    file.write_text("".join(json.dumps({**line, "id": d["_id"], "document": d}) + "\n" for d in documents))
    small = ("--batch-docs", "20", "--in-flight", "1", "--rejects", str(job.folder / "again.ndjson"))
    return run("retry", str(file), "--to", target, "-q", *small, *options)


@pytest.mark.parametrize("event", [Job.delete, Job.recreate, Job.replace], ids=lambda event: event.__name__)
@pytest.mark.parametrize("before", [2, 10, 20])
def test_while_rejects_are_written_again(
    job: Job, monkeypatch: pytest.MonkeyPatch, event: Callable[[Job], None], before: int
) -> None:
    """`retry` says so and what to do, which makes it whole; the reject file is left as it is."""
    monkeypatch.chdir(job.folder)
    job.happens[before] = lambda: event(job)
    with FaultProxy(job.url, job.plan) as proxy:
        ran = retried(job, proxy.url)
        assert ran.code == 6
        assert f"/{job.name} is " in ran.output
        assert "Retry again" in ran.output
        assert retried(job, proxy.url).code == 0
    assert job.is_whole()


@pytest.mark.parametrize(
    "event", [Job.delete, Job.recreate, Job.replace, Job.empty], ids=lambda event: event.__name__
)
def test_between_two_retries(job: Job, monkeypatch: pytest.MonkeyPatch, event: Callable[[Job], None]) -> None:
    """One that was broken off claims nothing of the next one's target: all is looked at and written again."""
    monkeypatch.chdir(job.folder)
    with FaultProxy(
        job.url, lambda request: job.plan(request) or ("down_503" if job.writes > 5 else None)
    ) as proxy:
        assert retried(job, proxy.url, "--max-attempts", "1").code == 5
    event(job)
    assert retried(job, job.url).code == 0
    assert job.is_whole()


def test_a_verification_goes_on_with_its_own_target_only(job: Job) -> None:
    """What was compared with the one before says nothing of this one."""
    run_job(job.config(job.url, checkpoint=str(job.folder / "run.json")), environ={})
    stopping = threading.Event()

    def stop(event: Event) -> None:
        if isinstance(event, DocumentsCompared):
            stopping.set()

    with pytest.raises(MigratorError, match="Stopped"):
        verify_job(job.config(job.url), environ={}, stopping=stopping, listener=stop)
    job.replace()
    with pytest.raises(TargetReplaced):
        verify_job(job.config(job.url, resume=True), environ={})
    assert len(verify_job(job.config(job.url, restart=True), environ={}).differences) == 7


def test_identities(server_url: str, database_prefix: str, is_couchdb: bool) -> None:
    """Each database has its own, however soon it is made; the same for everybody who asks."""
    database = f"{database_prefix}identity"
    url = f"{server_url}/{database}"
    endpoint, _ = parse_endpoint(server_url, environ={})
    client = CouchClient(endpoint)
    assert read_identity(client, database) == ""
    with pytest.raises(EndpointError):
        mark_database(client, database)
    seen = set()
    for _ in range(3):
        assert support.request("PUT", url)[0] in {201, 202}
        unmarked = read_identity(client, database)
        assert unmarked == ("none" if unmarked is None else f"{unmarked.split()[0]} none")
        mark_database(client, database)
        found = read_identity(client, database)
        mark_database(client, database)
        assert found == read_identity(client, database)
        assert found is not None
        seen.add(found)
        assert found.startswith("?") is not is_couchdb
        assert support.get(f"{url}/_local/{MARK}")["token"] == found.split()[1]
        # It is not content.
        assert support.get(f"{url}/_all_docs")["rows"] == []
        assert support.get(f"{url}/_changes")["results"] == []
        support.request("DELETE", url)
    assert len(seen) == 3
    client.close()


@pytest.mark.parametrize("event", [Job.delete, Job.recreate], ids=lambda event: event.__name__)
def test_pieces_of_a_stream_belong_together(job: Job, event: Callable[[Job], None]) -> None:
    """What a tap was told to be settled must be there when it goes on."""
    with contextlib.closing(RejectFile(None)) as rejects:
        writer = StreamWriter(JobConfig(target=job.url), "a tap", rejects, environ={})
        writer.write({job.name: [Record(1, {"_id": "a"})]})
        writer.write({job.name: [Record(2, {"_id": "b"})]})
        event(job)
        with pytest.raises(TargetReplaced, match="Send everything again") as raised:
            writer.write({job.name: [Record(3, {"_id": "c"})]})
    assert raised.value.flag is None
