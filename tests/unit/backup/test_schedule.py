"""What a schedule is learned from, what is a gap in it, and what is not: weekends, pruning, clocks, and hands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from migrator.backup.format.manifest import Manifest, new_snapshot_id
from migrator.backup.prune import Policy, decide, parse_duration
from migrator.backup.schedule import Schedule, schedule_of
from migrator.model.revisions import DatabaseFacts

BEGUN = datetime(2026, 1, 5, 3, tzinfo=UTC)
"""A Monday."""

FACTS = DatabaseFacts("orders")
DAY = 24


def chain(hours: Iterable[float], *, full_every: int = 30) -> list[Manifest]:
    """Snapshots so many hours after the beginning, in chains of that length."""
    made: list[Manifest] = []
    for number, each in enumerate(hours):
        moment = BEGUN + timedelta(hours=each)
        parent = made[-1].snapshot if number % full_every else None
        id = new_snapshot_id(made[-1].snapshot if made else "", now=moment)
        at = moment.isoformat()
        made.append(Manifest("orders", id, parent, "", "http://localhost:5984/orders", at, at, FACTS, "", ""))
    return made


def daily(days: int, *, without: Sequence[int] = ()) -> list[float]:
    """Every night at three, give or take some minutes, but for some nights."""
    return [DAY * day + 0.1 * (day % 3) for day in range(days) if day not in without]


def seen(snapshots: Sequence[Manifest], *, later: float = 5) -> Schedule:
    """What is learned so many hours after the newest."""
    return schedule_of(snapshots, snapshots[-1].finished_at + timedelta(hours=later))


def days_of(schedule: Schedule) -> list[tuple[int, int | None]]:
    """The gaps by the days on which they begin and end."""
    return [
        ((gap.after.finished_at - BEGUN).days, (gap.before.finished_at - BEGUN).days if gap.before else None)
        for gap in schedule.gaps
    ]


@pytest.mark.parametrize("full_every", [30, 7, 1])
def test_missed_nights_are_gaps(full_every: int) -> None:
    """Whatever the chains; where these are exact one night is enough, among full ones several are."""
    snapshots = chain(daily(60, without=(18, 40, 41, 42)), full_every=full_every)
    schedule = seen(snapshots)
    assert schedule.usual
    assert abs(schedule.usual - timedelta(days=1)) < timedelta(hours=1)
    assert days_of(schedule) == [(17, 19), (39, 43)]


def test_a_timer_that_has_died() -> None:
    """The time since the newest is a gap as well; a night is none."""
    snapshots = chain(daily(20))
    assert seen(snapshots, later=30).gaps == []
    assert days_of(seen(snapshots, later=60)) == [(19, None)]


@pytest.mark.parametrize("weeks", [1, 2, 3, 10])
def test_weekends_are_a_habit(weeks: int) -> None:
    """Monday to Friday: three days are usual then, also the first time; a week is not."""
    nights = [day for day in range(7 * weeks) if day % 7 < 5]
    snapshots = chain([DAY * day for day in nights])
    assert seen(snapshots, later=71).gaps == []
    if weeks == 10:
        kept = [day for day in nights if not 21 <= day < 26]
        assert days_of(seen(chain([DAY * day for day in kept]))) == [(18, 28)]


def test_hours_of_work() -> None:
    """Every hour of the working day: nights and weekends are habits after two weeks."""
    hours = [DAY * day + hour for day in range(28) if day % 7 < 5 for hour in range(10)]
    assert seen(chain(hours, full_every=500)).gaps == []


@pytest.mark.parametrize("full_every", [1, 4, 7, 30, 45])
@pytest.mark.parametrize(
    "policy",
    [
        Policy(daily=7, weekly=5, monthly=12),
        Policy(daily=3, monthly=3),
        Policy(weekly=8),
        Policy(monthly=12),
        Policy(last=3),
        Policy(within=parse_duration("10d"), weekly=4),
    ],
)
def test_pruning_makes_no_gaps(full_every: int, policy: Policy) -> None:
    """Whatever was kept of a timer that never failed, night by night, as pruning goes on with it."""
    kept: list[Manifest] = []
    for number, snapshot in enumerate(chain(daily(200), full_every=full_every), start=1):
        kept.append(snapshot)
        if number % 7 == 0:
            kept = [decision.manifest for decision in decide(kept, policy) if decision.kept]
        if number % 5 == 0:
            assert seen(kept).gaps == [], (number, days_of(seen(kept)))


def test_another_schedule_than_before() -> None:
    """Weekly at first, then daily, then every hour: none of these is a gap."""
    weekly = [DAY * 7 * week for week in range(8)]
    nightly = [DAY * (50 + day) for day in range(30)]
    hourly = [DAY * 80 + hour for hour in range(400)]
    snapshots = chain([*weekly, *nightly, *hourly], full_every=1_000)
    assert seen(snapshots, later=0.5).gaps == []
    every_other_night = [DAY * 2 * number for number in range(5)]
    snapshots = chain([*every_other_night, *(DAY * 9 + hour for hour in range(400))], full_every=1_000)
    assert seen(snapshots, later=0.5).gaps == []


def test_what_happens_often_is_a_habit() -> None:
    """Four nights of work and three without, by turns of eight days: no week, and yet no gap."""
    nights = [day for day in range(80) if day % 8 < 5]
    assert seen(chain([DAY * day for day in nights])).gaps == []


def test_two_gaps_of_few_snapshots() -> None:
    """Both are named, though one is as long as the other."""
    snapshots = chain(daily(16, without=(3, 4, 5, 11, 12, 13)))
    assert days_of(seen(snapshots)) == [(2, 6), (10, 14)]


@pytest.mark.parametrize(
    "hours",
    [
        [],
        [0],
        [0, 24],
        [0, 24, 200],
        [0, 0.01, 0.02, 90, 90.1, 300, 301, 600],
        [0, 5, 60, 61, 100, 250, 251, 252.5, 400],
        [each / 3600 for each in (0, 1, 2, 3, 4, 90)],
    ],
)
def test_without_a_schedule_there_are_no_gaps(hours: list[float]) -> None:
    """Few snapshots, or such as are made by hand, tell nobody what is usual."""
    snapshots = chain(hours)
    now = snapshots[-1].finished_at if snapshots else BEGUN
    assert schedule_of(snapshots, now + timedelta(minutes=5)).gaps == []


def test_clocks_that_are_wrong() -> None:
    """A clock that was ahead for a night, or put back, makes no gap of years."""
    hours = daily(20)
    for wrong in (DAY * 365 * 70, -DAY * 365 * 50, DAY * 14, 0):
        snapshots = chain([*hours[:10], wrong, *hours[10:]])
        assert seen(snapshots).gaps == []
