"""Remembers a run as it went, for the report: over time, by batch size and by reason; memory is bounded.

Time is divided into slices of one width. When there are too many of them, two and two become one, so that a
run of a second and one of a month both leave as many.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from migrator.model import Reject, events
from migrator.model.events import Event

FIRST_INTERVAL_S = 0.25
MAX_SLICES = 120
MAX_LIMITS_KEPT = 100
MAX_REASONS = 50
# So many rejects of each reason are named in any case, and all until there are so many.
MAX_SAMPLE = 20
MAX_NAMED = 1000
MAX_TEXT_CHARS = 500
MAX_ID_CHARS = 200
# Latencies are counted in steps of an eighth of an octave, so a percentile is right to within 5 %.
STEPS_PER_OCTAVE = 8


@dataclass(slots=True)
class _Slice:
    documents: int = 0
    size_bytes: int = 0
    batches: int = 0
    largest_batch: int = 0
    retries: int = 0
    rejected: int = 0
    slowest_s: float = 0.0
    latencies: Counter[int] = field(default_factory=Counter)

    def add(self, other: _Slice) -> None:
        for name in ("documents", "size_bytes", "batches", "retries", "rejected"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.largest_batch = max(self.largest_batch, other.largest_batch)
        self.slowest_s = max(self.slowest_s, other.slowest_s)
        self.latencies.update(other.latencies)

    def latency_ms(self) -> dict[str, float | None]:
        """Median, 95th percentile and maximum of the batches' latencies; None where there were none."""
        longest = _rounded(self.slowest_s * 1000) if self.batches else None
        return {"p50": self._percentile(0.5), "p95": self._percentile(0.95), "max": longest}

    def _percentile(self, share: float) -> float | None:
        left = math.ceil(share * sum(self.latencies.values()))
        for step in sorted(self.latencies):
            left -= self.latencies[step]
            if left <= 0:
                return _rounded(min(2 ** (step / STEPS_PER_OCTAVE), self.slowest_s * 1000))
        return None


@dataclass(slots=True)
class _Stay:
    """When a collection was begun and done, and its bytes."""

    begun: float
    done: float
    size_bytes: int = 0


class HistoryListener:
    """Listens to one run and remembers its course.

    Args:
        clock: seconds, for tests.
        now: the time of day.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._clock = clock
        self._begun = clock()
        self._started_at = now()
        # Events come from the loaders' threads too.
        self._lock = threading.Lock()
        self._interval_s = FIRST_INTERVAL_S
        self._slices: list[_Slice] = []
        self._source = self._target = ""
        self._stays: dict[str, _Stay] = {}
        self._sizes: Counter[int] = Counter()
        self._limits: list[dict[str, Any]] = []
        self._limit_changes = 0
        self._retries = self._splits = 0
        self._retry_reasons: Counter[tuple[str, str]] = Counter()
        self._named = 0
        # Rejects of one stage and error.
        self._kinds: dict[tuple[str, str], dict[str, Any]] = {}

    def __call__(self, event: Event) -> None:
        """Remember an event."""
        with self._lock:
            if isinstance(event, events.BatchLoaded):
                self._loaded(event)
            elif isinstance(event, events.DocumentRejected):
                self._rejected(event.reject)
            elif isinstance(event, events.RetryScheduled):
                self._retries += 1
                self._slice().retries += 1
                self._count_reason(event.operation, event.reason)
            elif isinstance(event, events.BatchSplit):
                self._splits += 1
                self._count_reason(f"divide a batch of {event.collection}", event.reason)
            elif isinstance(event, events.LimitsChanged):
                self._limited(event)
            elif isinstance(event, events.RunStarted):
                self._source, self._target = event.source, event.target
            elif isinstance(event, events.CollectionStarted):
                self._stay(event.collection)
            elif isinstance(event, events.CollectionFinished):
                self._stay(event.collection).done = self._elapsed()

    def as_dict(self) -> dict[str, Any]:
        """What is remembered, as the report's `history`."""
        with self._lock:
            whole = _Slice()
            for each in self._slices:
                whole.add(each)
            return {
                "started_at": self._started_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
                "source": self._source,
                "target": self._target,
                "collections": {
                    name: {"seconds": _rounded(stay.done - stay.begun), "bytes": stay.size_bytes}
                    for name, stay in self._stays.items()
                },
                "interval_s": self._interval_s,
                "series": self._series(),
                "latency_ms": whole.latency_ms(),
                "batch_sizes": [
                    {"up_to": 2**power, "batches": count} for power, count in sorted(self._sizes.items())
                ],
                "limit_changes": self._limit_changes,
                "limits": list(self._limits),
                "retries": self._retries,
                "splits": self._splits,
                "retry_reasons": [
                    {"operation": operation, "reason": reason, "count": count}
                    for (operation, reason), count in self._retry_reasons.most_common()
                ],
                "reject_reasons": sorted(self._kinds.values(), key=lambda kind: -kind["count"]),
            }

    def _series(self) -> Mapping[str, Any]:
        slices = self._slices
        latencies = [each.latency_ms() for each in slices]
        names = ("documents", "bytes", "batches", "largest_batch", "retries", "rejected")
        return {
            **{name: [getattr(s, "size_bytes" if name == "bytes" else name) for s in slices] for name in names},
            "latency_ms": {name: [each[name] for each in latencies] for name in _Slice().latency_ms()},
        }

    def _loaded(self, event: events.BatchLoaded) -> None:
        counts = event.counts
        piece = self._slice()
        piece.documents += counts.read
        piece.size_bytes += event.size_bytes
        self._stay(event.collection).size_bytes += event.size_bytes
        self._stay(event.collection).done = self._elapsed()
        size = event.documents or (counts.read - counts.filtered)
        if not event.size_bytes:
            # All of it was filtered out or unfit to be sent.
            return
        piece.batches += 1
        piece.largest_batch = max(piece.largest_batch, size)
        self._sizes[max(size - 1, 0).bit_length()] += 1
        piece.slowest_s = max(piece.slowest_s, event.seconds)
        step = round(STEPS_PER_OCTAVE * math.log2(max(event.seconds * 1000, 0.01)))
        piece.latencies[step] += 1

    def _rejected(self, reject: Reject) -> None:
        self._slice().rejected += 1
        key = (reject.stage, reject.error[:MAX_ID_CHARS])
        if key not in self._kinds and len(self._kinds) >= MAX_REASONS:
            key = ("", "other")
        reason = reject.reason[:MAX_TEXT_CHARS]
        new = {"stage": key[0], "error": key[1], "count": 0, "reason": reason, "sample": []}
        kind = self._kinds.setdefault(key, new)
        kind["count"] += 1
        if self._named < MAX_NAMED or len(kind["sample"]) < MAX_SAMPLE:
            self._named += 1
            collection, id = reject.collection[:MAX_ID_CHARS], reject.id[:MAX_ID_CHARS]
            kind["sample"].append({"collection": collection, "id": id, "reason": reason})

    def _limited(self, event: events.LimitsChanged) -> None:
        self._limit_changes += 1
        if len(self._limits) >= MAX_LIMITS_KEPT:
            # Every other one of the older ones; the latest tell where it stands.
            half = len(self._limits) // 2
            self._limits = self._limits[:half:2] + self._limits[half:]
        self._limits.append(
            {
                "at_s": _rounded(self._elapsed()),
                "max_docs": event.max_docs,
                "in_flight": event.in_flight,
                "reason": event.reason[:MAX_TEXT_CHARS],
            }
        )

    def _count_reason(self, operation: str, reason: str) -> None:
        key = (operation[:MAX_ID_CHARS], reason[:MAX_TEXT_CHARS])
        if key not in self._retry_reasons and len(self._retry_reasons) >= MAX_REASONS:
            key = ("other", "")
        self._retry_reasons[key] += 1

    def _stay(self, collection: str) -> _Stay:
        now = self._elapsed()
        return self._stays.setdefault(collection, _Stay(now, now))

    def _elapsed(self) -> float:
        return max(0.0, self._clock() - self._begun)

    def _slice(self) -> _Slice:
        place = int(self._elapsed() / self._interval_s)
        while place >= MAX_SLICES:
            for first, second in zip(self._slices[::2], self._slices[1::2], strict=False):
                first.add(second)
            del self._slices[1::2]
            self._interval_s *= 2
            place = int(self._elapsed() / self._interval_s)
        while len(self._slices) <= place:
            self._slices.append(_Slice())
        return self._slices[place]


def _rounded(number: float) -> float:
    return round(number, 3) if number < 100 else round(number, 1)
