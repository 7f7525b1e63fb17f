"""Verification by ranges in other processes: what it finds is what one process finds, through stops and kills."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from migrator.config import JobConfig
from migrator.errors import Interrupted, MigratorError
from migrator.jobs.processes import Process
from migrator.jobs.run import run_job
from migrator.model.events import DocumentRejected, DocumentsCompared, Event
from migrator.verification import ranges
from migrator.verification.compare import Comparison
from migrator.verification.job import verify_job
from migrator.verification.read_target import CouchReader
from migrator.verification.result import VerifyResult
from tests import support

pytestmark = pytest.mark.usefixtures("no_credentials")

DOCUMENTS = 300


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of a few documents; ids of ASCII are in one order on every server."""
    monkeypatch.setattr(ranges, "MIN_DOCUMENTS", 10)
    monkeypatch.setattr(CouchReader, "divides", lambda _self, _collection: True)


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first ids of the ranges that were given to processes."""
    found: list[str] = []
    ask = ranges.ByRanges._ask

    def noted(self: ranges.ByRanges, name: str, each: ranges.Range, after: str | None) -> Any:
        found.append(each.first)
        return ask(self, name, each, after)

    monkeypatch.setattr(ranges.ByRanges, "_ask", noted)
    return found


def write(path: Path, lines: Sequence[str]) -> Path:
    """A file of documents."""
    path.write_text("\n".join(lines) + "\n")
    return path


def lines_of(count: int = DOCUMENTS) -> list[str]:
    """Documents in the order of their ids."""
    return [json.dumps({"_id": f"d{n:04}", "n": n, "kind": n % 7}) for n in range(count)]


def load(source: Path, url: str, folder: Path) -> None:
    """Write a file's documents."""
    run_job(
        JobConfig(source=str(source), target=url, checkpoint=str(folder / "run.json"), restart=True), environ={}
    )


def verified(source: object, url: str, folder: Path, workers: int, **options: Any) -> VerifyResult:
    """Verify, with what is named."""
    around = {key: options.pop(key) for key in ("listener", "stopping", "differences") if key in options}
    options.setdefault("restart", not options.get("resume"))
    config = JobConfig(
        source=str(source),
        target=url,
        transform_workers=workers,
        checkpoint=str(folder / "verify.json"),
        **options,
    )
    return verify_job(config, environ={}, **around)


def test_every_difference_is_found_whichever_range_it_is_in(
    server_url: str, database_prefix: str, tmp_path: Path, entered: list[str]
) -> None:
    """Changed, missing and extra documents, at the edges too; the filtered and the unwritable are counted."""
    name, chance = f"{database_prefix}a", random.Random(18)
    lines = lines_of()
    source = write(tmp_path / f"{name}.ndjson", lines)
    load(source, server_url, tmp_path)
    for number in chance.sample(range(DOCUMENTS), 20):
        lines[number] = json.dumps({"_id": f"d{number:04}", "n": -1, "kind": number % 7})
    for number in sorted(chance.sample(range(DOCUMENTS), 20), reverse=True):
        del lines[number]
    lines[:0] = ['{"_id":"a","kind":1}']
    at = lines.index(next(line for line in lines if "d015" in line)) + 1
    lines[at:at] = ["{torn", lines[at - 1].replace('", "n"', 'x", "n"').replace('"kind": 3', '"kind": 1')]
    lines += ['{"_id":"_wrong","kind":1}', '{"_id":"z","kind":1}']
    source = write(source, lines)
    transform = ("where:kind!=3",)
    one = verified(source, server_url, tmp_path, 0, transform=transform)
    assert entered == []
    rejected: list[Event] = []
    three = verified(
        source,
        server_url,
        tmp_path,
        3,
        transform=transform,
        listener=lambda event: rejected.append(event) if isinstance(event, DocumentRejected) else None,
    )
    assert len(entered) == 3 * ranges.RANGES_EACH
    assert one.comparisons == three.comparisons
    numbers = three.comparisons[name]
    assert min(numbers.different, numbers.missing, numbers.extra) > 0
    assert one.differences == three.differences
    assert (one.filtered, one.unwritable) == (three.filtered, three.unwritable)
    assert three.filtered > 0
    assert len(rejected) == three.unwritable == 2


def test_a_server_is_compared_with_another_one(
    server_url: str, database_prefix: str, tmp_path: Path, entered: list[str]
) -> None:
    """A database is entered at keys; none of its documents is in two ranges, and none in none."""
    name, other = f"{database_prefix}a", f"{database_prefix}b"
    source = write(tmp_path / f"{name}.ndjson", lines_of())
    load(source, f"{server_url}/{name}", tmp_path)
    load(source, f"{server_url}/{other}", tmp_path)
    assert support.request("PUT", f"{server_url}/{other}/d0299x", {"n": 1})[0] == 201
    found = verified(f"{server_url}/{name}", f"{server_url}/{other}", tmp_path, 2)
    assert found.comparisons[name] == Comparison(source=300, target=301, equal=300, extra=1)
    assert len(entered) > 2


def test_ids_out_of_order_are_sorted_as_without(
    server_url: str, database_prefix: str, tmp_path: Path, entered: list[str]
) -> None:
    """One that belongs into another range, or is twice at an edge, is neither missing nor extra."""
    name = f"{database_prefix}a"
    lines = lines_of()
    load(write(tmp_path / f"{name}.ndjson", lines), server_url, tmp_path)
    lines.append(lines.pop(40))
    source = write(tmp_path / f"{name}.ndjson", ["{torn", *lines])
    told: list[Event] = []
    found = verified(source, server_url, tmp_path, 2, listener=told.append)
    assert found.comparisons[name] == Comparison(300, 300, 300)
    assert found.unwritable == sum(isinstance(event, DocumentRejected) for event in told) == 1
    assert entered
    twice = [line for line in lines_of() for _ in range(2)]
    found = verified(write(source, twice), server_url, tmp_path, 2)
    assert found.comparisons[name] == Comparison(source=600, target=300, equal=600)


@pytest.mark.parametrize("workers", [2, 0])
def test_a_stopped_one_goes_on(
    workers: int, server_url: str, database_prefix: str, tmp_path: Path, entered: list[str]
) -> None:
    """With ranges that were compared left out, or by one process alone; each difference is counted once."""
    name = f"{database_prefix}a"
    lines = lines_of()
    source = write(tmp_path / f"{name}.ndjson", lines)
    load(source, server_url, tmp_path)
    for number in (3, 150, 298):
        lines[number] = json.dumps({"_id": f"d{number:04}", "n": -1})
    write(source, lines)
    path, stopping, compared = str(tmp_path / "differences.ndjson"), threading.Event(), []

    def stop(event: Event) -> None:
        if isinstance(event, DocumentsCompared):
            compared.append(event.documents)
            if sum(compared) >= 100:
                stopping.set()

    with pytest.raises(Interrupted):
        verified(source, server_url, tmp_path, 2, listener=stop, stopping=stopping, differences=path)
    assert 100 <= sum(compared) < DOCUMENTS
    begun = len(entered)
    found = verified(source, server_url, tmp_path, workers, resume=True, differences=path)
    assert found.comparisons[name] == Comparison(source=300, target=300, equal=297, different=3)
    assert [json.loads(line)["id"] for line in Path(path).read_text().splitlines()] == ["d0003", "d0150", "d0298"]
    again = entered[begun:]
    assert (0 < len(again) < 2 * ranges.RANGES_EACH) if workers else again == []


def test_a_process_that_is_killed_is_named_and_the_rest_goes_on(
    server_url: str, database_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for its answer, and nothing of it was taken for equal."""
    name = f"{database_prefix}a"
    source = write(tmp_path / f"{name}.ndjson", lines_of())
    load(source, server_url, tmp_path)
    ask, asked = Process.ask, []

    def kills(self: Process, texts: Sequence[bytes]) -> list[bytes]:
        asked.append(self)
        if len(asked) == 4:
            self._process.kill()
        return ask(self, texts)

    monkeypatch.setattr(Process, "ask", kills)
    with pytest.raises(MigratorError, match="verify process ended by itself") as raised:
        verified(source, server_url, tmp_path, 2)
    assert "--resume" in raised.value.hint
    assert all(each._process.returncode is not None for each in asked)
    monkeypatch.setattr(Process, "ask", ask)
    assert verified(source, server_url, tmp_path, 2, resume=True).comparisons[name] == Comparison(300, 300, 300)


def test_what_a_process_meets_is_said_as_by_this_one(
    server_url: str, database_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that is damaged in its middle: the same error and exit code."""
    name = f"{database_prefix}a"
    source = write(tmp_path / f"{name}.ndjson", lines_of())
    load(source, server_url, tmp_path)
    divided = ranges.divided

    def cut(*args: Any) -> list[ranges.Range]:
        found = divided(*args)
        found[-1].lower = "7:1"
        return found

    monkeypatch.setattr(ranges, "divided", cut)
    with pytest.raises(MigratorError, match="no line ends at byte 7") as raised:
        verified(source, server_url, tmp_path, 2)
    assert raised.value.exit_code == 6
