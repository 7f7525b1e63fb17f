"""A job moved by several processes: the result is one machine's, whatever is killed in the middle."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from migrator.config import JobConfig
from migrator.errors import ConfigError, EndpointError, Interrupted, RejectsError, TargetReplaced
from migrator.jobs.dispatch import run_any
from migrator.jobs.distributed import engine
from migrator.jobs.distributed.coordinator import run_distributed
from migrator.jobs.distributed.engine import from_root
from migrator.jobs.run import run_job
from migrator.model import events
from migrator.verification.job import verify_job
from tests import support
from tests.sources import mariadb, postgresql
from tests.support.dask_cluster import Cluster

WORKERS = 2
DOCUMENTS = 6_000


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One for all tests."""
    made = Cluster(tmp_path_factory.mktemp("dask"), WORKERS)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _small_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few documents are worth a split too."""
    monkeypatch.setattr(engine, "MIN_DOCUMENTS", 1_000)


def source(folder: Path, name: str, documents: int = DOCUMENTS) -> Path:
    """A folder with one large and one small collection, and a few lines that are not documents."""
    made = folder / "in"
    made.mkdir()
    with (made / f"{name}large.ndjson").open("w") as file:
        for number in range(documents):
            if number % 1_500 == 77:
                file.write("no document\n")
            else:
                file.write(json.dumps({"_id": f"d-{number:06}", "n": number, "text": "x" * 40}) + "\n")
    (made / f"{name}small.ndjson").write_text('{"_id":"a"}\n{"_id":"b"}\n')
    return made


def job(cluster: Cluster, folder: Path, **fields: Any) -> JobConfig:
    """A job by the cluster, with all its files in a folder."""
    values = {"checkpoint": str(folder / "cp.json"), "rejects": str(folder / "rejects.ndjson")}
    return JobConfig(**{**values, "executor": f"dask://{cluster.address}", "splits": 8, **fields})


def rejects_in(path: Path) -> list[dict[str, Any]]:
    """What a reject file says, in the order of its places, whichever run it was."""
    found = [{**json.loads(line), "run": ""} for line in path.read_text().splitlines()]
    return sorted(found, key=lambda reject: str(reject["reason"]))


def test_the_result_is_one_machines(
    cluster: Cluster, tmp_path: Path, server_url: str, database_prefix: str
) -> None:
    """The same report, the same rejects with the same places, the same documents as by one process."""
    folder = source(tmp_path, database_prefix)
    heard: list[events.Event] = []
    by_many = run_any(job(cluster, tmp_path, source=str(folder), target=server_url), listener=heard.append)
    there = support.revisions(server_url, f"{database_prefix}large")
    one = JobConfig(
        source=str(folder),
        target=server_url,
        checkpoint=str(tmp_path / "one.json"),
        rejects=str(tmp_path / "one.nd"),
    )
    by_one = run_job(one)
    for name, collection in by_one.report.collections.items():
        same = by_many.report.collections[name].counts
        assert (same.read, same.rejected) == (collection.counts.read, collection.counts.rejected)
        # What one machine finds there is what the many wrote.
        assert (same.written, collection.counts.unchanged) == (collection.counts.unchanged, same.written)
    assert by_many.report.totals.written == DOCUMENTS - 4 + 2
    assert len(there) == DOCUMENTS - 4
    assert rejects_in(tmp_path / "rejects.ndjson") == rejects_in(tmp_path / "one.nd")
    loaded = [event for event in heard if isinstance(event, events.BatchLoaded)]
    assert sum(event.counts.read for event in loaded) == DOCUMENTS + 2
    assert sum(isinstance(event, events.DocumentRejected) for event in heard) == 4
    assert not (tmp_path / "cp.json.splits").exists()


def killing(cluster: Cluster) -> tuple[events.Listener, list[int]]:
    """A listener that kills a worker after some batches, again and again; those that were killed are listed."""
    killed: list[int] = []
    loaded = itertools.count(1)

    def listen(event: events.Event) -> None:
        if isinstance(event, events.BatchLoaded) and next(loaded) in {2, 20}:
            for pid in cluster.worker_ids()[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    return listen, killed


def test_a_killed_worker_loses_and_doubles_nothing(
    cluster: Cluster, tmp_path: Path, server_url: str, database_prefix: str
) -> None:
    """Workers are killed in the middle, again and again: each split goes on from its own checkpoint."""
    folder = source(tmp_path, database_prefix, 12_000)
    config = job(cluster, tmp_path, source=str(folder), target=server_url, batch_docs=200, in_flight=1)
    listen, killed = killing(cluster)
    result = run_distributed(config, listener=listen)
    assert killed
    totals = result.report.totals
    assert totals.accounted
    assert (totals.read, totals.rejected) == (12_002, 8)
    assert totals.written + totals.unchanged == 11_994
    there = support.revisions(server_url, f"{database_prefix}large")
    assert len(there) == 11_992
    assert {rev.partition("-")[0] for rev in there.values()} == {"1"}
    assert len((tmp_path / "rejects.ndjson").read_text().splitlines()) == 8
    found = verify_job(JobConfig(source=str(folder), target=server_url, checkpoint=str(tmp_path / "v.json")))
    assert sum(comparison.equal for comparison in found.comparisons.values()) == 11_994
    assert not any(comparison.missing or comparison.different for comparison in found.comparisons.values())


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def sql_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        (tmp_path / "app.db").touch()
        yield f"sqlite:///{tmp_path / 'app.db'}"
        return
    server = {"postgresql": postgresql, "mariadb": mariadb}[request.param]
    with server.database(request.getfixturevalue(f"{request.param}_url")) as url:
        yield url


def test_a_table_is_divided_by_its_key(
    cluster: Cluster, tmp_path: Path, sql_url: str, server_url: str, database_prefix: str
) -> None:
    """Workers read ranges of a key and are killed meanwhile: every row is there once, as by one process."""
    table, small = f"{database_prefix}rows", f"{database_prefix}few"
    engine = sa.create_engine(sql_url.replace("mysql:", "mysql+pymysql:"))
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"CREATE TABLE {table} (region VARCHAR(20), n INTEGER, s TEXT, PRIMARY KEY (region, n))"
        )
        connection.exec_driver_sql(f"CREATE TABLE {small} (n INTEGER PRIMARY KEY)")
        connection.exec_driver_sql(f"INSERT INTO {small} VALUES (1), (2)")
        rows = [{"r": f"Zoë {n % 5}", "n": n, "s": "x" * 60} for n in range(9_000)]
        connection.execute(sa.text(f"INSERT INTO {table} VALUES (:r, :n, :s)"), rows)
        if engine.dialect.name == "sqlite":
            # Only there a key may be null; those rows are rejects, of one split.
            connection.exec_driver_sql(f"INSERT INTO {table} VALUES (NULL, 1, 'x'), (NULL, 2, 'x')")
    engine.dispose()
    rejected = 2 if sql_url.startswith("sqlite") else 0
    config = job(cluster, tmp_path, source=sql_url, target=server_url, batch_docs=200, in_flight=1)
    listen, killed = killing(cluster)
    result = run_distributed(config, listener=listen)
    assert killed
    splits = [each for each in result.state.details["splits"] if each["collection"] == table]
    assert len(splits) >= 4
    totals = result.report.totals
    assert totals.accounted
    assert (totals.read, totals.rejected) == (9_002 + rejected, rejected)
    there = support.documents(server_url, table)
    assert there.keys() == {f"{row['r']}:{row['n']}" for row in rows}
    assert {document["_rev"].partition("-")[0] for document in there.values()} == {"1"}
    by_one = run_job(
        JobConfig(
            source=sql_url,
            target=server_url,
            checkpoint=str(tmp_path / "one.json"),
            rejects=str(tmp_path / "one.nd"),
        )
    )
    assert by_one.report.totals.unchanged == 9_002
    for name, collection in by_one.report.collections.items():
        same = result.report.collections[name].counts
        assert (same.read, same.rejected) == (collection.counts.read, collection.counts.rejected)


def test_a_database_is_divided_by_its_ids(
    cluster: Cluster, tmp_path: Path, server_url: str, database_prefix: str
) -> None:
    """From CouchDB to CouchDB, by ranges of ids; none is left out at a bound, none is moved twice."""
    documents = [{"_id": f"k{number * 7919 % 6_000:05}", "n": number} for number in range(6_000)]
    origin, copy = f"{database_prefix}origin", f"{database_prefix}copy"
    support.request("PUT", f"{server_url}/{origin}")
    for begin in range(0, 6_000, 2_000):
        support.request("POST", f"{server_url}/{origin}/_bulk_docs", {"docs": documents[begin : begin + 2_000]})
    config = job(
        cluster, tmp_path, source=f"{server_url}/{origin}", target=f"{server_url}/{copy}", splits=4, verify=True
    )
    heard: list[events.Event] = []
    result = run_distributed(config, listener=heard.append)
    assert (result.report.totals.read, result.report.totals.written) == (6_000, 6_000)
    splits = result.state.details["splits"]
    assert len(splits) >= 3
    assert splits[0]["lower"] is splits[-1]["upper"] is None
    assert [each["upper"] for each in splits[:-1]] == [each["lower"] for each in splits[1:]]
    assert support.revisions(server_url, copy).keys() == {document["_id"] for document in documents}


def test_it_stops_and_goes_on(cluster: Cluster, tmp_path: Path, server_url: str, database_prefix: str) -> None:
    """Told to stop, the workers settle what is in flight; a second run carries what they did and does the rest."""
    folder = source(tmp_path, database_prefix)
    stopping = threading.Event()

    def listen(event: events.Event) -> None:
        if isinstance(event, events.BatchLoaded):
            stopping.set()

    config = job(cluster, tmp_path, source=str(folder), target=server_url, batch_docs=10, in_flight=1)
    with pytest.raises(Interrupted):
        run_distributed(config, listener=listen, stopping=stopping)
    with pytest.raises(Exception, match="exists already"):
        run_distributed(config, listener=lambda _event: None)
    again = job(cluster, tmp_path, source=str(folder), target=server_url, resume=True)
    result = run_distributed(again, listener=lambda _event: None)
    report = result.report
    assert report.carried.read > 0
    assert report.carried.read + report.totals.read == DOCUMENTS + 2
    assert report.totals.accounted
    assert len(support.revisions(server_url, f"{database_prefix}large")) == DOCUMENTS - 4
    assert len((tmp_path / "rejects.ndjson").read_text().splitlines()) == 4


@pytest.mark.parametrize("told_to_stop", [False, True], ids=["waits for one", "told to stop"])
def test_no_worker_is_waited_for_without_end(tmp_path: Path, told_to_stop: bool) -> None:
    """When the last one is gone the job ends, at once when told to stop; --resume goes on with another."""
    made = Cluster(tmp_path, 1)
    stopping = threading.Event()

    def listen(event: events.Event) -> None:
        if isinstance(event, events.BatchLoaded):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(made.processes[1].pid, signal.SIGKILL)
            if told_to_stop:
                stopping.set()

    with contextlib.closing(made):
        folder = {"source": str(source(tmp_path, "c", 12_000)), "target": str(tmp_path / "out"), "batch_docs": 200}
        config = job(made, tmp_path, **folder, max_outage_s=600.0 if told_to_stop else 1.0)
        with pytest.raises(Interrupted if told_to_stop else EndpointError) as caught:
            run_distributed(config, listener=listen, stopping=stopping)
        assert "--resume" in caught.value.hint
        assert told_to_stop or "no workers any more" in str(caught.value)
        made.add_worker()
        report = run_distributed(job(made, tmp_path, **folder, resume=True), listener=lambda _event: None).report
        assert report.carried.read + report.totals.read == 12_002


@pytest.mark.parametrize("again", [True, False], ids=["made_again", "deleted"])
@pytest.mark.parametrize("when", ["meanwhile", "between"])
def test_a_target_that_is_replaced_is_told(
    cluster: Cluster, tmp_path: Path, server_url: str, database_prefix: str, when: str, again: bool
) -> None:
    """What some workers had confirmed is gone, whichever of them finds out."""
    folder = source(tmp_path, database_prefix)
    database = f"{server_url}/{database_prefix}large"
    stopping, done = threading.Event(), threading.Event()

    def replace() -> None:
        support.request("DELETE", database)
        if again:
            support.request("PUT", database)

    def listen(event: events.Event) -> None:
        if isinstance(event, events.BatchLoaded) and not done.is_set():
            done.set()
            stopping.set() if when == "between" else replace()

    config = job(
        cluster, tmp_path, source=str(folder), target=server_url, batch_docs=10, in_flight=1, timeout_s=5.0
    )
    # The sandbox never answers what was asked of a database that is deleted meanwhile.
    with pytest.raises(Interrupted if when == "between" else TargetReplaced):
        run_distributed(config, listener=listen, stopping=stopping)
    if when == "between":
        replace()
    resumed = job(cluster, tmp_path, source=str(folder), target=server_url, resume=True)
    with pytest.raises(TargetReplaced):
        run_distributed(resumed, listener=lambda _event: None)
    restarted = job(cluster, tmp_path, source=str(folder), target=server_url, restart=True)
    run_distributed(restarted, listener=lambda _event: None)
    assert len(support.revisions(server_url, f"{database_prefix}large")) == DOCUMENTS - 4


def test_a_folder_takes_whole_collections(cluster: Cluster, tmp_path: Path) -> None:
    """Two workers never write one file."""
    folder = source(tmp_path, "c")
    result = run_distributed(
        job(cluster, tmp_path, source=str(folder), target=str(tmp_path / "out")), listener=lambda _event: None
    )
    assert len(result.state.details["splits"]) == 2
    lines = (tmp_path / "out" / "clarge.ndjson").read_text().splitlines()
    assert len(lines) == DOCUMENTS - 4


def test_names_mean_the_same_to_workers(
    cluster: Cluster, tmp_path: Path, server_url: str, database_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers run in another folder and environment: relative paths and COUCHDB_URL are those of the command."""
    source(tmp_path, database_prefix, 10)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COUCHDB_URL", server_url)
    into_folder = job(cluster, tmp_path, source="in", target="out", checkpoint="a.json", rejects="a.ndjson")
    assert run_distributed(into_folder, listener=lambda _event: None).report.totals.written == 12
    assert (tmp_path / "out" / f"{database_prefix}small.ndjson").exists()
    to_server = job(cluster, tmp_path, source="out", checkpoint="b.json", rejects="b.ndjson")
    assert run_distributed(to_server, listener=lambda _event: None).report.totals.written == 12
    assert len(support.revisions(server_url, f"{database_prefix}large")) == 10


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("csv:a.csv?types=born:date&null=//", "csv:{}/a.csv?types=born:date&null=//"),
        ("sqlite:///app.db", "sqlite:///{}/app.db"),
        ("sqlite:////data/app.db", "sqlite:////data/app.db"),
        ("postgresql://h/d", "postgresql://h/d"),
        ("in:side", "{}/in:side"),
        ("box:out", "box:out"),
        ("/a/b", "/a/b"),
    ],
)
def test_a_path_begins_at_the_root(
    text: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands before and after it; what is not a path stays."""
    (tmp_path / "in:side").touch()
    monkeypatch.chdir(tmp_path)
    assert from_root(text) == expected.format(tmp_path)


def test_too_many_rejects_stop_all(
    cluster: Cluster, tmp_path: Path, server_url: str, database_prefix: str
) -> None:
    """The limit is the job's, not a split's."""
    folder = source(tmp_path, database_prefix)
    config = job(cluster, tmp_path, source=str(folder), target=server_url, max_errors="2")
    with pytest.raises(RejectsError):
        run_distributed(config, listener=lambda _event: None)


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        (
            {"source": "memory:tests.reliability.cities_app:service"},
            ConfigError,
            "memory: source is in this process",
        ),
        ({"source": "singer:-"}, ConfigError, "Standard input"),
        ({"dry_run": True}, ConfigError, "--dry-run does not go with --executor"),
        ({"executor": "spark://x"}, ConfigError, "none that is known"),
        ({"executor": "dask://tcp://127.0.0.1:1"}, EndpointError, "No Dask scheduler answers"),
        ({"transform": ("id:uuid7",), "verify": True}, ConfigError, "uuid7"),
    ],
)
def test_says_what_cannot_be(
    cluster: Cluster,
    tmp_path: Path,
    fields: dict[str, Any],
    error: type[Exception],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the start, with what to do in its place."""
    monkeypatch.setattr("migrator.jobs.distributed.engine.CONNECT_TIMEOUT_S", 1)
    values = {"source": str(source(tmp_path, "c", 10)), "target": str(tmp_path / "out"), **fields}
    with pytest.raises(error, match=re.escape(words)) as caught:
        run_distributed(job(cluster, tmp_path, **values), listener=lambda _event: None)
    assert caught.value.hint  # type: ignore[attr-defined]
