"""How much is sent at once: grows by small steps, shrinks by halves when the server complains."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from migrator.events import LimitsChanged, Listener, ignore
from migrator.model import BatchLimits

SUCCESSES_PER_STEP = 4
# Smaller batches than this make no server's life easier.
MIN_BYTES = 65_536


@dataclass
class Throttle:
    """Batch size and batches in flight between 1 and what was configured. Safe for threads.

    Args:
        limits: the largest batch.
        max_in_flight: the most batches at once.
        listener: hears of every change.
    """

    limits: BatchLimits
    max_in_flight: int
    listener: Listener = ignore

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self.max_docs = self.limits.max_docs
        self.max_bytes = self.limits.max_bytes
        self.in_flight = self.max_in_flight
        self._successes = 0

    @property
    def reduced(self) -> bool:
        """True while less than the configured is sent."""
        return (
            self.max_docs < self.limits.max_docs
            or self.max_bytes < self.limits.max_bytes
            or self.in_flight < self.max_in_flight
        )

    def failed(self, *, overload: bool, reason: str) -> None:
        """A call failed: fewer at once; and smaller batches too when it was too much."""
        with self._lock:
            before = (self.max_docs, self.in_flight)
            self._successes = 0
            self.in_flight = max(1, self.in_flight // 2)
            if overload:
                self.max_docs = max(1, self.max_docs // 2)
                self.max_bytes = max(min(MIN_BYTES, self.limits.max_bytes), self.max_bytes // 2)
            changed = (self.max_docs, self.in_flight) != before
        if changed:
            self.listener(LimitsChanged(self.max_docs, self.in_flight, reason))

    def succeeded(self, documents: int, seconds: float) -> None:  # noqa: ARG002 a model of latency may use both
        """A batch went through: after a few of them, a step back up."""
        if not self.reduced:
            return
        with self._lock:
            self._successes += 1
            if self._successes < SUCCESSES_PER_STEP:
                return
            self._successes = 0
            before = (self.max_docs, self.in_flight)
            self.max_docs = min(self.limits.max_docs, self.max_docs + max(1, self.limits.max_docs // 10))
            self.max_bytes = min(self.limits.max_bytes, self.max_bytes + max(1, self.limits.max_bytes // 10))
            self.in_flight = min(self.max_in_flight, self.in_flight + 1)
            changed = (self.max_docs, self.in_flight) != before
        if changed:
            self.listener(LimitsChanged(self.max_docs, self.in_flight, "recovering"))
