"""How much is sent at once: grows by small steps while that gains, shrinks by halves when the server complains."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from migrator.events import LimitsChanged, Listener, ignore
from migrator.model import BatchLimits
from migrator.retry.tuner import Tuner

SUCCESSES_PER_STEP = 4
# Smaller batches than this make no server's life easier.
MIN_BYTES = 65_536
# Where the search for the best begins: what most servers are near.
START_DOCS = 500
START_IN_FLIGHT = 6


@dataclass
class Throttle:
    """Batch size and batches in flight between 1 and what was configured. Safe for threads.

    Args:
        limits: the largest batch.
        max_in_flight: the most batches at once.
        listener: receives every change.
        seeks: begin in the middle and find out what the server likes best; else begin with the most.
        clock: seconds, for tests.
    """

    limits: BatchLimits
    max_in_flight: int
    listener: Listener = ignore
    seeks: bool = False
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        # What works as far as is known; what is sent is less after failures, until they are forgotten.
        self._tuner = Tuner(
            docs=min(START_DOCS, self.limits.max_docs) if self.seeks else self.limits.max_docs,
            in_flight=min(START_IN_FLIGHT, self.max_in_flight) if self.seeks else self.max_in_flight,
            max_docs=self.limits.max_docs,
            max_in_flight=self.max_in_flight,
        )
        self.max_docs = self._tuner.docs
        self.in_flight = self._tuner.in_flight
        self._bytes = self.limits.max_bytes
        self._successes = 0

    @property
    def max_bytes(self) -> int:
        """Most bytes in a batch: of many at once each is smaller, so that all together stay within bounds."""
        together = self.limits.max_bytes * START_IN_FLIGHT // self.in_flight if self.seeks else self._bytes
        return max(1, min(self._bytes, together))

    @property
    def reduced(self) -> bool:
        """True while less is sent than works as far as is known."""
        return (
            self.max_docs < self._tuner.docs
            or self._bytes < self.limits.max_bytes
            or self.in_flight < self._tuner.in_flight
        )

    def failed(self, *, overload: bool, reason: str) -> None:
        """A call failed: fewer at once; and smaller batches too when it was too much."""
        with self._lock:
            before = (self.max_docs, self.in_flight)
            self._successes = 0
            self._tuner.disturbed(overload=overload and self.seeks)
            self.in_flight = max(1, self.in_flight // 2)
            if overload:
                self.max_docs = max(1, self.max_docs // 2)
                self._bytes = max(min(MIN_BYTES, self.limits.max_bytes), self._bytes // 2)
            changed = (self.max_docs, self.in_flight) != before
        if changed:
            self.listener(LimitsChanged(self.max_docs, self.in_flight, reason))

    def succeeded(self, documents: int, seconds: float) -> None:
        """A batch went through: after a few of them, a step back up, or one on in the search."""
        with self._lock:
            before = (self.max_docs, self.in_flight)
            reason = "recovering"
            if self.reduced:
                self._recover()
            elif self.seeks and self._tuner.measured(self.clock(), documents, seconds):
                self.max_docs, self.in_flight = self._tuner.docs, self._tuner.in_flight
                reason = "seeking"
            changed = (self.max_docs, self.in_flight) != before
        if changed:
            self.listener(LimitsChanged(self.max_docs, self.in_flight, reason))

    def _recover(self) -> None:
        self._successes += 1
        if self._successes < SUCCESSES_PER_STEP:
            return
        self._successes = 0
        self.max_docs = min(self._tuner.docs, self.max_docs + max(1, self.limits.max_docs // 10))
        self._bytes = min(self.limits.max_bytes, self._bytes + max(1, self.limits.max_bytes // 10))
        self.in_flight = min(self._tuner.in_flight, self.in_flight + 1)
