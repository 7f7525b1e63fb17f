"""What times of a database's snapshots tell of its schedule: how often there is one, and where one is missing.

Pruning makes gaps on purpose, and they grow with age. It never divides a chain: an incremental snapshot and the
one that it adds to were made one right after the other. So only such pairs tell how long it was between two. Where
all snapshots are full, an interval counts only if it is longer than those before it, which pruning thins more.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import accumulate, pairwise
from statistics import median
from typing import NamedTuple

from migrator.backup.age import CLOCKS_DIFFER
from migrator.backup.format.manifest import Manifest

LEAST_INTERVALS = 3
"""Fewer tell nobody what is usual."""

SHORTEST, SHORTEST_GAP = timedelta(minutes=1), timedelta(hours=1)
"""Who makes snapshots by hand, one after the other, has no schedule."""

MANY_INTERVALS = 10
CLEAR, CLEAR_OF_FEW = 1.75, 3.5
"""So many times as long as usual is a gap; of few intervals more, as a weekend is three times a day."""

AS_LONG = 0.8
WEEK, CHANGES_BY = timedelta(days=7), timedelta(hours=3)
NEWEST_INTERVALS = 7


class Interval(NamedTuple):
    """From one snapshot to the next; `before` is None where that has not come yet."""

    after: Manifest
    before: Manifest | None
    length: timedelta


class Schedule(NamedTuple):
    """How long it usually is from one snapshot to the next, None where that is not regular; and clear gaps."""

    usual: timedelta | None
    gaps: list[Interval]


def schedule_of(manifests: Sequence[Manifest], now: datetime) -> Schedule:
    """Learn a schedule from snapshots.

    Args:
        manifests: of one database, oldest first.
        now: the time.
    """
    past = _in_order([each for each in manifests if each.finished_at <= now + CLOCKS_DIFFER])
    every = [Interval(a, b, b.finished_at - a.finished_at) for a, b in pairwise(past)]
    exact = [each for each in every if each.before and each.before.parent == each.after.snapshot]
    thinned = len(exact) < LEAST_INTERVALS
    intervals = every if thinned else exact
    # The newest ones were thinned least.
    sample = [each.length for each in (intervals[-NEWEST_INTERVALS:] if thinned else intervals)]
    if len(sample) < LEAST_INTERVALS:
        return Schedule(None, [])
    usual = timedelta(seconds=median(each.total_seconds() for each in sample))
    regular = 3 * sum(abs(each - usual) <= usual / 4 for each in sample) >= 2 * len(sample)
    if usual < SHORTEST or not regular:
        return Schedule(None, [])
    last = past[-1]
    candidates = [*intervals, Interval(last, None, now - last.finished_at)]
    longest = usual * (CLEAR if len(intervals) >= MANY_INTERVALS else CLEAR_OF_FEW)
    return Schedule(
        usual,
        [
            each
            for place, each in enumerate(candidates)
            if each.length > max(longest, SHORTEST_GAP)
            and not _is_a_habit(place, each, intervals)
            and not (thinned and each.before and _may_be_thinned(each, intervals[:place]))
        ],
    )


def _in_order(manifests: Sequence[Manifest]) -> list[Manifest]:
    """Those before which none was finished later, and after which none earlier: of others a clock was wrong."""
    times = [each.finished_at for each in manifests]
    latest, earliest = accumulate(times, max), [*accumulate(reversed(times), min)][::-1]
    return [each for each, last, first in zip(manifests, latest, earliest, strict=True) if last == first]


def _is_a_habit(place: int, gap: Interval, intervals: list[Interval]) -> bool:
    """True where others are as long: one beside it or a week from it, as weekends are, or many."""
    others = [
        each for each in (*intervals[:place], *intervals[place + 1 :]) if each.length >= gap.length * AS_LONG
    ]
    begun = gap.after.finished_at
    return (
        any(each in others for each in (*intervals[max(0, place - 1) : place], *intervals[place + 1 : place + 2]))
        or any(abs(abs(each.after.finished_at - begun) - WEEK) < CHANGES_BY for each in others)
        or len(others) >= max(2, len(intervals) / 10)
    )


def _may_be_thinned(gap: Interval, older: Sequence[Interval]) -> bool:
    """True where pruning may have made it: what is older is as thin, or too little to know."""
    lengths = [each.length for each in older]
    return len(lengths) < LEAST_INTERVALS or gap.length <= CLEAR * max(lengths)
