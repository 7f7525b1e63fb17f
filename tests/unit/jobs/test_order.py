"""Which collections are sorted: decided once for a job, and kept to when it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from migrator.checkpoint.file import Checkpoint, CollectionState
from migrator.config import JobConfig
from migrator.jobs import run
from migrator.jobs.open import OpenJob
from migrator.jobs.run import in_order
from migrator.model import BatchLimits
from migrator.model.capabilities import Traits
from migrator.pipeline import spooling
from migrator.pipeline.wrapper import ExtractorWrapper, LoaderWrapper, RetryingLoader
from migrator.retry.retrier import Retrier
from migrator.retry.throttle import Throttle
from tests.support.fakes import FakeExtractor, FakeLoader, Item, numbered

SHUFFLED: list[Item] = [*reversed(numbered(30))]


class Server(FakeLoader):
    """A target whose tree of ids costs what it costs."""

    traits = Traits(prefers_sorted=True)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten documents are many."""
    monkeypatch.setattr(run, "MIN_DOCUMENTS_TO_SORT", 10)
    monkeypatch.setattr(spooling, "MIN_DOCUMENTS_TO_SORT", 10)


def job_of(
    items: list[Item], *, ordered: bool = False, target: FakeLoader | None = None, **config: Any
) -> OpenJob:
    """An open job of one collection."""
    extractor = FakeExtractor({"c": items})
    extractor.ordered = ordered
    loader = target or Server()
    return OpenJob(
        config=JobConfig(**config),
        extractor=ExtractorWrapper(extractor),
        loader=LoaderWrapper(loader),
        bare_loader=loader,
        collections=["c"],
        names={"c": "c"},
        fingerprint={},
        retrier=Retrier(),
        throttle=Throttle(BatchLimits(), 4),
        first=RetryingLoader(loader, Retrier()),
    )


def positions(job: OpenJob, checkpoint: Checkpoint, folder: Path) -> list[object]:
    """Where reading would go on after each record: ids where it is sorted, else the source's own."""
    extractor = in_order(job, checkpoint, job.transform(checkpoint), folder / "c.json")
    return [record.position for record in extractor.extract("c")]


@pytest.mark.parametrize(
    ("items", "config", "ordered", "is_sorted"),
    [
        (SHUFFLED, {}, False, True),
        (SHUFFLED, {"sort": "always"}, False, True),
        (SHUFFLED, {"sort": "never"}, False, False),
        (SHUFFLED, {"dry_run": True}, False, False),
        (SHUFFLED[:9], {}, False, False),
        (SHUFFLED[:9], {"sort": "always"}, False, True),
        (numbered(30), {}, False, False),
        (SHUFFLED, {}, True, False),
        (SHUFFLED, {"transform": ("drop:a",)}, True, False),
        (SHUFFLED, {"transform": ("id:hash",)}, True, True),
    ],
)
def test_sorts_where_it_gains(
    tmp_path: Path, items: list[Item], config: dict[str, Any], ordered: bool, is_sorted: bool
) -> None:
    """Many documents in no order, for a server, unless told otherwise."""
    found = positions(job_of(items, ordered=ordered, **config), Checkpoint(job={}), tmp_path)
    assert is_sorted == all(isinstance(position, str) for position in found)


def test_files_are_not_sorted(tmp_path: Path) -> None:
    """A folder takes documents in the source's order."""
    found = positions(job_of(SHUFFLED, target=FakeLoader(), sort="always"), Checkpoint(job={}), tmp_path)
    assert list(range(1, 31)) == found


@pytest.mark.parametrize("sorts", [("auto", "never"), ("never", "always"), ("always", "never"), ("never", "auto")])
def test_what_was_decided_holds(tmp_path: Path, sorts: tuple[str, str]) -> None:
    """A run that goes on reads in the order of its positions, whatever --sort says now."""
    checkpoint = Checkpoint(job={})
    first, second = (positions(job_of(SHUFFLED, sort=sort), checkpoint, tmp_path) for sort in sorts)
    assert first == second


def test_a_spool_is_removed_when_its_collection_is_done(tmp_path: Path) -> None:
    """Nothing stays beside the checkpoint."""
    extractor = ExtractorWrapper(in_order(job_of(SHUFFLED), Checkpoint(job={}), None, tmp_path / "c.json"))
    assert len(list(extractor.extract("c"))) == 30
    assert [path.name for path in tmp_path.iterdir()] == ["c.json.spool"]
    extractor.finish("c")
    assert list(tmp_path.iterdir()) == []


def test_what_an_earlier_job_left_goes(tmp_path: Path) -> None:
    """A job that begins, sorted or not, finds no use for a spool that a killed one left; one that goes on does."""
    first = in_order(job_of(SHUFFLED), Checkpoint(job={}), None, tmp_path / "c.json")
    last = [record.position for record in first.extract("c")][3]
    going_on = Checkpoint(job={}, collections={"c": CollectionState(position=last)})
    in_order(job_of(SHUFFLED), going_on, None, tmp_path / "c.json")
    assert ["c.json.spool"] == [path.name for path in tmp_path.iterdir()]
    in_order(job_of(SHUFFLED, sort="never"), Checkpoint(job={}), None, tmp_path / "c.json")
    assert list(tmp_path.iterdir()) == []
