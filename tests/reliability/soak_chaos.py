"""What happens to the soak's traffic and to its target: faults at random, a full disk, and another database."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests import support
from tests.support.fault_proxy import FAULTS, Request

FAULT_PROBABILITY = 0.08
# In a round, the database is deleted or replaced so often at most.
MAX_REPLACEMENTS = 3
# What lasts for some requests; each is met in every round that is long enough.
SPELLS = {"a full disk": ("full_disk", "full_shard"), "a drip": ("drip", "drip_body")}
READING = ("_revs_diff", "_all_docs", "_bulk_get", "_changes", "_find")


@dataclass
class Spell:
    """Trouble that lasts: it begins early in a round, covers some requests, and comes again later.

    Args:
        faults: one of them is chosen for each spell.
        longest: how many requests it covers at most.
        writes_only: it covers what writes, and nothing else.
        rng: decides.
    """

    faults: Sequence[str]
    longest: int
    writes_only: bool
    rng: random.Random

    def __post_init__(self) -> None:
        self._wait, self._left = self.rng.randrange(1, 5), 0
        self._fault = ""

    def covers(self, request: Request) -> str | None:
        """The fault, where the spell covers a request."""
        if not self.faults or (self.writes_only and not _writes(request)):
            return None
        if self._left == 0:
            self._wait -= 1
            if self._wait:
                return None
            self._fault = self.rng.choice(self.faults)
            self._wait, self._left = self.rng.randrange(50, 250), self.rng.randrange(1, self.longest + 1)
        self._left -= 1
        return self._fault


def _writes(request: Request) -> bool:
    path = urlsplit(request.path).path
    return request.method in {"POST", "PUT"} and not path.endswith(READING)


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
        self._requests = requests
        self._faults = [fault for fault in FAULTS if fault not in without]
        self._spells = [
            Spell([fault for fault in SPELLS[name] if fault not in without], longest, writes_only, rng)
            for name, longest, writes_only in (("a full disk", 25, True), ("a drip", 4, False))
        ]
        self.happened: Counter[str] = Counter()

    def __call__(self, request: Request) -> str | None:
        """Let something happen before a request, and name its fault."""
        rng = self._rng
        if self._left and rng.random() < 1 / self._requests:
            self._left -= 1
            rng.choice(self._events())()
        for spell in self._spells:
            if fault := spell.covers(request):
                return fault
        return rng.choice(self._faults) if rng.random() < FAULT_PROBABILITY else None

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
