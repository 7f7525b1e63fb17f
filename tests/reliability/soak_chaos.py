"""What happens to the soak's traffic and to its target: faults at random, a full disk, and another database."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection

from tests import support
from tests.fault_proxy import FAULTS, Request

FAULT_PROBABILITY = 0.08
# Of a request, that the disk is full from now on, for so many requests at most.
FULL_PROBABILITY = 0.004
MAX_FULL_REQUESTS = 25
# In a round, the database is deleted or replaced so often at most.
MAX_REPLACEMENTS = 3
READING = ("_revs_diff", "_all_docs", "_bulk_get", "_changes", "_find")


class Chaos:
    """The plan of a FaultProxy; it is called by one request at a time.

    Args:
        target: the URL of the database that is filled.
        rng: decides.
        requests: about so many make one run.
        replacing: databases are deleted and replaced too.
        without: faults that are left out.
    """

    def __init__(
        self, target: str, rng: random.Random, *, requests: int, replacing: bool, without: Collection[str] = ()
    ) -> None:
        self._target = target
        self._rng = rng
        self._left = MAX_REPLACEMENTS if replacing else 0
        self._full = 0
        self._requests = requests
        self._without = without
        self.happened: Counter[str] = Counter()

    def __call__(self, request: Request) -> str | None:
        """Let something happen before a request, and name its fault."""
        rng = self._rng
        if self._left and rng.random() < 1 / self._requests:
            self._left -= 1
            rng.choice(self._events())()
        if self._full == 0 and rng.random() < FULL_PROBABILITY:
            self._full = rng.randrange(1, MAX_FULL_REQUESTS)
        if self._full:
            self._full -= 1
            if request.method in {"POST", "PUT"} and not request.path.endswith(READING):
                return "full_disk"
        if rng.random() < FAULT_PROBABILITY:
            return rng.choice([fault for fault in (*FAULTS, "drip") if fault not in self._without])
        return None

    def _events(self) -> list[Callable[[], None]]:
        return [self._delete, self._replace, self._fill]

    def _delete(self) -> None:
        if support.request("DELETE", self._target)[0] in {200, 202}:
            self.happened["database deleted"] += 1

    def _replace(self) -> None:
        if support.request("DELETE", self._target)[0] in {200, 202}:
            support.request("PUT", self._target)
            self.happened["database replaced"] += 1

    def _fill(self) -> None:
        if support.request("DELETE", self._target)[0] in {200, 202}:
            support.request("PUT", self._target)
            support.request("POST", f"{self._target}/_bulk_docs", {"docs": [{"_id": "a stranger's"}]})
            self.happened["database of a stranger"] += 1
