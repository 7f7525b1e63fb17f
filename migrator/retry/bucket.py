"""So many a second, however many threads take them: a bucket that fills evenly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from migrator.retry.waiting import wait

# What was not taken can be taken later, but no more of it than comes in so long.
BURST_S = 0.5


class Bucket:
    """What is taken beyond what is in it is waited for, by each behind those who took before. Safe for threads.

    Args:
        per_s: how many come in a second. It begins empty.
        clock: seconds, for tests.
        wait: waits; False at once when the run is to stop.
    """

    def __init__(
        self,
        per_s: float,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] = wait,
    ) -> None:
        self._per_s = per_s
        self._clock = clock
        self._wait = wait
        self._lock = threading.Lock()
        self._level = 0.0
        self._seen = clock()

    def take(self, count: float) -> bool:
        """Take so many, and wait until they have come; False when the run was asked to stop meanwhile."""
        with self._lock:
            now = self._clock()
            self._level = min(self._per_s * BURST_S, self._level + (now - self._seen) * self._per_s) - count
            self._seen = now
            owed_s = -self._level / self._per_s
        return owed_s <= 0 or self._wait(owed_s)
