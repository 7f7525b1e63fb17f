"""Leaves a server room for others: asks it for less while another client would wait noticeably longer than before.

A small request of our own, beside all others, is what another client would meet. Its time before the work begins
is what is usual; while it takes several times as long, fewer requests may be under way, down to one now and then.
"""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import takewhile
from typing import Any, TypeVar

from migrator.config.pace import UNLIMITED
from migrator.couch.endpoint import Endpoint
from migrator.errors import EndpointError
from migrator.retry.waiting import wait

T = TypeVar("T")
# What is usual is the median of so many, one after the other.
FIRST = 9
# Later one is sent so often, and the median of the last few counts.
EVERY_S = 0.1
LAST = 7
TIMEOUT_S = 5.0
# What nobody notices.
MIN_RISE_S = 0.003
# Of the requests under way so many go on when others wait too long; and so many more when they do not.
DOWN, UP = 0.7, 1.3
# One request goes for this share of the time at least, or the work would never end.
LEAST = 0.05
# However much one took, the next one waits no longer.
MAX_WAIT_S = 5.0
# More than this many at once nobody sends.
MOST = 100.0


class HeadRoom:
    """How many requests may be under way at one server, as a number that need not be whole; for all threads.

    Args:
        factor: so many times as long as before the work others may wait.
        probe: sends a request as another client does.
        clock: seconds, for tests.
        wait: waits; returns at once when the run is to stop.
    """

    def __init__(
        self,
        factor: float,
        probe: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] = wait,
    ) -> None:
        self.allowed = MOST
        self._factor = factor
        self._probe = probe
        self._clock = clock
        self._wait = wait
        self._lock = threading.Lock()
        self._level = 0.0
        self._used_s = 0.0
        self._seen = self._judged = clock()
        self._usual_s = 0.0
        self._last: deque[float] = deque(maxlen=LAST)
        self._users: set[int] = set()
        self._over = threading.Event()

    def enter(self, client: object) -> None:
        """A client begins to ask, unless it has begun; the first one waits for what is usual."""
        if id(client) in self._users:
            return
        with self._lock:
            self._users.add(id(client))
            if len(self._users) > 1:
                return
            self._over = threading.Event()
            # Where nobody answers, whoever asks next is told so.
            first = list(takewhile(lambda seconds: seconds < TIMEOUT_S, (self._timed() for _ in range(FIRST))))
            self._usual_s = statistics.median(first) if first else TIMEOUT_S
            watcher = threading.Thread(target=self._watch, args=(self._over,), daemon=True, name="head-room")
            watcher.start()

    def leave(self, client: object) -> None:
        """A client asks no more; with the last one the probing ends."""
        with self._lock:
            self._users.discard(id(client))
            if not self._users:
                self._over.set()
                self.allowed = MOST

    def before(self) -> None:
        """Wait until one more request may be under way."""
        with self._lock:
            now = self._clock()
            self._level = min(0.0, self._level + (now - self._seen) * self.allowed)
            self._seen = now
            self._level = max(self._level, -MAX_WAIT_S * self.allowed)
            owed_s = -self._level / self.allowed
        if owed_s > 0:
            self._wait(owed_s)

    def after(self, seconds: float) -> None:
        """A request was under way for so long."""
        with self._lock:
            self._level -= seconds
            self._used_s += seconds

    @contextlib.contextmanager
    def request(self, client: object) -> Iterator[None]:
        """Wait until one more request may be under way, which the block is."""
        self.enter(client)
        self.before()
        began = self._clock()
        try:
            yield
        finally:
            self.after(self._clock() - began)

    def each(self, pieces: Iterator[T]) -> Iterator[T]:
        """The pieces of an answer, which is a request under way while one is waited for."""
        while True:
            self.before()
            began = self._clock()
            try:
                piece = next(pieces)
            except StopIteration:
                return
            finally:
                self.after(self._clock() - began)
            yield piece

    def judge(self, seconds: float) -> None:
        """Another client's request took so long just now."""
        with self._lock:
            now = self._clock()
            self._last.append(seconds)
            if len(self._last) < LAST:
                return
            median_s = statistics.median(self._last)
            self._last.clear()
            under_way = self._used_s / max(now - self._judged, 1e-6)
            self._used_s, self._judged = 0.0, now
            self._usual_s = min(self._usual_s, median_s)
            if median_s > max(self._factor * self._usual_s, self._usual_s + MIN_RISE_S):
                # What was allowed and not used says nothing.
                self.allowed = max(LEAST, min(self.allowed, max(under_way, LEAST)) * DOWN)
            else:
                self.allowed = min(MOST, self.allowed * UP)

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(EVERY_S):
            self.judge(self._timed())

    def _timed(self) -> float:
        """How long a probe takes, without what this process itself is late by; without an answer, very long."""
        began = time.perf_counter()
        time.sleep(0.001)
        asked = time.perf_counter()
        try:
            self._probe()
        except EndpointError:
            return TIMEOUT_S
        return max(0.0, (time.perf_counter() - asked) - (asked - began - 0.001))


_rooms: dict[tuple[str, float], HeadRoom] = {}


def room_of(endpoint: Endpoint) -> HeadRoom | None:
    """The one of this server, for all its clients; None where nobody wants one."""
    factor = endpoint.pace.head_room
    if not factor:
        return None

    def probe() -> None:
        from migrator.couch.transport import Transport  # which asks this module

        asked = replace(endpoint, user=None, password=None, pace=UNLIMITED, read_timeout_s=TIMEOUT_S)
        wire = found.setdefault("wire", Transport(asked, max_connections=1))
        wire.request("GET", f"{endpoint.url}/_up")

    found: dict[str, Any] = {}
    return _rooms.setdefault((endpoint.url, factor), HeadRoom(factor, probe))
