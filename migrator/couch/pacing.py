"""When a server may be asked: not while it wants to be left alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from migrator.couch.endpoint import Endpoint
from migrator.couch.responses import retry_after_s
from migrator.retry.waiting import wait

# A server says so with these, and with `Retry-After` for how long.
BUSY = frozenset({429, 503})


class Hold:
    """How long a server wants to be left alone, which all that ask it in this process heed together.

    Args:
        clock: seconds, for tests.
        wait: waits; False when it is to end.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, wait: Callable[[float], bool] = wait) -> None:
        self._clock = clock
        self._wait = wait
        self._until = float("-inf")

    def answered(self, status: int, headers: Mapping[str, str], max_hold_s: float) -> None:
        """Look at an answer. Whoever got one that asks for a longer wait gives up, so nobody waits for that."""
        if status in BUSY and (asked_s := retry_after_s(headers)) and asked_s <= max_hold_s:
            self._until = max(self._until, self._clock() + asked_s)

    def heed(self) -> None:
        """Wait until the server may be asked, or the run is to stop."""
        while (left_s := self._until - self._clock()) > 0:
            if not self._wait(left_s):
                return


_holds: dict[str, Hold] = {}


def hold_of(endpoint: Endpoint) -> Hold:
    """The one of this server."""
    return _holds.setdefault(endpoint.url, Hold())
