"""How fast a server may be used: so many documents and bytes a second, as people write them."""

from __future__ import annotations

import re
from typing import NamedTuple

from migrator.errors import ConfigError
from migrator.model import BatchLimits

_RATE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:/\s*(s|min|h))?\s*")
_SECONDS = {"": 1, "s": 1, "min": 60, "h": 3600}
_BANDWIDTH = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kKMG]i?)?B?(?:/s)?\s*")
_SIZES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "ki": 2**10, "Mi": 2**20, "Gi": 2**30}
# A request is made no smaller for the sake of bandwidth than this, or what goes with each would be most of it.
MIN_BYTES = 65_536
PACE = ("rate", "bandwidth", "head_room")
"""The options of what moves documents, and of nothing else."""
NUMBERS = frozenset({"max_errors", "rate", "bandwidth"})
"""Options that are texts, which a job file and Python may give as a number too."""


class PaceLimits(NamedTuple):
    """How fast one server may be used; 0 where that does not matter."""

    docs_per_s: float = 0.0
    bytes_per_s: float = 0.0
    head_room: float = 0.0

    def bounded(self, limits: BatchLimits) -> BatchLimits:
        """Batches of no more than goes in a second, so that they go evenly and not after a long wait."""
        docs, size = limits.max_docs, limits.max_bytes
        if self.docs_per_s:
            docs = min(docs, max(1, int(self.docs_per_s)))
        if self.bytes_per_s:
            size = min(size, max(MIN_BYTES, int(self.bytes_per_s)))
        return BatchLimits(docs, size)


UNLIMITED = PaceLimits()


def parse_rate(text: str) -> float:
    """Read a number of documents a second; 0 for an empty text.

    >>> parse_rate("500/s"), parse_rate("30/min")
    (500.0, 0.5)

    Raises:
        ConfigError: it is none.
    """
    found = _RATE.fullmatch(text) if text else None
    rate = float(found[1]) / _SECONDS[found[2] or ""] if found else 0.0
    if text and not rate:
        raise ConfigError(f"rate is {text!r:.60}.", hint="Write documents a second, 500/s, or 30/min.")
    return rate


def parse_bandwidth(text: str) -> float:
    """Read a number of bytes a second; 0 for an empty text.

    >>> parse_bandwidth("5MB/s"), parse_bandwidth("64KiB/s")
    (5000000.0, 65536.0)

    Raises:
        ConfigError: it is none.
    """
    found = _BANDWIDTH.fullmatch(text) if text else None
    size = float(found[1]) * _SIZES[(found[2] or "").replace("K", "k")] if found else 0.0
    if text and not size:
        raise ConfigError(f"bandwidth is {text!r:.60}.", hint="Write bytes a second: 5MB/s, 500kB/s or 2MiB/s.")
    return size
