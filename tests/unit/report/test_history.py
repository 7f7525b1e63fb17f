"""The history of a run: what is remembered, and that it stays small however long the run."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from migrator.model import Counts, Reject, events
from migrator.report.history import (
    MAX_LIMITS_KEPT,
    MAX_NAMED,
    MAX_REASONS,
    MAX_SAMPLE,
    MAX_SLICES,
    HistoryListener,
)


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def begun() -> tuple[HistoryListener, Clock]:
    """A listener that has heard of a beginning."""
    clock = Clock()
    listener = HistoryListener(clock, lambda: datetime(2026, 11, 25, 9, 30, tzinfo=UTC))
    listener(events.RunStarted("in", "out", ("users",), 10))
    listener(events.CollectionStarted("users", "users_db", 10, resumed=False))
    return listener, clock


def loaded(documents: int, seconds: float = 0.1, **counts: int) -> events.BatchLoaded:
    """A batch of so many documents of ten bytes."""
    made = Counts(read=documents, written=documents, **counts)
    return events.BatchLoaded("users", made, documents * 10, seconds, documents)


def test_remembers_documents_bytes_and_batches_by_time() -> None:
    """Each in the slice in which it was settled."""
    listener, clock = begun()
    listener(loaded(5))
    listener(loaded(7))
    clock.now += 0.6
    listener(loaded(3))
    listener(events.CollectionFinished("users", Counts()))
    made = listener.as_dict()
    assert (made["source"], made["target"], made["started_at"]) == ("in", "out", "2026-11-25T09:30:00Z")
    assert made["interval_s"] == 0.25
    series = made["series"]
    assert series["documents"] == [12, 0, 3]
    assert series["bytes"] == [120, 0, 30]
    assert series["batches"] == [2, 0, 1]
    assert series["largest_batch"] == [7, 0, 3]
    assert made["batch_sizes"] == [{"up_to": 4, "batches": 1}, {"up_to": 8, "batches": 2}]
    assert made["collections"] == {"users": {"seconds": 0.6, "bytes": 150}}


def test_latency_is_told_by_share() -> None:
    """Half of the batches, 95 % of them, and the slowest; to within 5 %; nothing where there was no batch."""
    listener, clock = begun()
    for number in range(1, 101):
        listener(loaded(1, number / 1000))
    clock.now += 0.5
    listener(loaded(1, 2.0))
    latency = listener.as_dict()["series"]["latency_ms"]
    assert latency["p50"] == [pytest.approx(50, rel=0.05), None, pytest.approx(2000, rel=0.05)]
    assert latency["p95"] == [pytest.approx(95, rel=0.05), None, pytest.approx(2000, rel=0.05)]
    assert latency["max"] == [100, None, 2000]
    whole = listener.as_dict()["latency_ms"]
    assert whole == {"p50": pytest.approx(50, rel=0.05), "p95": pytest.approx(95, rel=0.05), "max": 2000}


def test_a_batch_that_sent_nothing_is_no_batch() -> None:
    """What was filtered out took no time at the target."""
    listener, _ = begun()
    listener(events.BatchLoaded("users", Counts(read=9, filtered=9), 0, 0.0))
    series = listener.as_dict()["series"]
    assert (series["documents"], series["batches"], series["latency_ms"]["p50"]) == ([9], [0], [None])


@pytest.mark.parametrize("hours", [1, 24 * 40])
def test_memory_does_not_grow_with_time(hours: int) -> None:
    """After any time there are at most as many slices, and nothing is lost from the sums."""
    listener, clock = begun()
    for number in range(1000):
        clock.now = 100 + number * hours * 3.6
        listener(loaded(2, 0.001 * (number + 1)))
        listener(events.RetryScheduled("load users", 1, 0.1, "busy"))
    made = listener.as_dict()
    series = made["series"]
    assert MAX_SLICES / 2 <= len(series["documents"]) <= MAX_SLICES
    assert (sum(series["documents"]), sum(series["batches"]), sum(series["retries"])) == (2000, 1000, 1000)
    assert max(value for value in series["latency_ms"]["max"] if value) == 1000
    assert len(series["documents"]) * made["interval_s"] >= 999 * hours * 3.6


def test_a_long_silence_is_remembered_as_one() -> None:
    """One event after a year of nothing makes no year of slices."""
    listener, clock = begun()
    listener(loaded(1))
    clock.now += 31_536_000
    listener(loaded(1))
    series = listener.as_dict()["series"]
    assert len(series["documents"]) <= MAX_SLICES
    assert sum(series["documents"]) == 2


def test_rejects_are_grouped_and_named() -> None:
    """Every one is counted, all are named up to a bound and some of each kind beyond it; no document is held."""
    listener, _ = begun()
    for number in range(MAX_NAMED + 100):
        listener(
            events.DocumentRejected(
                Reject("users", f"d{number}", "load", "forbidden", "not you", document={"secret": 1})
            )
        )
    for _ in range(MAX_SAMPLE + 1):
        listener(events.DocumentRejected(Reject("users", "x", "extract", "invalid_json", "r" * 5000)))
    first, second = listener.as_dict()["reject_reasons"]
    assert (first["stage"], first["error"], first["count"], first["reason"]) == (
        "load",
        "forbidden",
        MAX_NAMED + 100,
        "not you",
    )
    assert (len(first["sample"]), len(second["sample"])) == (MAX_NAMED, MAX_SAMPLE)
    assert first["sample"][0] == {"collection": "users", "id": "d0", "reason": "not you"}
    assert (second["error"], second["count"]) == ("invalid_json", MAX_SAMPLE + 1)
    assert len(second["sample"][0]["reason"]) == 500
    assert "secret" not in json.dumps(listener.as_dict())


def test_kinds_and_reasons_are_bounded() -> None:
    """A server that says something else each time fills no memory; all are counted."""
    listener, _ = begun()
    for number in range(1000):
        listener(events.DocumentRejected(Reject("users", "d", "load", f"e{number}", "r")))
        listener(events.RetryScheduled("load users", 1, 0.1, f"reason {number}"))
        listener(events.LimitsChanged(number, 1, "busy"))
        listener(events.BatchSplit("users", 5, "too large"))
    made = listener.as_dict()
    assert len(made["reject_reasons"]) <= MAX_REASONS + 1
    assert sum(kind["count"] for kind in made["reject_reasons"]) == 1000
    assert len(made["retry_reasons"]) <= MAX_REASONS + 2
    assert sum(reason["count"] for reason in made["retry_reasons"]) == 2000
    assert (made["retries"], made["splits"], made["limit_changes"]) == (1000, 1000, 1000)
    assert len(made["limits"]) <= MAX_LIMITS_KEPT
    assert made["limits"][-1]["max_docs"] == 999
