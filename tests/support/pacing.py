"""Buckets that wait for nobody and remember what was taken."""

from __future__ import annotations


class Taken:
    """What was taken, by how fast a bucket fills and in the order in which they were made."""

    def __init__(self) -> None:
        self.counts: dict[float, list[list[float]]] = {}

    def bucket(self, per_s: float) -> _Recorder:
        """One more."""
        own: list[float] = []
        self.counts.setdefault(per_s, []).append(own)
        return _Recorder(own)

    def total(self, per_s: float, turn: int) -> float:
        """All that was taken of every second bucket of that kind: 0 for what is read, 1 for what is written."""
        return sum(sum(own) for own in self.counts.get(per_s, [])[turn::2])


class _Recorder:
    def __init__(self, own: list[float]) -> None:
        self._own = own

    def take(self, count: float) -> bool:
        """Take so many."""
        if count:
            self._own.append(count)
        return True
