"""Faults of network and server before a real one: nothing lost, nothing doubled, nothing written again."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migrator.config import JobConfig
from migrator.errors import EndpointError, TransientError
from migrator.jobs.run import JobResult, run_job
from migrator.model.events import BatchSplit, Event, LimitsChanged, RetryScheduled
from tests import support
from tests.support.fault_proxy import FAULTS, FaultProxy, Request, at_random, on_writes
from tests.support.seeds import seeds

pytestmark = pytest.mark.usefixtures("no_credentials")


def make_documents(count: int) -> list[dict[str, Any]]:
    """Documents of several shapes, with ids in order."""
    return [{"_id": f"d{n:05}", "n": n, "name": f"Zoë {n}", "list": [n, n + 0.5, None]} for n in range(count)]


def write_source(folder: Path, name: str, documents: list[dict[str, Any]]) -> Path:
    """An NDJSON folder of one collection."""
    folder.mkdir(exist_ok=True)
    lines = [json.dumps(document, ensure_ascii=False) + "\n" for document in documents]
    (folder / f"{name}.ndjson").write_text("".join(lines), encoding="utf-8")
    return folder


def run(tmp_path: Path, source: Path | str, url: str, **options: Any) -> JobResult:
    """Run a job with short waits."""
    settings: dict[str, Any] = {
        "source": str(source),
        "target": url,
        "checkpoint": str(tmp_path / "checkpoint.json"),
        "rejects": str(tmp_path / "rejects.ndjson"),
        "restart": True,
        "batch_docs": 50,
        "timeout_s": 2.0,
        **options,
    }
    listener = settings.pop("listener", lambda _event: None)
    return run_job(JobConfig(**settings), environ={}, listener=listener, stopping=threading.Event())


def run_by_a_timer(tmp_path: Path, source: Path | str, url: str, **options: Any) -> JobResult:
    """Run again while the first contact gives up early, as a timer would; not for ever."""
    for _ in range(50):
        with contextlib.suppress(EndpointError):
            return run(tmp_path, source, url, **options)
    return run(tmp_path, source, url, **options)


def assert_whole(server_url: str, database: str, documents: list[dict[str, Any]]) -> None:
    """Every document is there once, as it was, in its first revision."""
    stored = support.documents(server_url, database)
    assert {document["_id"]: document for document in documents} == support.plain(stored)
    assert {"1"} == {document["_rev"].partition("-")[0] for document in stored.values()}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_at_a_write_loses_and_doubles_nothing(
    fault: str, tmp_path: Path, server_url: str, database_prefix: str
) -> None:
    """A fault of any kind at the second batch leaves every document written once."""
    documents = make_documents(300)
    name = f"{database_prefix}a"
    source = write_source(tmp_path / "source", name, documents)
    with FaultProxy(server_url, on_writes(None, fault), half_open_s=3.0) as proxy:
        result = run(tmp_path, source, proxy.url)
    assert proxy.injected[fault] == 1
    totals = result.report.totals
    assert (totals.read, totals.written, totals.rejected) == (300, 300, 0)
    assert_whole(server_url, name, documents)


@pytest.mark.parametrize(
    "fault", ["lost_reply", "torn_reply", "torn_json", "dropped_row", "swapped_rows", "latency"]
)
def test_the_same_fault_at_every_third_write(
    fault: str, tmp_path: Path, server_url: str, database_prefix: str
) -> None:
    """A fault that returns again and again is outlived, and its documents are counted as written."""
    documents = make_documents(600)
    name = f"{database_prefix}a"
    source = write_source(tmp_path / "source", name, documents)
    faults = [fault if number % 3 == 0 else None for number in range(60)]
    with FaultProxy(server_url, on_writes(*faults)) as proxy:
        result = run(tmp_path, source, proxy.url)
    assert proxy.injected[fault] >= 4
    assert (result.report.totals.read, result.report.totals.written) == (600, 600)
    assert_whole(server_url, name, documents)


@pytest.mark.parametrize("seed", seeds(2, 20))
def test_random_faults_everywhere(seed: int, tmp_path: Path, server_url: str, database_prefix: str) -> None:
    """A third of all requests spoiled, reads and creations too, still ends with every document once."""
    documents = make_documents(800)
    name = f"{database_prefix}a"
    source = write_source(tmp_path / "source", name, documents)
    with FaultProxy(server_url, at_random(seed, 0.25), half_open_s=0.8) as proxy:
        how = {"resume": True, "restart": False, "batch_docs": 20, "timeout_s": 0.5}
        result = run_by_a_timer(tmp_path, source, proxy.url, **how)
    assert sum(proxy.injected.values()) >= 5
    assert result.rejects is None, result.rejects.read_text()
    assert result.report.ok
    assert_whole(server_url, name, documents)


def test_reading_through_faults(tmp_path: Path, server_url: str, database_prefix: str) -> None:
    """A source that breaks off, tears its answers or answers late is read whole, in order, without doubles."""
    documents = make_documents(3000)
    name = f"{database_prefix}a"
    run(tmp_path, write_source(tmp_path / "source", name, documents), server_url, batch_docs=500)
    plan = at_random(
        7, 0.4, faults=("torn_reply", "torn_json", "reset_before", "error_500", "down_503", "slow_reply")
    )
    with FaultProxy(server_url, plan) as proxy:
        how = {"checkpoint": str(tmp_path / "read.json"), "resume": True, "restart": False}
        run_by_a_timer(tmp_path, f"{proxy.url}/{name}", str(tmp_path / "out"), **how)
    lines = (tmp_path / "out" / f"{name}.ndjson").read_text(encoding="utf-8").splitlines()
    assert documents == [json.loads(line) for line in lines]


def test_a_server_that_is_down_for_good_ends_with_a_saved_checkpoint(
    tmp_path: Path, server_url: str, database_prefix: str
) -> None:
    """When nothing helps, the run ends cleanly, and a later one goes on after what was settled."""
    documents = make_documents(500)
    name = f"{database_prefix}a"
    source = write_source(tmp_path / "source", name, documents)
    writes = 0

    def plan(request: Request) -> str | None:
        nonlocal writes
        writes += request.path.endswith("/_bulk_docs")
        return "reset_before" if writes > 4 else None

    with FaultProxy(server_url, plan) as proxy:
        with pytest.raises(TransientError) as caught:
            run(tmp_path, source, proxy.url, max_attempts=3, in_flight=1)
        state = json.loads((tmp_path / "checkpoint.json").read_text())["collections"][name]
        assert caught.value.exit_code == 5
        assert state["counts"]["written"] == 200
        proxy.plan = lambda _request: None
        result = run(tmp_path, source, proxy.url, resume=True, restart=False)
    assert result.report.totals.read == 300
    assert_whole(server_url, name, documents)


def test_overload_shrinks_batches_and_recovers(tmp_path: Path, server_url: str, database_prefix: str) -> None:
    """429 and 503 make batches smaller and fewer at once; success lets them grow again."""
    documents = make_documents(3000)
    name = f"{database_prefix}a"
    source = write_source(tmp_path / "source", name, documents)
    events: list[Event] = []
    faults: list[str | None] = ["busy_429", "down_503", "busy_429"]
    with FaultProxy(server_url, on_writes(*faults)) as proxy:
        run(tmp_path, source, proxy.url, listener=events.append)
    sizes = [event.max_docs for event in events if isinstance(event, LimitsChanged)]
    assert min(sizes) < 50
    assert sizes[-1] > min(sizes)
    assert any(isinstance(event, RetryScheduled) for event in events)
    assert_whole(server_url, name, documents)


def test_a_proxy_that_refuses_large_bodies(tmp_path: Path, server_url: str, database_prefix: str) -> None:
    """413 without a word about the document divides the batch until its parts pass."""
    documents = make_documents(200)
    name = f"{database_prefix}a"
    source = write_source(tmp_path / "source", name, documents)
    events: list[Event] = []

    class SmallProxy(FaultProxy):
        def _answer(self, client: Any, request: Request, fault: str | None) -> bool:
            if len(request.body) > 1_000:
                body = b"<html>413 Request Entity Too Large</html>"
                client.sendall(b"HTTP/1.1 413 No\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                return True
            return super()._answer(client, request, fault)

    with SmallProxy(server_url) as proxy:
        result = run(tmp_path, source, proxy.url, listener=events.append, batch_docs=100)
    assert result.report.totals.written == 200
    assert any(isinstance(event, BatchSplit) for event in events)
    assert_whole(server_url, name, documents)


def test_a_document_that_the_server_chokes_on_is_found(
    tmp_path: Path, server_url: str, database_prefix: str
) -> None:
    """A 500 that goes with one document alone ends as a reject of that document; the rest is written."""
    documents = make_documents(100)
    documents[37]["poison"] = "skull"
    name = f"{database_prefix}a"
    source = write_source(tmp_path / "source", name, documents)

    def plan(request: Request) -> str | None:
        return "odd_500" if b"skull" in request.body else None

    with FaultProxy(server_url, plan) as proxy:
        result = run(tmp_path, source, proxy.url)
    assert (result.report.totals.written, result.report.totals.rejected) == (99, 1)
    reject = json.loads((tmp_path / "rejects.ndjson").read_text())
    expected = ("d00037", "load", 500, "unknown_error", "skull")
    assert expected == (
        reject["id"],
        reject["stage"],
        reject["status"],
        reject["error"],
        reject["document"]["poison"],
    )
    assert_whole(server_url, name, documents[:37] + documents[38:])


def test_a_storm_of_odd_errors_blames_no_document(tmp_path: Path, server_url: str, database_prefix: str) -> None:
    """While the server fails at everything, even an empty write, no document is called the cause."""
    documents = make_documents(120)
    name = f"{database_prefix}a"
    source = write_source(tmp_path / "source", name, documents)
    left = 12

    def plan(request: Request) -> str | None:
        nonlocal left
        if request.path.endswith("/_bulk_docs") and left:
            left -= 1
            return "odd_500"
        return None

    with FaultProxy(server_url, plan) as proxy:
        result = run(tmp_path, source, proxy.url)
    assert (result.report.totals.written, result.report.totals.rejected) == (120, 0)
    assert_whole(server_url, name, documents)


@pytest.mark.parametrize("make_fault", [lambda: "busy_429", lambda: "lost_reply"], ids=["429", "lost reply"])
def test_a_second_run_through_faults_writes_nothing(
    make_fault: Callable[[], str], tmp_path: Path, server_url: str, database_prefix: str
) -> None:
    """Faults at a run over documents that are there leave every revision as it was, and count them unchanged."""
    documents = make_documents(200)
    name = f"{database_prefix}a"
    source = write_source(tmp_path / "source", name, documents)
    run(tmp_path, source, server_url)
    before = support.revisions(server_url, name)
    with FaultProxy(server_url, on_writes(None, make_fault(), make_fault())) as proxy:
        result = run(tmp_path, source, proxy.url)
    assert (result.report.totals.written, result.report.totals.unchanged) == (0, 200)
    assert before == support.revisions(server_url, name)
