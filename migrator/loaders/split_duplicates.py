"""Orders the documents of a batch that share an id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def rounds(ids: Sequence[str]) -> list[list[int]]:
    """Places such that no id is twice in one round: the later of two must meet the earlier at the target.

    >>> rounds(["a", "b", "a"])
    [[0, 1], [2]]
    """
    if len(set(ids)) == len(ids):
        return [list(range(len(ids)))] if ids else []
    times: Counter[str] = Counter()
    found: list[list[int]] = []
    for place, id in enumerate(ids):
        if times[id] == len(found):
            found.append([])
        found[times[id]].append(place)
        times[id] += 1
    return found
