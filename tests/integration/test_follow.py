"""`migrator run --follow`: a copy that keeps up with a writer, stops when told, and is proved at the cut-over."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from migrator.config import JobConfig
from migrator.errors import Interrupted, RejectsError
from migrator.jobs.follow import follow_job
from migrator.jobs.run import JobResult
from migrator.jobs.since_last import since_last_job
from migrator.model.events import BatchLoaded, Event, LagMeasured
from tests import support
from tests.support.fault_proxy import FaultProxy, at_random
from tests.support.processes import LIMIT_S, ended, joined, wait_until

pytestmark = pytest.mark.usefixtures("no_credentials")

DOCUMENTS = 400


class Writer:
    """Writes, changes and deletes documents of a database until it is left, as an application does."""

    def __init__(self, url: str, seed: int, pause_s: float = 0.02) -> None:
        self._url = url
        self._chance = random.Random(seed)
        self._pause_s = pause_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.operations = 0

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        joined(self._thread)

    def _work(self) -> None:
        revisions: dict[str, str] = {}
        while not self._done.wait(self._pause_s):
            ids = [f"w{self._chance.randrange(60):02}" for _ in range(5)]
            docs = []
            for id in dict.fromkeys(ids):
                doc: dict[str, Any] = {"_id": id, "n": self._chance.random()}
                if id in revisions:
                    doc["_rev"] = revisions[id]
                    if self._chance.random() < 0.3:
                        doc["_deleted"] = True
                docs.append(doc)
            status, rows = support.request("POST", f"{self._url}/_bulk_docs", {"docs": docs})
            assert status in {201, 202}
            deleted = {doc["_id"] for doc in docs if "_deleted" in doc}
            for row in rows:
                if row["id"] in deleted:
                    revisions.pop(row["id"], None)
                elif "rev" in row:
                    revisions[row["id"]] = row["rev"]
            self.operations += len(docs)


@pytest.fixture
def urls(server_url: str, second_url: str, database_prefix: str) -> Iterator[tuple[str, str]]:
    """A source of documents, and a target that is not there yet."""
    pair = support.filled_pair(server_url, second_url, f"{database_prefix}a", DOCUMENTS)
    yield pair
    support.request("DELETE", pair[1])


def config(urls: tuple[str, str], folder: Path, **options: Any) -> JobConfig:
    settings: dict[str, Any] = {
        "source": urls[0],
        "target": urls[1],
        "follow": True,
        "checkpoint": str(folder / "cp.json"),
    }
    settings |= {"rejects": str(folder / "rejects.ndjson"), **options}
    return JobConfig(**settings)


@contextlib.contextmanager
def following(job: JobConfig) -> Iterator[tuple[Callable[[Callable[[], bool]], None], list[JobResult]]]:
    """Follow in a thread; gives what waits for a condition, and the result when it is left."""
    stopping = threading.Event()
    results: list[JobResult] = []
    thread = threading.Thread(
        target=lambda: results.append(follow_job(job, environ={}, stopping=stopping)), daemon=True
    )
    thread.start()

    def until(condition: Callable[[], bool]) -> None:
        wait_until(lambda: not thread.is_alive() or condition(), pause_s=0.1)
        assert thread.is_alive(), "following ended by itself"

    try:
        yield until, results
    finally:
        stopping.set()
        thread.join(60)
        assert not thread.is_alive()


def test_changes_arrive_while_they_happen(urls: tuple[str, str], tmp_path: Path) -> None:
    """All, then a writer's changes; asked to stop it ends well, the numbers add up, and a later run goes on."""
    with following(config(urls, tmp_path)) as (until, results):
        with Writer(urls[0], 1) as writer:
            until(lambda: writer.operations > 300)
        until(
            lambda: (
                support.request("GET", urls[1])[0] == 200
                and support.contents(urls[0]) == support.contents(urls[1])
            )
        )
    (result,) = results
    assert result.report.ok
    assert result.report.totals.read > DOCUMENTS
    assert support.request("PUT", f"{urls[0]}/later", {"n": 1})[0] in {201, 202}
    job = config(urls, tmp_path, follow=False, since_last=True)
    assert since_last_job(job, environ={}).report.totals.read == 1
    assert support.contents(urls[0]) == support.contents(urls[1])


def test_faults_while_following(urls: tuple[str, str], tmp_path: Path) -> None:
    """Faults at random on both ways while a writer writes: the same in the end."""
    faults = ("lost_reply", "torn_reply", "torn_json", "error_500", "reset_before", "dropped_row", "busy_429")
    source, _, name = urls[0].rpartition("/")
    target, _, copy = urls[1].rpartition("/")
    with FaultProxy(source) as first, FaultProxy(target) as second:
        job = config((f"{first.url}/{name}", f"{second.url}/{copy}"), tmp_path, max_attempts=30)
        with following(job) as (until, results):
            until(lambda: support.request("GET", urls[1])[0] == 200)
            first.plan = at_random(3, 0.15, faults=faults)
            second.plan = at_random(4, 0.15, faults=faults)
            with Writer(urls[0], 2) as writer:
                # A fast machine has written so much before many faults have come.
                until(lambda: writer.operations > 300 and _injected(first) + _injected(second) > 5)
            first.plan = second.plan = lambda _request: None
            until(lambda: support.contents(urls[0]) == support.contents(urls[1]))
        assert _injected(first) + _injected(second) > 5
    assert results[0].report.ok


def _injected(proxy: FaultProxy) -> int:
    return sum(proxy.injected.values())


def test_several_databases_are_followed_in_turn(
    urls: tuple[str, str], tmp_path: Path, database_prefix: str
) -> None:
    """Changes of each arrive; the lag is told of each."""
    server, _, name = urls[0].rpartition("/")
    target, _, copy = urls[1].rpartition("/")
    other = f"{database_prefix}b"
    assert support.request("PUT", f"{server}/{other}")[0] in {201, 202}
    names = {name: copy, other: f"{other}_copy"}
    job = config((server, target), tmp_path, collection=tuple(names), map=names)
    with following(job) as (until, _):
        until(lambda: support.request("GET", f"{target}/{other}_copy")[0] == 200)
        support.request("PUT", f"{server}/{other}/x", {"n": 1})
        until(lambda: support.request("GET", f"{target}/{other}_copy/x")[0] == 200)
        support.request("PUT", f"{server}/{name}/y", {"n": 1})
        until(lambda: support.request("GET", f"{target}/{copy}/y")[0] == 200)
    support.request("DELETE", f"{target}/{other}_copy")


def test_it_tells_how_far_behind_it_is(urls: tuple[str, str], tmp_path: Path) -> None:
    """Changes that wait are counted, down to none."""
    since_last_job(config(urls, tmp_path, follow=False, since_last=True), environ={})
    docs = [{"_id": f"e{n:04}"} for n in range(2_500)]
    support.request("POST", f"{urls[0]}/_bulk_docs", {"docs": docs})
    lag: list[int] = []
    read = 0

    def listener(event: Event) -> None:
        nonlocal read
        if isinstance(event, LagMeasured):
            lag.append(event.changes)
        elif isinstance(event, BatchLoaded):
            read += event.counts.read

    result = follow_job(
        config(urls, tmp_path, since_last=True, until_caught_up=True), environ={}, listener=listener
    )
    assert result.report.totals.written == read == 2_500
    assert max(lag) >= 1_000
    assert lag[-1] == 0


def test_stopped_before_all_was_copied_is_an_interruption(urls: tuple[str, str], tmp_path: Path) -> None:
    """A half copy is not a success: 130; and so is a cut-over that has not caught up."""
    stopping = threading.Event()

    def listener(event: Event) -> None:
        if isinstance(event, BatchLoaded):
            stopping.set()

    job = config(urls, tmp_path, batch_docs=50, in_flight=1)
    with pytest.raises(Interrupted):
        follow_job(job, environ={}, listener=listener, stopping=stopping)
    assert 0 < len(support.contents(urls[1])) < DOCUMENTS


def test_documents_of_others_end_the_following(urls: tuple[str, str], tmp_path: Path) -> None:
    """The first copy meets other content: said at once, with 3, in place of reading the same again for ever."""
    assert support.request("PUT", urls[1])[0] in {201, 202}
    support.request("PUT", f"{urls[1]}/d0001", {"n": "theirs"})
    with pytest.raises(RejectsError, match="--on-conflict"):
        follow_job(config(urls, tmp_path), environ={})
    assert support.get(f"{urls[1]}/d0001")["n"] == "theirs"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_ends_well_when_told_to_stop(
    urls: tuple[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    """A service manager's signal ends it with 0 and one line of JSON; the metrics say when it had caught up."""
    words = ["--from", urls[0], "--to", urls[1], "--follow", "--checkpoint", "cp.json", "--json"]
    words += ["--metrics", "orders.prom", "--log-format", "json"]
    command = [sys.executable, "-m", "migrator", "run", *words]
    pipe = subprocess.PIPE
    with ended(subprocess.Popen(command, cwd=tmp_path, text=True, stdout=pipe, stderr=pipe)) as process:
        wait_until(
            lambda: support.request("GET", urls[1])[0] == 200 and len(support.contents(urls[1])) == DOCUMENTS,
            pause_s=0.2,
            process=process,
        )
        time.sleep(1.0)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    value = json.loads(out)
    assert (value["ok"], value["behind"], value["totals"]["written"]) == (True, 0, DOCUMENTS)
    assert "migrator_last_success_timestamp_seconds" in (tmp_path / "orders.prom").read_text()


def test_the_cut_over(urls: tuple[str, str], tmp_path: Path) -> None:
    """The recipe: follow while the application writes, freeze it, catch up, verify; nothing is missing."""
    words = ["run", "--from", urls[0], "--to", urls[1], "--follow", "--checkpoint", "cp.json"]
    command = [sys.executable, "-m", "migrator", *words]
    with ended(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)) as process:
        with Writer(urls[0], 3) as writer:
            wait_until(lambda: writer.operations >= 200, process=process)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    done = subprocess.run(
        [*command, "--until-caught-up", "--verify", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
    assert "both sides hold the same" in done.stderr
    assert json.loads(done.stdout)["behind"] == 0
    assert support.contents(urls[0]) == support.contents(urls[1])
    assert os.access(tmp_path / "cp.json", os.R_OK)
